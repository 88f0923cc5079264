"""Checkpoint files built byte by byte, so that one part can be wrong and all others right."""

import gzip
import hashlib
import io
import json
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tinynet import Array

Maker = Callable[[], bytes]

W, B = "model/weight", "model/bias"
WEIGHT = np.arange(6, dtype="<f4").reshape(3, 2)
BIAS = np.array([-1.5, 1.5], "<f4")
LIMIT = 1 << 20  # of a manifest, in bytes


# The zip


@dataclass
class Member:
    """A member of a zip file, and the wrong values in its records, if any."""

    name: str
    data: bytes
    flags: int = 0x800  # the name is UTF-8
    method: int = 0
    version: int = 20
    extra: bytes = b""
    size: int | None = None
    compressed: int | None = None
    crc: int | None = None
    offset: int | None = None
    local_name: str | None = None

    def local(self) -> bytes:
        name = (self.local_name or self.name).encode("utf-8", "surrogateescape")
        return b"PK\x03\x04" + self._common(name, 0) + name + self.data

    def central(self, offset: int) -> bytes:
        name = self.name.encode("utf-8", "surrogateescape")
        head = b"PK\x01\x02\x14\x03" + self._common(name, len(self.extra))
        tail = struct.pack("<3H2L", 0, 0, 0, 0, offset if self.offset is None else self.offset)
        return head + tail + name + self.extra

    def _common(self, name: bytes, extra: int) -> bytes:
        crc = zlib.crc32(self.data) if self.crc is None else self.crc
        size = len(self.data) if self.size is None else self.size
        compressed = len(self.data) if self.compressed is None else self.compressed
        numbers = self.version, self.flags, self.method, 0, 33, crc, compressed, size
        return struct.pack("<5H3L2H", *numbers, len(name), extra)


def zipped(
    members: list[Member],
    *,
    prefix: bytes = b"",
    counted: bool = False,  # whether the offsets count the prefix
    suffix: bytes = b"",
    comment: bytes = b"",
    comment_size: int | None = None,
    disks: tuple[int, int] = (0, 0),
    directory_size: int | None = None,
    wide: bool = False,  # with the 64-bit records of a file beyond 4 GB
    wide_size: int | None = None,
    wide_record: bytes = b"PK\x06\x06",
    wide_offset: int | None = None,
) -> bytes:
    body, directory, shift = prefix, b"", 0 if counted else len(prefix)
    for member in members:
        directory += member.central(len(body) - shift)
        body += member.local()
    start, size = len(body) - shift, len(directory)
    count, comment_size = len(members), comment_size or len(comment)
    end = b""
    if wide:
        end = wide_record + struct.pack(
            "<Q2H2L4Q", 44, 45, 45, 0, 0, count, count, wide_size or size, start
        )
        end += b"PK\x06\x07" + struct.pack("<LQL", 0, wide_offset or start + size, 1)
    end += b"PK\x05\x06" + struct.pack(
        "<4H2LH", *disks, count, count, directory_size or size, start, comment_size
    )
    return body + directory + end + comment + suffix


# The checkpoint in it


