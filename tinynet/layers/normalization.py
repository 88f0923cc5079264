"""Normalization within each sample: mean 0 and variance 1, whatever else is in the batch."""

import math
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from tinynet.arguments import InputError, finite_number, whole_number
from tinynet.layer import Layer
from tinynet.layers.standardize import affine, gradient, standardize, total, widened, write
from tinynet.parameter import Array, Parameter


@final
class LayerNorm(Layer):
    """y = (x - mean) / √(variance + eps) · weight + bias, with mean and variance of each sample.

    x and y are (..., *normalized_shape); mean and variance, by 1 / M of M entries, are taken over
    these last axes, for each place of the others by itself. In training and evaluation alike.

    Gradients: with x̂ = (x - mean) / √(variance + eps), dweight = Σ dy x̂ and dbias = Σ dy over the
    leading axes, and with d = dy · weight
    dx = (d - mean(d) - x̂ · mean(d x̂)) / √(variance + eps), with means over the last axes.

    `.weight` (ones) is of normalized_shape, or None with elementwise_affine=False; `.bias` (zeros)
    likewise, and None also with bias=False.

    Raises:
        InputError: an argument is out of range, or x does not end in normalized_shape.

    Source: Ba, Kiros and Hinton, "Layer Normalization", arXiv:1607.06450, 2016.

    >>> LayerNorm(2, eps=0)(np.array([[1.0, 3.0], [10.0, 30.0]]))
    array([[-1.,  1.],
           [-1.,  1.]])
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        self.normalized_shape = _sizes("LayerNorm", normalized_shape)
        self.eps = finite_number("LayerNorm", "eps", eps, at_least=0)
        affine = bool(elementwise_affine)
        self.weight = Parameter(np.ones(self.normalized_shape)) if affine else None
        self.bias = Parameter(np.zeros(self.normalized_shape)) if affine and bias else None

    def forward(self, x: Array) -> Array:
        """x: (..., *normalized_shape) -> y: the same shape."""
        self.check_input(x, ..., *self.normalized_shape)
        values, _, _, deviation = standardize(_rows(x, self.normalized_shape), self.eps)
        y = affine(values.reshape(x.shape), self.weight, self.bias, self.normalized_shape)
        y = y.astype(x.dtype, copy=False)
        self.remember(y, values, deviation)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (..., *normalized_shape) -> dx: the same shape."""
        dy, values, deviation = self.recall(dy)
        rows = _rows(dy, self.normalized_shape)  # (..., M)
        dx, _, _ = gradient(affine(rows, self.weight, None, (-1,)), values, 1 / deviation)
        _write_by_entry(self.weight, rows * values)
        _write_by_entry(self.bias, rows)
        return dx.reshape(dy.shape).astype(dy.dtype, copy=False)

    def __repr__(self) -> str:
        eps = "" if self.eps == 1e-5 else f", eps={self.eps:g}"
        affine = "" if self.weight is not None else ", elementwise_affine=False"
        bias = "" if self.weight is None or self.bias is not None else ", bias=False"
        return f"LayerNorm({_short(self.normalized_shape)}{eps}{affine}{bias})"


@final
class RMSNorm(Layer):
    """y = x / √(mean(x²) + eps) · weight: the scale of each sample is taken off, its mean stays.

    x and y are (..., *normalized_shape), and the mean is over these last axes. As in PyTorch
    eps=None stands for the machine epsilon of x's dtype, for half precision that of float32.

    Gradients: with r = √(mean(x²) + eps) and x̂ = x / r, dweight = Σ dy x̂ over the leading axes, and
    with d = dy · weight dx = (d - x̂ · mean(d x̂)) / r.

    `.weight` (ones) is of normalized_shape, or None with elementwise_affine=False.

    Raises:
        InputError: an argument is out of range, or x does not end in normalized_shape.

    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", NeurIPS 2019.

    >>> RMSNorm(4)(np.array([[2.0, -2.0, 2.0, 2.0]]))
    array([[ 1., -1.,  1.,  1.]])
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
    ) -> None:
        self.normalized_shape = _sizes("RMSNorm", normalized_shape)
        self.eps = None if eps is None else finite_number("RMSNorm", "eps", eps, at_least=0)
        self.weight = Parameter(np.ones(self.normalized_shape)) if elementwise_affine else None

    def forward(self, x: Array) -> Array:
        """x: (..., *normalized_shape) -> y: the same shape."""
        self.check_input(x, ..., *self.normalized_shape)
        rows = _rows(x, self.normalized_shape)
        eps = float(np.finfo(rows.dtype).eps) if self.eps is None else self.eps
        root = np.sqrt(total(rows, rows) / rows.shape[-1] + eps)
        values: Array = rows / root.astype(rows.dtype)
        y = affine(values.reshape(x.shape), self.weight, None, self.normalized_shape)
        y = y.astype(x.dtype, copy=False)
        self.remember(y, values, root)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (..., *normalized_shape) -> dx: the same shape."""
        dy, values, root = self.recall(dy)
        rows = _rows(dy, self.normalized_shape)
        dx, _, _ = gradient(affine(rows, self.weight, None, (-1,)), values, 1 / root, centred=False)
        _write_by_entry(self.weight, rows * values)
        return dx.reshape(dy.shape).astype(dy.dtype, copy=False)

    def __repr__(self) -> str:
        eps = "" if self.eps is None else f", eps={self.eps:g}"
        affine = "" if self.weight is not None else ", elementwise_affine=False"
        return f"RMSNorm({_short(self.normalized_shape)}{eps}{affine})"


