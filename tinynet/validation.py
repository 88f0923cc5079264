"""Checks of arguments, arrays and shapes, each with one sentence for what is wrong.

A wrong size or dtype that is not refused shows up much later, as an unintended broadcast.
"""

import math
import operator
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinynet.errors import InputError, Pattern, Shape, ShapeError


def whole_number(who: str, name: str, value: Any, *, at_least: int = 1) -> int:
    """Returns `value` as an int, or raises InputError if it is no whole number or below `at_least`.

    >>> whole_number("Dense", "in_features", 0)
    Traceback (most recent call last):
    tinynet.errors.InputError: Dense expects in_features to be a whole number >= 1, got 0
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = at_least - 1
    if number < at_least:
        got = f"{value!r}"
        if name == "batch_size" and isinstance(value, np.ndarray):
            got = f"an array; several inputs are one tuple, {who}((x1, x2))"
        raise InputError(f"{who} expects {name} to be a whole number >= {at_least}, got {got}")
    return number


def finite_number(
    who: str,
    name: str,
    value: Any,
    *,
    at_least: float = -math.inf,
    at_most: float = math.inf,
    below: float = math.inf,
) -> float:
    """Returns `value` as a float, or raises InputError if it is not finite or out of bounds.

    >>> finite_number("SGD", "learning_rate", float("nan"), at_least=0)
    Traceback (most recent call last):
    tinynet.errors.InputError: SGD expects learning_rate to be a finite number >= 0, got nan
    """
    try:
        number = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and at_least <= number <= at_most and number < below):
        bounds = [(">=", at_least), ("<=", at_most), ("<", below)]
        words = " and".join(f" {sign} {bound:g}" for sign, bound in bounds if math.isfinite(bound))
        raise InputError(f"{who} expects {name} to be a finite number{words}, got {value!r}")
    return number


def one_of(who: str, name: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    """Returns `value`, or raises InputError if it is not one of the allowed values.

    >>> one_of("Huber", "reduction", "none", ("mean", "sum"))
    Traceback (most recent call last):
    tinynet.errors.InputError: Huber expects reduction to be 'mean' or 'sum', got 'none'
    """
    if not any(type(value) is type(one) and value == one for one in allowed):
        choice = " or ".join(map(repr, allowed))
        raise InputError(f"{who} expects {name} to be {choice}, got {value!r}")
    return value


def sample_axis(who: str, axis: Any) -> int:
    """Returns `axis` as an int, or raises InputError if it is no whole number or 0, the batch.

    >>> sample_axis("Concatenate", 0)
    Traceback (most recent call last):
    tinynet.errors.InputError: Concatenate expects an axis of a sample, got 0, the batch axis
    """
    number = whole_number(who, "axis", axis, at_least=-sys.maxsize)
    if number == 0:
        raise InputError(f"{who} expects an axis of a sample, got 0, the batch axis")
    return number


def check_array(who: Any, name: str, value: Any, *, numbers: bool = True) -> None:
    """Raises InputError, with the remedy, unless `value` is a NumPy array (of numbers).

    A memory map is one. Masked arrays and np.matrix are not: they compute by other rules.

    >>> check_array("Dense(1, 2)", "x", [[1.0], [2.0]])
    Traceback (most recent call last):
    tinynet.errors.InputError: Dense(1, 2) expects x to be a NumPy array, got list; \
np.asarray(x) makes one
    """
    if not _is_plain(value) or (numbers and value.dtype.kind not in "fiub"):
        raise _array_error(who, name, value)


def check_floats(layer: Any, name: str, x: Any, integers: bool) -> None:
    """Raises InputError unless x is an array of floats, or of any numbers with `integers`.

    >>> from tinynet import ReLU
    >>> check_floats(ReLU(), "x", np.array([[1], [2]]), False)
    Traceback (most recent call last):
    tinynet.errors.InputError: ReLU() expects x of a float dtype, got int64; Rescale(1 / 255) or \
