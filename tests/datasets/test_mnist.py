import gzip
from pathlib import Path

import numpy as np
import pytest
from idx_files import IMAGES, LABELS, digits, idx_bytes, write_folder

from tinynet.datasets import DatasetError, Digits, load_mnist


def test_the_included_mnist_has_the_published_statistics() -> None:
    train, test = load_mnist()
    for part, n in ((train, 60_000), (test, 10_000)):
        assert part.images.shape == (n, 28, 28)
        assert part.images.dtype == np.uint8
        assert part.labels.shape == (n,)
        assert part.labels.dtype == np.int64
    # The published class counts, and the well-known first labels.
    published = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(train.labels).tolist() == published
    assert np.bincount(test.labels).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert train.images.mean() / 255 == pytest.approx(0.1307, abs=5e-5)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("kind", [str, Path])
def test_mnist_is_read_from_a_folder_of_idx_files(
    tmp_path: Path, zipped: bool, mark: str, kind: type
) -> None:
    train, test = load_mnist(kind(write_folder(tmp_path, zipped=zipped, mark=mark)))
    for part, n in ((train, 12), (test, 4)):
        images, labels = digits(n, seed=n)
        assert (part.images == images).all()
        assert (part.labels == labels).all()
    images, labels = train
    assert images is train.images
    assert labels.dtype == np.int64


@pytest.mark.parametrize("missing", [IMAGES, LABELS])
@pytest.mark.parametrize("part", ["train", "t10k"])
def test_the_error_for_a_missing_file_lists_its_possible_names(
    tmp_path: Path, part: str, missing: str
) -> None:
    (write_folder(tmp_path) / f"{part}-{missing}.gz").unlink()
    with pytest.raises(DatasetError) as error:
        load_mnist(tmp_path)
    dotted = missing.replace("-idx", ".idx")
    names = ", ".join(f"{part}-{name}{end}" for name in (missing, dotted) for end in ("", ".gz"))
    assert str(error.value) == f"{tmp_path}: expected one of the files {names}, got none of them"


@pytest.mark.parametrize(
    ("name", "array", "sentence"),
    [
        (LABELS, np.zeros(11), "expected 12 labels, one for each image of train-images-idx3-ubyte"),
        (LABELS, np.full(12, 10), "expected labels from 0 to 9, got 10 at index 0"),
        (LABELS, np.arange(12) - 0, "expected labels from 0 to 9, got 10 at index 10"),
        (LABELS, np.zeros((12, 28, 28)), "expected the magic number 00000801"),
        (IMAGES, np.zeros(12), "expected the magic number 00000803"),
        (IMAGES, np.zeros((12, 27, 28)), "expected the shape (N, 28, 28), got (12, 27, 28)"),
        (IMAGES, np.zeros((0, 28, 28)), "expected at least one image, got none"),
    ],
)
def test_a_folder_of_inconsistent_idx_files_is_refused(
    tmp_path: Path, name: str, array: np.ndarray, sentence: str
) -> None:
    write_folder(tmp_path)
    path = tmp_path / f"train-{name}.gz"
    path.write_bytes(gzip.compress(idx_bytes(array)))
    with pytest.raises(DatasetError) as error:
        load_mnist(tmp_path)
    assert str(error.value).startswith(f"{path}: ")
    assert sentence in str(error.value)


def test_another_kind_of_source_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "digits.txt"
    expected = "expected a folder of IDX files or a .csv file, got"
    with pytest.raises(DatasetError, match=rf"{expected} nothing there$"):
        load_mnist(text)
    text.write_text("1 2 3")
    with pytest.raises(DatasetError, match=rf"{expected} another kind of file$"):
        load_mnist(text)


def test_repr_of_digits_shows_shapes() -> None:
    assert repr(Digits(*digits(3))) == "Digits(images=(3, 28, 28), labels=(3,))"
