"""A case: what one gradient check is about, a layer and a batch, and other batches made of it."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import inspect
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.gradcheck.layer_under_test import GlobalGenerators, Subject
from tinynet.layer import Layer
from tinynet.parameter import Array, Parameter
from tinynet.validation import finite_number, whole_number


@dataclass(frozen=True)
class Case:
    """A layer and what goes in: x, in float64 or of integers, and the targets of a loss."""

    layer: Layer
    inputs: tuple[Array, ...]
    seed: int
    tolerance: float = 1e-6
    entries: int = 15_000

    @property
    def has_batch_axis(self) -> bool:
        """Whether axis 0 of x is the batch: one row of floats may be a sample."""
        x = self.inputs[0]
        return (x.ndim > 1 or x.dtype.kind != "f") and not isinstance(self.layer, Pair)

    def take(self, rows: Array) -> tuple[Array, ...]:
        """The inputs with these samples, of x and of targets that have one for each."""
        n = len(self.inputs[0])
        return tuple(a[rows] if a.ndim and len(a) == n else a.copy() for a in self.inputs)

    def larger(self, more: int = 1) -> tuple[Array, ...]:
        """The inputs with `more` samples, the first ones again."""
        n = len(self.inputs[0])
        return self.take(np.arange(n + more) % n)

    def richer(self) -> tuple[Array, ...]:
        """The inputs with at least 7 samples, all different and off every kink.

        More numbers tell more causes apart.
        """
        n = len(self.inputs[0])
        wanted = max(n, 7) if self.has_batch_axis else n
        x, *targets = self.take(np.arange(wanted) % n)
        if x.dtype.kind == "f":
            usual = np.sqrt(np.mean(x**2)) or 1.0
            factors = np.random.default_rng(self.seed).uniform(0.7, 1.3, x.shape)
            x = np.where(np.abs(x) < 1e-8 * usual, usual * (factors - 1), factors * x)
        return x, *targets

    def stirred(self) -> Case:
        """The same with parameters that are up to 1 % elsewhere from the start."""
        subject = Subject(self.layer)
        subject.stir(self.inputs, np.random.default_rng(self.seed))
        return replace(self, layer=subject.layer)

    def other_numbers(self) -> Case:
        """The same shapes with quite other numbers, in x and in the parameters."""
        rng = np.random.default_rng(self.seed + 1)
        layer = deepcopy(self.layer)
        for parameter in layer.parameters():
            factors = rng.uniform(0.5, 2, parameter.value.shape)
            parameter.value = np.asarray(parameter.value * factors)  # also without axes
        x, *rest = self.inputs
        if x.dtype.kind == "f":
            x = x * rng.uniform(0.5, 2, x.shape)
        return replace(self, layer=layer, inputs=(x, *rest))

    def with_more(self, count: int) -> Case | None:
        """The same with `count` more samples, where the layer takes them."""
        more = self.larger(count)
        takes = self.has_batch_axis and Subject(self.layer).takes(more)
        return replace(self, inputs=more) if takes else None

    def other_batches(self) -> list[tuple[Array, ...]]:
        """What a layer sees before: a larger batch, and one of the same size in another order.

        A lone sample is a tenth smaller the second time.
        """
        n = len(self.inputs[0])
        x, *targets = self.take(np.arange(1, n + 1) % n)
        same_size = (0.9 * x if n == 1 and x.dtype.kind == "f" else x, *targets)
        return [self.larger(), same_size] if self.has_batch_axis else [same_size]


def prepare(
    layer: Any,
    x: Any,
    targets: Array | None = None,
    *,
    rng: np.random.Generator | int = 0,
    tolerance: float = 1e-6,
    entries: int = 15_000,
) -> Case:
    """The case that these arguments of `check_gradients` make.

    Raises:
        InputError: there is nothing to check in them.
    """
    if isinstance(rng, np.random.Generator):
        rng = int(rng.integers(2**32))
    seed = whole_number("check_gradients", "rng", rng, at_least=0)
    tolerance = finite_number("check_gradients", "tolerance", tolerance, at_least=0)
    entries = whole_number("check_gradients", "entries", entries)
    layer, x = _as_layer(layer, x)
    if x.size == 0 or x.ndim == 0:
        raise InputError(f"check_gradients expects an x with samples, got one of {x.shape}")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise InputError("check_gradients expects an x of finite numbers, got one with nan or inf")
    inputs: tuple[Array, ...] = (x.astype(np.float64) if x.dtype.kind == "f" else x,)
    if targets is not None:
        inputs += (np.array(targets),)
    if not Subject(layer).tensors(inputs):
        raise InputError(
            f"check_gradients expects something to check, got {layer!r} without parameters and x "
            f"of {x.dtype}: integers have no gradient, x.astype(float) has"
        )
    with GlobalGenerators.kept(layer), np.errstate(all="ignore"):
        # What forward refuses on a copy of its own is the caller's mistake, no verdict.
        y = layer.astype(np.float64)(*(array.copy() for array in inputs))
    if targets is not None and np.ndim(y):
        raise InputError(
            f"check_gradients expects {layer!r} to give one number, as a loss that takes targets "
            f"does, got the shape {np.shape(y)}"
        )
    return Case(layer, inputs, seed, tolerance, entries)


def _as_layer(layer: Any, x: Any) -> tuple[Layer, Array]:
    if isinstance(layer, Layer):
        return layer, np.array(x)
    if isinstance(layer, tuple) and len(layer) == 2 and all(map(callable, layer)):
        first, *others = map(np.array, x if isinstance(x, tuple) else (x,))
        return Pair(*layer, tuple(others)), first
    raise InputError(
        "check_gradients expects a layer such as Dense(3, 2) or two functions "
        f"(forward, backward), got {layer!r}"
    )


@final
class Pair(Layer):
    """y = forward(x, w, ...), with gradients = backward(dy, x, w, ...) or backward(dy).

    `backward` returns one gradient for each array of floats, in a tuple if there are several. The
    arrays after the first are parameters here, named as the arguments of `forward`.

    Raises:
        InputError: backward gives more or fewer gradients than there are arrays of floats.
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
        """The arrays -> y."""
        arrays = [x, *self.arrays(), *targets]
        y = self.functions[0](*arrays)
        self.save_for_backward(y, arrays, x.dtype.kind == "f")
        return y

    def backward(self, dy: Array | float = 1.0) -> Any:
        """Dy -> dx; the other gradients are written."""
        dy, arrays, x_is_float = self.saved_for_backward(dy)
        try:
            inspect.signature(self.functions[1]).bind(dy, *arrays)
        except TypeError:
            arrays = []  # It remembers them itself.
        found = self.functions[1](dy, *arrays)
        parameters = self.parameters()
        gradients = list(found) if isinstance(found, tuple) else [found]
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
        """The arrays after the first."""
        others = (vars(self)[name] for name in self._names)
        return [other.value if isinstance(other, Parameter) else other for other in others]

    def __repr__(self) -> str:
        return f"({', '.join(map(_name, self.functions))})"


def _argument_names(function: Callable[..., Any], count: int) -> list[str]:
    try:
        names = list(inspect.signature(function).parameters)
    except ValueError:  # a function written in C
        names = []
    free = len(names) == count and not any(hasattr(Pair, name) for name in names)
    return names if free else ["x", *(f"argument{k}" for k in range(1, count))]


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", repr(function))
