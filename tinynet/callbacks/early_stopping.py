"""Early stopping: ends training when a monitored validation metric stops improving."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, final

import numpy as np

from tinynet.monitor import Monitor
from tinynet.saving.state import State, check_arrays, check_keys
from tinynet.training.callback import Callback
from tinynet.validation import whole_number

if TYPE_CHECKING:
    from tinynet.training.trainer import Trainer


@final
class EarlyStopping(Callback):
    """Stops after `patience` epochs without improvement, and restores the best weights.

    `monitor` is the name of a metric or a `Monitor`, which defines an improvement. The best weights
    are restored at the end of fit, also if it was not stopped or ended by an error or Ctrl-C; a
    next fit with an EarlyStopping then continues from the last weights.

    Raises:
        InputError: patience is below 1; at the start of fit, there is no such metric.

    Source: Prechelt, "Early Stopping - but when?", Neural Networks: Tricks of the Trade, 1998.
    """

    def __init__(self, monitor: str | Monitor = "validation_loss", *, patience: int = 5) -> None:
        self.monitor = monitor if isinstance(monitor, Monitor) else Monitor(monitor)
        self.patience = whole_number("EarlyStopping", "patience", patience)
        self.best_epoch = 0
        self._best: State = {}
        self._last: State = {}  # the weights at an interrupt
        self._resumed = self._ended = False

    def on_fit_start(self, trainer: Trainer) -> None:
        """Starts again, or continues as the resumed run would have."""
        self.monitor.check(trainer.higher_is_better)
        if not self._resumed:
            self.monitor.reset()
            self.best_epoch, self._best, self._last = 0, {}, {}
        if self._last:
            trainer.model.load_state_dict(self._last)
        if self._resumed and self.monitor.waited >= self.patience:
            trainer.stop()  # the run had stopped before it was resumed
        self._last = {}
        self._ended = False

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Keeps the weights of a better epoch, or stops if there was none for too long."""
        if self.monitor.improves(trainer.last_metrics):
            self.best_epoch = trainer.epoch
            self._best = deepcopy(trainer.model.state_dict())
        elif self.monitor.waited >= self.patience:
            trainer.stop()

    def on_fit_end(self, trainer: Trainer) -> None:
        """Restores the best weights."""
        self._ended = True
        if self._best:
            trainer.model.load_state_dict(self._best)

    def on_exception(self, trainer: Trainer) -> None:
        """Restores the best weights, and keeps the last ones for a fit that continues."""
        if not self._ended:
            self._last = deepcopy(trainer.model.state_dict())
        self.on_fit_end(trainer)

    def close(self) -> None:
        """Ends the run: another one starts again, unless it is given this one's state."""
        self._resumed = False

    def state_dict(self) -> State:
        """The state of the monitor, the best epoch and its weights, and those at an interrupt."""
        return {
            "monitor": self.monitor.state_dict(),
            "best_epoch": self.best_epoch,
            "best": self._best,
            "last": self._last,
        }

    def check_state_dict(self, state: Any) -> None:
        """Raises InputError unless the state is that of an EarlyStopping."""
        check_keys("EarlyStopping", state, ("monitor", "best_epoch", "best", "last"))
        self.monitor.check_state_dict(state["monitor"])
        whole_number("EarlyStopping", "best_epoch", state["best_epoch"], at_least=0)
        for weights in (state["best"], state["last"]):
            arrays = weights if isinstance(weights, dict) else {}
            check_arrays("EarlyStopping", {n: np.array(a) for n, a in arrays.items()}, weights)

    def load_state_dict(self, state: Any) -> None:
        """Continues from a state."""
        self.check_state_dict(state)
        self.monitor.load_state_dict(state["monitor"])
        self.best_epoch, self._best, self._last = (state[n] for n in ("best_epoch", "best", "last"))
        self._resumed = True
