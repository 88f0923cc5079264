"""Mini-batches: an epoch yields every sample once, in shuffled batches."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
from collections.abc import Callable, Iterator
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.parameter import Array
from tinynet.validation import whole_number

Transform = Callable[[Array, Array, "np.random.Generator"], tuple[Array, Array]]


@final
class Batches:
    """Batches of (x, y), in an order that depends on (seed, epoch) alone.

    x: (N, ...) and y: (N, ...) have any dtype. Memory-mapped arrays may be larger than memory: only
    the rows of one batch are read at a time. `transform(x, y, rng)` augments a batch: it returns
    another x and y for it, and its rng depends on (seed, epoch, batch) alone.

    With `shuffle=False` or a single batch, the batches are read-only views of x and y.

    Raises:
        InputError: x and y are not arrays of the same number of samples, at least one; a batch_size
            below 1; a transform that does not return two arrays of the same length.

    >>> batches = Batches(np.arange(5), np.arange(5) * 10, batch_size=2, seed=0)
    >>> len(batches)
    3
    >>> for x, y in batches.epoch(0):
    ...     print(x, y)
    [2 4] [20 40]
    [3 0] [30  0]
    [1] [10]
    """

    def __init__(
        self,
        x: Array,
        y: Array,
        batch_size: int = 64,
        *,
        seed: int = 0,
        shuffle: bool = True,
        transform: Transform | None = None,
    ) -> None:
        self.x, self.y = _samples("x", x), _samples("y", y)
        if len(self.x) != len(self.y):
            raise InputError(
                f"Batches expects x and y of the same number of samples, got {len(x)} and {len(y)}"
            )
        self.batch_size = whole_number("Batches", "batch_size", batch_size)
        self.seed = whole_number("Batches", "seed", seed, at_least=0)
        self.shuffle = shuffle
        self.transform = transform

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Array, Array]]:
        """Yields the batches of an epoch from batch `start` on, both counted from 0."""
        rows = self._rows(number)
        for batch in range(start, len(self)):
            span = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            if rows is None:
                x, y = _view(self.x, span), _view(self.y, span)
            else:
                x, y = self.x[rows[span]], self.y[rows[span]]
            if self.transform is not None:
                # The third number makes this another stream than that of the order.
                rng = np.random.default_rng((self.seed, number, 1 + batch))
                x, y = _transformed(self.transform(x, y, rng))
            yield x, y

    def _rows(self, number: int) -> Array | None:
        if not self.shuffle or len(self) == 1:
            return None
        return np.random.default_rng((self.seed, number)).permutation(len(self.x))

    def __len__(self) -> int:
        return math.ceil(len(self.x) / self.batch_size)

    def __repr__(self) -> str:
        return f"Batches({len(self.x)} samples, batch_size={self.batch_size}, seed={self.seed})"


def _samples(name: str, array: Any) -> Array:
    if not isinstance(array, np.ndarray):
        hint = "; use its .to_numpy()" if hasattr(array, "to_numpy") else ""
        raise InputError(
            f"Batches expects {name} to be a NumPy array, got {type(array).__name__}{hint}"
        )
    if array.ndim == 0 or len(array) == 0:
        raise InputError(f"Batches expects {name} to have samples, got shape {array.shape}")
    return np.asarray(array)  # turns a memory map into a plain array over the same memory


def _view(array: Array, rows: slice) -> Array:
    view = array[rows]
    view.flags.writeable = False  # it shares the memory of the samples
    return view


def _transformed(pair: Any) -> tuple[Array, Array]:
    match pair:
        case np.ndarray() as x, np.ndarray() as y if x.ndim and y.ndim and len(x) == len(y):
            return x, y
    parts = pair if isinstance(pair, tuple | list) else [pair]
    got = " and ".join(str(getattr(part, "shape", type(part).__name__)) for part in parts)
    raise InputError(
        f"Batches expects transform to return (x, y), two arrays of the same length, got {got}"
    )
