"""The inputs of a gradient check: a layer, x and targets, and other batches made from them."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.gradcheck.layer_under_test import (
    Inputs,
    LayerUnderTest,
    generators_restored,
    perturbed,
    rms,
)
from tinynet.layer import Layer
from tinynet.parameter import Array, Parameter
from tinynet.signature import parameter_names
from tinynet.validation import check_array, finite_number, whole_number


@dataclass(frozen=True)
class GradientCheck:
    """The layer, its inputs (x in float64 or of integers; the targets of a loss) and settings."""

    layer: Layer
    inputs: Inputs
    seed: int
    tolerance: float = 1e-6
    entries: int = 15_000

    @property
    def has_batch_axis(self) -> bool:
        """Whether axis 0 of x is the batch; a single axis of floats may be one sample."""
        x = self.inputs[0]
        return (x.ndim > 1 or x.dtype.kind != "f") and not isinstance(self.layer, FunctionLayer)

    def take(self, rows: Array) -> Inputs:
        """These samples of x, and of targets if they have one row per sample."""
        n = len(self.inputs[0])
        return tuple(a[rows] if a.ndim and len(a) == n else a.copy() for a in self.inputs)

    def other_batches(self) -> list[Inputs]:
        """Batches to run before the check: a larger one, and one of the same size.

        They share no value with x or with each other. Their order, signs and sizes are others, so
        that masks and indices differ. Where the layer refuses such values, they are more like x.
        """
        larger = [self.take(self._with_last_repeated())] if self.has_batch_axis else []
        found = [self.other_batch(*pair) for pair in enumerate([*larger, self.inputs])]
        return [batch for batch in found if batch]

    def other_batch(self, number: int, given: Inputs) -> Inputs | None:
        """A batch like the given one with other values, if the layer accepts one."""
        rng = np.random.default_rng([self.seed, number])
        x, *targets = given
        others = ([t] for t in other_targets(targets[0], rng)) if targets else [[]]
        candidates = ((v, *t) for t in others for v in other_values(x, rng))
        same = self.inputs
        return self._first_accepted(c for c in candidates if not all(map(np.array_equal, c, same)))

    def larger_batch(self, more: int = 0) -> Inputs | None:
        """A batch with more samples, other values and the given targets, if the layer accepts it.

        Its values are between those of x: small where x is large, in every second sample.
        """
        if not self.has_batch_axis:
            return None
        rows, rng = self._with_last_repeated(more), np.random.default_rng([self.seed, 3])
        x, *targets = self.take(rows)
        return self._first_accepted((values, *targets) for values in values_between(x, rng))

    def _with_last_repeated(self, more: int = 0) -> Array:
        n = len(self.inputs[0])
        # At least 3 by default: two samples that are normalized are ±1, whatever they were.
        return np.minimum(np.arange(n + more if more else max(n + 1, 3)), n - 1)

    def _first_accepted(self, candidates: Iterable[Inputs]) -> Inputs | None:
        """The first batch for which the layer gives finite results, or else a finite y."""
        forward_only = None
        for inputs in candidates:
            if self._fresh.accepts(inputs, backward=True):
                return inputs
            if forward_only is None and self._fresh.accepts(inputs):
                forward_only = inputs
        return forward_only

    @cached_property
    def _fresh(self) -> LayerUnderTest:
        return LayerUnderTest(self.layer)

    def distinct_samples(self) -> Inputs:
        """A batch of at least 7 samples, all different and away from every kink.

        More values distinguish more causes.
        """
        n = len(self.inputs[0])
        wanted = max(n, 7) if self.has_batch_axis else n
        x, *targets = self.take(np.arange(wanted) % n)
        if x.dtype.kind == "f":
            typical = np.sqrt(np.mean(x**2)) or 1.0
            factors = np.random.default_rng(self.seed).uniform(0.7, 1.3, x.shape)
            x = np.where(np.abs(x) < 1e-8 * typical, typical * (factors - 1), factors * x)
        return x, *targets

    def with_more_samples(self, count: int) -> GradientCheck | None:
        """The check with `count` more samples, or None if the layer does not accept them."""
        return replace(self, inputs=more) if (more := self.larger_batch(count)) else None

    def with_perturbed_parameters(self) -> GradientCheck:
        """The check with all parameters changed by up to 1 %."""
        tested = LayerUnderTest(self.layer)
        tested.perturb_parameters(self.inputs, np.random.default_rng(self.seed))
        return replace(self, layer=tested.layer)

    def with_other_values(self) -> GradientCheck:
        """The check with every entry of x and of the parameters times 0.5 to 2."""
        rng = np.random.default_rng(self.seed + 1)
        layer = deepcopy(self.layer)
        for parameter in layer.parameters():
            factors = rng.uniform(0.5, 2, parameter.value.shape)
            parameter.value = np.asarray(parameter.value * factors)  # an array also without axes
        x, *rest = self.inputs
        if x.dtype.kind == "f":
            x = x * rng.uniform(0.5, 2, x.shape)
        return replace(self, layer=layer, inputs=(x, *rest))


def prepare_check(
    layer: Any,
    x: Any,
    targets: Array | None = None,
    *,
    rng: np.random.Generator | int = 0,
    tolerance: float = 1e-6,
    entries: int = 15_000,
) -> GradientCheck:
    """Validates the arguments of `check_gradients`.

    Raises:
        InputError: there is nothing to check, or an argument is invalid.
    """
    if isinstance(rng, np.random.Generator):
        rng = int(rng.integers(2**32))
    seed = whole_number("check_gradients", "rng", rng, at_least=0)
    tolerance = finite_number("check_gradients", "tolerance", tolerance, at_least=0)
    entries = whole_number("check_gradients", "entries", entries)
    layer, x = _as_layer(layer, x)
    if x.size == 0 or x.ndim == 0:
        raise InputError(f"check_gradients expects an x with samples, got the shape {x.shape}")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise InputError("check_gradients expects an x of finite numbers, got one with nan or inf")
    inputs: Inputs = (x.astype(np.float64) if x.dtype.kind == "f" else x,)
    if targets is not None:
        inputs += (_as_array("targets", targets),)
    if not LayerUnderTest(layer).tensors(inputs):
        raise InputError(
            f"check_gradients expects something to check, got {layer!r} without parameters and x "
            f"of {x.dtype}: integers have no gradient, x.astype(float) has"
        )
    with generators_restored(layer), np.errstate(all="ignore"):
        # What forward raises for the given batch is an error of the caller, not of the gradient.
        y = layer.astype(np.float64)(*(array.copy() for array in inputs))
    if targets is not None and np.ndim(y):
        raise InputError(
            f"check_gradients expects {layer!r} to give one number, as a loss with targets does, "
            f"got the shape {np.shape(y)}"
        )
    return GradientCheck(layer, inputs, seed, tolerance, entries)


def _as_layer(layer: Any, x: Any) -> tuple[Layer, Array]:
    if isinstance(layer, Layer):
        return layer, _as_array("x", x)
    if isinstance(layer, tuple) and len(layer) == 2 and all(map(callable, layer)):
        first, *others = x if isinstance(x, tuple) else (x,)
        names = _argument_names(layer[0], 1 + len(others))[1:]
        arrays = (_as_array(*pair, text=True) for pair in zip(names, others, strict=True))
        return FunctionLayer(*layer, tuple(arrays)), _as_array("x", first)
    raise InputError(
        "check_gradients expects a layer such as Dense(3, 2) or two functions "
        f"(forward, backward), got {layer!r}"
    )


def _as_array(name: str, value: Any, *, text: bool = False) -> Array:
    """A copy of an array, or an array of the numbers of a list; `text` is allowed, too."""
    array = value
    if isinstance(value, list | tuple | range | int | float | complex | np.generic):
        with suppress(ValueError, TypeError, RuntimeError):  # `check_array` says what is wrong
            array = np.array(value)
    elif isinstance(value, str) and text:
        array = np.array(value)
    if isinstance(array, np.ndarray) and array.dtype == object:
        array, text = value, False
    check_array("check_gradients", name, array, numbers=not text)
    return np.array(array)


@final
class FunctionLayer(Layer):
    """A layer made of two functions: y = forward(x, w, ...), and backward returns the gradients.

    `backward(dy, x, w, ...)` or `backward(dy)` returns one gradient per array of floats, as a tuple
    if there are several. The arrays after x become parameters, named like the arguments of
    `forward`.

    Raises:
        InputError: backward returns another number of gradients.
    """

    def __init__(
        self, forward: Callable[..., Any], backward: Callable[..., Any], others: tuple[Array, ...]
    ) -> None:
        self.functions = forward, backward
        self._names = _argument_names(forward, 1 + len(others))[1:]
        for name, array in zip(self._names, others, strict=True):
            is_float = array.dtype.kind == "f"
            vars(self)[name] = Parameter(array, np.float64) if is_float else array

    def forward(self, x: Array, *targets: Array) -> Any:
        """Calls the first function with all arrays."""
        arrays = [x, *self.arrays(), *targets]
        y = self.functions[0](*arrays)
        self.save_for_backward(y, arrays, x.dtype.kind == "f")
        return y

    def backward(self, dy: Array | float = 1.0) -> Any:
        """Calls the second function, writes the gradients of the parameters, and returns dx."""
        dy, arrays, x_is_float = self.saved_for_backward(dy)
        try:
            inspect.signature(self.functions[1]).bind(dy, *arrays)
        except TypeError:
            arrays = []  # a bound method that takes dy alone
        result = self.functions[1](dy, *arrays)
        parameters = self.parameters()
        gradients = list(result) if isinstance(result, tuple) else [result]
        if len(gradients) != x_is_float + len(parameters):
            raise InputError(
                f"{self!r} expects backward to give a gradient for each of "
                f"{x_is_float + len(parameters)} arrays of floats, got {len(gradients)}"
            )
        dx = gradients.pop(0) if x_is_float else None
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        return dx

    def arrays(self) -> list[Array]:
        """The arrays after x."""
        others = (vars(self)[name] for name in self._names)
        return [other.value if isinstance(other, Parameter) else other for other in others]

    def __repr__(self) -> str:
        names = (getattr(f, "__qualname__", repr(f)) for f in self.functions)
        return f"({', '.join(names)})"


def _argument_names(function: Callable[..., Any], count: int) -> list[str]:
    names = parameter_names(function)
    usable = len(names) == count and not any(hasattr(FunctionLayer, name) for name in names)
    return names if usable else ["x", *(f"argument{k}" for k in range(1, count))]


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


def memory_layouts(x: Array) -> dict[str, Array]:
    """Copies of x that are column-major, with gaps between the entries, and reversed in memory.

    >>> {name: copy.strides for name, copy in memory_layouts(np.zeros((2, 3))).items()}
    {'column-major': (8, 16), 'with gaps': (48, 16), 'reversed': (24, -8)}
    """
    if x.ndim == 0:
        return {}
    gaps = np.empty((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)[..., ::2]
    backwards = np.empty_like(x, order="C")[..., ::-1]
    for copy in (gaps, backwards):
        copy[...] = x
    return {"column-major": np.array(x, order="F"), "with gaps": gaps, "reversed": backwards}
