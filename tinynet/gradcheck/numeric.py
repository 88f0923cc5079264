"""Numeric derivatives of `forward` by central differences, and the comparison with a gradient.

The central difference (f(v + h) - f(v - h)) / 2h has a truncation error of h²/6 · f''' and a
rounding error of about eps · |f| / h. Richardson's extrapolation from two steps, one four times the
other, removes the h² term; the change between the two and the rounding give the error.
"""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from types import EllipsisType
from typing import NamedTuple

import numpy as np

from tinynet.errors import GradientCheckError
from tinynet.gradcheck.inputs import Inputs, rms
from tinynet.gradcheck.layer_under_test import LayerUnderTest, Run
from tinynet.gradcheck.report import INFORMATIVE, TensorReport, Verdict
from tinynet.gradcheck.setup import GradientCheck
from tinynet.parameter import Array

Index = tuple[int, ...]

EPSILON = float(np.finfo(np.float64).eps)


class Slopes(NamedTuple):
    """The one-sided slopes at a point for one step, and their rounding error."""

    step: float
    left: float
    right: float
    noise: float

    @property
    def central(self) -> float:
        """The central difference."""
        return (self.left + self.right) / 2

    @property
    def gap(self) -> float:
        """The difference of the two sides: h · f'' where f is smooth, the jump at a kink."""
        return abs(self.right - self.left)


class Estimate(NamedTuple):
    """A numeric derivative, a bound of its error, and whether the derivative jumps there."""

    value: float
    error: float
    kink: bool = False

    def difference(self, analytic: float) -> float:
        """|analytic - value| minus the error, at least 0, relative to the larger of the two."""
        excess = abs(analytic - self.value) - self.error
        return excess / max(abs(analytic), abs(self.value)) if excess > 0 else 0.0


def rounding(dy: Array, y: Array) -> float:
    """The usual rounding error of Σ dy · y when each y is rounded to the nearest float."""
    return EPSILON * float(np.linalg.norm(dy * y))


def step_size(entry: float, typical: float) -> float:
    """∛eps times the size of the entry, or of a typical entry where that is larger."""
    return math.cbrt(EPSILON) * (max(abs(entry), typical) or 1.0)


def unravel(flat: int, shape: tuple[int, ...]) -> Index:
    """The index of an entry from its position in C order."""
    return tuple(map(int, np.unravel_index(flat, shape)))


