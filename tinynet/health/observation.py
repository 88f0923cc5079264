"""To observe layers is to look at what goes in and out of them while they work.

Their methods are wrapped for as long as somebody looks. Otherwise nothing is wrapped, and training
pays nothing for it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple

from tinynet.layer import Layer
from tinynet.parameter import Array, Parameter

Method = Callable[..., Any]
Wrap = Callable[[str, Method], Method]  # of a method with its name


@contextmanager
def observing(layer_method: Wrap, *others: tuple[type, str, Wrap]) -> Iterator[None]:
    """Puts wrappers around `forward` and `backward` of all layers, and around `others`."""
    names = ("forward", "backward", "backward_parameters")
    places = [
        (cls, name, layer_method) for cls in _written() for name in names if name in vars(cls)
    ]
    methods = [(cls, name, vars(cls)[name], wrap) for cls, name, wrap in (*places, *others)]
    try:
        for cls, name, method, wrap in methods:
            setattr(cls, name, wrap(name, method))
        yield
    finally:
        for cls, name, method, _ in methods:
            setattr(cls, name, method)


class Call(NamedTuple):
    """One forward of a layer that has no layers inside."""

    name: str  # path and repr
    layer: Layer
    x: Array
    y: Array


def forward_calls(model: Layer, x: Array) -> list[Call]:
    """The calls that a forward of the model in evaluation mode makes, in their order."""
    paths = {id(node): path for path, node in model.named_layers()}
    calls: list[Call] = []
    at_work: list[Layer] = []

    def recorded(name: str, method: Method) -> Method:
        if name != "forward":
            return method

        @wraps(method)
        def record(layer: Layer, *args: Any, **kwargs: Any) -> Any:
            if layer in at_work:  # it asks its base class: one call all the same
                return method(layer, *args, **kwargs)
            at_work.append(layer)
            try:
                y = method(layer, *args, **kwargs)
            finally:
                at_work.pop()
            if len(layer.named_layers()) == 1 and args:
                path = paths.get(id(layer), "")
                calls.append(
                    Call(f"{path}, {layer!r}" if path else f"{layer!r}", layer, args[0], y)
                )
            return y

        return record

    with observing(recorded), model.in_mode(training=False):
        model(x)
    # Before a first forward the shapes go through with no samples: these calls tell nothing.
    return [call for call in calls if len(call.x) or not len(x)]


def weights(model: Layer) -> list[tuple[str, Parameter]]:
    """The parameters, with their names, that connect many with many: no biases and no gains."""
    return [
        (name, parameter)
        for name, parameter in model.named_parameters()
        if sum(size > 1 for size in parameter.value.shape) > 1
    ]


def _written() -> list[type]:
    """The classes whose code layers run: those below Layer, and what they are mixed with."""
    kinds = [kind for below in _subclasses(Layer) for kind in below.__mro__]
    return [kind for kind in dict.fromkeys(kinds) if kind not in Layer.__mro__]


def _subclasses(cls: type) -> list[type]:
    below: list[type] = cls.__subclasses__()
    return [kind for direct in below for kind in (direct, *_subclasses(direct))]
