"""tinynet: an object-oriented mini deep-learning framework in NumPy.

    raw uint8 images -> model.forward -> loss.forward -> loss.backward -> model.backward -> SGD.step

What a training step runs through is imported here: layers, losses and optimizers. What stands
beside it, such as the trainer, the gradient check and the datasets, is imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tinynet.errors import (
    AnomalyError,
    CheckpointError,
    DatasetError,
    DivergenceError,
    EmptyBatchError,
    GradientCheckError,
    InputError,
    ShapeError,
)
from tinynet.functional import softmax
from tinynet.layer import Layer
from tinynet.layers import (
    ELU,
    GELU,
    GRU,
    LSTM,
    RNN,
    AvgPool2D,
    BatchNorm,
    Concatenate,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAvgPool2D,
    GroupNorm,
    Lambda,
    LayerNorm,
    LeakyReLU,
    LogSoftmax,
    MaxPool2D,
    MultiHeadAttention,
    Parallel,
    Permute,
    PositionalEmbedding,
    ReLU,
    Rescale,
    Reshape,
    Residual,
    RMSNorm,
    Select,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Sum,
    Tanh,
    TransformerBlock,
    UpSample2D,
)
from tinynet.losses import (
    BinaryCrossEntropy,
    Hinge,
    Huber,
    KLDivergence,
    MeanAbsoluteError,
    MeanSquaredError,
    SoftmaxCrossEntropy,
)
from tinynet.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from tinynet.parameter import Array, Parameter

if TYPE_CHECKING:
    from tinynet import datasets
    from tinynet.gradcheck import check_gradients
    from tinynet.health import detect_anomaly, preflight
    from tinynet.training.history import History
    from tinynet.training.metrics import Accuracy, ConfusionMatrix, PrecisionRecallF1, TopKAccuracy
    from tinynet.training.trainer import Trainer

__version__ = "0.1.0"

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "SGD",
    "Accuracy",
    "Adagrad",
    "Adam",
    "AdamW",
    "AnomalyError",
    "Array",
    "AvgPool2D",
    "BatchNorm",
    "BinaryCrossEntropy",
    "CheckpointError",
    "Concatenate",
    "ConfusionMatrix",
    "Conv2D",
    "ConvTranspose2D",
    "DatasetError",
    "Dense",
    "DivergenceError",
    "Dropout",
    "Embedding",
    "EmptyBatchError",
    "Flatten",
    "GlobalAvgPool2D",
    "GradientCheckError",
    "GroupNorm",
    "Hinge",
    "History",
    "Huber",
    "InputError",
    "KLDivergence",
    "Lambda",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LogSoftmax",
    "MaxPool2D",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "MultiHeadAttention",
    "Optimizer",
    "Parallel",
    "Parameter",
    "Permute",
    "PositionalEmbedding",
    "PrecisionRecallF1",
    "RMSNorm",
    "RMSprop",
    "ReLU",
    "Rescale",
    "Reshape",
    "Residual",
    "Select",
    "Sequential",
    "ShapeError",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Softplus",
    "Sum",
    "Tanh",
    "TopKAccuracy",
    "Trainer",
    "TransformerBlock",
    "UpSample2D",
    "check_gradients",
    "datasets",
    "detect_anomaly",
    "preflight",
    "softmax",
]

_LAZY = {
    "check_gradients": "tinynet.gradcheck",
    "detect_anomaly": "tinynet.health",
    "preflight": "tinynet.health",
    "History": "tinynet.training.history",
    "Accuracy": "tinynet.training.metrics",
    "ConfusionMatrix": "tinynet.training.metrics",
    "PrecisionRecallF1": "tinynet.training.metrics",
    "TopKAccuracy": "tinynet.training.metrics",
    "Trainer": "tinynet.training.trainer",
}


if not TYPE_CHECKING:  # else a type checker would accept any name

    def __getattr__(name: str) -> Any:
        if name == "datasets":
            return import_module("tinynet.datasets")
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_LAZY[name]), name)
        return value
