"""Checkpoints: files that hold a state dict, written as a whole or not at all."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from tinynet.errors import CheckpointError, InputError
from tinynet.parameter import Array
from tinynet.saving.npz import KINDS, is_name, make_manifest, open_npz, write_npz
from tinynet.saving.state import State


def write(path: str | Path, state: State) -> None:
    """Writes a state into a file; an existing file is replaced only by one that was verified.

    A temporary file in the same folder is written, flushed to the disk, read back and verified, and
    then renamed, which replaces the target atomically.

    Raises:
        CheckpointError: the file cannot be written, or the state has values that no file can hold.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    tensors: dict[str, Array] = {}
    try:
        _check_folder(target.parent)
        manifest = make_manifest(_serialized(state, "", tensors), tensors)
        try:
            with temporary.open("xb") as file:
                write_npz(file, manifest, tensors)
                file.flush()
                os.fsync(file.fileno())
            _verify(temporary, manifest)
            temporary.replace(target)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    except (OSError, InputError, RecursionError) as error:
        message = f"could not be written, and nothing there has changed: {error}"
        raise CheckpointError(path, message) from error
    try:
        _sync_folder(target.parent)
    except OSError as error:
        message = f"was written, but may be lost in a power failure: {error}"
        raise CheckpointError(path, message) from error


def read(path: str | Path) -> State:
    """Returns the state in a checkpoint, with the SHA-256 of every tensor verified.

    Raises:
        CheckpointError: the file is missing, damaged, cut off, or was not written by `write`.
    """
    path = Path(path)
    try:
        _check_file(path)
        with path.open("rb") as file, open_npz(file) as (_, body, members):
            tensors = dict(members)
        return _deserialized_state(body["state"], tensors)
    except (OSError, InputError) as error:
        raise CheckpointError(path, error) from error


@contextmanager
def reading(path: str | Path) -> Iterator[State]:
    """Gives the state in a file; an InputError in the block becomes a CheckpointError."""
    state = read(path)
    try:
        yield state
    except InputError as error:
        network = f" (the file is of {state['network']!s:.500})" if "network" in state else ""
        raise CheckpointError(path, f"{error}{network}") from error


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"expected the folder {folder}, got none")


def _check_file(path: Path) -> None:
    if not path.exists():
        raise InputError("expected a checkpoint file, got nothing there")
    # Opening a pipe would block until its other end is opened.
    if not stat.S_ISREG(path.stat().st_mode):
        raise InputError("expected a checkpoint file, got no regular file")


def _verify(path: Path, manifest: bytes) -> None:
    with path.open("rb") as file, open_npz(file) as (read_back, _, members):
        if read_back != manifest:
            raise InputError("expected to read back what was written, got another manifest")
        for _ in members:
            pass  # reading a member compares it with its SHA-256


def _sync_folder(folder: Path) -> None:
    with suppress(PermissionError):  # Windows cannot open folders, and does not need this step
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _serialized(value: Any, path: str, tensors: dict[str, Array]) -> Any:
    """The state as JSON, with {"tensor": path} for each array, which is added to `tensors`."""
    if isinstance(value, np.ndarray):
        _check_storable(value, path, tensors)
        tensors[path] = value.astype(value.dtype.newbyteorder("<"), order="C", copy=False)
        return {"tensor": path}
    if isinstance(value, dict):
        if "tensor" in value:
            raise InputError(f"expected no key 'tensor', which is reserved for arrays, at {path}")
        if not all(isinstance(name, str) for name in value):
            raise InputError(f"expected strings as keys, got others at {path!r}")
        return {
            name: _serialized(item, f"{path}/{name}" if path else name, tensors)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_serialized(item, f"{path}/{i}", tensors) for i, item in enumerate(value)]
    return value


def _check_storable(array: Array, path: str, tensors: dict[str, Array]) -> None:
    if array.dtype.kind not in KINDS:
        raise InputError(f"expected arrays of numbers, got {array.dtype} at {path}")
    if not is_name(path) or path in tensors:
        raise InputError(f"expected a unique valid name for each array, got {path!r}")


def _deserialized_state(tree: Any, tensors: dict[str, Array]) -> State:
    try:
        state = _deserialized(tree, tensors)
    except RecursionError as error:
        raise InputError("expected a state with few levels of nesting, got hundreds") from error
    if not isinstance(state, dict):
        raise InputError(f"expected a dict as state, got a {type(state).__name__}")
    if tensors:
        raise InputError(f"expected a state with every tensor, got {len(tensors)} unused ones")
    return state


def _deserialized(value: Any, tensors: dict[str, Array]) -> Any:
    """Replaces each {"tensor": name} in place by that array, which is taken out of `tensors`."""
    if isinstance(value, dict):
        if "tensor" in value:
            name = value["tensor"]
            if not isinstance(name, str) or name not in tensors:
                raise InputError(f"expected a state with each tensor once, got {name!r:.80}")
            return tensors.pop(name)
        for name, item in value.items():
            value[name] = _deserialized(item, tensors)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            value[index] = _deserialized(item, tensors)
    return value
