"""The rows of compare.py: what is measured, and against whom."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tinynet import (
    GELU,
    GRU,
    LSTM,
    RNN,
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    GlobalAvgPool2D,
    Layer,
    LayerNorm,
    MaxPool2D,
    MultiHeadAttention,
    ReLU,
    Rescale,
    Residual,
    Sequential,
    Sigmoid,
    SiLU,
    Tanh,
    TransformerBlock,
)

RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Row:
    """A net or layer, and what is done with it in a step of a turn.

    `kind` is step (a training step), layer (forward and backward), predict, call, or script. x has
    the shape (batch, *shape) of bytes or floats, and is of MNIST where `shape` is that of a digit.
    """

    name: str
    kind: str
    net: Layer | None = None
    batch: int = 64
    shape: tuple[int, ...] = (784,)
    steps: int = 20  # of a turn
    aim: float = 1.0  # tinynet's time of that of the fastest peer
    optimizer: str = "momentum"
    floats: bool = False  # x is of floats; else of bytes, which the net scales
    peers: tuple[str, ...] = ("torch", "jax", "sklearn")
    samples: int = 0  # an epoch of so many, in place of `steps`


def mlp(*sizes: int) -> Sequential:
    layers = [part for i, o in pairwise(sizes) for part in (Dense(i, o, rng=RNG), ReLU())]
    return Sequential([Rescale(1 / 255), *layers[:-1]])


def conv(inputs: int, outputs: int, size: int = 3, **settings: Any) -> Conv2D:
    return Conv2D(inputs, outputs, size, rng=RNG, **settings)


def conv_norm(inputs: int, outputs: int, size: int) -> list[Layer]:
    layer = Conv2D(inputs, outputs, size, padding=size // 2, bias=False, rng=RNG)
    return [layer, BatchNorm(outputs)]


LENET = Sequential(
    [
        *(Rescale(1 / 255), conv(1, 6, 5, padding=2), ReLU(), MaxPool2D(2)),
        *(conv(6, 16, 5), ReLU(), MaxPool2D(2), Flatten(), Dense(400, 120, rng=RNG), ReLU()),
        *(Dense(120, 84, rng=RNG), ReLU(), Dense(84, 10, rng=RNG)),
    ]
)
KERAS_CNN = Sequential(
    [
        *(Rescale(1 / 255), conv(1, 32), ReLU(), MaxPool2D(2), conv(32, 64), ReLU(), MaxPool2D(2)),
        *(Flatten(), Dense(1600, 10, rng=RNG)),
    ]
)
EXAMPLE_CNN = Sequential(
    [
        *(Rescale(1 / 255), *conv_norm(1, 12, 5), ReLU(), MaxPool2D(2)),
        *(*conv_norm(12, 24, 5), ReLU(), MaxPool2D(2), Flatten()),
        *(Dense(1176, 128, rng=RNG), ReLU(), Dense(128, 10, rng=RNG)),
    ]
)
RESNET = Sequential(
    [
        *(Rescale(1 / 255), *conv_norm(1, 16, 3), ReLU()),
        *(
            part
            for _ in range(3)
            for part in (
                Residual([*conv_norm(16, 16, 3), ReLU(), *conv_norm(16, 16, 3)]),
                ReLU(),
            )
        ),
        *(GlobalAvgPool2D(), Dense(16, 10, rng=RNG)),
    ]
)
DIGIT = (1, 28, 28)
TORCH, BOTH = ("torch",), ("torch", "jax")


def step(name: str, net: Layer, batch: int, aim: float, **others: Any) -> Row:
    return Row(f"{name} @{batch}", "step", net, batch, aim=aim, **others)


def layer(
    name: str,
    net: Layer,
    shape: tuple[int, ...],
    aim: float,
    steps: int,
    peers: tuple[str, ...] = BOTH,
) -> Row:
    batch, *others = shape
    return Row(name, "layer", net, batch, tuple(others), steps, aim, floats=True, peers=peers)


def script(name: str, aim: float, peers: tuple[str, ...]) -> Row:
    return Row(name, "script", aim=aim, peers=peers)


ELEMENTWISE = {GELU: 2.5, SiLU: 2.5, Sigmoid: 2.5, Tanh: 1.6, ReLU: 0.85}

GROUPS: dict[str, list[Row]] = {
    "A training step: batch, forward, loss, backward, update": [
        step("784-10-10", mlp(784, 10, 10), 64, 0.7, steps=100),
        step("784-32-10", mlp(784, 32, 10), 32, 0.7, steps=100),
        step("784-128-10", mlp(784, 128, 10), 64, 0.6, steps=100),
        step("784-128-10", mlp(784, 128, 10), 512, 0.8),
        step("784-128-10, Adam,", mlp(784, 128, 10), 64, 0.6, steps=50, optimizer="adam"),
        step("784-512-256-10", mlp(784, 512, 256, 10), 128, 0.85),
        step("784-800-10", mlp(784, 800, 10), 128, 0.9),
        step("LeNet-5", LENET, 64, 1.0, shape=DIGIT, steps=8, peers=BOTH),
        step("Keras CNN", KERAS_CNN, 32, 1.0, shape=DIGIT, steps=5, peers=BOTH),
        step("Keras CNN", KERAS_CNN, 128, 1.0, shape=DIGIT, steps=2, peers=BOTH),
        step("net of mnist_cnn.py", EXAMPLE_CNN, 64, 1.0, shape=DIGIT, steps=4, peers=BOTH),
        step("small ResNet", RESNET, 64, 1.1, shape=DIGIT, steps=2, peers=BOTH),
        Row(
            "784-10-10, all 60,000 float rows",
            "step",
            Sequential(mlp(784, 10, 10).layers[1:]),
            *(60_000, (784,), 1, 0.6, "sgd", True),
            peers=("torch", "jax", "numpy"),
        ),
        step("784-128-10 by Trainer.fit", mlp(784, 128, 10), 64, 1.05, steps=200, peers=("loop",)),
    ],
    "Inference": [
        Row(
            "1 image by predict, 784-128-10",
            "predict",
            mlp(784, 128, 10),
            1,
            steps=200,
            aim=0.4,
            peers=BOTH,
        ),
        Row(
            "1 image by a call, 784-128-10",
            "call",
            mlp(784, 128, 10),
            1,
            steps=200,
            aim=0.4,
            peers=BOTH,
        ),
        Row(
            "10,000 images, 784-128-10",
            "predict",
            mlp(784, 128, 10),
            10_000,
            steps=1,
            aim=0.8,
            peers=BOTH,
        ),
        Row("2,000 images, LeNet-5", "predict", LENET, 2_000, DIGIT, 1, 1.0, peers=BOTH),
    ],
    "Layers: forward and backward": [
        *(
            layer(f"{cls.__name__} (512, 256)", cls(), (512, 256), aim, 20)
            for cls, aim in ELEMENTWISE.items()
        ),
        layer("LayerNorm (2048, 256)", LayerNorm(256), (2048, 256), 2.0, 8),
        layer("BatchNorm (64, 16, 28, 28)", BatchNorm(16), (64, 16, 28, 28), 1.0, 8),
        layer("LSTM 28 to 128, T 28 @64", LSTM(28, 128, rng=RNG), (64, 28, 28), 1.2, 3),
        layer("GRU 28 to 128, T 28 @64", GRU(28, 128, rng=RNG), (64, 28, 28), 0.75, 3),
        layer("RNN 28 to 128, T 28 @64", RNN(28, 128, rng=RNG), (64, 28, 28), 0.65, 5),
        layer("attention D 64, T 64 @32", MultiHeadAttention(64, 4, rng=RNG), (32, 64, 64), 0.9, 4),
        layer(
            "transformer block D 64, T 64 @32",
            TransformerBlock(64, 4, rng=RNG),
            (32, 64, 64),
            1.4,
            2,
        ),
        layer(
            "transformer block D 256, T 128 @8",
            TransformerBlock(256, 4, rng=RNG),
            (8, 128, 256),
            1.2,
            2,
        ),
        layer(
            "depthwise 3x3, 32 channels @64",
            conv(32, 32, padding=1, groups=32),
            (64, 32, 28, 28),
            1.5,
            1,
        ),
        layer("1x1 64 to 64, 14x14 @64", conv(64, 64, 1), (64, 64, 14, 14), 1.1, 2),
        layer("3x3 16 to 16, 28x28 @64", conv(16, 16, padding=1), (64, 16, 28, 28), 1.6, 1),
        layer("3x3 32 to 64, 14x14 @64", conv(32, 64, padding=1), (64, 32, 14, 14), 1.1, 1),
        layer("MaxPool2D(2) (64, 32, 28, 28)", MaxPool2D(2), (64, 32, 28, 28), 1.0, 2),
    ],
    "An epoch of 784-128-10 @64, by the number of samples": [
        Row(f"{n:,} samples", "step", mlp(784, 128, 10), peers=BOTH, samples=n, aim=0.6)
        for n in (10_000, 20_000, 40_000, 60_000)
    ],
    "A step of W-W-W @256, by width": [
        Row(
            f"width {w}",
            "step",
            Sequential(mlp(w, w, w).layers[1:]),
            256,
            (w,),
            max(1, 4096 // w),
            0.9,
            floats=True,
            peers=BOTH,
        )
        for w in (128, 256, 512, 1024, 2048)
    ],
    "Whole processes": [
        script("784-128-10 to 97 %", 0.6, ("torch", "jax", "sklearn")),
        script("784-128-10 to 97 %, peak memory", 0.5, ("torch", "jax", "sklearn")),
        script("import", 0.3, ("torch", "jax", "sklearn")),
        script("mnist_two_layer.py against 500 steps of plain NumPy", 0.11, ("numpy",)),
        script("mnist_two_layer.py against 500 steps of plain NumPy, training", 0.06, ("numpy",)),
    ],
}
