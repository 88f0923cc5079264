"""Kaggle's form of MNIST: one CSV file, a row per digit, `label,pixel0,...,pixel783`."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinynet.datasets.idx import DatasetError
from tinynet.parameter import Array

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["label", *(f"pixel{i}" for i in range(28 * 28))]
LARGEST = np.array([9] + [255] * 28 * 28)
ROWS_AT_A_TIME = 5000  # 31 MB as pandas reads them, whatever the size of the file.


def read_kaggle(path: Path) -> tuple[Array, Array]:
    """Reads a Kaggle-style CSV file: images (N, 28, 28) uint8 and labels (N,) int64.

    Raises:
        DatasetError: the file cannot be read, has other columns, or an entry that is no whole
            number in range; it names column and row, the first row below the header being 1.
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
            warnings.simplefilter("error", pd.errors.ParserWarning)  # It would drop columns.
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
        came = f"{type(error).__name__}: {str(error).strip()}"
        raise DatasetError(path, "a readable CSV file", came) from error
    rows = np.concatenate(blocks)  # (N, 785)
    return rows[:, 1:].reshape(-1, 28, 28), rows[:, 0].astype(np.int64)


def _checked(path: Path, frame: "pd.DataFrame") -> Array:
    """The rows as bytes, after a look at every entry."""
    import pandas as pd

    if list(frame.columns) != COLUMNS:
        first = ", ".join(f"{name:.20}" for name in frame.columns[:3])
        came = f"{len(frame.columns)}: {first}, ..."
        raise DatasetError(path, "the columns label, pixel0, ..., pixel783", came)
    numbers = frame
    if any(dtype.kind not in "iu" for dtype in frame.dtypes):
        numbers = frame.astype(str).apply(pd.to_numeric, errors="coerce")
    entries = numbers.to_numpy()
    good = (entries >= 0) & (entries <= LARGEST) & (entries == np.floor(entries))
    if not good.all():
        row, column = map(int, np.argwhere(~good)[0])
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
