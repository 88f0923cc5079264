"""In a real kernel: pictures are drawn once, tables are shown, and Ctrl-C leaves a run to continue.

The kernel is that of a notebook (ipykernel), run by nbclient as by `jupyter execute`.
"""

import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import v4

CELLS = {
    "start": """
import os, sys
sys.modules["ipywidgets"] = None  # the bar is then text, which can be read below
import numpy as np
from tinynet import SGD, Dense, MeanSquaredError, Trainer, check_gradients, plots, preflight
from tinynet.callbacks import Callback, ProgressBar

class Report(Callback):
    def on_step_end(self, trainer):
        if trainer.step == 5 and not self.reported:
            self.reported = True
            print(f"step 5 of process {os.getpid()}", flush=True)
            while True:
                pass

    reported = False

x = np.linspace(-1, 1, 40, dtype=np.float32)[:, None]
model = Dense(1, 1, rng=0)
trainer = Trainer(model, MeanSquaredError(), SGD(model.parameters(), 0.1))
callbacks = [ProgressBar(), Report()]
""",
    "fit": "history = trainer.fit(x, 2 * x, epochs=4, batch_size=10, callbacks=callbacks)",
    "where": "trainer.epoch, trainer.step",
    "same bits": """
other = Dense(1, 1, rng=0)
Trainer(other, MeanSquaredError(), SGD(other.parameters(), 0.1)).fit(
    x, 2 * x, epochs=4, batch_size=10
)
bool((other.weight.value == model.weight.value).all())
""",
    "history": "history",
    "report": "check_gradients(Dense(2, 2, rng=0), np.ones((3, 2)))",
    "findings": "preflight(trainer, 1000 * x, x)",
    "figure": "plots.learning_curves(history)",
    "figure and pyplot": "import matplotlib.pyplot as plt\nplots.learning_curves(history)",
    "figure of pyplot beside ours": "plots.learning_curves(history)\nplt.plot([1, 2]);",
    "figure that is not shown": "figure = plots.learning_curves(history)",
}


class Interrupting(NotebookClient):
    """Presses Ctrl-C as soon as a cell prints a process to interrupt, as the stop button does."""

    def process_message(self, msg: Any, *args: Any) -> Any:
        text = msg["content"].get("text", "")
        if msg["msg_type"] == "stream" and "of process" in text:
            os.kill(int(text.split()[-1]), signal.SIGINT)
        return super().process_message(msg, *args)


class Notebook:
    """Runs cells by their names."""

    def __init__(self, client: NotebookClient) -> None:
        self.client = client

    def run(self, name: str) -> list[Any]:
        """The outputs of a cell."""
        cells = self.client.nb.cells
        cells.append(v4.new_code_cell(CELLS[name]))  # type: ignore[no-untyped-call]
        self.client.execute_cell(cells[-1], len(cells) - 1)
        return list(cells[-1].outputs)


@pytest.fixture(scope="module")
def notebook() -> Iterator[Notebook]:
    book = v4.new_notebook()  # type: ignore[no-untyped-call]
    client = Interrupting(book, timeout=60, kernel_name="python3")
    with client.setup_kernel():
        yield Notebook(client)


def stderr_of(outputs: list[Any]) -> str:
    return "".join(o["text"] for o in outputs if o.get("name") == "stderr")


def test_a_run_stopped_within_an_epoch_continues_in_the_next_cell_and_pictures_are_drawn_once(
    notebook: Notebook,
) -> None:
    assert notebook.run("start") == []

    with pytest.raises(CellExecutionError, match="fit was interrupted in epoch 2 of 4, after 1 of"):
        notebook.run("fit")
    stopped = notebook.client.nb.cells[-1].outputs
    assert stopped[-1]["ename"] == "KeyboardInterrupt"
    assert "restart_epoch=True" in stopped[-1]["traceback"][-1]
    assert "epoch 1/4:" in stderr_of(stopped)
    assert [o["data"]["text/plain"] for o in notebook.run("where")] == ["(1, 5)"]

    outputs = notebook.run("fit")
    assert re.search(r"epoch 2/4: +25%", stderr_of(outputs))
    assert not re.search(r"-\d+\.", stderr_of(outputs))  # the speed of a bar that is set back
    (lines,) = (o["text"].splitlines() for o in outputs if o.get("name") == "stdout")
    assert [line[:9] for line in lines] == ["epoch 2/4", "epoch 3/4", "epoch 4/4"]
    assert [o["data"]["text/plain"] for o in notebook.run("where")] == ["(4, 16)"]
    assert [o["data"]["text/plain"] for o in notebook.run("same bits")] == ["True"]

    (again,) = notebook.run("fit")  # a cell that is run twice
    assert again["text"].startswith("fit trained nothing: epochs=4 is the total, and 4 are done")

    for cell, words in (
        ("history", "<th>loss</th>"),
        ("report", "<th>gradient of</th>"),
        ("findings", "input range"),
    ):
        (shown,) = notebook.run(cell)
        assert shown["data"]["text/html"].startswith("<table>")
        assert words in shown["data"]["text/html"]

    for cell, pictures in (
        ("figure", 1),
        ("figure and pyplot", 1),
        ("figure that is not shown", 0),
        ("figure of pyplot beside ours", 1),
    ):
        outputs = notebook.run(cell)
        assert [list(o["data"])[-1] for o in outputs] == ["image/png"] * pictures, cell
