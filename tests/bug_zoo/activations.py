"""Bugs of activations, softmax, dropout and pooling: slopes, masks, confused variables."""

from typing import Any

import numpy as np

from bug_zoo.right import (
    Dropout,
    LogSoftmax,
    MaxPool,
    MeanOverTime,
    ReLU,
    Sigmoid,
    SlidingMax,
    Softmax,
    Tanh,
)
from bug_zoo.specimen import bug, normal
from tinynet import Array, Layer
from tinynet.gradcheck import Cause

ROWS = normal(5, 4)


@bug(Cause.MASK, ROWS)
class ReluWithoutMask(ReLU):
    def backward(self, dy: Array) -> Any:
        return dy.copy()


@bug(Cause.COMPLEMENT, ROWS)
class ReluMaskTurned(ReLU):
    def backward(self, dy: Array) -> Any:
        return dy * (self.x <= 0)


@bug(Cause.UPSTREAM, ROWS)
class ReluIgnoresUpstream(ReLU):
    def backward(self, dy: Array) -> Any:  # noqa: ARG002 (the bug)
        return (self.x > 0).astype(float)


@bug(Cause.NONLINEAR, ROWS)
class ReluMasksUpstream(ReLU):
    """The mask of dy in place of that of x."""

    def backward(self, dy: Array) -> Any:
        return dy * (dy > 0)


@bug(Cause.LEFT_OUT, ROWS)
class ReluSetsToZero(ReLU):
    def backward(self, dy: Array) -> Any:
        return np.zeros_like(dy)


@bug(Cause.OWN_SLOPE, ROWS)
class SigmoidWithoutSlope(Sigmoid):
    def backward(self, dy: Array) -> Any:
        return dy.copy()


@bug(Cause.INPUT_FOR_OUTPUT, ROWS)
class SigmoidOfX(Sigmoid):
    def backward(self, dy: Array) -> Any:
        return dy * self.x * (1 - self.x)


@bug(Cause.UPSTREAM, ROWS)
class SigmoidIgnoresUpstream(Sigmoid):
    def backward(self, dy: Array) -> Any:  # noqa: ARG002 (the bug)
        return self.y * (1 - self.y)


@bug(Cause.INPUT_FOR_OUTPUT, ROWS)
class TanhOfX(Tanh):
    def backward(self, dy: Array) -> Any:
        return dy * (1 - self.x**2)


@bug(Cause.FACTOR, ROWS)
class TanhTwice(Tanh):
    def backward(self, dy: Array) -> Any:
        return 2 * super().backward(dy)


@bug(Cause.SIGN, ROWS)
class TanhSignTurned(Tanh):
    def backward(self, dy: Array) -> Any:
        return dy * (self.y**2 - 1)


@bug(Cause.NONLINEAR, ROWS)
class GradientClipped(Tanh):
    def backward(self, dy: Array) -> Any:
        return np.clip(super().backward(dy), -0.5, 0.5)


@bug(Cause.NONLINEAR, ROWS)
class GradientNormalized(Tanh):
    def backward(self, dy: Array) -> Any:
        return super().backward(dy) / np.linalg.norm(dy)


@bug(Cause.INPUT_FOR_OUTPUT, ROWS)
class ExpOfY(Layer):
    """y = exp(x); its slope is y itself, not exp(y)."""

    def forward(self, x: Array) -> Array:
        self.y = np.exp(x)
        return self.y.copy()

    def backward(self, dy: Array) -> Any:
        return dy * np.exp(self.y)


@bug(Cause.FACTOR, ROWS)
class SquareWithoutTwo(Layer):
    def forward(self, x: Array) -> Array:
        self.x = x
        return np.square(x)

    def backward(self, dy: Array) -> Any:
        return dy * self.x


@bug(Cause.CROSS_TERMS, ROWS)
class SoftmaxDiagonal(Softmax):
    def backward(self, dy: Array) -> Any:
        return dy * self.y * (1 - self.y)


@bug(Cause.MEAN_TERM, ROWS)
class SoftmaxWithoutSum(Softmax):
    def backward(self, dy: Array) -> Any:
        return dy * self.y


@bug(Cause.MEAN_TERM, ROWS)
class LogSoftmaxWithoutSum(LogSoftmax):
    def backward(self, dy: Array) -> Any:
        return dy.copy()


@bug(Cause.MASK, ROWS)
class DropoutWithoutMask(Dropout):
    def backward(self, dy: Array) -> Any:
        return dy / self.keep


@bug(Cause.FACTOR, ROWS)
class DropoutWithoutScale(Dropout):
    def backward(self, dy: Array) -> Any:
        return dy * self.mask


@bug(Cause.COMPLEMENT, ROWS)
class DropoutOfTheDropped(Dropout):
    def backward(self, dy: Array) -> Any:
        return dy * ~self.mask / self.keep


@bug(Cause.RANDOMNESS, ROWS)
class DropoutDrawsAgain(Dropout):
    def backward(self, dy: Array) -> Any:
        return dy * (self.rng.random(dy.shape) < self.keep) / self.keep


@bug(Cause.RANDOMNESS, ROWS)
class DropoutOutOfNowhere(Dropout):
    def forward(self, x: Array) -> Array:
        self.mask = np.random.default_rng().random(x.shape) < self.keep
        return x * self.mask / self.keep


@bug(Cause.MASK, normal(4, 6))
class PoolToBoth(MaxPool):
    """Every entry gets the gradient of the larger one."""

    def backward(self, dy: Array) -> Any:
        return np.repeat(dy, 2, axis=1)


@bug(Cause.COMPLEMENT, normal(4, 6))
class PoolToTheSmaller(MaxPool):
    def backward(self, dy: Array) -> Any:
        smaller = self.pairs.argmin(axis=2)[..., None] == np.arange(2)
        return (dy[..., None] * smaller).reshape(len(dy), -1)


@bug(Cause.LAST_BRANCH, normal(5, 7))
class PoolAssigned(SlidingMax):
    """= in place of +=: one entry may be the largest of several windows."""

    def backward(self, dy: Array) -> Any:
        dx = np.zeros(self.shape)
        for n, t in np.ndindex(*dy.shape):
            dx[n, t + self.index[n, t]] = dy[n, t]
        return dx


@bug(Cause.FACTOR, normal(3, 5, 2))
class MeanWithoutDivision(MeanOverTime):
    def backward(self, dy: Array) -> Any:
        return np.repeat(dy[:, None], self.shape[1], axis=1)
