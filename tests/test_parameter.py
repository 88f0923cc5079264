from typing import Any

import numpy as np
import pytest

from tinynet import InputError, Parameter
from tinynet.parameter import write_grad


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


def test_write_grad_gives_the_shape_and_dtype_of_the_parameter() -> None:
    parameter = Parameter(np.zeros((2, 3)))
    write_grad(parameter, np.arange(6.0))
    assert parameter.grad is not None
    assert parameter.grad.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert parameter.grad.dtype == np.float32
    write_grad(None, np.arange(6.0))
