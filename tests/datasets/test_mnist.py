import gzip
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from idx_files import IMAGES, LABELS, digits, idx_bytes, qmnist_bytes, write_folder

from tinynet import Array
from tinynet.datasets import DatasetError, Digits, load_mnist, mnist
from tinynet.datasets.mnist_csv import write_mnist_csv


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


def test_repr_of_digits_shows_shapes_and_the_note() -> None:
    assert repr(Digits(*digits(3))) == "Digits(images=(3, 28, 28), labels=(3,))"
    noted = Digits(*digits(3), note="turned upright")
    assert repr(noted) == "Digits(images=(3, 28, 28), labels=(3,), note='turned upright')"


def test_digits_with_a_note_unpack_as_two_and_survive_pickle() -> None:
    noted = pickle.loads(pickle.dumps(Digits(*digits(3), note="turned upright")))
    images, labels = noted
    assert (images is noted.images, labels is noted.labels) == (True, True)
    assert noted.note == "turned upright"
    assert Digits(*digits(3)).note == ""
    assert repr(noted._replace(labels=labels[:0])) == "Digits(images=(3, 28, 28), labels=(0,))"


def write_set(folder: Path, name: str, labels: Array, label_bytes: Any = idx_bytes) -> Digits:
    """Writes a data set of six images, of which two are test images, under names of its own."""
    images, _ = digits(6)
    kind = "idx1-ubyte" if label_bytes is idx_bytes else "idx2-int"
    for part, rows in (("train", slice(0, 4)), ("test", slice(4, 6))):
        path = folder / f"{name}-{part}-images-idx3-ubyte"
        path.write_bytes(idx_bytes(images[rows]))
        path = folder / f"{name}-{part}-labels-{kind}.gz"
        path.write_bytes(gzip.compress(label_bytes(labels[rows])))
    return Digits(images, labels)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("emnist-letters", [1, 26, 2, 25, 3, 1]),
        ("emnist-balanced", [0, 46, 2, 25, 3, 1]),
        ("emnist-bymerge", [0, 46, 2, 25, 3, 1]),
        ("emnist-byclass", [0, 61, 2, 25, 3, 1]),
        ("emnist-digits", [0, 9, 2, 5, 3, 1]),
        ("emnist-mnist", [0, 9, 2, 5, 3, 1]),
    ],
)
def test_images_of_emnist_are_turned_upright_and_the_note_says_so(
    tmp_path: Path, name: str, labels: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist, "IMAGES_AT_A_TIME", 3)
    written = write_set(tmp_path, name, np.array(labels))
    train, test = load_mnist(tmp_path)
    for part, rows in ((train, slice(0, 4)), (test, slice(4, 6))):
        # The row of a stored image is the column of the upright one.
        for stored, upright in zip(written.images[rows], part.images, strict=True):
            assert all((upright[:, k] == stored[k]).all() for k in range(28))
        assert part.labels.tolist() == labels[rows]
        assert part.images.flags.c_contiguous
    low, high = min(labels[:4]), max(labels[:4])
    assert train.note == f"EMNIST, images turned upright, labels from {low} to {high}"
    assert train.note in repr(train)


@pytest.mark.parametrize(
    ("name", "labels", "sentence"),
    [
        ("emnist-letters", [1, 27, 2, 5, 3, 1], "labels from 0 to 26, got 27 at index 1"),
        ("emnist-byclass", [1, 2, 62, 5, 3, 1], "labels from 0 to 61, got 62 at index 2"),
        ("emnist-digits", [1, 2, 2, 10, 3, 1], "labels from 0 to 9, got 10 at index 3"),
        ("fashion", [1, 2, 2, 10, 3, 1], "labels from 0 to 9, got 10 at index 3"),
    ],
)
def test_labels_above_those_of_the_data_set_are_refused(
    tmp_path: Path, name: str, labels: list[int], sentence: str
) -> None:
    write_set(tmp_path, name, np.array(labels))
    with pytest.raises(DatasetError, match=sentence):
        load_mnist(tmp_path)


def test_labels_of_qmnist_are_the_first_of_eight_big_endian_integers(tmp_path: Path) -> None:
    written = write_set(tmp_path, "qmnist", np.array([9, 0, 2, 5, 3, 1]), qmnist_bytes)
    train, test = load_mnist(tmp_path)
    assert (train.images == written.images[:4]).all()
    assert (train.labels.dtype, train.labels.tolist()) == (np.dtype(np.int64), [9, 0, 2, 5])
    assert (test.labels.tolist(), test.note) == ([3, 1], "")


@pytest.mark.parametrize("wrong", [-1, 10, 256])
def test_a_class_of_qmnist_that_is_no_digit_is_refused(tmp_path: Path, wrong: int) -> None:
    write_set(tmp_path, "qmnist", np.array([9, 0, wrong, 5, 3, 1]), qmnist_bytes)
    with pytest.raises(DatasetError, match=f"labels from 0 to 9, got {wrong} at index 2"):
        load_mnist(tmp_path)


def test_two_axis_labels_without_a_column_are_refused(tmp_path: Path) -> None:
    write_set(tmp_path, "qmnist", np.arange(6), qmnist_bytes)
    path = tmp_path / "qmnist-train-labels-idx2-int.gz"
    path.write_bytes(bytes([0, 0, 0x0C, 2, 0, 0, 0, 4, 0, 0, 0, 0]))
    with pytest.raises(DatasetError, match=r"expected the class in column 0, got no columns$"):
        load_mnist(tmp_path)


