"""The layer under test: a float64 copy that checks the rules for arrays at every run."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
import pickle
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cached_property
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from tinynet.errors import GradientCheckError
from tinynet.gradcheck.report import Verdict
from tinynet.layer import Layer
from tinynet.parameter import Array, Parameter
from tinynet.validation import first_index

Inputs = tuple[Array, ...]  # x and, for a loss, its targets


class Run(NamedTuple):
    """The results of one forward and backward: the returned arrays, and copies of them."""

    y: Array
    dy: Array
    gradients: dict[str, Array]
    returned: dict[str, Array]

    def overwritten(self) -> str | None:
        """The name of a returned array that has changed since."""
        copies = {"y": self.y} | {f"the gradient of {n}": g for n, g in self.gradients.items()}
        for name, array in self.returned.items():
            if not np.array_equal(array, copies[name], equal_nan=array.dtype.kind == "f"):
                return name
        return None


class LayerUnderTest:
    """A float64 copy of a layer; each run raises GradientCheckError if it breaks a rule."""

    name = cached_property[str](lambda self: repr(self._given))

    def __init__(self, layer: Layer) -> None:
        self._given, self.layer = layer, layer.astype(np.float64)
        self._after = ""  # the batch before, for an error that it may explain
        self.state: LayerState | None = None
        self._global_generators: tuple[Any, ...] = ()
        self._global_states: list[bytes] = []  # after the last run

    def tensors(self, inputs: Inputs) -> dict[str, Array]:
        """The tensors with a gradient: x, if it is of floats, and the parameters."""
        x = {"x": inputs[0]} if inputs[0].dtype.kind == "f" else {}
        values = {path: parameter.value for path, parameter in self.parameters()}
        return x | {path: value for path, value in values.items() if value.size}

    def parameters(self) -> list[tuple[str, Parameter]]:
        """The named parameters; `self.` precedes a name that x, targets or dy already has."""
        return [
            (f"self.{path}" if path in ("x", "targets", "dy") else path, parameter)
            for path, parameter in self.layer.named_parameters()
        ]

    def perturb_parameters(
        self, inputs: Inputs, rng: np.random.Generator, *, in_place: bool = False
    ) -> None:
        """Changes all parameters by up to 1 %, into new arrays or in place, as a step does.

        Entries of 0 stay 0 only where forward would not be finite otherwise.
        """
        before = [(p, p.value.copy()) for _, p in self.parameters() if p.value.size]
        for parameter, value in before:
            parameter.value = parameter.value if in_place else value.copy()
            parameter.value[...] = perturbed(value, rng)
        if not self.accepts(inputs):
            for parameter, value in before:
                parameter.value[...] = value * rng.uniform(0.99, 1.01, value.shape)

    def accepts(self, inputs: Inputs, *, backward: bool = False) -> bool:
        """Whether a copy, in its present state, gives finite values (and gradients) for a batch."""
        layer = deepcopy(self.layer)
        try:
            y = layer(*(array.copy() for array in inputs))
            results = [y]
            if backward:
                dx = layer.backward() if len(inputs) > 1 else layer.backward(np.ones_like(y))
                results += [dx, *(parameter.grad for parameter in layer.parameters())]
            return all(np.isfinite(result).all() for result in results if result is not None)
        except Exception:  # a user's layer may raise anything
            return False

    def save_state(self, inputs: Inputs) -> None:
        """Saves the present state, which is restored before every forward."""
        self.state = LayerState(self.layer, inputs, self._global_generators)

    def forward(self, inputs: Inputs) -> Array:
        """Y from the saved state; the float of a loss as an array."""
        if self.state is not None:
            self.state.restore()
        try:
            y = np.asarray(self.layer(*inputs))
        except Exception as error:
            raise self.error(
                Verdict.FORWARD_RAISES,
                f"forward raised {error!r} for x of shape {inputs[0].shape}{self._after}",
            ) from error
        if y.dtype != np.float64 and inputs[0].dtype == np.float64:
            raise self.error(
                Verdict.DTYPE, f"forward gave {y.dtype} for an x of float64, expected float64"
            )
        return y.astype(np.float64, copy=False)

    def run(self, inputs: Inputs, rng: np.random.Generator, dy: Array | None = None) -> Run:
        """One forward and backward, for a random dy by default; checks all rules for them."""
        # Backward has to replace these values.
        earlier = {path: rng.standard_normal(p.value.shape) for path, p in self.parameters()}
        for path, parameter in self.parameters():
            parameter.grad = earlier[path].copy()
        given = self._copies(inputs)
        y, returned_y = self._forward_twice(inputs, given)
        if dy is None:
            # Of both signs and all different: a sum over outputs must not equal their mean or 0.
            dy = rng.choice([-1.0, 1.0], y.shape) * rng.uniform(0.5, 1.5, y.shape)
        is_loss = len(inputs) > 1
        if is_loss:
            dy = np.ones(())
        given_dy = dy.copy()
        try:
            dx = self.layer.backward() if is_loss else self.layer.backward(given_dy)
        except Exception as error:
            wants_dy = is_loss and isinstance(error, TypeError)
            hint = ": backward of a loss takes no dy" if wants_dy else self._after
            raise self.error(
                Verdict.BACKWARD_RAISES,
                f"backward raised {error!r} for x of shape {inputs[0].shape}{hint}",
            ) from error
        self._after = f", after one of shape {inputs[0].shape}"
        self._check_unchanged("backward", given, self._copies(inputs))
        self._check_unchanged("backward", {"dy": dy}, {"dy": given_dy})
        results: dict[str, Any] = {"x": dx}
        for path, parameter in self.parameters():
            # For a dy of 0 an added gradient leaves the earlier values, too.
            grad = parameter.grad
            untouched = grad is None or (dy.any() and np.array_equal(grad, earlier[path]))
            results[path] = None if untouched else grad
        gradients, returned = {}, {"y": returned_y}
        for name, array in self._checked_gradients(inputs, results).items():
            gradients[name] = np.array(array, np.float64)
            returned[f"the gradient of {name}"] = array
        return Run(y, dy, gradients, returned)

    @contextmanager
    def perturbed_run(self, inputs: Inputs, seed: int) -> Iterator[Run | None]:
        """A run with all tensors changed by up to 1 % inside the block, away from every kink.

        None where forward is not finite there.
        """
        tensors = self.tensors(inputs)
        saved = {name: tensor.copy() for name, tensor in tensors.items()}
        rng = np.random.default_rng(seed)  # the same point every time
        for tensor in tensors.values():
            tensor[...] = perturbed(tensor, rng)
        try:
            yield self._run_if_finite(inputs, rng)
        finally:
            for name, tensor in tensors.items():
                tensor[...] = saved[name]

    def _run_if_finite(self, inputs: Inputs, rng: np.random.Generator) -> Run | None:
        try:
            return self.run(inputs, rng)
        except GradientCheckError as error:
            if error.verdict is Verdict.NOT_FINITE:
                return None
            raise

    def error(self, verdict: Verdict, message: str, **where: Any) -> GradientCheckError:
        """The error that this layer breaks a rule, to be raised."""
        return GradientCheckError(message, verdict=verdict, layer=self.name, **where)

    def _forward_twice(self, inputs: Inputs, given: dict[str, Array]) -> tuple[Array, Array]:
        """A copy of y, and y itself from a second forward that starts from the same state."""
        if self.state is None:
            self.save_state(inputs)
        before = self._global_states or _states(global_generators())
        y = self.forward(inputs).copy()
        if not self._global_generators:
            self._global_states = _states(global_generators())
            if before != self._global_states:
                # The layer draws from them: their state belongs to the saved state from now on.
                self._global_generators = global_generators()
                self.save_state(inputs)
                y = self.forward(inputs).copy()
        result = self.forward(inputs)
        self._check_unchanged("forward", given, self._copies(inputs))
        if not np.isfinite(y).all():
            message = f"forward gave {y[~np.isfinite(y)][0]}, which has no derivative"
            raise self.error(Verdict.NOT_FINITE, message)
        if not np.array_equal(y, result):
            message = "forward gave two different results for the same x and the same state"
            raise self.error(Verdict.NOT_REPEATABLE, message)
        return y, result

    def _checked_gradients(self, inputs: Inputs, results: dict[str, Any]) -> dict[str, Array]:
        """The gradients by name, each present and of the right shape and dtype."""
        arrays = {}
        for name, tensor in self.tensors(inputs).items():
            if results[name] is None:
                raise self.error(
                    Verdict.NO_GRADIENT, f"backward gave no gradient of {name}", parameter=name
                )
            try:
                array = arrays[name] = np.asarray(results[name])
            except ValueError as error:
                raise self.error(
                    Verdict.SHAPE,
                    f"gradient of {name}: backward gave a {type(results[name]).__name__} that is "
                    f"no array, forward uses the shape {tensor.shape}",
                    parameter=name,
                ) from error
            if array.shape != tensor.shape:
                raise self.error(
                    Verdict.SHAPE,
                    f"gradient of {name}: backward gave the shape {array.shape}, "
                    f"forward uses {tensor.shape}",
                    parameter=name,
                )
            if array.dtype != np.float64:
                raise self.error(
                    Verdict.DTYPE,
                    f"gradient of {name}: backward gave {array.dtype}, expected float64 as of "
                    f"{name} itself",
                    parameter=name,
                )
            if not np.isfinite(array).all():
                index = first_index(~np.isfinite(array))
                raise self.error(
                    Verdict.NOT_FINITE,
                    f"gradient of {name} at index {index}: backward gave {array[index]}, "
                    "where forward is finite",
                    parameter=name,
                    index=index,
                    analytic=float(array[index]),
                )
        return arrays

    def _copies(self, inputs: Inputs) -> dict[str, Array]:
        arrays = self.tensors(inputs) | dict(zip(("x", "targets"), inputs, strict=False))
        return {name: array.copy() for name, array in arrays.items()}

    def _check_unchanged(
        self, method: str, before: dict[str, Array], after: dict[str, Array]
    ) -> None:
        for name, old in before.items():
            new = after[name]
            if not np.array_equal(old, new, equal_nan=old.dtype.kind == "f"):
                index = first_index((old != new) & ~((old != old) & (new != new)))
                raise self.error(
                    Verdict.CHANGED_IN_PLACE,
                    f"{method} changed {name} in place at index {index}, "
                    f"from {old[index]:.10g} to {new[index]:.10g}",
                    parameter=name,
                    index=index,
                )


class LayerState:
    """A snapshot of everything that a layer and its helpers keep, except the parameters."""

    def __init__(self, layer: Layer, inputs: Inputs, generators: Iterable[Any] = ()) -> None:
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
        return _states(generator for generator, _ in self._generators)

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


def _states(generators: Iterable[Any]) -> list[bytes]:
    """The states of generators, in a form that can be compared."""
    return [pickle.dumps(_get_state(generator)) for generator in generators]


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
