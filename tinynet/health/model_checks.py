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
from tinynet.health.inspection import Inspection
from tinynet.losses.cross_entropy import SoftmaxCrossEntropy
from tinynet.training.checks import check_single_sample

INITIAL = 3.0  # above ln C: the right class gets a twentieth of its uniform probability
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
            if alike and (value == value.flat[0]).all():
                evidence = f"Every entry of {name} of {call.name} is {value.flat[0]:.4g}."
                advice = (
                    "Units with equal weights get equal gradients and stay equal: start from "
                    "random weights, such as those of he_normal."
                )
                yield Finding("same start", evidence, advice)
                return


def units(inspection: Inspection) -> Iterator[Finding]:
    """Dead or saturated units."""
    yield from stuck_units(inspection.calls)


def initial_loss(inspection: Inspection) -> Iterator[Finding]:
    """A loss far above that of equal probabilities, before the first step."""
    softmax = isinstance(inspection.trainer.loss, SoftmaxCrossEntropy)
    if not softmax or inspection.trainer.step or not inspection.in_range:
        return
    classes = inspection.prediction.shape[-1]
    equal, loss = np.zeros_like(inspection.prediction), deepcopy(inspection.trainer.loss)
    uniform, initial = loss(equal, inspection.y), loss(inspection.prediction, inspection.y)
    # Uniform probabilities have the loss ln C, except for class weights and for a sum.
    usual = math.log(classes)
    if uniform and initial * usual / uniform > INITIAL + usual:
        known = f"ln {classes} = " if math.isclose(uniform, usual, rel_tol=1e-3) else ""
        evidence = (
            f"The loss starts at {initial:.4g}, and equal probabilities for {classes} classes have "
            f"{known}{uniform:.4g}; the standard deviation of the logits is "
            f"{np.std(inspection.prediction):.3g}."
        )
        advice = (
            "The network is confident and wrong: start from smaller weights, above all the last "
            "ones, and scale the inputs to about 1."
        )
        yield Finding("start loss", evidence, advice)


def gradients(inspection: Inspection) -> Iterator[Finding]:
    """A wrong gradient of the model or of the loss."""
    try:
        check_gradients(inspection.trainer.model, inspection.x[:4], entries=200)
        if inspection.in_range:
            loss = inspection.trainer.loss
            check_gradients(loss, inspection.prediction[:4], inspection.y[:4])
    except GradientCheckError as error:
        head = str(error).partition("\n")[0].rstrip(".")
        cause = f" Likely cause: {error.cause}." if error.cause else ""
        advice = "Run check_gradients on that layer alone: it shows where, and how to reproduce it."
        yield Finding("gradient", f"{head}.{cause}", advice)


MODEL_CHECKS: tuple[Callable[[Inspection], Iterator[Finding]], ...] = (
    equal_weights,
    units,
    initial_loss,
    schedule,
    gradients,
)
