"""A run that is saved, stopped, killed or refused goes on as if nothing had happened."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import resume_run
from resume_run import (
    SaveAndStop,
    digest,
    make_callbacks,
    make_data,
    make_model,
    make_trainer,
    on_plateau,
    warm_up_and_cosine,
)

from tinynet import (
    SGD,
    Accuracy,
    Adam,
    AdamW,
    Array,
    Dense,
    Layer,
    MeanSquaredError,
    PrecisionRecallF1,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
)
from tinynet.callbacks import Checkpoint
from tinynet.errors import CheckpointError
from tinynet.optimizers.schedules import Schedule
from tinynet.saving.checkpoint import read, write

X, Y = make_data()
VALIDATION = make_data(30, seed=2)


@pytest.fixture
def _no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that flushes at once: what is shown is not about a power cut."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def fit(trainer: Trainer, epochs: int = 8, **others: Any) -> None:
    trainer.fit(X, Y, epochs=epochs, batch_size=16, validation=VALIDATION, **others)


@pytest.mark.usefixtures("_no_flush")
@pytest.mark.parametrize("schedule", [warm_up_and_cosine, on_plateau])
class TestStoppedAtAnyStep:
    def test_it_goes_on_to_the_same_bits(
        self, tmp_path: Path, schedule: Callable[[], Schedule]
    ) -> None:
        whole = make_trainer(rate=schedule())
        fit(whole, callbacks=make_callbacks(tmp_path / "whole"))
        assert (whole.epoch, whole.step) == (5, 20)  # it stopped early
        rates = whole.history.steps["learning_rate"]
        assert rates[-1] != rates[-5]
        for step in range(1, whole.step + 1):
            folder, saved = tmp_path / str(step), tmp_path / f"{step}.npz"
            first = make_trainer(rate=schedule())
            fit(first, callbacks=make_callbacks(folder, [SaveAndStop(step, saved)]))
            assert first.step == step
            again = make_trainer(seed=step + 10, rate=schedule())
            assert again.restore(saved) is again
            assert again.step == step
            fit(again, callbacks=make_callbacks(folder))
            assert digest(again) == digest(whole)
            names = {path.name for path in folder.iterdir()}
            if (
                step == 4
            ):  # saved before its first epoch was over, it cannot tell that row as its own
                names.remove("log.1.csv")
            assert names == {path.name for path in (tmp_path / "whole").iterdir()}
            assert (folder / "log.csv").read_bytes() == (tmp_path / "whole/log.csv").read_bytes()


@pytest.mark.usefixtures("_no_flush")
class TestBetweenEpochs:
    def test_restored_at_epoch_3_it_makes_three_more_of_six(self, tmp_path: Path) -> None:
        first, whole, again = make_trainer(), make_trainer(), make_trainer(seed=5)
        fit(whole, epochs=6)
        fit(first, epochs=3)
        first.save(tmp_path / "3.npz")
        again.restore(str(tmp_path / "3.npz"))
        assert (again.epoch, again.step, again.seed) == (3, 12, 0)
        fit(again, epochs=6)
        assert (again.epoch, again.step) == (6, 24)
        assert digest(again) == digest(whole)

    def test_a_run_goes_back_to_where_it_was(self, tmp_path: Path) -> None:
        trainer = make_trainer()
        fit(trainer, epochs=2)
        trainer.save(tmp_path / "2.npz")
        before = digest(trainer)
        fit(trainer, epochs=4)
        after = digest(trainer)
        trainer.restore(tmp_path / "2.npz")
        assert digest(trainer) == before
        fit(trainer, epochs=4)
        assert digest(trainer) == after

    def test_a_run_that_has_not_begun_is_saved_too(self, tmp_path: Path) -> None:
        make_trainer(seed=3).save(tmp_path / "0.npz")
        again = make_trainer().restore(tmp_path / "0.npz")
        assert digest(again) == digest(make_trainer(seed=3))

    def test_callbacks_get_what_they_remembered_once(self, tmp_path: Path) -> None:
        first, again = make_trainer(), make_trainer(seed=5)
        fit(first, epochs=3, callbacks=make_callbacks(tmp_path / "run"))
        again.restore(Checkpoint.newest(tmp_path / "run") or "")
        remembered = again.state_dict()["callbacks"]
        assert list(remembered) == ["Checkpoint", "EarlyStopping", "CSVLog"]
        again.save(tmp_path / "again.npz")  # before anyone has taken it over
        assert list(read(tmp_path / "again.npz")["callbacks"]) == list(remembered)
        fit(again, epochs=3)
        assert again.state_dict()["callbacks"] == {}

    def test_what_callbacks_remembered_outlives_a_refusal(self, tmp_path: Path) -> None:
        whole, first, again = make_trainer(), make_trainer(), make_trainer(seed=5)
        fit(whole, callbacks=make_callbacks(tmp_path / "whole"))
        fit(first, epochs=3, callbacks=make_callbacks(tmp_path / "run"))
        again.restore(Checkpoint.newest(tmp_path / "run") or "")
        with pytest.raises(ValueError, match="watching 'speed' expects one of the figures"):
            fit(again, callbacks=[*make_callbacks(tmp_path / "run"), Checkpoint("x", best="speed")])
        fit(again, callbacks=make_callbacks(tmp_path / "run"))
        assert digest(again) == digest(whole)

    def test_what_a_callback_cannot_take_over_is_refused_at_fit(self, tmp_path: Path) -> None:
        trainer = make_trainer()
        state = trainer.state_dict()
        state["callbacks"] = {"EarlyStopping": {"patience": 3}}
        write(tmp_path / "c.npz", state)
        trainer.restore(tmp_path / "c.npz")
        before = digest(trainer)
        with pytest.raises(ValueError, match=r"EarlyStopping expects a state with best, best_epoc"):
            fit(trainer, callbacks=make_callbacks(tmp_path / "run"))
        assert digest(trainer) == before
        assert not (tmp_path / "run").exists()


def trainer_of(
    model: Any = None, loss: Any = None, optimizer: Any = Adam, metrics: Any = None, **settings: Any
) -> Trainer:
    model = make_model(7) if model is None else model
    metrics = [Accuracy(), PrecisionRecallF1(3)] if metrics is None else metrics
    return Trainer(
        model,
        SoftmaxCrossEntropy() if loss is None else loss,
        optimizer(model.parameters(), 0.05, **settings),
        metrics=metrics,
    )


class Scaled(Layer):
    """A loss with a buffer."""

    def __init__(self) -> None:
        self.scale = np.ones(2)

    def forward(self, *_: Array) -> float:
        raise NotImplementedError

    backward = forward


def without(*path: str) -> Callable[[Any], object]:
    def change(state: Any) -> object:
        for name in path[:-1]:
            state = state[name]
        return state.pop(path[-1])

    return change


def put(value: Any, *path: str) -> Callable[[Any], object]:
    def change(state: Any) -> None:
        for name in path[:-1]:
            state = state[name]
        state[path[-1]] = value

    return change


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, np.ndarray):
        return (one.dtype, one.tobytes()) == (other.dtype, other.tobytes())
    return bool(one == other)


@pytest.mark.usefixtures("_no_flush")
class TestFilesOfOthers:
    @pytest.fixture
    def saved(self, tmp_path: Path) -> Path:
        trainer = make_trainer()
        fit(trainer, epochs=2, callbacks=[SaveAndStop(6, tmp_path / "6.npz")])
        return tmp_path / "6.npz"

    def refused(self, trainer: Trainer, path: Path) -> str:
        """What is said of the file; nothing of the run has changed."""
        before = deepcopy(trainer.state_dict())
        with pytest.raises(CheckpointError) as error:
            trainer.restore(path)
        assert same(trainer.state_dict(), before)
        said = str(error.value)
        assert said.startswith(f"{path}: ")
        return said.removeprefix(f"{path}: ")

    @pytest.mark.parametrize(
        ("make", "sentence"),
        [
            (
                lambda: trainer_of(Sequential([Dense(4, 3)])),
                "Sequential([Dense(4, 3)]) expects a state with layers.0.bias, layers.0.weight, "
                "got none of layers.0.bias, layers.0.weight, and ",
            ),
            (
                lambda: trainer_of(make_model().astype(np.float64)),
                ", layers.1.weight, expects float64 of shape (4, 8), got float32 of shape (4, 8)",
            ),
            (lambda: trainer_of(loss=Scaled()), "expects a state with scale, got none of scale"),
            (lambda: trainer_of(optimizer=AdamW), "AdamW expects the state of a AdamW, got that"),
            (lambda: trainer_of(optimizer=SGD), "SGD expects the state of a SGD, got that of Adam"),
            (
                lambda: trainer_of(metrics=[Accuracy()]),
                "metrics expects a state with 0, got 1",
            ),
            (
                lambda: trainer_of(metrics=[Accuracy(), PrecisionRecallF1(4)]),
                "PrecisionRecallF1, counts, expects int64 of shape (4, 4), got int64 of shape (3",
            ),
        ],
    )
    def test_of_another_run_are_refused_and_nothing_changes(
        self, saved: Path, make: Callable[[], Trainer], sentence: str
    ) -> None:
        said = self.refused(make(), saved)
        assert sentence in said
        assert said.endswith(f"(the file is of {make_model()!r})")

    def test_of_weights_alone_are_refused(self, tmp_path: Path) -> None:
        make_model().save(tmp_path / "weights.npz")
        said = self.refused(make_trainer(), tmp_path / "weights.npz")
        assert said.startswith("Trainer expects a state with callbacks, generators, history, loss")
        assert "got none of callbacks, generators, history, loss and 4 more (the file is" in said

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            (without("seed"), "Trainer expects a state with"),
            (put(-1, "seed"), "Trainer expects seed to be a whole number >= 0, got -1"),
            (put([1], "callbacks"), "Trainer expects states of callbacks, got [1]"),
            (without("generators", "loss"), "Trainer, generators, expects a state with loss, mo"),
            (without("generators", "model", "layers.3.rng"), "expects a state with layers.3.rng"),
            (put({"a": {}}, "generators", "loss"), "expects a state with nothing, got a"),
            (put({"a": 1}, "loss"), "SoftmaxCrossEntropy() expects a state with nothing, got a"),
            (without("history", "steps"), "History expects a state with epochs, steps, got none"),
            (put(-1, "progress", "epoch"), "Progress expects epoch to be a whole number >= 0"),
            (put(1.5, "progress", "batch"), "Progress expects batch to be a whole number >= 0"),
            (put("x", "progress", "loss_sum"), "Progress expects loss_sum to be a finite number"),
            (without("progress", "size"), "Progress expects a state with batch, batch_size, epo"),
            (put(None, "network"), ""),
        ],
    )
    def test_with_one_part_wrong_change_nothing(
        self, tmp_path: Path, saved: Path, change: Callable[[Any], object], sentence: str
    ) -> None:
        state = read(saved)
        change(state)
        write(tmp_path / "c.npz", state)
        if sentence:
            assert sentence in self.refused(make_trainer(4), tmp_path / "c.npz")
        else:  # which network it was is told to the reader, and decides nothing
            make_trainer(4).restore(tmp_path / "c.npz")

    def test_that_are_damaged_or_missing_change_nothing(self, saved: Path) -> None:
        whole = saved.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 1
        for damaged in (flipped, whole[:-1], whole[: len(whole) // 2], b""):
            saved.write_bytes(damaged)
            assert "expected" in self.refused(make_trainer(4), saved)
        saved.unlink()
        said = self.refused(make_trainer(4), saved)
        assert said == "expected a checkpoint file, got nothing there"

    def test_a_model_takes_the_weights_from_the_file_of_a_trainer(self, tmp_path: Path) -> None:
        trainer = make_trainer()
        fit(trainer, epochs=1)
        trainer.save(tmp_path / "1.npz")
        model = make_model(8).load(tmp_path / "1.npz")
        assert same(model.state_dict(), trainer.model.state_dict())
        assert not same(make_model(8).state_dict(), trainer.model.state_dict())

    def test_a_file_that_cannot_be_written_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"c\.npz: could not be written, and nothing"):
            make_trainer().save(tmp_path / "no" / "c.npz")

    @pytest.mark.parametrize(
        ("others", "sentence"),
        [
            ({"batch_size": 15}, "with 50 samples and batch_size=16, got 50 samples and batch_si"),
            ({"samples": 49}, "with 50 samples and batch_size=16, got 49 samples and batch_size="),
        ],
    )
    def test_within_an_epoch_other_batches_are_refused(
        self, saved: Path, others: dict[str, int], sentence: str
    ) -> None:
        trainer = make_trainer(4).restore(saved)
        before = deepcopy(trainer.state_dict())
        size, samples = others.get("batch_size", 16), others.get("samples", 50)
        with pytest.raises(
            ValueError, match=f"fit expects to go on in the middle of epoch 2, {sentence}"
        ):
            trainer.fit(X[:samples], Y[:samples], epochs=2, batch_size=size)
        assert same(trainer.state_dict(), before)


def test_a_loss_of_another_kind_has_no_state_to_tell(tmp_path: Path) -> None:
    # Where no part has numbers of its own, the file fits: the loss is chosen by who runs it.
    trainer = trainer_of(Sequential([Dense(4, 3)]), metrics=())
    trainer.save(tmp_path / "c.npz")
    other = trainer_of(Sequential([Dense(4, 3)]), loss=MeanSquaredError(), metrics=())
    assert other.restore(tmp_path / "c.npz") is other


# What the operating system does to a run

SCRIPT = Path(resume_run.__file__)


def start(*arguments: object) -> "subprocess.Popen[str]":
    """A process that is not measured: it may be killed while it writes down what it covered."""
    environment = {n: value for n, value in os.environ.items() if not n.startswith("COV")}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


@dataclass
class Kill:
    """What was there when the process was gone."""

    step: int  # of the newest checkpoint; 0 where there was none
    cut_off: bool  # within the writing of a file
    same: bool  # what comes of it in the end


def kill_runs(folder: Path, kills: int) -> list[Kill]:
    """Starts, kills and starts again, until that many kills met a process that was running."""
    rng = random.Random(0)
    told: list[Kill] = []
    started = time.perf_counter()
    with start(folder / "whole", 0.004) as process:
        assert process.stdout is not None
        whole = process.stdout.read().strip()
    seconds = time.perf_counter() - started
    assert re.fullmatch(r"[0-9a-f]{64}", whole)
    run = folder / "run"
    while len(told) < kills:
        with start(run, 0.004) as process:
            assert process.stdout is not None
            try:
                process.wait(rng.uniform(0, seconds))
            except subprocess.TimeoutExpired:
                process.kill()
            ended = process.stdout.read().strip()
        if process.returncode == -signal.SIGKILL:
            told.append(look_at(run, folder / "copy", whole))
        else:
            assert (process.returncode, ended) == (0, whole)
            shutil.rmtree(run)
    return told


def look_at(run: Path, copy: Path, whole: str) -> Kill:
    run.mkdir(exist_ok=True)
    shutil.copytree(run, copy)
    newest = Checkpoint.newest(copy)
    step = read(newest)["progress"]["step"] if newest else 0
    kill = Kill(step, any(copy.glob(".*.tmp")), resume_run.run(copy) == whole)
    assert not any(copy.glob(".*.tmp"))
    shutil.rmtree(copy)
    return kill


class TestKilled:
    def test_it_goes_on_to_the_same_bits(self, tmp_path: Path) -> None:
        assert all(kill.same for kill in kill_runs(tmp_path, 6))

    @pytest.mark.sweep
    def test_it_goes_on_to_the_same_bits_200_times(self, tmp_path: Path) -> None:
        started = time.perf_counter()
        kills = kill_runs(tmp_path, 200)
        steps = [kill.step for kill in kills]
        print(
            f"\n{len(kills)} kills in {time.perf_counter() - started:.0f} s: "
            f"{sum(kill.same for kill in kills)} with the same end, "
            f"{steps.count(0)} before the first checkpoint, "
            f"{sum(kill.cut_off for kill in kills)} within the writing of one, "
            f"by step {sorted((step, steps.count(step)) for step in set(steps))}"
        )
        assert all(kill.same for kill in kills)
        assert sum(kill.cut_off for kill in kills) >= 10
        assert 10 <= steps.count(0) <= 150
        assert len(set(steps)) >= 10  # all along the run


def python(script: str, *arguments: object) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from tinynet import SGD, Dense, MeanSquaredError, Trainer
from tinynet.callbacks import Callback, Checkpoint
from tinynet.errors import CheckpointError

folder = Path(sys.argv[1])
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

class FillDisk(Callback):
    def on_epoch_start(self, trainer):
        if trainer.epoch == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))

model = Dense(100, 10, rng=0)
trainer = Trainer(model, MeanSquaredError(), SGD(model.parameters(), 0.1))
x, y = np.ones((4, 100), np.float32), np.ones((4, 10), np.float32)
try:
    trainer.fit(x, y, epochs=3, callbacks=[Checkpoint(folder), FillDisk()])
except CheckpointError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print(*(path.name for path in folder.iterdir()))
print(trainer.step, trainer.restore(Checkpoint.newest(folder)).step)
"""


