"""Checks of the last layer against the loss: what the loss computes itself must not come before.

They look at what the last layer returns, so that layers of one's own are found as well.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinynet.health.finding import Finding
from tinynet.health.inspection import Inspection
from tinynet.losses.binary import BinaryCrossEntropy
from tinynet.losses.cross_entropy import SoftmaxCrossEntropy
from tinynet.losses.divergence import KLDivergence
from tinynet.losses.margin import Hinge
from tinynet.mode import in_mode
from tinynet.parameter import Array
from tinynet.recording import Call

FAR = 1000.0  # an input for which an activation is at its limit
LIMITED = 2.0  # logits within it give probabilities from 0.12 to 0.88
UNREACHED = 0.05  # of the targets, outside of what the last layer returns
DROPPED = 0.01  # of the predictions
TOLERANCE = 1e-3  # how far the sum of a row of probabilities may be from 1


def output_activation(inspection: Inspection) -> Iterator[Finding]:
    """An activation before a loss of logits, or none before a loss of log-probabilities."""
    loss, prediction = inspection.trainer.loss, inspection.prediction
    if isinstance(loss, KLDivergence):
        yield from _log_probabilities(prediction)
    if not isinstance(loss, SoftmaxCrossEntropy | BinaryCrossEntropy | Hinge):
        return
    evidence = (
        f"{type(loss).__name__} takes logits, any real numbers, and got values from "
        f"{prediction.min():.3g} to {prediction.max():.3g}"
    )
    classes = prediction.shape[-1]
    if (prediction >= 0).all() and _sums_to_1(prediction.sum(axis=-1)):
        evidence += ", whose rows add up to 1 as those of a softmax do."
        if isinstance(loss, SoftmaxCrossEntropy):
            most = np.e / (np.e + classes - 1)
            evidence += (
                f" A softmax of such rows gives no class a probability above {most:.3g}, however "
                "sure the network is."
            )
        advice = "Remove the last Softmax; use softmax(model.predict(x)) to get probabilities."
        yield Finding("output activation", evidence, advice)
        return
    last = _last_call(inspection)
    limits = None if last is None else _limits(last)
    if last is None or limits is None:
        return
    low, high = limits
    if isinstance(loss, Hinge) and loss.margin < high - low < FAR:
        return
    if low > -LIMITED or high < LIMITED:
        evidence += (
            f". They come from {last.name}, whose outputs are from {_text(low)} to {_text(high)}."
        )
        advice = "Remove it: the loss takes the outputs of the last weights as they are."
        yield Finding("output activation", evidence, advice)


def output_range(inspection: Inspection) -> Iterator[Finding]:
    """Regression targets that the last activation cannot reach."""
    last = _last_call(inspection)
    if not inspection.is_regression:
        return
    limits = None if last is None else _limits(last)
    if last is None or limits is None:
        return
    low, high = limits
    y = inspection.y
    outside = float(((y < low) & (low > -FAR / 2) | (y > high) & (high < FAR / 2)).mean())
    if outside > UNREACHED:
        evidence = (
            f"{outside:.0%} of the targets, which go from {y.min():.4g} to {y.max():.4g}, are "
            f"outside of what {last.name} returns, {_text(low)} to {_text(high)}."
        )
        advice = "End with a Dense layer without an activation, or scale the targets to that range."
        yield Finding("output range", evidence, advice)


def output_dropout(inspection: Inspection) -> Iterator[Finding]:
    """Dropout after the last weights: it sets predictions to 0."""
    for call, y in _identities(inspection):
        x = call.inputs[0]
        with in_mode(training=True):
            trained = call.layer(x)
        dropped = float(((trained == 0) & (y != 0)).mean())
        if dropped > DROPPED:
            evidence = f"In training {call.name} sets {dropped:.0%} of the predictions to 0."
            advice = "Put it before the last weights, or remove it."
            yield Finding("output dropout", evidence, advice)


def _log_probabilities(prediction: Array) -> Iterator[Finding]:
    with np.errstate(over="ignore"):
        p = np.exp(prediction.astype(np.float64))
    axes: list[Any] = [*range(1, p.ndim), tuple(range(1, p.ndim))]
    if not any(_sums_to_1(p.sum(axis=axis)) for axis in axes):
        sums = p.sum(axis=-1)
        evidence = (
            "KLDivergence takes log-probabilities, whose exponentials add up to 1, and got rows "
            f"whose exponentials add up to {sums.min():.3g} to {sums.max():.3g}."
        )
        yield Finding("output activation", evidence, "Put a LogSoftmax() behind the last layer.")


def _sums_to_1(sums: Array) -> bool:
    return bool((abs(sums - 1) < TOLERANCE).all())


def _identities(inspection: Inspection) -> Iterator[tuple[Call, Array]]:
    """The last calls that returned what they were given, the last one first, with their y."""
    y = inspection.prediction
    for call in reversed(inspection.calls):
        if call.layer.parameters() or not (_same(call.output, y) and _same(call.inputs[0], y)):
            return
        yield call, call.output
        y = call.inputs[0]


def _last_call(inspection: Inspection) -> Call | None:
    """The call of the layer without parameters that made the predictions, if there is one."""
    skipped = len(list(_identities(inspection)))
    calls = inspection.calls[: len(inspection.calls) - skipped]
    found = bool(calls) and not calls[-1].layer.parameters()
    return calls[-1] if found and _same(calls[-1].output, inspection.prediction) else None


def _same(a: Array, b: Array) -> bool:
    return a is b or (a.size == b.size and np.array_equal(a.ravel(), b.ravel()))


def _limits(call: Call) -> tuple[float, float] | None:
    """What an activation returns far below and far above 0; None if it combines entries."""
    x, layer = call.inputs[0], call.layer
    if x.shape != call.output.shape or x.dtype.kind != "f":
        return None
    row = np.linspace(-1, 1, x[0].size, dtype=x.dtype).reshape(x.shape[1:])
    rows = np.stack([row, row])
    other = rows.copy()
    other.flat[0] += 3
    with in_mode(training=False), np.errstate(all="ignore"):
        changed = (layer(rows) != layer(other)).ravel()
        low, high = sorted(float(layer(np.full_like(rows, at)).mean()) for at in (-FAR, FAR))
    return None if changed[1:].any() else (low, high)


def _text(limit: float) -> str:
    return f"{limit:.3g}" if abs(limit) < FAR / 2 else f"{'-' if limit < 0 else ''}infinity"


OUTPUT_CHECKS: tuple[Callable[[Inspection], Iterator[Finding]], ...] = (
    output_activation,
    output_range,
    output_dropout,
)
