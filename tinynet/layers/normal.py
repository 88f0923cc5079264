"""The normal distribution, for GELU: NumPy has no error function."""

import math

import numpy as np

from tinynet.parameter import Array

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
