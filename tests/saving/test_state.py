import copy
from typing import Any

import numpy as np
import pytest

from tinynet import Array, InputError
from tinynet.saving.state import (
    check_array,
    check_arrays,
    check_generators,
    check_keys,
    generator_states,
    load_arrays,
    load_generators,
)

KINDS = ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"]


def error_of(do: Any, *args: Any) -> str:
    with pytest.raises(InputError) as error:
        do(*args)
    return str(error.value)


class TestCheckKeys:
    def test_check_keys_accepts_exactly_these_keys_in_any_order(self) -> None:
        check_keys("SGD", {"steps": 1, "rate": 2}, ["rate", "steps"])
        check_keys("SGD", {}, [])
        check_keys("SGD", {"a": 1}, iter(["a"]))

    @pytest.mark.parametrize(
        ("state", "keys", "sentence"),
        [
            (None, "a", "SGD expects a state, got none"),
            ([1], "a", "SGD expects a state, got [1]"),
            ("x" * 999, "a", "SGD expects a state, got '" + "x" * 39),
            ({}, "a", "SGD expects a state with a, got none of a"),
            ({"b": 1, "a": 2}, "a", "SGD expects a state with a, got b"),
            ({"b": 1}, "a", "SGD expects a state with a, got none of a, and b"),
            ({"b": 1, "c": 2}, "", "SGD expects a state with nothing, got b, c"),
            ({1: 2, "b": 3}, "b", "SGD expects a state with b, got 1"),
            ({}, "dcba", "SGD expects a state with a, b, c, d, got none of a, b, c, d"),
            (
                {},
                "edcba",
                "SGD expects a state with a, b, c, d and 1 more, got none of a, b, c, d and 1 more",
            ),
            (
                {},
                "fedcba",
                "SGD expects a state with a, b, c, d and 2 more, got none of a, b, c, d and 2 more",
            ),
        ],
    )
    def test_check_keys_names_missing_and_unexpected_keys(
        self, state: Any, keys: str, sentence: str
    ) -> None:
        assert error_of(check_keys, "SGD", state, keys) == sentence


class TestCheckArray:
    @pytest.mark.parametrize(
        ("value", "shape", "dtype"),
        [
            (np.zeros((2, 3)), (2, 3), np.float64),
            (np.zeros((2, 3), "f4"), (None, 3), "f4"),
            (np.zeros((0, 3), "i2"), (None, None), np.dtype("i2")),
            (np.zeros(()), (), float),
            (np.zeros(2, "<f4"), (2,), ">f4"),
            (np.zeros(2, ">i8"), (2,), "<i8"),
        ],
    )
    def test_check_array_accepts_fitting_arrays_of_any_byte_order(
        self, value: Array, shape: tuple[int | None, ...], dtype: Any
    ) -> None:
        check_array("History", value, shape, dtype)

    @pytest.mark.parametrize(
        ("value", "shape", "dtype", "sentence"),
        [
            (np.zeros(2), (3,), "f8", "float64 of shape (3,), got float64 of shape (2,)"),
            (np.zeros((2, 4)), (None, 3), "f8", "of shape (any, 3), got float64 of shape (2, 4)"),
            (np.zeros((3, 1)), (3,), "f8", "float64 of shape (3,), got float64 of shape (3, 1)"),
            (np.zeros(()), (None,), "f8", "float64 of shape (any,), got float64 of shape ()"),
            (np.zeros(2, "f4"), (2,), "f8", "float64 of shape (2,), got float32 of shape (2,)"),
            (np.zeros(2, "i8"), (2,), "f8", "float64 of shape (2,), got int64 of shape (2,)"),
            (np.zeros(2, "i4"), (2,), "u4", "uint32 of shape (2,), got int32 of shape (2,)"),
            (np.zeros(2, "O"), (2,), "f8", "float64 of shape (2,), got object of shape (2,)"),
            ([0.0, 0.0], (2,), "f8", "float64 of shape (2,), got [0.0, 0.0]"),
            (None, (2,), "f8", "float64 of shape (2,), got None"),
            (np.float64(1), (), "f8", "float64 of shape (), got np.float64(1.0)"),
            ("x" * 99, (), "f8", "float64 of shape (), got '" + "x" * 39),
        ],
    )
    def test_check_array_says_what_was_expected_and_got(
        self, value: Any, shape: tuple[int | None, ...], dtype: str, sentence: str
    ) -> None:
        text = error_of(check_array, "History", value, shape, dtype)
        assert text.startswith("History expects ")
        assert text.endswith(sentence)


class TestArrays:
    def test_load_arrays_copies_and_check_arrays_changes_nothing(self) -> None:
        own = {"a": np.zeros(2), "b": np.zeros((), "i4"), "c": np.zeros((0, 2))}
        arrays = dict(own)
        state = {"b": np.array(7, "i4"), "a": np.array([1.0, np.nan]), "c": np.zeros((0, 2))}
        check_arrays("Net", own, state)
        assert own["a"].tolist() == [0, 0]
        load_arrays(own, state)
        assert np.array_equal(own["a"], state["a"], equal_nan=True)
        assert own["b"] == 7
        assert all(own[name] is arrays[name] for name in own)
        assert not np.shares_memory(own["a"], state["a"])

    def test_load_arrays_accepts_another_byte_order(self) -> None:
        own = {"a": np.zeros(2, ">f4")}
        state = {"a": np.array([1, 2], "<f4")}
        check_arrays("Net", own, state)
        load_arrays(own, state)
        assert own["a"].tolist() == [1, 2]
        assert own["a"].dtype == ">f4"

    @pytest.mark.parametrize(
        ("state", "sentence"),
        [
            (None, "Net expects a state, got none"),
            ({"a": np.ones(2)}, "Net expects a state with a, b, got none of b"),
            (
                {"a": np.ones(2), "b": np.ones(3, "f4")},
                "Net, b, expects float64 of shape (3,), got float32 of shape (3,)",
            ),
            (
                {"a": np.ones(2), "b": np.ones(1)},  # which would broadcast
                "Net, b, expects float64 of shape (3,), got float64 of shape (1,)",
            ),
        ],
    )
    def test_check_arrays_refuses_a_state_with_any_fault(self, state: Any, sentence: str) -> None:
        own = {"a": np.zeros(2), "b": np.zeros(3)}
        assert error_of(check_arrays, "Net", own, state) == sentence
        assert not own["a"].any()

    def test_check_arrays_refuses_read_only_arrays_of_its_own(self) -> None:
        own = {"a": np.zeros(2), "b": np.zeros(2)}
        own["b"].setflags(write=False)
        text = error_of(check_arrays, "Net", own, {"a": np.ones(2), "b": np.ones(2)})
        assert text == "Net, b, expects a writable array, got a read-only one"
        assert not own["a"].any()


