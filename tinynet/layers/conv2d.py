"""2-D convolution of arrays: forward, the gradient of the input, and the gradient of the weight.

Images are (C, H, W, N) here, batch last: copies and sums then run along contiguous memory, over the
pixels of a row for all samples at once. The weight is (O, C / G, K, K) with G groups; channels of
different groups never meet, and arrays (G, ., .) hold one matrix for each group.

The convolution is computed as matrix products on unfolded images (im2col), one output row at a
time. Unfolding copies an image row only once for each kernel column, not for each kernel entry: the
rows that the kernel covers are neighbours in memory, so that they form the matrix without a copy.
A 1x1 kernel needs no unfolding, and a depthwise convolution is one sum over shifted views.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import DTypeLike

from tinynet.errors import InputError
from tinynet.parameter import Array
from tinynet.validation import whole_number

Pair = tuple[int, int]
ROWS, COLUMNS = 1, 2  # axes of (C, H, W, N)

# `Layer.scratch`: memory is used again, because new pages from the system cost more than a copy.
Scratch = Callable[[str, tuple[int, ...], DTypeLike], Array]

UNFOLD_ENTRIES = 2**19  # the most that are unfolded at a time
BLOCK_ENTRIES = 2**18  # of images that several passes read one after the other


class Window(NamedTuple):
    """The sliding window of a convolution or pooling, as pairs for (rows, columns).

    `padding` is ((top, bottom), (left, right)). Along one axis of size H, the output size is
    ⌊(H + padding - D (K - 1) - 1) / S⌋ + 1, with the padding of both sides.

    >>> Window.of("Conv2D", 3, stride=2, padding=1).output_size((28, 28))
    (14, 14)
    """

    kernel_size: Pair
    stride: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair

    @classmethod
    def of(
        cls, who: str, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1
    ) -> Self:
        """A window from arguments as PyTorch takes them; `who` names the layer in errors.

        A number stands for both axes. `padding` is a number, a pair (rows, columns), a pair of
        pairs ((top, bottom), (left, right)), "valid" for none, or "same": as much as keeps the size
        at stride 1, with the larger half at the bottom and at the right.

        Raises:
            InputError: an argument is none of these, or padding is "same" and a stride above 1.
        """
        kernel = pair(who, "kernel_size", kernel_size)
        strides, gaps = pair(who, "stride", stride), pair(who, "dilation", dilation)
        if isinstance(padding, str) and padding == "same":
            if strides != (1, 1):
                raise InputError(
                    f'{who} expects a stride of 1 with padding="same", got stride={stride!r}; '
                    "a number for padding goes with any stride"
                )
            spans = [gap * (size - 1) for gap, size in zip(gaps, kernel, strict=True)]
            rows, columns = ((span // 2, span - span // 2) for span in spans)
            return cls(kernel, strides, (rows, columns), gaps)
        if isinstance(padding, str) and padding != "valid":
            raise InputError(
                f'{who} expects padding to be "same", "valid", a number or a pair, got {padding!r}'
            )
        sides = 0 if isinstance(padding, str) else padding
        if not isinstance(sides, tuple | list) or len(sides) != 2:
            sides = (sides, sides)
        rows, columns = (pair(who, "padding", side, at_least=0) for side in sides)
        return cls(kernel, strides, (rows, columns), gaps)

    def extent(self) -> Pair:
        """How many rows and columns the dilated kernel covers."""
        (rows, columns), (row_gap, column_gap) = self.kernel_size, self.dilation
        return row_gap * (rows - 1) + 1, column_gap * (columns - 1) + 1

    def output_size(self, size: Pair) -> Pair:
        """The number of output rows and columns for an image of this size; may be below 1."""
        rows, columns = (
            (length + sum(sides) - extent) // stride + 1
            for length, sides, extent, stride in zip(
                size, self.padding, self.extent(), self.stride, strict=True
            )
        )
        return rows, columns

    def input_size(self, output_size: Pair) -> Pair:
        """The size of the smallest image that has this output size; may be below 1."""
        rows, columns = (
            stride * (count - 1) + extent - sum(sides)
            for count, sides, extent, stride in zip(
                output_size, self.padding, self.extent(), self.stride, strict=True
            )
        )
        return rows, columns

    def reversed(self, size: Pair, output_size: Pair) -> Self:
        """For stride 1 the window of dx: the same kernel over dy, padded until all terms are in."""
        rows, columns = (
            (extent - 1 - before, length + before - count)
            for length, count, extent, (before, _) in zip(
                size, output_size, self.extent(), self.padding, strict=True
            )
        )
        return self._replace(padding=(rows, columns))

    def along(self, axis: int) -> tuple[int, int, int, int]:
        """Along ROWS or COLUMNS: the kernel size, the stride, the dilation, the padding before."""
        at = axis - ROWS
        return self.kernel_size[at], self.stride[at], self.dilation[at], self.padding[at][0]

    def offsets(self, axis: int, size: int, output_size: int) -> Iterator[tuple[int, slice, slice]]:
        """For each kernel offset along an axis: the offset, a slice of y, the slice of x under it.

        Windows in which this offset is in the padding are left out.

        >>> list(Window.of("Conv2D", 2, padding=1).offsets(ROWS, 4, 5))
        [(0, slice(1, 5, None), slice(0, 4, 1)), (1, slice(0, 4, None), slice(0, 4, 1))]
        """
        kernel, stride, gap, before = self.along(axis)
        for offset in range(kernel):
            start = offset * gap - before  # the entry of x that it covers in the first window
            low = max(0, -(start // stride))
            high = min(output_size, (size - 1 - start) // stride + 1)
            if low < high:
                first, last = start + stride * low, start + stride * (high - 1)
                yield offset, slice(low, high), slice(first, last + 1, stride)


def pair(who: str, name: str, value: Any, *, at_least: int = 1) -> Pair:
    """Returns two whole numbers, for rows and columns; one number stands for both.

    >>> pair("MaxPool2D", "kernel_size", 2)
    (2, 2)
    >>> pair("MaxPool2D", "kernel_size", (3, 0))
    Traceback (most recent call last):
    tinynet.errors.InputError: MaxPool2D expects kernel_size to be a whole number >= 1, got 0
    """
    values = value if isinstance(value, tuple | list) else (value, value)
    if len(values) != 2:
        raise InputError(f"{who} expects {name} to be a number or a pair of them, got {value!r}")
    first, second = (whole_number(who, name, entry, at_least=at_least) for entry in values)
    return first, second


def batch_last(x: Array) -> Array:
    """(N, C, H, W) -> (C, H, W, N), contiguous: a view where the memory is already in this order.

    >>> batch_last(np.zeros((8, 3, 4, 5))).shape
    (3, 4, 5, 8)
    """
    return np.ascontiguousarray(x.transpose(1, 2, 3, 0))


def batch_first(images: Array) -> Array:
    """(C, H, W, N) -> (N, C, H, W), a view."""
    return images.transpose(3, 0, 1, 2)


def channel_blocks(images: Array) -> Iterator[slice]:
    """Slices of the channels of (C, H, W, N), each of them small enough to stay in the cache.

    >>> list(channel_blocks(np.zeros((5, 64, 64, 16))))
    [slice(0, 4, None), slice(4, 8, None)]
    """
    at_once = max(1, BLOCK_ENTRIES // max(1, math.prod(images.shape[1:])))
    return (slice(c, c + at_once) for c in range(0, len(images), at_once))


def conv2d(
    images: Array,
    weight: Array,
    window: Window,
    output_size: Pair,
    groups: int,
    scratch: Scratch,
) -> Array:
    """The forward pass: (C, H, W, N), (O, C / G, K, K) -> (O, P, Q, N), (P, Q) the output size."""
    outputs, n = len(weight), images.shape[-1]
    rows, columns = output_size
    y = np.empty((groups, outputs // groups, rows, columns * n), images.dtype)
    if window.kernel_size == (1, 1):
        pixels = _pixels(images, window, output_size, groups)
        np.matmul(weight.reshape(groups, outputs // groups, -1), pixels, out=_flat(y))
    elif _is_depthwise(weight, window, groups):
        views = _views(images, window, output_size, scratch)
        np.einsum("cpqij,cij->cpq", views, weight[:, 0], out=y[:, 0])
    else:
        # (G, O/G, K·C/G·K), the last axis in the order of `_unfold`: kernel row, channel, column
        weight = weight.swapaxes(1, 2).reshape(groups, outputs // groups, -1)
        for row, unfolded in enumerate(_unfold(images, window, output_size, groups, scratch)):
            np.matmul(weight, unfolded, out=y[:, :, row])
    return y.reshape(outputs, rows, columns, n)


def conv2d_weight_gradient(
    images: Array, dy: Array, window: Window, groups: int, scratch: Scratch
) -> Array:
    """The sum of dy · x over samples and output positions: (C, H, W, N), (O, P, Q, N) -> dW."""
    outputs, rows, columns, n = dy.shape
    (kernel_rows, kernel_columns), channels = window.kernel_size, len(images) // groups
    shape = (outputs, channels, kernel_rows, kernel_columns)
    dy = dy.reshape(groups, outputs // groups, rows, columns * n)
    if window.kernel_size == (1, 1):
        pixels = _pixels(images, window, (rows, columns), groups)
        return (_flat(dy) @ pixels.swapaxes(1, 2)).reshape(shape)
    dw = np.zeros((groups, outputs // groups, kernel_rows * channels * kernel_columns), dy.dtype)
    if _is_depthwise(dw.reshape(shape), window, groups):
        views = _views(images, window, (rows, columns), scratch)
        for entry, (i, j) in enumerate(np.ndindex(window.kernel_size)):
            dw[:, 0, entry] = np.vecdot(views[..., i, j], dy[:, 0]).sum(axis=1)
        return dw.reshape(shape)
    for row, unfolded in enumerate(_unfold(images, window, (rows, columns), groups, scratch)):
        dw += dy[:, :, row] @ unfolded.swapaxes(1, 2)
    dw = dw.reshape(outputs, kernel_rows, channels, kernel_columns)
    return np.ascontiguousarray(dw.swapaxes(1, 2))  # (O, C/G, K, K)


def conv2d_input_gradient(
    dy: Array, weight: Array, window: Window, size: Pair, groups: int, scratch: Scratch
) -> Array:
    """The sum of W · dy over all that x contributes to: (O, P, Q, N) -> dx (C, H, W, N).

    (H, W) is `size`. With x in place of dy this is the forward pass of a transposed convolution.
    """
    outputs, channels, kernel_rows, kernel_columns = weight.shape
    _, rows, columns, n = dy.shape
    dy = dy.reshape(groups, outputs // groups, rows, columns * n)
    if window.kernel_size == (1, 1):
        product = weight.reshape(groups, outputs // groups, channels).swapaxes(1, 2) @ _flat(dy)
        pixels = product.reshape(groups * channels, rows, columns, n)
        if _covers_all(window, size, (rows, columns)):
            return pixels
        dx = np.zeros((groups * channels, *size, n), dy.dtype)
        for target, source in _pixel_slices(window, size, (rows, columns)):
            dx[source] = pixels[target]
        return dx
    if _is_depthwise(weight, window, groups):
        # dx is the convolution of dy, padded to the full overlap, with the reversed kernel.
        flipped = np.ascontiguousarray(weight[:, :, ::-1, ::-1])
        full = window.reversed(size, (rows, columns))
        return conv2d(dy.reshape(outputs, rows, columns, n), flipped, full, size, groups, scratch)
    stride, gap, top = window.stride[0], window.dilation[0], window.padding[0][0]
    # Image row h gets dy of output row p through kernel row i where p · stride + i · gap = h + top:
    # as i rises, p falls. With the kernel rows reversed both rise, and with the rows in front of
    # the channels all terms of an image row are one slice of each array: one matrix product.
    in_rows = scratch("dy", (groups, rows, outputs // groups, columns * n), dy.dtype)
    in_rows[...] = dy.swapaxes(1, 2)
    weight = weight.reshape(groups, outputs // groups, channels, kernel_rows, kernel_columns)
    weight = weight[:, :, :, ::-1].transpose(0, 3, 1, 2, 4)
    weight = weight.reshape(groups, kernel_rows, outputs // groups, channels * kernel_columns)

    dx = np.empty((groups, channels, *size, n), dy.dtype)
    covered = list(window.offsets(COLUMNS, size[1], columns))
    starts = range(0, rows * stride, stride)  # the padded image row of the top of the kernel
    for row in range(size[0]):
        dx[:, :, row] = 0
        # The same where its last row covers this image row, the row before the last, ...
        candidates = range(top + row - gap * (kernel_rows - 1), top + row + 1, gap)
        terms = [(i, starts.index(start)) for i, start in enumerate(candidates) if start in starts]
        if terms:
            kernel_slice, output_slice = (
                _as_slice(indices) for indices in zip(*terms, strict=True)
            )
            count = len(terms) * (outputs // groups)
            weights = weight[:, kernel_slice].reshape(groups, count, channels * kernel_columns)
            dys = in_rows[:, output_slice].reshape(groups, count, columns * n)
            product = weights.swapaxes(1, 2) @ dys
            unfolded = product.reshape(groups, channels, kernel_columns, columns, n)
            for j, target, source in covered:
                dx[:, :, row, source] += unfolded[:, :, j, target]
    return dx.reshape(groups * channels, *size, n)


def _unfold(
    images: Array, window: Window, output_size: Pair, groups: int, scratch: Scratch
) -> Iterator[Array]:
    """For each output row the image under the kernel as a matrix: (G, K·C/G·K, Q·N).

    Each matrix is valid until the next one is requested: they share memory.
    """
    channels, height, width, n = images.shape
    rows, columns = output_size
    kernel_columns, stride, gap = window.kernel_size[1], window.stride[0], window.dilation[0]
    extent, _ = window.extent()
    images = images.reshape(groups, channels // groups, height, width, n).swapaxes(1, 2)
    entries = max(channels * kernel_columns * columns * n, 1)  # of one unfolded image row
    at_once = min(max((UNFOLD_ENTRIES // entries - extent) // stride, 0) + 1, rows)  # output rows
    block_rows = (at_once - 1) * stride + extent
    block_shape = (groups, block_rows, channels // groups, kernel_columns, columns, n)
    block = scratch("unfolded", block_shape, images.dtype)
    if any(window.padding[1]):
        block[...] = 0  # what is in the padding at the left and right stays so
    for first in range(0, rows, at_once):
        top = first * stride - window.padding[0][0]  # the image row that the block begins with
        inside = slice(min(max(top, 0), height), min(max(top + block_rows, 0), height))
        at = slice(inside.start - top, inside.stop - top)
        for outside in (slice(at.start), slice(at.stop, None)):
            block[:, outside] = 0
        for j, target, source in window.offsets(COLUMNS, width, columns):
            block[:, at, :, j, target] = images[:, inside, :, source]
        for row in range(0, min(at_once, rows - first) * stride, stride):
            under_kernel = block[:, row : row + extent : gap]  # with gaps, reshape copies
            yield under_kernel.reshape(groups, math.prod(under_kernel.shape[1:4]), columns * n)


def _pixels(images: Array, window: Window, output_size: Pair, groups: int) -> Array:
    """The entry of x under a 1x1 kernel, for each output position: (G, C/G, P·Q·N)."""
    channels, *size, n = images.shape
    pixels = images
    if not _covers_all(window, (size[0], size[1]), output_size):
        pixels = np.zeros((channels, *output_size, n), images.dtype)
        for target, source in _pixel_slices(window, (size[0], size[1]), output_size):
            pixels[target] = images[source]
    return pixels.reshape(groups, channels // groups, -1)


def _covers_all(window: Window, size: Pair, output_size: Pair) -> bool:
    """Whether a 1x1 kernel has one output position for each entry of the image."""
    padded = any(window.padding[0] + window.padding[1])
    return window.stride == (1, 1) and not padded and size == output_size


def _pixel_slices(window: Window, size: Pair, output_size: Pair) -> Iterator[tuple[Any, Any]]:
    """The index of the entries of y whose 1x1 kernel is not in the padding, and of those of x."""
    for _, rows, source_rows in window.offsets(ROWS, size[0], output_size[0]):
        for _, columns, source_columns in window.offsets(COLUMNS, size[1], output_size[1]):
            yield np.s_[:, rows, columns], np.s_[:, source_rows, source_columns]


def _is_depthwise(weight: Array, window: Window, groups: int) -> bool:
    """Whether each channel is convolved by itself, with a stride of 1 and less padding than kernel.

    The matrices of such a convolution have one row: sums of shifted images are faster.
    """
    fits = all(
        max(sides) < extent for sides, extent in zip(window.padding, window.extent(), strict=True)
    )
    return len(weight) == groups and weight.shape[1] == 1 and window.stride == (1, 1) and fits


def _views(images: Array, window: Window, output_size: Pair, scratch: Scratch) -> Array:
    """For each kernel entry (i, j) the padded image under it, as a view: (C, P, Q·N, K, K)."""
    channels, n = len(images), images.shape[-1]
    images = _pad(images, window.padding, scratch)
    column = n * images.itemsize  # computed, since images.strides mean nothing for axes of size 1
    row = images.shape[2] * column
    gaps = (window.dilation[0] * row, window.dilation[1] * column)
    strides = (images.shape[1] * row, row, images.itemsize, *gaps)
    shape = (channels, output_size[0], output_size[1] * n, *window.kernel_size)
    return as_strided(images, shape, strides, writeable=False)


def _flat(y: Array) -> Array:
    """(G, O/G, P, Q·N) -> (G, O/G, P·Q·N), a view."""
    return y.reshape(*y.shape[:2], -1)


def _pad(images: Array, padding: tuple[Pair, Pair], scratch: Scratch) -> Array:
    """Images with rows and columns of zeros around them."""
    (top, bottom), (left, right) = padding
    if not (top or bottom or left or right):
        return images
    channels, height, width, n = images.shape
    shape = (channels, top + height + bottom, left + width + right, n)
    padded = scratch("padded", shape, images.dtype)
    padded[...] = 0
    padded[:, top : top + height, left : left + width] = images
    return padded


def _as_slice(indices: tuple[int, ...]) -> slice:
    """The slice of evenly rising indices."""
    step = indices[1] - indices[0] if len(indices) > 1 else 1
    return slice(indices[0], indices[-1] + 1, step)
