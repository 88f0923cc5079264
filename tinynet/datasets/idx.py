"""The IDX file format, in which MNIST is distributed: one array with a short header.

    bytes 0-1  zero
    byte 2     dtype of the entries; 0x08 for unsigned bytes, 0x0C for big-endian 32-bit integers
    byte 3     number of axes
    then       a big-endian 32-bit size for each axis, then the entries in C order

Source: the description at the end of LeCun, Cortes and Burges' MNIST page.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from tinynet.errors import DatasetError
from tinynet.parameter import Array

CHUNK = 1 << 20
BYTES, INTEGERS = 0x08, 0x0C  # the dtypes that are read
DTYPES: dict[int, tuple[np.dtype[Any], str]] = {
    BYTES: (np.dtype(np.uint8), "unsigned bytes"),
    INTEGERS: (np.dtype(">i4"), "integers"),
}


def read_idx(path: Path, shape: tuple[int | None, ...], code: int = BYTES) -> Array:
    """Reads an IDX file, raw or gzipped, as an array of `shape` (None: any size).

    Memory use is bounded by the length of the file, not by the sizes in its header.

    Raises:
        DatasetError: the file cannot be read, is no such IDX file, or is too short or too long.
    """
    try:
        with path.open("rb") as file:
            zipped = file.peek(2)[:2] == b"\x1f\x8b"
            if not zipped:
                return _read(path, file, shape, code)
            with gzip.open(file) as unzipped:
                return _read(path, cast("BinaryIO", unzipped), shape, code)
    except (OSError, EOFError, zlib.error) as error:
        got = f"{type(error).__name__}: {error}"
        raise DatasetError(path, "a readable IDX file", got) from error


def _read(path: Path, stream: BinaryIO, shape: tuple[int | None, ...], code: int) -> Array:
    dtype, kind = DTYPES[code]
    magic = bytes([0, 0, code, len(shape)])
    got = _read_up_to(stream, len(magic))
    if got != magic:
        raise DatasetError(
            path,
            f"the magic number {magic.hex()} ({kind}, axes: {len(shape)})",
            f"{got.hex() or 'an empty file'}",
        )
    header = _read_up_to(stream, 4 * len(shape))
    if len(header) < 4 * len(shape):
        raise DatasetError(path, f"{4 * len(shape)} bytes of sizes", f"{len(header)}")
    sizes = tuple(int(size) for size in np.frombuffer(header, ">u4"))
    if any(required not in (None, size) for required, size in zip(shape, sizes, strict=True)):
        required = ", ".join("N" if size is None else str(size) for size in shape)
        raise DatasetError(path, f"the shape ({required})", f"{sizes}")
    count = math.prod(sizes) * dtype.itemsize
    entries = _read_up_to(stream, count + 1)
    if len(entries) != count:
        length = "more" if len(entries) > count else f"{len(entries):,}"
        raise DatasetError(path, f"{count:,} bytes of entries for the shape {sizes}", length)
    return np.frombuffer(entries, dtype).reshape(sizes)


def _read_up_to(stream: BinaryIO, count: int) -> bytearray:
    """Reads `count` bytes, or fewer at the end of the stream."""
    data = bytearray()
    while len(data) < count and (chunk := stream.read(min(CHUNK, count - len(data)))):
        data += chunk
    return data
