"""Inspection: one forward of a sample of the data, which the checks of preflight look at."""

from collections.abc import Iterator
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinynet.datasets.batches import Batches
from tinynet.health.activations import leaf_calls
from tinynet.health.anomaly import detect_anomaly
from tinynet.health.least_losses import heads_of, measures_distance
from tinynet.losses.cross_entropy import SoftmaxCrossEntropy
from tinynet.metrics.metric import Metrics
from tinynet.parameter import Array
from tinynet.recording import Call
from tinynet.samples import Samples, arrays_of, count_samples, take
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
    validation: tuple[Any, Any] | None  # all of it
    x: Any  # an array, or a tuple of arrays
    y: Any
    calls: list[Call]
    prediction: Any  # an array, or whatever the network returns

    @property
    def classes(self) -> int | None:
        """C, if logits (N, ..., C) have integer labels (N, ...) as targets, else None."""
        y, prediction = self.y, self.prediction
        if not isinstance(prediction, np.ndarray) or y.dtype.kind not in "iu":
            return None
        labels = y.shape == prediction.shape[:-1] and not self.is_regression
        return prediction.shape[-1] if labels else None

    @property
    def takes_classes(self) -> bool:
        """Whether the targets are labels, or rows of probabilities."""
        return self.classes is not None or isinstance(self.trainer.loss, SoftmaxCrossEntropy)

    @property
    def is_regression(self) -> bool:
        """Whether the loss is 0 where the prediction equals the target, and nowhere else."""
        return measures_distance(self.trainer.loss, self.prediction, self.y)

    @property
    def in_range(self) -> bool:
        """Whether the loss accepts the targets of the sample."""
        if isinstance(self.y, tuple):
            return all(view.in_range for _, view in self.views())
        classes, labels = self.classes, self.without_ignored(self.y)
        return classes is None or bool(((labels >= 0) & (labels < classes)).all())

    def batch(self, size: int) -> tuple[Samples, Samples]:
        """The first samples."""
        return take(self.x, slice(size)), take(self.y, slice(size))

    def views(self) -> Iterator[tuple[tuple[int, int], "Inspection"]]:
        """Views of one array of x and one head each, by their positions; itself for two arrays.

        A head is a loss of several with its targets and its prediction.
        """
        xs, ys = arrays_of(self.x), arrays_of(self.y)
        heads = heads_of(self.trainer.loss)
        if len(xs) == len(ys) == 1:
            yield (0, 0), self
            return
        for i in range(len(xs)):
            for j in range(len(ys)):
                trainer, batches, validation = copy(self.trainer), copy(self.batches), None
                batches.x, batches.y = arrays_of(batches.x)[i], arrays_of(batches.y)[j]
                if self.validation is not None:
                    held_out_x, held_out_y = map(arrays_of, self.validation)
                    validation = held_out_x[i], held_out_y[j]
                prediction = self.prediction
                if heads is not None:
                    trainer.loss, prediction = heads[0][j], prediction[j]
                view = replace(
                    self,
                    trainer=trainer,
                    batches=batches,
                    validation=validation,
                    x=xs[i],
                    y=ys[j],
                    calls=_between(self.calls, xs[i] if len(xs) > 1 else None, prediction),
                    prediction=prediction,
                )
                yield (i, j), view

    def without_ignored(self, labels: Array) -> Array:
        """The labels that the loss does not ignore."""
        ignored = getattr(self.trainer.loss, "ignore_index", None)
        return labels if ignored is None else labels[labels != ignored]


def _between(calls: list[Call], x: Array | None, prediction: Any) -> list[Call]:
    """The calls up to the one that returned the prediction, from the one that was given x on."""
    ends = [k for k, call in enumerate(calls, 1) if _is_view(call.output, prediction)]
    calls = calls[: max(ends, default=len(calls))]
    starts = [k for k, call in enumerate(calls) if x is None or _is_view(call.inputs[0], x)]
    return calls[min(starts, default=0) :]


def _is_view(a: Any, b: Any) -> bool:
    return isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and np.may_share_memory(a, b)


def sample_rows(samples: int) -> Array:
    """The rows of a random sample, the same ones each time, in ascending order."""
    return np.sort(np.random.default_rng(0).permutation(samples)[:SAMPLE])


def inspect(trainer: Trainer, batches: Batches, validation: tuple[Any, Any] | None) -> Inspection:
    """Sends a sample of the training data through copies of the model, the loss and the metrics.

    Raises:
        InputError: one of them does not accept the sample.
        AnomalyError: NaN or infinity appears.
    """
    rows = sample_rows(count_samples(batches.x))
    x, y = take(batches.x, rows), take(batches.y, rows)
    model, loss = deepcopy((trainer.model, trainer.loss))
    with detect_anomaly():
        prediction, calls = leaf_calls(model, x)
        inspection = Inspection(trainer, batches, validation, x, y, calls, prediction)
        if inspection.in_range:
            loss(prediction, y)
            Metrics(trainer.metrics.metrics).update(prediction, y)
    return inspection
