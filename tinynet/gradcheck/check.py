"""The gradient check: every derivative that `backward` gives, against one measured on `forward`."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
from functools import partial
from itertools import pairwise

import numpy as np

from tinynet.arguments import InputError, finite_number
from tinynet.gradcheck.numeric import EPSILON, Probe, Slopes, rms, step_size
from tinynet.gradcheck.subject import Subject, other_batches
from tinynet.layer import Layer
from tinynet.parameter import Array

Entry = tuple[str, tuple[int, ...]]


def check_gradients(
    layer: Layer,
    x: Array,
    targets: Array | None = None,
    *,
    rng: np.random.Generator | int = 0,
    tolerance: float = 1e-6,
) -> dict[str, float]:
    """Checks every entry of dx and of every parameter's gradient against central differences.

    Works on a float64 copy; `layer` and its inputs stay as they are. dy is random, of both signs.
    The copy sees other batches first, and its parameters then move by up to 1 %, so that what it
    wrongly keeps from before shows. The two values may differ by `tolerance` times the larger,
    plus rounding. An entry at a kink, such as ReLU at 0, is judged at a point nearby. A loss is
    given its `targets`, too.

    Returns the largest difference by name, "x" (where it is of floats) and each parameter, relative
    to the largest entry of its gradient.

    Raises:
        GradientCheckError: naming layer, parameter, index, analytic and numeric value; also where
            an input is changed in place, or forward gives different results for one x.
        InputError: there is nothing to check: x is empty or not finite, or of integers and the
            layer without parameters.

    >>> from tinynet import Dense
    >>> sorted(check_gradients(Dense(3, 2, rng=0), np.eye(3)))
    ['bias', 'weight', 'x']
    """
    rng = np.random.default_rng(rng)
    tolerance = finite_number("check_gradients", "tolerance", tolerance, at_least=0)
    if not isinstance(layer, Layer):
        raise InputError(f"check_gradients expects a layer such as Dense(3, 2), got {layer!r}")
    x = np.array(x)
    if x.size == 0 or x.ndim == 0:
        raise InputError(f"check_gradients expects an x with samples, got one of {x.shape}")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise InputError("check_gradients expects an x of finite numbers, got one with nan or inf")
    inputs: tuple[Array, ...] = (x.astype(np.float64) if x.dtype.kind == "f" else x,)
    if targets is not None:
        inputs += (np.array(targets),)
    # What forward refuses on a copy of its own is the caller's mistake, no verdict.
    layer.astype(np.float64)(*(array.copy() for array in inputs))
    subject = Subject(layer)
    tensors = subject.tensors(inputs)
    if not tensors:
        raise InputError(
            f"check_gradients expects something to check, got {layer!r} without parameters and x "
            f"of {x.dtype}: integers have no gradient, x.astype(float) has"
        )
    for others in other_batches(inputs):
        subject.differentiate(others, rng)
    # As after a step of training: what was kept of the parameters before is stale now.
    for parameter in subject.layer.parameters():
        parameter.value *= rng.uniform(0.99, 1.01, parameter.value.shape)
    every = [(name, index) for name in tensors for index in np.ndindex(tensors[name].shape)]
    worst, kinks = _judge(subject, inputs, every, rng, tolerance)
    if kinks:
        # Where the slope jumps there is no derivative: these entries are judged nearby, at a point
        # that chance has moved off every kink.
        for tensor in tensors.values():
            scale = np.maximum(np.abs(tensor), rms(tensor) or 1.0)
            tensor += scale * rng.uniform(-0.01, 0.01, tensor.shape)
        _, kinks = _judge(subject, inputs, kinks, rng, tolerance)
    for name, index in kinks:
        raise subject.error(
            f"forward has no slope by {name} at index {index}, and none nearby",
            parameter=name,
            index=index,
        )
    return worst


def _judge(
    subject: Subject,
    inputs: tuple[Array, ...],
    entries: list[Entry],
    rng: np.random.Generator,
    tolerance: float,
) -> tuple[dict[str, float], list[Entry]]:
    """Compares the entries; returns the largest difference by tensor, and what is at a kink."""
    y, dy, gradients = subject.differentiate(inputs, rng)
    tensors = subject.tensors(inputs)
    worst, kinks = dict.fromkeys(tensors, 0.0), []
    for name, index in entries:
        probe = Probe(partial(subject.forward, inputs), y, dy, tensors[name], index)
        analytic = float(gradients[name][index])
        compared = _compare(analytic, probe, tolerance)
        if compared is None:
            kinks.append((name, index))
            continue
        numeric, difference = compared
        if difference > tolerance:
            raise subject.error(
                f"gradient of {name} at index {index}: "
                f"backward gave {analytic:.10g}, central differences give {numeric:.10g}",
                parameter=name,
                index=index,
                analytic=analytic,
                numeric=numeric,
            )
        largest = np.abs(gradients[name]).max() or 1.0
        worst[name] = max(worst[name], abs(analytic - numeric) / float(largest))
    return worst, kinks


def _compare(analytic: float, probe: Probe, tolerance: float) -> tuple[float, float] | None:
    """The numeric derivative and the relative difference to it, or None at a kink."""
    step = step_size(probe.tensor, probe.index)
    first = probe.slopes(step)
    difference = _difference(analytic, first.central, first.noise)
    if difference <= tolerance:
        return first.central, difference
    # Is it the step? Near a kink the slopes of both sides stay apart on a plateau of the sweep,
    # until the step is too short to reach it.
    sweep = probe.sweep(step)
    plateau = [
        index
        for index, (coarse, fine) in enumerate(pairwise(sweep), start=1)
        if coarse.gap / 2 < fine.gap < coarse.gap * 2
        and _difference(fine.left, fine.right, fine.noise) > 100 * tolerance
    ]
    # The first step behind the plateau may still touch the kink.
    smooth = sweep[plateau[-1] + 2 :] if plateau else sweep
    if len(smooth) < 2:
        return None
    # What forward loses to large numbers inside it shows in how the shortest steps disagree.
    pairs = list(pairwise(smooth))
    lost = max(_change(coarse, fine) * fine.step for coarse, fine in pairs[-5:])
    change, coarse, fine = min(
        (_change(coarse, fine) + max(fine.noise, lost / fine.step), coarse, fine)
        for coarse, fine in pairs
    )
    # Richardson: the error falls with the square of the step, and 1/15 of the change is left.
    numeric = fine.central + (fine.central - coarse.central) / 15
    # A slope of 0 may be one that moved no output by the last bit of a 1 that it is added to.
    unseen = EPSILON / fine.step if numeric == 0 else 0.0
    return numeric, _difference(analytic, numeric, max(change, unseen))


def _change(coarse: Slopes, fine: Slopes) -> float:
    """How much the slope changes from a step to the next shorter one."""
    change = abs(coarse.central - fine.central)
    return change if math.isfinite(change) else math.inf


def _difference(a: float, b: float, noise: float) -> float:
    """|a - b| beyond rounding, relative to the larger; infinite where one is not a number."""
    excess = abs(a - b) - 4 * noise
    if excess <= 0:
        return 0.0
    return excess / max(abs(a), abs(b)) if math.isfinite(excess) else math.inf
