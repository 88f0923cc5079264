"""The rows of compare.py in scikit-learn: a step of MLPClassifier by partial_fit."""

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier
from with_tinynet import Task, Work

from tinynet import Array, Dense, Rescale, Sequential

VERSION = sklearn.__version__


def build(task: Task) -> Work | None:
    if task.kind != "step" or not isinstance(task.net, Sequential):
        return None
    dense = [layer for layer in task.net.layers if isinstance(layer, Dense)]
    scale = next((layer.scale for layer in task.net.layers if isinstance(layer, Rescale)), None)

    def prepared(rows: Array) -> Array:
        x = task.x[rows].reshape(len(rows), -1)
        return x if scale is None else np.multiply(x, np.float32(scale), dtype=np.float32)

    first = task.batches[0]
    model = MLPClassifier(
        tuple(layer.out_features for layer in dense[:-1]),
        solver="adam" if task.optimizer == "adam" else "sgd",
        alpha=0.0,
        batch_size=len(first),
        learning_rate_init=task.rate,
        momentum=0.9 if task.optimizer == "momentum" else 0.0,
        nesterovs_momentum=False,
        shuffle=False,
    )
    classes = np.arange(dense[-1].out_features)
    model.partial_fit(prepared(first), task.y[first], classes=classes)  # makes the arrays
    for layer, weight, bias in zip(dense, model.coefs_, model.intercepts_, strict=True):
        weight[...], bias[...] = layer.weight.value, layer.bias.value  # type: ignore[union-attr]  # with a bias
    inner = model._optimizer
    for slots in ("velocities", "ms", "vs"):
        for slot in getattr(inner, slots, ()):
            slot[...] = 0
    if task.optimizer == "adam":
        inner.t = 0

    losses: list[float] = []

    def turn() -> None:
        losses.clear()
        for rows in task.batches:
            model.partial_fit(prepared(rows), task.y[rows])
            losses.append(model.loss_)

    return Work(turn, lambda: losses)
