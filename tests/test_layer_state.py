"""The state of a layer: parameters, buffers and random generators, in memory and in files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinynet import Array, CheckpointError, Dense, InputError, Layer, Parameter, Sequential
from tinynet.saving.state import check_generators, generator_states, load_generators


class Stateful(Layer):
    """Parameters, buffers and generators, and attributes that are none of them."""

    def __init__(self, seed: int = 0, size: int = 2) -> None:
        rng = np.random.default_rng(seed)
        self.w = Parameter(rng.random(size))
        self.mean = rng.random(size)
        self.counts = {"seen": rng.integers(0, 9, 3), "more": [(rng.random(()),)]}
        self.table = rng.random(3)
        self.table.setflags(write=False)
        self._private = rng.random(4)
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self.rngs = [np.random.Generator(np.random.MT19937(seed)), {"b": self._rng}]
        self.note = "a note"

    def forward(self, x: Array) -> Array:
        self.save_for_backward(x, np.zeros(3), np.random.default_rng(0))
        return x * self.w.value

    def backward(self, dy: Array) -> Array:
        raise NotImplementedError


class Pair(Layer):
    """Two layers in a dict, and a parameter."""

    def __init__(self, seed: int = 0) -> None:
        self.parts: dict[str, Any] = {"left": Stateful(seed), "right": Dense(2, 3, rng=seed)}
        self.offset = Parameter(float(seed), np.float64)

    def forward(self, x: Array) -> Array:
        raise NotImplementedError

    backward = forward


STATE_PATHS = ["w", "mean", "counts.seen", "counts.more.0.0"]
PAIR_PATHS = [
    "parts.left.w",
    "parts.right.weight",
    "parts.right.bias",
    "offset",
    *(f"parts.left.{name}" for name in STATE_PATHS[1:]),
]


def state_bytes(layer: Layer) -> dict[str, bytes]:
    return {path: array.tobytes() for path, array in layer.state_dict().items()}


def test_state_dict_holds_the_parameters_and_buffers_by_path() -> None:
    stateful = Stateful()
    state = stateful.state_dict()
    assert list(state) == STATE_PATHS
    assert state["w"] is stateful.w.value
    assert state["mean"] is stateful.mean
    assert list(Pair().state_dict()) == PAIR_PATHS


def test_arrays_and_generators_saved_for_backward_are_no_part_of_the_state() -> None:
    stateful = Stateful()
    stateful(np.ones((1, 2)))
    assert list(stateful.state_dict()) == STATE_PATHS
    assert len(stateful.generators()) == 3


def test_state_dict_rejects_two_arrays_with_one_path() -> None:
    pair = Pair()
    pair.parts["left.mean"] = np.zeros(2)
    with pytest.raises(InputError, match=r"^Pair\(.*\) expects a path of its own for each arr"):
        pair.state_dict()
    del pair.parts["left.mean"]
    pair.parts["right.bias"] = Parameter(1)
    with pytest.raises(InputError, match=r"one twice$"):
        pair.state_dict()


def test_check_state_dict_changes_nothing_and_load_state_dict_copies_into_the_arrays() -> None:
    stateful, other = Stateful(0), Stateful(1)
    arrays, before = stateful.state_dict(), state_bytes(stateful)
    stateful.check_state_dict(other.state_dict())
    assert state_bytes(stateful) == before
    stateful.load_state_dict(other.state_dict())
    assert state_bytes(stateful) == state_bytes(other) != before
    assert all(stateful.state_dict()[name] is arrays[name] for name in STATE_PATHS)
    other.mean[:] = 9
    assert (stateful.mean != 9).all()


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
def test_the_state_of_another_network_is_rejected_and_nothing_changes(
    name: str, value: Array, sentence: str
) -> None:
    stateful = Stateful()
    before = state_bytes(stateful)
    with pytest.raises(InputError) as error:
        stateful.check_state_dict(Stateful(1).state_dict() | {name: value})
    assert str(error.value).startswith(f"Stateful(w=(2,)){sentence}")
    assert state_bytes(stateful) == before


def test_generators_are_found_by_path_also_under_private_names() -> None:
    assert list(Stateful().generators()) == ["_rng", "rngs.0", "rngs.1.b"]
    assert next(iter(Pair().generators())) == "parts.left._rng"


def test_loaded_generators_continue_the_saved_random_streams() -> None:
    stateful, other = Stateful(0), Stateful(1)
    streams: list[Any] = [stateful._rng, stateful.rngs[0]]
    streams[0].random(3, np.float32)
    state = generator_states(stateful.generators())
    expected = [rng.random(5).tolist() for rng in streams]
    load_generators(other.generators(), state)
    others: list[Any] = [other._rng, other.rngs[0]]
    assert [rng.random(5).tolist() for rng in others] == expected


def test_generator_states_of_another_network_are_rejected_by_name() -> None:
    with pytest.raises(InputError, match=r"^Stateful\(\) expects a state with _rng, rngs"):
        check_generators("Stateful()", Stateful().generators(), {})
    state = generator_states(Stateful().generators())
    state["_rng"], state["rngs.0"] = state["rngs.0"], state["_rng"]
    with pytest.raises(InputError, match=r"^Stateful\(\) expects the state of a PCG64 fo"):
        check_generators("Stateful()", Stateful().generators(), state)


def test_save_and_load_restore_the_whole_state_in_place(tmp_path: Path) -> None:
    saved, loading = Pair(1), Pair(2)
    arrays = loading.state_dict()
    saved.save(tmp_path / "c.npz")
    assert loading.load(tmp_path / "c.npz") is loading
    assert state_bytes(loading) == state_bytes(saved)
    assert all(loading.state_dict()[name] is arrays[name] for name in arrays)


def test_saved_files_hold_no_private_and_no_read_only_arrays(tmp_path: Path) -> None:
    Stateful().save(tmp_path / "c.npz")
    with np.load(tmp_path / "c.npz", allow_pickle=False) as archive:
        assert archive.files[2:] == [f"model/{name}" for name in STATE_PATHS]


def test_the_error_of_load_names_the_network_that_was_saved(tmp_path: Path) -> None:
    Sequential([Dense(3, 2)]).save(str(tmp_path / "c.npz"))
    sentence = r"expects a state, got|\(the file is of Sequential\(\[Dense\(3, 2\)\]\)\)$"
    with pytest.raises(CheckpointError, match=sentence):
        Dense(3, 2).load(str(tmp_path / "c.npz"))


@pytest.mark.parametrize("dtype", [">f4", np.float16, np.float64])
def test_load_restores_a_network_of_any_float_dtype(tmp_path: Path, dtype: Any) -> None:
    saved = Dense(3, 2, rng=0).astype(dtype)
    saved.save(tmp_path / "c.npz")
    loading = Dense(3, 2, rng=1).astype(dtype).load(tmp_path / "c.npz")
    assert state_bytes(loading) == state_bytes(saved)
    assert loading.weight.value.dtype == dtype


def test_loading_the_file_of_another_network_changes_nothing(tmp_path: Path) -> None:
    Stateful(1, size=3).save(tmp_path / "c.npz")
    stateful = Stateful(2)
    before = state_bytes(stateful)
    with pytest.raises(CheckpointError, match=r"got float32 of shape \(3,\) \(the file is of S"):
        stateful.load(tmp_path / "c.npz")
    assert state_bytes(stateful) == before


def test_save_reports_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="could not be written"):
        Stateful().save(tmp_path / "no" / "c.npz")


def test_save_and_load_keep_the_mode_and_a_pending_backward(tmp_path: Path) -> None:
    dense = Dense(3, 2, rng=0)
    y = dense(np.ones((1, 3), np.float32))
    dense.save(tmp_path / "c.npz")
    dense.load(tmp_path / "c.npz")
    assert dense.training
    assert dense.backward(y).shape == (1, 3)
