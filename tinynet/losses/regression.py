"""Regression losses: a mean over all entries of a function of prediction - target."""

from abc import abstractmethod
from typing import final

import numpy as np

from tinynet.errors import InputError
from tinynet.losses.loss import Loss
from tinynet.losses.targets import check_reduction, check_same_shape
from tinynet.parameter import Array
from tinynet.validation import finite_number


class ElementwiseLoss(Loss):
    """The base class: subclasses write the loss of each difference, and its derivative."""

    reduction: str

    @abstractmethod
    def losses(self, difference: Array) -> Array:
        """The loss of each entry, for prediction - target."""

    @abstractmethod
    def derivatives(self, difference: Array) -> Array:
        """The derivative of each entry's loss by its prediction; a new array."""

    @final
    def forward(self, prediction: Array, targets: Array) -> float:
        """prediction: (N, ...), targets: (N, ...) -> the loss."""
        difference = prediction - check_same_shape(self, prediction, targets)
        divisor = self.divisor(prediction, targets) or 1
        # In float64: a mean over many entries keeps the digits of its terms.
        loss = float(self.losses(difference).sum(dtype=np.float64)) / divisor
        self.save_for_backward(loss, difference, divisor, prediction.dtype)
        return loss

    @final
    def backward(self) -> Array:
        """Returns dprediction: (N, ...)."""
        _, difference, divisor, dtype = self.saved_for_backward()
        dprediction = self.derivatives(difference)
        dprediction *= 1 / divisor
        return dprediction.astype(dtype, copy=False)  # float64 targets give a float64 difference

    def divisor(self, prediction: Array, targets: Array) -> float | None:  # noqa: ARG002  # as forward
        """The number of entries; None for a sum."""
        return float(prediction.size) if self.reduction == "mean" else None


@final
class MeanSquaredError(ElementwiseLoss):
    """L = mean over all entries of (prediction - target)², for any shape (N, ...).

    Targets: floats or integers, of the shape of the prediction, or (N,) for (N, 1) and back; else
    nothing is broadcast.
    Gradient: dprediction = 2 (prediction - target) / size, size being the number of all entries,
    or 1 with reduction="sum". It is `MSELoss` of PyTorch.

    Raises:
        InputError: another reduction, no float prediction (N, ...), none of its entries, or
            targets of another shape.

    Source: Goodfellow, Bengio and Courville, "Deep Learning", MIT Press, 2016, section 5.5.1: the
    negative log-likelihood of a normal distribution around the prediction, up to constants.

    >>> loss = MeanSquaredError()
    >>> loss(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1, 2], [3, 2]]))
    1.0
    """

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = check_reduction("MeanSquaredError", reduction)

    def losses(self, difference: Array) -> Array:
        """The squares, in float64."""
        return np.square(difference, dtype=np.float64)

    def derivatives(self, difference: Array) -> Array:
        """Twice the difference."""
        return 2 * difference


@final
class MeanAbsoluteError(ElementwiseLoss):
    """L = mean over all entries of |prediction - target|, for any shape (N, ...).

    The best constant prediction is the median: outliers count no more than their distance.
    Targets: as for MeanSquaredError.
    Gradient: dprediction = sign(prediction - target) / size, and 0 where they are equal; size is
    the number of all entries, or 1 with reduction="sum". It is `L1Loss` of PyTorch.

    Raises:
        InputError: as MeanSquaredError.

    >>> loss = MeanAbsoluteError()
    >>> loss(np.array([1.0, 5.0]), np.array([1, 2]))
    1.5
    """

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = check_reduction("MeanAbsoluteError", reduction)

    def losses(self, difference: Array) -> Array:
        """The absolute values."""
        return np.abs(difference)

    def derivatives(self, difference: Array) -> Array:
        """The signs."""
        return np.sign(difference)


@final
class Huber(ElementwiseLoss):
    """L = mean over all entries of d² / 2 where |d| <= delta, else delta (|d| - delta / 2).

    d = prediction - target, for any shape (N, ...): quadratic near the target, linear beyond, so
    that outliers have a bounded gradient. Targets: as for MeanSquaredError.
    Gradient: dprediction = d / size, clipped to ±delta / size; size is the number of all entries,
    or 1 with reduction="sum". It is `HuberLoss` of PyTorch, with the reduction behind delta.

    Raises:
        InputError: delta is not above 0; else as MeanSquaredError.

    Source: Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics
    35(1), 1964.

    >>> loss = Huber()
    >>> loss(np.array([1.0, 5.0]), np.array([2, 2]))  # (1/2 + 5/2) / 2
    1.5
    """

    def __init__(self, delta: float = 1.0, reduction: str = "mean") -> None:
        self.delta = finite_number("Huber", "delta", delta, at_least=0)
        if not self.delta:
            raise InputError("Huber expects delta to be above 0, got 0; try MeanAbsoluteError")
        self.reduction = check_reduction("Huber", reduction)

    def losses(self, difference: Array) -> Array:
        """Both cases as slope · (d - slope / 2), in float64."""
        slope = self.derivatives(difference)
        return np.multiply(slope, difference - slope / 2, dtype=np.float64)

    def derivatives(self, difference: Array) -> Array:
        """The difference, clipped to ±delta."""
        return np.clip(difference, -self.delta, self.delta)
