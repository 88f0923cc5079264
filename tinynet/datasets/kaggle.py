"""The CSV format of MNIST on Kaggle: a row for each digit, `label,pixel0,...,pixel783`."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinynet.errors import DatasetError
from tinynet.parameter import Array
from tinynet.validation import first_index

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["label", *(f"pixel{i}" for i in range(28 * 28))]
LARGEST = np.array([9] + [255] * 28 * 28)
ROWS_AT_A_TIME = 5000  # 31 MB in pandas


def read_kaggle(path: Path) -> tuple[Array, Array]:
    """Reads a Kaggle-style CSV file: images (N, 28, 28) uint8 and labels (N,) int64.

    Raises:
        DatasetError: the file cannot be read, has other columns, or an entry that is no whole
            number in range; the message names column and row, counted from 1 below the header.
        ImportError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            f"reading {path} needs pandas: pip install 'tinynet-numpy[examples]'"
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # pandas would drop columns
            with pd.read_csv(
                path, chunksize=ROWS_AT_A_TIME, index_col=False, low_memory=False
            ) as frames:
                blocks = [_checked(path, frame) for frame in frames]
    except (
        OSError,
        UnicodeDecodeError,
        pd.errors.EmptyDataError,
        pd.errors.ParserError,
        pd.errors.ParserWarning,
    ) as error:
        got = f"{type(error).__name__}: {str(error).strip()}"
        raise DatasetError(path, "a readable CSV file", got) from error
    rows = np.concatenate(blocks)  # (N, 785)
    return rows[:, 1:].reshape(-1, 28, 28), rows[:, 0].astype(np.int64)


def _checked(path: Path, frame: "pd.DataFrame") -> Array:
    """The rows as unsigned bytes, with every entry checked."""
    import pandas as pd

    if list(frame.columns) != COLUMNS:
        first = ", ".join(f"{name:.20}" for name in frame.columns[:3])
        got = f"{len(frame.columns)}: {first}, ..."
        raise DatasetError(path, "the columns label, pixel0, ..., pixel783", got)
    numbers = frame.copy(deep=False)
    for name, dtype in frame.dtypes.items():
        if dtype.kind not in "iuf":
            numbers[name] = pd.to_numeric(frame[name].astype(str), errors="coerce")
    entries = numbers.to_numpy()
    valid = (entries >= 0) & (entries <= LARGEST) & (entries == np.floor(entries))
    if not valid.all():
        row, column = first_index(~valid)
        raise DatasetError(
            path,
            f"a whole number from 0 to {LARGEST[column]} in column {COLUMNS[column]}",
            f"{frame.iat[row, column]!s} at row {frame.index[row] + 1}",
        )
    return entries.astype(np.uint8)


def write_kaggle(path: Path, images: Array, labels: Array) -> None:
    """Writes images (N, 28, 28) and labels (N,) as a Kaggle-style CSV file."""
    numbers = [str(number) for number in range(256)]
    with path.open("w", encoding="ascii", newline="") as file:
        file.write(",".join(COLUMNS) + "\n")
        for image, label in zip(images, labels, strict=True):
            pixels = map(numbers.__getitem__, image.tobytes())
            file.write(",".join([numbers[label], *pixels]) + "\n")
