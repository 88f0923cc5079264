"""Checks of model and optimizer: batches of one, learning rate, initial weights, gradients."""

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import numpy as np

from tinynet.errors import GradientCheckError, InputError
from tinynet.gradcheck import check_gradients
from tinynet.health.activations import stuck_units, weight_parameters
from tinynet.health.finding import Finding
from tinynet.health.gradient_flow import backpropagated, measured_flow
from tinynet.health.inspection import Inspection
from tinynet.layer import Layer
from tinynet.layers.sequential import Sequential
from tinynet.losses.cross_entropy import SoftmaxCrossEntropy
from tinynet.losses.divergence import KLDivergence
from tinynet.mode import inference
from tinynet.recording import recording
from tinynet.samples import Samples, arrays_of, each_array, take
from tinynet.training.checks import check_single_sample

INITIAL = 3.0  # above ln C: the right class gets a twentieth of its uniform probability
BATCH = 64  # samples of which the gradient is measured
WAITING = 10  # first steps: a warm-up from 0 has one step at 0
ENDED = 1e-3  # of the highest rate: a schedule at its end


def last_batch_of_one(inspection: Inspection, part: int | None) -> Iterator[Finding]:
    """A last batch, or part of one, of one sample that the model refuses, as BatchNorm does."""
    trainer, batches = inspection.trainer, inspection.batches
    whole = max(batches.batch_size, batches.last_size)
    try:
        check_single_sample(trainer.model, batches, part or whole, trainer.epoch)
    except InputError as error:
        advice = "Take another batch size, last_batch='drop' or last_batch='join' in fit."
        yield Finding("last batch", f"{error.__cause__ or error}.", advice)


def schedule(inspection: Inspection) -> Iterator[Finding]:
    """A learning rate that stays 0, or a schedule that is over within the first epoch."""
    optimizer, steps = inspection.trainer.optimizer, len(inspection.batches)
    rate: Any = optimizer.learning_rate
    if not callable(rate):
        if rate == 0:
            yield Finding("zero learning rate", "The learning rate is 0.", "Take one above 0.")
        return
    if inspection.trainer.step:
        return
    zeros = next((step for step in range(max(steps, WAITING)) if rate(step) > 0), None)
    if zeros is None or zeros >= WAITING:
        evidence = (
            f"The learning rate is 0 in the first {zeros or max(steps, WAITING)} steps; "
            f"an epoch has {steps}."
        )
        advice = "Start a schedule above 0, or at 0 for one step: it counts steps, not epochs."
        yield Finding("zero learning rate", evidence, advice)
        return
    half = steps // 2
    peak = max(map(rate, range(half + 1)))
    if half >= WAITING and rate(half) < ENDED * peak:
        evidence = (
            f"Within half of the first epoch of {steps} steps, the learning rate falls from "
            f"{peak:.3g} to {rate(half):.3g}."
        )
        advice = "A schedule counts steps, not epochs: multiply by the steps of an epoch."
        yield Finding("short schedule", evidence, advice)


def equal_weights(inspection: Inspection) -> Iterator[Finding]:
    """Equal weights that give equal outputs; the equal gains of a norm do not.

    The last weights may be equal: the activations before them tell their entries apart.
    """
    calls = [call for call in inspection.calls if weight_parameters(call.layer)]
    for call in calls[:-1]:
        y = call.output  # equal up to rounding: a product may sum each column in another order
        axes = (1, -1) if y.ndim > 1 else ()
        alike = any(np.allclose(y, y.take([0], axis), 1e-4) for axis in axes)
        for name, parameter in weight_parameters(call.layer):
            value = parameter.value
            equal = alike and (value == value.flat[0]).all()
            if equal and not (value.flat[0] == 0 and _learns(inspection, f"{call.path}.{name}")):
                evidence = f"Every entry of {name} of {call.name} is {value.flat[0]:.4g}."
                advice = (
                    "Units with equal weights get equal gradients and stay equal: start from "
                    "random weights, such as those of he_normal."
                )
                yield Finding("same start", evidence, advice)
                return


def _learns(inspection: Inspection, name: str) -> bool:
    """Whether weights that start at 0 have a gradient, as the last ones of a residual branch do."""
    if not inspection.in_range:
        return False
    model, _ = backpropagated(inspection.trainer, *inspection.batch(BATCH))
    return bool(np.any(dict(model.named_parameters())[name.lstrip(".")].grad))


