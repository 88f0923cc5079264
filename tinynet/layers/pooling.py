"""Pooling and upsampling: layers that make images smaller or larger, each channel by itself.

All of them work along one axis after the other, as sums or maxima of shifted slices: for each
kernel offset, the entries of x that this offset covers are one strided slice.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, final

import numpy as np

from tinynet.errors import InputError
from tinynet.layer import Layer
from tinynet.layers.conv2d import (
    COLUMNS,
    ROWS,
    Pair,
    Window,
    batch_first,
    batch_last,
    channel_blocks,
    pair,
)
from tinynet.mode import MODE
from tinynet.parameter import Array
from tinynet.validation import one_of

Slices = tuple[slice, slice, float]  # y[target] += weight * x[source]: (target, source, weight)


def along(axis: int, positions: slice) -> tuple[slice, ...]:
    """The index of a slice along one axis: x[:, 2:4] is x[along(1, slice(2, 4))]."""
    return (*[slice(None)] * axis, positions)


def add_slices(x: Array, axis: int, size: int, slices: Iterable[Slices]) -> Array:
    """Sums up shifted slices: y, of `size` along the axis, with y[target] += weight · x[source].

    >>> halves = [(slice(2), slice(0, 4, 2), 1.0), (slice(2), slice(1, 4, 2), 1.0)]
    >>> add_slices(np.array([1.0, 2.0, 3.0, 4.0]), 0, 2, halves)
    array([3., 7.])
    """
    y = np.zeros((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype)
    for target, source, weight in slices:
        piece = x[along(axis, source)]
        y[along(axis, target)] += piece if weight == 1 else piece * weight
    return y


def swap_slices(slices: Iterable[Slices]) -> Iterator[Slices]:
    """The same sums backwards: dx[source] += weight · dy[target]."""
    return ((source, target, weight) for target, source, weight in slices)


@final
class MaxPool2D(Layer):
    """Max pooling: y[n, c, p, q] is the largest x[n, c, h, w] in the window at row p, column q.

    x is (N, C, H, W), y is (N, C, P, Q) with P = ⌊(H + 2 padding - D (K - 1) - 1) / stride⌋ + 1 for
    kernel size K and dilation D, and Q alike. Arguments are numbers or pairs (rows, columns), as in
    PyTorch without ceil_mode; the stride is the kernel size by default. Padding is never the
    maximum.

    Gradient: dx[h, w] = Σ dy[p, q] over the windows in which x[h, w] is the largest. Among equal
    entries the first one in row-major order gets all of it. A NaN is larger than any number.

    Raises:
        InputError: an argument is out of range, the padding is more than half of the kernel, x is
            not (N, C, H, W), or a window covers no entry of the image.

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
        size = _image_size(self, x)
        rows, columns = _output_size(self, self.window, size)
        # Columns first: the first maximum in the first row that has it is the first of the window.
        starts = [self._starts(COLUMNS, size[1], columns), self._starts(ROWS, size[0], rows)]
        images = batch_last(x)
        channels, _, _, n = images.shape
        shapes = ((channels, size[0], columns, n), (channels, rows, columns, n))
        y = np.empty(shapes[1], x.dtype)
        winners: list[Array] = []  # the kernel offset of the maximum, along each axis
        if MODE.get() != "inference":
            dtypes = (np.min_scalar_type(kernel - 1) for kernel in self.window.kernel_size[::-1])
            winners = [np.empty(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
        for block in channel_blocks(images):
            won: list[Any] = [winner[block] for winner in winners] or [None, None]
            highest = self.scratch("highest", (len(y[block]), *shapes[0][1:]), x.dtype)
            self._maximum(images[block], COLUMNS, starts[0], highest, won[0])
            self._maximum(highest, ROWS, starts[1], y[block], won[1])
        y = batch_first(y)
        self.save_for_backward(y, size, *winners)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, C, P, Q) -> dx: (N, C, H, W)."""
        dy, size, along_columns, along_rows = self.saved_for_backward(dy)
        dy = batch_last(dy)
        channels, _, columns, n = dy.shape
        dx = np.empty((channels, *size, n), dy.dtype)
        for block in channel_blocks(dx):
            shape = (len(dx[block]), size[0], columns, n)
            highest = self.scratch("highest", shape, dy.dtype)
            self._to_winner(dy[block], ROWS, along_rows[block], highest)
            self._to_winner(highest, COLUMNS, along_columns[block], dx[block])
        return batch_first(dx)

    def _starts(self, axis: int, size: int, output_size: int) -> tuple[Array, Array]:
        """For each window along an axis the first offset not in the padding, and its entry of x."""
        _, stride, gap, before = self.window.along(axis)
        starts = stride * np.arange(output_size) - before
        first = np.maximum(-(starts // gap), 0)
        indices = starts + gap * first
        # No window ends before the image, because the padding is at most half of the kernel.
        if (indices >= size).any():
            raise InputError(
                f"{self!r} expects an image in which each window covers an entry, "
                f"got {size} {'rows' if axis == ROWS else 'columns'}"
            )
        return first, indices

    def _maximum(
        self, x: Array, axis: int, starts: tuple[Array, Array], y: Array, winner: Array | None
    ) -> None:
        """Writes the maximum of each window along an axis, and the kernel offset at which it is."""
        first, indices = starts
        x.take(indices, axis=axis, out=y, mode="clip")  # another mode would use a buffer
        if winner is not None:
            winner[...] = first.astype(winner.dtype).reshape(-1, *[1] * (3 - axis))
        has_nan = bool(np.isnan(x.max(initial=0)))
        for offset, target, source in self.window.offsets(axis, x.shape[axis], y.shape[axis]):
            if offset == 0:  # where it is not in the padding, y is this entry
                continue
            new, old = x[along(axis, source)], y[along(axis, target)]
            if winner is not None:
                larger = new > old
                if has_nan:
                    larger |= np.isnan(new)
                # Offsets rise, so that the winner is the last one whose entry was larger.
                best = winner[along(axis, target)]
                np.maximum(best, larger * winner.dtype.type(offset), out=best)
            np.maximum(old, new, out=old)

    def _to_winner(self, dy: Array, axis: int, winner: Array, dx: Array) -> None:
        """The transpose of `_maximum`: each dy goes to the entry that was the maximum."""
        kernel, stride, gap, before = self.window.along(axis)
        separate = stride > gap * (kernel - 1)  # windows do not overlap
        if not separate or before or kernel * dy.shape[axis] < dx.shape[axis]:
            dx[...] = 0
        for offset, target, source in self.window.offsets(axis, dx.shape[axis], dy.shape[axis]):
            piece, won = dy[along(axis, target)], winner[along(axis, target)] == offset
            if separate:
                np.multiply(piece, won, out=dx[along(axis, source)])
            else:
                dx[along(axis, source)] += piece * won


@final
class AvgPool2D(Layer):
    """Average pooling: y[n, c, p, q] is the mean of x[n, c, h, w] in the window at (p, q).

    x is (N, C, H, W), y is (N, C, P, Q) with P = ⌊(H + 2 padding - K) / stride⌋ + 1 for kernel size
    K, and Q alike. Arguments are numbers or pairs (rows, columns), as in PyTorch without ceil_mode
    and divisor_override; the stride is the kernel size by default. Padding counts as zeros, or with
    count_include_pad=False not at all.

    Gradient: dx[h, w] = Σ dy[p, q] / (number of entries averaged) over the windows with x[h, w].

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
        *,
        count_include_pad: bool = True,
    ) -> None:
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.window = _window("AvgPool2D", kernel_size, stride, padding)
        self.count_include_pad = bool(count_include_pad)

    def forward(self, x: Array) -> Array:
        """x: (N, C, H, W) -> y: (N, C, P, Q)."""
        size = _image_size(self, x)
        output_size = _output_size(self, self.window, size)
        y = batch_last(x)
        counts: list[Array] = []  # of the entries of x in a window, along each axis
        for axis in (COLUMNS, ROWS):
            slices, length = self._slices(axis, size, output_size), output_size[axis - 1]
            y = add_slices(y, axis, length, slices)
            counts.append(add_slices(np.ones(size[axis - 1]), 0, length, slices))
        count: Any = self.window.kernel_size[0] * self.window.kernel_size[1]
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
        output_size = (dy.shape[2], dy.shape[3])
        for axis in (ROWS, COLUMNS):
            slices = swap_slices(self._slices(axis, size, output_size))
            dx = add_slices(dx, axis, size[axis - 1], slices)
        return batch_first(dx)

    def _slices(self, axis: int, size: Pair, output_size: Pair) -> list[Slices]:
        offsets = self.window.offsets(axis, size[axis - 1], output_size[axis - 1])
        return [(target, source, 1) for _, target, source in offsets]


