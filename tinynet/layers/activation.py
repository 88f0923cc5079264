"""An activation bends its input, entry by entry; without it, dense layers in a row are only one."""

from typing import Literal, final

import numpy as np

from tinynet.errors import InputError
from tinynet.functional import normal, normal_by_tanh
from tinynet.layer import Layer
from tinynet.parameter import Array
from tinynet.validation import finite_number


@final
class Sigmoid(Layer):
    """y = 1 / (1 + exp(-x)), entry by entry, for any shape: from 0 to 1.

    Gradient: dx = dy · y (1 - y), as dy · z / (1 + z)² with z = exp(-|x|), so that nothing cancels
    where y is near 1. z is at most 1: no x overflows.

    Raises:
        InputError: x is not a float array.

    >>> Sigmoid()(np.array([-1e4, 0.0, 1e4]))
    array([0. , 0.5, 1. ])
    """

    def forward(self, x: Array) -> Array:
        """x: (...) -> y: (...)."""
        self.check_input(x, ...)
        z = np.exp(-np.abs(x))
        y = _sigmoid(x, z)
        self.save_for_backward(y, z)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (...) -> dx: (...)."""
        dy, z = self.saved_for_backward(dy)
        dx: Array = dy * _sigmoid_slope(z)
        return dx


@final
class Tanh(Layer):
    """y = tanh(x), entry by entry, for any shape: from -1 to 1.

    Gradient: dx = dy (1 - y²), as dy · (2 z / (1 + z²))² with z = exp(-|x|), so that nothing
    cancels where y is near -1 or 1. z is at most 1: no x overflows.

    Raises:
        InputError: x is not a float array.

    >>> Tanh()(np.array([-1e4, 0.0, 1e4]))
    array([-1.,  0.,  1.])
    """

    def forward(self, x: Array) -> Array:
        """x: (...) -> y: (...)."""
        self.check_input(x, ...)
        y: Array = np.tanh(x)
        self.save_for_backward(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (...) -> dx: (...)."""
        dy, x = self.saved_for_backward(dy)
        z = np.exp(-np.abs(x))
        dx: Array = dy * (2 * z / (1 + z**2)) ** 2
        return dx


@final
class GELU(Layer):
    """y = x Φ(x), entry by entry, for any shape; Φ is the normal distribution function.

    Gradient: dx = dy (Φ(x) + x φ(x)), φ = Φ' being the bell curve exp(-x²/2) / √(2π).

    With approximate="tanh" Φ(x) is (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2, and φ its derivative:
    within 0.001 of the other, and what GPT-2 was trained with. Both keep their digits where x is
    far below 0 and y is tiny, "tanh" those that the rounded exponent leaves.

    Raises:
        InputError: approximate is neither "none" nor "tanh", or x is not a float array.

    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units (GELUs)", arXiv 1606.08415, 2016.

    >>> GELU()(np.array([-1e4, -1.0, 0.0, 1.0, 1e4])).round(4)
    array([-0.000e+00, -1.587e-01,  0.000e+00,  8.413e-01,  1.000e+04])
    """

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise InputError(
                f'GELU expects approximate to be "none" or "tanh", got {approximate!r}'
            )
        self.approximate = approximate

    def forward(self, x: Array) -> Array:
        """x: (...) -> y: (...)."""
        self.check_input(x, ...)
        share, slope = normal(x) if self.approximate == "none" else normal_by_tanh(x)
        y: Array = _from_lowest(x) * share
        self.save_for_backward(y, x, share, slope)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (...) -> dx: (...)."""
        dy, x, share, slope = self.saved_for_backward(dy)
        dx: Array = dy * (share + _finite(x) * slope)
        return dx


@final
class SiLU(Layer):
    """y = x s with s = 1 / (1 + exp(-x)), entry by entry, for any shape; also called swish.

    Gradient: dx = dy (s + x s (1 - s)), with s and s (1 - s) of z = exp(-|x|) as in `Sigmoid`.

    Raises:
        InputError: x is not a float array.

    Source: Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning", Neural Networks 107, 2018.

    >>> SiLU()(np.array([-1e4, -1.0, 0.0, 1.0, 1e4])).round(4)
    array([-0.000e+00, -2.689e-01,  0.000e+00,  7.311e-01,  1.000e+04])
    """

    def forward(self, x: Array) -> Array:
        """x: (...) -> y: (...)."""
        self.check_input(x, ...)
        z = np.exp(-np.abs(x))
        y: Array = _from_lowest(x) * _sigmoid(x, z)
        self.save_for_backward(y, x, z)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (...) -> dx: (...)."""
        dy, x, z = self.saved_for_backward(dy)
        dx: Array = dy * (_sigmoid(x, z) + _finite(x) * _sigmoid_slope(z))
        return dx


