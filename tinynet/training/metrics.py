"""Metrics: measures of how good predictions are, accumulated batch by batch.

`update(prediction, targets)` adds a batch, `results()` returns the values by name, and `reset()`
starts again. The metrics here count in integers, so that the order of batches changes no value.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.parameter import Array
from tinynet.saving.state import State, check_arrays, check_keys, load_arrays
from tinynet.validation import first_index, index_text, whole_number


class Metric(ABC):
    """The base class of metrics, which keep their counts in arrays as public attributes, from 0 on.

    Lower is better for results named ..._loss or ..._error, higher for all others.
    """

    @abstractmethod
    def update(self, prediction: Array, targets: Array) -> None:
        """Adds a batch."""

    @abstractmethod
    def results(self) -> dict[str, Any]:
        """The values so far, by name; NaN before the first batch."""

    @final
    def reset(self) -> None:
        """Sets every count to 0."""
        for array in self.state_dict().values():
            array[...] = 0

    @final
    def __call__(self, prediction: Array, targets: Array) -> dict[str, Any]:
        """The values of this one batch."""
        self.reset()
        self.update(prediction, targets)
        return self.results()

    @final
    def state_dict(self) -> State:
        """The counts: the arrays themselves."""
        return {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}

    @final
    def check_state_dict(self, state: Any) -> None:
        """Raises InputError unless the state has every count."""
        check_arrays(type(self).__name__, self.state_dict(), state)

    @final
    def load_state_dict(self, state: Any) -> None:
        """Continues from a state."""
        self.check_state_dict(state)
        load_arrays(self.state_dict(), state)


@final
class TopKAccuracy(Metric):
    """The fraction of samples whose label is among the k highest of C scores.

    Of equal scores, the one with the lower index ranks higher.

    Raises:
        InputError: k is below 1; from `update`, scores that are not (N, ..., C) or
            labels that are not (N, ...).

    >>> TopKAccuracy(2)(np.array([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1]]), np.array([1, 2]))
    {'top_2_accuracy': 0.5}
    """

    def __init__(self, k: int) -> None:
        self.k = whole_number("TopKAccuracy", "k", k)
        self.counts = np.zeros(2, np.int64)  # correct, all

    def update(self, prediction: Array, targets: Array) -> None:
        """prediction: (N, ..., C), targets: (N, ...) or rows whose highest entry is the label."""
        prediction, labels = _scores_and_labels("TopKAccuracy", prediction, targets)
        own = prediction[np.arange(len(labels)), labels, None]  # (N, 1)
        before = np.arange(prediction.shape[1]) < labels[:, None]
        # NaN must never count as correct: comparisons with it are False, so all C rank higher.
        lower = (prediction < own) | ((prediction == own) & ~before)
        correct = (~lower).sum(axis=1) < min(self.k, prediction.shape[1])
        self.counts += np.array([np.count_nonzero(correct), len(labels)])

    def results(self) -> dict[str, Any]:
        """top_k_accuracy, from 0 to 1."""
        return {f"top_{self.k}_accuracy": _fraction(*self.counts)}


@final
class Accuracy(Metric):
    """The fraction of samples whose highest of C scores is that of the label.

    Raises:
        InputError: from `update`, scores that are not (N, ..., C) or labels that are not (N, ...).

    >>> Accuracy()(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]))
    {'accuracy': 0.5}
    """

    def __init__(self) -> None:
        self.counts = np.zeros(2, np.int64)  # correct, all

    def update(self, prediction: Array, targets: Array) -> None:
        """prediction: (N, ..., C), targets: (N, ...) or rows whose highest entry is the label."""
        prediction, labels = _scores_and_labels("Accuracy", prediction, targets)
        rows, predicted = np.arange(len(labels)), prediction.argmax(axis=1)
        # argmax takes NaN for the highest.
        correct = (predicted == labels) & ~np.isnan(prediction[rows, predicted])
        self.counts += np.array([np.count_nonzero(correct), len(labels)])

    def results(self) -> dict[str, Any]:
        """Accuracy, from 0 to 1."""
        return {"accuracy": _fraction(*self.counts)}


@final
class ConfusionMatrix(Metric):
    """The number of samples of each label predicted as each class: row = label, column = predicted.

    Raises:
        InputError: classes is below 1; from `update`, scores that are not (N, ..., classes) or
            labels that are not (N, ...) and in range.

    >>> matrix = ConfusionMatrix(2)
    >>> matrix(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]))["confusion_matrix"]
    array([[1, 0],
           [1, 0]])
    """

    def __init__(self, classes: int) -> None:
        self.classes = whole_number("ConfusionMatrix", "classes", classes)
        self.counts = np.zeros((self.classes, self.classes), np.int64)

    def update(self, prediction: Array, targets: Array) -> None:
        """prediction: (N, ..., classes), targets: (N, ...) or rows (N, ..., classes)."""
        _count("ConfusionMatrix", self.counts, prediction, targets)

    def results(self) -> dict[str, Any]:
        """confusion_matrix: (classes, classes) counts."""
        return {"confusion_matrix": self.counts.copy()}


@final
class PrecisionRecallF1(Metric):
    """Precision, recall and their harmonic mean F1, for each class or as the mean over classes.

    Of class c, precision is the fraction of the samples predicted as c that are c, recall the
    fraction of the samples of c predicted as c: tp / (tp + fp), tp / (tp + fn), and F1 is
    2 tp / (2 tp + fp + fn). A class that is neither a label nor predicted has none of them and is
    left out of the means; a quotient 0 / 0 of another class counts as 0.

    With `positive` the values are those of that one class, as for a test that detects a disease.

    Raises:
        InputError: classes is below 1, or no class `positive`; from `update` as ConfusionMatrix.

    Source: van Rijsbergen, "Information Retrieval", 2nd edition, 1979, chapter 7.

    >>> metric = PrecisionRecallF1(2, positive=1)
    >>> metric(np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]]), np.array([0, 0, 1]))
    {'precision': 0.5, 'recall': 1.0, 'f1': 0.6666666666666666}
    """

    def __init__(self, classes: int, *, positive: int | None = None) -> None:
        self.classes = whole_number("PrecisionRecallF1", "classes", classes)
        if positive is not None:
            positive = whole_number("PrecisionRecallF1", "positive", positive, at_least=0)
            if positive >= self.classes:
                raise InputError(
                    f"PrecisionRecallF1 expects positive from 0 to {classes - 1}, got {positive}"
                )
        self.positive = positive
        self.counts = np.zeros((self.classes, self.classes), np.int64)

    def update(self, prediction: Array, targets: Array) -> None:
        """prediction: (N, ..., classes), targets: (N, ...) or rows (N, ..., classes)."""
        _count("PrecisionRecallF1", self.counts, prediction, targets)

    def per_class(self) -> dict[str, Array]:
        """precision, recall and f1 as arrays (classes,), NaN for a class without any sample."""
        hits = self.counts.diagonal()
        predicted, actual = self.counts.sum(axis=0), self.counts.sum(axis=1)
        known = predicted + actual > 0
        return {
            "precision": _fractions(hits, predicted, known),
            "recall": _fractions(hits, actual, known),
            "f1": _fractions(2 * hits, predicted + actual, known),
        }

    def results(self) -> dict[str, Any]:
        """precision, recall and f1, from 0 to 1: the means over the classes, or of `positive`."""
        if self.positive is not None:
            return {name: float(each[self.positive]) for name, each in self.per_class().items()}
        known = {name: each[~np.isnan(each)] for name, each in self.per_class().items()}
        return {name: float(v.mean()) if v.size else np.nan for name, v in known.items()}


@final
class Metrics:
    """Several metrics of the same predictions: copies of those given, starting from 0.

    Raises:
        InputError: an item is not a metric, or two results have the same name.
    """

    def __init__(self, metrics: Sequence[Metric], reserved: Sequence[str] = ()) -> None:
        if not isinstance(metrics, Sequence):
            raise InputError(f"Trainer expects metrics as a list of them, got {metrics!r}")
        for metric in metrics:
            if not isinstance(metric, Metric):
                hint = f": write {metric.__name__}(...)" if isinstance(metric, type) else ""
                raise InputError(f"Trainer expects metrics, got {metric!r}{hint}")
        self.metrics = deepcopy(tuple(metrics))
        self.reset()
        names = [*reserved, *(name for metric in self.metrics for name in metric.results())]
        if len(set(names)) < len(names):
            raise InputError(f"Trainer expects metrics of different names, got {', '.join(names)}")

    def reset(self) -> None:
        """Sets every count to 0."""
        for metric in self.metrics:
            metric.reset()

    def update(self, prediction: Array, targets: Array) -> None:
        """Adds a batch."""
        for metric in self.metrics:
            metric.update(prediction, targets)

    def results(self) -> dict[str, Any]:
        """The values of all metrics by name."""
        return {name: value for metric in self.metrics for name, value in metric.results().items()}

    def scalars(self) -> dict[str, float]:
        """The results that are single numbers, which a History can hold."""
        return {n: float(value) for n, value in self.results().items() if np.ndim(value) == 0}

    def state_dict(self) -> State:
        """The counts of each metric, by its position."""
        return {str(index): metric.state_dict() for index, metric in enumerate(self.metrics)}

    def check_state_dict(self, state: Any) -> None:
        """Raises InputError unless the state has the counts of every metric."""
        check_keys("metrics", state, self.state_dict())
        for index, metric in enumerate(self.metrics):
            metric.check_state_dict(state[str(index)])

    def load_state_dict(self, state: Any) -> None:
        """Continues from a state."""
        self.check_state_dict(state)
        for index, metric in enumerate(self.metrics):
            metric.load_state_dict(state[str(index)])


def _count(who: str, counts: Array, prediction: Array, targets: Array) -> None:
    scores, labels = _scores_and_labels(who, prediction, targets)
    classes = len(counts)
    if scores.shape[1] != classes:
        raise InputError(
            f"{who} expects scores of shape (N, ..., {classes}), got {prediction.shape}"
        )
    np.add.at(counts, (labels, scores.argmax(axis=1)), 1)


def _scores_and_labels(who: str, prediction: Array, targets: Array) -> tuple[Array, Array]:
    """Scores (M, C) and labels (M,): every position of a sequence counts as a sample."""
    shape = prediction.shape if isinstance(prediction, np.ndarray) else type(prediction).__name__
    if not isinstance(shape, tuple) or len(shape) < 2 or shape[-1] == 0:
        raise InputError(f"{who} expects scores of shape (N, ..., C), got {shape}")
    labels = np.asarray(targets)
    if labels.shape == shape:
        labels = labels.argmax(axis=-1)
    if labels.shape != shape[:-1] or labels.dtype.kind not in "iu":
        raise InputError(
            f"{who} expects integer labels of shape {shape[:-1]} or rows of shape {shape}, "
            f"got {labels.dtype} of shape {labels.shape}"
        )
    if labels.size and not (labels.min() >= 0 and labels.max() < shape[-1]):
        index = first_index((labels < 0) | (labels >= shape[-1]))
        raise InputError(
            f"{who} expects labels from 0 to {shape[-1] - 1}, "
            f"got {labels[index]} at index {index_text(index)}"
        )
    return prediction.reshape(-1, shape[-1]), labels.reshape(-1)


def _fraction(part: int, whole: int) -> float:
    return int(part) / int(whole) if whole else float("nan")


def _fractions(part: Array, whole: Array, known: Array) -> Array:
    fractions = np.where(known, 0.0, np.nan)
    return np.divide(part, whole, out=fractions, where=whole > 0)
