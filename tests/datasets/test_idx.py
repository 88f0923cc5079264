import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet.datasets import DatasetError
from tinynet.datasets.idx import INTEGERS, read_idx

ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
HEADER = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4])
WHOLE = HEADER + bytes(range(24))


def refused(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(DatasetError) as error:
        read_idx(path, (None, 3, 4))
    sentence = str(error.value)
    assert sentence.startswith(f"{path}: expected ")
    assert ", got " in sentence
    return sentence


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_idx_files_are_read_raw_and_gzipped_under_any_name(
    tmp_path: Path, compress: type[bytes]
) -> None:
    path = tmp_path / "numbers"
    path.write_bytes(compress(WHOLE))
    array = read_idx(path, (None, 3, 4))
    assert array.dtype == np.uint8
    assert (array == ARRAY).all()
    array[0] = 0  # it is writable


def test_integers_of_an_idx_file_are_big_endian_and_signed(tmp_path: Path) -> None:
    data = bytes([0, 0, 0x0C, 2, 0, 0, 0, 1, 0, 0, 0, 3])
    data += bytes([0, 0, 1, 2]) + bytes([0xFF, 0xFF, 0xFF, 0xFE]) + bytes([0x7F, 0, 0, 0])
    path = tmp_path / "integers"
    path.write_bytes(data)
    assert read_idx(path, (None, 3), INTEGERS).tolist() == [[258, -2, 127 * 2**24]]
    path.write_bytes(data[:-1])
    with pytest.raises(DatasetError, match=r"12 bytes of entries for the shape \(1, 3\), got 11$"):
        read_idx(path, (None, 3), INTEGERS)
    path.write_bytes(WHOLE)
    with pytest.raises(DatasetError, match=r"number 00000c02 \(integers, axes: 2\), got 00000803$"):
        read_idx(path, (None, 3), INTEGERS)


def test_an_idx_file_may_have_an_empty_axis(tmp_path: Path) -> None:
    path = tmp_path / "none"
    path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 0]))
    assert read_idx(path, (None,)).shape == (0,)


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_every_truncation_of_an_idx_file_is_refused(tmp_path: Path, length: int) -> None:
    refused(tmp_path / "short", WHOLE[:length])
    zipped = gzip.compress(WHOLE)
    refused(tmp_path / "zipped and short", zipped[: len(zipped) * length // len(WHOLE)])
    refused(tmp_path / "short and zipped", gzip.compress(WHOLE[:length]))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the magic number 00000803 (unsigned bytes, axes: 3), got an empty file"),
        (b"\0\0\x08\x01" + WHOLE[4:], "(unsigned bytes, axes: 3), got 00000801"),
        (b"\0\0\x0d\x03" + WHOLE[4:], "got 00000d03"),
        (b"\x01\0\x08\x03" + WHOLE[4:], "got 01000803"),
        (b"<html>", "got 3c68746d"),
        (WHOLE[:10], "expected 12 bytes of sizes, got 6"),
        (WHOLE[:-1], "expected 24 bytes of entries for the shape (2, 3, 4), got 23"),
        (WHOLE + b"x", "expected 24 bytes of entries for the shape (2, 3, 4), got more"),
        (HEADER[:11] + b"\x05" + WHOLE[12:], "expected the shape (N, 3, 4), got (2, 5, 4)"),
        (gzip.compress(WHOLE, mtime=0)[:-1], "a readable IDX file, got EOFError"),
        (gzip.compress(WHOLE, mtime=0) + b"x", "a readable IDX file, got BadGzipFile"),
        (b"\x1f\x8b" + b"junk" * 9, "a readable IDX file, got BadGzipFile"),
    ],
)
def test_errors_of_idx_files_say_what_was_expected_and_got(
    tmp_path: Path, data: bytes, sentence: str
) -> None:
    assert sentence in refused(tmp_path / "broken", data)


def test_a_missing_idx_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path, got in ((tmp_path / "no", "FileNotFoundError"), (tmp_path, "IsADirectoryError")):
        with pytest.raises(DatasetError, match=f"a readable IDX file, got {got}"):
            read_idx(path, (None,))


@given(st.integers(0, 8 * len(gzip.compress(WHOLE, mtime=0)) - 1))
def test_a_flipped_bit_in_a_gzipped_idx_file_never_gives_wrong_data(bit: int) -> None:
    data = bytearray(gzip.compress(WHOLE, mtime=0))
    data[bit // 8] ^= 1 << bit % 8
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flipped"
        path.write_bytes(data)
        try:
            array = read_idx(path, (None, 3, 4))
        except DatasetError:
            return
        assert (array == ARRAY).all()  # the bit is in a field without data


@pytest.mark.parametrize("zipped", [False, True])
def test_reading_an_idx_file_allocates_by_its_length_and_not_by_its_header(
    tmp_path: Path, zipped: bool
) -> None:
    claim = bytes([0, 0, 8, 3]) + b"\xff\xff\xff\xff" * 3 + bytes(3_000_000)
    path = tmp_path / "wrong sizes"
    path.write_bytes(gzip.compress(claim) if zipped else claim)
    tracemalloc.start()
    with pytest.raises(
        DatasetError, match=r"expected 79,228,162,458,924,105,385,300,197,375 bytes"
    ):
        read_idx(path, (None, None, None))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * 3_000_000 + 2**22
