"""CSV files of images with 28 by 28 pixels, a row for each: raw, gzipped, or one in a zip file.

label,pixel0,...,pixel783    the form of Kaggle; also pixel1,...,pixel784 or 1x1,1x2,...,28x28
pixel0,...,pixel783,label    the label may stand elsewhere, or be called class or target
pixel0,...,pixel783          images alone, as in a test.csv of Kaggle
id,label,pixel0,...          the first column may be an index: id, index, or without a name
5,0,0,...                    without a header, the label is the first or the last column
"""

import csv
import gzip
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast
from zipfile import BadZipFile, ZipFile

import numpy as np

from tinynet.errors import DatasetError
from tinynet.parameter import Array
from tinynet.validation import first_index

if TYPE_CHECKING:
    import pandas as pd

SIDE, PIXELS = 28, 28 * 28
COLUMNS = ["label", *(f"pixel{i}" for i in range(PIXELS))]
LABELS = ("label", "labels", "class", "target")
INDICES = ("", "id", "index", "imageid", "unnamed: 0")
ROWS_AT_A_TIME = 5000  # 31 MB in pandas
LONGEST_ROW = 1 << 16  # characters


@dataclass(frozen=True)
class Layout:
    """The columns of a file, without its index column, and which of them may be the label."""

    header: bool
    index: bool
    names: list[str]
    labels: tuple[int, ...]  # none, the one, or two of which the entries decide

    def largest(self) -> Array:
        """The largest number that each column may have."""
        largest = np.full(len(self.names), 255)
        if len(self.labels) == 1:
            largest[self.labels] = 9
        return largest


