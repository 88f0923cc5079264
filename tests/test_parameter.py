from typing import Any

import numpy as np
import pytest

from tinynet import InputError, Parameter


def test_value_is_a_float32_copy() -> None:
    given = np.ones((2, 3), np.float32)
    parameter = Parameter(given)
    given[:] = 7
    assert parameter.value.dtype == np.float32
    assert (parameter.value == 1).all()
    assert Parameter([1, 2]).value.dtype == np.float32
    assert Parameter([1, 2], np.float64).value.dtype == np.float64


def test_gradient_is_none_until_a_backward() -> None:
    assert Parameter(1.0).grad is None


def test_integers_cannot_be_trained() -> None:
    with pytest.raises(InputError, match=r"^Parameter expects a float dtype, got int64$"):
        Parameter([1, 2], np.int64)


def test_a_mistyped_attribute_is_refused() -> None:
    parameter: Any = Parameter(1.0)
    with pytest.raises(AttributeError):
        parameter.gradient = 2
