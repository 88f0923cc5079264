"""One gradient check, from the first forward to the report; the first broken rule raises.

The order matters: a numeric derivative means something only once forward is known to be a function
of its inputs, so the rules for arrays and state come before the comparison of numbers.
"""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise, product

import numpy as np

from tinynet.gradcheck.case import Case
from tinynet.gradcheck.layouts import layouts
from tinynet.gradcheck.numeric import EPSILON, Derivative, Line, rms, rounding, step_size
from tinynet.gradcheck.report import INFORMATIVE, Report, TensorReport
from tinynet.gradcheck.subject import Inputs, Run, Subject
from tinynet.gradcheck.verdict import GradientCheckError, Verdict
from tinynet.parameter import Array

Index = tuple[int, ...]

SAMPLE = 200  # entries of each tensor, where there are too many to look at all
DIRECTIONS = 8


def examine(case: Case) -> Report:
    """Looks at everything; returns what was covered.

    Raises:
        GradientCheckError: at the first rule that is broken.
    """
    # It goes to where no batch goes, a dy of 0 or a step out of the domain: nan says enough there.
    with np.errstate(all="ignore"):
        return _Examination(case).report()


class _Examination:
    def __init__(self, case: Case) -> None:
        self.case = case
        self.rng = np.random.default_rng(case.seed)
        self.subject = Subject(case.layer)
        self.is_loss = len(case.inputs) > 1
        self.inputs = tuple(array.copy() for array in case.inputs)

    def report(self) -> Report:
        report = Report(self.subject.name, self.case.seed)
        held = report.held
        subject, inputs = self.subject, self.inputs
        for others in self.case.other_batches():
            subject.differentiate(others, self.rng)
            subject.hold(inputs)
        # As after a step of training: what was kept of the parameters before is stale now.
        for _, parameter in subject.parameters():
            parameter.value *= self.rng.uniform(0.99, 1.01, parameter.value.shape)
        run = subject.differentiate(inputs, self.rng)
        held += ["the same twice", "nothing given is changed", "gradients are written"]
        if not self.is_loss:
            self.demand_linear(run)
            held.append("linear in dy")
        self.demand_kept(run)
        held.append("what is returned stays")
        report.tensors = self.compare(run)
        if self.case.has_batch_axis:
            self.compare_another_size()
            held.append("another batch size")
        self.demand_layouts(run)
        held.append("any layout of x")
        return report

    # The rules

    def demand_linear(self, run: Run) -> None:
        """Backward of 0 is 0, and of a sum is the sum."""
        nothing = self.subject.differentiate(self.inputs, self.rng, np.zeros_like(run.dy))
        for name, gradient in nothing.gradients.items():
            self.demand_equal(
                Verdict.NOT_ZERO,
                f"for a dy of 0, backward gave the gradient of {name}",
                name,
                gradient,
                np.zeros_like(gradient),
                0,
            )
        other = self.subject.differentiate(self.inputs, self.rng)
        both = self.subject.differentiate(self.inputs, self.rng, 0.75 * run.dy - 3 * other.dy)
        for name, gradient in both.gradients.items():
            mine, others = 0.75 * run.gradients[name], 3 * other.gradients[name]
            self.demand_equal(
                Verdict.NOT_LINEAR,
                f"for a sum of two dy, backward gave the gradient of {name}",
                name,
                gradient,
                mine - others,
                self.room(run, name, np.abs(mine) + np.abs(others)),
            )

    def demand_kept(self, run: Run) -> None:
        """What was returned is still there after later calls."""
        self.subject.differentiate(self.case.other_batches()[-1], self.rng)
        name = run.overwritten()
        if name:
            raise self.subject.error(
                Verdict.OVERWRITTEN, f"{name} that was returned changed with a later call"
            )

    def demand_layouts(self, run: Run) -> None:
        """The same numbers in other memory give the same."""
        try:
            self.demand_same_in_other_memory(run)
        except GradientCheckError as error:
            if error.verdict is not Verdict.LAYOUT:
                raise
            # Products add up in another order there. What rounds to another side of a kink is no
            # mistake: off the kink all have to agree.
            with self.moved(self.inputs) as nearby:
                if nearby is not None:
                    self.demand_same_in_other_memory(nearby)

    def demand_same_in_other_memory(self, run: Run) -> None:
        """The same, at one point."""
        x, *rest = self.inputs
        for layout, copy in layouts(x).items():
            dy = layouts(run.dy).get(layout, run.dy)
            found = self.subject.differentiate((copy, *rest), self.rng, dy)
            for name, gradient in found.gradients.items():
                self.demand_equal(
                    Verdict.LAYOUT,
                    f"for an x that is {layout} in memory, backward gave the gradient of {name}",
                    name,
                    gradient,
                    run.gradients[name],
                    self.room(run, name, run.gradients[name]),
                )

    def room(self, run: Run, name: str, gradient: Array) -> float:
        """What rounding may do to a gradient whose terms are as large as y and dy let them be."""
        tensor = self.subject.tensors(self.inputs)[name]
        natural = float(np.linalg.norm(run.dy * run.y)) / (rms(tensor) or 1.0)
        return 1e-9 * (float(np.abs(gradient).max()) + natural)

    def demand_equal(
        self,
        verdict: Verdict,
        sentence: str,
        name: str,
        gradient: Array,
        expected: Array,
        room: float,
    ) -> None:
        """Raises for the entry that is furthest off, if it is by more than `room`."""
        off = np.abs(gradient - expected)
        if off.max() > room:
            index = _unravel(int(off.argmax()), off.shape)
            raise self.subject.error(
                verdict,
                f"{sentence} {gradient[index]:.10g} at index {index}, "
                f"expected {expected[index]:.10g}",
                parameter=name,
                index=index,
                analytic=float(gradient[index]),
                numeric=float(expected[index]),
                error=room,
            )

    # The numbers

    def compare(self, run: Run) -> dict[str, TensorReport]:
        """Entry by entry; where there are too many, a sample of them and some directions."""
        tensors = self.subject.tensors(self.inputs)
        everything = sum(tensor.size for tensor in tensors.values()) <= self.case.entries
        reports = {}
        for name, tensor in tensors.items():
            entries = range(tensor.size) if everything else self.stratified(tensor.size)
            comparison = Comparison(self, self.inputs, run, name)
            for flat in entries:
                comparison.judge_entry(_unravel(flat, tensor.shape))
            if len(entries) < tensor.size:
                for _ in range(DIRECTIONS):
                    comparison.judge_direction()
            reports[name] = comparison.report()
        return reports

    def compare_another_size(self) -> None:
        """Two directions of each tensor, for one sample more."""
        inputs = self.case.larger()
        self.subject.hold(inputs)
        run = self.subject.differentiate(inputs, self.rng)
        for name in run.gradients:
            comparison = Comparison(self, inputs, run, name)
            try:
                for _ in range(2):
                    comparison.judge_direction()
            except GradientCheckError as error:
                error.verdict = Verdict.OTHER_BATCH
                sentence = f"{error}, for {len(inputs[0])} samples, having been right for "
                error.args = (f"{sentence}{len(self.inputs[0])}",)
                raise
        self.subject.hold(self.inputs)

    def stratified(self, size: int) -> list[int]:
        """Flat indices, one from each of SAMPLE stretches of the same length."""
        bounds = np.linspace(0, size, min(SAMPLE, size) + 1).astype(int)
        return [int(self.rng.integers(low, high)) for low, high in pairwise(bounds)]

    @contextmanager
    def moved(self, inputs: Inputs) -> Iterator[Run | None]:
        """All tensors up to 1 % elsewhere, where chance has taken them off every kink.

        Gives None where forward has no finite value there.
        """
        tensors = self.subject.tensors(inputs)
        here = {name: tensor.copy() for name, tensor in tensors.items()}
        rng = np.random.default_rng(self.case.seed)  # each time the same point
        for tensor in tensors.values():
            # What is not 0 keeps its sign: it may be the argument of a logarithm.
            usual = rms(tensor) or 1.0
            size = np.where(np.abs(tensor) < 1e-8 * usual, usual, tensor)
            tensor += size * rng.uniform(-0.01, 0.01, tensor.shape)
        try:
            yield self._run_there(inputs, rng)
        finally:
            for name, tensor in tensors.items():
                tensor[...] = here[name]

    def _run_there(self, inputs: Inputs, rng: np.random.Generator) -> Run | None:
        try:
            return self.subject.differentiate(inputs, rng)
        except GradientCheckError as error:
            if error.verdict is Verdict.NOT_FINITE:
                return None
            raise