@final
class GlobalAvgPool2D(Layer):
    """Global average pooling: the mean over all rows and columns, (N, C, H, W) -> (N, C).

    PyTorch's AdaptiveAvgPool2d(1) keeps two axes of size 1; here they are dropped, for a `Dense`.

    Gradient: dx[n, c, h, w] = dy[n, c] / (H W).

    Raises:
        InputError: x is not (N, C, H, W), or an image has no entry.

    >>> GlobalAvgPool2D()(np.arange(8.0).reshape(1, 2, 2, 2))
    array([[1.5, 5.5]])
    """

    def forward(self, x: Array) -> Array:
        """x: (N, C, H, W) -> y: (N, C)."""
        size = _image_size(self, x)
        y: Array = x.mean(axis=(2, 3), dtype=np.float64).astype(x.dtype)
        self.save_for_backward(y, size)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, C) -> dx: (N, C, H, W)."""
        dy, (rows, columns) = self.saved_for_backward(dy)
        share: Array = dy.T[:, None, None] / (rows * columns)  # (C, 1, 1, N)
        dx: Array = np.broadcast_to(share, (len(share), rows, columns, len(dy))).copy()
        return batch_first(dx)


def _image_size(layer: Layer, x: Array) -> Pair:
    """(H, W) of x, checked to be images (N, C, H, W) with at least one entry."""
    layer.check_input(x, "N", "C", "H", "W")
    size = (x.shape[2], x.shape[3])
    if min(size) < 1:
        raise InputError(
            f"{layer!r} expects images of at least one entry, got {size[0]} x {size[1]}"
        )
    return size


def _output_size(layer: Layer, window: Window, size: Pair) -> Pair:
    """(P, Q) of y, checked to be at least one window."""
    output_size = window.output_size(size)
    if min(output_size) < 1:
        raise InputError(
            f"{layer!r} expects images that its window fits into, got {size[0]} x {size[1]}"
        )
    return output_size


def _window(who: str, kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1) -> Window:
    """A window with padding of at most half of it, and by default with its size as the stride."""
    stride = kernel_size if stride is None else stride
    padding_pair = pair(who, "padding", padding, at_least=0)
    window = Window.of(who, kernel_size, stride, padding_pair, dilation)
    sizes = zip(window.padding, window.kernel_size, strict=True)
    if any(2 * sides[0] > size for sides, size in sizes):
        raise InputError(
            f"{who} expects a padding of at most half of the kernel, "
            f"got padding={padding!r} with kernel_size={kernel_size!r}"
        )
    return window


@final
class UpSample2D(Layer):
    """Images `scale_factor` times as large: (N, C, H, W) -> (N, C, F H, F W).

    mode="nearest" repeats each entry: y[h, w] = x[⌊h / F⌋, ⌊w / F⌋]. "bilinear" interpolates x at
    ((h + ½) / F - ½, (w + ½) / F - ½) between the four entries around, constant beyond the
    outermost ones: PyTorch's Upsample with align_corners=False. `scale_factor` is a whole number,
    or a pair of them (rows, columns).

    Gradient: the transpose of the same weights; for "nearest" the sum of dy over the repeats.

    Raises:
        InputError: scale_factor is no whole number >= 1, the mode is another, x is not
            (N, C, H, W), or an image has no entry.

    >>> x = np.array([[[[1.0, 2.0]]]])
    >>> UpSample2D(2)(x)[0, 0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.]])
    >>> UpSample2D((1, 2), "bilinear")(x)[0, 0]
    array([[1.  , 1.25, 1.75, 2.  ]])
    """

    def __init__(
        self, scale_factor: int | Pair = 2, mode: Literal["nearest", "bilinear"] = "nearest"
    ) -> None:
        self.scale_factor = scale_factor
        self._factors = pair("UpSample2D", "scale_factor", scale_factor)
        self.mode = one_of("UpSample2D", "mode", mode, ("nearest", "bilinear"))

    def forward(self, x: Array) -> Array:
        """x: (N, C, H, W) -> y: (N, C, F H, F W)."""
        size = _image_size(self, x)
        y = batch_last(x)
        for axis in (COLUMNS, ROWS):
            factor, length = self._factors[axis - 1], size[axis - 1]
            y = add_slices(y, axis, factor * length, self._slices(factor, length))
        y = batch_first(y)
        self.save_for_backward(y, size)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, C, F H, F W) -> dx: (N, C, H, W)."""
        dy, size = self.saved_for_backward(dy)
        dx = batch_last(dy)
        for axis in (ROWS, COLUMNS):
            factor, length = self._factors[axis - 1], size[axis - 1]
            dx = add_slices(dx, axis, length, swap_slices(self._slices(factor, length)))
        return batch_first(dx)

    def _slices(self, factor: int, size: int) -> Iterator[Slices]:
        """y[F i + r] = (1 - |t|) x[i] + |t| x[i ± 1], with t = (r + ½) / F - ½ and its sign."""
        last = factor * (size - 1)
        for r in range(factor):
            t = (r + 0.5) / factor - 0.5 if self.mode == "bilinear" else 0.0
            yield slice(r, None, factor), slice(None), 1 - abs(t)
            if t < 0:  # from the entry before; the first entry has none and takes itself
                yield slice(factor + r, None, factor), slice(size - 1), -t
                yield slice(r, r + 1), slice(1), -t
            elif t > 0:  # from the entry after
                yield slice(r, last, factor), slice(1, None), t
                yield slice(last + r, None, factor), slice(size - 1, None), t
