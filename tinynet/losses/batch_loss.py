"""The loss of several batches as that of one: sums, and what they are divided by, once.

A network with several heads has a sum and a divisor for each of them: L = Σₖ sumₖ / divisorₖ.
"""

from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np

from tinynet.layer import Layer
from tinynet.losses.loss import Loss, MultiTaskLoss, scaled_backward
from tinynet.mode import inference
from tinynet.samples import Samples, count_samples


@final
@dataclass
class LossSum:
    """The sum over several batches and the sum of their divisors, for each head.

    A divisor is None for a loss that is a sum, of which nothing is divided.

    >>> total = LossSum()
    >>> total.add(LossSum((6.0,), (3.0,)))
    >>> total.add(LossSum((6.0,), (1.0,)))
    >>> total.mean
    3.0
    """

    totals: tuple[float, ...] = ()
    divisors: tuple[float | None, ...] = ()

    def add(self, other: "LossSum") -> None:
        """Adds a batch, or several."""
        if not self.totals:
            self.totals, self.divisors = other.totals, other.divisors
            return
        self.totals = tuple(a + b for a, b in zip(self.totals, other.totals, strict=True))
        pairs = zip(self.divisors, other.divisors, strict=True)
        self.divisors = tuple(None if b is None else (a or 0.0) + b for a, b in pairs)

    @property
    def mean(self) -> float:
        """The loss of all batches; 0 for a mean over nothing, such as labels all ignored."""
        pairs = zip(self.totals, self.divisors, strict=True)
        return sum(0.0 if d == 0 else total / (d or 1.0) for total, d in pairs)


class HeadLoss(NamedTuple):
    """The loss of a batch at one head, times the weight of the head.

    `factor` times the gradient of `source` is the gradient of the sum `total`.
    """

    value: float
    total: float
    divisor: float | None
    source: Layer
    factor: float


class BatchLoss(NamedTuple):
    """The loss of a batch, in all and at each head."""

    value: float
    heads: list[HeadLoss]

    @property
    def sum(self) -> LossSum:
        """The loss as sums and divisors."""
        return LossSum(tuple(h.total for h in self.heads), tuple(h.divisor for h in self.heads))

    def gradient(self, divisors: tuple[float | None, ...] | None) -> Any:
        """The gradient of the sum, or of several heads' sums, each divided by its divisor.

        None where nothing of the batch counts.
        """
        if not any(head.factor for head in self.heads):
            return None
        if divisors is None:
            (head,) = self.heads
            return scaled_backward(head.source, head.factor)
        pairs = zip(self.heads, divisors, strict=True)
        return tuple(
            scaled_backward(head.source, 0.0 if d == 0 else head.factor / (d or 1.0))
            for head, d in pairs
        )


def batch_loss(loss: Layer, prediction: Any, targets: Any) -> BatchLoss:
    """Runs the loss on a batch. A plain layer is taken for a mean over samples.

    >>> from tinynet import MeanSquaredError
    >>> x = np.array([[1.0], [2.0]])
    >>> batch = batch_loss(MeanSquaredError(), x, 0 * x)
    >>> batch.value, batch.sum
    (2.5, LossSum(totals=(5.0,), divisors=(2.0,)))
    """
    if not isinstance(loss, MultiTaskLoss):
        head = _head_loss(loss, prediction, targets)
        return BatchLoss(head.value, [head])
    weighted = []
    for weight, head in zip(loss.weights, loss.each(_head_loss, prediction, targets), strict=True):
        value, total, factor = weight * head.value, weight * head.total, weight * head.factor
        weighted.append(HeadLoss(value, total, head.divisor, head.source, factor))
    return BatchLoss(sum(head.value for head in weighted), weighted)


def _head_loss(loss: Layer, prediction: Any, targets: Any) -> HeadLoss:
    value: float = loss(prediction, targets)
    # After forward, which has checked both.
    divisor = divisor_of(loss, prediction, targets)
    if divisor == 0:
        return _undivided(loss, value, prediction, targets)
    factor = 1.0 if divisor is None else divisor
    return HeadLoss(value, value * factor, divisor, loss, factor)


def divisor_of(loss: Layer, prediction: Any, targets: Any) -> float | None:
    """What the loss divides a sum by."""
    if isinstance(loss, Loss):
        return loss.divisor(prediction, targets)
    return float(count_samples(prediction))


def _undivided(loss: Layer, value: float, prediction: Any, targets: Any) -> HeadLoss:
    """The sum behind a mean over nothing, which may be of classes that are no labels.

    So it is with label_smoothing, where the classes of all labels have the weight 0.
    """
    if not hasattr(loss, "reduction"):
        return HeadLoss(value, 0.0, 0.0, loss, 0.0)
    summed = copy(loss)
    vars(summed)["reduction"] = "sum"
    return HeadLoss(value, summed(prediction, targets), 0.0, summed, 1.0)


def whole_divisors(
    loss: MultiTaskLoss, part: Samples, targets: Samples
) -> tuple[float | None, ...]:
    """The divisors of a whole batch with these targets, from the prediction of a part of it."""

    def divisor(head: Layer, prediction: Any, labels: Any) -> float | None:
        # Only the shape counts, so the first sample stands for all.
        first = np.broadcast_to(prediction[:1], (len(labels), *prediction.shape[1:]))
        with inference():
            copy(head)(first, labels)  # checks the labels of the whole batch
        return divisor_of(head, first, labels)

    return tuple(loss.each(divisor, part, targets))
