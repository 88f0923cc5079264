"""The layer under test: a float64 copy that checks the rules for arrays at every run."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cached_property
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from tinynet.errors import GradientCheckError
from tinynet.gradcheck.inputs import (
    Inputs,
    LayerState,
    generator_states,
    global_generators,
    in_layout,
    perturbed,
)
from tinynet.gradcheck.report import Verdict
from tinynet.layer import Layer
from tinynet.parameter import Array, Parameter
from tinynet.samples import Samples, arrays_of, each_array, named_arrays
from tinynet.validation import first_index

FLOAT64 = np.dtype(np.float64)


class Run(NamedTuple):
    """The results of one forward and backward: the returned arrays, and copies of them.

    The floats of several outputs are joined in `y`, their gradients in `dy`.
    """

    y: Array
    dy: Array
    gradients: dict[str, Array]
    returned: dict[str, tuple[Array, Array]]  # each beside its copy

    def overwritten(self) -> str | None:
        """The name of a returned array that has changed since."""
        for name, (array, copy) in self.returned.items():
            if not np.array_equal(array, copy, equal_nan=array.dtype.kind == "f"):
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
        """The tensors with a gradient: the arrays of x that are of floats, and the parameters."""
        values = {path: parameter.value for path, parameter in self.parameters()}
        return inputs.floats | {path: value for path, value in values.items() if value.size}

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
            parameter.value = parameter.value if in_place else np.zeros(value.shape)
            parameter.value[...] = perturbed(value, rng)
        if not self.accepts(inputs):
            for parameter, value in before:
                parameter.value[...] = value * rng.uniform(0.99, 1.01, value.shape)

    def accepts(self, inputs: Inputs, *, backward: bool = False) -> bool:
        """Whether a copy, in its present state, gives finite values (and gradients) for a batch."""
        layer = deepcopy(self.layer)
        try:
            y = each_array(np.asarray, layer(*inputs.copy().arguments))
            results: list[Any] = [*arrays_of(y)]
            if backward:
                dy = () if inputs.is_loss else (split(np.ones_like(joined(y)), y),)
                dx = layer.backward(*dy)
                results += [*arrays_of(dx), *(parameter.grad for parameter in layer.parameters())]
            return all(np.isfinite(result).all() for result in results if result is not None)
        except Exception:  # a user's layer may raise anything
            return False

    def save_state(self, *batches: Inputs) -> None:
        """Saves the present state, which is restored before every forward of these batches."""
        inputs = [array for batch in batches for array in batch.arrays.values()]
        self.state = LayerState(self.layer, inputs, self._global_generators)

    def outputs(self, inputs: Inputs) -> Samples:
        """What forward returns from the saved state, an array or a tuple of arrays."""
        if self.state is not None:
            self.state.restore()
        try:
            y = self.layer(*inputs.arguments)
            y = tuple(map(np.asarray, y)) if isinstance(y, tuple) else np.asarray(y)
        except Exception as error:
            raise self.error(
                Verdict.FORWARD_RAISES,
                f"forward raised {error!r} for x of {inputs.shapes}{self._after}",
            ) from error
        if inputs.floats and not (type(y) is np.ndarray and y.dtype is FLOAT64):
            self._check_floats(y)
        return y

    def _check_floats(self, y: Samples) -> None:
        """Of floats comes float64; of several outputs some may be integers, but not all."""
        several = any(array.dtype == np.float64 for array in arrays_of(y))
        for name, array in named_arrays("", y).items():
            if array.dtype != np.float64 and not (several and array.dtype.kind in "iub"):
                gave = f"{array.dtype} as y{name}" if name else f"{array.dtype}"
                sentence = f"forward gave {gave} for an x of float64, expected float64"
                raise self.error(Verdict.DTYPE, sentence)

    def forward(self, inputs: Inputs) -> Array:
        """The outputs as one array of float64, see `joined`."""
        y = self.outputs(inputs)
        return y if type(y) is np.ndarray and y.dtype is FLOAT64 else joined(y)

    def run(
        self,
        inputs: Inputs,
        rng: np.random.Generator,
        dy: Array | None = None,
        layout: str | None = None,
    ) -> Run:
        """One forward and backward, for a random dy by default; checks all rules for them.

        dy is given in C order, or in a `layout` of `memory_layouts`.
        """
        # Backward has to replace these values.
        earlier = {path: rng.standard_normal(p.value.shape) for path, p in self.parameters()}
        for path, parameter in self.parameters():
            parameter.grad = earlier[path].copy()
        given = self._copies(inputs)
        outputs, returned_y = self._forward_twice(inputs, given)
        y = joined(outputs)
        if dy is None:
            # Of both signs and all different: a sum over outputs must not equal their mean or 0.
            dy = rng.choice([-1.0, 1.0], y.shape) * rng.uniform(0.5, 1.5, y.shape)
        if inputs.is_loss:
            dy = np.ones(())
        given_dy = split(dy, outputs, layout)
        try:
            dx = self.layer.backward() if inputs.is_loss else self.layer.backward(given_dy)
        except Exception as error:
            wants_dy = inputs.is_loss and isinstance(error, TypeError)
            hint = ": backward of a loss takes no dy" if wants_dy else self._after
            raise self.error(
                Verdict.BACKWARD_RAISES,
                f"backward raised {error!r} for x of {inputs.shapes}{hint}",
            ) from error
        self._after = f", after one of {inputs.shapes}"
        self._check_unchanged("backward", given, self._copies(inputs))
        before, after = named_arrays("dy", split(dy, outputs)), named_arrays("dy", given_dy)
        self._check_unchanged("backward", before, after)
        results = self._results_of_x(inputs, dx)
        for path, parameter in self.parameters():
            # For a dy of 0 an added gradient leaves the earlier values, too.
            grad = parameter.grad
            untouched = grad is None or (dy.any() and np.array_equal(grad, earlier[path]))
            results[path] = None if untouched else grad
        copies = named_arrays("y", outputs)
        returned = {name: (y, copies[name]) for name, y in named_arrays("y", returned_y).items()}
        gradients = {}
        for name, array in self._checked_gradients(inputs, results).items():
            gradients[name] = np.array(array, np.float64)
            returned[f"the gradient of {name}"] = array, gradients[name]
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

    def _forward_twice(self, inputs: Inputs, given: dict[str, Array]) -> tuple[Samples, Samples]:
        """A copy of y, and y itself from a second forward that starts from the same state."""
        if self.state is None:
            self.save_state(inputs)
        before = self._global_states or generator_states(global_generators())
        y: Samples = each_array(np.copy, self.outputs(inputs))
        if not self._global_generators:
            self._global_states = generator_states(global_generators())
            if before != self._global_states:
                # The layer draws from them: their state belongs to the saved state from now on.
                self._global_generators = global_generators()
                self.save_state(inputs)
                y = each_array(np.copy, self.outputs(inputs))
        result = self.outputs(inputs)
        self._check_unchanged("forward", given, self._copies(inputs))
        for array in arrays_of(y):
            if not np.isfinite(array).all():
                message = f"forward gave {array[~np.isfinite(array)][0]}, which has no derivative"
                raise self.error(Verdict.NOT_FINITE, message)
        pairs = zip_longest(arrays_of(y), arrays_of(result))
        if not all(np.array_equal(*pair) for pair in pairs):
            message = "forward gave two different results for the same x and the same state"
            raise self.error(Verdict.NOT_REPEATABLE, message)
        return y, result

    def _results_of_x(self, inputs: Inputs, dx: Any) -> dict[str, Any]:
        """What backward returned, by the names of x; integers alone need no gradient."""
        results = inputs.gradients(dx)
        if results is None and inputs.floats:
            count = f" of {len(dx)}" if isinstance(dx, tuple) else ""
            kind = "n array" if isinstance(dx, np.ndarray) else f" {type(dx).__name__}{count}"
            gave = "None" if dx is None else f"a{kind}"
            raise self.error(
                Verdict.NO_GRADIENT if dx is None else Verdict.SHAPE,
                f"backward gave {gave}, expected a tuple of {len(inputs.x)}: a gradient for each "
                "array of x, None for integers",
            )
        return results or {}

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
        arrays = self.tensors(inputs) | inputs.arrays
        return {name: array.copy() for name, array in arrays.items()}

    def _check_unchanged(self, method: str, before: dict[str, Any], after: dict[str, Any]) -> None:
        for name, old in before.items():
            new = after[name]
            if old is not None and not np.array_equal(old, new, equal_nan=old.dtype.kind == "f"):
                index = first_index((old != new) & ~((old != old) & (new != new)))
                raise self.error(
                    Verdict.CHANGED_IN_PLACE,
                    f"{method} changed {name} in place at index {index}, "
                    f"from {old[index]:.10g} to {new[index]:.10g}",
                    parameter=name,
                    index=index,
                )


def joined(y: Samples) -> Array:
    """The floats that a layer returns as one array: y itself, or the entries of several arrays."""
    if isinstance(y, tuple):
        y = np.concatenate([array.ravel() for array in y if array.dtype.kind == "f"])
    return y.astype(np.float64, copy=False)


def split(dy: Array, y: Samples, layout: str | None = None) -> Any:
    """A copy of dy for backward: an array, or one for each array of y, and None for integers."""
    if not isinstance(y, tuple):
        return in_layout(dy, layout) if layout and dy.ndim else dy.copy()
    parts: list[Array | None] = []
    for array in y:
        if array.dtype.kind != "f":
            parts.append(None)
            continue
        parts.append(split(dy[: array.size].reshape(array.shape), array, layout))
        dy = dy[array.size :]
    return tuple(parts)
