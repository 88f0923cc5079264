"""A rectifier lets what is positive pass, and cuts or bends what is negative."""

from typing import final

import numpy as np

from tinynet.arguments import finite_number
from tinynet.layer import Layer
from tinynet.parameter import Array


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
        self.remember(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (...) -> dx: (...)."""
        dy, x = self.recall(dy)
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
        self.remember(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (...) -> dx: (...)."""
        dy, x = self.recall(dy)
        return np.where(x > 0, dy, self.negative_slope * dy)

    def __repr__(self) -> str:
        slope = "" if self.negative_slope == 0.01 else f"{self.negative_slope:.6g}"
        return f"LeakyReLU({slope})"


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
        self.remember(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (...) -> dx: (...)."""
        dy, x = self.recall(dy)
        return np.where(x > 0, dy, dy * (self.alpha * np.exp(np.minimum(x, 0))))

    def __repr__(self) -> str:
        return f"ELU({'' if self.alpha == 1 else f'{self.alpha:.6g}'})"
