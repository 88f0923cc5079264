"""Sequential chains layers: what one returns is what the next one takes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, final

import numpy as np

from tinynet.arguments import InputError, whole_number
from tinynet.layer import Layer
from tinynet.parameter import Array


@final
class Sequential(Layer):
    """y = layerₖ(... layer₂(layer₁(x))): a chain of layers that is itself a layer.

    Gradient: the chain rule, from the last layer to the first. Integers (raw pixels, token ids)
    have no gradient: for an x of integers `backward` stops at the first layer with parameters,
    spares its dx, and returns None.

    Raises:
        InputError: not a list of layers, empty, or with one object twice; later, with
            `layer 2 of 4` in front, what a layer refuses.

    >>> from tinynet import Dense, Flatten, ReLU
    >>> model = Sequential([Flatten(), Dense(4, 3), ReLU(), Dense(3, 2)])
    >>> model
    Sequential([Flatten(), Dense(4, 3), ReLU(), Dense(3, 2)])
    >>> model(np.zeros((5, 2, 2), np.float32)).shape
    (5, 2)
    >>> len(model), model[1], model[1].weight.value.shape
    (4, Dense(4, 3), (4, 3))
    """

    def __init__(self, layers: Iterable[Layer]) -> None:
        if not isinstance(layers, Iterable) or isinstance(layers, Layer):
            raise InputError(f"Sequential expects a list of layers, got {layers!r}")
        self.layers = tuple(layers)
        if not self.layers:
            raise InputError("Sequential expects at least one layer, got an empty list")
        for index, layer in enumerate(self.layers):
            if not isinstance(layer, Layer):
                mend = f": write {layer.__name__}()" if isinstance(layer, type) else ""
                raise InputError(f"Sequential expects layers, got {layer!r} at {index}{mend}")
        self._layers()  # Refuses an object that stands at two places.
        with_parameters = (i for i, layer in enumerate(self.layers) if layer.parameters())
        self._first_with_parameters = next(with_parameters, len(self.layers))

    def forward(self, x: Array) -> Array:
        """x: what the first layer takes -> y: what the last one returns."""
        y = x
        for index, layer in enumerate(self.layers):
            y = self._at(index, layer, y)
        self.remember(y, isinstance(x, np.ndarray) and x.dtype.kind == "f")
        return y

    def backward(self, dy: Array) -> Array | None:
        """dy: like y -> dx: like x, or None where x is of integers."""
        dy, differentiable = self.recall(dy)
        return self._chain(dy, down_to_x=differentiable)

    def backward_parameters(self, dy: Array) -> None:
        """As `backward`, without dx and what only dx would need."""
        dy, _ = self.recall(dy)
        self._chain(dy, down_to_x=False)

    def summary(self, x_or_shape: Array | Sequence[int]) -> None:
        """Prints each layer with its output shape and number of parameters, and the totals.

        Takes an x or the shape of one, batch axis included.

        >>> from tinynet import Dense, ReLU
        >>> Sequential([Sequential([Dense(4, 3), ReLU()]), Dense(3, 2, bias=False)]).summary((8, 4))
        layer                          output shape  parameters
        0.0  Dense(4, 3)               (8, 3)                15
        0.1  ReLU()                    (8, 3)                 0
        1    Dense(3, 2, bias=False)   (8, 2)                 6
        total                                                21  (84 bytes)
        """
        rows = [
            (path, f"{layer!r}", f"{np.shape(y)}", f"{_count(layer):,}")
            for path, layer, y in self.walk(x_or_shape)
        ]
        parameters = self.parameters()
        total = f"{_count(self):,}"
        size = f"{sum(parameter.value.nbytes for parameter in parameters):,} bytes"
        path, name, shape = (max(len(row[column]) for row in rows) for column in range(3))
        shape = max(shape, len("output shape"))
        left = path + 2 + name
        print(f"{'layer':{left}}   {'output shape':{shape}}  {'parameters':>10}")
        for row in rows:
            print(f"{row[0]:{path}}  {row[1]:{name}}   {row[2]:{shape}}  {row[3]:>10}")
        print(f"{'total':{left}}   {'':{shape}}  {total:>10}  ({size})")

    def walk(self, x_or_shape: Array | Sequence[int]) -> list[tuple[str, Layer, Any]]:
        """Each layer, those of chains inside the chain too, as (path, layer, y), in their order.

        Takes an x or the shape of one, batch axis included, and goes in evaluation mode. The modes
        of the layers are afterwards what they were; a pending `backward` is forgotten.

        >>> from tinynet import Dense, ReLU
        >>> model = Sequential([Sequential([Dense(4, 3), ReLU()]), Dense(3, 2)])
        >>> [(path, layer, y.shape) for path, layer, y in model.walk((8, 4))]
        [('0.0', Dense(4, 3), (8, 3)), ('0.1', ReLU(), (8, 3)), ('1', Dense(3, 2), (8, 2))]
        """
        x = x_or_shape
        if not isinstance(x, np.ndarray):
            if not isinstance(x, Sequence):
                raise InputError(f"Sequential expects an array or the shape of one, got {x!r}")
            sizes = [whole_number("Sequential", "each size of a shape", size) for size in x]
            x = np.zeros(sizes, self.dtype)
        with self.in_mode(training=False):
            return self._walk("", x)

    def _walk(self, prefix: str, x: Any) -> list[tuple[str, Layer, Any]]:
        steps: list[tuple[str, Layer, Any]] = []
        for index, layer in enumerate(self.layers):
            path = f"{prefix}{index}"
            if isinstance(layer, Sequential):
                steps += self._at(index, partial(layer._walk, f"{path}."), x)
            else:
                steps.append((path, layer, self._at(index, layer, x)))
            x = steps[-1][2]
        return steps

    def _chain(self, dy: Array, *, down_to_x: bool) -> Array | None:
        stop = 0 if down_to_x else self._first_with_parameters
        for index in range(len(self) - 1, stop - 1, -1):
            layer = self.layers[index]
            if index == stop and not down_to_x:
                self._at(index, layer.backward_parameters, dy)
            else:
                dy = self._at(index, layer.backward, dy)
        return dy if down_to_x else None

    def _at(self, index: int, step: Callable[[Any], Any], value: Any) -> Any:
        """The step of one layer; what it refuses says where in the chain it stands."""
        try:
            return step(value)
        except InputError as error:
            error.args = (f"layer {index + 1} of {len(self)}: {error}",)
            raise

    def __getitem__(self, index: int) -> Layer:
        return self.layers[index]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        return f"Sequential([{', '.join(map(repr, self.layers))}])"


def _count(layer: Layer) -> int:
    return sum(parameter.value.size for parameter in layer.parameters())