def generator(kind: str, seed: int) -> np.random.Generator:
    return np.random.Generator(getattr(np.random, kind)(seed))


def state_of(rng: np.random.Generator) -> Any:
    return generator_states({"rng": rng})["rng"]


def draws(rng: np.random.Generator) -> list[float]:
    return [*rng.random(700).tolist(), *rng.random(3, np.float32).tolist()]


@pytest.mark.parametrize("kind", KINDS)
class TestGenerators:
    def test_a_restored_generator_draws_the_same_numbers(self, kind: str) -> None:
        rng, other = generator(kind, 1), generator(kind, 2)
        rng.random(5, np.float32)  # an odd number: the generator keeps half of a 64-bit draw
        state = state_of(rng)
        expected = draws(rng)
        check_generators("Net", {"rng": other}, {"rng": state})
        load_generators({"rng": other}, {"rng": state})
        assert draws(other) == expected

    def test_check_generators_does_not_advance_a_generator(self, kind: str) -> None:
        rng, same = generator(kind, 1), generator(kind, 1)
        check_generators("Net", {"rng": rng}, {"rng": state_of(generator(kind, 2))})
        assert draws(rng) == draws(same)

    def test_generator_states_does_not_advance_a_generator(self, kind: str) -> None:
        rng, same = generator(kind, 1), generator(kind, 1)
        state = state_of(rng)
        assert draws(rng) == draws(same)
        assert repr(state) == repr(state_of(generator(kind, 1)))

    @pytest.mark.parametrize(
        "make_wrong",
        [
            lambda _: None,
            lambda _: 3,
            lambda _: [],
            lambda _: {},
            lambda state: state | {"bit_generator": "Dice"},
            lambda state: state | {"state": None},
            lambda state: state | {"state": {}},
            lambda state: state | {"state": dict.fromkeys(state["state"], "x")},
            lambda state: state | {"state": dict.fromkeys(state["state"], -(2**200))},
            lambda state: state | {"state": dict.fromkeys(state["state"], np.zeros(2, np.uint64))},
        ],
    )
    def test_check_generators_refuses_a_wrong_state_and_changes_none(
        self, kind: str, make_wrong: Any
    ) -> None:
        own = {"a": generator(kind, 1), "b": generator(kind, 2)}
        state = {name: state_of(generator(kind, 3)) for name in own}
        state["b"] = make_wrong(state["b"])
        text = error_of(check_generators, "Net", own, state)
        assert text.startswith(f"Net expects the state of a {kind} for b, got ")
        assert text.endswith(str(state["b"])[:60])
        assert draws(own["a"]) == draws(generator(kind, 1))
        assert draws(own["b"]) == draws(generator(kind, 2))

    def test_check_generators_refuses_the_state_of_another_kind(self, kind: str) -> None:
        other = KINDS[KINDS.index(kind) - 1]
        state = {"a": state_of(generator(other, 1))}
        text = error_of(check_generators, "Net", {"a": generator(kind, 1)}, state)
        assert text.startswith(f"Net expects the state of a {kind} for a, got ")

    def test_check_generators_refuses_other_names(self, kind: str) -> None:
        own = {"a": generator(kind, 1)}
        text = error_of(check_generators, "Net", own, {"b": state_of(own["a"])})
        assert text == "Net expects a state with a, got none of a, and b"


def state_at(kind: str, position: int) -> Any:
    """A state with this position in its buffer, which NumPy does not check."""
    state: Any = copy.deepcopy(generator(kind, 1).bit_generator.state)
    if kind == "MT19937":
        state["state"]["pos"] = position
    else:
        state["buffer_pos"] = position
    return state


@pytest.mark.parametrize(("kind", "size"), [("MT19937", 624), ("Philox", 4)])
class TestBufferPositions:
    def test_every_position_inside_a_generator_buffer_is_restored(
        self, kind: str, size: int
    ) -> None:
        for position in (0, 1, size - 1, size):
            rng = generator(kind, 2)
            check_generators("Net", {"rng": rng}, {"rng": state_at(kind, position)})
            load_generators({"rng": rng}, {"rng": state_at(kind, position)})
            expected = generator(kind, 2)
            expected.bit_generator.state = state_at(kind, position)
            assert draws(rng) == draws(expected)

    @pytest.mark.parametrize("beyond", [-(10**6), -1, 1, 10**6])
    def test_positions_outside_of_a_generator_buffer_are_refused(
        self, kind: str, size: int, beyond: int
    ) -> None:
        state = {"rng": state_at(kind, beyond if beyond < 0 else size + beyond)}
        text = error_of(check_generators, "Net", {"rng": generator(kind, 2)}, state)
        assert text.startswith(f"Net expects the state of a {kind} for rng, got ")