x.astype(np.float32) makes floats of it
    """
    check_array(layer, name, x, numbers=integers)
    if x.dtype.kind != "f" and not integers:
        pixels = "Rescale(1 / 255) or x.astype(np.float32) makes floats of it"
        hint = pixels if x.dtype.kind in "iub" else array_hint(x, name)
        raise InputError(
            f"{layer!r} expects {name} of a float dtype, got {x.dtype}{hint and '; '}{hint}"
        )


def _array_error(who: Any, name: str, value: Any) -> InputError:
    expected = "of a number dtype" if _is_plain(value) else "to be a NumPy array"
    got = value.dtype if _is_plain(value) else type(value).__name__
    hint = array_hint(value, name)
    return InputError(f"{who} expects {name} {expected}, got {got}{hint and '; '}{hint}")


def array_hint(value: Any, name: str = "x") -> str:
    """How to make an array of numbers of something that is none; an empty string if unknown.

    >>> array_hint(np.array(["cat", "dog"]), "labels")
    'classes, labels = np.unique(labels, return_inverse=True) makes integers of them'
    """
    variable = name.split()[-1].partition("[")[0] if _is_plain(value) else name.split()[-1]
    if _is_plain(value):
        return _number_hint(value, variable)
    several = _several_hint(value, variable)
    conversion = _conversion(value, variable)
    if not conversion or (several and not isinstance(value, list)):
        return several
    try:
        rows = np.asarray(value[:100])  # enough to see what the array would hold
    except ValueError:
        return several or f"{conversion} makes one of samples that have the same shape"
    except Exception:  # not everything can be sliced
        return f"{conversion} makes one"
    numeric = rows.ndim == 0 or rows.dtype.kind in "fiub"
    further = "" if numeric else _number_hint(rows, variable)
    return "; ".join(filter(None, (f"{conversion} makes one", further, several)))


def _several_hint(value: Any, variable: str) -> str:
    """What several arrays with the same number of samples need in place of one array."""
    arrays = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(arrays, list | tuple) or not all(_is_plain(a) and a.ndim for a in arrays):
        return ""
    if len({len(array) for array in arrays}) != 1:
        return ""
    if not isinstance(value, tuple):
        values = f"{variable}.values()" if isinstance(value, dict) else variable
        return f"tuple({values}) makes several {'inputs' if variable == 'x' else 'outputs'} of it"
    if variable == "x":
        return (
            "Parallel takes a tuple, with a branch for each array, and Masking (x, mask) or "
            "(x, lengths)"
        )
    if "[" in variable or variable == "y":
        return "a tuple holds arrays, and no tuples"
    return "MultiTaskLoss and HeadMetric take a tuple, with an array for each head"


def _is_plain(value: Any) -> bool:
    return type(value) is np.ndarray or (
        isinstance(value, np.ndarray)
        and not (isinstance(value, np.matrix) or hasattr(value, "filled"))
    )


def _conversion(value: Any, variable: str) -> str:
    """The expression that makes an array of a container, by its methods; nothing is imported.

    `to_numpy` is a method of the tables of pandas, Polars, Arrow and xarray, `toarray` of the
    sparse matrices of SciPy, `detach` of the tensors of PyTorch, and `filled` of masked arrays.
    """
    if hasattr(value, "to_numpy"):
        return f"{variable}.to_numpy()"
    if hasattr(value, "toarray"):
        return f"{variable}.toarray()"
    if hasattr(value, "detach"):
        on_cpu = getattr(getattr(value, "device", None), "type", "cpu") == "cpu"
        return f"{variable}.detach(){'' if on_cpu else '.cpu()'}.numpy()"
    if hasattr(value, "filled"):
        return f"{variable}.filled(number)"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if len(value) and hasattr(value[0], "detach"):
            return f"np.stack([{_conversion(value[0], 'row')} for row in {variable}])"
        return f"np.asarray({variable})"
    if isinstance(value, Iterator):
        return f"np.asarray(list({variable}))"
    return f"np.asarray({variable})" if hasattr(value, "__array__") else ""


def _number_hint(array: np.typing.NDArray[Any], variable: str) -> str:
    """How to make numbers of an array of objects, strings or records."""
    if array.dtype.names:
        return f"numpy.lib.recfunctions.structured_to_unstructured({variable}) makes columns of it"
    if array.dtype.kind not in "OSTU":
        return ""
    if array.size and isinstance(array.flat[0], np.ndarray | list | tuple):
        return f"np.stack({variable}) makes one array of samples that have the same shape"
    try:
        array.astype(np.float64)
        numbers = f"{variable}.astype(np.float32) makes numbers of them"
    except (TypeError, ValueError):
        numbers = ""
    if variable in ("y", "targets", "labels"):
        labels = "classes, labels = np.unique(labels, return_inverse=True) makes integers of them"
        return f"{labels}; {numbers}" if numbers else labels
    return numbers or (
        "words and gaps need numbers in their place: datasets.TableEncoder makes them of a table"
    )


def first_index(wrong: np.typing.NDArray[np.bool_]) -> Shape:
    """The index of the first True of an array that has one.

    >>> first_index(np.array([[False, False], [True, True]]))
    (1, 0)
    """
    return tuple(map(int, np.argwhere(wrong)[0]))


def index_text(index: Shape) -> str:
    """An index as messages say it: a number for one axis, else a tuple."""
    return str(index[0] if len(index) == 1 else index)


def check_shape(layer: Any, name: str, array: Any, pattern: Pattern) -> None:
    """Raises ShapeError unless the array has the shape of the pattern.

    A number in the pattern is required, a letter stands for any size, ... for any axes.

    >>> check_shape("Dense(784, 10)", "x", np.ones((32, 28, 28)), (..., 784))
    Traceback (most recent call last):
    tinynet.errors.ShapeError: Dense(784, 10) expects x of shape (..., 784), got (32, 28, 28); \
