"""An initializer draws the values that a parameter starts from.

It is a function of (shape, fan_in, rng): the shape of the array, the number of inputs that each
unit sums over, and a NumPy Generator. Any function of these three will do.
"""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
from collections.abc import Callable

import numpy as np

from tinynet.parameter import Array

Initializer = Callable[[tuple[int, ...], int, "np.random.Generator"], Array]


def he_normal(shape: tuple[int, ...], fan_in: int, rng: np.random.Generator) -> Array:
    """Normal with mean 0 and variance 2 / fan_in, which keeps the scale through ReLU layers.

    Source: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015, eq. 10.

    >>> float(he_normal((1000, 50), 1000, np.random.default_rng(0)).var().round(4))
    0.002
    """
    return rng.standard_normal(shape) * math.sqrt(2 / fan_in)


def zeros(shape: tuple[int, ...], _fan_in: int, _rng: np.random.Generator) -> Array:
    """All zero: the usual start of a bias.

    >>> zeros((3,), 5, np.random.default_rng(0))
    array([0., 0., 0.])
    """
    return np.zeros(shape)
