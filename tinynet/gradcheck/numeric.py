"""Numeric derivatives: move a little to either side and see how far the outputs move.

The central difference (f(v + h) - f(v - h)) / 2h misses the derivative by h²/6 · f''', and by
rounding of about eps · |f| / h. Two steps, one four times the other, tell how much h² there is and
take it off (Richardson's extrapolation); what is left to doubt is the error that is reported.
"""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from types import EllipsisType
from typing import NamedTuple

import numpy as np

from tinynet.errors import GradientCheckError
from tinynet.gradcheck.report import Verdict
from tinynet.parameter import Array

EPSILON = float(np.finfo(np.float64).eps)


class Slopes(NamedTuple):
    """The slopes on either side of a point, and how far rounding may have moved them."""

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
        """How far the two sides are apart: h · f'' where f is smooth, the jump at a kink."""
        return abs(self.right - self.left)


class Derivative(NamedTuple):
    """A measured derivative, how far it may be off, and whether the slope jumps there."""

    value: float
    error: float
    kink: bool = False

    def difference(self, analytic: float) -> float:
        """|analytic - value| beyond the error, relative to the larger of the two."""
        excess = abs(analytic - self.value) - self.error
        return excess / max(abs(analytic), abs(self.value)) if excess > 0 else 0.0


def rms(tensor: Array) -> float:
    """The root of the mean square of the entries."""
    return math.sqrt(float(np.mean(np.square(tensor))))


def elsewhere(tensor: Array, rng: np.random.Generator) -> Array:
    """The tensor with each entry up to 1 % away, and what is 0 up to 1 % of the usual entry.

    What is not 0 keeps its sign: it may be the argument of a logarithm.
    """
    usual = rms(tensor) or 1.0
    size = np.where(np.abs(tensor) < 1e-8 * usual, usual, tensor)
    moved = tensor + size * rng.uniform(-0.01, 0.01, tensor.shape)
    return np.asarray(moved)  # which is a number, where the tensor has no axes


def rounding(dy: Array, y: Array) -> float:
    """What it does to Σ dy · y, as a rule, that each y is the nearest float."""
    return EPSILON * float(np.linalg.norm(dy * y))


def step_size(entry: float, usual: float) -> float:
    """∛eps times the size of the entry or, where that is larger, of the usual one."""
    return math.cbrt(EPSILON) * (max(abs(entry), usual) or 1.0)


