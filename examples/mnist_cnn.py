"""A convolutional network with 99.2 % or more on MNIST: python examples/mnist_cnn.py.

Two convolutions, each with batch norm and max pooling, then two dense layers. While training, every
image is shifted by up to two pixels: that is data augmentation, against overfitting.
"""

from argparse import Namespace
from collections.abc import Sequence

import command_line
import numpy as np
from command_line import count_steps, whole
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
from tinynet.datasets import Digits
from tinynet.optimizers.schedules import OneCycle
from tinynet.plots.style import panels

MEAN = 0.1307  # of the training pixels, on a scale of 0..1
SHIFT = 2  # pixels


def build_network(channels: int, rng: np.random.Generator) -> Sequential:
    """The network: raw uint8 images (N, 28, 28) -> logits (N, 10)."""
    return Sequential(
        [
            Reshape((1, 28, 28)),  # one channel
            Rescale(1 / 255, -MEAN),  # 0..255 -> floats with mean 0
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
    """Each image shifted by up to two pixels along both axes, with zeros at the border."""
    n, height, width = images.shape
    padded = np.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    down, right = rng.integers(0, 2 * SHIFT + 1, (2, n, 1, 1))
    rows, columns = down + np.arange(height)[:, None], right + np.arange(width)
    return padded[np.arange(n)[:, None, None], rows, columns], labels


def train_network(network: Sequential, train: Digits, test: Digits, options: Namespace) -> Trainer:
    """Trains the network on shifted images."""
    rate = OneCycle(options.learning_rate, steps=count_steps(options, len(train.images)))
    optimizer = AdamW(network.parameters(), rate)
    loss = SoftmaxCrossEntropy()
    trainer = Trainer(network, loss, optimizer, metrics=[Accuracy()], seed=options.seed)
    trainer.fit(
        *train,
        epochs=options.epochs,
        batch_size=options.batch_size,
        transform=shifted,
        validation=test,
        callbacks=[ProgressBar()],
    )
    return trainer


def filters(network: Sequential) -> Figure:
    """The kernels of the first convolution: positive weights light, negative ones dark."""
    kernels = network.parameters()[0].value[:, 0]  # (channels, 5, 5)
    figure, axes = panels(len(kernels), columns=8, size=(1.0, 1.2))
    bound = abs(kernels).max()
    for axis, kernel in zip(axes, kernels, strict=True):
        axis.imshow(kernel, cmap="gray", vmin=-bound, vmax=bound)
        axis.set_axis_off()
    figure.suptitle("Kernels of the first convolution")
    return figure


def parse(arguments: Sequence[str] | None) -> Namespace:
    """The command line."""
    parser = command_line.ExampleParser(
        "Train a convolutional network on MNIST.", epochs=8, batch_size=64, learning_rate=4e-3
    )
    text = "channels of the first convolution (default 12)"
    parser.add_argument("--channels", type=whole, default=12, help=text)
    parser.add_mnist()
    return parser.parse(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Loads, trains and draws."""
    options = parse(arguments)
    train, test = command_line.load_digits(options.data)
    network = build_network(options.channels, np.random.default_rng(options.seed))
    network.summary(train.images[:1])
    with command_line.timed():
        trainer = train_network(network, train, test, options)
    logits = network.predict(test.images)
    print(f"test accuracy {(logits.argmax(axis=1) == test.labels).mean():.2%}")
    counts = ConfusionMatrix(10)(logits, test.labels)["confusion_matrix"]
    pictures = {
        "cnn_filters": filters(network),
        "cnn_learning_curves": plots.learning_curves(trainer.history),
        "cnn_mistakes": plots.confident_mistakes(*test, softmax(logits)),
        "cnn_confusion_matrix": plots.confusion_matrix(counts),
        "cnn_model": plots.model_diagram(network, train.images[:1]),
    }
    command_line.save(options.output, pictures)


if __name__ == "__main__":
    command_line.run(main)
