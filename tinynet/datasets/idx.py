"""The IDX format holds one array: a magic number, a size for each axis, and the entries.

    bytes 0-1  zero
    byte 2     type of the entries, 0x08 for unsigned bytes, the one type that MNIST uses
    byte 3     number of axes
    then       one big-endian 32-bit size an axis, then the entries, the last axis running fastest

Source: the description at the end of LeCun, Cortes and Burges' MNIST page.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from tinynet.parameter import Array

CHUNK = 1 << 20


class DatasetError(ValueError):
    """A data set file is not what it should be: names the file, what was expected and what came."""

    def __init__(self, path: object, expected: str, got: str) -> None:
        super().__init__(f"{path}: expected {expected}, got {got}")


def read_idx(path: Path, shape: tuple[int | None, ...]) -> Array:
    """Reads an IDX file of unsigned bytes, raw or gzipped, as an array of `shape` (None: any size).

    Memory grows with the bytes that are there, never to what the header claims.

    Raises:
        DatasetError: the file cannot be read, is no such IDX file, or is too short or too long.
    """
    try:
        with path.open("rb") as file:
            zipped = file.peek(2)[:2] == b"\x1f\x8b"
            if not zipped:
                return _read(path, file, shape)
            with gzip.open(file) as unzipped:
                return _read(path, cast("BinaryIO", unzipped), shape)
    except (OSError, EOFError, zlib.error) as error:
        came = f"{type(error).__name__}: {error}"
        raise DatasetError(path, "a readable IDX file", came) from error


def _read(path: Path, stream: BinaryIO, shape: tuple[int | None, ...]) -> Array:
    magic = bytes([0, 0, 8, len(shape)])
    came = _read_up_to(stream, len(magic))
    if came != magic:
        raise DatasetError(
            path,
            f"the magic number {magic.hex()} (unsigned bytes, axes: {len(shape)})",
            f"{came.hex() or 'an empty file'}",
        )
    header = _read_up_to(stream, 4 * len(shape))
    if len(header) < 4 * len(shape):
        raise DatasetError(path, f"{4 * len(shape)} bytes of sizes", f"{len(header)}")
    sizes = tuple(int(size) for size in np.frombuffer(header, ">u4"))
    if any(wanted not in (None, size) for wanted, size in zip(shape, sizes, strict=True)):
        wanted = ", ".join("N" if size is None else str(size) for size in shape)
        raise DatasetError(path, f"the shape ({wanted})", f"{sizes}")
    count = math.prod(sizes)
    entries = _read_up_to(stream, count + 1)
    if len(entries) != count:
        more = "more" if len(entries) > count else f"{len(entries):,}"
        raise DatasetError(path, f"{count:,} bytes of entries, as the shape {sizes} says", more)
    return np.frombuffer(entries, np.uint8).reshape(sizes)


def _read_up_to(stream: BinaryIO, count: int) -> bytearray:
    """`count` bytes, or as many as there are."""
    data = bytearray()
    while len(data) < count and (chunk := stream.read(min(CHUNK, count - len(data)))):
        data += chunk
    return data
