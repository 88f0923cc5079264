"""A micro batch is a part of a batch that is worked off by itself, to spare memory and cache."""

from collections.abc import Callable

import numpy as np

from tinynet.layer import Layer
from tinynet.parameter import Array


def differentiate(
    model: Layer,
    loss: Layer,
    x: Array,
    y: Array,
    size: int,
    see: Callable[[Array, Array], None] = lambda _prediction, _targets: None,
) -> float:
    """Returns the mean loss of a batch and leaves its gradient in the parameters.

    Parts of at most `size` samples go forward and backward one after the other, and their
    gradients are averaged by their share of the samples: for a loss that is a mean over samples,
    and layers that treat each by itself, that is the gradient of the whole batch. `see` is shown
    the predictions and targets of each part.

    >>> from tinynet import Dense, MeanSquaredError
    >>> model, x = Dense(1, 1, rng=0), np.arange(6, dtype=np.float32)[:, None]
    >>> [round(differentiate(model, MeanSquaredError(), x, 2 * x, size), 4) for size in (6, 4)]
    [30.4368, 30.4368]
    """
    if len(x) <= size:
        prediction = model(x)
        mean_loss: float = loss(prediction, y)
        see(prediction, y)
        model.backward(loss.backward())
        return mean_loss
    mean_loss, parameters = 0.0, [*model.parameters(), *loss.parameters()]
    sums = [np.zeros_like(parameter.value) for parameter in parameters]
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        share = len(x[rows]) / len(x)
        mean_loss += share * differentiate(model, loss, x[rows], y[rows], size, see)
        for total, parameter in zip(sums, parameters, strict=True):
            total += share * np.asarray(parameter.grad)
    for total, parameter in zip(sums, parameters, strict=True):
        parameter.grad = total
    return mean_loss