class Comparison:
    """One gradient held against the slopes of forward."""

    def __init__(self, examination: _Examination, inputs: Inputs, run: Run, name: str) -> None:
        self.examination, self.inputs, self.run, self.name = examination, inputs, run, name
        self.subject, self.rng = examination.subject, examination.rng
        self.tolerance = examination.case.tolerance
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
        return TensorReport(
            shape=self.tensor.shape,
            entries=self.tensor.size,
            checked=len(self.errors),
            directions=self.directions,
            worst=self.worst / (self.largest or 1.0),
            kinks=self.kinks,
            uninformative=sum(error > INFORMATIVE * self.reference() for error in self.errors),
        )

    def reference(self) -> float:
        """The size that the error of a numeric value is held against: the largest entry.

        For a gradient that is 0, up to rounding, it is a millionth of what y, dy and the tensor
        would let it be.
        """
        natural = float(np.linalg.norm(self.run.dy * self.run.y)) / (self.usual or 1.0)
        is_zero = self.largest <= 4 * EPSILON * natural
        return 1e-6 * (natural or 1.0) if is_zero else self.largest

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
        with self.examination.moved(self.inputs) as run:
            if run is None:
                return here._replace(error=math.inf)
            there = Comparison(self.examination, self.inputs, run, self.name)
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
        return line.derivative(float(self.analytic[index]), self.tolerance, self.scale)

    def agrees(self, index: Index, measured: Derivative) -> bool:
        """Whether backward gave this, as closely as it is known."""
        difference = measured.difference(float(self.analytic[index]))
        return math.isfinite(measured.error) and difference <= self.tolerance

    def error(self, index: Index, measured: Derivative) -> GradientCheckError:
        """That this entry is wrong, with those around it."""
        analytic = float(self.analytic[index])
        return self.subject.error(
            Verdict.WRONG,
            f"gradient of {self.name} at index {index}: backward gave {analytic:.10g}, "
            f"central differences give {measured.value:.10g}",
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

    def judge_direction(self) -> None:
        """Moves all entries at once, and where that does not fit, half of them, a quarter, ... .

        One wrong entry in 40,000 is found in this way by some 16 looks.
        """
        size = np.maximum(np.abs(self.tensor), self.usual or 1.0)
        # All different, so that no two wrong entries cancel, and none near 0.
        weights = size * self.rng.choice([-1.0, 1.0], size.shape)
        weights *= self.rng.uniform(0.5, 1.5, size.shape)
        flat = self.rng.permutation(size.size)
        excess = self.excess(weights, flat)
        self.directions += 1
        while excess > 0 and len(flat) > 1:
            halves = [flat[: len(flat) // 2], flat[len(flat) // 2 :]]
            excess, flat = max(
                ((self.excess(weights, half), half) for half in halves), key=lambda found: found[0]
            )
        if excess > 0:
            self.judge_entry(_unravel(int(flat[0]), size.shape))

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


def _unravel(flat: int, shape: tuple[int, ...]) -> Index:
    return tuple(map(int, np.unravel_index(flat, shape)))
