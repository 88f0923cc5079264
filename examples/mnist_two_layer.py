"""A two-layer network that classifies handwritten digits: python examples/mnist_two_layer.py.

Trains with mini-batch gradient descent and momentum, prints loss and accuracy after each epoch, and
writes eight pictures. `--help` lists the options.
"""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import command_line
import numpy as np
from command_line import count_steps, whole
from matplotlib.figure import Figure

from tinynet import (
    SGD,
    Accuracy,
    ConfusionMatrix,
    Dense,
    Flatten,
    ReLU,
    Rescale,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
    plots,
    softmax,
)
from tinynet.callbacks import Callback, Checkpoint, ProgressBar
from tinynet.datasets import Digits
from tinynet.optimizers.schedules import Cosine


def build_network(hidden: int, rng: np.random.Generator) -> Sequential:
    """The network: raw uint8 images (N, 28, 28) -> logits (N, 10)."""
    return Sequential(
        [
            Flatten(),  # (N, 28, 28) -> (N, 784)
            Rescale(1 / 255, -0.1307),  # 0..255 -> floats; the mean training pixel becomes 0
            Dense(784, hidden, rng=rng),
            ReLU(),
            Dense(hidden, 10, rng=rng),
        ]
    )


def train_network(network: Sequential, train: Digits, test: Digits, options: Namespace) -> Trainer:
    """Trains the network, or continues from the newest checkpoint of an interrupted run."""
    rate = Cosine(options.learning_rate, steps=count_steps(options, len(train.images)))
    optimizer = SGD(network.parameters(), rate, momentum=0.9, l2=3e-4)
    loss = SoftmaxCrossEntropy()
    trainer = Trainer(network, loss, optimizer, metrics=[Accuracy()], seed=options.seed)
    callbacks: list[Callback] = [ProgressBar()]
    if options.checkpoints is not None:
        callbacks.append(Checkpoint(options.checkpoints))
        if newest := Checkpoint.newest(options.checkpoints):
            trainer.restore(newest)
    trainer.fit(
        *train,
        epochs=options.epochs,
        batch_size=options.batch_size,
        validation=test,
        callbacks=callbacks,
    )
    return trainer


def draw(
    network: Sequential, trainer: Trainer, train: Digits, test: Digits, seed: int
) -> dict[str, Figure]:
    """The pictures by name: predictions, mistakes, curves, weights, activations, gradients."""
    logits = network.predict(test.images)
    predictions = *test, softmax(logits)
    counts = ConfusionMatrix(10)(logits, test.labels)["confusion_matrix"]
    images, labels = train.images[:512], train.labels[:512]
    return {
        "sample_predictions": plots.sample_predictions(*predictions, rng=seed),
        "confident_mistakes": plots.confident_mistakes(*predictions),
        "learning_curves": plots.learning_curves(trainer.history),
        "confusion_matrix": plots.confusion_matrix(counts),
        "first_layer_weights": plots.first_layer_weights(network, (28, 28)),
        "activations": plots.activation_histograms(network, images),
        "gradients": plots.gradient_histograms(network, trainer.loss, images, labels),
        "model": plots.model_diagram(network, images[:1]),
    }


def parse(arguments: Sequence[str] | None) -> Namespace:
    """The command line."""
    parser = command_line.ExampleParser(
        "Train a two-layer network on MNIST.", epochs=10, batch_size=64, learning_rate=0.06
    )
    add = parser.add_argument
    add("--hidden", type=whole, default=10, help="units of the hidden layer (default 10)")
    add("--checkpoints", type=Path, help="folder to save and resume the run (default: none)")
    add("--show", action="store_true", help="also open the pictures (default: only write them)")
    parser.add_mnist()
    return parser.parse(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Loads, trains, predicts and draws."""
    options = parse(arguments)
    train, test = command_line.load_digits(options.data)
    network = build_network(options.hidden, np.random.default_rng(options.seed))
    network.summary(train.images[:1])
    with command_line.timed():
        trainer = train_network(network, train, test, options)
    probabilities = softmax(network.predict(test.images[:1]))[0]  # of a batch of one
    digit = probabilities.argmax()
    sure, label = f"{probabilities[digit]:.1%}", test.labels[0]
    print(f"test image 0: predicted {digit} (probability {sure}), label {label}")
    pictures = draw(network, trainer, train, test, options.seed)
    command_line.save(options.output, pictures, show=options.show)


if __name__ == "__main__":
    command_line.run(main)
