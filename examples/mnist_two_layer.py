"""A two-layer network learns to read handwritten digits: python examples/mnist_two_layer.py.

784 pixels -> Dense -> ReLU -> Dense -> 10 digits, trained with mini-batch gradient descent. Prints
the accuracy after each epoch, then writes four pictures. `--help` lists what can be changed.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tinynet import (
    SGD,
    Array,
    Dense,
    Flatten,
    ReLU,
    Rescale,
    Sequential,
    SoftmaxCrossEntropy,
    softmax,
)
from tinynet.datasets import DatasetError, Digits, load_mnist
from tinynet.initializers import Initializer, he_normal, zeros

try:
    import matplotlib
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
    from tqdm import tqdm
except ImportError as missing:
    sys.exit(f'{missing}: this example needs pip install -e ".[examples]"')


BLOCK = 2048  # images, see differentiate


def uniform_start(shape: tuple[int, ...], _fan_in: int, rng: np.random.Generator) -> Array:
    """Uniform between -0.5 and 0.5."""
    return rng.uniform(-0.5, 0.5, shape)


@dataclass(frozen=True)
class Recipe:
    """What training starts from and does; the command line may overrule the first three."""

    epochs: int
    batch_size: int | None  # None: all images in one batch
    learning_rate: float
    decay: bool  # the learning rate falls in a straight line to almost 0
    momentum: float
    weight_decay: float
    centre: float  # is taken off every pixel, after it was brought to 0..1
    weight_init: Initializer
    bias_init: Initializer
    report_every: int  # epochs


RECIPES = {
    "momentum": Recipe(
        epochs=10,
        batch_size=64,
        learning_rate=0.06,
        decay=True,
        momentum=0.9,
        weight_decay=3e-4,
        centre=0.1307,  # the mean pixel of the training images
        weight_init=he_normal,
        bias_init=zeros,
        report_every=1,
    ),
    # Plain gradient descent on all images at once, as in the script that tinynet grew from.
    "seed": Recipe(
        epochs=500,
        batch_size=None,
        learning_rate=0.1,
        decay=False,
        momentum=0.0,
        weight_decay=0.0,
        centre=0.0,
        weight_init=uniform_start,
        bias_init=uniform_start,
        report_every=10,
    ),
}


@dataclass
class Epoch:
    """What is printed of an epoch, and drawn as learning curves."""

    number: int
    loss: float
    train_accuracy: float
    test_accuracy: float


def build_network(hidden: int, recipe: Recipe, rng: np.random.Generator) -> Sequential:
    """The network: raw uint8 images (N, 28, 28) -> logits (N, 10)."""

    def dense(in_features: int, out_features: int) -> Dense:
        return Dense(
            in_features,
            out_features,
            rng=rng,
            weight_init=recipe.weight_init,
            bias_init=recipe.bias_init,
        )

    return Sequential(
        [
            Flatten(),  # (N, 28, 28) -> (N, 784)
            Rescale(1 / 255, -recipe.centre),  # bytes -> floats, around 0
            dense(784, hidden),
            ReLU(),
            dense(hidden, 10),
        ]
    )


def train_network(
    network: Sequential, train: Digits, test: Digits, recipe: Recipe, rng: np.random.Generator
) -> list[Epoch]:
    """Trains the network in place and returns what was reported on the way."""
    loss = SoftmaxCrossEntropy()
    optimizer = SGD(
        network.parameters(),
        recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    batch_size = recipe.batch_size or len(train.images)
    steps = math.ceil(len(train.images) / batch_size) * recipe.epochs
    history = []
    with tqdm(total=steps, unit="step", leave=False, disable=None) as bar:  # None: if no terminal
        for number in range(1, recipe.epochs + 1):
            if recipe.decay:
                done = (number - 1) / recipe.epochs
                optimizer.learning_rate = recipe.learning_rate * (1 - done)
            losses = []
            for rows in batches(len(train.images), batch_size, rng):
                losses.append(differentiate(network, loss, train.images[rows], train.labels[rows]))
                optimizer.step()
                bar.update()
            mean_loss = float(np.mean(losses))
            if not math.isfinite(mean_loss):
                sys.exit(f"the loss became {mean_loss} in epoch {number}: lower --learning-rate")
            if number % recipe.report_every == 0 or number == recipe.epochs:
                epoch = Epoch(number, mean_loss, accuracy(network, train), accuracy(network, test))
                history.append(epoch)
                bar.write(
                    f"epoch {number:{len(str(recipe.epochs))}}/{recipe.epochs}"
                    f"  loss {epoch.loss:.4f}"
                    f"  train {epoch.train_accuracy:6.2%}  test {epoch.test_accuracy:6.2%}"
                )
    return history


def differentiate(
    network: Sequential, loss: SoftmaxCrossEntropy, images: Array, labels: Array
) -> float:
    """Returns the mean loss of a batch and leaves its gradient in the parameters.

    A batch beyond BLOCK images is worked off in blocks that stay in the processor's cache, and the
    gradients of the blocks are averaged: 60,000 images at once take a third of the time that way.
    """
    n = len(images)
    if n <= BLOCK:
        mean_loss: float = loss(network(images), labels)
        network.backward(loss.backward())
        return mean_loss
    mean_loss = 0.0
    parameters = network.parameters()
    gradients = [np.zeros_like(parameter.value) for parameter in parameters]
    for start in range(0, n, BLOCK):
        block = slice(start, start + BLOCK)
        share = len(images[block]) / n
        mean_loss += share * differentiate(network, loss, images[block], labels[block])
        for gradient, parameter in zip(gradients, parameters, strict=True):
            assert parameter.grad is not None
            gradient += share * parameter.grad
    for gradient, parameter in zip(gradients, parameters, strict=True):
        parameter.grad = gradient
    return mean_loss


def batches(n: int, batch_size: int, rng: np.random.Generator) -> Iterator[Array | slice]:
    """The rows of each batch of one epoch, in random order."""
    if batch_size >= n:
        yield slice(None)
        return
    order = rng.permutation(n)
    for start in range(0, n, batch_size):
        yield order[start : start + batch_size]


def accuracy(network: Sequential, digits: Digits) -> float:
    """The share of images that are read right."""
    return float(np.mean(network.predict(digits.images).argmax(axis=1) == digits.labels))


def predict_one(network: Sequential, image: Array) -> tuple[int, float]:
    """The digit that the network sees in one image (28, 28), and how sure it is, 0 to 1."""
    probabilities = softmax(network.predict(image[None]))[0]  # a batch of one
    digit = int(probabilities.argmax())
    return digit, float(probabilities[digit])


BLUE, VERMILION = "#0072B2", "#D55E00"  # told apart by colour-blind people, too


def draw_digits(
    title: str, images: Array, captions: Sequence[str], right: Sequence[bool]
) -> Figure:
    """Up to 32 images with a caption above each, in a grid."""
    rows, columns, height, width = 4, 8, 44, 36  # a cell is 44 by 36 pixels, the digit 28 by 28
    sheet = np.zeros((rows * height, columns * width), np.uint8)
    figure, axis = plt.subplots(figsize=(8, 5.4), layout="constrained")
    for place, (image, caption, is_right) in enumerate(
        zip(images[: rows * columns], captions, right, strict=True)
    ):
        top, left = place // columns * height + 16, place % columns * width + 4
        sheet[top : top + 28, left : left + 28] = image
        colour = BLUE if is_right else VERMILION
        axis.text(left + 14, top - 1, caption, ha="center", va="bottom", color=colour, fontsize=9)
    axis.imshow(sheet, cmap="gray_r", vmin=0, vmax=255)
    axis.set_axis_off()
    axis.set_title(title)
    return figure


def draw_samples(test: Digits, predicted: Array, rng: np.random.Generator) -> Figure:
    """Test images drawn by chance, each with what was predicted and, where wrong, what it is."""
    rows = rng.permutation(len(test.images))[:32]
    right = predicted == test.labels
    captions = [
        f"{predicted[row]}" if right[row] else f"{predicted[row]}, is {test.labels[row]}"
        for row in rows
    ]
    title = "Sample predictions: blue is right, orange is wrong"
    return draw_digits(title, test.images[rows], captions, list(right[rows]))


def draw_worst(test: Digits, probabilities: Array) -> Figure:
    """The mistakes that the network was most sure of."""
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != test.labels)
    rows = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:32]
    captions = [
        f"{predicted[row]}, is {test.labels[row]}\n{probabilities[row, predicted[row]]:.1%}"
        for row in rows
    ]
    title = f"The worst of {len(wrong)} mistakes: prediction, label, and how sure it was"
    return draw_digits(title, test.images[rows], captions, [False] * len(rows))


def draw_learning_curves(history: Sequence[Epoch]) -> Figure:
    """Loss and accuracies, epoch by epoch."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
    numbers = [epoch.number for epoch in history]
    left.plot(numbers, [epoch.loss for epoch in history], color=BLUE, marker=".")
    left.set(title="Training loss", xlabel="epoch", ylabel="mean cross-entropy (nats)")
    for part, colour, style in (("train", BLUE, "-"), ("test", VERMILION, "--")):
        percent = [100 * getattr(epoch, f"{part}_accuracy") for epoch in history]
        right.plot(numbers, percent, style, color=colour, marker=".", label=part)
    right.set(title="Accuracy", xlabel="epoch", ylabel="read right (%)")
    right.legend()
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def draw_confusion(test: Digits, predicted: Array) -> Figure:
    """How often each digit was read as each; the colour shows mistakes only."""
    counts = np.zeros((10, 10), np.int64)
    np.add.at(counts, (test.labels, predicted), 1)
    mistakes = counts * (1 - np.eye(10, dtype=np.int64))
    figure, axis = plt.subplots(figsize=(6, 5.4), layout="constrained")
    axis.imshow(mistakes, cmap="Oranges")
    for label, row in enumerate(counts):
        for digit, count in enumerate(row):
            dark = mistakes[label, digit] > 0.8 * mistakes.max()
            weight = "bold" if label == digit else "normal"
            colour = "white" if dark else "black"
            axis.text(
                digit, label, f"{count}", ha="center", va="center", color=colour, weight=weight
            )
    axis.set(xlabel="predicted", ylabel="label", xticks=range(10), yticks=range(10))
    axis.set_title(f"Confusion matrix: {counts.trace()} of {counts.sum()} right, mistakes coloured")
    return figure


