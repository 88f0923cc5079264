import pickle
import pydoc
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Dense, GradientCheckError, InputError, Parameter, check_gradients
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


numbers = st.sampled_from([np.float16, np.float64, np.uint8, np.int64])
short_shapes = st.lists(st.integers(0, 3), max_size=4)


@given(short_shapes, st.data(), st.sampled_from([np.float16, np.float32, np.float64]), numbers)
def test_an_assigned_value_is_copied_in_the_dtype_and_the_shape_of_the_parameter(
    shape: list[int], data: st.DataObject, dtype: Any, given_dtype: Any
) -> None:
    parameter = Parameter(np.zeros(shape), dtype)
    before = parameter.value
    # (1, 10) and (10, 1) have the entries of (10,) in the same order, wherever axes of 1 stand.
    order = data.draw(st.permutations([*range(len(shape)), None]))
    kept = [axis for axis in order if axis is not None and shape[axis] == 1]
    given_shape = [n for n in shape if n != 1]
    for _ in kept if order[0] is None else [*kept, None]:
        given_shape.insert(data.draw(st.integers(0, len(given_shape))), 1)
    entries = np.arange(before.size).astype(given_dtype)
    value = np.array(entries.reshape(given_shape), order=data.draw(st.sampled_from("CF")))
    parameter.value = value
    assert (parameter.value.dtype, parameter.value.shape) == (np.dtype(dtype), tuple(shape))
    assert parameter.value.ravel().tolist() == entries.tolist()
    assert parameter.value.flags.c_contiguous
    assert not np.shares_memory(parameter.value, value)
    assert not before.any()


@pytest.mark.parametrize("value", [[1, 2], (1.0, 2.0), [[1], [2]], [np.float64(1), True + 1]])
def test_a_list_of_numbers_may_be_assigned(value: Any) -> None:
    parameter = Parameter([0.0, 0.0])
    parameter.value = value
    assert parameter.value.tolist() == [1, 2]


def test_infinities_may_be_assigned_as_in_a_mask_of_scores() -> None:
    parameter = Parameter(np.zeros((2, 2)))
    parameter.value = np.array([[0, -np.inf], [0, 0]])
    assert parameter.value.tolist() == [[0, -np.inf], [0, 0]]


def test_the_gradient_check_of_a_layer_whose_weight_has_a_nan_blames_its_forward() -> None:
    layer = Dense(2, 2, rng=0)
    layer.weight.value[0, 0] = np.nan
    with pytest.raises(GradientCheckError, match="forward gave nan"):
        check_gradients(layer, np.ones((3, 2)))


def test_updates_in_place_keep_the_array() -> None:
    parameter = Parameter([1.0, 2.0])
    array = parameter.value
    parameter.value -= 1
    parameter.value *= np.array([2.0, 3.0])
    parameter.value[:] += 1
    assert parameter.value is array
    assert array.tolist() == [1, 4]


class Words:
    """As the columns of pandas: an array of objects where the values are not numbers."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(["a", None], object)

    def to_numpy(self) -> Any:
        return np.array(["a", None], object)


@pytest.mark.parametrize(
    ("shape", "value", "sentence"),
    [
        (
            (784, 10),
            np.zeros((10, 784)),
            "a value of this shape, got (10, 784); value.T has it "
            "(Dense keeps its weight as (in_features, out_features))",
        ),
        ((10,), np.zeros(9), "a value of this shape, got (9,)"),
        ((10,), np.zeros((10, 2)), "a value of this shape, got (10, 2)"),
        ((1, 1), np.zeros(2), "a value of this shape, got (2,)"),
        ((0,), np.zeros(1), "a value of this shape, got (1,)"),
        ((10,), 0.5, "a value of this shape, got (); value[...] = number sets every entry"),
        (
            (8, 3, 5, 4),
            np.zeros((5, 4, 3, 8)),
            "a value of this shape, got (5, 4, 3, 8); value.transpose(3, 2, 0, 1) has it "
            "(Conv2D keeps its weight as (out, in, K, K))",
        ),
        (
            (2, 3),
            np.zeros(6),
            "a value of this shape, got (6,); value.reshape(2, 3) has it, "
            "if its entries are in this order",
        ),
        ((2, 3), np.zeros((6, 0)), "a value of this shape, got (6, 0)"),
        ((2,), [1.0, np.nan], "numbers in the range of float32, got nan at index 1"),
        ((1, 2), [1e39, 1], "numbers in the range of float32, got 1e+39 at index (0, 0)"),
        ((2,), "ab", "value to be a NumPy array, got str"),
        ((2,), np.ones(2) * 1j, "value of a number dtype, got complex128"),
        (
            (2,),
            ["1", "2"],
            "value to be a NumPy array, got list; np.asarray(value) makes one; "
            "value.astype(np.float32) makes numbers of them",
        ),
        ((2,), None, "value to be a NumPy array, got NoneType"),
        ((2,), {"a": 1}, "value to be a NumPy array, got dict"),
        (
            (2,),
            [[1.0], [1.0, 2.0]],
            "value to be a NumPy array, got list; "
            "np.asarray(value) makes one of samples that have the same shape",
        ),
        (
            (2,),
            np.ma.array([1.0, 2.0], mask=[True, False]),
            "value to be a NumPy array, got MaskedArray; value.filled(number) makes one",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    shape: tuple[int, ...], value: Any, sentence: str
) -> None:
    parameter = Parameter(np.ones(shape))
    with pytest.raises(InputError) as error:
        parameter.value = value
    assert str(error.value) == f"Parameter of shape {shape} expects {sentence}"
    assert parameter.value.shape == shape
    assert (parameter.value == 1).all()


def test_a_table_of_words_is_refused_with_what_makes_numbers_of_it() -> None:
    parameter: Any = Parameter([1.0, 2.0])
    with pytest.raises(InputError, match=r"got Words; value\.to_numpy\(\) makes one"):
        parameter.value = Words()


def test_the_parameters_of_a_network_in_another_dtype_keep_that_dtype() -> None:
    layer = Dense(2, 1, rng=0)
    double = layer.astype(np.float64)
    layer.weight.value = double.weight.value = np.full((2, 1), 0.1)
    assert layer.weight.value.dtype == np.float32
    assert double.weight.value.dtype == np.float64
    assert double.weight.value[0, 0] == 0.1


@pytest.mark.parametrize("copy", [deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_a_copy_and_a_pickle_have_value_and_gradient_of_their_own(copy: Any) -> None:
    parameter = Parameter([1.0, np.inf], np.float64)
    parameter.grad = np.array([3.0, 4.0])
    other = copy(parameter)
    parameter.value[:] = parameter.grad[:] = 0
    assert other.value.tolist() == [1, np.inf]
    assert other.value.dtype == np.float64
    assert other.grad.tolist() == [3, 4]


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
