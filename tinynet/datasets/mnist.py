"""MNIST: 70,000 labelled images of handwritten digits, 28 by 28 pixels each.

The 60,000 training images and 10,000 test images (of other writers) are part of the package.
Data sets in the same formats are read from files: Fashion-MNIST, KMNIST, EMNIST, QMNIST, Kaggle's.

Source: LeCun, Cortes and Burges; see mnist_files/README.md for the licence of the files. Cohen et
al., "EMNIST: an extension of MNIST to handwritten letters", 2017. Yadav and Bottou, "Cold case: the
lost MNIST digits", NeurIPS 2019.
"""

import re
from pathlib import Path
from typing import NamedTuple, final

import numpy as np

from tinynet.datasets.idx import INTEGERS, read_idx
from tinynet.datasets.mnist_csv import load_mnist_csv
from tinynet.errors import DatasetError
from tinynet.parameter import Array
from tinynet.validation import first_index

FILES = Path(__file__).parent / "mnist_files"
NAME = re.compile(r"(.*?)(?:train|t10k|test)-(?:images|labels)[-.]idx[123]-(?:ubyte|int)(?:\.gz)?")
EMNIST_LARGEST = {"letters": 26, "balanced": 46, "bymerge": 46, "byclass": 61}
IMAGES_AT_A_TIME = 10_000  # 8 MB


class _ImagesAndLabels(NamedTuple):
    images: Array
    labels: Array


@final
class Digits(_ImagesAndLabels):
    """Images (N, 28, 28), uint8, from 0 (paper) to 255 (ink), and labels (N,), int64, 0 to 9.

    `note` says what reading has changed: images turned upright, rows that were shuffled. It is part
    of the repr. EMNIST has labels up to 61.
    """

    note: str = ""

    def __new__(cls, images: Array, labels: Array, note: str = "") -> "Digits":
        """A pair that unpacks as images and labels."""
        digits = super().__new__(cls, images, labels)
        digits.note = note
        return digits

    def __repr__(self) -> str:
        note = f", note={self.note!r}" if self.note else ""
        return f"Digits(images={self.images.shape}, labels={self.labels.shape}{note})"


def load_mnist(source: str | Path | None = None) -> tuple[Digits, Digits]:
    """Returns (train, test): the MNIST of the package, or that of `source`.

    `source` is a folder with four IDX files, raw or .gz, named `train-images-idx3-ubyte` and so on,
    as for MNIST, Fashion-MNIST and KMNIST, or `emnist-letters-train-images-idx3-ubyte`, or
    `qmnist-...`. Of a folder with several sets, `folder/emnist-letters` reads one. Images of EMNIST
    are stored transposed, and turned upright.

    Or it is a CSV file with labels, see `load_mnist_csv` (needs pandas). Its last seventh of the
    rows becomes the test set, like 10,000 of the 70,000 images of MNIST. If rows are sorted by
    label, it is a seventh of each class, drawn by a fixed seed. `Digits.note` says such things.

    Raises:
        DatasetError: a file is missing, damaged or of another kind.

    >>> train, test = load_mnist()
    >>> train, int(test.labels[0])
    (Digits(images=(60000, 28, 28), labels=(60000,)), 7)
    """
    path = FILES if source is None else Path(source)
    if path.is_dir():
        return _read_folder(path, _data_set(path))
    if not path.exists() and f"{path.name}-" in _data_sets(path.parent):
        return _read_folder(path.parent, f"{path.name}-")
    if not path.name.lower().endswith((".csv", ".csv.gz", ".zip")):
        got = "another kind of file" if path.exists() else "nothing there"
        raise DatasetError(path, "a folder of IDX files or a .csv file", got)
    images, labels = load_mnist_csv(path)
    if labels is None:
        got = f"images alone; images, _ = load_mnist_csv({str(path)!r}) reads them"
        raise DatasetError(path, "a column of labels", got)
    return _split(path, images, labels)


def load_kaggle_digits(folder: str | Path) -> tuple[Digits, Array]:
    """Returns (train, images) of Kaggle's Digit Recognizer: all rows of both files, in their order.

    `folder` has train.csv, with labels, and test.csv, without, as they are or as .csv.gz or
    .csv.zip (needs pandas). `images`: (N, 28, 28) uint8, those of test.csv, to be predicted.

    Raises:
        DatasetError: a file is missing, `load_mnist_csv` refuses it, or the two are exchanged.
    """
    if Path(folder).is_file() and Path(folder).suffix != ".zip":
        raise DatasetError(Path(folder), "the folder of train.csv and test.csv", "a file")
    train_path, test_path = (
        _find(Path(folder), [f"{name}.csv{end}" for end in ("", ".gz", ".zip")])
        for name in ("train", "test")
    )
    images, labels = load_mnist_csv(train_path)
    if labels is None:
        got = "images alone; are train.csv and test.csv exchanged?"
        raise DatasetError(train_path, "a column of labels", got)
    test_images, unexpected = load_mnist_csv(test_path)
    if unexpected is not None:
        got = "a column of labels; are train.csv and test.csv exchanged?"
        raise DatasetError(test_path, "images alone", got)
    return Digits(images, labels), test_images


