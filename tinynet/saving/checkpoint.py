"""A checkpoint is a state in a file, which is whole or not there."""

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
    """Writes a state into a file; what stood there before stays until the new one is proven whole.

    A temporary file beside the target is written, flushed to the disk, read back and proven, then
    renamed, which replaces the target in one step.

    Raises:
        CheckpointError: the file cannot be written, or the state holds what no file can.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    tensors: dict[str, Array] = {}
    try:
        _check_folder(target.parent)
        manifest = make_manifest(_packed(state, "", tensors), tensors)
        try:
            with temporary.open("xb") as file:
                write_npz(file, manifest, tensors)
                file.flush()
                os.fsync(file.fileno())
            _prove(temporary, manifest)
            temporary.replace(target)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    except (OSError, InputError, RecursionError) as error:
        sentence = f"could not be written, and nothing there has changed: {error}"
        raise CheckpointError(path, sentence) from error
    try:
        _sync_folder(target.parent)
    except OSError as error:
        sentence = f"was written, but may not survive a power cut: {error}"
        raise CheckpointError(path, sentence) from error


def read(path: str | Path) -> State:
    """Returns the state that a checkpoint holds, each tensor proven by its SHA-256.

    Raises:
        CheckpointError: the file is missing, damaged, cut off, or was not written by `write`.
    """
    path = Path(path)
    try:
        _check_file(path)
        with path.open("rb") as file, open_npz(file) as (_, body, members):
            tensors = dict(members)
        return _unpacked_state(body["state"], tensors)
    except (OSError, InputError) as error:
        raise CheckpointError(path, error) from error


@contextmanager
def reading(path: str | Path) -> Iterator[State]:
    """The state of a file; what is refused of it inside the block is a CheckpointError."""
    state = read(path)
    try:
        yield state
    except InputError as error:
        holds = f" (the file is of {state['network']!s:.500})" if "network" in state else ""
        raise CheckpointError(path, f"{error}{holds}") from error


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"expected the folder {folder}, got none")


def _check_file(path: Path) -> None:
    if not path.exists():
        raise InputError("expected a checkpoint file, got nothing there")
    # To open a pipe would wait for its other end.
    if not stat.S_ISREG(path.stat().st_mode):
        raise InputError("expected a checkpoint file, got something else")


def _prove(path: Path, manifest: bytes) -> None:
    with path.open("rb") as file, open_npz(file) as (read_back, _, members):
        if read_back != manifest:
            raise InputError("expected to read back what was written, got something else")
        for _ in members:
            pass  # each is held against its SHA-256


def _sync_folder(folder: Path) -> None:
    with suppress(PermissionError):  # Windows opens no folder, and needs no such step
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _packed(value: Any, path: str, tensors: dict[str, Array]) -> Any:
    """The state as JSON has it, with {"tensor": name} for each array, which goes to `tensors`."""
    if isinstance(value, np.ndarray):
        _check_storable(value, path, tensors)
        little = value.astype(value.dtype.newbyteorder("<"), order="C", copy=False)
        tensors[path] = little
        return {"tensor": path}
    if isinstance(value, dict):
        if "tensor" in value:
            raise InputError(
                f"expected no key named 'tensor', which stands for an array, at {path}"
            )
        if not all(isinstance(name, str) for name in value):
            raise InputError(f"expected texts as keys, got others at {path!r}")
        return {
            name: _packed(item, f"{path}/{name}" if path else name, tensors)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_packed(item, f"{path}/{i}", tensors) for i, item in enumerate(value)]
    return value


def _check_storable(array: Array, path: str, tensors: dict[str, Array]) -> None:
    if array.dtype.kind not in KINDS:
        raise InputError(f"expected arrays of numbers, got {array.dtype} at {path}")
    if not is_name(path) or path in tensors:
        raise InputError(f"expected a name of its own for each array, got {path!r}")


def _unpacked_state(tree: Any, tensors: dict[str, Array]) -> State:
    try:
        state = _unpacked(tree, tensors)
    except RecursionError as error:
        raise InputError("expected a state of a few levels, got hundreds") from error
    if not isinstance(state, dict):
        raise InputError(f"expected a state with names, got a {type(state).__name__}")
    if tensors:
        raise InputError(f"expected a state with every tensor, got {len(tensors)} left over")
    return state


def _unpacked(value: Any, tensors: dict[str, Array]) -> Any:
    """Puts the arrays in place, each taken out of `tensors`; a copy would double the memory."""
    if isinstance(value, dict):
        if "tensor" in value:
            name = value["tensor"]
            if not isinstance(name, str) or name not in tensors:
                raise InputError(f"expected a state with each tensor once, got {name!r:.80}")
            return tensors.pop(name)
        for name, item in value.items():
            value[name] = _unpacked(item, tensors)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            value[index] = _unpacked(item, tensors)
    return value
