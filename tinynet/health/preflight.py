"""Preflight: checks of data, model, loss and optimizer before training.

Everything is tried on copies. The checks run in the order of cause and effect: labels, inputs,
initial weights, units, gradients, learning rate, and whether the labels depend on the inputs.
"""

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np

from tinynet.datasets.batches import Batches
from tinynet.errors import AnomalyError, GradientCheckError, InputError
from tinynet.functional import root_mean_square
from tinynet.gradcheck import check_gradients
from tinynet.health.activations import leaf_calls, stuck_units, weight_parameters
from tinynet.health.anomaly import detect_anomaly
from tinynet.health.finding import Finding, Findings
from tinynet.health.probes import learning_rate, relation
from tinynet.losses.cross_entropy import SoftmaxCrossEntropy
from tinynet.losses.margin import Hinge
from tinynet.losses.regression import MeanSquaredError
from tinynet.parameter import Array
from tinynet.recording import Call
from tinynet.training.trainer import Trainer
from tinynet.validation import first_index

SAMPLE = 2560  # samples that are used
SCAN = 1 << 30  # bytes: larger arrays are not searched for NaN
LARGE, SMALL = 10.0, 0.01  # root mean square of the input of the first weights
TARGETS = 100.0  # root mean square of targets, where that of predictions is below a thirtieth
INITIAL = 3.0  # above ln C: the right class gets a twentieth of its uniform probability


@dataclass
class Inspection:
    """A trainer, whose parts are copied before use, and one forward of a sample of the data."""

    trainer: Trainer
    x: Array
    y: Array
    all_y: Array
    calls: list[Call]
    prediction: Array

    @property
    def classes(self) -> int | None:
        """C, if logits (N, ..., C) have integer labels (N, ...) as targets, else None."""
        known = isinstance(self.trainer.loss, SoftmaxCrossEntropy | Hinge)
        labels = self.y.dtype.kind in "iu" and self.y.ndim == self.prediction.ndim - 1
        return self.prediction.shape[-1] if known and labels else None

    @property
    def in_range(self) -> bool:
        """Whether the loss accepts the targets of the sample."""
        classes, labels = self.classes, self.without_ignored(self.y)
        return classes is None or bool(((labels >= 0) & (labels < classes)).all())

    def without_ignored(self, labels: Array) -> Array:
        """The labels that the loss does not ignore."""
        ignored = getattr(self.trainer.loss, "ignore_index", None)
        return labels if ignored is None else labels[labels != ignored]


def preflight(trainer: Trainer, x: Array, y: Array) -> Findings:
    """Looks for faults that will make training on (x, y) fail, and changes nothing.

    The findings print as a numbered list, each with its evidence and an advice.

    Raises:
        InputError: x and y are not arrays with the same number of samples.
    """
    Batches(x, y)
    found = [*_not_finite("x", x), *_not_finite("y", y)]
    if found:
        return Findings(found)
    rows = np.sort(np.random.default_rng(0).permutation(len(x))[:SAMPLE])
    sample = np.asarray(x)[rows], np.asarray(y)[rows]
    try:
        inspection = _inspection(trainer, *sample, y)
    except InputError as error:
        evidence = f"The network does not accept the data: {error}."
        return Findings([Finding("shapes", evidence, "Correct this shape or dtype.")])
    except AnomalyError as error:
        advice = "Look at the weights of this layer and at the scale of its input."
        return Findings([Finding("not finite", f"{error}.", advice)])
    checks = (
        _label_range,
        _input_range,
        _target_range,
        _equal_weights,
        _stuck_units,
        _initial_loss,
        _gradients,
    )
    found = [finding for check in checks for finding in check(inspection)]
    if not found:
        # Every fault above would also show in a failure to learn, so this comes last.
        found = learning_rate(trainer, *sample) or relation(trainer, *sample)
    return Findings(found)


def _inspection(trainer: Trainer, x: Array, y: Array, all_y: Array) -> Inspection:
    model, loss = deepcopy((trainer.model, trainer.loss))
    with detect_anomaly():
        prediction, calls = leaf_calls(model, x)
        inspection = Inspection(trainer, x, y, all_y, calls, prediction)
        if inspection.in_range:
            loss(prediction, y)
    return inspection


