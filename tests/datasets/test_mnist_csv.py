import gzip
import io
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from idx_files import digits

from tinynet import Array
from tinynet.datasets import (
    DatasetError,
    load_kaggle_digits,
    load_mnist,
    load_mnist_csv,
    mnist_csv,
)
from tinynet.datasets.mnist_csv import COLUMNS, write_mnist_csv


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
        load_mnist_csv(path)
    assert str(error.value).startswith(f"{path}: expected ")
    return str(error.value)


def test_a_csv_row_is_read_as_label_and_pixels_in_row_order(path: Path) -> None:
    write(path, [["7", *(str(i % 256) for i in range(784))]])
    images, labels = load_mnist_csv(path)
    assert labels is not None
    assert (images.dtype, images.shape) == (np.dtype(np.uint8), (1, 28, 28))
    assert (labels.dtype, labels.tolist()) == (np.dtype(np.int64), [7])
    assert images[0, 1, 2] == 28 + 2
    assert images[0, 27, 27] == 783 % 256


def test_a_written_csv_file_is_read_back_in_several_chunks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = digits(11)
    write_mnist_csv(path, images, labels)
    assert path.read_text().startswith("label,pixel0,pixel1,")
    monkeypatch.setattr(mnist_csv, "ROWS_AT_A_TIME", 4)
    read_images, read_labels = load_mnist_csv(path)
    assert (read_images == images).all()
    assert read_images.flags.c_contiguous  # an image is one piece of memory
    np.testing.assert_array_equal(read_labels, labels)


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
    monkeypatch.setattr(mnist_csv, "ROWS_AT_A_TIME", 4)
    assert refused(path).endswith("got 300 at row 8")


def test_a_column_of_bools_is_refused(path: Path) -> None:
    lines = rows()
    for line in lines:
        line[1] = "True"
    write(path, lines)
    assert refused(path).endswith("in column pixel0, got True at row 1")


def test_a_byte_order_mark_and_blank_lines_before_the_header_are_skipped(path: Path) -> None:
    write(path, rows())
    path.write_bytes(b"\xef\xbb\xbf\r\n\n" + path.read_bytes())
    assert (load_mnist_csv(path)[0] == digits(3)[0]).all()


def test_floats_that_are_whole_numbers_are_accepted(path: Path) -> None:
    lines = rows()
    lines[1][1] = "17.0"
    write(path, lines)
    assert load_mnist_csv(path)[0][1, 0, 0] == 17


def zipped(data: bytes, **others: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"train.csv": data, **others}.items():
            archive.writestr(name, content)
    return file.getvalue()


GRID = [(row, column) for row in range(28) for column in range(28)]
NAMES: dict[str, list[str]] = {
    "pixel0..": [f"pixel{k}" for k in range(784)],
    "pixel1..": [f"pixel{k}" for k in range(1, 785)],
    "px_0..": [f"px_{k}" for k in range(784)],
    "0..": [f"{k}" for k in range(784)],
    "0x0..": [f"{row}x{column}" for row, column in GRID],
    "1x1..": [f"{row + 1}x{column + 1}" for row, column in GRID],
    "01x01..": [f"{row + 1:02}x{column + 1:02}" for row, column in GRID],
}
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "train.csv": bytes,
    "TRAIN.CSV": bytes,
    "train.csv.gz": gzip.compress,
    "train.zip": lambda data: zipped(data, **{"__MACOSX/._train.csv": b"x", "README.md": b"x"}),
}


def table(
    images: Array, labels: Array, names: list[str], *, label: str | None, at: int
) -> pd.DataFrame:
    """The table of images, with the labels under a name before one of the pixels."""
    frame = pd.DataFrame(images.reshape(len(images), -1), columns=names)
    if label is not None:
        frame.insert(at, label, labels)
    return frame


@pytest.mark.parametrize(
    ("names", "label", "at", "index", "packing"),
    [
        ("pixel0..", "label", 0, None, "train.csv"),
        ("pixel0..", None, 0, None, "train.csv.gz"),
        ("pixel1..", "label", 0, "", "train.zip"),
        ("pixel1..", "class", 784, None, "TRAIN.CSV"),
        ("px_0..", "target", 300, "id", "train.csv"),
        ("0..", "Label", 784, "index", "train.csv.gz"),
        ("0..", None, 0, "", "train.csv"),
        ("0x0..", "label", 784, "Id", "train.zip"),
        ("1x1..", "label", 0, None, "train.csv"),
        ("1x1..", None, 0, "ImageId", "train.csv"),
        ("01x01..", "labels", 0, None, "train.csv"),
    ],
)
def test_every_header_of_pixels_gives_the_images_and_the_labels_or_none(
    tmp_path: Path, names: str, label: str | None, at: int, index: str | None, packing: str
) -> None:
    images, labels = digits(3)
    frame = table(images, labels, NAMES[names], label=label, at=at)
    frame.index += 1000
    data = frame.to_csv(index=index is not None, index_label=index).encode()
    path = tmp_path / packing
    path.write_bytes(PACKINGS[packing](data))
    read_images, read_labels = load_mnist_csv(path)
    np.testing.assert_array_equal(read_images, images)
    assert (None if read_labels is None else read_labels.tolist()) == (label and labels.tolist())