@final
class Softplus(Layer):
    """y = log(1 + exp(beta x)) / beta, entry by entry, for any shape: a ReLU without a kink.

    As max(x, 0) + log1p(z) / beta with z = exp(-beta |x|), which keeps its digits at both ends.
    Gradient: dx = dy / (1 + exp(-beta x)), as dy / (1 + z) where x >= 0, else dy · z / (1 + z).

    There is no `threshold`, from which on PyTorch takes y = x: nothing overflows here. At its
    default of 20, y differs by 1e-10 of itself at most, dx by 2e-9.

    Raises:
        InputError: beta is not a finite number above 0, or x is not a float array.

    Source: Dugas, Bengio, Bélisle, Nadeau and Garcia, "Incorporating Second-Order Functional
    Knowledge for Better Option Pricing", NIPS 2000.

    >>> Softplus()(np.array([-1e4, 0.0, 1e4])).round(4)
    array([0.000e+00, 6.931e-01, 1.000e+04])
    """

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = finite_number("Softplus", "beta", beta, at_least=0)
        if self.beta == 0:
            raise InputError(f"Softplus expects beta > 0, got {beta!r}")

    def forward(self, x: Array) -> Array:
        """x: (...) -> y: (...)."""
        self.check_input(x, ...)
        with np.errstate(over="ignore"):  # beta |x| may be infinite, for a z of 0
            z = np.exp(-self.beta * np.abs(x))
        y: Array = np.maximum(x, 0) + np.log1p(z) / self.beta
        self.save_for_backward(y, x, z)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (...) -> dx: (...)."""
        dy, x, z = self.saved_for_backward(dy)
        dx: Array = dy * _sigmoid(x, z)
        return dx


def _sigmoid(x: Array, z: Array) -> Array:
    """1 / (1 + exp(-x)) of z = exp(-|x|); of x only the sign counts."""
    result: Array = np.where(x < 0, z, 1) / (1 + z)
    return result


def _sigmoid_slope(z: Array) -> Array:
    """The derivative of 1 / (1 + exp(-x)), of z = exp(-|x|)."""
    result: Array = z / (1 + z) ** 2
    return result


def _from_lowest(x: Array) -> Array:
    """X with the lowest float for minus infinity: 0 times it is 0, as in the limit, not NaN."""
    result: Array = np.maximum(x, np.finfo(x.dtype).min)
    return result


def _finite(x: Array) -> Array:
    """X with the lowest and the largest float for the infinities, for the same reason."""
    result: Array = np.clip(x, np.finfo(x.dtype).min, np.finfo(x.dtype).max)
    return result


@final
class ReLU(Layer):
    """y = max(x, 0), entry by entry, for any shape.

    Gradient: dx = dy where x > 0, else 0; at x = 0, where the derivative jumps, it is 0.

    Raises:
        InputError: x is not a float array.

    >>> ReLU()(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """

    def forward(self, x: Array) -> Array:
        """x: (...) -> y: (...)."""
        self.check_input(x, ...)
        y: Array = np.maximum(x, 0)
        # y belongs to the caller, who may write to it: what is kept is x.
        self.save_for_backward(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (...) -> dx: (...)."""
        dy, x = self.saved_for_backward(dy)
        dx: Array = dy * (x > 0)
        return dx


@final
class LeakyReLU(Layer):
    """y = x where x > 0, else negative_slope · x, entry by entry, for any shape.

    Gradient: dx = dy where x > 0, else negative_slope · dy; so also at x = 0, where it jumps.

    Raises:
        InputError: negative_slope is not a finite number, or x is not a float array.

    Source: Maas, Hannun and Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models",
    ICML 2013.

    >>> LeakyReLU(0.5)(np.array([-1.0, 0.0, 2.0]))
    array([-0.5,  0. ,  2. ])
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = finite_number("LeakyReLU", "negative_slope", negative_slope)

    def forward(self, x: Array) -> Array:
        """x: (...) -> y: (...)."""
        self.check_input(x, ...)
        y: Array = np.maximum(x, 0) + self.negative_slope * np.minimum(x, 0)
        self.save_for_backward(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (...) -> dx: (...)."""
        dy, x = self.saved_for_backward(dy)
        return np.where(x > 0, dy, self.negative_slope * dy)


@final
class ELU(Layer):
    """y = x where x > 0, else alpha (exp(x) - 1), entry by entry, for any shape.

    Gradient: dx = dy where x > 0, else dy · alpha exp(x); at x = 0, where it jumps unless alpha is
    1, it is alpha · dy. exp(x) - 1 keeps its digits near 0, and no x overflows.

    Raises:
        InputError: alpha is not a finite number, or x is not a float array.

    Source: Clevert, Unterthiner and Hochreiter, "Fast and Accurate Deep Network Learning by
    Exponential Linear Units (ELUs)", ICLR 2016.

    >>> ELU()(np.array([-1e4, 0.0, 2.0]))
    array([-1.,  0.,  2.])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = finite_number("ELU", "alpha", alpha)

    def forward(self, x: Array) -> Array:
        """x: (...) -> y: (...)."""
        self.check_input(x, ...)
        y: Array = np.maximum(x, 0) + self.alpha * np.expm1(np.minimum(x, 0))
        self.save_for_backward(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (...) -> dx: (...)."""
        dy, x = self.saved_for_backward(dy)
        return np.where(x > 0, dy, dy * (self.alpha * np.exp(np.minimum(x, 0))))
