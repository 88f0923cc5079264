"""CSV log: writes the metrics of each epoch as a row of a CSV file."""

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
    """Writes a row for each epoch: its number and its metrics in full precision.

    A resumed run continues its file, cut back to the epoch from which it is resumed. A file of
    another run is renamed, log.csv to log.1.csv.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def on_fit_start(self, trainer: Trainer) -> None:
        """Writes the header and the epochs that are done."""
        columns = trainer.history.epochs
        self._columns = [*columns, *(n for n in trainer.metric_names if n not in columns)]
        rows = range(trainer.epoch)
        head = ",".join(["epoch", *self._columns]) + "\n"
        text = head + "".join(self._row(trainer, row) for row in rows)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            existing = self.path.read_text(encoding="utf-8", errors="replace")
            # A file that was interrupted while it was written is a beginning of the text.
            if not text.startswith(existing) and not (rows and existing.startswith(text)):
                self.path.rename(_free_name(self.path))
        self.path.write_text(text, encoding="utf-8")

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Writes a row."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(self._row(trainer, trainer.epoch - 1))

    def _row(self, trainer: Trainer, row: int) -> str:
        epochs = trainer.history.epochs
        # A metric that is new in this fit was not measured before.
        values = (epochs[name][row] if name in epochs else math.nan for name in self._columns)
        return ",".join([str(row + 1), *map(repr, values)]) + "\n"


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.stem}.{number}{path.suffix}") for number in count(1))
    return next(name for name in names if not name.exists())
