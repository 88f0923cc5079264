"""Metrics of yes-or-no decisions: logits of one column or several labels, with targets 0 and 1."""

from typing import Any, final

import numpy as np

from tinynet.metrics.classification import fraction, precision_recall_f1
from tinynet.metrics.inputs import binary_targets
from tinynet.metrics.metric import Metric
from tinynet.parameter import Array
from tinynet.validation import finite_number


@final
class BinaryAccuracy(Metric):
    """The fraction of entries on the right side of the threshold: above it for 1, else for 0.

    Logits (N, ...), one column or one for each label, each entry a decision of its own; targets
    0 and 1 of their shape. The threshold 0 of logits is the probability 1/2: for the output of a
    Sigmoid write threshold=0.5. A NaN is wrong.

    Raises:
        InputError: the threshold is not finite; from `update`, other targets.

    >>> BinaryAccuracy()(np.array([[5.0], [-5.0], [5.0], [-5.0]]), np.array([[0], [1], [0], [0]]))
    {'accuracy': 0.25}
    """

    higher_is_better = True

    def __init__(self, threshold: float = 0.0) -> None:
        self.threshold = finite_number("BinaryAccuracy", "threshold", threshold)
        self.counts = np.zeros(2, np.int64)  # correct, all

    def update(self, prediction: Array, targets: Array) -> None:
        """prediction: (N, ...), targets: (N, ...)."""
        positive = binary_targets(self, prediction, targets)
        correct = _decisions(prediction, positive, self.threshold) == positive
        self.counts += np.array([np.count_nonzero(correct), correct.size])

    def results(self) -> dict[str, Any]:
        """Accuracy, from 0 to 1."""
        return {"accuracy": fraction(*self.counts)}


@final
class BinaryPrecisionRecallF1(Metric):
    """Precision, recall and F1 of the decisions for 1, over all entries: the micro average.

    Logits, targets, threshold and NaN: as for BinaryAccuracy. For tp, fp and fn see
    PrecisionRecallF1; a quotient 0 / 0 counts as 0, but where no entry is 1 or decided to be 1
    the values are NaN.

    Raises:
        InputError: as BinaryAccuracy.

    >>> metric = BinaryPrecisionRecallF1()
    >>> metric(np.array([2.0, 1.0, -1.0, -1.0]), np.array([1, 0, 0, 0]))
    {'precision': 0.5, 'recall': 1.0, 'f1': 0.6666666666666666}
    """

    higher_is_better = True

    def __init__(self, threshold: float = 0.0) -> None:
        self.threshold = finite_number("BinaryPrecisionRecallF1", "threshold", threshold)
        self.counts = np.zeros((2, 2), np.int64)  # by target and decision

    def update(self, prediction: Array, targets: Array) -> None:
        """prediction: (N, ...), targets: (N, ...)."""
        positive = binary_targets(self, prediction, targets)
        pairs = 2 * positive + _decisions(prediction, positive, self.threshold)
        self.counts += np.bincount(pairs.reshape(-1), minlength=4).reshape(2, 2)

    def results(self) -> dict[str, Any]:
        """precision, recall and f1, from 0 to 1."""
        return {name: float(each[1]) for name, each in precision_recall_f1(self.counts).items()}


def _decisions(logits: Array, positive: Array, threshold: float) -> Array:
    """The decisions for 1; a NaN decides against its target."""
    return np.where(np.isnan(logits), ~positive, logits > threshold)
