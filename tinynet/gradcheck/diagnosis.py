"""The likely cause of a wrong gradient, found by testing hypotheses on the numbers themselves.

First come experiments: is a fresh copy right that has seen no other batch? does the gradient follow
dy at all? Then the wrong gradient is held against what each usual slip would give: the right one
with its sign turned, transposed, summed over another axis, and so on. A hypothesis counts where
it fits every entry; a cause is certain where only one fits, on enough entries, or where an
experiment proves it. Where none fits, the cause is unknown.
"""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from dataclasses import replace
from enum import StrEnum

import numpy as np

from tinynet.errors import GradientCheckError
from tinynet.gradcheck.hypotheses import HYPOTHESES, Diagnosis, other_shape, proportional, same
from tinynet.gradcheck.inputs import Case
from tinynet.gradcheck.measurements import Evidence, Trial
from tinynet.gradcheck.report import Cause, Verdict

UNKNOWN = Diagnosis(None, False, "")

# What a broken rule says by itself.
_BY_VERDICT: dict[StrEnum, Diagnosis] = {
    Verdict.CHANGED_IN_PLACE: Diagnosis(
        Cause.IN_PLACE, True, "whoever else needs this array reads other numbers now"
    ),
    Verdict.OVERWRITTEN: Diagnosis(
        Cause.REUSED, True, "return a new array each time: the caller may still need the old one"
    ),
    Verdict.LAYOUT: Diagnosis(
        Cause.LAYOUT, True, "such as ravel('K') or a view of the raw memory does"
    ),
    Verdict.NO_GRADIENT: Diagnosis(
        Cause.LEFT_OUT, True, "backward returns dx and writes the .grad of every parameter"
    ),
    Verdict.NOT_REPEATABLE: Diagnosis(
        Cause.RANDOMNESS,
        True,
        "keep the generator as an attribute of the layer: the check puts that back each time",
    ),
}


def diagnose(case: Case, error: GradientCheckError) -> Diagnosis:
    """Looks for what the failure of this case comes from."""
    if error.verdict in _BY_VERDICT:
        return _BY_VERDICT[error.verdict]
    if error.verdict is Verdict.DTYPE:
        single = "float32" in str(error) or "float16" in str(error)
        sentence = "look for a dtype that is written out, such as np.float32"
        return Diagnosis(Cause.PRECISION, True, sentence) if single else UNKNOWN
    if error.verdict is Verdict.NOT_FINITE:
        if error.parameter is None:
            return Diagnosis(Cause.OVERFLOW, True, "forward alone shows it")
        some, none = (Trial(case).gradient(error.parameter, seed=seed) for seed in (0, None))
        if np.isfinite(none).all() or not np.isfinite(some).all():
            return Diagnosis(Cause.OVERFLOW, False, "in backward, where forward is finite")
    if error.verdict is Verdict.WITHOUT_DX:
        return UNKNOWN
    # Parameters often start where bugs hide, as gains at 1 and shifts at 0.
    name, stirred = error.parameter or "x", case.stirred()
    by_history = _history(case, stirred, error, name)
    if by_history:
        return by_history
    if error.verdict in (Verdict.BACKWARD_RAISES, Verdict.FORWARD_RAISES):
        fits = any(word in str(error) for word in ("matmul", "not aligned", "einsum"))
        sentence = "the shapes of a product do not fit"
        return Diagnosis(Cause.TRANSPOSE, False, sentence) if fits else UNKNOWN
    if error.verdict is Verdict.OTHER_BATCH:
        # Is it the size, or the one sample that comes twice? As many as before tell.
        n = len(case.inputs[0])
        twice = replace(stirred, inputs=case.take(np.maximum(np.arange(n) - 1, 0)))
        if n > 1 and Trial(twice).is_right(name):
            sentence = (
                f"it is right for {n} samples, and wrong for one more, as if {n} were written out"
            )
            return Diagnosis(Cause.FIXED_SIZE, True, sentence)
        stirred = replace(stirred, inputs=case.larger())
    by_dy = _dependence_on_dy(stirred, name)
    if by_dy:
        return by_dy
    for inputs in (stirred.richer(), stirred.inputs):
        found = _weigh(Evidence(Trial(replace(stirred, inputs=inputs)), name))
        if found.cause:
            return found
    return UNKNOWN