@pytest.mark.parametrize("start", [None, 0, 1])
@pytest.mark.parametrize("at", [None, 0, 784])
def test_columns_without_names_are_784_pixels_with_the_label_first_or_last_or_not_at_all(
    path: Path, at: int | None, start: int | None
) -> None:
    images, labels = digits(4)
    images[:, 0, 0] = images[:, -1, -1] = 0  # as most images have it
    label = None if at is None else "label"
    frame = table(images, labels, NAMES["0.."], label=label, at=at or 0)
    if start is not None:
        frame.columns = [str(start + k) for k in range(frame.shape[1])]
    frame.to_csv(path, index=False, header=start is not None)
    read_images, read_labels = load_mnist_csv(path)
    np.testing.assert_array_equal(read_images, images)
    assert (None if read_labels is None else read_labels.tolist()) == (label and labels.tolist())


@pytest.mark.parametrize(
    ("first", "last", "got"),
    [
        ([1, 2, 3], [3, 2, 1], "numbers from 1 to 3 in the first and from 1 to 3 in the last"),
        ([0, 0, 0], [0, 0, 0], "numbers from 0 to 0 in the first and from 0 to 0 in the last"),
        ([26, 1, 2], [0, 0, 0], "numbers from 1 to 26 in the first and from 0 to 0 in the last"),
        # Little ink in a corner is no label.
        ([26, 1, 2, 3], [0, 9, 0, 0], "from 1 to 26 in the first and from 0 to 9 in the last"),
    ],
)
def test_a_file_without_names_is_refused_unless_one_outer_column_alone_can_be_the_label(
    path: Path, first: list[int], last: list[int], got: str
) -> None:
    table = np.zeros((len(first), 785), int)
    table[:, 0], table[:, -1] = first, last
    np.savetxt(path, table, "%d", ",")
    expected = "names for the columns, or labels from 0 to 9 in either the first or the last"
    sentence = refused(path)
    assert expected in sentence
    assert sentence.endswith(got)


def test_other_columns_are_refused(path: Path) -> None:
    sentence = "expected the columns label, pixel0, ..., pixel783, got "
    write(path, rows(), ["digit", *COLUMNS[1:]])
    assert sentence + "785: digit, pixel0, pixel1, ...; rename digit to label" in refused(path)
    write(path, rows(), [*COLUMNS[1:], "digit"])
    assert "785: pixel0, pixel1, pixel2, ...; rename digit to label" in refused(path)
    write(path, [line[:-1] for line in rows()], COLUMNS[:-1])
    assert sentence + "784: label, pixel0, pixel1, ..." in refused(path)
    write(path, rows(), ["label", *COLUMNS[1:-1], "class"])
    assert sentence + "785: label, pixel0, pixel1, ..." in refused(path)
    np.savetxt(path, np.ones((2, 786)), "%d", ",")
    assert "expected 784 columns, or 785 with a label, got 786: 1, 1, 1, ..." in refused(path)


@pytest.mark.parametrize(
    "names",
    [
        [*NAMES["pixel0.."][:-2], "pixel783", "pixel782"],
        [*NAMES["1x1.."][:-2], "28x28", "28x27"],
        [*NAMES["pixel0.."][:-1], "783"],
        [*NAMES["pixel0.."][:-1], "pixel784"],
        [f"{column}x{row}" for row, column in GRID],
    ],
)
def test_pixels_in_another_order_are_refused(path: Path, names: list[str]) -> None:
    write(path, rows(), ["label", *names])
    assert f"785: label, {names[0]}, {names[1]}, ..." in refused(path)


def test_a_zip_file_must_hold_one_csv_file(path: Path) -> None:
    write(path, rows())
    data = path.read_bytes()
    path.write_bytes(zipped(data, **{"test.csv": data}))
    got = "one .csv file in the zip file, got 2: train.csv, test.csv; unzip it first"
    assert got in refused(path)
    with zipfile.ZipFile(path, "w"):
        pass
    assert "got none" in refused(path)


