"""2-D convolution of arrays: forward, the gradient of the input, and the gradient of the weight.

Images are (C, H, W, N) here, batch last: copies and sums then run along contiguous memory, over the
pixels of a row for all samples at once. The weight is (O, C / G, K, K) with G groups; channels of
different groups never meet, and arrays (G, ., .) hold one matrix for each group.

The convolution is computed as matrix products on unfolded images (im2col), one output row at a
time. Unfolding copies an image row only once for each kernel column, not for each kernel entry: the
rows that the kernel covers are neighbours in memory, so that they form the matrix without a copy.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import numpy as np

from tinynet.errors import InputError
from tinynet.parameter import Array
from tinynet.validation import whole_number

Pair = tuple[int, int]

# The most entries that are unfolded at a time. The memory is used again, because new pages from the
# system cost more than the copy.
UNFOLD_ENTRIES = 2**19


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


def conv2d(images: Array, weight: Array, window: Window, output_size: Pair, groups: int) -> Array:
    """The forward pass: (C, H, W, N), (O, C / G, K, K) -> (O, P, Q, N), (P, Q) the output size."""
    outputs, n = len(weight), images.shape[-1]
    rows, columns = output_size
    # (G, O/G, K·C/G·K), the last axis in the order of `_unfold`: kernel row, channel, kernel column
    weight = weight.swapaxes(1, 2).reshape(groups, outputs // groups, -1)
    y = np.empty((groups, outputs // groups, rows, columns * n), images.dtype)
    for row, unfolded in enumerate(_unfold(images, window, output_size, groups)):
        np.matmul(weight, unfolded, out=y[:, :, row])
    return y.reshape(outputs, rows, columns, n)


def conv2d_weight_gradient(images: Array, dy: Array, window: Window, groups: int) -> Array:
    """The sum of dy · x over samples and output positions: (C, H, W, N), (O, P, Q, N) -> dW."""
    outputs, rows, columns, n = dy.shape
    (kernel_rows, kernel_columns), channels = window.kernel_size, len(images) // groups
    dy = dy.reshape(groups, outputs // groups, rows, columns * n)
    dw = np.zeros((groups, outputs // groups, kernel_rows * channels * kernel_columns), dy.dtype)
    for row, unfolded in enumerate(_unfold(images, window, (rows, columns), groups)):
        dw += dy[:, :, row] @ unfolded.swapaxes(1, 2)
    dw = dw.reshape(outputs, kernel_rows, channels, kernel_columns)
    return np.ascontiguousarray(dw.swapaxes(1, 2))  # (O, C/G, K, K)


def conv2d_input_gradient(
    dy: Array, weight: Array, window: Window, size: Pair, groups: int
) -> Array:
    """The sum of W · dy over all that x contributes to: (O, P, Q, N) -> dx (C, H, W, N).

    (H, W) is `size`. With x in place of dy this is the forward pass of a transposed convolution.
    """
    outputs, channels, kernel_rows, kernel_columns = weight.shape
    _, rows, columns, n = dy.shape
    stride, gap = window.stride[0], window.dilation[0]
    (top, _), (left, right) = window.padding
    # Image row h gets dy of output row p through kernel row i where p · stride + i · gap = h + top:
    # as i rises, p falls. With the kernel rows reversed both rise, and with the rows in front of
    # the channels all terms of an image row are one slice of each array: one matrix product.
    dy = np.ascontiguousarray(
        dy.reshape(groups, outputs // groups, rows, columns * n).swapaxes(1, 2)
    )  # (G, P, O/G, Q·N)
    weight = weight.reshape(groups, outputs // groups, channels, kernel_rows, kernel_columns)
    weight = weight[:, :, :, ::-1].transpose(0, 3, 1, 2, 4)
    weight = weight.reshape(groups, kernel_rows, outputs // groups, channels * kernel_columns)

    dx = np.zeros((groups, channels, size[0], left + size[1] + right, n), dy.dtype)
    starts = range(0, rows * stride, stride)  # the padded image row of the top of the kernel
    for row in range(size[0]):
        # The same where its last row covers this image row, the row before the last, ...
        candidates = range(top + row - gap * (kernel_rows - 1), top + row + 1, gap)
        terms = [(i, starts.index(start)) for i, start in enumerate(candidates) if start in starts]
        if terms:
            kernel_slice, output_slice = (
                _as_slice(indices) for indices in zip(*terms, strict=True)
            )
            count = len(terms) * (outputs // groups)
            weights = weight[:, kernel_slice].reshape(groups, count, channels * kernel_columns)
            dys = dy[:, output_slice].reshape(groups, count, columns * n)
            product = weights.swapaxes(1, 2) @ dys
            unfolded = product.reshape(groups, channels, kernel_columns, columns, n)
            for j, covered in enumerate(_covered_columns(window, columns)):
                dx[:, :, row, covered] += unfolded[:, :, j]
    images = dx.reshape(groups * channels, size[0], left + size[1] + right, n)
    return images[:, :, left : left + size[1]]


def _unfold(images: Array, window: Window, output_size: Pair, groups: int) -> Iterator[Array]:
    """For each output row the image under the kernel as a matrix: (G, K·C/G·K, Q·N).

    Each matrix is valid until the next one is requested: they share memory.
    """
    channels, _, _, n = images.shape
    rows, columns = output_size
    kernel_columns, stride, gap = window.kernel_size[1], window.stride[0], window.dilation[0]
    extent, _ = window.extent()
    images = _pad(images, window.padding)
    images = images.reshape(groups, channels // groups, *images.shape[1:]).swapaxes(1, 2)
    entries = max(channels * kernel_columns * columns * n, 1)  # of one unfolded image row
    at_once = min(max((UNFOLD_ENTRIES // entries - extent) // stride, 0) + 1, rows)  # output rows
    block_rows = (at_once - 1) * stride + extent
    block = np.empty(
        (groups, block_rows, channels // groups, kernel_columns, columns, n), images.dtype
    )
    for first in range(0, rows, at_once):
        part = images[:, first * stride : first * stride + block_rows]  # may be fewer at the end
        for j, covered in enumerate(_covered_columns(window, columns)):
            block[:, : part.shape[1], :, j] = part[:, :, :, covered]
        for row in range(0, min(at_once, rows - first) * stride, stride):
            under_kernel = block[:, row : row + extent : gap]  # with gaps, reshape copies
            yield under_kernel.reshape(groups, math.prod(under_kernel.shape[1:4]), columns * n)


def _covered_columns(window: Window, columns: int) -> list[slice]:
    """For each kernel column the padded image columns that it covers, one per output column."""
    kernel, stride, gap = window.kernel_size[1], window.stride[1], window.dilation[1]
    length = stride * (columns - 1) + 1
    return [slice(j * gap, j * gap + length, stride) for j in range(kernel)]


def _pad(images: Array, padding: tuple[Pair, Pair]) -> Array:
    """Images with rows and columns of zeros around them."""
    (top, bottom), (left, right) = padding
    if not (top or bottom or left or right):
        return images
    channels, height, width, n = images.shape
    padded = np.zeros((channels, top + height + bottom, left + width + right, n), images.dtype)
    padded[:, top : top + height, left : left + width] = images
    return padded


def _as_slice(indices: tuple[int, ...]) -> slice:
    """The slice of evenly rising indices."""
    step = indices[1] - indices[0] if len(indices) > 1 else 1
    return slice(indices[0], indices[-1] + 1, step)