@dataclass
class Line:
    """Σ dy · forward() along a line: through one entry of a tensor, or in a direction of all.

    `here` is what forward() gives before anything moves, and `rounding` that of dy · here. Each
    call puts the tensor back.
    """

    forward: Callable[[], Array]
    here: Array
    dy: Array
    rounding: float
    tensor: Array
    at: tuple[int, ...] | EllipsisType
    step: float
    direction: float | Array = 1.0
    landing: float = 0.0  # what it does to the sum that each entry lands on a float

    def derivative(self, expected: float, tolerance: float, scale: float) -> Derivative:
        """The derivative, with no more work than it takes to confirm `expected`.

        `scale` is the size of the gradients around: where the error is below `tolerance` times
        that, an entry that agrees needs no better look. One that does not agree always gets it:
        what forward loses to large numbers inside it, two steps may miss by chance.
        """
        first = self.first_look()
        room = tolerance * max(abs(expected), abs(first.value))
        sure = first.error <= max(room, tolerance * scale) and not first.kink
        return first if sure and abs(expected - first.value) <= room else self.swept(tolerance)

    def first_look(self) -> Derivative:
        """The derivative from two steps."""
        coarse, fine = self.slopes(16 * self.step), self.slopes(4 * self.step)
        # Where f is smooth the gap shrinks with the step.
        kink = fine.gap > coarse.gap / 2 + 8 * fine.noise and fine.gap > 1e-6 * abs(fine.central)
        return _extrapolated(coarse, fine, fine.noise)._replace(kink=kink)

    def contributions(self) -> Array:
        """What each output adds to the derivative: dy · ∂y/∂v, in the shape of y."""
        coarse, fine = (
            (self._moved_by(h)[0] - self._moved_by(-h)[0]) / (2 * h)
            for h in (16 * self.step, 4 * self.step)
        )
        each: Array = self.dy * (16 * fine - coarse) / 15
        return each

    def slopes(self, step: float) -> Slopes:
        """The slopes on both sides.

        The difference is taken before the sum: outputs that stay cost no precision.
        """
        right, right_step = self._moved_by(step)
        left, left_step = self._moved_by(-step)
        return Slopes(
            step,
            left=float(np.vdot(self.dy, left)) / left_step,
            right=float(np.vdot(self.dy, right)) / right_step,
            noise=(self.rounding + self.landing) / step,
        )

    def swept(self, tolerance: float) -> Derivative:
        """The derivative from steps over six decades: around kinks, out of noise, or not at all."""
        steps = [self.step * 4.0**power for power in range(2, -9, -1)]
        every = self.rounding
        # Outputs that do not depend on this entry do not blur it.
        self.rounding = rounding(np.where(self._depends(), self.dy, 0), self.here)
        sweep = [self.slopes(step) for step in steps]
        self.rounding = every
        # Near a kink the slopes of both sides stay apart on a plateau of the sweep, until the step
        # is too short to reach it.
        plateau = [
            index
            for index, (coarse, fine) in enumerate(pairwise(sweep), start=1)
            if coarse.gap / 2 < fine.gap < coarse.gap * 2
            and fine.gap - 4 * fine.noise > 100 * tolerance * max(abs(fine.left), abs(fine.right))
        ]
        # The first step behind the plateau may still touch the kink.
        smooth = sweep[plateau[-1] + 2 :] if plateau else sweep
        if len(smooth) < 2:
            return Derivative(sweep[-1].central, math.inf, kink=True)
        # What forward loses to large numbers inside it shows in how short steps disagree: more and
        # more from where they agree best, down to where nothing moves at all any more.
        pairs = list(pairwise(smooth))
        moving = [(_change(c, f), f.step) for c, f in pairs if c.central != 0 or f.central != 0]
        best_agreed = moving.index(min(moving)) if moving else 0
        lost = max((change * step for change, step in moving[best_agreed:]), default=0.0)
        best, step = min(
            (
                (_extrapolated(coarse, fine, max(fine.noise, lost / fine.step)), fine.step)
                for coarse, fine in pairs
            ),
            key=lambda measured: measured[0].error,
        )
        # A slope of 0 may be one that moved no output by the last bit of a 1 that it is added to.
        unseen = 4 * EPSILON / step if best.value == 0 else 0.0
        return Derivative(best.value, max(best.error, unseen), kink=bool(plateau))

    def _depends(self) -> Array:
        """Which outputs depend on the entry: those that do not stay when it moves far."""
        far = 4 * self.step / math.cbrt(EPSILON)
        away = [self._moved_by(far)[0], self._moved_by(-far)[0]]
        # Written so that nan is a move, too.
        stays: Array = (away[0] == 0) & (away[1] == 0)
        return ~stays

    def _moved_by(self, step: float) -> tuple[Array, float]:
        """How far the outputs move with the tensor, and how far that really moved."""
        saved = self.tensor[self.at].copy()
        try:
            self.tensor[self.at] = saved + step * self.direction
            if self.at is not ...:
                step = float(self.tensor[self.at] - saved)
            return self.forward() - self.here, step
        except GradientCheckError as error:
            if error.verdict is not Verdict.FORWARD_RAISES:
                raise
            return np.full_like(self.here, np.nan), step  # It is out of where forward is defined.
        finally:
            self.tensor[self.at] = saved


def _extrapolated(coarse: Slopes, fine: Slopes, noise: float) -> Derivative:
    # Of an error that falls with the square of the step, 1/15 of the change is left.
    value = fine.central + (fine.central - coarse.central) / 15
    error = 4 * (_change(coarse, fine) + noise)
    return Derivative(value, error) if math.isfinite(value) else Derivative(value, math.inf)


def _change(coarse: Slopes, fine: Slopes) -> float:
    """How much the slope changes from a step to the next shorter one."""
    change = abs(coarse.central - fine.central)
    return change if math.isfinite(change) else math.inf
