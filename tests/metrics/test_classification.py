import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_cases import CLASSES, labelled_scores, said, same
from sklearn import metrics as reference

from tinynet import (
    Accuracy,
    Array,
    ConfusionMatrix,
    LogLoss,
    PrecisionRecallF1,
    TopKAccuracy,
)

NAN = math.nan
SCORES_WITH_NAN = [-1.0, 0.0, 0.5, NAN, math.inf, -math.inf]


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


class TestAccuracy:
    @given(labelled_scores())
    def test_accuracy_is_the_fraction_of_labels_with_the_highest_score(
        self, drawn: tuple[Array, Array]
    ) -> None:
        prediction, labels = drawn
        correct = [
            predicted(row) == label for row, label in zip(prediction.tolist(), labels, strict=True)
        ]
        assert Accuracy()(prediction, labels) == {"accuracy": sum(correct) / len(correct)}

    @given(labelled_scores(SCORES_WITH_NAN))
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
    @given(labelled_scores(SCORES_WITH_NAN), st.integers(1, 6))
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
    @given(labelled_scores())
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

    @pytest.mark.parametrize("classes", [0, 1, 2.0, None])
    @pytest.mark.parametrize("kind", [ConfusionMatrix, PrecisionRecallF1])
    def test_class_metrics_reject_fewer_than_2_classes(self, kind: Any, classes: Any) -> None:
        assert said(kind, classes) == (
            f"{kind.__name__} expects classes to be a whole number >= 2, got {classes!r}"
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
    @given(labelled_scores())
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


class TestAgainstScikitLearn:
    @given(labelled_scores())
    def test_counts_are_those_of_scikit_learn(self, drawn: tuple[Array, Array]) -> None:
        scores, labels = drawn
        predicted = scores.argmax(axis=1)
        classes = range(CLASSES)
        assert Accuracy()(scores, labels)["accuracy"] == reference.accuracy_score(labels, predicted)
        matrix = reference.confusion_matrix(labels, predicted, labels=classes)
        got = ConfusionMatrix(CLASSES)(scores, labels)["confusion_matrix"]
        assert got.tolist() == matrix.tolist()
        present = sorted({*labels.tolist(), *predicted.tolist()})
        precision, recall, f1, _ = reference.precision_recall_fscore_support(
            labels, predicted, labels=present, average="macro", zero_division=0
        )
        assert PrecisionRecallF1(CLASSES)(scores, labels) == pytest.approx(
            {"precision": precision, "recall": recall, "f1": f1}, rel=1e-14
        )

    def test_top_k_accuracy_is_that_of_scikit_learn(self) -> None:
        rng = np.random.default_rng(0)
        scores, labels = rng.standard_normal((200, 6)), rng.integers(0, 6, 200)
        for k in (1, 2, 5):
            expected = reference.top_k_accuracy_score(labels, scores, k=k, labels=range(6))
            assert TopKAccuracy(k)(scores, labels) == {f"top_{k}_accuracy": expected}


class TestNaN:
    @given(labelled_scores([*SCORES_WITH_NAN, NAN, NAN]))
    def test_a_row_with_nan_counts_as_the_class_after_its_label(
        self, drawn: tuple[Array, Array]
    ) -> None:
        scores, labels = drawn
        expected = [[0] * CLASSES for _ in range(CLASSES)]
        for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
            has_nan = any(map(math.isnan, row))
            expected[label][(label + 1) % CLASSES if has_nan else predicted(row)] += 1
        matrix = ConfusionMatrix(CLASSES)(scores, labels)["confusion_matrix"]
        assert matrix.tolist() == expected
        assert matrix.sum() == len(labels)
        accuracy = Accuracy()(scores, labels)["accuracy"]
        assert matrix.trace() / len(labels) == accuracy

    @pytest.mark.parametrize("classes", [2, 3])
    def test_scores_that_are_all_nan_are_never_right(self, classes: int) -> None:
        scores, labels = np.full((6, classes), NAN), np.arange(6) % classes
        assert PrecisionRecallF1(classes)(scores, labels) == {"precision": 0, "recall": 0, "f1": 0}
        assert ConfusionMatrix(classes)(scores, labels)["confusion_matrix"].trace() == 0
        assert Accuracy()(scores, labels) == {"accuracy": 0}
        assert math.isnan(LogLoss()(scores, labels)["log_loss"])
