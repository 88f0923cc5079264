"""A full-batch row of compare.py in plain NumPy: the script that tinynet grew from, in float64."""

import numpy as np
from with_tinynet import Task, Work

from tinynet import Dense, Sequential

VERSION = np.__version__


def build(task: Task) -> Work | None:
    """784-10-10 with ReLU and softmax, batch-last."""
    assert isinstance(task.net, Sequential)
    first, last = (layer for layer in task.net.layers if isinstance(layer, Dense))
    w1, w2 = (layer.weight.value.T.astype(np.float64) for layer in (first, last))
    b1, b2 = (p.bias.value[:, None].astype(np.float64) for p in (first, last) if p.bias)
    x, n = task.x.T.astype(np.float64), len(task.x)  # (784, N)
    one_hot = np.eye(10)[:, task.y]  # (10, N)
    losses: list[float] = []

    def step() -> None:
        nonlocal w1, w2, b1, b2
        z1 = w1 @ x + b1
        a1 = np.maximum(z1, 0)
        z2 = w2 @ a1 + b2
        a2 = np.exp(z2 - z2.max(axis=0))
        a2 /= a2.sum(axis=0)
        dz2 = a2 - one_hot
        dz1 = (w2.T @ dz2) * (z1 > 0)
        losses.append(-np.log(a2[task.y, np.arange(n)]).mean())
        w2 -= task.rate / n * (dz2 @ a1.T)
        b2 -= task.rate / n * dz2.sum(axis=1, keepdims=True)
        w1 -= task.rate / n * (dz1 @ x.T)
        b1 -= task.rate / n * dz1.sum(axis=1, keepdims=True)

    def turn() -> None:
        losses.clear()
        for _ in task.batches:
            step()

    return Work(turn, lambda: losses)
