"""Kaggle's Digit Recognizer, from CSV files to submission.csv: python examples/kaggle_digits.py.

`--data DIR` is the folder of Kaggle's train.csv and test.csv. Without it, the test images of MNIST
stand for test.csv. While training, every image is distorted by its own random amount.
"""

from collections.abc import Sequence
from pathlib import Path

import command_line
import numpy as np
from matplotlib.figure import Figure

from tinynet import (
    Accuracy,
    AdamW,
    Array,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool2D,
    ReLU,
    Rescale,
    Reshape,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
    softmax,
)
from tinynet.callbacks import ProgressBar
from tinynet.datasets import RandomDistortion, load_kaggle_digits
from tinynet.optimizers.schedules import OneCycle
from tinynet.plots.style import panels

MEAN = 0.1307  # of the training pixels, on a scale of 0..1


def build_network(rng: np.random.Generator) -> Sequential:
    """Raw uint8 images (N, 28, 28) -> logits (N, 10)."""
    layers: list[Layer] = [Reshape((1, 28, 28)), Rescale(1 / 255, -MEAN)]
    for inputs, outputs in ((1, 12), (12, 24), (24, 48)):
        convolution = Conv2D(inputs, outputs, 3, padding="same", bias=False, rng=rng)
        layers += [convolution, BatchNorm(outputs), ReLU(), MaxPool2D(2)]
    del layers[-1]  # the last images stay 7 x 7
    return Sequential([*layers, Flatten(), Dropout(0.3, rng=rng), Dense(48 * 7 * 7, 10, rng=rng)])


def draw(images: Array, probabilities: Array) -> Figure:
    """The images with the least probable predictions, each with the two classes it may be."""
    rows = np.argsort(probabilities.max(axis=1))[:32]
    figure, axes = panels(len(rows), columns=8, size=(1.1, 1.32))
    for axis, image, scores in zip(axes, images[rows], probabilities[rows], strict=True):
        second, first = np.argsort(scores)[-2:]
        axis.imshow(image, cmap="gray_r")
        axis.set_title(f"{first}: {scores[first]:.0%}\n{second}: {scores[second]:.0%}", fontsize=9)
        axis.set_axis_off()
    figure.suptitle("The images that the network is least sure of")
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads, trains, predicts, writes submission.csv and draws."""
    text = "Predict the digits of Kaggle's test.csv."
    parser = command_line.ExampleParser(text, epochs=8, batch_size=64, learning_rate=4e-3)
    text = "folder of train.csv and test.csv (default: the digits that ship)"
    parser.add_argument("--data", type=Path, help=text)
    options = parser.parse(arguments)
    if options.data:
        (images, labels), test_images = load_kaggle_digits(options.data)
    else:
        (images, labels), (test_images, _) = command_line.load_digits(None)
    cut = len(images) * 19 // 20  # the last twentieth estimates the accuracy

    network = build_network(np.random.default_rng(options.seed))
    rate = OneCycle(options.learning_rate, steps=command_line.count_steps(options, cut))
    optimizer, loss = AdamW(network.parameters(), rate), SoftmaxCrossEntropy()
    trainer = Trainer(network, loss, optimizer, metrics=[Accuracy()], seed=options.seed)
    with command_line.timed():
        trainer.fit(
            images[:cut],
            labels[:cut],
            epochs=options.epochs,
            batch_size=options.batch_size,
            transform=RandomDistortion(degrees=10, translate=0.08, scale=(0.9, 1.1), shear=10),
            validation=(images[cut:], labels[cut:]),
            callbacks=[ProgressBar()],
        )
    probabilities = softmax(network.predict(test_images))
    rows = np.column_stack([np.arange(len(test_images)) + 1, probabilities.argmax(axis=1)])
    path = options.output / "submission.csv"
    np.savetxt(path, rows, fmt="%d", delimiter=",", header="ImageId,Label", comments="")
    print(f"wrote {path}")
    command_line.save(options.output, {"kaggle_digits": draw(test_images, probabilities)})


if __name__ == "__main__":
    command_line.run(main)
