"""Probes: short training runs on copies, which show whether the network can learn at all."""

from __future__ import annotations

import math
from contextlib import suppress
from copy import copy, deepcopy
from typing import Any, NamedTuple

import numpy as np

from tinynet.errors import DivergenceError
from tinynet.functional import softmax
from tinynet.health.finding import Finding
from tinynet.layer import Layer
from tinynet.losses.cross_entropy import SoftmaxCrossEntropy
from tinynet.losses.regression import MeanSquaredError
from tinynet.optimizers.adaptive import Adam
from tinynet.optimizers.optimizer import Optimizer
from tinynet.optimizers.schedules import Schedule
from tinynet.parameter import Array
from tinynet.training.trainer import Trainer

STEPS = 100  # on one batch
BATCH = 64
EPOCHS = 20  # at most, over every other sample; the rest is held out
MIN_HELD_OUT = 40  # with fewer samples held out there is too little to test
SIGNIFICANT = 3.5  # standard deviations: chance exceeds them once in 4,000 tests
SLOW = 20.0  # another rate has to reduce the loss so many times as much


class LossCurve(NamedTuple):
    """The loss on one batch in a short training run."""

    start: float
    highest: float
    end: float
    constant: float  # the loss of the best constant prediction
    least: float = 0.0  # the loss of the best prediction: with soft targets it is above 0

    @property
    def diverged(self) -> bool:
        """Whether the loss became NaN or infinite, or many times its start."""
        return not math.isfinite(self.end) or self.highest > 10 * self.start + 1e-3

    @property
    def decrease(self) -> float:
        """The difference between start and end."""
        return self.start - self.end

    @property
    def decreased(self) -> bool:
        """Whether the loss fell by a tenth, possibly by a better constant prediction alone."""
        return not self.diverged and self.decrease > 0.1 * (self.start - self.least)

    @property
    def fitted(self) -> bool:
        """Whether the loss fell far below its start and below the best constant prediction."""
        return self._is_below(0.9)

    @property
    def learned(self) -> bool:
        """As `fitted` with less to show: small networks learn little from noisy labels."""
        return self._is_below(0.95)

    def _is_below(self, fraction: float) -> bool:
        learnable = min(self.start, self.constant) - self.least
        return not self.diverged and self.end - self.least < fraction * learnable


def learning_rate(trainer: Trainer, x: Array, y: Array) -> list[Finding]:
    """Tries to fit one batch at the highest rate of the optimizer, and if that fails at others."""
    x, y = x[:BATCH], y[:BATCH]
    rate = _peak_rate(trainer.optimizer)
    own = _fit_one_batch(trainer, x, y, rate)
    if own.fitted or own.start - own.least < 1e-6:
        return []
    course = (
        f"In {STEPS} steps on one batch at the learning rate {rate:.3g} the loss went from "
        f"{own.start:.4g} to {own.end:.4g}"
    )
    course += f", with a maximum of {own.highest:.4g}" if own.diverged else ""
    higher = () if own.diverged else (1, 2, 3)
    lower = () if own.learned else (-1, -2, -3, -4)
    learned = own.learned
    for exponent in (*higher, *lower):
        other_rate = rate * 10.0**exponent
        other = _fit_one_batch(trainer, x, y, other_rate)
        learned |= other.learned
        if exponent > 0:
            better = other.decreased and other.decrease > SLOW * own.decrease
        else:
            better = other.learned or (own.diverged and other.decreased)
        if better:
            evidence = f"{course}; at {other_rate:.3g} it falls to {other.end:.4g}."
            name = "learning rate too high" if exponent < 0 else "learning rate too low"
            advice = f"Try {other_rate:.3g}, or {'lower' if exponent < 0 else 'higher'} still."
            return [Finding(name, evidence, advice)]
    if learned or _adam_learns(trainer, x, y):
        return []
    evidence = (
        f"{course}, and no other rate brings it below {min(own.start, own.constant):.4g}, the "
        "loss without learning; neither does Adam."
    )
    trained, all_of_them = len(trainer.optimizer.parameters), len(trainer.model.parameters())
    if trained < all_of_them:
        evidence += f" The optimizer was given {trained} of {all_of_them} parameters."
    advice = (
        "A network that cannot overfit one batch cannot learn: look for a layer that passes no "
        "gradient, for parameters that the optimizer was not given, and at the labels."
    )
    return [Finding("one batch", evidence, advice)]


def _adam_learns(trainer: Trainer, x: Array, y: Array) -> bool:
    """Whether Adam can fit the batch with the parameters of the optimizer."""
    if isinstance(trainer.loss, MeanSquaredError):
        y = _standardized(y)
    adam = copy(trainer)
    adam.optimizer = Adam(trainer.optimizer.parameters, 0.0)
    return any(_fit_one_batch(adam, x, y, rate).learned for rate in (0.001, 0.01, 0.1))


