"""Learning rate schedules: the learning rate as a function of the step, counted from 0.

An optimizer takes one in place of a number: `SGD(parameters, Cosine(0.1, steps=9380))`. An epoch
has ceil(samples / batch size) steps.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, final

from tinynet.keywords import NamedKeywords
from tinynet.monitor import Monitor
from tinynet.saving.state import State, check_keys
from tinynet.signature import constructor_call
from tinynet.validation import finite_number, whole_number


class Schedule(NamedKeywords, ABC):
    """Base class of schedules: subclasses define `__call__` and set `peak`, the largest rate."""

    peak: float

    @abstractmethod
    def __call__(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""

    def check_metrics(self, higher_is_better: Mapping[str, bool | None]) -> None:
        """Raises InputError unless these are the metrics that `observe` needs, see `Monitor`."""

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Takes the metrics of an epoch, at its end."""

    def state_dict(self) -> State:
        """What changes during training; the arguments of the constructor are not part of it."""
        return {}

    def check_state_dict(self, state: Any) -> None:
        """Raises InputError unless the state is of this kind of schedule."""
        check_keys(type(self).__name__, state, ())

    def load_state_dict(self, state: Any) -> None:
        """Continues from a state."""
        self.check_state_dict(state)

    def __repr__(self) -> str:
        return constructor_call(self) or object.__repr__(self)


@final
class Constant(Schedule):
    """The same rate in every step, as by a number; other schedules are built on it.

    Source: Robbins and Monro, "A stochastic approximation method", Annals of Mathematical
    Statistics 22(3), 1951, which shows that the rate must fall for convergence.

    >>> Constant(0.1)(1000)
    0.1
    """

    def __init__(self, rate: float) -> None:
        self.rate = self.peak = _number(self, "rate", rate)

    def __call__(self, step: int) -> float:  # noqa: ARG002  # the same in every step
        """The rate."""
        return self.rate


