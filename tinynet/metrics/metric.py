"""Metric: a measure of how good predictions are, accumulated batch by batch.

`update(prediction, targets)` adds a batch, `results()` returns the values by name, and `reset()`
starts again. What is kept are counts and sums, so that the division into batches changes no value
(but for the rounding of sums).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import deepcopy
from types import EllipsisType
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.keywords import NamedKeywords
from tinynet.layer import Layer
from tinynet.losses.targets import as_column
from tinynet.parameter import Array
from tinynet.saving.state import State, check_array, check_arrays, check_keys, load_arrays
from tinynet.signature import constructor_call
from tinynet.validation import check_array as check_is_array
from tinynet.validation import check_shape, whole_number


class Metric(NamedKeywords, ABC):
    """The base class of metrics, which keep their counts in arrays as public attributes, from 0 on.

    `higher_is_better` says which values are better, for callbacks that look for the best epoch:
    True, False, or a dict with one of them for each result; None if neither is declared.
    """

    higher_is_better: bool | Mapping[str, bool | None] | None = None
    # If True, the batches decide the shape of the arrays: all have the same, without any batch an
    # empty one. They are then replaced and never written to, so that a state stays as it was.
    shapes_vary: bool = False

    @abstractmethod
    def update(self, prediction: Array, targets: Array) -> None:
        """Adds a batch; one that is refused changes nothing."""

    @abstractmethod
    def results(self) -> dict[str, Any]:
        """The values so far, by name; NaN before the first batch."""

    @final
    def __call__(self, prediction: Any, targets: Any) -> dict[str, Any]:
        """The values of this one batch."""
        former = deepcopy(self.state_dict())
        self.reset()
        try:
            self.update(prediction, targets)
        except Exception:
            self.load_state_dict(former)
            raise
        return self.results()

    @final
    def check_input(
        self,
        x: Any,
        *shape: int | str | EllipsisType,
        name: str = "x",
        integers: bool = True,  # noqa: ARG002  # as in a layer, but integers are always accepted
    ) -> None:
        """Raises InputError unless x is an array of numbers of `shape`, see `Layer.check_input`."""
        check_is_array(self, name, x)
        check_shape(self, name, x, shape)

    def reset(self) -> None:
        """Starts again, without any batch."""
        for name, array in self.state_dict().items():
            if self.shapes_vary:
                setattr(self, name, np.zeros((0,) * array.ndim, array.dtype))
            else:
                array[...] = 0

    def state_dict(self) -> State:
        """The counts: the arrays themselves."""
        return {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}

    def check_state_dict(self, state: Any) -> None:
        """Raises InputError unless the state has every count."""
        who, own = type(self).__name__, self.state_dict()
        if not self.shapes_vary:
            check_arrays(who, own, state)
            return
        check_keys(who, state, own)
        for name, array in own.items():
            check_array(f"{who}, {name},", state[name], (None,) * array.ndim, array.dtype)
        shapes = sorted({state[name].shape for name in own})
        if len(shapes) > 1:
            raise InputError(f"{who} expects arrays of the same shape, got {shapes}")

    def load_state_dict(self, state: Any) -> None:
        """Continues from a state."""
        self.check_state_dict(state)
        own = self.state_dict()
        if not self.shapes_vary:
            load_arrays(own, state)
            return
        for name, array in own.items():
            setattr(self, name, np.array(state[name], array.dtype))

    def __repr__(self) -> str:
        return constructor_call(self) or object.__repr__(self)


class MeanMetric(Metric):
    """Base class of metrics that are a mean, or a function of it: `add` takes its terms."""

    def __init__(self) -> None:
        self.count = np.zeros(1, np.int64)
        self.total = np.zeros(1)

    @final
    def add(self, terms: Array) -> None:
        """Adds terms to the mean."""
        self.count += terms.size
        self.total += terms.sum(dtype=np.float64)

    @final
    @property
    def mean(self) -> float:
        """The mean of all terms so far; NaN without any."""
        return float(self.total[0]) / int(self.count[0]) if self.count[0] else float("nan")


@final
class HeadMetric(Metric):
    """The metric of one head: of one array of a tuple of predictions, and of its targets.

    Targets that are one array are those of every head. The results are named `name_accuracy`, by
    default `head_0_accuracy`.

    Raises:
        InputError: head is negative, or metric is none; from `update`, no tuple with this head.

    >>> from tinynet import Accuracy
    >>> metric = HeadMetric(1, Accuracy(), name="digit")
    >>> metric((np.zeros((2, 1)), np.eye(2)), (np.zeros(2), np.array([0, 0])))
    {'digit_accuracy': 0.5}
    """

    def __init__(self, head: int, metric: Metric, *, name: str | None = None) -> None:
        if isinstance(head, str | Metric):
            raise InputError(
                f"HeadMetric expects the number of a head first, got {head!r}: write "
                "HeadMetric(0, Accuracy(), name='digit')"
            )
        self.head = whole_number("HeadMetric", "head", head, at_least=0)
        _check_metric("HeadMetric", metric)
        self.metric = metric
        if name is not None and (not isinstance(name, str) or not name):
            raise InputError(f"HeadMetric expects name to be a text, got {name!r}")
        if f"{name}_".startswith("validation_"):
            raise InputError(
                f"HeadMetric expects another name than that of validation metrics, got {name!r}"
            )
        self.name = name
        self.shapes_vary = metric.shapes_vary
        directions = {result: _direction(metric, result) for result in metric.results()}
        self.higher_is_better = {self._prefix + result: up for result, up in directions.items()}

    @property
    def _prefix(self) -> str:
        return f"head_{self.head}_" if self.name is None else f"{self.name}_"

    def update(self, prediction: Any, targets: Any) -> None:
        """prediction: arrays (N, ...), targets: arrays (N, ...), or one for every head."""
        for name, given in (("prediction", prediction), ("targets", targets)):
            several = isinstance(given, tuple)
            if (several and len(given) <= self.head) or (name == "prediction" and not several):
                got = f"a tuple of {len(given)}" if several else type(given).__name__
                raise InputError(
                    f"{self!r} expects {name} to be a tuple of {self.head + 1} arrays or more, "
                    f"got {got}"
                )
        own = targets[self.head] if isinstance(targets, tuple) else targets
        self.metric.update(prediction[self.head], as_column(prediction[self.head], own))

    def results(self) -> dict[str, Any]:
        """Those of the metric, with the name in front."""
        return {self._prefix + name: value for name, value in self.metric.results().items()}

    def reset(self) -> None:
        """Starts again, without any batch."""
        self.metric.reset()

    def state_dict(self) -> State:
        """The counts of the metric."""
        return self.metric.state_dict()

    def check_state_dict(self, state: Any) -> None:
        """Raises InputError unless the state is one of the metric."""
        self.metric.check_state_dict(state)

    def load_state_dict(self, state: Any) -> None:
        """Continues from a state."""
        self.metric.load_state_dict(state)


@final
class Metrics:
    """Several metrics of the same predictions: copies of those given, starting from 0.

    Raises:
        InputError: an item is not a metric, two results have the same name, or a metric's
            `higher_is_better` is none.
    """

    def __init__(self, metrics: Sequence[Metric], reserved: Sequence[str] = ()) -> None:
        if not isinstance(metrics, Sequence):
            raise InputError(f"Trainer expects metrics as a list of them, got {metrics!r}")
        for metric in metrics:
            _check_metric("Trainer", metric)
            _check_direction(metric)
        self.metrics = deepcopy(tuple(metrics))
        self.reset()
        names = [*reserved, *(name for metric in self.metrics for name in metric.results())]
        if len(set(names)) < len(names):
            raise InputError(f"Trainer expects metrics of different names, got {', '.join(names)}")

    def reset(self) -> None:
        """Sets every count to 0."""
        for metric in self.metrics:
            metric.reset()

    def update(self, prediction: Any, targets: Any) -> None:
        """Adds a batch; targets (N,) and (N, 1) are given in the shape of the prediction."""
        column = as_column(prediction, targets)  # else a metric might broadcast them to (N, N)
        for metric in self.metrics:
            metric.update(prediction, column)

    def results(self) -> dict[str, Any]:
        """The values of all metrics by name."""
        return {name: value for metric in self.metrics for name, value in metric.results().items()}

    def scalars(self) -> dict[str, float]:
        """The results that are single numbers, which a History can hold."""
        return {n: float(value) for n, value in self.results().items() if np.ndim(value) == 0}

    def higher_is_better(self) -> dict[str, bool | None]:
        """For each result that is a single number, whether higher is better; None: undeclared."""
        return {
            name: _direction(metric, name)
            for metric in self.metrics
            for name, value in metric.results().items()
            if np.ndim(value) == 0
        }

    def state_dict(self) -> State:
        """The counts of each metric, by its position."""
        return {str(index): metric.state_dict() for index, metric in enumerate(self.metrics)}

    def check_state_dict(self, state: Any) -> None:
        """Raises InputError unless the state has the counts of every metric."""
        check_keys("metrics", state, self.state_dict())
        for index, metric in enumerate(self.metrics):
            metric.check_state_dict(state[str(index)])

    def load_state_dict(self, state: Any) -> None:
        """Continues from a state."""
        self.check_state_dict(state)
        for index, metric in enumerate(self.metrics):
            metric.load_state_dict(state[str(index)])


def _check_metric(who: str, metric: Any) -> None:
    if not isinstance(metric, Metric):
        hint = f": write {metric.__name__}(...)" if isinstance(metric, type) else ""
        if isinstance(metric, str):
            hint = ": write Accuracy() or another of the metrics in docs/training.md"
        if isinstance(metric, Layer):
            hint = ", a loss: RootMeanSquaredError, MeanAbsoluteErrorMetric and LogLoss are metrics"
        raise InputError(f"{who} expects metrics, got {metric!r}{hint}")


def _direction(metric: Metric, name: str) -> bool | None:
    declared = metric.higher_is_better
    return declared.get(name) if isinstance(declared, Mapping) else declared


def _check_direction(metric: Metric) -> None:
    declared: Any = metric.higher_is_better
    values = declared.values() if isinstance(declared, Mapping) else [declared]
    if not all(value is None or isinstance(value, bool) for value in values):
        raise InputError(
            f"Trainer expects higher_is_better of {metric!r} to be True, False, None or a dict "
            f"with one of them for each result, got {declared!r}"
        )
