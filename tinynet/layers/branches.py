"""Layers side by side: one x goes several ways, and the ways meet again."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.layer import Layer
from tinynet.layers.sequential import Sequential
from tinynet.parameter import Array
from tinynet.validation import sample_axis, whole_number

Branch = Layer | Iterable[Layer]  # a list of layers stands for a Sequential of them


class Branches(Layer):
    """What layers with branches share: x is split, outputs are joined, and back the same way.

    `split` gives each branch its x, and `gather` makes one dx of theirs; `join` makes one y of
    theirs, and `divide` gives each its dy.
    """

    def __init__(self, branches: Iterable[Branch]) -> None:
        self.branches = _layers(type(self).__name__, branches)
        self.named_layers()  # Refuses an object that stands at two places.

    def forward(self, x: Array) -> Array:
        """x: what every branch takes -> y: what they give together."""
        parts = self.split(x)
        ys = [self._in(index, self.branches[index], part) for index, part in enumerate(parts)]
        y = self.join(ys)
        self.save_for_backward(y, [np.shape(y) for y in ys])
        return y

    def backward(self, dy: Array) -> Array | None:
        """dy: like y -> dx: like x, or None where x is of integers."""
        dy, shapes = self.saved_for_backward(dy)
        dys = self.divide(dy, shapes)
        dxs = [
            self._in(index, branch.backward, dys[index])
            for index, branch in enumerate(self.branches)
        ]
        return None if any(dx is None for dx in dxs) else self.gather(dxs)

    def backward_parameters(self, dy: Array) -> None:
        """As `backward`, without dx and what only dx would need."""
        dy, shapes = self.saved_for_backward(dy)
        dys = self.divide(dy, shapes)
        for index, branch in enumerate(self.branches):
            self._in(index, branch.backward_parameters, dys[index])

    def split(self, x: Array) -> Sequence[Array]:
        """What each branch takes: here all of x."""
        return [x] * len(self.branches)

    def gather(self, dxs: Sequence[Array]) -> Array:
        """The dx of their dx: here the sum, for x reaches the loss on every way."""
        return _sum(dxs)

    @abstractmethod
    def join(self, ys: Sequence[Array]) -> Array:
        """One y of theirs."""

    @abstractmethod
    def divide(self, dy: Array, shapes: Sequence[tuple[int, ...]]) -> Sequence[Array]:
        """The dy of each branch, whose y had these shapes."""

    def _in(self, index: int, step: Callable[[Any], Any], value: Any) -> Any:
        return _at(f"branch {index + 1} of {len(self.branches)}", step, value)


@final
class Sum(Branches):
    """y = f₁(x) + f₂(x) + ...: every branch takes x, and their outputs are added.

    Gradients: every branch gets dy, and dx is the sum of theirs. A list of layers stands for a
    `Sequential` of them.

    Raises:
        InputError: no list of layers, or branches whose outputs differ in shape.

    >>> from tinynet import Dense
    >>> Sum([Dense(4, 3), [Dense(4, 8), Dense(8, 3)]])(np.ones((2, 4), np.float32)).shape
    (2, 3)
    """

    def join(self, ys: Sequence[Array]) -> Array:
        """Their sum."""
        for y in ys[1:]:
            if np.shape(y) != np.shape(ys[0]):
                raise InputError(
                    f"{self!r} expects branches of one output shape, got {_samples(ys)}"
                )
        return _sum(ys)

    def divide(self, dy: Array, shapes: Sequence[tuple[int, ...]]) -> Sequence[Array]:
        """All of dy for each."""
        return [dy] * len(shapes)


class _Joined(Branches):
    """Branches whose outputs are laid side by side along one axis."""

    def __init__(self, branches: Iterable[Branch], *, axis: int = 1) -> None:
        super().__init__(branches)
        self.axis = sample_axis(type(self).__name__, axis)

    def join(self, ys: Sequence[Array]) -> Array:
        """Side by side."""
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

    def divide(self, dy: Array, shapes: Sequence[tuple[int, ...]]) -> Sequence[Array]:
        """To each the part that it gave."""
        ends = np.cumsum([shape[self.axis] for shape in shapes])
        return np.split(dy, ends[:-1], axis=self.axis)


@final
class Concatenate(_Joined):
    """y = [f₁(x), f₂(x), ...]: every branch takes x; outputs stand side by side along `axis`.

    Gradients: every branch gets its part of dy, and dx is the sum of theirs. The axis is 1 by
    default, that of channels and features; a list of layers stands for a `Sequential` of them.

    Raises:
        InputError: no list of layers, the axis of the batch, or branches whose outputs differ
            along another axis.

    >>> from tinynet import Dense, ReLU
    >>> Concatenate([Dense(4, 3), [Dense(4, 2), ReLU()]])(np.ones((8, 4), np.float32)).shape
    (8, 5)
    """


@final
class Parallel(_Joined):
    """y = [f₁(x₁), f₂(x₂), ...]: each branch takes its own part of x along `axis`.

    `sizes` are those of the parts; by default they are equal. Outputs stand side by side along the
    same axis. Gradients: each branch gets its part of dy, and dx is theirs side by side.

    Raises:
        InputError: no list of layers, the axis of the batch, sizes that are not one for each
            branch, an x that does not have these parts, or branches whose outputs differ along
            another axis.

    >>> from tinynet import Dense
    >>> Parallel([Dense(3, 2), Dense(1, 1)], sizes=[3, 1])(np.ones((8, 4), np.float32)).shape
    (8, 3)
    """

    def __init__(
        self, branches: Iterable[Branch], *, sizes: Sequence[int] | None = None, axis: int = 1
    ) -> None:
        super().__init__(branches, axis=axis)
        self.sizes = [whole_number("Parallel", "each size", size) for size in sizes or ()]
        if sizes is not None and len(self.sizes) != len(self.branches):
            raise InputError(
                f"Parallel expects a size for each of {len(self.branches)} branches, got {sizes}"
            )

    def split(self, x: Array) -> Sequence[Array]:
        """To each its part of x."""
        self.check_input(x, "N", ..., integers=True)
        count, axis = len(self.branches), self.axis
        width = x.shape[axis] if -x.ndim < axis < x.ndim else 0
        sizes = self.sizes or [width // count] * count
        if not width or sum(sizes) != width:
            wanted = f"{sum(sizes)} entries" if self.sizes else f"a multiple of {count} entries"
            raise InputError(
                f"{self!r} expects x to have {wanted} along axis {axis}, got {_samples([x])}"
            )
        return np.split(x, np.cumsum(sizes)[:-1], axis=axis)

    def gather(self, dxs: Sequence[Array]) -> Array:
        """Side by side, as the parts of x are."""
        return np.concatenate(dxs, axis=self.axis)


@final
class Residual(Layer):
    """y = x + f(x), or with a `shortcut` g: y = g(x) + f(x).

    Gradient: dx = dy + (dy through f), or (dy through g) + (dy through f). The way past the body
    passes every gradient on as it is, however deep the network. A list of layers stands for a
    `Sequential` of them; where the body changes the shape, the shortcut has to change it, too.

    Raises:
        InputError: body or shortcut is no layer; later, their outputs differ in shape.

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.

    >>> from tinynet import Dense, ReLU
    >>> Residual([Dense(4, 8), ReLU(), Dense(8, 4)])(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    def __init__(self, body: Branch, shortcut: Branch | None = None) -> None:
        self.body = _layer("Residual", body)
        self.shortcut = None if shortcut is None else _layer("Residual", shortcut)

    def forward(self, x: Array) -> Array:
        """x: what the body takes -> y: like the body's."""
        self.check_input(x, "N", ...)
        past = x if self.shortcut is None else _at("shortcut", self.shortcut, x)
        through = _at("body", self.body, x)
        if np.shape(through) != np.shape(past):
            hint = "; a shortcut, such as a Dense or a 1x1 Conv2D, brings x there"
            raise InputError(
                f"{self!r} expects its body to give {_samples([past])}, "
                f"got {_samples([through])}{hint if self.shortcut is None else ''}"
            )
        y: Array = past + through
        self.save_for_backward(y)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: like y -> dx: like x."""
        (dy,) = self.saved_for_backward(dy)
        past = dy if self.shortcut is None else _at("shortcut", self.shortcut.backward, dy)
        dx: Array = past + _at("body", self.body.backward, dy)
        return dx

    def backward_parameters(self, dy: Array) -> None:
        """As `backward`, without dx and what only dx would need."""
        (dy,) = self.saved_for_backward(dy)
        if self.shortcut is not None:
            _at("shortcut", self.shortcut.backward_parameters, dy)
        _at("body", self.body.backward_parameters, dy)


def _at(place: str, step: Callable[[Any], Any], value: Any) -> Any:
    """The step of one layer; what it refuses says on which way it stands."""
    try:
        return step(value)
    except InputError as error:
        error.add_location(place)
        raise


def _samples(arrays: Sequence[Any]) -> str:
    """The shapes of one sample: of an empty batch they tell as much as of a full one."""
    return f"samples of shape {', '.join(str(np.shape(array)[1:]) for array in arrays)}"


def _sum(arrays: Sequence[Array]) -> Array:
    total: Array = arrays[0] + arrays[1] if len(arrays) > 1 else arrays[0].copy()
    for array in arrays[2:]:
        total += array
    return total


def _layers(who: str, branches: Any) -> tuple[Layer, ...]:
    if isinstance(branches, Layer) or not isinstance(branches, Iterable):
        raise InputError(f"{who} expects a list of branches, got {branches!r}")
    layers = tuple(_layer(who, branch) for branch in branches)
    if not layers:
        raise InputError(f"{who} expects at least one branch, got an empty list")
    return layers


def _layer(who: str, branch: Any) -> Layer:
    if isinstance(branch, list | tuple):
        return Sequential(branch)
    if not isinstance(branch, Layer):
        hint = f": write {branch.__name__}()" if isinstance(branch, type) else ""
        raise InputError(f"{who} expects a layer or a list of layers, got {branch!r}{hint}")
    return branch


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
        self.save_for_backward(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, ...) -> dx: (N, ...)."""
        dy, x = self.saved_for_backward(dy)
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
