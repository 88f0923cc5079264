import os
import pty
import re
import subprocess
import sys
import termios
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
    def test_have_the_figures_of_the_epoch(self, capsys: pytest.CaptureFixture[str]) -> None:
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
            (9, 6, [3]),  # stopped with the last step of an epoch
            (9, 7, [3]),  # and with the first one of another
            (3, 7, [3]),
            (1, 1, []),
        ],
    )
    def test_come_for_every_few_epochs_and_for_the_last(
        self, capsys: pytest.CaptureFixture[str], every: int, stop: int, epochs: list[int]
    ) -> None:
        callbacks = [ProgressBar(every=every), StopAt(stop)]
        trainer_of().fit(X, Y, epochs=5, batch_size=25, callbacks=callbacks)
        lines = capsys.readouterr().out.splitlines()
        assert [line[:9] for line in lines] == [f"epoch {epoch}/5" for epoch in epochs]

    def test_do_not_come_again_for_epochs_of_an_earlier_fit(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        trainer, bar = trainer_of(), ProgressBar(every=2)
        trainer.fit(X, Y, epochs=3, callbacks=[bar])
        assert len(capsys.readouterr().out.splitlines()) == 2
        trainer.fit(X, Y, epochs=3, callbacks=[bar])
        trainer.fit(X, Y, epochs=3, callbacks=[ProgressBar(every=2)])
        assert capsys.readouterr().out == ""

    def test_are_the_same_for_the_same_figures(self, capsys: pytest.CaptureFixture[str]) -> None:
        for _ in range(2):
            make_trainer().fit(X, Y, epochs=2, callbacks=[ProgressBar()])
        lines = capsys.readouterr().out.splitlines()
        assert lines[:2] == lines[2:]


def test_a_number_below_1_is_refused() -> None:
    with pytest.raises(InputError, match="ProgressBar expects every to be a whole number >= 1"):
        ProgressBar(every=0)


RUN = """
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

bar = ProgressBar(every=2)
trainer.fit(x, y, epochs=1, batch_size=2)
try:
    trainer.fit(x, y, epochs=4, batch_size=2, callbacks=[bar, Break()])
except RuntimeError as error:
    print(error, bar._bar)
"""


def on_a_terminal(code: str) -> tuple[str, int]:
    """What a program shows on a terminal, and how it ends."""
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
    def test_there_is_a_bar_of_all_steps_and_it_is_taken_away(self) -> None:
        shown, code = on_a_terminal(RUN)
        assert code == 0
        # It begins behind the 30 steps that were done, and each step moves it.
        assert re.search(r"\r 25%\|.*\| 30/120 \[", shown)
        assert shown.rindex("broken None") > shown.rindex("/120 [")
        assert re.search(r"\r *\r?broken None\r\n$", shown)
        assert re.search(r"\repoch 2/4  loss \d\.\d{4}\r\n", shown)
        assert "step/s]" in shown

    def test_each_step_moves_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bars = []

        class Bar:
            def __init__(self, **settings: Any) -> None:
                self.settings, self.moves, self.lines, self.closed = settings, 0, [""], 0
                bars.append(self)

            def update(self) -> None:
                self.moves += 1

            def write(self, line: str) -> None:
                self.lines.append(line)

            def close(self) -> None:
                self.closed += 1

        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        monkeypatch.setattr("tqdm.tqdm", Bar)
        trainer, progress = trainer_of(), ProgressBar()
        trainer.fit(X, Y, epochs=1, batch_size=25)
        trainer.fit(X, Y, epochs=3, batch_size=25, callbacks=[progress])
        (bar,) = bars
        assert bar.settings == {"total": 6, "initial": 2, "unit": "step", "leave": False}
        assert (bar.moves, len(bar.lines), bar.closed) == (4, 3, 1)
        progress.close()
        assert bar.closed == 1

    def test_without_tqdm_it_says_what_to_install(self) -> None:
        shown, code = on_a_terminal("import sys; sys.modules['tqdm'] = None\n" + RUN)
        assert code == 1
        last = shown.splitlines()[-1]
        assert last == "ImportError: ProgressBar needs tqdm: pip install 'tinynet-numpy[examples]'"


def test_where_there_is_no_terminal_tqdm_is_not_needed() -> None:
    code = "import sys; sys.modules['tqdm'] = None\n" + RUN
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"epoch 2/4  loss \d\.\d{4}\nbroken None\n", done.stdout)
    assert done.stderr == ""


def test_a_loss_alone_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    model = Dense(4, 1, rng=0)
    trainer = Trainer(model, MeanSquaredError(), SGD(model.parameters(), 0.01))
    trainer.fit(X, X[:, :1], epochs=1, callbacks=[ProgressBar()])
    loss = trainer.history.last["loss"]
    assert capsys.readouterr().out == f"epoch 1/1  loss {loss:.4f}\n"
