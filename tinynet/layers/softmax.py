"""Softmax makes probabilities of scores."""

from types import EllipsisType
from typing import final

import numpy as np

from tinynet.errors import InputError
from tinynet.functional import largest_index, shifted, softmax, sum_along
from tinynet.layer import Layer
from tinynet.parameter import Array
from tinynet.validation import whole_number


@final
class Softmax(Layer):
    """sᵢ = exp(xᵢ) / Σⱼ exp(xⱼ) along `axis`, which PyTorch calls dim: (..., C) -> (..., C).

    Gradient: dxᵢ = sᵢ (dyᵢ - Σⱼ dyⱼ sⱼ). A number taken off every dy changes nothing in it; with
    the dy of the largest s taken off, nothing cancels where that s is near 1.

    To train a classifier take `SoftmaxCrossEntropy`, which has a softmax of its own.

    Raises:
        InputError: axis is not a whole number, or x is not a float array with that axis.

    >>> Softmax()(np.array([[0.0, 0.0], [1e4, -1e4]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = _axis("Softmax", axis)

    def forward(self, x: Array) -> Array:
        """x: (..., C) -> y: (..., C)."""
        self.check_input(x, *_pattern(self.axis))
        y = softmax(x, self.axis)
        self.save_for_backward(y, y.copy())
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (..., C) -> dx: (..., C)."""
        dy, s = self.saved_for_backward(dy)
        dy = dy - np.take_along_axis(dy, largest_index(s, self.axis), self.axis)
        dx: Array = s * (dy - sum_along(dy * s, self.axis))
        return dx


@final
class LogSoftmax(Layer):
    """yᵢ = xᵢ - log Σⱼ exp(xⱼ) along `axis`, which PyTorch calls dim: (..., C) -> (..., C).

    The logarithm of `Softmax`, with m the largest x as (xᵢ - m) - log1p(Σ exp(xⱼ - m)), the sum
    going over all others: y keeps its digits where a probability is near 1, and nothing overflows.

    Gradient: dxᵢ = dyᵢ - sᵢ Σⱼ dyⱼ with s = softmax(x). The dx sum to 0 along the axis: at the
    largest x it is minus the sum of the others, as nothing cancels in it where s is near 1.

    Raises:
        InputError: axis is not a whole number, or x is not a float array with that axis.

    Source: as for `SoftmaxCrossEntropy`.

    >>> LogSoftmax()(np.array([[0.0, 0.0], [1e4, -1e4]])).round(4)
    array([[-6.931e-01, -6.931e-01],
           [ 0.000e+00, -2.000e+04]])
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = _axis("LogSoftmax", axis)

    def forward(self, x: Array) -> Array:
        """x: (..., C) -> y: (..., C)."""
        self.check_input(x, *_pattern(self.axis))
        top = largest_index(x, self.axis)
        z = shifted(x, top, self.axis)
        s = np.exp(z)
        # The largest term is 1. Kept apart from the rest it swallows none of them; `backward` does
        # without its s, which stays at 0.
        np.put_along_axis(s, top, 0, self.axis)
        rest = sum_along(s, self.axis)
        s /= 1 + rest
        y: Array = z - np.log1p(rest)
        self.save_for_backward(y, s, top)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (..., C) -> dx: (..., C)."""
        dy, s, top = self.saved_for_backward(dy)
        dx: Array = dy - s * sum_along(dy, self.axis)
        np.put_along_axis(dx, top, 0, self.axis)
        np.put_along_axis(dx, top, -sum_along(dx, self.axis), self.axis)
        return dx


def _axis(who: str, axis: int) -> int:
    """An axis that an array may have: NumPy allows 64 of them."""
    axis = whole_number(who, "axis", axis, at_least=-64)
    if axis > 63:
        raise InputError(f"{who} expects axis to be a whole number <= 63, got {axis}")
    return axis


def _pattern(axis: int) -> tuple[str | EllipsisType, ...]:
    """What `check_input` asks of an x with this axis."""
    if axis < 0:
        return (..., "C", *["any"] * (-axis - 1))
    return (*["any"] * axis, "C", ...)
