import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_cases import CASES, CLASSES, class_batch, labelled_scores, said, same

from tinynet import (
    SGD,
    Accuracy,
    Array,
    ConfusionMatrix,
    Dense,
    LogLoss,
    MeanSquaredError,
    PrecisionRecallF1,
    TopKAccuracy,
    Trainer,
)

NAN = math.nan


CLASS_METRICS = [name for name, case in CASES.items() if case.batch is class_batch]
every_metric = pytest.mark.parametrize("name", CLASS_METRICS)
every_label_metric = pytest.mark.parametrize("name", [n for n in CLASS_METRICS if n != "LogLoss"])

Z = np.array([[5.0], [-5.0], [5.0], [-5.0]])  # one column of logits, wrong in every row
Y = np.array([[0], [1], [0], [1]])


class TestWhatTheyCannotJudge:
    @pytest.mark.parametrize(
        ("metric", "counterpart"),
        [
            (Accuracy(), "BinaryAccuracy"),
            (TopKAccuracy(1), "BinaryAccuracy"),
            (ConfusionMatrix(2), "BinaryAccuracy"),
            (PrecisionRecallF1(2), "BinaryPrecisionRecallF1"),
            (LogLoss(), "BinaryLogLoss"),
        ],
    )
    def test_one_column_of_scores_is_refused_with_the_metric_that_is_meant(
        self, metric: Any, counterpart: str
    ) -> None:
        for scores, targets in ((Z, Y), (Z, Y.ravel()), (Z, 0.5 * Y), (Z.ravel(), Y.ravel())):
            assert said(metric, scores, targets) == (
                f"{metric!r} expects scores of shape (N, ..., C) with at least 2 classes, got "
                f"{scores.shape}; {counterpart} takes one column of logits, R2 one of numbers"
            )

    def test_accuracy_beside_a_regression_is_refused_before_the_first_step(self) -> None:
        x = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
        model = Dense(3, 1, rng=0)
        before = model.weight.value.copy()
        optimizer = SGD(model.parameters(), 0.1)
        trainer = Trainer(model, MeanSquaredError(), optimizer, metrics=[Accuracy()])
        assert "R2 one of numbers" in said(trainer.fit, x, x[:, :1], epochs=1)
        assert np.array_equal(model.weight.value, before)

    @every_metric
    def test_rows_of_several_labels_are_refused_and_not_wrong(self, name: str) -> None:
        metric = CASES[name].make()
        kind = {"PrecisionRecallF1": "PrecisionRecallF1", "LogLoss": "LogLoss"}
        binary = f"Binary{kind.get(type(metric).__name__, 'Accuracy')}"
        right = np.array([[5.0, -5.0, 5.0, -5.0], [-5.0, 5.0, -5.0, -5.0]])
        for dtype in (int, float, bool):
            rows = (right > 0).astype(dtype)
            assert said(metric, right, rows) == (
                f"{metric!r} expects probability rows, each >= 0 with sum 1, got {rows[0]} "
                f"at row 0; {binary} takes rows of 0 and 1"
            )

    @every_metric
    @pytest.mark.parametrize(
        ("scores", "targets", "sentence"),
        [
            ([[0.0] * 4], np.array([0]), "scores to be a NumPy array, got list"),
            (np.zeros((2, 4)), [0, 1], "labels to be a NumPy array, got list"),
            (np.zeros((0, 4)), [], "labels to be a NumPy array, got list"),
            (np.zeros((1, 2, 4)), np.array([0]), "labels of shape (1, 2), got (1,)"),
            (np.zeros((1, 2, 4)), np.array([[0, 9]]), "labels from 0 to 3, got 9 at index (0, 1)"),
            (np.zeros((1, 0)), np.array([0]), "at least 2 classes, got (1, 0)"),
            (np.zeros((2, 4)), np.zeros(3, int), "labels of shape (2,), got (3,)"),
            (np.zeros((2, 4)), np.zeros((2, 3)), "probability rows of shape (2, 4), got (2, 3)"),
            (
                np.zeros((2, 4)),
                np.zeros((2, 1), int),
                "labels of shape (2,), got (2, 1); labels.ravel() gives it",
            ),
            (np.zeros((2, 4)), np.zeros(2), "integer labels, got float64; labels.astype(int)"),
            (np.zeros((3, 4)), np.array([0, 4, 9]), "labels from 0 to 3, got 4 at index 1"),
            (np.zeros((3, 4)), np.array([3, 2, -1]), "labels from 0 to 3, got -1 at index 2"),
            (
                np.zeros((3, 4)),
                np.array([1, 2, 4]),
                "labels from 0 to 3, got 4 at index 2; classes count from 0: subtract 1",
            ),
            (
                np.zeros((1, 4)),
                np.array([[0.5, 0.7, -0.2, 0.0]]),
                "probability rows, each >= 0 with sum 1, got [ 0.5  0.7 -0.2  0. ] at row 0",
            ),
            (np.zeros((1, 4)), np.array([[NAN] * 4]), "probability rows, each >= 0 with sum 1"),
            (np.zeros((0, 4)), np.zeros(3, int), "labels of shape (0,), got (3,)"),
        ],
    )
    def test_other_scores_and_targets_are_refused_as_by_the_loss(
        self, name: str, scores: Any, targets: Any, sentence: str
    ) -> None:
        metric = CASES[name].make()
        message = said(metric.update, scores, targets)
        assert message.startswith(f"{metric!r} expects ")
        assert sentence in message

    @pytest.mark.parametrize("kind", [ConfusionMatrix, PrecisionRecallF1])
    @pytest.mark.parametrize("classes", [3, 5])
    def test_scores_of_more_or_fewer_classes_are_refused(self, kind: Any, classes: int) -> None:
        metric = kind(4)
        assert said(metric.update, np.zeros((2, classes)), np.array([0, 1])) == (
            f"{kind.__name__}(4) expects scores of shape (N, ..., 4), got (2, {classes})"
        )

    @pytest.mark.parametrize("wrong", [0.5, None, -(2**31) - 1])
    def test_an_ignore_index_is_a_whole_number(self, wrong: Any) -> None:
        for make in (Accuracy, LogLoss):
            assert said(make, ignore_index=wrong) == (
                f"{make.__name__} expects ignore_index to be a whole number >= -2147483648, "
                f"got {wrong!r}"
            )


