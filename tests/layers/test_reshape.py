import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Flatten, InputError, Permute, Rescale, Reshape, Select
from tinynet.testing import check_layer

numbers = st.floats(-100, 100, width=32)


@pytest.mark.gradients
@pytest.mark.parametrize(
    ("kind", "shapes", "configuration"),
    [
        (Flatten, ("N", ...), {}),
        (Reshape, st.sampled_from([(3, 2, 6), (1, 12)]), {"shape": st.just((3, -1, 2))}),
        (
            Permute,
            ("N", "A", "B", "C"),
            {"axes": st.permutations([1, 2, 3]).map(lambda axes: (0, *axes))},
        ),
        (
            Select,
            ("N", 2, 3, 2),
            {
                "index": st.sampled_from(
                    [0, -1, 1, slice(0, 2), slice(None, None, -1), slice(-1, None)]
                ),
                "axis": st.sampled_from([1, 2, 3, -1, -3]),
            },
        ),
        (
            Rescale,
            ("N", ...),
            # Next to a large offset the slope of a small scale cannot be measured.
            {
                "scale": st.sampled_from([-100.0, -3.0, 0.5, 1.0, 7.0]),
                "offset": st.floats(-10, 10, width=32),
            },
        ),
    ],
)
def test_gradients_of_layers_that_move_or_rescale_entries(
    kind: Any, shapes: Any, configuration: dict[str, Any]
) -> None:
    check_layer(kind, shapes, examples=0.28, **configuration)


def test_flatten_keeps_c_order() -> None:
    x = np.arange(24).reshape(2, 3, 4)
    y = Flatten()(x)
    assert y.shape == (2, 12)
    for n in range(2):
        for h in range(3):
            for w in range(4):
                assert y[n, 4 * h + w] == x[n, h, w]


@pytest.mark.parametrize(
    ("shape", "flat"),
    [((0, 2, 3), (0, 6)), ((3, 0), (3, 0)), ((5,), (5, 1)), ((1, 1, 1), (1, 1))],
)
def test_flatten_takes_empty_and_one_dimensional_arrays(
    shape: tuple[int, ...], flat: tuple[int, ...]
) -> None:
    layer = Flatten()
    assert layer(np.zeros(shape)).shape == flat
    assert layer.backward(np.zeros(flat)).shape == shape


def test_flatten_keeps_the_integer_dtype() -> None:
    assert Flatten()(np.zeros((2, 3, 3), np.uint8)).dtype == np.uint8


@given(st.data(), numbers, numbers, st.sampled_from([np.uint8, np.int64, np.float32]))
def test_rescale_is_scale_times_x_plus_offset(
    data: st.DataObject, scale: float, offset: float, dtype: Any
) -> None:
    x = np.array(data.draw(st.lists(st.integers(0, 255), min_size=1)), dtype)
    y = Rescale(scale, offset)(x)
    assert y.dtype == np.float32
    for got, pixel in zip(y.tolist(), x.tolist(), strict=True):
        term, whole = Fraction(scale) * int(pixel), Fraction(scale) * int(pixel) + Fraction(offset)
        # Scale, product and sum are rounded to float32, each by at most 2⁻²⁴ of its size.
        tolerance = 4 * (abs(term) + abs(Fraction(offset)) + abs(whole)) / 2**24 + Fraction(
            1, 10**40
        )
        assert abs(Fraction(got) - whole) <= tolerance


def test_rescale_turns_integers_into_floats_of_its_dtype() -> None:
    x = np.array([0, 51, 255], np.uint8)
    y = Rescale(1 / 255).astype(np.float64)(x)
    assert y.dtype == np.float64
    assert y.tolist() == pytest.approx([0, 0.2, 1], rel=1e-15)
    assert Rescale(2)(np.array([True, False])).tolist() == [2, 0]


@pytest.mark.parametrize(("scale", "offset"), [(float("nan"), 0), (1, float("inf")), ("x", 0)])
def test_rescale_refuses_a_scale_or_offset_that_is_not_finite(scale: Any, offset: Any) -> None:
    with pytest.raises(InputError, match=r"^Rescale expects (scale|offset) to be a finite number"):
        Rescale(scale, offset)


@pytest.mark.parametrize("layer", [Flatten(), Rescale(1)])
def test_flatten_and_rescale_refuse_an_x_without_a_batch_axis(layer: Any) -> None:
    with pytest.raises(InputError, match=r"expects x of shape \(N, \.\.\.\), got \(\)"):
        layer(np.array(1.0))


