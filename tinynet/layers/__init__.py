"""The layers, one family a file."""

from tinynet.layers.activation import ReLU, Sigmoid, Tanh
from tinynet.layers.dense import Dense
from tinynet.layers.dropout import Dropout
from tinynet.layers.reshape import Flatten, Rescale
from tinynet.layers.sequential import Sequential
from tinynet.layers.softmax import softmax

__all__ = [
    "Dense",
    "Dropout",
    "Flatten",
    "ReLU",
    "Rescale",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "softmax",
]
