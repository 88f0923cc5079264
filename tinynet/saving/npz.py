"""The file format of checkpoints: an .npz file (a zip of .npy files) with SHA-256 checksums.

    manifest.json      format, version, the state, and dtype, shape and SHA-256 of every tensor
    manifest.sha256    the SHA-256 of manifest.json
    <name>.npy         one uncompressed member for each tensor

`np.load` opens it. Nothing in a file is executed: there is no pickle, and the header of a member is
not parsed, but compared with the one that follows from the manifest. Sizes claimed by a file are
checked against its length before memory is allocated.
"""

import hashlib
import json
import math
import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from tinynet.errors import InputError
from tinynet.parameter import Array

FORMAT, VERSION = "tinynet checkpoint", 1
MANIFEST, DIGEST = "manifest.json", "manifest.sha256"
LIMIT = 1 << 20  # bytes of the manifest and of the zip directory: enough for 5,000 tensors
CHUNK = 1 << 20
KINDS = "biufc"  # the kinds of numeric dtypes
# The names of dtypes in a file. They are looked up here, not parsed by np.dtype, which warns for
# some strings, raises SyntaxError for others, and ends the process for "m8[s/0]".
DTYPES = {
    np.dtype(code).newbyteorder("<").str
    for code in "?" + np.typecodes["AllInteger"] + np.typecodes["AllFloat"]
}


def make_manifest(state: Any, tensors: dict[str, Array]) -> bytes:
    """The manifest of a state and its tensors: JSON with NaN, Infinity and -Infinity.

    Raises:
        InputError: the state cannot be written as JSON, or is too large.
    """
    entries = {
        name: {
            "dtype": array.dtype.str,
            "shape": list(array.shape),
            "sha256": hashlib.sha256(_bytes(array)).hexdigest(),
        }
        for name, array in tensors.items()
    }
    body = {"format": FORMAT, "version": VERSION, "tensors": entries, "state": state}
    try:
        manifest = json.dumps(body, indent=1).encode()
    except (TypeError, ValueError) as error:
        raise InputError(f"expected a state of arrays, numbers and strings: {error}") from error
    if len(manifest) > LIMIT:
        raise InputError(f"expected a manifest of at most {LIMIT} bytes, got {len(manifest)}")
    return manifest


