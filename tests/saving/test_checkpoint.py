import hashlib
import json
import math
import os
import re
import stat
import struct
import subprocess
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
    SOUND,
    WEIGHT,
    B,
    Maker,
    W,
    forged,
    more,
    nested,
)

from tinynet import Array, Dense, InputError, ReLU, Sequential
from tinynet.errors import CheckpointError
from tinynet.saving.checkpoint import read, reading, write

STATE = {"w": np.arange(5.0), "step": 3}
NEW = {"w": np.arange(7.0), "step": 4}


def same(a: Any, b: Any) -> bool:
    """Whether two states are the same, to the type, the dtype, the shape and the last bit."""
    if isinstance(a, np.ndarray):
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and repr(a) == repr(b)


def refused(path: Path, do: Callable[[], object]) -> str:
    """What is said of the file, as a sentence of a readable length that begins with its name."""
    with pytest.raises(CheckpointError) as error:
        do()
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    sentence = text.removeprefix(f"{path}: ")
    assert sentence.isprintable()
    assert len(sentence) < 900
    return sentence


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
    def test_a_state_comes_back_as_it_was(self, tmp_path: Path) -> None:
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

    def test_an_empty_state_too(self, tmp_path: Path) -> None:
        write(tmp_path / "c", {})
        assert read(tmp_path / "c") == {}

    def test_tuples_come_back_as_lists(self, tmp_path: Path) -> None:
        write(tmp_path / "c", {"pair": (1, np.zeros(2))})
        assert same(read(tmp_path / "c"), {"pair": [1, np.zeros(2)]})

    def test_the_state_that_is_written_stays_as_it_is(self, tmp_path: Path) -> None:
        inner: list[Any] = [np.arange(3, dtype=">i4"), 1]
        state = {"list": inner}
        write(tmp_path / "c", state)
        assert state["list"] is inner
        assert inner[0].dtype == ">i4"

    def test_what_is_read_belongs_to_the_reader(self, tmp_path: Path) -> None:
        write(tmp_path / "c", STATE)
        read(tmp_path / "c")["w"][:] = 0

    def test_paths_may_be_texts(self, tmp_path: Path) -> None:
        write(str(tmp_path / "c"), STATE)
        assert same(read(str(tmp_path / "c")), STATE)

    def test_arrays_are_named_by_their_path(self, tmp_path: Path) -> None:
        write(tmp_path / "c", {"a": {"b.c": [0, np.ones(2)]}, "d": np.zeros(1)})
        with np.load(tmp_path / "c", allow_pickle=False) as archive:
            assert archive.files == ["manifest.json", "manifest.sha256", "a/b.c/1", "d"]
            assert archive["a/b.c/1"].tolist() == [1, 1]

    def test_the_same_state_gives_the_same_bytes(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            write(tmp_path / name, {"w": np.arange(5.0), "step": 3, "nan": math.nan})
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    @pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
    def test_a_generator_goes_on_where_it_stood(self, tmp_path: Path, kind: str) -> None:
        rng = np.random.Generator(getattr(np.random, kind)(1))
        rng.random(1001, np.float32)  # an odd number: half a draw is kept
        write(tmp_path / "c", {"rng": dict(rng.bit_generator.state)})
        expected = rng.random(999, np.float32)
        other = np.random.Generator(getattr(np.random, kind)(2))
        other.bit_generator.state = read(tmp_path / "c")["rng"]
        assert (other.random(999, np.float32) == expected).all()


class TestStatesThatNoFileHolds:
    @pytest.mark.parametrize(
        ("state", "sentence"),
        [
            ({"a": {1, 2}}, "expected a state of arrays, numbers and texts: Object of type set"),
            ({"a": np.float32(1)}, "expected a state of arrays, numbers and texts: Object of type"),
            ({"a": 10**5000}, "expected a state of arrays, numbers and texts: Exceeds the limit"),
            ({"a": "x" * LIMIT}, f"expected a manifest of at most {LIMIT} bytes, got 104"),
            ({"a": [{"tensor": 1}]}, "no key named 'tensor', which stands for an array, at a/0"),
            ({"a": {1: 2}}, "expected texts as keys, got others at 'a'"),
            ({"a": {None: 2, "b": 3}}, "expected texts as keys, got others at 'a'"),
            ({"a": [np.array([None])]}, "expected arrays of numbers, got object at a/0"),
            ({"a": np.array(["x"])}, "expected arrays of numbers, got <U1 at a"),
            ({"a": np.zeros(2, "f4,f4")}, "expected arrays of numbers, got [('f0'"),
            ({"a": np.zeros(2, "M8[s]")}, "expected arrays of numbers, got datetime64[s] at a"),
            (
                {"a/b": np.ones(1), "a": {"b": np.ones(1)}},
                "a name of its own for each array, got '",
            ),
            ({"": np.ones(1)}, "expected a name of its own for each array, got ''"),
            ({"a": {"..": np.ones(1)}}, "a name of its own for each array, got 'a/..'"),
            ({"/a": np.ones(1)}, "a name of its own for each array, got '/a'"),
            ({"a\\b": np.ones(1)}, r"a name of its own for each array, got 'a\\b'"),
            ({"a\0": np.ones(1)}, r"a name of its own for each array, got 'a\x00'"),
        ],
    )
    def test_are_refused_and_the_old_file_stays(
        self, tmp_path: Path, state: dict[str, Any], sentence: str
    ) -> None:
        path = tmp_path / "c"
        write(path, STATE)
        said = refused(path, lambda: write(path, state))
        assert said.startswith("could not be written, and nothing there has changed: expected ")
        assert sentence in said
        assert same(read(path), STATE)
        assert files(tmp_path) == ["c"]

    def test_among_them_one_inside_itself(self, tmp_path: Path) -> None:
        state: dict[str, Any] = {}
        state["again"] = state
        assert "recursion" in refused(tmp_path / "c", lambda: write(tmp_path / "c", state))
        assert files(tmp_path) == []


class TestWriting:
    def test_goes_through_a_proven_file_beside_the_target(
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

    def test_follows_a_link_and_replaces_what_it_names(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        link = tmp_path / "link"
        link.symlink_to(tmp_path / "folder" / "c")
        write(link, STATE)
        assert link.is_symlink()
        assert same(read(link), STATE)
        assert files(tmp_path / "folder") == ["c"]

    def test_needs_a_folder(self, tmp_path: Path) -> None:
        path = tmp_path / "no" / "c"
        said = refused(path, lambda: write(path, STATE))
        assert said.endswith(f"has changed: expected the folder {tmp_path / 'no'}, got none")

    def test_does_not_replace_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "c").mkdir()
        assert "Is a directory" in refused(tmp_path / "c", lambda: write(tmp_path / "c", STATE))
        assert files(tmp_path) == ["c"]

    def test_in_a_folder_that_may_not_be_looked_into_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def forbidden(path: Path, **_: Any) -> Any:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "stat", forbidden)
        monkeypatch.setattr(Path, "is_dir", forbidden)
        path = tmp_path / "c"
        assert "Permission denied" in refused(path, lambda: write(path, STATE))
        assert "Permission denied" in refused(path, lambda: read(path))


def broken(*_: Any, **__: Any) -> Any:
    raise OSError(28, "No space left on device")


def interrupted(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def cut_off(file: Any, *_: Any) -> None:
    file.write(b"PK\x03\x04 and then")
    broken()


Stage = Callable[[pytest.MonkeyPatch, Path], None]


def failing(place: str, failure: Callable[..., Any] = broken) -> Stage:
    return lambda patch, _: patch.setattr(place, failure)


def on_the_disk(damage: Callable[[Path], object]) -> Stage:
    """What happens to a file behind the back of its writer."""

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
    "a file cut off": (on_the_disk(lambda path: os.truncate(path, 99)), "a zip file to its end"),
    "another file": (
        on_the_disk(lambda path: path.write_bytes(forged()())),
        "expected to read back what was written, got something else",
    ),
    "rename": (failing("pathlib.Path.replace"), "No space left on device"),
}


@pytest.mark.parametrize(("stage", "sentence"), STAGES.values(), ids=STAGES)
class TestWhenWritingFails:
    def fail(self, patch: pytest.MonkeyPatch, stage: Stage, path: Path) -> str:
        with patch.context() as within:
            stage(within, path.parent)
            return refused(path, lambda: write(path, NEW))

    def test_the_old_file_stays_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: Stage, sentence: str
    ) -> None:
        path = tmp_path / "c"
        write(path, STATE)
        before = path.read_bytes()
        said = self.fail(monkeypatch, stage, path)
        assert said.startswith("could not be written, and nothing there has changed: ")
        assert sentence in said
        assert path.read_bytes() == before
        assert files(tmp_path) == ["c"]
        write(path, NEW)
        assert same(read(path), NEW)

    def test_no_file_stays_where_none_was(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: Stage, sentence: str
    ) -> None:
        assert sentence in self.fail(monkeypatch, stage, tmp_path / "c")
        assert files(tmp_path) == []


