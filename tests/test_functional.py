import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from exact_normal import cdf, density
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Array, softmax
from tinynet.functional import (
    exp_minus_abs,
    in_blocks,
    largest_index,
    log_softmax,
    normalize,
    normalize_backward,
    root_mean_square,
    row_sums,
    sigmoid,
    softplus,
    sum_along,
    tanh_slope,
    write_gaussian,
    write_gaussian_tanh,
    write_sigmoid,
)
from tinynet.testing import floats, sizes

shapes = st.lists(sizes, min_size=1, max_size=3).map(tuple)
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def sigmoid_slope(x: Array) -> Array:
    return in_blocks(write_sigmoid, x, 2)[1]


def gaussian_cdf(x: Array) -> list[Array]:
    return in_blocks(write_gaussian, x, 2)


def gaussian_cdf_tanh(x: Array) -> list[Array]:
    return in_blocks(write_gaussian_tanh, x, 2)


# Functions of each entry


@pytest.mark.parametrize(
    "layout",
    [
        lambda x: x,
        lambda x: x.T,
        lambda x: x[::-1, ::-3],
        lambda x: x.reshape(8, 10, 5, -1).transpose(3, 0, 2, 1),
        lambda x: np.broadcast_to(x[:, None, :1], (400, 300, 2)),
        lambda x: x[:0],
        lambda x: x[0, 0],
    ],
)
def test_in_blocks_computes_every_entry_of_any_memory_layout(
    layout: Callable[[Array], Array],
) -> None:
    x = np.asarray(layout(np.random.default_rng(0).standard_normal((400, 300))))
    before, sizes_seen = x.copy(), set()

    def square_and_half(x: Array, square: Array, half: Array) -> None:
        sizes_seen.add(x.nbytes)
        np.multiply(x, x, out=square)
        np.multiply(x, 0.5, out=half)

    square, half = in_blocks(square_and_half, x, 2)
    assert np.array_equal(square, before * before)
    assert np.array_equal(half, before / 2)
    assert np.array_equal(x, before)
    assert max(sizes_seen, default=0) <= 2**17


# Sigmoid and tanh: the tests of the activations hold their digits against decimal arithmetic


@pytest.mark.parametrize("function", [sigmoid, sigmoid_slope, softplus, tanh_slope, exp_minus_abs])
def test_an_elementwise_function_returns_a_new_array_of_the_same_shape_and_dtype(
    function: Callable[[Array], Array],
) -> None:
    for dtype in (np.float16, np.float32, np.float64):
        x = np.array([[-1, 0, 2], [30, -30, 1]], dtype)
        for laid_out in (x, x.T, x[:, ::2], x[:0], x[0, 0].reshape(())):
            before = laid_out.copy()
            y = function(laid_out)
            assert y.shape == laid_out.shape
            assert y.dtype == dtype
            assert np.array_equal(laid_out, before)


def test_sigmoid_softplus_and_slopes_agree_with_their_definitions() -> None:
    x = np.linspace(-20, 20, 81)
    expected = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(sigmoid(x), expected, rtol=1e-14)
    np.testing.assert_allclose(sigmoid_slope(x), expected * sigmoid(-x), rtol=1e-14)
    np.testing.assert_allclose(tanh_slope(x), 1 / np.cosh(x) ** 2, rtol=1e-14)
    np.testing.assert_allclose(softplus(x), np.logaddexp(0, x), rtol=1e-14)
    np.testing.assert_allclose(softplus(x, 0.5), np.logaddexp(0, x / 2) * 2, rtol=1e-14)


# Softmax


@given(st.data(), shapes)
def test_softmax_is_exp_divided_by_the_sum_of_exp(
    data: st.DataObject, shape: tuple[int, ...]
) -> None:
    logits = data.draw(floats(shape, np.float64, bound=20))
    for got, row in zip(
        softmax(logits).reshape(-1, shape[-1]).tolist(),
        logits.reshape(-1, shape[-1]).tolist(),
        strict=True,
    ):
        total = math.fsum(map(math.exp, row))
        assert got == pytest.approx([math.exp(z) / total for z in row], rel=1e-12)


