"""The layers, one family a file."""

from tinynet.layers.activation import ReLU
from tinynet.layers.dense import Dense
from tinynet.layers.reshape import Flatten, Rescale
from tinynet.layers.sequential import Sequential

__all__ = ["Dense", "Flatten", "ReLU", "Rescale", "Sequential"]
