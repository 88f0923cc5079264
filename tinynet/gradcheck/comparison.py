"""One gradient held against the slopes of forward: entry by entry, or in directions of all."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product

import numpy as np

from tinynet.errors import GradientCheckError
from tinynet.gradcheck.inputs import Case
from tinynet.gradcheck.layer_under_test import Inputs, Run, Subject
from tinynet.gradcheck.numeric import EPSILON, Derivative, Line, elsewhere, rms, rounding, step_size
from tinynet.gradcheck.report import INFORMATIVE, TensorReport, Verdict
from tinynet.parameter import Array

Index = tuple[int, ...]


class Comparison:
    """One gradient held against the slopes of forward."""

    def __init__(self, case: Case, subject: Subject, inputs: Inputs, run: Run, name: str) -> None:
        self.case, self.subject, self.inputs, self.run, self.name = case, subject, inputs, run, name
        self.tensor = self.subject.tensors(inputs)[name]
        self.analytic = run.gradients[name]
        self.forward = partial(self.subject.forward, inputs)
        self.scale = rms(self.analytic)
        self.largest = float(np.abs(self.analytic).max())
        self.usual = rms(self.tensor)
        self.rounding = rounding(run.dy, run.y)
        self.errors: list[float] = []
        self.kinks = self.directions = 0
        self.worst = 0.0

    def report(self) -> TensorReport:
        """What was looked at."""
        most = INFORMATIVE * self.reference()
        return TensorReport(
            shape=self.tensor.shape,
            entries=self.tensor.size,
            checked=len(self.errors),
            directions=self.directions,
            worst=self.worst / (self.largest or 1.0),
            kinks=self.kinks,
            uninformative=sum(error > most for error in self.errors),
        )

    def reference(self) -> float:
        """The size that the error of a numeric value is held against: the largest entry.

        For a gradient that is 0, up to rounding, it is a millionth of what y (or a 1 inside), dy
        and the tensor would let it be.
        """
        natural = max(float(np.linalg.norm(self.run.dy * self.run.y)), 1.0) / (self.usual or 1.0)
        is_zero = self.largest <= 4 * EPSILON * natural
        return 1e-6 * natural if is_zero else self.largest

    def judge_entry(self, index: Index) -> None:
        """Counts an entry that is right, here or nearby, or that nobody can judge; else raises."""
        measured = self.measure(index)
        if self.agrees(index, measured):
            self.kinks += measured.kink
            self.worst = max(self.worst, abs(float(self.analytic[index]) - measured.value))
        else:
            measured = self.judge_nearby(index, measured)
            self.kinks += math.isfinite(measured.error)
        self.errors.append(measured.error)

    def judge_nearby(self, index: Index, here: Derivative) -> Derivative:
        """Where the slope jumps there is no derivative: a point nearby decides."""
        with moved(self.subject, self.inputs, self.case.seed) as run:
            if run is None:
                return here._replace(error=math.inf)
            there = Comparison(self.case, self.subject, self.inputs, run, self.name)
            measured = there.measure(index)
            if there.agrees(index, measured) or not math.isfinite(measured.error):
                return measured
            error = there.error(index, measured)
        raise self.error(index, here) if math.isfinite(here.error) else error

    def measure(self, index: Index) -> Derivative:
        """The derivative by one entry."""
        step = step_size(float(self.tensor[index]), self.usual)
        y, dy = self.run.y, self.run.dy
        line = Line(self.forward, y, dy, self.rounding, self.tensor, index, step)
        return line.derivative(float(self.analytic[index]), self.case.tolerance, self.scale)

    def agrees(self, index: Index, measured: Derivative) -> bool:
        """Whether backward gave this, as closely as it is known."""
        difference = measured.difference(float(self.analytic[index]))
        return math.isfinite(measured.error) and difference <= self.case.tolerance

    def error(self, index: Index, measured: Derivative) -> GradientCheckError:
        """That this entry is wrong, with those around it."""
        analytic = float(self.analytic[index])
        return self.subject.error(
            Verdict.WRONG,
            f"gradient of {self.name} at index {index}: backward gave {analytic:.10g}, "
            f"central differences give {measured.value:.10g} ± {measured.error:.0e}",
            parameter=self.name,
            index=index,
            analytic=analytic,
            numeric=measured.value,
            error=measured.error,
            around=self.around(index),
        )

    def around(self, index: Index) -> Iterator[tuple[Index, float, float]]:
        """The entries next to this one in the last two axes, as backward and forward have them."""
        shape = self.tensor.shape
        last = [range(max(i - 1, 0), min(i + 2, n)) for i, n in zip(index, shape, strict=True)][-2:]
        for near in product(*last):
            there = (*index[: len(index) - len(near)], *near)
            yield there, float(self.analytic[there]), self.measure(there).value

    def judge_direction(self, rng: np.random.Generator) -> None:
        """Moves all entries at once, and where that does not fit, half of them, a quarter, ... .

        One wrong entry in 40,000 is found in this way by some 16 looks.
        """
        size = np.maximum(np.abs(self.tensor), self.usual or 1.0)
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
            self.judge_entry(unravel(int(flat[0]), size.shape))

    def excess(self, weights: Array, flat: Array) -> float:
        """How far the slope in the direction of these entries is off, beyond what it may be."""
        direction = np.zeros_like(weights)
        direction.flat[flat] = weights.flat[flat]
        terms = self.analytic * direction
        expected, norm = float(terms.sum()), float(np.linalg.norm(terms))
        line = Line(
            self.forward,
            self.run.y,
            self.run.dy,
            self.rounding,
            self.tensor,
            ...,
            math.cbrt(EPSILON),
            direction,
            landing=rounding(self.analytic, self.tensor),
        )
        measured = line.derivative(expected, 1e-9, norm)
        return abs(expected - measured.value) - measured.error - 1e-9 * norm


@contextmanager
def moved(subject: Subject, inputs: Inputs, seed: int) -> Iterator[Run | None]:
    """All tensors up to 1 % elsewhere, where chance has taken them off every kink.

    Gives None where forward has no finite value there.
    """
    tensors = subject.tensors(inputs)
    here = {name: tensor.copy() for name, tensor in tensors.items()}
    rng = np.random.default_rng(seed)  # each time the same point
    for tensor in tensors.values():
        tensor[...] = elsewhere(tensor, rng)
    try:
        yield _run_if_finite(subject, inputs, rng)
    finally:
        for name, tensor in tensors.items():
            tensor[...] = here[name]


def _run_if_finite(subject: Subject, inputs: Inputs, rng: np.random.Generator) -> Run | None:
    try:
        return subject.differentiate(inputs, rng)
    except GradientCheckError as error:
        if error.verdict is Verdict.NOT_FINITE:
            return None
        raise


def unravel(flat: int, shape: tuple[int, ...]) -> Index:
    """The index of an entry from its place in C order."""
    return tuple(map(int, np.unravel_index(flat, shape)))
