"""Layers that move or rescale entries: Flatten, Reshape, Permute, Select, Rescale, Standardize."""

import math
import sys
from collections.abc import Sequence
from typing import Any, Self, final

import numpy as np

from tinynet.errors import InputError
from tinynet.functional import merged_moments
from tinynet.layer import Layer
from tinynet.parameter import Array
from tinynet.validation import finite_number, first_index, index_text, sample_axis, whole_number

CHUNK = 1 << 20  # entries that Standardize.fit reads at a time


@final
class Flatten(Layer):
    """(N, ...) -> (N, D): every sample becomes one row, in C order (the last axis varies fastest).

    Gradient: dx is dy in the shape of x. Integers stay integers.

    Raises:
        InputError: x has no batch axis.

    >>> Flatten()(np.zeros((2, 28, 28))).shape
    (2, 784)
    """

    def forward(self, x: Array) -> Array:
        """x: (N, ...) -> y: (N, D)."""
        self.check_input(x, "N", ..., integers=True)
        y = _reshaped(x, (len(x), math.prod(x.shape[1:])))
        self.save_for_backward(y, x.shape)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, D) -> dx: (N, ...)."""
        dy, shape = self.saved_for_backward(dy)
        return _reshaped(dy, shape)


@final
class Reshape(Layer):
    """(N, ...) -> (N, *shape): the entries of every sample in another shape, in C order.

    One size may be -1, which is inferred. Gradient: dx is dy in the shape of x. Integers stay
    integers.

    Raises:
        InputError: `shape` is not a list of sizes, or a sample of x has another number of entries.

    >>> Reshape((1, 28, -1))(np.zeros((2, 784))).shape
    (2, 1, 28, 28)
    """

    def __init__(self, shape: Sequence[int]) -> None:
        if isinstance(shape, str) or not isinstance(shape, Sequence):
            raise InputError(f"Reshape expects the shape of a sample, got {shape!r}")
        sizes = [whole_number("Reshape", "each size", size, at_least=-1) for size in shape]
        if sizes.count(-1) > 1 or 0 in sizes:
            raise InputError(f"Reshape expects sizes >= 1, at most one of them -1, got {shape!r}")
        self.shape = tuple(sizes)

    def forward(self, x: Array) -> Array:
        """x: (N, ...) -> y: (N, *shape)."""
        self.check_input(x, "N", ..., integers=True)
        entries, known = math.prod(x.shape[1:]), abs(math.prod(self.shape))
        fits = entries % known == 0 if -1 in self.shape else entries == known
        if not fits:
            expected = f"a multiple of {known}" if -1 in self.shape else f"{known}"
            raise InputError(
                f"{self!r} expects samples of {expected} entries, got {entries} in {x.shape[1:]}"
            )
        # Computed here, since NumPy cannot infer a size from an empty batch.
        sizes = [entries // known if size == -1 else size for size in self.shape]
        y = _reshaped(x, (len(x), *sizes))
        self.save_for_backward(y, x.shape)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, *shape) -> dx: (N, ...)."""
        dy, shape = self.saved_for_backward(dy)
        return _reshaped(dy, shape)


def _reshaped(x: Array, shape: tuple[int, ...]) -> Array:
    # Always a copy: the caller may write to y, while x is often a slice of the data set.
    y = x.reshape(shape)
    return y.copy() if np.may_share_memory(y, x) else y


