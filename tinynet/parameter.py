"""Parameter: a trainable array together with the gradient of the loss by it.

Layers own parameters, `backward` writes their gradients, and an optimizer reads both.
"""

from __future__ import annotations  # help(Parameter) then shows the names of the types

import math
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from tinynet.errors import InputError
from tinynet.validation import check_array, first_index, index_text

Array = NDArray[Any]


class Parameter:
    """A trainable array `value` and its gradient `grad`, of the same shape and dtype.

    The value is a copy of what was given, as `dtype`. `grad` is None until a `backward` writes it.

    Raises:
        InputError: `dtype` is not a float type; an assigned value has another shape, or NaN.

    >>> weight = Parameter([[1, 2, 3], [4, 5, 6]])
    >>> weight
    Parameter(shape=(2, 3), dtype=float32)
    >>> print(weight.grad)
    None
    """

    __slots__ = ("_value", "grad")

    def __init__(self, value: ArrayLike, dtype: DTypeLike = "float32") -> None:
        if np.dtype(dtype).kind != "f":
            raise InputError(f"Parameter expects a float dtype, got {np.dtype(dtype)}")
        self._value: Array = np.array(value, dtype=dtype)
        self.grad: Array | None = None

    @property
    def value(self) -> Array:
        """The array; assigning another casts and copies it, and refuses one that does not fit."""
        return self._value

    @value.setter
    def value(self, value: ArrayLike) -> None:
        if value is not self._value:  # as after `value -= step`
            self._value = _fitted(value, self._value)

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
        value = parameter._value
        parameter.grad = grad.reshape(value.shape).astype(value.dtype, copy=False)


def check_not_replaced(layer: Any, error: AttributeError) -> None:
    """Raises InputError if the error comes from an array in place of a parameter of the layer.

    >>> from tinynet import Dense
    >>> dense = Dense(2, 1)
    >>> dense.weight = np.ones((2, 1))
    >>> dense(np.ones((3, 2)))
    Traceback (most recent call last):
    tinynet.errors.InputError: Dense(2, 1) expects its weight to be a Parameter, got an array: \
write .weight.value = array, and keep the parameter that the optimizer knows
    """
    if isinstance(error.obj, np.ndarray) and error.name in ("value", "grad"):
        for name, value in vars(layer).items():
            if value is error.obj:
                raise InputError(
                    f"{layer!r} expects its {name} to be a Parameter, got an array: write "
                    f".{name}.value = array, and keep the parameter that the optimizer knows"
                ) from None


def _fitted(value: ArrayLike, old: Array) -> Array:
    """A copy of `value` in the shape and dtype of the array that it replaces, if it fits."""
    who, array = f"Parameter of shape {old.shape}", value
    if not isinstance(value, np.ndarray):
        with suppress(Exception):  # such as rows of different lengths: the check says what to do
            made = np.asarray(value)
            array = made if made.dtype.kind in "fiub" else value
    check_array(who, "value", array)
    array = np.asarray(array)
    if _without_ones(array.shape) != _without_ones(old.shape):
        hint = _shape_hint(old.shape, array.shape)
        raise InputError(f"{who} expects a value of this shape, got {array.shape}{hint}")
    with np.errstate(over="ignore"):  # 1e39 is infinite in float32
        new = np.array(array, old.dtype, order="C").reshape(old.shape)
    wrong = ~(np.isfinite(new) | np.isinf(array).reshape(old.shape))
    if wrong.any():
        index = first_index(wrong)
        got = f"{array.reshape(old.shape)[index]:g} at index {index_text(index)}"
        raise InputError(f"{who} expects numbers in the range of {old.dtype}, got {got}")
    return new


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _shape_hint(shape: tuple[int, ...], got: tuple[int, ...]) -> str:
    if not got:
        return "; value[...] = number sets every entry"
    if len(shape) == 2 and got == shape[::-1]:
        return "; value.T has it (Dense keeps its weight as (in_features, out_features))"
    if len(shape) == 4 and got == (shape[2], shape[3], shape[1], shape[0]):
        return "; value.transpose(3, 2, 0, 1) has it (Conv2D keeps its weight as (out, in, K, K))"
    if math.prod(shape) == math.prod(got):
        return f"; value.reshape{shape} has it, if its entries are in this order"
    return ""
