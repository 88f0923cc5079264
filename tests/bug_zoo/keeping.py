"""Bugs of caches, shared arrays, accumulated gradients and branches: many show only sometimes."""

from typing import Any

import numpy as np

from bug_zoo.right import (
    BatchNorm,
    Embedding,
    Linear,
    Recurrent,
    ReLU,
    Residual,
    Tanh,
    TwoWays,
)
from bug_zoo.specimen import bug, labels, normal
from tinynet import Array
from tinynet.gradcheck import Cause

ROWS = normal(5, 4)


@bug(Cause.STALE, ROWS)
class FirstBatchKept(Linear):
    first: Array | None = None

    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        if self.first is None:
            self.first = x.copy()
        self.x = self.first
        return y


@bug(Cause.STALE, ROWS)
class BatchKeptForEachSize(Linear):
    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[int, Array] = {}

    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        self.x = self.seen.setdefault(len(x), x.copy())
        return y


@bug(Cause.STALE, ROWS)
class TransposeMadeOnce(Linear):
    """A copy of the initial weight, which is stale after a training step."""

    transposed: Array | None = None

    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        if self.transposed is None:
            self.transposed = self.weight.value.T.copy()
        return dy @ self.transposed


@bug(Cause.STALE, ROWS)
class FirstMaskKept(ReLU):
    mask: Array | None = None

    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        if self.mask is None or self.mask.shape != x.shape:
            self.mask = x > 0
        return y

    def backward(self, dy: Array) -> Any:
        return dy * self.mask


@bug(Cause.STALE, ROWS)
class SizeOfTheFirstBatch(Linear):
    def forward(self, x: Array) -> Array:
        if not hasattr(self, "n"):
            self.n = len(x)
        return super().forward(x) / self.n

    def backward(self, dy: Array) -> Any:
        return super().backward(dy / len(dy))


@bug(Cause.FIXED_SIZE, ROWS)
class SizeWrittenOut(Linear):
    def forward(self, x: Array) -> Array:
        return super().forward(x) / len(x)

    def backward(self, dy: Array) -> Any:
        return super().backward(dy / 5)


@bug(Cause.ADDED, ROWS)
class AddedToTheGradient(Linear):
    def backward(self, dy: Array) -> Any:
        self.weight.grad += self.x.T @ dy
        self.bias.grad = dy.sum(axis=0)
        return dy @ self.weight.value.T


@bug(Cause.ADDED, ROWS)
class AddedUpInside(Linear):
    def __init__(self) -> None:
        super().__init__()
        self.total = np.zeros(3)

    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.total = self.total + dy.sum(axis=0)
        self.bias.grad = self.total
        return dx


@bug(Cause.IN_PLACE, ROWS)
class ReluInPlace(ReLU):
    def forward(self, x: Array) -> Array:
        self.x = x
        x[x < 0] = 0
        return x.copy()


@bug(Cause.IN_PLACE, ROWS)
class MaskAppliedToUpstream(ReLU):
    def backward(self, dy: Array) -> Any:
        dy[self.x <= 0] = 0
        return dy


@bug(Cause.IN_PLACE, normal(7, 5))
class CenteredInPlace(BatchNorm):
    def forward(self, x: Array) -> Array:
        x -= x.mean(axis=0)
        return super().forward(x)


@bug(Cause.IN_PLACE, ROWS)
class StepTakenInBackward(Linear):
    """Gradient descent inside the layer."""

    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.weight.value -= 0.1 * self.x.T @ dy
        return dx


@bug(Cause.REUSED, ROWS)
class OutputBuffer(Tanh):
    buffer: Array | None = None

    def forward(self, x: Array) -> Array:
        if self.buffer is None or self.buffer.shape != x.shape:
            self.buffer = np.empty_like(x)
        self.y = np.tanh(x)
        self.buffer[...] = self.y
        return self.buffer


@bug(Cause.REUSED, ROWS)
class GradientBuffer(Linear):
    def __init__(self) -> None:
        super().__init__()
        self.buffer = np.zeros((4, 3))

    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.buffer[...] = self.x.T @ dy
        self.weight.grad = self.buffer
        return dx


@bug(Cause.PRECISION, ROWS)
class SinglePrecision(Linear):
    def forward(self, x: Array) -> Array:
        return super().forward(x).astype(np.float32)


@bug(Cause.PRECISION, ROWS)
class SinglePrecisionBackward(Linear):
    def backward(self, dy: Array) -> Any:
        return super().backward(dy).astype(np.float32)


@bug(Cause.LAYOUT, ROWS)
class InTheOrderOfMemory(ReLU):
    def forward(self, x: Array) -> Array:
        self.mask = (x > 0).ravel("K")
        return np.maximum(x, 0)

    def backward(self, dy: Array) -> Any:
        return (dy.ravel() * self.mask).reshape(dy.shape)


@bug(Cause.OVERFLOW, lambda rng: rng.uniform(800, 900, (5, 4)))
class SigmoidOfHugeNumbers(Tanh):
    """exp(x) / (1 + exp(x)) is inf / inf where x is large."""

    def backward(self, dy: Array) -> Any:
        with np.errstate(all="ignore"):
            e = np.exp(self.x)
            return dy * e / (1 + e) ** 2


@bug(Cause.LAST_BRANCH, labels(6, 5))
class RowsAssigned(Embedding):
    """+= with repeated ids counts only the last."""

    def backward(self, dy: Array) -> Any:
        self.table.grad = np.zeros_like(self.table.value)
        self.table.grad[self.ids] += dy


@bug(Cause.LAST_BRANCH, ROWS)
class StraightWayOnly(Residual):
    def backward(self, dy: Array) -> Any:
        self.inner(dy)
        return dy.copy()


@bug(Cause.LAST_BRANCH, ROWS)
class StraightWayForgotten(Residual):
    def backward(self, dy: Array) -> Any:
        return self.inner(dy)


@bug(Cause.LAST_BRANCH, ROWS)
class SecondWayOnly(TwoWays):
    def backward(self, dy: Array) -> Any:
        dx = self.first.backward(dy)
        dx = self.second.backward(dy)
        return dx  # noqa: RET504 (the bug)


@bug(Cause.LAST_BRANCH, normal(4, 4, 3))
class LastStepOfTheRecurrence(Recurrent):
    """Through time, U is used at every step; here only the last use counts."""

    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.u.grad = self.states[-2].T @ (dy * (1 - self.states[-1] ** 2))
        return dx


@bug(Cause.TRANSPOSE, normal(4, 4, 3))
class RecurrenceWithoutTranspose(Recurrent):
    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        dx, dh = np.zeros(self.shape), dy
        for t in reversed(range(self.shape[1])):
            dx[:, t] = d = dh * (1 - self.states[t + 1] ** 2)
            dh = d @ self.u.value
        return dx


@bug(Cause.ONE_SLICE, normal(4, 4, 3))
class FirstStepForgotten(Recurrent):
    """range(T - 1, 0, -1) leaves out step 0."""

    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        dx[:, 0] = 0
        return dx
