"""The normal distribution, for GELU: NumPy has no error function."""

import math
from typing import NamedTuple

import numpy as np

from tinynet.parameter import Array, Parameter

# For t >= 0, Φ(-t) = exp(-t²/2) r P(u) with r = 1 / (t + 4) and u = 1 - 8 r. The exponential holds
# all that falls off fast; P goes from 2 to 0.4 and bends so little that a polynomial is enough. Its
# coefficients are those of the interpolation at 36 Chebyshev nodes, computed with 50 digits for t
# from 0 to REACH, cut off where the rest is below 2e-17 (or 2e-9), and written in powers of u.
# Beyond REACH Φ(-t) is 0 in that dtype.
# Source of the form: Shepherd and Laframboise, "Chebyshev approximation of (1 + 2x) exp(x²) erfc x
# in 0 <= x < ∞", Mathematics of Computation 36(153), 1981; the coefficients are our own.
REACH = {np.float32: 15, np.float64: 40}
P = {
    np.float32: (
        *(0.7552851308, -0.6078966577, 0.3871373514, -0.1865213272, 0.06039774295),
        *(-0.007544809488, -0.003490089865, 0.001643380756, 0.0001715175442),
        *(-0.0002292788296, -5.034439572e-5),
    ),
    np.float64: (
        *(0.75528513041575148, -0.60789664197189178, 0.38713740074221914, -0.18652185795969243),
        *(0.060396574890685523, -0.0075401889656480781, -0.0034796923619626856),
        *(0.0016308184427207911, 0.00013334425123984386, -0.00023109482540061888),
        *(-1.9078511505373102e-6, 3.514421814408921e-5, 7.1495605340996244e-7),
        *(-5.919015209412098e-6, -6.2504163854276607e-7, 1.02006245227217e-6),
        *(2.6360498596194692e-7, -1.5459605612679509e-7, -7.6387800710992566e-8),
        *(1.4819187205366758e-8, 1.3986583157423724e-8, -1.6904895990737807e-12),
        *(-9.9805063074211811e-10,),
    ),
}

PIECE = 8192  # entries at a time: all that is in between stays in the cache


def normal(x: Array) -> tuple[Array, Array]:
    """Φ(x) = (1 + erf(x / √2)) / 2, the share of a normal distribution below x, and its slope φ(x).

    Both to a few units in the last place, also far down where they are tiny.

    >>> below, slope = normal(np.array([-1.0, 0.0, 1.0]))
    >>> below.round(4), slope.round(4)
    (array([0.1587, 0.5   , 0.8413]), array([0.242 , 0.3989, 0.242 ]))
    """
    t = x.astype(_working_dtype(x), order="K")
    below, slope = np.empty_like(t), np.empty_like(t)
    lines = [array.ravel(order="K") for array in (t, below, slope)]  # the same memory
    for start in range(0, t.size, PIECE):
        _fill(*(line[start : start + PIECE] for line in lines))
    return below.astype(x.dtype, copy=False), slope.astype(x.dtype, copy=False)


def _fill(x: Array, below: Array, bell: Array) -> None:
    """Writes Φ and φ of one piece of x."""
    dtype = _working_dtype(x)
    t = np.minimum(np.abs(x), REACH[dtype])
    # t² is rounded, and the exponential multiplies the error by t²/2. A t to the next sixteenth has
    # an exact square, and what is missing is small.
    near = np.round(16 * t) / 16
    np.multiply(np.exp(-near * near / 2), np.exp((near - t) * (near + t) / 2), out=bell)
    r = 1 / (t + 4)
    u = 1 - 8 * r
    *lower, highest = P[dtype]
    p = np.full_like(u, highest)
    for coefficient in reversed(lower):
        p *= u
        p += coefficient
    p *= r
    p *= bell  # Φ(-|x|)
    np.abs((x >= 0) - p, out=below)  # 1 - Φ(-x) for x >= 0; np.where would take ten times as long
    bell *= 1 / math.sqrt(2 * math.pi)


def normal_by_tanh(x: Array) -> tuple[Array, Array]:
    """(1 + tanh(v / 2)) / 2 with v = √(8/π) (x + 0.044715 x³), which is near Φ(x), and its slope.

    As 1 / (1 + exp(-v)), whose digits do not cancel where it is near 0.

    >>> below, slope = normal_by_tanh(np.array([-1.0, 0.0, 1.0]))
    >>> below.round(4), slope.round(4)
    (array([0.1588, 0.5   , 0.8412]), array([0.2418, 0.3989, 0.2418]))
    """
    # From 30 on it is 0 or 1 in every dtype, and no cube overflows.
    t = np.clip(x.astype(_working_dtype(x), copy=False), -30, 30)
    scale = math.sqrt(8 / math.pi)
    v = scale * t * (1 + 0.044715 * t * t)
    z = np.exp(-np.abs(v))
    below = np.where(x < 0, z, 1) / (1 + z)
    slope = scale * (1 + 3 * 0.044715 * t * t) * (z / (1 + z) ** 2)
    return below.astype(x.dtype, copy=False), slope.astype(x.dtype, copy=False)


