"""Trainer: the training loop (forward, loss, backward, optimizer step).

It adds metrics, callbacks and checkpoints. `accumulate_gradients` processes a batch in parts to
save memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np

from tinynet.datasets.batches import Batches, Transform
from tinynet.errors import InputError
from tinynet.layer import Layer
from tinynet.optimizers.optimizer import Optimizer
from tinynet.optimizers.schedules import Schedule
from tinynet.parameter import Array
from tinynet.saving.state import (
    State,
    check_generators,
    check_keys,
    generator_states,
    load_generators,
)
from tinynet.training.callback import Callback, Callbacks
from tinynet.training.history import History
from tinynet.training.metrics import Metric, Metrics
from tinynet.training.progress import Progress
from tinynet.validation import whole_number


@final
class Trainer:
    """Trains a model to minimize a loss; stopped and resumed, it ends with the same bits.

    `metrics` are measured on the training batches, before each step, and on validation data. The
    order of the samples depends on `seed` and the epoch alone. `epoch` and `step` count what is
    done.

    Raises:
        InputError: model or loss is not a layer, the optimizer does not train the model, or two
            metrics have results of the same name.

    >>> from tinynet import SGD, Dense, Sequential, SoftmaxCrossEntropy
    >>> x = np.random.default_rng(0).standard_normal((200, 2)).astype(np.float32)
    >>> y = (x[:, 0] > x[:, 1]).astype(np.int64)
    >>> model = Sequential([Dense(2, 2, rng=0)])
    >>> optimizer = SGD(model.parameters(), 0.5, momentum=0.9)
    >>> trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer)
    >>> history = trainer.fit(x, y, epochs=5, batch_size=20)
    >>> trainer.epoch, trainer.step, trainer.evaluate(x, y)["loss"] < 0.1
    (5, 50, True)
    """

    def __init__(
        self,
        model: Layer,
        loss: Layer,
        optimizer: Optimizer,
        *,
        metrics: Sequence[Metric] = (),
        seed: int = 0,
    ) -> None:
        _check_parts(model, loss, optimizer)
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.metrics = Metrics(metrics, reserved=("loss", "learning_rate"))
        self.seed = whole_number("Trainer", "seed", seed, at_least=0)
        self.history = History()
        self.epochs = 0  # the total that the last fit was given
        self.metric_names: tuple[str, ...] = ()  # of the last fit, in the order of its history
        self.batch: Array = np.zeros(0)  # x of the last step
        self.stopping = False
        self._progress = Progress()
        self._callbacks = Callbacks(())
        self._restored_callbacks: State = {}

    @property
    def epoch(self) -> int:
        """The number of epochs done."""
        return self._progress.epoch

    @property
    def step(self) -> int:
        """The number of steps done, over all epochs."""
        return self._progress.step

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches in the data set of the last fit."""
        return self._progress.batches

    @property
    def last_metrics(self) -> dict[str, float]:
        """The metrics of the last epoch; NaN for those that it did not measure."""
        last = self.history.last
        return {name: last.get(name, math.nan) for name in self.metric_names}

    def fit(
        self,
        x: Array,
        y: Array,
        *,
        epochs: int,
        batch_size: int = 64,
        validation: tuple[Array, Array] | None = None,
        callbacks: Sequence[Callback] = (),
        transform: Transform | None = None,
        micro_batch_size: int | None = None,
    ) -> History:
        """Trains until `epochs` are done in total, earlier ones included; returns the history.

        x: (N, ...) and y: (N, ...), also memory-mapped; for them and `transform` see `Batches`. A
        batch larger than `micro_batch_size` is processed in parts whose gradients are averaged:
        the same step (except for layers that combine samples) with less memory.

        Raises:
            InputError: arguments that do not fit together, before anything is changed.
            DivergenceError: the loss became infinite or NaN.
        """
        batches = Batches(x, y, batch_size, seed=self.seed, transform=transform)
        part = batch_size if micro_batch_size is None else micro_batch_size
        part = whole_number("fit", "micro_batch_size", part)
        self.epochs = whole_number("fit", "epochs", epochs, at_least=0)
        with self._fitting(batches, validation, Callbacks(callbacks)) as running:
            while self.epoch < self.epochs and not self.stopping:
                running.call("on_epoch_start", self)
                for x_batch, y_batch in batches.epoch(self.epoch, start=self._progress.batch):
                    self.batch = x_batch
                    loss = accumulate_gradients(
                        self.model, self.loss, x_batch, y_batch, part, self.metrics.update
                    )
                    self._take_step(loss, len(x_batch))
                    running.step_end(self)
                    if self.stopping:
                        break
                if self._progress.batch == self.steps_per_epoch:
                    self._end_epoch(validation)
                    running.call("on_epoch_end", self)
            running.call("on_fit_end", self)
        return self.history

    def stop(self) -> None:
        """Ends the running fit after this step or epoch; for callbacks."""
        self.stopping = True

    def evaluate(self, x: Array, y: Array, *, batch_size: int = 1024) -> dict[str, Any]:
        """Returns the mean loss and the metrics on (x, y), in evaluation mode.

        Raises:
            InputError: the model, the loss or a metric does not accept x or y.
        """
        batches = Batches(x, y, batch_size, shuffle=False)
        metrics, loss_sum = Metrics(self.metrics.metrics), 0.0
        with self.model.in_mode(training=False), self.loss.in_mode(training=False):
            for x_batch, y_batch in batches.epoch(0):
                prediction = self.model(x_batch)
                loss_sum += self.loss(prediction, y_batch) * len(x_batch)
                metrics.update(prediction, y_batch)
        return {"loss": loss_sum / len(x), **metrics.results()}

    def predict(self, x: Array, batch_size: int = 1024) -> Array:
        """Returns the output of the model for any number of samples, see `Layer.predict`."""
        return self.model.predict(x, batch_size)

    def save(self, path: str | Path) -> None:
        """Writes everything needed to continue with the same bits into an .npz file.

        Raises:
            CheckpointError: the file cannot be written; a file that was there is unchanged.
        """
        from tinynet.saving.checkpoint import write

        write(path, {"network": repr(self.model)} | self.state_dict())

    def restore(self, path: str | Path) -> Trainer:
        """Loads a file that `save` wrote, and returns self.

        The states of callbacks are loaded by those of the next fit with the same class names.

        Raises:
            CheckpointError: the file is damaged or does not fit this run; nothing is changed then.
        """
        from tinynet.saving.checkpoint import reading

        with reading(path) as state:
            self.load_state_dict({n: part for n, part in state.items() if n != "network"})
        return self

    def state_dict(self) -> State:
        """Weights, buffers, slots, schedule, random generators, metrics, history and position."""
        return {
            **{name: part.state_dict() for name, part in self._parts().items()},
            "generators": {
                "model": generator_states(self.model.generators()),
                "loss": generator_states(self.loss.generators()),
            },
            "seed": self.seed,
            "callbacks": self._restored_callbacks | self._callbacks.state_dict(),
        }

    def check_state_dict(self, state: Any) -> None:
        """Raises InputError unless every part of the state fits this run."""
        check_keys("Trainer", state, self.state_dict())
        check_keys("Trainer, generators,", state["generators"], ("model", "loss"))
        if not isinstance(state["callbacks"], dict):
            raise InputError(f"Trainer expects states of callbacks, got {state['callbacks']!r:.60}")
        whole_number("Trainer", "seed", state["seed"], at_least=0)
        for name, part in self._parts().items():
            part.check_state_dict(state[name])
        for name, layer in (("model", self.model), ("loss", self.loss)):
            check_generators(repr(layer), layer.generators(), state["generators"][name])

    def load_state_dict(self, state: Any) -> None:
        """Continues from a state; if a part does not fit, nothing is changed."""
        self.check_state_dict(state)
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        for name, layer in (("model", self.model), ("loss", self.loss)):
            load_generators(layer.generators(), state["generators"][name])
        self.seed, self._restored_callbacks = state["seed"], state["callbacks"]

    def _parts(self) -> dict[str, Layer | Optimizer | Metrics | History | Progress]:
        return {
            "model": self.model,
            "loss": self.loss,
            "optimizer": self.optimizer,
            "metrics": self.metrics,
            "history": self.history,
            "progress": self._progress,
        }

    @contextmanager
    def _fitting(
        self, batches: Batches, validation: tuple[Array, Array] | None, callbacks: Callbacks
    ) -> Iterator[Callbacks]:
        """Inside the block, training mode and running callbacks; afterwards the former modes."""
        if validation is not None:
            if not isinstance(validation, tuple) or len(validation) != 2:
                raise InputError(f"fit expects validation to be a pair (x, y), got {validation!r}")
            Batches(*validation)  # raises InputError unless x and y fit together
        callbacks.check_state_dict(self._restored_callbacks)
        self._progress.begin(batches)
        callbacks.load_state_dict(self._restored_callbacks)
        self._callbacks, self.stopping = callbacks, False
        names = ("loss", *self.metrics.scalars())
        validated = [f"validation_{name}" for name in names if validation is not None]
        self.metric_names = (*names, "learning_rate", *validated)
        try:
            # A loss that is not finite raises DivergenceError.
            quiet = np.errstate(over="ignore", invalid="ignore")
            with quiet, self.model.in_mode(training=True), self.loss.in_mode(training=True):
                callbacks.call("on_fit_start", self)
                self._restored_callbacks = {}  # the callbacks have loaded them
                yield callbacks
        finally:
            self._callbacks = Callbacks(())
            callbacks.close()

    def _take_step(self, loss: float, samples: int) -> None:
        self._progress.check_finite(loss)
        values = {"loss": loss, "learning_rate": self.optimizer.rate}
        self.optimizer.step()
        if self.optimizer.clip_norm is not None:
            values["gradient_norm"] = self.optimizer.gradient_norm
        self.history.add_step(values)
        self._progress.count(loss, samples)

    def _end_epoch(self, validation: tuple[Array, Array] | None) -> None:
        metrics = {"loss": self._progress.finish_epoch(), **self.metrics.scalars()}
        self.metrics.reset()
        metrics["learning_rate"] = self.history.steps["learning_rate"][-1]
        if validation is not None:
            results = self.evaluate(*validation).items()
            metrics |= {f"validation_{n}": value for n, value in results if np.ndim(value) == 0}
        self.history.add_epoch(metrics)
        if isinstance(self.optimizer.learning_rate, Schedule):
            self.optimizer.learning_rate.observe(metrics)

    def __repr__(self) -> str:
        return f"Trainer({self.model!r}, {self.loss!r}, {self.optimizer!r}, epoch={self.epoch})"


