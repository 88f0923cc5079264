"""The rules of a gradient check, in order; the first one that is broken raises.

The order matters: a numeric derivative is meaningful only if forward is a function of its inputs,
so the rules for arrays and state come before the comparison of values.
"""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from functools import partial
from itertools import pairwise

import numpy as np

from tinynet.errors import GradientCheckError
from tinynet.gradcheck.inputs import LAYOUTS, Inputs, in_layout, rms
from tinynet.gradcheck.layer_under_test import LayerUnderTest, Run, split
from tinynet.gradcheck.numeric import GradientComparison, unravel
from tinynet.gradcheck.report import Report, TensorReport, Verdict
from tinynet.gradcheck.setup import GradientCheck
from tinynet.layer import Layer
from tinynet.parameter import Array

SAMPLE = 200  # entries of each tensor, if there are too many to check all
DIRECTIONS = 8


def check_rules(check: GradientCheck) -> Report:
    """Checks every rule, and returns a report.

    Raises:
        GradientCheckError: the first broken rule.
    """
    # A dy of 0 or a step out of the domain of forward may divide by 0; the results show it.
    with np.errstate(all="ignore"):
        return RuleChecker(check).report()


class RuleChecker:
    """Checks the rules, one method each, on a layer under test."""

    def __init__(self, check: GradientCheck) -> None:
        self.check = check
        self.rng = np.random.default_rng(check.seed)
        self.tested = LayerUnderTest(check.layer)
        self.inputs = check.inputs.copy()
        self.refilled: Inputs | None = None  # another batch, whose arrays get the given values

    def report(self) -> Report:
        """Checks all rules in order."""
        report = Report(self.tested.name, self.check.seed)
        tested, inputs, rules = self.tested, self.inputs, report.rules
        others = self.run_other_batches()
        run = tested.run(inputs, self.rng)
        rules += ["forward is repeatable", "inputs are unchanged", "gradients are overwritten"]
        if not inputs.is_loss:
            self.check_linear(run)
            rules.append("backward is linear")
        self.check_without_dx(inputs, run)
        self.check_not_overwritten(run, others)
        rules.append("returned arrays stay unchanged")
        report.tensors = self.compare(run)
        if larger := self.check.larger_batch():
            self.compare_larger_batch(larger, others)
            rules.append("another batch size")
        self.check_copies(run)
        rules.append("any memory layout of x")
        if others:
            rules.append("other batches before")
        if self.refilled:
            rules.append("an array that is filled again")
        return report

    def run_other_batches(self) -> list[Inputs]:
        """Runs other batches, between changes of all parameters: what is kept of them is stale now.

        An optimizer writes into the array of a parameter, `load` and a user may assign a new one.
        """
        others, tested = self.check.other_batches(), self.tested
        self.refilled = next((b for b in others if b.shapes == self.inputs.shapes), None)
        for batch, in_place in zip((others * 2)[:2], (False, True), strict=False):
            self.run_before(batch)
            tested.save_state(self.inputs, *([self.refilled] if self.refilled else []))
            tested.perturb_parameters(self.inputs, self.rng, in_place=in_place)
        if not others:
            tested.perturb_parameters(self.inputs, self.rng)
        return others

    def run_before(self, batch: Inputs) -> None:
        """Forward and backward of another batch."""
        try:
            run = self.tested.run(batch, self.rng)
        except GradientCheckError:
            # The error for the given x is easier to understand, if there is one.
            LayerUnderTest(self.check.layer).run(self.inputs, self.rng)
            raise
        if self.writes_without_dx:
            self.write_without_dx(batch, run)

    @property
    def writes_without_dx(self) -> bool:
        """Whether the layer has a `backward_parameters` of its own."""
        return type(self.tested.layer).backward_parameters is not Layer.backward_parameters

    def check_linear(self, run: Run) -> None:
        """Backward of 0 is 0, and backward is linear in dy."""
        zero = self.tested.run(self.inputs, self.rng, np.zeros_like(run.dy))
        for name, gradient in zero.gradients.items():
            self.check_equal(
                Verdict.NOT_ZERO,
                f"for a dy of 0, backward gave the gradient of {name}",
                name,
                gradient,
                np.zeros_like(gradient),
                0,
            )
        other = self.tested.run(self.inputs, self.rng)
        both = self.tested.run(self.inputs, self.rng, 0.75 * run.dy - 3 * other.dy)
        for name, gradient in both.gradients.items():
            first, second = 0.75 * run.gradients[name], 3 * other.gradients[name]
            self.check_equal(
                Verdict.NOT_LINEAR,
                f"for a linear combination of two dy, backward gave the gradient of {name}",
                name,
                gradient,
                first - second,
                self.tolerance(run, name, np.abs(first) + np.abs(second)),
            )

    def check_without_dx(self, inputs: Inputs, run: Run) -> None:
        """`backward_parameters` writes the same gradients as `backward`."""
        if not self.writes_without_dx:
            return
        self.write_without_dx(inputs, run)
        for name, parameter in self.tested.parameters():
            expected, gradient = run.gradients.get(name), parameter.grad
            if expected is None:
                continue  # an empty parameter
            if gradient is None or np.shape(gradient) != expected.shape:
                raise self.tested.error(
                    Verdict.WITHOUT_DX,
                    f"backward_parameters gave no gradient of {name} of the shape {expected.shape}",
                    parameter=name,
                )
            self.check_equal(
                Verdict.WITHOUT_DX,
                f"backward_parameters gave the gradient of {name}",
                name,
                gradient,
                expected,
                self.tolerance(run, name, expected),
            )

    def write_without_dx(self, inputs: Inputs, run: Run) -> None:
        """One forward and `backward_parameters`, for the dy of a run."""
        for _, parameter in self.tested.parameters():
            parameter.grad = None
        y = self.tested.outputs(inputs)
        try:
            self.tested.layer.backward_parameters(split(run.dy, y))
        except Exception as error:
            message = f"backward_parameters raised {error!r}"
            raise self.tested.error(Verdict.WITHOUT_DX, message) from error

    def check_not_overwritten(self, run: Run, others: list[Inputs]) -> None:
        """Later calls, also with another batch, leave returned arrays as they are."""
        for other in others[-1:]:
            self.tested.run(other, self.rng)
        if name := run.overwritten():
            raise self.tested.error(
                Verdict.OVERWRITTEN, f"{name} that was returned changed with a later call"
            )

    def check_copies(self, run: Run) -> None:
        """Neither the memory layout of x and dy nor earlier values of their arrays matter."""
        try:
            self.check_copies_at(run)
        except GradientCheckError as error:
            if error.verdict not in (Verdict.LAYOUT, Verdict.REFILLED):
                raise
            # Sums in another order round differently, perhaps to the other side of a kink: at a
            # perturbed point, away from every kink, the results have to agree.
            with self.tested.perturbed_run(self.inputs, self.check.seed) as nearby:
                if nearby is not None:
                    self.check_copies_at(nearby)

    def check_copies_at(self, run: Run) -> None:
        """The same, at the point of one run."""
        if self.refilled:
            for name, array in self.refilled.arrays.items():
                array[...] = self.inputs.arrays[name]
            where = "for an x in an array that held another batch"
            self.check_copy(run, Verdict.REFILLED, where, self.refilled)
        for layout in LAYOUTS:
            inputs = self.inputs.each_x(partial(in_layout, layout=layout))
            where = f"for x and dy that are {layout} in memory"
            self.check_copy(run, Verdict.LAYOUT, where, inputs, layout)

    def check_copy(
        self, run: Run, verdict: Verdict, where: str, inputs: Inputs, layout: str | None = None
    ) -> None:
        """The same values give the same gradients."""
        other = self.tested.run(inputs, self.rng, run.dy, layout)
        for name, gradient in other.gradients.items():
            self.check_equal(
                verdict,
                f"{where}, backward gave the gradient of {name}",
                name,
                gradient,
                run.gradients[name],
                self.tolerance(run, name, run.gradients[name]),
            )

    def tolerance(self, run: Run, name: str, gradient: Array) -> float:
        """The rounding error allowed for a gradient with terms of the size of y and dy."""
        tensor = self.tested.tensors(self.inputs)[name]
        natural = float(np.linalg.norm(run.dy * run.y)) / (rms(tensor) or 1.0)
        return 1e-9 * (float(np.abs(gradient).max()) + natural)

    def check_equal(
        self,
        verdict: Verdict,
        sentence: str,
        name: str,
        gradient: Array,
        expected: Array,
        tolerance: float,
    ) -> None:
        """Raises for the entry with the largest difference, if that is above the tolerance."""
        difference = np.abs(gradient - expected)
        if difference.max() > tolerance:
            index = unravel(int(difference.argmax()), difference.shape)
            raise self.tested.error(
                verdict,
                f"{sentence} {gradient[index]:.10g} at index {index}, "
                f"expected {expected[index]:.10g}",
                parameter=name,
                index=index,
                analytic=float(gradient[index]),
                numeric=float(expected[index]),
                error=tolerance,
            )

    def compare(self, run: Run) -> dict[str, TensorReport]:
        """Compares every entry with central differences; or a sample of them, and directions."""
        tensors = self.tested.tensors(self.inputs)
        check_all = sum(tensor.size for tensor in tensors.values()) <= self.check.entries
        reports = {}
        for name, tensor in tensors.items():
            entries = range(tensor.size) if check_all else self.sample(tensor.size, len(tensors))
            comparison = GradientComparison(self.check, self.tested, self.inputs, run, name)
            for flat in entries:
                comparison.check_entry(unravel(flat, tensor.shape))
            if len(entries) < tensor.size:
                for _ in range(min(DIRECTIONS, max(len(entries) // 4, 1))):
                    comparison.check_direction(self.rng)
            reports[name] = comparison.report()
        return reports

    def compare_larger_batch(self, inputs: Inputs, others: list[Inputs]) -> None:
        """Compares two directions of each tensor, for a batch with one more sample."""
        state = self.tested.state
        for other in others[-1:]:
            self.run_before(other)
        self.tested.save_state(inputs)
        run = self.tested.run(inputs, self.rng)
        for name in run.gradients:
            comparison = GradientComparison(self.check, self.tested, inputs, run, name)
            try:
                for _ in range(2):
                    comparison.check_direction(self.rng)
            except GradientCheckError as error:
                error.verdict = Verdict.OTHER_BATCH
                sentence = f"{error}, for {len(inputs)} samples, but right for"
                error.args = (f"{sentence} {len(self.inputs)}",)
                raise
        self.check_without_dx(inputs, run)
        self.tested.state = state

    def sample(self, size: int, tensors: int) -> list[int]:
        """Flat indices, one at random from each of equal parts; all tensors share `entries`."""
        parts = min(SAMPLE, size, max(self.check.entries // tensors, 1))
        bounds = np.linspace(0, size, parts + 1).astype(int)
        return [int(self.rng.integers(low, high)) for low, high in pairwise(bounds)]
