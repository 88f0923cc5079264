"""The inputs of a gradient check: a layer, x and targets, and other batches made from them."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import inspect
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.gradcheck.layer_under_test import Inputs, LayerUnderTest, generators_restored
from tinynet.layer import Layer
from tinynet.parameter import Array, Parameter
from tinynet.signature import parameter_names
from tinynet.validation import finite_number, whole_number


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

    def larger_batch(self, more: int = 1) -> Inputs:
        """A batch with `more` samples, which repeat the first ones."""
        n = len(self.inputs[0])
        return self.take(np.arange(n + more) % n)

    def other_batches(self) -> list[Inputs]:
        """A larger batch, and one of the same size in another order, to run before the check.

        A single sample is made 10 % smaller instead.
        """
        n = len(self.inputs[0])
        x, *targets = self.take(np.arange(1, n + 1) % n)
        same_size = (0.9 * x if n == 1 and x.dtype.kind == "f" else x, *targets)
        return [self.larger_batch(), same_size] if self.has_batch_axis else [same_size]

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
        more = self.larger_batch(count)
        accepts = self.has_batch_axis and LayerUnderTest(self.layer).accepts(more)
        return replace(self, inputs=more) if accepts else None

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
        inputs += (np.array(targets),)
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
        return layer, np.array(x)
    if isinstance(layer, tuple) and len(layer) == 2 and all(map(callable, layer)):
        first, *others = map(np.array, x if isinstance(x, tuple) else (x,))
        return FunctionLayer(*layer, tuple(others)), first
    raise InputError(
        "check_gradients expects a layer such as Dense(3, 2) or two functions "
        f"(forward, backward), got {layer!r}"
    )


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
