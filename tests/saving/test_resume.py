"""A training run that was saved, stopped or killed continues to the same bits."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import kill_runs
import numpy as np
import pytest
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
from subprocesses import run_python

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
    """No flushing to the disk, which only matters for a power failure."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def fit(trainer: Trainer, epochs: int = 8, **others: Any) -> None:
    trainer.fit(X, Y, epochs=epochs, batch_size=16, validation=VALIDATION, **others)


@pytest.mark.usefixtures("_no_flush")
class TestStoppedAtAStep:
    @pytest.mark.parametrize(
        ("schedule", "steps"),
        [
            (warm_up_and_cosine, (1, 2, 3, 4, 5, 20)),  # of four in each of five epochs
            (on_plateau, (3, 8, 10, 15)),
        ],
    )
    def test_a_run_stopped_at_a_step_continues_to_the_same_bits(
        self, tmp_path: Path, schedule: Callable[[], Schedule], steps: tuple[int, ...]
    ) -> None:
        self.stop_and_continue(tmp_path, schedule, steps)

    @pytest.mark.sweep
    @pytest.mark.parametrize("schedule", [warm_up_and_cosine, on_plateau])
    def test_a_run_stopped_at_any_step_continues_to_the_same_bits(
        self, tmp_path: Path, schedule: Callable[[], Schedule]
    ) -> None:
        self.stop_and_continue(tmp_path, schedule, range(1, 21))

    def stop_and_continue(
        self, tmp_path: Path, schedule: Callable[[], Schedule], steps: Iterable[int]
    ) -> None:
        whole = make_trainer(rate=schedule())
        fit(whole, callbacks=make_callbacks(tmp_path / "whole"))
        assert (whole.epoch, whole.step) == (5, 20)  # early stopping
        rates = whole.history.steps["learning_rate"]
        assert rates[-1] != rates[-5]
        for step in steps:
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
            if step == 4:  # saved before its epoch ended, so that its row in the log is not known
                names.remove("log.1.csv")
            assert names == {path.name for path in (tmp_path / "whole").iterdir()}
            assert (folder / "log.csv").read_bytes() == (tmp_path / "whole/log.csv").read_bytes()