def _split(path: Path, images: Array, labels: Array) -> tuple[Digits, Digits]:
    n = len(images)
    if n < 7:
        raise DatasetError(path, "at least 7 rows, the last seventh for testing", f"{n}")
    split = n - n // 7
    missing = set(labels[:split].tolist()) ^ set(labels[split:].tolist())
    if not (missing and _are_sorted(labels)):
        return Digits(images[:split], labels[:split]), Digits(images[split:], labels[split:])
    order = np.random.default_rng(0).permutation(n)
    in_test = np.zeros(n, bool)
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        in_test[rows[: max(len(rows) // 7, min(1, len(rows) - 1))]] = True
    note = "the file was sorted by label: each class is split 6 : 1, and the rows are shuffled"
    first, second = (order[in_test[order] == part] for part in (False, True))
    return Digits(images[first], labels[first], note), Digits(images[second], labels[second], note)


def _are_sorted(labels: Array) -> bool:
    """Whether equal labels stand together: all of them, or twice as often as in a random order."""
    n, counts = len(labels), np.unique(labels, return_counts=True)[1]
    changes = np.count_nonzero(np.diff(labels))
    expected = (n - 1) * (1 - ((counts / n) ** 2).sum())
    return bool(changes + 1 == len(counts) < n or 2 * changes < expected)


def _data_sets(folder: Path) -> list[str]:
    """What the names of IDX files in a folder begin with: "" for MNIST, "emnist-letters-", ..."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted({match[1] for name in names if (match := NAME.fullmatch(name))})


def _data_set(folder: Path) -> str:
    found = _data_sets(folder)
    if "" in found or not found:
        return ""
    if len(found) > 1:
        names = [name.removesuffix("-") for name in found]
        hint = f"load_mnist({str(folder / names[0])!r}) reads the first"
        raise DatasetError(folder, "one data set", f"{', '.join(names)}; {hint}")
    return found[0]


def _read_folder(folder: Path, data_set: str) -> tuple[Digits, Digits]:
    tests = ("test", "t10k") if data_set else ("t10k",)
    return _read_pair(folder, data_set, ("train",)), _read_pair(folder, data_set, tests)


def _read_pair(folder: Path, data_set: str, parts: tuple[str, ...]) -> Digits:
    stems = [f"{data_set}{part}" for part in parts]
    kinds = ("idx1-ubyte", "idx2-int") if data_set else ("idx1-ubyte",)
    labels_path = _find(folder, _idx_names(stems, "labels", kinds))
    images_path = _find(folder, _idx_names(stems, "images", ("idx3-ubyte",)))
    labels = _read_labels(labels_path)
    images = read_idx(images_path, (None, 28, 28))
    if len(images) == 0:
        raise DatasetError(images_path, "at least one image", "none")
    if len(labels) != len(images):
        raise DatasetError(
            labels_path,
            f"{len(images)} labels, one for each image of {images_path.name}",
            f"{len(labels)}",
        )
    emnist = re.fullmatch(r"emnist-(.*)-", data_set)
    largest = EMNIST_LARGEST.get(emnist[1], 9) if emnist else 9
    wrong = (labels < 0) | (labels > largest)
    if wrong.any():
        (index,) = first_index(wrong)
        got = f"{labels[index]} at index {index}"
        raise DatasetError(labels_path, f"labels from 0 to {largest}", got)
    note = ""
    if emnist:
        for start in range(0, len(images), IMAGES_AT_A_TIME):
            some = images[start : start + IMAGES_AT_A_TIME]
            some[...] = some.transpose(0, 2, 1).copy()
        note = f"EMNIST, images turned upright, labels from {labels.min()} to {labels.max()}"
    return Digits(images, labels.astype(np.int64), note)


def _read_labels(path: Path) -> Array:
    if "idx2" not in path.name:
        return read_idx(path, (None,))
    table = read_idx(path, (None, None), INTEGERS)
    if table.shape[1] == 0:
        raise DatasetError(path, "the class in column 0", "no columns")
    return table[:, 0]  # the other columns are writer, series and position in NIST's files


def _idx_names(stems: list[str], content: str, kinds: tuple[str, ...]) -> list[str]:
    return [
        f"{stem}-{content}{mark}{kind}{end}"
        for stem in stems
        for kind in kinds
        for mark in "-."
        for end in ("", ".gz")
    ]


def _find(folder: Path, names: list[str]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    zipped = [path for path in (folder, *sorted(folder.glob("*.zip"))) if path.suffix == ".zip"]
    hint = f"; unzip {zipped[0].name} first" if zipped else ""
    raise DatasetError(folder, f"one of the files {', '.join(names)}", f"none of them{hint}")
