import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from exact_normal import bell, share_below

from tinynet import Array, Parameter
from tinynet.functional import (
    affine,
    gradient,
    normal,
    normal_by_tanh,
    standardize,
    total,
    widened,
)

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


def rows(mean: float, spread: float, dtype: Any = np.float64) -> Array:
    x = mean + spread * np.random.default_rng(0).standard_normal((4, 50))
    return x.astype(dtype)


def exact(row: Array) -> tuple[Fraction, Fraction]:
    """Mean and variance without rounding."""
    numbers = [Fraction(float(number)) for number in row]
    mean = sum(numbers, Fraction(0)) / len(numbers)
    return mean, sum(((number - mean) ** 2 for number in numbers), Fraction(0)) / len(numbers)


@pytest.mark.parametrize(
    ("dtype", "mean", "spread", "digits"),
    [
        (np.float64, 0.0, 1.0, 1e-14),
        (np.float64, 1e9, 1e-3, 1e-9),
        (np.float64, -3.0, 1e3, 1e-14),
        (np.float32, 0.0, 1.0, 1e-6),
        (np.float32, 1e4, 0.1, 1e-5),
        (np.float32, -1e6, 3.0, 1e-5),
        (np.float32, 2.0, 1e-6, 1e-5),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_standardize_keeps_its_digits(
    dtype: Any, mean: float, spread: float, digits: float, turned: bool
) -> None:
    x = rows(mean, spread, dtype)
    result = standardize(np.array(x, order="F") if turned else x, eps=0.0)
    assert result.values.dtype == dtype
    for place, row in enumerate(x):
        wanted_mean, wanted_variance = exact(row)
        deviation = math.sqrt(wanted_variance)
        assert abs(result.mean[place, 0] - float(wanted_mean)) < digits * deviation
        assert math.isclose(result.variance[place, 0], wanted_variance, rel_tol=digits)
        assert math.isclose(result.deviation[place, 0], deviation, rel_tol=digits)
        for got, number in zip(result.values[place], row, strict=True):
            wanted = float(Fraction(float(number)) - wanted_mean) / deviation
            assert math.isclose(got, wanted, rel_tol=digits, abs_tol=digits)


def test_standardize_adds_eps_to_the_variance() -> None:
    result = standardize(np.array([[-1.0, 1.0], [5.0, 5.0]]), eps=3.0)
    assert result.values.tolist() == [[-0.5, 0.5], [0, 0]]
    assert result.variance.tolist() == [[1], [0]]
    assert result.deviation[:, 0].tolist() == [2, math.sqrt(3)]


def test_rows_without_entries_make_no_warning() -> None:
    result = standardize(np.zeros((3, 0)), eps=1e-5)
    assert result.values.shape == (3, 0)
    dx, sums, shares = gradient(np.zeros((3, 0)), result.values, np.ones((3, 1)))
    assert dx.shape == (3, 0)
    assert sums.tolist() == shares.tolist() == [[0]] * 3


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("order", ["C", "F"])
def test_gradient_is_the_formula(centred: bool, order: Any) -> None:
    rng = np.random.default_rng(0)
    dy, values = (np.array(rng.standard_normal((3, 7)), order=order) for _ in range(2))
    scale = rng.uniform(0.5, 2, (3, 1))
    dx, sums, shares = gradient(dy, values, scale, centred=centred)
    for i in range(3):
        mean = math.fsum(dy[i].tolist()) / 7
        share = math.fsum((dy[i] * values[i]).tolist()) / 7
        assert math.isclose(sums[i, 0], 7 * mean, abs_tol=1e-14)
        assert math.isclose(shares[i, 0], 7 * share, abs_tol=1e-14)
        for j in range(7):
            inside = dy[i, j] - mean * centred - values[i, j] * share
            assert math.isclose(dx[i, j], scale[i, 0] * inside, abs_tol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_total_keeps_the_digits_of_long_rows(dtype: Any, order: Any) -> None:
    rng = np.random.default_rng(0)
    a, b = (np.array(rng.uniform(0, 1, (2, 100_000)), dtype, order=order) for _ in range(2))
    for sums, numbers in ((total(a), a), (total(a, b), a.astype(np.float64) * b)):
        assert sums.dtype == np.float64
        assert sums.shape == (2, 1)
        exactly = [math.fsum(row.tolist()) for row in numbers]
        np.testing.assert_allclose(sums[:, 0], exactly, rtol=1e-6 if dtype == np.float32 else 1e-13)


def test_total_takes_more_axes() -> None:
    a = np.arange(24.0).reshape(2, 3, 4)
    expected = [[[math.fsum(row)] for row in block] for block in a.tolist()]
    assert total(a).tolist() == expected
    assert total(np.array(a, order="F")).tolist() == expected


def test_affine() -> None:
    values = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    weight, bias = Parameter([10, 100]), Parameter([1, 2], np.float64)
    assert affine(values, weight, bias, (2,)).tolist() == [[11, 202], [31, 402]]
    assert affine(values, weight, None, (2, 1)).tolist() == [[10, 20], [300, 400]]
    copy = affine(values, None, None, (2,))
    assert np.array_equal(copy, values)
    for y in (affine(values, weight, bias, (2,)), copy):
        assert y.dtype == np.float32
        assert not np.shares_memory(y, values)


def test_widened() -> None:
    for dtype in (np.float32, np.float64):
        x = np.zeros(3, dtype)
        assert widened(x) is x
    assert widened(np.zeros(3, np.float16)).dtype == np.float32
