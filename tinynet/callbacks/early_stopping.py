"""To stop early is to stop where a figure on held-out data gets no better any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import numpy as np

from tinynet.arguments import whole_number
from tinynet.callback import Callback
from tinynet.state import Restore, State, demand_keys, restoring_arrays
from tinynet.watch import Watch, demand_figure

if TYPE_CHECKING:
    from tinynet.trainer import Trainer


@final
class EarlyStopping(Callback):
    """Stops when `watch` was no better for `patience` epochs, and brings the best weights back.

    They come back at the end of fit, also where it ended by itself. Better is meant as in `Watch`,
    which may be given in place of a name.

    Raises:
        InputError: patience is below 1; at the start of fit, there is no such figure.

    Source: Prechelt, "Early Stopping - but when?", Neural Networks: Tricks of the Trade, 1998.
    """

    def __init__(self, watch: str | Watch = "validation_loss", *, patience: int = 5) -> None:
        self.watch = watch if isinstance(watch, Watch) else Watch(watch)
        self.patience = whole_number("EarlyStopping", "patience", patience)
        self.best_epoch = 0
        self._best: State = {}
        self._resumed = False

    def on_fit_start(self, trainer: Trainer) -> None:
        """Starts anew, or where the run that is resumed had come to."""
        demand_figure(self.watch.figure, trainer.last_figures)
        if not self._resumed:
            self.watch.forget()
            self.best_epoch, self._best = 0, {}
        elif self.watch.waited >= self.patience:
            trainer.stop()  # it had stopped before it was resumed
        self._resumed = False

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Judges the epoch."""
        if self.watch.improves(trainer.last_figures):
            self.best_epoch = trainer.epoch
            self._best = {name: np.copy(array) for name, array in trainer.model.state().items()}
        elif self.watch.waited >= self.patience:
            trainer.stop()

    def on_fit_end(self, trainer: Trainer) -> None:
        """Brings the best weights back."""
        if self._best:
            trainer.model.restoring(self._best)()

    def state(self) -> State:
        """What was best, and the weights of then."""
        return {"watch": self.watch.state(), "best_epoch": self.best_epoch, "best": self._best}

    def restoring(self, state: Any) -> Restore:
        """Validates a `state` and returns what takes it over."""
        demand_keys("EarlyStopping", state, ("watch", "best_epoch", "best"))
        watched = self.watch.restoring(state["watch"])
        best_epoch = whole_number("EarlyStopping", "best_epoch", state["best_epoch"], at_least=0)
        best = state["best"]
        arrays = best if isinstance(best, dict) else {}
        restoring_arrays("EarlyStopping", {n: np.array(a) for n, a in arrays.items()}, best)

        def restore() -> None:
            watched()
            self.best_epoch, self._best, self._resumed = best_epoch, best, True

        return restore
