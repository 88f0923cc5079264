"""An activation bends its input, entry by entry; without it, dense layers in a row are only one."""

from typing import final

import numpy as np

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
        y: Array = np.where(x < 0, z, 1) / (1 + z)
        self.remember(y, z)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (...) -> dx: (...)."""
        dy, z = self.recall(dy)
        dx: Array = dy * (z / (1 + z) ** 2)
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
        self.remember(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (...) -> dx: (...)."""
        dy, x = self.recall(dy)
        z = np.exp(-np.abs(x))
        dx: Array = dy * (2 * z / (1 + z**2)) ** 2
        return dx
