"""Branches: containers whose layers all take x, or each a part of it.

Their outputs are joined to one array, or are a tuple.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, final

import numpy as np

from tinynet.errors import InputError, ShapeError
from tinynet.layer import Layer
from tinynet.layers.masking import Masked, mask_after, masked_output, union
from tinynet.layers.sequential import as_layer
from tinynet.parameter import Array
from tinynet.samples import Samples, check_samples
from tinynet.validation import sample_axis, whole_number

Branch = Layer | Iterable[Layer]  # a list of layers stands for a Sequential of them


class Branches(Masked):
    """The base class of containers of branches.

    Forward: `split` returns the x of each branch, and `join` makes one y of their outputs.
    Backward: `split_gradient` returns the dy of each branch, and `join_gradients` makes one dx.
    """

    def __init__(self, branches: Iterable[Branch]) -> None:
        self.branches = _layers(type(self).__name__, branches)
        self.named_layers()  # raises InputError for an object in two positions
        self.starts_mask = any(getattr(branch, "starts_mask", False) for branch in self.branches)

    def forward(self, x: Samples, padding_mask: Array | None = None) -> Any:
        """x: the input of the branches -> y: their joined outputs."""
        steps = [_with_mask(branch, padding_mask) for branch in self.branches]
        parts = self.split(x)
        try:
            ys = self._each(steps, parts)
        except ShapeError as error:
            if not isinstance(x, tuple) and len({id(part) for part in parts}) > 1:
                error.hint = (
                    f"x is one array, cut into {len(parts)} parts; a tuple (x1, x2) gives each "
                    "branch an array of its own"
                )
            raise
        for branch, y in zip(self.branches, ys, strict=True):
            _check_one_array(self, branch, y)
        y = self.join(ys)
        self.save_for_backward(y, [np.shape(y) for y in ys], isinstance(x, tuple))
        return y

    def backward(self, dy: Any) -> Any:
        """dy: like y -> dx: like x, or None where x is of integers."""
        dy, shapes, several = self.saved_for_backward(dy)
        steps = [branch.backward for branch in self.branches]
        dxs = self._each(steps, self.split_gradient(dy, shapes))
        if several:
            return self.join_tuples(dxs)
        return None if any(dx is None for dx in dxs) else self.join_gradients(dxs)

    def backward_parameters(self, dy: Any) -> None:
        """As `backward`, without dx and what only dx needs."""
        dy, shapes, _ = self.saved_for_backward(dy)
        steps = [branch.backward_parameters for branch in self.branches]
        self._each(steps, self.split_gradient(dy, shapes))

    def output_mask(self, x: Any, padding_mask: Array | None = None) -> Array | None:
        """True where the mask of the output of a branch is."""
        parts = self.split(x) if self.starts_mask else [None] * len(self.branches)
        return union(
            mask_after(branch, part, padding_mask)
            for branch, part in zip(self.branches, parts, strict=True)
        )

    def split(self, x: Any) -> Sequence[Any]:
        """The x of each branch: here all of x."""
        return [x] * len(self.branches)

    def join_gradients(self, dxs: Sequence[Array]) -> Array:
        """One dx of the branches' dx: here the sum, because x contributes to every branch."""
        return _sum(dxs)

    def join_tuples(self, dxs: Sequence[Any]) -> tuple[Any, ...]:
        """The dx of a tuple x: here for each of its arrays the sum, None for integers."""
        of_arrays = zip(*dxs, strict=True)
        return tuple(None if any(d is None for d in dx) else _sum(dx) for dx in of_arrays)

    @abstractmethod
    def join(self, ys: Sequence[Array]) -> Samples:
        """One y of the outputs of the branches."""

    @abstractmethod
    def split_gradient(self, dy: Any, shapes: Sequence[tuple[int, ...]]) -> Sequence[Array]:
        """The dy of each branch; `shapes` are those of their outputs."""

    def _each(self, steps: Sequence[Callable[[Any], Any]], values: Sequence[Any]) -> list[Any]:
        """What each branch's step returns for its value."""
        return [
            _located(f"branch {number} of {len(steps)}", step, value)
            for number, (step, value) in enumerate(zip(steps, values, strict=True), 1)
        ]


