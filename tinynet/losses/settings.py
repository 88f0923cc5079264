"""The settings that losses have in common: how to sum up, and what counts how much."""

import inspect
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinynet.arguments import InputError
from tinynet.layer import Layer
from tinynet.parameter import Array


def one_of(who: str, name: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    """Returns `value`, or raises InputError if it is none of those that are allowed.

    >>> one_of("Huber", "reduction", "none", ("mean", "sum"))
    Traceback (most recent call last):
    tinynet.arguments.InputError: Huber expects reduction to be 'mean' or 'sum', got 'none'
    """
    if not any(type(value) is type(one) and value == one for one in allowed):
        choice = " or ".join(map(repr, allowed))
        raise InputError(f"{who} expects {name} to be {choice}, got {value!r}")
    return value


def demand_reduction(who: str, value: Any) -> str:
    """Returns `value`, how the terms of a loss become one number, if it is "mean" or "sum"."""
    return str(one_of(who, "reduction", value, ("mean", "sum")))


def factors(who: str, name: str, value: ArrayLike | None) -> Array | None:
    """Returns `value` as an array of floats, or None as it is; refuses what is not >= 0.

    >>> factors("BinaryCrossEntropy", "pos_weight", [2, -1])
    Traceback (most recent call last):
    tinynet.arguments.InputError: BinaryCrossEntropy expects pos_weight to be finite numbers >= 0, \
got -1.0 at index (1,)
    """
    if value is None:
        return None
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{who} expects {name} to be numbers, got {value!r:.60}") from error
    wrong = ~(np.isfinite(array) & (array >= 0))
    if wrong.any():
        at = tuple(map(int, np.argwhere(wrong)[0]))
        raise InputError(
            f"{who} expects {name} to be finite numbers >= 0, got {array[at]} at index {at}"
        )
    return array


def class_weight(who: str, value: ArrayLike | None) -> Array | None:
    """As `factors`, one for each class."""
    array = factors(who, "weight", value)
    if array is not None and (array.ndim != 1 or not array.size):
        raise InputError(
            f"{who} expects weight to have one number for each class, got the shape {array.shape}"
        )
    return array


def call(loss: Layer) -> str:
    """The constructor call, with those of its arguments that are not the default.

    A loss keeps each argument under its own name.
    """
    shown = []
    for name, parameter in inspect.signature(type(loss)).parameters.items():
        value = getattr(loss, name)
        if isinstance(value, np.ndarray):
            numbers = np.array2string(value, 10**6, separator=", ", threshold=10, edgeitems=2)
            shown.append(f"{name}={numbers}")
        elif value != parameter.default:
            shown.append(f"{name}={value!r}")
    return f"{type(loss).__name__}({', '.join(shown)})"
