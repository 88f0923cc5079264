"""Bugs of losses: the mean, the target term, the sign, and reused arrays."""

from typing import Any

import numpy as np

from bug_zoo.right import (
    Absolute,
    BinaryCrossEntropy,
    CrossEntropy,
    Hinge,
    Huber,
    MeanSquare,
)
from bug_zoo.specimen import bug, labels, normal
from tinynet import Array
from tinynet.gradcheck import Cause

ROWS, CLASSES, SIGNS = normal(5, 4), labels(5, 4), lambda rng: rng.choice([-1.0, 1.0], (5, 4))


@bug(Cause.FACTOR_N, ROWS, ROWS)
class SquareWithoutMean(MeanSquare):
    def backward(self) -> Any:
        return 2 * self.gap


@bug(Cause.FACTOR, ROWS, ROWS)
class SquareWithoutTheTwo(MeanSquare):
    def backward(self) -> Any:
        return self.gap / len(self.gap)


@bug(Cause.FACTOR, ROWS, ROWS)
class SquareOverAllEntries(MeanSquare):
    """Forward is the mean over rows, backward over all entries."""

    def backward(self) -> Any:
        return 2 * self.gap / self.gap.size


@bug(Cause.SIGN, ROWS, ROWS)
class TargetMinusPrediction(MeanSquare):
    def backward(self) -> Any:
        return -2 * self.gap / len(self.gap)


@bug(Cause.IN_PLACE, ROWS, ROWS)
class GapInPlace(MeanSquare):
    def forward(self, z: Array, t: Array) -> float:
        z -= t
        self.gap = z
        return float(np.sum(z**2) / len(z))


@bug(Cause.FACTOR_N, ROWS, CLASSES)
class CrossEntropyWithoutMean(CrossEntropy):
    def backward(self) -> Any:
        return super().backward() * len(self.p)


@bug(Cause.SIGN, ROWS, CLASSES)
class LabelMinusProbability(CrossEntropy):
    def backward(self) -> Any:
        return -super().backward()


@bug(Cause.TARGET_TERM, ROWS, CLASSES)
class LabelTermLeftOut(CrossEntropy):
    """p / N, without the 1 at the label."""

    def backward(self) -> Any:
        return self.p / len(self.p)


@bug(Cause.REUSED, ROWS, CLASSES)
class GradientBufferKept(CrossEntropy):
    def forward(self, z: Array, labels: Array) -> float:
        loss = super().forward(z, labels)
        if getattr(self, "dz", self.p[:0]).shape != z.shape:
            self.dz = np.empty_like(z)
        return loss

    def backward(self) -> Any:
        self.dz[...] = super().backward()
        return self.dz


@bug(Cause.FACTOR_N, ROWS, lambda rng: rng.random((5, 4)))
class BinaryWithoutMean(BinaryCrossEntropy):
    def backward(self) -> Any:
        return 1 / (1 + np.exp(-self.z)) - self.t


@bug(Cause.COMPLEMENT, ROWS, SIGNS)
class HingeTurned(Hinge):
    def backward(self) -> Any:
        return np.where(self.t * self.z > 1, -self.t, 0.0) / self.z.size


@bug(Cause.MASK, ROWS, SIGNS)
class HingeWithoutMargin(Hinge):
    def backward(self) -> Any:
        return -self.t / self.z.size


@bug(Cause.FACTOR, ROWS, ROWS)
class HuberDoubled(Huber):
    def backward(self) -> Any:
        return 2 * super().backward()


@bug(Cause.SIGN, ROWS, ROWS)
class AbsoluteSignTurned(Absolute):
    def backward(self) -> Any:
        return -np.sign(self.d)
