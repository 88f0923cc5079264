"""A network that classifies the rows of a table: python examples/tabular_classifier.py.

columns -> Dense -> ReLU -> Dropout -> Dense -> classes. The table is one of penguins and their
species, or any other CSV file. Prints accuracy and confusion matrix for test rows, saves the
network, loads it again, and predicts the row of `--predict`. `--help` lists the options.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import command_line
import numpy as np
from columns import Columns, TableParser, fail, fit, read_table, split

from tinynet import (
    Accuracy,
    AdamW,
    Array,
    ConfusionMatrix,
    Dense,
    Dropout,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
    softmax,
)

HIDDEN = 32  # units
ROWS_PER_CLASS = 5  # on average, at least: a target with fewer is a number or a name


def build_network(inputs: int, classes: int, rng: np.random.Generator) -> Sequential:
    """The network: x (N, inputs) -> logits (N, classes)."""
    return Sequential(
        [
            Dense(inputs, HIDDEN, rng=rng),
            ReLU(),
            Dropout(0.1, rng=rng),
            Dense(HIDDEN, classes, rng=rng),
        ]
    )


def save(folder: Path, network: Sequential, columns: Columns, classes: list[str]) -> list[Path]:
    """Writes the weights, and beside them the encoding of the inputs and the class names."""
    weights, encoding = folder / "tabular_classifier.npz", folder / "tabular_classifier.json"
    network.save(weights)
    text = json.dumps({"classes": classes, "columns": columns.to_json()}, indent=2)
    encoding.write_text(f"{text}\n", encoding="utf-8")
    return [weights, encoding]


def load(weights: Path, encoding: Path) -> tuple[Sequential, Columns, list[str]]:
    """Reads the files of `save`: all that a program needs to predict new rows."""
    saved = json.loads(encoding.read_text(encoding="utf-8"))
    columns, classes = Columns.from_json(saved["columns"]), saved["classes"]
    network = build_network(len(columns.inputs), len(classes), np.random.default_rng())
    return network.load(weights), columns, classes


def print_confusion(counts: Array, classes: list[str]) -> None:
    """A row per label, a column per prediction, and the share of each row that is right."""
    width = max(8, *map(len, classes))
    print("confusion matrix, a row per label and a column per prediction:")
    print("".join(f"{name:>{width + 2}}" for name in ["", *classes, "right"]))
    for name, row, right in zip(classes, counts, counts.diagonal(), strict=True):
        share = f"{right / row.sum():.1%}" if row.any() else "-"
        print("".join(f"{cell:>{width + 2}}" for cell in [name, *row, share]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads, trains, tests, saves, loads and predicts."""
    parser = TableParser("Train a network to predict the class of a row.", target="species")
    text = 'one row, such as "island=Biscoe,bill_length_mm=50" (default: none)'
    parser.add_argument("--predict", help=text)
    options = parser.parse_args(arguments)
    table = read_table(options.csv, options.target)
    names, labels = np.unique(table[options.target].astype(str), return_inverse=True)
    classes = [str(name) for name in names]
    most = len(table) // ROWS_PER_CLASS
    if not 2 <= len(classes) <= most:
        got = f"got {len(classes)}; numbers are for tabular_regression.py"
        fail(f"--target {options.target}: expected 2 to {most} classes in {len(table)} rows, {got}")

    rng = np.random.default_rng(options.seed)
    train, validation, test = split(len(table), rng)
    columns = Columns.fit(table.drop(columns=options.target).iloc[train])
    row = None if options.predict is None else columns.row(options.predict)
    print(columns)
    x = columns.transform(table)
    options.output.mkdir(parents=True, exist_ok=True)  # before the work, not after it

    network = build_network(len(columns.inputs), len(classes), rng)
    network.summary(x[:1])
    optimizer = AdamW(network.parameters(), learning_rate=0.003)
    loss = SoftmaxCrossEntropy()
    trainer = Trainer(network, loss, optimizer, metrics=[Accuracy()], seed=options.seed)
    fit(trainer, x, labels, train, validation, epochs=options.epochs)

    logits = network.predict(x[test])
    counts = ConfusionMatrix(len(classes))(logits, labels[test])["confusion_matrix"]
    right, total = counts.trace(), counts.sum()
    print(f"test accuracy {right / total:.2%}, {right} of {total} rows")
    print_confusion(counts, classes)

    paths = save(options.output, network, columns, classes)
    network, columns, classes = load(*paths)
    if not np.array_equal(network.predict(columns.transform(table)[test]), logits):
        fail(f"{paths[0]}: expected the same predictions after loading, got others")
    print(f"wrote {paths[0]} and {paths[1]}")
    print("the loaded network predicts the same")
    if row is not None:
        for word in columns.unseen(row):
            print(f"{word}: no training row has this category")
        probabilities = softmax(network.predict(columns.transform(row)))[0]
        best = probabilities.argmax()
        print(f"{options.predict}: {classes[best]}, probability {probabilities[best]:.1%}")


if __name__ == "__main__":
    command_line.run(main)
