import copy
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from metric_cases import CASES, Case, binary_batch, regression_batch, said, same

from tinynet import (
    Accuracy,
    Array,
    ConfusionMatrix,
    LogLoss,
    MeanSquaredError,
    Metric,
    TopKAccuracy,
)
from tinynet.metrics.metric import Metrics

OF_DOCS = ": write Accuracy() or another of the metrics in docs/training.md"


class Mean(Metric):
    """A user-defined metric, with a single number and a row as results."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.total = np.zeros(2)

    def update(self, prediction: Array, targets: Array) -> None:
        self.total += [prediction.sum(), len(targets)]

    def results(self) -> dict[str, Any]:
        return {self.name: np.float64(self.total[0]), f"{self.name}_row": self.total.copy()}


class TestMetrics:
    def test_several_metrics_get_the_same_batches_and_return_all_values(self) -> None:
        metrics = Metrics([Accuracy(), TopKAccuracy(2), ConfusionMatrix(3)])
        prediction, labels = np.eye(3)[[0, 1, 1]], np.array([0, 1, 2])
        metrics.update(prediction[:1], labels[:1])
        metrics.update(prediction[1:], labels[1:])
        assert same(
            metrics.results(),
            {
                "accuracy": 2 / 3,
                "top_2_accuracy": 2 / 3,
                "confusion_matrix": [[1, 0, 0], [0, 1, 0], [0, 1, 0]],
            },
        )
        metrics.reset()
        assert metrics.results()["confusion_matrix"].tolist() == [[0] * 3] * 3
        assert math.isnan(metrics.results()["accuracy"])

    def test_no_metrics_have_no_values_and_an_empty_state(self) -> None:
        metrics = Metrics(())
        metrics.update(np.eye(2), np.array([0, 1]))
        assert metrics.results() == metrics.scalars() == metrics.state_dict() == {}
        metrics.reset()
        metrics.load_state_dict({})

    def test_scalars_are_the_results_that_are_single_numbers(self) -> None:
        metrics = Metrics([ConfusionMatrix(2), Mean("mean"), Accuracy()])
        metrics.update(np.eye(2), np.array([0, 1]))
        scalars = metrics.scalars()
        assert scalars == {"mean": 2, "accuracy": 1}
        assert {type(value) for value in scalars.values()} == {float}

    def test_metrics_are_copied_from_0_and_the_originals_stay_unchanged(self) -> None:
        own = Accuracy()
        own.update(np.eye(2), np.array([0, 1]))
        metrics = Metrics([own])
        assert math.isnan(metrics.results()["accuracy"])
        metrics.update(np.eye(2), np.array([1, 1]))
        assert metrics.results() == {"accuracy": 0.5}
        assert own.results() == {"accuracy": 1}
        assert own.counts.tolist() == [2, 2]

    @pytest.mark.parametrize(
        ("metrics", "reserved", "names"),
        [
            ([Accuracy(), Accuracy()], (), "accuracy, accuracy"),
            ([Mean("loss")], ("loss", "learning_rate"), "loss, learning_rate, loss, loss_row"),
            (
                [TopKAccuracy(1), Mean("top_1_accuracy")],
                (),
                "top_1_accuracy, top_1_accuracy, top_1_accuracy_row",
            ),
        ],
    )
    def test_two_results_of_the_same_name_are_rejected(
        self, metrics: Sequence[Metric], reserved: tuple[str, ...], names: str
    ) -> None:
        assert said(Metrics, metrics, reserved) == (
            f"Trainer expects metrics of different names, got {names}"
        )

    @pytest.mark.parametrize(
        ("metrics", "sentence"),
        [
            ([Accuracy], f"metrics, got {Accuracy!r}: write Accuracy(...)"),
            ([Accuracy(), "accuracy"], f"metrics, got 'accuracy'{OF_DOCS}"),
            ([None], "metrics, got None"),
            ("ab", f"metrics, got 'a'{OF_DOCS}"),
            (
                [MeanSquaredError()],
                "metrics, got MeanSquaredError(), a loss: RootMeanSquaredError, "
                "MeanAbsoluteErrorMetric and LogLoss are metrics",
            ),
            (None, "metrics as a list of them, got None"),
            ({1: 2}, "metrics as a list of them, got {1: 2}"),
        ],
    )
    def test_items_that_are_not_metrics_are_rejected(self, metrics: Any, sentence: str) -> None:
        assert said(Metrics, metrics) == f"Trainer expects {sentence}"

    def test_a_single_metric_and_a_generator_are_rejected(self) -> None:
        one, stream = Accuracy(), (metric for metric in [Accuracy()])
        for wrong in (one, stream):
            assert said(Metrics, wrong) == (
                f"Trainer expects metrics as a list of them, got {wrong!r}"
            )

    def test_several_metrics_continue_from_their_state(self) -> None:
        metrics, other = (Metrics([Accuracy(), Mean("mean")]) for _ in range(2))
        metrics.update(np.eye(2), np.array([0, 1]))
        other.update(np.eye(2), np.array([1, 0]))
        state = copy.deepcopy(metrics.state_dict())
        assert json.dumps({index: list(counts) for index, counts in state.items()}) == (
            '{"0": ["counts"], "1": ["total"]}'
        )
        other.check_state_dict(state)
        assert other.results()["accuracy"] == 0
        other.load_state_dict(state)
        assert same(other.results(), metrics.results())

    def test_an_invalid_state_of_one_metric_changes_none(self) -> None:
        metrics = Metrics([Accuracy(), Mean("mean")])
        metrics.update(np.eye(2), np.array([0, 1]))
        before = copy.deepcopy(metrics.state_dict())
        assert said(metrics.check_state_dict, {"0": before["0"]}) == (
            "metrics expects a state with 0, 1, got none of 1"
        )
        wrong = {"0": {"counts": np.zeros(2, int)}, "1": {"counts": np.zeros(2, int)}}
        assert said(metrics.check_state_dict, wrong) == (
            "Mean expects a state with total, got none of total, and counts"
        )
        assert same(metrics.state_dict()["0"], before["0"])
        assert same(metrics.state_dict()["1"], before["1"])

    def test_directions_are_those_that_the_metrics_declare_for_their_single_numbers(self) -> None:
        class Both(Mean):
            higher_is_better = {"mean": True, "mean_row": False}  # noqa: RUF012  # it is only read

        metrics = Metrics(
            [Accuracy(), LogLoss(), ConfusionMatrix(2), Mean("my_loss"), Both("mean")]
        )
        assert metrics.higher_is_better() == {
            "accuracy": True,
            "log_loss": False,
            "my_loss": None,
            "mean": True,
        }
        assert Metrics([Both("other")]).higher_is_better() == {"other": None}

    @pytest.mark.parametrize("wrong", ["max", 1, {"mean": "max"}])
    def test_a_direction_is_true_false_none_or_a_dict_of_them(self, wrong: Any) -> None:
        metric = Mean("mean")
        metric.higher_is_better = wrong
        assert said(Metrics, [metric]) == (
            "Trainer expects higher_is_better of Mean('mean') to be True, False, None or a dict "
            f"with one of them for each result, got {wrong!r}"
        )

    @pytest.mark.parametrize("shape", [(3,), (3, 1)])
    def test_every_metric_gets_a_column_of_targets_in_the_shape_of_the_prediction(
        self, shape: tuple[int, ...]
    ) -> None:
        class MaxError(Metric):
            def __init__(self) -> None:
                self.largest = np.zeros(1)

            def update(self, prediction: Array, targets: Array) -> None:
                difference = abs(prediction - targets)  # (N, 1) and (N,) would give (N, N)
                assert difference.shape == prediction.shape
                np.maximum(self.largest, difference.max(), out=self.largest)

            def results(self) -> dict[str, Any]:
                return {"max_error": float(self.largest[0])}

        metrics, prediction = Metrics([MaxError()]), np.array([1.0, 5.0, 9.0]).reshape(shape)
        for targets in (np.array([1, 4, 9]), np.array([[1], [4], [9]])):
            metrics.update(prediction, targets)
            assert metrics.results() == {"max_error": 1.0}


COLUMN_METRICS = {
    name: case for name, case in CASES.items() if case.batch in (binary_batch, regression_batch)
}


@pytest.mark.parametrize("case", COLUMN_METRICS.values(), ids=COLUMN_METRICS)
@pytest.mark.parametrize("size", [0, 1, 5])
def test_one_column_of_numbers_may_have_a_second_axis_beside_targets_without_one(
    case: Case, size: int
) -> None:
    rng = np.random.default_rng(size)
    prediction, targets = rng.standard_normal(size), rng.integers(0, 2, size)
    expected = case.make()(prediction, targets)
    assert same(case.make()(prediction[:, None], targets), expected)
    assert same(case.make()(prediction, targets[:, None]), expected)
    for other in (targets[None], np.zeros((size, 2), int), targets[:, None, None]):
        if other.shape != (1, 1):
            assert " expects " in said(case.make(), prediction, other)
