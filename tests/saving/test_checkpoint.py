import hashlib
import json
import math
import os
import re
import stat
import struct
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_files import (
    BIAS,
    HOSTILE,
    LIMIT,
    VALID,
    WEIGHT,
    B,
    Maker,
    W,
    forged,
    more,
    nested,
)
from subprocesses import run_python

from tinynet import Array, Dense, InputError, Parameter, ReLU, Sequential
from tinynet.errors import CheckpointError
from tinynet.saving.checkpoint import read, reading, write

STATE = {"w": np.arange(5.0), "step": 3}
NEW = {"w": np.arange(7.0), "step": 4}


def same(a: Any, b: Any) -> bool:
    """Whether two states are equal, including types, dtypes, shapes and every bit."""
    if isinstance(a, np.ndarray):
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and repr(a) == repr(b)


def error_of(path: Path, do: Callable[[], object]) -> str:
    """The message of the CheckpointError without the path, which it begins with."""
    with pytest.raises(CheckpointError) as error:
        do()
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    message = text.removeprefix(f"{path}: ")
    assert message.isprintable()
    assert len(message) < 900
    return message


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def temporary(folder: Path) -> Path:
    (path,) = folder.glob(".*.tmp")
    return path


def is_folder(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def dense() -> Dense:
    return Dense(3, 2, rng=7)


def numbers(model: Any) -> list[bytes]:
    return [parameter.value.tobytes() for parameter in model.parameters()]


class TestRoundTrip:
    def test_a_state_is_read_back_unchanged(self, tmp_path: Path) -> None:
        state: dict[str, Any] = {
            "none": None,
            "texts": ["", "a text", "ä 漢 🙂", '\0\n"\\', "\udcff"],
            "truth": [True, False],
            "numbers": [0, -1, 2**127 + 1, -(2**200), 0.1, -0.0, 5e-324, 1.7976931348623157e308],
            "no numbers": [math.nan, math.inf, -math.inf],
            "empty": {"dict": {}, "list": [], "array": np.zeros((0, 3), np.int16)},
            "nested": [{"a": [{"b": [np.arange(3), {"c": np.array([[1.5]], "f4")}]}]}],
            "": "no name",
            "a / b": {"c d": np.array(True)},
            "nan": np.array([math.nan, math.inf, -math.inf, -0.0], np.float16),
        }
        write(tmp_path / "c.npz", state)
        assert same(read(tmp_path / "c.npz"), state)

    def test_an_empty_state_is_read_back(self, tmp_path: Path) -> None:
        write(tmp_path / "c", {})
        assert read(tmp_path / "c") == {}

    def test_tuples_are_read_back_as_lists(self, tmp_path: Path) -> None:
        write(tmp_path / "c", {"pair": (1, np.zeros(2))})
        assert same(read(tmp_path / "c"), {"pair": [1, np.zeros(2)]})

    def test_writing_does_not_change_the_state(self, tmp_path: Path) -> None:
        inner: list[Any] = [np.arange(3, dtype=">i4"), 1]
        state = {"list": inner}
        write(tmp_path / "c", state)
        assert state["list"] is inner
        assert inner[0].dtype == ">i4"

    def test_arrays_that_were_read_are_writable(self, tmp_path: Path) -> None:
        write(tmp_path / "c", STATE)
        read(tmp_path / "c")["w"][:] = 0

    def test_paths_may_be_strings(self, tmp_path: Path) -> None:
        write(str(tmp_path / "c"), STATE)
        assert same(read(str(tmp_path / "c")), STATE)

    def test_arrays_are_named_by_their_path_in_the_state(self, tmp_path: Path) -> None:
        write(tmp_path / "c", {"a": {"b.c": [0, np.ones(2)]}, "d": np.zeros(1)})
        with np.load(tmp_path / "c", allow_pickle=False) as archive:
            assert archive.files == ["manifest.json", "manifest.sha256", "a/b.c/1", "d"]
            assert archive["a/b.c/1"].tolist() == [1, 1]

    def test_equal_states_give_equal_bytes(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            write(tmp_path / name, {"w": np.arange(5.0), "step": 3, "nan": math.nan})
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    @pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
    def test_a_restored_generator_continues_its_stream(self, tmp_path: Path, kind: str) -> None:
        rng = np.random.Generator(getattr(np.random, kind)(1))
        rng.random(1001, np.float32)  # an odd number: the generator keeps half of a 64-bit draw
        write(tmp_path / "c", {"rng": dict(rng.bit_generator.state)})
        expected = rng.random(999, np.float32)
        other = np.random.Generator(getattr(np.random, kind)(2))
        other.bit_generator.state = read(tmp_path / "c")["rng"]
        assert (other.random(999, np.float32) == expected).all()


class TestUnwritableStates:
    @pytest.mark.parametrize(
        ("state", "sentence"),
        [
            ({"a": {1, 2}}, "expected a state of arrays, numbers and strings: Object of type set"),
            (
                {"a": np.float32(1)},
                "expected a state of arrays, numbers and strings: Object of type",
            ),
            ({"a": 10**5000}, "expected a state of arrays, numbers and strings: Exceeds the limit"),
            ({"a": "x" * LIMIT}, f"expected a manifest of at most {LIMIT} bytes, got 104"),
            (
                {"a": [{"tensor": 1}]},
                "expected no key 'tensor', which is reserved for arrays, at a/0",
            ),
            ({"a": {1: 2}}, "expected strings as keys, got others at 'a'"),
            ({"a": {None: 2, "b": 3}}, "expected strings as keys, got others at 'a'"),
            ({"a": [np.array([None])]}, "expected arrays of numbers, got object at a/0"),
            ({"a": np.array(["x"])}, "expected arrays of numbers, got <U1 at a"),
            ({"a": np.zeros(2, "f4,f4")}, "expected arrays of numbers, got [('f0'"),
            ({"a": np.zeros(2, "M8[s]")}, "expected arrays of numbers, got datetime64[s] at a"),
            (
                {"a/b": np.ones(1), "a": {"b": np.ones(1)}},
                "a unique valid name for each array, got '",
            ),
            ({"": np.ones(1)}, "expected a unique valid name for each array, got ''"),
            ({"a": {"..": np.ones(1)}}, "a unique valid name for each array, got 'a/..'"),
            ({"/a": np.ones(1)}, "a unique valid name for each array, got '/a'"),
            ({"a\\b": np.ones(1)}, r"a unique valid name for each array, got 'a\\b'"),
            ({"a\0": np.ones(1)}, r"a unique valid name for each array, got 'a\x00'"),
        ],
    )
    def test_a_state_that_no_file_can_hold_is_refused_and_the_old_file_stays(
        self, tmp_path: Path, state: dict[str, Any], sentence: str
    ) -> None:
        path = tmp_path / "c"
        write(path, STATE)
        message = error_of(path, lambda: write(path, state))
        assert message.startswith("could not be written, and nothing there has changed: expected ")
        assert sentence in message
        assert same(read(path), STATE)
        assert files(tmp_path) == ["c"]

    def test_a_state_that_contains_itself_is_refused(self, tmp_path: Path) -> None:
        state: dict[str, Any] = {}
        state["again"] = state
        assert "recursion" in error_of(tmp_path / "c", lambda: write(tmp_path / "c", state))
        assert files(tmp_path) == []


class TestWriting:
    def test_writing_verifies_a_temporary_file_and_renames_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps: list[str] = []
        path = tmp_path / "c"
        write(path, STATE)
        fsync, move, open_file = os.fsync, Path.replace, Path.open

        def recorded_fsync(descriptor: int) -> None:
            if is_folder(descriptor):
                steps.append("fsync of the folder")
            else:
                with open_file(temporary(tmp_path), "rb") as file:
                    whole = file.read()[-22:-18] == b"PK\x05\x06"
                steps.append(f"fsync .tmp, {'whole' if whole else 'in part'}")
            fsync(descriptor)

        def recorded_move(source: Path, target: Path) -> Path:
            assert source.parent == target.parent == tmp_path
            assert target == path
            steps.append(f"rename {source.suffix}")
            assert same(read(path), STATE)
            return move(source, target)

        def recorded_open(opened: Path, mode: str = "r") -> Any:
            if opened != path:
                steps.append(f"open {opened.suffix} {mode}")
            return open_file(opened, mode)

        monkeypatch.setattr(os, "fsync", recorded_fsync)
        monkeypatch.setattr(Path, "replace", recorded_move)
        monkeypatch.setattr(Path, "open", recorded_open)
        write(path, NEW)
        assert steps == [
            "open .tmp xb",
            "fsync .tmp, whole",
            "open .tmp rb",
            "rename .tmp",
            "fsync of the folder",
        ]
        assert same(read(path), NEW)

    def test_writing_follows_a_symbolic_link(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        link = tmp_path / "link"
        link.symlink_to(tmp_path / "folder" / "c")
        write(link, STATE)
        assert link.is_symlink()
        assert same(read(link), STATE)
        assert files(tmp_path / "folder") == ["c"]

    def test_writing_into_a_missing_folder_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "no" / "c"
        message = error_of(path, lambda: write(path, STATE))
        assert message.endswith(f"has changed: expected the folder {tmp_path / 'no'}, got none")

    def test_writing_does_not_replace_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "c").mkdir()
        assert "Is a directory" in error_of(tmp_path / "c", lambda: write(tmp_path / "c", STATE))
        assert files(tmp_path) == ["c"]

    def test_a_folder_without_permission_is_an_error_of_writing_and_reading(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def forbidden(path: Path, **_: Any) -> Any:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "stat", forbidden)
        monkeypatch.setattr(Path, "is_dir", forbidden)
        path = tmp_path / "c"
        assert "Permission denied" in error_of(path, lambda: write(path, STATE))
        assert "Permission denied" in error_of(path, lambda: read(path))


def broken(*_: Any, **__: Any) -> Any:
    raise OSError(28, "No space left on device")


def interrupted(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def cut_off(file: Any, *_: Any) -> None:
    file.write(b"PK\x03\x04 and then")
    broken()


Stage = Callable[[pytest.MonkeyPatch, Path], None]


def failing(function: str, failure: Callable[..., Any] = broken) -> Stage:
    return lambda patch, _: patch.setattr(function, failure)


def on_the_disk(damage: Callable[[Path], object]) -> Stage:
    """Damages the temporary file while it is written."""

    def stage(patch: pytest.MonkeyPatch, folder: Path) -> None:
        fsync = os.fsync

        def wrapped(descriptor: int) -> None:
            fsync(descriptor)
            damage(temporary(folder))

        patch.setattr(os, "fsync", wrapped)

    return stage


def flip_a_bit_of_a_tensor(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(np.arange(7.0).tobytes()) + 9] ^= 1
    path.write_bytes(data)


STAGES: dict[str, tuple[Stage, str]] = {
    "opening": (failing("pathlib.Path.open"), "No space left on device"),
    "writing": (failing("tinynet.saving.checkpoint.write_npz", cut_off), "No space left on device"),
    "fsync": (failing("os.fsync"), "No space left on device"),
    "a flipped bit": (on_the_disk(flip_a_bit_of_a_tensor), "Bad CRC-32"),
    "a truncated file": (
        on_the_disk(lambda path: os.truncate(path, 99)),
        "expected a complete zip file",
    ),
    "another file": (
        on_the_disk(lambda path: path.write_bytes(forged()())),
        "expected to read back what was written, got another manifest",
    ),
    "rename": (failing("pathlib.Path.replace"), "No space left on device"),
}


@pytest.mark.parametrize(("stage", "sentence"), STAGES.values(), ids=STAGES)
class TestWhenWritingFails:
    def fail(self, patch: pytest.MonkeyPatch, stage: Stage, path: Path) -> str:
        with patch.context() as within:
            stage(within, path.parent)
            return error_of(path, lambda: write(path, NEW))

    def test_after_a_failed_write_the_old_file_stays_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: Stage, sentence: str
    ) -> None:
        path = tmp_path / "c"
        write(path, STATE)
        before = path.read_bytes()
        message = self.fail(monkeypatch, stage, path)
        assert message.startswith("could not be written, and nothing there has changed: ")
        assert sentence in message
        assert path.read_bytes() == before
        assert files(tmp_path) == ["c"]
        write(path, NEW)
        assert same(read(path), NEW)

    def test_a_failed_write_leaves_no_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: Stage, sentence: str
    ) -> None:
        assert sentence in self.fail(monkeypatch, stage, tmp_path / "c")
        assert files(tmp_path) == []


@pytest.mark.parametrize(
    "function", ["tinynet.saving.checkpoint.write_npz", "os.fsync", "pathlib.Path.replace"]
)
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    path = tmp_path / "c"
    write(path, STATE)
    with monkeypatch.context() as patch:
        patch.setattr(function, interrupted)
        with pytest.raises(KeyboardInterrupt):
            write(path, NEW)
    assert same(read(path), STATE)
    assert files(tmp_path) == ["c"]


def test_a_failed_flush_of_the_folder_is_an_error_after_the_new_file_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c"
    write(path, STATE)
    opened: list[int] = []
    fsync = os.fsync

    def fail_for_folders(descriptor: int) -> None:
        if is_folder(descriptor):
            opened.append(descriptor)
            broken()
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_for_folders)
    message = error_of(path, lambda: write(path, NEW))
    assert message.startswith("was written, but may be lost in a power failure: ")
    assert "No space left on device" in message
    assert same(read(path), NEW)
    assert files(tmp_path) == ["c"]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from tinynet.errors import CheckpointError
