"""MNIST: 70,000 labelled images of handwritten digits, 28 by 28 pixels each.

The 60,000 training images and 10,000 test images (of other writers) are part of the package.
Source: LeCun, Cortes and Burges; see mnist_files/README.md for the licence of the files.
"""

from pathlib import Path
from typing import NamedTuple

from tinynet.datasets.idx import read_idx
from tinynet.datasets.kaggle import read_kaggle
from tinynet.errors import DatasetError
from tinynet.parameter import Array
from tinynet.validation import first_index

FILES = Path(__file__).parent / "mnist_files"


class Digits(NamedTuple):
    """Images (N, 28, 28), uint8, from 0 (paper) to 255 (ink), and labels (N,), int64, 0 to 9."""

    images: Array
    labels: Array

    def __repr__(self) -> str:
        return f"Digits(images={self.images.shape}, labels={self.labels.shape})"


def load_mnist(source: str | Path | None = None) -> tuple[Digits, Digits]:
    """Returns (train, test): the MNIST of the package, or that of `source`.

    `source` is a folder with the four IDX files, raw or .gz, named `train-images-idx3-ubyte` or
    `train-images.idx3-ubyte` and so on; or a Kaggle `train.csv` (needs pandas), whose last seventh
    of the rows becomes the test set, like 10,000 of the 70,000 images of MNIST.

    Raises:
        DatasetError: a file is missing, damaged or of another kind.

    >>> train, test = load_mnist()
    >>> train, int(test.labels[0])
    (Digits(images=(60000, 28, 28), labels=(60000,)), 7)
    """
    path = FILES if source is None else Path(source)
    if path.is_dir():
        return _read_pair(path, "train"), _read_pair(path, "t10k")
    if path.suffix.lower() != ".csv":
        got = "another kind of file" if path.exists() else "nothing there"
        raise DatasetError(path, "a folder of IDX files or a .csv file", got)
    images, labels = read_kaggle(path)
    split = len(images) - len(images) // 7
    if split == len(images):
        raise DatasetError(path, "at least 7 rows, the last seventh for testing", f"{len(images)}")
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
        (index,) = first_index(labels > 9)
        raise DatasetError(labels_path, "labels from 0 to 9", f"{labels[index]} at index {index}")
    return Digits(images, labels.astype("int64"))


def _find(folder: Path, part: str, content: str, kind: str) -> Path:
    names = [f"{part}-{content}{mark}{kind}-ubyte{end}" for mark in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DatasetError(folder, f"one of the files {', '.join(names)}", "none of them")
