"""Bugs of layers and losses with several inputs or outputs, and of factors such as (1 - slope)."""

from typing import Any

import numpy as np

from bug_zoo.right import Sigmoid
from bug_zoo.specimen import Draw, bug, normal
from tinynet import Array, Layer, Parameter
from tinynet.gradcheck import Cause

ROWS = normal(5, 4)


def each(*draws: Draw) -> Draw:
    """A tuple of arrays."""
    return lambda rng: tuple(draw(rng) for draw in draws)


def padding(n: int, steps: int) -> Draw:
    """A mask that is True at the end of each sequence but the first, as wide as its number."""
    return lambda _rng: np.arange(steps) >= steps - np.arange(n)[:, None] % steps


class Product(Layer):
    """y = tanh(a) b, for x = (a, b)."""

    def forward(self, x: tuple[Array, Array]) -> Array:
        self.a, self.b = np.tanh(x[0]), x[1]
        return np.asarray(self.a * self.b)

    def backward(self, dy: Array) -> Any:
        return dy * self.b * (1 - self.a**2), dy * self.a


class TwoHeads(Layer):
    """y = (x g, tanh x)."""

    def __init__(self) -> None:
        self.g = Parameter([0.5, -1.5, 2.0, 0.7])

    def forward(self, x: Array) -> tuple[Array, Array]:
        self.x, self.h = x, np.tanh(x)
        return x * self.g.value, self.h.copy()

    def backward(self, dy: tuple[Array, Array]) -> Any:
        self.g.grad = (dy[0] * self.x).sum(axis=0)
        return dy[0] * self.g.value + dy[1] * (1 - self.h**2)


class MaskedMean(Layer):
    """The mean over the steps that are no padding, for x = (sequences, mask)."""

    def forward(self, x: tuple[Array, Array]) -> Array:
        self.weights = ~x[1] / np.maximum((~x[1]).sum(axis=1, keepdims=True), 1)
        return np.asarray(np.einsum("ntd,nt->nd", x[0], self.weights))

    def backward(self, dy: Array) -> Any:
        return dy[:, None] * self.weights[..., None], None


class TwoSquares(Layer):
    """L = mean of (z0 - t0)² + mean of (z1 - t1)², for two predictions with their targets."""

    def forward(self, z: tuple[Array, Array], t: tuple[Array, Array]) -> float:
        self.z, self.gaps = z, [z[0] - t[0], z[1] - t[1]]
        return float(sum(np.mean(gap**2) for gap in self.gaps))

    def backward(self) -> Any:
        return tuple(2 * gap / gap.size for gap in self.gaps)


class SmoothLeakyReLU(Layer):
    """y = slope x + (1 - slope) log(1 + exp(x))."""

    def __init__(self, slope: float = 0.2) -> None:
        self.slope = slope

    def forward(self, x: Array) -> Array:
        self.x = x
        return np.asarray(self.slope * x + (1 - self.slope) * np.logaddexp(0, x))

    def backward(self, dy: Array) -> Any:
        return dy * (self.slope + (1 - self.slope) / (1 + np.exp(-self.x)))


@bug(Cause.ARRAYS, each(ROWS, ROWS))
class GradientsExchanged(Product):
    def backward(self, dy: Array) -> Any:
        return super().backward(dy)[::-1]


@bug(Cause.ARRAYS, each(ROWS, ROWS))
class GradientsStacked(Product):
    """One array in place of a tuple."""

    def backward(self, dy: Array) -> Any:
        return np.stack(super().backward(dy))


@bug(Cause.ARRAYS, ROWS)
class UpstreamsExchanged(TwoHeads):
    def backward(self, dy: tuple[Array, Array]) -> Any:
        return super().backward((dy[1], dy[0]))


@bug(Cause.LAST_BRANCH, ROWS)
class SecondHeadForgotten(TwoHeads):
    def backward(self, dy: tuple[Array, Array]) -> Any:
        return super().backward((dy[0], np.zeros_like(dy[1])))


@bug(Cause.MASK, each(normal(4, 5, 3), padding(4, 5)))
class PaddingGetsAGradient(MaskedMean):
    def backward(self, dy: Array) -> Any:
        shares = np.broadcast_to(self.weights.max(axis=1, keepdims=True), self.weights.shape)
        return dy[:, None] * shares[..., None], None


@bug(Cause.STALE, each(ROWS, ROWS))
class FirstSecondInput(Product):
    def forward(self, x: tuple[Array, Array]) -> Array:
        y = super().forward(x)
        if getattr(self, "first", self.b[:0]).shape != x[1].shape:
            self.first = x[1].copy()
        self.b = self.first
        return y


@bug(Cause.TARGET_TERM, each(ROWS, normal(5, 3)), each(ROWS, normal(5, 3)))
class SecondTargetForgotten(TwoSquares):
    def backward(self) -> Any:
        return super().backward()[0], 2 * self.z[1] / self.z[1].size


@bug(Cause.FACTOR_OF_A_TENSOR, ROWS)
class SlopeOfOneTerm(SmoothLeakyReLU):
    """Without the factor (1 - slope)."""

    def backward(self, dy: Array) -> Any:
        return dy * (self.slope + 1 / (1 + np.exp(-self.x)))


@bug(Cause.FACTOR_OF_A_TENSOR, ROWS)
class HalfTheSigmoid(Sigmoid):
    """y in place of y (1 - y)."""

    def backward(self, dy: Array) -> Any:
        return dy * self.y
