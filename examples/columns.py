"""The part that the two table examples share: reading and splitting a table, and training.

A `TableEncoder` makes numbers of words and of missing values, and a `Standardize` in the network
brings them to around 0. Both are fitted to the training rows alone: test rows stay unseen.
"""

import math
import sys
from pathlib import Path
from textwrap import shorten
from typing import Any, NoReturn

import numpy as np
from command_line import ExampleParser

from tinynet import Array, Trainer
from tinynet.callbacks import EarlyStopping, ProgressBar
from tinynet.datasets import TableEncoder

try:
    import pandas as pd
except ImportError as missing:
    sys.exit(f'{missing}: this example needs pip install -e ".[examples]"')

PENGUINS = Path(__file__).parent / "penguins" / "penguins.csv"
FEWEST_ROWS = 10
TOO_LARGE = 1e30  # not a measurement: counts as missing, and so does infinity


def describe(encoder: TableEncoder) -> str:
    """The inputs that a network gets from the columns, in one line."""
    names = encoder.inputs
    return f"{len(encoder.columns)} columns make {len(names)} inputs: {_listed(names)}"


def parse_row(encoder: TableEncoder, text: str) -> pd.DataFrame:
    """A table of the one row in a text such as `sex=male,year=2009`; the rest is missing."""
    values: dict[str, Any] = dict.fromkeys(encoder.columns)
    for part in text.split(","):
        name, _, value = map(str.strip, part.partition("="))
        if not value or name not in values:
            fail(f"--predict: expected COLUMN=VALUE of {_listed(encoder.columns)}; got {part!r}")
        if values[name] is not None:
            fail(f"--predict: expected {name} once, got it twice")
        values[name] = _number(name, value) if name in encoder.means else value
    return pd.DataFrame([values])


def unseen(encoder: TableEncoder, table: pd.DataFrame) -> list[str]:
    """The categories of a table that no training row had, such as `island=Mars`."""
    fitted = encoder.categories.items()
    return [f"{n}={word}" for n, known in fitted for word in table[n].dropna() if word not in known]


def holds_numbers(column: "pd.Series[Any]") -> bool:
    """Whether these are numbers, and not words or True and False."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def read_table(path: Path, target: str) -> pd.DataFrame:
    """The rows of a CSV file that have a target; or the program ends in one line."""
    try:
        table = pd.read_csv(path, compression=None, low_memory=False)
    except (OSError, ValueError) as error:  # pandas raises a ValueError if it is no CSV file
        fail(f"{path}: {getattr(error, 'strerror', None) or error}")
    if target not in table:
        fail(f"--target {target}: expected one of {_listed(table.columns.tolist())}")
    if len(table.columns) == 1:
        fail(f"{path}: expected columns to predict {target} from, got none")
    for name, column in table.items():
        if holds_numbers(column):
            table[name] = column.where(column.abs() < TOO_LARGE)
    known = table[table[target].notna()]
    if len(known) < FEWEST_ROWS:
        fail(f"{path}: expected at least {FEWEST_ROWS} rows with {target}, got {len(known)}")
    print(f"{path.name}: {len(table)} rows, {len(known)} of them with {target}")
    return known


def split(rows: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Shuffled row numbers: 60 % for training, 20 % for early stopping, 20 % for testing."""
    train, validation, test = np.split(rng.permutation(rows), [rows * 6 // 10, rows * 8 // 10])
    print(f"rows: {len(train)} for training, {len(validation)} for validation, {len(test)} to test")
    return train, validation, test


def fit(
    trainer: Trainer, x: Array, y: Array, train: Array, validation: Array, *, epochs: int
) -> None:
    """Trains until the validation loss stops improving, and keeps the best weights."""
    stopping = EarlyStopping("validation_loss", patience=20)
    trainer.fit(
        x[train],
        y[train],
        epochs=epochs,
        batch_size=16,
        validation=(x[validation], y[validation]),
        callbacks=[stopping, ProgressBar(every=10)],
    )
    print(f"{trainer.epoch} epochs done; kept are the weights of epoch {stopping.best_epoch}")


def fail(message: str) -> NoReturn:
    """Ends the program with one line."""
    sys.exit(" ".join(message.split()))


class TableParser(ExampleParser):
    """The command line of both examples."""

    def __init__(self, description: str, target: str) -> None:
        super().__init__(description, epochs=200)
        add = self.add_argument
        add("csv", nargs="?", type=Path, default=PENGUINS, help="the table (default: penguins)")
        add("--target", default=target, help=f"column to predict (default {target})")


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not abs(number) < TOO_LARGE:  # also refuses NaN
        fail(f"--predict: expected a number for {name}, got {text!r}; leave out a missing value")
    return number


def _listed(names: list[str]) -> str:
    return shorten(", ".join(names), 300, placeholder=" ...")