@given(st.data(), shapes)
def test_log_softmax_is_the_logarithm_of_softmax(
    data: st.DataObject, shape: tuple[int, ...]
) -> None:
    logits = data.draw(floats(shape, np.float64, bound=20))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    expected = np.log(softmax(logits, axis))
    np.testing.assert_allclose(log_softmax(logits, axis), expected, rtol=1e-12, atol=1e-14)


@both_dtypes
@pytest.mark.parametrize("classes", [1, 2, 10, 32])
def test_log_softmax_of_many_rows_is_that_of_each_row(classes: int, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    logits = rng.integers(-9, 9, (5000, classes)).astype(dtype)  # with several largest in a row
    logits[rng.integers(0, 5000, 99), -1] += 40
    logits[0, 1:], logits[1] = -np.inf, 1e30
    logits[2, :1] = np.nan
    for laid_out in (logits, np.asfortranarray(logits), logits.reshape(50, 100, classes)):
        got = log_softmax(laid_out)
        assert got.dtype == dtype
        assert got.shape == laid_out.shape
        for row, expected in zip(got.reshape(-1, classes)[::7], logits[::7], strict=True):
            np.testing.assert_allclose(row, log_softmax(expected), rtol=4 * np.finfo(dtype).eps)


def test_softmax_subtracts_the_largest_of_each_row_by_itself() -> None:
    logits = np.array([[0.0, 0.0], [1000.0, 1000.0]])
    assert softmax(logits).tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_softmax_sums_along_another_axis() -> None:
    logits = np.array([[0.0, 1000.0], [0.0, 0.0], [0.0, 1000.0]])
    np.testing.assert_allclose(softmax(logits, 0), [[1 / 3, 0.5], [1 / 3, 0], [1 / 3, 0.5]])


def test_softmax_and_log_softmax_of_huge_logits_do_not_overflow() -> None:
    logits = np.array([1e30, -1e30, 1e30], np.float32)
    assert softmax(logits).tolist() == [0.5, 0, 0.5]
    assert softmax(logits).dtype == log_softmax(logits).dtype == np.float32
    largest = np.finfo(np.float32).max
    assert log_softmax(np.array([largest, -largest], np.float32)).tolist() == [0, -np.inf]


@pytest.mark.parametrize("dtype", [int, np.uint8, bool])
def test_softmax_takes_integers(dtype: Any) -> None:
    np.testing.assert_allclose(softmax(np.array([1, 0], dtype)), [0.73105858, 0.26894142])


def test_softmax_over_many_classes_on_the_first_axis_keeps_its_digits() -> None:
    # Along that axis NumPy adds row after row; in float32 these lose 3e-5.
    logits = np.random.default_rng(0).uniform(0, 1, (60_000, 2)).astype(np.float32)
    expected = np.exp(logits.astype(np.float64))
    expected /= [math.fsum(column) for column in expected.T.tolist()]
    np.testing.assert_allclose(softmax(logits, 0), expected, rtol=1e-6)
    np.testing.assert_allclose(log_softmax(logits, 0), np.log(expected), rtol=1e-6)


def test_the_largest_index_keeps_its_axis_also_where_that_is_empty() -> None:
    x = np.array([[1.0, 3.0], [4.0, 2.0]])
    assert largest_index(x, 0).tolist() == [[1, 0]]
    assert largest_index(x, -1).tolist() == [[1], [0]]
    assert largest_index(x[:0], 0).shape == (0, 2)


# The normal distribution

# In small steps over all that differs from 0 and 1, through the middle, and where t is tiny.
POINTS = [*np.linspace(-39, 9, 241).tolist(), *(s * 10.0**-n for n in range(12) for s in (-1, 1))]


@both_dtypes
def test_gaussian_cdf_and_density_keep_their_digits_in_the_far_tail(dtype: Any) -> None:
    x = np.array(POINTS, dtype)
    got_cdf, got_density = gaussian_cdf(x)
    assert got_cdf.dtype == got_density.dtype == dtype
    near: dict[str, Any] = {
        "rel_tol": 8 * np.finfo(dtype).eps,  # another processor may have another exp
        # What is too small for the dtype may become 0, or lose digits.
        "abs_tol": 2 * float(np.finfo(dtype).smallest_normal),
    }
    with localcontext(prec=60):
        for value, a, b in zip(x.tolist(), got_cdf.tolist(), got_density.tolist(), strict=True):
            assert math.isclose(a, cdf(Decimal(value)), **near)
            assert math.isclose(b, density(Decimal(value)), **near)


def test_gaussian_cdf_agrees_with_the_error_function_of_the_standard_library() -> None:
    x = np.linspace(-5, 5, 101)
    expected = [math.erfc(-value / math.sqrt(2)) / 2 for value in x.tolist()]
    np.testing.assert_allclose(gaussian_cdf(x)[0], expected, rtol=1e-14)


def test_gaussian_cdf_of_many_entries_is_that_of_their_parts_in_any_memory_layout() -> None:
    x = np.random.default_rng(0).uniform(-5, 5, (3, 9000))  # more than one block
    parts = [gaussian_cdf(part) for part in np.split(x, 90, axis=1)]
    expected = [np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True)]
    for laid_out in (x, np.array(x, order="F"), x[::-1][::-1]):
        np.testing.assert_allclose(gaussian_cdf(laid_out), expected, rtol=1e-14)