@pytest.mark.parametrize(
    "place", ["tinynet.saving.checkpoint.write_npz", "os.fsync", "pathlib.Path.replace"]
)
def test_an_interrupt_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    path = tmp_path / "c"
    write(path, STATE)
    with monkeypatch.context() as patch:
        patch.setattr(place, interrupted)
        with pytest.raises(KeyboardInterrupt):
            write(path, NEW)
    assert same(read(path), STATE)
    assert files(tmp_path) == ["c"]


def test_a_folder_that_is_not_flushed_is_said_and_the_new_file_stands(
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
    said = refused(path, lambda: write(path, NEW))
    assert said.startswith("was written, but may not survive a power cut: ")
    assert "No space left on device" in said
    assert same(read(path), NEW)
    assert files(tmp_path) == ["c"]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


def python(script: str, *args: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, args)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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
    *said, size = python(FULL, path).splitlines()
    start = f"{path}: could not be written, and nothing there has changed: "
    assert [line.startswith(start) and "File too large" in line for line in said] == [True] * 8
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
for _ in range(rounds):
    child = os.fork()
    if not child:
        for step in count(first + 1):
            write(path, {"step": step, "w": np.full(50_000, step), "v": np.full(3, step)})
    time.sleep(rng.uniform(0.001, 0.06))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    state = read(path)
    assert state["step"] >= first
    assert (state["w"] == state["step"]).all() and (state["v"] == state["step"]).all()
    first = state["step"]
print(first, len(list(path.parent.iterdir())))
"""


def test_a_kill_leaves_one_of_the_states_that_were_written(tmp_path: Path) -> None:
    path = tmp_path / "c"
    steps, found = map(int, python(KILLED, path, 12).split())
    assert steps > 0
    assert found > 1  # what was cut off is there, and is not the checkpoint
    assert (read(path)["w"] == steps).all()


class TestReading:
    def test_names_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        for path in (tmp_path / "c", tmp_path / "no" / "c", tmp_path / "c\0"):
            with pytest.raises(CheckpointError) as error:
                read(path)
            assert str(error.value) == f"{path}: expected a checkpoint file, got nothing there"

    def test_refuses_a_folder(self, tmp_path: Path) -> None:
        said = refused(tmp_path, lambda: read(tmp_path))
        assert said == "expected a checkpoint file, got something else"

    def test_refuses_a_pipe_and_does_not_wait_for_its_other_end(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        said = refused(tmp_path / "pipe", lambda: read(tmp_path / "pipe"))
        assert said == "expected a checkpoint file, got something else"

    def test_refuses_a_device_that_never_ends(self) -> None:
        path = Path("/dev/zero")
        said = refused(path, lambda: read(path))
        assert said == "expected a checkpoint file, got something else"

    def test_refuses_a_link_to_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "no")
        said = refused(tmp_path / "link", lambda: read(tmp_path / "link"))
        assert said == "expected a checkpoint file, got nothing there"

    def test_refuses_a_link_to_itself(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "link")
        refused(tmp_path / "link", lambda: read(tmp_path / "link"))

    def test_follows_a_link(self, tmp_path: Path) -> None:
        write(tmp_path / "c", STATE)
        (tmp_path / "link").symlink_to(tmp_path / "c")
        assert same(read(tmp_path / "link"), STATE)

    def test_says_what_the_system_says(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "c"
        write(path, STATE)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", broken)
            assert "No space left on device" in refused(path, lambda: read(path))
        with monkeypatch.context() as patch:
            patch.setattr("zipfile.ZipFile.read", broken)
            assert "No space left on device" in refused(path, lambda: read(path))

    def test_refuses_a_state_deeper_than_it_can_go(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loads = json.loads

        def deeper(text: str) -> Any:  # newer Pythons parse deeper than they call
            limit = sys.getrecursionlimit()
            sys.setrecursionlimit(20_000)
            try:
                return loads(text)
            finally:
                sys.setrecursionlimit(limit)

        monkeypatch.setattr(json, "loads", deeper)
        path = tmp_path / "c"
        path.write_bytes(forged(more(nested(3000)))())
        said = refused(path, lambda: read(path))
        assert said == "expected a state of a few levels, got hundreds"

    def test_inside_the_block_refusals_name_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "c"
        write(path, STATE)

        def refuse(error: Exception) -> None:
            with reading(path) as state:
                assert same(state, STATE)
                raise error

        assert refused(path, lambda: refuse(InputError("expected x, got y"))) == "expected x, got y"
        with pytest.raises(ZeroDivisionError):
            refuse(ZeroDivisionError())


def load_under_watch(model: Dense, path: Path) -> int:
    """Loads and returns how many bytes were in use at once."""
    tracemalloc.start()
    try:
        model.load(path)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        room = 2 * path.stat().st_size + (64 << 20)
        assert peak < room
    return peak


class TestFilesThatNoReaderMayTrust:
    @pytest.mark.parametrize(("make", "sentence"), HOSTILE.values(), ids=HOSTILE)
    def test_are_refused_in_a_sentence_and_change_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Maker, sentence: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        path = tmp_path / "hostile.npz"
        path.write_bytes(make())
        model = dense()
        before = numbers(model)
        said = refused(path, lambda: load_under_watch(model, path))
        assert re.search(r"^(.* )?expect(ed|s) .*[ ,]got", said)
        assert sentence in said
        assert numbers(model) == before
        assert files(tmp_path) == ["hostile.npz"]  # nothing was executed

    @pytest.mark.parametrize("make", SOUND.values(), ids=SOUND)
    def test_are_wrong_by_their_fault_alone(self, tmp_path: Path, make: Maker) -> None:
        path = tmp_path / "sound.npz"
        path.write_bytes(make())
        model = dense()
        load_under_watch(model, path)
        assert numbers(model) == [WEIGHT.tobytes(), BIAS.tobytes()]

    def test_among_them_one_that_would_execute_something(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        path = tmp_path / "pickle.npz"
        path.write_bytes(HOSTILE["a .npz with a pickle"][0]())
        with np.load(path, allow_pickle=True) as archive:
            assert archive["weight"].shape == (1,)
        assert files(tmp_path) == ["executed", "pickle.npz"]

    @pytest.mark.parametrize(
        "unit",
        ['{"":' * 300 + "0" + "}" * 300, pytest.param(nested(300), marks=pytest.mark.sweep)],
        ids=["dicts", "lists"],
    )
    def test_take_little_memory_however_much_they_unfold(self, tmp_path: Path, unit: str) -> None:
        path = tmp_path / "unfolds.npz"
        count = (LIMIT - 1000) // (len(unit) + 1)
        path.write_bytes(forged(more(f"[{','.join([unit] * count)}]"))())
        load_under_watch(dense(), path)


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
    """A saved network, to be damaged in place, and another one that is to load it."""

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
        """Whether the network loads: then it is the right one, else it is what it was."""
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
        """Flips bit after bit, and returns those that make no difference."""
        harmless = []
        with self.path.open("r+b", buffering=0) as file:
            for bit in bits:
                place, mask = bit // 8, 1 << bit % 8
                os.pwrite(file.fileno(), bytes([self.whole[place] ^ mask]), place)
                if self.load():
                    harmless.append(bit)
                os.pwrite(file.fileno(), self.whole[place : place + 1], place)
        assert self.path.read_bytes() == self.whole
        return harmless


def no_numbers(damage: Damage, harmless: list[int]) -> bool:
    """Whether these bits are of the zip's own records: dates, versions, attributes and the like."""
    data = damage.whole
    members = re.compile(rb"(?s)PK\x03\x04.{22}(..)(..)")
    directory = data.index(b"PK\x01\x02")
    spans = []
    for match in members.finditer(data, 0, directory):
        name, extra = struct.unpack("<HH", b"".join(match.groups()))
        spans.append((match.start(), match.start() + 30 + name + extra))
    spans.append((directory, len(data)))
    return all(any(start <= bit // 8 < end for start, end in spans) for bit in harmless)


class TestDamage:
    def test_a_flipped_bit_is_found_or_harmless(self, tmp_path: Path) -> None:
        damage = Damage(tmp_path)
        bits = 8 * len(damage.whole)
        # Every byte somewhere; and all bits of the first members and of the zip's end records.
        chosen = {*range(0, bits, 7), *range(8 * 50), *range(bits - 8 * 100, bits)}
        harmless = damage.flip(sorted(chosen))
        assert no_numbers(damage, harmless)
        assert 0 < len(harmless) < len(chosen) / 5

    @pytest.mark.sweep
    def test_every_flipped_bit_is_found_or_harmless(self, tmp_path: Path) -> None:
        damage = Damage(tmp_path)
        assert no_numbers(damage, damage.flip(range(8 * len(damage.whole))))

    def test_every_truncation_is_found(self, tmp_path: Path) -> None:
        damage = Damage(tmp_path)
        assert damage.load()
        for length in reversed(range(len(damage.whole))):
            os.truncate(damage.path, length)
            assert not damage.load()

    def test_bytes_that_were_lost_are_found(self, tmp_path: Path) -> None:
        damage = Damage(tmp_path)
        rng = np.random.default_rng(0)
        for _ in range(200):
            start, size = int(rng.integers(len(damage.whole))), int(rng.integers(1, 600))
            damage.path.write_bytes(damage.whole[:start] + damage.whole[start + size :])
            assert not damage.load()

    def test_blocks_of_zeros_are_found_or_harmless(self, tmp_path: Path) -> None:
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
    def test_are_refused_by_name_and_nothing_changes(
        self, tmp_path: Path, saved: Any, loading: Any, sentence: str
    ) -> None:
        saved.save(tmp_path / "c")
        before = numbers(loading)
        assert refused(tmp_path / "c", lambda: loading.load(tmp_path / "c")) == sentence
        assert numbers(loading) == before

    def test_the_last_of_many_arrays_is_validated_before_the_first_is_set(
        self, tmp_path: Path
    ) -> None:
        other = network(0)
        last: Any = other[2]
        last.bias.value = np.zeros(9, np.float32)
        other.save(tmp_path / "c")
        model = network(5)
        before = numbers(model)
        assert "layers.2.bias" in refused(tmp_path / "c", lambda: model.load(tmp_path / "c"))
        assert numbers(model) == before

    def test_a_network_loads_from_a_file_of_more(self, tmp_path: Path) -> None:
        saved, model = dense(), Dense(3, 2, rng=8)
        more_state: Array = np.ones((3, 2))
        write(tmp_path / "c", {"model": saved.state_dict(), "optimizer": {"velocity": more_state}})
        assert model.load(tmp_path / "c") is model
        assert numbers(model) == numbers(saved)

    def test_a_file_without_a_network_is_refused(self, tmp_path: Path) -> None:
        write(tmp_path / "c", {"optimizer": 1})
        said = refused(tmp_path / "c", lambda: dense().load(tmp_path / "c"))
        assert said == "Dense(3, 2) expects a state, got none"


def test_the_manifest_tells_the_sha_256_of_each_tensor(tmp_path: Path) -> None:
    saved = dense()
    saved.save(tmp_path / "c")
    with np.load(tmp_path / "c", allow_pickle=False) as archive:
        told = json.loads(archive["manifest.json"])["tensors"]
        assert list(told) == [W, B]
        for name in told:
            array = archive[name]
            assert told[name] == {
                "dtype": "<f4",
                "shape": list(array.shape),
                "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
            }