@final
class StepDecay(Schedule):
    """rate · factor^⌊step / every⌋: the rate drops every `every` steps.

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016,
    section 3.4: divided by 10, twice.

    >>> [round(StepDecay(0.1, every=2)(step), 4) for step in range(5)]
    [0.1, 0.1, 0.01, 0.01, 0.001]
    """

    def __init__(self, rate: float, *, every: int, factor: float = 0.1) -> None:
        self.rate = self.peak = _number(self, "rate", rate)
        self.every = whole_number("StepDecay", "every", every)
        self.factor = _fraction(self, "factor", factor)

    def __call__(self, step: int) -> float:
        """The rate after ⌊step / every⌋ drops."""
        return float(self.rate * self.factor ** (step // self.every))


@final
class Exponential(Schedule):
    """rate · factor^step.

    Source: Senior, Heigold, Ranzato and Yang, "An empirical study of learning rates in deep neural
    networks for speech recognition", ICASSP 2013.

    >>> [Exponential(0.1, factor=0.5)(step) for step in range(3)]
    [0.1, 0.05, 0.025]
    """

    def __init__(self, rate: float, *, factor: float) -> None:
        self.rate = self.peak = _number(self, "rate", rate)
        self.factor = _fraction(self, "factor", factor)

    def __call__(self, step: int) -> float:
        """The rate, `factor` times that of the step before."""
        return float(self.rate * self.factor**step)


@final
class Cosine(Schedule):
    """final + (rate - final) · (1 + cos(π · step / steps)) / 2, and `final` from `steps` on.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts",
    ICLR 2017, eq. 5, without restarts.

    >>> [round(Cosine(0.1, steps=4)(step), 4) for step in range(6)]
    [0.1, 0.0854, 0.05, 0.0146, 0.0, 0.0]
    """

    def __init__(self, rate: float, steps: int, *, final: float = 0.0) -> None:
        self.rate = _number(self, "rate", rate)
        self.steps = whole_number("Cosine", "steps", steps)
        self.final = _number(self, "final", final)
        self.peak = max(self.rate, self.final)

    def __call__(self, step: int) -> float:
        """The rate on half a period of the cosine."""
        return _half_cosine(self.rate, self.final, step / self.steps)


@final
class LinearWarmUp(Schedule):
    """then(0) · (step + 1) / steps for the first `steps` steps, then then(step - steps).

    `then` is another schedule, or a constant rate.

    Source: Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017,
    section 2.2, gradual warm-up.

    >>> [round(LinearWarmUp(4, then=0.1)(step), 4) for step in range(6)]
    [0.025, 0.05, 0.075, 0.1, 0.1, 0.1]
    """

    def __init__(self, steps: int, *, then: Schedule | float) -> None:
        self.steps = whole_number("LinearWarmUp", "steps", steps)
        self.then = then if isinstance(then, Schedule) else Constant(then)
        self.peak = self.then.peak

    def __call__(self, step: int) -> float:
        """The rate of the warm-up, or of the schedule after it."""
        if step < self.steps:
            return self.then(0) * ((step + 1) / self.steps)
        return self.then(step - self.steps)

    def check_metrics(self, higher_is_better: Mapping[str, bool | None]) -> None:
        """As the schedule after the warm-up."""
        self.then.check_metrics(higher_is_better)

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Passes the metrics to the schedule after the warm-up."""
        self.then.observe(metrics)

    def state_dict(self) -> State:
        """The state of the schedule after the warm-up."""
        return self.then.state_dict()

    def check_state_dict(self, state: Any) -> None:
        """Raises InputError unless the state is of the schedule after the warm-up."""
        self.then.check_state_dict(state)

    def load_state_dict(self, state: Any) -> None:
        """Continues from a state."""
        self.then.load_state_dict(state)


@final
class OneCycle(Schedule):
    """From rate / start_divisor up to rate, then down to rate / end_divisor, each half a cosine.

    The first part takes the fraction `warm_up` of the `steps`.

    Source: Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large
    Learning Rates", 2018; with cosines in place of straight lines, as in fast.ai.

    >>> [round(OneCycle(1.0, steps=10)(step), 3) for step in (0, 1, 3, 6, 9, 10)]
    [0.04, 0.28, 1.0, 0.611, 0.05, 0.0]
    """

    def __init__(
        self,
        rate: float,
        steps: int,
        *,
        warm_up: float = 0.3,
        start_divisor: float = 25.0,
        end_divisor: float = 1e4,
    ) -> None:
        self.rate = self.peak = _number(self, "rate", rate)
        self.steps = whole_number("OneCycle", "steps", steps)
        self.warm_up = _fraction(self, "warm_up", warm_up)
        self.start_divisor = _number(self, "start_divisor", start_divisor, at_least=1)
        self.end_divisor = _number(self, "end_divisor", end_divisor, at_least=1)

    def __call__(self, step: int) -> float:
        """The rate while it rises, while it falls, or after that."""
        top = self.warm_up * self.steps
        if step < top:
            return _half_cosine(self.rate / self.start_divisor, self.rate, step / top)
        down = (step - top) / (self.steps - top) if self.steps > top else 1.0
        return _half_cosine(self.rate, self.rate / self.end_divisor, down)


@final
class OnPlateau(Schedule):
    """Multiplies the rate by `factor` when a metric has not improved for over `patience` epochs.

    The rate does not fall below `lowest`. The metric is read after each epoch, see `Monitor`: a
    Trainer calls `schedule.observe(metrics)`, as a loop of your own has to, and before the first
    step `schedule.check_metrics(trainer.higher_is_better)`.

    Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016,
    section 3.4, with a tenth of the rate after each plateau.

    >>> schedule = OnPlateau(0.1, patience=1, monitor="loss")
    >>> for loss in (1.0, 0.9, 0.9, 0.9):
    ...     schedule.observe({"loss": loss})
    >>> round(schedule(0), 4)
    0.01
    """

    def __init__(
        self,
        rate: float,
        *,
        factor: float = 0.1,
        patience: int = 10,
        monitor: str | Monitor = "validation_loss",
        lowest: float = 0.0,
    ) -> None:
        self.rate = self.peak = _number(self, "rate", rate)
        self.factor = _fraction(self, "factor", factor)
        self.patience = whole_number("OnPlateau", "patience", patience, at_least=0)
        self.lowest = _number(self, "lowest", lowest)
        self.monitor = monitor if isinstance(monitor, Monitor) else Monitor(monitor)

    def __call__(self, step: int) -> float:  # noqa: ARG002  # it depends on the epochs alone
        """The current rate."""
        return self.rate

    def check_metrics(self, higher_is_better: Mapping[str, bool | None]) -> None:
        """Raises InputError unless the monitored metric is one of these, with a known direction."""
        self.monitor.check(higher_is_better)

    def observe(self, metrics: Mapping[str, float]) -> None:
        """Lowers the rate if the metric has not improved for more than `patience` epochs."""
        if not self.monitor.improves(metrics) and self.monitor.waited > self.patience:
            self.rate = max(self.rate * self.factor, min(self.lowest, self.rate))
            self.monitor.waited = 0

    def state_dict(self) -> State:
        """The rate and the state of the monitor."""
        return {"rate": self.rate, "monitor": self.monitor.state_dict()}

    def check_state_dict(self, state: Any) -> None:
        """Raises InputError unless the state is that of an OnPlateau."""
        check_keys("OnPlateau", state, ("rate", "monitor"))
        _number(self, "rate", state["rate"])
        self.monitor.check_state_dict(state["monitor"])

    def load_state_dict(self, state: Any) -> None:
        """Continues from a state."""
        self.check_state_dict(state)
        self.rate = float(state["rate"])
        self.monitor.load_state_dict(state["monitor"])


def _half_cosine(start: float, end: float, fraction: float) -> float:
    if fraction >= 1:
        return end
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2


def _number(who: Schedule, name: str, value: float, *, at_least: float = 0.0) -> float:
    return finite_number(type(who).__name__, name, value, at_least=at_least)


def _fraction(who: Schedule, name: str, value: float) -> float:
    return finite_number(type(who).__name__, name, value, at_least=0, at_most=1)
