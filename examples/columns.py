"""What the two table examples share: reading a table, splitting it, making numbers of its columns.

A network takes numbers around 0. A table has numbers of any size, words, and gaps. `Columns` learns
from the training rows how to make the one of the other. It never looks at the test rows: they are
there to say how well the network does on rows that nobody has seen.
"""

import math
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any, NoReturn, Self

import numpy as np
from command_line import OneLineParser, whole

from tinynet import Array

try:
    import pandas as pd
except ImportError as missing:
    sys.exit(f'{missing}: this example needs pip install -e ".[examples]"')

PENGUINS = Path(__file__).parent / "penguins" / "penguins.csv"
MISSING = "missing"  # the category of a gap among words
MOST_CATEGORIES = 30  # of a column, the commonest: a name for each row would teach nothing
FEWEST_ROWS = 10
TOO_LARGE = 1e30  # no measurement any more: counts as a gap, and so does infinity


@dataclass(frozen=True)
class Columns:
    """How each column becomes inputs of a network, learned from the training rows alone.

    A column of numbers becomes (x - mean) / std, with the mean in place of a gap. If the training
    rows have gaps there, a second input is 1 for a gap and 0 for a number. Any other column becomes
    one input for each category, 1 for the one that it is and 0 for all others. A category that the
    training rows do not have is 0 everywhere.
    """

    means: dict[str, float]
    stds: dict[str, float]
    with_gaps: list[str]
    categories: dict[str, list[str]]

    @classmethod
    def fit(cls, table: pd.DataFrame) -> Self:
        """Learns from a table of training rows."""
        columns = {str(name): column for name, column in table.items()}
        numbers = {name: column for name, column in columns.items() if holds_numbers(column)}
        words = {name: column for name, column in columns.items() if name not in numbers}
        return cls(
            # Without a number there is no mean, and without two different ones nothing to scale.
            means={n: float(c.mean()) if c.count() else 0.0 for n, c in numbers.items()},
            stds={n: float(c.std(ddof=0)) if c.nunique() > 1 else 1.0 for n, c in numbers.items()},
            with_gaps=[name for name, column in numbers.items() if column.isna().any()],
            categories={name: _commonest(_words(column)) for name, column in words.items()},
        )

    @property
    def names(self) -> list[str]:
        """The columns that a table has to have."""
        return [*self.means, *self.categories]

    @property
    def inputs(self) -> list[str]:
        """A name for each input, such as `year`, `year is missing` or `sex=male`."""
        gaps = [f"{name} is missing" for name in self.with_gaps]
        words = [f"{name}={word}" for name, known in self.categories.items() for word in known]
        return [*self.means, *gaps, *words]

    def __str__(self) -> str:
        return f"{len(self.names)} columns make {len(self.inputs)} inputs: {_listed(self.inputs)}"

    def transform(self, table: pd.DataFrame) -> Array:
        """A table of N rows, new ones too -> x (N, inputs)."""
        x: list[pd.Series[Any]] = []
        for name, mean in self.means.items():
            x += [(table[name].astype(float).fillna(mean) - mean) / self.stds[name]]
        for name in self.with_gaps:
            x += [table[name].isna()]
        for name, known in self.categories.items():
            x += [_words(table[name]) == word for word in known]
        return np.column_stack(x).astype(np.float32)

    def row(self, text: str) -> pd.DataFrame:
        """A table of the one row in a text such as `sex=male,year=2009`; what it lacks is a gap."""
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
        """What a table has of categories that were not learned, such as `island=Mars`."""
        learned = self.categories.items()
        return [
            f"{n}={word}" for n, known in learned for word in table[n].dropna() if word not in known
        ]

    def to_json(self) -> dict[str, Any]:
        """All of it, as `json.dumps` takes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Self:
        """Makes columns of what `to_json` gave."""
        return cls(**saved)


def holds_numbers(column: "pd.Series[Any]") -> bool:
    """Whether these are numbers, and not words or True and False."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def read_table(path: Path, target: str) -> pd.DataFrame:
    """The rows of a CSV file that have a target; or the program ends in one line."""
    try:
        table = pd.read_csv(path, compression=None, low_memory=False)
    except (OSError, ValueError) as error:  # what is no CSV file is a ValueError of pandas
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
    """The numbers of the rows, shuffled: 60 % to train, 20 % to know when to stop, 20 % to test."""
    train, validation, test = np.split(rng.permutation(rows), [rows * 6 // 10, rows * 8 // 10])
    held_out = f"{len(validation)} to know when to stop, {len(test)} to test on"
    print(f"{len(train)} rows to train on, {held_out}")
    return train, validation, test


def fail(message: str) -> NoReturn:
    """Ends the program with one line."""
    sys.exit(" ".join(message.split()))


class TableParser(OneLineParser):
    """A command line with what both examples take; it says in one line what is wrong."""

    def __init__(self, description: str, target: str) -> None:
        super().__init__(description=description)
        add, at_least_0 = self.add_argument, partial(whole, at_least=0)
        add("csv", nargs="?", type=Path, default=PENGUINS, help="the table (default: penguins)")
        add("--target", default=target, help=f"column to predict (default {target})")
        add("--epochs", type=whole, default=200, help="passes over the data, at most (default 200)")
        add("--seed", type=at_least_0, default=0, help="of split, weights, order (default 0)")
        add("--output", type=Path, default=Path("output"), help="folder (default output)")


def _words(column: "pd.Series[Any]") -> "pd.Series[str]":
    return column.astype(object).where(column.notna(), MISSING).astype(str)


def _commonest(words: "pd.Series[str]") -> list[str]:
    counts = words.value_counts()
    return sorted(sorted(counts.index, key=lambda word: (-counts[word], word))[:MOST_CATEGORIES])


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not abs(number) < TOO_LARGE:  # written so that NaN is refused, too
        fail(f"--predict: expected a number for {name}, got {text!r}; leave out what is missing")
    return number


def _listed(names: list[str]) -> str:
    return shorten(", ".join(names), 300, placeholder=" ...")