Flatten() before it makes rows of 784
    """
    if not matches(array.shape, pattern):
        raise shape_error(layer, name, pattern, array.shape)


def shape_error(layer: Any, name: str, pattern: Pattern, got: Shape) -> ShapeError:
    """The error for an array of the wrong shape, with a hint where the shapes suggest one."""
    hint = shape_hint(layer, pattern, got) if name == "x" else ""
    return ShapeError(layer, name, pattern, got, hint)


def for_batch(error: ShapeError, size: int) -> ShapeError:
    """The same error for a batch of this size, if it was raised for an empty batch."""
    if error.got[:1] != (0,):
        return error
    real = shape_error(error.layer, error.name, error.pattern, (size, *error.got[1:]))
    real.location, real.source = error.location, error.source
    if error.hint != shape_error(error.layer, error.name, error.pattern, error.got).hint:
        real.hint = error.hint  # that of a container
    return real


def matches(shape: Shape, pattern: Pattern) -> bool:
    """Whether a shape has the sizes that the pattern requires.

    >>> matches((8, 2, 3), (..., 3)), matches((8, 3), ("N", 3)), matches((8, 4), ("N", 3))
    (True, True, False)
    """
    if ... in pattern:
        head, free = pattern.index(...), len(shape) - len(pattern) + 1
        if free < 0:
            return False
        shape = shape[:head] + shape[head + free :]
        pattern = [*pattern[:head], *pattern[head + 1 :]]
    if len(shape) != len(pattern):
        return False
    # A plain loop is the fastest here, and every forward of every layer calls this.
    for size, required in zip(shape, pattern, strict=True):
        if size != required and not isinstance(required, str):
            return False
    return True


def shape_hint(layer: Any, pattern: Pattern, got: Shape) -> str:
    """What would make x fit, where the shapes suggest it; else an empty string.

    >>> shape_hint(None, (..., 784), (32, 28, 28))
    'Flatten() before it makes rows of 784'
    """
    required = [size for size in pattern if isinstance(size, int)]
    if len(required) != 1:
        return ""
    (size,) = required
    if matches((1, *got), pattern) or (len(got) == 2 and math.prod(got) == size == pattern[-1]):
        return "a single sample is a batch of one: x[None]"
    if len(pattern) == 4 and pattern[1] == size:
        if len(got) == 4 and got[3] == size:
            return "the channels come first: Permute((0, 3, 1, 2)) before it puts them there"
        if len(got) == 3 and size == 1:
            return f"Reshape((1, {got[1]}, {got[2]})) before it gives the images a channel"
        side = math.isqrt(got[1] // size) if len(got) == 2 else 0
        if side and got[1] == size * side**2:
            return f"Reshape(({size}, {side}, {side})) before it makes images of the rows"
    elif pattern[-1] == size:
        if len(pattern) == 3 and len(got) == 2 and size == 1:
            return f"Reshape(({got[1]}, 1)) before it gives every step its one feature"
        if len(got) > 2 and math.prod(got[1:]) == size:
            return f"Flatten() before it makes rows of {size}"
        if len(got) == 2 and got[0] == size:
            return "the samples are its rows: x.T"
        if len(got) == 4 and got[1] == size:
            return "GlobalAvgPool2D() before it leaves the channels alone"
        if len(got) == 4 and (name := _argument(layer, size)):
            rows = math.prod(got[1:])
            return f"Flatten() before it makes rows of {rows}, and {name}={rows} would fit them"
    return _other_size(layer, pattern, got, size)


def _other_size(layer: Any, pattern: Pattern, got: Shape, size: int) -> str:
    """The argument of the layer that would have to be another number, by its name."""
    axis = list(pattern).index(size)
    axis -= len(pattern) if ... in pattern[:axis] else 0
    if not -len(got) <= axis < len(got):
        return ""
    fitting = [*pattern]
    fitting[axis] = got_size = got[axis]
    name = _argument(layer, size)
    return f"{name}={got_size} would fit it" if name and matches(got, fitting) else ""


def _argument(layer: Any, size: int) -> str:
    attributes: dict[str, Any] = getattr(layer, "__dict__", {})
    for name, value in attributes.items():
        if type(value) is int and value == size and not name.startswith("_"):
            return name
    return ""
