"""MNIST: 70,000 handwritten digits, 28 by 28 pixels each, with what they are meant to be.

60,000 to train on and 10,000 by other writers to test on. They ship with the package. Source:
LeCun, Cortes and Burges; the licence of the files stands in mnist_files/README.md.
"""

from pathlib import Path
from typing import NamedTuple

from tinynet.datasets.idx import DatasetError, read_idx
from tinynet.datasets.kaggle import read_kaggle
from tinynet.parameter import Array

FILES = Path(__file__).parent / "mnist_files"


class Digits(NamedTuple):
    """Images (N, 28, 28), uint8, 0 paper to 255 ink, and their labels (N,), int64, 0 to 9."""

    images: Array
    labels: Array

    def __repr__(self) -> str:
        return f"Digits(images={self.images.shape}, labels={self.labels.shape})"


def load_mnist(source: str | Path | None = None) -> tuple[Digits, Digits]:
    """Returns (train, test): the MNIST that ships with tinynet, or what lies at `source`.

    `source` is a folder of the four IDX files, raw or .gz, named as `train-images-idx3-ubyte` or
    `train-images.idx3-ubyte`; or a Kaggle `train.csv` (needs pandas), of which the last seventh of
    the rows is held out as the test part, as 10,000 of MNIST's own 70,000 are.

    Raises:
        DatasetError: naming the file, what was expected and what came.

    >>> train, test = load_mnist()
    >>> train, int(test.labels[0])
    (Digits(images=(60000, 28, 28), labels=(60000,)), 7)
    """
    path = FILES if source is None else Path(source)
    if path.is_dir():
        return _read_pair(path, "train"), _read_pair(path, "t10k")
    if path.suffix.lower() != ".csv":
        came = "another kind of file" if path.exists() else "nothing there"
        raise DatasetError(path, "a folder of IDX files or a .csv file", came)
    images, labels = read_kaggle(path)
    split = len(images) - len(images) // 7
    if split == len(images):
        raise DatasetError(path, "at least 7 rows, the last seventh to test on", f"{len(images)}")
    return Digits(images[:split], labels[:split]), Digits(images[split:], labels[split:])


def _read_pair(folder: Path, part: str) -> Digits:
    labels_path = _find(folder, part, "labels", "idx1")
    images_path = _find(folder, part, "images", "idx3")
    labels = read_idx(labels_path, (None,))
    images = read_idx(images_path, (None, 28, 28))
    if len(images) == 0:
        raise DatasetError(images_path, "at least one image", "none")
    if len(labels) != len(images):
        raise DatasetError(
            labels_path,
            f"{len(images)} labels, one for each image of {images_path.name}",
            f"{len(labels)}",
        )
    if labels.max() > 9:
        at = int((labels > 9).argmax())
        raise DatasetError(labels_path, "labels from 0 to 9", f"{labels[at]} at index {at}")
    return Digits(images, labels.astype("int64"))


def _find(folder: Path, part: str, what: str, kind: str) -> Path:
    names = [f"{part}-{what}{mark}{kind}-ubyte{end}" for mark in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DatasetError(folder, f"one of the files {', '.join(names)}", "none of them")
