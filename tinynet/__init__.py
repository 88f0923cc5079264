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
from tinynet.layers.activation import (
    ELU,
    GELU,
    Lambda,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from tinynet.layers.attention import MultiHeadAttention
from tinynet.layers.bidirectional import Bidirectional
from tinynet.layers.branches import Concatenate, Heads, Parallel, Residual, Sum
from tinynet.layers.convolution import Conv2D, ConvTranspose2D
from tinynet.layers.dense import Dense
from tinynet.layers.dropout import Dropout
from tinynet.layers.embedding import Embedding, PositionalEmbedding
from tinynet.layers.masking import GlobalPool1D, Masking
from tinynet.layers.normalization import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from tinynet.layers.pooling import AvgPool2D, GlobalAvgPool2D, MaxPool2D, UpSample2D
from tinynet.layers.reshape import Flatten, Permute, Rescale, Reshape, Select, Standardize
from tinynet.layers.rnn import GRU, LSTM, RNN
from tinynet.layers.sequential import Sequential
from tinynet.layers.softmax import LogSoftmax, Softmax
from tinynet.layers.transformer import TransformerBlock
from tinynet.losses.binary import BinaryCrossEntropy
from tinynet.losses.cross_entropy import SoftmaxCrossEntropy
from tinynet.losses.divergence import KLDivergence
from tinynet.losses.loss import Loss, MultiTaskLoss
from tinynet.losses.margin import Hinge
from tinynet.losses.regression import Huber, MeanAbsoluteError, MeanSquaredError
from tinynet.mode import inference
from tinynet.optimizers.adaptive import Adagrad, Adam, AdamW, RMSprop
from tinynet.optimizers.optimizer import Optimizer, no_decay_on_biases_and_norms
from tinynet.optimizers.sgd import SGD
from tinynet.parameter import Array, Parameter

if TYPE_CHECKING:
    from tinynet import datasets
    from tinynet.gradcheck import check_gradients
    from tinynet.health import detect_anomaly, preflight
    from tinynet.metrics.binary import BinaryAccuracy, BinaryPrecisionRecallF1
    from tinynet.metrics.classification import (
        Accuracy,
        ConfusionMatrix,
        PrecisionRecallF1,
        TopKAccuracy,
    )
    from tinynet.metrics.metric import HeadMetric, Metric
    from tinynet.metrics.probability import BinaryLogLoss, LogLoss
    from tinynet.metrics.ranking import ROCAUC, AveragePrecision
    from tinynet.metrics.regression import R2, MeanAbsoluteErrorMetric, RootMeanSquaredError
    from tinynet.profiling import profile
    from tinynet.training.history import History
    from tinynet.training.trainer import Trainer

__version__ = "0.1.0"

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "R2",
    "RNN",
    "ROCAUC",
    "SGD",
    "Accuracy",
    "Adagrad",
    "Adam",
    "AdamW",
    "AnomalyError",
    "Array",
    "AveragePrecision",
    "AvgPool2D",
    "BatchNorm",
    "Bidirectional",
    "BinaryAccuracy",
    "BinaryCrossEntropy",
    "BinaryLogLoss",
    "BinaryPrecisionRecallF1",
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
    "GlobalPool1D",
    "GradientCheckError",
    "GroupNorm",
    "HeadMetric",
    "Heads",
    "Hinge",
    "History",
    "Huber",
    "InputError",
    "KLDivergence",
    "Lambda",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LogLoss",
    "LogSoftmax",
    "Loss",
    "Masking",
    "MaxPool2D",
    "MeanAbsoluteError",
    "MeanAbsoluteErrorMetric",
    "MeanSquaredError",
    "Metric",
    "MultiHeadAttention",
    "MultiTaskLoss",
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
    "RootMeanSquaredError",
    "Select",
    "Sequential",
    "ShapeError",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Softplus",
    "Standardize",
    "Sum",
    "Tanh",
    "TopKAccuracy",
    "Trainer",
    "TransformerBlock",
    "UpSample2D",
    "check_gradients",
    "datasets",
    "detect_anomaly",
    "inference",
    "no_decay_on_biases_and_norms",
    "preflight",
    "profile",
    "softmax",
]

_LAZY = {
    "check_gradients": "tinynet.gradcheck",
    "detect_anomaly": "tinynet.health",
    "preflight": "tinynet.health",
    "BinaryAccuracy": "tinynet.metrics.binary",
    "BinaryPrecisionRecallF1": "tinynet.metrics.binary",
    "Accuracy": "tinynet.metrics.classification",
    "ConfusionMatrix": "tinynet.metrics.classification",
    "PrecisionRecallF1": "tinynet.metrics.classification",
    "TopKAccuracy": "tinynet.metrics.classification",
    "HeadMetric": "tinynet.metrics.metric",
    "Metric": "tinynet.metrics.metric",
    "BinaryLogLoss": "tinynet.metrics.probability",
    "LogLoss": "tinynet.metrics.probability",
    "ROCAUC": "tinynet.metrics.ranking",
    "AveragePrecision": "tinynet.metrics.ranking",
    "R2": "tinynet.metrics.regression",
    "MeanAbsoluteErrorMetric": "tinynet.metrics.regression",
    "RootMeanSquaredError": "tinynet.metrics.regression",
    "profile": "tinynet.profiling",
    "History": "tinynet.training.history",
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
