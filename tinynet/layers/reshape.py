"""Layers that learn nothing: they bring data into the form that the next layer expects."""

import math
from typing import final

from tinynet.arguments import finite_number
from tinynet.layer import Layer
from tinynet.parameter import Array


@final
class Flatten(Layer):
    """(N, ...) -> (N, D): every sample becomes one row, the last axis running fastest.

    Gradient: dx is dy in the shape of x. Integers stay integers.

    Raises:
        InputError: x has no batch axis.

    >>> import numpy as np
    >>> Flatten()(np.zeros((2, 28, 28))).shape
    (2, 784)
    """

    def forward(self, x: Array) -> Array:
        """x: (N, ...) -> y: (N, D)."""
        self.check_input(x, "N", ..., integers=True)
        # A copy: the caller may write to y, and x, often a slice of the data set, must not change.
        y = x.reshape(len(x), math.prod(x.shape[1:])).copy()
        self.remember(y, x.shape)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, D) -> dx: (N, ...)."""
        dy, shape = self.recall(dy)
        dx: Array = dy.reshape(shape).copy()
        return dx


@final
class Rescale(Layer):
    """y = scale · x + offset, for any shape: `Rescale(1 / 255)` maps pixels 0..255 to 0..1.

    Gradient: dx = scale · dy. An x of integers gives floats of the layer's dtype, so that images
    stay in memory as bytes and a trained network takes them as they are.

    Raises:
        InputError: scale or offset is not finite, or x is not an array of numbers.

    >>> import numpy as np
    >>> Rescale(1 / 255)(np.array([[0, 255]], np.uint8))
    array([[0., 1.]], dtype=float32)
    """

    def __init__(self, scale: float, offset: float = 0.0) -> None:
        self.scale = finite_number("Rescale", "scale", scale)
        self.offset = finite_number("Rescale", "offset", offset)

    def forward(self, x: Array) -> Array:
        """x: (N, ...) -> y: (N, ...)."""
        self.check_input(x, "N", ..., integers=True)
        y = x.astype(x.dtype if x.dtype.kind == "f" else self.dtype)
        y *= self.scale
        if self.offset:
            y += self.offset
        self.remember(y)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, ...) -> dx: (N, ...)."""
        (dy,) = self.recall(dy)
        return dy * self.scale

    def __repr__(self) -> str:
        return f"Rescale({self.scale:.6g}{f', {self.offset:.6g}' if self.offset else ''})"
