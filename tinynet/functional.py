"""Functions of arrays that several layers and losses use, without parameters or memory.

Sigmoid and tanh with their derivatives, softmax, the normal distribution of GELU, and the
normalization to zero mean and unit variance. Each keeps the float dtype of its input and loses no
digits to cancellation, overflow or long sums.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinynet.parameter import Array

# Functions of each entry

_BLOCK = 2**17  # bytes of x at a time, so that intermediate results stay in the cache


def in_blocks(function: Callable[..., None], x: Array, results: int) -> list[Array]:
    """New arrays like x, into which function(x, *arrays) writes its results, block by block.

    The function gets a part of each array at a time, and treats every entry alike.

    >>> in_blocks(lambda x, y: np.multiply(x, 2, out=y), np.array([1.0, 2.0]), 1)
    [array([2., 4.])]
    """
    arrays = [np.empty_like(x) for _ in range(results)]
    if x.nbytes <= _BLOCK and x.ndim:
        function(x, *arrays)
        return arrays
    if arrays[0].strides != x.strides:  # x has gaps in memory, or axes that are broadcast
        x = x.copy(order="K")
    flat = [array.ravel(order="K") for array in (x, *arrays)]  # the same memory
    size = _BLOCK // x.itemsize
    for start in range(0, x.size, size):
        function(*[array[start : start + size] for array in flat])
    return arrays


# Sigmoid and tanh


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), also where it is near 0.

    >>> sigmoid(np.array([-1e4, 0.0, np.log(3.0)]))
    array([0.  , 0.5 , 0.75])
    """
    return in_blocks(write_sigmoid, x, 1)[0]


