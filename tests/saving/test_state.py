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


def said(do: Any, *args: Any) -> str:
    with pytest.raises(InputError) as error:
        do(*args)
    return str(error.value)


class TestDemandKeys:
    def test_passes_exactly_these_keys_in_any_order(self) -> None:
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
    def test_says_what_lacks_and_what_is_too_many(
        self, state: Any, keys: str, sentence: str
    ) -> None:
        assert said(check_keys, "SGD", state, keys) == sentence


class TestDemandArray:
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
    def test_passes_what_fits_in_any_byte_order(
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
    def test_says_what_was_expected_and_what_came(
        self, value: Any, shape: tuple[int | None, ...], dtype: str, sentence: str
    ) -> None:
        text = said(check_array, "History", value, shape, dtype)
        assert text.startswith("History expects ")
        assert text.endswith(sentence)


class TestArrays:
    def test_are_copied_by_load_and_not_by_check(self) -> None:
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

    def test_restores_an_array_of_another_byte_order(self) -> None:
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
                {"a": np.ones(2), "b": np.ones(1)},  # which would fit by being repeated
                "Net, b, expects float64 of shape (3,), got float64 of shape (1,)",
            ),
        ],
    )
    def test_changes_nothing_where_anything_is_wrong(self, state: Any, sentence: str) -> None:
        own = {"a": np.zeros(2), "b": np.zeros(3)}
        assert said(check_arrays, "Net", own, state) == sentence
        assert not own["a"].any()

    def test_refuses_to_write_where_it_may_not(self) -> None:
        own = {"a": np.zeros(2), "b": np.zeros(2)}
        own["b"].setflags(write=False)
        text = said(check_arrays, "Net", own, {"a": np.ones(2), "b": np.ones(2)})
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
    def test_go_on_where_they_stood(self, kind: str) -> None:
        rng, other = generator(kind, 1), generator(kind, 2)
        rng.random(5, np.float32)  # an odd number: half a draw is kept
        state = state_of(rng)
        expected = draws(rng)
        check_generators("Net", {"rng": other}, {"rng": state})
        load_generators({"rng": other}, {"rng": state})
        assert draws(other) == expected

    def test_do_not_move_when_their_state_is_checked(self, kind: str) -> None:
        rng, same = generator(kind, 1), generator(kind, 1)
        check_generators("Net", {"rng": rng}, {"rng": state_of(generator(kind, 2))})
        assert draws(rng) == draws(same)

    def test_do_not_move_when_their_state_is_taken(self, kind: str) -> None:
        rng, same = generator(kind, 1), generator(kind, 1)
        state = state_of(rng)
        assert draws(rng) == draws(same)
        assert repr(state) == repr(state_of(generator(kind, 1)))

    @pytest.mark.parametrize(
        "break_it",
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
    def test_refuse_what_is_not_their_state_and_none_of_them_moves(
        self, kind: str, break_it: Any
    ) -> None:
        own = {"a": generator(kind, 1), "b": generator(kind, 2)}
        state = {name: state_of(generator(kind, 3)) for name in own}
        state["b"] = break_it(state["b"])
        text = said(check_generators, "Net", own, state)
        assert text.startswith(f"Net expects the state of a {kind} for b, got ")
        assert text.endswith(str(state["b"])[:60])
        assert draws(own["a"]) == draws(generator(kind, 1))
        assert draws(own["b"]) == draws(generator(kind, 2))

    def test_refuse_the_state_of_another_kind(self, kind: str) -> None:
        other = KINDS[KINDS.index(kind) - 1]
        state = {"a": state_of(generator(other, 1))}
        text = said(check_generators, "Net", {"a": generator(kind, 1)}, state)
        assert text.startswith(f"Net expects the state of a {kind} for a, got ")

    def test_are_all_there_and_no_others(self, kind: str) -> None:
        own = {"a": generator(kind, 1)}
        text = said(check_generators, "Net", own, {"b": state_of(own["a"])})
        assert text == "Net expects a state with a, got none of a, and b"


def at(kind: str, position: int) -> Any:
    """A state at this position of its buffer, of which NumPy would read any at all."""
    state: Any = copy.deepcopy(generator(kind, 1).bit_generator.state)
    if kind == "MT19937":
        state["state"]["pos"] = position
    else:
        state["buffer_pos"] = position
    return state


@pytest.mark.parametrize(("kind", "size"), [("MT19937", 624), ("Philox", 4)])
class TestPositionsInABuffer:
    def test_from_the_first_to_the_last_are_taken(self, kind: str, size: int) -> None:
        for position in (0, 1, size - 1, size):
            rng = generator(kind, 2)
            check_generators("Net", {"rng": rng}, {"rng": at(kind, position)})
            load_generators({"rng": rng}, {"rng": at(kind, position)})
            expected = generator(kind, 2)
            expected.bit_generator.state = at(kind, position)
            assert draws(rng) == draws(expected)

    @pytest.mark.parametrize("beyond", [-(10**6), -1, 1, 10**6])
    def test_outside_of_it_are_refused(self, kind: str, size: int, beyond: int) -> None:
        state = {"rng": at(kind, beyond if beyond < 0 else size + beyond)}
        text = said(check_generators, "Net", {"rng": generator(kind, 2)}, state)
        assert text.startswith(f"Net expects the state of a {kind} for rng, got ")
