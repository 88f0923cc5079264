"""Parameter: a trainable array together with the gradient of the loss by it.

Layers own parameters, `backward` writes their gradients, and an optimizer reads both.
"""

from __future__ import annotations  # help(Parameter) then shows the names of the types

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from tinynet.errors import InputError

Array = NDArray[Any]


class Parameter:
    """A trainable array `value` and its gradient `grad`, of the same shape and dtype.

    The value is a copy of what was given, as `dtype`. `grad` is None until a `backward` writes it.

    Raises:
        InputError: `dtype` is not a float type.

    >>> weight = Parameter([[1, 2, 3], [4, 5, 6]])
    >>> weight
    Parameter(shape=(2, 3), dtype=float32)
    >>> print(weight.grad)
    None
    """

    __slots__ = ("grad", "value")

    def __init__(self, value: ArrayLike, dtype: DTypeLike = "float32") -> None:
        if np.dtype(dtype).kind != "f":
            raise InputError(f"Parameter expects a float dtype, got {np.dtype(dtype)}")
        self.value: Array = np.array(value, dtype=dtype)
        self.grad: Array | None = None

    def __repr__(self) -> str:
        return f"Parameter(shape={self.value.shape}, dtype={self.value.dtype})"


def write_grad(parameter: Parameter | None, grad: Array) -> None:
    """Writes a gradient in the shape and dtype of its parameter; without a parameter, nothing.

    Layers keep None in place of a parameter that they do without, such as a bias.

    >>> bias = Parameter([0.0, 0.0])
    >>> write_grad(bias, np.array([[1.0, 2.0]]))
    >>> bias.grad
    array([1., 2.], dtype=float32)
    """
    if parameter is not None:
        value = parameter.value
        parameter.grad = grad.reshape(value.shape).astype(value.dtype, copy=False)
