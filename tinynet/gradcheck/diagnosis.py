"""The likely cause of a wrong gradient, found by experiments and by testing hypotheses.

Experiments come first: is a fresh copy right, does the gradient depend on dy? Then the hypotheses
are tested: each compares the gradient with what a common mistake makes of the right one, and fits
if all entries agree. A cause is certain if an experiment proves it, or if it is the only one that
fits, on enough entries. If none fits, the cause is unknown.
"""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from dataclasses import replace
from enum import StrEnum

import numpy as np

from tinynet.errors import GradientCheckError
from tinynet.gradcheck.hypotheses import (
    HYPOTHESES,
    factor_in_a_term,
    other_array,
    other_shape,
)
from tinynet.gradcheck.inputs import Inputs
from tinynet.gradcheck.layer_under_test import LayerUnderTest
from tinynet.gradcheck.measurements import FreshRun, GradientData, proportional, same
from tinynet.gradcheck.report import Cause, Diagnosis, Verdict
from tinynet.gradcheck.setup import GradientCheck

UNKNOWN = Diagnosis(None, False, "")

# The broken rule alone proves these.
_BY_VERDICT: dict[StrEnum, Diagnosis] = {
    Verdict.CHANGED_IN_PLACE: Diagnosis(
        Cause.IN_PLACE, True, "other code that uses this array gets the changed values"
    ),
    Verdict.OVERWRITTEN: Diagnosis(
        Cause.REUSED, True, "return a new array each time: the caller may still need the old one"
    ),
    Verdict.REFILLED: Diagnosis(
        Cause.STALE,
        True,
        "a value is kept for this array, as by its id, and used again when it holds another batch",
    ),
    Verdict.LAYOUT: Diagnosis(Cause.LAYOUT, True, "as with ravel('K') or a view of the raw memory"),
    Verdict.NO_GRADIENT: Diagnosis(
        Cause.LEFT_OUT, True, "backward returns dx and writes the .grad of every parameter"
    ),
    Verdict.NOT_REPEATABLE: Diagnosis(
        Cause.RANDOMNESS,
        True,
        "keep the generator as an attribute of the layer: the check restores its state",
    ),
}


def diagnose(check: GradientCheck, error: GradientCheckError) -> Diagnosis:
    """Searches the cause of the error that a check raised."""
    if error.verdict in _BY_VERDICT:
        return _BY_VERDICT[error.verdict]
    if error.verdict is Verdict.DTYPE:
        single = "float32" in str(error) or "float16" in str(error)
        sentence = "look for an explicit dtype such as np.float32"
        return Diagnosis(Cause.PRECISION, True, sentence) if single else UNKNOWN
    if error.verdict is Verdict.NOT_FINITE:
        if error.parameter is None:
            return Diagnosis(Cause.OVERFLOW, True, "it is in forward")
        some, zero = (FreshRun(check).gradient(error.parameter, seed=seed) for seed in (0, None))
        if np.isfinite(zero).all() or not np.isfinite(some).all():
            return Diagnosis(Cause.OVERFLOW, False, "it is in backward, where forward is finite")
    if error.verdict is Verdict.SHAPE and error.parameter is None:
        return Diagnosis(Cause.ARRAYS, True, "dx is a tuple like x")
    # Initial values hide mistakes, such as gains of 1 and shifts of 0.
    name = error.parameter or next(iter(LayerUnderTest(check.layer).tensors(check.inputs)))
    changed = check.with_perturbed_parameters()
    if by_history := _by_history(check, changed, error, name):
        return by_history
    if error.verdict is Verdict.WITHOUT_DX and FreshRun(changed).is_right(name):
        return UNKNOWN
    if error.verdict in (Verdict.BACKWARD_RAISES, Verdict.FORWARD_RAISES):
        fits = any(word in str(error) for word in ("matmul", "not aligned", "einsum"))
        sentence = "the shapes of a matrix product do not fit"
        return Diagnosis(Cause.TRANSPOSE, False, sentence) if fits else UNKNOWN
    if error.verdict is Verdict.OTHER_BATCH:
        # The number of samples, or their values? The given number of these samples decides.
        n, larger = len(check.inputs), check.larger_batch() or check.inputs
        changed = replace(changed, inputs=larger)
        fewer = replace(changed, inputs=changed.take(np.arange(n)))
        if n > 1 and FreshRun(fewer).is_right(name):
            sentence = (
                f"it is right for {n} samples and wrong for {n + 1}, as if {n} were a literal"
            )
            return Diagnosis(Cause.FIXED_SIZE, True, sentence)
    if by_dy := _by_dy(changed, name):
        return by_dy
    # Where the two methods differ, it is backward that is wrong.
    where = "in backward, " if error.verdict is Verdict.WITHOUT_DX else ""
    for inputs in (changed.distinct_samples(), changed.inputs):
        found = _by_hypotheses(GradientData(FreshRun(replace(changed, inputs=inputs)), name))
        if found.cause:
            return found._replace(sentence=where + found.sentence)
    return UNKNOWN


# Experiments


