"""Normalization layers: zero mean and unit variance of a channel, a sample or a group of channels.

BatchNorm, LayerNorm, GroupNorm and RMSNorm; after it comes a learned scale and shift.
"""

import math
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.functional import normalize, normalize_backward, row_sums
from tinynet.layer import Layer
from tinynet.parameter import Array, Parameter, write_grad
from tinynet.validation import finite_number, whole_number


@final
class BatchNorm(Layer):
    """x̂ = (x - mean) / √(variance + eps), y = weight · x̂ + bias, with statistics of each channel.

    x, y: (N, C, ...) with C = num_features. In training mean and variance are those of the batch
    over all axes but C, and running = (1 - momentum) · running + momentum · batch; momentum=None
    averages all batches. Evaluation takes the running ones, which are buffers: `.running_mean`,
    `.running_var` (by 1 / (M - 1)); with track_running_stats=False it takes those of the batch.

    Gradients: dweight = Σ dy x̂ and dbias = Σ dy over all axes but C, and with r = √(variance + eps)
    dx = weight / r · (dy - mean(dy) - x̂ mean(dy x̂)); with running statistics weight / r · dy.
    `.weight` and `.bias` are (C,), or None with affine=False.

    Raises:
        InputError: an argument is out of range, x is not (N, C, ...), or has one value a channel.

    Source: Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing
    Internal Covariate Shift", ICML 2015.

    >>> BatchNorm(1, eps=0)(np.array([[1.0], [3.0]])).tolist()
    [[-1.0], [1.0]]
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
        # Channels first, the other axes in the order of memory: most layouts need no copy then.
        others = sorted((0, *range(2, x.ndim)), key=lambda axis: -abs(x.strides[axis]))
        order = (1, *others)
        rows = self._channel_rows(x, order)
        batch_statistics = self.training or self.running_mean is None
        if batch_statistics:
            if rows.shape[1] == 1:
                raise InputError(
                    f"{self!r} expects more than one value per channel"
                    f"{' in training' if self.training else ''}, got x of shape {x.shape}"
                )
            values, mean, variance, std = normalize(rows, self.eps)
        else:
            values, std = self._normalize_by_running(rows)
        y = _scale_and_shift(values, self.weight, self.bias, (-1, 1)).astype(x.dtype, copy=False)
        y = self._undo_channel_rows(y, x.shape, order)
        if batch_statistics and rows.shape[1]:
            self._update_running(mean[:, 0], variance[:, 0], rows.shape[1])
        self.save_for_backward(y, values, std, batch_statistics, order)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, C, ...) -> dx: (N, C, ...)."""
        dy, values, std, batch_statistics, order = self.saved_for_backward(dy)
        rows, scale = self._channel_rows(dy, order), 1 / std  # (C, M) and (C, 1)
        if self.weight is not None:
            scale = scale * self.weight.value[:, None]
        if batch_statistics:
            dx, sums, products = normalize_backward(rows, values, scale)
        else:
            dx = rows * scale.astype(rows.dtype)
            sums, products = row_sums(rows), row_sums(rows, values)
        write_grad(self.weight, products)
        write_grad(self.bias, sums)
        return self._undo_channel_rows(dx.astype(dy.dtype, copy=False), dy.shape, order)

    def _channel_rows(self, x: Array, order: tuple[int, ...]) -> Array:
        """(N, C, ...) -> (C, M)."""
        return _at_least_float32(x).transpose(order).reshape(self.num_features, -1)

    def _undo_channel_rows(
        self, rows: Array, shape: tuple[int, ...], order: tuple[int, ...]
    ) -> Array:
        """(C, M) -> (N, C, ...)."""
        return rows.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))

    def _normalize_by_running(self, rows: Array) -> tuple[Array, Array]:
        assert self.running_mean is not None
        assert self.running_var is not None
        std = np.sqrt(self.running_var[:, None].astype(np.float64) + self.eps)
        values: Array = rows - self.running_mean[:, None].astype(rows.dtype, copy=False)
        values /= std.astype(rows.dtype)
        return values, std

    def _update_running(self, mean: Array, variance: Array, count: int) -> None:
        """Updates the running statistics from those of a batch, or none of them if one fails."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        batches = self.num_batches_tracked + 1
        momentum = 1 / batches if self.momentum is None else self.momentum
        dtype = self.running_mean.dtype
        new_mean = ((1 - momentum) * self.running_mean + momentum * mean).astype(dtype)
        unbiased = variance * (count / (count - 1))
        new_var = ((1 - momentum) * self.running_var + momentum * unbiased).astype(dtype)
        # In place: state_dict() returns these arrays themselves.
        self.running_mean[...], self.running_var[...] = new_mean, new_var
        self.num_batches_tracked[...] = batches


@final
class LayerNorm(Layer):
    """x̂ = (x - mean) / √(variance + eps), y = weight · x̂ + bias, with statistics of each sample.

    x, y: (..., *normalized_shape). Mean and variance (by 1 / M of M entries) are over these last
    axes, for each index of the others, in training and evaluation alike.
    Gradients: dweight = Σ dy x̂ and dbias = Σ dy over the leading axes; with d = dy · weight and
    means over the last axes, dx = (d - mean(d) - x̂ · mean(d x̂)) / √(variance + eps).

    `.weight` (ones) and `.bias` (zeros) are of normalized_shape, or None with
    elementwise_affine=False; bias=False leaves out the bias alone.

    Raises:
        InputError: an argument is out of range, or x does not end in normalized_shape.

    Source: Ba, Kiros and Hinton, "Layer Normalization", arXiv:1607.06450, 2016.

    >>> LayerNorm(2, eps=0)(np.array([[1.0, 3.0], [10.0, 30.0]])).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        self.normalized_shape = _sizes("LayerNorm", normalized_shape)
        self.keeps_mask = len(self.normalized_shape) == 1
        self.eps = finite_number("LayerNorm", "eps", eps, at_least=0)
        self.elementwise_affine = affine = bool(elementwise_affine)
        self.weight = Parameter(np.ones(self.normalized_shape)) if affine else None
        self.bias = Parameter(np.zeros(self.normalized_shape)) if affine and bias else None

    def forward(self, x: Array) -> Array:
        """x: (..., *normalized_shape) -> y: the same shape."""
        self.check_input(x, ..., *self.normalized_shape)
        values, _, _, std = normalize(_sample_rows(x, self.normalized_shape), self.eps)
        y = _scale_and_shift(values.reshape(x.shape), self.weight, self.bias, self.normalized_shape)
        y = y.astype(x.dtype, copy=False)
        self.save_for_backward(y, values, std)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (..., *normalized_shape) -> dx: the same shape."""
        dy, values, std = self.saved_for_backward(dy)
        rows = _sample_rows(dy, self.normalized_shape)  # (..., M)
        d = _scale_and_shift(rows, self.weight, None, (-1,))
        dx, _, _ = normalize_backward(d, values, 1 / std)
        _write_column_sums(self.weight, rows * values)
        _write_column_sums(self.bias, rows)
        return dx.reshape(dy.shape).astype(dy.dtype, copy=False)


@final
class RMSNorm(Layer):
    """x̂ = x / √(mean(x²) + eps), y = weight · x̂: divides each sample by its root mean square.

    x, y: (..., *normalized_shape), and the mean is over these last axes. As in PyTorch eps=None
    stands for the machine epsilon of x's dtype, for half precision that of float32.
    Gradients: dweight = Σ dy x̂ over the leading axes; with d = dy · weight and r the root,
    dx = (d - x̂ · mean(d x̂)) / r.

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
        self.keeps_mask = len(self.normalized_shape) == 1
        self.eps = None if eps is None else finite_number("RMSNorm", "eps", eps, at_least=0)
        self.elementwise_affine = bool(elementwise_affine)
        self.weight = Parameter(np.ones(self.normalized_shape)) if elementwise_affine else None

    def forward(self, x: Array) -> Array:
        """x: (..., *normalized_shape) -> y: the same shape."""
        self.check_input(x, ..., *self.normalized_shape)
        rows = _sample_rows(x, self.normalized_shape)
        eps = float(np.finfo(rows.dtype).eps) if self.eps is None else self.eps
        root = np.sqrt(row_sums(rows, rows) / rows.shape[-1] + eps)
        values: Array = rows / root.astype(rows.dtype)
        y = _scale_and_shift(values.reshape(x.shape), self.weight, None, self.normalized_shape)
        y = y.astype(x.dtype, copy=False)
        self.save_for_backward(y, values, root)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (..., *normalized_shape) -> dx: the same shape."""
        dy, values, root = self.saved_for_backward(dy)
        rows = _sample_rows(dy, self.normalized_shape)
        d = _scale_and_shift(rows, self.weight, None, (-1,))
        dx, _, _ = normalize_backward(d, values, 1 / root, centered=False)
        _write_column_sums(self.weight, rows * values)
        return dx.reshape(dy.shape).astype(dy.dtype, copy=False)


@final
class GroupNorm(Layer):
    """x̂ = (x - mean) / √(variance + eps), y = weight · x̂ + bias, for groups of channels.

    x, y: (N, C, ...) with C = num_channels. Each sample has num_groups means and variances (by
    1 / M of M entries), over C / num_groups consecutive channels and all axes behind them. One
    group is LayerNorm over (C, ...), C groups are instance normalization, both with a weight for
    each channel. In training and evaluation alike.
    Gradients: dweight = Σ dy x̂ and dbias = Σ dy over all axes but C; with d = dy · weight and means
    over the group, dx = (d - mean(d) - x̂ · mean(d x̂)) / √(variance + eps).

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
        values, _, _, std = normalize(self._groups(_at_least_float32(x)), self.eps)
        by_channel = (-1, *[1] * (x.ndim - 2))
        y = _scale_and_shift(values.reshape(x.shape), self.weight, self.bias, by_channel)
        y = y.astype(x.dtype, copy=False)
        self.save_for_backward(y, values, std)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, C, ...) -> dx: (N, C, ...)."""
        dy, values, std = self.saved_for_backward(dy)
        wide, all_but_channels = _at_least_float32(dy), (0, *range(2, dy.ndim))
        d = _scale_and_shift(wide, self.weight, None, (-1, *[1] * (dy.ndim - 2)))
        dx, _, _ = normalize_backward(self._groups(d), values, 1 / std)
        products = wide * values.reshape(dy.shape)
        write_grad(self.weight, products.sum(axis=all_but_channels, dtype=np.float64))
        write_grad(self.bias, wide.sum(axis=all_but_channels, dtype=np.float64))
        return dx.reshape(dy.shape).astype(dy.dtype, copy=False)

    def _groups(self, x: Array) -> Array:
        """(N, C, ...) -> (N, G, M): a view also of images in the batch-last layout."""
        return x.reshape(len(x), self.num_groups, math.prod(x.shape[1:]) // self.num_groups)


def _sizes(who: str, normalized_shape: Any) -> tuple[int, ...]:
    sizes = normalized_shape if isinstance(normalized_shape, tuple | list) else (normalized_shape,)
    if not sizes:
        raise InputError(f"{who} expects normalized_shape to have an axis, got {normalized_shape}")
    return tuple(whole_number(who, "normalized_shape", size) for size in sizes)


def _sample_rows(x: Array, normalized_shape: tuple[int, ...]) -> Array:
    """(..., *normalized_shape) -> (..., M)."""
    leading = x.shape[: x.ndim - len(normalized_shape)]
    return _at_least_float32(x).reshape(*leading, math.prod(normalized_shape))


def _at_least_float32(x: Array) -> Array:
    """X, or half precision as float32: its squares overflow from 256 on."""
    return x.astype(np.promote_types(x.dtype, np.float32), copy=False)


def _scale_and_shift(
    values: Array, weight: Parameter | None, bias: Parameter | None, shape: tuple[int, ...]
) -> Array:
    """x̂ · weight + bias, where both are reshaped to broadcast and may be None; a new array."""
    if weight is None:
        return values.copy()
    y: Array = values * weight.value.astype(values.dtype, copy=False).reshape(shape)
    if bias is not None:
        y += bias.value.reshape(shape)
    return y


def _write_column_sums(parameter: Parameter | None, rows: Array) -> None:
    """The gradient of a parameter that each row has in common: (..., M) is summed to (M,)."""
    rows = rows.reshape(-1, rows.shape[-1])
    half = len(rows) // 2
    # Half as many rows to convert to float64: slower than this addition, which is exact to 6e-8.
    sums = (rows[:half] + rows[half : 2 * half]).sum(axis=0, dtype=np.float64)
    if len(rows) % 2:
        sums += rows[-1]
    write_grad(parameter, sums)
