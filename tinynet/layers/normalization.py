"""Normalization within each sample: mean 0 and variance 1, whatever else is in the batch."""

import math
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.functional import affine, gradient, standardize, total, widened
from tinynet.layer import Layer
from tinynet.parameter import Array, Parameter, write_grad
from tinynet.validation import finite_number, whole_number


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
        self.elementwise_affine = affine = bool(elementwise_affine)
        self.weight = Parameter(np.ones(self.normalized_shape)) if affine else None
        self.bias = Parameter(np.zeros(self.normalized_shape)) if affine and bias else None

    def forward(self, x: Array) -> Array:
        """x: (..., *normalized_shape) -> y: the same shape."""
        self.check_input(x, ..., *self.normalized_shape)
        values, _, _, deviation = standardize(_rows(x, self.normalized_shape), self.eps)
        y = affine(values.reshape(x.shape), self.weight, self.bias, self.normalized_shape)
        y = y.astype(x.dtype, copy=False)
        self.save_for_backward(y, values, deviation)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (..., *normalized_shape) -> dx: the same shape."""
        dy, values, deviation = self.saved_for_backward(dy)
        rows = _rows(dy, self.normalized_shape)  # (..., M)
        dx, _, _ = gradient(affine(rows, self.weight, None, (-1,)), values, 1 / deviation)
        _write_by_entry(self.weight, rows * values)
        _write_by_entry(self.bias, rows)
        return dx.reshape(dy.shape).astype(dy.dtype, copy=False)


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
        self.elementwise_affine = bool(elementwise_affine)
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
        self.save_for_backward(y, values, root)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (..., *normalized_shape) -> dx: the same shape."""
        dy, values, root = self.saved_for_backward(dy)
        rows = _rows(dy, self.normalized_shape)
        dx, _, _ = gradient(affine(rows, self.weight, None, (-1,)), values, 1 / root, centred=False)
        _write_by_entry(self.weight, rows * values)
        return dx.reshape(dy.shape).astype(dy.dtype, copy=False)


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
        self.affine = bool(affine)
        self.weight = Parameter(np.ones(self.num_channels)) if affine else None
        self.bias = Parameter(np.zeros(self.num_channels)) if affine else None

    def forward(self, x: Array) -> Array:
        """x: (N, C, ...) -> y: (N, C, ...)."""
        self.check_input(x, "N", self.num_channels, ...)
        values, _, _, deviation = standardize(self._groups(widened(x)), self.eps)
        y = affine(values.reshape(x.shape), self.weight, self.bias, (-1, *[1] * (x.ndim - 2)))
        y = y.astype(x.dtype, copy=False)
        self.save_for_backward(y, values, deviation)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, C, ...) -> dx: (N, C, ...)."""
        dy, values, deviation = self.saved_for_backward(dy)
        wide, others = widened(dy), (0, *range(2, dy.ndim))
        d = affine(wide, self.weight, None, (-1, *[1] * (dy.ndim - 2)))
        dx, _, _ = gradient(self._groups(d), values, 1 / deviation)
        shares = wide * values.reshape(dy.shape)
        write_grad(self.weight, shares.sum(axis=others, dtype=np.float64))
        write_grad(self.bias, wide.sum(axis=others, dtype=np.float64))
        return dx.reshape(dy.shape).astype(dy.dtype, copy=False)

    def _groups(self, x: Array) -> Array:
        """(N, C, ...) -> (N, G, M): a view also where the batch comes last in memory."""
        return x.reshape(len(x), self.num_groups, math.prod(x.shape[1:]) // self.num_groups)


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
    write_grad(parameter, rows.reshape(-1, rows.shape[-1]).sum(axis=0, dtype=np.float64))


@final
class BatchNorm(Layer):
    """y = (x - mean) / √(variance + eps) · weight + bias, with one mean and variance a channel.

    x and y are (N, C), (N, C, T) or (N, C, H, W), with C = num_features: one class for PyTorch's
    BatchNorm1d and BatchNorm2d. In training mean and variance are those of the batch, over all axes
    but C, and the running ones follow: running = (1 - momentum) · running + momentum · batch, or
    with momentum=None the mean over all batches so far. In evaluation the running ones are taken.
    With track_running_stats=False there are none, and those of the batch are taken always.

    Gradients: with x̂ = (x - mean) / √(variance + eps), dweight = Σ dy x̂ and dbias = Σ dy over all
    axes but C. dx = weight / √(variance + eps) · (dy - mean(dy) - x̂ · mean(dy x̂)) where mean and
    variance are those of the batch, for they depend on x too; else only the first factor times dy.

    `.weight` (ones) and `.bias` (zeros) are (C,), or None with affine=False. `.running_mean` and
    `.running_var` are arrays (C,), and `.num_batches_tracked` is one whole number, an array without
    axes: buffers, which files keep. As in PyTorch y takes the variance by 1 / M of the M values of
    a channel, and running_var the one by 1 / (M - 1). An empty batch changes none of them.

    Raises:
        InputError: an argument is out of range, x is not (N, C, ...), or the variance is to be that
            of a batch in which a channel has only one value.

    Source: Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing
    Internal Covariate Shift", ICML 2015.

    >>> layer = BatchNorm(1, eps=0)
    >>> layer(np.array([[1.0], [3.0]]))
    array([[-1.],
           [ 1.]])
    >>> layer.running_mean, layer.running_var
    (array([0.2], dtype=float32), array([1.1], dtype=float32))
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        self.num_features = whole_number("BatchNorm", "num_features", num_features)
        self.eps = finite_number("BatchNorm", "eps", eps, at_least=0)
        if momentum is not None:
            momentum = finite_number("BatchNorm", "momentum", momentum, at_least=0, at_most=1)
        self.momentum = momentum
        self.affine, self.track_running_stats = bool(affine), bool(track_running_stats)
        self.weight = Parameter(np.ones(self.num_features)) if affine else None
        self.bias = Parameter(np.zeros(self.num_features)) if affine else None
        self.running_mean: Array | None = None
        self.running_var: Array | None = None
        self.num_batches_tracked: Array | None = None
        if track_running_stats:
            self.running_mean = np.zeros(self.num_features, self.dtype)
            self.running_var = np.ones(self.num_features, self.dtype)
            self.num_batches_tracked = np.array(0)

    def forward(self, x: Array) -> Array:
        """x: (N, C, ...) -> y: (N, C, ...)."""
        self.check_input(x, "N", self.num_features, ...)
        # Channels first, the other axes as they lie in memory: then most layouts need no copy.
        rest = sorted((0, *range(2, x.ndim)), key=lambda axis: -abs(x.strides[axis]))
        order = (1, *rest)
        rows = self._rows(x, order)
        of_batch = self.training or self.running_mean is None
        if of_batch:
            if rows.shape[1] == 1:
                raise InputError(
                    f"{self!r} expects more than one value per channel"
                    f"{' in training' if self.training else ''}, got x of shape {x.shape}"
                )
            values, mean, variance, deviation = standardize(rows, self.eps)
        else:
            values, deviation = self._by_running(rows)
        y = affine(values, self.weight, self.bias, (-1, 1)).astype(x.dtype, copy=False)
        y = self._unrolled(y, x.shape, order)
        if of_batch and rows.shape[1]:
            self._follow(mean[:, 0], variance[:, 0], rows.shape[1])
        self.save_for_backward(y, values, deviation, of_batch, order)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, C, ...) -> dx: (N, C, ...)."""
        dy, values, deviation, of_batch, order = self.saved_for_backward(dy)
        rows, scale = self._rows(dy, order), 1 / deviation  # (C, M) and (C, 1)
        if self.weight is not None:
            scale = scale * self.weight.value[:, None]
        if of_batch:
            dx, sums, shares = gradient(rows, values, scale)
        else:
            dx, sums, shares = rows * scale.astype(rows.dtype), total(rows), total(rows, values)
        write_grad(self.weight, shares)
        write_grad(self.bias, sums)
        return self._unrolled(dx.astype(dy.dtype, copy=False), dy.shape, order)

    def _rows(self, x: Array, order: tuple[int, ...]) -> Array:
        """(N, C, ...) -> (C, M)."""
        return widened(x).transpose(order).reshape(self.num_features, -1)

    def _unrolled(self, rows: Array, shape: tuple[int, ...], order: tuple[int, ...]) -> Array:
        """(C, M) -> (N, C, ...), the way back of `_rows`."""
        return rows.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))

    def _by_running(self, rows: Array) -> tuple[Array, Array]:
        assert self.running_mean is not None
        assert self.running_var is not None
        deviation = np.sqrt(self.running_var[:, None].astype(np.float64) + self.eps)
        values: Array = rows - self.running_mean[:, None].astype(rows.dtype, copy=False)
        values /= deviation.astype(rows.dtype)
        return values, deviation

    def _follow(self, mean: Array, variance: Array, count: int) -> None:
        """Moves the running statistics towards those of a batch, or none of them if one fails."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        batches = self.num_batches_tracked + 1
        share = 1 / batches if self.momentum is None else self.momentum
        dtype = self.running_mean.dtype
        new_mean = ((1 - share) * self.running_mean + share * mean).astype(dtype)
        unbiased = variance * (count / (count - 1))
        new_var = ((1 - share) * self.running_var + share * unbiased).astype(dtype)
        # In place: who holds the state of the network holds these arrays.
        self.running_mean[...], self.running_var[...] = new_mean, new_var
        self.num_batches_tracked[...] = batches