@final
class Permute(Layer):
    """The axes of x in another order: axis k of y is axis `axes[k]` of x; axis 0, the batch, stays.

    `Permute((0, 3, 1, 2))` turns channels-last images into (N, C, H, W). Gradient: dx is dy with
    the inverse permutation. It is `permute` of PyTorch. Integers stay integers.

    Raises:
        InputError: `axes` is not a permutation that begins with 0, or x has another number of axes.

    >>> Permute((0, 3, 1, 2))(np.zeros((8, 28, 28, 3))).shape
    (8, 3, 28, 28)
    """

    def __init__(self, axes: Sequence[int]) -> None:
        order = "each axis once, such as (0, 2, 1)"
        if isinstance(axes, str) or not isinstance(axes, Sequence):
            raise InputError(f"Permute expects {order}, got {axes!r}")
        self.axes = tuple(whole_number("Permute", "each axis", axis, at_least=0) for axis in axes)
        if sorted(self.axes) != list(range(len(axes))):
            raise InputError(f"Permute expects {order}, got {axes!r}")
        if not axes or axes[0] != 0:
            raise InputError(f"Permute expects axis 0, the batch, to stay the first, got {axes!r}")

    def forward(self, x: Array) -> Array:
        """x: (N, ...) -> y: (N, ...)."""
        self.check_input(
            x, "N", *(f"axis {axis}" for axis in range(1, len(self.axes))), integers=True
        )
        y = x.transpose(self.axes).copy()
        self.save_for_backward(y)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, ...) -> dx: (N, ...)."""
        (dy,) = self.saved_for_backward(dy)
        dx: Array = dy.transpose(np.argsort(self.axes)).copy()
        return dx


@final
class Select(Layer):
    """One entry or a slice along an axis: `Select(-1)` is the last step of sequences (N, T, D).

    An index removes its axis, a slice keeps it: `Select(slice(0, 3), axis=2)`. Gradient: dx is dy
    at the selected entries, and 0 elsewhere. Integers stay integers.

    Raises:
        InputError: `index` is neither a whole number nor a slice of them, the axis is that of the
            batch, or x has no such entry.

    >>> Select(-1)(np.zeros((8, 20, 5))).shape
    (8, 5)
    """

    def __init__(self, index: int | slice, *, axis: int = 1) -> None:
        if isinstance(index, slice):
            try:
                index.indices(1)  # raises for what NumPy would refuse later
            except (TypeError, ValueError) as error:
                raise InputError(f"Select expects a slice of whole numbers, got {index}") from error
        else:
            index = whole_number("Select", "index", index, at_least=-sys.maxsize)
        self.index = index
        self.axis = sample_axis("Select", axis)
        self.keeps_mask = isinstance(index, slice) and self.axis > 1

    def forward(self, x: Array) -> Array:
        """x: (N, ..., T, ...) -> y: (N, ..., ...), or with a slice (N, ..., some of T, ...)."""
        self.check_input(x, "N", ..., integers=True)
        index = self._index(x.shape)
        y = x[index].copy()
        self.save_for_backward(y, x.shape, index)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: like y -> dx: (N, ..., T, ...)."""
        dy, shape, index = self.saved_for_backward(dy)
        dx = np.zeros(shape, dy.dtype)
        dx[index] = dy
        return dx

    def _index(self, shape: tuple[int, ...]) -> tuple[int | slice, ...]:
        axis = self.axis + len(shape) * (self.axis < 0)
        if not 0 < axis < len(shape):
            raise InputError(
                f"{self!r} expects x to have an axis {self.axis}, got {len(shape)} axes"
            )
        if not isinstance(self.index, slice) and not -shape[axis] <= self.index < shape[axis]:
            raise InputError(
                f"{self!r} expects x to have an entry {self.index} along axis {axis}, "
                f"got samples of shape {shape[1:]}"
            )
        return (*(slice(None),) * axis, self.index)