def _not_finite(name: str, array: Array) -> Iterator[Finding]:
    if array.dtype.kind != "f" or array.nbytes > SCAN:
        return
    bad = ~np.isfinite(array)
    if bad.any():
        count = f"{bad.sum()} entries that are" if bad.sum() > 1 else "an entry that is"
        evidence = f"{name} has {count} NaN or infinite, the first at {first_index(bad)}."
        yield Finding("not finite", evidence, "Replace them or leave their samples out.")


def _label_range(inspection: Inspection) -> Iterator[Finding]:
    classes, labels = inspection.classes, np.asarray(inspection.all_y)
    if len(labels) > 1 and (labels == labels[:1]).all():
        value = f"{labels.flat[0]}" if labels.ndim == 1 else "the same"
        yield Finding("label range", f"All labels are {value}.", "Load the labels again.")
        return
    labels = inspection.without_ignored(labels)
    if classes is not None and labels.size:
        low, high = int(labels.min()), int(labels.max())
        evidence = f"Labels run from {low} to {high}, and the network has {classes} outputs."
        if low == 1 and (high == classes or (high == classes - 1 and labels.size > 20 * classes)):
            advice = f"Classes count from 0: take y - 1 as labels, 0 to {high - 1}."
            yield Finding("label range", evidence, advice)
        elif low < 0 or high >= classes:
            advice = f"Give the last layer {high + 1} outputs, or number the classes from 0."
            yield Finding("label range", evidence, advice)


def _input_range(inspection: Inspection) -> Iterator[Finding]:
    first = next((call for call in inspection.calls if call.layer.parameters()), None)
    if first is None or first.inputs[0].dtype.kind != "f":
        return
    x = first.inputs[0]
    if (x == x[:1]).all() and len(x) > 1:
        yield Finding("input range", "All samples are the same.", "Load the inputs again.")
        return
    size = root_mean_square(x)
    evidence = (
        f"The input of {first.name} has values from {x.min():.4g} to {x.max():.4g} and the root "
        f"mean square {size:.3g}."
    )
    if size > LARGE:
        advice = (
            "They look like raw pixels: put Rescale(1 / 255) in front."
            if x.min() >= 0 and 100 < x.max() <= 255
            else "Subtract the mean of each feature and divide by its standard deviation."
        )
        yield Finding("input range", evidence, advice)
    elif x.any() and root_mean_square(x[x != 0]) < SMALL:  # sparse one-hot inputs are fine
        advice = "Scale them to about 1; pixels from 0 to 1 need no Rescale(1 / 255)."
        yield Finding("input range", evidence, advice)


def _target_range(inspection: Inspection) -> Iterator[Finding]:
    if not isinstance(inspection.trainer.loss, MeanSquaredError):
        return
    y, prediction = (root_mean_square(array) for array in (inspection.y, inspection.prediction))
    if y > TARGETS and y > 30 * prediction:
        evidence = (
            f"The root mean square of the targets is {y:.3g}, that of the predictions so far "
            f"{prediction:.3g}."
        )
        advice = (
            "Train on (y - mean) / standard deviation, and undo that in the predictions: a network "
            "starts near 0, and squares of large errors make large steps."
        )
        yield Finding("target range", evidence, advice)


def _equal_weights(inspection: Inspection) -> Iterator[Finding]:
    """Equal weights that give equal outputs; the equal gains of a norm do not.

    The last weights may be equal: the activations before them tell their entries apart.
    """
    calls = [call for call in inspection.calls if weight_parameters(call.layer)]
    for call in calls[:-1]:
        y = call.output  # equal up to rounding: a product may sum each column in another order
        alike = any(np.allclose(y, y.take([0], axis), 1e-4) for axis in (1, -1))
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


def _stuck_units(inspection: Inspection) -> Iterator[Finding]:
    yield from stuck_units(inspection.calls)


def _initial_loss(inspection: Inspection) -> Iterator[Finding]:
    softmax = isinstance(inspection.trainer.loss, SoftmaxCrossEntropy)
    classes = inspection.prediction.shape[-1]
    if not softmax or inspection.trainer.step or not inspection.in_range:
        return
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


def _gradients(inspection: Inspection) -> Iterator[Finding]:
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
