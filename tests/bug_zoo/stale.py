"""Bugs of stale caches: something of an earlier batch is cut or repeated to the present size."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bug_zoo.right import (
    BatchNorm,
    Convolution,
    CrossEntropy,
    Dropout,
    Embedding,
    Linear,
    MaxPool,
    MeanSquare,
    ReLU,
    Softmax,
    Tanh,
)
from bug_zoo.specimen import bug, labels, normal
from tinynet import Array, Layer
from tinynet.gradcheck import Cause

ROWS = normal(5, 4)

Choice = Callable[[list[Array]], Array]  # from all arrays so far, the present one last


def first(seen: list[Array]) -> Array:
    return seen[0]


def previous(seen: list[Array]) -> Array:
    return seen[-2:][0]


def largest(seen: list[Array]) -> Array:
    return max(seen, key=len)


def smallest(seen: list[Array]) -> Array:
    return min(reversed(seen), key=len)


def first_of_each_shape(seen: list[Array]) -> Array:
    return next(array for array in seen if array.shape == seen[-1].shape)


def last_of_another_size(seen: list[Array]) -> Array:
    return ([array for array in seen if len(array) != len(seen[-1])] or seen)[-1]


class Kept:
    """A cache: called with an array, it returns one that it was called with, in the same size."""

    def __init__(self, choice: Choice, *, copies: bool = True) -> None:
        self.choice, self.copies = choice, copies
        self.seen: list[Array] = []

    def __call__(self, array: Array) -> Array:
        self.seen.append(array.copy() if self.copies else array)
        kept = self.choice(self.seen)
        return kept[np.arange(len(array)) % len(kept)]


class KeptInput(Linear):
    """The gradient of the weight is that of a kept x."""

    choice: Choice = staticmethod(first)
    copies = True

    def __init__(self) -> None:
        super().__init__()
        self.kept = Kept(self.choice, copies=self.copies)

    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        self.x = self.kept(x)
        return y


@bug(Cause.STALE, ROWS)
class FirstBatchCut(KeptInput):
    choice = staticmethod(first)


@bug(Cause.STALE, ROWS)
class PreviousBatchCut(KeptInput):
    choice = staticmethod(previous)


@bug(Cause.STALE, ROWS)
class LargestBatchCut(KeptInput):
    choice = staticmethod(largest)


@bug(Cause.STALE, ROWS)
class SmallestBatchRepeated(KeptInput):
    choice = staticmethod(smallest)


@bug(Cause.STALE, ROWS)
class FirstBatchOfEachShape(KeptInput):
    choice = staticmethod(first_of_each_shape)
    copies = False


@bug(Cause.STALE, ROWS)
class LastBatchOfAnotherSize(KeptInput):
    choice = staticmethod(last_of_another_size)


@bug(Cause.STALE, ROWS)
class KeptByTheArray(Linear):
    """An array that is filled with the next batch has the same id."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: dict[int, Array] = {}

    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        self.x = self.copies.setdefault(id(x), x.copy())
        return y


@bug(Cause.STALE, ROWS)
class TransposeKeptByTheArray(Linear):
    """An optimizer changes the weight in place: it is the same array afterwards."""

    of: Array | None = None

    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        if self.of is not self.weight.value:
            self.of, self.transposed = self.weight.value, self.weight.value.T.copy()
        return dy @ self.transposed


@bug(Cause.STALE, ROWS)
class FirstBatchWithoutDx(Linear):
    """Only `backward_parameters` is wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = Kept(first)

    def backward_parameters(self, dy: Array) -> None:
        self.x = self.kept(self.x)
        self.backward(dy)


@bug(Cause.STALE, ROWS)
class FirstMaskCut(ReLU):
    def __init__(self) -> None:
        self.kept = Kept(first)

    def forward(self, x: Array) -> Array:
        self.x = self.kept(x > 0)
        return np.maximum(x, 0)


@bug(Cause.STALE, ROWS)
class FirstClippingMask(Layer):
    """y = x between -1 and 1: the mask is the same for x and -x."""

    def __init__(self) -> None:
        self.kept = Kept(first_of_each_shape)

    def forward(self, x: Array) -> Array:
        self.mask = self.kept(np.abs(x) < 1)
        return np.clip(x, -1, 1)

    def backward(self, dy: Array) -> Any:
        return dy * self.mask


@bug(Cause.STALE, normal(4, 6))
class FirstLargestIndex(MaxPool):
    def __init__(self) -> None:
        self.kept = Kept(first)

    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        self.pairs = self.kept(self.pairs)
        return y


@bug(Cause.STALE, ROWS)
class FirstOutputKept(Tanh):
    def __init__(self) -> None:
        self.kept = Kept(first)

    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        self.y = self.kept(self.y)
        return y


@bug(Cause.STALE, ROWS)
class PreviousProbabilities(Softmax):
    def __init__(self) -> None:
        self.kept = Kept(previous)

    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        self.y = self.kept(self.y)
        return y


@bug(Cause.STALE, normal(7, 5))
class FirstDeviation(BatchNorm):
    def __init__(self) -> None:
        super().__init__()
        self.kept = Kept(first)

    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        self.deviation = self.kept(self.deviation)
        return y


@bug(Cause.STALE, normal(4, 7))
class FirstColumns(Convolution):
    def __init__(self) -> None:
        super().__init__()
        self.kept = Kept(first)

    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        self.x = self.kept(x)
        return y


@bug(Cause.STALE, labels(6, 5))
class FirstIds(Embedding):
    def __init__(self) -> None:
        super().__init__()
        self.kept = Kept(first)

    def forward(self, ids: Array) -> Array:
        y = super().forward(ids)
        self.ids = self.kept(ids)
        return y


@bug(Cause.STALE, ROWS)
class FirstDropoutMask(Dropout):
    def __init__(self) -> None:
        super().__init__()
        self.kept = Kept(first)

    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        self.mask = self.kept(self.mask)
        return y


@bug(Cause.STALE, ROWS, ROWS)
class FirstTargets(MeanSquare):
    def __init__(self) -> None:
        self.kept = Kept(first)

    def forward(self, z: Array, t: Array) -> float:
        loss = super().forward(z, t)
        self.gap = z - self.kept(t)
        return loss


@bug(Cause.STALE, ROWS, labels(5, 4))
class FirstLabels(CrossEntropy):
    def __init__(self) -> None:
        self.kept = Kept(first)

    def forward(self, z: Array, labels: Array) -> float:
        loss = super().forward(z, labels)
        self.labels = self.kept(labels)
        return loss
