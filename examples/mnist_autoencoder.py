"""An autoencoder with a latent space of two dimensions: python examples/mnist_autoencoder.py.

The encoder maps an image to two numbers, its code; the decoder maps a code back to an image. The
network is trained on images without labels, and yet the codes of different digits lie apart.
"""

from argparse import Namespace
from collections.abc import Sequence

import command_line
import matplotlib.pyplot as plt
import numpy as np
from command_line import count_steps, whole
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
SIDE = 15  # digits along each side of the picture of decoded codes


def build_encoder(hidden: int, rng: np.random.Generator) -> Sequential:
    """The encoder: raw uint8 images (N, 28, 28) -> codes (N, 2)."""
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
    """The decoder: codes (N, 2) -> logits (N, 28, 28), whose sigmoid is an image of 0..1."""
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


def with_itself(images: Array, _labels: Array, _rng: np.random.Generator) -> tuple[Array, Array]:
    """Each image with itself as the target, on a scale of 0..1."""
    return images, images.astype(np.float32) / 255


def train_network(network: Sequential, train: Digits, options: Namespace) -> Trainer:
    """Trains encoder and decoder, in one chain, to reconstruct their input."""
    rate = OneCycle(options.learning_rate, steps=count_steps(options, len(train.images)))
    optimizer = AdamW(network.parameters(), rate)
    trainer = Trainer(network, BinaryCrossEntropy(), optimizer, seed=options.seed)
    trainer.fit(
        *train,  # with_itself replaces the labels
        epochs=options.epochs,
        batch_size=options.batch_size,
        transform=with_itself,
        callbacks=[ProgressBar()],
    )
    return trainer


def mean_image_loss(train: Array, test: Array) -> float:
    """The baseline: the loss of the mean training image as the output for every test image."""
    mean = np.clip(train.mean(axis=0) / 255, 1e-6, 1 - 1e-6)
    logits = np.broadcast_to(np.log(mean / (1 - mean)), test.shape)
    return float(BinaryCrossEntropy()(logits, test / 255))


def draw_reconstructions(images: Array, reconstructed: Array) -> Figure:
    """Images in one row, and below each its reconstruction."""
    figure, axes = plt.subplots(2, len(images), figsize=(len(images), 2.4), layout="constrained")
    for axis, image in zip(axes.flat, [*images, *reconstructed], strict=True):
        axis.imshow(image, cmap="gray_r")
        axis.set(xticks=[], yticks=[])
    axes[0, 0].set_ylabel("image")
    axes[1, 0].set_ylabel("reconstruction")
    return figure


def draw_codes(codes: Array, labels: Array) -> Figure:
    """The codes of the test images as points, coloured by their label."""
    figure, axis = plt.subplots(figsize=(7, 6), layout="constrained")
    x, y = codes.T
    points = axis.scatter(x, y, c=labels, cmap="tab10", vmin=-0.5, vmax=9.5, s=4)
    for digit in np.unique(labels):
        # Ten colours are too many for some eyes: each digit is also written at its median code.
        x, y = np.median(codes[labels == digit], axis=0)
        box = {"boxstyle": "circle", "facecolor": "white", "alpha": 0.85}
        axis.text(x, y, f"{digit}", fontsize=13, ha="center", va="center", bbox=box)
    figure.colorbar(points, ticks=range(10), label="digit")
    axis.set(xlabel="first number", ylabel="second number", title="Codes of the test images")
    return figure


def draw_decoded(decoder: Sequential, codes: Array) -> Figure:
    """Decoded codes of a regular grid, over the range that holds 90 % of the codes."""
    low, high = np.quantile(codes, (0.05, 0.95), axis=0)
    across, down = np.linspace(low[0], high[0], SIDE), np.linspace(high[1], low[1], SIDE)
    grid = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2).astype(codes.dtype)
    tiles = Sigmoid()(decoder.predict(grid)).reshape(SIDE, SIDE, 28, 28)
    figure, axis = plt.subplots(figsize=(7, 7), layout="constrained")
    axis.imshow(tiles.transpose(0, 2, 1, 3).reshape(SIDE * 28, SIDE * 28), cmap="gray_r")
    axis.set_axis_off()
    axis.set_title("Decoded codes of a regular grid")
    return figure


def parse(arguments: Sequence[str] | None) -> Namespace:
    """The command line."""
    parser = command_line.ExampleParser(
        "Train an autoencoder on MNIST.", epochs=15, batch_size=128, learning_rate=3e-3
    )
    text = "units of the widest layers (default 256)"
    parser.add_argument("--hidden", type=whole, default=256, help=text)
    parser.add_mnist()
    return parser.parse(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Loads, trains and draws."""
    options = parse(arguments)
    train, test = command_line.load_digits(options.data)
    rng = np.random.default_rng(options.seed)
    encoder, decoder = build_encoder(options.hidden, rng), build_decoder(options.hidden, rng)
    network = encoder + decoder  # the same layers in one chain
    network.summary(train.images[:1])
    trainer = train_network(network, train, options)
    loss = trainer.evaluate(*with_itself(*test, rng))["loss"]
    baseline = mean_image_loss(train.images, test.images)
    print(f"test loss {loss:.4f}, of the mean image {baseline:.4f}, in nats per pixel")
    codes = encoder.predict(test.images)
    few = test.images[:SHOWN]
    pictures = {
        "autoencoder_reconstructions": draw_reconstructions(few, Sigmoid()(network.predict(few))),
        "autoencoder_latent_map": draw_codes(codes, test.labels),
        "autoencoder_decoded_map": draw_decoded(decoder, codes),
    }
    command_line.save(options.output, pictures)


if __name__ == "__main__":
    command_line.run(main)
