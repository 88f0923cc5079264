"""A network that classifies the rows of a table: python examples/tabular_classifier.py.

TableEncoder -> Standardize -> Dense -> ReLU -> Dropout -> Dense -> classes. The table is one of
penguins and their species, or any other CSV file. Prints accuracy and confusion matrix for test
rows, saves the network, loads it again, and predicts the row of `--predict`. `--help` lists the
options.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import command_line
import numpy as np
from columns import TableParser, describe, fail, fit, parse_row, read_table, split, unseen

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
    Standardize,
    Trainer,
    softmax,
)
from tinynet.datasets import TableEncoder

HIDDEN = 32  # units
ROWS_PER_CLASS = 5  # on average, at least: a target with fewer is a number or a name


def build_network(scale: Standardize, classes: int, rng: np.random.Generator) -> Sequential:
    """The network: x (N, inputs) as the encoder makes it -> logits (N, classes)."""
    return Sequential(
        [
            scale,
            Dense(scale.num_features, HIDDEN, rng=rng),
            ReLU(),
            Dropout(0.1, rng=rng),
            Dense(HIDDEN, classes, rng=rng),
        ]
    )


def save(
    folder: Path, network: Sequential, encoder: TableEncoder, classes: list[str]
) -> list[Path]:
    """Writes the network, and beside it the encoding of the inputs and the class names."""
    weights, encoding = folder / "tabular_classifier.npz", folder / "tabular_classifier.json"
    network.save(weights)
    text = json.dumps({"classes": classes, "encoder": asdict(encoder)}, indent=2)
    encoding.write_text(f"{text}\n", encoding="utf-8")
    return [weights, encoding]


def load(weights: Path, encoding: Path) -> tuple[Sequential, TableEncoder, list[str]]:
    """Reads the files of `save`: all that a program needs to predict new rows."""
    saved = json.loads(encoding.read_text(encoding="utf-8"))
    encoder, classes = TableEncoder(**saved["encoder"]), saved["classes"]
    scale = Standardize(len(encoder.inputs))
    network = build_network(scale, len(classes), np.random.default_rng())
    return network.load(weights), encoder, classes


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
    encoder = TableEncoder.fit(table.drop(columns=options.target).iloc[train])
    row = None if options.predict is None else parse_row(encoder, options.predict)
    print(describe(encoder))
    x = encoder.transform(table)
    scale = Standardize(len(encoder.inputs)).fit(x[train], features=encoder.numbers)
    options.output.mkdir(parents=True, exist_ok=True)  # before the work, not after it

    network = build_network(scale, len(classes), rng)
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

    paths = save(options.output, network, encoder, classes)
    network, encoder, classes = load(*paths)
    if not np.array_equal(network.predict(encoder.transform(table)[test]), logits):
        fail(f"{paths[0]}: expected the same predictions after loading, got others")
    print(f"wrote {paths[0]} and {paths[1]}")
    print("the loaded network predicts the same")
    if row is not None:
        for word in unseen(encoder, row):
            print(f"{word}: no training row has this category")
        probabilities = softmax(network.predict(encoder.transform(row)))[0]
        best = probabilities.argmax()
        print(f"{options.predict}: {classes[best]}, probability {probabilities[best]:.1%}")


if __name__ == "__main__":
    command_line.run(main)
