"""Pooling makes images smaller: of each window one number is left, in each channel by itself."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, final

import numpy as np

from tinynet.errors import InputError
from tinynet.layer import Layer
from tinynet.layers.conv2d import Pair, Window, batch_first, batch_last, pair, short
from tinynet.parameter import Array

ROWS, COLUMNS = 1, 2  # axes of (C, H, W, N)
Tap = tuple[slice, slice, float]  # where in y, where in x, and with which weight


def part(axis: int, places: slice) -> tuple[slice, ...]:
    """The index of these places along an axis, and of all along those before it."""
    return (*[slice(None)] * axis, places)


def weighted(x: Array, axis: int, size: int, taps: Iterable[Tap]) -> Array:
    """y, of that size along the axis, as the sum of its taps: y[at] += weight · x[seen].

    >>> pairs = [(slice(2), slice(0, 4, 2), 1.0), (slice(2), slice(1, 4, 2), 1.0)]
    >>> weighted(np.array([1.0, 2.0, 3.0, 4.0]), 0, 2, pairs)
    array([3., 7.])
    """
    y = np.zeros((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype)
    for at, seen, weight in taps:
        piece = x[part(axis, seen)]
        y[part(axis, at)] += piece if weight == 1 else piece * weight
    return y


def transposed(taps: Iterable[Tap]) -> Iterator[Tap]:
    """The taps of the way back: what y[at] took from x[seen], dx[seen] takes from dy[at]."""
    return ((seen, at, weight) for at, seen, weight in taps)


def check_not_empty(layer: Layer, size: Pair) -> None:
    """Refuses images without rows or columns."""
    if min(size) < 1:
        raise InputError(
            f"{layer!r} expects images of at least one entry, got {size[0]} x {size[1]}"
        )


@final
class MaxPool2D(Layer):
    """y[n, c, p, q] = the largest x[n, c, h, w] in the window at row p and column q.

    x is (N, C, H, W), y is (N, C, P, Q) with P = ⌊(H + 2 padding - D (K - 1) - 1) / stride⌋ + 1 for
    kernel size K and dilation D, and Q alike. Each argument is a number or a pair (rows, columns);
    without `stride` the windows lie side by side. Padding never wins. As in PyTorch without
    ceil_mode, which is not offered: rows and columns that no window reaches are left out.

    Gradient: dx[h, w] = Σ dy[p, q] over the windows in which x[h, w] is the largest. Of equal
    entries the first one, row by row, has all of it. A NaN counts as larger than any number.

    Raises:
        InputError: an argument is out of range, the padding is more than half of the kernel, x is
            not (N, C, H, W), or a window would meet nothing of the image.

    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> MaxPool2D(2)(x)[0, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
    ) -> None:
        self.kernel_size, self.stride = kernel_size, stride
        self.padding, self.dilation = padding, dilation
        self.window = _window("MaxPool2D", kernel_size, stride, padding, dilation)

    def forward(self, x: Array) -> Array:
        """x: (N, C, H, W) -> y: (N, C, P, Q)."""
        self.check_input(x, "N", "C", "H", "W")
        size = (x.shape[2], x.shape[3])
        stops = _stops(self, self.window, size)
        y, winners = batch_last(x), []
        # Columns first: the first maximum of the first row that has one is the first of all.
        for axis in (COLUMNS, ROWS):
            y, winner = self._largest(y, axis, stops[axis - 1])
            winners.append(winner)
        y = batch_first(y)
        self.save_for_backward(y, size, *winners)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, C, P, Q) -> dx: (N, C, H, W)."""
        dy, size, *winners = self.saved_for_backward(dy)
        dx = batch_last(dy)
        for axis in (ROWS, COLUMNS):
            dx = self._to_winner(dx, winners.pop(), axis, size[axis - 1])
        return batch_first(dx)

    def _largest(self, x: Array, axis: int, stops: int) -> tuple[Array, Array]:
        """The largest entry of each window along an axis, and which of its K entries that is."""
        size, (kernel, stride, gap, before) = x.shape[axis], _along(self.window, axis)
        starts = stride * np.arange(stops) - before
        first = np.maximum(-(starts // gap), 0)  # the first entry of each that is no padding
        places = starts + gap * first
        # No window ends before the image, for its padding is at most half of the kernel.
        if (places >= size).any():
            raise InputError(
                f"{self!r} expects an image in which each window meets an entry, "
                f"got {size} {'rows' if axis == ROWS else 'columns'}"
            )
        y = x.take(places, axis=axis)
        winner = np.zeros(y.shape, np.min_scalar_type(kernel - 1))
        winner += first.astype(winner.dtype).reshape(-1, *[1] * (3 - axis))
        for entry, at, seen in _views(self.window, axis, size, stops):
            new, old = x[part(axis, seen)], y[part(axis, at)]
            larger = (new > old) | np.isnan(new)
            np.maximum(old, new, out=old)
            # Entries come in rising order: the largest number is the last one that was larger.
            won = winner[part(axis, at)]
            np.maximum(won, larger * winner.dtype.type(entry), out=won)
        return y, winner

    def _to_winner(self, dy: Array, winner: Array, axis: int, size: int) -> Array:
        """The transpose of `_largest`: each dy goes to the entry that won its window."""
        kernel, stride, gap, _ = _along(self.window, axis)
        dx = np.zeros((*dy.shape[:axis], size, *dy.shape[axis + 1 :]), dy.dtype)
        for entry, at, seen in _views(self.window, axis, size, dy.shape[axis]):
            one, won = dy[part(axis, at)], winner[part(axis, at)] == entry
            if stride > gap * (kernel - 1):  # no entry is in two windows
                np.multiply(one, won, out=dx[part(axis, seen)])
            else:
                dx[part(axis, seen)] += one * won
        return dx


@final
class AvgPool2D(Layer):
    """y[n, c, p, q] = the mean of all x[n, c, h, w] in the window at row p and column q.

    x is (N, C, H, W), y is (N, C, P, Q) with P = ⌊(H + 2 padding - K) / stride⌋ + 1 for kernel size
    K, and Q alike. Each argument is a number or a pair (rows, columns); without `stride` the
    windows lie side by side. Padding counts as zeros, or with count_include_pad=False not at all.
    As in PyTorch without ceil_mode and divisor_override, which are not offered.

    Gradient: dx[h, w] = Σ dy[p, q] / (entries that count) over the windows that meet x[h, w].

    Raises:
        InputError: an argument is out of range, the padding is more than half of the kernel, x is
            not (N, C, H, W), or the image is smaller than the window.

    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> AvgPool2D(2)(x)[0, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        count_include_pad: bool = True,
    ) -> None:
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.window = _window("AvgPool2D", kernel_size, stride, padding)
        self.count_include_pad = bool(count_include_pad)

    def forward(self, x: Array) -> Array:
        """x: (N, C, H, W) -> y: (N, C, P, Q)."""
        self.check_input(x, "N", "C", "H", "W")
        size = (x.shape[2], x.shape[3])
        stops = _stops(self, self.window, size)
        y = batch_last(x)
        counts: list[Array] = []
        for axis in (COLUMNS, ROWS):
            taps = self._taps(axis, size, stops)
            y = weighted(y, axis, stops[axis - 1], taps)
            counts.append(weighted(np.ones(size[axis - 1]), 0, stops[axis - 1], taps))
        kernel = self.window.kernel
        count: Any = kernel[0] * kernel[1]
        if not self.count_include_pad:
            columns, rows = counts
            count = np.outer(rows, columns)[..., None].astype(x.dtype)  # (P, Q, 1)
        y /= count
        y = batch_first(y)
        self.save_for_backward(y, size, count)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, C, P, Q) -> dx: (N, C, H, W)."""
        dy, size, count = self.saved_for_backward(dy)
        dx: Array = batch_last(dy) / count
        stops = (dy.shape[2], dy.shape[3])
        for axis in (ROWS, COLUMNS):
            dx = weighted(dx, axis, size[axis - 1], transposed(self._taps(axis, size, stops)))
        return batch_first(dx)

    def _taps(self, axis: int, size: Pair, stops: Pair) -> list[Tap]:
        views = _views(self.window, axis, size[axis - 1], stops[axis - 1])
        return [(at, seen, 1) for _, at, seen in views]


@final
class GlobalAvgPool2D(Layer):
    """y[n, c] = the mean of x[n, c] over all rows and columns: (N, C, H, W) -> (N, C).

    PyTorch's AdaptiveAvgPool2d(1) keeps two axes of size 1; here they are gone, ready for `Dense`.

    Gradient: dx[n, c, h, w] = dy[n, c] / (H W).

    Raises:
        InputError: x is not (N, C, H, W), or an image has no entry.

    >>> GlobalAvgPool2D()(np.arange(8.0).reshape(1, 2, 2, 2))
    array([[1.5, 5.5]])
    """

    def forward(self, x: Array) -> Array:
        """x: (N, C, H, W) -> y: (N, C)."""
        self.check_input(x, "N", "C", "H", "W")
        check_not_empty(self, x.shape[2:])
        y: Array = x.mean(axis=(2, 3), dtype=np.float64).astype(x.dtype)
        self.save_for_backward(y, x.shape[2:])
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, C) -> dx: (N, C, H, W)."""
        dy, (rows, columns) = self.saved_for_backward(dy)
        share: Array = dy.T[:, None, None] / (rows * columns)  # (C, 1, 1, N)
        dx: Array = np.broadcast_to(share, (len(share), rows, columns, len(dy))).copy()
        return batch_first(dx)


