"""Exports MNIST for other programs: `python -m tinynet.datasets DIR`, as train.csv with --csv."""

import argparse
import filecmp
import gzip
import hashlib
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from tinynet.datasets.mnist import FILES, load_mnist
from tinynet.datasets.mnist_csv import write_mnist_csv
from tinynet.errors import DatasetError

# Of the uncompressed files, as listed in mnist_files/README.md.
SHA256 = {
    "train-images-idx3": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the four IDX files, or train.csv, and prints their paths; errors are one line."""
    parser = argparse.ArgumentParser(
        prog="python -m tinynet.datasets",
        description="Write the MNIST files for other programs.",
    )
    parser.add_argument(
        "folder", metavar="DIR", type=Path, help="output folder; created if missing"
    )
    parser.add_argument(
        "--csv",
        action="store_true",
        help="one Kaggle-style train.csv instead: 60,000 training rows, then 10,000 test rows",
    )
    options = parser.parse_args(arguments)
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
        if options.csv:
            _write_whole(options.folder / "train.csv", _write_csv)
        else:
            for stem in SHA256:
                target = options.folder / f"{stem}-ubyte.gz"
                _write_whole(target, partial(_write_verified, stem))
    except (DatasetError, OSError) as error:
        sys.exit(f"{parser.prog}: {error}")


def _write_whole(target: Path, write: Callable[[Path], None]) -> None:
    """Writes a temporary file and renames it, unless a different file has that name already."""
    unfinished = target.with_name(f"{target.name}.unfinished")
    try:
        write(unfinished)
        if target.exists() and not filecmp.cmp(unfinished, target, shallow=False):
            raise DatasetError(target, "no other file of that name", "one with other content")
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    print(f"{target}  {target.stat().st_size:,} bytes")


def _write_verified(stem: str, path: Path) -> None:
    shipped = FILES / f"{stem}-ubyte.gz"
    shutil.copyfile(shipped, path)
    with gzip.open(path) as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != SHA256[stem]:
        raise DatasetError(shipped, f"content of SHA-256 {SHA256[stem]}", got)


def _write_csv(path: Path) -> None:
    train, test = load_mnist()
    images = np.concatenate([train.images, test.images])
    write_mnist_csv(path, images, np.concatenate([train.labels, test.labels]))


if __name__ == "__main__":
    main()