def write_sigmoid(x: Array, y: Array, slope: Array | None = None) -> None:
    """Writes the sigmoid s(x) into y, and its derivative, s(x) s(-x), into slope; for `in_blocks`.

    Written as s (1 - s) the derivative would lose its digits where s is near 1.

    >>> in_blocks(write_sigmoid, np.array([-np.log(3.0), 0.0]), 2)
    [array([0.25, 0.5 ]), array([0.1875, 0.25  ])]
    """
    z = np.negative(x, dtype=np.float32 if x.itemsize < 4 else x.dtype)
    with np.errstate(over="ignore", divide="ignore"):  # 1 / inf is the right 0
        np.exp(z, out=z)
        if slope is not None:
            np.divide(1, z, out=slope)  # exp(x)
        z += 1
        np.divide(1, z, out=y)
    if slope is not None:
        slope += 1
        np.divide(y, slope, out=slope)


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

    As (xᵢ - m) - log1p(Σ exp(xⱼ - m)), the sum without the largest x, m: no digits are lost.

    >>> log_softmax(np.array([0.0, np.log(3.0)])).round(4)
    array([-1.3863, -0.2877])
    """
    if not x.size:
        return np.empty_like(x)
    if axis not in (-1, x.ndim - 1):
        return log_softmax(x.swapaxes(axis, -1)).swapaxes(axis, -1)
    z: Array = np.ascontiguousarray(x).reshape(-1, x.shape[-1])  # (M, C)
    if len(z) >= _MANY_ROWS and z.shape[1] <= _FEW_CLASSES:
        return _log_softmax_of_many_rows(z).reshape(x.shape)
    top = np.arange(0, z.size, z.shape[1]) + z.argmax(axis=1)  # indices in the flat z
    with np.errstate(over="ignore"):  # too far below m to be a float is -inf, of which exp makes 0
        z = z - z.take(top)[:, None]
    powers = np.exp(z)
    powers.reshape(-1)[top] = 0
    z -= np.log1p(powers.sum(axis=1))[:, None]
    return z.reshape(x.shape)


_MANY_ROWS, _FEW_CLASSES = 512, 32


def _log_softmax_of_many_rows(x: Array) -> Array:
    """log_softmax of (M, C) as (C, M): NumPy is slow along a short last axis."""
    y = np.empty_like(x)
    rows = _BLOCK // (x.shape[1] * x.itemsize)
    for start in range(0, len(x), rows):
        z = x[start : start + rows].T.copy()
        with np.errstate(over="ignore"):
            z -= z.max(axis=0)
        largest = (z == 0).astype(z.dtype)
        powers = np.exp(z)
        powers -= largest
        # Of several largest all but one are in the sum.
        others = powers.sum(axis=0, dtype=np.float64) + (largest.sum(axis=0) - 1)
        z -= np.log1p(others).astype(z.dtype)
        y[start : start + rows] = z.T
    return y


def largest_index(x: Array, axis: int) -> Array:
    """The index of the largest entry along an axis, which is kept; 0 where there are no entries.

    >>> largest_index(np.array([[1.0, 3.0, 2.0]]), axis=1)
    array([[1]])
    """
    return x.argmax(axis, keepdims=True) if x.shape[axis] else np.zeros(x.shape, np.intp)


# The normal distribution: NumPy has no error function

# For t >= 0, Φ(-t) = exp(-t²/2) P(t) / Q(t). The exponential holds what decays fast, and the rest
# goes from 1/2 to 1 / (√(2π) t). All coefficients are positive, so nothing cancels. They are a
# least-squares fit of the relative error, weighted until its peaks are about equal, computed with
# 80 digits for t from 0 to the largest below, beyond which Φ(-t) is 0 in that dtype. The relative
# error of P / Q is below 7e-9 in float32, and below 1e-18 in float64.
_LARGEST = {np.float32: 14.5, np.float64: 38.6}
_P = {
    np.float32: (0.3989470339, 3.948149861, 17.83242183, 42.7082545, 48.7910537),
    np.float64: (
        *(0.398942280401528885, 12.427345575012223, 190.01977777434233, 1855.2006679679718),
        *(12717.9268176599996, 63722.5660939867313, 236035.718230099427, 639086.787387490413),
        *(1216028.16042397667, 1482136.26571397294, 895571.53549311178),
    ),
}
_Q = {
    np.float32: (1.0, 9.89718422, 45.6844269, 117.1486405, 163.2757937, 97.5821074),
    np.float64: (
        *(1.0, 31.1507357969918529, 477.308947702379918, 4681.44918561795394, 32353.4238868885599),
        *(164316.783418119378, 622590.288964222732, 1752692.96440758191, 3580711.22275198207),
        *(5041909.16632223548, 4393397.93395688459, 1791143.07098622356),
    ),
}
# The bits of a float without the lower half of its fraction: what is left has an exact square.
_UPPER: dict[type, Any] = {np.float32: ~np.uint32(2**12 - 1), np.float64: ~np.uint64(2**27 - 1)}


def write_gaussian(x: Array, cdf: Array, density: Array | None = None) -> None:
    """Writes Φ(x) = (1 + erf(x / √2)) / 2, the standard normal CDF, and its density φ(x).

    Both to a few units in the last place, also in the far tail where they are tiny.

    >>> cdf, density = in_blocks(write_gaussian, np.array([-1.0, 0.0, 1.0]), 2)
    >>> cdf.round(4), density.round(4)
    (array([0.1587, 0.5   , 0.8413]), array([0.242 , 0.3989, 0.242 ]))
    """
    dtype = _working_dtype(x)
    t = np.abs(x, dtype=dtype)
    np.minimum(t, _LARGEST[dtype], out=t)
    # t² is rounded, and the exponential multiplies the relative error by t²/2. So the error is
    # computed: with u the upper bits of t, t² is u² + (t - u) (t + u), where u² is exact.
    square = t * t
    upper = (t.view(_UPPER[dtype].dtype) & _UPPER[dtype]).view(dtype)
    error = t - upper
    error *= t + upper
    error += upper * upper - square  # t² minus the rounded one
    error *= -0.5
    error += 1  # exp(-error / 2)
    power = np.exp(-0.5 * square)
    power *= error  # exp(-t² / 2)
    if density is not None:
        np.multiply(power, 1 / math.sqrt(2 * math.pi), out=density)
    p = _polynomial(_P[dtype], t)
    p /= _polynomial(_Q[dtype], t)
    p *= power  # Φ(-|x|)
    np.abs((x >= 0) - p, out=cdf)  # 1 - Φ(-x) for x >= 0; much faster than np.where


def _polynomial(coefficients: tuple[float, ...], t: Array) -> Array:
    """Σ cₖ tᵏ by Horner's rule; the coefficient of the highest power comes first."""
    p: Array = t * coefficients[0]
    for coefficient in coefficients[1:-1]:
        p += coefficient
        p *= t
    p += coefficients[-1]
    return p


def write_gaussian_tanh(x: Array, cdf: Array, density: Array | None = None) -> None:
    """(1 + tanh(v / 2)) / 2 with v = √(8/π) (x + 0.044715 x³), close to Φ(x), and its derivative.

    Computed as sigmoid(v), whose digits do not cancel where it is near 0.

    >>> cdf, density = in_blocks(write_gaussian_tanh, np.array([-1.0, 0.0, 1.0]), 2)
    >>> cdf.round(4), density.round(4)
    (array([0.1588, 0.5   , 0.8412]), array([0.2418, 0.3989, 0.2418]))
    """
    # From 30 on it is 0 or 1 in every dtype, and no cube overflows.
    t = np.clip(x.astype(_working_dtype(x), copy=False), -30, 30)
    scale = math.sqrt(8 / math.pi)
    square = t * t
    t *= scale
    slope = None if density is None else np.empty_like(t)
    write_sigmoid(t * (1 + 0.044715 * square), cdf, slope)
    if slope is not None:
        np.multiply(slope, scale * (1 + 3 * 0.044715 * square), out=density)


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
