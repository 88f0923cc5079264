"""Progress bar: a bar of the steps of an epoch, and a line of metrics for each epoch."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, NoReturn, final

from tinynet.training.callback import Callback
from tinynet.validation import whole_number

if TYPE_CHECKING:
    from tqdm.auto import tqdm

    from tinynet.training.trainer import Trainer


@final
class ProgressBar(Callback):
    """Shows a bar of the current epoch in a terminal or notebook, and prints metrics on stdout.

    It prints a line for every `every`-th epoch and for the last one, without any times, so that
    equal runs print equal lines. Where stderr is neither a terminal nor a notebook, there is no
    bar; in a notebook with ipywidgets the bar is a widget.

    Raises:
        InputError: `every` is below 1.
        ImportError: a bar is to be shown and tqdm is not installed.
    """

    def __init__(self, *, every: int = 1) -> None:
        self.every = whole_number("ProgressBar", "every", every)
        self._bar: tqdm[NoReturn] | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        """Opens the bar, if there are epochs to train."""
        self._shown = trainer.epoch  # the last epoch that needs no line
        if trainer.epoch >= trainer.epochs or not (sys.stderr.isatty() or _in_notebook()):
            return
        try:
            with warnings.catch_warnings():  # without ipywidgets, a bar of text does
                warnings.simplefilter("ignore")
                from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError(
                "ProgressBar needs tqdm: in a clone, pip install -e '.[examples]'"
            ) from error
        self._bar = tqdm(
            total=trainer.steps_per_epoch,
            initial=trainer.step_of_epoch,
            desc=_name(trainer),
            unit="step",
            leave=False,
        )

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Sets the bar to where the epoch starts or continues."""
        if self._bar is not None:
            self._bar.initial = 0
            self._bar.set_description(_name(trainer), refresh=False)
            self._bar.reset(trainer.steps_per_epoch)
            self._bar.initial = self._bar.n = trainer.step_of_epoch  # its speed: without them
            self._bar.refresh()

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


def _name(trainer: Trainer) -> str:
    """The epoch that is trained, counted from 1."""
    return f"epoch {trainer.epoch + 1}/{trainer.epochs}"


def _in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")
