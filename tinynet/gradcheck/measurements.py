"""Measurements for the diagnosis: runs of a fresh copy, and the data of a wrong gradient.

The data are the numeric gradient, the outputs, and the contribution of each output.
"""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from tinynet.errors import GradientCheckError
from tinynet.gradcheck.inputs import Inputs, LayerState, global_generators, rms
from tinynet.gradcheck.layer_under_test import LayerUnderTest, joined, split
from tinynet.gradcheck.numeric import Index, NumericDerivative, rounding, step_size, unravel
from tinynet.gradcheck.report import Verdict
from tinynet.gradcheck.setup import GradientCheck
from tinynet.parameter import Array
from tinynet.recording import Call, recording
from tinynet.samples import Samples, arrays_of, each_array, named_arrays

# The most entries to measure, and their number times the size of tensor and y: a diagnosis is to
# take seconds.
MAX_ENTRIES, MAX_WORK = 4096, 20_000_000


class FreshRun:
    """A fresh copy of the layer, run on one batch; unlike LayerUnderTest, it checks no rules.

    `before` are batches that it runs first. With `perturb`, its parameters change after those, in
    new arrays or "in place". `initial` is the value of all gradients before backward. With
    `without_dx`, `backward_parameters` takes the place of backward.
    """

    def __init__(
        self,
        check: GradientCheck,
        *,
        before: Sequence[Inputs] = (),
        perturb: bool | str = False,
        initial: float = 0.0,
        without_dx: bool = False,
    ) -> None:
        self.check, self.without_dx = check, without_dx
        self.inputs = check.inputs.copy()
        self.initial = initial
        self.tested = LayerUnderTest(check.layer)
        for inputs in before:
            self.run(inputs.copy())
        if perturb:
            rng, in_place = np.random.default_rng(check.seed), perturb == "in place"
            self.tested.perturb_parameters(self.inputs, rng, in_place=in_place)
        self.tested.save_state(self.inputs)

    def succeeds(self) -> bool:
        """Whether neither forward nor backward raises."""
        try:
            self.run(self.inputs)
        except GradientCheckError:
            return False
        return True

    def gradient(self, name: str, seed: int | None = 0, factor: float = 1.0) -> Array:
        """The gradient of a tensor for a random dy times `factor`; dy is 0 if `seed` is None."""
        return self.as_array(self.run(self.inputs, seed, factor)[2][name])

    def as_array(self, gradient: Any) -> Array:
        """A gradient from backward as an array of floats."""
        try:
            return np.array(gradient, np.float64)
        except (TypeError, ValueError) as error:
            message = f"backward gave {gradient!r}"
            raise self.tested.error(Verdict.SHAPE, message) from error

    def tensor(self, name: str) -> Array:
        """A tensor by its name."""
        return self.tested.tensors(self.inputs)[name]

    def is_right(self, name: str) -> bool:
        """Whether the gradient of a tensor is right, at up to 200 of its entries."""
        data = GradientData(self, name, max_entries=200)
        if data.analytic.shape != data.numeric.shape or not np.isfinite(data.numeric).any():
            return False
        return not data.count_wrong()

    def draws_in_backward(self) -> bool:
        """Whether backward draws random numbers."""
        y = self.tested.outputs(self.inputs)
        arrays = self.inputs.arrays.values()
        state = LayerState(self.tested.layer, arrays, global_generators())
        before = state.generator_states()
        self.backward(np.ones_like(joined(y)), y)
        return before != state.generator_states()

    def run(
        self, inputs: Inputs, seed: int | None = 0, factor: float = 1.0
    ) -> tuple[Array, Array, dict[str, Any]]:
        """Returns y, dy and the gradients by name."""
        for _, parameter in self.tested.parameters():
            parameter.grad = np.full_like(parameter.value, self.initial)
        self.outputs = outputs = self.tested.outputs(inputs)
        y = joined(outputs).copy()
        rng = np.random.default_rng(seed)
        dy = rng.choice([-1.0, 1.0], y.shape) * rng.uniform(0.5, 1.5, y.shape)
        dy = dy * (0 if seed is None else factor)
        if inputs.is_loss:
            dy = np.ones(())
        dx = inputs.gradients(self.backward(dy, outputs)) or dict.fromkeys(inputs.floats)
        return y, dy, dx | {path: p.grad for path, p in self.tested.parameters()}

    def backward(self, dy: Array, y: Samples) -> Any:
        """Returns dx for a copy of dy, split like y; a loss takes no dy."""
        layer = self.tested.layer
        try:
            if self.without_dx:
                layer.backward_parameters(split(dy, y))
                return None
            return layer.backward() if self.inputs.is_loss else layer.backward(split(dy, y))
        except Exception as error:
            message = f"backward raised {error!r}"
            raise self.tested.error(Verdict.BACKWARD_RAISES, message) from error

    def record(self, method: str) -> list[Call] | None:
        """The calls of a method of the outermost inner layers in one run; None if that raises."""
        outermost: list[str] = []
        for path, _ in self.tested.layer.named_layers():
            if path and not any(path.startswith(f"{outer}.") for outer in outermost):
                outermost.append(path)
        with recording(self.tested.layer, method, copies=True) as calls:
            self.tested.save_state(self.inputs)  # with the recording methods
            succeeds = self.succeeds()
        self.tested.save_state(self.inputs)
        return [call for call in calls if call.path in outermost] if succeeds else None


