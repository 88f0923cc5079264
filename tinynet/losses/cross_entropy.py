"""Cross-entropy: how surprised a prediction is by the classes that came."""

import math
from typing import final

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tinynet.layer import Layer
from tinynet.losses.targets import check_class_targets, check_reduction, class_weight
from tinynet.parameter import Array
from tinynet.validation import finite_number, whole_number


@final
class SoftmaxCrossEntropy(Layer):
    """L = mean over rows of -Σⱼ qⱼ log softmax(z)ⱼ, for logits z (N, ..., C), in nats.

    Targets: integer labels (N, ...), each in 0..C-1, or probability rows p (N, ..., C); a label
    is a p of 1 for its class. q = weight · ((1 - label_smoothing) p + label_smoothing / C).
    The mean divides by the number of rows; for labels by the sum of weight[label], over those
    that are not `ignore_index`: these count nothing. reduction="sum" divides by nothing.
    Gradient: dz = (s Σⱼ qⱼ - q) / divisor, s = softmax(z), as s (Σⱼ qⱼ - q) - q (1 - s) so that
    nothing cancels. By default, for labels, it is (s - p) / N.

    It is `CrossEntropyLoss` of PyTorch, with the classes on the last axis; where no label counts,
    loss and gradient are 0, and not NaN. `.weight` is an array (C,), or None.

    Raises:
        InputError: settings out of range, no float logits (N, ..., C), or other targets.

    Source: the stable form is log-sum-exp; see Blanchard, Higham and Higham, "Accurately computing
    the log-sum-exp and softmax functions", IMA Journal of Numerical Analysis 41(4), 2021.

    >>> loss = SoftmaxCrossEntropy()
    >>> round(loss(np.zeros((2, 10)), np.array([3, 7])), 4)  # ln 10
    2.3026
    >>> loss.backward()[0, 3].round(4)  # (1/10 - 1) / 2
    np.float64(-0.45)
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
        classes = logits.shape[-1]
        z = np.ascontiguousarray(logits).reshape(-1, classes)  # (M, C): any place is a row
        starts = np.arange(0, z.size, classes)  # of the rows, where all entries lie in one line
        top = starts + z.argmax(axis=1)
        shifted = z - z.take(top)[:, None]  # (M, C), at most 0
        # The largest term of each sum is 1. Kept apart from the rest it swallows none of them, and
        # loss and gradient keep all their digits where the network is sure.
        probabilities = np.exp(shifted)
        line = probabilities.reshape(-1)  # the same memory
        line[top] = 0
        rest = probabilities.sum(axis=1)  # (M,)
        line[top] = 1
        whole = 1 + rest
        probabilities /= whole[:, None]
        others = rest / whole  # 1 - line[top]
        if targets.ndim < logits.ndim and not self.label_smoothing:
            labels, divisor = targets.reshape(-1), float(len(z))
            weighed = some_ignored or self.weight is not None
            if weighed:
                labels, counts, divisor = self._counted(labels)
            own = np.add(starts, labels, dtype=np.intp)
            losses = np.log1p(rest) - shifted.take(own)
            line[own] = np.where(own == top, -others, line[own] - 1)
            dlogits = probabilities
            if weighed:
                losses = _times(counts, losses)
                dlogits *= counts[:, None].astype(z.dtype)
        else:
            q, divisor = self.asked(targets, logits.shape, z.dtype)
            losses = _times(q, np.log1p(rest)[:, None] - shifted)
            against = 1 - probabilities
            against.reshape(-1)[top] = others
            dlogits = probabilities * (q.sum(axis=1, keepdims=True) - q) - against * q
        divisor = divisor if self.reduction == "mean" else 1.0
        dlogits /= divisor
        loss = float(losses.sum(dtype=np.float64)) / divisor
        self.save_for_backward(loss, dlogits.reshape(logits.shape))
        return loss

    def backward(self) -> Array:
        """Returns dlogits: (N, ..., C)."""
        _, dlogits = self.saved_for_backward()
        result: Array = dlogits
        return result

    def asked(
        self, targets: Array, shape: tuple[int, ...], dtype: DTypeLike = np.float64
    ) -> tuple[Array, float]:
        """How much is asked of each class, q (M, C), and what the mean divides by."""
        rows, classes = math.prod(shape[:-1]), shape[-1]
        if targets.ndim == len(shape):
            p, divisor = targets.reshape(rows, classes).astype(dtype), float(rows)
        else:
            labels, _, divisor = self._counted(targets.reshape(-1))
            p = np.zeros((rows, classes), dtype)
            p[np.arange(rows), labels] = 1
        q = (1 - self.label_smoothing) * p + self.label_smoothing / classes
        if self.weight is not None:
            q *= self.weight.astype(dtype)
        if targets.ndim < len(shape):
            q[targets.reshape(-1) == self.ignore_index] = 0
        return q, divisor

    def _counted(self, labels: Array) -> tuple[Array, Array, float]:
        """Labels, 0 for the ignored; how much each of them counts; the sum of that."""
        ignored = labels == self.ignore_index
        labels = np.where(ignored, 0, labels)
        counts = np.where(ignored, 0.0, 1.0 if self.weight is None else self.weight[labels])
        return labels, counts, float(counts.sum()) or math.inf  # of nothing the mean is 0


def _times(weight: Array, surprise: Array) -> Array:
    # 0 · inf is 0 here: what is impossible and never asked for costs nothing.
    return np.multiply(weight, surprise, where=weight > 0, out=np.zeros_like(surprise))
