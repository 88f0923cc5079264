"""A window slides over the rows and columns of an image: where it stops.

Images are (N, C, H, W) to everybody outside. In memory samples come last, (C, H, W, N): one NumPy
operation then runs over the pixels of a row for all samples at once.
"""

from typing import Any, NamedTuple, Self

import numpy as np

from tinynet.arguments import InputError, whole_number
from tinynet.parameter import Array

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
    tinynet.arguments.InputError: MaxPool2D expects kernel_size to be a whole number >= 1, got 0
    """
    values = value if isinstance(value, tuple | list) else (value, value)
    if len(values) != 2:
        raise InputError(f"{who} expects {name} to be a number or a pair of them, got {value!r}")
    first, second = (whole_number(who, name, entry, at_least=at_least) for entry in values)
    return first, second


def short(values: Pair) -> str:
    """Two numbers as they are given to a layer: 2 for (2, 2)."""
    return repr(values[0] if values[0] == values[1] else values)


def samples_last(x: Array) -> Array:
    """(N, C, H, W) -> (C, H, W, N), contiguous in memory: x itself where it already lies so."""
    return np.ascontiguousarray(x.transpose(1, 2, 3, 0))


def samples_first(images: Array) -> Array:
    """(C, H, W, N) seen as (N, C, H, W)."""
    return images.transpose(3, 0, 1, 2)