@both_dtypes
def test_gaussian_cdf_tanh_is_the_formula(dtype: Any) -> None:
    x = np.linspace(-4, 4, 101, dtype=dtype)
    got_cdf, got_slope = gaussian_cdf_tanh(x)
    assert got_cdf.dtype == got_slope.dtype == dtype
    for value, a, b in zip(x.tolist(), got_cdf.tolist(), got_slope.tolist(), strict=True):
        inner = math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)
        inner_slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * value**2)
        expected = inner_slope / math.cosh(inner) ** 2 / 2
        # 1 + tanh cancels; the tests of GELU check more digits.
        assert math.isclose(a, (1 + math.tanh(inner)) / 2, abs_tol=4 * np.finfo(dtype).eps)
        assert math.isclose(b, expected, rel_tol=100 * np.finfo(dtype).eps)


both_cdfs = pytest.mark.parametrize("function", [gaussian_cdf, gaussian_cdf_tanh])
CDF = Callable[[Array], list[Array]]


@both_cdfs
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_cdf_far_out_is_exactly_zero_or_one(function: CDF, dtype: Any) -> None:
    largest = np.finfo(dtype).max
    got, slope = function(np.array([-np.inf, -largest, -60, 0, 60, largest, np.inf], dtype))
    assert got.tolist() == [0, 0, 0, 0.5, 1, 1, 1]
    assert slope.tolist() == [0, 0, 0, dtype(1 / math.sqrt(2 * math.pi)), 0, 0, 0]
    assert got.dtype == slope.dtype == dtype


@both_cdfs
def test_a_cdf_of_nan_is_nan(function: CDF) -> None:
    assert np.isnan(function(np.array([np.nan]))).all()


@both_cdfs
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 1, 3)])
def test_a_cdf_takes_any_shape(function: CDF, shape: tuple[int, ...]) -> None:
    assert [part.shape for part in function(np.zeros(shape))] == [shape, shape]


# Normalization


def exact_statistics(row: Array) -> tuple[Fraction, Fraction]:
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
@pytest.mark.parametrize("order", ["C", "F"])
def test_normalize_keeps_its_digits_beside_a_large_mean(
    dtype: Any, mean: float, spread: float, digits: float, order: Any
) -> None:
    x = (mean + spread * np.random.default_rng(0).standard_normal((2, 30))).astype(dtype)
    result = normalize(np.array(x, order=order), eps=0.0)
    assert result.values.dtype == dtype
    for index, row in enumerate(x):
        exact_mean, exact_variance = exact_statistics(row)
        std = math.sqrt(exact_variance)
        assert abs(result.mean[index, 0] - float(exact_mean)) < digits * std
        assert math.isclose(result.variance[index, 0], exact_variance, rel_tol=digits)
        assert math.isclose(result.std[index, 0], std, rel_tol=digits)
        for got, number in zip(result.values[index], row, strict=True):
            expected = float(Fraction(float(number)) - exact_mean) / std
            assert math.isclose(got, expected, rel_tol=digits, abs_tol=digits)


