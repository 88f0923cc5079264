"""Trainer: the training loop (forward, loss, backward, optimizer step).

It adds metrics, callbacks and checkpoints. A step counts when its parameters are updated, an epoch
when its metrics and its callbacks are done. Whatever ends `fit` in between is undone, so that the
next `fit` continues with the same bits.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from copy import deepcopy
from pathlib import Path
from typing import Any, final

import numpy as np

from tinynet.datasets.batches import Batches, Transform
from tinynet.errors import InputError
from tinynet.keywords import NamedKeywords, named_keywords
from tinynet.layer import Layer
from tinynet.losses.batch_loss import LossSum, batch_loss
from tinynet.metrics.metric import Metric, Metrics
from tinynet.mode import in_mode, inference
from tinynet.optimizers.optimizer import Optimizer, check_complete
from tinynet.optimizers.schedules import Schedule
from tinynet.precision import input_cast
from tinynet.samples import Samples, check_samples
from tinynet.saving.state import (
    State,
    check_generators,
    check_keys,
    generator_states,
    load_generators,
)
from tinynet.training import checks
from tinynet.training.callback import Callback, Callbacks
from tinynet.training.history import History
from tinynet.training.progress import Progress
from tinynet.training.step import DelayedInterrupts, Snapshot, accumulate_gradients, counts_of
from tinynet.validation import one_of, whole_number


@final
class Trainer(NamedKeywords):
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
        checks.check_parts(model, loss, optimizer)
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.metrics = Metrics(metrics, reserved=("loss", "learning_rate"))
        self.seed = whole_number("Trainer", "seed", seed, at_least=0)
        self.history = History()
        self.epochs = 0  # the total that the last fit was given
        self.metric_names: tuple[str, ...] = ()  # of the last fit, in the order of its history
        self.batch: Any = np.zeros(0)  # x of the last step
        self.stopping = False
        self._progress = Progress()
        self._callbacks = Callbacks(())
        self._restored_callbacks: State = {}
        self._interrupts = DelayedInterrupts()

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
    def step_of_epoch(self) -> int:
        """The number of steps done in the current epoch."""
        return self._progress.batch

    @property
    def higher_is_better(self) -> dict[str, bool | None]:
        """Whether higher is better, for each of `metric_names`; None where nobody declared it."""
        known = {"loss": False, "learning_rate": None, **self.metrics.higher_is_better()}
        known |= {f"validation_{name}": higher for name, higher in known.items()} | known
        return {name: known[name] for name in self.metric_names}

    @property
    def last_metrics(self) -> dict[str, float]:
        """The metrics of the last epoch; NaN for those that it did not measure."""
        last = self.history.last
        return {name: last.get(name, math.nan) for name in self.metric_names}

    @named_keywords
    def fit(
        self,
        x: Samples,
        y: Samples,
        *,
        epochs: int,
        batch_size: int = 64,
        validation: tuple[Samples, Samples] | None = None,
        validation_split: float = 0.0,
        callbacks: Sequence[Callback] = (),
        transform: Transform | None = None,
        micro_batch_size: int | None = None,
        last_batch: str = "keep",
        restart_epoch: bool = False,
    ) -> History:
        """Trains until `epochs` are done in total, earlier ones included; returns the history.

        x: (N, ...) and y: (N, ...), or tuples of such arrays, also memory-mapped; for them,
        `transform` and `last_batch` see `Batches`. A batch larger than `micro_batch_size` is
        processed in parts with less memory, for the same step, see `accumulate_gradients`.
        `validation_split` draws a share of x and y by the seed, and validates with it. A fit that
        has nothing left to train says so on stderr.

        After an interrupt or an error the next fit continues as if nothing had been, given the same
        callbacks. With `restart_epoch` it starts the current epoch again, from the present weights,
        also with other data or batches; the steps that were done stay counted.

        Raises:
            InputError: arguments that do not fit together, before anything is changed.
            DivergenceError: the loss became infinite or NaN.
        """
        x, y, validation = checks.split_validation(x, y, validation_split, validation, self.seed)
        batches = Batches(
            x, y, batch_size, seed=self.seed, transform=transform, last_batch=last_batch
        )
        if transform is None:  # which might make numbers of something else
            check_samples("fit", "x", x)
            check_samples("fit", "y", y)
        part = max(batch_size, batches.last_size) if micro_batch_size is None else micro_batch_size
        part = whole_number("fit", "micro_batch_size", part)
        epochs = whole_number("fit", "epochs", epochs, at_least=0)
        # In a context of its own, so that no interrupt can leave a mode behind.
        arguments = batches, part, epochs, validation, Callbacks(callbacks), restart_epoch
        copy_context().run(self._fit, *arguments)
        return self.history

    def _fit(
        self,
        batches: Batches,
        part: int,
        epochs: int,
        validation: Any,
        callbacks: Callbacks,
        restart: bool,
    ) -> None:
        check_complete(self.optimizer)
        checks.check_validation(self.model, self.loss, self.metrics, validation)
        callbacks.check_state_dict(self._restored_callbacks)
        if not one_of("fit", "restart_epoch", restart, (True, False)):
            self._progress.check(batches)
        done, snapshot = (self.epoch, self.step), Snapshot((self.model, self.loss), self.metrics)
        cast = input_cast(self.model.state_dict())
        with np.errstate(over="ignore", invalid="ignore"):  # DivergenceError tells it
            checks.check_single_sample(self.model, batches, part, self.epoch)
            self.epochs = epochs
            with self._fitting(batches, validation is not None, callbacks, restart):
                while self.epoch < self.epochs and not self.stopping:
                    callbacks.call("on_epoch_start", self)
                    for x, y in batches.epoch(self.epoch, start=self._progress.batch):
                        self._train_step(cast(x), y, part, snapshot)
                        callbacks.step_end(self)
                        if self.stopping:
                            break
                    if self._progress.batch == self.steps_per_epoch:
                        self._end_epoch(validation, callbacks)
                callbacks.call("on_fit_end", self)
        if (self.epoch, self.step) == done and (self.epoch or epochs):
            print(self._progress.nothing_trained(epochs), file=sys.stderr)

    def stop(self) -> None:
        """Ends the running fit after this step or epoch; for callbacks."""
        self.stopping = True

    def evaluate(self, x: Samples, y: Samples, *, batch_size: int = 1024) -> dict[str, Any]:
        """Returns the loss and the metrics on (x, y), the same for every batch size.

        It works like `inference`: the model is only read.

        Raises:
            InputError: the model, the loss or a metric does not accept x or y.
        """
        batches = Batches(x, y, batch_size, shuffle=False)
        metrics, loss = Metrics(self.metrics.metrics), LossSum()
        cast = input_cast(self.model.state_dict())
        with inference():
            for x_batch, y_batch in batches.epoch(0):
                prediction = self.model(cast(x_batch))
                loss.add(batch_loss(self.loss, prediction, y_batch).sum)
                metrics.update(prediction, y_batch)
        return {"loss": loss.mean, **metrics.results()}

    def predict(self, x: Samples, batch_size: int = 1024) -> Any:
        """Returns the output of the model for any number of samples, see `Layer.predict`."""
        return self.model.predict(x, batch_size)

    def save(self, path: str | Path) -> None:
        """Writes everything needed to continue with the same bits into an .npz file.

        Raises:
            CheckpointError: the file cannot be written; a file that was there is unchanged.
            InputError: an interrupted step has updated a part of the parameters.
        """
        check_complete(self.optimizer)
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
        self, batches: Batches, validated: bool, callbacks: Callbacks, restart: bool
    ) -> Iterator[None]:
        """Inside the block, training mode and running callbacks."""
        names = ("loss", *self.metrics.scalars())
        validation_names = [f"validation_{name}" for name in names if validated]
        names = (*names, "learning_rate", *validation_names)
        if len(set(names)) < len(names):
            raise InputError(
                "fit expects metrics of different names, validation included, got "
                f"{', '.join(names)}"
            )
        self.metric_names = names
        if isinstance(self.optimizer.learning_rate, Schedule):
            self.optimizer.learning_rate.check_metrics(self.higher_is_better)
        before = self._progress.state_dict()
        self._progress.begin(batches, restart=restart)
        callbacks.load_state_dict(self._restored_callbacks)
        self._callbacks, self.stopping, started = callbacks, False, False
        self._interrupts.start()
        try:
            with in_mode(training=True):
                callbacks.call("on_fit_start", self)
                self._restored_callbacks, started = {}, True  # the callbacks have loaded them
                if not self._progress.batch:
                    self.metrics.reset()  # an epoch that is started again has counts
                yield
        except BaseException as error:
            if started:
                checks.note_interrupt(error, self.optimizer, self._progress, self.epochs)
                callbacks.call("on_exception", self)
                self._restored_callbacks = callbacks.state_dict()
            else:
                self._progress.load_state_dict(before)
            raise
        finally:
            self._interrupts.stop()
            self._callbacks = Callbacks(())
            callbacks.close()

    def _train_step(self, x: Samples, y: Samples, part: int, snapshot: Snapshot) -> None:
        """Takes a step; an exception leaves the state before it or after it."""
        self.batch, step, updates = x, self.step, self.optimizer.steps
        values, total = {}, LossSum()
        snapshot.take()
        try:
            loss, total = accumulate_gradients(
                self.model, self.loss, x, y, part, self.metrics.update
            )
            self._progress.check_loss(loss, total, x)
            values = {"loss": loss, "learning_rate": self.optimizer.rate}
            with self._interrupts:
                self.optimizer.step()
                self._count(values, total)
        except BaseException:
            if self.optimizer.steps == updates:
                snapshot.restore()
            elif self.step == step:
                self.history.cut(self.epoch, step)
                self._count(values, total)
            raise

    def _count(self, values: dict[str, float], loss: LossSum) -> None:
        if self.optimizer.clip_norm is not None:
            values["gradient_norm"] = self.optimizer.gradient_norm
        self.history.add_step(values)
        self._progress.count(loss)

    def _end_epoch(self, validation: tuple[Samples, Samples] | None, callbacks: Callbacks) -> None:
        """Measures and counts an epoch; an exception, also of a callback, undoes it."""
        rate = self.optimizer.learning_rate
        schedule = rate if isinstance(rate, Schedule) else None
        parts: list[Any] = [self._progress, callbacks, *([] if schedule is None else [schedule])]
        before = [(part, deepcopy(part.state_dict())) for part in parts]
        before.append((self.metrics, counts_of(self.metrics)))
        try:
            metrics = {"loss": self._progress.loss, **self.metrics.scalars()}
            metrics["learning_rate"] = self.history.steps["learning_rate"][-1]
            if validation is not None:
                results = self.evaluate(*validation).items()
                metrics |= {f"validation_{n}": value for n, value in results if np.ndim(value) == 0}
            self.history.add_epoch(metrics)
            if schedule is not None:
                schedule.observe(metrics)
            self._progress.finish_epoch()
            self.metrics.reset()
            callbacks.call("on_epoch_end", self)
        except BaseException:
            for part, state in before:
                part.load_state_dict(state)
            self.history.cut(self.epoch, self.step)
            raise

    def __repr__(self) -> str:
        return f"Trainer({self.model!r}, {self.loss!r}, {self.optimizer!r}, epoch={self.epoch})"