def test_on_a_full_disk_the_older_checkpoint_stays(tmp_path: Path) -> None:
    error, names, steps = python(FULL, tmp_path)
    start = f"{tmp_path / 'step-0000000002.npz'}: could not be written, and nothing there has chang"
    assert error.startswith(start)
    assert error.endswith("File too large")
    assert names == "step-0000000001.npz"
    assert steps == "2 1"


LARGE = """
import resource, sys
import numpy as np
from tinynet import SGD, Dense, MeanSquaredError, Trainer

path, limit = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
try:
    np.load(path)
except MemoryError:
    print("too large for memory")
x = np.load(path, mmap_mode="r")
y = np.ones((len(x), 1), np.float32)
model = Dense(x.shape[1], 1, rng=0)
trainer = Trainer(model, MeanSquaredError(), SGD(model.parameters(), 0.01))
trainer.fit(x, y, epochs=1, batch_size=2048)
loss = trainer.evaluate(x, y)["loss"]
print(x.nbytes // limit, trainer.step, loss < trainer.history.steps["loss"][0])
"""


def test_data_four_times_larger_than_memory_is_trained_on(tmp_path: Path) -> None:
    limit = 256 << 20  # OpenBLAS alone sets 32 MB or more aside for each thread
    path = tmp_path / "x.npy"
    x = np.lib.format.open_memmap(path, "w+", np.dtype(np.float32), (1 << 18, 1 << 10))
    x[::64] = np.random.default_rng(0).standard_normal(1 << 10)
    x.flush()
    del x
    try:
        assert python(LARGE, path, limit) == ["too large for memory", "4 128 True"]
    finally:
        path.unlink()
