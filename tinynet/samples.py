"""Samples: an array (N, ...), or a tuple of such arrays for several inputs, outputs or targets.

All arrays of a tuple have the same samples on axis 0: x = (images, ages) or y = (labels, boxes).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinynet.errors import InputError, Shape
from tinynet.parameter import Array
from tinynet.validation import array_hint, check_array, whole_number

Samples = Array | tuple[Array, ...]


def arrays_of(samples: Samples) -> tuple[Array, ...]:
    """All arrays: one, or those of the tuple."""
    return samples if isinstance(samples, tuple) else (samples,)


def named_arrays(name: str, samples: Samples) -> dict[str, Array]:
    """All arrays by name.

    >>> list(named_arrays("x", (np.zeros(2), np.ones(2))))
    ['x[0]', 'x[1]']
    """
    if not isinstance(samples, tuple):
        return {name: samples}
    return {f"{name}[{index}]": array for index, array in enumerate(samples)}


def each_array(function: Callable[[Array], Any], samples: Samples) -> Any:
    """The function of the array, or a tuple with that of each array.

    >>> each_array(np.shape, (np.zeros(2), np.ones((2, 3))))
    ((2,), (2, 3))
    """
    return tuple(map(function, samples)) if isinstance(samples, tuple) else function(samples)


def _has_arrays(values: tuple[Any, ...]) -> bool:
    return any(isinstance(value, np.ndarray) for value in values)


def take(samples: Samples, rows: Any) -> Samples:
    """The samples at these positions: an index array or a slice."""
    taken: Samples = each_array(lambda array: array[rows], samples)
    return taken


def count_samples(samples: Any) -> int:
    """N."""
    return len(samples[0] if isinstance(samples, tuple) else samples)


def concatenate(batches: Sequence[Any]) -> Samples:
    """One batch of several, each an array or all of them tuples.

    >>> concatenate([(np.zeros(1), np.ones(1)), (np.zeros(1), np.ones(1))])
    (array([0., 0.]), array([1., 1.]))
    """
    if isinstance(batches[0], tuple):
        return tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))
    return np.concatenate(batches)


def check_samples(who: Any, name: str, samples: Any, *, numbers: bool = True) -> int:
    """Returns N; requires an array with samples, or a tuple of arrays of one length.

    >>> check_samples("fit", "x", (np.zeros(2), np.zeros(3)))
    Traceback (most recent call last):
    tinynet.errors.InputError: fit expects the arrays of x to have one number of samples, got 2 \
and 3
    """
    if isinstance(samples, tuple) and not _has_arrays(samples):
        check_array(who, name, samples)  # a tuple of numbers is none of arrays
    for part, array in named_arrays(name, samples).items():
        check_array(who, part, array, numbers=numbers)
        if not array.ndim:
            raise InputError(f"{who} expects {part} to have samples, got shape ()")
    sizes = [len(array) for array in arrays_of(samples)]
    if len(set(sizes)) > 1:
        raise InputError(
            f"{who} expects the arrays of {name} to have one number of samples, got "
            f"{' and '.join(map(str, sizes))}"
        )
    return sizes[0]


def example_input(layer: Any, x_or_shape: Any) -> Samples:
    """An x as it is, or zeros of a shape: floats, or integers where the first layer needs them.

    >>> from tinynet import ReLU
    >>> example_input(ReLU(), (1, 2))
    array([[0., 0.]], dtype=float32)
    """
    if isinstance(x_or_shape, tuple) and _has_arrays(x_or_shape):
        return x_or_shape
    who = type(layer).__name__
    if isinstance(x_or_shape, Sequence) and any(isinstance(s, Sequence) for s in x_or_shape):
        hint = "arrays in their place, as in summary((x1, x2)), do it for any network"
        if isinstance(x_or_shape, list):
            hint = f"several shapes are a tuple; {hint}"
        raise InputError(f"{who} expects one shape, got {x_or_shape!r:.60}; {hint}")
    if not isinstance(x_or_shape, Sequence):
        hint = array_hint(x_or_shape)
        got = f"{type(x_or_shape).__name__}; {hint}" if hint else repr(x_or_shape)
        raise InputError(f"{who} expects an array or the shape of one, got {got}")
    sizes = [whole_number(who, "each size of a shape", size, at_least=0) for size in x_or_shape]
    first = next(inner for _, inner in layer.named_layers() if len(inner.named_layers()) == 1)
    return np.zeros(sizes, np.int64 if first.takes_integers else layer.dtype)


def gradient_for(layer: Any, name: str, dy: Any, shape: Shape, dtype: Any) -> Any:
    """Returns dy in the float dtype of an array y; requires it to have the shape of y.

    None is the gradient of an array of integers.
    """
    if dy is None and dtype is not None and dtype.kind != "f":
        return None
    dy = dy if isinstance(dy, tuple) else np.asarray(dy)
    if isinstance(dy, tuple) or dy.shape != shape or dy.dtype.kind not in "fiub":
        raise _gradient_error(layer, name, dy, shape)
    return dy.astype(dtype, copy=False) if dtype is not None and dtype.kind == "f" else dy


def _gradient_error(layer: Any, name: str, dy: Any, shape: Shape) -> InputError:
    got = f"a tuple of {len(dy)}" if isinstance(dy, tuple) else f"{dy.shape} of {dy.dtype}"
    hint = ""
    if not type(layer).__module__.startswith("tinynet."):
        hint = "; save_for_backward takes y first, then the values to keep"
        if np.shape(dy) == () != shape:
            hint = "; write dy, ... = self.saved_for_backward(dy)"
    return InputError(
        f"{layer!r}.backward expects {name} of the shape of {name[1:]}, {shape}, got {got}{hint}"
    )


def gradients_for(layer: Any, dy: Any, ys: Sequence[tuple[Shape, Any]]) -> tuple[Any, ...]:
    """As `gradient_for`, for each array of a tuple y, of which `ys` has shape and dtype."""
    if not isinstance(dy, tuple) or len(dy) != len(ys):
        got = f"{len(dy)}" if isinstance(dy, tuple) else type(dy).__name__
        raise InputError(
            f"{layer!r}.backward expects dy to be a tuple of {len(ys)} gradients, one for each "
            f"array of y, got {got}"
        )
    named = zip(named_arrays("dy", dy).items(), ys, strict=True)
    return tuple(gradient_for(layer, name, d, *y) for (name, d), y in named)
