"""Least losses: what a constant prediction reaches at best, and what any prediction reaches.

In closed form where there is one, else found numerically from the loss and its gradient, so that it
works for every loss, also one of the user's own.
"""

import math
from copy import deepcopy
from typing import Any

import numpy as np

from tinynet.errors import InputError
from tinynet.functional import log_softmax, root_mean_square
from tinynet.layer import Layer
from tinynet.losses.cross_entropy import SoftmaxCrossEntropy
from tinynet.losses.divergence import KLDivergence
from tinynet.losses.loss import MultiTaskLoss
from tinynet.losses.regression import MeanSquaredError
from tinynet.losses.targets import as_column
from tinynet.parameter import Array

STEPS = 200  # of the numeric minimization, at most
FASTER, SLOWER = 1.2, 0.5  # factors of Rprop
SETTLED, WITHIN = 1e-4, 20  # it ends when so many steps lower the loss by less than this share


def least_losses(loss: Layer, prediction: Any, y: Any) -> tuple[float, float]:
    """The least loss of a constant prediction and of any prediction; inf and 0 if not known."""
    if heads := heads_of(loss):
        each = [
            (weight * least for least in least_losses(head, *arrays))
            for head, weight, *arrays in zip(*heads, prediction, y, strict=True)
        ]
        constants, leasts = zip(*each, strict=True)
        return sum(constants), sum(leasts)
    if isinstance(loss, MeanSquaredError):
        return float(np.var(y, axis=0).mean()) * (y.size if loss.reduction == "sum" else 1), 0.0
    if isinstance(loss, SoftmaxCrossEntropy):
        targets = loss.weighted_targets(y, prediction.shape)
        divisor = loss.divisor(prediction, y) or 1.0  # of a sum, or of no labels at all
        return _entropy(targets.sum(axis=0)) / divisor, _entropy(targets) / divisor
    constant, least = (minimum(loss, prediction, y, rows)[0] for rows in (1, len(prediction)))
    return (constant, least) if math.isfinite(constant) and math.isfinite(least) else (math.inf, 0)


def heads_of(loss: Layer) -> tuple[tuple[Layer, ...], list[float]] | None:
    """The losses of several heads and their weights, or None for a single loss."""
    return (loss.losses, loss.weights) if isinstance(loss, MultiTaskLoss) else None


def measures_distance(loss: Layer, prediction: Any, y: Any) -> bool:
    """Whether the loss is that of a regression: 0 where a prediction equals its target alone."""
    if not isinstance(prediction, np.ndarray) or not isinstance(y, np.ndarray):
        return False
    equal = as_column(prediction, y).astype(np.float64)
    if equal.shape != prediction.shape or not equal.size:
        return False
    loss, away = deepcopy(loss), 1 + root_mean_square(equal)
    try:
        return bool(loss(equal, y) == 0 < min(loss(equal + away, y), loss(equal - away, y)))
    except InputError:
        return False


def minimum(loss: Layer, prediction: Array, y: Array, rows: int) -> tuple[float, Array]:
    """The least loss of one prediction for all samples (`rows` 1), or of one for each, and where.

    Rprop uses the signs of the gradient alone: losses of any scale take the same steps. A loss
    without a minimum, or one that refuses such predictions, has the least loss inf.

    Source: Riedmiller and Braun, "A Direct Adaptive Method for Faster Backpropagation Learning: The
    RPROP Algorithm", ICNN 1993.
    """
    loss, shape = deepcopy(loss), prediction.shape
    z = best = np.zeros((rows, *shape[1:]))
    step = np.full(z.shape, 0.1 + 0.1 * root_mean_square(y) if y.dtype.kind == "f" else 0.5)
    before, least, course = np.zeros(z.shape), math.inf, list[float]()
    with np.errstate(all="ignore"):
        for _ in range(STEPS):
            p, chain = _linked(loss, prediction, z)
            try:
                value = loss(np.ascontiguousarray(np.broadcast_to(p, shape)), y)
            except InputError:
                return math.inf, best
            if not math.isfinite(value):
                return math.inf, best
            if value < least:
                least, best = value, z
            course.append(least)
            recent = course[-WITHIN:][0] - least
            if len(course) > WITHIN and recent <= SETTLED * (course[0] - least):
                return least, best
            gradient = loss.backward()
            gradient = chain(gradient.sum(axis=0, keepdims=True) if rows == 1 else gradient)
            turned = gradient * before < 0
            step = step * np.where(turned, SLOWER, np.where(gradient * before > 0, FASTER, 1))
            before = np.where(turned, 0, gradient)
            z = z - np.sign(before) * step
    return math.inf, best


def _linked(loss: Layer, prediction: Array, z: Array) -> tuple[Array, Any]:
    """The prediction for free numbers z, and the chain rule: log-probabilities are not free."""
    if not isinstance(loss, KLDivergence):
        return z, lambda gradient: gradient
    axis = distribution_axis(prediction)
    p = (
        log_softmax(z.reshape(len(z), -1)).reshape(z.shape)
        if axis is None
        else log_softmax(z, axis)
    )
    along = tuple(range(1, z.ndim)) if axis is None else axis
    return p, lambda gradient: gradient - np.exp(p) * gradient.sum(axis=along, keepdims=True)


def distribution_axis(prediction: Array) -> int | None:
    """The axis of log-probabilities along which their exponentials add up to 1; None for all."""
    sums = [abs(np.exp(prediction).sum(axis=axis) - 1).max() for axis in range(1, prediction.ndim)]
    return 1 + int(np.argmin(sums)) if sums and min(sums) < 1e-3 else None


def _entropy(weights: Array) -> float:
    """The least cross-entropy against the weights (..., C): that of their normalized rows."""
    sums = weights.sum(axis=-1, keepdims=True)
    p = np.divide(weights, sums, where=weights > 0, out=np.ones_like(weights))
    return float(-(weights * np.log(p)).sum())
