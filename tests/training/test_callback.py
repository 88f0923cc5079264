from typing import Any

import pytest
from resume_run import make_data, make_trainer

from tinynet import InputError, Trainer
from tinynet.callbacks import CSVLog
from tinynet.training.callback import Callback, Callbacks

X, Y = make_data()
HOOKS = ["on_fit_start", "on_epoch_start", "on_step_end", "on_epoch_end", "on_fit_end"]


class PrintLoss(Callback):
    def on_epoch_end(self, trainer: Trainer) -> None:
        print(trainer.epoch, trainer.history.last["loss"])


def test_one_of_your_own_takes_three_lines(capsys: pytest.CaptureFixture[str]) -> None:
    history = make_trainer().fit(X, Y, epochs=2, callbacks=[PrintLoss()])
    losses = history.epochs["loss"]
    assert capsys.readouterr().out == f"1 {losses[0]}\n2 {losses[1]}\n"


def test_hooks_do_nothing_of_their_own() -> None:
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
    """Writes down what it is told, and remembers a number."""

    told: list[str]

    def __init__(self, name: str, *, last: bool = False) -> None:
        self.name, self.number = name, 0
        self.runs_last = last

    def on_epoch_end(self, trainer: Trainer) -> None:  # noqa: ARG002
        self.told.append(self.name)

    def close(self) -> None:
        self.told.append(f"close {self.name}")

    def state(self) -> dict[str, Any]:
        return {"number": self.number}

    def restoring(self, state: Any) -> Any:
        if state["number"] < 0:
            raise InputError("Named expects a number")
        return lambda: vars(self).update(number=state["number"])


class Stepping(Named):
    def on_step_end(self, trainer: Trainer) -> None:  # noqa: ARG002
        self.told.append(f"step {self.name}")


@pytest.fixture(autouse=True)
def told() -> list[str]:
    Named.told = []
    return Named.told


class TestCallbacks:
    def test_are_called_in_their_order_and_some_behind_all_others(self, told: list[str]) -> None:
        callbacks = Callbacks(
            [Named("z", last=True), Named("b"), Named("y", last=True), Named("a")]
        )
        callbacks.call("on_epoch_end", make_trainer())
        assert told == ["b", "a", "z", "y"]
        told.clear()
        callbacks.close()
        assert told == ["close b", "close a", "close z", "close y"]

    def test_are_called_at_each_step_where_they_do_something_then(self, told: list[str]) -> None:
        callbacks = [Stepping("c", last=True), Named("a"), Stepping("b")]
        Callbacks(callbacks).step_end(make_trainer())
        assert told == ["step b", "step c"]

    def test_are_named_by_their_classes_and_counted(self) -> None:
        callbacks = [Named("a"), Stepping("b"), Named("c"), Named("d")]
        assert list(Callbacks(callbacks).named) == ["Named", "Stepping", "Named-2", "Named-3"]
        assert list(Callbacks(callbacks).named.values()) == callbacks

    def test_give_what_each_of_them_remembers_and_take_it_back(self) -> None:
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

    def test_leave_what_is_of_others_and_keep_what_nobody_has(self) -> None:
        callbacks = Callbacks([named := Named("a")])
        named.number = 3
        callbacks.load_state_dict({"Gone": {"number": 7}})
        assert named.number == 3

    def test_refuse_as_a_whole(self) -> None:
        callbacks = Callbacks([named := Named("a"), Named("b")])
        with pytest.raises(InputError, match="Named expects a number"):
            callbacks.check_state_dict({"Named": {"number": 1}, "Named-2": {"number": -1}})
        assert named.number == 0

    def test_are_callbacks_and_made(self) -> None:
        with pytest.raises(
            InputError, match=r"got <class '.*PrintLoss'>: write PrintLoss\(\.\.\.\)$"
        ):
            Callbacks([PrintLoss])  # type: ignore[list-item]
        with pytest.raises(InputError, match=r"^fit expects callbacks, got 3$"):
            Callbacks([3])  # type: ignore[list-item]
