import copy
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Accuracy, Array, ConfusionMatrix, InputError, PrecisionRecallF1, TopKAccuracy
from tinynet.training.metrics import Metric, Metrics

NAN = math.nan
CLASSES = 4

# Few different scores, so that ties are common.
SCORES = [-1.0, 0.0, 0.0, 0.5, 2.0]
SCORES_WITH_NAN = [-1.0, 0.0, 0.5, NAN, math.inf, -math.inf]


def samples(values: Sequence[float] = SCORES) -> st.SearchStrategy[tuple[Array, Array]]:
    """Scores (N, 4) and labels (N,); absent classes are common."""

    def drawn(seed: int) -> tuple[Array, Array]:
        # By NumPy: a draw of Hypothesis for each entry would take minutes.
        rng = np.random.default_rng(seed)
        size, few = rng.integers(1, 12), rng.choice(CLASSES, rng.integers(1, CLASSES + 1))
        prediction = rng.choice(values, (size, CLASSES)).astype(rng.choice(["f4", "f8"]))
        return prediction, rng.choice(few, size).astype(rng.choice(["i8", "u1"]))

    return st.integers(0, 2**32 - 1).map(drawn)


def rank(row: list[float], label: int) -> float:
    """The rank of the label in the row, 0 for the highest; infinite if its score is NaN."""
    if math.isnan(row[label]):
        return math.inf
    above = 0
    for index, score in enumerate(row):
        if math.isnan(score) or score > row[label] or (score == row[label] and index < label):
            above += 1
    return above


def predicted(row: list[float]) -> int:
    """The first of the highest."""
    best = 0
    for index, score in enumerate(row):
        if score > row[best]:
            best = index
    return best


