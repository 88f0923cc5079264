"""A trainer is the loop: batches forward, their gradients backward, one step for each of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from tinynet.arguments import InputError, whole_number
from tinynet.callback import Callback, Callbacks
from tinynet.datasets.batches import Batches, Transform
from tinynet.history import History
from tinynet.layer import Layer
from tinynet.metrics import Metric, Metrics
from tinynet.micro_batches import differentiate
from tinynet.optimizers import Optimizer
from tinynet.parameter import Array
from tinynet.progress import Progress
from tinynet.schedules import Schedule
from tinynet.state import Restore, State, demand_keys, in_turn

if TYPE_CHECKING:
    from tinynet.health.finding import Findings


@final
class Trainer:
    """Trains a model to make a loss small, and can be stopped and resumed to the last bit.

    `metrics` are measured on the batches as they are trained on, and on validation data. The order
    of the samples depends on `seed` and the epoch alone. `epoch` and `step` count what is done.

    Raises:
        InputError: model and loss are no layers, the optimizer does not train the model, or two
            metrics have a figure of the same name.

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
        _demand_parts(model, loss, optimizer)
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.metrics = Metrics(metrics, taken=("loss", "learning_rate"))
        self.seed = whole_number("Trainer", "seed", seed, at_least=0)
        self.history = History()
        self.epochs = 0  # what the last fit was to reach
        self.figures: tuple[str, ...] = ()  # the names of those that its epochs have
        self.batch: Array = np.zeros(0)  # the last x
        self.stopping = False
        self._progress = Progress()
        self._callbacks = Callbacks(())
        self._restored_callbacks: State = {}

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return self._progress.epoch

    @property
    def step(self) -> int:
        """How many steps are done, over all epochs."""
        return self._progress.step

    @property
    def steps_per_epoch(self) -> int:
        """How many batches the data set of the last fit has."""
        return self._progress.batches

    @property
    def last_figures(self) -> dict[str, float]:
        """The figures of the last epoch, NaN for what is no number and what is still to come."""
        last = self.history.last
        return {name: last.get(name, math.nan) for name in self.figures}

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
        """Trains until `epochs` are done in all, those before included, and returns the history.

        x: (N, ...) and y: (N, ...), also memory-mapped, see `Batches`; so is `transform`. A batch
        larger than `micro_batch_size` is worked off in parts whose gradients are averaged: the
        same step (but for layers that look at the whole batch) with less memory.

        Raises:
            InputError: what does not fit together, before anything is changed.
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
                    loss = differentiate(
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
        """Ends the running fit behind this step or epoch; for callbacks."""
        self.stopping = True

    def evaluate(self, x: Array, y: Array, *, batch_size: int = 1024) -> dict[str, Any]:
        """Returns the mean loss and the metrics on (x, y), in evaluation mode.

        Raises:
            InputError: what model, loss or a metric refuses.
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
        """Returns the model's y for any number of samples, see `Layer.predict`."""
        return self.model.predict(x, batch_size)

    def preflight(self, x: Array, y: Array) -> Findings:
        """Looks for what will go wrong in training on (x, y), and changes nothing.

        Printed, what it returns is a list of findings, each with its evidence and what to do.
        """
        from tinynet.health.preflight import preflight  # its imports are for those who ask

        return preflight(self, x, y)

    def save(self, path: str | Path) -> None:
        """Writes all that it takes to go on from here, to the same bits, into an .npz file.

        Raises:
            CheckpointError: the file cannot be written; what stood there before is untouched.
        """
        from tinynet.checkpoint import write

        write(path, {"network": repr(self.model)} | self.state())

    def restore(self, path: str | Path) -> Trainer:
        """Goes back, or on, to where a file of `save` was written; returns self.

        What callbacks remember is handed to those of the next fit, by the names of their classes.

        Raises:
            CheckpointError: the file is damaged, or of another run; nothing is changed then.
        """
        from tinynet.checkpoint import reading

        with reading(path) as state:
            restore = self.restoring({n: part for n, part in state.items() if n != "network"})
        restore()
        return self

    def state(self) -> State:
        """Weights, buffers, slots, schedule, random streams, figures and position."""
        return {
            **{name: part.state() for name, part in self._parts().items()},
            "generators": {"model": self.model.generators(), "loss": self.loss.generators()},
            "seed": self.seed,
            "callbacks": self._restored_callbacks | self._callbacks.state(),
        }

    def restoring(self, state: Any) -> Restore:
        """Validates a `state` and returns what takes it over."""
        demand_keys("Trainer", state, self.state())
        demand_keys("Trainer, generators,", state["generators"], ("model", "loss"))
        callbacks = state["callbacks"]
        if not isinstance(callbacks, dict):
            raise InputError(f"Trainer expects states of callbacks, got {callbacks!r:.60}")
        seed = whole_number("Trainer", "seed", state["seed"], at_least=0)
        restores = [part.restoring(state[name]) for name, part in self._parts().items()]
        restores += [
            self.model.restoring_generators(state["generators"]["model"]),
            self.loss.restoring_generators(state["generators"]["loss"]),
            partial(setattr, self, "seed", seed),
            partial(setattr, self, "_restored_callbacks", callbacks),
        ]
        return in_turn(restores)

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
        """Training mode and running callbacks inside the block, the modes of before behind it."""
        if validation is not None:
            if not isinstance(validation, tuple) or len(validation) != 2:
                raise InputError(f"fit expects validation to be a pair (x, y), got {validation!r}")
            Batches(*validation)  # refuses what it cannot hand out
        restore = callbacks.restoring(self._restored_callbacks)
        self._progress.begin(batches)
        restore()
        self._callbacks, self.stopping = callbacks, False
        names = ("loss", *self.metrics.numbers())
        held_out = [f"validation_{name}" for name in names if validation is not None]
        self.figures = (*names, "learning_rate", *held_out)
        try:
            # A loss that is no number is told by DivergenceError.
            quiet = np.errstate(over="ignore", invalid="ignore")
            with quiet, self.model.in_mode(training=True), self.loss.in_mode(training=True):
                callbacks.call("on_fit_start", self)
                self._restored_callbacks = {}  # from here on their owners have them
                yield callbacks
        finally:
            self._callbacks = Callbacks(())
            callbacks.close()

    def _take_step(self, loss: float, samples: int) -> None:
        self._progress.demand_finite(loss)
        figures = {"loss": loss, "learning_rate": self.optimizer.rate}
        self.optimizer.step()
        if self.optimizer.clip_norm is not None:
            figures["gradient_norm"] = self.optimizer.gradient_norm
        self.history.add_step(figures)
        self._progress.count(loss, samples)

    def _end_epoch(self, validation: tuple[Array, Array] | None) -> None:
        figures = {"loss": self._progress.finish_epoch(), **self.metrics.numbers()}
        self.metrics.reset()
        figures["learning_rate"] = self.history.steps["learning_rate"][-1]
        if validation is not None:
            results = self.evaluate(*validation).items()
            figures |= {f"validation_{n}": value for n, value in results if np.ndim(value) == 0}
        self.history.add_epoch(figures)
        if isinstance(self.optimizer.learning_rate, Schedule):
            self.optimizer.learning_rate.observe(figures)

    def __repr__(self) -> str:
        return f"Trainer({self.model!r}, {self.loss!r}, {self.optimizer!r}, epoch={self.epoch})"


def _demand_parts(model: Any, loss: Any, optimizer: Any) -> None:
    for name, part in (("model", model), ("loss", loss)):
        if not isinstance(part, Layer):
            raise InputError(f"Trainer expects {name} to be a layer, got {part!r}")
    if not isinstance(optimizer, Optimizer):
        raise InputError(f"Trainer expects an optimizer, got {optimizer!r}")
    own = {id(parameter) for parameter in (*model.parameters(), *loss.parameters())}
    if not all(id(parameter) in own for parameter in optimizer.parameters):
        raise InputError(
            "Trainer expects an optimizer of the parameters of the model, got one with others: "
            f"write {type(optimizer).__name__}(model.parameters(), ...) for this very model"
        )
