"""Plain gradient descent on MNIST: python examples/mnist_gradient_descent.py.

The training that tinynet grew from: weights and biases that start between -0.5 and 0.5, and 500
steps with a fixed learning rate, each along the mean gradient of all 60,000 images.
mnist_two_layer.py trains the same network on mini-batches: better, and in a twentieth of the time.
"""

from argparse import Namespace
from collections.abc import Sequence

import command_line
import numpy as np
from command_line import whole

from tinynet import (
    SGD,
    Accuracy,
    Array,
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
from tinynet.callbacks import ProgressBar
from tinynet.datasets import Digits


def build_network(hidden: int, rng: np.random.Generator) -> Sequential:
    """The network: raw uint8 images (N, 28, 28) -> logits (N, 10)."""
    return Sequential(
        [
            Flatten(),  # (N, 28, 28) -> (N, 784)
            Rescale(1 / 255),  # 0..255 -> 0..1
            Dense(784, hidden, rng=rng, weight_init=uniform, bias_init=uniform),
            ReLU(),
            Dense(hidden, 10, rng=rng, weight_init=uniform, bias_init=uniform),
        ]
    )


def uniform(
    shape: tuple[int, ...], _fan_in: float, _fan_out: float, rng: np.random.Generator
) -> Array:
    """Initial values between -0.5 and 0.5, whatever the size of the layer."""
    return rng.uniform(-0.5, 0.5, shape)


def train_network(network: Sequential, train: Digits, test: Digits, options: Namespace) -> Trainer:
    """Takes one step an epoch, along the gradient of the mean loss of all images."""
    optimizer = SGD(network.parameters(), options.learning_rate)
    loss = SoftmaxCrossEntropy()
    trainer = Trainer(network, loss, optimizer, metrics=[Accuracy()], seed=options.seed)
    trainer.fit(
        *train,
        epochs=options.epochs,
        batch_size=len(train.images),
        micro_batch_size=2048,  # parts that fit into the cache: a third of the time
        validation=test,
        callbacks=[ProgressBar(every=10)],
    )
    return trainer


def parse(arguments: Sequence[str] | None) -> Namespace:
    """The command line."""
    parser = command_line.ExampleParser(
        "Train a two-layer network on all of MNIST at once.", epochs=500, learning_rate=0.1
    )
    text = "units of the hidden layer (default 10)"
    parser.add_argument("--hidden", type=whole, default=10, help=text)
    parser.add_mnist()
    return parser.parse(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Loads, trains and draws."""
    options = parse(arguments)
    train, test = command_line.load_digits(options.data)
    network = build_network(options.hidden, np.random.default_rng(options.seed))
    network.summary(train.images[:1])
    with command_line.timed():
        trainer = train_network(network, train, test, options)
    probabilities = softmax(network.predict(test.images))
    pictures = {
        "gradient_descent_predictions": plots.sample_predictions(
            *test, probabilities, rng=options.seed
        ),
        "gradient_descent_curves": plots.learning_curves(trainer.history),
        "gradient_descent_weights": plots.first_layer_weights(network, (28, 28)),
    }
    command_line.save(options.output, pictures)


if __name__ == "__main__":
    command_line.run(main)
