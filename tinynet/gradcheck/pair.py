"""Plain functions as a layer: for whoever writes `forward` and `backward` without classes."""

import inspect
from collections.abc import Callable
from typing import Any, final

import numpy as np

from tinynet.arguments import InputError
from tinynet.layer import Layer
from tinynet.parameter import Array, Parameter


@final
class Pair(Layer):
    """y = forward(x, w, ...), with gradients = backward(dy, x, w, ...) or backward(dy).

    `backward` returns one gradient for each array of floats, in a tuple if there are several. The
    arrays after the first are parameters here, named as the arguments of `forward`.

    Raises:
        InputError: backward gives more or fewer gradients than there are arrays of floats.
    """

    def __init__(
        self, forward: Callable[..., Any], backward: Callable[..., Any], others: tuple[Array, ...]
    ) -> None:
        self.functions = forward, backward
        self._names = _argument_names(forward, 1 + len(others))[1:]
        for name, array in zip(self._names, others, strict=True):
            is_float = array.dtype.kind == "f"
            vars(self)[name] = Parameter(array, np.float64) if is_float else array

    def forward(self, x: Array, *targets: Array) -> Any:
        """The arrays -> y."""
        arrays = [x, *self.arrays(), *targets]
        y = self.functions[0](*arrays)
        self.remember(y, arrays, x.dtype.kind == "f")
        return y

    def backward(self, dy: Array | float = 1.0) -> Any:
        """Dy -> dx; the other gradients are written."""
        dy, arrays, x_is_float = self.recall(dy)
        try:
            inspect.signature(self.functions[1]).bind(dy, *arrays)
        except TypeError:
            arrays = []  # It remembers them itself.
        found = self.functions[1](dy, *arrays)
        parameters = self.parameters()
        gradients = list(found) if isinstance(found, tuple) else [found]
        if len(gradients) != x_is_float + len(parameters):
            raise InputError(
                f"{self!r} expects backward to give a gradient for each of "
                f"{x_is_float + len(parameters)} arrays of floats, got {len(gradients)}"
            )
        dx = gradients.pop(0) if x_is_float else None
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        return dx

    def arrays(self) -> list[Array]:
        """The arrays after the first."""
        others = (vars(self)[name] for name in self._names)
        return [other.value if isinstance(other, Parameter) else other for other in others]

    def __repr__(self) -> str:
        return f"({', '.join(map(_name, self.functions))})"


def _argument_names(function: Callable[..., Any], count: int) -> list[str]:
    try:
        names = list(inspect.signature(function).parameters)
    except ValueError:  # a function written in C
        names = []
    free = len(names) == count and not any(hasattr(Pair, name) for name in names)
    return names if free else ["x", *(f"argument{k}" for k in range(1, count))]


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", repr(function))
