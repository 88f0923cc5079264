"""tinynet: an object-oriented mini deep-learning framework in NumPy.

    raw uint8 images -> model.forward -> loss.forward -> loss.backward -> model.backward -> SGD.step

`layer` says what a layer is, `layers` has them, `losses` and `optimizers` train them, `gradcheck`
doubts them, and `datasets` brings MNIST.
"""

from tinynet import datasets
from tinynet.arguments import InputError
from tinynet.gradcheck import GradientCheckError, check_gradients
from tinynet.layer import Layer
from tinynet.layers import Dense, Flatten, ReLU, Rescale, Sequential
from tinynet.losses import SoftmaxCrossEntropy, softmax
from tinynet.optimizers import SGD
from tinynet.parameter import Array, Parameter

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Array",
    "Dense",
    "Flatten",
    "GradientCheckError",
    "InputError",
    "Layer",
    "Parameter",
    "ReLU",
    "Rescale",
    "Sequential",
    "SoftmaxCrossEntropy",
    "check_gradients",
    "datasets",
    "softmax",
]
