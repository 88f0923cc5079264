"""A log of the figures as a CSV file that grows with each epoch."""

from __future__ import annotations

import math
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, final

from tinynet.training.callback import Callback

if TYPE_CHECKING:
    from tinynet.training.trainer import Trainer


@final
class CSVLog(Callback):
    """Writes a row for each epoch: its number and its figures, every digit of them.

    A run that is resumed goes on in its own file, cut back to the epoch that it is resumed from.
    A file of another run is renamed, log.csv to log.1.csv, and nothing of it is lost.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def on_fit_start(self, trainer: Trainer) -> None:
        """Writes the header, and the epochs that are done."""
        figures = trainer.history.epochs
        names = [n for n in trainer.metric_names if n not in figures]
        self._columns = [*figures, *names]
        rows = range(trainer.epoch)
        head = ",".join(["epoch", *self._columns]) + "\n"
        text = head + "".join(self._row(trainer, row) for row in rows)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            there = self.path.read_text(encoding="utf-8", errors="replace")
            # What was cut off while it was written is a beginning of the text.
            if not text.startswith(there) and not (rows and there.startswith(text)):
                self.path.rename(_free_name(self.path))
        self.path.write_text(text, encoding="utf-8")

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Writes a row."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(self._row(trainer, trainer.epoch - 1))

    def _row(self, trainer: Trainer, row: int) -> str:
        epochs = trainer.history.epochs
        # A figure that comes with this fit was not measured before it.
        figures = (epochs[name][row] if name in epochs else math.nan for name in self._columns)
        return ",".join([str(row + 1), *map(repr, figures)]) + "\n"


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.stem}.{number}{path.suffix}") for number in count(1))
    return next(name for name in names if not name.exists())
