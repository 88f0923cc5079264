import sys
from pathlib import Path

import numpy as np
import pytest
from idx_files import digits

from tinynet.datasets import DatasetError, kaggle, load_mnist
from tinynet.datasets.kaggle import COLUMNS, read_kaggle, write_kaggle


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "train.csv"


def rows(n: int = 3) -> list[list[str]]:
    images, labels = digits(n)
    return [
        [str(x) for x in (label, *image.flat)] for image, label in zip(images, labels, strict=True)
    ]


def write(path: Path, lines: list[list[str]], columns: list[str] = COLUMNS) -> None:
    path.write_text("\n".join(",".join(line) for line in [columns, *lines]) + "\n")


def refused(path: Path) -> str:
    with pytest.raises(DatasetError) as error:
        read_kaggle(path)
    assert str(error.value).startswith(f"{path}: expected ")
    return str(error.value)


def test_a_csv_row_is_read_as_label_and_pixels_in_row_order(path: Path) -> None:
    write(path, [["7", *(str(i % 256) for i in range(784))]])
    images, labels = read_kaggle(path)
    assert (images.dtype, images.shape) == (np.dtype(np.uint8), (1, 28, 28))
    assert (labels.dtype, labels.tolist()) == (np.dtype(np.int64), [7])
    assert images[0, 1, 2] == 28 + 2
    assert images[0, 27, 27] == 783 % 256


def test_a_written_csv_file_is_read_back_in_several_chunks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = digits(11)
    write_kaggle(path, images, labels)
    assert path.read_text().startswith("label,pixel0,pixel1,")
    monkeypatch.setattr(kaggle, "ROWS_AT_A_TIME", 4)
    read_images, read_labels = read_kaggle(path)
    assert (read_images == images).all()
    assert (read_labels == labels).all()


@pytest.mark.parametrize(
    ("row", "column", "entry", "sentence"),
    [
        (1, 4, "256", "a whole number from 0 to 255 in column pixel3, got 256 at row 2"),
        (0, 784, "-1", "a whole number from 0 to 255 in column pixel783, got -1 at row 1"),
        (2, 0, "10", "a whole number from 0 to 9 in column label, got 10 at row 3"),
        (0, 0, "-1", "a whole number from 0 to 9 in column label, got -1 at row 1"),
        (1, 1, "ink", "in column pixel0, got ink at row 2"),
        (1, 1, "1.5", "in column pixel0, got 1.5 at row 2"),
        (1, 1, "", "in column pixel0, got nan at row 2"),
        (1, 1, "inf", "in column pixel0, got inf at row 2"),
        (1, 1, "True", "in column pixel0, got True at row 2"),
        (1, 1, "99999999999999999999999", "in column pixel0, got 99999999999999999999999 at row 2"),
    ],
)
def test_errors_name_row_and_column_of_a_wrong_entry(
    path: Path, row: int, column: int, entry: str, sentence: str
) -> None:
    lines = rows()
    lines[row][column] = entry
    write(path, lines)
    assert refused(path).endswith(sentence)


def test_row_numbers_in_errors_count_across_chunks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = rows(9)
    lines[7][5] = "300"
    write(path, lines)
    monkeypatch.setattr(kaggle, "ROWS_AT_A_TIME", 4)
    assert refused(path).endswith("got 300 at row 8")


def test_a_column_of_bools_is_refused(path: Path) -> None:
    lines = rows()
    for line in lines:
        line[1] = "True"
    write(path, lines)
    assert refused(path).endswith("in column pixel0, got True at row 1")


def test_floats_that_are_whole_numbers_are_accepted(path: Path) -> None:
    lines = rows()
    lines[1][1] = "17.0"
    write(path, lines)
    assert read_kaggle(path)[0][1, 0, 0] == 17


def test_other_columns_are_refused(path: Path) -> None:
    sentence = "expected the columns label, pixel0, ..., pixel783, got "
    write(path, rows(), ["digit", *COLUMNS[1:]])
    assert sentence + "785: digit, pixel0, pixel1, ..." in refused(path)
    write(path, [line[:-1] for line in rows()], COLUMNS[:-1])
    assert sentence + "784: label, pixel0, pixel1, ..." in refused(path)
    write(path, [line[1:] for line in rows()], COLUMNS[1:])  # Kaggle's test.csv has no labels
    assert sentence + "784: pixel0, pixel1, pixel2, ..." in refused(path)


def test_rows_longer_than_the_header_are_refused(path: Path) -> None:
    write(path, [[*line, "0"] for line in rows()])
    assert "a readable CSV file, got ParserWarning" in refused(path)
    lines = rows()
    lines[1].append("0")
    write(path, lines)
    assert "a readable CSV file, got ParserError" in refused(path)


def test_files_that_are_no_csv_are_refused(path: Path) -> None:
    path.write_bytes(b"")
    assert "a readable CSV file, got EmptyDataError" in refused(path)
    path.write_bytes(b"\xff\xfe\x00label")
    assert "a readable CSV file, got UnicodeDecodeError" in refused(path)
    path.unlink()
    assert "a readable CSV file, got FileNotFoundError" in refused(path)


def test_without_pandas_the_error_names_the_extra_to_install(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"needs pandas: pip install 'tinynet-numpy\[examples\]'"):
        read_kaggle(path)


@pytest.mark.parametrize(("n", "test_rows"), [(7, 1), (13, 1), (14, 2), (70, 10)])
def test_the_last_seventh_of_a_csv_file_is_the_test_set(path: Path, n: int, test_rows: int) -> None:
    images, labels = digits(n)
    write_kaggle(path, images, labels)
    train, test = load_mnist(path)
    assert len(test.images) == len(test.labels) == test_rows
    assert (train.images == images[:-test_rows]).all()
    assert (train.labels == labels[:-test_rows]).all()
    assert (test.images == images[-test_rows:]).all()
    assert (test.labels == labels[-test_rows:]).all()


@pytest.mark.parametrize("n", [0, 1, 6])
def test_a_csv_file_with_fewer_than_seven_rows_is_refused(path: Path, n: int) -> None:
    write_kaggle(path, *digits(n))
    with pytest.raises(
        DatasetError, match=rf"at least 7 rows, the last seventh for testing, got {n}$"
    ):
        load_mnist(str(path))
