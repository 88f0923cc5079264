"""Upsampling makes images larger, the way back of pooling: by repeats, or by interpolation."""

from collections.abc import Iterator
from typing import Literal, final

from tinynet.arguments import InputError
from tinynet.layer import Layer
from tinynet.layers.taps import (
    COLUMNS,
    ROWS,
    Tap,
    demand_entries,
    transposed,
    weighted,
)
from tinynet.layers.window import Pair, pair, samples_first, samples_last, short
from tinynet.parameter import Array


@final
class UpSample2D(Layer):
    """Images `scale_factor` times as large: (N, C, H, W) -> (N, C, F H, F W).

    With mode="nearest" each entry is repeated: y[h, w] = x[⌊h / F⌋, ⌊w / F⌋]. With "bilinear" it is
    x at ((h + ½) / F - ½, (w + ½) / F - ½), interpolated between the four entries around and
    constant beyond the outermost ones, as PyTorch's Upsample does with align_corners=False.
    `scale_factor` is a whole number, or a pair of them (rows, columns).

    Gradient: dx is dy by the transpose of the same weights; for "nearest" the sum over the repeats.

    Raises:
        InputError: scale_factor is no whole number >= 1, the mode is another, x is not
            (N, C, H, W), or an image has no entry.

    >>> import numpy as np
    >>> UpSample2D(2)(np.array([[[[1.0, 2.0]]]]))[0, 0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.]])
    >>> UpSample2D((1, 2), "bilinear")(np.array([[[[1.0, 2.0]]]]))[0, 0]
    array([[1.  , 1.25, 1.75, 2.  ]])
    """

    def __init__(
        self, scale_factor: int | Pair = 2, mode: Literal["nearest", "bilinear"] = "nearest"
    ) -> None:
        self.scale_factor = pair("UpSample2D", "scale_factor", scale_factor)
        if mode not in ("nearest", "bilinear"):
            raise InputError(f'UpSample2D expects mode to be "nearest" or "bilinear", got {mode!r}')
        self.mode = mode

    def forward(self, x: Array) -> Array:
        """x: (N, C, H, W) -> y: (N, C, F H, F W)."""
        self.check_input(x, "N", "C", "H", "W")
        size = x.shape[2:]
        demand_entries(self, size)
        y = samples_last(x)
        for axis in (COLUMNS, ROWS):
            factor, length = self.scale_factor[axis - 1], size[axis - 1]
            y = weighted(y, axis, factor * length, self._taps(factor, length))
        y = samples_first(y)
        self.remember(y, size)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, C, F H, F W) -> dx: (N, C, H, W)."""
        dy, size = self.recall(dy)
        dx = samples_last(dy)
        for axis in (ROWS, COLUMNS):
            factor, length = self.scale_factor[axis - 1], size[axis - 1]
            dx = weighted(dx, axis, length, transposed(self._taps(factor, length)))
        return samples_first(dx)

    def _taps(self, factor: int, size: int) -> Iterator[Tap]:
        """y[F i + r] = (1 - |t|) x[i] + |t| x[i ± 1], with t = (r + ½) / F - ½ and its sign."""
        last = factor * (size - 1)
        for r in range(factor):
            t = (r + 0.5) / factor - 0.5 if self.mode == "bilinear" else 0.0
            yield slice(r, None, factor), slice(None), 1 - abs(t)
            if t < 0:  # the neighbour before, of which the first entry has none but itself
                yield slice(factor + r, None, factor), slice(size - 1), -t
                yield slice(r, r + 1), slice(1), -t
            elif t > 0:
                yield slice(r, last, factor), slice(1, None), t
                yield slice(last + r, None, factor), slice(size - 1, None), t

    def __repr__(self) -> str:
        mode = "" if self.mode == "nearest" else f', mode="{self.mode}"'
        return f"UpSample2D({short(self.scale_factor)}{mode})"
