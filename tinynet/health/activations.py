"""Activations and weights of a network, and units that pass no gradient: dead or saturated ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynet.functional import root_mean_square
from tinynet.health.finding import Finding
from tinynet.layer import Layer
from tinynet.mode import in_mode, inference
from tinynet.parameter import Array, Parameter
from tinynet.recording import Call, recording
from tinynet.samples import Samples

MIN_SAMPLES = 32  # with fewer samples a unit may be inactive by chance
DEAD = 0.5  # fraction of the units of a layer
SATURATED = 0.6  # fraction of the entries of a layer
NEAR = 0.1  # at this distance from 0, on both sides, a slope has its usual value
FLAT = 0.005  # of the usual slope: reached at 6.7 by a sigmoid, at 3.3 by a tanh


def leaf_calls(model: Layer, x: Samples) -> tuple[Any, list[Call]]:
    """Returns y in evaluation mode, and the calls of the layers without sub-layers."""
    with recording(model) as calls, inference():
        y = model(x)
    return y, leaves(calls)


def leaves(calls: Sequence[Call]) -> list[Call]:
    """The calls of layers without sub-layers that take and return one array with samples."""
    inner = [call for call in calls if len(call.layer.named_layers()) == 1 and call.inputs]
    # Others take or return tuples, and before a first forward an empty batch checks the shapes.
    arrays = [call for call in inner if _is_array(call.inputs[0]) and _is_array(call.output)]
    return [call for call in arrays if len(call.inputs[0])]


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.ndim > 0


def weight_parameters(model: Layer) -> list[tuple[str, Parameter]]:
    """The parameters that connect many inputs with many outputs, by name: no biases, no gains."""
    return [
        (name, parameter)
        for name, parameter in model.named_parameters()
        if sum(size > 1 for size in parameter.value.shape) > 1
    ]


def stuck_units(calls: Sequence[Call]) -> list[Finding]:
    """Dead or saturated units in the layers that work entry by entry."""
    findings = []
    for call in calls:
        x, layer = call.inputs[0], call.layer
        elementwise = x.shape == call.output.shape and x.dtype.kind == "f"
        if layer.parameters() or not elementwise or len(x) < MIN_SAMPLES:
            continue
        slope = _slope(layer, x)
        if not np.allclose(_slope(layer, x, weighted=True), slope, rtol=1e-3):
            continue  # it combines entries, as a softmax does: an entry has no slope of its own
        usual = min(np.abs(_slope(layer, np.full_like(x[:1], at))).max() for at in (-NEAR, NEAR))
        if usual:
            findings += _saturated(call, np.abs(slope) < FLAT * usual)
        else:
            findings += _dead(call, slope != 0)
    return findings


def _slope(layer: Layer, x: Array, *, weighted: bool = False) -> Array:
    """dy/dx entry by entry, from a dy of ones or with another weight for each entry."""
    with in_mode(training=False):
        y = layer(x)
        dy = np.ones_like(y)
        if weighted:
            dy *= np.random.default_rng(0).uniform(0.5, 1.5, y.shape).astype(y.dtype)
        slope: Array = layer.backward(dy) / dy
    return slope


def _dead(call: Call, active: Array) -> list[Finding]:
    # A unit of images or sequences is a channel, on axis 1.
    dead = ~active.any(axis=(0, *range(2, active.ndim)))
    if dead.mean() <= DEAD:
        return []
    evidence = (
        f"{dead.sum()} of the {dead.size} units of {call.name} pass no gradient for any of "
        f"{len(active)} samples."
    )
    advice = (
        "Look at the layer before: a bias far below 0, or weights after steps at a high learning "
        "rate. Start biases at 0, lower the learning rate, or use another activation."
    )
    return [Finding("dead units", evidence, advice)]


def _saturated(call: Call, flat: Array) -> list[Finding]:
    if flat.mean() <= SATURATED:
        return []
    evidence = (
        f"{flat.mean():.0%} of the outputs of {call.name} are where its slope is almost 0; the "
        f"root mean square of its inputs is {root_mean_square(call.inputs[0]):.3g}."
    )
    advice = "Start from smaller weights (Glorot initialization), and scale the inputs to about 1."
    return [Finding("saturated units", evidence, advice)]
