"""Progress bar: a bar of steps on a terminal, and a line of metrics for each epoch."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn, final

from tinynet.training.callback import Callback
from tinynet.validation import whole_number

if TYPE_CHECKING:
    from tqdm import tqdm

    from tinynet.training.trainer import Trainer


@final
class ProgressBar(Callback):
    """Shows a bar of all steps on stderr if that is a terminal, and prints metrics on stdout.

    It prints a line for every `every`-th epoch and for the last one, without any times, so that
    equal runs print equal lines.

    Raises:
        InputError: `every` is below 1.
        ImportError: stderr is a terminal and tqdm is not installed.
    """

    def __init__(self, *, every: int = 1) -> None:
        self.every = whole_number("ProgressBar", "every", every)
        self._bar: tqdm[NoReturn] | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        """Opens the bar if stderr is a terminal."""
        self._shown = trainer.epoch  # the last epoch that needs no line
        if not sys.stderr.isatty():
            return
        try:
            from tqdm import tqdm
        except ImportError as error:
            raise ImportError(
                "ProgressBar needs tqdm: pip install 'tinynet-numpy[examples]'"
            ) from error
        total = trainer.epochs * trainer.steps_per_epoch
        self._bar = tqdm(total=total, initial=trainer.step, unit="step", leave=False)

    def on_step_end(self, trainer: Trainer) -> None:  # noqa: ARG002  # all steps count the same
        """Advances the bar."""
        if self._bar is not None:
            self._bar.update()

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Prints a line if it is due."""
        if trainer.epoch % self.every == 0:
            self._show(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Prints the line of the last epoch if it is missing."""
        if trainer.epoch > self._shown:
            self._show(trainer)

    def close(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show(self, trainer: Trainer) -> None:
        self._shown = trainer.epoch
        line = f"epoch {trainer.epoch:{len(str(trainer.epochs))}}/{trainer.epochs}"
        for name, value in trainer.history.last.items():
            if name != "learning_rate":
                shown = f"{value:7.2%}" if name.endswith("accuracy") else f"{value:.4f}"
                line += f"  {name.replace('_', ' ')} {shown}"
        if self._bar is None:
            print(line)
        else:
            self._bar.write(line)
