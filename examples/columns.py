"""The part that the two table examples share: reading, splitting and encoding a table, training.

The inputs of a network are numbers around 0; a table has numbers of any size, words, and missing
values. `Columns` is fitted to the training rows alone, so that the test rows stay unseen.
"""

import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any, NoReturn, Self

import numpy as np
from command_line import ExampleParser

from tinynet import Array, Trainer
from tinynet.callbacks import EarlyStopping, ProgressBar

try:
    import pandas as pd
except ImportError as missing:
    sys.exit(f'{missing}: this example needs pip install -e ".[examples]"')

PENGUINS = Path(__file__).parent / "penguins" / "penguins.csv"
MISSING = "missing"  # the category of a missing word
MOST_CATEGORIES = 30  # of a column, the most frequent: a category for each row would teach nothing
FEWEST_ROWS = 10
TOO_LARGE = 1e30  # not a measurement: counts as missing, and so does infinity


@dataclass(frozen=True)
class Columns:
    """The encoding of each column, fitted to the training rows.

    A column of numbers is standardized: (x - mean) / std, with the mean for a missing value. If
    training values are missing, a second input is 1 for a missing value and 0 for a number. Any
    other column is one-hot encoded: one input for each category, 1 for the category of the row. A
    category that no training row has is 0 everywhere.
    """

    means: dict[str, float]
    stds: dict[str, float]
    with_missing: list[str]
    categories: dict[str, list[str]]

    @classmethod
    def fit(cls, table: pd.DataFrame) -> Self:
        """Computes means, deviations and categories of the training rows."""
        columns = {str(name): column for name, column in table.items()}
        numbers = {name: column for name, column in columns.items() if holds_numbers(column)}
        words = {name: column for name, column in columns.items() if name not in numbers}
        return cls(
            # Without a number there is no mean, and without two different ones no deviation.
            means={n: float(c.mean()) if c.count() else 0.0 for n, c in numbers.items()},
            stds={n: float(c.std(ddof=0)) if c.nunique() > 1 else 1.0 for n, c in numbers.items()},
            with_missing=[name for name, column in numbers.items() if column.isna().any()],
            categories={name: _most_frequent(_words(column)) for name, column in words.items()},
        )

    @property
    def names(self) -> list[str]:
        """The columns that a table has to have."""
        return [*self.means, *self.categories]

    @property
    def inputs(self) -> list[str]:
        """A name for each input, such as `year`, `year is missing` or `sex=male`."""
        missing = [f"{name} is missing" for name in self.with_missing]
        words = [f"{name}={word}" for name, known in self.categories.items() for word in known]
        return [*self.means, *missing, *words]

    def __str__(self) -> str:
        return f"{len(self.names)} columns make {len(self.inputs)} inputs: {_listed(self.inputs)}"

    def transform(self, table: pd.DataFrame) -> Array:
        """A table of N rows, new ones too -> x (N, inputs)."""
        x: list[pd.Series[Any]] = []
        for name, mean in self.means.items():
            x += [(table[name].astype(float).fillna(mean) - mean) / self.stds[name]]
        for name in self.with_missing:
            x += [table[name].isna()]
        for name, known in self.categories.items():
            x += [_words(table[name]) == word for word in known]
        return np.column_stack(x).astype(np.float32)

    def row(self, text: str) -> pd.DataFrame:
        """A table of the one row in a text such as `sex=male,year=2009`; the rest is missing."""
        values: dict[str, Any] = dict.fromkeys(self.names)
        for part in text.split(","):
            name, _, value = map(str.strip, part.partition("="))
            if not value or name not in values:
                fail(f"--predict: expected COLUMN=VALUE of {_listed(self.names)}; got {part!r}")
            if values[name] is not None:
                fail(f"--predict: expected {name} once, got it twice")
            values[name] = _number(name, value) if name in self.means else value
        return pd.DataFrame([values])

    def unseen(self, table: pd.DataFrame) -> list[str]:
        """The categories of a table that no training row had, such as `island=Mars`."""
        fitted = self.categories.items()
        return [
            f"{n}={word}" for n, known in fitted for word in table[n].dropna() if word not in known
        ]

    def to_json(self) -> dict[str, Any]:
        """All of it, as `json.dumps` takes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Self:
        """Makes columns from the result of `to_json`."""
        return cls(**saved)


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


def _words(column: "pd.Series[Any]") -> "pd.Series[str]":
    return column.astype(object).where(column.notna(), MISSING).astype(str)


def _most_frequent(words: "pd.Series[str]") -> list[str]:
    counts = words.value_counts()
    return sorted(sorted(counts.index, key=lambda word: (-counts[word], word))[:MOST_CATEGORIES])


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
