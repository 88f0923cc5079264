"""State is what must be kept so that something goes on later as if it had never stopped.

Whoever has state gives it by `state()`: a dict of arrays, numbers, texts, None, and dicts and lists
of these. `restoring(state)` takes it back in two steps: it first validates all of it, changing
nothing, and returns a function that puts it in place. So a run of many parts is restored as a
whole or not at all.
"""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tinynet.arguments import InputError
from tinynet.parameter import Array

State = dict[str, Any]
Restore = Callable[[], None]


def in_turn(restores: Iterable[Restore]) -> Restore:
    """One that does all of these, the first one first."""
    parts = tuple(restores)

    def restore() -> None:
        for part in parts:
            part()

    return restore


def demand_keys(who: str, state: Any, keys: Iterable[str]) -> None:
    """Refuses a state that is not a dict with exactly these keys.

    >>> demand_keys("SGD", {"rate": 1, "speed": 2}, ["rate", "steps"])
    Traceback (most recent call last):
    tinynet.arguments.InputError: SGD expects a state with rate, steps, got none of steps, and speed
    """
    wanted = set(keys)
    if not isinstance(state, dict):
        came = "none" if state is None else repr(state)[:40]
        raise InputError(f"{who} expects a state, got {came}")
    if state.keys() != wanted:
        lacks = f"none of {_some(wanted - state.keys())}" if wanted - state.keys() else ""
        more = _some(state.keys() - wanted)
        came = ", and ".join(filter(None, (lacks, more)))
        raise InputError(f"{who} expects a state with {_some(wanted) or 'nothing'}, got {came}")


def restoring_arrays(who: str, own: Mapping[str, Array], state: Any) -> Restore:
    """What copies the arrays of `state` into `own`, of the same names, shapes and dtypes."""
    demand_keys(who, state, own)
    for name, array in own.items():
        demand_array(f"{who}, {name},", state[name], array.shape, array.dtype)
        if not array.flags.writeable:
            raise InputError(
                f"{who}, {name}, expects a writable array to restore, got one that is not"
            )

    def restore() -> None:
        for name, array in own.items():
            array[...] = state[name]

    return restore


def demand_array(who: str, value: Any, shape: tuple[int | None, ...], dtype: Any) -> None:
    """Refuses what is no array of `dtype`, in any byte order, and `shape`; None is any size."""
    is_array = isinstance(value, np.ndarray)
    fits = is_array and len(value.shape) == len(shape) and np.can_cast(value.dtype, dtype, "equiv")
    if not (fits and all(w in (None, s) for s, w in zip(value.shape, shape, strict=True))):
        came = f"{value.dtype} of shape {value.shape}" if is_array else repr(value)[:40]
        wanted = str(shape).replace("None", "any")
        raise InputError(f"{who} expects {np.dtype(dtype)} of shape {wanted}, got {came}")


def generator_state(rng: np.random.Generator) -> State:
    """Where a random stream stands, so that it can draw the same numbers again."""
    state: Any = rng.bit_generator.state
    return dict(state)


def restoring_generators(who: str, own: Mapping[str, np.random.Generator], state: Any) -> Restore:
    """What sets each generator of `own` to where `state` says that it stood."""
    demand_keys(who, state, own)
    for name, rng in own.items():
        kind = type(rng.bit_generator)
        fresh = kind()
        try:
            fresh.state = state[name]  # the generator itself does not move yet
            _demand_position(fresh.state)
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise InputError(
                f"{who} expects the state of a {kind.__name__} for {name}, "
                f"got {str(state[name])[:60]}"
            ) from error

    def restore() -> None:
        for name, rng in own.items():
            rng.bit_generator.state = state[name]

    return restore


def _demand_position(state: Any) -> None:
    # NumPy goes on to read its buffer at this position, unchecked, wherever in memory that is.
    match state:
        case {"bit_generator": "MT19937", "state": {"pos": position}}:
            size = 624
        case {"bit_generator": "Philox", "buffer_pos": position}:
            size = 4
        case _:
            return
    if not 0 <= position <= size:
        raise ValueError(f"a position from 0 to {size}, got {position}")


def _some(names: Iterable[str]) -> str:
    ordered = sorted(map(str, names))
    return ", ".join(ordered[:4]) + (f" and {len(ordered) - 4} more" if len(ordered) > 4 else "")
