"""Inspection: one forward of a sample of the data, which the checks of preflight look at."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynet.datasets.batches import Batches
from tinynet.health.activations import leaf_calls
from tinynet.health.anomaly import detect_anomaly
from tinynet.losses.cross_entropy import SoftmaxCrossEntropy
from tinynet.losses.margin import Hinge
from tinynet.metrics.metric import Metrics
from tinynet.parameter import Array
from tinynet.recording import Call
from tinynet.training.trainer import Trainer

SAMPLE = 2560  # samples that are used
SCAN = 1 << 30  # bytes: larger arrays are not searched for NaN or copies


@dataclass
class Inspection:
    """A trainer, whose parts are copied before use, and one forward of a sample of the data.

    `x` and `y` are the sample, `prediction` the output for it in evaluation mode.
    """

    trainer: Trainer
    batches: Batches  # of all training data
    validation: tuple[Array, Array] | None  # all of it
    x: Array
    y: Array
    calls: list[Call]
    prediction: Any  # an array, or whatever the network returns

    @property
    def classes(self) -> int | None:
        """C, if logits (N, ..., C) have integer labels (N, ...) as targets, else None."""
        known = isinstance(self.trainer.loss, SoftmaxCrossEntropy | Hinge)
        labels = known and self.y.dtype.kind in "iu" and self.y.ndim == self.prediction.ndim - 1
        return self.prediction.shape[-1] if labels else None

    @property
    def in_range(self) -> bool:
        """Whether the loss accepts the targets of the sample."""
        classes, labels = self.classes, self.without_ignored(self.y)
        return classes is None or bool(((labels >= 0) & (labels < classes)).all())

    def without_ignored(self, labels: Array) -> Array:
        """The labels that the loss does not ignore."""
        ignored = getattr(self.trainer.loss, "ignore_index", None)
        return labels if ignored is None else labels[labels != ignored]


def sample_rows(samples: int) -> Array:
    """The rows of a random sample, the same ones each time, in ascending order."""
    return np.sort(np.random.default_rng(0).permutation(samples)[:SAMPLE])


def inspect(
    trainer: Trainer, batches: Batches, validation: tuple[Array, Array] | None
) -> Inspection:
    """Sends a sample of the training data through copies of the model, the loss and the metrics.

    Raises:
        InputError: one of them does not accept the sample.
        AnomalyError: NaN or infinity appears.
    """
    rows = sample_rows(len(batches.x))
    x, y = batches.x[rows], batches.y[rows]
    model, loss = deepcopy((trainer.model, trainer.loss))
    with detect_anomaly():
        prediction, calls = leaf_calls(model, x)
        inspection = Inspection(trainer, batches, validation, x, y, calls, prediction)
        if inspection.in_range:
            loss(prediction, y)
            Metrics(trainer.metrics.metrics).update(prediction, y)
    return inspection
