"""A batch is the few samples of one step; an epoch hands out every sample once, in batches."""

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
    """The batches of (x, y), in an order that depends on (seed, epoch) alone.

    x and y are arrays with the samples on axis 0, of any dtype, also memory-mapped ones larger
    than memory: only the rows of one batch are read at a time. `transform(x, y, rng)` returns the
    x and y to learn from for those of a batch; its rng depends on (seed, epoch, batch) alone.

    What `shuffle=False` and batches of all samples hand out are read-only views of x and y.

    Raises:
        InputError: x and y are no arrays of the same number of samples, or there is none; a
            batch_size below 1; a transform that gives something else than two arrays alike.

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
        """The batches of an epoch, both counted from 0, from batch `start` on."""
        rows = self._rows(number)
        for batch in range(start, len(self)):
            own = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            if rows is None:
                x, y = _view(self.x, own), _view(self.y, own)
            else:
                x, y = self.x[rows[own]], self.y[rows[own]]
            if self.transform is not None:
                # With a third number another stream than that of the order, also for batch 0.
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
        hint = "; its .to_numpy() gives one" if hasattr(array, "to_numpy") else ""
        raise InputError(
            f"Batches expects {name} to be a NumPy array, got {type(array).__name__}{hint}"
        )
    if array.ndim == 0 or len(array) == 0:
        raise InputError(f"Batches expects {name} to have samples, got the shape {array.shape}")
    return np.asarray(array)  # a memory map as a plain array, over the same memory


def _view(array: Array, rows: slice) -> Array:
    view = array[rows]
    view.flags.writeable = False  # these are the samples themselves
    return view


def _transformed(pair: Any) -> tuple[Array, Array]:
    match pair:
        case np.ndarray() as x, np.ndarray() as y if x.ndim and y.ndim and len(x) == len(y):
            return x, y
    parts = pair if isinstance(pair, tuple | list) else [pair]
    came = " and ".join(str(getattr(part, "shape", type(part).__name__)) for part in parts)
    raise InputError(
        f"Batches expects transform to return (x, y), two arrays of as many samples, got {came}"
    )