class GradientData:
    """One gradient of a fresh run: its values from backward and from numeric derivatives."""

    def __init__(self, fresh: FreshRun, name: str, max_entries: int = MAX_ENTRIES) -> None:
        self.fresh, self.name, self.inputs = fresh, name, fresh.inputs
        self.tensor = fresh.tensor(name)
        self.y, self.dy, gradients = fresh.run(self.inputs)
        self.max_entries = max(50, min(max_entries, MAX_WORK // (self.tensor.size + self.y.size)))
        self.analytic = fresh.as_array(gradients[name])
        self.n = len(self.inputs)
        self.is_x = name in self.inputs.floats
        self.numeric = np.full(self.tensor.shape, np.nan)  # nan: not measured
        self.noise = 0.0
        for index in self._entries():
            derivative = self._derivative(index)
            estimate = derivative.from_two_steps()
            if estimate.kink or estimate.error > 1e-7 * abs(estimate.value):
                estimate = derivative.from_sweep(1e-6)
            if np.isfinite(estimate.error):
                self.numeric[index] = estimate.value
                self.noise = max(self.noise, estimate.error)
        self.scale = float(np.nanmax(np.abs(self.numeric), initial=0.0))

    def _entries(self) -> Iterator[Index]:
        """All entries, or `max_entries` at equal distances."""
        size = self.tensor.size
        for flat in np.unique(np.linspace(0, size - 1, min(size, self.max_entries)).astype(int)):
            yield unravel(flat, self.tensor.shape)

    def _derivative(self, index: Index) -> NumericDerivative:
        forward = partial(self.fresh.tested.forward, self.inputs)
        step = step_size(float(self.tensor[index]), rms(self.tensor))
        noise = rounding(self.dy, self.y)
        return NumericDerivative(forward, self.y, self.dy, noise, self.tensor, index, step)

    # Comparisons

    def count_wrong(self) -> int:
        """The number of entries where the two gradients differ; all if their shapes differ."""
        if self.analytic.shape != self.numeric.shape:
            return self.analytic.size
        return int((~self.close(self.analytic, self.numeric)).sum())

    def close(self, a: Array, b: Array) -> Array:
        """Where two arrays are equal within the numeric error; True for values not measured."""
        tolerance = 10 * self.noise + 1e-9 * self.scale + 1e-5 * np.maximum(np.abs(a), np.abs(b))
        different: Array = np.abs(a - b) > tolerance
        return ~different

    def equal(self, a: Array, b: Array) -> bool:
        """Whether two arrays are close everywhere, and not only because they are 0 or unknown."""
        if a.shape != b.shape:
            return False
        known = np.isfinite(a - b)
        significant = np.abs(np.where(known, a, 0)).max(initial=0) > 1e-6 * self.scale
        return bool(significant and self.close(a, b).all())

    def fits(self, hypothesis: Array) -> bool:
        """Whether backward gave these values, and they are not the right gradient."""
        is_wrong = not self.close(hypothesis, self.numeric).all()
        return is_wrong and self.equal(hypothesis, self.analytic)

    def factor(self, base: Array) -> float | None:
        """The one number by which backward multiplied `base`."""
        significant = np.abs(np.nan_to_num(base)) > 1e-4 * self.scale
        if not significant.any():
            return None
        factor = float(np.median(self.analytic[significant] / base[significant]))
        return factor if self.close(factor * base, self.analytic).all() else None

    def factor_in(self, check: GradientCheck | None) -> float | None:
        """The factor of the right gradient in another check."""
        if check is None:
            return None
        data = GradientData(FreshRun(check), self.name, max_entries=200)
        return data.factor(data.numeric)

    def depends_on_targets(self) -> bool:
        """Whether the gradient of a loss changes when its targets are reordered."""
        rolled = partial(np.roll, shift=1, axis=0)
        inputs = replace(self.inputs, targets=each_array(rolled, self.inputs.arguments[1]))
        other = replace(self.fresh.check, inputs=inputs)
        return not np.array_equal(FreshRun(other).gradient(self.name), self.analytic)

    @cached_property
    def contributions(self) -> Array | None:
        """(entries, outputs): the contribution of each output to each entry, dy · ∂y/∂v."""
        if (
            self.tensor.size * self.y.size > MAX_ENTRIES**2 // 8
            or self.tensor.size > self.max_entries
        ):
            return None
        entries = self._entries()
        return np.stack([self._derivative(index).contributions().ravel() for index in entries])

    @cached_property
    def jacobian(self) -> Array | None:
        """(entries, outputs): ∂y/∂v."""
        each = self.contributions
        return None if each is None else each / self.dy.ravel()

    @cached_property
    def terms(self) -> Array | None:
        """The contribution of each output to all entries of a parameter, in the shape of y."""
        if self.is_x or self.contributions is None:
            return None
        total: Array = self.contributions.sum(axis=0).reshape(self.y.shape)
        return total

    @cached_property
    def parts(self) -> dict[str, slice]:
        """Where in dy and y the arrays of several outputs are, by the name of their dy."""
        found, start = {}, 0
        for name, array in named_arrays("dy", self.fresh.outputs).items():
            if name != "dy" and array.dtype.kind == "f":
                found[name] = slice(start, start := start + array.size)
        return found

    @cached_property
    def elementwise(self) -> bool:
        """Whether each output depends only on the entry of x at its own index."""
        jacobian = self.jacobian
        if jacobian is None or self.tensor.shape != self.y.shape:
            return False
        off_diagonal = np.abs(jacobian - np.diag(np.diagonal(jacobian)))
        return bool((off_diagonal <= 1e-9 * np.abs(jacobian).max()).all())

    def spans(self, bases: Sequence[Array], groups: Array) -> bool:
        """Whether each group of values is a linear combination of the columns of its base."""
        scale = np.abs(groups).max()
        if not np.isfinite(groups).all() or scale <= 1e-6 * self.scale:
            return False
        for base, group in zip(bases, groups, strict=True):
            weights = np.linalg.lstsq(base, group)[0]
            if np.abs(group - base @ weights).max() > 1e-5 * scale + 10 * self.noise:
                return False
        return True

    def possible_factors(self) -> Iterator[tuple[str, Array]]:
        """What may be an extra or a missing factor, by name: arrays v, 1 - v and 1 + v."""
        parameters = self.fresh.tested.tensors(self.inputs)
        named = parameters | named_arrays("x", self.inputs.x) | {"y": self.y, "dy": self.dy}
        for name, tensor in named.items():
            if name == self.name and not self.is_x:
                continue
            # One number per row multiplies the whole row.
            per_row = 0 < tensor.ndim < self.tensor.ndim and self.is_x and name not in parameters
            axes = (..., *[None] * (self.tensor.ndim - tensor.ndim))
            factor = np.asarray(tensor[axes] if per_row else tensor, np.float64)
            yield name, factor
            if name != "dy":
                yield f"(1 - {name})", 1 - factor
                yield f"(1 + {name})", 1 + factor

    def branches(self) -> list[Array]:
        """The dx of the inner layers, where it has the shape of x."""
        calls, shape = FreshRun(self.fresh.check).record("backward") or [], self.numeric.shape
        outputs = [dx for call in calls for dx in arrays_of(call.output)]
        return [dx for dx in outputs if isinstance(dx, np.ndarray) and dx.shape == shape]


def same(a: Array, b: Array) -> bool:
    """Whether all values are the same, up to rounding."""
    scale = max(float(np.abs(a).max()), float(np.abs(b).max()))
    return a.shape == b.shape and bool((np.abs(a - b) <= 1e-9 * scale).all())


def proportional(a: Array, b: Array) -> bool:
    """Whether a is a multiple of b, and not 0."""
    factor = float(np.vdot(a, b)) / (float(np.vdot(b, b)) or 1.0)
    return bool(np.any(a)) and same(a, factor * b)
