"""Mini-batches: an epoch yields every sample once, in shuffled batches."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from collections.abc import Callable, Iterator
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.keywords import NamedKeywords
from tinynet.parameter import Array
from tinynet.samples import Samples, arrays_of, check_samples, count_samples, each_array, take
from tinynet.validation import one_of, whole_number

Transform = Callable[[Any, Any, "np.random.Generator"], tuple[Samples, Samples]]


@final
class Batches(NamedKeywords):
    """Batches of (x, y), in an order that depends on (seed, epoch) alone.

    x: (N, ...) and y: (N, ...), or tuples of such arrays, have any dtype; memory-mapped arrays may
    be larger than memory. `transform(x, y, rng)` returns another x and y; its rng is the batch's.

    With `shuffle=False` or a single batch, the batches are read-only views of x and y. A last batch
    of fewer samples is left out with `last_batch="drop"`, and part of the one before with "join".

    Raises:
        InputError: x and y are not of the same number of samples, at least one; a setting out of
            range; a transform that does not return two arrays of one length.

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
        x: Samples,
        y: Samples,
        batch_size: int = 64,
        *,
        seed: int = 0,
        shuffle: bool = True,
        transform: Transform | None = None,
        last_batch: str = "keep",
    ) -> None:
        self.x: Any = _samples("x", x)
        self.y: Any = _samples("y", y)
        self.size, targets = count_samples(self.x), count_samples(self.y)
        if self.size != targets:
            raise InputError(
                "Batches expects x and y of the same number of samples, got "
                f"{self.size} and {targets}"
            )
        self.batch_size = whole_number("Batches", "batch_size", batch_size)
        self.seed = whole_number("Batches", "seed", seed, at_least=0)
        self.shuffle = shuffle
        if not (transform is None or callable(transform)):
            raise InputError(
                "Batches expects transform to be a function of a batch, transform(x, y, rng) "
                f"returns (x, y), got {transform!r}"
            )
        self.transform = transform
        self.last_batch = one_of("Batches", "last_batch", last_batch, ("keep", "drop", "join"))
        if not len(self):
            raise InputError(
                f"Batches expects at least one whole batch for last_batch='drop', got {self.size} "
                f"samples and batch_size={batch_size}; last_batch='keep' takes them"
            )

    @property
    def last_size(self) -> int:
        """The number of samples of the last batch."""
        span = self._span(len(self) - 1)
        return int(span.stop - span.start)

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Any, Any]]:
        """Yields the batches of an epoch from batch `start` on, both counted from 0."""
        rows = self._rows(number)
        for batch in range(start, len(self)):
            span = self._span(batch)
            if rows is None:
                x, y = (each_array(_read_only, take(part, span)) for part in (self.x, self.y))
            else:
                x, y = take(self.x, rows[span]), take(self.y, rows[span])
            if self.transform is not None:
                # The third number makes this another stream than that of the order.
                rng = np.random.default_rng((self.seed, number, 1 + batch))
                x, y = _transformed(self.transform(x, y, rng))
            yield x, y

    def _span(self, batch: int) -> slice:
        """The positions of the samples of a batch in the order of the epoch."""
        start, stop, samples = batch * self.batch_size, (batch + 1) * self.batch_size, self.size
        if self.last_batch == "join" and batch == len(self) - 1:
            stop = samples
        return slice(start, min(stop, samples))

    def _rows(self, number: int) -> Array | None:
        if not self.shuffle or self._span(0) == slice(0, self.size):
            return None
        return np.random.default_rng((self.seed, number)).permutation(self.size)

    def __len__(self) -> int:
        whole, rest = divmod(self.size, self.batch_size)
        joined = self.last_batch == "join" and whole > 0
        return whole if joined or self.last_batch == "drop" else whole + (rest > 0)

    def __repr__(self) -> str:
        return f"Batches({self.size} samples, batch_size={self.batch_size}, seed={self.seed})"


def _samples(name: str, samples: Any) -> Samples:
    if not check_samples("Batches", name, samples, numbers=False):
        shapes = each_array(np.shape, samples)
        raise InputError(f"Batches expects {name} to have samples, got shape {shapes}")
    # Turns a memory map into a plain array over the same memory.
    plain: Samples = each_array(np.asarray, samples)
    return plain


def _read_only(view: Array) -> Array:
    view.flags.writeable = False  # it shares the memory of the samples
    return view


def _transformed(pair: Any) -> tuple[Samples, Samples]:
    parts = pair if isinstance(pair, tuple | list) else [pair]
    arrays = [array for part in parts for array in arrays_of(part)]
    plain = all(isinstance(array, np.ndarray) and array.ndim for array in arrays)
    given = len(parts) == 2 and all(len(arrays_of(part)) for part in parts)
    if plain and given and len({len(array) for array in arrays}) == 1:
        return parts[0], parts[1]
    got = " and ".join(str(each_array(_shape_or_type, part)) for part in parts)
    raise InputError(
        "Batches expects transform to return (x, y), two arrays (or tuples of arrays) of the same "
        f"length, got {got}"
    )


def _shape_or_type(part: Any) -> Any:
    return getattr(part, "shape", type(part).__name__)
