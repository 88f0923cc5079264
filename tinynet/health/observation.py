"""To observe layers is to look at what goes in and out of them while they work.

Their methods are wrapped for as long as somebody looks. Otherwise nothing is wrapped, and training
pays nothing for it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple

from tinynet.layer import Layer
from tinynet.optimizers import Optimizer
from tinynet.parameter import Array

Method = Callable[..., Any]
Wrap = Callable[[Method], Method]


@contextmanager
def observing(layer_method: Wrap, optimizer_step: Wrap | None = None) -> Iterator[None]:
    """Puts wrappers around `forward` and `backward` of all layers, and `step` of optimizers."""
    places = [
        (cls, name, vars(cls)[name], layer_method)
        for cls in _subclasses(Layer)
        for name in ("forward", "backward", "backward_parameters")
        if name in vars(cls)
    ]
    if optimizer_step is not None:
        places.append((Optimizer, "step", Optimizer.step, optimizer_step))
    try:
        for cls, name, method, wrap in places:
            setattr(cls, name, wrap(method))
        yield
    finally:
        for cls, name, method, _ in places:
            setattr(cls, name, method)


class Call(NamedTuple):
    """One forward of a layer that has no layers inside."""

    name: str  # path and repr
    layer: Layer
    x: Array
    y: Array


def forward_calls(model: Layer, x: Array) -> list[Call]:
    """The calls that a forward of the model in evaluation mode makes, in their order."""
    paths = {id(node): path for path, node in model._nodes()}
    calls: list[Call] = []

    def recorded(method: Method) -> Method:
        @wraps(method)
        def record(layer: Layer, *args: Any, **kwargs: Any) -> Any:
            y = method(layer, *args, **kwargs)
            if len(layer._layers()) == 1 and args and method.__name__ == "forward":
                path = paths.get(id(layer), "")
                calls.append(
                    Call(f"{path}, {layer!r}" if path else f"{layer!r}", layer, args[0], y)
                )
            return y

        return record

    with observing(recorded), model.in_mode(training=False):
        model(x)
    return calls


def _subclasses(cls: type) -> list[type]:
    below: list[type] = cls.__subclasses__()
    return list(dict.fromkeys(c for direct in below for c in (direct, *_subclasses(direct))))
