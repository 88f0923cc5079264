"""A loss says in one number how far a prediction is from the target, and which way leads down."""

from tinynet.losses.cross_entropy import SoftmaxCrossEntropy
from tinynet.losses.regression import MeanSquaredError

__all__ = ["MeanSquaredError", "SoftmaxCrossEntropy"]
