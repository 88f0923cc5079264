from typing import Any

import numpy as np
import pytest

from tinynet.arguments import InputError, finite_number, whole_number


@pytest.mark.parametrize("value", [1, 7, np.int64(7), np.uint8(7), True])
def test_whole_numbers_pass_as_int(value: Any) -> None:
    assert whole_number("Dense", "size", value) == int(value)
    assert type(whole_number("Dense", "size", value)) is int


@pytest.mark.parametrize("value", [0, -1, 1.0, "1", None, float("nan"), [1]])
def test_anything_else_is_refused_with_both_values(value: Any) -> None:
    with pytest.raises(InputError) as error:
        whole_number("Dense", "size", value)
    expected = f"Dense expects size to be a whole number >= 1, got {value!r}"
    assert str(error.value) == expected


def test_the_bound_itself_passes() -> None:
    assert whole_number("SGD", "n", 5, at_least=5) == 5
    assert finite_number("SGD", "rate", 0, at_least=0) == 0.0
    assert finite_number("BatchNorm", "momentum", 1, at_most=1) == 1.0


def test_just_below_the_upper_bound_passes() -> None:
    assert finite_number("Dropout", "rate", 1 - 2**-53, below=1) == 1 - 2**-53


@pytest.mark.parametrize("value", [-1.5, 3, np.float32(0.5)])
def test_numbers_pass_as_float(value: Any) -> None:
    assert finite_number("Rescale", "scale", value) == float(value)
    assert type(finite_number("Rescale", "scale", value)) is float


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), "2", None, [1, 2], 10**400]
)
def test_what_is_not_finite_is_refused(value: Any) -> None:
    with pytest.raises(InputError) as error:
        finite_number("Rescale", "scale", value)
    assert str(error.value) == f"Rescale expects scale to be a finite number, got {value!r}"


def test_the_sentence_names_the_bound() -> None:
    with pytest.raises(InputError, match=r"^SGD expects rate to be a finite number >= 0, got -1$"):
        finite_number("SGD", "rate", -1, at_least=0)


@pytest.mark.parametrize(
    ("value", "bounds", "words"),
    [
        (1, {"at_least": 0, "below": 1}, ">= 0 and < 1"),
        (1.5, {"at_least": 0, "below": 1}, ">= 0 and < 1"),
        (-0.5, {"at_least": 0, "below": 1}, ">= 0 and < 1"),
        (float("nan"), {"at_least": 0, "below": 1}, ">= 0 and < 1"),
        (1.5, {"at_least": 0, "at_most": 1}, ">= 0 and <= 1"),
        (-0.5, {"at_least": 0, "at_most": 1}, ">= 0 and <= 1"),
        (float("inf"), {"at_most": 1}, "<= 1"),
        (2.5, {"below": 2.5}, "< 2.5"),
        (-float("inf"), {"below": 2.5}, "< 2.5"),
    ],
)
def test_the_sentence_names_both_bounds(value: Any, bounds: Any, words: str) -> None:
    with pytest.raises(InputError) as error:
        finite_number("Dropout", "rate", value, **bounds)
    expected = f"Dropout expects rate to be a finite number {words}, got {value!r}"
    assert str(error.value) == expected
