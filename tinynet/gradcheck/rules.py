"""One gradient check, from the first forward to the report; the first broken rule raises.

The order matters: a numeric derivative means something only once forward is known to be a function
of its inputs, so the rules for arrays and state come before the comparison of numbers.
"""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from itertools import pairwise

import numpy as np

from tinynet.errors import GradientCheckError
from tinynet.gradcheck.comparison import Comparison, moved, unravel
from tinynet.gradcheck.inputs import Case
from tinynet.gradcheck.layer_under_test import Inputs, Run, Subject
from tinynet.gradcheck.numeric import rms
from tinynet.gradcheck.report import Report, TensorReport, Verdict
from tinynet.layer import Layer
from tinynet.parameter import Array

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
        # A batch that nobody gave may be none that the layer takes, already as its first.
        others = [batch for batch in self.case.other_batches() if subject.takes(batch)]
        for batch in others:
            subject.differentiate(batch, self.rng)
            subject.hold(inputs)
        # As after a step of training: what was kept of the parameters before is stale now.
        subject.stir(inputs, self.rng)
        run = subject.differentiate(inputs, self.rng)
        held += ["the same twice", "nothing given is changed", "gradients are written"]
        if not self.is_loss:
            self.check_linear(run)
            held.append("linear in dy")
        self.check_same_without_dx(run)
        self.check_kept(run, others)
        held.append("what is returned stays")
        report.tensors = self.compare(run)
        if self.case.has_batch_axis and subject.takes(self.case.larger()):
            self.compare_another_size()
            held.append("another batch size")
        self.check_layouts(run)
        held.append("any layout of x")
        return report

    # The rules

    def check_linear(self, run: Run) -> None:
        """Backward of 0 is 0, and of a sum is the sum."""
        nothing = self.subject.differentiate(self.inputs, self.rng, np.zeros_like(run.dy))
        for name, gradient in nothing.gradients.items():
            self.check_equal(
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
            self.check_equal(
                Verdict.NOT_LINEAR,
                f"for a sum of two dy, backward gave the gradient of {name}",
                name,
                gradient,
                mine - others,
                self.room(run, name, np.abs(mine) + np.abs(others)),
            )

    def check_same_without_dx(self, run: Run) -> None:
        """What `backward_parameters` writes is what `backward` does."""
        layer = self.subject.layer
        if type(layer).backward_parameters is Layer.backward_parameters:
            return
        for _, parameter in self.subject.parameters():
            parameter.grad = None
        self.subject.forward(self.inputs)
        try:
            layer.backward_parameters(run.dy.copy())
        except Exception as error:
            message = f"backward_parameters raised {error!r}"
            raise self.subject.error(Verdict.WITHOUT_DX, message) from error
        found = {name: parameter.grad for name, parameter in self.subject.parameters()}
        for name, expected in run.gradients.items():
            if name == "x":
                continue
            gradient = found[name]
            if gradient is None or np.shape(gradient) != expected.shape:
                raise self.subject.error(
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
                self.room(run, name, expected),
            )

    def check_kept(self, run: Run, others: list[Inputs]) -> None:
        """What was returned is still there after later calls, also for another batch."""
        for other in others[-1:]:
            self.subject.differentiate(other, self.rng)
        name = run.overwritten()
        if name:
            raise self.subject.error(
                Verdict.OVERWRITTEN, f"{name} that was returned changed with a later call"
            )

    def check_layouts(self, run: Run) -> None:
        """The same numbers in other memory give the same."""
        try:
            self.check_same_in_other_memory(run)
        except GradientCheckError as error:
            if error.verdict is not Verdict.LAYOUT:
                raise
            # Products add up in another order there. What rounds to another side of a kink is no
            # mistake: off the kink all have to agree.
            with moved(self.subject, self.inputs, self.case.seed) as nearby:
                if nearby is not None:
                    self.check_same_in_other_memory(nearby)

    def check_same_in_other_memory(self, run: Run) -> None:
        """The same, at one point."""
        x, *rest = self.inputs
        for layout, copy in layouts(x).items():
            dy = layouts(run.dy).get(layout, run.dy)
            found = self.subject.differentiate((copy, *rest), self.rng, dy)
            for name, gradient in found.gradients.items():
                self.check_equal(
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

    def check_equal(
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
            index = unravel(int(off.argmax()), off.shape)
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
            comparison = Comparison(self.case, self.subject, self.inputs, run, name)
            for flat in entries:
                comparison.judge_entry(unravel(flat, tensor.shape))
            if len(entries) < tensor.size:
                for _ in range(DIRECTIONS):
                    comparison.judge_direction(self.rng)
            reports[name] = comparison.report()
        return reports

    def compare_another_size(self) -> None:
        """Two directions of each tensor, for one sample more."""
        inputs = self.case.larger()
        self.subject.hold(inputs)
        run = self.subject.differentiate(inputs, self.rng)
        for name in run.gradients:
            comparison = Comparison(self.case, self.subject, inputs, run, name)
            try:
                for _ in range(2):
                    comparison.judge_direction(self.rng)
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


def layouts(x: Array) -> dict[str, Array]:
    """Copies of x that are column-major, with gaps between the entries, and backwards in memory.

    >>> {name: copy.strides for name, copy in layouts(np.zeros((2, 3))).items()}
    {'column-major': (8, 16), 'with gaps': (48, 16), 'backwards': (24, -8)}
    """
    if x.ndim == 0:
        return {}
    gaps = np.empty((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)[..., ::2]
    backwards = np.empty_like(x, order="C")[..., ::-1]
    for copy in (gaps, backwards):
        copy[...] = x
    return {"column-major": np.array(x, order="F"), "with gaps": gaps, "backwards": backwards}
