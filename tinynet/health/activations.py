"""Units that pass no gradient on: dead ones give a constant 0, saturated ones stand at a bound."""

from collections.abc import Sequence

import numpy as np

from tinynet.health.finding import Finding
from tinynet.health.observation import Call
from tinynet.layer import Layer
from tinynet.parameter import Array

DEAD = 0.5  # share of the units of a layer
SATURATED = 0.6  # share of the entries of a layer
FLAT = 0.005  # of the slope at 0: a sigmoid is that flat from 6.7 on, a tanh from 3.3


def stuck_units(calls: Sequence[Call]) -> list[Finding]:
    """What is dead or saturated among the layers that bend their input entry by entry."""
    findings = []
    for call in calls:
        if call.layer.parameters() or call.x.shape != call.y.shape or call.x.dtype.kind != "f":
            continue
        slope = _slope(call.layer, call.x)
        at_zero = float(np.abs(_slope(call.layer, np.zeros_like(call.x[:1]))).max())
        if at_zero == 0:
            findings += _dead(call, slope)
        else:
            findings += _saturated(call, np.abs(slope) < FLAT * at_zero)
    return findings


def _slope(layer: Layer, x: Array) -> Array:
    with layer.in_mode(training=False):
        y = layer(x)
        dx: Array = layer.backward(np.ones_like(y))
    return dx


def _dead(call: Call, slope: Array) -> list[Finding]:
    dead = ~(slope != 0).any(axis=0)
    if dead.mean() <= DEAD:
        return []
    evidence = (
        f"{dead.sum()} of the {dead.size} units of {call.name} give 0 for each of {len(slope)} "
        "samples, so that no gradient passes them."
    )
    advice = (
        "Look at what comes before: a bias far below 0, or weights that a high learning rate threw "
        "there. Start biases at 0, lower the rate, or take another activation."
    )
    return [Finding("dead units", evidence, advice)]


def _saturated(call: Call, flat: Array) -> list[Finding]:
    if flat.mean() <= SATURATED:
        return []
    size = float(np.sqrt(np.mean(np.square(call.x, dtype=np.float64))))
    evidence = (
        f"{flat.mean():.0%} of the outputs of {call.name} stand where its slope is almost 0; its "
        f"inputs are {size:.3g} in root mean square."
    )
    advice = "Start from smaller weights (Glorot's), and scale the inputs to about 1."
    return [Finding("saturated units", evidence, advice)]
