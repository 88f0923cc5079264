"""Bugs of normalization, where the mean and the deviation depend on x, too."""

from typing import Any

import numpy as np

from bug_zoo.right import BatchNorm, LayerNorm
from bug_zoo.specimen import bug, normal
from tinynet import Array
from tinynet.gradcheck import Cause

ROWS = normal(7, 5)


@bug(Cause.MEAN_TERM, ROWS)
class NormOfConstants(BatchNorm):
    """As if mean and deviation were constants."""

    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        return dy * self.gamma.value / self.deviation


@bug(Cause.MEAN_TERM, ROWS)
class NormWithoutMean(BatchNorm):
    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        d = dy * self.gamma.value
        return (d - self.normal * (d * self.normal).mean(axis=0)) / self.deviation


@bug(Cause.MEAN_TERM, ROWS)
class NormWithoutShare(BatchNorm):
    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        d = dy * self.gamma.value
        return (d - d.mean(axis=0)) / self.deviation


@bug(Cause.MEAN_TERM, ROWS)
class LayerNormOfConstants(LayerNorm):
    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        return dy * self.gamma.value / self.deviation


@bug(Cause.MEAN_TERM, ROWS)
class LayerNormWithoutMean(LayerNorm):
    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        d = dy * self.gamma.value
        share = (d * self.normal).mean(axis=1, keepdims=True)
        return (d - self.normal * share) / self.deviation


@bug(Cause.MEAN_TERM, ROWS)
class VarianceOfNMinusOne(BatchNorm):
    """Forward divides the variance by N, backward by N - 1."""

    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        d, n = dy * self.gamma.value, len(dy)
        share = (d * self.normal).sum(axis=0) / (n - 1)
        return (d - d.mean(axis=0) - self.normal * share) / self.deviation


@bug(Cause.FACTOR_OF_A_TENSOR, ROWS)
class NormWithoutGamma(BatchNorm):
    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        share = (dy * self.normal).mean(axis=0)
        return (dy - dy.mean(axis=0) - self.normal * share) / self.deviation


@bug(Cause.WRONG_AXES, ROWS)
class GammaSumsEverything(BatchNorm):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.gamma.grad = np.full(5, (dy * self.normal).sum())
        return dx


@bug(Cause.FACTOR_N, ROWS)
class GammaIsMean(BatchNorm):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.gamma.grad = (dy * self.normal).mean(axis=0)
        return dx


@bug(Cause.SIGN, ROWS)
class BetaSignTurned(LayerNorm):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.beta.grad = -dy.sum(axis=0)
        return dx
