"""Checkpointing: saves the training run at intervals, so that a crash loses little work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from tinynet.errors import InputError
from tinynet.monitor import Monitor
from tinynet.saving.state import State, check_keys
from tinynet.training.callback import Callback
from tinynet.validation import whole_number

if TYPE_CHECKING:
    from tinynet.training.trainer import Trainer

NAME = re.compile(r"step-(\d{10,})\.npz")
UNFINISHED = re.compile(r"\.(step-\d{10,}|best)\.npz\..+\.tmp")


@final
class Checkpoint(Callback):
    """Writes `trainer.save` files into a folder: the last `keep` ones, and the best one.

    They are named by the number of steps, step-0000000938.npz, and are written every
    `every_epochs` epochs, after the last epoch and, if set, every `every_steps` steps. With `best`,
    the name of a metric or a `Monitor`, best.npz is written after each epoch that improves it.

        newest = Checkpoint.newest("runs/digits")
        if newest:
            trainer.restore(newest)
        trainer.fit(x, y, epochs=20, callbacks=[Checkpoint("runs/digits")])

    Raises:
        InputError: a number below 1; at the start of fit, a metric that `Monitor` refuses, or the
            folder has checkpoints of later steps, which belong to another run.
        CheckpointError: a file cannot be written.
    """

    runs_last = True

    def __init__(
        self,
        folder: str | Path,
        *,
        every_epochs: int = 1,
        every_steps: int | None = None,
        keep: int = 3,
        best: str | Monitor | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.every_epochs = whole_number("Checkpoint", "every_epochs", every_epochs)
        if every_steps is not None:
            every_steps = whole_number("Checkpoint", "every_steps", every_steps)
        self.every_steps = every_steps
        self.keep = whole_number("Checkpoint", "keep", keep)
        if not (best is None or isinstance(best, str | Monitor)):
            raise InputError(
                f"Checkpoint expects best to be the name of a metric or a Monitor, got {best!r}"
            )
        self.best = Monitor(best) if isinstance(best, str) else best
        self._resumed = False

    @staticmethod
    def newest(folder: str | Path) -> Path | None:
        """The checkpoint with the most steps in a folder, or None."""
        return max(_checkpoints(Path(folder)), default=(0, None))[1]

    def on_fit_start(self, trainer: Trainer) -> None:
        """Makes the folder, and removes unfinished files of an interrupted run."""
        if self.best is not None:
            self.best.check(trainer.higher_is_better)
            if not self._resumed:
                self.best.reset()
        self._resumed = False
        self.folder.mkdir(parents=True, exist_ok=True)
        later = [path.name for step, path in _checkpoints(self.folder) if step > trainer.step]
        if later:
            raise InputError(
                f"Checkpoint expects no checkpoint beyond step {trainer.step} in {self.folder}, "
                f"got {later[0]}: restore it first, or give another folder"
            )
        for path in self.folder.iterdir():
            if UNFINISHED.fullmatch(path.name):
                path.unlink()

    def on_step_end(self, trainer: Trainer) -> None:
        """Writes a checkpoint if it is due."""
        if self.every_steps is not None and trainer.step % self.every_steps == 0:
            self._write(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Writes best.npz if the epoch is the best so far, then a checkpoint if it is due.

        In this order, a run interrupted between the two writes best.npz again.
        """
        if self.best is not None and self.best.improves(trainer.last_metrics):
            trainer.save(self.folder / "best.npz")
        is_last = trainer.stopping or trainer.epoch == trainer.epochs
        if is_last or trainer.epoch % self.every_epochs == 0:
            self._write(trainer)

    def state_dict(self) -> State:
        """The state of the monitor of the best epoch."""
        return {"best": None if self.best is None else self.best.state_dict()}

    def check_state_dict(self, state: Any) -> None:
        """Raises InputError unless the state is that of a Checkpoint."""
        check_keys("Checkpoint", state, ("best",))
        if self.best is not None and state["best"] is not None:
            self.best.check_state_dict(state["best"])

    def load_state_dict(self, state: Any) -> None:
        """Continues from a state."""
        self.check_state_dict(state)
        if self.best is not None and state["best"] is not None:
            self.best.load_state_dict(state["best"])
            self._resumed = True

    def _write(self, trainer: Trainer) -> None:
        trainer.save(self.folder / f"step-{trainer.step:010}.npz")
        for _, path in sorted(_checkpoints(self.folder))[: -self.keep]:
            path.unlink()


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    matches = ((NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return [(int(match[1]), path) for match, path in matches if match]
