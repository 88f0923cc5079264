"""Loss: the base class of losses, and the loss of several batches as that of one."""

from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple, final

from tinynet.layer import Layer
from tinynet.parameter import Array


class Loss(Layer):
    """The base class of losses: `forward(prediction, targets)` is a number, `backward()` its dx.

    A loss that is no mean over samples also overrides `divisor`: with it the losses of several
    batches combine to that of one batch with all their samples.
    """

    def divisor(self, prediction: Array, targets: Array) -> float | None:  # noqa: ARG002  # as in the base class
        """What `forward` divides a sum by: the number of samples. None for a loss that is a sum."""
        return float(len(prediction))


@final
@dataclass
class LossSum:
    """The sum over several batches, and the sum of their divisors; None if nothing is divided.

    >>> total = LossSum()
    >>> total.add(LossSum(6.0, 3.0))
    >>> total.add(LossSum(6.0, 1.0))
    >>> total.mean
    3.0
    """

    total: float = 0.0
    divisor: float | None = None

    def add(self, other: "LossSum") -> None:
        """Adds a batch, or several."""
        self.total += other.total
        self.divisor = None if other.divisor is None else (self.divisor or 0.0) + other.divisor

    @property
    def mean(self) -> float:
        """The loss of all batches; 0 for a mean over nothing, such as labels all ignored."""
        return 0.0 if self.divisor == 0 else self.total / (self.divisor or 1.0)


class BatchLoss(NamedTuple):
    """The loss of a batch: as the loss gives it, and as a sum.

    `factor` times the gradient of `source` is the gradient of the sum.
    """

    value: float
    sum: LossSum
    source: Layer
    factor: float


def batch_loss(loss: Layer, prediction: Any, targets: Any) -> BatchLoss:
    """Runs the loss on a batch. A plain layer is taken for a mean over samples.

    >>> from tinynet import MeanSquaredError
    >>> import numpy as np
    >>> x = np.array([[1.0], [2.0]])
    >>> batch_loss(MeanSquaredError(), x, 0 * x)[:2]
    (2.5, LossSum(total=5.0, divisor=2.0))
    """
    value: float = loss(prediction, targets)
    # After forward, which has checked both.
    divisor = loss.divisor(prediction, targets) if isinstance(loss, Loss) else len(prediction)
    if divisor == 0:
        return _undivided(loss, value, prediction, targets)
    factor = 1.0 if divisor is None else divisor
    return BatchLoss(value, LossSum(value * factor, divisor), loss, factor)


def _undivided(loss: Layer, value: float, prediction: Any, targets: Any) -> BatchLoss:
    """The sum behind a mean over nothing, which may be of classes that are no labels.

    So it is with label_smoothing, where the classes of all labels have the weight 0.
    """
    if not hasattr(loss, "reduction"):
        return BatchLoss(value, LossSum(0.0, 0.0), loss, 0.0)
    summed = copy(loss)
    vars(summed)["reduction"] = "sum"
    return BatchLoss(value, LossSum(summed(prediction, targets), 0.0), summed, 1.0)
