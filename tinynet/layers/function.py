"""A function and its derivative, as a layer."""

from collections.abc import Callable
from typing import final

import numpy as np

from tinynet.arguments import InputError
from tinynet.layer import Layer
from tinynet.parameter import Array


@final
class Lambda(Layer):
    """y = function(x), with dx = derivative(dy, x), for what has no parameters.

    It is the short way to a layer of one's own: `check_gradients` tells whether the two belong
    together. The function gets x and returns an array with the batch as axis 0; the derivative gets
    dy and x, and returns an array of the shape of x. Both must leave what they are given alone.

    A network with a Lambda made by the word `lambda` cannot be pickled; `save` and `load` work.

    Raises:
        InputError: one of the two is no function, or returns what it should not.

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
        y = self._fresh(self.function(x), x)
        if y.shape[:1] != x.shape[:1]:
            raise InputError(
                f"{self!r} expects its function to keep the samples of x on axis 0, "
                f"got {y.shape} for {x.shape}"
            )
        self.remember(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, ...) -> dx: (N, ...)."""
        dy, x = self.recall(dy)
        dx = self._fresh(self.derivative(dy, x), dy, x)
        if dx.shape != x.shape:
            raise InputError(
                f"{self!r} expects its derivative to return the shape of x, {x.shape}, "
                f"got {dx.shape}"
            )
        return dx

    def _fresh(self, result: object, *given: Array) -> Array:
        """The result in the float dtype of x, in memory of its own."""
        if not isinstance(result, np.ndarray):
            raise InputError(f"{self!r} expects arrays from its functions, got {result!r}")
        if given[-1].dtype.kind == "f":
            result = result.astype(given[-1].dtype, copy=False)
        # A function may well return x itself, or a view.
        shared = any(np.may_share_memory(result, array) for array in given)
        return result.copy() if shared else result

    def __repr__(self) -> str:
        return f"Lambda({getattr(self.function, '__name__', self.function)})"
