"""Before a run: does this model, with this loss and optimizer, have a chance on these data?

Everything is tried on copies. The checks stand in the order of cause and effect: labels, inputs,
start, units, gradient, learning rate, and at last whether the labels have to do with the inputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tinynet.datasets.batches import Batches
from tinynet.errors import AnomalyError, GradientCheckError, InputError
from tinynet.gradcheck import check_gradients
from tinynet.health.activations import root_mean_square, stuck_units
from tinynet.health.anomaly import detect_anomaly
from tinynet.health.finding import Finding, Findings
from tinynet.health.observation import Call, forward_calls, weights
from tinynet.health.probes import learning_rate, relation
from tinynet.losses import Hinge, MeanSquaredError, SoftmaxCrossEntropy
from tinynet.parameter import Array

if TYPE_CHECKING:
    from tinynet.training.trainer import Trainer

SAMPLE = 2560  # samples that are looked at
SCAN = 1 << 30  # bytes up to which every number of x is looked at
LARGE, SMALL = 10.0, 0.01  # root mean square of what reaches the first weights
TARGETS = 100.0  # root mean square of targets, and that of predictions a thirtieth of it
START = 3.0  # above ln C: the right class has a twentieth of the chance that a guess gives it


@dataclass
class Inspection:
    """The parts of a trainer, to be copied before use, and a sample of the data."""

    trainer: Trainer
    x: Array
    y: Array
    all_y: Array
    calls: list[Call]
    prediction: Array

    @property
    def classes(self) -> int | None:
        """C, where integer labels (N, ...) are learned from logits (N, ..., C)."""
        known = isinstance(self.trainer.loss, SoftmaxCrossEntropy | Hinge)
        labels = self.y.dtype.kind in "iu" and self.y.ndim == self.prediction.ndim - 1
        return self.prediction.shape[-1] if known and labels else None

    @property
    def in_range(self) -> bool:
        """Whether the loss takes the targets of the sample."""
        classes, labels = self.classes, self.counted(self.y)
        return classes is None or bool(((labels >= 0) & (labels < classes)).all())

    def counted(self, labels: Array) -> Array:
        """Those of them that the loss does not ignore."""
        ignored = getattr(self.trainer.loss, "ignore_index", None)
        return labels if ignored is None else labels[labels != ignored]


def preflight(trainer: Trainer, x: Array, y: Array) -> Findings:
    """Looks for what will go wrong in training on (x, y), and changes nothing.

    Printed, what it returns is a list of findings, each with its evidence and what to do.

    Raises:
        InputError: x and y are no arrays with as many samples.
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
        advice = "Mend the shape or dtype that it names."
        return Findings([Finding("shapes", f"The net refuses the data: {error}.", advice)])
    except AnomalyError as error:
        advice = "Look at the weights and the scale of what comes in there."
        return Findings([Finding("not finite", f"{error}.", advice)])
    checks = (
        _label_range,
        _input_range,
        _target_range,
        _same_start,
        _stuck,
        _start_loss,
        _gradients,
    )
    found = [finding for check in checks for finding in check(inspection)]
    if not found:
        # Whether it learns is asked last: every fault above would show in it, too.
        found = learning_rate(trainer, *sample) or relation(trainer, *sample)
    return Findings(found)


def _inspection(trainer: Trainer, x: Array, y: Array, all_y: Array) -> Inspection:
    """What one forward shows."""
    model, loss = deepcopy((trainer.model, trainer.loss))
    with detect_anomaly(), model.in_mode(training=False):
        prediction = model(x)
        inspection = Inspection(trainer, x, y, all_y, forward_calls(model, x), prediction)
        if inspection.in_range:
            loss(prediction, y)
    return inspection


def _not_finite(name: str, array: Array) -> Iterator[Finding]:
    if array.dtype.kind != "f" or array.nbytes > SCAN:
        return
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(map(int, np.argwhere(bad)[0]))
        count = f"{bad.sum()} entries that are" if bad.sum() > 1 else "an entry that is"
        evidence = f"{name} has {count} NaN or infinite, the first at {first}."
        yield Finding("not finite", evidence, "Fill them in or leave their samples out.")


def _label_range(inspection: Inspection) -> Iterator[Finding]:
    classes, labels = inspection.classes, np.asarray(inspection.all_y)
    if len(labels) > 1 and (labels == labels[:1]).all():
        came = f"{labels.flat[0]}" if labels.ndim == 1 else "the same"
        yield Finding("label range", f"All labels are {came}.", "Read the labels in again.")
        return
    labels = inspection.counted(labels)
    if classes is not None and labels.size:
        low, high = int(labels.min()), int(labels.max())
        evidence = f"Labels run from {low} to {high}, and the net has {classes} outputs."
        if low == 1 and (high == classes or (high == classes - 1 and labels.size > 20 * classes)):
            advice = f"Classes count from 0: take y - 1 as labels, 0 to {high - 1}."
            yield Finding("label range", evidence, advice)
        elif low < 0 or high >= classes:
            advice = f"Give the last layer {high + 1} outputs, or number the classes from 0."
            yield Finding("label range", evidence, advice)


