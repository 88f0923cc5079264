"""Arguments are checked where they enter: a sentence names who, what was expected, what came.

A wrong size or dtype that slips through shows up much later, as a broadcast that nobody meant.
"""

import math
import operator
import sys
from typing import Any


class InputError(ValueError):
    """What a layer, loss or optimizer was given is not what it expects."""

    def add_place(self, place: str) -> None:
        """Says in front of the sentence in which part of a network it arose."""
        self.args = (f"{place}: {self}",)


def whole_number(who: str, name: str, value: Any, *, at_least: int = 1) -> int:
    """Returns `value` as an int, or raises InputError if it is no whole number or below `at_least`.

    >>> whole_number("Dense", "in_features", 0)
    Traceback (most recent call last):
    tinynet.arguments.InputError: Dense expects in_features to be a whole number >= 1, got 0
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = at_least - 1
    if number < at_least:
        raise InputError(f"{who} expects {name} to be a whole number >= {at_least}, got {value!r}")
    return number


def finite_number(
    who: str,
    name: str,
    value: Any,
    *,
    at_least: float = -math.inf,
    at_most: float = math.inf,
    below: float = math.inf,
) -> float:
    """Returns `value` as a float, or raises InputError if it is not finite or out of bounds.

    >>> finite_number("SGD", "learning_rate", float("nan"), at_least=0)
    Traceback (most recent call last):
    tinynet.arguments.InputError: SGD expects learning_rate to be a finite number >= 0, got nan
    """
    try:
        number = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and at_least <= number <= at_most and number < below):
        bounds = [(">=", at_least), ("<=", at_most), ("<", below)]
        words = " and".join(f" {sign} {bound:g}" for sign, bound in bounds if math.isfinite(bound))
        raise InputError(f"{who} expects {name} to be a finite number{words}, got {value!r}")
    return number


def axis_of_sample(who: str, axis: Any) -> int:
    """Returns `axis` as an int, or raises InputError if it is no whole number or 0, the batch.

    >>> axis_of_sample("Concatenate", 0)
    Traceback (most recent call last):
    tinynet.arguments.InputError: Concatenate expects an axis of a sample, got 0, that of the batch
    """
    number = whole_number(who, "axis", axis, at_least=-sys.maxsize)
    if number == 0:
        raise InputError(f"{who} expects an axis of a sample, got 0, that of the batch")
    return number
