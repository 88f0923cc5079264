"""Elementwise functions and the cross-entropy against values computed with 50 digits by mpmath.

An error is given in units in the last place (ulp): multiples of the distance between the floats
around the exact value. The tests state the worst errors measured, and allow MARGIN more: another
processor may have another exp. What is below the smallest normal number may become 0, or lose
digits, and so may a product of it.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest
from mpmath import mp, mpf

from tinynet import GELU, Layer, Sigmoid, SiLU, SoftmaxCrossEntropy, Softplus, Tanh

POSITIVE = [1e-30, 1e-4, 1.0, 20.0, 88.0, 104.0, 710.0, math.inf]
EXTREMES = [0.0, *POSITIVE, *(-x for x in POSITIVE)]
MARGIN = 2.0
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def error_in_ulp(got: float, exact: mpf, dtype: Any, x: float = 0.0) -> float:
    """The error of f(x); x is what a number that is not normal is multiplied with."""
    limits = np.finfo(dtype)
    lost = float(limits.smallest_normal) * (1 + abs(x))
    if mpmath.isinf(exact):
        return 0.0 if got == exact else math.inf
    if abs(exact) < lost:
        return 0.0 if abs(got) <= 2 * lost else math.inf
    _, exponent = mpmath.frexp(exact)  # |exact| is from 2^(exponent - 1) to 2^exponent
    return float(abs(mpf(got) - exact) / mpf(2) ** (exponent - 1) / mpf(float(limits.eps)))


def sigmoid(x: mpf) -> mpf:
    return 1 / (1 + mpmath.exp(-x))


def sigmoid_slope(x: mpf) -> mpf:
    return sigmoid(x) * sigmoid(-x)


def times(x: mpf, factor: mpf) -> mpf:
    """The product, with 0 · inf = 0, as in the limit of all functions below."""
    return factor if factor == 0 else x * factor


def density(x: mpf) -> mpf:
    return mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mp.pi)


class Exact(NamedTuple):
    """A layer, its function and derivative, and the worst errors of both in ulp, by dtype."""

    make: Callable[[], Layer]
    y: Callable[[mpf], mpf]
    slope: Callable[[mpf], mpf]
    worst: dict[Any, tuple[float, float]]


EXACT = {
    "Sigmoid": Exact(
        Sigmoid,
        sigmoid,
        sigmoid_slope,
        {np.float32: (1.9, 2.4), np.float64: (1.5, 2.1)},
    ),
    "SiLU": Exact(
        SiLU,
        lambda x: times(x, sigmoid(x)),
        lambda x: sigmoid(x) + times(x, sigmoid_slope(x)),
        {np.float32: (2.1, 3.8), np.float64: (1.6, 3.2)},
    ),
    "Tanh": Exact(
        Tanh,
        mpmath.tanh,
        lambda x: mpmath.sech(x) ** 2,
        {np.float32: (1.0, 5.3), np.float64: (0.9, 3.4)},
    ),
    "Softplus": Exact(
        Softplus,
        lambda x: mpmath.log1p(mpmath.exp(x)),
        sigmoid,
        {np.float32: (1.5, 1.9), np.float64: (1.0, 1.5)},
    ),
    "GELU": Exact(
        GELU,
        lambda x: times(x, mpmath.ncdf(x)),
        lambda x: mpmath.ncdf(x) + times(x, density(x)),
        {np.float32: (3.3, 3.1), np.float64: (5.3, 3.0)},
    ),
}


@both_dtypes
@pytest.mark.parametrize("exact", EXACT.values(), ids=EXACT)
def test_an_activation_and_its_slope_are_those_of_50_digits(exact: Exact, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    # Far from the zeros of the slopes of SiLU and GELU at -1.28 and -0.75, where digits cancel.
    x = np.array([*EXTREMES, *rng.uniform(-36, -1.5, 150), *rng.uniform(-0.3, 20, 150)], dtype)
    layer = exact.make()
    y, slope = layer(x), layer.backward(np.ones_like(x))
    with mp.workdps(50):
        numbers = [mpf(number) for number in x.tolist()]
        y_error, slope_error = (
            [
                error_in_ulp(number, function(entry), dtype, entry)
                for number, entry in zip(got.tolist(), numbers, strict=True)
            ]
            for got, function in ((y, exact.y), (slope, exact.slope))
        )
    worst, worst_slope = exact.worst[dtype]
    assert max(y_error) <= worst + MARGIN
    assert max(slope_error) <= worst_slope + MARGIN


@both_dtypes
def test_the_cross_entropy_and_its_gradient_are_those_of_50_digits(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    two_classes = [np.array([x, 0.0]) for x in EXTREMES if math.isfinite(x)]
    loss_error, label_error = [], []
    other_error: list[float] = []
    for row in (*two_classes, *rng.uniform(-30, 30, (40, 10))):
        logits = row.astype(dtype)[None]
        loss = SoftmaxCrossEntropy()
        got, (dz,) = loss(logits, np.array([0])), (loss.backward())
        with mp.workdps(400):  # 1 - p keeps 50 of them
            powers = [mpmath.exp(mpf(z)) for z in logits[0].tolist()]
            p = [power / mpmath.fsum(powers) for power in powers]
            others = mpmath.fsum(p[1:])
            loss_error.append(error_in_ulp(got, -mpmath.log1p(-others), dtype))
            label_error.append(error_in_ulp(float(dz[0]), -others, dtype))
            other_error += map(error_in_ulp, dz[1:].tolist(), p[1:], [dtype] * len(p))
    assert max(loss_error) <= 1.3 + MARGIN
    assert max(label_error) <= 1.7 + MARGIN
    # exp(log p) has the error of log p, half an ulp of up to 104: 55 times that of p.
    assert max(other_error) <= 55 + MARGIN
