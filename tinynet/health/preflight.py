"""Before a run: does this model, with this loss and optimizer, have a chance on these data?

Everything is tried on copies. The checks stand in the order of cause and effect: inputs, labels,
start, units, gradient, learning rate, and at last whether the labels have to do with the inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tinynet.arguments import InputError
from tinynet.datasets.batches import Batches
from tinynet.gradcheck import GradientCheckError, check_gradients
from tinynet.health.activations import stuck_units
from tinynet.health.anomaly import AnomalyError, detect_anomaly
from tinynet.health.finding import Finding, Findings
from tinynet.health.observation import Call, forward_calls
from tinynet.health.probes import learning_rate, relation
from tinynet.losses import SoftmaxCrossEntropy
from tinynet.parameter import Array

if TYPE_CHECKING:
    from tinynet.trainer import Trainer

SAMPLE = 2560  # samples that are looked at
SCAN = 1 << 30  # bytes up to which every number of x is looked at
LARGE, SMALL = 10.0, 0.01  # root mean square of what reaches the first weights
START = 2.0  # times ln C


@dataclass
class Inspection:
    """The parts of a trainer, to be copied before use, and a sample of the data."""

    trainer: Trainer
    x: Array
    y: Array
    all_x: Array
    all_y: Array
    calls: list[Call]
    prediction: Array

    @property
    def classes(self) -> int | None:
        """C, where integer labels are learned from logits (N, C)."""
        softmax = isinstance(self.trainer.loss, SoftmaxCrossEntropy)
        labels = self.y.dtype.kind in "iu" and self.y.ndim == 1 and self.prediction.ndim == 2
        return self.prediction.shape[1] if softmax and labels else None


def preflight(trainer: Trainer, x: Array, y: Array) -> Findings:
    """What `Trainer.preflight` returns.

    Raises:
        InputError: x and y are no arrays with as many samples.
    """
    Batches(x, y)
    found = list(_not_finite(x))
    rows = np.sort(np.random.default_rng(0).permutation(len(x))[:SAMPLE])
    sample = np.asarray(x)[rows], np.asarray(y)[rows]
    if found:
        return Findings(found)
    model, loss = deepcopy((trainer.model, trainer.loss))
    try:
        with detect_anomaly(), model.in_mode(training=False):
            prediction = model(sample[0])
        inspection = Inspection(trainer, *sample, x, y, forward_calls(model, sample[0]), prediction)
        found += _label_range(inspection)
        if not found:
            loss(prediction, sample[1])
    except InputError as error:
        advice = "Mend the shape or dtype that it names."
        found.append(Finding("shapes", f"The net refuses the data: {error}.", advice))
    except AnomalyError as error:
        advice = "Look at the weights and the scale of what comes in there."
        found.append(Finding("not finite", f"{error}.", advice))
    if found and found[0].name in ("shapes", "not finite"):
        return Findings(found)
    checks: list[Callable[[Inspection], Iterator[Finding]]] = [
        _input_range,
        _same_start,
        _stuck,
        _start_loss,
        _gradients,
    ]
    for check in checks:
        found += check(inspection)
    if not found:
        # Whether it learns is asked last: every fault above would show in it, too.
        found += learning_rate(trainer, *sample) or relation(trainer, *sample)
    return Findings(found)


def _not_finite(x: Array) -> Iterator[Finding]:
    if x.dtype.kind != "f" or x.nbytes > SCAN:
        return
    bad = ~np.isfinite(x)
    if bad.any():
        first = tuple(map(int, np.argwhere(bad)[0]))
        evidence = f"x has {bad.sum()} entries that are NaN or infinite, the first at {first}."
        yield Finding("not finite", evidence, "Fill them in or leave their samples out.")


def _label_range(inspection: Inspection) -> Iterator[Finding]:
    classes, labels = inspection.classes, np.asarray(inspection.all_y)
    if classes is None:
        return
    low, high = int(labels.min()), int(labels.max())
    evidence = f"Labels run from {low} to {high}, and the net has {classes} outputs."
    if low == 1 and (high == classes or (high == classes - 1 and len(labels) > 20 * classes)):
        advice = f"Classes count from 0: take y - 1 as labels, 0 to {high - 1}."
        yield Finding("label range", evidence, advice)
    elif low < 0 or high >= classes:
        advice = f"Give the last layer {high + 1} outputs, or number the classes from 0."
        yield Finding("label range", evidence, advice)
    elif low == high:
        yield Finding("label range", f"All labels are {low}.", "Read the labels in again.")


def _input_range(inspection: Inspection) -> Iterator[Finding]:
    first = next((call for call in inspection.calls if call.layer.parameters()), None)
    if first is None or first.x.dtype.kind != "f":
        return
    x = first.x
    size = float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
    evidence = (
        f"Values from {x.min():.4g} to {x.max():.4g}, {size:.3g} in root mean square, reach "
        f"{first.name}."
    )
    bytes_by_mistake = x.min() >= 0 and 100 < x.max() <= 255
    if size > LARGE:
        advice = (
            "They look like raw pixels: put Rescale(1 / 255) in front."
            if bytes_by_mistake
            else "Subtract the mean of each feature and divide by its standard deviation."
        )
        yield Finding("input range", evidence, advice)
    elif size < SMALL:
        advice = "Scale them to about 1; pixels that are 0 to 1 already need no Rescale(1 / 255)."
        yield Finding("input range", evidence, advice)
    elif (x == x[:1]).all() and len(x) > 1:
        yield Finding("input range", "All samples are the same.", "Read the inputs in again.")


def _same_start(inspection: Inspection) -> Iterator[Finding]:
    named = inspection.trainer.model.named_parameters()
    weights = [(name, p.value) for name, p in named if p.value.ndim > 1]
    for name, value in weights[:-1]:
        if (value == value.flat[0]).all() and value.size > 1:
            evidence = f"Every entry of {name} is {value.flat[0]:.4g}."
            advice = (
                "Units that start alike get the same gradient and stay alike: start from random "
                "weights, as he_normal gives."
            )
            yield Finding("same start", evidence, advice)
            return


def _stuck(inspection: Inspection) -> Iterator[Finding]:
    yield from stuck_units(inspection.calls)


def _start_loss(inspection: Inspection) -> Iterator[Finding]:
    classes = inspection.classes
    if classes is None or inspection.trainer.step or inspection.y.max() >= classes:
        return
    loss = deepcopy(inspection.trainer.loss)(inspection.prediction, inspection.y)
    if loss > START * math.log(classes) and classes > 1:
        evidence = (
            f"The loss starts at {loss:.4g}, where a guess among {classes} classes has "
            f"ln {classes} = {math.log(classes):.4g}; logits are "
            f"{np.std(inspection.prediction):.3g} in standard deviation."
        )
        advice = "The net is sure and wrong: start the weights, above all the last ones, smaller."
        yield Finding("start loss", evidence, advice)


def _gradients(inspection: Inspection) -> Iterator[Finding]:
    model, loss = deepcopy((inspection.trainer.model, inspection.trainer.loss))
    try:
        check_gradients(model, inspection.x[:4], entries=200)
        if inspection.classes is None or inspection.y.max() < inspection.classes:
            check_gradients(loss, inspection.prediction[:4], inspection.y[:4])
    except GradientCheckError as error:
        head = str(error).partition("\n")[0].rstrip(".")
        cause = f" Likely cause: {error.cause}." if error.cause else ""
        advice = "Run check_gradients on that layer alone: it shows where, and how to see it again."
        yield Finding("gradient", f"{head}.{cause}", advice)