def test_a_folder_of_several_data_sets_is_refused_and_each_is_read_by_its_name(
    tmp_path: Path,
) -> None:
    write_set(tmp_path, "emnist-letters", np.arange(1, 7))
    write_set(tmp_path, "qmnist", np.arange(6), qmnist_bytes)
    with pytest.raises(DatasetError) as error:
        load_mnist(tmp_path)
    one = tmp_path / "emnist-letters"
    assert str(error.value) == (
        f"{tmp_path}: expected one data set, got emnist-letters, qmnist; "
        f"load_mnist({str(one)!r}) reads the first"
    )
    assert load_mnist(one)[1].labels.tolist() == [5, 6]
    assert load_mnist(str(tmp_path / "qmnist"))[0].labels.tolist() == [0, 1, 2, 3]
    with pytest.raises(DatasetError, match="got nothing there"):
        load_mnist(tmp_path / "emnist-byclass")
    # Beside the names of MNIST, the others have to be asked for.
    write_folder(tmp_path)
    assert len(load_mnist(tmp_path)[0].labels) == 12
    assert load_mnist(one)[1].labels.tolist() == [5, 6]


def test_the_error_for_a_missing_file_of_a_named_data_set_lists_its_possible_names(
    tmp_path: Path,
) -> None:
    write_set(tmp_path, "qmnist", np.arange(6), qmnist_bytes)
    (tmp_path / "qmnist-test-labels-idx2-int.gz").unlink()
    with pytest.raises(DatasetError) as error:
        load_mnist(tmp_path)
    assert str(error.value).endswith("got none of them")
    assert "qmnist-test-labels-idx1-ubyte, " in str(error.value)
    assert "qmnist-test-labels-idx2-int.gz, " in str(error.value)


@pytest.mark.parametrize(("n", "test_rows"), [(7, 1), (13, 1), (14, 2), (70, 10)])
def test_the_last_seventh_of_a_csv_file_is_the_test_set(
    tmp_path: Path, n: int, test_rows: int
) -> None:
    images, labels = digits(n)
    path = tmp_path / "train.csv"
    write_mnist_csv(path, images, labels)
    train, test = load_mnist(path)
    assert len(test.images) == len(test.labels) == test_rows
    assert (train.images == images[:-test_rows]).all()
    assert (train.labels == labels[:-test_rows]).all()
    assert (test.images == images[-test_rows:]).all()
    assert (test.labels == labels[-test_rows:]).all()


def split(monkeypatch: pytest.MonkeyPatch, labels: Array) -> tuple[Digits, Digits]:
    """Reads a CSV file with these labels, whose images show their own row number."""
    images = np.zeros((len(labels), 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(len(labels)), 256)
    monkeypatch.setattr(mnist, "load_mnist_csv", lambda _: (images, labels))
    return load_mnist("train.csv")


def row_numbers(part: Digits) -> list[int]:
    high, low = part.images[:, 0, :2].astype(int).T
    numbers: list[int] = (256 * high + low).tolist()
    return numbers


@given(counts=st.lists(st.integers(2, 40), min_size=2, max_size=10), order=st.randoms())
def test_a_csv_file_sorted_by_label_is_split_so_that_every_class_is_in_both_parts(
    counts: list[int], order: Any
) -> None:
    names = order.sample(range(10), len(counts))  # ascending, descending or any other order
    labels = np.repeat(names, counts)
    if len(labels) < 7:
        return
    with pytest.MonkeyPatch.context() as patch:
        train, test = split(patch, labels)
    rows = row_numbers(train) + row_numbers(test)
    assert sorted(rows) == list(range(len(labels)))
    assert (labels[rows] == np.concatenate([train.labels, test.labels])).all()
    for name, count in zip(names, counts, strict=True):
        assert (test.labels == name).sum() == max(1, count // 7)
    for part in (train, test):
        assert part.note == (
            "the file was sorted by label: each class is split 6 : 1, and the rows are shuffled"
        )
    if len(labels) > 50:
        assert row_numbers(train) != sorted(row_numbers(train))


def test_rows_of_a_sorted_file_are_shuffled_by_a_fixed_seed_so_that_any_part_has_all_classes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = np.repeat(np.arange(10), 70)
    labels[[5, 300]] = 9, 0  # two rows out of order
    train, test = split(monkeypatch, labels)
    assert row_numbers(train) == row_numbers(split(monkeypatch, labels)[0])
    assert len(test.labels) == 99
    for part in (train.labels[:300], train.labels[300:], test.labels):
        assert set(part.tolist()) == set(range(10))


def test_a_class_of_one_row_stays_in_the_training_part_of_a_sorted_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, test = split(monkeypatch, np.repeat([0, 1, 2], [7, 1, 14]))
    assert np.bincount(train.labels).tolist() == [6, 1, 12]
    assert np.bincount(test.labels).tolist() == [1, 0, 2]


@given(
    labels=st.one_of(
        st.permutations(list(range(10)) * 6),
        st.permutations([0] * 40 + [1] * 3),
        st.just(list(range(10)) * 3),
        st.just([4] * 30),
        # A sorted training part before a sorted test part has every class in both.
        st.just(sorted(list(range(10)) * 6) + list(range(10))),
        st.just(list(range(8))),
    )
)
def test_any_other_csv_file_is_split_before_its_last_seventh(labels: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        train, test = split(patch, np.array(labels))
    n = len(labels)
    assert row_numbers(train) + row_numbers(test) == list(range(n))
    assert len(test.labels) == n // 7
    assert train.note == test.note == ""


@pytest.mark.parametrize("n", [1, 6])
def test_a_csv_file_with_fewer_than_seven_rows_is_refused(tmp_path: Path, n: int) -> None:
    path = tmp_path / "train.csv"
    write_mnist_csv(path, *digits(n))
    with pytest.raises(
        DatasetError, match=rf"at least 7 rows, the last seventh for testing, got {n}$"
    ):
        load_mnist(str(path))