def _window(who: str, kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1) -> Window:
    window = Window.of(
        who,
        kernel_size=kernel_size,
        stride=kernel_size if stride is None else stride,
        padding=pair(who, "padding", padding, at_least=0),
        dilation=dilation,
    )
    if any(2 * sides[0] > size for sides, size in zip(window.padding, window.kernel, strict=True)):
        raise InputError(
            f"{who} expects a padding of at most half of the kernel, "
            f"got padding={padding!r} with kernel_size={kernel_size!r}"
        )
    return window


def _stops(layer: Layer, window: Window, size: Pair) -> Pair:
    check_not_empty(layer, size)
    stops = window.stops(size)
    if min(stops) < 1:
        raise InputError(
            f"{layer!r} expects images that its window fits into, got {size[0]} x {size[1]}"
        )
    return stops


def _along(window: Window, axis: int) -> tuple[int, int, int, int]:
    """Along one axis: the size of the kernel, the stride, the dilation and the padding before."""
    sizes = (window.kernel, window.stride, window.dilation, [sides[0] for sides in window.padding])
    kernel, stride, gap, before = (both[axis - 1] for both in sizes)
    return kernel, stride, gap, before


def _views(window: Window, axis: int, size: int, stops: int) -> Iterator[tuple[int, slice, slice]]:
    """For each entry of the kernel along an axis: at which stops it meets the image, and where.

    What meets the padding is left out.
    """
    kernel, stride, gap, before = _along(window, axis)
    for entry in range(kernel):
        start = entry * gap - before  # what it meets at the first stop
        low = max(0, -(start // stride))
        high = min(stops, (size - 1 - start) // stride + 1)
        if low < high:
            first, last = start + stride * low, start + stride * (high - 1)
            yield entry, slice(low, high), slice(first, last + 1, stride)


def _arguments(window: Window) -> str:
    (top, _), (left, _) = window.padding
    named = {
        "stride": (window.stride, window.kernel),
        "padding": ((top, left), (0, 0)),
        "dilation": (window.dilation, (1, 1)),
    }
    others = [
        f", {name}={short(value)}" for name, (value, usual) in named.items() if value != usual
    ]
    return f"{short(window.kernel)}{''.join(others)}"


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
        self.scale_factor = scale_factor
        self._factors = pair("UpSample2D", "scale_factor", scale_factor)
        if mode not in ("nearest", "bilinear"):
            raise InputError(f'UpSample2D expects mode to be "nearest" or "bilinear", got {mode!r}')
        self.mode = mode

    def forward(self, x: Array) -> Array:
        """x: (N, C, H, W) -> y: (N, C, F H, F W)."""
        self.check_input(x, "N", "C", "H", "W")
        size = x.shape[2:]
        check_not_empty(self, size)
        y = batch_last(x)
        for axis in (COLUMNS, ROWS):
            factor, length = self._factors[axis - 1], size[axis - 1]
            y = weighted(y, axis, factor * length, self._taps(factor, length))
        y = batch_first(y)
        self.save_for_backward(y, size)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, C, F H, F W) -> dx: (N, C, H, W)."""
        dy, size = self.saved_for_backward(dy)
        dx = batch_last(dy)
        for axis in (ROWS, COLUMNS):
            factor, length = self._factors[axis - 1], size[axis - 1]
            dx = weighted(dx, axis, length, transposed(self._taps(factor, length)))
        return batch_first(dx)

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