@final
class GroupNorm(Layer):
    """y = (x - mean) / √(variance + eps) · weight + bias, with the mean of a group of channels.

    x and y are (N, C, ...) with C = num_channels. Each sample has num_groups means and variances
    (by 1 / M of M entries), over C / num_groups channels that follow each other and all axes
    behind. One group is LayerNorm over (C, ...), C groups are instance normalization, both with a
    weight for each channel. In training and evaluation alike.

    Gradients: with x̂ = (x - mean) / √(variance + eps), dweight = Σ dy x̂ and dbias = Σ dy over all
    axes but C, and with d = dy · weight
    dx = (d - mean(d) - x̂ · mean(d x̂)) / √(variance + eps), with means over the group.

    `.weight` (ones) and `.bias` (zeros) are (C,), or None with affine=False.

    Raises:
        InputError: an argument is out of range, num_channels is no multiple of num_groups, or x is
            not (N, C, ...).

    Source: Wu and He, "Group Normalization", ECCV 2018.

    >>> GroupNorm(2, 4, eps=0)(np.array([[1.0, 3.0, 10.0, 30.0]]))
    array([[-1.,  1., -1.,  1.]])
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True
    ) -> None:
        self.num_groups = whole_number("GroupNorm", "num_groups", num_groups)
        self.num_channels = whole_number("GroupNorm", "num_channels", num_channels)
        if self.num_channels % self.num_groups:
            raise InputError(
                "GroupNorm expects num_channels to be a multiple of num_groups, "
                f"got {num_channels} channels in {num_groups} groups"
            )
        self.eps = finite_number("GroupNorm", "eps", eps, at_least=0)
        self.weight = Parameter(np.ones(self.num_channels)) if affine else None
        self.bias = Parameter(np.zeros(self.num_channels)) if affine else None

    def forward(self, x: Array) -> Array:
        """x: (N, C, ...) -> y: (N, C, ...)."""
        self.check_input(x, "N", self.num_channels, ...)
        values, _, _, deviation = standardize(self._groups(widened(x)), self.eps)
        y = affine(values.reshape(x.shape), self.weight, self.bias, (-1, *[1] * (x.ndim - 2)))
        y = y.astype(x.dtype, copy=False)
        self.remember(y, values, deviation)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, C, ...) -> dx: (N, C, ...)."""
        dy, values, deviation = self.recall(dy)
        wide, others = widened(dy), (0, *range(2, dy.ndim))
        d = affine(wide, self.weight, None, (-1, *[1] * (dy.ndim - 2)))
        dx, _, _ = gradient(self._groups(d), values, 1 / deviation)
        shares = wide * values.reshape(dy.shape)
        write(self.weight, shares.sum(axis=others, dtype=np.float64))
        write(self.bias, wide.sum(axis=others, dtype=np.float64))
        return dx.reshape(dy.shape).astype(dy.dtype, copy=False)

    def _groups(self, x: Array) -> Array:
        """(N, C, ...) -> (N, G, M): a view also where the batch comes last in memory."""
        return x.reshape(len(x), self.num_groups, math.prod(x.shape[1:]) // self.num_groups)

    def __repr__(self) -> str:
        eps = "" if self.eps == 1e-5 else f", eps={self.eps:g}"
        affine = "" if self.weight is not None else ", affine=False"
        return f"GroupNorm({self.num_groups}, {self.num_channels}{eps}{affine})"


def _sizes(who: str, normalized_shape: Any) -> tuple[int, ...]:
    sizes = normalized_shape if isinstance(normalized_shape, tuple | list) else (normalized_shape,)
    if not sizes:
        raise InputError(f"{who} expects normalized_shape to have an axis, got {normalized_shape}")
    return tuple(whole_number(who, "normalized_shape", size) for size in sizes)


def _short(sizes: tuple[int, ...]) -> str:
    return repr(sizes[0] if len(sizes) == 1 else sizes)


def _rows(x: Array, normalized_shape: tuple[int, ...]) -> Array:
    """(..., *normalized_shape) -> (..., M)."""
    leading = x.shape[: x.ndim - len(normalized_shape)]
    return widened(x).reshape(*leading, math.prod(normalized_shape))


def _write_by_entry(parameter: Parameter | None, rows: Array) -> None:
    """The gradient of what stands at one entry of every row: (..., M) is summed to (M,)."""
    write(parameter, rows.reshape(-1, rows.shape[-1]).sum(axis=0, dtype=np.float64))
