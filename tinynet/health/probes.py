"""Probes learn a little on copies, to see whether learning works at all."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinynet.datasets.batches import Batches
from tinynet.health.finding import Finding
from tinynet.layer import Layer
from tinynet.losses import MeanSquaredError, SoftmaxCrossEntropy
from tinynet.optimizers import Adam, Optimizer
from tinynet.parameter import Array
from tinynet.schedules import Schedule

if TYPE_CHECKING:
    from tinynet.trainer import Trainer

STEPS = 100  # on one batch
BATCH = 64
EPOCHS = 5  # over the sample
HELD_OUT = 5  # one of so many samples


class Course(NamedTuple):
    """How the loss on one batch went."""

    start: float
    highest: float
    end: float

    @property
    def broke(self) -> bool:
        """Whether it is no number any more, or was many times what it was at the start."""
        return not math.isfinite(self.end) or self.highest > 10 * self.start + 1e-3

    @property
    def fell(self) -> bool:
        """Whether it went down, by a tenth at least, and never up by far."""
        return not self.broke and self.end < 0.9 * self.start


def learning_rate(trainer: Trainer, x: Array, y: Array) -> list[Finding]:
    """Whether the net fits one batch at the highest rate of its optimizer, or else at which."""
    x, y = x[:BATCH], y[:BATCH]
    rate = _peak(trainer.optimizer)
    course = _fit_one_batch(trainer, x, y, rate)
    if course.fell or course.start < 1e-6:
        return []
    went = (
        f"In {STEPS} steps on one batch at the rate {rate:.3g} the loss went from "
        f"{course.start:.4g} to {course.end:.4g}"
    )
    went += f", by way of {course.highest:.4g}" if course.broke else ""
    exponents = (-1, -2, -3, -4) if course.broke else (1, 2, 3, -1, -2, -3, -4)
    for exponent in exponents:
        other = _fit_one_batch(trainer, x, y, rate * 10.0**exponent)
        if other.fell:
            evidence = f"{went}; at {rate * 10.0**exponent:.3g} it falls to {other.end:.4g}."
            name = "learning rate too high" if exponent < 0 else "learning rate too low"
            advice = f"Try a rate {'below' if exponent < 0 else 'above'} {rate:.3g}, such as that."
            return [Finding(name, evidence, advice)]
    evidence = f"{went}, and no rate from 10,000 times lower on lets it fall."
    advice = (
        "A net that cannot learn a batch by heart cannot learn: look for a layer that passes no "
        "gradient on, for parameters that the optimizer was not given, and at the labels."
    )
    return [Finding("one batch", evidence, advice)]


def relation(trainer: Trainer, x: Array, y: Array) -> list[Finding]:
    """Whether what is learned from some samples says anything about others."""
    held_out = np.arange(len(x)) % HELD_OUT == 0
    if held_out.sum() < 40 or not isinstance(trainer.loss, SoftmaxCrossEntropy | MeanSquaredError):
        return []
    evidence = ""
    for own in (True, False):  # with the optimizer as it is; then with one that suits most nets
        model, loss, optimizer = _copies(trainer, _peak(trainer.optimizer))
        if not own:
            optimizer = Adam(optimizer.parameters, 0.001)
        batches = Batches(x[~held_out], y[~held_out], BATCH)
        with np.errstate(all="ignore"):
            for epoch in range(EPOCHS):
                for x_batch, y_batch in batches.epoch(epoch):
                    _step(model, loss, optimizer, x_batch, y_batch)
            prediction = model.predict(x[held_out])
        better, evidence = _judge(trainer.loss, prediction, y[held_out], y[~held_out])
        if better:
            return []
    advice = (
        "Are x and y in the same order? Shuffling or filtering one of them alone, or joining them "
        "by the wrong key, looks like this. Else the inputs say nothing about the labels."
    )
    return [Finding("unrelated labels", evidence, advice)]


def _judge(loss: Layer, prediction: Array, y: Array, known: Array) -> tuple[bool, str]:
    """Whether predictions of held-out samples beat the best constant one, and the figures."""
    n = len(y)
    if isinstance(loss, MeanSquaredError):
        error = float(np.mean(np.square(prediction - y)))
        constant = float(np.mean(np.square(y - known.mean(axis=0))))
        said = (
            f"On {n} held-out samples the error is {error:.4g}; the mean alone has {constant:.4g}."
        )
        return error < constant, said
    labels, known = (a.argmax(axis=1) if a.ndim == 2 else a for a in (y, known))
    right = float(np.mean(prediction.argmax(axis=1) == labels))
    constant = float(np.mean(labels == np.bincount(known).argmax()))
    chance = max(constant, 1 / prediction.shape[1])
    # Three standard deviations of what chance alone gives.
    margin = 3 * math.sqrt(chance * (1 - chance) / n)
    said = (
        f"After {EPOCHS} passes, {right:.1%} of {n} held-out samples are read right; always "
        f"the commonest label gives {constant:.1%}."
    )
    return right > chance + margin or constant > 0.98, said


def _fit_one_batch(trainer: Trainer, x: Array, y: Array, rate: float) -> Course:
    model, loss, optimizer = _copies(trainer, rate)
    losses = []
    with np.errstate(all="ignore"):
        for _ in range(STEPS):
            losses.append(_step(model, loss, optimizer, x, y))
            if not math.isfinite(losses[-1]):
                break
        with model.in_mode(training=False):
            end = float(loss(model(x), y))
    return Course(losses[0], max(losses), end)


def _copies(trainer: Trainer, rate: float) -> tuple[Layer, Layer, Optimizer]:
    parts = trainer.model, trainer.loss, trainer.optimizer
    model, loss, optimizer = deepcopy(parts)  # in one go: the copies belong together, too
    optimizer.learning_rate = rate
    return model.train(), loss.train(), optimizer


def _step(model: Layer, loss: Layer, optimizer: Optimizer, x: Array, y: Array) -> float:
    mean_loss: float = loss(model(x), y)
    model.backward(loss.backward())
    optimizer.step()
    return mean_loss


def _peak(optimizer: Optimizer) -> float:
    rate: Any = optimizer.learning_rate
    if isinstance(rate, Schedule):
        return rate.peak
    return max(map(rate, range(10_000))) if callable(rate) else float(rate)
