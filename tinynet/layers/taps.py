"""Images one axis at a time: along rows or columns, y is a sum of shifted pieces of x, the taps.

Images are (N, C, H, W); in memory the batch comes last, (C, H, W, N), so that one NumPy operation
has long runs of numbers. Along the columns first and then along the rows a window of K · K entries
takes K + K steps.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from tinynet.arguments import InputError
from tinynet.layer import Layer
from tinynet.layers.window import Pair
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


def demand_entries(layer: Layer, size: Pair) -> None:
    """Refuses images without rows or columns."""
    if min(size) < 1:
        raise InputError(
            f"{layer!r} expects images of at least one entry, got {size[0]} x {size[1]}"
        )