def said(do: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(InputError) as error:
        do(*args, **kwargs)
    return str(error.value)


def same(first: Any, second: Any) -> bool:
    """Whether all values are equal, NaN to NaN."""
    assert first.keys() == second.keys()
    return all(np.array_equal(first[n], second[n], equal_nan=True) for n in first)


class TestAccuracy:
    @given(samples())
    def test_accuracy_is_the_fraction_of_labels_with_the_highest_score(
        self, drawn: tuple[Array, Array]
    ) -> None:
        prediction, labels = drawn
        correct = [
            predicted(row) == label for row, label in zip(prediction.tolist(), labels, strict=True)
        ]
        assert Accuracy()(prediction, labels) == {"accuracy": sum(correct) / len(correct)}

    @given(samples(SCORES_WITH_NAN))
    def test_accuracy_never_takes_nan_for_the_highest_score(
        self, drawn: tuple[Array, Array]
    ) -> None:
        prediction, labels = drawn
        first = TopKAccuracy(1)(prediction, labels)["top_1_accuracy"]
        assert Accuracy()(prediction, labels) == {"accuracy": first}

    def test_accuracy_accepts_integer_scores(self) -> None:
        assert Accuracy()(np.array([[1, 2], [3, 1]]), np.array([1, 1])) == {"accuracy": 0.5}

    def test_accuracy_is_a_python_float(self) -> None:
        assert type(Accuracy()(np.eye(2), np.array([0, 1]))["accuracy"]) is float


class TestTopKAccuracy:
    @given(samples(SCORES_WITH_NAN), st.integers(1, 6))
    def test_top_k_accuracy_is_the_fraction_of_labels_among_the_k_highest(
        self, drawn: tuple[Array, Array], k: int
    ) -> None:
        prediction, labels = drawn
        pairs = zip(prediction.tolist(), labels.tolist(), strict=True)
        correct = [rank(row, label) < k for row, label in pairs]
        assert TopKAccuracy(k)(prediction, labels) == {
            f"top_{k}_accuracy": sum(correct) / len(correct)
        }

    @pytest.mark.parametrize(("k", "fraction"), [(1, 0.25), (2, 0.5), (3, 0.75), (4, 1), (9, 1)])
    def test_top_k_accuracy_ranks_the_first_of_equal_scores_higher(
        self, k: int, fraction: float
    ) -> None:
        prediction = np.zeros((4, 4))
        assert TopKAccuracy(k)(prediction, np.arange(4)) == {f"top_{k}_accuracy": fraction}

    @pytest.mark.parametrize("k", [1, 2, 3, 9])
    def test_top_k_accuracy_never_counts_nan_as_correct(self, k: int) -> None:
        prediction = np.array([[NAN, 1.0], [NAN, NAN]])
        assert TopKAccuracy(k)(prediction, np.array([0, 1])) == {f"top_{k}_accuracy": 0}

    @pytest.mark.parametrize("k", [0, -1, 1.5, None])
    def test_top_k_accuracy_rejects_k_below_1(self, k: Any) -> None:
        assert said(TopKAccuracy, k) == (
            f"TopKAccuracy expects k to be a whole number >= 1, got {k!r}"
        )


class TestConfusionMatrix:
    @given(samples())
    def test_confusion_matrix_counts_labels_by_predicted_class(
        self, drawn: tuple[Array, Array]
    ) -> None:
        prediction, labels = drawn
        expected = [[0] * CLASSES for _ in range(CLASSES)]
        for row, label in zip(prediction.tolist(), labels.tolist(), strict=True):
            expected[label][predicted(row)] += 1
        matrix = ConfusionMatrix(CLASSES)(prediction, labels)["confusion_matrix"]
        assert matrix.tolist() == expected
        assert matrix.dtype == np.int64

    def test_confusion_matrix_is_returned_as_a_copy(self) -> None:
        metric = ConfusionMatrix(2)
        first = metric(np.eye(2), np.array([0, 1]))["confusion_matrix"]
        metric.update(np.eye(2), np.array([0, 1]))
        assert first.tolist() == [[1, 0], [0, 1]]
        assert metric.results()["confusion_matrix"].tolist() == [[2, 0], [0, 2]]

    @pytest.mark.parametrize("classes", [0, 2.0, None])
    @pytest.mark.parametrize("kind", [ConfusionMatrix, PrecisionRecallF1])
    def test_class_metrics_reject_fewer_than_1_class(self, kind: Any, classes: Any) -> None:
        assert said(kind, classes) == (
            f"{kind.__name__} expects classes to be a whole number >= 1, got {classes!r}"
        )


def values_of(label: int, pairs: list[tuple[int, int]]) -> dict[str, float] | None:
    """Of one class, from pairs (label, predicted class); None for an absent class."""
    hits = sum(1 for a, b in pairs if a == b == label)
    false_alarms = sum(1 for a, b in pairs if a != label and b == label)
    misses = sum(1 for a, b in pairs if a == label and b != label)
    if hits + false_alarms + misses == 0:
        return None
    return {
        "precision": hits / (hits + false_alarms) if hits + false_alarms else 0.0,
        "recall": hits / (hits + misses) if hits + misses else 0.0,
        "f1": 2 * hits / (2 * hits + false_alarms + misses),
    }


class TestPrecisionRecallF1:
    @given(samples())
    def test_precision_recall_f1_follow_their_definitions(self, drawn: tuple[Array, Array]) -> None:
        prediction, labels = drawn
        classes = map(predicted, prediction.tolist())
        pairs = list(zip(labels.tolist(), classes, strict=True))
        expected = [values_of(label, pairs) for label in range(CLASSES)]
        metric = PrecisionRecallF1(CLASSES)
        means = metric(prediction, labels)
        assert list(means) == ["precision", "recall", "f1"]
        for name, mean in means.items():
            known = [values[name] for values in expected if values]
            assert mean == pytest.approx(math.fsum(known) / len(known), rel=1e-14)
            each = [values[name] if values else NAN for values in expected]
            assert metric.per_class()[name].tolist() == pytest.approx(each, nan_ok=True)
        for positive in range(CLASSES):
            got = PrecisionRecallF1(CLASSES, positive=positive)(prediction, labels)
            one = expected[positive] or dict.fromkeys(means, NAN)
            assert got == pytest.approx(one, nan_ok=True)

    def test_precision_recall_f1_of_a_worked_example(self) -> None:
        # 2 of 3 ill are detected, 1 of 5 healthy is a false alarm.
        labels = np.array([1, 1, 1, 0, 0, 0, 0, 0])
        prediction = np.eye(2)[[1, 1, 0, 0, 0, 0, 0, 1]]
        ill = PrecisionRecallF1(2, positive=1)(prediction, labels)
        assert ill == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3})
        healthy = PrecisionRecallF1(2, positive=0)(prediction, labels)
        assert healthy == pytest.approx({"precision": 4 / 5, "recall": 4 / 5, "f1": 4 / 5})
        both = PrecisionRecallF1(2)(prediction, labels)
        assert both == pytest.approx(dict.fromkeys(both, (2 / 3 + 4 / 5) / 2))

    def test_precision_recall_f1_leave_out_absent_classes_and_count_missed_ones_as_0(self) -> None:
        metric = PrecisionRecallF1(4)
        # Class 0 is correct, class 1 predicted as 2, class 3 absent.
        values = metric(np.eye(4)[[0, 2]], np.array([0, 1]))
        assert values == pytest.approx({"precision": 1 / 3, "recall": 1 / 3, "f1": 1 / 3})
        each = metric.per_class()["recall"].tolist()
        assert each == pytest.approx([1, 0, 0, NAN], nan_ok=True)

    @pytest.mark.parametrize("positive", [None, 1])
    def test_precision_recall_f1_of_no_samples_is_nan(self, positive: int | None) -> None:
        values = PrecisionRecallF1(2, positive=positive).results()
        assert same(values, {"precision": NAN, "recall": NAN, "f1": NAN})

    def test_precision_recall_f1_are_python_floats(self) -> None:
        for metric in (PrecisionRecallF1(2), PrecisionRecallF1(2, positive=0)):
            values = metric(np.eye(2), np.array([0, 1]))
            assert {type(value) for value in values.values()} == {float}

    @pytest.mark.parametrize(
        ("positive", "sentence"),
        [
            (-1, "positive to be a whole number >= 0, got -1"),
            (0.5, "positive to be a whole number >= 0, got 0.5"),
            (2, "positive from 0 to 1, got 2"),
        ],
    )
    def test_precision_recall_f1_rejects_a_positive_that_is_not_a_class(
        self, positive: Any, sentence: str
    ) -> None:
        assert said(PrecisionRecallF1, 2, positive=positive) == (
            f"PrecisionRecallF1 expects {sentence}"
        )


