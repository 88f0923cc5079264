"""A network is a tree: layers hold layers, and all of them hold parameters, found by themselves.

Whatever is assigned as a plain attribute, also in lists, tuples and dicts, is part of the tree, in
the order of definition, and is named by its attribute path, such as `layers.0.weight`.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, Self, final

import numpy as np
from numpy.typing import DTypeLike

from tinynet.arguments import InputError
from tinynet.parameter import Parameter
from tinynet.state import Restore, State, generator_state, restoring_arrays, restoring_generators


class Tree:
    """What every layer has by holding things: parameters, modes, copies, and a file to live in."""

    training: bool = True
    takes_integers: bool = False  # and nothing else
    dtype: np.dtype[Any] = np.dtype(np.float32)  # of parameters, and of y where x is of integers

    @final
    def parameters(self) -> list[Parameter]:
        """Every parameter in the tree of layers, in the order of definition."""
        return [parameter for _, parameter in self.named_parameters()]

    @final
    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Every parameter with its attribute path, such as `layers.0.weight`."""
        return [(path, node) for path, node in self._nodes() if isinstance(node, Parameter)]

    @final
    def train(self) -> Self:
        """Sets training mode in the whole tree and returns the layer."""
        return self._set_training(mode=True)

    @final
    def eval(self) -> Self:
        """Sets evaluation mode in the whole tree and returns the layer."""
        return self._set_training(mode=False)

    @final
    def astype(self, dtype: DTypeLike) -> Self:
        """A copy, with the parameters and the float arrays among the attributes in `dtype`.

        Raises:
            InputError: `dtype` is not a float type.
        """
        dtype = np.dtype(dtype)
        if dtype.kind != "f":
            raise InputError(f"{self!r}.astype expects a float dtype, got {dtype}")
        copy = deepcopy(self)
        for _, node in copy._nodes():
            if isinstance(node, Parameter):
                node.value, node.grad = node.value.astype(dtype), None
            else:
                node.dtype = dtype
                for name, value in vars(node).items():
                    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                        setattr(node, name, value.astype(dtype))
        return copy

    @final
    def save(self, path: str | Path) -> None:
        """Writes parameters and buffers into an .npz file, whole or not at all.

        A buffer is an array under a public attribute, such as a running mean; arrays under names
        that begin with an underscore are scratch memory.

        Raises:
            CheckpointError: the file cannot be written; what stood there before is untouched.
        """
        from tinynet.checkpoint import write  # who does not save does not pay for its imports

        write(path, {"network": repr(self), "model": self.state()})

    @final
    def load(self, path: str | Path) -> Self:
        """Takes parameters and buffers from a file of `save` or of `Trainer.save`; returns self.

        Raises:
            CheckpointError: the file is damaged, or of another network; nothing is changed then.
        """
        from tinynet.checkpoint import reading

        with reading(path) as state:
            restore = self.restoring(state.get("model"))
        restore()
        return self

    @final
    def state(self) -> State:
        """The parameters and buffers by path: the arrays themselves, not copies.

        Raises:
            InputError: two of them have one path, as by a key with a dot in a dict.
        """
        arrays = [(path, parameter.value) for path, parameter in self.named_parameters()]
        arrays += [
            (path, a) for path, a in self._held(np.ndarray, private=False) if a.flags.writeable
        ]
        state = dict(arrays)
        if len(state) < len(arrays):
            raise InputError(f"{self!r} expects a path of its own for each array, got one twice")
        return state

    @final
    def restoring(self, state: Any) -> Restore:
        """Validates a `state` and returns what puts its numbers in place.

        Raises:
            InputError: names, shapes or dtypes are not those of this tree.
        """
        return restoring_arrays(repr(self), self.state(), state)

    @final
    def generators(self) -> State:
        """Where the random streams of the layers stand, by path."""
        return {path: generator_state(rng) for path, rng in self._held(np.random.Generator)}

    @final
    def restoring_generators(self, state: Any) -> Restore:
        """As `restoring`, for what `generators` gave."""
        return restoring_generators(repr(self), dict(self._held(np.random.Generator)), state)

    @final
    def _layers(self) -> list["Tree"]:
        return [node for _, node in self._nodes() if isinstance(node, Tree)]

    @final
    def _nodes(self) -> Iterator[tuple[str, "Parameter | Tree"]]:
        """This layer and all layers and parameters below it, each with its attribute path."""
        return _descend("", self, {})

    @final
    def _held(self, kind: type, *, private: bool = True) -> Iterator[tuple[str, Any]]:
        """Every object of a kind among the attributes of the layers, each with its path."""
        for path, node in self._nodes():
            if isinstance(node, Tree):
                for name, value in vars(node).items():
                    if name != "_remembered" and (private or not name.startswith("_")):
                        yield from _of_kind(kind, _join(path, name), value)

    @final
    def _set_training(self, *, mode: bool) -> Self:
        for layer in self._layers():
            layer.training = mode
        return self

    @final
    @contextmanager
    def in_mode(self, *, training: bool) -> Iterator[None]:
        """That mode inside the block; behind it the former modes, and nothing is remembered."""
        modes = [(layer, layer.training) for layer in self._layers()]
        self._set_training(mode=training)
        try:
            yield
        finally:
            for layer, mode in modes:
                layer.training = mode
                layer._remembered = None

    _remembered: tuple[Any, ...] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A copy or a pickle of a layer carries no batch.
        return {name: value for name, value in vars(self).items() if name != "_remembered"}

    def __repr__(self) -> str:
        inside = (
            f"{name}={value.value.shape if isinstance(value, Parameter) else value!r}"
            for name, value in vars(self).items()
            if isinstance(value, Parameter | Tree)
        )
        return f"{type(self).__name__}({', '.join(inside)})"


def _descend(path: str, value: Any, seen: dict[int, str]) -> Iterator[tuple[str, Any]]:
    items: Iterable[tuple[Any, Any]]
    if isinstance(value, Parameter | Tree):
        if id(value) in seen:
            raise InputError(
                "a network expects each layer and parameter at one place only, "
                f"got a {type(value).__name__} at {seen[id(value)]} and again at {path}: "
                "backward at one would overwrite the gradient of the other, so make a second object"
            )
        seen[id(value)] = path or "the top"
        yield path, value
        items = vars(value).items() if isinstance(value, Tree) else ()
    else:
        items = _items(value)
    for name, item in items:
        # What was remembered of a batch is no part of the layer.
        if isinstance(item, (Parameter, Tree, *_CONTAINERS)) and name != "_remembered":
            yield from _descend(_join(path, name), item, seen)


def _of_kind(kind: type, path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, kind):
        yield path, value
    elif isinstance(value, _CONTAINERS):
        for name, item in _items(value):
            yield from _of_kind(kind, _join(path, name), item)


_CONTAINERS = (list, tuple, dict)


def _items(container: Any) -> Iterable[tuple[Any, Any]]:
    return container.items() if isinstance(container, dict) else enumerate(container)


def _join(path: str, name: Any) -> str:
    return f"{path}.{name}" if path else f"{name}"