def _working_dtype(x: Array) -> type[np.float32] | type[np.float64]:
    return np.float32 if x.dtype.itemsize <= 4 else np.float64


class Standardized(NamedTuple):
    """x̂ = (x - mean) / deviation, in the dtype of x; the others keep the last axis as 1.

    `deviation` is the root of variance + eps; variance is the mean of (x - mean)². These and the
    mean are in float64.
    """

    values: Array
    mean: Array
    variance: Array
    deviation: Array


def standardize(x: Array, eps: float) -> Standardized:
    """Takes off the mean of each row and divides by its deviation: (..., M) -> (..., M).

    The mean goes first and then the squares are summed, of numbers around 0: Σ x² / M - mean² would
    lose all digits where the spread is small against the mean.

    >>> standardize(np.array([[1e6 - 1, 1e6, 1e6 + 1, 1e6 + 2]]), eps=0).variance
    array([[1.25]])
    """
    count = max(x.shape[-1], 1)
    mean = (total(x) / count).astype(x.dtype)
    values: Array = x - mean
    # The mean of large numbers is rounded: what is left of it, in numbers around 0, is seen now.
    rest = total(values) / count
    values -= rest.astype(x.dtype)
    variance = total(values, values) / count
    deviation = np.sqrt(variance + eps)
    values /= deviation.astype(x.dtype)
    return Standardized(values, mean + rest, variance, deviation)


def gradient(
    dy: Array, values: Array, scale: Array, *, centred: bool = True
) -> tuple[Array, Array, Array]:
    """Returns dx = scale · (dy - mean(dy) - x̂ · mean(dy · x̂)), and Σ dy and Σ dy · x̂.

    `values` are x̂ and `scale` is 1 / deviation, or a multiple of it where y is one of x̂. Without
    `centred` no mean was taken off x, and none is here.

    >>> x = np.array([[-1.0, 1.0]])
    >>> gradient(np.array([[2.0, 4.0]]), x, np.ones((1, 1)))
    (array([[0., 0.]]), array([[6.]]), array([[2.]]))
    """
    count = max(dy.shape[-1], 1)
    sums, shares = total(dy), total(dy, values)
    dx: Array = values * (-shares / count).astype(dy.dtype)
    dx += dy
    if centred:
        dx -= (sums / count).astype(dy.dtype)
    dx *= scale.astype(dy.dtype)
    return dx, sums, shares


def total(a: Array, b: Array | None = None) -> Array:
    """Σ a along the last axis, or Σ a · b, which stays as 1; in float64.

    In contiguous rows BLAS adds many sums side by side, which keeps the digits of float32. Down
    other axes NumPy adds row after row, and does that in float64 here.

    >>> total(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[3.],
           [7.]])
    """
    if a.strides[-1] != a.itemsize:
        product = a if b is None else a * b
        return np.asarray(product.sum(axis=-1, keepdims=True, dtype=np.float64))
    sums = np.vecdot(a, np.ones(a.shape[-1], a.dtype) if b is None else b)
    return np.asarray(sums[..., None], np.float64)


def widened(x: Array) -> Array:
    """Returns x; what is of half precision, whose squares overflow from 256 on, as float32."""
    return x.astype(np.promote_types(x.dtype, np.float32), copy=False)


def affine(
    values: Array, weight: Parameter | None, bias: Parameter | None, shape: tuple[int, ...]
) -> Array:
    """x̂ · weight + bias, each in that shape where it is given; always a new array."""
    if weight is None:
        return values.copy()
    y: Array = values * weight.value.astype(values.dtype, copy=False).reshape(shape)
    if bias is not None:
        y += bias.value.reshape(shape)
    return y


def softmax(logits: Array, axis: int = -1) -> Array:
    """exp(zᵢ) / Σⱼ exp(zⱼ) along an axis, by default the last: numbers -> probabilities.

    The largest z is taken off first, which changes nothing in the quotient and cannot overflow.

    >>> softmax(np.array([0.0, np.log(3.0)]))
    array([0.25, 0.75])
    """
    probabilities: Array = np.exp(shifted(logits, largest_index(logits, axis), axis))
    probabilities /= sum_along(probabilities, axis)
    return probabilities


def largest_index(x: Array, axis: int) -> Array:
    """The place of the largest entry along the axis; of no entries, no place."""
    return x.argmax(axis, keepdims=True) if x.shape[axis] else np.zeros(x.shape, np.intp)


def shifted(x: Array, top: Array, axis: int) -> Array:
    with np.errstate(over="ignore"):  # Too far below to be a float is -inf, of which exp makes 0.
        shifted: Array = x - np.take_along_axis(x, top, axis)
    return shifted


def sum_along(x: Array, axis: int) -> Array:
    """The sum along the axis, which stays. Not in float32: many classes would lose digits."""
    total: Array = x.sum(axis=axis, keepdims=True, dtype=np.float64)
    return total.astype(x.dtype)
