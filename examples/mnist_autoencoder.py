"""Squeeze digits through two numbers and draw them again.

Run it: python examples/mnist_autoencoder.py

The first half of the network, the encoder, makes two numbers of an image; the second half, the
decoder, makes an image of two numbers. Nobody tells it which digit is which: it learns from the
images alone, and yet the map of the two numbers shows the digits apart.
"""

import argparse
from collections.abc import Sequence

import command_line
import matplotlib.pyplot as plt
import numpy as np
from command_line import positive, whole
from matplotlib.figure import Figure

from tinynet import (
    AdamW,
    Array,
    BinaryCrossEntropy,
    Dense,
    Flatten,
    LeakyReLU,
    Rescale,
    Reshape,
    Sequential,
    Sigmoid,
    Trainer,
)
from tinynet.callbacks import ProgressBar
from tinynet.datasets import Digits
from tinynet.optimizers.schedules import OneCycle

SHOWN = 12  # digits in the picture of reconstructions
SIDE = 15  # digits along each side of the map of what the decoder draws


def build_encoder(hidden: int, rng: np.random.Generator) -> Sequential:
    """Raw uint8 images (N, 28, 28) -> two numbers (N, 2)."""
    return Sequential(
        [
            Flatten(),
            Rescale(1 / 255),
            Dense(784, hidden, rng=rng),
            LeakyReLU(0.1),
            Dense(hidden, 64, rng=rng),
            LeakyReLU(0.1),
            Dense(64, 2, rng=rng),
        ]
    )


def build_decoder(hidden: int, rng: np.random.Generator) -> Sequential:
    """Two numbers (N, 2) -> images (N, 28, 28) as logits: a sigmoid makes 0..1 of them."""
    return Sequential(
        [
            Dense(2, 64, rng=rng),
            LeakyReLU(0.1),
            Dense(64, hidden, rng=rng),
            LeakyReLU(0.1),
            Dense(hidden, 784, rng=rng),
            Reshape((28, 28)),
        ]
    )


def to_itself(images: Array, _: Array, _rng: np.random.Generator) -> tuple[Array, Array]:
    """The target of an image is the image, on a scale of 0..1."""
    return images, images.astype(np.float32) / 255


def mean_image_loss(train: Array, test: Array) -> float:
    """The loss of drawing the mean of all training images, whatever the test image is."""
    mean = np.clip(train.mean(axis=0) / 255, 1e-6, 1 - 1e-6)
    logits = np.broadcast_to(np.log(mean / (1 - mean)), test.shape)
    return float(BinaryCrossEntropy()(logits, test / 255))


def reconstructions(images: Array, drawn: Array) -> Figure:
    """Digits as they are, and below each what came out."""
    figure, axes = plt.subplots(2, len(images), figsize=(len(images), 2.4), layout="constrained")
    for axis, image in zip(axes.flat, [*images, *drawn], strict=True):
        axis.imshow(image, cmap="gray_r")
        axis.set(xticks=[], yticks=[])
    axes[0, 0].set_ylabel("image")
    axes[1, 0].set_ylabel("drawn again")
    return figure


def latent_map(codes: Array, labels: Array) -> Figure:
    """Where the test images lie in the plane, in the colour of the digit that they show."""
    figure, axis = plt.subplots(figsize=(7, 6), layout="constrained")
    across, up = codes.T
    points = axis.scatter(across, up, c=labels, cmap="tab10", vmin=-0.5, vmax=9.5, s=4)
    for digit in np.unique(labels):
        # Ten colours are too many for some eyes: each digit is also written where it lies.
        x, y = np.median(codes[labels == digit], axis=0)
        box = {"boxstyle": "circle", "facecolor": "white", "alpha": 0.85}
        axis.text(x, y, f"{digit}", fontsize=13, ha="center", va="center", bbox=box)
    figure.colorbar(points, ticks=range(10), label="digit")
    axis.set(xlabel="first number", ylabel="second number", title="Two numbers for each test image")
    return figure


def decoded_map(decoder: Sequential, codes: Array) -> Figure:
    """What the decoder draws for the plane, over the part where 90 % of the images lie."""
    low, high = np.quantile(codes, (0.05, 0.95), axis=0)
    across, down = np.linspace(low[0], high[0], SIDE), np.linspace(high[1], low[1], SIDE)
    plane = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2).astype(codes.dtype)
    tiles = Sigmoid()(decoder.predict(plane)).reshape(SIDE, SIDE, 28, 28)
    figure, axis = plt.subplots(figsize=(7, 7), layout="constrained")
    axis.imshow(tiles.transpose(0, 2, 1, 3).reshape(SIDE * 28, SIDE * 28), cmap="gray_r")
    axis.set_axis_off()
    axis.set_title("What is drawn for each place of the plane")
    return figure


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = command_line.ExampleParser("Squeeze digits through two numbers.", epochs=15)
    add = parser.add_argument
    add("--hidden", type=whole, default=256, help="units of the widest layers (default 256)")
    add("--batch-size", type=whole, default=128, help="images a step (default 128)")
    add("--learning-rate", type=positive, default=3e-3, help="the highest (default 0.003)")
    parser.add_mnist()
    return parser.parse(arguments)


def train_network(network: Sequential, train: Digits, options: argparse.Namespace) -> Trainer:
    """Trains the network to give back what it is given."""
    steps = -(-len(train.images) // options.batch_size) * options.epochs
    optimizer = AdamW(network.parameters(), OneCycle(options.learning_rate, steps=steps))
    trainer = Trainer(network, BinaryCrossEntropy(), optimizer, seed=options.seed)
    trainer.fit(
        train.images,
        train.labels,  # nobody looks at them
        epochs=options.epochs,
        batch_size=options.batch_size,
        transform=to_itself,
        callbacks=[ProgressBar()],
    )
    return trainer


def main(arguments: Sequence[str] | None = None) -> None:
    """Loads, trains and draws."""
    options = parse(arguments)
    train, test = command_line.load_digits(options.data)
    rng = np.random.default_rng(options.seed)
    encoder, decoder = build_encoder(options.hidden, rng), build_decoder(options.hidden, rng)
    network = encoder + decoder  # the same layers in one chain
    network.summary(train.images[:1])
    trainer = train_network(network, train, options)
    figures = trainer.evaluate(*to_itself(test.images, test.labels, rng))
    baseline = mean_image_loss(train.images, test.images)
    print(f"test loss {figures['loss']:.4f}, of the mean image {baseline:.4f}, in nats per pixel")
    codes = encoder.predict(test.images)
    few = test.images[:SHOWN]
    pictures = {
        "autoencoder_reconstructions": reconstructions(few, Sigmoid()(network.predict(few))),
        "autoencoder_latent_map": latent_map(codes, test.labels),
        "autoencoder_decoded_map": decoded_map(decoder, codes),
    }
    command_line.save(options.output, pictures)


if __name__ == "__main__":
    command_line.run(main)
