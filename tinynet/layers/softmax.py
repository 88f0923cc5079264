"""Softmax and its logarithm: scores along an axis -> probabilities or log-probabilities."""

from types import EllipsisType
from typing import final

import numpy as np

from tinynet.errors import InputError
from tinynet.functional import largest_index, log_softmax, softmax, sum_along
from tinynet.layer import Layer
from tinynet.parameter import Array
from tinynet.validation import whole_number


@final
class Softmax(Layer):
    """sᵢ = exp(xᵢ) / Σⱼ exp(xⱼ) along `axis`, which PyTorch calls dim: (..., C) -> (..., C).

    Gradient: dxᵢ = sᵢ (dyᵢ - Σⱼ dyⱼ sⱼ).

    A classifier is trained with `SoftmaxCrossEntropy`, which contains the softmax.

    Raises:
        InputError: axis is not a whole number, or x is not a float array with that axis.

    >>> Softmax()(np.array([[0.0, 0.0], [1e4, -1e4]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = _axis("Softmax", axis)
        self.keeps_mask = axis == -1

    def forward(self, x: Array) -> Array:
        """x: (..., C) -> y: (..., C)."""
        self.check_input(x, *_pattern(self.axis))
        y = softmax(x, self.axis)
        self.save_for_backward(y, y.copy())
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (..., C) -> dx: (..., C)."""
        dy, s = self.saved_for_backward(dy)
        # The same number subtracted from every dy does not change dx. With the dy of the largest s
        # subtracted, nothing cancels where that s is near 1.
        dy = dy - np.take_along_axis(dy, largest_index(s, self.axis), self.axis)
        dx: Array = s * (dy - sum_along(dy * s, self.axis))
        return dx


@final
class LogSoftmax(Layer):
    """yᵢ = xᵢ - log Σⱼ exp(xⱼ) along `axis`, which PyTorch calls dim: (..., C) -> (..., C).

    The logarithm of `Softmax`. Nothing overflows, and y keeps its digits where a probability is
    near 1.

    Gradient: dxᵢ = dyᵢ - sᵢ Σⱼ dyⱼ with s = softmax(x) = exp(y).

    Raises:
        InputError: axis is not a whole number, or x is not a float array with that axis.

    Source: Blanchard, Higham and Higham, "Accurately computing the log-sum-exp and softmax
    functions", IMA Journal of Numerical Analysis 41(4), 2021.

    >>> LogSoftmax()(np.array([[0.0, 0.0], [1e4, -1e4]])).round(4)
    array([[-6.931e-01, -6.931e-01],
           [ 0.000e+00, -2.000e+04]])
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = _axis("LogSoftmax", axis)
        self.keeps_mask = axis == -1

    def forward(self, x: Array) -> Array:
        """x: (..., C) -> y: (..., C)."""
        self.check_input(x, *_pattern(self.axis))
        y = log_softmax(x, self.axis)
        self.save_for_backward(y, y.copy())
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (..., C) -> dx: (..., C)."""
        dy, log_s = self.saved_for_backward(dy)
        dx: Array = np.exp(log_s, out=log_s)  # s, in the memory of the copy that was kept
        largest = dx > 0.501  # more than half: at most one s of a sum
        dx *= -sum_along(dy, self.axis)
        dx += dy
        # Where an s is near 1 its dx has lost its digits. All dx of a sum add up to 0: there it is
        # computed as minus the sum of the others.
        np.copyto(dx, 0, where=largest)
        np.copyto(dx, -sum_along(dx, self.axis), where=largest)
        return dx


def _axis(who: str, axis: int) -> int:
    """An axis that an array may have: NumPy allows 64 of them."""
    axis = whole_number(who, "axis", axis, at_least=-64)
    if axis > 63:
        raise InputError(f"{who} expects axis to be a whole number <= 63, got {axis}")
    return axis


def _pattern(axis: int) -> tuple[str | EllipsisType, ...]:
    """The shape of an x with this axis, for `check_input`."""
    if axis < 0:
        return (..., "C", *["any"] * (-axis - 1))
    return (*["any"] * axis, "C", ...)