@pytest.mark.usefixtures("_no_flush")
class TestBetweenEpochs:
    def test_a_run_restored_after_3_epochs_trains_3_more_of_6(self, tmp_path: Path) -> None:
        first, whole, again = make_trainer(), make_trainer(), make_trainer(seed=5)
        fit(whole, epochs=6)
        fit(first, epochs=3)
        first.save(tmp_path / "3.npz")
        again.restore(str(tmp_path / "3.npz"))
        assert (again.epoch, again.step, again.seed) == (3, 12, 0)
        fit(again, epochs=6)
        assert (again.epoch, again.step) == (6, 24)
        assert digest(again) == digest(whole)

    def test_a_run_may_be_restored_to_an_earlier_state_of_its_own(self, tmp_path: Path) -> None:
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

    def test_a_run_may_be_saved_before_its_first_step(self, tmp_path: Path) -> None:
        make_trainer(seed=3).save(tmp_path / "0.npz")
        again = make_trainer().restore(tmp_path / "0.npz")
        assert digest(again) == digest(make_trainer(seed=3))

    def test_states_of_callbacks_are_restored_once(self, tmp_path: Path) -> None:
        first, again = make_trainer(), make_trainer(seed=5)
        fit(first, epochs=3, callbacks=make_callbacks(tmp_path / "run"))
        again.restore(Checkpoint.newest(tmp_path / "run") or "")
        states = again.state_dict()["callbacks"]
        assert list(states) == ["Checkpoint", "EarlyStopping", "CSVLog"]
        again.save(tmp_path / "again.npz")  # before any callback has loaded its state
        assert list(read(tmp_path / "again.npz")["callbacks"]) == list(states)
        fit(again, epochs=3)
        assert again.state_dict()["callbacks"] == {}

    def test_states_of_callbacks_are_kept_when_fit_refuses_its_arguments(
        self, tmp_path: Path
    ) -> None:
        whole, first, again = make_trainer(), make_trainer(), make_trainer(seed=5)
        fit(whole, callbacks=make_callbacks(tmp_path / "whole"))
        fit(first, epochs=3, callbacks=make_callbacks(tmp_path / "run"))
        again.restore(Checkpoint.newest(tmp_path / "run") or "")
        with pytest.raises(ValueError, match=r"Monitor expects one of the metrics .*, got 'speed'"):
            fit(again, callbacks=[*make_callbacks(tmp_path / "run"), Checkpoint("x", best="speed")])
        fit(again, callbacks=make_callbacks(tmp_path / "run"))
        assert digest(again) == digest(whole)

    def test_a_wrong_state_of_a_callback_is_refused_by_fit(self, tmp_path: Path) -> None:
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
class TestOtherFiles:
    @pytest.fixture
    def saved(self, tmp_path: Path) -> Path:
        trainer = make_trainer()
        fit(trainer, epochs=2, callbacks=[SaveAndStop(6, tmp_path / "6.npz")])
        return tmp_path / "6.npz"

    def error_of(self, trainer: Trainer, path: Path) -> str:
        """The error of restoring the file, which must change nothing, without the path."""
        before = deepcopy(trainer.state_dict())
        with pytest.raises(CheckpointError) as error:
            trainer.restore(path)
        assert same(trainer.state_dict(), before)
        message = str(error.value)
        assert message.startswith(f"{path}: ")
        return message.removeprefix(f"{path}: ")

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
            (lambda: trainer_of(optimizer=AdamW), "AdamW expects the state of AdamW, got that"),
            (lambda: trainer_of(optimizer=SGD), "SGD expects the state of SGD, got that of Adam"),
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
    def test_the_file_of_another_run_is_refused_and_changes_nothing(
        self, saved: Path, make: Callable[[], Trainer], sentence: str
    ) -> None:
        message = self.error_of(make(), saved)
        assert sentence in message
        assert message.endswith(f"(the file is of {make_model()!r})")

    def test_a_trainer_refuses_a_file_of_weights_alone(self, tmp_path: Path) -> None:
        make_model().save(tmp_path / "weights.npz")
        message = self.error_of(make_trainer(), tmp_path / "weights.npz")
        assert message.startswith(
            "Trainer expects a state with callbacks, generators, history, loss"
        )
        assert "got none of callbacks, generators, history, loss and 4 more (the file is" in message

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
            (put(["x"], "progress", "loss_sum"), "Progress expects loss_sum to be a finite number"),
            (without("progress", "size"), "Progress expects a state with batch, batch_size, bat"),
            (put(None, "network"), ""),
        ],
    )
    def test_a_file_with_one_wrong_part_is_refused_and_changes_nothing(
        self, tmp_path: Path, saved: Path, change: Callable[[Any], object], sentence: str
    ) -> None:
        state = read(saved)
        change(state)
        write(tmp_path / "c.npz", state)
        if sentence:
            assert sentence in self.error_of(make_trainer(4), tmp_path / "c.npz")
        else:  # the name of the network is for the reader, and is not checked
            make_trainer(4).restore(tmp_path / "c.npz")

    def test_a_damaged_or_missing_file_is_refused_and_changes_nothing(self, saved: Path) -> None:
        whole = saved.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 1
        for damaged in (flipped, whole[:-1], whole[: len(whole) // 2], b""):
            saved.write_bytes(damaged)
            assert "expected" in self.error_of(make_trainer(4), saved)
        saved.unlink()
        message = self.error_of(make_trainer(4), saved)
        assert message == "expected a checkpoint file, got nothing there"

    def test_a_model_loads_its_weights_from_the_file_of_a_trainer(self, tmp_path: Path) -> None:
        trainer = make_trainer()
        fit(trainer, epochs=1)
        trainer.save(tmp_path / "1.npz")
        model = make_model(8).load(tmp_path / "1.npz")
        assert same(model.state_dict(), trainer.model.state_dict())
        assert not same(make_model(8).state_dict(), trainer.model.state_dict())

    def test_saving_a_run_into_a_missing_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"c\.npz: could not be written, and nothing"):
            make_trainer().save(tmp_path / "no" / "c.npz")

    @pytest.mark.parametrize(
        ("others", "sentence"),
        [
            ({"batch_size": 15}, "with 50 samples, batch_size=16 and 4 batches, got 50 samples, "),
            ({"samples": 49}, "with 50 samples, batch_size=16 and 4 batches, got 49 samples, "),
        ],
    )
    def test_continuing_within_an_epoch_needs_the_same_batches(
        self, saved: Path, others: dict[str, int], sentence: str
    ) -> None:
        trainer = make_trainer(4).restore(saved)
        before = deepcopy(trainer.state_dict())
        size, samples = others.get("batch_size", 16), others.get("samples", 50)
        with pytest.raises(ValueError, match=f"fit expects to continue within epoch 2, {sentence}"):
            trainer.fit(X[:samples], Y[:samples], epochs=2, batch_size=size)
        assert same(trainer.state_dict(), before)


def test_a_run_without_state_in_its_loss_may_be_restored_with_another_loss(tmp_path: Path) -> None:
    # The file fits, since neither loss has a state.
    trainer = trainer_of(Sequential([Dense(4, 3)]), metrics=())
    trainer.save(tmp_path / "c.npz")
    other = trainer_of(Sequential([Dense(4, 3)]), loss=MeanSquaredError(), metrics=())
    assert other.restore(tmp_path / "c.npz") is other


# Interruptions by the operating system


def kill(folder: Path, kills: int) -> list[tuple[int, int, int]]:
    """(step of the newest checkpoint, whether it was writing, whether it ended the same)."""
    # Without coverage, which a kill could interrupt while it writes its file.
    environment = {n: value for n, value in os.environ.items() if not n.startswith("COV")}
    command = [sys.executable, kill_runs.__file__, str(folder), str(kills)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    lines = (map(int, line.split()) for line in done.stdout.splitlines())
    return [(step, writing, same) for step, writing, same in lines]


def test_a_killed_run_continues_to_the_same_bits(tmp_path: Path) -> None:
    assert all(same for _, _, same in kill(tmp_path, 3))


@pytest.mark.sweep
def test_a_run_killed_200_times_continues_to_the_same_bits(tmp_path: Path) -> None:
    started = time.perf_counter()
    kills = kill(tmp_path, 200)
    steps, writing, same = map(list, zip(*kills, strict=True))
    print(
        f"\n{len(kills)} kills in {time.perf_counter() - started:.0f} s: "
        f"{sum(same)} with the same end, {steps.count(0)} before the first checkpoint, "
        f"{sum(writing)} while one was written, "
        f"by step {sorted((step, steps.count(step)) for step in set(steps))}"
    )
    assert all(same)
    assert sum(writing) >= 10
    assert 10 <= steps.count(0) <= 150
    assert len(set(steps)) >= 10  # everywhere in the run


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


def test_on_a_full_disk_the_older_checkpoint_of_a_run_stays(tmp_path: Path) -> None:
    error, names, steps = run_python(FULL, tmp_path)
    start = f"{tmp_path / 'step-0000000002.npz'}: could not be written, and nothing there has chang"
    assert error.startswith(start)
    assert error.endswith("File too large")
    assert names == "step-0000000001.npz"
    assert steps == "2 1"


LARGE = """
import os
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # OpenBLAS allocates 32 MB or more for each thread
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
trainer.fit(x, y, epochs=1, batch_size=512)
loss = trainer.evaluate(x, y, batch_size=512)["loss"]
print(x.nbytes // limit, trainer.step, loss < trainer.history.steps["loss"][0])
"""


def test_training_on_data_four_times_larger_than_memory(tmp_path: Path) -> None:
    limit = 128 << 20
    path = tmp_path / "x.npy"
    rows, columns = 1 << 17, 1 << 10
    row = np.random.default_rng(0).standard_normal(columns).astype(np.float32)
    with path.open("wb") as file:  # zeros, but for every 64th row: a file with holes
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, columns)}
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        for index in range(0, rows, 64):
            file.seek(start + index * row.nbytes)
            file.write(row.tobytes())
        file.truncate(start + rows * row.nbytes)
    try:
        assert run_python(LARGE, path, limit) == ["too large for memory", "4 256 True"]
    finally:
        path.unlink()
