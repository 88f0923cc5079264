"""TableEncoder: the columns of a table, numbers and words with gaps, as an array of numbers."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Self, final

import numpy as np

from tinynet.errors import InputError
from tinynet.parameter import Array
from tinynet.validation import check_array, first_index, whole_number

MISSING = "missing"  # the category of a missing word


@final
@dataclass(frozen=True)
class TableEncoder:
    """Encodes the columns of a table: a pandas DataFrame, or a dict of columns of one length.

    Columns of numbers come first, with the mean of the fitted rows in place of a missing value.
    Then, for each column with missing values in the fitted rows, 1 for a missing value and 0 for a
    number. Any other column is one-hot encoded: 1 for the category of the row, 0 for the others;
    `missing` is a category, and one that no fitted row has is 0 everywhere. None, NaN and what
    pandas calls missing is missing.

    `fit` it to the training rows alone. `dataclasses.asdict(encoder)` can be written as JSON, and
    `TableEncoder(**saved)` is the same encoder.

    Raises:
        InputError: no table, a missing column, infinite numbers, or words where numbers were.

    >>> encoder = TableEncoder.fit({"age": [22.0, None, 38.0], "sex": ["m", "f", "m"]})
    >>> encoder.inputs
    ['age', 'age is missing', 'sex=f', 'sex=m']
    >>> encoder.transform({"age": [54.0, None], "sex": ["f", "x"]}).tolist()
    [[54.0, 0.0, 1.0, 0.0], [30.0, 1.0, 0.0, 0.0]]
    """

    means: dict[str, float]  # of columns of numbers
    with_missing: list[str]
    categories: dict[str, list[str]]  # of the other columns

    @classmethod
    def fit(cls, table: Any, *, max_categories: int = 30) -> Self:
        """Takes the means and the most frequent categories of the rows of a table."""
        most = whole_number("TableEncoder", "max_categories", max_categories)
        means: dict[str, float] = {}
        with_missing, categories = [], {}
        for name in _names(table):
            values, missing = _column(table, name)
            if _are_numbers(values, missing):
                known = _numbers(name, values, missing)[~missing]
                means[name] = float(known.mean()) if known.size else 0.0
                with_missing += [name] if missing.any() else []
            else:
                counts = Counter(_words(values, missing))
                frequent = sorted(counts, key=lambda word: (-counts[word], word))
                categories[name] = sorted(frequent[:most])
        return cls(means, with_missing, categories)

    @property
    def columns(self) -> list[str]:
        """The columns that a table has to have."""
        return [*self.means, *self.categories]

    @property
    def numbers(self) -> slice:
        """Where the columns of numbers are in x: `Standardize(D).fit(x, features=...)`."""
        return slice(len(self.means))

    @property
    def inputs(self) -> list[str]:
        """A name for each column of x, such as `age`, `age is missing` or `sex=male`."""
        words = [f"{name}={word}" for name, known in self.categories.items() for word in known]
        return [*self.means, *(f"{name} is missing" for name in self.with_missing), *words]

    def transform(self, table: Any) -> Array:
        """A table of N rows, new ones too -> x (N, inputs) in float64, for a `Standardize`."""
        names = _names(table)
        if absent := [name for name in self.columns if name not in names]:
            raise InputError(
                f"TableEncoder expects the columns {', '.join(self.columns)}, "
                f"got none of {', '.join(absent)}"
            )
        numbers, gaps, words = [], [], []
        for name, mean in self.means.items():
            values, missing = _column(table, name)
            numbers.append(np.where(missing, mean, _numbers(name, values, missing)))
            gaps += [missing] if name in self.with_missing else []
        for name, known in self.categories.items():
            column = np.array(_words(*_column(table, name)), object)
            words += [column == word for word in known]
        return np.column_stack([*numbers, *gaps, *words]).astype(np.float64)


def _names(table: Any) -> list[str]:
    if not (isinstance(table, Mapping) or hasattr(table, "columns")):
        got = type(table).__name__
        raise InputError(f"TableEncoder expects a pandas DataFrame or a dict of columns, got {got}")
    if other := [name for name in table if not isinstance(name, str)]:
        raise InputError(
            f"TableEncoder expects strings as names of columns, got {other[0]!r}; "
            "table.rename(columns=str) makes them"
        )
    lengths = {name: len(table[name]) for name in table}
    if len(set(lengths.values())) != 1:
        raise InputError(
            f"TableEncoder expects at least one column, and columns of one length, got {lengths}"
        )
    return list(table)


def _column(table: Any, name: str) -> tuple[Array, Array]:
    """The values of a column, and where they are missing."""
    column = table[name]
    if isinstance(column, np.ndarray):
        check_array("TableEncoder", f"column {name!r}", column, numbers=False)
    # Of a list with words NumPy would make the word nan of NaN.
    values = np.asarray(column, None if hasattr(column, "dtype") else object)
    if values.ndim != 1 or values.dtype.kind in "cmMV":
        raise InputError(
            f"TableEncoder expects numbers, words or True and False in column {name!r}, "
            f"got {values.dtype} of shape {values.shape}; column.dt.year and the like make numbers "
            "of dates"
        )
    if hasattr(column, "isna"):  # of pandas, which has values for it that are neither None nor NaN
        return values, np.asarray(column.isna())
    return values, np.array([value is None or bool(value != value) for value in values], bool)


def _are_numbers(values: Array, missing: Array) -> bool:
    """Whether these are numbers, or all missing, and not words or True and False."""
    if values.dtype.kind in "iuf":
        return True
    kinds = [isinstance(value, Real) and not isinstance(value, bool) for value in values[~missing]]
    return values.dtype.kind == "O" and len(kinds) > 0 and all(kinds)


def _numbers(name: str, values: Array, missing: Array) -> Array:
    """The numbers in float64, with 0 where they are missing."""
    known = np.where(missing, 0, values)
    try:
        numbers = known.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"TableEncoder expects numbers in column {name!r}, {error}; "
            f"pd.to_numeric(table[{name!r}], errors='coerce') makes gaps of words"
        ) from error
    wrong = np.isinf(numbers)
    if wrong.any():
        (row,) = first_index(wrong)
        raise InputError(
            f"TableEncoder expects finite numbers in column {name!r}, got {numbers[row]} in row "
            f"{row}; table.replace([np.inf, -np.inf], np.nan) makes them missing"
        )
    return numbers


def _words(values: Array, missing: Array) -> list[str]:
    return [MISSING if gap else str(value) for value, gap in zip(values, missing, strict=True)]
