import os
from pathlib import Path
from typing import Any

import pytest
from resume_run import digest, make_data, make_trainer

from tinynet import InputError, Trainer
from tinynet.callbacks import Callback, Checkpoint
from tinynet.errors import CheckpointError
from tinynet.monitor import Monitor
from tinynet.saving.checkpoint import read

X, Y = make_data()  # four steps an epoch
VALIDATION = make_data(30, seed=2)


@pytest.fixture(autouse=True)
def _no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """No flush to the disk, which is slow and only matters for a power cut."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def fit(
    folder: Path | str, epochs: int, trainer: Trainer | None = None, **settings: Any
) -> Trainer:
    trainer = trainer or make_trainer()
    callbacks = [*settings.pop("others", ()), Checkpoint(folder, **settings)]
    trainer.fit(X, Y, epochs=epochs, batch_size=16, validation=VALIDATION, callbacks=callbacks)
    return trainer


def steps(folder: Path) -> list[int]:
    names = sorted(path.name for path in folder.iterdir() if path.name != "best.npz")
    found = [int(name.removeprefix("step-").removesuffix(".npz")) for name in names]
    assert names == [f"step-{step:010}.npz" for step in found]
    return found


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, trainer: Trainer) -> None:
        if trainer.step == self.step:
            trainer.stop()


class TestWrites:
    @pytest.mark.parametrize(
        ("epochs", "settings", "found"),
        [
            (2, {}, [4, 8]),
            (5, {}, [12, 16, 20]),
            (5, {"keep": 1}, [20]),
            (5, {"keep": 9, "every_epochs": 2}, [8, 16, 20]),
            (4, {"keep": 9, "every_epochs": 4}, [16]),
            (2, {"keep": 9, "every_steps": 3}, [3, 4, 6, 8]),
            (2, {"keep": 9, "every_steps": 1}, [1, 2, 3, 4, 5, 6, 7, 8]),
            (2, {"keep": 9, "every_steps": 3, "every_epochs": 9}, [3, 6, 8]),
            (5, {"keep": 9, "every_epochs": 4, "others": [StopAt(12)]}, [12]),
            (5, {"keep": 9, "every_epochs": 4, "others": [StopAt(11)]}, []),
            (0, {}, []),
        ],
    )
    def test_checkpoint_writes_the_last_files_at_the_given_intervals(
        self, tmp_path: Path, epochs: int, settings: dict[str, Any], found: list[int]
    ) -> None:
        folder = tmp_path / "runs" / "digits"
        fit(str(folder), epochs, **settings)
        assert steps(folder) == found

    def test_checkpoint_stores_the_whole_trainer(self, tmp_path: Path) -> None:
        trainer = fit(tmp_path, 2)
        again = make_trainer(5).restore(tmp_path / "step-0000000008.npz")
        assert digest(again) == digest(trainer)

    def test_checkpoint_is_written_after_all_other_callbacks(self, tmp_path: Path) -> None:
        class Count(Callback):
            count = 0

            def on_step_end(self, trainer: Trainer) -> None:  # noqa: ARG002  # as in the base class
                self.count += 1

            def state_dict(self) -> dict[str, Any]:
                return {"count": self.count}

        callbacks = [Checkpoint(tmp_path, every_steps=3), Count()]
        make_trainer().fit(X, Y, epochs=1, batch_size=16, callbacks=callbacks)
        for step in (3, 4):
            state = read(tmp_path / f"step-{step:010}.npz")
            assert state["callbacks"] == {"Checkpoint": {"best": None}, "Count": {"count": step}}

    def test_checkpoint_names_grow_beyond_10_digits(self, tmp_path: Path) -> None:
        (tmp_path / "step-99999999999.npz").touch()
        (tmp_path / "step-9999999999.npz").touch()
        assert Checkpoint.newest(tmp_path) == tmp_path / "step-99999999999.npz"

    def test_a_checkpoint_that_cannot_be_written_ends_the_run(self, tmp_path: Path) -> None:
        class InTheWay(Callback):
            def on_epoch_start(self, trainer: Trainer) -> None:
                (tmp_path / f"step-{trainer.step + 4:010}.npz").mkdir()

        with pytest.raises(CheckpointError, match=r"step-0000000004\.npz: could not be written"):
            fit(tmp_path, 1, others=[InTheWay()])


class Broken(Callback):
    """Interrupts the run when the checkpoint of an epoch is to be written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
        self.monkeypatch, self.epoch = monkeypatch, epoch

    def on_epoch_end(self, trainer: Trainer) -> None:
        if trainer.epoch == self.epoch:
            self.monkeypatch.setattr(Checkpoint, "_write", self.fail)

    def fail(self, trainer: Trainer) -> None:
        raise InterruptedError(trainer.step)


