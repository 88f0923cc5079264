import pydoc
from typing import Any

import numpy as np
import pytest

from tinynet import InputError, Parameter
from tinynet.parameter import write_grad


def test_the_value_of_a_parameter_is_a_float32_copy_unless_another_float_dtype_is_given() -> None:
    given = np.ones((2, 3), np.float32)
    parameter = Parameter(given)
    given[:] = 7
    assert parameter.value.dtype == np.float32
    assert (parameter.value == 1).all()
    assert Parameter([1, 2]).value.dtype == np.float32
    assert Parameter([1, 2], np.float64).value.dtype == np.float64


def test_help_opens_with_a_signature_that_fits_a_line() -> None:
    lines = pydoc.plain(pydoc.render_doc(Parameter)).splitlines()
    assert lines[3] == " |  Parameter(value: 'ArrayLike', dtype: 'DTypeLike' = 'float32') -> 'None'"


def test_the_gradient_of_a_new_parameter_is_none() -> None:
    assert Parameter(1.0).grad is None


def test_parameter_rejects_integer_dtypes() -> None:
    with pytest.raises(InputError, match=r"^Parameter expects a float dtype, got int64$"):
        Parameter([1, 2], np.int64)


def test_parameter_rejects_a_mistyped_attribute() -> None:
    parameter: Any = Parameter(1.0)
    with pytest.raises(AttributeError):
        parameter.gradient = 2


def test_write_grad_casts_and_reshapes_to_the_parameter() -> None:
    parameter = Parameter(np.zeros((2, 3)))
    write_grad(parameter, np.arange(6.0))
    assert parameter.grad is not None
    assert parameter.grad.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert parameter.grad.dtype == np.float32


def test_write_grad_replaces_the_gradient_and_does_not_add_to_it() -> None:
    parameter = Parameter([0.0, 0.0])
    write_grad(parameter, np.array([1.0, 2.0]))
    write_grad(parameter, np.array([3.0, 4.0]))
    assert parameter.grad is not None
    assert parameter.grad.tolist() == [3, 4]
    assert parameter.value.tolist() == [0, 0]


def test_write_grad_does_nothing_for_a_missing_parameter() -> None:
    write_grad(None, np.arange(6.0))
