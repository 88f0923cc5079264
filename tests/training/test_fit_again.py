"""A second `fit` of one Trainer: nothing left to train, an epoch started again, after Ctrl-C."""

import os
import signal
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from resume_run import digest, make_data, make_trainer
from training.test_interrupts import Fails, Interrupter
from training.test_trainer import stop_at

from tinynet import SGD, Accuracy, Array, Dense, InputError, Optimizer, SoftmaxCrossEntropy, Trainer
from tinynet.callbacks import Callback, EarlyStopping
from tinynet.datasets.batches import Batches
from tinynet.optimizers.optimizer import Slots

X, Y = make_data()


def stderr_of(capsys: pytest.CaptureFixture[str]) -> str:
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


class TestNothingLeftToTrain:
    def test_a_fit_whose_epochs_are_done_says_so_each_time_and_changes_nothing(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        trainer = make_trainer()
        trainer.fit(X, Y, epochs=2)
        assert stderr_of(capsys) == ""
        before = digest(trainer)
        for _ in range(2):
            trainer.fit(X, Y, epochs=2)
            assert stderr_of(capsys) == (
                "fit trained nothing: epochs=2 is the total, and 2 are done; epochs=4 trains 2 "
                "more\n"
            )
        assert digest(trainer) == before
        trainer.fit(X, Y, epochs=4)
        assert stderr_of(capsys) == ""

    def test_a_fit_that_a_callback_stops_before_its_first_step_says_so(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        class Save(Callback):
            runs_last = True

            def on_epoch_end(self, trainer: Trainer) -> None:
                trainer.save(tmp_path / "run.npz")

        arguments = {"epochs": 99, "validation": (X, -Y % 3)}
        trainer = make_trainer()
        trainer.fit(X, Y, callbacks=[EarlyStopping(patience=2), Save()], **arguments)  # type: ignore[arg-type]
        assert trainer.stopping
        assert stderr_of(capsys) == ""
        resumed = make_trainer().restore(tmp_path / "run.npz")
        resumed.fit(X, Y, callbacks=[EarlyStopping(patience=2)], **arguments)  # type: ignore[arg-type]
        assert stderr_of(capsys) == (
            "fit trained nothing: a callback stopped it before the first step\n"
        )

    def test_a_fit_that_ends_an_interrupted_epoch_without_a_step_says_nothing(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        trainer = make_trainer()
        with pytest.raises(ZeroDivisionError):
            trainer.fit(X, Y, epochs=1, batch_size=20, callbacks=[Fails("on_epoch_end", 1)])
        assert (trainer.epoch, trainer.step) == (0, 3)
        trainer.fit(X, Y, epochs=1, batch_size=20)
        assert (trainer.epoch, trainer.step) == (1, 3)
        assert stderr_of(capsys) == ""

    def test_a_new_trainer_that_is_asked_for_no_epochs_says_nothing(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        make_trainer().fit(X, Y, epochs=0)
        assert stderr_of(capsys) == ""


class TestRestartEpoch:
    @given(st.integers(1, 4), st.integers(1, 60), st.integers(5, 50))
    def test_a_restarted_epoch_is_a_whole_epoch_from_the_present_weights(
        self, done: int, batch_size: int, samples: int
    ) -> None:
        model = Dense(4, 3, rng=0)
        trainer = Trainer(
            model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1, momentum=0.9), seed=5,
            metrics=[Accuracy()],
        )  # fmt: skip
        trainer.fit(X, Y, epochs=3, batch_size=20, callbacks=[stop_at(done)])
        epoch = done // 3
        by_hand, loss = deepcopy((trainer.model, trainer.optimizer)), SoftmaxCrossEntropy()
        trainer.fit(
            X[:samples], Y[:samples], epochs=epoch + 1, batch_size=batch_size, restart_epoch=True
        )

        hand_model, optimizer = by_hand
        losses, right, rows = [], 0, []
        for x, y in Batches(X[:samples], Y[:samples], batch_size, seed=5).epoch(epoch):
            scores = hand_model(x)
            losses.append(loss(scores, y))
            right += int((scores.argmax(axis=1) == y).sum())
            rows.append(len(y))
            hand_model.backward(loss.backward())
            optimizer.step()
        for ours, theirs in zip(model.parameters(), hand_model.parameters(), strict=True):
            np.testing.assert_array_equal(ours.value, theirs.value)
        last = trainer.history.last
        assert last["loss"] == pytest.approx(np.average(losses, weights=rows), rel=1e-6)
        assert last["accuracy"] == right / samples
        # Steps that were done stay counted, in the history and by the schedule.
        assert trainer.step == optimizer.steps == done + len(rows)
        assert len(trainer.history.steps["loss"]) == trainer.step
        assert trainer.epoch == len(trainer.history.epochs["loss"]) == epoch + 1

    def test_between_two_epochs_restart_epoch_changes_nothing(self) -> None:
        trainers = make_trainer(), make_trainer()
        for trainer, restart in zip(trainers, (False, True), strict=True):
            trainer.fit(X, Y, epochs=1, batch_size=20, restart_epoch=restart)
            trainer.fit(X, Y, epochs=2, batch_size=20, restart_epoch=restart)
        assert digest(trainers[0]) == digest(trainers[1])

    def test_a_restart_that_is_refused_changes_nothing(self) -> None:
        trainer = make_trainer()
        trainer.fit(X, Y, epochs=2, batch_size=20, callbacks=[stop_at(4)])
        before = digest(trainer)
        with pytest.raises(InputError, match="fit expects a pair, validation"):
            trainer.fit(X, Y, epochs=2, batch_size=7, validation=X, restart_epoch=True)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="fit expects restart_epoch to be True or False"):
            trainer.fit(X, Y, epochs=2, batch_size=7, restart_epoch="yes")  # type: ignore[arg-type]
        failing = Fails("on_fit_start", 1)
        with pytest.raises(ZeroDivisionError):
            trainer.fit(X, Y, epochs=2, batch_size=7, restart_epoch=True, callbacks=[failing])
        assert digest(trainer) == before
        trainer.fit(X, Y, epochs=2, batch_size=20)
        whole = make_trainer()
        whole.fit(X, Y, epochs=2, batch_size=20)
        assert digest(trainer) == digest(whole)

    def test_an_interrupt_at_any_line_before_the_first_step_of_a_restart_loses_nothing(
        self,
    ) -> None:
        def stopped() -> Trainer:
            trainer = make_trainer()
            trainer.fit(X, Y, epochs=2, batch_size=20, callbacks=[stop_at(4)])
            return trainer

        whole, files = stopped(), ("training/trainer", "training/progress", "metrics/metric")
        whole.fit(X, Y, epochs=2, batch_size=25, restart_epoch=True)
        ended = 0
        for at in range(1, 200, 4):
            trainer = stopped()
            with pytest.raises(KeyboardInterrupt), Interrupter(at, files).tracing():
                trainer.fit(X, Y, epochs=2, batch_size=25, restart_epoch=True)
            if trainer.step > 4:
                break
            trainer.fit(X, Y, epochs=2, batch_size=25, restart_epoch=True)
            assert digest(trainer) == digest(whole), at
            ended += 1
        assert ended > 5


class Press(Callback):
    """Presses Ctrl-C after one step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, trainer: Trainer) -> None:
        if trainer.step == self.step:
            signal.raise_signal(signal.SIGINT)


class TestInterruptNote:
    def test_ctrl_c_stays_a_keyboard_interrupt_with_a_note_where_it_was(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        trainer = make_trainer()
        with pytest.raises(KeyboardInterrupt) as info:
            trainer.fit(X, Y, epochs=4, batch_size=20, callbacks=[Press(5)])
        assert info.value.__notes__ == [
            "fit was interrupted in epoch 2 of 4, after 2 of 3 steps of this epoch, 5 in all; "
            "call it again with the same arguments to continue there, or with restart_epoch=True "
            "to start this epoch again"
        ]
        assert stderr_of(capsys) == ""

    def test_a_terminal_shows_the_note_below_the_traceback(self) -> None:
        script = (
            "import signal; from resume_run import *\n"
            "class Press(Callback):\n"
            "    def on_step_end(self, trainer): signal.raise_signal(signal.SIGINT)\n"
            "make_trainer().fit(*make_data(), epochs=2, batch_size=20, callbacks=[Press()])"
        )
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
        assert done.returncode == -signal.SIGINT
        *_, error, note = done.stderr.splitlines()
        assert error == "KeyboardInterrupt"
        assert note.startswith("fit was interrupted in epoch 1 of 2, after 1 of 3 steps")

    def test_other_errors_get_no_note(self) -> None:
        with pytest.raises(ZeroDivisionError) as info:
            make_trainer().fit(X, Y, epochs=1, callbacks=[Fails("on_step_end", 0)])
        assert not hasattr(info.value, "__notes__")

    def test_after_a_step_that_was_left_half_done_the_note_asks_for_a_checkpoint(self) -> None:
        class Interrupted(Optimizer):
            def direction(self, grad: Array, slots: Slots) -> Array:  # noqa: ARG002  # as in the base class
                raise KeyboardInterrupt

        model = Dense(4, 3, rng=0)
        trainer = Trainer(model, SoftmaxCrossEntropy(), Interrupted(model.parameters(), 0.1))
        with pytest.raises(KeyboardInterrupt) as info:
            trainer.fit(X, Y, epochs=1)
        (note,) = info.value.__notes__
        assert note.startswith("Interrupted expects parameters after a whole step")
        assert "restore a checkpoint" in note
