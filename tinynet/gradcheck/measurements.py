"""What there is to know about a wrong gradient: the right one, the outputs, what each adds."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from tinynet.errors import GradientCheckError
from tinynet.gradcheck.inputs import Case
from tinynet.gradcheck.layer_under_test import GlobalGenerators, Inputs, State, Subject
from tinynet.gradcheck.numeric import Line, rms, rounding, step_size
from tinynet.gradcheck.report import Verdict
from tinynet.layer import Layer
from tinynet.parameter import Array

# What is measured at most, entries by the size of x and y: a diagnosis is to take seconds.
MOST, WORK = 4096, 20_000_000


class Trial:
    """A fresh copy of the layer on one batch, run without any rule being watched.

    `before` are batches that it sees first; `moved` parameters change between its birth and the
    batch; `filled` lies in the gradients before backward.
    """

    def __init__(
        self,
        case: Case,
        *,
        before: Sequence[Inputs] = (),
        moved: bool = False,
        filled: float = 0.0,
    ) -> None:
        self.case = case
        self.inputs = tuple(array.copy() for array in case.inputs)
        self.filled = filled
        self.subject = Subject(case.layer)
        for inputs in before:
            self.run(tuple(array.copy() for array in inputs))
        if moved:
            self.subject.stir(self.inputs, np.random.default_rng(case.seed))
        self.hold()

    def hold(self) -> None:
        """Every run starts from the state as it is now."""
        self.subject.hold(self.inputs)

    def runs(self) -> bool:
        """Whether forward and backward both come to an end."""
        try:
            self.run(self.inputs)
        except GradientCheckError:
            return False
        return True

    def gradient(self, name: str, seed: int | None = 0, times: float = 1.0) -> Array:
        """The gradient of one tensor for `times` a dy that is drawn from `seed`, or 0 for None."""
        return self.as_array(self.run(self.inputs, seed, times)[2][name])

    def as_array(self, gradient: Any) -> Array:
        """What backward gave, as floats."""
        try:
            return np.array(gradient, np.float64)
        except (TypeError, ValueError) as error:
            message = f"backward gave {gradient!r}"
            raise self.subject.error(Verdict.SHAPE, message) from error

    def tensor(self, name: str) -> Array:
        """The tensor itself."""
        return self.subject.tensors(self.inputs)[name]

    def is_right(self, name: str) -> bool:
        """Whether the gradient of this tensor is right here, as far as some of it shows."""
        evidence = Evidence(self, name, most=200)
        analytic, numeric = evidence.analytic, evidence.numeric
        if analytic.shape != numeric.shape or not np.isfinite(numeric).any():
            return False
        return bool(evidence.close(analytic, numeric).all())

    def draws_in_backward(self) -> bool:
        """Whether backward moves a generator."""
        dy = np.ones_like(self.subject.forward(self.inputs))
        state, position = State(self.subject.layer, self.inputs), GlobalGenerators.position()
        before = state.positions()
        self.backward(dy, self.inputs)
        return before != state.positions() or position != GlobalGenerators.position()

    def run(
        self, inputs: Inputs, seed: int | None = 0, times: float = 1.0
    ) -> tuple[Array, Array, dict[str, Any]]:
        """Y, dy and the gradients by name."""
        for _, parameter in self.subject.parameters():
            parameter.grad = np.full_like(parameter.value, self.filled)
        y = self.subject.forward(inputs).copy()
        rng = np.random.default_rng(seed)
        dy = rng.choice([-1.0, 1.0], y.shape) * rng.uniform(0.5, 1.5, y.shape)
        dy = dy * (0 if seed is None else times)
        if len(inputs) > 1:
            dy = np.ones(())
        dx = self.backward(dy, inputs)
        return y, dy, {"x": dx} | {path: p.grad for path, p in self.subject.parameters()}

    def backward(self, dy: Array, inputs: Inputs) -> Any:
        """Dx for a copy of dy, which a loss is not given."""
        layer = self.subject.layer
        try:
            return layer.backward() if len(inputs) > 1 else layer.backward(dy.copy())
        except Exception as error:
            message = f"backward raised {error!r}"
            raise self.subject.error(Verdict.BACKWARD_RAISES, message) from error


class Evidence:
    """One gradient of a trial, as backward gave it and as forward has it."""

    def __init__(self, trial: Trial, name: str, most: int = MOST) -> None:
        self.trial, self.name, self.inputs = trial, name, trial.inputs
        self.tensor = trial.tensor(name)
        self.y, self.dy, found = trial.run(self.inputs)
        self.most = max(50, min(most, WORK // (self.tensor.size + self.y.size)))
        self.analytic = trial.as_array(found[name])
        self.n = len(self.inputs[0])
        self.numeric = np.full(self.tensor.shape, np.nan)
        self.noise = 0.0
        for index in self._entries():
            line = self._line(index)
            measured = line.first_look()
            if measured.kink or measured.error > 1e-7 * abs(measured.value):
                measured = line.swept(1e-6)
            if np.isfinite(measured.error):
                self.numeric[index] = measured.value
                self.noise = max(self.noise, measured.error)
        self.scale = float(np.nanmax(np.abs(self.numeric), initial=0.0))

    def _entries(self) -> Iterator[tuple[int, ...]]:
        """All entries, or as many as can be measured in a while."""
        size = self.tensor.size
        for flat in np.unique(np.linspace(0, size - 1, min(size, self.most)).astype(int)):
            yield tuple(map(int, np.unravel_index(flat, self.tensor.shape)))

    def _line(self, index: tuple[int, ...]) -> Line:
        forward = partial(self.trial.subject.forward, self.inputs)
        step = step_size(float(self.tensor[index]), rms(self.tensor))
        noise = rounding(self.dy, self.y)
        return Line(forward, self.y, self.dy, noise, self.tensor, index, step)

    # What a hypothesis asks

    @property
    def telling(self) -> int:
        """On how many entries the two gradients differ, and so can tell hypotheses apart."""
        if self.analytic.shape != self.numeric.shape:
            return self.analytic.size
        return int((~self.close(self.analytic, self.numeric)).sum())

    def close(self, a: Array, b: Array) -> Array:
        """Where the two agree, as closely as the numeric values are known; True for unknown."""
        room = 10 * self.noise + 1e-9 * self.scale + 1e-5 * np.maximum(np.abs(a), np.abs(b))
        near: Array = ~(np.abs(a - b) > room)
        return near

    def explains(self, a: Array, b: Array) -> bool:
        """Whether the two agree everywhere, and not for being 0 or unknown."""
        known = np.isfinite(a - b)
        told = np.abs(np.where(known, a, 0)).max(initial=0) > 1e-6 * self.scale
        return bool(told and self.close(a, b).all())

    def fits(self, hypothesis: Array) -> bool:
        """Whether it is what backward gave, where the right gradient is something else."""
        other = not self.close(hypothesis, self.numeric).all()
        return other and self.explains(hypothesis, self.analytic)

    def factor(self, base: Array) -> float | None:
        """The one number that times `base` is what backward gave."""
        told = np.abs(np.nan_to_num(base)) > 1e-4 * self.scale
        if not told.any():
            return None
        factor = float(np.median(self.analytic[told] / base[told]))
        return factor if self.close(factor * base, self.analytic).all() else None

    def factor_for(self, case: Case | None) -> float | None:
        """The factor in another case."""
        if case is None:
            return None
        evidence = Evidence(Trial(case), self.name, most=200)
        return evidence.factor(evidence.numeric)

    def follows_targets(self) -> bool:
        """Whether the gradient of a loss changes with its targets, in another order."""
        x, targets = self.inputs
        other = replace(self.trial.case, inputs=(x, np.roll(targets, 1, axis=0)))
        return not np.array_equal(Trial(other).gradient(self.name), self.analytic)

    @cached_property
    def contributions(self) -> Array | None:
        """(entries, outputs): what each output adds to each entry, dy · ∂y/∂v."""
        if self.tensor.size * self.y.size > MOST**2 // 8 or self.tensor.size > self.most:
            return None
        return np.stack([self._line(index).contributions().ravel() for index in self._entries()])

    @cached_property
    def jacobian(self) -> Array | None:
        """(entries, outputs): ∂y/∂v."""
        each = self.contributions
        return None if each is None else each / self.dy.ravel()

    @cached_property
    def terms(self) -> Array | None:
        """What each output adds to all entries of a parameter together, in the shape of y."""
        if self.name == "x" or self.contributions is None:
            return None
        total: Array = self.contributions.sum(axis=0).reshape(self.y.shape)
        return total

    @cached_property
    def elementwise(self) -> bool:
        """Whether each output depends on the entry of x at its own place alone."""
        jacobian = self.jacobian
        if jacobian is None or self.tensor.shape != self.y.shape:
            return False
        across = np.abs(jacobian - np.diag(np.diagonal(jacobian)))
        return bool((across <= 1e-9 * np.abs(jacobian).max()).all())

    def spans(self, bases: Sequence[Array], groups: Array) -> bool:
        """Whether each group of numbers is a sum of the columns of its base."""
        scale = np.abs(groups).max()
        if not np.isfinite(groups).all() or scale <= 1e-6 * self.scale:
            return False
        for base, group in zip(bases, groups, strict=True):
            weights = np.linalg.lstsq(base, group)[0]
            if np.abs(group - base @ weights).max() > 1e-5 * scale + 10 * self.noise:
                return False
        return True

    def others(self) -> Iterator[tuple[str, Array]]:
        """The arrays that may have been multiplied in, or not."""
        for name, tensor in self.trial.subject.tensors(self.inputs).items():
            if name != self.name:
                yield name, tensor
        if self.name == "x":
            yield "x", self.tensor
        for name, tensor in (("y", self.y), ("dy", self.dy)):
            # One number for each row goes along with all of the row.
            row = 0 < tensor.ndim < self.tensor.ndim and self.name == "x"
            yield name, tensor[(..., *[None] * (self.tensor.ndim - tensor.ndim))] if row else tensor

    def parts(self) -> list[Array]:
        """What the inner layers return for dx, where that has the shape of x."""
        trial = Trial(self.trial.case)
        inner: dict[str, Layer] = {}
        for path, node in trial.subject.layer.named_layers():
            inside = any(path.startswith(f"{outer}.") for outer in inner)
            if path and isinstance(node, Layer) and not inside:
                inner[path] = node
        found: list[Array] = []
        for layer in inner.values():
            vars(layer)["backward"] = _recorded(layer.backward, found)
        trial.hold()
        trial.run(trial.inputs)
        return [part for part in found if part.shape == self.numeric.shape]


def _recorded(backward: Any, found: list[Array]) -> Any:
    def recorded(*args: Any) -> Any:
        dx = backward(*args)
        found.append(np.array(dx))
        return dx

    return recorded
