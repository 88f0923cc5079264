import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from exact_normal import bell, share_below

from tinynet import Array
from tinynet.layers.normal import normal, normal_by_tanh

# In small steps over all that differs from 0 and 1, through the middle, and where t is tiny.
PLACES = [*np.linspace(-39, 9, 400).tolist(), *(s * 10.0**-n for n in range(12) for s in (-1, 1))]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_keeps_its_digits_down_to_the_smallest(dtype: Any) -> None:
    x = np.array(PLACES, dtype)
    below, slope = normal(x)
    assert below.dtype == slope.dtype == dtype
    near: dict[str, Any] = {
        "rel_tol": 8 * np.finfo(dtype).eps,  # another processor may have another exp
        # What is too small for the dtype may become 0, or lose digits.
        "abs_tol": 2 * float(np.finfo(dtype).smallest_normal),
    }
    with localcontext(prec=60):
        for value, got, got_slope in zip(x.tolist(), below.tolist(), slope.tolist(), strict=True):
            assert math.isclose(got, share_below(Decimal(value)), **near)
            assert math.isclose(got_slope, bell(Decimal(value)), **near)


def test_agrees_with_the_error_function_of_the_standard_library() -> None:
    x = np.linspace(-5, 5, 101)
    wanted = [math.erfc(-value / math.sqrt(2)) / 2 for value in x.tolist()]
    np.testing.assert_allclose(normal(x)[0], wanted, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_by_tanh_is_the_formula(dtype: Any) -> None:
    x = np.linspace(-4, 4, 101, dtype=dtype)
    below, slope = normal_by_tanh(x)
    assert below.dtype == slope.dtype == dtype
    for value, got, got_slope in zip(x.tolist(), below.tolist(), slope.tolist(), strict=True):
        inner = math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)
        inner_slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * value**2)
        wanted = inner_slope / math.cosh(inner) ** 2 / 2
        # 1 + tanh cancels; the tests of GELU ask for more digits.
        assert math.isclose(got, (1 + math.tanh(inner)) / 2, abs_tol=4 * np.finfo(dtype).eps)
        assert math.isclose(got_slope, wanted, rel_tol=100 * np.finfo(dtype).eps)


Normal = Callable[[Array], tuple[Array, Array]]


@pytest.mark.parametrize("function", [normal, normal_by_tanh])
class TestBoth:
    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_far_out_is_zero_or_one(self, function: Normal, dtype: Any) -> None:
        largest = np.finfo(dtype).max
        below, slope = function(np.array([-np.inf, -largest, -60, 0, 60, largest, np.inf], dtype))
        assert below.tolist() == [0, 0, 0, 0.5, 1, 1, 1]
        assert slope.tolist() == [0, 0, 0, dtype(1 / math.sqrt(2 * math.pi)), 0, 0, 0]
        assert below.dtype == slope.dtype == dtype

    def test_a_nan_is_not_hidden(self, function: Normal) -> None:
        assert np.isnan(function(np.array([np.nan]))).all()

    @pytest.mark.parametrize("shape", [(), (0, 3), (2, 1, 3)])
    def test_takes_any_shape(self, function: Normal, shape: tuple[int, ...]) -> None:
        assert [part.shape for part in function(np.zeros(shape))] == [shape, shape]