def _check_parts(model: Any, loss: Any, optimizer: Any) -> None:
    for name, part in (("model", model), ("loss", loss)):
        if not isinstance(part, Layer):
            raise InputError(f"Trainer expects {name} to be a layer, got {part!r}")
    if not isinstance(optimizer, Optimizer):
        raise InputError(f"Trainer expects an optimizer, got {optimizer!r}")
    own = {id(parameter) for parameter in (*model.parameters(), *loss.parameters())}
    if not all(id(parameter) in own for parameter in optimizer.parameters):
        raise InputError(
            "Trainer expects an optimizer of the parameters of the model, got one with others: "
            f"write {type(optimizer).__name__}(model.parameters(), ...) for the same model object"
        )


def accumulate_gradients(
    model: Layer,
    loss: Layer,
    x: Array,
    y: Array,
    size: int,
    observe: Callable[[Array, Array], None] = lambda _prediction, _targets: None,
) -> float:
    """Gradient accumulation: returns the mean loss of a batch and leaves the gradients of it.

    The batch is processed in parts of at most `size` samples, and their gradients are averaged,
    weighted by the number of samples. If the loss is a mean over samples and no layer combines
    samples, that is the gradient of the whole batch. `observe` gets the predictions and targets
    of each part.

    >>> from tinynet import Dense, MeanSquaredError
    >>> model, x = Dense(1, 1, rng=0), np.arange(6, dtype=np.float32)[:, None]
    >>> whole = accumulate_gradients(model, MeanSquaredError(), x, 2 * x, 6)
    >>> in_parts = accumulate_gradients(model, MeanSquaredError(), x, 2 * x, 4)
    >>> round(whole, 4), round(in_parts, 4)
    (30.4368, 30.4368)
    """
    if len(x) <= size:
        prediction = model(x)
        mean_loss: float = loss(prediction, y)
        observe(prediction, y)
        model.backward(loss.backward())
        return mean_loss
    mean_loss, parameters = 0.0, [*model.parameters(), *loss.parameters()]
    sums = [np.zeros_like(parameter.value) for parameter in parameters]
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        share = len(x[rows]) / len(x)
        mean_loss += share * accumulate_gradients(model, loss, x[rows], y[rows], size, observe)
        for total, parameter in zip(sums, parameters, strict=True):
            total += share * np.asarray(parameter.grad)
    for total, parameter in zip(sums, parameters, strict=True):
        parameter.grad = total
    return mean_loss