def load_mnist_csv(path: str | Path) -> tuple[Array, Array | None]:
    """Returns images (N, 28, 28) uint8 and labels (N,) int64, or None if the file has no labels.

    The columns are found by the header, such as `label,pixel0,...,pixel783` or the names that
    docs/training.md lists. Without a header, 784 columns are pixels, and of 785 columns the first
    or the last is the label: the one with numbers from 0 to 9, a third of them above 0. The file
    may be a .csv, a .csv.gz, or a .zip of one .csv.

    Raises:
        DatasetError: the file cannot be read, has no rows, other columns or such that both might be
            the label, or an entry that is no whole number in range; the message names its column,
            and its row, counted from 1 below the header.
        ImportError: pandas is not installed.
    """
    path = Path(path)
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            f"reading {path} needs pandas: in a clone, pip install -e '.[examples]'"
        ) from error
    try:
        layout = _layout(path, _first_row(path))
        blocks = _blocks(path, layout)
    except (
        OSError,
        EOFError,
        zlib.error,
        UnicodeError,
        csv.Error,
        BadZipFile,
        NotImplementedError,  # a compression method that zipfile does not know
        RuntimeError,  # a zip file with a password
        pd.errors.EmptyDataError,
        pd.errors.ParserError,
        pd.errors.ParserWarning,
    ) as error:
        got = f"{type(error).__name__}: {str(error).strip()}"
        raise DatasetError(path, "a readable CSV file", got) from error
    labels = None
    if layout.labels:
        label = layout.labels[0] if len(layout.labels) == 1 else _label_column(path, blocks)
        labels = np.concatenate([block[:, label] for block in blocks]).astype(np.int64)
        for k, block in enumerate(blocks):  # one after the other, to save memory
            blocks[k] = np.delete(block, label, axis=1)
    return np.concatenate(blocks).reshape(-1, SIDE, SIDE), labels


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The CSV file, unzipped as its first bytes say."""
    with path.open("rb") as file:
        start = file.peek(4)[:4]
        if start[:2] == b"\x1f\x8b":
            with gzip.open(file) as unzipped:
                yield cast("BinaryIO", unzipped)
        elif start in (b"PK\x03\x04", b"PK\x05\x06"):
            with ZipFile(file) as archive, archive.open(_member(path, archive)) as member:
                yield cast("BinaryIO", member)
        else:
            yield file


def _member(path: Path, archive: ZipFile) -> str:
    names = [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
    tables = [name for name in names if name.lower().endswith(".csv")]
    if len(tables) != 1:
        got = f"{len(tables)}: {', '.join(tables)}" if tables else "none"
        raise DatasetError(path, "one .csv file in the zip file", f"{got}; unzip it first")
    return tables[0]


def _first_row(path: Path) -> list[str]:
    with _opened(path) as file:
        text = TextIOWrapper(file, "utf-8-sig", newline="")
        # A longer row is none of pixels, and a whole file without an end of line could be large.
        for row in csv.reader(iter(partial(text.readline, LONGEST_ROW), "")):
            if row:
                return [entry.strip() for entry in row]
    raise EOFError("there is no row")


def _layout(path: Path, names: list[str]) -> Layout:
    """The layout of a file with these entries in its first row."""
    index = names[0].lower() in INDICES
    columns = names[index:]
    counted = columns in [[str(start + k) for k in range(len(columns))] for start in (0, 1)]
    header = index or counted or not all(map(_is_number, names))
    labels: tuple[int, ...]
    if counted or not header:  # nothing says which column is what
        if not PIXELS <= len(columns) <= PIXELS + 1:
            expected = f"{PIXELS} columns, or {PIXELS + 1} with a label"
            raise DatasetError(path, expected, _shown(names))
        labels = (0, -1) if len(columns) > PIXELS else ()
        columns = [str(1 + k) for k in range(len(columns))]
    else:
        labels = tuple(k for k, name in enumerate(columns) if name.lower() in LABELS)
        pixels = [name for k, name in enumerate(columns) if k not in labels]
        if not _are_pixels(pixels) or len(labels) > 1:
            raise _other_columns(path, names)
    return Layout(header, index, columns, labels)


def _are_pixels(names: list[str]) -> bool:
    """Whether the names are 784 numbers in order, from 0 or 1, alone or after the same word."""
    if len(names) != PIXELS:
        return False
    if all(re.fullmatch(r"\d+x\d+", name, re.ASCII) for name in names):
        places = [tuple(map(int, name.split("x"))) for name in names]
        return any(
            places == [(row + start, column + start) for row, column in np.ndindex(SIDE, SIDE)]
            for start in (0, 1)
        )
    parts = [re.fullmatch(r"(\D*)(\d+)", name, re.ASCII) for name in names]
    words = {part[1] for part in parts if part}
    numbers = [int(part[2]) for part in parts if part]
    return len(words) == 1 and numbers in (list(range(PIXELS)), list(range(1, PIXELS + 1)))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _other_columns(path: Path, names: list[str]) -> DatasetError:
    ends = ((names[0], names[1:]), (names[-1], names[:-1]))
    unknown = [name for name, others in ends if _are_pixels(others)]
    hint = f"; rename {unknown[0]:.20} to label or to id" if unknown else ""
    return DatasetError(path, "the columns label, pixel0, ..., pixel783", f"{_shown(names)}{hint}")


def _shown(names: list[str]) -> str:
    return f"{len(names)}: {', '.join(f'{name:.20}' for name in names[:3])}, ..."


def _blocks(path: Path, layout: Layout) -> list[Array]:
    """The rows of the file without its index column, some thousand at a time."""
    import pandas as pd

    with warnings.catch_warnings(), _opened(path) as file:
        warnings.simplefilter("error", pd.errors.ParserWarning)  # pandas would drop columns
        header = 0 if layout.header else None
        with pd.read_csv(
            file, header=header, chunksize=ROWS_AT_A_TIME, index_col=False, low_memory=False
        ) as frames:
            return [_checked(path, frame, layout) for frame in frames]


def _checked(path: Path, frame: "pd.DataFrame", layout: Layout) -> Array:
    """The rows as unsigned bytes without the index column, with every entry checked."""
    import pandas as pd

    if frame.empty:
        raise DatasetError(path, "at least one row below the header", "none")
    if layout.index:
        frame = frame.iloc[:, 1:]
    numbers = frame.copy(deep=False)
    for name, dtype in frame.dtypes.items():
        if dtype.kind not in "iuf":
            numbers[name] = pd.to_numeric(frame[name].astype(str), errors="coerce")
    entries, largest = numbers.to_numpy(), layout.largest()
    valid = (entries >= 0) & (entries <= largest) & (entries == np.floor(entries))
    if not valid.all():
        row, column = first_index(~valid)
        raise DatasetError(
            path,
            f"a whole number from 0 to {largest[column]} in column {layout.names[column]}",
            f"{frame.iat[row, column]!s} at row {frame.index[row] + 1}",
        )
    return entries.astype(np.uint8, order="C")


def _label_column(path: Path, blocks: list[Array]) -> int:
    """Which of the outer columns, 0 or -1, is the label in a file without names."""
    outer = {k: np.concatenate([block[:, k] for block in blocks]) for k in (0, -1)}
    # A pixel in a corner is 0 in most images.
    found = [
        k
        for k, column in outer.items()
        if column.max() <= 9 and 3 * np.count_nonzero(column) >= len(column)
    ]
    if len(found) != 1:
        first, last = (f"from {column.min()} to {column.max()}" for column in outer.values())
        raise DatasetError(
            path,
            "names for the columns, or labels from 0 to 9 in either the first or the last",
            f"numbers {first} in the first and {last} in the last",
        )
    return found[0]


def write_mnist_csv(path: Path, images: Array, labels: Array) -> None:
    """Writes images (N, 28, 28) and labels (N,) as a Kaggle-style CSV file."""
    numbers = [str(number) for number in range(256)]
    with path.open("w", encoding="ascii", newline="") as file:
        file.write(",".join(COLUMNS) + "\n")
        for image, label in zip(images, labels, strict=True):
            pixels = map(numbers.__getitem__, image.tobytes())
            file.write(",".join([numbers[label], *pixels]) + "\n")
