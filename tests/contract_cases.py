"""The cases of the contract tests: each layer and loss in its settings, with an input."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinynet import (
    ELU,
    GELU,
    GRU,
    LSTM,
    RNN,
    Array,
    AvgPool2D,
    BatchNorm,
    Bidirectional,
    BinaryCrossEntropy,
    Concatenate,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAvgPool2D,
    GlobalPool1D,
    GroupNorm,
    Heads,
    Hinge,
    Huber,
    KLDivergence,
    Lambda,
    Layer,
    LayerNorm,
    LeakyReLU,
    LogSoftmax,
    Masking,
    MaxPool2D,
    MeanAbsoluteError,
    MeanSquaredError,
    MultiHeadAttention,
    MultiTaskLoss,
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
    SoftmaxCrossEntropy,
    Softplus,
    Standardize,
    Sum,
    Tanh,
    TransformerBlock,
    UpSample2D,
)

N = 5  # samples


class Packed(Layer):
    """A layer of tuples as one of arrays: they lie side by side, along axis 1.

    `widths` are those of the arrays of x; without them x is one array.
    """

    def __init__(self, layer: Layer, widths: tuple[int, ...] = ()) -> None:
        self.layer = layer
        self.widths = widths

    def forward(self, x: Array, *targets: Array) -> Any:
        self.check_input(x, "N", sum(self.widths) or "D")
        for array in targets:
            self.check_input(array, "N", sum(self.widths), name="targets", integers=True)
        y = self.layer(*(self.unpacked(array) for array in (x, *targets)))
        several = isinstance(y, tuple)
        widths = [array.shape[1] for array in y] if several else None
        packed = np.concatenate(y, axis=1) if several else y
        self.save_for_backward(packed, widths)
        return packed

    def unpacked(self, x: Array) -> Any:
        return tuple(np.split(x, np.cumsum(self.widths)[:-1], axis=1)) if self.widths else x

    def backward(self, dy: Array | float = 1.0) -> Array:
        dy, widths = self.saved_for_backward(dy)
        parts: list[Any] = [] if np.ndim(dy) == 0 else [dy]
        if widths is not None:
            parts = [tuple(np.split(dy, np.cumsum(widths)[:-1], axis=1))]
        dx = self.layer.backward(*parts)
        return np.concatenate(dx, axis=1) if self.widths else np.asarray(dx)


class Case(NamedTuple):
    """A layer, the shape of its x, and the targets of a loss."""

    make: Callable[[], Layer]
    shape: tuple[int, ...]  # of x
    targets: tuple[Any, ...] = ()  # of a loss
    mixes_samples: bool = False  # y of a sample depends on the other samples
    ids: int = 0  # x is of integers below this; of floats where it is 0
    narrows: bool = False  # y of an x of wider floats has the dtype of the layer


LABELS = np.array([0, 2, 1, 1, 0])
TOKENS = np.array([[0, 2], [-100, 1], [1, 1], [2, -100], [0, 0]])
THIRDS = np.full((N, 3), 1 / 3, np.float32)
HALVES = np.full((N, 3), 0.5, np.float32)
SPREAD = np.arange(32.0).reshape(8, 4) ** 2  # of samples to fit to
WHOLE = np.arange(N * 6).reshape(N, 2, 3)

CASES: dict[str, Case] = {
    # dense, dropout, flatten, rescale, sequential
    "Dense": Case(lambda: Dense(4, 3, rng=0), (N, 4)),
    "Dense on sequences": Case(lambda: Dense(4, 3, bias=False, rng=0), (N, 2, 4)),
    "Dropout": Case(lambda: Dropout(0.5, rng=0), (N, 4)),
    "Dropout with rate 0": Case(lambda: Dropout(0), (N, 4)),
    "Dropout in evaluation": Case(lambda: Dropout(0.5, rng=0).eval(), (N, 4)),
    "Flatten": Case(Flatten, (N, 2, 3)),
    "Flatten on rows": Case(Flatten, (N, 6)),
    "Rescale": Case(lambda: Rescale(0.5, -0.25), (N, 4)),
    "Rescale by 1": Case(lambda: Rescale(1), (N, 4)),
    "Standardize": Case(lambda: Standardize(4).fit(SPREAD), (N, 4), narrows=True),
    "Standardize of channels": Case(
        lambda: Standardize(2, axis=1).fit(SPREAD.reshape(-1, 2, 4)), (N, 2, 3, 4), narrows=True
    ),
    "Standardize of one feature": Case(
        lambda: Standardize(1).fit(SPREAD[:, 0]), (N,), narrows=True
    ),
    "Sequential": Case(
        lambda: Sequential(
            [Flatten(), Sequential([Dense(6, 4, rng=0), ReLU()]), Dense(4, 2, rng=1)]
        ),
        (N, 2, 3),
    ),
    "Sequential with dropout": Case(
        lambda: Sequential([Dropout(0.2, rng=0), Dense(4, 6, rng=1), Dropout(0.5, rng=2)]), (N, 4)
    ),
    "Sequential of one": Case(lambda: Sequential([Flatten()]), (N, 6)),
    # activations
    "ReLU": Case(ReLU, (N, 4)),
    "LeakyReLU": Case(LeakyReLU, (N, 4)),
    "LeakyReLU with a negative slope": Case(lambda: LeakyReLU(-0.5), (N, 4)),
    "ELU": Case(ELU, (N, 4)),
    "ELU with another alpha": Case(lambda: ELU(0.5), (N, 2, 4)),
    "Sigmoid": Case(Sigmoid, (N, 4)),
    "Tanh": Case(Tanh, (N, 2, 4)),
    "GELU": Case(GELU, (N, 4)),
    "GELU, tanh": Case(lambda: GELU(approximate="tanh"), (N, 2, 4)),
    "SiLU": Case(SiLU, (N, 4)),
    "Softplus": Case(Softplus, (N, 4)),
    "Softplus with another beta": Case(lambda: Softplus(beta=3), (N, 4)),
    "Softmax": Case(Softmax, (N, 4)),
    "Softmax along another axis": Case(lambda: Softmax(axis=1), (N, 3, 2)),
    "LogSoftmax": Case(LogSoftmax, (N, 4)),
    "LogSoftmax along another axis": Case(lambda: LogSoftmax(axis=-2), (N, 3, 2)),
    # norms
    "BatchNorm of rows": Case(lambda: BatchNorm(3), (N, 3), mixes_samples=True),
    "BatchNorm of sequences": Case(
        lambda: BatchNorm(3, momentum=None), (N, 3, 4), mixes_samples=True
    ),
    "BatchNorm of images": Case(lambda: BatchNorm(2), (N, 2, 3, 4), mixes_samples=True),
    "BatchNorm without parameters": Case(
        lambda: BatchNorm(3, affine=False), (N, 3), mixes_samples=True
    ),
    "BatchNorm in evaluation": Case(lambda: BatchNorm(2).eval(), (N, 2, 3, 4)),
    "BatchNorm in evaluation, of rows": Case(lambda: BatchNorm(3, affine=False).eval(), (N, 3)),
    "BatchNorm in evaluation without running statistics": Case(
        lambda: BatchNorm(3, track_running_stats=False).eval(), (N, 3, 2), mixes_samples=True
    ),
    "LayerNorm": Case(lambda: LayerNorm(4), (N, 4)),
    "LayerNorm of sequences": Case(lambda: LayerNorm(4, bias=False), (N, 3, 4)),
    "LayerNorm of images": Case(
        lambda: LayerNorm((2, 3, 4), elementwise_affine=False), (N, 2, 3, 4)
    ),
    "RMSNorm": Case(lambda: RMSNorm(4), (N, 3, 4)),
    "RMSNorm of images": Case(
        lambda: RMSNorm((2, 3), eps=0.1, elementwise_affine=False), (N, 2, 3)
    ),
    "GroupNorm of rows": Case(lambda: GroupNorm(2, 6), (N, 6)),
    "GroupNorm of images": Case(lambda: GroupNorm(2, 4), (N, 4, 2, 3)),
    "GroupNorm of each channel": Case(lambda: GroupNorm(2, 2, affine=False), (N, 2, 3, 2)),
    # convolutions
    "Conv2D": Case(lambda: Conv2D(2, 3, 3, rng=0), (N, 2, 4, 5)),
    "Conv2D with padding": Case(lambda: Conv2D(2, 3, 3, padding=1, rng=0), (N, 2, 4, 3)),
    "Conv2D with a kernel of 1": Case(lambda: Conv2D(2, 3, 1, bias=False, rng=0), (N, 2, 2, 3)),
    "Conv2D with a stride": Case(
        lambda: Conv2D(1, 2, (3, 2), stride=2, padding=((1, 0), (0, 2)), rng=0), (N, 1, 5, 4)
    ),
    "Conv2D with dilation": Case(lambda: Conv2D(2, 2, 2, dilation=2, rng=0), (N, 2, 4, 4)),
    "Conv2D with groups": Case(
        lambda: Conv2D(4, 6, 2, groups=2, padding="same", rng=0), (N, 4, 3, 3)
    ),
    "Conv2D, depthwise": Case(lambda: Conv2D(3, 3, 2, groups=3, rng=0), (N, 3, 3, 4)),
    "ConvTranspose2D": Case(lambda: ConvTranspose2D(2, 3, 3, rng=0), (N, 2, 2, 3)),
    "ConvTranspose2D with a stride": Case(
        lambda: ConvTranspose2D(2, 3, 3, stride=2, padding=1, output_padding=1, rng=0),
        (N, 2, 2, 3),
    ),
    "ConvTranspose2D with a kernel of 1": Case(
        lambda: ConvTranspose2D(2, 3, 1, bias=False, rng=0), (N, 2, 2, 3)
    ),
    "ConvTranspose2D with dilation": Case(
        lambda: ConvTranspose2D(2, 2, 2, dilation=2, padding=(0, 1), rng=0), (N, 2, 2, 3)
    ),
    "ConvTranspose2D with groups": Case(
        lambda: ConvTranspose2D(4, 6, 2, groups=2, rng=0), (N, 4, 2, 2)
    ),
    # pooling and upsampling
    "MaxPool2D": Case(lambda: MaxPool2D(2), (N, 2, 4, 5)),
    "MaxPool2D of overlapping windows": Case(
        lambda: MaxPool2D((3, 2), stride=(1, 2), padding=1, dilation=(1, 2)), (N, 2, 4, 5)
    ),
    "MaxPool2D with a kernel of 1": Case(lambda: MaxPool2D(1), (N, 2, 3, 2)),
    "AvgPool2D": Case(lambda: AvgPool2D(2), (N, 2, 4, 5)),
    "AvgPool2D of overlapping windows": Case(
        lambda: AvgPool2D((3, 2), stride=(1, 2), padding=1), (N, 2, 4, 5)
    ),
    "AvgPool2D without the padding": Case(
        lambda: AvgPool2D(2, padding=1, count_include_pad=False), (N, 2, 3, 3)
    ),
    "AvgPool2D with a kernel of 1": Case(lambda: AvgPool2D(1), (N, 2, 3, 2)),
    "GlobalAvgPool2D": Case(GlobalAvgPool2D, (N, 2, 4, 3)),
    "GlobalAvgPool2D of 1 x 1": Case(GlobalAvgPool2D, (N, 2, 1, 1)),
    "UpSample2D": Case(UpSample2D, (N, 2, 3, 2)),
    "UpSample2D by 1": Case(lambda: UpSample2D(1), (N, 2, 3, 2)),
    "UpSample2D, bilinear": Case(lambda: UpSample2D((2, 3), "bilinear"), (N, 2, 3, 2)),
    "UpSample2D by 1, bilinear": Case(lambda: UpSample2D(1, "bilinear"), (N, 2, 3, 2)),
    # embeddings
    "Embedding": Case(lambda: Embedding(4, 3, rng=0), (N, 6), ids=4),
    "Embedding of one id each": Case(lambda: Embedding(9, 3, rng=0), (N,), ids=9),
    "Embedding with padding": Case(lambda: Embedding(4, 3, padding_idx=1, rng=0), (N, 6), ids=4),
    "PositionalEmbedding": Case(lambda: PositionalEmbedding(5, 3, rng=0), (N, 4, 3)),
    "PositionalEmbedding of full length": Case(lambda: PositionalEmbedding(4, 3, rng=0), (N, 4, 3)),
    "PositionalEmbedding, sinusoidal": Case(
        lambda: PositionalEmbedding(5, 3, kind="sinusoidal"), (N, 4, 3)
    ),
    # recurrent layers
    "RNN": Case(lambda: RNN(3, 4, rng=0), (N, 3, 3)),
    "RNN with relu": Case(lambda: RNN(3, 4, nonlinearity="relu", rng=0), (N, 3, 3)),
    "RNN, the last state": Case(lambda: RNN(3, 4, states="last", bias=False, rng=0), (N, 3, 3)),
    "GRU": Case(lambda: GRU(3, 4, rng=0), (N, 3, 3)),
    "GRU, the last state": Case(lambda: GRU(3, 4, states="last", bias=False, rng=0), (N, 3, 3)),
    "GRU of one step": Case(lambda: GRU(3, 4, rng=0), (N, 1, 3)),
    "LSTM": Case(lambda: LSTM(3, 4, rng=0), (N, 3, 3)),
    "LSTM, the last state": Case(lambda: LSTM(3, 4, states="last", bias=False, rng=0), (N, 3, 3)),
    "LSTM in evaluation": Case(lambda: LSTM(3, 4, rng=0).eval(), (N, 3, 3)),
    "Bidirectional": Case(lambda: Bidirectional(GRU(3, 2, rng=0)), (N, 3, 3)),
    "Bidirectional, the last states": Case(
        lambda: Bidirectional(LSTM(3, 2, states="last", rng=0)), (N, 3, 3)
    ),
    # pooling over time, and padded sequences
    "GlobalPool1D, mean": Case(GlobalPool1D, (N, 3, 4)),
    "GlobalPool1D, max": Case(lambda: GlobalPool1D("max"), (N, 3, 4)),
    "GlobalPool1D, last": Case(lambda: GlobalPool1D("last"), (N, 3, 4)),
    "Masking": Case(Masking, (N, 3, 4)),
    "Recurrent layers of padded sequences": Case(
        lambda: Sequential(
            [
                Embedding(4, 3, padding_idx=1, rng=0),
                Bidirectional(LSTM(3, 2, rng=1)),
                RNN(4, 4, rng=2),
                GRU(4, 3, states="last", rng=3),
            ]
        ),
        (N, 6),
        ids=4,
    ),
    "A transformer of padded sequences": Case(
        lambda: Sequential(
            [
                Embedding(4, 4, padding_idx=1, rng=0),
                TransformerBlock(4, 2, rng=1),
                Residual([LayerNorm(4), MultiHeadAttention(4, 2, rng=2)]),
                Concatenate([GlobalPool1D(), GlobalPool1D("max")]),
            ]
        ),
        (N, 6),
        ids=4,
    ),
    # attention
    "MultiHeadAttention": Case(lambda: MultiHeadAttention(4, 2, rng=0), (N, 3, 4)),
    "MultiHeadAttention, causal": Case(
        lambda: MultiHeadAttention(4, 1, causal=True, bias=False, rng=0), (N, 3, 4)
    ),
    "MultiHeadAttention with dropout": Case(
        lambda: MultiHeadAttention(4, 4, dropout=0.3, rng=0), (N, 3, 4)
    ),
    "MultiHeadAttention in evaluation": Case(
        lambda: MultiHeadAttention(4, 2, dropout=0.3, rng=0).eval(), (N, 3, 4)
    ),
    "TransformerBlock": Case(lambda: TransformerBlock(4, 2, rng=0), (N, 3, 4)),
    "TransformerBlock in evaluation": Case(
        lambda: TransformerBlock(4, 2, dropout=0.3, rng=0).eval(), (N, 3, 4)
    ),
    "TransformerBlock with dropout": Case(
        # One generator draws all masks: how many numbers it draws depends on the batch size.
        lambda: TransformerBlock(4, 2, dropout=0.3, rng=0),
        (N, 3, 4),
        mixes_samples=True,
    ),
    "TransformerBlock, norms last": Case(
        lambda: TransformerBlock(
            4, 1, dim_feedforward=6, causal=True, norm_first=False, activation="relu", rng=0
        ),
        (N, 3, 4),
    ),
    # branches, reshape, permute, select
    "Sum": Case(lambda: Sum([Dense(4, 3, rng=0), [Dense(4, 3, rng=1), ReLU()]]), (N, 4)),
    "Sum of one": Case(lambda: Sum([ReLU()]), (N, 4)),
    "Sum of three": Case(lambda: Sum([ReLU(), Dense(4, 4, rng=0), ReLU()]), (N, 4)),
    "Concatenate": Case(lambda: Concatenate([Dense(4, 3, rng=0), ReLU()]), (N, 4)),
    "Concatenate of one": Case(lambda: Concatenate([ReLU()], axis=2), (N, 4, 2)),
    "Parallel": Case(lambda: Parallel([Dense(3, 2, rng=0), ReLU()], sizes=[3, 1]), (N, 4)),
    "Parallel of one": Case(lambda: Parallel([ReLU()], axis=-1), (N, 2, 4)),
    "Parallel of a tuple": Case(
        lambda: Packed(Parallel([Dense(3, 2, rng=0), ReLU()]), widths=(3, 1)), (N, 4)
    ),
    "Heads": Case(
        lambda: Packed(Heads([Dense(4, 3, rng=0), [Dense(4, 2, rng=1), ReLU()]])), (N, 4)
    ),
    "Sequential of tuples": Case(
        lambda: Packed(
            Sequential([Parallel([Dense(3, 2, rng=0), ReLU()]), Heads([Dense(3, 1, rng=1)])]),
            widths=(3, 1),
        ),
        (N, 4),
    ),
    "Residual": Case(lambda: Residual([Dense(4, 4, rng=0), ReLU()]), (N, 4)),
    "Residual with a shortcut": Case(
        lambda: Residual([Dense(4, 3, rng=0), ReLU()], Dense(4, 3, rng=1)), (N, 4)
    ),
    "Lambda": Case(lambda: Lambda(np.sin, lambda dy, x: dy * np.cos(x)), (N, 4)),
    "Lambda of the identity": Case(lambda: Lambda(lambda x: x, lambda dy, _: dy), (N, 4)),
    "Reshape": Case(lambda: Reshape((2, 2)), (N, 4)),
    "Permute": Case(lambda: Permute((0, 2, 1)), (N, 2, 3)),
    "Permute of the identity": Case(lambda: Permute((0, 1)), (N, 3)),
    "Select": Case(lambda: Select(-1), (N, 2, 3)),
    "Select of a slice": Case(lambda: Select(slice(0, 3), axis=2), (N, 2, 3)),
    # losses
    "MultiTaskLoss": Case(
        lambda: Packed(MultiTaskLoss([Huber(), MeanSquaredError()], weights=[1, 0.5]), (1, 2)),
        (N, 3),
        (HALVES,),
    ),
    "SoftmaxCrossEntropy of labels": Case(SoftmaxCrossEntropy, (N, 3), (LABELS,)),
    "SoftmaxCrossEntropy of rows": Case(SoftmaxCrossEntropy, (N, 3), (THIRDS,)),
    "SoftmaxCrossEntropy of sequences": Case(
        lambda: SoftmaxCrossEntropy([1, 0.5, 2]), (N, 2, 3), (TOKENS,)
    ),
    "SoftmaxCrossEntropy of smoothed labels": Case(
        lambda: SoftmaxCrossEntropy([1, 0.5, 2], reduction="sum", label_smoothing=0.1),
        (N, 2, 3),
        (TOKENS,),
    ),
    "SoftmaxCrossEntropy of smoothed rows": Case(
        lambda: SoftmaxCrossEntropy(label_smoothing=0.1), (N, 3), (THIRDS,)
    ),
    "BinaryCrossEntropy": Case(BinaryCrossEntropy, (N, 3), (HALVES,)),
    "BinaryCrossEntropy with weights, of bools": Case(
        lambda: BinaryCrossEntropy(2, [1, 0.5, 3], "sum"), (N, 2, 3), (WHOLE % 2 == 1,)
    ),
    "MeanSquaredError": Case(MeanSquaredError, (N, 3), (HALVES,)),
    "MeanSquaredError of integers": Case(MeanSquaredError, (N, 2, 3), (WHOLE,)),
    "MeanSquaredError as a sum": Case(lambda: MeanSquaredError("sum"), (N, 3), (HALVES,)),
    "MeanAbsoluteError": Case(MeanAbsoluteError, (N, 3), (HALVES,)),
    "MeanAbsoluteError of integers": Case(MeanAbsoluteError, (N, 2, 3), (WHOLE,)),
    "Huber": Case(lambda: Huber(0.5), (N, 3), (HALVES,)),
    "Huber of integers": Case(lambda: Huber(2, "sum"), (N, 2, 3), (WHOLE,)),
    "Hinge": Case(Hinge, (N, 3), (LABELS,)),
    "Hinge, squared": Case(lambda: Hinge(0.5, 2, [1, 0.5, 2]), (N, 3), (LABELS,)),
    "KLDivergence": Case(KLDivergence, (N, 3), (THIRDS,)),
    "KLDivergence of log-probabilities": Case(
        lambda: KLDivergence("sum", True), (N, 3), (np.log(THIRDS),)
    ),
}
