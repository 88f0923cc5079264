import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tinynet import Array, Parameter
from tinynet.layers.standardize import affine, gradient, standardize, total, widened, write


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


def test_write_gives_the_shape_and_dtype_of_the_parameter() -> None:
    parameter = Parameter(np.zeros((2, 3)))
    write(parameter, np.arange(6.0))
    assert parameter.grad is not None
    assert parameter.grad.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert parameter.grad.dtype == np.float32
    write(None, np.arange(6.0))


def test_widened() -> None:
    for dtype in (np.float32, np.float64):
        x = np.zeros(3, dtype)
        assert widened(x) is x
    assert widened(np.zeros(3, np.float16)).dtype == np.float32
