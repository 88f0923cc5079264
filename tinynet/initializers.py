"""An initializer draws the values that a parameter starts from.

It is a function of (shape, fan, rng): the shape of the array, the number of inputs that each unit
sums over and of outputs that each input goes to, and a NumPy Generator. Any function of these
three will do.
"""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tinynet.arguments import InputError, finite_number
from tinynet.parameter import Array, Parameter


class Fan(NamedTuple):
    """How many terms meet in one output, `inputs`, and how many take one input, `outputs`.

    A layer counts its own: `Dense` has (in_features, out_features); in a convolution every entry
    of the kernel counts.
    """

    inputs: float
    outputs: float


Initializer = Callable[[tuple[int, ...], Fan, "np.random.Generator"], Array]


def he_normal(shape: tuple[int, ...], fan: Fan, rng: np.random.Generator) -> Array:
    """Normal with mean 0 and variance 2 / fan.inputs, which keeps the scale through ReLU layers.

    Source: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015, eq. 10.

    >>> float(he_normal((1000, 50), Fan(1000, 50), np.random.default_rng(0)).var().round(4))
    0.002
    """
    return rng.standard_normal(shape) * math.sqrt(2 / fan.inputs)


def he_uniform(shape: tuple[int, ...], fan: Fan, rng: np.random.Generator) -> Array:
    """Uniform with mean 0 and the variance of `he_normal`, 2 / fan.inputs.

    >>> float(abs(he_uniform((1000, 50), Fan(600, 50), np.random.default_rng(0))).max().round(3))
    0.1
    """
    return _uniform(shape, 2 / fan.inputs, rng)


def glorot_normal(shape: tuple[int, ...], fan: Fan, rng: np.random.Generator) -> Array:
    """Normal with mean 0 and variance 2 / (fan.inputs + fan.outputs), for tanh and sigmoid.

    A compromise between the scale of the values on the way forward and of the gradients on the way
    back. Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward
    neural networks", AISTATS 2010, eq. 12.

    >>> float(glorot_normal((900, 100), Fan(900, 100), np.random.default_rng(0)).var().round(4))
    0.002
    """
    return rng.standard_normal(shape) * math.sqrt(2 / (fan.inputs + fan.outputs))


def glorot_uniform(shape: tuple[int, ...], fan: Fan, rng: np.random.Generator) -> Array:
    """Uniform with mean 0 and the variance of `glorot_normal`; eq. 16 of the same source.

    >>> draws = glorot_uniform((500, 100), Fan(500, 100), np.random.default_rng(0))
    >>> float(abs(draws).max().round(3))
    0.1
    """
    return _uniform(shape, 2 / (fan.inputs + fan.outputs), rng)


def lecun_normal(shape: tuple[int, ...], fan: Fan, rng: np.random.Generator) -> Array:
    """Normal with mean 0 and variance 1 / fan.inputs: outputs of the scale of the inputs.

    Source: LeCun, Bottou, Orr and Müller, "Efficient BackProp", in "Neural Networks: Tricks of the
    Trade", Springer, 1998, section 4.6.

    >>> float(lecun_normal((1000, 50), Fan(1000, 50), np.random.default_rng(0)).var().round(4))
    0.001
    """
    return rng.standard_normal(shape) / math.sqrt(fan.inputs)


def lecun_uniform(shape: tuple[int, ...], fan: Fan, rng: np.random.Generator) -> Array:
    """Uniform with mean 0 and the variance of `lecun_normal`, 1 / fan.inputs.

    >>> float(abs(lecun_uniform((300, 50), Fan(300, 50), np.random.default_rng(0))).max().round(3))
    0.1
    """
    return _uniform(shape, 1 / fan.inputs, rng)


def orthogonal(shape: tuple[int, ...], _fan: Fan, rng: np.random.Generator) -> Array:
    """Rows of length 1 at right angles, or columns where there are fewer: it keeps lengths.

    Axes behind the second count as part of it. Each orthogonal matrix is equally likely: for that
    the signs of R's diagonal move into Q. Sources: Saxe, McClelland and Ganguli, "Exact solutions
    to the nonlinear dynamics of learning in deep linear neural networks", ICLR 2014; Mezzadri, "How
    to generate random matrices from the classical compact groups", Notices of the AMS 54(5), 2007.

    Raises:
        InputError: the shape has less than two axes.

    >>> q = orthogonal((2, 3), Fan(2, 3), np.random.default_rng(0))
    >>> bool(np.allclose(q @ q.T, np.eye(2)))
    True
    """
    if len(shape) < 2:
        raise InputError(f"orthogonal expects a shape of at least two axes, got {shape}")
    rows, columns = shape[0], math.prod(shape[1:])
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.where(np.diagonal(r) < 0, -1, 1)
    return (q if rows >= columns else q.T).reshape(shape)


def zeros(shape: tuple[int, ...], _fan: Fan, _rng: np.random.Generator) -> Array:
    """All zero: the usual start of a bias.

    >>> zeros((3,), Fan(5, 3), np.random.default_rng(0))
    array([0., 0., 0.])
    """
    return np.zeros(shape)


def constant(value: float) -> Initializer:
    """An initializer that gives `value` everywhere.

    Raises:
        InputError: value is not a finite number.

    >>> constant(0.5)((3,), Fan(5, 3), np.random.default_rng(0))
    array([0.5, 0.5, 0.5])
    """
    value = finite_number("constant", "value", value)
    return lambda shape, _fan, _rng: np.full(shape, value)


def started(
    who: str, init: Initializer, shape: tuple[int, ...], fan: Fan, rng: np.random.Generator
) -> Parameter:
    """A parameter as an initializer starts it, for a layer that is named by `who`.

    Raises:
        InputError: the initializer gives another shape.

    >>> started("Dense(2, 3)", zeros, (2, 3), Fan(2, 3), np.random.default_rng(0))
    Parameter(shape=(2, 3), dtype=float32)
    """
    parameter = Parameter(init(shape, fan, rng))
    if parameter.value.shape != shape:
        raise InputError(
            f"{who} expects an initializer to give the shape {shape}, got {parameter.value.shape}"
        )
    return parameter


def _uniform(shape: tuple[int, ...], variance: float, rng: np.random.Generator) -> Array:
    bound = math.sqrt(3 * variance)
    return rng.uniform(-bound, bound, shape)
