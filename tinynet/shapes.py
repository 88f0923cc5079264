"""Shapes that do not fit: what a layer expects, what came from where, what was probably meant.

The sentence is put together once, here, whoever finds the fault and however deep in a network.
"""

import math
from collections.abc import Sequence
from types import EllipsisType
from typing import Any

from tinynet.arguments import InputError

Shape = tuple[int, ...]
Pattern = Sequence[int | str | EllipsisType]  # a number is demanded, a letter or ... stands for any


class ShapeError(InputError):
    """An array of another shape than a layer expects.

    Containers that it passes on its way out add the `place` of the layer and the `source` of x.

    >>> error = ShapeError("Dense(3, 2)", "x", (..., 3), (8, 5))
    >>> error.add_place("layer 2 of 2")
    >>> error.source = " from layer 1, ReLU()"
    >>> print(error)
    layer 2 of 2: Dense(3, 2) expects x of shape (..., 3), got (8, 5) from layer 1, ReLU()
    """

    def __init__(self, layer: Any, name: str, pattern: Pattern, got: Shape) -> None:
        super().__init__(layer, name, pattern, got)
        self.layer, self.name, self.pattern, self.got = layer, name, pattern, got
        self.place = self.source = ""

    def add_place(self, place: str) -> None:
        """Puts a place in front of those that are there."""
        self.place = f"{place}: {self.place}"

    def __str__(self) -> str:
        wanted = ", ".join("..." if size is ... else str(size) for size in self.pattern)
        wanted += "," if len(self.pattern) == 1 else ""
        mend = probably_meant(self.layer, self.pattern, self.got) if self.name == "x" else ""
        return (
            f"{self.place}{self.layer} expects {self.name} of shape ({wanted}), got {self.got}"
            f"{self.source}{'; ' if mend else ''}{mend}"
        )


def fits(shape: Shape, pattern: Pattern) -> bool:
    """Whether an array of that shape has all that the pattern demands.

    >>> fits((8, 2, 3), (..., 3)), fits((8, 3), ("N", 3)), fits((8, 4), ("N", 3))
    (True, True, False)
    """
    if ... in pattern:
        head = pattern.index(...)
        tail = len(pattern) - head - 1
        if len(shape) < head + tail:
            return False
        shape = shape[:head] + shape[len(shape) - tail :]
        pattern = [*pattern[:head], *pattern[head + 1 :]]
    if len(shape) != len(pattern):
        return False
    # A plain loop: every forward of every layer comes through here.
    for size, wanted in zip(shape, pattern, strict=True):
        if size != wanted and not isinstance(wanted, str):
            return False
    return True


def probably_meant(layer: Any, pattern: Pattern, got: Shape) -> str:
    """What would make x fit, where the shapes tell; else nothing.

    >>> probably_meant(None, (..., 784), (32, 28, 28))
    'Flatten() before it makes rows of 784'
    """
    demanded = [size for size in pattern if isinstance(size, int)]
    if len(demanded) != 1:
        return ""
    (size,) = demanded
    if fits((1, *got), pattern) or (len(got) == 2 and math.prod(got) == size == pattern[-1]):
        return "a single sample is a batch of one: x[None]"
    if len(pattern) == 4 and pattern[1] == size:
        if len(got) == 4 and got[3] == size:
            return "the channels come first: Permute((0, 3, 1, 2)) before it puts them there"
        if len(got) == 3 and size == 1:
            return f"Reshape((1, {got[1]}, {got[2]})) before it gives the images a channel"
        side = math.isqrt(got[1] // size) if len(got) == 2 else 0
        if side and got[1] == size * side**2:
            return f"Reshape(({size}, {side}, {side})) before it makes images of the rows"
    elif pattern[-1] == size:
        if len(pattern) == 3 and len(got) == 2 and size == 1:
            return f"Reshape(({got[1]}, 1)) before it gives every step its one feature"
        if len(got) > 2 and math.prod(got[1:]) == size:
            return f"Flatten() before it makes rows of {size}"
        if len(got) == 2 and got[0] == size:
            return "the samples are its rows: x.T"
        if len(got) == 4 and got[1] == size:
            return "GlobalAvgPool2D() before it leaves the channels alone"
        if len(got) == 4 and (name := _argument(layer, size)):
            rows = math.prod(got[1:])
            return f"Flatten() before it makes rows of {rows}, and {name}={rows} would take them"
    return _other_size(layer, pattern, got, size)


def _other_size(layer: Any, pattern: Pattern, got: Shape, size: int) -> str:
    """The argument of the layer that would have to be another number, by its name."""
    axis = list(pattern).index(size)
    axis -= len(pattern) if ... in pattern[:axis] else 0
    if not -len(got) <= axis < len(got):
        return ""
    fitting = [*pattern]
    fitting[axis] = came = got[axis]
    name = _argument(layer, size)
    return f"{name}={came} would take it" if name and fits(got, fitting) else ""


def _argument(layer: Any, size: int) -> str:
    attributes: dict[str, Any] = getattr(layer, "__dict__", {})
    for name, value in attributes.items():
        if type(value) is int and value == size and not name.startswith("_"):
            return name
    return ""
