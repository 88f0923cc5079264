"""A network learns to tell the rows of a table apart: python examples/tabular_classifier.py.

columns -> Dense -> ReLU -> Dropout -> Dense -> classes. The table is one of penguins, and the class
their species; any other CSV file will do. Prints how many test rows are read right, saves the
network, loads it again and predicts a row of yours. `--help` lists what can be changed.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from columns import Columns, TableParser, fail, read_table, split

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
from tinynet.callbacks import EarlyStopping, ProgressBar
from tinynet.errors import CheckpointError

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
    """Writes the network and, beside it, what its inputs and outputs mean."""
    weights, meaning = folder / "tabular_classifier.npz", folder / "tabular_classifier.json"
    network.save(weights)
    text = json.dumps({"classes": classes, "columns": columns.to_json()}, indent=2)
    meaning.write_text(f"{text}\n", encoding="utf-8")
    return [weights, meaning]


def load(weights: Path, meaning: Path) -> tuple[Sequential, Columns, list[str]]:
    """What `save` wrote: a network of the same build, with the saved weights in it."""
    saved = json.loads(meaning.read_text(encoding="utf-8"))
    columns, classes = Columns.from_json(saved["columns"]), saved["classes"]
    network = build_network(len(columns.inputs), len(classes), np.random.default_rng())
    return network.load(weights), columns, classes


def print_confusion(counts: Array, classes: list[str]) -> None:
    """A row for each class: how often it was read as each, and the share read right."""
    width = max(8, *map(len, classes))
    print("a row for each class, a column for what it was read as:")
    print("".join(f"{name:>{width + 2}}" for name in ["", *classes, "right"]))
    for name, row, hits in zip(classes, counts, counts.diagonal(), strict=True):
        share = f"{hits / row.sum():.1%}" if row.any() else "-"
        print("".join(f"{cell:>{width + 2}}" for cell in [name, *row, share]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads, trains, tests, saves, loads and predicts."""
    parser = TableParser("Train a network to predict the class of a row.", target="species")
    parser.add_argument("--predict", help='one row, such as "island=Biscoe,bill_length_mm=50"')
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
    try:
        options.output.mkdir(parents=True, exist_ok=True)  # before the work, not after it
    except OSError as error:
        fail(f"{error}")

    network = build_network(len(columns.inputs), len(classes), rng)
    network.summary(x[:1])
    optimizer = AdamW(network.parameters(), learning_rate=0.003)
    trainer = Trainer(
        network, SoftmaxCrossEntropy(), optimizer, metrics=[Accuracy()], seed=options.seed
    )
    stopping = EarlyStopping("validation_loss", patience=20)
    trainer.fit(
        x[train],
        labels[train],
        epochs=options.epochs,
        batch_size=16,
        validation=(x[validation], labels[validation]),
        callbacks=[stopping, ProgressBar(every=10)],
    )
    print(f"{trainer.epoch} epochs done; kept are the weights of epoch {stopping.best_epoch}")

    logits = network.predict(x[test])
    counts = ConfusionMatrix(len(classes))(logits, labels[test])["confusion_matrix"]
    right = counts.trace() / counts.sum()
    print(f"test accuracy {right:.2%}, {counts.trace()} of {counts.sum()} rows")
    print_confusion(counts, classes)

    try:
        paths = save(options.output, network, columns, classes)
    except (CheckpointError, OSError) as error:
        fail(f"{error}")
    network, columns, classes = load(*paths)
    # A program of your own needs `load` alone to predict.
    if not np.array_equal(network.predict(columns.transform(table)[test]), logits):
        fail(f"{paths[0]}: expected the predictions of before, got others")
    print(f"wrote {paths[0]} and {paths[1]}")
    print("loaded again, they predict the same")
    if row is not None:
        for word in columns.unseen(row):
            print(f"{word}: not a category that the network has learned")
        probabilities = softmax(network.predict(columns.transform(row)))[0]
        best = probabilities.argmax()
        print(f"{options.predict}: {classes[best]}, {probabilities[best]:.1%} sure")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped before the network was saved")