@dataclass
class NumericDerivative:
    """The derivative of Σ dy · forward() by one entry of a tensor, or in a direction.

    `y` is the unperturbed forward(), and `rounding` the rounding error of Σ dy · y. The tensor is
    restored after each call.
    """

    forward: Callable[[], Array]
    y: Array
    dy: Array
    rounding: float
    tensor: Array
    index: Index | EllipsisType
    step: float
    direction: float | Array = 1.0
    entry_rounding: float = 0.0  # the rounding error of the sum from rounding the entries

    def estimate(self, expected: float, tolerance: float, scale: float) -> Estimate:
        """The derivative, with no more forwards than it takes to confirm `expected`.

        Two steps are enough if they agree with it, and their error is below `tolerance` times
        `scale`, the size of the gradient. Otherwise a sweep decides: where forward loses digits,
        two steps may miss that by chance.
        """
        estimate = self.from_two_steps()
        allowed = tolerance * max(abs(expected), abs(estimate.value))
        precise = estimate.error <= max(allowed, tolerance * scale) and not estimate.kink
        agrees = abs(expected - estimate.value) <= allowed
        return estimate if precise and agrees else self.from_sweep(tolerance)

    def from_two_steps(self) -> Estimate:
        """The derivative extrapolated from two steps."""
        coarse, fine = self.slopes(16 * self.step), self.slopes(4 * self.step)
        # Where f is smooth, the gap shrinks with the step.
        kink = fine.gap > coarse.gap / 2 + 8 * fine.noise and fine.gap > 1e-6 * abs(fine.central)
        return _extrapolated(coarse, fine, fine.noise)._replace(kink=kink)

    def from_sweep(self, tolerance: float) -> Estimate:
        """The derivative from steps over six decades; an error of inf where none is usable."""
        steps = [self.step * 4.0**power for power in range(2, -9, -1)]
        of_all_outputs = self.rounding
        # Outputs that do not depend on this entry add no noise.
        self.rounding = rounding(np.where(self._dependent_outputs(), self.dy, 0), self.y)
        sweep = [self.slopes(step) for step in steps]
        self.rounding = of_all_outputs
        # Near a kink the gap is the same for several steps, until the step is too short to reach
        # the kink.
        plateau = [
            index
            for index, (coarse, fine) in enumerate(pairwise(sweep), start=1)
            if coarse.gap / 2 < fine.gap < coarse.gap * 2
            and fine.gap - 4 * fine.noise > 100 * tolerance * max(abs(fine.left), abs(fine.right))
        ]
        # The first step after the plateau may still touch the kink.
        smooth = sweep[plateau[-1] + 2 :] if plateau else sweep
        if len(smooth) < 2:
            return Estimate(sweep[-1].central, math.inf, kink=True)
        # Digits that forward loses show as disagreement that grows as steps get shorter, from the
        # pair that agrees best down to where nothing changes any more.
        pairs = list(pairwise(smooth))
        changing = [(_change(c, f), f.step) for c, f in pairs if c.central != 0 or f.central != 0]
        best_agreed = changing.index(min(changing)) if changing else 0
        lost = max((change * step for change, step in changing[best_agreed:]), default=0.0)
        best, step = min(
            (
                (_extrapolated(coarse, fine, max(fine.noise, lost / fine.step)), fine.step)
                for coarse, fine in pairs
            ),
            key=lambda estimated: estimated[0].error,
        )
        # A slope of 0 may be one that is lost in adding it to a 1.
        hidden = 4 * EPSILON / step if best.value == 0 else 0.0
        return Estimate(best.value, max(best.error, hidden), kink=bool(plateau))

    def contributions(self) -> Array:
        """The contribution of each output to the derivative: dy · ∂y/∂v, in the shape of y."""
        coarse, fine = (
            (self._difference(h)[0] - self._difference(-h)[0]) / (2 * h)
            for h in (16 * self.step, 4 * self.step)
        )
        each: Array = self.dy * (16 * fine - coarse) / 15
        return each

    def slopes(self, step: float) -> Slopes:
        """The slopes on both sides.

        The outputs are subtracted before the sum: unchanged ones cost no precision.
        """
        right, right_step = self._difference(step)
        left, left_step = self._difference(-step)
        return Slopes(
            step,
            left=float(np.vdot(self.dy, left)) / left_step,
            right=float(np.vdot(self.dy, right)) / right_step,
            noise=(self.rounding + self.entry_rounding) / step,
        )

    def _dependent_outputs(self) -> Array:
        """Whether each output depends on the entry: whether a large step changes it."""
        far = 4 * self.step / math.cbrt(EPSILON)
        up, down = self._difference(far)[0], self._difference(-far)[0]
        independent: Array = (up == 0) & (down == 0)  # False for nan
        return ~independent

    def _difference(self, step: float) -> tuple[Array, float]:
        """The change of the outputs for a step of the tensor, and the step after rounding."""
        saved = self.tensor[self.index].copy()
        try:
            self.tensor[self.index] = saved + step * self.direction
            if self.index is not ...:
                step = float(self.tensor[self.index] - saved)
            return self.forward() - self.y, step
        except GradientCheckError as error:
            if error.verdict is not Verdict.FORWARD_RAISES:
                raise
            return np.full_like(self.y, np.nan), step  # outside the domain of forward
        finally:
            self.tensor[self.index] = saved


def _extrapolated(coarse: Slopes, fine: Slopes, noise: float) -> Estimate:
    # Of an error that falls with the square of the step, 1/15 of the change is left.
    value = fine.central + (fine.central - coarse.central) / 15
    error = 4 * (_change(coarse, fine) + noise)
    return Estimate(value, error) if math.isfinite(value) else Estimate(value, math.inf)


def _change(coarse: Slopes, fine: Slopes) -> float:
    change = abs(coarse.central - fine.central)
    return change if math.isfinite(change) else math.inf


