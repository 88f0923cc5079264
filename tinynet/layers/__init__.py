"""The layers, one family a file."""

from tinynet.layers.activation import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from tinynet.layers.attention import MultiHeadAttention
from tinynet.layers.branches import Concatenate, Lambda, Parallel, Residual, Sum
from tinynet.layers.convolution import Conv2D, ConvTranspose2D
from tinynet.layers.dense import Dense
from tinynet.layers.dropout import Dropout
from tinynet.layers.embedding import Embedding, PositionalEmbedding
from tinynet.layers.gru import GRU
from tinynet.layers.lstm import LSTM
from tinynet.layers.normalization import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from tinynet.layers.pooling import AvgPool2D, GlobalAvgPool2D, MaxPool2D, UpSample2D
from tinynet.layers.reshape import Flatten, Permute, Rescale, Reshape, Select
from tinynet.layers.rnn import RNN
from tinynet.layers.sequential import Sequential
from tinynet.layers.softmax import LogSoftmax, Softmax
from tinynet.layers.transformer import TransformerBlock

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "AvgPool2D",
    "BatchNorm",
    "Concatenate",
    "Conv2D",
    "ConvTranspose2D",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAvgPool2D",
    "GroupNorm",
    "Lambda",
    "LayerNorm",
    "LeakyReLU",
    "LogSoftmax",
    "MaxPool2D",
    "MultiHeadAttention",
    "Parallel",
    "Permute",
    "PositionalEmbedding",
    "RMSNorm",
    "ReLU",
    "Rescale",
    "Reshape",
    "Residual",
    "Select",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Sum",
    "Tanh",
    "TransformerBlock",
    "UpSample2D",
]
