"""A small training run with everything that a checkpoint has to hold."""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinynet import (
    Accuracy,
    Adam,
    Array,
    Dense,
    Dropout,
    HeadMetric,
    Heads,
    Layer,
    MeanSquaredError,
    MultiTaskLoss,
    Parallel,
    PrecisionRecallF1,
    ReLU,
    RootMeanSquaredError,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
)
from tinynet.callbacks import Callback, Checkpoint, CSVLog, EarlyStopping
from tinynet.optimizers.schedules import Cosine, LinearWarmUp, OnPlateau, Schedule


class Centre(Layer):
    """y = x - mean, with a buffer: the running mean of x in training."""

    def __init__(self, features: int) -> None:
        self.mean = np.zeros(features, np.float32)

    def forward(self, x: Array) -> Array:
        if self.training:
            self.mean += np.float32(0.1) * (x.mean(axis=0) - self.mean)
        y: Array = x - self.mean
        self.save_for_backward(y)
        return y

    def backward(self, dy: Array) -> Array:
        dx: Array = self.saved_for_backward(dy)[0].copy()
        return dx


class Pause(Callback):
    """Sleeps after each step."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_step_end(self, trainer: Trainer) -> None:  # noqa: ARG002  # every step alike
        time.sleep(self.seconds)


class SaveAndStop(Callback):
    """Saves at one step, after all other callbacks, and stops there."""

    runs_last = True

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_step_end(self, trainer: Trainer) -> None:
        if trainer.step == self.step:
            trainer.save(self.path)
            trainer.stop()


def make_data(samples: int = 50, seed: int = 1) -> tuple[Array, Array]:
    """Points of three overlapping classes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, samples)
    x = rng.standard_normal((samples, 4)) + np.eye(3, 4)[y]
    return x.astype(np.float32), y


def warm_up_and_cosine() -> Schedule:
    return LinearWarmUp(5, then=Cosine(0.05, steps=30))


def on_plateau() -> Schedule:
    return OnPlateau(0.05, factor=0.5, patience=0)


def make_model(seed: int = 0) -> Sequential:
    return Sequential(
        [
            Centre(4),
            Dense(4, 8, rng=seed),
            ReLU(),
            Dropout(0.3, rng=seed + 1),
            Dense(8, 3, rng=seed + 2),
        ]
    )


def make_trainer(seed: int = 0, rate: Schedule | float = 0.05) -> Trainer:
    model = make_model(seed)
    optimizer = Adam(model.parameters(), rate, clip_norm=1.0)
    metrics = [Accuracy(), PrecisionRecallF1(3)]
    return Trainer(model, SoftmaxCrossEntropy(), optimizer, metrics=metrics, seed=seed)


def make_trainer_of_two_heads(seed: int) -> Trainer:
    """A run with tuples as x and y."""
    trunk = Parallel([make_model(seed), Dense(2, 4, rng=seed + 3)])
    heads = Heads([Dense(7, 3, rng=seed + 4), Dense(7, 1, rng=seed + 5)])
    model = Sequential([trunk, heads])
    loss = MultiTaskLoss([SoftmaxCrossEntropy(), MeanSquaredError()], weights=[1.0, 0.1])
    rate = LinearWarmUp(5, then=Cosine(0.02, steps=60))
    optimizer = Adam(model.parameters(), rate, clip_norm=1.0)
    metrics = [HeadMetric(0, Accuracy()), HeadMetric(1, RootMeanSquaredError())]
    return Trainer(model, loss, optimizer, metrics=metrics, seed=seed)


def make_tuples(samples: int, seed: int = 1) -> tuple[Any, Any]:
    """The points and two of their coordinates; their classes and the sum of the coordinates."""
    x, y = make_data(samples, seed)
    return (x, x[:, :2].copy()), (y, x.sum(axis=1))


def make_callbacks(folder: Path, more: Sequence[Callback] = ()) -> list[Callback]:
    return [
        Checkpoint(folder, every_steps=2, best="validation_accuracy"),
        EarlyStopping(patience=2),
        CSVLog(folder / "log.csv"),
        *more,
    ]


def digest(trainer: Trainer) -> str:
    """The SHA-256 of weights, buffers, slots, generators, history, metrics and progress."""
    sha = hashlib.sha256()
    _add(sha, {name: part for name, part in trainer.state_dict().items() if name != "callbacks"})
    return sha.hexdigest()


def _add(sha: Any, value: Any) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            sha.update(f"{name}:".encode())
            _add(sha, item)
    elif isinstance(value, np.ndarray):
        sha.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
    else:
        sha.update(repr(value).encode())


def run(folder: Path, pause: float = 0.0) -> str:
    """Trains two heads to the end, from the newest checkpoint if there is one; returns the digest.

    A resumed trainer has other initial weights, which the checkpoint has to replace.
    """
    newest = Checkpoint.newest(folder)
    trainer = make_trainer_of_two_heads(0 if newest is None else 99)
    if newest is not None:
        trainer.restore(newest)
    callbacks: list[Callback] = [
        EarlyStopping(patience=4),
        CSVLog(folder / "log.csv"),
        Checkpoint(folder, every_steps=3, best="validation_head_0_accuracy"),
        Pause(pause),
    ]
    validation = make_tuples(60, seed=2)
    x, y = make_tuples(200)
    trainer.fit(x, y, epochs=6, batch_size=20, validation=validation, callbacks=callbacks)
    return digest(trainer)