MAKE: dict[str, Callable[[], Metric]] = {
    "Accuracy": Accuracy,
    "TopKAccuracy": lambda: TopKAccuracy(2),
    "ConfusionMatrix": lambda: ConfusionMatrix(CLASSES),
    "PrecisionRecallF1": lambda: PrecisionRecallF1(CLASSES),
    "PrecisionRecallF1 of one": lambda: PrecisionRecallF1(CLASSES, positive=2),
}
every_metric = pytest.mark.parametrize("name", MAKE)


@every_metric
class TestEveryMetric:
    @given(drawn=samples(), cuts=st.lists(st.integers(0, 12)), data=st.data())
    def test_metrics_do_not_depend_on_order_and_split_of_the_samples(
        self, name: str, drawn: tuple[Array, Array], cuts: list[int], data: st.DataObject
    ) -> None:
        prediction, labels = drawn
        order = data.draw(st.permutations(range(len(labels))))
        whole, parts = MAKE[name](), MAKE[name]()
        whole.update(prediction, labels)
        for rows in np.split(np.array(order), sorted(cuts)):
            parts.update(prediction[rows], labels[rows])
        assert same(whole.results(), parts.results())

    @given(drawn=samples())
    def test_metrics_take_the_highest_entry_of_target_rows_as_the_label(
        self, name: str, drawn: tuple[Array, Array]
    ) -> None:
        prediction, labels = drawn
        expected = MAKE[name]()(prediction, labels)
        for rows in (np.eye(CLASSES)[labels], 0.1 + 0.6 * np.eye(CLASSES)[labels]):
            assert same(MAKE[name]()(prediction, rows), expected)
        listed: Any = labels.tolist()
        assert same(MAKE[name]()(prediction, listed), expected)
        listed = np.eye(CLASSES, dtype=int)[labels].tolist()
        assert same(MAKE[name]()(prediction, listed), expected)

    def test_metrics_count_every_position_of_a_sequence(self, name: str) -> None:
        rng = np.random.default_rng(0)
        prediction, labels = rng.standard_normal((3, 5, 4)), rng.integers(0, 4, (3, 5))
        expected = MAKE[name]()(prediction.reshape(15, 4), labels.ravel())
        assert same(MAKE[name]()(prediction, labels), expected)
        assert same(MAKE[name]()(prediction, np.eye(4)[labels]), expected)

    @given(first=samples(), second=samples())
    def test_calling_a_metric_returns_the_values_of_one_batch(
        self, name: str, first: tuple[Array, Array], second: tuple[Array, Array]
    ) -> None:
        fresh, used = MAKE[name](), MAKE[name]()
        used.update(*first)
        fresh.update(*second)
        assert same(used(*second), fresh.results())
        assert same(used.results(), fresh.results())

    def test_reset_discards_all_batches(self, name: str) -> None:
        metric = MAKE[name]()
        nothing = metric.results()
        metric.update(np.eye(4), np.array([0, 1, 1, 2]))
        assert not same(metric.results(), nothing)
        metric.reset()
        assert same(metric.results(), nothing)

    def test_an_empty_batch_changes_no_metric(self, name: str) -> None:
        metric = MAKE[name]()
        nothing = metric.results()
        assert same(metric(np.zeros((0, 4)), np.zeros(0, int)), nothing)
        if name != "ConfusionMatrix":
            assert all(math.isnan(value) for value in nothing.values())

    def test_metrics_do_not_write_to_their_arguments(self, name: str) -> None:
        prediction, labels = np.eye(4), np.array([0, 1, 1, 2])
        prediction.setflags(write=False)
        labels.setflags(write=False)
        MAKE[name]()(prediction, labels)

    @given(first=samples(), second=samples())
    def test_metrics_continue_from_a_state(
        self, name: str, first: tuple[Array, Array], second: tuple[Array, Array]
    ) -> None:
        whole, other = MAKE[name](), MAKE[name]()
        whole.update(*first)
        other.update(*second)
        before = copy.deepcopy(other.results())
        other.check_state_dict(copy.deepcopy(whole.state_dict()))
        assert same(other.results(), before)
        other.load_state_dict(copy.deepcopy(whole.state_dict()))
        assert same(other.results(), whole.results())
        whole.update(*second)
        other.update(*second)
        assert same(other.results(), whole.results())

    def test_state_of_a_metric_is_its_integer_counts(self, name: str) -> None:
        metric = MAKE[name]()
        state = metric.state_dict()
        assert list(state) == ["counts"]
        assert state["counts"].dtype == np.int64
        metric.update(np.eye(4), np.array([0, 1, 1, 2]))
        assert state["counts"].sum() > 0  # the array itself
        kind = type(metric).__name__
        assert (
            said(metric.check_state_dict, {})
            == f"{kind} expects a state with counts, got none of counts"
        )
        wrong = {"counts": np.zeros(7, np.int64)}
        assert said(metric.check_state_dict, wrong).startswith(
            f"{kind}, counts, expects int64 of shape"
        )

    @pytest.mark.parametrize(
        ("prediction", "targets", "sentence"),
        [
            ([[0.0] * 4], np.array([0]), "scores of shape (N, ..., C), got list"),
            (np.zeros(4), np.array([0]), "scores of shape (N, ..., C), got (4,)"),
            (
                np.zeros((1, 2, 4)),
                np.array([0]),
                "integer labels of shape (1, 2) or rows of shape (1, 2, 4), "
                "got int64 of shape (1,)",
            ),
            (np.zeros((1, 2, 4)), np.array([[0, 9]]), "labels from 0 to 3, got 9 at index (0, 1)"),
            (np.zeros((1, 0)), np.array([0]), "scores of shape (N, ..., C), got (1, 0)"),
            (
                np.zeros((2, 4)),
                np.zeros(3, int),
                "integer labels of shape (2,) or rows of shape (2, 4), got int64 of shape (3,)",
            ),
            (
                np.zeros((2, 4)),
                np.zeros((2, 3)),
                "integer labels of shape (2,) or rows of shape (2, 4), got float64 of shape (2, 3)",
            ),
            (
                np.zeros((2, 4)),
                np.zeros((2, 1), int),
                "integer labels of shape (2,) or rows of shape (2, 4), got int64 of shape (2, 1)",
            ),
            (
                np.zeros((2, 4)),
                np.zeros(2),
                "integer labels of shape (2,) or rows of shape (2, 4), got float64 of shape (2,)",
            ),
            (np.zeros((3, 4)), np.array([0, 4, 9]), "labels from 0 to 3, got 4 at index 1"),
            (np.zeros((3, 4)), np.array([3, 2, -1]), "labels from 0 to 3, got -1 at index 2"),
        ],
    )
    def test_metrics_reject_other_scores_and_labels_and_count_nothing(
        self, name: str, prediction: Any, targets: Any, sentence: str
    ) -> None:
        metric = MAKE[name]()
        kind = type(metric).__name__
        assert said(metric.update, prediction, targets) == f"{kind} expects {sentence}"
        assert not metric.state_dict()["counts"].any()


@pytest.mark.parametrize("kind", [ConfusionMatrix, PrecisionRecallF1])
@pytest.mark.parametrize("classes", [3, 5])
def test_scores_of_more_or_fewer_classes_are_rejected(kind: Any, classes: int) -> None:
    metric = kind(4)
    prediction = np.zeros((2, classes))
    assert said(metric.update, prediction, np.array([0, 1])) == (
        f"{kind.__name__} expects scores of shape (N, ..., 4), got (2, {classes})"
    )
    assert not metric.counts.any()


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
            ([Accuracy(), "accuracy"], "metrics, got 'accuracy'"),
            ([None], "metrics, got None"),
            ("ab", "metrics, got 'a'"),
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
