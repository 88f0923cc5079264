"""A parameter is an array that training changes, together with the gradient of the loss by it.

Layers own parameters, `backward` writes their gradients, and an optimizer reads both.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from tinynet.arguments import InputError

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

    def __init__(self, value: ArrayLike, dtype: DTypeLike = np.float32) -> None:
        if np.dtype(dtype).kind != "f":
            raise InputError(f"Parameter expects a float dtype, got {np.dtype(dtype)}")
        self.value: Array = np.array(value, dtype=dtype)
        self.grad: Array | None = None

    def __repr__(self) -> str:
        return f"Parameter(shape={self.value.shape}, dtype={self.value.dtype})"
