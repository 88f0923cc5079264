"""Metrics of predicted probabilities: the log loss of classes and of yes-or-no decisions."""

from typing import Any, final

import numpy as np

from tinynet.functional import log_softmax, softplus
from tinynet.metrics.inputs import ClassMetric, binary_targets
from tinynet.metrics.metric import MeanMetric
from tinynet.parameter import Array


@final
class LogLoss(ClassMetric, MeanMetric):
    """The mean of -log softmax(z) at the label, in nats, of logits z (N, ..., C) with C >= 2.

    Targets: as for SoftmaxCrossEntropy, integer labels (N, ...), where `ignore_index` does not
    count, or probability rows p (N, ..., C), with -Σⱼ pⱼ log softmax(z)ⱼ for a row. It is that
    loss without weights and label smoothing, so that it compares nets trained with other ones.

    For one column of logits, or several labels in a row, see BinaryLogLoss.

    Raises:
        InputError: from `update`, other scores or targets.

    >>> round(LogLoss()(np.zeros((2, 10)), np.array([3, 7]))["log_loss"], 4)  # ln 10
    2.3026
    """

    higher_is_better = False
    counterpart = "BinaryLogLoss"

    def __init__(self, *, ignore_index: int = -100) -> None:
        ClassMetric.__init__(self, ignore_index)
        MeanMetric.__init__(self)

    def update(self, prediction: Array, targets: Array) -> None:
        """prediction: (N, ..., C), targets: (N, ...) or rows (N, ..., C)."""
        logits, checked = self.checked(prediction, targets)
        log_p = log_softmax(logits.astype(np.float64))
        if checked.ndim == 1:
            self.add(-log_p[np.arange(len(checked)), checked])
        else:  # where p is 0 its term is 0, even if log softmax(z) is infinite
            terms = np.multiply(checked, -log_p, out=np.zeros_like(log_p), where=checked > 0)
            self.add(terms.sum(axis=1))

    def results(self) -> dict[str, Any]:
        """log_loss, from 0 up."""
        return {"log_loss": self.mean}


@final
class BinaryLogLoss(MeanMetric):
    """The mean of -log s(z) where the target is 1 and -log s(-z) where it is 0, in nats.

    Logits z (N, ...), one column or one for each label, without a Sigmoid before them, and
    targets 0 and 1 of their shape; s(z) = 1 / (1 + exp(-z)). It is BinaryCrossEntropy without
    weights.

    Raises:
        InputError: from `update`, other targets.

    >>> round(BinaryLogLoss()(np.zeros((2, 1)), np.array([[0], [1]]))["log_loss"], 4)  # ln 2
    0.6931
    """

    higher_is_better = False

    def update(self, prediction: Array, targets: Array) -> None:
        """prediction: (N, ...), targets: (N, ...)."""
        positive = binary_targets(self, prediction, targets)
        logits = prediction.astype(np.float64)
        self.add(softplus(np.where(positive, -logits, logits)))

    def results(self) -> dict[str, Any]:
        """log_loss, from 0 up."""
        return {"log_loss": self.mean}