def test_reshape_keeps_the_order_of_entries_in_every_sample() -> None:
    x = np.arange(24).reshape(2, 12)
    y = Reshape((3, 4))(x)
    assert y.shape == (2, 3, 4)
    for n in range(2):
        for i in range(3):
            for j in range(4):
                assert y[n, i, j] == x[n, 4 * i + j]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_reshape_infers_a_size_of_minus_one(n: int) -> None:
    layer = Reshape((2, -1, 2))
    y = layer(np.zeros((n, 3, 4)))
    assert y.shape == (n, 2, 3, 2)
    assert layer.backward(y).shape == (n, 3, 4)
    assert Reshape(())(np.zeros((n, 1))).shape == (n,)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((3, 5), "Reshape((3, 5)) expects samples of 15 entries, got 12 in (3, 4)"),
        ((5, -1), "Reshape((5, -1)) expects samples of a multiple of 5 entries, got 12 in"),
    ],
)
def test_reshape_refuses_another_number_of_entries(shape: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        Reshape(shape)(np.zeros((2, 3, 4)))


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        (12, "Reshape expects the shape of a sample, got 12"),
        ("12", "Reshape expects the shape of a sample, got '12'"),
        ((-1, -1), "Reshape expects sizes >= 1, at most one of them -1, got (-1, -1)"),
        ((0, 3), "Reshape expects sizes >= 1, at most one of them -1, got (0, 3)"),
        ((2.5,), "Reshape expects each size to be a whole number >= -1, got 2.5"),
    ],
)
def test_reshape_refuses_an_argument_that_is_not_a_shape(shape: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        Reshape(shape)


@given(st.permutations([1, 2, 3]))
def test_axis_k_of_permuted_y_is_axis_axes_k_of_x(others: list[int]) -> None:
    x = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    axes = (0, *others)
    y = Permute(axes)(x)
    for index in np.ndindex(x.shape):
        assert y[tuple(index[axis] for axis in axes)] == x[index]


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        ((0, 1, 1), "Permute expects each axis once, such as (0, 2, 1), got (0, 1, 1)"),
        ((0, 2), "Permute expects each axis once, such as (0, 2, 1), got (0, 2)"),
        (3, "Permute expects each axis once, such as (0, 2, 1), got 3"),
        ((), "Permute expects axis 0, the batch, to stay the first, got ()"),
        ((1, 0), "Permute expects axis 0, the batch, to stay the first, got (1, 0)"),
        ((0, "1"), "Permute expects each axis to be a whole number >= 0, got '1'"),
        ("01", "Permute expects each axis once, such as (0, 2, 1), got '01'"),
    ],
)
def test_permute_refuses_axes_that_are_not_a_permutation(axes: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        Permute(axes)


def test_permute_refuses_an_x_with_another_number_of_axes() -> None:
    with pytest.raises(InputError) as error:
        Permute((0, 2, 1))(np.zeros((2, 3)))
    sentence = "Permute((0, 2, 1)) expects x of shape (N, axis 1, axis 2), got (2, 3)"
    assert str(error.value) == sentence


def test_select_takes_an_index_or_a_slice() -> None:
    x = np.arange(24).reshape(2, 3, 4)
    assert Select(-1)(x).tolist() == [[8, 9, 10, 11], [20, 21, 22, 23]]
    assert Select(1, axis=2)(x).tolist() == [[1, 5, 9], [13, 17, 21]]
    assert Select(1, axis=-1)(x).tolist() == [[1, 5, 9], [13, 17, 21]]
    assert Select(slice(1, 3), axis=1)(x)[0].tolist() == [[4, 5, 6, 7], [8, 9, 10, 11]]


def test_select_gives_no_gradient_to_other_entries() -> None:
    layer = Select(1)
    layer(np.zeros((1, 3, 2)))
    assert layer.backward(np.ones((1, 2))).tolist() == [[[0, 0], [1, 1], [0, 0]]]


@pytest.mark.parametrize(
    ("index", "axis", "sentence"),
    [
        (
            3,
            1,
            r"Select\(3\) expects x to have an entry 3 along axis 1, got samples of shape "
            r"\(3, 4\)",
        ),
        (-4, -2, r"Select\(-4, axis=-2\) expects x to have an entry -4 along axis 1, got"),
        (0, 3, r"Select\(0, axis=3\) expects x to have an axis 3, got 3 axes"),
        (0, -3, r"Select\(0, axis=-3\) expects x to have an axis -3, got 3 axes"),
    ],
)
def test_select_refuses_an_x_without_that_entry(index: int, axis: int, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^{sentence}"):
        Select(index, axis=axis)(np.zeros((2, 3, 4)))


def test_select_refuses_an_index_or_axis_of_another_kind() -> None:
    with pytest.raises(InputError, match=r"^Select expects index to be a whole number"):
        Select(1.5)  # type: ignore[arg-type]  # refused at run time, too
    for wrong in (slice(0.5, 2), slice(None, None, 0)):
        with pytest.raises(InputError, match=r"^Select expects a slice of whole numbers, got"):
            Select(wrong)
    with pytest.raises(InputError, match=r"^Select expects an axis of a sample, got 0, the"):
        Select(1, axis=0)


def test_repr_of_layers_that_move_or_rescale_entries() -> None:
    assert repr(Flatten()) == "Flatten()"
    assert repr(Rescale(0.5)) == "Rescale(0.5)"
    assert repr(Rescale(1 / 255, -0.1307)) == "Rescale(0.00392157, offset=-0.1307)"
    assert repr(Reshape([1, -1])) == "Reshape((1, -1))"
    counted: Any = [0, np.int64(2), 1]
    assert repr(Permute(counted)) == "Permute((0, 2, 1))"
    assert repr(Select(-1)) == "Select(-1)"
    assert repr(Select(slice(0, 2), axis=2)) == "Select(slice(0, 2, None), axis=2)"
