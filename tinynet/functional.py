"""Functions of arrays that several layers and losses use, without parameters or memory.

Sigmoid and tanh with their derivatives, softmax, the normal distribution of GELU, and the
normalization to zero mean and unit variance. Each keeps the float dtype of its input and loses no
digits to cancellation, overflow or long sums.
"""

import math
from typing import NamedTuple

import numpy as np

from tinynet.parameter import Array

# Sigmoid and tanh


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), also where it is near 0.

    >>> sigmoid(np.array([-1e4, 0.0, np.log(3.0)]))
    array([0.  , 0.5 , 0.75])
    """
    z = exp_minus_abs(x)
    z /= 1 + z  # sigmoid(-|x|), at most 1/2: 1 - z below keeps its digits
    y: Array = np.abs((x >= 0) - z)  # much faster than np.where
    return y


def sigmoid_slope(x: Array) -> Array:
    """The derivative of the sigmoid s: s(x) s(-x) = z / (1 + z)² with z = exp(-|x|).

    Written as s (1 - s) it would lose its digits where s is near 1.

    >>> sigmoid_slope(np.array([-np.log(3.0), 0.0]))
    array([0.1875, 0.25  ])
    """
    z = exp_minus_abs(x)
    square = 1 + z
    square *= square
    z /= square
    return z


def softplus(x: Array, beta: float = 1.0) -> Array:
    """log(1 + exp(beta x)) / beta for beta > 0; with beta = 1 it is -log sigmoid(-x).

    Computed as max(x, 0) + log1p(exp(-beta |x|)) / beta, which keeps its digits at both ends.

    >>> softplus(np.array([-1e4, 0.0, 1e4])).round(4)
    array([0.000e+00, 6.931e-01, 1.000e+04])
    """
    with np.errstate(over="ignore"):  # beta x may be infinite, exp(-beta |x|) is 0 then
        z = exp_minus_abs(beta * x)
    y: Array = np.maximum(x, 0) + np.log1p(z) / beta
    return y


def tanh_slope(x: Array) -> Array:
    """The derivative of tanh: 1 - tanh² x = (2 z / (1 + z²))² with z = exp(-|x|).

    Nothing is subtracted, so that no digits are lost where tanh x is near -1 or 1.

    >>> tanh_slope(np.array([-np.log(2.0), 0.0]))
    array([0.64, 1.  ])
    """
    z = exp_minus_abs(x)
    denominator = z * z
    denominator += 1
    z /= denominator
    z *= 2
    z *= z
    return z


def exp_minus_abs(x: Array) -> Array:
    """exp(-|x|), at most 1, as a new array.

    >>> exp_minus_abs(np.array([-np.inf, 0.0]))
    array([0., 1.])
    """
    z = np.abs(x, out=np.empty_like(x))
    np.negative(z, out=z)
    return np.exp(z, out=z)


# Softmax


def softmax(x: Array, axis: int = -1) -> Array:
    """exp(xᵢ) / Σⱼ exp(xⱼ) along an axis, by default the last: scores -> probabilities.

    The largest x is subtracted first, which leaves the quotient the same and cannot overflow.

    >>> softmax(np.array([0.0, np.log(3.0)]))
    array([0.25, 0.75])
    """
    if x.dtype.kind != "f":
        x = x.astype(np.float64)
    with np.errstate(over="ignore"):  # too far below the largest to be a float is -inf, exp of it 0
        y: Array = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    np.exp(y, out=y)
    y /= sum_along(y, axis)
    return y


def log_softmax(x: Array, axis: int = -1) -> Array:
    """xᵢ - log Σⱼ exp(xⱼ) along an axis, by default the last: scores -> log-probabilities.

    With m the largest x it is (xᵢ - m) - log1p(Σ exp(xⱼ - m)), where the sum leaves the largest
    term, 1, out: nothing overflows, and a log-probability near 0 keeps all its digits.

    >>> log_softmax(np.array([0.0, np.log(3.0)])).round(4)
    array([-1.3863, -0.2877])
    """
    if not x.size:
        return np.empty_like(x)
    if axis not in (-1, x.ndim - 1):
        return log_softmax(x.swapaxes(axis, -1)).swapaxes(axis, -1)
    z: Array = np.ascontiguousarray(x).reshape(-1, x.shape[-1])  # (M, C)
    top = np.arange(0, z.size, z.shape[1]) + z.argmax(axis=1)  # indices in the flat z
    with np.errstate(over="ignore"):  # too far below m to be a float is -inf, of which exp makes 0
        z = z - z.take(top)[:, None]
    powers = np.exp(z)
    powers.reshape(-1)[top] = 0
    z -= np.log1p(powers.sum(axis=1))[:, None]
    return z.reshape(x.shape)


def largest_index(x: Array, axis: int) -> Array:
    """The index of the largest entry along an axis, which is kept; 0 where there are no entries.

    >>> largest_index(np.array([[1.0, 3.0, 2.0]]), axis=1)
    array([[1]])
    """
    return x.argmax(axis, keepdims=True) if x.shape[axis] else np.zeros(x.shape, np.intp)


# The normal distribution: NumPy has no error function

# For t >= 0, Φ(-t) = exp(-t²/2) r P(u) with r = 1 / (t + 4) and u = 1 - 8 r. The exponential holds
# what decays fast; P goes from 2 to 0.4 and is so smooth that a polynomial is enough. Its
# coefficients are those of the interpolation at 36 Chebyshev nodes, computed with 50 digits for t
# from 0 to _LARGEST, truncated where the rest is below 2e-17 (or 2e-9), and written in powers of u.
# Beyond _LARGEST Φ(-t) is 0 in that dtype.
# Source of the form: Shepherd and Laframboise, "Chebyshev approximation of (1 + 2x) exp(x²) erfc x
# in 0 <= x < ∞", Mathematics of Computation 36(153), 1981; the coefficients are our own.
_LARGEST = {np.float32: 15, np.float64: 40}
_POLYNOMIAL = {
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
_BLOCK = 8192  # entries processed at a time, so that intermediate results stay in the cache


def gaussian_cdf(x: Array) -> tuple[Array, Array]:
    """Φ(x) = (1 + erf(x / √2)) / 2, the standard normal CDF, and its density φ(x).

    Both to a few units in the last place, also in the far tail where they are tiny.

    >>> cdf, density = gaussian_cdf(np.array([-1.0, 0.0, 1.0]))
    >>> cdf.round(4), density.round(4)
    (array([0.1587, 0.5   , 0.8413]), array([0.242 , 0.3989, 0.242 ]))
    """
    t = x.astype(_working_dtype(x), order="K")
    cdf, density = np.empty_like(t), np.empty_like(t)
    flat = [array.ravel(order="K") for array in (t, cdf, density)]  # the same memory
    for start in range(0, t.size, _BLOCK):
        _write_gaussian(*(array[start : start + _BLOCK] for array in flat))
    return cdf.astype(x.dtype, copy=False), density.astype(x.dtype, copy=False)


def _write_gaussian(x: Array, cdf: Array, density: Array) -> None:
    """Writes Φ and φ of one block of x."""
    dtype = _working_dtype(x)
    t = np.minimum(np.abs(x), _LARGEST[dtype])
    # t² is rounded, and the exponential multiplies the error by t²/2. t rounded to sixteenths has
    # an exact square, and the rest of the exponent is small.
    near = np.round(16 * t) / 16
    np.multiply(np.exp(-near * near / 2), np.exp((near - t) * (near + t) / 2), out=density)
    r = 1 / (t + 4)
    u = 1 - 8 * r
    *lower, highest = _POLYNOMIAL[dtype]
    p = np.full_like(u, highest)
    for coefficient in reversed(lower):
        p *= u
        p += coefficient
    p *= r
    p *= density  # Φ(-|x|)
    np.abs((x >= 0) - p, out=cdf)  # 1 - Φ(-x) for x >= 0; much faster than np.where
    density *= 1 / math.sqrt(2 * math.pi)


def gaussian_cdf_tanh(x: Array) -> tuple[Array, Array]:
    """(1 + tanh(v / 2)) / 2 with v = √(8/π) (x + 0.044715 x³), close to Φ(x), and its derivative.

    Computed as sigmoid(v), whose digits do not cancel where it is near 0.

    >>> cdf, density = gaussian_cdf_tanh(np.array([-1.0, 0.0, 1.0]))
    >>> cdf.round(4), density.round(4)
    (array([0.1588, 0.5   , 0.8412]), array([0.2418, 0.3989, 0.2418]))
    """
    # From 30 on it is 0 or 1 in every dtype, and no cube overflows.
    t = np.clip(x.astype(_working_dtype(x), copy=False), -30, 30)
    scale = math.sqrt(8 / math.pi)
    v = scale * t * (1 + 0.044715 * t * t)
    slope = scale * (1 + 3 * 0.044715 * t * t) * sigmoid_slope(v)
    return sigmoid(v).astype(x.dtype, copy=False), slope.astype(x.dtype, copy=False)


def _working_dtype(x: Array) -> type[np.float32] | type[np.float64]:
    return np.float32 if x.dtype.itemsize <= 4 else np.float64


# Normalization


class Normalized(NamedTuple):
    """x̂ = (x - mean) / std, in the dtype of x; the others keep the last axis with size 1.

    variance is the mean of (x - mean)², and std is √(variance + eps). The statistics are float64.
    """

    values: Array
    mean: Array
    variance: Array
    std: Array


def normalize(x: Array, eps: float) -> Normalized:
    """Subtracts the mean of each row and divides by its standard deviation: (..., M) -> (..., M).

    The squares are those of x - mean: Σ x² / M - mean² would lose all digits where the spread is
    small compared to the mean.

    >>> normalize(np.array([[1e6 - 1, 1e6, 1e6 + 1, 1e6 + 2]]), eps=0).variance
    array([[1.25]])
    """
    count = max(x.shape[-1], 1)
    mean = (row_sums(x) / count).astype(x.dtype)
    values: Array = x - mean
    # The mean of large numbers is rounded; the mean of what is left corrects it.
    correction = row_sums(values) / count
    values -= correction.astype(x.dtype)
    variance = row_sums(values, values) / count
    std = np.sqrt(variance + eps)
    values /= std.astype(x.dtype)
    return Normalized(values, mean + correction, variance, std)


def normalize_backward(
    dy: Array, values: Array, scale: Array, *, centered: bool = True
) -> tuple[Array, Array, Array]:
    """Returns dx = scale · (dy - mean(dy) - x̂ · mean(dy · x̂)), and the sums Σ dy and Σ dy · x̂.

    `values` are x̂ and `scale` is 1 / std, or a multiple of it where y is a multiple of x̂. With
    centered=False the mean was not subtracted from x (RMS norm), and mean(dy) is left out.

    >>> x_hat = np.array([[-1.0, 1.0]])
    >>> normalize_backward(np.array([[2.0, 4.0]]), x_hat, np.ones((1, 1)))
    (array([[0., 0.]]), array([[6.]]), array([[2.]]))
    """
    count = max(dy.shape[-1], 1)
    sums, products = row_sums(dy), row_sums(dy, values)
    dx: Array = values * (-products / count).astype(dy.dtype)
    dx += dy
    if centered:
        dx -= (sums / count).astype(dy.dtype)
    dx *= scale.astype(dy.dtype)
    return dx, sums, products


# Sums and means that keep the digits of float32


def merged_moments(
    count: Array | int, mean: Array, squares: Array, values: Array
) -> tuple[Array, Array]:
    """The means (D,) and Σ (value - mean)² of `count` values and of further ones (D, M) together.

    Source: Chan, Golub and LeVeque, "Algorithms for Computing the Sample Variance", The American
    Statistician 37(3), 1983.

    >>> merged_moments(1, np.array([1.0]), np.zeros(1), np.array([[2.0, 3.0]]))
    (array([2.]), array([2.]))
    """
    own, size = values.mean(axis=1), values.shape[1]
    change, share = own - mean, size / (count + size)
    own_squares = ((values - own[:, None]) ** 2).sum(axis=1)
    return mean + change * share, squares + (own_squares + change**2 * share * count)


def row_sums(a: Array, b: Array | None = None) -> Array:
    """Σ a, or Σ a · b, along the last axis, which is kept; in float64.

    In contiguous rows BLAS adds many partial sums in parallel, which keeps the digits of float32.
    Along other axes NumPy adds row after row, and does that in float64 here.

    >>> row_sums(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[3.],
           [7.]])
    """
    if a.strides[-1] != a.itemsize:
        product = a if b is None else a * b
        return np.asarray(product.sum(axis=-1, keepdims=True, dtype=np.float64))
    sums = np.vecdot(a, np.ones(a.shape[-1], a.dtype) if b is None else b)
    return np.asarray(sums[..., None], np.float64)


def sum_along(x: Array, axis: int) -> Array:
    """Σ x along any axis, which is kept, in the dtype of x.

    Along a contiguous axis NumPy adds in pairs; other axes are added in float64.

    >>> sum_along(np.array([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    array([[4., 6.]])
    """
    dtype = x.dtype if x.strides[axis] == x.itemsize else np.float64
    sums: Array = x.sum(axis=axis, keepdims=True, dtype=dtype)
    return sums.astype(x.dtype, copy=False)


def root_mean_square(x: Array) -> float:
    """√(Σ x² / size) of all entries, in float64; scaled by the largest, so that none overflows.

    >>> root_mean_square(np.array([6.0, 8.0, 0.0, 0.0]))
    5.0
    """
    largest = float(np.abs(x).max())
    if largest == 0 or not math.isfinite(largest):
        return largest
    return largest * math.sqrt(np.mean(np.square(x / largest, dtype=np.float64)))
