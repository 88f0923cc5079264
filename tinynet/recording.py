"""Recording: what goes into the layers of a network and comes out of them while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from tinynet.layer import Layer


class Call(NamedTuple):
    """One call of a layer's method: its path in the network, what it was given and returned.

    `inputs` are the positional arguments. `inputs` and `output` are the very arrays, not copies,
    unless copies were asked for.
    """

    path: str
    layer: Layer
    inputs: tuple[Any, ...]
    output: Any

    @property
    def name(self) -> str:
        """The path and repr of the layer, as messages call it."""
        return f"{self.path}, {self.layer!r}" if self.path else f"{self.layer!r}"


@contextmanager
def recording(
    model: Layer, method: str = "forward", *, copies: bool = False
) -> Iterator[list[Call]]:
    """The calls of this method of the model and of all layers inside, in the order they return.

    >>> from tinynet import Dense, ReLU, Sequential
    >>> model, x = Sequential([Dense(2, 3), ReLU()]), np.ones((4, 2), np.float32)
    >>> y = model(x)  # the first forward checks the shapes, with an empty batch of its own
    >>> with recording(model) as calls:
    ...     y = model(x)
    >>> [(call.path, call.output.shape) for call in calls]
    [('layers.0', (4, 3)), ('layers.1', (4, 3)), ('', (4, 3))]
    """
    calls: list[Call] = []

    def recorded(path: str, layer: Layer, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            inputs = tuple(map(_copy, args)) if copies else args
            output = original(*args, **kwargs)
            calls.append(Call(path, layer, inputs, _copy(output) if copies else output))
            return output

        return call

    layers = model.named_layers()
    before = [vars(layer).get(method) for _, layer in layers]  # set where recordings are nested
    try:
        for path, layer in layers:
            vars(layer)[method] = recorded(path, layer, getattr(layer, method))
        yield calls
    finally:
        for (_, layer), own in zip(layers, before, strict=True):
            vars(layer).pop(method, None)
            if own is not None:
                vars(layer)[method] = own


def _copy(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_copy, value))
    return value.copy() if isinstance(value, np.ndarray) else value