def _by_history(
    check: GradientCheck, changed: GradientCheck, error: GradientCheckError, name: str
) -> Diagnosis | None:
    """If a fresh copy is right: which earlier batch, gradient or parameter makes it wrong?"""
    before, larger = check.other_batches(), check.larger_batch()
    raised = error.verdict in (Verdict.BACKWARD_RAISES, Verdict.FORWARD_RAISES)
    if raised:
        batches = [check.inputs, *before, *([larger] if larger else [])]
        runs = (FreshRun(replace(changed, inputs=inputs)).succeeds() for inputs in batches)
        return _stale("an earlier batch") if all(runs) else None
    if error.verdict is Verdict.OTHER_BATCH and larger:
        before = [*before, check.inputs, *before[-1:]]
        check, changed = replace(check, inputs=larger), replace(changed, inputs=larger)
    without_dx = error.verdict is Verdict.WITHOUT_DX
    fresh = FreshRun(changed, without_dx=without_dx)
    if not fresh.is_right(name):
        return None
    gradient = fresh.gradient(name)
    added = FreshRun(changed, initial=7.0, without_dx=without_dx).gradient(name)
    twice = FreshRun(changed, before=[changed.inputs], without_dx=without_dx).gradient(name)
    if same(added, gradient + 7) or (np.any(gradient) and same(twice, 2 * gradient)):
        sentence = "backward adds to the previous gradient: write grad =, not grad +="
        return Diagnosis(Cause.ADDED, True, sentence)
    if not FreshRun(changed, before=before, without_dx=without_dx).is_right(name):
        return _stale(_kept_batch(changed, before, name, without_dx))
    for perturb in ("as new arrays", "in place"):
        perturbed = FreshRun(check, before=before, perturb=perturb, without_dx=without_dx)
        if not perturbed.is_right(name):
            sentence = "a fresh copy is right: a copy of a parameter is used after that has changed"
            return Diagnosis(Cause.STALE, True, sentence)
    return None


def _stale(batch: str) -> Diagnosis:
    sentence = f"a fresh copy is right: a value from {batch} is used again"
    return Diagnosis(Cause.STALE, True, sentence)


def _kept_batch(check: GradientCheck, before: list[Inputs], name: str, without_dx: bool) -> str:
    """Which of the batches before the check is used again, by runs after some of them."""

    def wrong(*batches: Inputs) -> bool:
        return not FreshRun(check, before=batches, without_dx=without_dx).is_right(name)

    given, n = check.inputs, len(check.inputs)
    like = next((batch for batch in before if len(batch) == n), None)
    unlike = next((batch for batch in before if len(batch) != n), None)
    try:
        of_other_size = unlike is not None and wrong(unlike)
        of_this_size = like is not None and wrong(like)
        if of_other_size and like and not of_this_size:
            return "a batch of another size"
        earlier = unlike if of_other_size else like
        # After the given batch alone even a kept value is right, unless it is a random number.
        if earlier and of_other_size | of_this_size and not wrong(given):
            kept_before, kept_after = wrong(earlier, given, given), wrong(given, earlier)
            if kept_before and kept_after and len(earlier) > n:
                return "the largest batch"
            if kept_before != kept_after:
                size = " of this size" if unlike and not of_other_size else ""
                return f"the {'first' if kept_before else 'previous'} batch{size}"
    except GradientCheckError:
        pass  # a kept value may not fit
    return "an earlier batch"


def _by_dy(check: GradientCheck, name: str) -> Diagnosis | None:
    """Is the gradient linear in dy: 0 for a dy of 0, and twice as large for twice the dy?"""
    if check.inputs.is_loss:
        return None
    fresh = FreshRun(check)
    first, second = (fresh.gradient(name, seed=seed) for seed in (1, 2))
    zero = fresh.gradient(name, seed=None)
    if fresh.draws_in_backward():
        sentence = "backward draws new random numbers: it needs those of forward"
        return Diagnosis(Cause.RANDOMNESS, True, sentence)
    if first.shape == second.shape and same(first, second) and np.any(first):
        sentence = "backward gives the same for every dy"
        return Diagnosis(Cause.UPSTREAM, True, sentence)
    if np.any(zero) and same(fresh.gradient(name, seed=1, factor=2) - first, first - zero):
        value = fresh.tensor(name)
        decay = value.shape == zero.shape and proportional(zero, value)
        term = f"a multiple of {name} as in weight decay" if decay else "the same for every dy"
        return Diagnosis(Cause.NOT_FROM_DY, True, f"a term is added, {term}")
    if not same(fresh.gradient(name, seed=1, factor=-2.5), -2.5 * first):
        sentence = "for -2.5 times dy the gradient is not -2.5 times as large"
        return Diagnosis(Cause.NONLINEAR, True, sentence)
    return None


def _by_hypotheses(data: GradientData) -> Diagnosis:
    """The first hypothesis that fits; certain if no other cause fits, on at least 4 entries."""
    wrong = data.count_wrong()
    if not wrong:
        return UNKNOWN
    same_shape = data.analytic.shape == data.numeric.shape
    hypotheses = HYPOTHESES if same_shape else (other_shape, other_array)
    found = [diagnosis for hypothesis in hypotheses for diagnosis in hypothesis(data)]
    if not found and same_shape:
        found = list(factor_in_a_term(data))  # two more runs for each number of the layer
    if not found:
        return UNKNOWN
    best = found[0]
    unique = all(diagnosis.cause is best.cause for diagnosis in found)
    return best._replace(certain=best.certain and unique and wrong >= 4)
