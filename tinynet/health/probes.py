"""Probes learn a little on copies, to see whether learning works at all."""

from __future__ import annotations

import math
from copy import copy, deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinynet.datasets.batches import Batches
from tinynet.functional import softmax
from tinynet.health.finding import Finding
from tinynet.layer import Layer
from tinynet.losses import MeanSquaredError, SoftmaxCrossEntropy
from tinynet.optimizers import Adam, Optimizer
from tinynet.optimizers.schedules import Schedule
from tinynet.parameter import Array
from tinynet.training.trainer import accumulate_gradients

if TYPE_CHECKING:
    from tinynet.training.trainer import Trainer

STEPS = 100  # on one batch
BATCH = 64
EPOCHS = 20  # at most, over the sample
HELD_OUT = 2  # one of so many samples: as many to see with as to learn from
FEWEST = 40  # samples held out, that there is something to see
SURE = 3.5  # standard deviations: chance alone goes beyond them once in 4,000 looks
SLOW = 20.0  # times as far a batch comes at another rate


class Course(NamedTuple):
    """How the loss on one batch went."""

    start: float
    highest: float
    end: float
    guess: float  # the loss of the best constant prediction
    least: float = 0.0  # that of the best prediction at all: of soft targets it is above 0

    @property
    def broke(self) -> bool:
        """Whether it is no number any more, or was many times what it was at the start."""
        return not math.isfinite(self.end) or self.highest > 10 * self.start + 1e-3

    @property
    def progress(self) -> float:
        """How far it came down."""
        return self.start - self.end

    @property
    def sank(self) -> bool:
        """Whether it went far below its start, be it by a better constant alone."""
        return not self.broke and self.progress > 0.1 * (self.start - self.least)

    @property
    def fell(self) -> bool:
        """Whether it went far below its start, and below what a constant can do."""
        return self._comes_below(0.9)

    @property
    def learned(self) -> bool:
        """Whether it went there at all: small nets get little out of noisy labels, chance less."""
        return self._comes_below(0.95)

    def _comes_below(self, share: float) -> bool:
        to_learn = min(self.start, self.guess) - self.least
        return not self.broke and self.end - self.least < share * to_learn


def learning_rate(trainer: Trainer, x: Array, y: Array) -> list[Finding]:
    """Whether the net fits one batch at the highest rate of its optimizer, or else at which."""
    x, y = x[:BATCH], y[:BATCH]
    rate = _peak(trainer.optimizer)
    own = _fit_one_batch(trainer, x, y, rate)
    if own.fell or own.start - own.least < 1e-6:
        return []
    went = (
        f"In {STEPS} steps on one batch at the rate {rate:.3g} the loss went from "
        f"{own.start:.4g} to {own.end:.4g}"
    )
    went += f", by way of {own.highest:.4g}" if own.broke else ""
    exponents = (*(() if own.broke else (1, 2, 3)), *(() if own.learned else (-1, -2, -3, -4)))
    learned = own.learned
    for exponent in exponents:
        other_rate = rate * 10.0**exponent
        other = _fit_one_batch(trainer, x, y, other_rate)
        learned |= other.learned
        if exponent > 0:
            better = other.sank and other.progress > SLOW * own.progress
        else:
            better = other.learned or (own.broke and other.sank)
        if better:
            evidence = f"{went}; at {other_rate:.3g} it falls to {other.end:.4g}."
            name = "learning rate too high" if exponent < 0 else "learning rate too low"
            advice = f"Try {other_rate:.3g}, or {'lower' if exponent < 0 else 'higher'} still."
            return [Finding(name, evidence, advice)]
    if learned or _learns_at_all(trainer, x, y):
        return []
    evidence = (
        f"{went}, and no other rate brings it below {min(own.start, own.guess):.4g}, which takes "
        "no learning; neither does Adam."
    )
    given, all_of_them = len(trainer.optimizer.parameters), len(trainer.model.parameters())
    if given < all_of_them:
        evidence += f" The optimizer was given {given} of {all_of_them} parameters."
    advice = (
        "A net that cannot learn a batch by heart cannot learn: look for a layer that passes no "
        "gradient on, for parameters that the optimizer was not given, and at the labels."
    )
    return [Finding("one batch", evidence, advice)]


def _learns_at_all(trainer: Trainer, x: Array, y: Array) -> bool:
    """Whether the optimizer's parameters can learn a batch, whatever becomes of its own steps."""
    if isinstance(trainer.loss, MeanSquaredError):
        y = _standardized(y)
    adam = copy(trainer)
    adam.optimizer = Adam(trainer.optimizer.parameters, 0.0)
    return any(_fit_one_batch(adam, x, y, rate).learned for rate in (0.001, 0.01, 0.1))


