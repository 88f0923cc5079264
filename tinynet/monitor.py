"""Monitor: the best value of a metric so far, and the number of epochs without improvement."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from tinynet.errors import InputError
from tinynet.saving.state import State, check_keys
from tinynet.signature import constructor_call
from tinynet.validation import finite_number, one_of, whole_number


class Monitor:
    """The best value so far of one metric of an epoch, such as `validation_loss`.

    Whether higher is better is `higher_is_better`, or else declared by the metric, see `check`; of
    the losses it is known. An improvement is a change of more than `min_delta`; NaN is none.

    Raises:
        InputError: an argument that is none of these; later, no such metric is given, or nobody
            has declared whether higher is better.

    >>> monitor = Monitor("accuracy", higher_is_better=True)
    >>> [monitor.improves({"accuracy": value}) for value in (0.5, 0.4, 0.7)]
    [True, False, True]
    >>> monitor.best, monitor.waited
    (0.7, 0)
    """

    def __init__(
        self, metric: str, *, higher_is_better: bool | None = None, min_delta: float = 0.0
    ) -> None:
        if not isinstance(metric, str):
            raise InputError(f"Monitor expects the name of a metric, got {metric!r}")
        one_of("Monitor", "higher_is_better", higher_is_better, (True, False, None))
        self.metric = metric
        is_loss = metric in ("loss", "validation_loss")
        self.higher_is_better = False if is_loss and higher_is_better is None else higher_is_better
        self._declared: bool | None = None  # by the metric
        self.min_delta = finite_number("Monitor", "min_delta", min_delta, at_least=0)
        self.reset()

    def reset(self) -> None:
        """Starts again, without a best value."""
        self.best: float | None = None
        self.waited = 0

    def check(self, higher_is_better: Mapping[str, bool | None]) -> None:
        """Takes whether higher is better from `trainer.higher_is_better`, unless it was given.

        Raises:
            InputError: the monitored metric is none of these, or None is declared for it.
        """
        self._check_name(higher_is_better)
        self._declared = higher_is_better[self.metric]
        self._direction()

    def improves(self, metrics: Mapping[str, float]) -> bool:
        """Whether the metric is better than ever before; if so, it becomes the best value."""
        self._check_name(metrics)
        value, sign = metrics[self.metric], self._direction()
        gain = sign * value - (-math.inf if self.best is None else sign * self.best)
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

    def _check_name(self, metrics: Iterable[str]) -> None:
        if self.metric not in metrics:
            names, hint = ", ".join(metrics), ""
            if self.metric.startswith("validation_") and "validation_" not in names:
                hint = "; give validation data to fit"
            raise InputError(
                f"Monitor expects one of the metrics {names}, got {self.metric!r}{hint}"
            )

    def _direction(self) -> int:
        """1 if higher is better, -1 if lower is."""
        higher = self._declared if self.higher_is_better is None else self.higher_is_better
        if higher is None:
            raise InputError(
                f"Monitor expects to know whether a higher {self.metric} is better, got no "
                f"declaration: write Monitor({self.metric!r}, higher_is_better=True) (or False), "
                "or set higher_is_better in the class of the metric"
            )
        return 1 if higher else -1

    def __repr__(self) -> str:
        return constructor_call(self) or object.__repr__(self)
