"""To watch a figure is to remember its best value and for how many epochs none was better."""

import math
from collections.abc import Mapping

from tinynet.arguments import InputError, finite_number, whole_number
from tinynet.state import Restore, State, demand_keys


class Watch:
    """The best value so far of one figure of an epoch, such as `validation_loss`.

    Of figures that end in loss or error lower ones are better, of all others higher ones, unless
    `higher_is_better` says so. A value counts as better by more than `min_delta`. NaN never does.

    Raises:
        InputError: `figure` is no text or `min_delta` negative; later, where no such figure is.

    >>> watch = Watch("accuracy")
    >>> [watch.improves({"accuracy": value}) for value in (0.5, 0.4, 0.7)]
    [True, False, True]
    >>> watch.best, watch.waited
    (0.7, 0)
    """

    def __init__(
        self, figure: str, *, higher_is_better: bool | None = None, min_delta: float = 0.0
    ) -> None:
        if not isinstance(figure, str):
            raise InputError(f"Watch expects the name of a figure, got {figure!r}")
        if higher_is_better is None:
            higher_is_better = not figure.endswith(("loss", "error"))
        self.figure = figure
        self.higher_is_better = higher_is_better
        self.min_delta = finite_number("Watch", "min_delta", min_delta, at_least=0)
        self.forget()

    def forget(self) -> None:
        """Starts anew."""
        self.best: float | None = None
        self.waited = 0

    def improves(self, figures: Mapping[str, float]) -> bool:
        """Whether the figure is now better than ever; if so, it is the best from here on."""
        demand_figure(self.figure, figures)
        value = figures[self.figure]
        gain = value - (-math.inf if self.best is None else self.best)
        if not self.higher_is_better:
            gain = (math.inf if self.best is None else self.best) - value
        if gain > self.min_delta:
            self.best, self.waited = float(value), 0
            return True
        self.waited += 1
        return False

    def state(self) -> State:
        """The best value and how long ago it came."""
        return {"best": self.best, "waited": self.waited}

    def restoring(self, state: object) -> Restore:
        """Validates a `state` and returns what takes it over."""
        demand_keys("Watch", state, ("best", "waited"))
        assert isinstance(state, dict)
        best, waited = state["best"], whole_number("Watch", "waited", state["waited"], at_least=0)
        infinite = isinstance(best, float) and math.isinf(best)
        if best is not None and not infinite:
            best = finite_number("Watch", "best", best)

        def restore() -> None:
            self.best, self.waited = best, waited

        return restore


def demand_figure(figure: str, figures: Mapping[str, float]) -> None:
    """Refuses to watch what is not there."""
    if figure not in figures:
        mend = "; give validation data to fit" if figure.startswith("validation_") else ""
        raise InputError(
            f"watching {figure!r} expects one of the figures {', '.join(figures)}{mend}"
        )
