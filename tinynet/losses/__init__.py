"""Losses: layers that compare a prediction with targets and return one number to minimize."""

from tinynet.losses.binary import BinaryCrossEntropy
from tinynet.losses.cross_entropy import SoftmaxCrossEntropy
from tinynet.losses.divergence import KLDivergence
from tinynet.losses.margin import Hinge
from tinynet.losses.regression import Huber, MeanAbsoluteError, MeanSquaredError

__all__ = [
    "BinaryCrossEntropy",
    "Hinge",
    "Huber",
    "KLDivergence",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SoftmaxCrossEntropy",
]
