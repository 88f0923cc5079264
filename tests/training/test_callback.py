from typing import Any

import pytest
from resume_run import make_data, make_trainer

from tinynet import InputError, Trainer
from tinynet.callbacks import Checkpoint, CSVLog, Doctor, EarlyStopping, ProgressBar
from tinynet.monitor import Monitor
from tinynet.training.callback import Callback, Callbacks

X, Y = make_data()
HOOKS = ["on_fit_start", "on_epoch_start", "on_step_end", "on_epoch_end", "on_fit_end"]


class PrintLoss(Callback):
    def on_epoch_end(self, trainer: Trainer) -> None:
        print(trainer.epoch, trainer.history.last["loss"])


def test_a_callback_that_prints_the_loss_takes_three_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    history = make_trainer().fit(X, Y, epochs=2, callbacks=[PrintLoss()])
    losses = history.epochs["loss"]
    assert capsys.readouterr().out == f"1 {losses[0]}\n2 {losses[1]}\n"


def test_a_callback_shows_the_call_that_makes_it() -> None:
    class Every(Callback):
        def __init__(self, steps: int) -> None:
            self.period = steps

    shown = {
        "Callback()": Callback(),
        "PrintLoss()": PrintLoss(),
        "CSVLog('runs/log.csv')": CSVLog("runs/log.csv"),
        "Checkpoint('runs', keep=2)": Checkpoint("runs", keep=2),
        "Doctor(every_steps=50)": Doctor(every_steps=50),
        "EarlyStopping(monitor=Monitor('auc', higher_is_better=True), patience=3)": EarlyStopping(
            Monitor("auc", higher_is_better=True), patience=3
        ),
        "ProgressBar(every=5)": ProgressBar(every=5),
        "Every(...)": Every(3),
    }
    for call, callback in shown.items():
        assert repr(callback) == call


def test_hooks_of_the_base_class_do_nothing() -> None:
    trainer = make_trainer()
    for hook in HOOKS:
        assert getattr(Callback(), hook)(trainer) is None
    Callback().close()
    assert not Callback.runs_last
    assert Callback().state_dict() == {}
    Callback().load_state_dict({})
    with pytest.raises(InputError, match="PrintLoss expects a state with nothing, got a"):
        PrintLoss().check_state_dict({"a": 1})


class Named(Callback):
    """Records its hooks, and has a number as its state."""

    log: list[str]

    def __init__(self, name: str, *, last: bool = False) -> None:
        self.name, self.number = name, 0
        self.runs_last = last

    def on_epoch_end(self, trainer: Trainer) -> None:  # noqa: ARG002  # as in the base class
        self.log.append(self.name)

    def close(self) -> None:
        self.log.append(f"close {self.name}")

    def state_dict(self) -> dict[str, Any]:
        return {"number": self.number}

    def check_state_dict(self, state: Any) -> None:
        super().check_state_dict(state)
        if state["number"] < 0:
            raise InputError("Named expects a number >= 0")

    def load_state_dict(self, state: Any) -> None:
        self.check_state_dict(state)
        self.number = state["number"]


class Stepping(Named):
    def on_step_end(self, trainer: Trainer) -> None:  # noqa: ARG002  # as in the base class
        self.log.append(f"step {self.name}")


@pytest.fixture(autouse=True)
def log() -> list[str]:
    Named.log = []
    return Named.log


class TestCallbacks:
    def test_hooks_run_in_order_and_those_of_runs_last_callbacks_at_the_end(
        self, log: list[str]
    ) -> None:
        callbacks = Callbacks(
            [Named("z", last=True), Named("b"), Named("y", last=True), Named("a")]
        )
        callbacks.call("on_epoch_end", make_trainer())
        assert log == ["b", "a", "z", "y"]
        log.clear()
        callbacks.close()
        assert log == ["close b", "close a", "close z", "close y"]

    def test_step_hooks_run_only_for_callbacks_that_override_them(self, log: list[str]) -> None:
        callbacks = [Stepping("c", last=True), Named("a"), Stepping("b")]
        Callbacks(callbacks).step_end(make_trainer())
        assert log == ["step b", "step c"]

    def test_callbacks_are_named_by_class_and_number(self) -> None:
        callbacks = [Named("a"), Stepping("b"), Named("c"), Named("d")]
        assert list(Callbacks(callbacks).named) == ["Named", "Stepping", "Named-2", "Named-3"]
        assert list(Callbacks(callbacks).named.values()) == callbacks

    def test_callbacks_return_and_load_the_state_of_each(self) -> None:
        ours, theirs = ([Named("a"), CSVLog("x"), Named("b")] for _ in range(2))
        first, second = Callbacks(ours), Callbacks(theirs)
        vars(ours[0]).update(number=1)
        vars(ours[2]).update(number=2)
        state = first.state_dict()
        assert state == {"Named": {"number": 1}, "CSVLog": {}, "Named-2": {"number": 2}}
        second.check_state_dict(state)
        assert second.state_dict()["Named"] == {"number": 0}
        second.load_state_dict(state)
        assert second.state_dict() == state

    def test_a_callback_without_a_stored_state_keeps_its_own(self) -> None:
        callbacks = Callbacks([named := Named("a")])
        named.number = 3
        callbacks.load_state_dict({"Gone": {"number": 7}})
        assert named.number == 3

    def test_one_invalid_state_changes_no_callback(self) -> None:
        callbacks = Callbacks([named := Named("a"), Named("b")])
        with pytest.raises(InputError, match="Named expects a number >= 0"):
            callbacks.load_state_dict({"Named": {"number": 1}, "Named-2": {"number": -1}})
        assert named.number == 0

    def test_callbacks_rejects_items_that_are_not_callback_objects(self) -> None:
        with pytest.raises(
            InputError, match=r"got <class '.*PrintLoss'>: write PrintLoss\(\.\.\.\)$"
        ):
            Callbacks([PrintLoss])  # type: ignore[list-item]
        with pytest.raises(InputError, match=r"^fit expects callbacks, got 3$"):
            Callbacks([3])  # type: ignore[list-item]
