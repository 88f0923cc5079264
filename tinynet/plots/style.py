"""What all pictures share: colours, panels, and the checks of what they are given."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tinynet.errors import InputError
from tinynet.parameter import Array

# Two of the colours of Okabe and Ito, which colour-blind people tell apart. In grey they look much
# alike, so marks, strokes or frames differ as well wherever both occur.
BLUE, VERMILION = "#0072B2", "#D55E00"
GREY = "#595959"

_KINDS = {"i": "iu", "f": "f", "n": "iubf"}
_KIND_NAMES = {"i": "an integer", "f": "a float", "n": "a number"}


def panels(count: int, *, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, row by row, each of `size` inches (width, height)."""
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(size[0] * columns, size[1] * rows),
        squeeze=False,
        layout="constrained",
    )
    axes: list[Axes] = list(grid.flat)
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def ink(red: float, green: float, blue: float) -> str:
    """Black or white, whichever has the better contrast on a colour of 0..1.

    Source: relative luminance as in WCAG 2.2; black and white contrast alike with 0.179.

    >>> ink(1.0, 1.0, 0.8), ink(0.5, 0.15, 0.0)
    ('black', 'white')
    """
    parts = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)
    )
    luminance = sum(w * part for w, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))
    return "black" if luminance > 0.179 else "white"


def check_array(who: str, name: str, value: Any, *shape: int | str, kind: str = "n") -> None:
    """Refuses what is no array of `shape`, where a letter stands for any size from 1 on.

    `kind` is i for integers, f for floats, n for any numbers.

    >>> check_array("histogram", "x", np.zeros(3), "N", 2)
    Traceback (most recent call last):
    tinynet.errors.InputError: histogram expects x of shape (N, 2), got (3,)
    """
    if not isinstance(value, np.ndarray):
        raise InputError(f"{who} expects {name} to be a NumPy array, got {type(value).__name__}")
    fits = value.ndim == len(shape) and all(
        size > 0 if isinstance(wanted, str) else size == wanted
        for size, wanted in zip(value.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        raise InputError(f"{who} expects {name} of shape ({wanted}), got {value.shape}")
    if value.dtype.kind not in _KINDS[kind]:
        raise InputError(f"{who} expects {name} of {_KIND_NAMES[kind]} dtype, got {value.dtype}")


def class_names(who: str, names: Sequence[str] | None, classes: int) -> list[str]:
    """The names of the classes, which are their numbers unless given.

    >>> class_names("confusion_matrix", None, 3)
    ['0', '1', '2']
    """
    if names is None:
        return [str(number) for number in range(classes)]
    if len(names) != classes:
        raise InputError(f"{who} expects {classes} names, one a class, got {len(names)}")
    return [str(name) for name in names]


def one_of_each(who: str, images: Array, labels: Array, probabilities: Array) -> None:
    """Refuses images, labels and probabilities that do not belong together."""
    colours = (3,) if getattr(images, "ndim", 3) == 4 else ()
    check_array(who, "images", images, "N", "H", "W", *colours)
    if not np.isfinite(images).all():
        raise InputError(f"{who} expects finite images, got some with nan or infinity")
    n = len(images)
    check_array(who, "labels", labels, n, kind="i")
    check_array(who, "probabilities", probabilities, n, "C", kind="f")
    classes = probabilities.shape[1]
    check_labels(who, labels, classes)
    # Written so that NaN is refused, too.
    good = (probabilities >= 0) & (probabilities <= 1 + 1e-6)
    if not good.all():
        row, column = map(int, np.argwhere(~good)[0])
        raise InputError(
            f"{who} expects probabilities from 0 to 1, got {probabilities[row, column]:g} at "
            f"({row}, {column}): softmax(logits) makes them"
        )


def check_labels(who: str, labels: Array, classes: int) -> None:
    """Refuses labels beyond 0..classes - 1."""
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        at = int(outside.argmax())
        raise InputError(
            f"{who} expects labels from 0 to {classes - 1}, got {labels[at]} at index {at}"
        )
