"""To watch a metric is to remember its best value and for how many epochs none was better."""

import math
from collections.abc import Mapping
from typing import Any

from tinynet.errors import InputError
from tinynet.saving.state import State, check_keys
from tinynet.validation import finite_number, whole_number


class Monitor:
    """The best value so far of one figure of an epoch, such as `validation_loss`.

    Of figures that end in loss or error lower ones are better, of all others higher ones, unless
    `higher_is_better` says so. A value counts as better by more than `min_delta`. NaN never does.

    Raises:
        InputError: `figure` is no text or `min_delta` negative; later, where no such metric is.

    >>> watch = Monitor("accuracy")
    >>> [watch.improves({"accuracy": value}) for value in (0.5, 0.4, 0.7)]
    [True, False, True]
    >>> watch.best, watch.waited
    (0.7, 0)
    """

    def __init__(
        self, metric: str, *, higher_is_better: bool | None = None, min_delta: float = 0.0
    ) -> None:
        if not isinstance(metric, str):
            raise InputError(f"Monitor expects the name of a metric, got {metric!r}")
        if higher_is_better is None:
            higher_is_better = not metric.endswith(("loss", "error"))
        self.metric = metric
        self.higher_is_better = higher_is_better
        self.min_delta = finite_number("Monitor", "min_delta", min_delta, at_least=0)
        self.forget()

    def forget(self) -> None:
        """Starts anew."""
        self.best: float | None = None
        self.waited = 0

    def improves(self, figures: Mapping[str, float]) -> bool:
        """Whether the metric is now better than ever; if so, it is the best from here on."""
        check_monitored(self.metric, figures)
        value = figures[self.metric]
        gain = value - (-math.inf if self.best is None else self.best)
        if not self.higher_is_better:
            gain = (math.inf if self.best is None else self.best) - value
        if gain > self.min_delta:
            self.best, self.waited = float(value), 0
            return True
        self.waited += 1
        return False

    def state_dict(self) -> State:
        """The best value and the number of epochs since."""
        return {"best": self.best, "waited": self.waited}

    def check_state_dict(self, state: Any) -> None:
        """Raises InputError unless the state is that of a monitor."""
        check_keys("Monitor", state, ("best", "waited"))
        whole_number("Monitor", "waited", state["waited"], at_least=0)
        best = state["best"]
        if best is not None and not (isinstance(best, float) and math.isinf(best)):
            finite_number("Monitor", "best", best)

    def load_state_dict(self, state: Any) -> None:
        """Continues from a state."""
        self.check_state_dict(state)
        self.best = None if state["best"] is None else float(state["best"])
        self.waited = int(state["waited"])


def check_monitored(metric: str, figures: Mapping[str, float]) -> None:
    """Refuses to watch what is not there."""
    if metric not in figures:
        hint = "; give validation data to fit" if metric.startswith("validation_") else ""
        raise InputError(
            f"watching {metric!r} expects one of the figures {', '.join(figures)}{hint}"
        )