@final
class Rescale(Layer):
    """y = scale · x + offset, for any shape: `Rescale(1 / 255)` maps pixels 0..255 to 0..1.

    Gradient: dx = scale · dy. Integers become floats of the layer's dtype, so that images stay in
    memory as bytes and a trained network takes them as they are.

    Raises:
        InputError: scale or offset is not finite, or x is not an array of numbers.

    >>> Rescale(1 / 255)(np.array([[0, 255]], np.uint8))
    array([[0., 1.]], dtype=float32)
    """

    keeps_mask = True

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
        self.save_for_backward(y)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, ...) -> dx: (N, ...)."""
        (dy,) = self.saved_for_backward(dy)
        return dy * self.scale


@final
class Standardize(Layer):
    """y = (x - mean) / std of each feature, from data: `Standardize(3).fit(x)`.

    x, y: (N, ..., D) with D = num_features; axis=1 for the channels of images (N, C, H, W); (N,)
    is one feature. std is the root of the mean squared deviation, and 1 for a constant feature.
    Gradient: dx = dy / std; mean and std are not trained, and change by `fit` and `partial_fit`
    alone. They come from float64 buffers, `.mean`, `.var` and `.count`, which are saved with a
    network: it then takes raw rows. Wider floats than those of the layer, and integers, become
    floats of the layer's dtype, after the mean is subtracted, so that dates keep their digits.

    Raises:
        InputError: an argument is out of range, x is of another shape, or `fit` was not called.

    Source: LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998, section 4.3.

    >>> Standardize(1).fit(np.array([[2000.0], [2002.0]]))(np.array([[2003]]))
    array([[2.]], dtype=float32)
    """

    keeps_mask = True

    def __init__(self, num_features: int, *, axis: int = -1) -> None:
        self.num_features = whole_number("Standardize", "num_features", num_features)
        self.axis = sample_axis("Standardize", axis)
        self.mean = np.zeros(self.num_features)
        self.var = np.ones(self.num_features)
        self.count = np.array(0)  # of values for each feature

    @property
    def std(self) -> Array:
        """The standard deviations (D,); 1 for a constant feature."""
        return np.sqrt(np.where(self.var > 0, self.var, 1))

    def fit(self, x: Array, *, features: Any = slice(None)) -> Self:
        """Takes mean and std from x (N, ..., D), also memory-mapped; returns self.

        `features` indexes those to standardize, others stay as they are, such as one-hot columns.
        """
        return self._fit(x, 0, features)

    def partial_fit(self, x: Array, *, features: Any = slice(None)) -> Self:
        """As `fit`, of all x since the last `fit` together."""
        return self._fit(x, int(self.count), features)

    def forward(self, x: Array) -> Array:
        """x: (N, ..., D) -> y: the same shape."""
        self._check("x", x)
        if x.size:  # an empty batch only asks for shapes
            self._check_fitted()
        floats = x.dtype.kind == "f"
        dtype = x.dtype if floats and x.dtype.itemsize < self.dtype.itemsize else self.dtype
        y: Array = np.subtract(x, self._along(x, self.mean), dtype=np.float64)
        y = (y / self._along(x, self.std)).astype(dtype, copy=False)
        self.save_for_backward(y, x.dtype if floats else dtype)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, ..., D) -> dx: the same shape."""
        dy, dtype = self.saved_for_backward(dy)
        dx: Array = (dy / self._along(dy, self.std)).astype(dtype)
        return dx

    def inverse(self, y: Array) -> Array:
        """Returns std · y + mean in float64: standardized targets (N, ..., D) in their own unit."""
        self._check("y", y)
        self._check_fitted()
        x: Array = y * self._along(y, self.std) + self._along(y, self.mean)
        return x

    def _check(self, name: str, x: Array) -> None:
        pattern: list[Any] = ["N", ..., self.num_features]
        pattern += [f"axis {axis}" for axis in range(self.axis + 1, 0)]
        if self.axis > 0:
            axes = [f"axis {axis}" for axis in range(1, self.axis)]
            pattern = ["N", *axes, self.num_features, ...]
        if self.num_features == 1 == getattr(x, "ndim", 0):
            pattern = ["N"]
        self.check_input(x, *pattern, name=name, integers=True)

    def _check_fitted(self) -> None:
        if not self.count:
            raise InputError(
                f"{self!r} expects a mean and a standard deviation, got none: "
                "call .fit(x) with the training samples, or load a saved network"
            )

    def _along(self, x: Array, values: Array) -> Array:
        """(D,) in a shape that broadcasts along the axis of the features."""
        sizes = [1] * x.ndim
        sizes[self.axis if x.ndim > 1 else 0] = self.num_features
        return values.reshape(sizes)

    def _fit(self, x: Array, count: int, features: Any) -> Self:
        self._check("x", x)
        try:
            chosen = np.isin(np.arange(self.num_features), np.arange(self.num_features)[features])
        except IndexError as error:
            raise InputError(f"{self!r}.fit expects features to be an index, {error}") from error
        if not x.size:
            raise InputError(f"{self!r}.fit expects at least one sample, got x of shape {x.shape}")
        # Relative to a value near the mean, sums of squares keep their digits.
        origin = self.mean.copy() if count else self._features(x[:1])[:, 0].copy()
        mean, squares = np.zeros(self.num_features), self.var * count
        size = max(1, CHUNK // x[0].size)
        for start in range(0, len(x), size):
            part = np.asarray(x[start : start + size])
            self._check_finite(part, start)
            values = self._features(part) - origin[:, None]
            mean, squares = merged_moments(count, mean, squares, values)
            count += values.shape[1]
        self.mean[...] = np.where(chosen, origin + mean, 0)
        self.var[...], self.count[...] = np.where(chosen, squares / count, 1), count
        return self

    def _features(self, x: Array) -> Array:
        """(N, ..., D) -> (D, M) in float64."""
        columns = np.moveaxis(x, self.axis if x.ndim > 1 else 0, 0) if self.num_features > 1 else x
        return np.ascontiguousarray(columns.reshape(self.num_features, -1), np.float64)

    def _check_finite(self, part: Array, start: int) -> None:
        wrong = ~np.isfinite(part)
        if wrong.any():
            at = first_index(wrong)
            feature = at[self.axis] if len(at) > 1 else 0
            raise InputError(
                f"{self!r}.fit expects finite numbers, got {part[at]} at index "
                f"{index_text((start + at[0], *at[1:]))}, in feature {feature}; "
                "datasets.TableEncoder fills missing values, np.nan_to_num(x) makes them 0"
            )
