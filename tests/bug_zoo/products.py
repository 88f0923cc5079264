"""Bugs of layers with weights: sums over wrong axes, transposes, factors, signs."""

from typing import Any

import numpy as np

from bug_zoo.right import Convolution, Gain, Linear, Norm, OverTime, SquareLinear
from bug_zoo.specimen import bug, normal
from tinynet import Array
from tinynet.gradcheck import Cause

ROWS, SQUARE, WIDE, LONG = normal(5, 4), normal(4, 4), normal(6, 5), normal(4, 7)


@bug(Cause.WRONG_AXES, ROWS)
class BiasSumsEverything(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.bias.grad = np.full(3, np.sum(dy))
        return dx


@bug(Cause.WRONG_AXES, ROWS)
class BiasIsOneNumber(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.bias.grad = np.sum(dy)
        return dx


@bug(Cause.WRONG_AXES, ROWS)
class BiasNotSummed(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.bias.grad = dy
        return dx


@bug(Cause.WRONG_AXES, SQUARE)
class BiasSumsUnits(SquareLinear):
    """With as many samples as units the shape is right."""

    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.bias.grad = dy.sum(axis=1)
        return dx


@bug(Cause.EXTRA_AXIS, ROWS)
class BiasKeepsAxis(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.bias.grad = dy.sum(axis=0, keepdims=True)
        return dx


@bug(Cause.FACTOR_N, ROWS)
class BiasIsMean(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.bias.grad = dy.mean(axis=0)
        return dx


@bug(Cause.FACTOR_N, ROWS)
class WeightTimesN(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.weight.grad = len(dy) * (self.x.T @ dy)
        return dx


@bug(Cause.FACTOR_N, ROWS)
class DxIsMean(Linear):
    def backward(self, dy: Array) -> Any:
        return super().backward(dy) / len(dy)


@bug(Cause.TRANSPOSE, ROWS)
class WeightTransposed(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.weight.grad = dy.T @ self.x
        return dx


@bug(Cause.TRANSPOSE, ROWS)
class SquareWeightTransposed(SquareLinear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.weight.grad = dy.T @ self.x
        return dx


@bug(Cause.TRANSPOSE, ROWS)
class DxWithoutTranspose(SquareLinear):
    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        return dy @ self.weight.value


@bug(Cause.TRANSPOSE, ROWS)
class ProductDoesNotFit(Linear):
    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        return dy @ self.weight.value


@bug(Cause.TRANSPOSE, ROWS)
class ReshapedForTransposed(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.weight.grad = (dy.T @ self.x).reshape(4, 3)
        return dx


@bug(Cause.SIGN, ROWS)
class WeightSignTurned(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.weight.grad = -self.x.T @ dy
        return dx


@bug(Cause.LEFT_OUT, ROWS)
class BiasForgotten(Linear):
    def backward(self, dy: Array) -> Any:
        self.weight.grad = self.x.T @ dy
        return dy @ self.weight.value.T


@bug(Cause.LEFT_OUT, ROWS)
class BiasZero(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.bias.grad = np.zeros(3)
        return dx


@bug(Cause.LEFT_OUT, ROWS)
class DxForgotten(Linear):
    def backward(self, dy: Array) -> Any:
        super().backward(dy)


@bug(Cause.NOT_FROM_DY, ROWS)
class WeightDecayInBackward(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.weight.grad = self.x.T @ dy + 1e-2 * self.weight.value
        return dx


@bug(Cause.FACTOR_OF_A_TENSOR, ROWS)
class GainLeftOut(Gain):
    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        return dy.copy()


@bug(Cause.WRONG_AXES, ROWS)
class GainSumsEverything(Gain):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.g.grad = np.full(4, (dy * self.x).sum())
        return dx


@bug(Cause.WRONG_AXES, SQUARE)
class GainSumsFeatures(Gain):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.g.grad = (dy * self.x).sum(axis=1)
        return dx


@bug(Cause.FACTOR_OF_A_TENSOR, ROWS)
class GainTwice(Gain):
    def backward(self, dy: Array) -> Any:
        return super().backward(dy) * self.g.value


@bug(Cause.WRONG_AXES, WIDE)
class BetaSumsEverything(Norm):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.beta.grad = np.full(5, dy.sum())
        return dx


@bug(Cause.TRANSPOSE, LONG)
class FilterFlipped(Convolution):
    """True convolution in backward, correlation in forward."""

    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        assert self.filter.grad is not None
        self.filter.grad = self.filter.grad[::-1].copy()
        return dx


@bug(Cause.LAST_BRANCH, LONG)
class OverlapAssigned(Convolution):
    """= in place of +=: windows overlap."""

    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        steps, dx = dy.shape[1], np.zeros_like(self.x)
        for k in range(3):
            dx[:, k : k + steps] = self.filter.value[k] * dy
        return dx


@bug(Cause.LAST_BRANCH, normal(4, 5, 3))
class LastStepOnly(OverTime):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.weight.grad = self.x[:, -1].T @ dy[:, -1]
        return dx


@bug(Cause.LAST_BRANCH, normal(4, 5, 3))
class AssignedInTheLoop(OverTime):
    """The gradient of the last sample: each one replaces that before."""

    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        for n in range(len(dy)):
            self.weight.grad = self.x[n].T @ dy[n]
        return dx