def _input_range(inspection: Inspection) -> Iterator[Finding]:
    first = next((call for call in inspection.calls if call.layer.parameters()), None)
    if first is None or first.x.dtype.kind != "f":
        return
    x = first.x
    if (x == x[:1]).all() and len(x) > 1:
        yield Finding("input range", "All samples are the same.", "Read the inputs in again.")
        return
    size = root_mean_square(x)
    evidence = (
        f"Values from {x.min():.4g} to {x.max():.4g}, {size:.3g} in root mean square, reach "
        f"{first.name}."
    )
    if size > LARGE:
        advice = (
            "They look like raw pixels: put Rescale(1 / 255) in front."
            if x.min() >= 0 and 100 < x.max() <= 255
            else "Subtract the mean of each feature and divide by its standard deviation."
        )
        yield Finding("input range", evidence, advice)
    elif x.any() and root_mean_square(x[x != 0]) < SMALL:  # one 1 among thousands of 0 is fine
        advice = "Scale them to about 1; pixels that are 0 to 1 already need no Rescale(1 / 255)."
        yield Finding("input range", evidence, advice)


def _target_range(inspection: Inspection) -> Iterator[Finding]:
    if not isinstance(inspection.trainer.loss, MeanSquaredError):
        return
    y, prediction = (root_mean_square(array) for array in (inspection.y, inspection.prediction))
    if y > TARGETS and y > 30 * prediction:
        evidence = (
            f"Targets are {y:.3g} in root mean square, and what the net predicts so far is "
            f"{prediction:.3g}."
        )
        advice = (
            "Learn (y - mean) / standard deviation, and undo that on what is predicted: a net "
            "starts near 0, and squares of large errors make large steps."
        )
        yield Finding("target range", evidence, advice)


def _same_start(inspection: Inspection) -> Iterator[Finding]:
    """Weights that are all alike, and so are the outputs: gains of a norm are alike and do no harm.

    The last weights may be: what comes before them tells their units apart.
    """
    calls = [call for call in inspection.calls if weights(call.layer)]
    for call in calls[:-1]:
        # But for what rounding does: a product need not treat all columns the same.
        alike = any(np.allclose(call.y, call.y.take([0], axis), 1e-4) for axis in (1, -1))
        for name, parameter in weights(call.layer):
            value = parameter.value
            if alike and (value == value.flat[0]).all():
                evidence = f"Every entry of {name} of {call.name} is {value.flat[0]:.4g}."
                advice = (
                    "Units that start alike get the same gradient and stay alike: start from "
                    "random weights, as he_normal gives."
                )
                yield Finding("same start", evidence, advice)
                return


def _stuck(inspection: Inspection) -> Iterator[Finding]:
    yield from stuck_units(inspection.calls)


def _start_loss(inspection: Inspection) -> Iterator[Finding]:
    softmax = isinstance(inspection.trainer.loss, SoftmaxCrossEntropy)
    classes = inspection.prediction.shape[-1]
    if not softmax or inspection.trainer.step or not inspection.in_range or classes == 1:
        return
    even, loss = np.zeros_like(inspection.prediction), deepcopy(inspection.trainer.loss)
    guess, start = loss(even, inspection.y), loss(inspection.prediction, inspection.y)
    # A guess has ln C, but for the weights of the loss, and for a sum.
    usual = math.log(classes)
    if guess and start * usual / guess > START + usual:
        known = f"ln {classes} = " if math.isclose(guess, usual, rel_tol=1e-3) else ""
        evidence = (
            f"The loss starts at {start:.4g}, where a guess among {classes} classes has "
            f"{known}{guess:.4g}; logits are "
            f"{np.std(inspection.prediction):.3g} in standard deviation."
        )
        advice = (
            "The net is sure and wrong: start the weights, above all the last ones, smaller, and "
            "scale the inputs to about 1."
        )
        yield Finding("start loss", evidence, advice)


def _gradients(inspection: Inspection) -> Iterator[Finding]:
    model, loss = deepcopy((inspection.trainer.model, inspection.trainer.loss))
    try:
        check_gradients(model, inspection.x[:4], entries=200)
        if inspection.in_range:
            check_gradients(loss, inspection.prediction[:4], inspection.y[:4])
    except GradientCheckError as error:
        head = str(error).partition("\n")[0].rstrip(".")
        cause = f" Likely cause: {error.cause}." if error.cause else ""
        advice = "Run check_gradients on that layer alone: it shows where, and how to see it again."
        yield Finding("gradient", f"{head}.{cause}", advice)
