"""State dicts: all that is needed to continue training exactly, and functions that check them.

An object with a state has three methods. `state_dict()` returns the state: a dict of arrays,
numbers, strings, None, and dicts and lists of these. `check_state_dict(state)` raises InputError if
the state does not fit the object, and changes nothing. `load_state_dict(state)` checks, then
assigns. A trainer checks the states of all its parts before it assigns the first one.
"""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tinynet.errors import InputError
from tinynet.parameter import Array

State = dict[str, Any]


def check_keys(who: str, state: Any, keys: Iterable[str]) -> None:
    """Raises InputError unless the state is a dict with exactly these keys.

    >>> check_keys("SGD", {"rate": 1, "speed": 2}, ["rate", "steps"])
    Traceback (most recent call last):
    tinynet.errors.InputError: SGD expects a state with rate, steps, got none of steps, and speed
    """
    expected = set(keys)
    if not isinstance(state, dict):
        got = "none" if state is None else repr(state)[:40]
        raise InputError(f"{who} expects a state, got {got}")
    if state.keys() != expected:
        missing = f"none of {_listed(expected - state.keys())}" if expected - state.keys() else ""
        got = ", and ".join(filter(None, (missing, _listed(state.keys() - expected))))
        raise InputError(f"{who} expects a state with {_listed(expected) or 'nothing'}, got {got}")


def check_array(who: str, value: Any, shape: tuple[int | None, ...], dtype: Any) -> None:
    """Raises InputError unless the value is an array of `dtype`, in any byte order, and `shape`.

    None in the shape stands for any size.
    """
    is_array = isinstance(value, np.ndarray)
    fits = is_array and len(value.shape) == len(shape) and np.can_cast(value.dtype, dtype, "equiv")
    if not (fits and all(n in (None, s) for s, n in zip(value.shape, shape, strict=True))):
        got = f"{value.dtype} of shape {value.shape}" if is_array else repr(value)[:40]
        expected = str(shape).replace("None", "any")
        raise InputError(f"{who} expects {np.dtype(dtype)} of shape {expected}, got {got}")


def check_arrays(who: str, own: Mapping[str, Array], state: Any) -> None:
    """Raises InputError unless the state has an array for each of `own`, of its shape and dtype."""
    check_keys(who, state, own)
    for name, array in own.items():
        check_array(f"{who}, {name},", state[name], array.shape, array.dtype)
        if not array.flags.writeable:
            raise InputError(f"{who}, {name}, expects a writable array, got a read-only one")


def load_arrays(own: Mapping[str, Array], state: State) -> None:
    """Copies the arrays of a checked state into those of `own`."""
    for name, array in own.items():
        array[...] = state[name]


def generator_states(generators: Mapping[str, np.random.Generator]) -> State:
    """The states of random generators by name."""
    return {name: _bit_generator_state(rng) for name, rng in generators.items()}


def check_generators(who: str, own: Mapping[str, np.random.Generator], state: Any) -> None:
    """Raises InputError unless the state has a valid state for each generator of `own`."""
    check_keys(who, state, own)
    for name, rng in own.items():
        kind = type(rng.bit_generator)
        trial = kind()
        try:
            trial.state = state[name]
            _check_buffer_position(trial.state)
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise InputError(
                f"{who} expects the state of a {kind.__name__} for {name}, "
                f"got {str(state[name])[:60]}"
            ) from error


def load_generators(own: Mapping[str, np.random.Generator], state: State) -> None:
    """Sets each generator of `own` to its checked state."""
    for name, rng in own.items():
        rng.bit_generator.state = state[name]


def _bit_generator_state(rng: np.random.Generator) -> State:
    state: Any = rng.bit_generator.state
    return dict(state)


def _check_buffer_position(state: Any) -> None:
    # NumPy does not check this index into a buffer, and would read memory outside of it.
    match state:
        case {"bit_generator": "MT19937", "state": {"pos": position}}:
            size = 624
        case {"bit_generator": "Philox", "buffer_pos": position}:
            size = 4
        case _:
            return
    if not 0 <= position <= size:
        raise ValueError(f"expected a position from 0 to {size}, got {position}")


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(map(str, names))
    return ", ".join(ordered[:4]) + (f" and {len(ordered) - 4} more" if len(ordered) > 4 else "")
