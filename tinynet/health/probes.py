"""Probes: short training runs on copies, which show whether the network can learn at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from copy import copy, deepcopy
from typing import Any, NamedTuple

import numpy as np

from tinynet.errors import DivergenceError
from tinynet.functional import sigmoid, softmax
from tinynet.health.finding import Finding
from tinynet.health.gradient_flow import WEAK, flow_through_time, measured_flow
from tinynet.health.least_losses import heads_of, least_losses, measures_distance, minimum
from tinynet.layer import Layer
from tinynet.losses.binary import BinaryCrossEntropy
from tinynet.losses.cross_entropy import SoftmaxCrossEntropy
from tinynet.losses.regression import MeanSquaredError
from tinynet.losses.targets import as_column
from tinynet.optimizers.adaptive import Adam
from tinynet.optimizers.optimizer import Optimizer
from tinynet.optimizers.schedules import Schedule
from tinynet.parameter import Array
from tinynet.samples import Samples, count_samples, take
from tinynet.training.trainer import Trainer

STEPS = 100  # on one batch
BATCH = 64
FEW = 256  # samples for the best constant prediction of a loss
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


def learning_rate(trainer: Trainer, x: Samples, y: Samples) -> list[Finding]:
    """Tries to fit one batch at the highest rate of the optimizer, and if that fails at others."""
    x, y = take(x, slice(BATCH)), take(y, slice(BATCH))
    rate = _peak_rate(trainer.optimizer)
    own = _fit_one_batch(trainer, x, y, rate)
    if own.fitted or own.start - own.least < 1e-6:
        return []
    course = (
        f"In {STEPS} steps on one batch at the learning rate {rate:.3g} the loss went from "
        f"{own.start:.4g} to {own.end:.4g}"
    )
    course += f", with a maximum of {own.highest:.4g}" if own.diverged else ""
    higher = () if own.diverged else (1, 2, 3, 4)
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
    if learned:
        return []
    adam = _adam_learns(trainer, x, y)
    cause = _weak_gradient(trainer, x, y)
    if adam and not cause:
        return []
    evidence = (
        f"{course}, and no other rate brings it below {min(own.start, own.constant):.4g}, the "
        f"loss without learning; {'Adam does' if adam else 'neither does Adam'}."
    )
    trained, all_of_them = len(trainer.optimizer.parameters), len(trainer.model.parameters())
    if trained < all_of_them:
        evidence += f" The optimizer was given {trained} of {all_of_them} parameters."
    advice = (
        "A network that cannot overfit one batch cannot learn: look for a layer that passes no "
        "gradient, for parameters that the optimizer was not given, and at the labels."
    )
    return [*cause, Finding("one batch", evidence, advice)]


def _weak_gradient(trainer: Trainer, x: Samples, y: Samples) -> list[Finding]:
    """A gradient that vanishes, through the layers or through time, as the cause of a failure."""
    flow = measured_flow(trainer, x, y)
    return (flow.findings(WEAK) if flow else []) or flow_through_time(trainer, x, y)


def _adam_learns(trainer: Trainer, x: Samples, y: Samples) -> bool:
    """Whether Adam can fit the batch with the parameters of the optimizer."""
    y = _standardized_targets(trainer, x, y)
    adam = copy(trainer)
    adam.optimizer = Adam(trainer.optimizer.parameters, 0.0)
    return any(_fit_one_batch(adam, x, y, rate).learned for rate in (0.001, 0.01, 0.1))


def relation(trainer: Trainer, x: Samples, y: Samples) -> list[Finding]:
    """Tests whether a network trained on some samples predicts others better than chance."""
    parts = [(take(x, slice(k, None, 2)), take(y, slice(k, None, 2))) for k in (0, 1)]
    held_out, trained = parts
    count, samples = count_samples(held_out[0]), count_samples(trained[0])
    if count < MIN_HELD_OUT:
        return []
    start = _copy(trainer, 0.0)
    pulls = [_pulls(start.loss, start.predict(part_x), part_y) for part_x, part_y in parts]
    if not all((pull != pull[:1]).any() for part in pulls for _, pull in part):
        return []  # a loss that does not depend on its targets
    last = "join" if samples % BATCH == 1 else "keep"  # BatchNorm needs 2 samples
    best = own_best = np.zeros(len(pulls[0]))  # of each head, on others and on the same samples
    for own in (True, False):  # the optimizer as it is, then one that suits most networks
        run, (train_x, train_y) = _copy(trainer, _peak_rate(trainer.optimizer)), trained
        if not own:
            run.optimizer = Adam(run.optimizer.parameters, 0.001)
            train_y = _standardized_targets(run, train_x, train_y)
        with np.errstate(all="ignore"), suppress(DivergenceError):
            for epoch in range(1, EPOCHS + 1):
                run.fit(train_x, train_y, epochs=epoch, batch_size=BATCH, last_batch=last)
                best = np.maximum(best, _agreements(run.predict(held_out[0]), pulls[0]))
                if best.min() > SIGNIFICANT:
                    return []
            own_best = np.maximum(own_best, _agreements(run.predict(train_x), pulls[1]))
    head = int(best.argmin())
    evidence = (
        f"{f'y[{head}]: ' if len(best) > 1 else ''}After {EPOCHS} epochs on {samples} samples, the "
        f"predictions for {count} others fit their own labels hardly better than shuffled ones: by "
        f"{best[head]:.1f} standard deviations at best, and chance reaches {SIGNIFICANT}."
    )
    advice = (
        "Are x and y in the same order? Shuffling or filtering only one of them, or joining them "
        "by the wrong key, looks like this. Otherwise the labels do not depend on the inputs, or "
        "too little to show in so few samples."
    )
    if own_best[head] <= SIGNIFICANT:
        evidence += (
            " The network has not learned the samples that it was trained on either, so that this "
            "says little about the labels."
        )
    cause = _weak_gradient(trainer, take(x, slice(BATCH)), take(y, slice(BATCH)))
    return [*cause, Finding("unrelated labels", evidence, advice)]


def _agreements(prediction: Any, pulls: Sequence[tuple[Layer, Array]]) -> Array:
    """The agreement of each head."""
    heads = prediction if isinstance(prediction, tuple) else (prediction,)
    return np.array([_agreement(*both, head) for both, head in zip(pulls, heads, strict=True)])


def _agreement(loss: Layer, pull: Array, prediction: Array) -> float:
    """How much better predictions fit their own targets than permuted ones: a z-score.

    The score of a prediction with a target is its product with the pull of that target. Unlike
    accuracy it is fair to a rare class. Over all permutations of the targets, the sum of n scores
    has the variance Σd² / (n - 1), where d are the scores of each prediction with each target, less
    their means by row and column.
    """
    n, prediction = len(prediction), prediction.astype(np.float64)
    # Probabilities, where a loss has them: a few large logits do not outweigh all others.
    bounded = {SoftmaxCrossEntropy: softmax, BinaryCrossEntropy: sigmoid}.get(type(loss))
    prediction = (bounded(prediction) if bounded else prediction).reshape(n, -1)
    centred = (prediction - prediction.mean(axis=0)) @ (pull - pull.mean(axis=0)).T
    deviation = math.sqrt(np.square(centred).sum() / (n - 1))
    return float(np.trace(centred)) / deviation if deviation else 0.0


def _pulls(loss: Layer, prediction: Any, y: Any) -> list[tuple[Layer, Array]]:
    """The loss of each head, and the direction (N, D) in which each target pulls its prediction.

    That is minus the gradient of its loss at the best constant prediction: up to a constant, the
    target itself for a squared error, and its probabilities for a cross-entropy.
    """
    if heads := heads_of(loss):
        triples = zip(heads[0], prediction, y, strict=True)
        return [pair for triple in triples for pair in _pulls(*triple)]
    if isinstance(loss, SoftmaxCrossEntropy):
        pull = loss.weighted_targets(y, prediction.shape)
    elif isinstance(loss, MeanSquaredError):
        pull = _standardized(np.asarray(as_column(prediction, y), np.float64))
    else:
        least, constant = minimum(loss, prediction[:FEW], y[:FEW], 1)
        if not math.isfinite(least):
            constant = prediction.mean(axis=0, keepdims=True)
        loss = deepcopy(loss)
        loss(np.ascontiguousarray(np.broadcast_to(constant, prediction.shape)), y)
        pull = -loss.backward()
    return [(loss, pull.reshape(len(prediction), -1))]


def _standardized_targets(trainer: Trainer, x: Samples, y: Samples) -> Samples:
    """Targets of a regression with mean 0 and standard deviation 1, others as they are."""
    loss, prediction = trainer.loss, _copy(trainer, 0.0).predict(take(x, slice(1)))
    first = take(y, slice(1))
    heads = heads_of(loss)
    if heads is None:
        return _standardized(y) if measures_distance(loss, prediction, first) else y
    triples = zip(heads[0], prediction, first, y, strict=True)
    return tuple(_standardized(a) if measures_distance(*head) else a for *head, a in triples)


def _standardized(y: Any) -> Array:
    deviation = y.std(axis=0)
    scaled: Array = (y - y.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    return scaled


def _fit_one_batch(trainer: Trainer, x: Samples, y: Samples, rate: float) -> LossCurve:
    run = _copy(trainer, rate)
    with np.errstate(all="ignore"):
        constant, least = least_losses(run.loss, run.predict(x), y)
        start = run.evaluate(x, y)["loss"]  # without the noise of training mode, such as dropout
        with suppress(DivergenceError):
            run.fit(x, y, epochs=STEPS, batch_size=BATCH)
        losses = list(run.history.steps.get("loss", ()))
        end = run.evaluate(x, y)["loss"] if len(losses) == STEPS else math.nan
    # Where the loss in training mode is lower, as with batch statistics, it counts.
    start, end = min([start, *losses[:1]]), min([end, *losses[-1:]])
    if constant - least <= 1e-3 * constant:  # hardly a prediction is better than a constant
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
