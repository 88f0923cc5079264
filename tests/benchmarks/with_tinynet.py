"""The rows of compare.py in tinynet. Its layers are also what the peers copy their start from."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np

from tinynet import SGD, Adam, Array, Layer, Optimizer, SoftmaxCrossEntropy, Trainer

VERSION = np.__version__


class Task(NamedTuple):
    """What a framework does in a row: `kind` of work, the layers that it starts from, its data."""

    kind: str  # step, layer, predict, call
    net: Layer
    x: Array
    y: Array  # labels; for a layer dy
    batches: Sequence[Any]  # of a turn, in their order: the rows of each, or a slice
    optimizer: str = "sgd"
    rate: float = 0.01


class Work(NamedTuple):
    """A turn, and what it has computed: all its losses, or the last outputs and gradients."""

    turn: Callable[[], None]
    result: Callable[[], list[Any]]


def build(task: Task) -> Work | None:
    net = deepcopy(task.net)
    results: list[Any] = []
    if task.kind == "step":
        loss, optimizer = SoftmaxCrossEntropy(), make_optimizer(task, net)

        def turn() -> None:
            results.clear()
            for rows in task.batches:
                results.append(loss(net(task.x[rows]), task.y[rows]))
                net.backward_parameters(loss.backward())  # no peer computes the dx of x either
                optimizer.step()

    elif task.kind == "layer":

        def turn() -> None:
            for _ in task.batches:
                y = net(task.x)
                dx = net.backward(task.y)
            results[:] = [y, dx, gradient_norm(p.grad for p in net.parameters())]

    else:
        net.eval()
        call = net.predict if task.kind == "predict" else net

        def turn() -> None:
            for rows in task.batches:
                y = call(task.x[rows])
            results[:] = [y]

    return Work(turn, lambda: results)


def build_trainer(task: Task) -> Work:
    """The same steps by `Trainer.fit`, against a loop by hand."""
    net = deepcopy(task.net)
    trainer = Trainer(net, SoftmaxCrossEntropy(), make_optimizer(task, net))
    order = np.random.default_rng((0, 0)).permutation(sum(map(len, task.batches)))  # of epoch 0
    rows = np.empty_like(order)
    rows[order] = np.concatenate(task.batches)
    x, y, size = task.x[rows], task.y[rows], len(task.batches[0])

    def turn() -> None:
        trainer.fit(x, y, epochs=trainer.epoch + 1, batch_size=size)

    return Work(turn, lambda: list(trainer.history.steps["loss"]))


def make_optimizer(task: Task, net: Layer) -> Optimizer:
    if task.optimizer == "adam":
        return Adam(net.parameters(), task.rate)
    return SGD(net.parameters(), task.rate, momentum=0.9 if task.optimizer == "momentum" else 0.0)


def gradient_norm(gradients: Iterator[Any]) -> Array:
    """The norm of all gradients together, which is the same for every layout of the weights."""
    return np.asarray(np.sqrt(sum(np.square(g, dtype=np.float64).sum() for g in gradients)))