@pytest.mark.parametrize("pack", [gzip.compress, zipped])
def test_a_damaged_packed_csv_file_is_refused(
    path: Path, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist_csv, "ROWS_AT_A_TIME", 4)
    images, labels = digits(8)
    write_mnist_csv(path, images, labels)
    data = pack(path.read_bytes())
    for length in range(4, len(data), len(data) // 9):
        path.write_bytes(data[:length])
        assert "a readable CSV file" in refused(path)
    for bit in range(8 * 30, 8 * len(data), len(data) // 2):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            read_images, _ = load_mnist_csv(path)
        except DatasetError:
            continue
        assert (read_images == images).all()  # the bit is in a field without data


@pytest.mark.parametrize("pack", [gzip.compress, zipped])
def test_a_row_without_an_end_does_not_fill_the_memory(
    path: Path, pack: Callable[[bytes], bytes]
) -> None:
    path.write_bytes(pack(b"0," * 4_000_000))
    tracemalloc.start()
    assert "got 32769: 0, 0, 0, ..." in refused(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 7_000_000


def test_images_without_labels_are_no_data_set_to_train_on(path: Path) -> None:
    write(path, [line[1:] for line in rows(8)], COLUMNS[1:])
    images, labels = load_mnist_csv(str(path))
    assert (images == digits(8)[0]).all()
    assert labels is None
    with pytest.raises(DatasetError) as error:
        load_mnist(path)
    assert str(error.value) == (
        f"{path}: expected a column of labels, got images alone; "
        f"images, _ = load_mnist_csv({str(path)!r}) reads them"
    )


def test_rows_longer_than_the_header_are_refused(path: Path) -> None:
    write(path, [[*line, "0"] for line in rows()])
    assert "a readable CSV file, got ParserWarning" in refused(path)
    lines = rows()
    lines[1].append("0")
    write(path, lines)
    assert "a readable CSV file, got ParserError" in refused(path)


def test_files_that_are_no_csv_are_refused(path: Path) -> None:
    path.write_bytes(b"")
    assert "a readable CSV file, got EOFError: there is no row" in refused(path)
    path.write_bytes(b"\xff\xfe\x00label")
    assert "a readable CSV file, got UnicodeDecodeError" in refused(path)
    path.unlink()
    assert "a readable CSV file, got FileNotFoundError" in refused(path)


def test_a_header_alone_is_refused(path: Path) -> None:
    for columns in (COLUMNS, COLUMNS[1:]):
        write(path, [], columns)
        assert refused(path).endswith("expected at least one row below the header, got none")


def kaggle(folder: Path) -> None:
    """Files with the names of Kaggle's Digit Recognizer: 8 rows with labels, and 5 without."""
    write(folder / "train.csv", rows(8))
    write(folder / "test.csv", [line[1:] for line in rows(5)], COLUMNS[1:])


@pytest.mark.parametrize(
    ("ending", "pack"), [("", bytes), (".gz", gzip.compress), (".zip", zipped)]
)
def test_the_files_of_kaggle_are_read_whole_and_in_order(
    tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]
) -> None:
    kaggle(tmp_path)
    for name in ("train.csv", "test.csv"):
        path = tmp_path / name
        data = path.read_bytes()
        path.unlink()
        path.with_name(f"{name}{ending}").write_bytes(pack(data))
    train, images = load_kaggle_digits(str(tmp_path))
    np.testing.assert_array_equal(train.images, digits(8)[0])
    np.testing.assert_array_equal(train.labels, digits(8)[1])
    np.testing.assert_array_equal(images, digits(5)[0])


def test_exchanged_or_missing_files_of_kaggle_are_refused(tmp_path: Path) -> None:
    kaggle(tmp_path)
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    data = train.read_bytes()
    for path, content, sentence in (
        (train, test.read_bytes(), "expected a column of labels, got images alone"),
        (test, data, "expected images alone, got a column of labels"),
    ):
        train.write_bytes(data)
        path.write_bytes(content)
        with pytest.raises(DatasetError) as error:
            load_kaggle_digits(tmp_path)
        hint = "are train.csv and test.csv exchanged?"
        assert str(error.value) == f"{path}: {sentence}; {hint}"
    test.unlink()
    archive = tmp_path / "digit-recognizer.zip"
    archive.touch()
    for folder, name in ((tmp_path, "test"), (archive, "train")):
        with pytest.raises(DatasetError) as error:
            load_kaggle_digits(folder)
        names = f"{name}.csv, {name}.csv.gz, {name}.csv.zip"
        expected = f"expected one of the files {names}, got none of them"
        assert str(error.value) == f"{folder}: {expected}; unzip digit-recognizer.zip first"


def test_without_pandas_the_error_names_the_extra_to_install(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        ImportError, match=r"needs pandas: in a clone, pip install -e '\.\[examples\]'"
    ):
        load_mnist_csv(path)