@final
class Sum(Branches):
    """y = f₁(x) + f₂(x) + ...: the sum of the outputs of branches that all take x.

    Gradients: every branch gets dy, and dx is the sum of the dx of the branches. A list of layers
    stands for a `Sequential` of them.

    Raises:
        InputError: no list of layers, or branches whose outputs differ in shape.

    >>> from tinynet import Dense
    >>> Sum([Dense(4, 3), [Dense(4, 8), Dense(8, 3)]])(np.ones((2, 4), np.float32)).shape
    (2, 3)
    """

    def join(self, ys: Sequence[Array]) -> Array:
        """The sum."""
        for y in ys[1:]:
            if np.shape(y) != np.shape(ys[0]):
                raise InputError(
                    f"{self!r} expects branches of one output shape, got {_samples(ys)}"
                )
        return _sum(ys)

    def split_gradient(self, dy: Array, shapes: Sequence[tuple[int, ...]]) -> Sequence[Array]:
        """All of dy for each branch."""
        return [dy] * len(shapes)


@final
class Heads(Branches):
    """y = (f₁(x), f₂(x), ...): the outputs of branches that all take x, as a tuple.

    It is the end of a network with several outputs; `MultiTaskLoss` has a loss for each of them,
    and `HeadMetric` is a metric of one. Gradients: every branch gets its part of the tuple dy, and
    dx is the sum of the dx of the branches. A list of layers stands for a `Sequential` of them.

    Raises:
        InputError: no list of layers, or a branch that returns no array.

    >>> from tinynet import Dense, ReLU
    >>> y = Heads([Dense(4, 10), [Dense(4, 8), ReLU(), Dense(8, 1)]])(np.ones((2, 4), np.float32))
    >>> [array.shape for array in y]
    [(2, 10), (2, 1)]
    """

    def join(self, ys: Sequence[Array]) -> Samples:
        """The tuple of the outputs."""
        return tuple(ys)

    def split_gradient(self, dy: Any, shapes: Sequence[tuple[int, ...]]) -> Sequence[Array]:  # noqa: ARG002  # as in the base class
        """Its part of the tuple for each branch."""
        parts: Sequence[Array] = dy
        return parts


class _Joined(Branches):
    """Branches whose outputs are concatenated along one axis."""

    def __init__(self, branches: Iterable[Branch], *, axis: int = 1) -> None:
        super().__init__(branches)
        self.axis = sample_axis(type(self).__name__, axis)

    def join(self, ys: Sequence[Array]) -> Array:
        """The outputs, concatenated along the axis."""
        axes = np.ndim(ys[0])
        if not -axes < self.axis < axes:  # counted from the end, -axes is the batch axis
            raise InputError(
                f"{self!r} expects outputs of which a sample has axis {self.axis}, "
                f"got {_samples(ys)}"
            )
        try:
            return np.concatenate(ys, axis=self.axis)
        except ValueError:  # what differs is another axis, or the number of axes
            raise InputError(
                f"{self!r} expects outputs that differ along axis {self.axis} alone, "
                f"got {_samples(ys)}"
            ) from None

    def output_mask(self, x: Any, padding_mask: Array | None = None) -> Array | None:
        """True where the mask of the output of a branch is; not where steps are concatenated."""
        mask = super().output_mask(x, padding_mask)
        if mask is not None and not (self.axis > 1 or self.axis == -1):
            raise InputError(
                f"{self!r} expects outputs without padded steps, got a padding_mask and axis "
                f"{self.axis}, that of the steps; axis=-1 concatenates features"
            )
        return mask

    def split_gradient(self, dy: Array, shapes: Sequence[tuple[int, ...]]) -> Sequence[Array]:
        """For each branch the part of dy at its output."""
        ends = np.cumsum([shape[self.axis] for shape in shapes])
        return np.split(dy, ends[:-1], axis=self.axis)


