import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Array, InputError
from tinynet.datasets.batches import Batches

sizes, batch_sizes = st.integers(1, 40), st.integers(1, 45)
seeds, epochs = st.integers(0, 2**70), st.integers(0, 1000)


def error_of(do: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(InputError) as error:
        do(*args, **kwargs)
    return str(error.value)


def numbered(size: int, batch_size: int = 4, **others: Any) -> Batches:
    """Batches of the numbers from 0 on, with y = 10 x."""
    return Batches(np.arange(size), 10 * np.arange(size), batch_size, **others)


def order(batches: Batches, epoch: int, start: int = 0) -> list[list[int]]:
    """The numbers in the batches of an epoch, after a check that every y belongs to its x."""
    yielded = []
    for x, y in batches.epoch(epoch, start):
        assert (y == 10 * x).all()
        yielded.append(x.tolist())
    return yielded


def flat(yielded: list[list[int]]) -> list[int]:
    return [number for batch in yielded for number in batch]


class TestEpoch:
    @given(sizes, batch_sizes, seeds, epochs, st.booleans())
    def test_an_epoch_yields_every_sample_once_in_full_batches_except_the_last(
        self, size: int, batch_size: int, seed: int, epoch: int, shuffle: bool
    ) -> None:
        batches = numbered(size, batch_size, seed=seed, shuffle=shuffle)
        yielded = order(batches, epoch)
        assert sorted(flat(yielded)) == list(range(size))
        assert len(yielded) == len(batches) == -(-size // batch_size)
        assert all(len(batch) == batch_size for batch in yielded[:-1])
        if not shuffle:
            assert flat(yielded) == list(range(size))

    @given(sizes, batch_sizes, seeds, epochs)
    def test_the_last_batch_is_kept_dropped_or_joined_to_the_one_before(
        self, size: int, batch_size: int, seed: int, epoch: int
    ) -> None:
        whole, rest = divmod(size, batch_size)
        sizes = {
            "keep": [batch_size] * whole + [rest] * (rest > 0),
            "drop": [batch_size] * whole,
            "join": [batch_size] * (whole - 1) + [batch_size + rest] if whole else [rest],
        }
        kept = flat(order(numbered(size, batch_size, seed=seed), epoch))
        for last_batch, expected in sizes.items():
            if not expected:
                continue  # refused, see below
            batches = numbered(size, batch_size, seed=seed, last_batch=last_batch)
            yielded = order(batches, epoch)
            assert [len(batch) for batch in yielded] == expected
            assert (len(batches), batches.last_size) == (len(expected), expected[-1])
            if len(expected) > 1:
                assert flat(yielded) == kept[: sum(expected)]

    def test_a_dropped_last_batch_has_other_samples_in_each_epoch(self) -> None:
        batches = numbered(7, 4, last_batch="drop")
        assert len({tuple(flat(order(batches, epoch))) for epoch in range(9)}) == 9

    def test_dropping_the_only_batch_is_refused(self) -> None:
        assert error_of(numbered, 3, 4, last_batch="drop") == (
            "Batches expects at least one whole batch for last_batch='drop', got 3 samples and "
            "batch_size=4; last_batch='keep' takes them"
        )

    @given(sizes, batch_sizes, seeds, epochs)
    def test_the_order_depends_on_seed_and_epoch_alone(
        self, size: int, batch_size: int, seed: int, epoch: int
    ) -> None:
        used = numbered(size, batch_size, seed=seed)
        order(used, epoch + 1)
        yielded = order(used, epoch)
        assert yielded == order(numbered(size, batch_size, seed=seed), epoch)
        if batch_size < size:
            one_each = numbered(size, 1, seed=seed)
            assert flat(yielded) == flat(order(one_each, epoch))

    def test_another_seed_or_epoch_gives_another_order(self) -> None:
        orders = [
            tuple(flat(order(numbered(50, seed=seed), epoch)))
            for seed in (0, 1, 2, 2**40)
            for epoch in (0, 1, 2, 3)
        ]
        assert len(set(orders)) == 16
        assert tuple(range(50)) not in orders

    def test_defaults_are_seed_0_batches_of_64_and_shuffling(self) -> None:
        batches = Batches(np.arange(100), np.arange(100) * 10)
        assert order(batches, 0) == order(numbered(100, 64, seed=0, shuffle=True), 0)

    @given(sizes, batch_sizes, st.integers(0, 45), st.booleans())
    def test_an_epoch_may_start_at_a_later_batch_without_changing_the_rest(
        self, size: int, batch_size: int, start: int, shuffle: bool
    ) -> None:
        batches = numbered(size, batch_size, seed=3, shuffle=shuffle)
        assert order(batches, 2, start) == order(batches, 2)[start:]

    def test_shuffling_does_not_use_the_global_generator(self) -> None:
        before: Any = np.random.get_state()  # noqa: NPY002  # it must not change
        order(numbered(50), 0)
        after: Any = np.random.get_state()  # noqa: NPY002
        assert (before[1] == after[1]).all()
        assert before[2:] == after[2:]


class TestYieldedBatches:
    @pytest.mark.parametrize(
        "dtype", ["u1", "f4", "f8", "f2", "i8", "i4", "?", "c8", "U3", "O", ">f4", "M8[s]"]
    )
    @pytest.mark.parametrize("shuffle", [True, False])
    @pytest.mark.parametrize("shape", [(), (3,), (2, 1, 2)])
    def test_batches_have_the_dtype_and_shape_of_the_samples(
        self, dtype: str, shuffle: bool, shape: tuple[int, ...]
    ) -> None:
        x = np.ones((7, *shape), np.uint8).astype(dtype)
        for part_x, part_y in Batches(x, x[::-1], 3, shuffle=shuffle).epoch(0):
            for part in (part_x, part_y):
                assert type(part) is np.ndarray
                assert part.dtype == x.dtype
                assert part.shape[1:] == shape
                assert (part == x[0]).all()

    @pytest.mark.parametrize(
        ("batch_size", "shuffle"), [(3, False), (7, True), (7, False), (9, True)]
    )
    def test_batches_in_order_are_read_only_views(self, batch_size: int, shuffle: bool) -> None:
        x, y = np.arange(14.0).reshape(7, 2), np.arange(7)
        for part_x, part_y in Batches(x, y, batch_size, shuffle=shuffle).epoch(0):
            for part, array in ((part_x, x), (part_y, y)):
                assert np.shares_memory(part, array)
                assert not part.flags.writeable
        assert x.flags.writeable
        assert y.flags.writeable

    def test_shuffled_batches_are_copies(self) -> None:
        x, y = np.arange(7), np.arange(7)
        for part_x, part_y in Batches(x, y, 3).epoch(0):
            part_x[:], part_y[:] = 99, 99
        assert x.tolist() == y.tolist() == list(range(7))


SAMPLES, FEATURES = 4000, 1000  # 16 MB of float32


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "x.npy"
    rows = np.arange(SAMPLES, dtype=np.float32)[:, None]
    np.save(path, np.broadcast_to(rows, (SAMPLES, FEATURES)))
    return path


def by_load(path: Path) -> Array:
    mapped: Array = np.load(path, mmap_mode="r")
    return mapped


def by_memmap(path: Path) -> Array:
    offset = path.stat().st_size - 4 * SAMPLES * FEATURES
    return np.memmap(path, np.float32, "r", offset, (SAMPLES, FEATURES))


class TestMemoryMaps:
    @pytest.mark.parametrize("load", [by_load, by_memmap])
    @pytest.mark.parametrize("shuffle", [True, False])
    def test_memory_maps_are_read_batch_by_batch_as_plain_arrays(
        self, load: Callable[[Path], Array], shuffle: bool, large: Path
    ) -> None:
        x = load(large)
        assert type(x) is np.memmap
        y = 10 * np.arange(SAMPLES)
        one_batch = 50 * FEATURES * 4
        tracemalloc.start()
        count = 0
        for part_x, part_y in Batches(x, y, 50, shuffle=shuffle).epoch(0):
            assert type(part_x) is np.ndarray
            assert part_x.shape == (50, FEATURES)
            assert (10 * part_x[:, -1] == part_y).all()
            count += len(part_x)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == SAMPLES
        # Of the 16 MB, at most this batch, the one before it, and the order.
        assert peak < 2 * one_batch + 100_000

    @pytest.mark.parametrize("batch_size", [SAMPLES, SAMPLES + 1])
    def test_a_memory_map_in_one_batch_is_not_copied(self, batch_size: int, large: Path) -> None:
        x = by_load(large)
        tracemalloc.start()
        ((part, _),) = Batches(x, np.arange(SAMPLES), batch_size).epoch(0)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100_000
        assert type(part) is np.ndarray
        assert np.shares_memory(part, x)


def noise(x: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    return x + rng.random(len(x)), y


class TestTransform:
    def drawn(self, seed: int, epoch: int, start: int = 0, size: int = 12) -> list[list[float]]:
        """The noise drawn by the transform for each batch."""
        batches = Batches(np.zeros(size), np.zeros(size), 3, seed=seed, transform=noise)
        return [x.tolist() for x, _ in batches.epoch(epoch, start)]

    def test_batches_are_what_the_transform_returns(self) -> None:
        def swap(x: Array, y: Array, _rng: np.random.Generator) -> tuple[Array, Array]:
            return np.stack([y, x], axis=1), x

        plain, swapped = numbered(7, 3, seed=5), numbered(7, 3, seed=5, transform=swap)
        for (x, y), (both, first) in zip(plain.epoch(4), swapped.epoch(4), strict=True):
            assert both.tolist() == np.stack([y, x], axis=1).tolist()
            assert first.tolist() == x.tolist()

    def test_a_transform_may_change_the_number_of_samples(self) -> None:
        def twice(x: Array, y: Array, _rng: np.random.Generator) -> tuple[Array, Array]:
            return np.concatenate([x, x]), np.concatenate([y, y])

        assert [len(x) for x, _ in numbered(5, 2, transform=twice).epoch(0)] == [4, 4, 2]

    @given(seeds, epochs, st.integers(0, 4))
    def test_the_rng_of_a_transform_depends_on_seed_epoch_and_batch_alone(
        self, seed: int, epoch: int, start: int
    ) -> None:
        first = self.drawn(seed, epoch)
        assert self.drawn(seed, epoch, start) == first[start:]
        assert self.drawn(seed, epoch, size=9) == first[:3]

    def test_the_rng_of_a_transform_differs_for_each_seed_epoch_and_batch(self) -> None:
        drawn = [
            tuple(batch)
            for seed in (0, 1, 2)
            for epoch in (0, 1, 2)
            for batch in self.drawn(seed, epoch)
        ]
        assert len(set(drawn)) == 3 * 3 * 4

    @pytest.mark.parametrize("epoch", [0, 1])
    def test_the_rng_of_a_transform_is_not_that_of_the_order(self, epoch: int) -> None:
        orders = []

        def shuffle(x: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
            orders.append(rng.permutation(8).tolist())
            return x, y

        yielded = order(numbered(8, 4, seed=1, transform=shuffle), epoch)
        assert flat(yielded) not in orders
        assert orders[0] != orders[1]

    @pytest.mark.parametrize("shuffle", [True, False])
    def test_a_transform_cannot_change_the_samples(self, shuffle: bool) -> None:
        def double(x: Array, y: Array, _rng: np.random.Generator) -> tuple[Array, Array]:
            x *= 2
            return x, y

        batches = numbered(8, 4, shuffle=shuffle, transform=double)
        if shuffle:
            assert [len(x) for x, _ in batches.epoch(0)] == [4, 4]
        else:
            with pytest.raises(ValueError, match="read-only"):
                list(batches.epoch(0))
        assert batches.x.tolist() == list(range(8))

    @pytest.mark.parametrize(
        ("returned", "got"),
        [
            (None, "NoneType"),
            (np.zeros(2), "(2,)"),
            ((np.zeros(2),), "(2,)"),
            ((np.zeros(2), np.zeros(2), np.zeros(2)), "(2,) and (2,) and (2,)"),
            ((np.zeros(2), [0, 0]), "(2,) and list"),
            (([0, 0], np.zeros(2)), "list and (2,)"),
            ((np.zeros((2, 3)), np.zeros(3)), "(2, 3) and (3,)"),
            ((np.zeros(()), np.zeros(2)), "() and (2,)"),
            ((np.zeros(2), np.zeros(())), "(2,) and ()"),
            ("xy", "str"),
        ],
    )
    def test_a_transform_that_returns_something_else_is_refused(
        self, returned: Any, got: str
    ) -> None:
        batches = numbered(4, 2, transform=lambda _x, _y, _rng: returned)
        assert error_of(next, batches.epoch(0)) == (
            "Batches expects transform to return (x, y), two arrays (or tuples of arrays) of the "
            f"same length, got {got}"
        )


class TestRefusals:
    @pytest.mark.parametrize(
        ("x", "y", "sentence"),
        [
            ([1, 2], np.zeros(2), "x to be a NumPy array, got list; np.asarray(x) makes one"),
            (np.zeros(2), None, "y to be a NumPy array, got NoneType"),
            (
                pd.DataFrame({"a": [1, 2]}),
                np.zeros(2),
                "x to be a NumPy array, got DataFrame; x.to_numpy() makes one",
            ),
            (
                np.zeros(2),
                pd.Series([1, 2]),
                "y to be a NumPy array, got Series; y.to_numpy() makes one",
            ),
            (np.zeros(()), np.zeros(2), "x to have samples, got shape ()"),
            (np.zeros((0, 3)), np.zeros(0), "x to have samples, got shape (0, 3)"),
            (np.zeros(2), np.zeros(0), "y to have samples, got shape (0,)"),
            (np.zeros((2, 3)), np.zeros(3), "x and y of the same number of samples, got 2 and 3"),
        ],
    )
    def test_arguments_that_are_not_arrays_of_samples_are_refused(
        self, x: Any, y: Any, sentence: str
    ) -> None:
        assert error_of(Batches, x, y) == f"Batches expects {sentence}"

    @pytest.mark.parametrize("batch_size", [0, -1, 2.0, None])
    def test_a_batch_size_below_1_is_refused(self, batch_size: Any) -> None:
        assert error_of(numbered, 5, batch_size) == (
            f"Batches expects batch_size to be a whole number >= 1, got {batch_size!r}"
        )

    @pytest.mark.parametrize("seed", [-1, 0.5, None])
    def test_a_seed_below_0_is_refused(self, seed: Any) -> None:
        assert error_of(numbered, 5, seed=seed) == (
            f"Batches expects seed to be a whole number >= 0, got {seed!r}"
        )


def test_len_and_repr_show_the_size() -> None:
    assert [len(numbered(size)) for size in (1, 3, 4, 5, 8, 9)] == [1, 1, 1, 2, 2, 3]
    assert repr(numbered(9, seed=7)) == "Batches(9 samples, batch_size=4, seed=7)"
