import os
import pty
import re
import subprocess
import sys
import termios
from types import SimpleNamespace
from typing import Any

import pytest
from resume_run import make_data, make_trainer

from tinynet import SGD, Dense, InputError, MeanSquaredError, SoftmaxCrossEntropy, Trainer
from tinynet.callbacks import Callback, ProgressBar

X, Y = make_data()


def trainer_of(metrics: Any = ()) -> Trainer:
    model = Dense(4, 3, rng=0)
    return Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1), metrics=metrics)


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, trainer: Trainer) -> None:
        if trainer.step == self.step:
            trainer.stop()


class TestLines:
    def test_lines_have_the_metrics_of_the_epoch(self, capsys: pytest.CaptureFixture[str]) -> None:
        trainer = make_trainer()
        trainer.fit(X, Y, epochs=10, validation=(X, Y), callbacks=[ProgressBar(every=4)])
        columns = trainer.history.epochs
        expected = ""
        for epoch in (4, 8, 10):
            expected += f"epoch {epoch:2}/10"
            for name, column in columns.items():
                value = column[epoch - 1]
                if name.endswith("accuracy"):
                    expected += f"  {name.replace('_', ' ')} {100 * value:6.2f}%"
                elif name != "learning_rate":
                    expected += f"  {name.replace('_', ' ')} {value:.4f}"
            expected += "\n"
        printed = capsys.readouterr()
        assert printed.out == expected
        assert re.match(r"epoch  4/10  loss 1\.\d{4}  accuracy  \d\d\.\d\d%  precision 0", expected)
        assert "  validation loss " in expected
        assert printed.err == ""

    @pytest.mark.parametrize(
        ("every", "stop", "epochs"),
        [
            (1, 99, [1, 2, 3, 4, 5]),
            (2, 99, [2, 4, 5]),
            (9, 99, [5]),
            (9, 6, [3]),  # stopped in the last step of an epoch
            (9, 7, [3]),  # and in the first step of the next
            (3, 7, [3]),
            (1, 1, []),
        ],
    )
    def test_lines_are_printed_for_every_nth_and_the_last_epoch(
        self, capsys: pytest.CaptureFixture[str], every: int, stop: int, epochs: list[int]
    ) -> None:
        callbacks = [ProgressBar(every=every), StopAt(stop)]
        trainer_of().fit(X, Y, epochs=5, batch_size=25, callbacks=callbacks)
        lines = capsys.readouterr().out.splitlines()
        assert [line[:9] for line in lines] == [f"epoch {epoch}/5" for epoch in epochs]

    def test_no_lines_are_printed_for_epochs_of_an_earlier_fit(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        trainer, bar = trainer_of(), ProgressBar(every=2)
        trainer.fit(X, Y, epochs=3, callbacks=[bar])
        assert len(capsys.readouterr().out.splitlines()) == 2
        trainer.fit(X, Y, epochs=3, callbacks=[bar])
        trainer.fit(X, Y, epochs=3, callbacks=[ProgressBar(every=2)])
        assert capsys.readouterr().out == ""

    def test_equal_runs_print_equal_lines(self, capsys: pytest.CaptureFixture[str]) -> None:
        for _ in range(2):
            make_trainer().fit(X, Y, epochs=2, callbacks=[ProgressBar()])
        lines = capsys.readouterr().out.splitlines()
        assert lines[:2] == lines[2:]


def test_progress_bar_rejects_every_below_1() -> None:
    with pytest.raises(InputError, match="ProgressBar expects every to be a whole number >= 1"):
        ProgressBar(every=0)


RUN = """
import time
import numpy as np
from tinynet import SGD, Dense, MeanSquaredError, Trainer
from tinynet.callbacks import Callback, ProgressBar

model = Dense(2, 1, rng=0)
trainer = Trainer(model, MeanSquaredError(), SGD(model.parameters(), 0.1))
x, y = np.ones((60, 2), np.float32), np.ones((60, 1), np.float32)

class Break(Callback):
    def on_epoch_end(self, trainer):
        if trainer.epoch == 3:
            raise RuntimeError("broken")

class Pause(Callback):
    def on_step_end(self, trainer):
        time.sleep(0.11 * (trainer.step == 45))  # longer than the least time between two bars

bar = ProgressBar(every=2)
trainer.fit(x, y, epochs=1, batch_size=2)
try:
    trainer.fit(x, y, epochs=4, batch_size=2, callbacks=[bar, Pause(), Break()])
except RuntimeError as error:
    print(error, bar._bar)
"""


def on_a_terminal(code: str) -> tuple[str, int]:
    """The output of a program on a terminal, and its exit code."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    with subprocess.Popen([sys.executable, "-c", code], stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while chunk := read(ours):
            shown += chunk
    os.close(ours)
    return shown.decode(), process.returncode


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return b""


class TestOnATerminal:
    def test_a_terminal_shows_a_bar_of_each_epoch_and_removes_it(self) -> None:
        shown, code = on_a_terminal(RUN)
        assert code == 0
        assert re.search(r"\repoch 2/4:   0%\|.*\| 0/30 \[", shown)
        assert re.search(r"\repoch 2/4: .*\| [1-9]\d?/30 \[", shown)
        assert re.search(r"\repoch 3/4:   0%\|.*\| 0/30 \[", shown)
        assert shown.rindex("broken None") > shown.rindex("/30 [")
        assert re.search(r"\r *\r?broken None\r\n$", shown)
        assert re.search(r"\repoch 2/4  loss \d\.\d{4}\r\n", shown)
        assert "step/s]" in shown

    def test_the_bar_advances_with_each_step(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bars = []

        class Bar:
            total = initial = 0

            def __init__(self, **settings: Any) -> None:
                self.settings, self.n = settings, settings["initial"]
                self.starts: list[int] = []
                self.texts: list[str] = []
                self.lines, self.closed = [""], 0
                bars.append(self)

            def reset(self, total: int) -> None:
                self.total, self.n = total, self.initial

            def set_description(self, text: str, *, refresh: bool) -> None:
                self.texts.append(text)
                assert not refresh

            def refresh(self) -> None:
                self.starts.append(self.n)

            def update(self) -> None:
                self.n += 1

            def write(self, line: str) -> None:
                self.lines.append(line)

            def close(self) -> None:
                self.closed += 1

        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        monkeypatch.setattr("tqdm.auto.tqdm", Bar)
        trainer, progress = trainer_of(), ProgressBar()
        trainer.fit(X, Y, epochs=3, batch_size=10, callbacks=[StopAt(7)])  # 2 of 5 in epoch 2
        trainer.fit(X, Y, epochs=3, batch_size=10, callbacks=[progress])
        (bar,) = bars
        settings = {"total": 5, "initial": 2, "desc": "epoch 2/3", "unit": "step", "leave": False}
        assert bar.settings == settings
        assert bar.texts == ["epoch 2/3", "epoch 3/3"]
        assert (bar.total, bar.starts, bar.n) == (5, [2, 0], 5)
        assert (len(bar.lines), bar.closed) == (3, 1)
        progress.close()
        assert bar.closed == 1

    def test_a_fit_with_nothing_left_to_train_opens_no_bar(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trainer = trainer_of()
        trainer.fit(X, Y, epochs=1)
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        monkeypatch.setattr("tqdm.auto.tqdm", None)
        trainer.fit(X, Y, epochs=1, callbacks=[ProgressBar()])

    def test_the_kernel_of_a_notebook_gets_a_bar_though_it_is_no_terminal(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        kernel = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
        console = SimpleNamespace(get_ipython=SimpleNamespace)
        for ipython, shown in ((kernel, True), (console, False)):
            monkeypatch.setitem(sys.modules, "IPython", ipython)
            trainer_of().fit(X, Y, epochs=1, callbacks=[ProgressBar()])
            assert ("epoch 1/1:" in capsys.readouterr().err) is shown

    def test_a_terminal_without_tqdm_names_the_extra_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)
        with pytest.raises(ImportError) as error:
            trainer_of().fit(X, Y, epochs=1, callbacks=[ProgressBar()])
        assert (
            str(error.value) == "ProgressBar needs tqdm: in a clone, pip install -e '.[examples]'"
        )


def test_tqdm_is_not_needed_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    trainer_of().fit(X, Y, epochs=2, callbacks=[ProgressBar(every=2)])
    printed = capsys.readouterr()
    assert re.fullmatch(r"epoch 2/2  loss \d\.\d{4}\n", printed.out)
    assert printed.err == ""


def test_a_trainer_without_metrics_prints_the_loss(capsys: pytest.CaptureFixture[str]) -> None:
    model = Dense(4, 1, rng=0)
    trainer = Trainer(model, MeanSquaredError(), SGD(model.parameters(), 0.01))
    trainer.fit(X, X[:, :1], epochs=1, callbacks=[ProgressBar()])
    loss = trainer.history.last["loss"]
    assert capsys.readouterr().out == f"epoch 1/1  loss {loss:.4f}\n"
