"""State, and a file for it; what else a tree does is in test_layer.py."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinynet import Array, Dense, InputError, Layer, Parameter, Sequential
from tinynet.checkpoint import CheckpointError


class Keeper(Layer):
    """Parameters, buffers and generators, and what is none of them."""

    def __init__(self, seed: int = 0, size: int = 2) -> None:
        rng = np.random.default_rng(seed)
        self.w = Parameter(rng.random(size))
        self.mean = rng.random(size)
        self.counts = {"seen": rng.integers(0, 9, 3), "more": [(rng.random(()),)]}
        self.table = rng.random(3)
        self.table.setflags(write=False)
        self._scratch = rng.random(4)
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self.rngs = [np.random.Generator(np.random.MT19937(seed)), {"b": self._rng}]
        self.note = "a note"

    def forward(self, x: Array) -> Array:
        self.remember(x, np.zeros(3), np.random.default_rng(0))
        return x * self.w.value

    def backward(self, dy: Array) -> Array:
        raise NotImplementedError


class Pair(Layer):
    """Two layers by name."""

    def __init__(self, seed: int = 0) -> None:
        self.parts: dict[str, Any] = {"left": Keeper(seed), "right": Dense(2, 3, rng=seed)}
        self.offset = Parameter(float(seed), np.float64)

    def forward(self, x: Array) -> Array:
        raise NotImplementedError

    backward = forward


NAMES = ["w", "mean", "counts.seen", "counts.more.0.0"]
PAIR_NAMES = [
    "parts.left.w",
    "parts.right.weight",
    "parts.right.bias",
    "offset",
    *(f"parts.left.{name}" for name in NAMES[1:]),
]


def held(layer: Layer) -> dict[str, bytes]:
    return {path: array.tobytes() for path, array in layer.state().items()}


class TestState:
    def test_is_the_parameters_and_the_buffers_by_path(self) -> None:
        keeper = Keeper()
        state = keeper.state()
        assert list(state) == NAMES
        assert state["w"] is keeper.w.value
        assert state["mean"] is keeper.mean
        assert list(Pair().state()) == PAIR_NAMES

    def test_what_is_remembered_of_a_batch_is_no_part_of_it(self) -> None:
        keeper = Keeper()
        keeper(np.ones((1, 2)))
        assert list(keeper.state()) == NAMES
        assert len(keeper.generators()) == 3

    def test_two_arrays_by_one_path_are_refused(self) -> None:
        pair = Pair()
        pair.parts["left.mean"] = np.zeros(2)
        with pytest.raises(InputError, match=r"^Pair\(.*\) expects a path of its own for each arr"):
            pair.state()
        del pair.parts["left.mean"]
        pair.parts["right.bias"] = Parameter(1)
        with pytest.raises(InputError, match=r"one twice$"):
            pair.state()

    def test_is_restored_when_that_is_called_and_not_before(self) -> None:
        keeper, other = Keeper(0), Keeper(1)
        arrays, before = keeper.state(), held(keeper)
        restore = keeper.restoring(other.state())
        assert held(keeper) == before
        restore()
        assert held(keeper) == held(other) != before
        assert all(keeper.state()[name] is arrays[name] for name in NAMES)
        other.mean[:] = 9
        assert (keeper.mean != 9).all()

    @pytest.mark.parametrize(
        ("name", "value", "sentence"),
        [
            ("mean", np.zeros(3), ", mean, expects float64 of shape (2,), got float64 of shape (3"),
            ("counts.seen", np.zeros(3), ", counts.seen, expects int64 of shape (3,), got float64"),
            (
                "more",
                np.zeros(3),
                " expects a state with counts.more.0.0, counts.seen, mean, w, go",
            ),
        ],
    )
    def test_of_another_tree_is_refused_and_nothing_changes(
        self, name: str, value: Array, sentence: str
    ) -> None:
        keeper = Keeper()
        before = held(keeper)
        with pytest.raises(InputError) as error:
            keeper.restoring(Keeper(1).state() | {name: value})
        assert str(error.value).startswith(f"Keeper(w=(2,)){sentence}")
        assert held(keeper) == before


class TestGenerators:
    def test_are_found_by_path_also_under_private_names(self) -> None:
        assert list(Keeper().generators()) == ["_rng", "rngs.0", "rngs.1.b"]
        assert next(iter(Pair().generators())) == "parts.left._rng"

    def test_go_on_where_they_stood(self) -> None:
        keeper, other = Keeper(0), Keeper(1)
        streams: list[Any] = [keeper._rng, keeper.rngs[0]]
        streams[0].random(3, np.float32)
        state = keeper.generators()
        expected = [rng.random(5).tolist() for rng in streams]
        other.restoring_generators(state)()
        others: list[Any] = [other._rng, other.rngs[0]]
        assert [rng.random(5).tolist() for rng in others] == expected

    def test_of_another_tree_are_refused_by_its_name(self) -> None:
        with pytest.raises(
            InputError, match=r"^Keeper\(w=\(2,\)\) expects a state with _rng, rngs"
        ):
            Keeper().restoring_generators({})
        state = Keeper().generators()
        state["_rng"], state["rngs.0"] = state["rngs.0"], state["_rng"]
        with pytest.raises(
            InputError, match=r"^Keeper\(w=\(2,\)\) expects the state of a PCG64 fo"
        ):
            Keeper().restoring_generators(state)


class TestFiles:
    def test_hold_the_whole_state(self, tmp_path: Path) -> None:
        saved, loading = Pair(1), Pair(2)
        arrays = loading.state()
        saved.save(tmp_path / "c.npz")
        assert loading.load(tmp_path / "c.npz") is loading
        assert held(loading) == held(saved)
        assert all(loading.state()[name] is arrays[name] for name in arrays)

    def test_hold_no_scratch_memory_and_nothing_that_is_fixed(self, tmp_path: Path) -> None:
        Keeper().save(tmp_path / "c.npz")
        with np.load(tmp_path / "c.npz", allow_pickle=False) as archive:
            assert archive.files[2:] == [f"model/{name}" for name in NAMES]

    def test_tell_the_network(self, tmp_path: Path) -> None:
        Sequential([Dense(3, 2)]).save(str(tmp_path / "c.npz"))
        sentence = r"expects a state, got|\(the file is of Sequential\(\[Dense\(3, 2\)\]\)\)$"
        with pytest.raises(CheckpointError, match=sentence):
            Dense(3, 2).load(str(tmp_path / "c.npz"))

    @pytest.mark.parametrize("dtype", [">f4", np.float16, np.float64])
    def test_load_into_the_network_that_was_saved_whatever_its_dtype(
        self, tmp_path: Path, dtype: Any
    ) -> None:
        saved = Dense(3, 2, rng=0).astype(dtype)
        saved.save(tmp_path / "c.npz")
        loading = Dense(3, 2, rng=1).astype(dtype).load(tmp_path / "c.npz")
        assert held(loading) == held(saved)
        assert loading.weight.value.dtype == dtype

    def test_of_another_network_change_nothing(self, tmp_path: Path) -> None:
        Keeper(1, size=3).save(tmp_path / "c.npz")
        keeper = Keeper(2)
        before = held(keeper)
        with pytest.raises(
            CheckpointError, match=r"got float32 of shape \(3,\) \(the file is of K"
        ):
            keeper.load(tmp_path / "c.npz")
        assert held(keeper) == before

    def test_that_cannot_be_written_are_said(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="could not be written"):
            Keeper().save(tmp_path / "no" / "c.npz")

    def test_leave_training_and_a_pending_backward_alone(self, tmp_path: Path) -> None:
        dense = Dense(3, 2, rng=0)
        y = dense(np.ones((1, 3), np.float32))
        dense.save(tmp_path / "c.npz")
        dense.load(tmp_path / "c.npz")
        assert dense.training
        assert dense.backward(y).shape == (1, 3)


def test_predict_puts_back_the_mode_of_each_layer_also_when_it_fails() -> None:
    model = Sequential([Dense(3, 2), Dense(2, 2)])
    model[0].eval()
    model.predict(np.ones((1, 3)))
    assert [layer.training for layer in (model, *model)] == [True, False, True]
    with pytest.raises(InputError):
        model.predict(np.ones((1, 4)))
    assert [layer.training for layer in (model, *model)] == [True, False, True]
    with pytest.raises(InputError, match="expects a forward before it"):
        model.backward(np.ones((1, 2)))