class TestIgnoredLabels:
    @every_metric
    @given(drawn=labelled_scores(), ignored=st.sampled_from([-100, -1, 1, 200]))
    def test_ignored_labels_count_nothing(
        self, name: str, drawn: tuple[Array, Array], ignored: int
    ) -> None:
        scores, labels = drawn
        labels = labels.astype(np.int64)
        counts = np.arange(len(labels)) % 3 != 1
        kind = type(CASES[name].make())
        metric = CASES[name].make()
        metric.ignore_index = ignored  # type: ignore[attr-defined]
        assert isinstance(metric, kind)
        keep = counts & (labels != ignored)
        expected = CASES[name].make()(scores[keep], labels[keep])
        got = metric(scores, np.where(counts, labels, ignored))
        assert same(got, expected, exact=CASES[name].exact)

    def test_every_class_metric_takes_an_ignore_index(self) -> None:
        scores, labels = np.eye(3)[[0, 1, 1]], np.array([0, 1, 9])
        assert Accuracy(ignore_index=9)(scores, labels) == {"accuracy": 1}
        assert TopKAccuracy(1, ignore_index=9)(scores, labels) == {"top_1_accuracy": 1}
        matrix = ConfusionMatrix(3, ignore_index=9)(scores, labels)["confusion_matrix"]
        assert matrix.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
        assert PrecisionRecallF1(3, ignore_index=9)(scores, labels)["f1"] == 1
        # From torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100).
        logits = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]])
        loss = LogLoss(ignore_index=9)(logits, np.array([0, 9]))["log_loss"]
        assert loss == pytest.approx(0.24131129665715703, rel=1e-14)

    @every_metric
    def test_results_of_ignored_labels_alone_are_those_of_nothing(self, name: str) -> None:
        metric = CASES[name].make()
        nothing = metric.results()
        assert same(metric(np.zeros((3, 4)), np.full(3, -100)), nothing)


class TestSequencesAndRows:
    @every_metric
    def test_every_position_of_a_sequence_counts_as_a_sample(self, name: str) -> None:
        rng = np.random.default_rng(0)
        scores, labels = rng.standard_normal((3, 5, 4)), rng.integers(0, 4, (3, 5))
        labels[1] = -100
        rows = rng.dirichlet(np.ones(4), (3, 5))
        expected = CASES[name].make()(scores.reshape(15, 4), labels.ravel())
        assert same(CASES[name].make()(scores, labels), expected)
        expected = CASES[name].make()(scores.reshape(15, 4), rows.reshape(15, 4))
        assert same(CASES[name].make()(scores, rows), expected)

    @every_label_metric
    @given(drawn=labelled_scores())
    def test_the_highest_entry_of_a_probability_row_is_its_label(
        self, name: str, drawn: tuple[Array, Array]
    ) -> None:
        scores, labels = drawn
        expected = CASES[name].make()(scores, labels)
        one_hot = np.eye(CLASSES)[labels]
        for rows in (one_hot, one_hot.astype(int), one_hot.astype(bool), 0.1 + 0.6 * one_hot):
            assert same(CASES[name].make()(scores, rows), expected)
