"""What a layer keeps between calls: running statistics, random generators, caches.

A numeric derivative needs forward to be a function of its inputs alone. So the state is put back
before each forward: Dropout then draws the same mask, and BatchNorm starts from the same averages.
"""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import random
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from tinynet.layer import Layer
from tinynet.parameter import Array, Parameter

Restore = Callable[[], None]


class State:
    """All that a layer and those inside it keep, parameters apart, as it is now."""

    def __init__(
        self, layer: Layer, inputs: tuple[Array, ...], generators: Iterable[Any] = ()
    ) -> None:
        self._restores: list[Restore] = []
        self._bits: list[Any] = []
        self._seen: set[int] = set()
        self._given = [*inputs, *(parameter.value for parameter in layer.parameters())]
        self._keep_all((layer, *generators, *module_generators(layer)))

    def restore(self) -> None:
        """Puts everything back."""
        for restore in self._restores:
            restore()

    def positions(self) -> list[str]:
        """Where the layer's generators stand now: it changes whenever one is drawn from."""
        return [str(bits.state) for bits in self._bits]

    def _keep(self, value: Any) -> None:
        if id(value) in self._seen or isinstance(value, Parameter):
            return
        self._seen.add(id(value))
        if isinstance(value, np.ndarray):
            # What is only another view of x or of a parameter moves with that.
            if value.flags.writeable and not any(np.shares_memory(value, a) for a in self._given):
                self._restores.append(_array_restore(value, value.copy()))
        elif isinstance(value, np.random.Generator):
            self._bits.append(value.bit_generator)
            self._restores.append(_generator_restore(value.bit_generator))
        elif isinstance(value, np.random.RandomState):
            kept = value.get_state()
            self._restores.append(lambda: value.set_state(kept))
        elif isinstance(value, random.Random):
            drawn = value.getstate()
            self._restores.append(lambda: value.setstate(drawn))
        elif isinstance(value, list):
            self._restores.append(_list_restore(value, list(value)))
            self._keep_all(value)
        elif isinstance(value, dict):
            self._restores.append(_dict_restore(value, dict(value)))
            self._keep_all(value.values())
        elif isinstance(value, tuple):
            self._keep_all(value)
        elif isinstance(value, MethodType):
            self._keep(value.__self__)
        elif not isinstance(value, _UNCHANGING):
            if hasattr(value, "__dict__"):
                attributes = vars(value)
                self._restores.append(_dict_restore(attributes, dict(attributes)))
                # A batch that was remembered is forgotten with the next forward anyway.
                self._keep_all(v for name, v in attributes.items() if name != "_remembered")
            names = [n for cls in type(value).__mro__ for n in getattr(cls, "__slots__", ())]
            self._keep_all(getattr(value, name, None) for name in names)

    def _keep_all(self, values: Iterable[Any]) -> None:
        for value in values:
            self._keep(value)


# What has no state of its own, as far as a layer goes.
_UNCHANGING = (FunctionType, BuiltinFunctionType, ModuleType, type, type(None), int, float, str)


def module_generators(layer: Layer) -> list[Any]:
    """The generators that the methods of the layers reach by a global name."""
    found = []
    for _, node in layer._nodes():
        for method in vars(type(node)).values():
            if isinstance(method, FunctionType):
                reached = map(method.__globals__.get, method.__code__.co_names)
                found += [value for value in reached if isinstance(value, np.random.Generator)]
    return found


class GlobalGenerators:
    """The generators behind `random.random()` and `np.random.rand()`, which a layer may draw from.

    To put them back costs more than a small forward: that is done for a layer that uses them.
    """

    @staticmethod
    def both() -> tuple[random.Random, np.random.RandomState]:
        """Python's and NumPy's: the objects whose methods these functions are."""
        return random.random.__self__, np.random.rand.__self__  # type: ignore[attr-defined]

    @classmethod
    def position(cls) -> Hashable:
        """What changes whenever somebody draws from one of them."""
        pythons, numpys = cls.both()
        _, keys, *rest = numpys.get_state()
        return pythons.getstate(), np.asarray(keys).tobytes(), *rest

    @classmethod
    @contextmanager
    def kept(cls, layer: Layer) -> Iterator[None]:
        """Behind the block they stand where they stood before it, as do the layer's globals."""
        pythons, numpys = cls.both()
        before = pythons.getstate(), numpys.get_state()
        restores = [_generator_restore(own.bit_generator) for own in module_generators(layer)]
        try:
            yield
        finally:
            pythons.setstate(before[0])
            numpys.set_state(before[1])
            for restore in restores:
                restore()


def _array_restore(array: Array, kept: Array) -> Restore:
    def restore() -> None:
        array[...] = kept

    return restore


def _list_restore(items: list[Any], kept: list[Any]) -> Restore:
    def restore() -> None:
        items[:] = kept

    return restore


def _dict_restore(items: dict[str, Any], kept: dict[str, Any]) -> Restore:
    def restore() -> None:
        items.clear()
        items.update(kept)

    return restore


def _generator_restore(bits: np.random.BitGenerator) -> Restore:
    kept = deepcopy(bits.state)

    def restore() -> None:
        bits.state = kept

    return restore
