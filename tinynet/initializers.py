"""Initializers: functions that draw the initial values of parameters.

An initializer is called as `init(shape, fan_in, fan_out, rng)`: the shape of the array, the number
of inputs that one output sums over, the number of outputs that one input contributes to, and a
NumPy Generator. In a convolution each position of the kernel counts. Any function of these four
arguments is an initializer.
"""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
from collections.abc import Callable

import numpy as np

from tinynet.errors import InputError, Shape
from tinynet.parameter import Array, Parameter
from tinynet.validation import finite_number

Initializer = Callable[[Shape, float, float, "np.random.Generator"], Array]


def he_normal(shape: Shape, fan_in: float, _fan_out: float, rng: np.random.Generator) -> Array:
    """Normal with mean 0 and variance 2 / fan_in, which keeps the scale through ReLU layers.

    Source: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", ICCV 2015, eq. 10.

    >>> float(he_normal((1000, 50), 1000, 50, np.random.default_rng(0)).var().round(4))
    0.002
    """
    return rng.standard_normal(shape) * math.sqrt(2 / fan_in)


def he_uniform(shape: Shape, fan_in: float, _fan_out: float, rng: np.random.Generator) -> Array:
    """Uniform with mean 0 and the variance of `he_normal`, 2 / fan_in.

    >>> float(abs(he_uniform((1000, 50), 600, 50, np.random.default_rng(0))).max().round(3))
    0.1
    """
    return _uniform(shape, 2 / fan_in, rng)


def glorot_normal(shape: Shape, fan_in: float, fan_out: float, rng: np.random.Generator) -> Array:
    """Normal with mean 0 and variance 2 / (fan_in + fan_out), for tanh and sigmoid.

    A compromise between keeping the scale of activations and that of gradients. Source: Glorot and
    Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
    2010, eq. 12.

    >>> float(glorot_normal((900, 100), 900, 100, np.random.default_rng(0)).var().round(4))
    0.002
    """
    return rng.standard_normal(shape) * math.sqrt(2 / (fan_in + fan_out))


def glorot_uniform(shape: Shape, fan_in: float, fan_out: float, rng: np.random.Generator) -> Array:
    """Uniform with mean 0 and the variance of `glorot_normal`; eq. 16 of the same source.

    >>> draws = glorot_uniform((500, 100), 500, 100, np.random.default_rng(0))
    >>> float(abs(draws).max().round(3))
    0.1
    """
    return _uniform(shape, 2 / (fan_in + fan_out), rng)


def lecun_normal(shape: Shape, fan_in: float, _fan_out: float, rng: np.random.Generator) -> Array:
    """Normal with mean 0 and variance 1 / fan_in: outputs keep the scale of the inputs.

    Source: LeCun, Bottou, Orr and Müller, "Efficient BackProp", in "Neural Networks: Tricks of the
    Trade", Springer, 1998, section 4.6.

    >>> float(lecun_normal((1000, 50), 1000, 50, np.random.default_rng(0)).var().round(4))
    0.001
    """
    return rng.standard_normal(shape) / math.sqrt(fan_in)


def lecun_uniform(shape: Shape, fan_in: float, _fan_out: float, rng: np.random.Generator) -> Array:
    """Uniform with mean 0 and the variance of `lecun_normal`, 1 / fan_in.

    >>> float(abs(lecun_uniform((300, 50), 300, 50, np.random.default_rng(0))).max().round(3))
    0.1
    """
    return _uniform(shape, 1 / fan_in, rng)


def recurrent_uniform(
    shape: Shape, _fan_in: float, fan_out: float, rng: np.random.Generator
) -> Array:
    """Uniform from -1/√H to 1/√H, where H = fan_out is the hidden size: PyTorch's default.

    >>> draws = recurrent_uniform((400, 3), 3, 100, np.random.default_rng(0))
    >>> float(abs(draws).max().round(3))
    0.1
    """
    bound = 1 / math.sqrt(fan_out)
    return rng.uniform(-bound, bound, shape)


def normal(std: float) -> Initializer:
    """An initializer that draws from a normal distribution with mean 0 and standard deviation std.

    Raises:
        InputError: std is not a finite number >= 0.

    >>> float(normal(0.02)((500, 40), 1, 40, np.random.default_rng(0)).std().round(3))
    0.02
    """
    std = finite_number("normal", "std", std, at_least=0)

    def init(shape: Shape, _fan_in: float, _fan_out: float, rng: np.random.Generator) -> Array:
        return std * rng.standard_normal(shape)

    init.__name__ = f"normal({std:g})"
    return init


def orthogonal(shape: Shape, _fan_in: float, _fan_out: float, rng: np.random.Generator) -> Array:
    """A random matrix with orthonormal rows, or orthonormal columns if it has fewer columns.

    Axes after the first count as one. Every orthogonal matrix is equally likely, because the signs
    of R's diagonal in the QR decomposition are moved into Q. Sources: Saxe, McClelland and Ganguli,
    "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks", ICLR
    2014; Mezzadri, "How to generate random matrices from the classical compact groups", Notices of
    the AMS 54(5), 2007.

    Raises:
        InputError: the shape has less than two axes.

    >>> q = orthogonal((2, 3), 2, 3, np.random.default_rng(0))
    >>> bool(np.allclose(q @ q.T, np.eye(2)))
    True
    """
    if len(shape) < 2:
        raise InputError(f"orthogonal expects a shape of at least two axes, got {shape}")
    rows, columns = shape[0], math.prod(shape[1:])
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.where(np.diagonal(r) < 0, -1, 1)
    return (q if rows >= columns else q.T).reshape(shape)


def zeros(shape: Shape, _fan_in: float, _fan_out: float, _rng: np.random.Generator) -> Array:
    """All zeros: the usual initial value of a bias.

    >>> zeros((3,), 5, 3, np.random.default_rng(0))
    array([0., 0., 0.])
    """
    return np.zeros(shape)


def constant(value: float) -> Initializer:
    """An initializer that sets every entry to `value`.

    Raises:
        InputError: value is not a finite number.

    >>> constant(0.5)((3,), 5, 3, np.random.default_rng(0))
    array([0.5, 0.5, 0.5])
    """
    value = finite_number("constant", "value", value)

    def init(shape: Shape, _fan_in: float, _fan_out: float, _rng: np.random.Generator) -> Array:
        return np.full(shape, value)

    init.__name__ = f"constant({value:g})"
    return init


def init_parameter(
    who: str, init: Initializer, shape: Shape, fans: tuple[float, float], rng: np.random.Generator
) -> Parameter:
    """A parameter with its initial value; `who` names the layer in errors, `fans` are in and out.

    Raises:
        InputError: the initializer gives another shape.

    >>> init_parameter("Dense(2, 3)", zeros, (2, 3), (2, 3), np.random.default_rng(0))
    Parameter(shape=(2, 3), dtype=float32)
    """
    parameter = Parameter(init(shape, *fans, rng))
    if parameter.value.shape != shape:
        raise InputError(
            f"{who} expects an initializer to give the shape {shape}, got {parameter.value.shape}"
        )
    return parameter


def _uniform(shape: Shape, variance: float, rng: np.random.Generator) -> Array:
    bound = math.sqrt(3 * variance)
    return rng.uniform(-bound, bound, shape)
