"""Train a convolutional network on MNIST, to at least 99.2 % on images that it has not seen.

Run it: python examples/mnist_cnn.py

Two convolutions look for strokes and for what strokes make together; a pooling behind each keeps
the strongest answer nearby. While training, every image is moved by up to two pixels: a digit stays
what it is, and the network cannot learn the images by heart.
"""

import argparse
import sys
import time
from collections.abc import Sequence

import command_line
import matplotlib.pyplot as plt
import numpy as np
from command_line import positive, whole
from matplotlib.figure import Figure

from tinynet import (
    Accuracy,
    AdamW,
    Array,
    BatchNorm,
    ConfusionMatrix,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    ReLU,
    Rescale,
    Reshape,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
    plots,
    softmax,
)
from tinynet.callbacks import ProgressBar
from tinynet.optimizers.schedules import OneCycle

MEAN = 0.1307  # of the training pixels, on a scale of 0..1
SHIFT = 2  # pixels


def build_network(channels: int, rng: np.random.Generator) -> Sequential:
    """The network: raw uint8 images (N, 28, 28) -> logits (N, 10)."""
    return Sequential(
        [
            Reshape((1, 28, 28)),  # one channel
            Rescale(1 / 255, -MEAN),  # bytes -> floats, around 0
            Conv2D(1, channels, 5, padding="same", bias=False, rng=rng),
            BatchNorm(channels),
            ReLU(),
            MaxPool2D(2),  # -> 14 x 14
            Conv2D(channels, 2 * channels, 5, padding="same", bias=False, rng=rng),
            BatchNorm(2 * channels),
            ReLU(),
            MaxPool2D(2),  # -> 7 x 7
            Flatten(),
            Dense(2 * channels * 7 * 7, 128, rng=rng),
            ReLU(),
            Dropout(0.3, rng=rng),
            Dense(128, 10, rng=rng),
        ]
    )


def shifted(images: Array, labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Each image moved by up to two pixels along both axes, over an empty border."""
    n, height, width = images.shape
    border = np.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    down, right = rng.integers(0, 2 * SHIFT + 1, (2, n, 1, 1))
    rows, columns = down + np.arange(height)[:, None], right + np.arange(width)
    return border[np.arange(n)[:, None, None], rows, columns], labels


def filters(network: Sequential) -> Figure:
    """The kernels of the first convolution: light adds, dark takes away."""
    kernels = network.parameters()[0].value[:, 0]  # (channels, 5, 5)
    columns = min(8, len(kernels))
    rows = -(-len(kernels) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(columns, rows + 0.4), squeeze=False, layout="constrained"
    )
    bound = abs(kernels).max()
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, kernel in zip(axes.flat, kernels, strict=False):
        axis.imshow(kernel, cmap="gray", vmin=-bound, vmax=bound)
    figure.suptitle("Kernels of the first convolution")
    return figure


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = command_line.ExampleParser("Train a convolutional network on MNIST.", epochs=8)
    add = parser.add_argument
    add("--channels", type=whole, default=12, help="of the first convolution (default 12)")
    add("--batch-size", type=whole, default=64, help="images a step (default 64)")
    add("--learning-rate", type=positive, default=4e-3, help="the highest (default 0.004)")
    parser.add_mnist()
    return parser.parse(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Loads, trains and draws."""
    options = parse(arguments)
    train, test = command_line.load_digits(options.data)
    network = build_network(options.channels, np.random.default_rng(options.seed))
    network.summary(train.images[:1])
    steps = -(-len(train.images) // options.batch_size) * options.epochs
    rate = OneCycle(options.learning_rate, steps=steps)
    optimizer = AdamW(network.parameters(), rate)
    trainer = Trainer(
        network, SoftmaxCrossEntropy(), optimizer, metrics=[Accuracy()], seed=options.seed
    )
    started = time.perf_counter()
    trainer.fit(
        train.images,
        train.labels,
        epochs=options.epochs,
        batch_size=options.batch_size,
        transform=shifted,
        validation=test,
        callbacks=[ProgressBar()],
    )
    # Not on stdout, which is the same for the same seed.
    print(f"trained in {time.perf_counter() - started:.1f} s", file=sys.stderr)
    logits = network.predict(test.images)
    print(f"test accuracy {(logits.argmax(axis=1) == test.labels).mean():.2%}")
    counts = ConfusionMatrix(10)(logits, test.labels)["confusion_matrix"]
    pictures = {
        "cnn_filters": filters(network),
        "cnn_learning_curves": plots.learning_curves(trainer.history),
        "cnn_mistakes": plots.confident_mistakes(test.images, test.labels, softmax(logits)),
        "cnn_confusion_matrix": plots.confusion_matrix(counts),
        "cnn_model": plots.model_diagram(network, train.images[:1]),
    }
    command_line.save(options.output, pictures)


if __name__ == "__main__":
    command_line.run(main)
