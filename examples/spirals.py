"""Monitor a small network bend its decision boundary around spirals.

Run it: python examples/spirals.py

The arms of a spiral cannot be told apart by straight lines: a network without a hidden layer stays
near chance. With two hidden layers it folds the plane, and the pictures show how.
"""

import argparse
from collections.abc import Sequence
from functools import partial

import command_line
import matplotlib.pyplot as plt
import numpy as np
from command_line import positive, whole
from matplotlib.animation import ArtistAnimation, PillowWriter
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from tinynet import (
    Accuracy,
    Adam,
    Array,
    Dense,
    Layer,
    Sequential,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
    softmax,
)
from tinynet.callbacks import ProgressBar
from tinynet.training.callback import Callback

EDGE = 1.25  # of the pictures; the spirals end at 1
GRID = 121  # points along each side of a picture
PANELS = 8  # of the strip
# Of Okabe and Ito, for colour-blind people; each arm has a mark of its own as well.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"]
MARKS = "os^Dv"


def make_spirals(arms: int, samples: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Points (N, 2) on arms that wind once around 0, and the arm (N,) of each."""
    labels = np.repeat(np.arange(arms), samples)
    radius = np.tile(np.linspace(0.05, 1, samples), arms)
    angle = 2 * np.pi * (radius + labels / arms) + rng.normal(0, 0.12, labels.shape)
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points.astype(np.float32), labels


def build_network(hidden: int, arms: int, rng: np.random.Generator) -> Sequential:
    """The network: points (N, 2) -> logits (N, arms)."""
    return Sequential(
        [
            Dense(2, hidden, rng=rng),
            Tanh(),
            Dense(hidden, hidden, rng=rng),
            Tanh(),
            Dense(hidden, arms, rng=rng),
        ]
    )


class Boundary(Callback):
    """Keeps what the network says of every point of the plane, at growing distances in time."""

    def __init__(self, epochs: int, frames: int = 40) -> None:
        wanted = np.geomspace(1, epochs, frames).round().astype(int)
        self.epochs = {0, *wanted.tolist()}
        line = np.linspace(-EDGE, EDGE, GRID, dtype=np.float32)
        self.plane = np.stack(np.meshgrid(line, line), axis=-1)  # (GRID, GRID, 2)
        self.seen: list[tuple[int, Array]] = []

    def on_fit_start(self, trainer: Trainer) -> None:
        """Keeps the start."""
        self.look(trainer.epoch, trainer.model)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Keeps an epoch that is to be in the pictures."""
        if trainer.epoch in self.epochs:
            self.look(trainer.epoch, trainer.model)

    def look(self, epoch: int, model: Layer) -> None:
        """Keeps the probabilities (GRID, GRID, arms) of this epoch."""
        self.seen.append((epoch, softmax(model.predict(self.plane))))


def draw(axis: Axes, probabilities: Array, points: Array, labels: Array) -> list[Artist]:
    """The plane in the colour of the likeliest arm, paler where the network is in doubt."""
    arms, extent = probabilities.shape[-1], (-EDGE, EDGE, -EDGE, EDGE)
    colours = np.array([to_rgb(colour) for colour in COLOURS[:arms]])
    paler = 1 - 0.45 * (1 - probabilities @ colours)
    artists: list[Artist] = [axis.imshow(paler, origin="lower", extent=extent)]
    for arm in range(arms):
        # Where an arm is as likely as the likeliest of the others runs its boundary.
        lead = probabilities[..., arm] - np.delete(probabilities, arm, axis=-1).max(axis=-1)
        artists.append(
            axis.contour(lead, levels=[0.0], extent=extent, colors="black", linewidths=0.8)
        )
        x, y = points[labels == arm][::3].T
        marks = axis.scatter(x, y, s=12, marker=MARKS[arm], color=COLOURS[arm])
        marks.set(edgecolor="black", linewidth=0.3)
        artists.append(marks)
    axis.set(xticks=[], yticks=[])
    return artists


def strip(boundary: Boundary, points: Array, labels: Array) -> Figure:
    """Eight moments of the training, from the start to the end."""
    chosen = np.linspace(0, len(boundary.seen) - 1, PANELS).round().astype(int)
    figure, axes = plt.subplots(2, PANELS // 2, figsize=(11, 5.9), layout="constrained")
    for axis, place in zip(axes.flat, chosen, strict=True):
        epoch, probabilities = boundary.seen[place]
        draw(axis, probabilities, points, labels)
        axis.set_title("before training" if epoch == 0 else f"after epoch {epoch}")
    return figure


def animation(boundary: Boundary, points: Array, labels: Array) -> ArtistAnimation:
    """All moments that were kept, one after the other."""
    figure, axis = plt.subplots(figsize=(4, 4.2), layout="constrained")
    frames = []
    for epoch, probabilities in boundary.seen:
        artists = draw(axis, probabilities, points, labels)
        title = axis.text(0.5, 1.02, f"epoch {epoch}", transform=axis.transAxes, ha="center")
        frames.append([*artists, title])
    return ArtistAnimation(figure, frames, interval=120, repeat_delay=2000)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = command_line.ExampleParser(
        "Train a small network on spirals and draw what it sees.", epochs=150
    )
    add = parser.add_argument
    add("--arms", type=partial(whole, at_least=2), default=3, help="2 to 5 (default 3)")
    add("--samples", type=whole, default=300, help="points on each arm (default 300)")
    add("--hidden", type=whole, default=32, help="units of each hidden layer (default 32)")
    add("--learning-rate", type=positive, default=0.01, help="of Adam (default 0.01)")
    options = parser.parse(arguments)
    if options.arms > len(COLOURS):
        parser.error(f"argument --arms: expected 2 to {len(COLOURS)}, got {options.arms}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes the spirals, trains and draws."""
    options = parse(arguments)
    rng = np.random.default_rng(options.seed)
    points, labels = make_spirals(options.arms, options.samples, rng)
    unseen = make_spirals(options.arms, options.samples, rng)
    network = build_network(options.hidden, options.arms, rng)
    network.summary(points[:1])
    optimizer = Adam(network.parameters(), options.learning_rate)
    trainer = Trainer(
        network, SoftmaxCrossEntropy(), optimizer, metrics=[Accuracy()], seed=options.seed
    )
    boundary = Boundary(options.epochs)
    trainer.fit(
        points,
        labels,
        epochs=options.epochs,
        batch_size=32,
        validation=unseen,
        callbacks=[boundary, ProgressBar(every=max(options.epochs // 10, 1))],
    )
    path = options.output / "spirals.gif"
    animation(boundary, points, labels).save(path, writer=PillowWriter(fps=8), dpi=90)
    print(f"wrote {path}")
    command_line.save(options.output, {"spirals": strip(boundary, points, labels)})


if __name__ == "__main__":
    command_line.run(main)
