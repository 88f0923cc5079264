"""The setup of a gradient check: its arguments, and the batches made from them."""

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
from tinynet.gradcheck.inputs import Inputs, generators_restored
from tinynet.gradcheck.layer_under_test import LayerUnderTest
from tinynet.layer import Layer
from tinynet.parameter import Array, Parameter
from tinynet.samples import Samples, arrays_of, check_samples
from tinynet.signature import parameter_names
from tinynet.validation import check_array, finite_number, whole_number


@dataclass(frozen=True)
class GradientCheck:
    """The layer, its inputs (floats of x in float64) and settings."""

    layer: Layer
    inputs: Inputs
    seed: int
    tolerance: float = 1e-6
    entries: int = 15_000

    @property
    def has_batch_axis(self) -> bool:
        """Whether axis 0 of x is the batch; a single axis of floats may be one sample."""
        x = self.inputs.x
        several = isinstance(x, tuple) or x.ndim > 1 or x.dtype.kind != "f"
        return several and not isinstance(self.layer, FunctionLayer)

    def take(self, rows: Array) -> Inputs:
        """These samples of x, and of targets if they have one row per sample."""
        n = len(self.inputs)
        return self.inputs.each(lambda a: a[rows] if a.ndim and len(a) == n else a.copy())

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
        others = given.others(np.random.default_rng([self.seed, number]))
        return self._first_accepted(other for other in others if not other.equal(self.inputs))

    def larger_batch(self, more: int = 0) -> Inputs | None:
        """A batch with more samples, other values and the given targets, if the layer accepts it.

        Its values are between those of x: small where x is large, in every second sample.
        """
        if not self.has_batch_axis:
            return None
        larger = self.take(self._with_last_repeated(more))
        return self._first_accepted(larger.between(np.random.default_rng([self.seed, 3])))

    def _with_last_repeated(self, more: int = 0) -> Array:
        n = len(self.inputs)
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
        n, rng = len(self.inputs), np.random.default_rng(self.seed)
        wanted = max(n, 7) if self.has_batch_axis else n

        def different(x: Array) -> Array:
            typical = np.sqrt(np.mean(x**2)) or 1.0
            factors = rng.uniform(0.7, 1.3, x.shape)
            return np.where(np.abs(x) < 1e-8 * typical, typical * (factors - 1), factors * x)

        return self.take(np.arange(wanted) % n).each_float(different)

    def with_more_samples(self, count: int) -> GradientCheck | None:
        """The check with `count` more samples, or None if the layer does not accept them."""
        return replace(self, inputs=more) if (more := self.larger_batch(count)) else None

    def with_perturbed_parameters(self) -> GradientCheck:
        """The check with all parameters changed by up to 1 %."""
        tested = LayerUnderTest(self.layer)
        tested.perturb_parameters(self.inputs, np.random.default_rng(self.seed))
        return replace(self, layer=tested.layer)

    def with_other_numbers(self) -> Iterator[tuple[str, Any, Any, GradientCheck]]:
        """For each parameter and float attribute of the layer: its name, value and another value.

        And the check with the other value, which is 1.1 to 1.3 times as large.
        """
        rng = np.random.default_rng(self.seed)
        for path, parameter in self.layer.named_parameters():
            layer = deepcopy(self.layer)
            other = dict(layer.named_parameters())[path].value
            other *= rng.uniform(1.1, 1.3, other.shape)
            yield path, parameter.value, other, replace(self, layer=layer)
        for name, value in vars(self.layer).items():
            if isinstance(value, float):
                layer = deepcopy(self.layer)
                setattr(layer, name, value * rng.uniform(1.1, 1.3))
                yield name, value, getattr(layer, name), replace(self, layer=layer)

    def with_other_values(self) -> GradientCheck:
        """The check with every entry of x and of the parameters times 0.5 to 2."""
        rng = np.random.default_rng(self.seed + 1)
        layer = deepcopy(self.layer)
        for parameter in layer.parameters():
            parameter.value[...] *= rng.uniform(0.5, 2, parameter.value.shape)
        inputs = self.inputs.each_float(lambda x: x * rng.uniform(0.5, 2, x.shape))
        return replace(self, layer=layer, inputs=inputs)


