"""Metrics of one class among C: accuracy, the confusion matrix, precision, recall and F1."""

import math
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.metrics.inputs import ClassMetric
from tinynet.parameter import Array
from tinynet.validation import whole_number


@final
class TopKAccuracy(ClassMetric):
    """The fraction of samples whose label is among the k highest of C scores.

    Of equal scores, the one with the lower index ranks higher. A label whose score is NaN is wrong.

    Raises:
        InputError: k is below 1; from `update`, scores and targets as for Accuracy.

    >>> TopKAccuracy(2)(np.array([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1]]), np.array([1, 2]))
    {'top_2_accuracy': 0.5}
    """

    higher_is_better = True

    def __init__(self, k: int, *, ignore_index: int = -100) -> None:
        self.k = whole_number("TopKAccuracy", "k", k)
        super().__init__(ignore_index)
        self.counts = np.zeros(2, np.int64)  # correct, all

    def update(self, prediction: Array, targets: Array) -> None:
        """prediction: (N, ..., C), targets: (N, ...) or rows (N, ..., C)."""
        scores, labels = self.with_labels(prediction, targets)
        own = scores[np.arange(len(labels)), labels, None]  # (M, 1)
        before = np.arange(scores.shape[1]) < labels[:, None]
        # NaN must never count as correct: comparisons with it are False, so all C rank higher.
        lower = (scores < own) | ((scores == own) & ~before)
        correct = (~lower).sum(axis=1) < min(self.k, scores.shape[1])
        self.counts += np.array([np.count_nonzero(correct), len(labels)])

    def results(self) -> dict[str, Any]:
        """top_k_accuracy, from 0 to 1."""
        return {f"top_{self.k}_accuracy": fraction(*self.counts)}


@final
class Accuracy(ClassMetric):
    """The fraction of samples whose highest of C scores is that of the label.

    Scores (N, ..., C), with C >= 2, may be logits or probabilities. Targets: as for
    SoftmaxCrossEntropy, integer labels (N, ...), where `ignore_index` does not count, or
    probability rows (N, ..., C), whose highest entry is the label. A row with a NaN is wrong.

    For one column of logits, or several labels in a row, see BinaryAccuracy.

    Raises:
        InputError: from `update`, other scores or targets.

    >>> Accuracy()(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]))
    {'accuracy': 0.5}
    """

    higher_is_better = True

    def __init__(self, *, ignore_index: int = -100) -> None:
        super().__init__(ignore_index)
        self.counts = np.zeros(2, np.int64)  # correct, all

    def update(self, prediction: Array, targets: Array) -> None:
        """prediction: (N, ..., C), targets: (N, ...) or rows (N, ..., C)."""
        scores, labels = self.with_labels(prediction, targets)
        self.counts[0] += np.count_nonzero(predicted_classes(scores, labels) == labels)
        self.counts[1] += len(labels)

    def results(self) -> dict[str, Any]:
        """Accuracy, from 0 to 1."""
        return {"accuracy": fraction(*self.counts)}


class _ClassCounts(ClassMetric):
    """Counts by label and predicted class."""

    def __init__(self, classes: int, ignore_index: int) -> None:
        super().__init__(ignore_index)
        self.classes = whole_number(type(self).__name__, "classes", classes, at_least=2)
        self.counts = np.zeros((self.classes, self.classes), np.int64)

    @final
    def update(self, prediction: Array, targets: Array) -> None:
        """prediction: (N, ..., classes), targets: (N, ...) or rows (N, ..., classes)."""
        scores, labels = self.with_labels(prediction, targets, self.classes)
        np.add.at(self.counts, (labels, predicted_classes(scores, labels)), 1)


