"""One step of training, which is done as a whole or not at all, whatever interrupts it.

`accumulate_gradients` is its forward and backward. `Snapshot` undoes what they change besides the
gradients, and `DelayedInterrupts` lets Ctrl-C wait while the optimizer updates the parameters.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable
from copy import copy
from types import FrameType
from typing import Any, Self, final

import numpy as np

from tinynet.errors import InputError
from tinynet.layer import Layer
from tinynet.losses.batch_loss import LossSum, batch_loss, whole_divisors
from tinynet.losses.loss import MultiTaskLoss
from tinynet.metrics.metric import Metrics
from tinynet.parameter import Array
from tinynet.samples import Samples, count_samples, take
from tinynet.saving.state import State, generator_states, load_generators


def accumulate_gradients(
    model: Layer,
    loss: Layer,
    x: Samples,
    y: Samples,
    size: int,
    observe: Callable[[Any, Any], None] = lambda _prediction, _targets: None,
) -> tuple[float, LossSum]:
    """Gradient accumulation: returns the loss of a batch, also as a sum, and leaves its gradients.

    The batch is processed in parts of at most `size` samples. Their losses and gradients are added
    up as sums and divided once, by what the loss divides by: the result is that of the whole batch,
    unless a layer combines samples (BatchNorm) or draws random numbers (Dropout). `observe` gets
    the predictions and targets of each part.

    Raises:
        InputError: the divisor of a head of a MultiTaskLoss depends on the predictions.

    >>> from tinynet import Dense, MeanSquaredError
    >>> model, x = Dense(1, 1, rng=0), np.arange(6, dtype=np.float32)[:, None]
    >>> whole, _ = accumulate_gradients(model, MeanSquaredError(), x, 2 * x, 6)
    >>> in_parts, _ = accumulate_gradients(model, MeanSquaredError(), x, 2 * x, 4)
    >>> round(whole, 4), round(in_parts, 4)
    (30.4368, 30.4368)
    """
    count = count_samples(x)
    if count <= size:
        prediction = model(x)
        batch = batch_loss(loss, prediction, y)
        observe(prediction, y)
        model.backward_parameters(loss.backward())  # nobody reads dx
        return batch.value, batch.sum
    total, parameters = LossSum(), [*model.parameters(), *loss.parameters()]
    sums = [np.zeros_like(parameter.value) for parameter in parameters]
    divisors = None  # one head is divided at the end, several each by its own on the way
    for start in range(0, count, size):
        rows = slice(start, start + size)
        prediction, targets = model(take(x, rows)), take(y, rows)
        batch = batch_loss(loss, prediction, targets)
        total.add(batch.sum)
        observe(prediction, targets)
        if divisors is None and isinstance(loss, MultiTaskLoss):
            divisors = whole_divisors(loss, prediction, y)
        gradient = batch.gradient(divisors)
        if gradient is None:
            continue
        model.backward_parameters(gradient)
        for gradients, parameter in zip(sums, parameters, strict=True):
            gradients += np.asarray(parameter.grad)
    if divisors is None:
        (divisor,) = total.divisors
        for gradients in sums:
            gradients *= (divisor != 0) / (divisor or 1.0)
    else:
        _check_divisors(divisors, total.divisors)
    for gradients, parameter in zip(sums, parameters, strict=True):
        parameter.grad = gradients
    return total.mean, total


def _check_divisors(expected: tuple[float | None, ...], found: tuple[float | None, ...]) -> None:
    """Requires the divisors of the parts to be those of the whole batch."""
    for head, (whole, parts) in enumerate(zip(expected, found, strict=True)):
        if not math.isclose(whole or 0.0, parts or 0.0, rel_tol=1e-9):
            raise InputError(
                f"head {head}: gradient accumulation expects a divisor that depends on the targets "
                f"alone, got {parts} for the parts of a batch and {whole} for all of it; train "
                "without micro_batch_size"
            )


@final
class Snapshot:
    """What a forward changes: buffers, random generators and the counts of metrics."""

    def __init__(self, layers: tuple[Layer, ...], metrics: Metrics) -> None:
        self._buffers = [array for layer in layers for array in _buffers(layer)]
        self._generators = [layer.generators() for layer in layers]
        self._metrics = metrics
        self._saved: tuple[list[Array], list[State], State] = ([], [], {})

    def take(self) -> None:
        """Saves the present values."""
        buffers = [array.copy() for array in self._buffers]
        generators = [generator_states(found) for found in self._generators if found]
        self._saved = buffers, generators, counts_of(self._metrics)

    def restore(self) -> None:
        """Restores the saved values."""
        buffers, generators, counts = self._saved
        for array, saved in zip(self._buffers, buffers, strict=True):
            array[...] = saved
        found = (generators for generators in self._generators if generators)
        for present, states in zip(found, generators, strict=True):
            load_generators(present, states)
        self._metrics.load_state_dict(counts)


def counts_of(metrics: Metrics) -> State:
    """The state of all metrics to go back to; arrays that grow are replaced and not written."""
    state = metrics.state_dict()
    for name, metric in zip(state, metrics.metrics, strict=True):
        if not metric.shapes_vary:
            state[name] = {key: _copy(value) for key, value in state[name].items()}
    return state


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else copy(value)


def _buffers(layer: Layer) -> list[Array]:
    parameters = {id(parameter.value) for parameter in layer.parameters()}
    return [array for array in layer.state_dict().values() if id(array) not in parameters]


@final
class DelayedInterrupts:
    """Lets Ctrl-C wait inside `with delayed:`, between `start` and `stop`, in the main thread.

    A second Ctrl-C does not wait.
    """

    def __init__(self) -> None:
        self._waiting = self._pending = False
        self._previous: Any = None

    def start(self) -> None:
        """Takes over Ctrl-C, if Python code handles it."""
        previous = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread() and callable(previous):
            self._previous = previous
            signal.signal(signal.SIGINT, self._received)

    def stop(self) -> None:
        """Gives Ctrl-C back."""
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self._waiting and not self._pending:
            self._pending = True
        else:
            self._previous(number, frame)

    def __enter__(self) -> Self:
        self._waiting = True
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting = False
        if self._pending:
            self._pending = False
            self._previous(signal.SIGINT, None)
