"""From the first broken rule to a message that helps: where, how small, why, and how to see it."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np

from tinynet.gradcheck.case import Case
from tinynet.gradcheck.diagnosis import UNKNOWN, diagnose
from tinynet.gradcheck.evidence import Trial
from tinynet.gradcheck.examination import examine
from tinynet.gradcheck.hypotheses import Diagnosis
from tinynet.gradcheck.snippet import LITERAL, drawn, is_exact, snippet
from tinynet.gradcheck.subject import Subject
from tinynet.gradcheck.verdict import GradientCheckError, Verdict
from tinynet.layer import Layer
from tinynet.parameter import Array


def explain(case: Case, error: GradientCheckError) -> GradientCheckError:
    """The same failure in its smallest form, with the likely cause and code that reproduces it."""
    with np.errstate(all="ignore"):
        return _explained(case, error)


def _explained(case: Case, error: GradientCheckError) -> GradientCheckError:
    for path, inner in _inner_cases(case):
        found = _failure(inner)
        # What an inner layer may take, nobody has said: that it raises is no sign.
        if found and found.verdict not in (Verdict.FORWARD_RAISES, Verdict.BACKWARD_RAISES):
            explained = _explained(inner, found)
            explained.args = (f"{error.layer}: its {path} is wrong by itself.\n{explained}",)
            return explained
    smallest, smaller = _smallest(case, error)
    # What is too large to look at closely is looked at in its smallest form.
    large = sum(tensor.size for tensor in Subject(case.layer).tensors(case.inputs).values()) > 5000
    diagnosis = _diagnosis(smallest, smaller) if large else _diagnosis(case, error)
    error = smaller
    error.cause, error.certain = diagnosis.cause, diagnosis.certain
    error.snippet = snippet(smallest)
    error.args = ("\n\n".join(_paragraphs(smallest, error, diagnosis)),)
    return error


def _failure(case: Case) -> GradientCheckError | None:
    try:
        examine(case)
    except GradientCheckError as error:
        return error
    return None


def _diagnosis(case: Case, error: GradientCheckError) -> Diagnosis:
    try:
        return diagnose(case, error)
    except Exception:
        # Whatever somebody's layer does when it is looked at more closely: that it is wrong is
        # known already, and not to be lost.
        return UNKNOWN


def _paragraphs(case: Case, error: GradientCheckError, diagnosis: Diagnosis) -> Iterator[str]:
    yield str(error)
    if error.around:
        yield _table(error)
    if diagnosis.cause is None:
        yield "Cause unknown."
    else:
        sure = "Cause" if diagnosis.certain else "Likely cause"
        yield f"{sure}: {diagnosis.cause}; {diagnosis.sentence}."
    note = "" if is_exact(case) else " (with your own numbers for what is drawn here)"
    code = "\n".join(f"    {line}".rstrip() for line in error.snippet.splitlines())
    yield f"To see it again{note}:\n\n{code}"


def _table(error: GradientCheckError) -> str:
    """The wrong entry and those around it, both ways."""
    rows = [("index", "backward", "forward", "")]
    for index, analytic, numeric in error.around:
        mark = "<" if index == error.index else ""
        rows.append((f"{index}", f"{analytic:.6g}", f"{numeric:.6g}", mark))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"    {row[0]:{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip()
        for row in rows
    ]
    return "\n".join(lines)


# Where


def _inner_cases(case: Case) -> Iterator[tuple[str, Case]]:
    """The layers inside, each with the x that it gets."""
    children = {
        path: node for path, node in case.layer._nodes() if path and isinstance(node, Layer)
    }
    if not children:
        return
    trial = Trial(case)
    seen: dict[str, tuple[Any, ...]] = {}
    for path, node in trial.subject.layer._nodes():
        if path in children and not any(path.startswith(f"{outer}.") for outer in seen):
            seen[path] = ()
            vars(node)["forward"] = _recorded(node.forward, path, seen)  # type: ignore[union-attr]
    trial.hold()
    if not trial.runs():
        return
    for path, (*inputs, y) in ((path, call) for path, call in seen.items() if call):
        arrays = all(isinstance(array, np.ndarray) and array.size for array in inputs)
        if (
            arrays
            and inputs[0].ndim
            and (len(inputs) == 1 or (len(inputs) == 2 and np.ndim(y) == 0))
        ):
            yield path, replace(case, layer=children[path], inputs=tuple(inputs))


def _recorded(forward: Any, path: str, seen: dict[str, tuple[Any, ...]]) -> Any:
    def recorded(*args: Any) -> Any:
        given = [np.array(a) if isinstance(a, np.ndarray) else a for a in args]
        y = forward(*args)
        seen[path] = (*given, y)
        return y

    return recorded


# How small


def _smallest(case: Case, error: GradientCheckError) -> tuple[Case, GradientCheckError]:
    """Fewer samples and rounder numbers, as long as the same thing fails."""
    for smaller in (_fewer_samples, _plain_numbers):
        for candidate in smaller(case):
            found = _failure(candidate) if Trial(candidate).runs() else None
            if found and (found.verdict, found.parameter) == (error.verdict, error.parameter):
                case, error = candidate, found
                break
    return case, error


def _fewer_samples(case: Case) -> Iterator[Case]:
    if case.has_batch_axis:
        for fewer in range(1, min(len(case.inputs[0]), 4)):
            yield replace(case, inputs=case.take(np.arange(fewer)))


def _plain_numbers(case: Case) -> Iterator[Case]:
    """All numbers rounded; or only what is short, and the rest drawn; or x alone."""
    for change in (_rounded, _drawn_if_long):
        layer = deepcopy(case.layer)
        for parameter in layer.parameters():
            parameter.value = np.asarray(change(parameter.value))
        inputs = (change(case.inputs[0]), *case.inputs[1:])
        yield replace(case, layer=layer, inputs=inputs)
        yield replace(case, inputs=inputs)


def _rounded(array: Array) -> Array:
    return _drawn_if_long(array.round(1) + 0.0 if array.dtype.kind == "f" else array)


def _drawn_if_long(array: Array) -> Array:
    if array.size > LITERAL and array.dtype.kind == "f":
        return drawn(array.shape).astype(array.dtype)
    return array