def units(inspection: Inspection) -> Iterator[Finding]:
    """Dead or saturated units."""
    yield from stuck_units(inspection.calls)


def initial_loss(inspection: Inspection) -> Iterator[Finding]:
    """A loss far above that of equal probabilities, logits of 0, before the first step."""
    started = inspection.trainer.step or not inspection.in_range or inspection.is_regression
    if started or isinstance(inspection.trainer.loss, KLDivergence):
        return
    prediction, y = inspection.prediction, inspection.y
    softmax = isinstance(inspection.trainer.loss, SoftmaxCrossEntropy)
    classes = prediction.shape[-1] if softmax else inspection.classes or 2
    loss = deepcopy(inspection.trainer.loss)
    uniform, initial = loss(np.zeros_like(prediction), y), loss(prediction, y)
    # Uniform probabilities have the loss ln C, except for class weights, a sum and other losses.
    usual = math.log(classes)
    if uniform > 0 and initial * usual / uniform > INITIAL + usual:
        known = f"ln {classes} = " if math.isclose(uniform, usual, rel_tol=1e-3) else ""
        who = f"equal probabilities for {classes} classes" if softmax else "logits of 0"
        evidence = (
            f"The loss starts at {initial:.4g}, and {who} have {known}{uniform:.4g}; the standard "
            f"deviation of the logits is {np.std(prediction):.3g}."
        )
        advice = (
            "The network is confident and wrong: start from smaller weights, above all the last "
            "ones, and scale the inputs to about 1."
        )
        yield Finding("start loss", evidence, advice)


def gradient_flow(inspection: Inspection) -> Iterator[Finding]:
    """A gradient that vanishes or explodes on its way to the first weights."""
    if inspection.in_range:
        flow = measured_flow(inspection.trainer, *inspection.batch(BATCH))
        yield from flow.findings() if flow else ()


def gradients(inspection: Inspection) -> Iterator[Finding]:
    """A wrong gradient of the model or of the loss.

    The parts of a chain are checked one by one, and equal parts once: the time grows with the
    number of different layers, and not with the square of the depth.
    """
    trainer, path = inspection.trainer, ""
    x, y = inspection.batch(4)
    try:
        for path, layer, given in _parts(trainer.model, x):  # noqa: B007  # the path is reported
            check_gradients(layer, given, entries=200)
        path = ""
        if inspection.in_range:
            check_gradients(trainer.loss, take(inspection.prediction, slice(4)), y)
    except GradientCheckError as error:
        head = str(error).partition("\n")[0].rstrip(".")
        cause = f" Likely cause: {error.cause}." if error.cause else ""
        advice = "Run check_gradients on that layer alone: it shows where, and how to reproduce it."
        yield Finding("gradient", f"{path}{path and ', '}{head}.{cause}", advice)


def _parts(model: Layer, x: Samples) -> Iterator[tuple[str, Layer, Samples]]:
    """The different parts of a chain by path, each with its input; the model where it is no chain.

    A chain that makes a padding mask, which is no input of its parts, is one part.
    """
    copied, seen = deepcopy(model), set()
    with recording(copied) as calls, inference():
        copied(x)
    inputs = {call.path: call.inputs[0] for call in calls}
    for path, layer in _chained("", model):
        given = inputs[path]
        inner = [type(each).__module__ for _, each in layer.named_layers()]
        # The repr of a layer of one's own, or of one with a function, may not tell all of it.
        known = all(name.startswith("tinynet.") for name in inner) and "<" not in repr(layer)
        kind = repr(layer) if known else path, str(each_array(np.shape, given))
        floats = any(array.dtype.kind == "f" for array in arrays_of(given))
        if kind not in seen and (floats or layer.parameters()):
            seen.add(kind)
            yield path, layer, given


def _chained(path: str, layer: Layer) -> Iterator[tuple[str, Layer]]:
    if isinstance(layer, Sequential) and not layer.starts_mask:
        for index, inner in enumerate(layer):
            yield from _chained(f"{path}.layers.{index}".lstrip("."), inner)
    else:
        yield path, layer


START_CHECKS: tuple[Callable[[Inspection], Iterator[Finding]], ...] = (
    equal_weights,
    units,
    gradient_flow,
)
MODEL_CHECKS: tuple[Callable[[Inspection], Iterator[Finding]], ...] = (schedule, gradients)