def relation(trainer: Trainer, x: Array, y: Array) -> list[Finding]:
    """Whether what is learned from some samples says anything about others."""
    held_out = np.arange(len(x)) % HELD_OUT == 0
    known = isinstance(trainer.loss, SoftmaxCrossEntropy | MeanSquaredError)
    if held_out.sum() < FEWEST or not known:
        return []
    best = 0.0
    for own in (True, False):  # with the optimizer as it is; then with one that suits most nets
        model, loss, optimizer = _copies(trainer, _peak(trainer.optimizer))
        if not own:
            optimizer = Adam(optimizer.parameters, 0.001)
            y = _standardized(y) if isinstance(loss, MeanSquaredError) else y
        batches = Batches(x[~held_out], y[~held_out], BATCH)
        with np.errstate(all="ignore"):
            for epoch in range(EPOCHS):
                for x_batch, y_batch in batches.epoch(epoch):
                    _step(model, loss, optimizer, x_batch, y_batch)
                best = max(best, _agreement(loss, model.predict(x[held_out]), y[held_out]))
                if best > SURE:
                    return []
    evidence = (
        f"After {EPOCHS} passes over {len(batches.x)} samples, predictions for "
        f"{held_out.sum()} others fit their own labels hardly better than shuffled ones: by "
        f"{best:.1f} standard deviations at best, where chance alone comes to {SURE}."
    )
    advice = (
        "Are x and y in the same order? Shuffling or filtering one of them alone, or joining them "
        "by the wrong key, looks like this. Else the inputs say nothing about the labels, or too "
        "little to show in so few samples."
    )
    return [Finding("unrelated labels", evidence, advice)]


def _agreement(loss: Layer, prediction: Array, y: Array) -> float:
    """How far predictions fit their own targets better than shuffled ones, in deviations of chance.

    That does justice to a rare class, which a count of right answers would not. Over all orders
    of the targets, the sum of n scores has the variance Σd² / (n - 1), where d are the scores of
    each prediction with each target, less their means by row and column.
    """
    n, prediction = len(y), prediction.astype(np.float64)
    if isinstance(loss, SoftmaxCrossEntropy):
        y, _ = loss.weighted_targets(y, prediction.shape)
        prediction = softmax(prediction)
    prediction, y = prediction.reshape(n, -1), y.reshape(n, -1)
    centred = (prediction - prediction.mean(axis=0)) @ (y - y.mean(axis=0)).T
    deviation = math.sqrt(np.square(centred).sum() / (n - 1))
    return float(np.trace(centred)) / deviation if deviation else 0.0


def _standardized(y: Array) -> Array:
    deviation = y.std(axis=0)
    scaled: Array = (y - y.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    return scaled


def _best_losses(loss: Layer, prediction: Array, y: Array) -> tuple[float, float]:
    """The least loss of a constant prediction, and of any: infinity and 0 if nobody knows."""
    if isinstance(loss, MeanSquaredError):
        return float(np.var(y, axis=0).mean()) * (y.size if loss.reduction == "sum" else 1), 0.0
    if not isinstance(loss, SoftmaxCrossEntropy):
        return math.inf, 0.0
    asked, divisor = loss.weighted_targets(y, prediction.shape)
    divisor = divisor if loss.reduction == "mean" else 1.0
    return _entropy(asked.sum(axis=0)) / divisor, _entropy(asked) / divisor


def _entropy(asked: Array) -> float:
    """The loss of softmaxes that give each class its share of what is asked of all, (..., C)."""
    mass = asked.sum(axis=-1, keepdims=True)
    shares = np.divide(asked, mass, where=asked > 0, out=np.ones_like(asked))
    return float(-(asked * np.log(shares)).sum())


def _fit_one_batch(trainer: Trainer, x: Array, y: Array, rate: float) -> Course:
    model, loss, optimizer = _copies(trainer, rate)
    losses = []

    def settled() -> float:
        """Without what training adds, as dropout does."""
        with model.in_mode(training=False), loss.in_mode(training=False):
            return float(loss(model(x), y))

    with np.errstate(all="ignore"):
        guess, least = _best_losses(loss, model.predict(x), y)
        start = settled()
        for _ in range(STEPS):
            losses.append(_step(model, loss, optimizer, x, y))
            if not math.isfinite(losses[-1]):
                break
        end = settled()
    # Where training mode has the lower loss, as with statistics of the batch, that one counts.
    start, end = min(start, losses[0]), min(end, losses[-1])
    if guess - least <= 1e-9 * guess:  # no prediction is better than a constant
        guess = start
    return Course(start, max(losses), end, guess, least)


def _copies(trainer: Trainer, rate: float) -> tuple[Layer, Layer, Optimizer]:
    parts = trainer.model, trainer.loss, trainer.optimizer
    model, loss, optimizer = deepcopy(parts)  # in one go: the copies belong together, too
    optimizer.learning_rate = rate
    return model.train(), loss.train(), optimizer


def _step(model: Layer, loss: Layer, optimizer: Optimizer, x: Array, y: Array) -> float:
    mean_loss = accumulate_gradients(model, loss, x, y, len(x))
    optimizer.step()
    return mean_loss


def _peak(optimizer: Optimizer) -> float:
    rate: Any = optimizer.learning_rate
    if isinstance(rate, Schedule):
        return rate.peak
    return max(map(rate, range(10_000))) if callable(rate) else float(rate)
