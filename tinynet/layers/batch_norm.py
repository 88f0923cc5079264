"""Batch normalization: each channel has mean 0 and variance 1 over the batch, whatever came in."""

from typing import final

import numpy as np

from tinynet.arguments import InputError, finite_number, whole_number
from tinynet.layer import Layer
from tinynet.layers.standardize import affine, gradient, standardize, total, widened, write
from tinynet.parameter import Array, Parameter


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
        self.remember(y, values, deviation, of_batch, order)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, C, ...) -> dx: (N, C, ...)."""
        dy, values, deviation, of_batch, order = self.recall(dy)
        rows, scale = self._rows(dy, order), 1 / deviation  # (C, M) and (C, 1)
        if self.weight is not None:
            scale = scale * self.weight.value[:, None]
        if of_batch:
            dx, sums, shares = gradient(rows, values, scale)
        else:
            dx, sums, shares = rows * scale.astype(rows.dtype), total(rows), total(rows, values)
        write(self.weight, shares)
        write(self.bias, sums)
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

    def __repr__(self) -> str:
        momentum = "" if self.momentum == 0.1 else f", momentum={self.momentum}"
        eps = "" if self.eps == 1e-5 else f", eps={self.eps:g}"
        affine = "" if self.weight is not None else ", affine=False"
        tracks = "" if self.running_mean is not None else ", track_running_stats=False"
        return f"BatchNorm({self.num_features}{eps}{momentum}{affine}{tracks})"
