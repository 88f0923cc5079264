"""Mini-batches: an epoch yields every sample once, in shuffled batches."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from collections.abc import Callable, Iterator
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.keywords import NamedKeywords
from tinynet.parameter import Array
from tinynet.validation import check_array, one_of, whole_number

Transform = Callable[[Array, Array, "np.random.Generator"], tuple[Array, Array]]


@final
class Batches(NamedKeywords):
    """Batches of (x, y), in an order that depends on (seed, epoch) alone.

    x: (N, ...) and y: (N, ...) have any dtype; memory-mapped arrays may be larger than memory.
    `transform(x, y, rng)` returns another x and y for a batch; its rng is that of the batch alone.

    With `shuffle=False` or a single batch, the batches are read-only views of x and y. A last batch
    of fewer samples is left out with `last_batch="drop"`, and part of the one before with "join".

    Raises:
        InputError: x and y are not arrays of the same number of samples, at least one; another
            setting out of range; a transform that does not return two arrays of one length.

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
        last_batch: str = "keep",
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
        self.last_batch = one_of("Batches", "last_batch", last_batch, ("keep", "drop", "join"))
        if not len(self):
            raise InputError(
                f"Batches expects at least one whole batch for last_batch='drop', got {len(x)} "
                f"samples and batch_size={batch_size}; last_batch='keep' takes them"
            )

    @property
    def last_size(self) -> int:
        """The number of samples of the last batch."""
        span = self._span(len(self) - 1)
        return int(span.stop - span.start)

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Array, Array]]:
        """Yields the batches of an epoch from batch `start` on, both counted from 0."""
        rows = self._rows(number)
        for batch in range(start, len(self)):
            span = self._span(batch)
            if rows is None:
                x, y = _view(self.x, span), _view(self.y, span)
            else:
                x, y = self.x[rows[span]], self.y[rows[span]]
            if self.transform is not None:
                # The third number makes this another stream than that of the order.
                rng = np.random.default_rng((self.seed, number, 1 + batch))
                x, y = _transformed(self.transform(x, y, rng))
            yield x, y

    def _span(self, batch: int) -> slice:
        """The positions of the samples of a batch in the order of the epoch."""
        start, stop, samples = batch * self.batch_size, (batch + 1) * self.batch_size, len(self.x)
        if self.last_batch == "join" and batch == len(self) - 1:
            stop = samples
        return slice(start, min(stop, samples))

    def _rows(self, number: int) -> Array | None:
        if not self.shuffle or self._span(0) == slice(0, len(self.x)):
            return None
        return np.random.default_rng((self.seed, number)).permutation(len(self.x))

    def __len__(self) -> int:
        whole, rest = divmod(len(self.x), self.batch_size)
        joined = self.last_batch == "join" and whole > 0
        return whole if joined or self.last_batch == "drop" else whole + (rest > 0)

    def __repr__(self) -> str:
        return f"Batches({len(self.x)} samples, batch_size={self.batch_size}, seed={self.seed})"


def _samples(name: str, array: Any) -> Array:
    check_array("Batches", name, array, numbers=False)
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