from tinynet.saving.checkpoint import read, write

path = Path(sys.argv[1])
write(path, {"w": np.arange(5.0)})
before = path.read_bytes()
big = {"w": np.zeros(100_000), "more": [np.arange(9.0)] * 9}
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for limit in (0, 1, 100, 4096, 65536, 800_000, 801_000, 803_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        write(path, big)
    except CheckpointError as error:
        print(error)
    assert path.read_bytes() == before, limit
    assert [p.name for p in path.parent.iterdir()] == [path.name], limit
    assert read(path)["w"].tolist() == [0, 1, 2, 3, 4]
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
write(path, big)
print(path.stat().st_size)
"""


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "c"
    *messages, size = run_python(FULL, path)
    start = f"{path}: could not be written, and nothing there has changed: "
    assert [line.startswith(start) and "File too large" in line for line in messages] == [True] * 8
    assert int(size) > 803_000  # so that the last limit was one


KILLED = """
import os, random, signal, sys, time
from itertools import count
from pathlib import Path
import numpy as np
from tinynet.saving.checkpoint import read, write

path, rounds = Path(sys.argv[1]), int(sys.argv[2])
rng, first = random.Random(0), 0
write(path, {"step": 0, "w": np.zeros(50_000), "v": np.zeros(3)})
for round in count():
    unfinished = len(list(path.parent.iterdir())) - 1
    if round >= rounds and first > 0 and unfinished > 0:
        break
    child = os.fork()
    if not child:
        for step in count(first + 1):
            write(path, {"step": step, "w": np.full(50_000, step), "v": np.full(3, step)})
    time.sleep(rng.uniform(0.001, 0.06) * (1 + round // rounds))  # longer on a slow disk
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    state = read(path)
    assert state["step"] >= first
    assert (state["w"] == state["step"]).all() and (state["v"] == state["step"]).all()
    first = state["step"]
print(first)
"""


def test_after_a_kill_the_file_holds_one_of_the_written_states(tmp_path: Path) -> None:
    path = tmp_path / "c"
    (steps,) = map(int, run_python(KILLED, path, 8))
    assert (read(path)["w"] == steps).all()


class TestReading:
    def test_reading_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        for path in (tmp_path / "c", tmp_path / "no" / "c", tmp_path / "c\0"):
            with pytest.raises(CheckpointError) as error:
                read(path)
            assert str(error.value) == f"{path}: expected a checkpoint file, got nothing there"

    def test_reading_a_folder_is_refused(self, tmp_path: Path) -> None:
        message = error_of(tmp_path, lambda: read(tmp_path))
        assert message == "expected a checkpoint file, got no regular file"

    def test_reading_a_pipe_is_refused_without_waiting(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        message = error_of(tmp_path / "pipe", lambda: read(tmp_path / "pipe"))
        assert message == "expected a checkpoint file, got no regular file"

    def test_reading_an_endless_device_is_refused(self) -> None:
        path = Path("/dev/zero")
        message = error_of(path, lambda: read(path))
        assert message == "expected a checkpoint file, got no regular file"

    def test_reading_a_broken_symbolic_link_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "no")
        message = error_of(tmp_path / "link", lambda: read(tmp_path / "link"))
        assert message == "expected a checkpoint file, got nothing there"

    def test_reading_a_symbolic_link_to_itself_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "link")
        error_of(tmp_path / "link", lambda: read(tmp_path / "link"))

    def test_reading_follows_a_symbolic_link(self, tmp_path: Path) -> None:
        write(tmp_path / "c", STATE)
        (tmp_path / "link").symlink_to(tmp_path / "c")
        assert same(read(tmp_path / "link"), STATE)

    def test_read_errors_of_the_operating_system_are_reported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "c"
        write(path, STATE)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", broken)
            assert "No space left on device" in error_of(path, lambda: read(path))
        with monkeypatch.context() as patch:
            patch.setattr("zipfile.ZipFile.read", broken)
            assert "No space left on device" in error_of(path, lambda: read(path))

    def test_reading_a_state_nested_too_deeply_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loads = json.loads

        def deeper(text: str) -> Any:  # newer Pythons parse deeper than they recurse
            limit = sys.getrecursionlimit()
            sys.setrecursionlimit(20_000)
            try:
                return loads(text)
            finally:
                sys.setrecursionlimit(limit)

        monkeypatch.setattr(json, "loads", deeper)
        path = tmp_path / "c"
        path.write_bytes(forged(more(nested(3000)))())
        message = error_of(path, lambda: read(path))
        assert message == "expected a state with few levels of nesting, got hundreds"

    def test_input_errors_in_the_block_of_reading_name_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "c"
        write(path, STATE)

        def refuse(error: Exception) -> None:
            with reading(path) as state:
                assert same(state, STATE)
                raise error

        assert (
            error_of(path, lambda: refuse(InputError("expected x, got y"))) == "expected x, got y"
        )
        with pytest.raises(ZeroDivisionError):
            refuse(ZeroDivisionError())


def load_in_limited_memory(model: Dense, path: Path, more: int = 64 << 20) -> None:
    """Loads the file in at most twice its size and `more` bytes of memory."""
    tracemalloc.start()
    try:
        model.load(path)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2 * path.stat().st_size + more


class TestHostileFiles:
    @pytest.mark.parametrize(("make", "sentence"), HOSTILE.values(), ids=HOSTILE)
    def test_hostile_files_are_refused_and_change_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Maker, sentence: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        path = tmp_path / "hostile.npz"
        path.write_bytes(make())
        model = dense()
        before = numbers(model)
        message = error_of(path, lambda: load_in_limited_memory(model, path))
        assert re.search(r"^(.* )?expect(ed|s) .*[ ,]got", message)
        assert sentence in message
        assert numbers(model) == before
        assert files(tmp_path) == ["hostile.npz"]  # nothing in it was executed

    @pytest.mark.parametrize("make", VALID.values(), ids=VALID)
    def test_valid_files_built_in_the_same_way_are_loaded(
        self, tmp_path: Path, make: Maker
    ) -> None:
        path = tmp_path / "sound.npz"
        path.write_bytes(make())
        model = dense()
        load_in_limited_memory(model, path)
        assert numbers(model) == [WEIGHT.tobytes(), BIAS.tobytes()]

    def test_the_hostile_pickle_is_executed_by_np_load_with_allow_pickle(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        path = tmp_path / "pickle.npz"
        path.write_bytes(HOSTILE["a .npz with a pickle"][0]())
        with np.load(path, allow_pickle=True) as archive:
            assert archive["weight"].shape == (1,)
        assert files(tmp_path) == ["executed", "pickle.npz"]

    @pytest.mark.parametrize(
        ("unit", "part"),
        [
            pytest.param('{"":' * 300 + "0" + "}" * 300, 8, id="dicts"),
            pytest.param(
                '{"":' * 300 + "0" + "}" * 300, 1, id="all dicts", marks=pytest.mark.sweep
            ),
            pytest.param(nested(300), 1, id="lists", marks=pytest.mark.sweep),
        ],
    )
    def test_nested_json_takes_limited_memory(self, tmp_path: Path, unit: str, part: int) -> None:
        # A part of the largest manifest, in as small a part of the memory.
        path = tmp_path / "nested.npz"
        count = (LIMIT - 1000) // (len(unit) + 1) // part
        path.write_bytes(forged(more(f"[{','.join([unit] * count)}]"))())
        load_in_limited_memory(dense(), path, (64 << 20) // part)


def test_a_large_file_takes_little_more_memory_than_its_size(tmp_path: Path) -> None:
    path = tmp_path / "large"
    state: dict[str, Any] = {f"w{i}": np.full(1_250_000, i, np.float64) for i in range(4)}
    size = 40_000_000
    tracemalloc.start()
    try:
        write(path, state)
        assert tracemalloc.get_traced_memory()[1] < size / 4 * 2 + (4 << 20)
        del state
        tracemalloc.reset_peak()
        state = read(path)
        assert tracemalloc.get_traced_memory()[1] < size + (4 << 20)
    finally:
        tracemalloc.stop()
    assert all((state[f"w{i}"] == i).all() for i in range(4))


def network(seed: int) -> Sequential:
    return Sequential([Dense(16, 24, rng=seed), ReLU(), Dense(24, 8, rng=seed + 1)])


class Damage:
    """A saved network whose file is damaged in place, and another one that loads it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "c.npz"
        saved = network(0)
        saved.save(self.path)
        self.right = numbers(saved)
        self.whole = self.path.read_bytes()
        assert len(self.whole) > 4096
        self.model = network(5)
        self.before = numbers(self.model)
        self.spare = [parameter.value.copy() for parameter in self.model.parameters()]
        assert self.before != self.right

    def load(self) -> bool:
        """Whether the network loads: then it has the saved weights, else it is unchanged."""
        try:
            self.model.load(self.path)
        except CheckpointError:
            assert numbers(self.model) == self.before
            return False
        assert numbers(self.model) == self.right
        for parameter, value in zip(self.model.parameters(), self.spare, strict=True):
            parameter.value[...] = value
        return True

    def flip(self, bits: Any) -> list[int]:
        """Flips one bit after the other, and returns those that make no difference."""
        harmless = []
        with self.path.open("r+b", buffering=0) as file:
            for bit in bits:
                byte, mask = bit // 8, 1 << bit % 8
                os.pwrite(file.fileno(), bytes([self.whole[byte] ^ mask]), byte)
                if self.load():
                    harmless.append(bit)
                os.pwrite(file.fileno(), self.whole[byte : byte + 1], byte)
        assert self.path.read_bytes() == self.whole
        return harmless


def only_zip_records(damage: Damage, bits: list[int]) -> bool:
    """Whether these bits are in records of the zip format: dates, versions, attributes, ..."""
    data = damage.whole
    members = re.compile(rb"(?s)PK\x03\x04.{22}(..)(..)")
    directory = data.index(b"PK\x01\x02")
    spans = []
    for match in members.finditer(data, 0, directory):
        name, extra = struct.unpack("<HH", b"".join(match.groups()))
        spans.append((match.start(), match.start() + 30 + name + extra))
    spans.append((directory, len(data)))
    return all(any(start <= bit // 8 < end for start, end in spans) for bit in bits)


class TestDamage:
    def test_a_flipped_bit_is_detected_or_harmless(self, tmp_path: Path) -> None:
        damage = Damage(tmp_path)
        bits = 8 * len(damage.whole)
        # Bits everywhere, and all of the first record and of the last one.
        chosen = {*range(0, bits, 31), *range(8 * 30), *range(bits - 8 * 22, bits)}
        harmless = damage.flip(sorted(chosen))
        assert only_zip_records(damage, harmless)
        assert 0 < len(harmless) < len(chosen) / 5

    @pytest.mark.sweep
    def test_every_flipped_bit_is_detected_or_harmless(self, tmp_path: Path) -> None:
        damage = Damage(tmp_path)
        assert only_zip_records(damage, damage.flip(range(8 * len(damage.whole))))

    def test_truncations_are_detected(self, tmp_path: Path) -> None:
        damage = Damage(tmp_path)
        assert damage.load()
        length = len(damage.whole)
        for shorter in [
            *reversed(range(length - 200, length)),
            *reversed(range(0, length - 200, 9)),
        ]:
            os.truncate(damage.path, shorter)
            assert not damage.load()

    def test_removed_bytes_are_detected(self, tmp_path: Path) -> None:
        damage = Damage(tmp_path)
        rng = np.random.default_rng(0)
        for _ in range(100):
            start, size = int(rng.integers(len(damage.whole))), int(rng.integers(1, 600))
            damage.path.write_bytes(damage.whole[:start] + damage.whole[start + size :])
            assert not damage.load()

    def test_blocks_of_zeros_are_detected_or_harmless(self, tmp_path: Path) -> None:
        damage = Damage(tmp_path)
        for start in range(0, len(damage.whole), 64):
            zeros = bytes(min(64, len(damage.whole) - start))
            damage.path.write_bytes(
                damage.whole[:start] + zeros + damage.whole[start + len(zeros) :]
            )
            damage.load()


class TestOtherNetworks:
    @pytest.mark.parametrize(
        ("saved", "loading", "sentence"),
        [
            (
                Dense(3, 2),
                Dense(3, 4),
                "Dense(3, 4), weight, expects float32 of shape (3, 4), got float32 of shape (3, 2) "
                "(the file is of Dense(3, 2))",
            ),
            (
                Dense(3, 2, bias=False),
                Dense(3, 2),
                "Dense(3, 2) expects a state with bias, weight, got none of bias "
                "(the file is of Dense(3, 2, bias=False))",
            ),
            (
                Sequential([Dense(3, 2)]),
                Dense(3, 2),
                "Dense(3, 2) expects a state with bias, weight, got none of bias, weight, and "
                "layers.0.bias, layers.0.weight (the file is of Sequential([Dense(3, 2)]))",
            ),
            (
                Dense(3, 2).astype(np.float64),
                Dense(3, 2),
                "Dense(3, 2), weight, expects float32 of shape (3, 2), got float64 of shape (3, 2) "
                "(the file is of Dense(3, 2))",
            ),
        ],
    )
    def test_the_file_of_another_network_is_refused_and_changes_nothing(
        self, tmp_path: Path, saved: Any, loading: Any, sentence: str
    ) -> None:
        saved.save(tmp_path / "c")
        before = numbers(loading)
        assert error_of(tmp_path / "c", lambda: loading.load(tmp_path / "c")) == sentence
        assert numbers(loading) == before

    def test_all_arrays_are_validated_before_the_first_is_assigned(self, tmp_path: Path) -> None:
        other = network(0)
        last: Any = other[2]
        last.bias = Parameter(np.zeros(9))
        other.save(tmp_path / "c")
        model = network(5)
        before = numbers(model)
        assert "layers.2.bias" in error_of(tmp_path / "c", lambda: model.load(tmp_path / "c"))
        assert numbers(model) == before

    def test_a_network_loads_from_a_file_with_more_than_the_network(self, tmp_path: Path) -> None:
        saved, model = dense(), Dense(3, 2, rng=8)
        more_state: Array = np.ones((3, 2))
        write(tmp_path / "c", {"model": saved.state_dict(), "optimizer": {"velocity": more_state}})
        assert model.load(tmp_path / "c") is model
        assert numbers(model) == numbers(saved)

    def test_a_file_without_a_network_is_refused(self, tmp_path: Path) -> None:
        write(tmp_path / "c", {"optimizer": 1})
        message = error_of(tmp_path / "c", lambda: dense().load(tmp_path / "c"))
        assert message == "Dense(3, 2) expects a state, got none"


def test_the_manifest_of_a_network_lists_the_sha_256_of_each_tensor(tmp_path: Path) -> None:
    saved = dense()
    saved.save(tmp_path / "c")
    with np.load(tmp_path / "c", allow_pickle=False) as archive:
        listed = json.loads(archive["manifest.json"])["tensors"]
        assert list(listed) == [W, B]
        for name in listed:
            array = archive[name]
            assert listed[name] == {
                "dtype": "<f4",
                "shape": list(array.shape),
                "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
            }
