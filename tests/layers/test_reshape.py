from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Flatten, InputError, Rescale
from tinynet.testing import check_layer

numbers = st.floats(-100, 100, width=32)


@pytest.mark.gradients
def test_gradients_of_flatten() -> None:
    check_layer(Flatten, ("N", ...))


@pytest.mark.gradients
def test_gradients_of_rescale() -> None:
    check_layer(Rescale, ("N", ...), scale=numbers, offset=numbers)


def test_flatten_puts_the_last_axis_next_to_itself() -> None:
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
def test_flatten_of_empty_and_thin_arrays(shape: tuple[int, ...], flat: tuple[int, ...]) -> None:
    layer = Flatten()
    assert layer(np.zeros(shape)).shape == flat
    assert layer.backward(np.zeros(flat)).shape == shape


def test_flatten_keeps_bytes_as_bytes() -> None:
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
        room = 4 * (abs(term) + abs(Fraction(offset)) + abs(whole)) / 2**24 + Fraction(1, 10**40)
        assert abs(Fraction(got) - whole) <= room


def test_integers_give_the_dtype_of_the_layer() -> None:
    x = np.array([0, 51, 255], np.uint8)
    y = Rescale(1 / 255).astype(np.float64)(x)
    assert y.dtype == np.float64
    assert y.tolist() == pytest.approx([0, 0.2, 1], rel=1e-15)
    assert Rescale(2)(np.array([True, False])).tolist() == [2, 0]


@pytest.mark.parametrize(("scale", "offset"), [(float("nan"), 0), (1, float("inf")), ("x", 0)])
def test_rescale_refuses_what_is_not_finite(scale: Any, offset: Any) -> None:
    with pytest.raises(InputError, match=r"^Rescale expects (scale|offset) to be a finite number"):
        Rescale(scale, offset)


@pytest.mark.parametrize("layer", [Flatten(), Rescale(1)])
def test_a_batch_axis_is_needed(layer: Any) -> None:
    with pytest.raises(InputError, match=r"expects x of shape \(N, \.\.\.\), got \(\)"):
        layer(np.array(1.0))


def test_repr() -> None:
    assert repr(Flatten()) == "Flatten()"
    assert repr(Rescale(0.5)) == "Rescale(0.5)"
    assert repr(Rescale(1 / 255, -0.1307)) == "Rescale(0.00392157, -0.1307)"
