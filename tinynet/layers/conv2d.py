"""The three sums of a convolution: forward, back to the image, and for the gradient by the weights.

Images are (C, H, W, N) here, samples last, so that copies and sums run over the pixels of a row for
all samples at once. What the kernel sees from one row of stops is the matrix of one product. For it
each image row is written out once per column of the kernel; the rows under the kernel then lie one
behind the other, and as one matrix they are read where they are.

The weights are (O, C / groups, rows, columns). With `groups` the channels are cut into parts that
know nothing of each other: arrays (groups, ., .) are that many matrices.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import numpy as np

from tinynet.errors import InputError
from tinynet.parameter import Array
from tinynet.validation import whole_number

Pair = tuple[int, int]


class Window(NamedTuple):
    """A kernel, how far it moves at a time, the gaps in it, and the border around the image.

    All in (rows, columns); `padding` is ((top, bottom), (left, right)). Along one axis of size H,
    with the padding added to it, the kernel spans D (K - 1) + 1 entries and stops at
    ⌊(H - D (K - 1) - 1) / S⌋ + 1 places.

    >>> Window.of("Conv2D", kernel_size=3, stride=2, padding=1).stops((28, 28))
    (14, 14)
    """

    kernel: Pair
    stride: Pair
    dilation: Pair
    padding: tuple[Pair, Pair]

    @classmethod
    def of(
        cls, who: str, *, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1
    ) -> Self:
        """A window from arguments as PyTorch takes them, for a layer that is named by `who`.

        Numbers stand for both axes. `padding` is a number, a pair (rows, columns), a pair of pairs
        ((top, bottom), (left, right)), "valid" for none, or "same" for as much as keeps the size
        with a stride of 1, the odd one at the bottom and at the right.

        Raises:
            InputError: an argument is none of these, or "same" comes with a stride above 1.
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
            return cls(kernel, strides, gaps, (rows, columns))
        if isinstance(padding, str) and padding != "valid":
            raise InputError(
                f'{who} expects padding to be "same", "valid", a number or a pair, got {padding!r}'
            )
        sides = 0 if isinstance(padding, str) else padding
        if not isinstance(sides, tuple | list) or len(sides) != 2:
            sides = (sides, sides)
        rows, columns = (pair(who, "padding", side, at_least=0) for side in sides)
        return cls(kernel, strides, gaps, (rows, columns))

    def stops(self, size: Pair) -> Pair:
        """At how many places it stops along the rows and columns of an image; may be below 1."""
        rows, columns = (
            (length + sum(sides) - gap * (kernel - 1) - 1) // stride + 1
            for length, sides, gap, kernel, stride in zip(
                size, self.padding, self.dilation, self.kernel, self.stride, strict=True
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


def short(values: Pair) -> str:
    """Two numbers as they are given to a layer: 2 for (2, 2)."""
    return repr(values[0] if values[0] == values[1] else values)


def batch_last(x: Array) -> Array:
    """(N, C, H, W) -> (C, H, W, N), contiguous in memory: x itself where it already lies so."""
    return np.ascontiguousarray(x.transpose(1, 2, 3, 0))


def batch_first(images: Array) -> Array:
    """(C, H, W, N) seen as (N, C, H, W)."""
    return images.transpose(3, 0, 1, 2)


# Image rows are written out so many entries at a time, into the same memory again and again. What
# is fresh from the system costs more than the copy.
ENTRIES = 2**19


def correlate(images: Array, weight: Array, window: Window, stops: Pair, groups: int) -> Array:
    """The sum over the kernel at each of its stops: (C, H, W, N) -> (O, *stops, N)."""
    outputs, n = len(weight), images.shape[-1]
    # (groups, O, C · rows · columns), both channels per group, in the order of `_columns`.
    weight = weight.swapaxes(1, 2).reshape(groups, outputs // groups, -1)
    y = np.empty((groups, outputs // groups, stops[0], stops[1] * n), images.dtype)
    for row, columns in enumerate(_columns(images, window, stops, groups)):
        np.matmul(weight, columns, out=y[:, :, row])
    return y.reshape(outputs, *stops, n)


def weight_gradient(images: Array, dy: Array, window: Window, groups: int) -> Array:
    """For each weight the sum of what it met in the image times dy: -> (O, C, rows, columns)."""
    outputs, rows, columns, n = dy.shape
    stops, channels = (rows, columns), len(images) // groups
    dy = dy.reshape(groups, outputs // groups, rows, columns * n)
    dw = np.zeros((groups, outputs // groups, channels * math.prod(window.kernel)), dy.dtype)
    for row, seen in enumerate(_columns(images, window, stops, groups)):
        dw += dy[:, :, row] @ seen.swapaxes(1, 2)
    dw = dw.reshape(outputs, window.kernel[0], channels, window.kernel[1])
    return np.ascontiguousarray(dw.swapaxes(1, 2))


def spread(dy: Array, weight: Array, window: Window, size: Pair, groups: int) -> Array:
    """Each dy goes back, weighted, to all that its sum was over: (O, H', W', N) -> (C, *size, N).

    Row by row of the image: some rows of the kernel meet it, each from a row of stops of its own.
    """
    outputs, channels, kernel_rows, kernel_columns = weight.shape
    _, rows, columns, n = dy.shape
    stride, gap = window.stride[0], window.dilation[0]
    (top, _), (left, right) = window.padding
    # The further down in the kernel a row is, the further up is the stop from which it meets the
    # same row of the image. With the rows of the kernel backwards, and rows in front of channels,
    # those that meet it are neighbours in both arrays: two matrices, and nothing is copied.
    dy = np.ascontiguousarray(
        dy.reshape(groups, outputs // groups, rows, columns * n).swapaxes(1, 2)
    )
    taps = weight.reshape(groups, outputs // groups, channels, kernel_rows, kernel_columns)
    taps = taps[:, :, :, ::-1].transpose(0, 3, 1, 2, 4)
    taps = taps.reshape(groups, kernel_rows, outputs // groups, channels * kernel_columns)

    dx = np.zeros((groups, channels, size[0], left + size[1] + right, n), dy.dtype)
    starts = range(0, rows * stride, stride)
    for row in range(size[0]):
        # Where the kernel starts when its last row meets this one, then the row before, and so on.
        places = range(top + row - gap * (kernel_rows - 1), top + row + 1, gap)
        met = [(tap, starts.index(at)) for tap, at in enumerate(places) if at in starts]
        if met:
            tap, stop = (_evenly(numbers) for numbers in zip(*met, strict=True))
            terms = len(met) * (outputs // groups)
            weights = taps[:, tap].reshape(groups, terms, channels * kernel_columns)
            product = weights.swapaxes(1, 2) @ dy[:, stop].reshape(groups, terms, columns * n)
            unfolded = product.reshape(groups, channels, kernel_columns, columns, n)
            for j, seen in enumerate(_seen(window, columns)):
                dx[:, :, row, seen] += unfolded[:, :, j]
    images = dx.reshape(groups * channels, size[0], left + size[1] + right, n)
    return images[:, :, left : left + size[1]]


def _columns(images: Array, window: Window, stops: Pair, groups: int) -> Iterator[Array]:
    """What the kernel sees from each row of stops: (groups, rows · C · columns, W' · N).

    Each stands until the next one is asked for.
    """
    channels, _, _, n = images.shape
    (kernel_rows, kernel_columns), (stride, _) = window.kernel, window.stride
    span = window.dilation[0] * (kernel_rows - 1) + 1
    images = _bordered(images, window.padding)
    images = images.reshape(groups, channels // groups, *images.shape[1:]).swapaxes(1, 2)
    entries = max(channels * kernel_columns * stops[1] * n, 1)  # of one image row
    at_once = min(max((ENTRIES // entries - span) // stride, 0) + 1, stops[0])  # rows of stops
    rows = (at_once - 1) * stride + span
    shape = (groups, rows, channels // groups, kernel_columns, stops[1], n)
    unfolded = np.empty(shape, images.dtype)
    for first in range(0, stops[0], at_once):
        some = images[:, first * stride : first * stride + rows]  # at the end there may be fewer
        for j, seen in enumerate(_seen(window, stops[1])):
            unfolded[:, : some.shape[1], :, j] = some[:, :, :, seen]
        for row in range(0, min(at_once, stops[0] - first) * stride, stride):
            # With gaps between the rows reshape copies them.
            under = unfolded[:, row : row + span : window.dilation[0]]
            yield under.reshape(groups, math.prod(under.shape[1:4]), stops[1] * n)


def _seen(window: Window, stops: int) -> list[slice]:
    """For each column of the kernel the columns of the image that it meets."""
    (_, kernel), (_, stride), (_, gap) = window.kernel, window.stride, window.dilation
    reach = stride * (stops - 1) + 1
    return [slice(j * gap, j * gap + reach, stride) for j in range(kernel)]


def _bordered(images: Array, padding: tuple[Pair, Pair]) -> Array:
    """With rows and columns of zeros around it."""
    (top, bottom), (left, right) = padding
    if not (top or bottom or left or right):
        return images
    channels, height, width, n = images.shape
    shape = (channels, top + height + bottom, left + width + right, n)
    bordered = np.zeros(shape, images.dtype)
    bordered[:, top : top + height, left : left + width] = images
    return bordered


def _evenly(numbers: tuple[int, ...]) -> slice:
    """The slice of these numbers, which rise evenly."""
    step = numbers[1] - numbers[0] if len(numbers) > 1 else 1
    return slice(numbers[0], numbers[-1] + 1, step)
