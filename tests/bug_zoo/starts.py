"""Bugs that initial parameters hide, and factors that only look constant."""

from typing import Any

import numpy as np

from bug_zoo.right import CrossEntropy, Gain, Linear, MeanSquare, Norm, Sigmoid
from bug_zoo.specimen import bug, labels, normal
from tinynet import Array, Layer, Parameter
from tinynet.gradcheck import Cause

ROWS, WIDE = normal(5, 4), normal(7, 5)


class FreshNorm(Norm):
    """With gains of 1 and shifts of 0, as in a new layer."""

    def __init__(self) -> None:
        self.gamma, self.beta = Parameter(np.ones(5)), Parameter(np.zeros(5))


@bug(Cause.FACTOR_OF_A_TENSOR, WIDE)
class FreshNormWithoutGamma(FreshNorm):
    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        share = (dy * self.normal).mean(axis=0)
        return (dy - dy.mean(axis=0) - self.normal * share) / self.deviation


@bug(Cause.FACTOR_OF_A_TENSOR, ROWS)
class FreshGainLeftOut(Gain):
    def __init__(self) -> None:
        self.g = Parameter(np.ones(4))

    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        return dy.copy()


@bug(Cause.OWN_SLOPE, ROWS)
class ReZeroStraightOnly(Layer):
    """y = x + a tanh(x), with an initial a of 0."""

    def __init__(self) -> None:
        self.a = Parameter(np.zeros(1))

    def forward(self, x: Array) -> Array:
        self.t = np.tanh(x)
        return np.asarray(x + self.a.value * self.t)

    def backward(self, dy: Array) -> Any:
        self.a.grad = np.array([(dy * self.t).sum()])
        return dy.copy()


@bug(Cause.TRANSPOSE, ROWS)
class IdentityWithoutTranspose(Linear):
    def __init__(self) -> None:
        super().__init__(4, 4)
        self.weight = Parameter(np.eye(4))

    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        return dy @ self.weight.value


@bug(Cause.FACTOR_OF_A_TENSOR, ROWS)
class LengthWithoutDivision(Layer):
    """y = |x|, row by row; its slope is x / y."""

    def forward(self, x: Array) -> Array:
        self.x = x
        return np.asarray(np.sqrt((x**2).sum(axis=1)))

    def backward(self, dy: Array) -> Any:
        return dy[:, None] * self.x


@bug(Cause.FACTOR_OF_A_TENSOR, ROWS, ROWS)
class RootLeftOut(MeanSquare):
    """The root of the mean square, with the gradient of the mean square."""

    def forward(self, z: Array, t: Array) -> float:
        self.gap = z - t
        return float(np.sqrt(np.mean(self.gap**2)))

    def backward(self) -> Any:
        return 2 * self.gap / self.gap.size


@bug(Cause.FACTOR_OF_A_TENSOR, ROWS)
class DividedByTheLargest(Sigmoid):
    def backward(self, dy: Array) -> Any:
        return super().backward(dy) / np.abs(self.x).max()


@bug(Cause.TARGET_TERM, ROWS, ROWS)
class TargetAdded(MeanSquare):
    def forward(self, z: Array, t: Array) -> float:
        self.z, self.t = z, t
        return super().forward(z, t)

    def backward(self) -> Any:
        return 2 * (self.z + self.t) / len(self.z)


@bug(Cause.TARGET_TERM, ROWS, labels(5, 4))
class LabelTwice(CrossEntropy):
    def backward(self) -> Any:
        dz = self.p.copy()
        dz[np.arange(len(dz)), self.labels] -= 2
        return dz / len(dz)


@bug(Cause.WRONG_AXES, ROWS)
class LogSumExpSpreadEvenly(Layer):
    """y = log Σ exp(x); each x gets the same share of dy."""

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return np.asarray(np.log(np.exp(x).sum(axis=1)))

    def backward(self, dy: Array) -> Any:
        return np.repeat(dy[:, None], self.shape[1], axis=1) / self.shape[1]


@bug(Cause.COMPLEMENT, normal(5, 6))
class GatheredOffByOne(Layer):
    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return x[:, [0, 2, 4]]

    def backward(self, dy: Array) -> Any:
        dx = np.zeros(self.shape)
        dx[:, [1, 3, 5]] = dy
        return dx
