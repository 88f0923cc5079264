"""Sequential: a chain of layers, where each layer takes what the one before it returns."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, final, overload

import numpy as np

from tinynet.errors import EmptyBatchError, InputError, ShapeError
from tinynet.layer import Layer
from tinynet.layers.masking import Masked, chain_mask, masked_step
from tinynet.mode import inference
from tinynet.parameter import Array
from tinynet.samples import Samples


@final
class Sequential(Masked):
    """y = layerₖ(... layer₂(layer₁(x))): a chain of layers that is itself a layer.

    Gradient: the chain rule, from the last layer to the first. Integers (raw pixels, token ids)
    have no gradient: for an x of integers `backward` ends at the first layer with parameters, does
    not compute its dx, and returns None. Before its first forward it checks all shapes, see
    `output_shape`.

    Raises:
        InputError: not a list of layers, empty, or with one object twice; later, what a layer
            raises, with its position in front, as in `layer 2 of 4`.

    >>> from tinynet import Dense, Flatten, ReLU
    >>> model = Sequential([Flatten(), Dense(4, 3), ReLU()]) + Sequential([Dense(3, 2)])
    >>> model(np.zeros((5, 2, 2), np.float32)).shape
    (5, 2)
    >>> len(model), model[1], model[1:3]
    (4, Dense(4, 3), Sequential([Dense(4, 3), ReLU()]))
    """

    _checked = False  # whether the shapes have been checked

    def __init__(self, layers: Iterable[Layer]) -> None:
        if not isinstance(layers, Iterable) or isinstance(layers, Layer):
            raise InputError(f"Sequential expects a list of layers, got {layers!r}")
        self.layers = tuple(layers)
        if not self.layers:
            raise InputError("Sequential expects at least one layer, got an empty list")
        for index, layer in enumerate(self.layers):
            if not isinstance(layer, Layer):
                hint = f": write {layer.__name__}()" if isinstance(layer, type) else ""
                raise InputError(f"Sequential expects layers, got {layer!r} at {index}{hint}")
        self.named_layers()  # raises if one object stands at two places
        self.starts_mask = any(getattr(layer, "starts_mask", False) for layer in self.layers)
        with_parameters = (i for i, layer in enumerate(self.layers) if layer.parameters())
        self._first_with_parameters = next(with_parameters, len(self.layers))

    def forward(self, x: Samples, padding_mask: Array | None = None) -> Any:
        """x: that of the first layer -> y: of the last; the mask goes from layer to layer."""
        # An empty batch checks itself; in an x of one axis only the layer knows where samples are.
        several = isinstance(x, tuple) and len(x) > 0
        first: Any = x[0] if several else x
        is_array = isinstance(first, np.ndarray)
        if not self._checked and is_array and first.ndim > (not several) and len(first):
            with suppress(EmptyBatchError):
                self.output_shape(x)
        y = x
        masked = self.starts_mask or padding_mask is not None
        for index, layer in enumerate(self.layers):
            if masked:
                y, padding_mask = self._at(index, partial(masked_step, layer, padding_mask), y)
            else:
                y = self._at(index, layer, y)
        self._checked = True
        self.save_for_backward(y, several or (is_array and first.dtype.kind == "f"))
        return y

    def backward(self, dy: Any) -> Any:
        """dy: like y -> dx: like x, or None where x is of integers."""
        dy, differentiable = self.saved_for_backward(dy)
        if not differentiable:
            self._backward_parameters(dy)
            return None
        for index in reversed(range(len(self))):
            dy = self._at(index, self.layers[index].backward, dy)
        return dy

    def backward_parameters(self, dy: Any) -> None:
        """As `backward`, down to the first layer with parameters and without its dx."""
        dy, _ = self.saved_for_backward(dy)
        self._backward_parameters(dy)

    def _backward_parameters(self, dy: Any) -> None:
        first = self._first_with_parameters
        for index in reversed(range(first + 1, len(self))):
            dy = self._at(index, self.layers[index].backward, dy)
        if first < len(self):
            self._at(first, self.layers[first].backward_parameters, dy)

    def output_mask(self, x: Any, padding_mask: Array | None = None) -> Array | None:
        """The padding mask of y: None where it has no padded steps, or no steps at all."""
        return chain_mask(self.layers, x, padding_mask)

    def _at(self, index: int, step: Callable[[Any], Any], value: Any) -> Any:
        """Runs a step of one layer; an error from it names its position in the chain."""
        try:
            return step(value)
        except InputError as error:
            if index and isinstance(error, ShapeError) and error.got == getattr(value, "shape", ()):
                error.source = error.source or f" from layer {index}, {self.layers[index - 1]!r}"
            error.add_location(f"layer {index + 1} of {len(self)}")
            raise

    def example_input(self, x_or_shape: Samples | Sequence[Any]) -> Any:
        """As in a layer; of a tuple of shapes what the first layer makes."""
        nested = isinstance(x_or_shape, tuple) and any(isinstance(s, tuple) for s in x_or_shape)
        owner: Any = self.layers[0] if nested else super()
        return owner.example_input(x_or_shape)

    def walk(self, x_or_shape: Samples | Sequence[Any]) -> list[tuple[str, Layer, Any]]:
        """Each layer, also of chains inside, as (path, layer, y), for an x or the shape of one."""
        with inference():
            return _walk(self, "", None, self.example_input(x_or_shape))

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> "Sequential": ...
    def __getitem__(self, index: int | slice) -> Layer:
        """A layer, or for a slice the chain of these layers: the same objects, not copies."""
        chosen = self.layers[index]
        return Sequential(chosen) if isinstance(chosen, tuple) else chosen

    def __add__(self, other: "Sequential") -> "Sequential":
        """One chain of the layers of both."""
        if not isinstance(other, Sequential):
            return NotImplemented
        return Sequential([*self.layers, *other.layers])

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_checked": False}  # equal before and after a predict

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)


def _walk(
    chain: Sequential, prefix: str, padding_mask: Array | None, x: Any
) -> list[tuple[str, Layer, Any]]:
    """As `Sequential.walk`, for a chain whose path is the prefix.

    >>> from tinynet import Dense, ReLU
    >>> model = Sequential([Sequential([Dense(4, 3), ReLU()]), Dense(3, 2)])
    >>> [(path, layer, y.shape) for path, layer, y in model.walk((8, 4))]
    [('0.0', Dense(4, 3), (8, 3)), ('0.1', ReLU(), (8, 3)), ('1', Dense(3, 2), (8, 2))]
    """
    steps: list[tuple[str, Layer, Any]] = []
    for index, layer in enumerate(chain.layers):
        path = f"{prefix}{index}"
        if isinstance(layer, Sequential):
            steps += chain._at(index, partial(_walk, layer, f"{path}.", padding_mask), x)
            padding_mask = layer.output_mask(x, padding_mask)
        else:
            y, padding_mask = chain._at(index, partial(masked_step, layer, padding_mask), x)
            steps.append((path, layer, y))
        x = steps[-1][2]
    return steps


def as_layer(who: str, branch: Any) -> Layer:
    """A layer as it is, or a Sequential of a list of layers."""
    if isinstance(branch, list | tuple):
        return Sequential(branch)
    if not isinstance(branch, Layer):
        hint = f": write {branch.__name__}()" if isinstance(branch, type) else ""
        raise InputError(f"{who} expects a layer or a list of layers, got {branch!r}{hint}")
    return branch