@final
class ConfusionMatrix(_ClassCounts):
    """The number of samples of each label predicted as each class: row = label, column = predicted.

    Scores and targets: as for Accuracy, with C = classes. A row of scores with a NaN predicts
    nothing; so that no sum misses it and it is not taken for right, it counts as the class after
    its label, the first one after the last.

    Raises:
        InputError: classes is below 2; from `update`, scores that are not (N, ..., classes), or
            targets as for Accuracy.

    >>> matrix = ConfusionMatrix(2)
    >>> matrix(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]))["confusion_matrix"]
    array([[1, 0],
           [1, 0]])
    """

    def __init__(self, classes: int, *, ignore_index: int = -100) -> None:
        super().__init__(classes, ignore_index)

    def results(self) -> dict[str, Any]:
        """confusion_matrix: (classes, classes) counts."""
        return {"confusion_matrix": self.counts.copy()}


@final
class PrecisionRecallF1(_ClassCounts):
    """Precision, recall and their harmonic mean F1, for each class or as the mean over classes.

    Of class c, precision is the fraction of the samples predicted as c that are c, recall the
    fraction of the samples of c predicted as c: tp / (tp + fp), tp / (tp + fn), and F1 is
    2 tp / (2 tp + fp + fn). A class that is neither a label nor predicted has none of them and is
    left out of the means; a quotient 0 / 0 of another class counts as 0.

    With `positive` the values are those of that one class, as for a test that detects a disease.
    Scores, targets and NaN: as for ConfusionMatrix.

    Raises:
        InputError: classes is below 2, or no class `positive`; from `update` as ConfusionMatrix.

    Source: van Rijsbergen, "Information Retrieval", 2nd edition, 1979, chapter 7.

    >>> metric = PrecisionRecallF1(2, positive=1)
    >>> metric(np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]]), np.array([0, 0, 1]))
    {'precision': 0.5, 'recall': 1.0, 'f1': 0.6666666666666666}
    """

    higher_is_better = True
    counterpart = "BinaryPrecisionRecallF1"

    def __init__(
        self, classes: int, *, positive: int | None = None, ignore_index: int = -100
    ) -> None:
        super().__init__(classes, ignore_index)
        if positive is not None:
            positive = whole_number("PrecisionRecallF1", "positive", positive, at_least=0)
            if positive >= self.classes:
                raise InputError(
                    f"PrecisionRecallF1 expects positive from 0 to {classes - 1}, got {positive}"
                )
        self.positive = positive

    def per_class(self) -> dict[str, Array]:
        """precision, recall and f1 as arrays (classes,), NaN for a class without any sample."""
        return precision_recall_f1(self.counts)

    def results(self) -> dict[str, Any]:
        """precision, recall and f1, from 0 to 1: the means over the classes, or of `positive`."""
        if self.positive is not None:
            return {name: float(each[self.positive]) for name, each in self.per_class().items()}
        return {name: mean_of_known(each) for name, each in self.per_class().items()}


def fraction(part: int, whole: int) -> float:
    """The quotient; NaN for nothing of nothing."""
    return int(part) / int(whole) if whole else float("nan")


def predicted_classes(scores: Array, labels: Array) -> Array:
    """The class (M,) of the highest of scores (M, C); with a NaN the one after the label."""
    predicted: Array = scores.argmax(axis=1)
    if scores.size and math.isnan(scores.max()):  # argmax takes NaN for the highest
        nan = np.isnan(scores[np.arange(len(labels)), predicted])
        predicted[nan] = (labels[nan].astype(np.int64) + 1) % scores.shape[1]
    return predicted


def precision_recall_f1(counts: Array) -> dict[str, Array]:
    """Of each class, from a confusion matrix, see `PrecisionRecallF1`."""
    hits = counts.diagonal()
    predicted, actual = counts.sum(axis=0), counts.sum(axis=1)
    known = predicted + actual > 0
    return {
        "precision": _fractions(hits, predicted, known),
        "recall": _fractions(hits, actual, known),
        "f1": _fractions(2 * hits, predicted + actual, known),
    }


def mean_of_known(values: Array) -> float:
    """The mean of the values that are not NaN; NaN without any."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _fractions(part: Array, whole: Array, known: Array) -> Array:
    fractions = np.where(known, 0.0, np.nan)
    return np.divide(part, whole, out=fractions, where=whole > 0)
