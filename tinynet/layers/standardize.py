"""Numbers with mean 0 and variance 1, and the gradient through that: the core of each norm.

All functions work along the last axis: the caller lays out what is to share a mean in one row. They
take any memory layout without a copy, and what they return is laid out in the same way.
"""

from typing import NamedTuple

import numpy as np

from tinynet.parameter import Array, Parameter


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


def write(parameter: Parameter | None, gradient: Array) -> None:
    """Writes the gradient, in the shape and dtype of its parameter, if there is one."""
    if parameter is not None:
        shape, dtype = parameter.value.shape, parameter.value.dtype
        parameter.grad = gradient.reshape(shape).astype(dtype, copy=False)
