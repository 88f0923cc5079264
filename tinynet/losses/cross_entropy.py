"""Cross-entropy: the negative log-likelihood of the right classes under predicted probabilities."""

from __future__ import annotations  # help() then shows the names of the types

import math
from typing import final

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tinynet.functional import log_softmax
from tinynet.losses.loss import Loss
from tinynet.losses.targets import check_class_targets, check_reduction, class_weight
from tinynet.parameter import Array
from tinynet.validation import finite_number, whole_number


@final
class SoftmaxCrossEntropy(Loss):
    """L = mean over rows of -Σⱼ qⱼ log softmax(z)ⱼ, for logits z (N, ..., C), in nats.

    Targets: integer labels (N, ...) from 0 to C - 1, or probability rows p (N, ..., C); a label is
    a p of 1 for its class. q = weight · ((1 - label_smoothing) p + label_smoothing / C), for a
    label that is `ignore_index` 0. The mean divides by the number of rows, for labels by the sum
    of weight[label] over those that are not ignored; reduction="sum" does not divide.

    Gradient: dz = (s Σⱼ qⱼ - q) / divisor with s = softmax(z); by default (s - p) / N.

    It is `CrossEntropyLoss` of PyTorch, with the classes on the last axis; where all labels are
    ignored, loss and gradient are 0, and not NaN. `.weight` is an array (C,), or None.

    Raises:
        InputError: settings out of range, no float logits (N, ..., C), or other targets.

    >>> loss = SoftmaxCrossEntropy()
    >>> round(loss(np.zeros((2, 10)), np.array([3, 7])), 4)  # ln 10
    2.3026
    """

    def __init__(
        self,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        who = "SoftmaxCrossEntropy"
        self.weight = class_weight(who, weight)
        self.ignore_index = whole_number(who, "ignore_index", ignore_index, at_least=-(2**31))
        self.reduction = check_reduction(who, reduction)
        smoothing = finite_number(who, "label_smoothing", label_smoothing, at_least=0, at_most=1)
        self.label_smoothing = smoothing

    def forward(self, logits: Array, targets: Array) -> float:
        """logits: (N, ..., C), targets: (N, ...) or (N, ..., C) -> the loss."""
        some_ignored = check_class_targets(self, logits, targets, self.weight, self.ignore_index)
        log_p = log_softmax(logits).reshape(-1, logits.shape[-1])  # (M, C)
        own = own_log_p = weights = None
        if targets.ndim < logits.ndim and not self.label_smoothing:
            labels = targets.reshape(-1)
            if some_ignored or self.weight is not None:
                labels, weights = self._weighted_labels(labels)
            starts = np.arange(0, log_p.size, log_p.shape[1])  # of the rows in the flat log_p
            own = np.add(starts, labels, dtype=np.intp)  # (M,)
            own_log_p = log_p.take(own)
            losses = _times(weights, -own_log_p)
        else:
            weights = self.weighted_targets(targets, logits.shape, logits.dtype)
            losses = _times(weights, -log_p)
        divisor = 1.0
        if self.reduction == "mean":  # a mean over no labels is 0
            counted = self.divisor(logits, targets) if weights is not None else len(log_p)
            divisor = counted or math.inf
        loss = float(losses.sum(dtype=np.float64)) / divisor
        self.save_for_backward(loss, logits.shape, log_p, own, own_log_p, weights, divisor)
        return loss

    def backward(self) -> Array:
        """Returns dlogits: (N, ..., C)."""
        _, shape, log_p, own, own_log_p, weights, divisor = self.saved_for_backward()
        dz: Array = np.exp(log_p, out=None if own is None else log_p)  # then read no more
        # s - 1 as expm1(log s) keeps all its digits where the network is sure, s near 1.
        if own is not None:  # s - 1 at the label, s elsewhere
            dz.put(own, np.expm1(own_log_p))
            if weights is not None:
                dz *= weights[:, None].astype(dz.dtype)
        else:  # s Σ q - q, as s (Σ q - q) + q (s - 1)
            dz *= weights.sum(axis=1, keepdims=True) - weights
            dz += weights * np.expm1(log_p)
        dz /= divisor
        return dz.reshape(shape)

    def divisor(self, logits: Array, targets: Array) -> float | None:
        """The number of rows, for labels the sum of the weights that count; None for a sum."""
        if self.reduction == "sum":
            return None
        if targets.ndim == logits.ndim:
            return float(math.prod(logits.shape[:-1]))
        if self.weight is None:
            return float(targets.size - np.count_nonzero(targets == self.ignore_index))
        return float(self._weighted_labels(targets)[1].sum())

    def weighted_targets(
        self, targets: Array, shape: tuple[int, ...], dtype: DTypeLike = np.float64
    ) -> Array:
        """Q (M, C), the weight of each class in each row's loss."""
        rows, classes = math.prod(shape[:-1]), shape[-1]
        if targets.ndim == len(shape):
            p = targets.reshape(rows, classes).astype(dtype)
        else:
            labels, _ = self._weighted_labels(targets.reshape(-1))
            p = np.zeros((rows, classes), dtype)
            p[np.arange(rows), labels] = 1
        q = (1 - self.label_smoothing) * p + self.label_smoothing / classes
        if self.weight is not None:
            q *= self.weight.astype(dtype)
        if targets.ndim < len(shape):
            q[targets.reshape(-1) == self.ignore_index] = 0
        return q

    def _weighted_labels(self, labels: Array) -> tuple[Array, Array]:
        """Labels, 0 for the ignored, and the weight of each, 0 for the ignored."""
        ignored = labels == self.ignore_index
        labels = np.where(ignored, 0, labels)
        return labels, np.where(ignored, 0.0, 1.0 if self.weight is None else self.weight[labels])


def _times(weights: Array | None, losses: Array) -> Array:
    """The product, with 0 · inf = 0: an impossible class without weight costs nothing."""
    if weights is None:
        return losses
    return np.multiply(weights, losses, where=weights > 0, out=np.zeros_like(losses))