class OneLineParser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Stops with the message alone."""
        self.exit(2, f"{self.prog}: {message}\n")


def whole(text: str, at_least: int = 1) -> int:
    """A whole number, of at least 1 unless told otherwise."""
    # Ten digits at most: longer numbers are slips, and very long ones int() refuses.
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) >= at_least):
        raise argparse.ArgumentTypeError(f"expected a whole number >= {at_least}, got {text:.20}")
    return int(text)


def positive(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = OneLineParser(description="Train a two-layer network on MNIST and draw what it does.")
    options: dict[str, tuple[str, Callable[[str], Any]]] = {
        "--hidden": ("units of the hidden layer (default 10)", whole),
        "--epochs": ("passes over the data (default 10; seed 500)", whole),
        "--batch-size": ("images a step (default 64; seed all)", whole),
        "--learning-rate": ("of the first epoch (default 0.06; seed 0.1)", positive),
        "--seed": ("of weights and shuffling (default 0)", partial(whole, at_least=0)),
        "--data": ("folder of IDX files, or a Kaggle train.csv (default: the shipped MNIST)", Path),
        "--output": ("folder for the pictures (default output)", Path),
    }
    for name, (text, kind) in options.items():
        parser.add_argument(name, type=kind, help=text)
    parser.add_argument(
        "--recipe",
        choices=RECIPES,
        default="momentum",
        help="mini-batches with momentum, or plain descent on all images (default momentum)",
    )
    parser.add_argument("--show", action="store_true", help="also open the pictures")
    parser.set_defaults(hidden=10, seed=0, output=Path("output"))
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Loads, trains, predicts and draws."""
    options = parse(arguments)
    if not options.show:
        matplotlib.use("Agg")  # draws without a display
    overrules = ("epochs", "batch_size", "learning_rate")
    given = {name: value for name in overrules if (value := getattr(options, name)) is not None}
    recipe = replace(RECIPES[options.recipe], **given)
    try:
        options.output.mkdir(parents=True, exist_ok=True)  # before the work, not after it
        train, test = load_mnist(options.data)
    except (DatasetError, ImportError, OSError) as error:
        sys.exit(f"{error}")
    rng = np.random.default_rng(options.seed)
    try:
        network = build_network(options.hidden, recipe, rng)
    except MemoryError as error:
        sys.exit(f"--hidden {options.hidden}: {error}")
    network.summary(train.images[:1])

    started = time.perf_counter()
    with np.errstate(over="ignore", invalid="ignore"):  # a loss that is not finite is told below
        history = train_network(network, train, test, recipe, rng)
    # Not on stdout, which is the same for the same seed.
    print(f"trained in {time.perf_counter() - started:.1f} s", file=sys.stderr)

    digit, sure = predict_one(network, test.images[0])
    print(f"test image 0: predicted {digit} ({sure:.1%} sure), label {test.labels[0]}")
    probabilities = softmax(network.predict(test.images))
    predicted = probabilities.argmax(axis=1)
    pictures = {
        "sample_predictions": draw_samples(test, predicted, rng),
        "worst_mistakes": draw_worst(test, probabilities),
        "learning_curves": draw_learning_curves(history),
        "confusion_matrix": draw_confusion(test, predicted),
    }
    for name, figure in pictures.items():
        path = options.output / f"{name}.png"
        figure.savefig(path, dpi=100)
        print(f"wrote {path}")
    if options.show:
        if plt.get_backend().lower() == "agg":
            print("--show finds no display: open the files above instead", file=sys.stderr)
        plt.show()
    plt.close("all")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped before the pictures were written")