# Experiments


def _history(case: Case, stirred: Case, error: GradientCheckError, name: str) -> Diagnosis | None:
    """Is it right in a fresh copy, and what must come before to make it wrong?"""
    raised = error.verdict in (Verdict.BACKWARD_RAISES, Verdict.FORWARD_RAISES)
    at_other_size = error.verdict is Verdict.OTHER_BATCH or (raised and case.has_batch_axis)
    inputs = case.larger() if at_other_size else case.inputs
    now, then = replace(stirred, inputs=inputs), replace(case, inputs=inputs)
    alone = Trial(now)
    if not (alone.runs() if raised else alone.is_right(name)):
        return None
    if not raised:
        fresh = alone.gradient(name)
        filled = Trial(now, filled=7.0).gradient(name)
        twice = Trial(now, before=[inputs]).gradient(name)
        if same(filled, fresh + 7) or (np.any(fresh) and same(twice, 2 * fresh)):
            sentence = "backward keeps what was in the gradient before: write grad =, not grad +="
            return Diagnosis(Cause.ADDED, True, sentence)
    earlier = [case.inputs] if at_other_size else case.other_batches()
    if raised or not Trial(now, before=earlier).is_right(name):
        sentence = "a fresh copy is right: something is kept from the batch before"
        return Diagnosis(Cause.STALE, True, sentence)
    if not Trial(then, before=earlier, moved=True).is_right(name):
        sentence = "a fresh copy is right: a parameter is kept as it was, and has changed since"
        return Diagnosis(Cause.STALE, True, sentence)
    return None


def _dependence_on_dy(case: Case, name: str) -> Diagnosis | None:
    """Does the gradient follow dy: is it 0 for 0, and another one for another?"""
    if len(case.inputs) > 1:
        return None
    trial = Trial(case)
    first, second = (trial.gradient(name, seed=seed) for seed in (1, 2))
    nothing = trial.gradient(name, seed=None)
    if trial.draws_in_backward():
        sentence = "backward draws random numbers of its own: it needs those of forward"
        return Diagnosis(Cause.RANDOMNESS, True, sentence)
    if first.shape == second.shape and same(first, second) and np.any(first):
        sentence = "backward gives the same for every dy"
        return Diagnosis(Cause.UPSTREAM, True, sentence)
    if np.any(nothing) and same(trial.gradient(name, seed=1, times=2) - first, first - nothing):
        value = trial.tensor(name)
        decay = value.shape == nothing.shape and proportional(nothing, value)
        what = f"{name} itself, as a weight decay is" if decay else "the same for every dy"
        return Diagnosis(Cause.NOT_FROM_DY, True, f"a term is added, {what}")
    if not same(trial.gradient(name, seed=1, times=-2.5), -2.5 * first):
        return Diagnosis(Cause.BENT, True, "for -2.5 dy the gradient is not -2.5 times the one")
    return None


# The numbers


def _weigh(evidence: Evidence) -> Diagnosis:
    """The first hypothesis that fits; certain where it is the only one, on enough entries."""
    if not evidence.telling:
        return UNKNOWN
    same_shape = evidence.analytic.shape == evidence.numeric.shape
    hypotheses = HYPOTHESES if same_shape else (other_shape,)
    found = [diagnosis for hypothesis in hypotheses for diagnosis in hypothesis(evidence)]
    if not found:
        return UNKNOWN
    best = found[0]
    alone = all(diagnosis.cause is best.cause for diagnosis in found)
    return best._replace(certain=best.certain and alone and evidence.telling >= 4)
