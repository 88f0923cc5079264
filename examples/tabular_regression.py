"""A network that predicts a number from a table row: python examples/tabular_regression.py.

TableEncoder -> Standardize -> Dense -> ReLU -> Dropout -> Dense -> number. The table is one of
penguins and their body mass in grams, or any other CSV file. Prints the error on test rows beside
that of two baselines: the mean, and least squares, which is hard to beat on a table so small.
`--help` lists the options.
"""

from collections.abc import Sequence

import command_line
import numpy as np
from columns import TableParser, describe, fail, fit, holds_numbers, read_table, split
from matplotlib.figure import Figure

from tinynet import (
    AdamW,
    Array,
    Dense,
    Dropout,
    MeanSquaredError,
    ReLU,
    Sequential,
    Standardize,
    Trainer,
)
from tinynet.datasets import TableEncoder
from tinynet.plots.style import BLUE, VERMILION

HIDDEN = 32  # units
UNITS = ("g", "kg", "mm", "cm", "m", "s")  # endings of names such as body_mass_g


def build_network(scale: Standardize, rng: np.random.Generator) -> Sequential:
    """The network: x (N, inputs) as the encoder makes it -> y (N, 1)."""
    return Sequential(
        [
            scale,
            Dense(scale.num_features, HIDDEN, rng=rng),
            ReLU(),
            Dropout(0.1, rng=rng),
            Dense(HIDDEN, 1, rng=rng),
        ]
    )


def least_squares(x: Array, y: Array, new_x: Array) -> Array:
    """Linear regression: the y of new rows by the weights that minimize the error on (x, y)."""
    weights = np.linalg.lstsq(_with_ones(x), y, rcond=None)[0]
    predicted: Array = _with_ones(new_x) @ weights
    return predicted


def _with_ones(x: Array) -> Array:
    return np.column_stack([np.ones(len(x)), x])  # the weight of the ones is the bias


def rmse(predicted: Array | float, measured: Array) -> float:
    """The root mean squared error, in the unit of the target."""
    return float(np.sqrt(np.mean((predicted - measured) ** 2)))


def draw(measured: Array, predictions: dict[str, Array], target: str) -> Figure:
    """Predicted against measured values, and the residuals."""
    target = f"{target:.40}".replace("$", r"\$")  # a dollar would begin a formula
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    styles = ({"marker": "o", "color": BLUE}, {"marker": "x", "color": VERMILION})
    for (name, predicted), style in zip(predictions.items(), styles, strict=True):
        left.scatter(measured, predicted, s=22, label=name, **style)
        right.scatter(predicted, measured - predicted, s=22, label=name, **style)
    everything = [measured, *predictions.values()]
    ends = [np.min(everything), np.max(everything)]
    left.plot(ends, ends, color="black", linewidth=1)  # predicted = measured
    right.axhline(0, color="black", linewidth=1)
    left.set(title="Predictions of test rows", aspect="equal")
    left.set(xlabel=f"measured {target}", ylabel=f"predicted {target}")
    right.set(title="Residuals (above 0: predicted too low)")
    right.set(xlabel=f"predicted {target}", ylabel="measured - predicted")
    left.legend(loc="upper left")
    for axis in (left, right):
        axis.grid(alpha=0.3)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads, trains, compares and draws."""
    parser = TableParser("Train a network to predict a number of a row.", target="body_mass_g")
    options = parser.parse_args(arguments)
    table = read_table(options.csv, options.target)
    if not holds_numbers(table[options.target]):
        fail(f"--target {options.target}: expected numbers; words are for tabular_classifier.py")
    y = table[options.target].to_numpy(float)

    rng = np.random.default_rng(options.seed)
    train, validation, test = split(len(table), rng)
    encoder = TableEncoder.fit(table.drop(columns=options.target).iloc[train])
    print(describe(encoder))
    x = encoder.transform(table)
    if len(np.unique(y[train])) < 2:
        fail(f"--target {options.target}: expected different numbers, got {y[train[0]]:g} alone")
    scale = Standardize(len(encoder.inputs)).fit(x[train], features=encoder.numbers)
    y_scale = Standardize(1).fit(y[train])
    options.output.mkdir(parents=True, exist_ok=True)  # before the work, not after it

    network = build_network(scale, rng)
    network.summary(x[:1])
    optimizer = AdamW(network.parameters(), learning_rate=0.003)
    trainer = Trainer(network, MeanSquaredError(), optimizer, seed=options.seed)
    fit(trainer, x, y_scale(y), train, validation, epochs=options.epochs)

    predictions = {
        "network": y_scale.inverse(network.predict(x[test])[:, 0]),
        "least squares": least_squares(x[train], y[train], x[test]),
    }
    ending = options.target.rpartition("_")[2]
    unit = f" {ending}" if ending in UNITS else ""
    print(f"root mean squared error of {options.target} on {len(test)} test rows:")
    for name, predicted in ({"mean": y[train].mean()} | predictions).items():
        error = np.format_float_positional(rmse(predicted, y[test]), 4, fractional=False, trim="-")
        print(f"  {name:13}  {error}{unit}")
    picture = draw(y[test], predictions, options.target)
    command_line.save(options.output, {"tabular_regression": picture})


if __name__ == "__main__":
    command_line.run(main)
