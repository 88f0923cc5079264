"""Colours, panels and argument checks that all plots share."""

import math
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import figure as matplotlib_figure
from matplotlib.axes import Axes

from tinynet.errors import InputError, ShapeError
from tinynet.parameter import Array
from tinynet.validation import first_index, matches

# Two of the colours of Okabe and Ito, which colour-blind people can tell apart. In grey they look
# alike, so markers, line styles or frames differ as well wherever both occur.
BLUE, VERMILION = "#0072B2", "#D55E00"
GREY = "#595959"

_KINDS = {"i": "iu", "f": "f", "n": "iubf"}
_KIND_NAMES = {"i": "an integer", "f": "a float", "n": "a number"}


class Figure(matplotlib_figure.Figure):
    """A figure that pyplot does not know: a notebook draws it once, and nothing has to close it."""

    def _repr_png_(self) -> bytes:
        """The picture, for a notebook that has not loaded pyplot."""
        file = BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def new_figure(size: tuple[float, float]) -> tuple[Figure, Axes]:
    """A figure of `size` inches (width, height) with one pair of axes."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots()


def panels(count: int, *, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, row by row, each of `size` inches (width, height)."""
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    axes: list[Axes] = list(grid.flat)
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def ink(red: float, green: float, blue: float) -> str:
    """Black or white, whichever has the better contrast on a colour of 0..1.

    Source: relative luminance of WCAG 2.2; at 0.179 black and white have the same contrast.

    >>> ink(1.0, 1.0, 0.8), ink(0.5, 0.15, 0.0)
    ('black', 'white')
    """
    parts = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)
    )
    luminance = sum(w * part for w, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))
    return "black" if luminance > 0.179 else "white"


def check_array(who: str, name: str, value: Any, *shape: int | str, kind: str = "n") -> None:
    """Raises InputError unless `value` is an array of `shape`; a letter is any size above 0.

    `kind` is i for integers, f for floats, n for any numbers.

    >>> check_array("histogram", "x", np.zeros(3), "N", 2)
    Traceback (most recent call last):
    tinynet.errors.ShapeError: histogram expects x of shape (N, 2), got (3,)
    """
    if not isinstance(value, np.ndarray):
        raise InputError(f"{who} expects {name} to be a NumPy array, got {type(value).__name__}")
    if not (value.size and matches(value.shape, shape)):
        raise ShapeError(who, name, shape, value.shape)
    if value.dtype.kind not in _KINDS[kind]:
        raise InputError(f"{who} expects {name} of {_KIND_NAMES[kind]} dtype, got {value.dtype}")


def class_names(who: str, names: Sequence[str] | None, classes: int) -> list[str]:
    """The given names of the classes, or their numbers.

    >>> class_names("confusion_matrix", None, 3)
    ['0', '1', '2']
    """
    if names is None:
        return [str(number) for number in range(classes)]
    if len(names) != classes:
        raise InputError(f"{who} expects {classes} names, one a class, got {len(names)}")
    return [str(name) for name in names]


def check_predictions(who: str, images: Array, labels: Array, probabilities: Array) -> None:
    """Raises InputError unless images, labels and probabilities match."""
    colours = (3,) if getattr(images, "ndim", 3) == 4 else ()
    check_array(who, "images", images, "N", "H", "W", *colours)
    if not np.isfinite(images).all():
        raise InputError(f"{who} expects finite images, got some with nan or infinity")
    n = len(images)
    check_array(who, "labels", labels, n, kind="i")
    check_array(who, "probabilities", probabilities, n, "C", kind="f")
    classes = probabilities.shape[1]
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        (index,) = first_index(wrong)
        raise InputError(
            f"{who} expects labels from 0 to {classes - 1}, got {labels[index]} at index {index}"
        )
    wrong = ~((probabilities >= 0) & (probabilities <= 1 + 1e-6))  # also where it is NaN
    if wrong.any():
        at = first_index(wrong)
        raise InputError(
            f"{who} expects probabilities from 0 to 1, got {probabilities[at]:g} at {at}: "
            "softmax(logits) makes them"
        )