def prepare_check(
    layer: Any,
    x: Any,
    targets: Any = None,
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
    for array in arrays_of(x):
        if array.size == 0 or array.ndim == 0:
            got = array.shape
            raise InputError(f"check_gradients expects an x with samples, got the shape {got}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(
                "check_gradients expects an x of finite numbers, got one with nan or inf"
            )
    targets = None if targets is None else _as_samples("targets", targets)
    inputs = Inputs(x, targets).each_float(lambda x: x.astype(np.float64))
    if not LayerUnderTest(layer).tensors(inputs):
        dtypes = " and ".join(f"{array.dtype}" for array in arrays_of(x))
        raise InputError(
            f"check_gradients expects something to check, got {layer!r} without parameters and x "
            f"of {dtypes}: integers have no gradient, x.astype(float) has"
        )
    _check_arguments(layer, inputs)
    with generators_restored(layer), np.errstate(all="ignore"):
        # What forward raises for the given batch is an error of the caller, not of the gradient.
        y = layer.astype(np.float64)(*inputs.copy().arguments)
    _check_outputs(layer, inputs, y)
    return GradientCheck(layer, inputs, seed, tolerance, entries)


MASK = "a layer that takes a mask as well gets both as x=(x, mask), see docs/custom_layers.md"


def _check_arguments(layer: Layer, inputs: Inputs) -> None:
    """A loss takes (prediction, targets), another layer x."""
    if inputs.is_loss and "padding_mask" in parameter_names(layer.forward):
        raise InputError(
            f"check_gradients expects no targets for {layer!r}, got some: they belong to a loss, "
            f"check_gradients(loss, prediction, targets); {MASK}"
        )
    try:
        inspect.signature(layer.forward).bind(*inputs.arguments)
    except ValueError:  # no signature, as of some functions in C
        return
    except TypeError:
        expected, got = "targets", "none; several inputs are one tuple x"
        if inputs.is_loss:
            expected, got = "no targets", f"some; {MASK}"
        raise InputError(
            f"check_gradients expects {expected} for {layer!r}, whose forward takes "
            f"({', '.join(parameter_names(layer.forward))}), got {got}"
        ) from None


def _check_outputs(layer: Layer, inputs: Inputs, y: Any) -> None:
    got = ""
    if isinstance(y, list) and any(isinstance(part, np.ndarray) for part in y):
        got = f"a list of {len(y)}"
    elif isinstance(y, tuple) and not (y and all(isinstance(part, np.ndarray) for part in y)):
        got = f"a tuple of {' and '.join(type(part).__name__ for part in y) or 'nothing'}"
    if got:
        raise InputError(
            f"check_gradients expects {layer!r} to return an array or a tuple of arrays, got {got}"
        )
    if inputs.is_loss and (isinstance(y, tuple) or np.ndim(y)):
        got = f"{len(y)} arrays" if isinstance(y, tuple) else f"the shape {np.shape(y)}"
        raise InputError(
            f"check_gradients expects {layer!r} to give one number, as a loss with targets does, "
            f"got {got}; {MASK}"
        )


def _as_layer(layer: Any, x: Any) -> tuple[Layer, Samples]:
    if isinstance(layer, Layer):
        return layer, _as_samples("x", x)
    if isinstance(layer, tuple) and len(layer) == 2 and all(map(callable, layer)):
        first, *others = x if isinstance(x, tuple) else (x,)
        names = _argument_names(layer[0], 1 + len(others))[1:]
        arrays = (_as_array(*pair, text=True) for pair in zip(names, others, strict=True))
        return FunctionLayer(*layer, tuple(arrays)), _as_array("x", first)
    raise InputError(
        "check_gradients expects a layer such as Dense(3, 2) or two functions "
        f"(forward, backward), got {layer!r}"
    )


def _as_samples(name: str, value: Any) -> Samples:
    """An array, or a tuple of arrays of as many samples; a tuple of numbers is one array."""
    if not isinstance(value, tuple) or not any(isinstance(part, np.ndarray) for part in value):
        return _as_array(name, value)
    samples = tuple(_as_array(f"{name}[{index}]", part) for index, part in enumerate(value))
    check_samples("check_gradients", name, samples)
    return samples


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