class GradientComparison:
    """Compares the gradient of one tensor with numeric derivatives, by entries and directions."""

    def __init__(
        self, check: GradientCheck, tested: LayerUnderTest, inputs: Inputs, run: Run, name: str
    ) -> None:
        self.check, self.tested, self.inputs, self.run, self.name = check, tested, inputs, run, name
        self.tensor = tested.tensors(inputs)[name]
        self.analytic = run.gradients[name]
        self.forward = partial(tested.forward, inputs)
        self.scale = rms(self.analytic)
        self.largest = float(np.abs(self.analytic).max())
        self.typical = rms(self.tensor)
        self.rounding = rounding(run.dy, run.y)
        self.errors: list[float] = []
        self.kinks = self.directions = 0
        self.worst = 0.0

    def report(self) -> TensorReport:
        """The result so far."""
        allowed = INFORMATIVE * self.reference()
        return TensorReport(
            shape=self.tensor.shape,
            entries=self.tensor.size,
            checked=len(self.errors),
            directions=self.directions,
            worst=self.worst / (self.largest or 1.0),
            kinks=self.kinks,
            uninformative=sum(error > allowed for error in self.errors),
        )

    def reference(self) -> float:
        """The size that a numeric error is relative to: the largest entry of the gradient.

        If that is 0 up to rounding: a millionth of the size that y (or a 1 inside), dy and the
        tensor suggest.
        """
        natural = max(float(np.linalg.norm(self.run.dy * self.run.y)), 1.0) / (self.typical or 1.0)
        is_zero = self.largest <= 4 * EPSILON * natural
        return 1e-6 * natural if is_zero else self.largest

    def check_entry(self, index: Index) -> None:
        """Counts an entry that is right, here or nearby, or cannot be judged; otherwise raises."""
        estimate = self.estimate(index)
        if self.agrees(index, estimate):
            self.kinks += estimate.kink
            self.worst = max(self.worst, abs(float(self.analytic[index]) - estimate.value))
        else:
            estimate = self.check_nearby(index, estimate)
            self.kinks += math.isfinite(estimate.error)
        self.errors.append(estimate.error)

    def check_nearby(self, index: Index, here: Estimate) -> Estimate:
        """At a kink there is no derivative: a perturbed point decides."""
        with self.tested.perturbed_run(self.inputs, self.check.seed) as run:
            if run is None:
                return here._replace(error=math.inf)
            nearby = GradientComparison(self.check, self.tested, self.inputs, run, self.name)
            estimate = nearby.estimate(index)
            if nearby.agrees(index, estimate) or not math.isfinite(estimate.error):
                return estimate
            if not math.isfinite(here.error):
                raise nearby.error(index, estimate)
        raise self.error(index, here)

    def estimate(self, index: Index) -> Estimate:
        """The derivative by one entry."""
        step = step_size(float(self.tensor[index]), self.typical)
        y, dy = self.run.y, self.run.dy
        numeric = NumericDerivative(self.forward, y, dy, self.rounding, self.tensor, index, step)
        return numeric.estimate(float(self.analytic[index]), self.check.tolerance, self.scale)

    def agrees(self, index: Index, estimate: Estimate) -> bool:
        """Whether the entry equals the estimate within its error and the tolerance."""
        difference = estimate.difference(float(self.analytic[index]))
        return math.isfinite(estimate.error) and difference <= self.check.tolerance

    def error(self, index: Index, estimate: Estimate) -> GradientCheckError:
        """The error that this entry is wrong, with the entries around it."""
        analytic = float(self.analytic[index])
        return self.tested.error(
            Verdict.WRONG,
            f"gradient of {self.name} at index {index}: backward gave {analytic:.10g}, "
            f"central differences give {estimate.value:.10g} ± {estimate.error:.0e}",
            parameter=self.name,
            index=index,
            analytic=analytic,
            numeric=estimate.value,
            error=estimate.error,
            around=self.around(index),
        )

    def around(self, index: Index) -> Iterator[tuple[Index, float, float]]:
        """The neighbours of an entry in the last two axes: index, analytic and numeric value."""
        shape = self.tensor.shape
        last = [range(max(i - 1, 0), min(i + 2, n)) for i, n in zip(index, shape, strict=True)][-2:]
        for near in product(*last):
            there = (*index[: len(index) - len(near)], *near)
            yield there, float(self.analytic[there]), self.estimate(there).value

    def check_direction(self, rng: np.random.Generator) -> None:
        """Checks a random direction of all entries; if it is wrong, finds the entry by bisection.

        One wrong entry in 40,000 takes some 16 steps.
        """
        size = np.maximum(np.abs(self.tensor), self.typical or 1.0)
        # All different, so that no two wrong entries cancel, and none near 0.
        signs = rng.choice([-1.0, 1.0], size.shape)
        weights = size * signs * rng.uniform(0.5, 1.5, size.shape)
        flat = rng.permutation(size.size)
        excess = self.excess(weights, flat)
        self.directions += 1
        while excess > 0 and len(flat) > 1:
            halves = [flat[: len(flat) // 2], flat[len(flat) // 2 :]]
            excess, flat = max(
                ((self.excess(weights, half), half) for half in halves), key=lambda found: found[0]
            )
        if excess > 0:
            self.check_entry(unravel(int(flat[0]), size.shape))

    def excess(self, weights: Array, flat: Array) -> float:
        """The difference in the direction of these entries, minus what the errors allow."""
        direction = np.zeros_like(weights)
        direction.flat[flat] = weights.flat[flat]
        terms = self.analytic * direction
        expected, norm = float(terms.sum()), float(np.linalg.norm(terms))
        numeric = NumericDerivative(
            self.forward,
            self.run.y,
            self.run.dy,
            self.rounding,
            self.tensor,
            ...,
            math.cbrt(EPSILON),
            direction,
            entry_rounding=rounding(self.analytic, self.tensor),
        )
        estimate = numeric.estimate(expected, 1e-9, norm)
        return abs(expected - estimate.value) - estimate.error - 1e-9 * norm
