"""What forward depends on: x and targets, with other values for them; the state of the layer."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
import pickle
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from tinynet.layer import Layer
from tinynet.parameter import Array, Parameter
from tinynet.samples import Samples, arrays_of, count_samples, each_array, named_arrays


@dataclass(frozen=True, eq=False)
class Inputs:
    """x and, for a loss, its targets: each an array, or a tuple of arrays.

    The arrays are named x and targets, those of a tuple x[0], x[1], ...
    """

    x: Samples
    targets: Samples | None = None

    def __len__(self) -> int:
        return count_samples(self.x)

    @property
    def is_loss(self) -> bool:
        """Whether there are targets."""
        return self.targets is not None

    @cached_property
    def arguments(self) -> tuple[Samples, ...]:
        """What forward takes."""
        return (self.x,) if self.targets is None else (self.x, self.targets)

    @cached_property
    def arrays(self) -> dict[str, Array]:
        """All arrays by name."""
        targets = {} if self.targets is None else named_arrays("targets", self.targets)
        return named_arrays("x", self.x) | targets

    @cached_property
    def floats(self) -> dict[str, Array]:
        """The arrays of x that have a gradient, by name."""
        named = named_arrays("x", self.x)
        return {name: array for name, array in named.items() if array.dtype.kind == "f"}

    @property
    def shapes(self) -> str:
        """The shape of x, or the shapes of its arrays, as a text."""
        shapes = [f"{array.shape}" for array in arrays_of(self.x)]
        return f"{'shape' if len(shapes) == 1 else 'shapes'} {' and '.join(shapes)}"

    def each_x(self, function: Callable[[Array], Array]) -> Inputs:
        """The function of each array of x, beside the same targets."""
        return replace(self, x=each_array(function, self.x))

    def each_float(self, function: Callable[[Array], Array]) -> Inputs:
        """The function of each array of x with a gradient, beside the others."""
        return self.each_x(lambda x: function(x) if x.dtype.kind == "f" else x)

    def each(self, function: Callable[[Array], Array]) -> Inputs:
        """The function of each array."""
        return Inputs(*(each_array(function, samples) for samples in self.arguments))

    def copy(self) -> Inputs:
        """Copies of all arrays."""
        return self.each(lambda array: array.copy())

    def gradients(self, dx: Any) -> dict[str, Any] | None:
        """What backward returned, by the names of x; None if it is not one for each array."""
        if not isinstance(self.x, tuple):
            return {"x": dx}
        if not isinstance(dx, tuple) or len(dx) != len(self.x):
            return None
        return named_arrays("x", dx)

    def equal(self, other: Inputs) -> bool:
        """Whether all values are the same."""
        pairs = zip(self.arrays.values(), other.arrays.values(), strict=True)
        return all(np.array_equal(*pair) for pair in pairs)

    def others(self, rng: np.random.Generator) -> Iterator[Inputs]:
        """Other values for x and targets, the most different first."""
        others: Iterable[Samples | None] = [None]
        if self.targets is not None:
            others = variants(other_targets, self.targets, rng)
        for targets in others:
            for x in variants(other_values, self.x, rng):
                yield Inputs(x, targets)

    def between(self, rng: np.random.Generator) -> Iterator[Inputs]:
        """Values for x between those of x, beside the same targets."""
        for x in variants(values_between, self.x, rng):
            yield replace(self, x=x)


def variants(
    series: Callable[[Array, np.random.Generator], Iterator[Array]],
    samples: Samples,
    rng: np.random.Generator,
) -> Iterator[Samples]:
    """A series of variants of an array, or of several in step: a short series keeps its last."""
    if not isinstance(samples, tuple):
        yield from series(samples, rng)
        return
    each = [list(series(array, rng)) for array in samples]
    for step in range(max(map(len, each))):
        yield tuple(found[min(step, len(found) - 1)] for found in each)


def rms(tensor: Array) -> float:
    """The root mean square of the entries."""
    return math.sqrt(float(np.mean(np.square(tensor))))


def perturbed(tensor: Array, rng: np.random.Generator) -> Array:
    """The tensor with each entry changed by up to 1 %, and 0 by up to 1 % of the rms.

    An entry other than 0 keeps its sign: it may be the argument of a logarithm.
    """
    typical = rms(tensor) or 1.0
    size = np.where(np.abs(tensor) < 1e-8 * typical, typical, tensor)
    return np.asarray(tensor + size * rng.uniform(-0.01, 0.01, tensor.shape))


def other_values(x: Array, rng: np.random.Generator) -> Iterator[Array]:
    """Arrays without a value of x, the most different first; only the last, its rows, shares them.

    The order of x is reversed, for other masks and indices. Floats first have other sizes and the
    other sign; later ones are between those of x, then of its signs.
    """
    if x.dtype.kind != "f":
        yield from _other_integers(x)
        return
    smaller = rng.uniform(0.7, 0.9, x.shape)
    filled, size = _without_zeros(x), np.abs(x)
    # From small to large, so that some are on the other side of a limit such as 1.
    sizes = np.geomspace((rms(x) or 1.0) / 30, 30 * max(rms(x), 1.0), x.size).reshape(x.shape)
    yield np.where(x < 0, 1, -1) * _in_order_of(size, sizes * smaller)
    yield -_in_order_of(x, filled * smaller)
    if _are_probabilities(x):
        yield _other_probabilities(x, smaller)
    middle = (x.min() + x.max()) / 2
    if x.min() < x.max():
        yield middle - _in_order_of(x, (x - middle) * smaller)
    yield _in_order_of(x, filled * smaller)
    yield perturbed(x, rng)
    yield np.roll(x, 1, axis=0)


def values_between(x: Array, rng: np.random.Generator) -> Iterator[Array]:
    """Arrays with values between those of x, in other places; x itself is the last.

    Integers are values of x: others may have another meaning, as an id for padding has.
    """
    if x.dtype.kind == "f":
        smaller, filled = rng.uniform(0.7, 0.9, x.shape), _without_zeros(x)
        size = np.abs(filled)
        middle = (size.min() + size.max()) / 2
        if size.min() < size.max():
            # Of every second sample the order is kept.
            side = np.where(np.arange(len(x)) % 2, 1, -1).reshape(-1, *[1] * (x.ndim - 1))
            yield np.sign(filled) * (middle + side * _in_order_of(size, (size - middle) * smaller))
        yield filled * smaller
        yield perturbed(x, rng)
    else:
        values, ranks = _ranked(x)
        if len(values) > 2:
            first, second = (ranks + 1) % len(values), (ranks + 2) % len(values)
            yield values[np.where(first == _opposite(ranks, len(values)), second, first)]
    yield x


def other_targets(targets: Array, rng: np.random.Generator) -> Iterator[Array]:
    """Arrays of other targets: probabilities remain such, and whole numbers are those in use."""
    finite = np.isfinite(targets)
    known = targets[finite]
    candidates: Iterable[Array] = ()
    if _are_probabilities(targets):
        yield _other_probabilities(targets, rng.uniform(0.7, 0.9, targets.shape))
    elif known.dtype.kind != "f" or (known == known.round()).all():
        candidates = _other_integers(known)
    else:
        # Those between the given ones first, then those of their signs: targets often have limits.
        *others, _, _ = other_values(known, rng)
        low, high = known.min(), known.max()
        outside = [(v.min() < low or v.max() > high, (v * known < 0).any()) for v in others]
        candidates = [others[k] for k in sorted(range(len(others)), key=outside.__getitem__)]
    for values in candidates:
        other = targets.copy()
        other[finite] = values
        yield other
    yield np.roll(targets, 1, axis=0) if targets.ndim else targets


def _other_integers(x: Array) -> Iterator[Array]:
    """The values of x in reversed order, then their neighbours: lower ones where there are such."""
    values, ranks = _ranked(x)
    if len(values) > 1:
        yield values[_opposite(ranks, len(values))]
    if x.dtype.kind == "f" and x.all():
        yield -x
    yield np.where(x > 0, x - 1, x + (x == 0)).astype(x.dtype)
    yield np.roll(x, 1, axis=0)


def _are_probabilities(x: Array) -> bool:
    """Whether x has rows, along its last axis, of numbers >= 0 with sum 1."""
    return x.ndim > 1 and bool((x >= 0).all() and np.allclose(x.sum(axis=-1), 1, 0, 1e-6))


def _other_probabilities(x: Array, factors: Array) -> Array:
    other = np.roll(x, 1, axis=-1)
    weights = other * factors if x.dtype.kind == "f" else other
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True)).astype(x.dtype)


def _ranked(x: Array) -> tuple[Array, Array]:
    """The different values of x, sorted, and the position of each entry among them."""
    values, ranks = np.unique(x, return_inverse=True)
    return values, ranks.reshape(x.shape)


def _opposite(ranks: Array, count: int) -> Array:
    """The ranks in reversed order; the middle one becomes the next one."""
    opposite: Array = count - 1 - ranks + (2 * ranks == count - 1)
    return opposite


def _in_order_of(x: Array, values: Array) -> Array:
    """The same values, in the order of x: the smallest where x is smallest."""
    result = np.empty(x.size)
    result[np.argsort(x, axis=None, kind="stable")] = np.sort(values, axis=None)
    return result.reshape(x.shape)


def _without_zeros(x: Array) -> Array:
    typical = rms(x) or 1.0
    return np.where(np.abs(x) < 1e-8 * typical, 0.3 * typical, x)


LAYOUTS = ("column-major", "with gaps", "reversed")


def in_layout(x: Array, layout: str) -> Array:
    """A copy of x that is column-major, with gaps between the entries, or reversed in memory.

    >>> [in_layout(np.zeros((2, 3)), layout).strides for layout in LAYOUTS]
    [(8, 16), (48, 16), (24, -8)]
    """
    if layout == "column-major":
        return np.array(x, order="F")
    if layout == "with gaps":
        copy = np.empty((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)[..., ::2]
    else:
        copy = np.empty_like(x, order="C")[..., ::-1]
    copy[...] = x
    return copy


def memory_layouts(x: Array) -> dict[str, Array]:
    """Copies of x in all layouts; a number has none."""
    return {layout: in_layout(x, layout) for layout in LAYOUTS} if x.ndim else {}


# The state of a layer


class LayerState:
    """A snapshot of everything that a layer and its helpers keep, except the parameters."""

    def __init__(
        self, layer: Layer, inputs: Iterable[Array], generators: Iterable[Any] = ()
    ) -> None:
        self._arrays: list[tuple[Array, Array]] = []
        self._containers: list[tuple[Any, Any]] = []
        self._generators: list[tuple[Any, Any]] = []
        self._seen: set[int] = set()
        self._tensors = [*inputs, *(parameter.value for parameter in layer.parameters())]
        self._save_all((layer, *generators, *module_generators(layer)))

    def restore(self) -> None:
        """Restores the values of the snapshot."""
        for array, saved in self._arrays:
            array[...] = saved
        for container, saved in self._containers:
            container.clear()
            if isinstance(container, list):
                container.extend(saved)
            else:
                container.update(saved)
        for generator, saved in self._generators:
            _set_state(generator, saved)

    def generator_states(self) -> list[bytes]:
        """The present states of the layer's generators, which change with every draw."""
        return generator_states(generator for generator, _ in self._generators)

    def _save(self, value: Any) -> None:
        if id(value) in self._seen or isinstance(value, (Parameter, *_STATELESS)):
            return
        self._seen.add(id(value))
        if isinstance(value, np.ndarray):
            # A view of x or of a parameter changes with it.
            if value.flags.writeable and not any(np.shares_memory(value, t) for t in self._tensors):
                self._arrays.append((value, value.copy()))
        elif isinstance(value, np.random.Generator | np.random.RandomState | random.Random):
            self._generators.append((value, _get_state(value)))
        elif isinstance(value, list):
            self._containers.append((value, list(value)))
            self._save_all(value)
        elif isinstance(value, dict):
            self._containers.append((value, dict(value)))
            self._save_all(value.values())
        elif isinstance(value, tuple):
            self._save_all(value)
        elif isinstance(value, MethodType):
            self._save(value.__self__)
        else:
            if hasattr(value, "__dict__"):
                attributes = vars(value)
                self._containers.append((attributes, dict(attributes)))
                # Without the arrays of a pending batch and scratch memory, if it is a layer.
                kept = Layer.__getstate__(value) if isinstance(value, Layer) else attributes
                self._save_all(kept.values())
            names = [n for cls in type(value).__mro__ for n in getattr(cls, "__slots__", ())]
            self._save_all(getattr(value, name, None) for name in names)

    def _save_all(self, values: Iterable[Any]) -> None:
        for value in values:
            self._save(value)