def relation(trainer: Trainer, x: Array, y: Array) -> list[Finding]:
    """Tests whether a network trained on some samples predicts others better than chance."""
    known = isinstance(trainer.loss, SoftmaxCrossEntropy | MeanSquaredError)
    if len(x[::2]) < MIN_HELD_OUT or not known:
        return []
    best, last = 0.0, "join" if len(x[1::2]) % BATCH == 1 else "keep"  # BatchNorm needs 2 samples
    for own in (True, False):  # the optimizer as it is, then one that suits most networks
        run = _copy(trainer, _peak_rate(trainer.optimizer))
        if not own:
            run.optimizer = Adam(run.optimizer.parameters, 0.001)
            y = _standardized(y) if isinstance(run.loss, MeanSquaredError) else y
        with np.errstate(all="ignore"), suppress(DivergenceError):
            for epoch in range(1, EPOCHS + 1):
                run.fit(x[1::2], y[1::2], epochs=epoch, batch_size=BATCH, last_batch=last)
                best = max(best, _agreement(run.loss, run.predict(x[::2]), y[::2]))
                if best > SIGNIFICANT:
                    return []
    evidence = (
        f"After {EPOCHS} epochs on {len(x[1::2])} samples, the predictions for {len(x[::2])} "
        f"others fit their own labels hardly better than shuffled ones: by {best:.1f} standard "
        f"deviations at best, and chance reaches {SIGNIFICANT}."
    )
    advice = (
        "Are x and y in the same order? Shuffling or filtering only one of them, or joining them "
        "by the wrong key, looks like this. Otherwise the labels do not depend on the inputs, or "
        "too little to show in so few samples."
    )
    return [Finding("unrelated labels", evidence, advice)]


def _agreement(loss: Layer, prediction: Array, y: Array) -> float:
    """How much better predictions fit their own targets than permuted ones: a z-score.

    Unlike accuracy it is fair to a rare class. Over all permutations of the targets, the sum of n
    scores has the variance Σd² / (n - 1), where d are the scores of each prediction with each
    target, less their means by row and column.
    """
    n, prediction = len(y), prediction.astype(np.float64)
    if isinstance(loss, SoftmaxCrossEntropy):
        y = loss.weighted_targets(y, prediction.shape)
        prediction = softmax(prediction)
    prediction, y = prediction.reshape(n, -1), y.reshape(n, -1)
    centred = (prediction - prediction.mean(axis=0)) @ (y - y.mean(axis=0)).T
    deviation = math.sqrt(np.square(centred).sum() / (n - 1))
    return float(np.trace(centred)) / deviation if deviation else 0.0


def _standardized(y: Array) -> Array:
    deviation = y.std(axis=0)
    scaled: Array = (y - y.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    return scaled


def _least_losses(loss: Layer, prediction: Array, y: Array) -> tuple[float, float]:
    """The least loss of a constant prediction and of any prediction; inf and 0 if not known."""
    if isinstance(loss, MeanSquaredError):
        return float(np.var(y, axis=0).mean()) * (y.size if loss.reduction == "sum" else 1), 0.0
    if not isinstance(loss, SoftmaxCrossEntropy):
        return math.inf, 0.0
    targets = loss.weighted_targets(y, prediction.shape)
    divisor = loss.divisor(prediction, y) or 1.0  # of a sum, or of no labels at all
    return _entropy(targets.sum(axis=0)) / divisor, _entropy(targets) / divisor


def _entropy(weights: Array) -> float:
    """The least cross-entropy against the weights (..., C): that of their normalized rows."""
    sums = weights.sum(axis=-1, keepdims=True)
    p = np.divide(weights, sums, where=weights > 0, out=np.ones_like(weights))
    return float(-(weights * np.log(p)).sum())


def _fit_one_batch(trainer: Trainer, x: Array, y: Array, rate: float) -> LossCurve:
    run = _copy(trainer, rate)
    with np.errstate(all="ignore"):
        constant, least = _least_losses(run.loss, run.predict(x), y)
        start = run.evaluate(x, y)["loss"]  # without the noise of training mode, such as dropout
        with suppress(DivergenceError):
            run.fit(x, y, epochs=STEPS, batch_size=len(x))
        losses = list(run.history.steps.get("loss", ()))
        end = run.evaluate(x, y)["loss"] if len(losses) == STEPS else math.nan
    # Where the loss in training mode is lower, as with batch statistics, it counts.
    start, end = min([start, *losses[:1]]), min([end, *losses[-1:]])
    if constant - least <= 1e-9 * constant:  # no prediction is better than a constant
        constant = start
    return LossCurve(start, max([start, *losses]), end, constant, least)


def _copy(trainer: Trainer, rate: float) -> Trainer:
    """A new trainer with copies of the parts, at a fixed learning rate."""
    # In one go: the optimizer of the copy must have the parameters of the copied model.
    model, loss, optimizer = deepcopy((trainer.model, trainer.loss, trainer.optimizer))
    optimizer.learning_rate = rate
    return Trainer(model, loss, optimizer)


def _peak_rate(optimizer: Optimizer) -> float:
    rate: Any = optimizer.learning_rate
    if isinstance(rate, Schedule):
        return rate.peak
    return max(map(rate, range(10_000))) if callable(rate) else float(rate)