def test_normalize_adds_eps_to_the_variance() -> None:
    result = normalize(np.array([[-1.0, 1.0], [5.0, 5.0]]), eps=3.0)
    assert result.values.tolist() == [[-0.5, 0.5], [0, 0]]
    assert result.variance.tolist() == [[1], [0]]
    assert result.std[:, 0].tolist() == [2, math.sqrt(3)]


def test_normalize_of_rows_without_entries_gives_no_warning() -> None:
    result = normalize(np.zeros((3, 0)), eps=1e-5)
    assert result.values.shape == (3, 0)
    dx, sums, products = normalize_backward(np.zeros((3, 0)), result.values, np.ones((3, 1)))
    assert dx.shape == (3, 0)
    assert sums.tolist() == products.tolist() == [[0]] * 3


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("order", ["C", "F"])
def test_normalize_backward_is_the_formula(centered: bool, order: Any) -> None:
    rng = np.random.default_rng(0)
    dy, values = (np.array(rng.standard_normal((3, 7)), order=order) for _ in range(2))
    scale = rng.uniform(0.5, 2, (3, 1))
    dx, sums, products = normalize_backward(dy, values, scale, centered=centered)
    for i in range(3):
        mean = math.fsum(dy[i].tolist()) / 7
        product = math.fsum((dy[i] * values[i]).tolist()) / 7
        assert math.isclose(sums[i, 0], 7 * mean, abs_tol=1e-14)
        assert math.isclose(products[i, 0], 7 * product, abs_tol=1e-14)
        for j in range(7):
            inside = dy[i, j] - mean * centered - values[i, j] * product
            assert math.isclose(dx[i, j], scale[i, 0] * inside, abs_tol=1e-14)


# Sums and means


@both_dtypes
@pytest.mark.parametrize("order", ["C", "F"])
def test_sums_of_long_rows_keep_their_digits(dtype: Any, order: Any) -> None:
    rng = np.random.default_rng(0)
    a, b = (np.array(rng.uniform(0, 1, (2, 100_000)), dtype, order=order) for _ in range(2))
    for sums, numbers in ((row_sums(a), a), (row_sums(a, b), a.astype(np.float64) * b)):
        assert sums.dtype == np.float64
        assert sums.shape == (2, 1)
        exactly = [math.fsum(row.tolist()) for row in numbers]
        np.testing.assert_allclose(sums[:, 0], exactly, rtol=1e-6 if dtype == np.float32 else 1e-13)
    for axis, numbers in ((1, a), (0, a.T)):
        sums = sum_along(numbers, axis)
        assert sums.dtype == dtype
        assert sums.ndim == 2
        np.testing.assert_allclose(sums.ravel(), row_sums(a).ravel(), rtol=1e-6)


def test_sums_take_arrays_of_more_axes() -> None:
    a = np.arange(24.0).reshape(2, 3, 4)
    expected = [[[math.fsum(row)] for row in block] for block in a.tolist()]
    assert row_sums(a).tolist() == sum_along(a, 2).tolist() == expected
    assert row_sums(np.array(a, order="F")).tolist() == expected
    assert sum_along(a, 1).tolist() == [[[12, 15, 18, 21]], [[48, 51, 54, 57]]]


def test_root_mean_square_does_not_overflow() -> None:
    assert math.isclose(root_mean_square(np.array([3e200, -4e200, 0.0, 0.0])), 2.5e200)
    assert root_mean_square(np.zeros(3)) == 0
    assert root_mean_square(np.array([1.0, np.inf])) == np.inf
    assert math.isnan(root_mean_square(np.array([1.0, np.nan])))