_STATELESS = (FunctionType, BuiltinFunctionType, ModuleType, type, type(None), int, float, str)


def module_generators(layer: Layer) -> list[Any]:
    """The generators that methods of the layers use by a global name of their module."""
    found = []
    for _, node in layer.named_layers():
        for method in vars(type(node)).values():
            if isinstance(method, FunctionType):
                values = map(method.__globals__.get, method.__code__.co_names)
                found += [value for value in values if isinstance(value, np.random.Generator)]
    return found


def global_generators() -> tuple[random.Random, np.random.RandomState]:
    """The generators behind `random.random()` and `np.random.rand()`.

    Restoring them takes longer than a small forward, so only layers that use them pay for it.
    """
    return random.random.__self__, np.random.rand.__self__  # type: ignore[attr-defined]


@contextmanager
def generators_restored(layer: Layer) -> Iterator[None]:
    """Restores the global generators, and those of the layer's modules, after the block."""
    saved = [(g, _get_state(g)) for g in (*global_generators(), *module_generators(layer))]
    try:
        yield
    finally:
        for generator, state in saved:
            _set_state(generator, state)


def _get_state(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return deepcopy(generator.bit_generator.state)
    is_numpy = isinstance(generator, np.random.RandomState)
    return generator.get_state() if is_numpy else generator.getstate()


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state)
    else:
        generator.setstate(state)


def generator_states(generators: Iterable[Any]) -> list[bytes]:
    """The states of generators, in a form that can be compared."""
    return [pickle.dumps(_get_state(generator)) for generator in generators]