def write_npz(file: BinaryIO, manifest: bytes, tensors: dict[str, Array]) -> None:
    """Writes the zip; the same manifest and tensors give the same bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(MANIFEST), manifest)
        archive.writestr(zipfile.ZipInfo(DIGEST), _digest_line(manifest))
        for name, array in tensors.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                member.write(_npy_header(array.dtype.str, array.shape))
                member.write(_bytes(array))


@contextmanager
def open_npz(file: BinaryIO) -> Iterator[tuple[bytes, Any, Iterator[tuple[str, Array]]]]:
    """Gives the bytes of the manifest, its content, and the tensors, each read when iterated to.

    Raises:
        InputError: the file is damaged or of another kind; also from the iteration.
    """
    size = os.fstat(file.fileno()).st_size
    directory = _directory_size(file, size)
    if directory > LIMIT:
        raise InputError(f"expected a zip directory of at most {LIMIT} bytes, got {directory}")
    try:
        with zipfile.ZipFile(file) as archive:
            _check_members(archive.infolist(), size)
            manifest = archive.read(MANIFEST)
            _check_digest(manifest, archive.read(DIGEST))
            body = _parsed(manifest)
            _check_names(archive.namelist()[2:], body["tensors"])
            yield manifest, body, _tensors(archive, body["tensors"])
    except InputError:
        raise
    except _ZIP_ERRORS as error:
        raise InputError(f"expected a valid zip file, got: {error}") from error


def is_name(name: str) -> bool:
    """Whether a tensor may have this name: a relative path that stays inside of its folder."""
    return name.isprintable() and "\\" not in name and not {"", ".", ".."} & {*name.split("/")}


# What zipfile raises for files that contradict their own records.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    ArithmeticError,
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
)


def _bytes(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _digest_line(manifest: bytes) -> bytes:
    # The format of sha256sum, so that `sha256sum -c manifest.sha256` works after unzipping.
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()


def _npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The header of a .npy file, format 1.0, as described in numpy.lib.format."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    text += " " * (-(10 + len(text) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin1")


def _directory_size(file: BinaryIO, size: int) -> int:
    """The size of the zip directory, from the end records alone, before it is parsed."""
    file.seek(max(size - 98, 0))
    tail = file.read(98)
    end = tail[-22:]
    # The whole archive in one file ("disk 0"), and no comment after the record.
    if len(end) < 22 or end[:8] != b"PK\x05\x06\0\0\0\0" or end[20:] != b"\0\0":
        raise InputError(
            "expected a complete zip file, got a truncated one or another kind of file"
        )
    directory, start = struct.unpack("<LL", end[12:20])
    records = 22
    if tail[56:60] == b"PK\x06\x07":  # files beyond 4 GB have 64-bit records before the last one
        if tail[:4] != b"PK\x06\x06" or struct.unpack("<Q", tail[64:72])[0] != size - 98:
            raise InputError("expected the 64-bit end record before the last one, got another")
        directory, start = struct.unpack("<QQ", tail[40:56])
        records = 98
    if start + directory + records != size:
        raise InputError(f"expected a zip file of {start + directory + records} bytes, got {size}")
    file.seek(0)
    return int(directory)


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    names = [member.filename for member in members]
    if names[:2] != [MANIFEST, DIGEST] or members[0].header_offset:
        raise InputError("expected a file of tinynet, got a zip without a manifest as first member")
    if len(set(names)) < len(names):
        raise InputError("expected each member once, got one twice")
    if sum(member.file_size for member in members) > size:
        raise InputError(f"expected members within the {size} bytes of the file, got more")
    if max(member.file_size for member in members[:2]) > LIMIT:
        raise InputError(f"expected a manifest of at most {LIMIT} bytes, got more")
    for member in members:
        stored = member.compress_type == zipfile.ZIP_STORED
        if not stored or member.compress_size != member.file_size:
            raise InputError(f"expected uncompressed members, got {member.filename} compressed")


def _check_digest(manifest: bytes, line: bytes) -> None:
    if line != _digest_line(manifest):
        raise InputError("expected a manifest that matches its SHA-256, got another")


def _check_names(names: list[str], entries: dict[str, Any]) -> None:
    if names != [f"{name}.npy" for name in entries]:
        raise InputError("expected one member for each tensor of the manifest, got others")


def _parsed(manifest: bytes) -> Any:
    try:
        body = json.loads(manifest.decode())
        kind, version, entries, _ = (body[k] for k in ("format", "version", "tensors", "state"))
        tensors = dict(entries.items())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"expected a valid manifest, got {error!r:.80}") from error
    if kind != FORMAT or version != VERSION:
        raise InputError(
            f"expected {FORMAT!r}, version {VERSION}, got {kind!r:.80}, version {version!r:.80}"
        )
    for name, entry in tensors.items():
        if not is_name(name):
            raise InputError(f"expected the name of a tensor, got {name!r:.80}")
        if not _is_entry(entry):
            raise InputError(f"expected dtype, shape and SHA-256 of {name}, got {entry!s:.80}")
    return body


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "sha256"}:
        return False
    dtype, shape = entry["dtype"], entry["shape"]
    return (
        isinstance(dtype, str)
        and dtype in DTYPES
        and isinstance(shape, list)
        and all(type(size) is int and size >= 0 for size in shape)
    )


def _tensors(archive: zipfile.ZipFile, entries: Any) -> Iterator[tuple[str, Array]]:
    for name, entry in entries.items():
        dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
        header = _npy_header(dtype.str, shape)
        info = archive.getinfo(f"{name}.npy")
        count = math.prod(shape)
        expected = len(header) + dtype.itemsize * count
        if info.file_size != expected:
            raise InputError(f"expected {expected} bytes of {name}, got {info.file_size}")
        array = np.empty(count, dtype)
        view = _bytes(array)
        with archive.open(info) as member:
            if member.read(len(header)) != header:
                raise InputError(f"expected {name} with the header of its shape, got another")
            for start in range(0, len(view), CHUNK):
                view[start : start + CHUNK] = member.read(CHUNK)
        if hashlib.sha256(view).hexdigest() != entry["sha256"]:
            raise InputError(f"expected {name} with the SHA-256 of the manifest, got another")
        yield name, array.reshape(shape).astype(dtype.newbyteorder("="), copy=False)
