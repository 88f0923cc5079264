"""Numeric derivatives: move one entry a little to either side and see how far the outputs move.

The central difference (f(v + h) - f(v - h)) / 2h misses the derivative by h²/6 · f''', and by
rounding of about eps · |f| / h. A step of ∛eps times the size of the entries balances the two.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinynet.parameter import Array

EPSILON = float(np.finfo(np.float64).eps)


class Slopes(NamedTuple):
    """The slopes on either side of an entry, and how far rounding may have moved them."""

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


def rms(tensor: Array) -> float:
    """The root of the mean square of the entries."""
    return math.sqrt(float(np.mean(np.square(tensor))))


def step_size(tensor: Array, index: tuple[int, ...]) -> float:
    """∛eps times the size of the entry or, where that is larger, of the tensor."""
    return math.cbrt(EPSILON) * (max(abs(float(tensor[index])), rms(tensor)) or 1.0)


@dataclass
class Probe:
    """Σ dy · forward() as a function of one entry of a tensor, which each call puts back.

    `here` is what forward() gives before anything moves.
    """

    forward: Callable[[], Array]
    here: Array
    dy: Array
    tensor: Array
    index: tuple[int, ...]

    def slopes(self, step: float) -> Slopes:
        """The slopes on both sides, for a first look: with the rounding of what moved."""
        here, dy = self.here, self.dy
        right, right_step = self._moved_by(step)
        left, left_step = self._moved_by(-step)
        moved = (right != here) | (left != here)
        return Slopes(
            step,
            # The difference is taken before the sum: outputs that stay cost no precision.
            left=float(np.sum(dy * (left - here)) / left_step),
            right=float(np.sum(dy * (right - here)) / right_step),
            noise=EPSILON * float(np.linalg.norm((dy * here)[moved])) / step,
        )

    def sweep(self, step: float) -> list[Slopes]:
        """The slopes for steps over six decades around `step`, with the rounding of all outputs.

        For where a slope is too flat, no output moves by as much as its last bit.
        """
        steps = [step * 4.0**power for power in range(2, -9, -1)]
        rounding = EPSILON * float(np.linalg.norm(self.dy * self.here))
        return [self.slopes(step)._replace(noise=rounding / step) for step in steps]

    def _moved_by(self, step: float) -> tuple[Array, float]:
        """The outputs with the entry moved, and how far it really moved."""
        value = float(self.tensor[self.index])
        try:
            self.tensor[self.index] = value + step
            return self.forward(), float(self.tensor[self.index]) - value
        finally:
            self.tensor[self.index] = value
