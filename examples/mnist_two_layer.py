"""A two-layer network learns to read handwritten digits: python examples/mnist_two_layer.py.

784 pixels -> Dense -> ReLU -> Dense -> 10 digits, trained with mini-batch gradient descent. Prints
the accuracy after each epoch, then writes eight pictures. `--help` lists what can be changed.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import command_line
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from command_line import positive, whole

from tinynet import (
    SGD,
    Accuracy,
    Array,
    ConfusionMatrix,
    Dense,
    DivergenceError,
    Flatten,
    InputError,
    ReLU,
    Rescale,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
    plots,
    softmax,
)
from tinynet.callbacks import Callback, Checkpoint, ProgressBar
from tinynet.datasets import DatasetError, Digits, load_mnist
from tinynet.errors import CheckpointError
from tinynet.initializers import Initializer, he_normal, zeros
from tinynet.optimizers.schedules import Cosine

BLOCK = 2048  # images


def uniform_start(
    shape: tuple[int, ...], _fan_in: float, _fan_out: float, rng: np.random.Generator
) -> Array:
    """Uniform between -0.5 and 0.5."""
    return rng.uniform(-0.5, 0.5, shape)


@dataclass(frozen=True)
class Recipe:
    """What training starts from and does; the command line may overrule the first three."""

    epochs: int
    batch_size: int | None  # None: all images in one batch
    learning_rate: float
    decay: bool  # the learning rate falls to 0, on half a wave of the cosine
    momentum: float
    l2: float
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
        l2=3e-4,
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
        l2=0.0,
        centre=0.0,
        weight_init=uniform_start,
        bias_init=uniform_start,
        report_every=10,
    ),
}


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


def build_trainer(network: Sequential, images: int, recipe: Recipe, seed: int) -> Trainer:
    """What trains the network on so many images, as the recipe says."""
    steps = math.ceil(images / (recipe.batch_size or images)) * recipe.epochs
    optimizer = SGD(
        network.parameters(),
        Cosine(recipe.learning_rate, steps=steps) if recipe.decay else recipe.learning_rate,
        momentum=recipe.momentum,
        l2=recipe.l2,
    )
    return Trainer(network, SoftmaxCrossEntropy(), optimizer, metrics=[Accuracy()], seed=seed)


def train_network(
    trainer: Trainer, train: Digits, test: Digits, recipe: Recipe, folder: Path | None = None
) -> None:
    """Trains, from the newest checkpoint in the folder on if there is one."""
    callbacks: list[Callback] = [ProgressBar(every=recipe.report_every)]
    if folder is not None:
        callbacks.append(Checkpoint(folder))
        newest = Checkpoint.newest(folder)
        if newest is not None:
            trainer.restore(newest)
    trainer.fit(
        train.images,
        train.labels,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size or len(train.images),
        # 60,000 images at once take a third of the time in parts that fit into the cache.
        micro_batch_size=BLOCK,
        validation=test,
        callbacks=callbacks,
    )


def predict_one(network: Sequential, image: Array) -> tuple[int, float]:
    """The digit that the network sees in one image (28, 28), and how sure it is, 0 to 1."""
    probabilities = softmax(network.predict(image[None]))[0]  # a batch of one
    digit = int(probabilities.argmax())
    return digit, float(probabilities[digit])


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = command_line.OneLineParser(
        description="Train a two-layer network on MNIST and draw what it does."
    )
    options: dict[str, tuple[str, Callable[[str], Any]]] = {
        "--hidden": ("units of the hidden layer (default 10)", whole),
        "--epochs": ("passes over the data (default 10; seed 500)", whole),
        "--batch-size": ("images a step (default 64; seed all)", whole),
        "--learning-rate": ("of the first epoch (default 0.06; seed 0.1)", positive),
        "--seed": ("of weights and shuffling (default 0)", partial(whole, at_least=0)),
        "--data": ("folder of IDX files, or a Kaggle train.csv (default: the shipped MNIST)", Path),
        "--output": ("folder for the pictures (default output)", Path),
        "--checkpoints": ("folder to save the run in, and to resume it from", Path),
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
    trainer = build_trainer(network, len(train.images), recipe, options.seed)
    try:
        train_network(trainer, train, test, recipe, options.checkpoints)
    except (DivergenceError, InputError, CheckpointError) as error:
        sys.exit(f"{error}")
    # Not on stdout, which is the same for the same seed.
    print(f"trained in {time.perf_counter() - started:.1f} s", file=sys.stderr)

    digit, sure = predict_one(network, test.images[0])
    print(f"test image 0: predicted {digit} ({sure:.1%} sure), label {test.labels[0]}")
    logits = network.predict(test.images)
    counts = ConfusionMatrix(10)(logits, test.labels)["confusion_matrix"]
    read = test.images, test.labels, softmax(logits)
    few = train.images[:512], train.labels[:512]
    pictures = {
        "sample_predictions": plots.sample_predictions(*read, rng=options.seed),
        "confident_mistakes": plots.confident_mistakes(*read),
        "learning_curves": plots.learning_curves(trainer.history),
        "confusion_matrix": plots.confusion_matrix(counts),
        "first_layer_weights": plots.first_layer_weights(network, (28, 28)),
        "activations": plots.activation_histograms(network, few[0]),
        "gradients": plots.gradient_histograms(network, trainer.loss, *few),
        "model": plots.model_diagram(network, train.images[:1]),
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
