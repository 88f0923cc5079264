"""tinynet: an object-oriented mini deep-learning framework in NumPy.

    raw uint8 images -> model.forward -> loss.forward -> loss.backward -> model.backward -> SGD.step

`layer` says what a layer is, `layers` has them, `losses` and `optimizers` train them, `gradcheck`
doubts them, and `datasets` brings MNIST.
"""

from tinynet import datasets
from tinynet.arguments import InputError
from tinynet.gradcheck import GradientCheckError, check_gradients
from tinynet.health import AnomalyError, detect_anomaly
from tinynet.history import History
from tinynet.layer import Layer
from tinynet.layers import (
    Dense,
    Dropout,
    Flatten,
    ReLU,
    Rescale,
    Sequential,
    Sigmoid,
    Tanh,
    softmax,
)
from tinynet.losses import MeanSquaredError, SoftmaxCrossEntropy
from tinynet.metrics import Accuracy, ConfusionMatrix, PrecisionRecallF1, TopKAccuracy
from tinynet.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from tinynet.parameter import Array, Parameter
from tinynet.progress import DivergenceError
from tinynet.trainer import Trainer

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Accuracy",
    "Adagrad",
    "Adam",
    "AdamW",
    "AnomalyError",
    "Array",
    "ConfusionMatrix",
    "Dense",
    "DivergenceError",
    "Dropout",
    "Flatten",
    "GradientCheckError",
    "History",
    "InputError",
    "Layer",
    "MeanSquaredError",
    "Optimizer",
    "Parameter",
    "PrecisionRecallF1",
    "RMSprop",
    "ReLU",
    "Rescale",
    "Sequential",
    "Sigmoid",
    "SoftmaxCrossEntropy",
    "Tanh",
    "TopKAccuracy",
    "Trainer",
    "check_gradients",
    "datasets",
    "detect_anomaly",
    "softmax",
]