def best_epochs(trainer: Trainer, metric: str, *, higher: bool) -> list[int]:
    """The epochs in which a metric was better than ever before."""
    column = trainer.history.epochs[metric]
    pick = max if higher else min
    return [
        row + 1
        for row in range(len(column))
        if column[row] not in column[:row] and pick(column[: row + 1]) == column[row]
    ]


class TestBest:
    @pytest.mark.parametrize(
        ("best", "metric", "higher"),
        [
            ("validation_loss", "validation_loss", False),
            ("accuracy", "accuracy", True),
            (Monitor("loss", higher_is_better=True), "loss", True),
        ],
    )
    def test_best_file_is_the_epoch_with_the_best_metric(
        self, tmp_path: Path, best: Any, metric: str, higher: bool
    ) -> None:
        trainer = fit(tmp_path, 8, best=best)
        epochs = best_epochs(trainer, metric, higher=higher)
        assert len(epochs) < 8
        found = make_trainer(5).restore(tmp_path / "best.npz")
        assert found.epoch == epochs[-1]
        assert steps(tmp_path) == [24, 28, 32]

    def test_best_file_is_not_written_by_default(self, tmp_path: Path) -> None:
        fit(tmp_path, 1)
        assert not (tmp_path / "best.npz").exists()

    def test_best_of_an_unknown_metric_is_rejected_at_the_start(self, tmp_path: Path) -> None:
        trainer = make_trainer()
        with pytest.raises(InputError, match="Monitor expects one of the metrics loss"):
            trainer.fit(X, Y, epochs=1, callbacks=[Checkpoint(tmp_path, best="validation_loss")])
        assert trainer.step == 0

    def test_best_file_is_written_first_so_that_an_interrupted_run_writes_it_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings: dict[str, Any] = {"best": "loss"}
        whole = fit(tmp_path / "whole", 3, **settings)
        assert best_epochs(whole, "loss", higher=False) == [1, 2, 3]
        with monkeypatch.context() as patch, pytest.raises(InterruptedError, match="8"):
            fit(tmp_path / "run", 3, others=[Broken(patch, 2)], **settings)
        assert steps(tmp_path / "run") == [4]
        assert read(tmp_path / "run" / "best.npz")["progress"]["epoch"] == 2
        (tmp_path / "run" / "best.npz").write_bytes(b"")
        again = make_trainer(5).restore(Checkpoint.newest(tmp_path / "run") or "")
        fit(tmp_path / "run", 3, again, **settings)
        assert digest(again) == digest(whole)
        assert read(tmp_path / "run" / "best.npz")["progress"]["epoch"] == 3

    def test_best_value_is_kept_when_a_run_is_resumed(self, tmp_path: Path) -> None:
        def highest_loss() -> Monitor:
            return Monitor("loss", higher_is_better=True)

        fit(tmp_path / "whole", 4, best=highest_loss())
        fit(tmp_path / "run", 2, best=highest_loss())
        again = make_trainer(5).restore(Checkpoint.newest(tmp_path / "run") or "")
        fit(tmp_path / "run", 4, again, best=highest_loss())
        assert read(tmp_path / "run" / "best.npz")["progress"]["epoch"] == 1
        for name in ("best.npz", "step-0000000016.npz"):
            one, other = (tmp_path / run / name for run in ("run", "whole"))
            assert one.read_bytes() == other.read_bytes()

    def test_best_value_is_reset_for_another_run(self, tmp_path: Path) -> None:
        monitor = Monitor("loss", higher_is_better=True)
        for name in ("one", "other"):
            fit(tmp_path / name, 3, best=monitor)
            assert read(tmp_path / name / "best.npz")["progress"]["epoch"] == 1

    def test_best_value_is_reset_by_a_second_fit_after_a_resumed_one(self, tmp_path: Path) -> None:
        checkpoint = Checkpoint(tmp_path / "one", best=Monitor("loss", higher_is_better=True))
        trainer = make_trainer()
        trainer.fit(X, Y, epochs=2, callbacks=[checkpoint])
        trainer.restore(tmp_path / "one" / "step-0000000002.npz")
        trainer.fit(X, Y, epochs=3, callbacks=[checkpoint])
        assert checkpoint.state_dict()["best"]["waited"] == 2
        trainer.fit(X, Y, epochs=4, callbacks=[checkpoint])
        assert checkpoint.state_dict()["best"]["waited"] == 0

    @pytest.mark.parametrize(("before", "now"), [(None, "loss"), ("loss", None)])
    def test_best_may_be_added_or_removed_when_a_run_is_resumed(
        self, tmp_path: Path, before: str | None, now: str | None
    ) -> None:
        fit(tmp_path, 1, best=before)
        again = make_trainer(5).restore(Checkpoint.newest(tmp_path) or "")
        fit(tmp_path, 2, again, best=now)
        epoch = read(tmp_path / "best.npz")["progress"]["epoch"]
        assert epoch == (2 if now else 1)

    def test_checkpoint_rejects_an_invalid_state(self) -> None:
        with pytest.raises(InputError, match="Checkpoint expects a state with best, got none of b"):
            Checkpoint("x").check_state_dict({"worst": 1})
        with pytest.raises(InputError, match="Monitor expects a state"):
            Checkpoint("x", best="loss").check_state_dict({"best": 3})

    def test_an_epoch_with_a_nan_metric_is_not_the_best(self, tmp_path: Path) -> None:
        trainer = make_trainer()
        bad = VALIDATION[0].copy()
        bad[0] = float("nan")
        callbacks = [Checkpoint(tmp_path, best="validation_loss")]
        trainer.fit(X, Y, epochs=2, validation=(bad, VALIDATION[1]), callbacks=callbacks)
        assert trainer.epoch == 2
        assert not (tmp_path / "best.npz").exists()