def npy(dtype: str, shape: str, data: bytes, order: bool = False) -> bytes:
    text = f"{{'descr': {dtype!r}, 'fortran_order': {order}, 'shape': {shape}, }}"
    text += " " * (-(10 + len(text) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data


def entry(array: Array) -> dict[str, Any]:
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    return {"dtype": array.dtype.str, "shape": list(array.shape), "sha256": digest}


def body() -> dict[str, Any]:
    return {
        "format": "tinynet checkpoint",
        "version": 1,
        "tensors": {W: entry(WEIGHT), B: entry(BIAS)},
        "state": {
            "network": "Dense(3, 2)",
            "model": {"weight": {"tensor": W}, "bias": {"tensor": B}},
        },
    }


def blobs() -> dict[str, bytes]:
    return {
        W: npy("<f4", "(3, 2)", WEIGHT.tobytes()),
        B: npy("<f4", "(2,)", BIAS.tobytes()),
    }


@dataclass
class Forgery:
    """The checkpoint of a Dense(3, 2), in parts."""

    body: Any = field(default_factory=body)
    blobs: dict[str, bytes] = field(default_factory=blobs)
    manifest: bytes | None = None  # instead of the body
    digest: bytes | None = None  # instead of the right one

    def members(self) -> list[Member]:
        manifest = json.dumps(self.body).encode() if self.manifest is None else self.manifest
        line = hashlib.sha256(manifest).hexdigest().encode() + b"  manifest.json\n"
        return [
            Member("manifest.json", manifest),
            Member("manifest.sha256", line if self.digest is None else self.digest),
            *(Member(f"{name}.npy", blob) for name, blob in self.blobs.items()),
        ]


Change = Callable[[Forgery], None]
Pack = Callable[[list[Member]], list[Member]]


def forged(*changes: Change, pack: Pack = list, **records: Any) -> Maker:
    """A file with these changes; everything else is right, and so are the checksums."""

    def make() -> bytes:
        forgery = Forgery()
        for change in changes:
            change(forgery)
        return zipped(pack(forgery.members()), **records)

    return make


def put(*path_and_value: Any) -> Change:
    *path, last, value = path_and_value

    def change(forgery: Forgery) -> None:
        parent = forgery.body
        for name in path:
            parent = parent[name]
        parent[last] = value

    return change


def drop(*path: str) -> Change:
    def change(forgery: Forgery) -> None:
        parent = forgery.body
        for name in path[:-1]:
            parent = parent[name]
        del parent[path[-1]]

    return change


def tensor(dtype: Any, shape: Any, data: bytes = b"", header: str | None = None) -> Change:
    """Another weight: in the manifest, in the header of its member, and in its data."""

    def change(forgery: Forgery) -> None:
        digest = hashlib.sha256(data).hexdigest()
        forgery.body["tensors"][W] = {"dtype": dtype, "shape": shape, "sha256": digest}
        text = header or (repr(tuple(shape)) if isinstance(shape, list) else "(3, 2)")
        forgery.blobs[W] = npy(dtype if isinstance(dtype, str) else "<f4", text, data)

    return change


def blob(data: bytes) -> Change:
    return lambda forgery: forgery.blobs.update({W: data})


def renamed(name: str) -> Change:
    """Another name for the weight, everywhere."""

    def change(forgery: Forgery) -> None:
        tensors = forgery.body["tensors"]
        forgery.body["tensors"] = {name if n == W else n: e for n, e in tensors.items()}
        forgery.blobs = {name if n == W else n: b for n, b in forgery.blobs.items()}
        forgery.body["state"]["model"]["weight"] = {"tensor": name}

    return change


def manifest(data: bytes) -> Change:
    def change(forgery: Forgery) -> None:
        forgery.manifest = data

    return change


def encoded(encoding: str) -> Change:
    return lambda forgery: manifest(json.dumps(forgery.body).encode(encoding))(forgery)


def more(json_text: str) -> Change:
    """One more item of the state, as JSON that json.dumps does not write."""

    def change(forgery: Forgery) -> None:
        forgery.body["state"]["more"] = "HERE"
        forgery.manifest = json.dumps(forgery.body).replace('"HERE"', json_text).encode()

    return change


def digest(data: bytes) -> Change:
    def change(forgery: Forgery) -> None:
        forgery.digest = data

    return change


def claims(index: int, **wrong: Any) -> Pack:
    """Wrong values in the records of one member."""
    return lambda members: [
        replace(member, **wrong) if i == index else member for i, member in enumerate(members)
    ]


def deflated(index: int) -> Pack:
    def pack(members: list[Member]) -> list[Member]:
        raw = members[index].data
        squeeze = zlib.compressobj(1, zlib.DEFLATED, -15)
        data = squeeze.compress(raw) + squeeze.flush()
        return claims(index, data=data, method=8, size=len(raw), crc=zlib.crc32(raw))(members)

    return pack


def order(*indices: int) -> Pack:
    return lambda members: [members[index] for index in indices]


def added(*extra: Member) -> Pack:
    return lambda members: [*members, *extra]


# Files that must be refused


class Payload:
    """Creates a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("executed",)


PICKLED = np.array([Payload()], object)


def saved(save: Callable[..., None], *args: Any, **kwargs: Any) -> bytes:
    file = io.BytesIO()
    save(file, *args, **kwargs)
    return file.getvalue()


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


NO_ZIP = "expected a complete zip file, got a truncated one or another kind of file"
INVALID = "expected a valid zip file, got: "
NOT_FIRST = "expected a file of tinynet, got a zip without a manifest as first member"
OTHERS = "expected one member for each tensor of the manifest, got others"
FORM = "expected a valid manifest, got "
ENTRY = "expected dtype, shape and SHA-256 of model/weight, got "
HEADER = "expected model/weight with the header of its shape, got another"
ANOTHER = "expected model/weight with the SHA-256 of the manifest, got another"
NAME = "expected the name of a tensor, got "
SMALL = f"expected a manifest of at most {LIMIT} bytes, got "
WITHIN = "expected members within the "
DATA = WEIGHT.tobytes()

HOSTILE: dict[str, tuple[Maker, str]] = {
    # Other kinds of files
    "an empty file": (lambda: b"", NO_ZIP),
    "a text": (lambda: b"weights: 1, 2, 3\n" * 30, NO_ZIP),
    "a pickle": (lambda: pickle.dumps(Payload()), NO_ZIP),
    "a raw .npy": (lambda: saved(np.save, WEIGHT), NO_ZIP),
    "a .npz of np.savez": (lambda: saved(np.savez, weight=WEIGHT), NOT_FIRST),
    "a .npz with a pickle": (lambda: saved(np.savez, weight=PICKLED, bias=BIAS), NOT_FIRST),
    "a gzipped checkpoint": (lambda: gzip.compress(forged()()), NO_ZIP),
    "an empty zip": (lambda: zipped([]), NOT_FIRST),
    # Around the zip
    "bytes in front": (forged(prefix=b"#!/bin/sh\n"), "expected a zip file of "),
    "bytes in front that are counted": (forged(prefix=b"#!/bin/sh\n", counted=True), NOT_FIRST),
    "bytes behind": (forged(suffix=b"\0"), NO_ZIP),
    "a comment": (forged(comment=b"hello"), NO_ZIP),
    "a comment that is not there": (forged(comment_size=9), NO_ZIP),
    "one zip behind another": (lambda: forged()() + forged()(), "expected a zip file of "),
    "a second disk": (forged(disks=(1, 0)), NO_ZIP),
    "a directory on another disk": (forged(disks=(0, 1)), NO_ZIP),
    "a directory that is too short": (forged(directory_size=100), "expected a zip file of "),
    "a directory beyond the file": (forged(directory_size=2**32 - 1), "expected a zip file of "),
    "a wide directory beyond the file": (
        forged(wide=True, wide_size=2**63),
        "expected a zip file of ",
    ),
    "a wide record at another offset": (
        forged(wide=True, wide_offset=7),
        "expected the 64-bit end record",
    ),
    "no wide record": (forged(wide=True, wide_record=b"PK\0\0"), "expected the 64-bit end record"),
    "a huge directory": (
        forged(
            pack=added(
                *(
                    Member(f"{i}", b"", extra=struct.pack("<HH", 0x9999, 65000) + bytes(65000))
                    for i in range(17)
                )
            )
        ),
        "expected a zip directory of at most 1048576 bytes, got 11",
    ),
    # The members
    "a member twice": (forged(pack=order(0, 1, 2, 3, 3)), "expected each member once"),
    "a member twice and another not": (forged(pack=order(0, 1, 2, 2)), "expected each member once"),
    "members in another order": (forged(pack=order(0, 1, 3, 2)), OTHERS),
    "the manifest after the tensors": (forged(pack=order(2, 3, 0, 1)), NOT_FIRST),
    "the digest first": (forged(pack=order(1, 0, 2, 3)), NOT_FIRST),
    "no manifest": (forged(pack=order(1, 2, 3)), NOT_FIRST),
    "no digest": (forged(pack=order(0, 2, 3)), NOT_FIRST),
    "a member too many": (forged(pack=added(Member("more.npy", b""))), OTHERS),
    "a member too few": (forged(pack=order(0, 1, 2)), OTHERS),
    "a member with another name": (forged(pack=claims(2, name="model/Weight.npy")), OTHERS),
    "a deflated manifest": (forged(pack=deflated(0)), "got manifest.json compressed"),
    "a deflated tensor": (
        forged(tensor("<f4", [3, 2], bytes(24)), pack=deflated(2)),
        "expected uncompressed members, got model/weight.npy compressed",
    ),
    "a bomb": (forged(tensor("<f4", [20 << 20], bytes(80 << 20)), pack=deflated(2)), WITHIN),
    "a size beyond the file": (forged(pack=claims(2, size=2**31, compressed=2**31)), WITHIN),
    "a size of 2**32 - 1": (forged(pack=claims(2, size=2**32 - 1)), WITHIN),
    "a wide size beyond the file": (
        forged(pack=claims(2, size=2**32 - 1, extra=struct.pack("<HHQ", 1, 8, 2**63))),
        WITHIN,
    ),
    "a truncated wide size": (
        forged(pack=claims(2, size=2**32 - 1, extra=struct.pack("<HHL", 1, 4, 9))),
        INVALID,
    ),
    "a size that is too small": (
        forged(pack=claims(2, size=151, compressed=151)),
        "expected 152 bytes of model/weight, got 151",
    ),
    "a size that overlaps the directory": (
        forged(
            put("tensors", B, "shape", [100]),
            pack=claims(3, size=528, compressed=528),
            suffix=b"",
        ),
        "expected model/bias with the header of its shape, got another",
    ),
    "another compressed size": (
        forged(pack=claims(2, compressed=151)),
        "expected uncompressed members, got model/weight.npy compressed",
    ),
    "a wrong CRC": (forged(pack=claims(2, crc=1)), f"{INVALID}Bad CRC-32"),
    "an encrypted member": (forged(pack=claims(2, flags=0x801)), INVALID),
    "a zip of the future": (forged(pack=claims(2, version=99)), INVALID),
    "a member at another offset": (forged(pack=claims(2, offset=3)), INVALID),
    "a member beyond the file": (forged(pack=claims(2, offset=2**31)), INVALID),
    "two names for one member": (forged(pack=claims(2, local_name="x" * 16)), INVALID),
    "a name that is not UTF-8": (forged(pack=claims(2, name="\udcff.npy")), INVALID),
    # The manifest
    "a wrong digest": (
        forged(digest(b"0" * 64 + b"  manifest.json\n")),
        "that matches its SHA-256",
    ),
    "an empty digest": (forged(digest(b"")), "that matches its SHA-256"),
    "a huge manifest": (forged(more(" " * LIMIT + "0")), SMALL),
    "a huge digest": (forged(digest(b"0" * (LIMIT + 1))), SMALL),
    "an empty manifest": (forged(manifest(b"")), FORM),
    "a manifest that is not JSON": (forged(manifest(b"{'format': 1}")), FORM),
    "a manifest in Latin-1": (forged(manifest(b'{"format": "\xe9"}')), FORM),
    "a manifest in UTF-16": (forged(encoded("utf-16")), FORM),
    "a manifest that is a list": (forged(manifest(b"[1, 2]")), FORM),
    "a manifest that is a number": (forged(manifest(b"1")), FORM),
    "a deep manifest": (forged(manifest(nested(100_000).encode())), FORM),
    "a deep state": (forged(more(nested(100_000))), FORM),
    "a number of 100,000 digits": (forged(more("9" * 100_000)), FORM),
    "another format": (forged(put("format", "x" * 9999)), "expected 'tinynet checkpoint', version"),
    "another version": (forged(put("version", 2)), "got 'tinynet checkpoint', version 2"),
    "a version of many digits": (forged(put("version", 10**4000)), ", version 10000"),
    "no format": (forged(drop("format")), FORM),
    "no version": (forged(drop("version")), FORM),
    "no tensors": (forged(drop("tensors")), FORM),
    "no state": (forged(drop("state")), FORM),
    "a list of tensors": (forged(put("tensors", [W, B])), FORM),
    "no entry": (forged(put("tensors", W, None)), ENTRY),
    "an entry that is a list": (forged(put("tensors", W, ["dtype", "shape", "sha256"])), ENTRY),
    "an entry without its dtype": (forged(drop("tensors", W, "dtype")), ENTRY),
    "an entry without its shape": (forged(drop("tensors", W, "shape")), ENTRY),
    "an entry without its SHA-256": (forged(drop("tensors", W, "sha256")), ENTRY),
    "an entry with more": (forged(put("tensors", W, "order", "C")), ENTRY),
    # Shapes
    "a shape of 2**62": (forged(tensor("<f4", [2**62], DATA)), "expected 18446744073709551744 byt"),
    "a shape of 2**62 in the manifest alone": (
        forged(put("tensors", W, "shape", [2**62])),
        "expected 18446744073709551744 bytes of model/weight, got 152",
    ),
    "a shape of 4000 digits": (forged(tensor("<f4", [10**4000, 10**4000], DATA)), INVALID),
    "a huge shape without entries": (
        forged(tensor("<f4", [2**40, 0])),
        "expects float32 of shape (3, 2), got float32 of shape (1099511627776, 0)",
    ),
    "a shape without entries that no array has": (forged(tensor("<f4", [2**62, 0])), INVALID),
    "a shape without entries beyond 64 bits": (forged(tensor("<f4", [2**70, 0])), INVALID),
    "a shape of too many axes": (forged(tensor("<f4", [1] * 65, DATA[:4])), INVALID),
    "a shape longer than a header": (forged(tensor("<f4", [1] * 40_000, DATA, "()")), INVALID),
    "a negative shape": (forged(tensor("<f4", [-3, -2], DATA)), ENTRY),
    "a shape of bools": (forged(tensor("<f4", [True, 6], DATA)), ENTRY),
    "a shape of texts": (forged(tensor("<f4", ["3", "2"], DATA)), ENTRY),
    "a shape of floats": (forged(tensor("<f4", [3.0, 2.0], DATA)), ENTRY),
    "a shape of lists": (forged(tensor("<f4", [[3, 2]], DATA)), ENTRY),
    "a shape that is a number": (forged(tensor("<f4", 6, DATA)), ENTRY),
    "no shape": (forged(tensor("<f4", None, DATA)), ENTRY),
    "another shape in the manifest": (forged(put("tensors", W, "shape", [2, 3])), HEADER),
    "another shape in the header": (forged(tensor("<f4", [3, 2], DATA, "(2, 3)")), HEADER),
    "another shape in both": (
        forged(tensor("<f4", [2, 3], DATA)),
        "Dense(3, 2), weight, expects float32 of shape (3, 2), got float32 of shape (2, 3)",
    ),
    "a header in another order": (forged(blob(npy("<f4", "(3, 2)", DATA, order=True))), HEADER),
    "a header with a call": (forged(tensor("<f4", [3, 2], DATA, "(3,+2)")), HEADER),
    "a member without its data": (
        forged(blob(npy("<f4", "(3, 2)", b""))),
        "expected 152 bytes of model/weight, got 128",
    ),
    # Dtypes
    "dtype object, with a pickle": (forged(tensor("|O", [1], pickle.dumps(PICKLED))), ENTRY),
    "dtype text": (forged(tensor("<U6", [1], DATA)), ENTRY),
    "dtype bytes": (forged(tensor("|S24", [1], DATA)), ENTRY),
    "dtype void": (forged(tensor("|V24", [1], DATA)), ENTRY),
    "dtype dates": (forged(tensor("<M8[s]", [3], DATA)), ENTRY),
    "a dtype that would end the process": (forged(tensor("m8[s/0]", [3], DATA)), ENTRY),
    "a dtype that is no Python": (forged(tensor("f4,(", [3], DATA)), ENTRY),
    "a dtype of fields": (forged(tensor("f4,f4", [3], DATA)), ENTRY),
    "a dtype of listed fields": (forged(tensor([["a", "<f4"]], [6], DATA)), ENTRY),
    "a dtype by another name": (forged(tensor("float32", [3, 2], DATA)), ENTRY),
    "an unknown dtype": (forged(tensor("<f5", [3, 2], DATA)), ENTRY),
    "a dtype that is a number": (forged(tensor(4, [3, 2], DATA)), ENTRY),
    "no dtype": (forged(tensor(None, [3, 2], DATA)), ENTRY),
    "a big-endian dtype": (forged(tensor(">f4", [3, 2], DATA)), ENTRY),
    "another dtype": (
        forged(tensor("<f8", [3, 2], bytes(48))),
        "Dense(3, 2), weight, expects float32 of shape (3, 2), got float64 of shape (3, 2)",
    ),
    # Checksums
    "a wrong SHA-256": (forged(put("tensors", W, "sha256", "0" * 64)), ANOTHER),
    "a SHA-256 that is a number": (forged(put("tensors", W, "sha256", 0)), ANOTHER),
    "a SHA-256 that is a list": (forged(put("tensors", W, "sha256", [])), ANOTHER),
    "other data": (forged(blob(npy("<f4", "(3, 2)", bytes(24)))), ANOTHER),
    # Names
    "a name above the folder": (forged(renamed("../weight")), NAME),
    "a name that climbs": (forged(renamed("model/../../weight")), NAME),
    "an absolute name": (forged(renamed("/weight")), NAME),
    "a name with a backslash": (forged(renamed("model\\weight")), NAME),
    "a name with a NUL": (forged(renamed("model/weight\0")), NAME),
    "a name with a line break": (forged(renamed("model/weight\n")), NAME),
    "a name with an empty part": (forged(renamed("model//weight")), NAME),
    "a name with a dot for a part": (forged(renamed("./weight")), NAME),
    "an empty name": (forged(renamed("")), NAME),
    "a long name": (forged(renamed("\r" * 60_000)), NAME),
    # The state
    "a state that is a list": (
        forged(put("state", [{"tensor": W}, {"tensor": B}])),
        "a dict as state, got a list",
    ),
    "a state that is a text": (forged(put("state", "model")), "a dict as state, got a str"),
    "a state that is a tensor": (
        forged(put("state", {"tensor": W})),
        "a dict as state, got a ndarray",
    ),
    "a state without tensors": (forged(put("state", {})), "every tensor, got 2 unused ones"),
    "a tensor left over": (
        forged(drop("state", "model", "bias")),
        "every tensor, got 1 unused ones",
    ),
    "a tensor that is not there": (
        forged(put("state", "model", "more", {"tensor": "model/more"})),
        "expected a state with each tensor once, got 'model/more'",
    ),
    "a tensor twice": (
        forged(put("state", "model", "more", {"tensor": W})),
        f"expected a state with each tensor once, got '{W}'",
    ),
    "a tensor named by a number": (
        forged(put("state", "model", "more", {"tensor": 0})),
        "each tensor once, got 0",
    ),
    "a tensor named by a list": (
        forged(put("state", "model", "more", {"tensor": [W]})),
        f"each tensor once, got ['{W}']",
    ),
    "a number in place of a tensor": (
        forged(put("state", "model", "more", 1)),
        "Dense(3, 2) expects a state with bias, weight, got more (the file is of Dense(3, 2))",
    ),
    "no model": (
        forged(put("state", {"a": {"tensor": W}, "b": {"tensor": B}})),
        "Dense(3, 2) expects a state, got none",
    ),
    "a long name of the network": (
        forged(put("state", "network", "x" * 9999), put("state", "model", "more", 1)),
        "(the file is of xxx",
    ),
}

# Valid files, built in the same way: the files above are refused because of their fault alone.
VALID: dict[str, Maker] = {
    "an unchanged file": forged(),
    "a file with 64-bit records": forged(wide=True),
    "more in the state": forged(more("[1, null, NaN, Infinity, {}]")),
    "the weight by another name": forged(renamed("w/e i/ght")),
    "a weight of its own": forged(tensor("<f4", [3, 2], DATA)),
    "another way to write the same": forged(encoded("utf-8")),
    "members in their order": forged(pack=order(0, 1, 2, 3)),
}