@final
class Concatenate(_Joined):
    """y = [f₁(x), f₂(x), ...]: the outputs of branches that all take x, concatenated along `axis`.

    Gradients: every branch gets its part of dy, and dx is the sum of the dx of the branches. The
    axis is 1 by default, that of channels and features; a list of layers stands for a `Sequential`.

    Raises:
        InputError: no list of layers, the axis of the batch, or branches whose outputs differ
            along another axis.

    >>> from tinynet import Dense, ReLU
    >>> Concatenate([Dense(4, 3), [Dense(4, 2), ReLU()]])(np.ones((8, 4), np.float32)).shape
    (8, 5)
    """


@final
class Parallel(_Joined):
    """y = [f₁(x₁), f₂(x₂), ...]: each branch takes its own input, and y joins them along `axis`.

    x is a tuple (x₁, x₂, ...) of several inputs, or one array that is split along the same axis,
    into parts of `sizes`, equal by default. Gradients: each branch gets its part of dy, and dx is
    like x, with None for an array of integers.

    Raises:
        InputError: no list of layers, the axis of the batch, not one size for each branch, an x
            that is not of these sizes or this number of arrays, or branches whose outputs differ
            along another axis.

    >>> from tinynet import Dense
    >>> Parallel([Dense(3, 2), Dense(1, 1)], sizes=[3, 1])(np.ones((8, 4), np.float32)).shape
    (8, 3)
    """

    def __init__(
        self, branches: Iterable[Branch], *, sizes: Sequence[int] | None = None, axis: int = 1
    ) -> None:
        super().__init__(branches, axis=axis)
        self.sizes = None
        if sizes is not None:
            self.sizes = [whole_number("Parallel", "each size", size) for size in sizes]
            if len(self.sizes) != len(self.branches):
                raise InputError(
                    f"Parallel expects a size for each of {len(self.branches)} branches, "
                    f"got {sizes}"
                )

    def split(self, x: Any) -> Sequence[Any]:
        """For each branch its part of x."""
        count, axis = len(self.branches), self.axis
        if isinstance(x, tuple):
            check_samples(self, "x", x, numbers=False)
            self._check_inputs(x)
            if self.sizes is not None:
                raise InputError(f"{self!r} expects one array to split into sizes, got a tuple")
            return x
        self.check_input(x, "N", ..., integers=True)
        length = x.shape[axis] if -x.ndim < axis < x.ndim else 0
        sizes = self.sizes or [length // count] * count
        if not length or sum(sizes) != length:
            expected = f"{sum(sizes)} entries" if self.sizes else f"a multiple of {count} entries"
            raise InputError(
                f"{self!r} expects x to have {expected} along axis {axis}, got {_samples([x])}"
            )
        return np.split(x, np.cumsum(sizes)[:-1], axis=axis)

    def join_gradients(self, dxs: Sequence[Array]) -> Array:
        """The parts of dx, concatenated as those of x."""
        return np.concatenate(dxs, axis=self.axis)

    def join_tuples(self, dxs: Sequence[Any]) -> tuple[Any, ...]:
        """The dx of each array, from its branch."""
        return tuple(dxs)

    def example_input(self, x_or_shape: Any) -> Any:
        """As in a layer; of a tuple of shapes, one for each branch, a tuple of arrays."""
        if isinstance(x_or_shape, tuple) and all(isinstance(s, Sequence) for s in x_or_shape):
            self._check_inputs(x_or_shape)
            pairs = zip(self.branches, x_or_shape, strict=True)
            return tuple(branch.example_input(shape) for branch, shape in pairs)
        return super().example_input(x_or_shape)

    def _check_inputs(self, x: tuple[Any, ...]) -> None:
        count = len(self.branches)
        if len(x) != count:
            raise InputError(
                f"{self!r} expects a tuple x of {count} arrays, one for each branch, got {len(x)}"
            )


@final
class Residual(Masked):
    """A residual connection: y = x + f(x), or with a `shortcut` g: y = g(x) + f(x).

    Gradient: dx = dy + (dx of f), or (dx of g) + (dx of f). The identity carries the gradient past
    the body f unchanged, however deep the network. A list of layers stands for a `Sequential` of
    them. Where the body changes the shape, the shortcut has to change it in the same way.

    Raises:
        InputError: body or shortcut is no layer; in forward, their outputs differ in shape.

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.

    >>> from tinynet import Dense, ReLU
    >>> Residual([Dense(4, 8), ReLU(), Dense(8, 4)])(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    def __init__(self, body: Branch, shortcut: Branch | None = None) -> None:
        self.body = as_layer("Residual", body)
        self.shortcut = None if shortcut is None else as_layer("Residual", shortcut)

    def forward(self, x: Array, padding_mask: Array | None = None) -> Array:
        """x: the input of the body -> y: of the shape of its output."""
        self.check_input(x, "N", ...)
        skipped = x
        if self.shortcut is not None:
            skipped = _located("shortcut", _with_mask(self.shortcut, padding_mask), x)
        y: Array = _located("body", _with_mask(self.body, padding_mask), x)
        for layer, output in ((self.body, y), (self.shortcut, skipped)):
            _check_one_array(self, layer, output)
        if np.shape(y) != np.shape(skipped):
            hint = "; a shortcut, such as a Dense or a 1x1 Conv2D, gives x the shape of y"
            raise InputError(
                f"{self!r} expects its body to give {_samples([skipped])}, "
                f"got {_samples([y])}{hint if self.shortcut is None else ''}"
            )
        y = skipped + y
        self.save_for_backward(y)
        return y

    def output_mask(self, x: Any, padding_mask: Array | None = None) -> Array | None:
        """True where the mask of the body's or the shortcut's output is."""
        skipped = padding_mask
        if self.shortcut is not None:
            skipped = mask_after(self.shortcut, x, padding_mask)
        return union([skipped, mask_after(self.body, x, padding_mask)])

    def backward(self, dy: Array) -> Array:
        """dy: like y -> dx: like x."""
        (dy,) = self.saved_for_backward(dy)
        skipped = dy if self.shortcut is None else _located("shortcut", self.shortcut.backward, dy)
        dx: Array = skipped + _located("body", self.body.backward, dy)
        return dx

    def backward_parameters(self, dy: Array) -> None:
        """As `backward`, without dx and what only dx needs."""
        (dy,) = self.saved_for_backward(dy)
        if self.shortcut is not None:
            _located("shortcut", self.shortcut.backward_parameters, dy)
        _located("body", self.body.backward_parameters, dy)


def _with_mask(layer: Layer, padding_mask: Array | None) -> Callable[[Any], Any]:
    """The layer as a function of x alone."""
    return layer if padding_mask is None else partial(masked_output, layer, padding_mask)


def _located(location: str, step: Callable[[Any], Any], value: Any) -> Any:
    """Calls a step of a layer; an InputError from it gets the location in front."""
    try:
        return step(value)
    except InputError as error:
        error.add_location(location)
        raise


def _check_one_array(container: Layer, layer: Layer | None, y: Any) -> None:
    if isinstance(y, tuple):
        raise InputError(
            f"{container!r} expects layers that return one array, got a tuple of {len(y)} from "
            f"{layer!r}"
        )


def _samples(arrays: Sequence[Any]) -> str:
    """The shapes without the batch axis, which is empty while shapes are checked."""
    return f"samples of shape {', '.join(str(np.shape(array)[1:]) for array in arrays)}"


def _sum(arrays: Sequence[Array]) -> Array:
    total = arrays[0]
    if len(arrays) > 1:
        total = arrays[0] + arrays[1]  # a new array, for the rest to be added in place
        for array in arrays[2:]:
            total += array
    return total


def _layers(who: str, branches: Any) -> tuple[Layer, ...]:
    if isinstance(branches, Layer) or not isinstance(branches, Iterable):
        raise InputError(f"{who} expects a list of branches, got {branches!r}")
    layers = tuple(as_layer(who, branch) for branch in branches)
    if not layers:
        raise InputError(f"{who} expects at least one branch, got an empty list")
    return layers
