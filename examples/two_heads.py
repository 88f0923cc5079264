"""Two inputs and two outputs: species and body mass of a penguin: python examples/two_heads.py.

The inputs are a tuple, three lengths and the sex, and so are the targets. Both heads share the
layers before them. Prints the errors of the network beside those of a network for each task.
"""

from collections.abc import Sequence

import command_line
import numpy as np
from columns import PENGUINS, read_table
from matplotlib.figure import Figure

from tinynet import (
    Accuracy,
    Adam,
    Array,
    Dense,
    Dropout,
    Embedding,
    HeadMetric,
    Heads,
    MeanSquaredError,
    MultiTaskLoss,
    Parallel,
    ReLU,
    RootMeanSquaredError,
    Sequential,
    SoftmaxCrossEntropy,
    Standardize,
    Trainer,
)
from tinynet.plots.style import BLUE, VERMILION, panels

SPECIES = ["Adelie", "Chinstrap", "Gentoo"]
LENGTHS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm"]
SEXES = ["unknown", "female", "male"]
TASKS = {"both": [1.0, 1.0], "species alone": [1.0, 0.0], "mass alone": [0.0, 1.0]}  # weights


def build_network(lengths: Array, rng: np.random.Generator) -> Sequential:
    """(lengths (N, 3), sex (N,)) -> (logits of the species (N, 3), mass (N, 1))."""
    measured = [Standardize(3).fit(lengths), Dense(3, 32, rng=rng), ReLU()]
    inputs = Parallel([measured, Embedding(len(SEXES), 8, rng=rng)])
    heads = Heads([Dense(32, len(SPECIES), rng=rng), Dense(32, 1, rng=rng)])
    return Sequential([inputs, Dropout(0.1, rng=rng), Dense(40, 32, rng=rng), ReLU(), heads])


def draw(lengths: Array, species: Array, mass: Array, predicted: tuple[Array, Array]) -> Figure:
    """The species that was predicted for each test row, and its predicted mass."""
    figure, (left, right) = panels(2, columns=2, size=(4.6, 4.0))
    guess = predicted[0].argmax(axis=1)
    for number, (name, marker) in enumerate(zip(SPECIES, "o^s", strict=True)):
        rows = guess == number
        colours = np.where(species[rows] == number, BLUE, VERMILION)
        left.scatter(lengths[rows, 0], lengths[rows, 1], c=colours, marker=marker, label=name)
        right.scatter(mass[rows], predicted[1][rows, 0], c=BLUE, marker=marker, label=name)
    ends = [mass.min(), mass.max()]
    right.plot(ends, ends, color="black", linewidth=1)  # predicted = measured
    left.set(xlabel="bill length [mm]", ylabel="bill depth [mm]")
    left.set_title("Predicted species (mistakes in red)")
    right.set(xlabel="measured mass [kg]", ylabel="predicted mass [kg]")
    right.set_title("Predicted mass")
    left.legend()
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains a network for both tasks and one for each, and draws what the first predicts."""
    text = "Predict species and body mass with one network."
    parser = command_line.ExampleParser(text, epochs=60, batch_size=16, learning_rate=0.01)
    options = parser.parse(arguments)
    table = read_table(PENGUINS, "body_mass_g")
    lengths, mass = table[LENGTHS].to_numpy(), table["body_mass_g"].to_numpy() / 1000
    sex = table["sex"].fillna("unknown").map(SEXES.index).to_numpy()
    species = table["species"].map(SPECIES.index).to_numpy()
    rng = np.random.default_rng(options.seed)
    train, test = np.split(rng.permutation(len(table)), [len(table) * 7 // 10])
    print(f"{'network for':13}  accuracy of species  error of mass")
    for name, weights in TASKS.items():
        network = build_network(lengths[train], rng)
        loss = MultiTaskLoss([SoftmaxCrossEntropy(), MeanSquaredError()], weights=weights)
        metrics = [HeadMetric(0, Accuracy()), HeadMetric(1, RootMeanSquaredError())]
        optimizer = Adam(network.parameters(), options.learning_rate)
        trainer = Trainer(network, loss, optimizer, metrics=metrics)
        x, y = (lengths[train], sex[train]), (species[train], mass[train])
        trainer.fit(x, y, epochs=options.epochs, batch_size=options.batch_size)
        x, y = (lengths[test], sex[test]), (species[test], mass[test])
        _, accuracy, error = trainer.evaluate(x, y).values()
        cells = [f"{accuracy:.1%}", f"{1000 * error:.0f} g"]
        shown = [cell if weight else "-" for cell, weight in zip(cells, weights, strict=True)]
        print(f"{name:13}  {shown[0]:>19}  {shown[1]:>13}")
        if name == "both":
            figure = draw(x[0], *y, network.predict(x))
    command_line.save(options.output, {"two_heads": figure})


if __name__ == "__main__":
    command_line.run(main)
