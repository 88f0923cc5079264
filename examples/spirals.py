"""The decision boundary of a small network during training: python examples/spirals.py.

The classes are the arms of a spiral, which no straight line separates: without a hidden layer a
network stays near chance. Two hidden layers learn a boundary that follows the arms.
"""

from argparse import Namespace
from collections.abc import Sequence
from functools import partial

import command_line
import matplotlib.pyplot as plt
import numpy as np
from command_line import whole
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
    Sequential,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
    softmax,
)
from tinynet.callbacks import Callback, ProgressBar
from tinynet.plots.style import BLUE, VERMILION, panels

EDGE = 1.25  # of the pictures; the spirals end at 1
GRID = 121  # points along each side of a picture
FRAMES = 40  # of the animation, at most
PANELS = 8  # of the picture, at most
# Of Okabe and Ito, for colour-blind people; each arm has a marker of its own as well.
COLOURS = [BLUE, VERMILION, "#009E73", "#CC79A7", "#E69F00"]
MARKERS = "os^Dv"


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


def make_spirals(arms: int, samples: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Points (N, 2) on arms that wind once around 0, and the arm (N,) of each."""
    labels = np.repeat(np.arange(arms), samples)
    radius = np.tile(np.linspace(0.05, 1, samples), arms)
    angle = 2 * np.pi * (radius + labels / arms) + rng.normal(0, 0.12, labels.shape)
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points.astype(np.float32), labels


class Boundary(Callback):
    """Records the predictions for a grid of points, before training and after some epochs.

    The epochs are spaced geometrically: early in the training the boundary changes most.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs = set(np.geomspace(1, epochs, FRAMES).round().astype(int).tolist())
        line = np.linspace(-EDGE, EDGE, GRID, dtype=np.float32)
        self.grid = np.stack(np.meshgrid(line, line), axis=-1)  # (GRID, GRID, 2)
        self.records: list[tuple[int, Array]] = []  # epoch, probabilities (GRID, GRID, arms)

    def on_fit_start(self, trainer: Trainer) -> None:
        """Records the untrained network."""
        self.record(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Records one of the chosen epochs."""
        if trainer.epoch in self.epochs:
            self.record(trainer)

    def record(self, trainer: Trainer) -> None:
        """Adds the probabilities at all points of the grid."""
        self.records.append((trainer.epoch, softmax(trainer.predict(self.grid))))


def train_network(
    network: Sequential,
    train: tuple[Array, Array],
    test: tuple[Array, Array],
    options: Namespace,
) -> Boundary:
    """Trains the network and returns the records of its decision boundary."""
    optimizer, loss = Adam(network.parameters(), options.learning_rate), SoftmaxCrossEntropy()
    trainer = Trainer(network, loss, optimizer, metrics=[Accuracy()], seed=options.seed)
    boundary = Boundary(options.epochs)
    trainer.fit(
        *train,
        epochs=options.epochs,
        batch_size=options.batch_size,
        validation=test,
        callbacks=[boundary, ProgressBar(every=max(options.epochs // 10, 1))],
    )
    return boundary


def draw(axis: Axes, probabilities: Array, points: Array, labels: Array) -> list[Artist]:
    """The plane in the colours of the predictions, paler where the probability is lower."""
    arms, extent = probabilities.shape[-1], (-EDGE, EDGE, -EDGE, EDGE)
    colours = np.array([to_rgb(colour) for colour in COLOURS[:arms]])
    paler = 1 - 0.45 * (1 - probabilities @ colours)
    artists: list[Artist] = [axis.imshow(paler, origin="lower", extent=extent)]
    for arm in range(arms):
        # The boundary of an arm: it is as probable as the most probable one of the others.
        margin = probabilities[..., arm] - np.delete(probabilities, arm, axis=-1).max(axis=-1)
        artists.append(
            axis.contour(margin, levels=[0.0], extent=extent, colors="black", linewidths=0.8)
        )
        x, y = points[labels == arm][::3].T
        markers = axis.scatter(x, y, s=12, marker=MARKERS[arm], color=COLOURS[arm])
        markers.set(edgecolor="black", linewidth=0.3)
        artists.append(markers)
    axis.set(xticks=[], yticks=[])
    return artists


def strip(boundary: Boundary, points: Array, labels: Array) -> Figure:
    """Up to eight of the records, evenly chosen from the first to the last."""
    count = min(PANELS, len(boundary.records))
    chosen = np.linspace(0, len(boundary.records) - 1, count).round().astype(int)
    figure, axes = panels(count, columns=4, size=(2.2, 2.4))
    for axis, index in zip(axes, chosen, strict=True):
        epoch, probabilities = boundary.records[index]
        draw(axis, probabilities, points, labels)
        axis.set_title("before training" if epoch == 0 else f"after epoch {epoch}")
    return figure


def animation(boundary: Boundary, points: Array, labels: Array) -> ArtistAnimation:
    """All records, one after the other."""
    figure, axis = plt.subplots(figsize=(4, 4.2), layout="constrained")
    frames = []
    for epoch, probabilities in boundary.records:
        artists = draw(axis, probabilities, points, labels)
        title = axis.text(0.5, 1.02, f"epoch {epoch}", transform=axis.transAxes, ha="center")
        frames.append([*artists, title])
    return ArtistAnimation(figure, frames, interval=120, repeat_delay=2000)


def parse(arguments: Sequence[str] | None) -> Namespace:
    """The command line."""
    parser = command_line.ExampleParser(
        "Train a small network on spirals and draw its decision boundary.",
        epochs=150,
        batch_size=32,
        learning_rate=0.01,
    )
    add = parser.add_argument
    add("--arms", type=partial(whole, at_least=2), default=3, help="2 to 5 (default 3)")
    add("--samples", type=whole, default=300, help="points on each arm (default 300)")
    add("--hidden", type=whole, default=32, help="units of each hidden layer (default 32)")
    options = parser.parse(arguments)
    if options.arms > len(COLOURS):
        parser.error(f"argument --arms: expected 2 to {len(COLOURS)}, got {options.arms}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes the spirals, trains and draws."""
    options = parse(arguments)
    rng = np.random.default_rng(options.seed)
    train, test = (make_spirals(options.arms, options.samples, rng) for _ in range(2))
    network = build_network(options.hidden, options.arms, rng)
    network.summary(train[0][:1])
    boundary = train_network(network, train, test, options)
    path = options.output / "spirals.gif"
    animation(boundary, *train).save(path, writer=PillowWriter(fps=8), dpi=90)
    print(f"wrote {path}")
    command_line.save(options.output, {"spirals": strip(boundary, *train)})


if __name__ == "__main__":
    command_line.run(main)
