"""Activation functions, entry by entry: ReLU and its variants, sigmoid, tanh, SiLU, softplus, GELU.

Without a nonlinear function between them, dense layers in a row are one linear function. `Lambda`
makes a layer of any other function and its derivative.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Literal, final

import numpy as np

from tinynet.errors import InputError
from tinynet.functional import (
    in_blocks,
    sigmoid,
    softplus,
    tanh_slope,
    write_gaussian,
    write_gaussian_tanh,
    write_sigmoid,
)
from tinynet.layer import Layer
from tinynet.mode import MODE
from tinynet.parameter import Array
from tinynet.validation import finite_number, one_of


@final
class ReLU(Layer):
    """y = max(x, 0), entry by entry, for any shape.

    Gradient: dx = dy where x > 0, else 0; at x = 0, where there is no derivative, it is 0.

    Raises:
        InputError: x is not a float array.

    >>> ReLU()(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """

    keeps_mask = True

    def forward(self, x: Array) -> Array:
        """x: (...) -> y: (...)."""
        self.check_input(x, ...)
        y: Array = np.maximum(x, 0)
        # y belongs to the caller, who may write to it: x is kept instead.
        self.save_for_backward(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (...) -> dx: (...)."""
        dy, x = self.saved_for_backward(dy)
        dx: Array = dy * (x > 0)
        return dx


class Elementwise(Layer):
    """y = f(x), entry by entry, for any shape; subclasses write f and its derivative.

    Gradient: dx = dy · f'(x).

    >>> class Square(Elementwise):
    ...     def function(self, x):
    ...         return x**2
    ...     def derivative(self, x):
    ...         return 2 * x
    >>> square = Square()
    >>> square(np.array([3.0])), square.backward(np.array([1.0]))
    (array([9.]), array([6.]))
    """

    keeps_mask = True

    @abstractmethod
    def function(self, x: Array) -> Array:
        """f(x), a new array in the dtype of x."""

    @abstractmethod
    def derivative(self, x: Array) -> Array:
        """f'(x), a new array in the dtype of x."""

    @final
    def forward(self, x: Array) -> Array:
        """x: (...) -> y: (...)."""
        self.check_input(x, ...)
        y = self.function(x)
        self.save_for_backward(y, x)
        return y

    @final
    def backward(self, dy: Array) -> Array:
        """dy: (...) -> dx: (...)."""
        dy, x = self.saved_for_backward(dy)
        dx = self.derivative(x)  # new memory
        dx *= dy
        return dx


class ElementwiseWithSlope(Layer):
    """y = f(x), entry by entry, where f and its derivative share an exponential.

    Gradient: dx = dy · f'(x). The forward of training computes f'(x) too.
    """

    keeps_mask = True

    @abstractmethod
    def evaluate(self, x: Array, y: Array, slope: Array | None = None) -> None:
        """Writes f(x) into y, and f'(x) into slope unless it is None; see `in_blocks`."""

    @final
    def forward(self, x: Array) -> Array:
        """x: (...) -> y: (...)."""
        self.check_input(x, ...)
        if MODE.get() == "inference":
            return in_blocks(self.evaluate, x, 1)[0]
        y, slope = in_blocks(self.evaluate, x, 2)
        self.save_for_backward(y, slope)
        return y

    @final
    def backward(self, dy: Array) -> Array:
        """dy: (...) -> dx: (...)."""
        dy, slope = self.saved_for_backward(dy)
        dx: Array = np.multiply(slope, dy, out=slope)  # its memory is needed no more
        return dx


@final
class LeakyReLU(Elementwise):
    """y = x where x > 0, else negative_slope · x, entry by entry, for any shape.

    Gradient: dx = dy where x > 0, else negative_slope · dy; also at x = 0.

    Raises:
        InputError: negative_slope is not a finite number, or x is not a float array.

    Source: Maas, Hannun and Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models",
    ICML 2013.

    >>> LeakyReLU(0.5)(np.array([-1.0, 0.0, 2.0]))
    array([-0.5,  0. ,  2. ])
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = finite_number("LeakyReLU", "negative_slope", negative_slope)

    def function(self, x: Array) -> Array:
        """max(x, 0) + negative_slope · min(x, 0)."""
        y: Array = np.maximum(x, 0) + self.negative_slope * np.minimum(x, 0)
        return y

    def derivative(self, x: Array) -> Array:
        """1 where x > 0, else negative_slope."""
        slopes = np.array([self.negative_slope, 1], x.dtype)
        return slopes.take(x > 0)  # much faster than np.where


@final
class ELU(Elementwise):
    """y = x where x > 0, else alpha (exp(x) - 1), entry by entry, for any shape.

    Gradient: dx = dy where x > 0, else dy · alpha exp(x), also at x = 0. exp(x) - 1 keeps its
    digits near 0, and no x overflows.

    Raises:
        InputError: alpha is not a finite number, or x is not a float array.

    Source: Clevert, Unterthiner and Hochreiter, "Fast and Accurate Deep Network Learning by
    Exponential Linear Units (ELUs)", ICLR 2016.

    >>> ELU()(np.array([-1e4, 0.0, 2.0]))
    array([-1.,  0.,  2.])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = finite_number("ELU", "alpha", alpha)

    def function(self, x: Array) -> Array:
        """max(x, 0) + alpha (exp(min(x, 0)) - 1)."""
        y: Array = np.maximum(x, 0) + self.alpha * np.expm1(np.minimum(x, 0))
        return y

    def derivative(self, x: Array) -> Array:
        """1 where x > 0, else alpha exp(x)."""
        return np.where(x > 0, 1, self.alpha * np.exp(np.minimum(x, 0)))


@final
class Sigmoid(ElementwiseWithSlope):
    """y = 1 / (1 + exp(-x)), entry by entry, for any shape: from 0 to 1.

    Gradient: dx = dy · y (1 - y), computed so that no digits are lost where y is near 1, and no x
    overflows.

    Raises:
        InputError: x is not a float array.

    >>> Sigmoid()(np.array([-1e4, 0.0, 1e4]))
    array([0. , 0.5, 1. ])
    """

    def evaluate(self, x: Array, y: Array, slope: Array | None = None) -> None:
        """1 / (1 + exp(-x))."""
        write_sigmoid(x, y, slope)


@final
class Tanh(Elementwise):
    """y = tanh(x), entry by entry, for any shape: from -1 to 1.

    Gradient: dx = dy (1 - y²), computed so that no digits are lost where y is near -1 or 1.

    Raises:
        InputError: x is not a float array.

    >>> Tanh()(np.array([-1e4, 0.0, 1e4]))
    array([-1.,  0.,  1.])
    """

    def function(self, x: Array) -> Array:
        """tanh(x)."""
        y: Array = np.tanh(x)
        return y

    def derivative(self, x: Array) -> Array:
        """1 - tanh² x."""
        return tanh_slope(x)


@final
class SiLU(ElementwiseWithSlope):
    """y = x s(x) with s(x) = 1 / (1 + exp(-x)), entry by entry, for any shape; also called swish.

    Gradient: dx = dy (s + x s (1 - s)).

    Raises:
        InputError: x is not a float array.

    Source: Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning", Neural Networks 107, 2018.

    >>> SiLU()(np.array([-1e4, -1.0, 0.0, 1.0, 1e4])).round(4)
    array([-0.000e+00, -2.689e-01,  0.000e+00,  7.311e-01,  1.000e+04])
    """

    def evaluate(self, x: Array, y: Array, slope: Array | None = None) -> None:
        """Writes x s(x) and s(x) + x s'(x)."""
        write_sigmoid(x, y, slope)
        _multiply_by_x(x, y, slope)


@final
class Softplus(Elementwise):
    """y = log(1 + exp(beta x)) / beta, entry by entry, for any shape: a smooth ReLU.

    Gradient: dx = dy / (1 + exp(-beta x)).

    Nothing overflows, so there is no `threshold`, above which PyTorch takes y = x; at its default
    of 20, y differs by 1e-10 of itself at most, dx by 2e-9.

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

    def function(self, x: Array) -> Array:
        """log(1 + exp(beta x)) / beta."""
        return softplus(x, self.beta)

    def derivative(self, x: Array) -> Array:
        """1 / (1 + exp(-beta x))."""
        with np.errstate(over="ignore"):  # beta x may be infinite, the result is 0 or 1 then
            return sigmoid(self.beta * x)


@final
class GELU(ElementwiseWithSlope):
    """y = x Φ(x), entry by entry, for any shape; Φ is the standard normal CDF.

    Gradient: dx = dy (Φ(x) + x φ(x)) with the density φ = Φ'.

    With approximate="tanh" Φ(x) is (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2, and φ its derivative:
    within 0.001 of the exact one, and what GPT-2 was trained with.

    Raises:
        InputError: approximate is neither "none" nor "tanh", or x is not a float array.

    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units (GELUs)", arXiv 1606.08415, 2016.

    >>> GELU()(np.array([-1e4, -1.0, 0.0, 1.0, 1e4])).round(4)
    array([-0.000e+00, -1.587e-01,  0.000e+00,  8.413e-01,  1.000e+04])
    """

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        self.approximate = one_of("GELU", "approximate", approximate, ("none", "tanh"))

    def evaluate(self, x: Array, y: Array, slope: Array | None = None) -> None:
        """Writes x Φ(x) and Φ(x) + x φ(x)."""
        write_cdf = write_gaussian if self.approximate == "none" else write_gaussian_tanh
        write_cdf(x, y, slope)
        _multiply_by_x(x, y, slope)


def _multiply_by_x(x: Array, y: Array, slope: Array | None) -> None:
    """Makes of s(x) and s'(x) the function x s(x) and its derivative s(x) + x s'(x)."""
    limits = np.finfo(x.dtype)
    # Infinities are replaced by the lowest and the largest float: 0 times it is 0, as in the limit.
    x = np.maximum(x, limits.min)
    if slope is not None:
        slope *= np.minimum(x, limits.max)
        slope += y
    y *= x


@final
class Lambda(Layer):
    """y = function(x) and dx = derivative(dy, x): two functions as a layer without parameters.

    The function gets x and returns an array with the batch as axis 0; the derivative gets dy and x,
    and returns an array of the shape of x. Neither may write to its arguments. `check_gradients`
    checks that the two belong together.

    A network with a Lambda of `lambda` expressions cannot be pickled; `save` and `load` work.

    Raises:
        InputError: one of the two is no function, or returns no array or one of a wrong shape.

    >>> sine = Lambda(np.sin, lambda dy, x: dy * np.cos(x))
    >>> sine(np.array([[0.0, np.pi / 2]]))
    array([[0., 1.]])
    >>> sine.backward(np.array([[1.0, 1.0]])).round(4)
    array([[1., 0.]])
    """

    def __init__(
        self, function: Callable[[Array], Array], derivative: Callable[[Array, Array], Array]
    ) -> None:
        for name, given in (("function", function), ("derivative", derivative)):
            if not callable(given):
                raise InputError(f"Lambda expects its {name} to be a function, got {given!r}")
        self.function = function
        self.derivative = derivative

    def forward(self, x: Array) -> Array:
        """x: (N, ...) -> y: (N, ...)."""
        self.check_input(x, "N", ..., integers=True)
        y = self._own(self.function(x), x)
        if y.shape[:1] != x.shape[:1]:
            raise InputError(
                f"{self!r} expects its function to keep the samples of x on axis 0, "
                f"got {y.shape} for {x.shape}"
            )
        self.save_for_backward(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, ...) -> dx: (N, ...)."""
        dy, x = self.saved_for_backward(dy)
        dx = self._own(self.derivative(dy, x), dy, x)
        if dx.shape != x.shape:
            raise InputError(
                f"{self!r} expects its derivative to return the shape of x, {x.shape}, "
                f"got {dx.shape}"
            )
        return dx

    def _own(self, result: object, *arguments: Array) -> Array:
        """The result in the float dtype of x, the last argument, and in memory of its own."""
        if not isinstance(result, np.ndarray):
            raise InputError(f"{self!r} expects arrays from its functions, got {result!r}")
        x = arguments[-1]
        if result.dtype.kind == "f" or x.dtype.kind == "f":
            dtype = x.dtype if x.dtype.kind == "f" else self.dtype
            result = result.astype(dtype, copy=False)
        # The function may return x itself, or a view of it.
        shared = any(np.may_share_memory(result, array) for array in arguments)
        return result.copy() if shared else result
