"""Units that pass no gradient on: dead ones give a constant 0, saturated ones stand at a bound."""

import math
from collections.abc import Sequence

import numpy as np

from tinynet.health.finding import Finding
from tinynet.health.observation import Call
from tinynet.layer import Layer
from tinynet.parameter import Array

FEWEST = 32  # samples: a unit that is silent for fewer of them may well have something to say
DEAD = 0.5  # share of the units of a layer
SATURATED = 0.6  # share of the entries of a layer
NEAR = 0.1  # to both sides of 0 a slope is what it was meant to be
FLAT = 0.005  # of that slope: a sigmoid is that flat from 6.7 on, a tanh from 3.3


def stuck_units(calls: Sequence[Call]) -> list[Finding]:
    """What is dead or saturated among the layers that bend their input entry by entry."""
    findings = []
    for call in calls:
        x, layer = call.x, call.layer
        if layer.parameters() or x.shape != call.y.shape or x.dtype.kind != "f" or len(x) < FEWEST:
            continue
        slope = _slope(layer, x)
        if not np.allclose(_slope(layer, x, mixed=True), slope, rtol=1e-3):
            continue  # it mixes entries, as a softmax does: no entry has a slope of its own
        meant = min(np.abs(_slope(layer, np.full_like(x[:1], at))).max() for at in (-NEAR, NEAR))
        findings += (
            _saturated(call, np.abs(slope) < FLAT * meant) if meant else _dead(call, slope != 0)
        )
    return findings


def root_mean_square(array: Array) -> float:
    """The usual size of an entry, with the squares in float64, where none overflows."""
    return math.sqrt(np.mean(np.square(array, dtype=np.float64)))


def _slope(layer: Layer, x: Array, *, mixed: bool = False) -> Array:
    """dy/dx entry by entry; `mixed` asks with another weight for each entry."""
    with layer.in_mode(training=False):
        y = layer(x)
        dy = np.ones_like(y)
        if mixed:
            dy *= np.random.default_rng(0).uniform(0.5, 1.5, y.shape).astype(y.dtype)
        slope: Array = layer.backward(dy) / dy
    return slope


def _dead(call: Call, passes: Array) -> list[Finding]:
    # A unit of images or sequences is a channel, on axis 1.
    dead = ~passes.any(axis=(0, *range(2, passes.ndim)))
    if dead.mean() <= DEAD:
        return []
    evidence = (
        f"{dead.sum()} of the {dead.size} units of {call.name} pass no gradient on for any of "
        f"{len(passes)} samples: they stand on their flat side."
    )
    advice = (
        "Look at what comes before: a bias far below 0, or weights that a high learning rate threw "
        "there. Start biases at 0, lower the rate, or take another activation."
    )
    return [Finding("dead units", evidence, advice)]


def _saturated(call: Call, flat: Array) -> list[Finding]:
    if flat.mean() <= SATURATED:
        return []
    evidence = (
        f"{flat.mean():.0%} of the outputs of {call.name} stand where its slope is almost 0; its "
        f"inputs are {root_mean_square(call.x):.3g} in root mean square."
    )
    advice = "Start from smaller weights (Glorot's), and scale the inputs to about 1."
    return [Finding("saturated units", evidence, advice)]
