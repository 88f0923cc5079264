"""Sequential: a chain of layers, where each layer takes what the one before it returns."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, final, overload

import numpy as np

from tinynet.errors import EmptyBatchError, InputError, ShapeError
from tinynet.layer import Layer
from tinynet.mode import inference
from tinynet.parameter import Array, Parameter


@final
class Sequential(Layer):
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
        with_parameters = (i for i, layer in enumerate(self.layers) if layer.parameters())
        self._first_with_parameters = next(with_parameters, len(self.layers))

    def forward(self, x: Array) -> Array:
        """x: the input of the first layer -> y: the output of the last one."""
        # An empty batch checks itself; in an x of one axis only the layer knows where samples are.
        if not self._checked and isinstance(x, np.ndarray) and x.ndim > 1 and len(x):
            with suppress(EmptyBatchError):
                self.output_shape(x)
        y = x
        for index, layer in enumerate(self.layers):
            y = self._at(index, layer, y)
        self._checked = True
        self.save_for_backward(y, isinstance(x, np.ndarray) and x.dtype.kind == "f")
        return y

    def backward(self, dy: Array) -> Array | None:
        """dy: like y -> dx: like x, or None where x is of integers."""
        dy, differentiable = self.saved_for_backward(dy)
        if not differentiable:
            self._backward_parameters(dy)
            return None
        for index in reversed(range(len(self))):
            dy = self._at(index, self.layers[index].backward, dy)
        return dy

    def backward_parameters(self, dy: Array) -> None:
        """As `backward`, down to the first layer with parameters and without its dx."""
        dy, _ = self.saved_for_backward(dy)
        self._backward_parameters(dy)

    def _backward_parameters(self, dy: Array) -> None:
        first = self._first_with_parameters
        for index in reversed(range(first + 1, len(self))):
            dy = self._at(index, self.layers[index].backward, dy)
        if first < len(self):
            self._at(first, self.layers[first].backward_parameters, dy)

    def _at(self, index: int, step: Callable[[Any], Any], value: Any) -> Any:
        """Runs a step of one layer; an error from it names its position in the chain."""
        try:
            return step(value)
        except InputError as error:
            if index and isinstance(error, ShapeError) and error.got == np.shape(value):
                error.source = error.source or f" from layer {index}, {self.layers[index - 1]!r}"
            error.add_location(f"layer {index + 1} of {len(self)}")
            raise

    def summary(self, x_or_shape: Array | Sequence[int]) -> None:
        """Prints each layer with its output shape and number of parameters, and the totals.

        Takes an x or the shape of one, batch axis included.
        """
        print(_table(self.walk(x_or_shape), self.parameters()))

    def walk(self, x_or_shape: Array | Sequence[int]) -> list[tuple[str, Layer, Any]]:
        """Each layer, those of chains inside the chain too, as (path, layer, y), in their order.

        Takes an x or the shape of one, batch axis included, and runs in inference mode.

        >>> from tinynet import Dense, ReLU
        >>> model = Sequential([Sequential([Dense(4, 3), ReLU()]), Dense(3, 2)])
        >>> [(path, layer, y.shape) for path, layer, y in model.walk((8, 4))]
        [('0.0', Dense(4, 3), (8, 3)), ('0.1', ReLU(), (8, 3)), ('1', Dense(3, 2), (8, 2))]
        """
        with inference():
            return self._walk(self.example_input(x_or_shape), "")

    def _walk(self, x: Any, prefix: str) -> list[tuple[str, Layer, Any]]:
        steps: list[tuple[str, Layer, Any]] = []
        for index, layer in enumerate(self.layers):
            path = f"{prefix}{index}"
            if isinstance(layer, Sequential):
                steps += self._at(index, partial(layer._walk, prefix=f"{path}."), x)
            else:
                steps.append((path, layer, self._at(index, layer, x)))
            x = steps[-1][2]
        return steps

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


def _table(steps: Sequence[tuple[str, Layer, Any]], parameters: Sequence[Parameter]) -> str:
    """A row for each (path, layer, y) of `Sequential.walk`, and the totals.

    >>> from tinynet import Dense, ReLU
    >>> Sequential([Sequential([Dense(4, 3), ReLU()]), Dense(3, 2, bias=False)]).summary((8, 4))
    layer                          output shape  parameters
    0.0  Dense(4, 3)               (8, 3)                15
    0.1  ReLU()                    (8, 3)                 0
    1    Dense(3, 2, bias=False)   (8, 2)                 6
    total                                                21  (84 bytes)
    """
    rows = [
        (path, f"{layer!r}", f"{np.shape(y)}", f"{_count(layer.parameters()):,}")
        for path, layer, y in steps
    ]
    path, name, shape = (max(len(row[column]) for row in rows) for column in range(3))
    shape = max(shape, len("output shape"))
    left = path + 2 + name
    size = f"{sum(parameter.value.nbytes for parameter in parameters):,} bytes"
    lines = [
        f"{'layer':{left}}   {'output shape':{shape}}  {'parameters':>10}",
        *(f"{row[0]:{path}}  {row[1]:{name}}   {row[2]:{shape}}  {row[3]:>10}" for row in rows),
        f"{'total':{left}}   {'':{shape}}  {_count(parameters):>10,}  ({size})",
    ]
    return "\n".join(lines)


def _count(parameters: Sequence[Parameter]) -> int:
    return sum(parameter.value.size for parameter in parameters)