class TestNewest:
    def test_newest_is_the_checkpoint_with_the_most_steps(self, tmp_path: Path) -> None:
        fit(tmp_path, 3, best="loss")
        assert Checkpoint.newest(str(tmp_path)) == tmp_path / "step-0000000012.npz"

    def test_newest_is_none_in_a_folder_without_checkpoints(self, tmp_path: Path) -> None:
        assert Checkpoint.newest(tmp_path) is None
        assert Checkpoint.newest(tmp_path / "no") is None
        for name in ("best.npz", "step-1.npz", "step-0000000001.npz.bak", "a-step-0000000001.npz"):
            (tmp_path / name).touch()
        assert Checkpoint.newest(tmp_path) is None


class TestFolder:
    def test_a_folder_with_later_checkpoints_is_rejected(self, tmp_path: Path) -> None:
        fit(tmp_path, 3, keep=1)
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        trainer = make_trainer()
        trainer.fit(X, Y, epochs=2, batch_size=16)
        with pytest.raises(InputError) as error:
            fit(tmp_path, 3, trainer)
        assert str(error.value) == (
            f"Checkpoint expects no checkpoint beyond step 8 in {tmp_path}, "
            "got step-0000000012.npz: restore it first, or give another folder"
        )
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
        trainer.restore(tmp_path / "step-0000000012.npz")
        fit(tmp_path, 4, trainer)
        assert steps(tmp_path) == [12, 16]

    def test_only_unfinished_files_are_removed_from_the_folder(self, tmp_path: Path) -> None:
        ours = [".step-0000000007.npz.123-abcd.tmp", ".best.npz.9-0f.tmp"]
        others = [
            ".other.npz.123-abcd.tmp",
            "step-0000000007.npz.123-abcd.tmp",
            ".step-0000000007.npz.tmp",
            ".step-0000000007.npz.123-abcd.tmp~",
            ".step-7.npz.123-abcd.tmp",
            "notes.txt",
        ]
        for name in (*ours, *others):
            (tmp_path / name).touch()
        fit(tmp_path, 0)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)

    def test_a_folder_that_is_a_file_raises_os_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(OSError, match="file"):
            fit(tmp_path / "file", 1)


@pytest.mark.parametrize("name", ["every_epochs", "every_steps", "keep"])
def test_checkpoint_rejects_numbers_below_1(name: str) -> None:
    settings: dict[str, Any] = {name: 0}
    with pytest.raises(InputError, match=f"Checkpoint expects {name} to be a whole number >= 1"):
        Checkpoint("x", **settings)
