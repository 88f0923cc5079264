"""Losses of predicted numbers: how far each is from its target."""

from typing import final

import numpy as np

from tinynet.errors import InputError
from tinynet.layer import Layer
from tinynet.losses.targets import check_reduction, check_same_shape
from tinynet.parameter import Array
from tinynet.validation import finite_number


@final
class MeanSquaredError(Layer):
    """L = mean over all entries of (prediction - target)², for any shape (N, ...).

    Targets: floats or integers, of the shape of the prediction and nothing that would broadcast.
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
    >>> loss.backward()
    array([[0., 0.],
           [0., 1.]])
    """

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = check_reduction("MeanSquaredError", reduction)

    def forward(self, prediction: Array, targets: Array) -> float:
        """prediction: (N, ...), targets: (N, ...) -> the loss."""
        check_same_shape(self, prediction, targets)
        difference = prediction - targets
        size = difference.size if self.reduction == "mean" else 1
        # Squares and sum in float64: a mean over many entries keeps the digits of its terms.
        loss = float(np.square(difference, dtype=np.float64).sum()) / size
        self.save_for_backward(loss, difference, size, prediction.dtype)
        return loss

    def backward(self) -> Array:
        """Returns dprediction: (N, ...)."""
        _, difference, size, dtype = self.saved_for_backward()
        # Targets of more digits make a difference of more digits.
        dprediction: Array = (difference * (2 / size)).astype(dtype, copy=False)
        return dprediction


@final
class MeanAbsoluteError(Layer):
    """L = mean over all entries of |prediction - target|, for any shape (N, ...).

    Its best constant is the median: targets far off pull no harder than others.
    Targets: as for MeanSquaredError.
    Gradient: dprediction = sign(prediction - target) / size, and 0 where they are equal; size is
    the number of all entries, or 1 with reduction="sum". It is `L1Loss` of PyTorch.

    Raises:
        InputError: as MeanSquaredError.

    >>> loss = MeanAbsoluteError()
    >>> loss(np.array([1.0, 5.0]), np.array([1, 2]))
    1.5
    >>> loss.backward()
    array([0. , 0.5])
    """

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = check_reduction("MeanAbsoluteError", reduction)

    def forward(self, prediction: Array, targets: Array) -> float:
        """prediction: (N, ...), targets: (N, ...) -> the loss."""
        check_same_shape(self, prediction, targets)
        difference = prediction - targets
        size = difference.size if self.reduction == "mean" else 1
        loss = float(np.abs(difference).sum(dtype=np.float64)) / size
        self.save_for_backward(loss, difference, size, prediction.dtype)
        return loss

    def backward(self) -> Array:
        """Returns dprediction: (N, ...)."""
        _, difference, size, dtype = self.saved_for_backward()
        dprediction: Array = (np.sign(difference) * (1 / size)).astype(dtype, copy=False)
        return dprediction


@final
class Huber(Layer):
    """L = mean over all entries of d² / 2 where |d| <= delta, else delta (|d| - delta / 2).

    d = prediction - target, for any shape (N, ...): squares near the target, and a straight line
    of the same slope beyond, so that targets far off pull no harder than at a distance of delta.
    Targets: as for MeanSquaredError.
    Gradient: dprediction = d / size, kept within ±delta / size; size is the number of all entries,
    or 1 with reduction="sum". It is `HuberLoss` of PyTorch, with the reduction behind delta.

    Raises:
        InputError: delta is not above 0; else as MeanSquaredError.

    Source: Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics
    35(1), 1964.

    >>> loss = Huber()
    >>> loss(np.array([1.0, 5.0]), np.array([2, 2]))  # (1/2 + 5/2) / 2
    1.5
    >>> loss.backward()
    array([-0.5,  0.5])
    """

    def __init__(self, delta: float = 1.0, reduction: str = "mean") -> None:
        self.delta = finite_number("Huber", "delta", delta, at_least=0)
        if not self.delta:
            raise InputError(
                "Huber expects delta to be above 0, got 0; MeanAbsoluteError has no round bottom"
            )
        self.reduction = check_reduction("Huber", reduction)

    def forward(self, prediction: Array, targets: Array) -> float:
        """prediction: (N, ...), targets: (N, ...) -> the loss."""
        check_same_shape(self, prediction, targets)
        difference = prediction - targets
        size = difference.size if self.reduction == "mean" else 1
        slope = np.clip(difference, -self.delta, self.delta)
        # One formula for both: slope · (d - slope / 2), in float64 as for the squares.
        terms = np.multiply(slope, difference - slope / 2, dtype=np.float64)
        loss = float(terms.sum()) / size
        self.save_for_backward(loss, slope, size, prediction.dtype)
        return loss

    def backward(self) -> Array:
        """Returns dprediction: (N, ...)."""
        _, slope, size, dtype = self.saved_for_backward()
        dprediction: Array = (slope * (1 / size)).astype(dtype, copy=False)
        return dprediction
