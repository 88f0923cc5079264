"""What looks for the best epoch takes from the metric whether higher is better, or refuses."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinynet import SGD, Accuracy, Array, Dense, InputError, Metric, SoftmaxCrossEntropy, Trainer
from tinynet.callbacks import Checkpoint, EarlyStopping
from tinynet.monitor import Monitor
from tinynet.optimizers.schedules import LinearWarmUp, OnPlateau

RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 2)).astype(np.float32)
Y = RNG.integers(0, 2, 20)


class Countdown(Metric):
    """A metric of a user, that falls by one in each epoch; as "rmse" or under another name."""

    def __init__(self, name: str = "rmse") -> None:
        self.name = name
        self.count = np.zeros(1, np.int64)
        self.value = 10.0

    def update(self, prediction: Array, targets: Array) -> None:  # noqa: ARG002  # as in the base class
        self.count += len(prediction)

    def results(self) -> dict[str, Any]:
        if self.count[0] == len(X):
            self.value -= 1
        return {self.name: self.value}


class LowerCountdown(Countdown):
    higher_is_better = False


class HigherCountdown(Countdown):
    higher_is_better = True


class ByName(Countdown):
    higher_is_better = {"rmse": False}  # noqa: RUF012  # it is only read


def fit(metric: Metric, epochs: int = 3, rate: Any = 0.1, **settings: Any) -> Trainer:
    model = Dense(2, 2, rng=0)
    optimizer = SGD(model.parameters(), rate)
    trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer, metrics=[metric, Accuracy()])
    trainer.fit(X, Y, epochs=epochs, **settings)
    return trainer


def rates(metric: Metric, monitor: str | Monitor) -> list[float]:
    schedule = OnPlateau(1.0, factor=0.5, patience=0, monitor=monitor)
    return list(fit(metric, 3, schedule).history.epochs["learning_rate"])


USES: dict[str, Callable[[Metric, Any, Path], Any]] = {
    "EarlyStopping": lambda metric, monitor, _: fit(metric, callbacks=[EarlyStopping(monitor)]),
    "Checkpoint": lambda metric, monitor, path: fit(
        metric, callbacks=[Checkpoint(path, best=monitor)]
    ),
    "OnPlateau": lambda metric, monitor, _: rates(metric, monitor),
    "OnPlateau after a warm-up": lambda metric, monitor, _: fit(
        metric, rate=LinearWarmUp(2, then=OnPlateau(0.1, monitor=monitor))
    ),
}


@pytest.mark.parametrize("use", USES)
class TestEveryUse:
    @pytest.mark.parametrize("name", ["rmse", "score", "top_1_error", "my_loss"])
    def test_a_direction_that_nobody_declared_is_refused_before_the_first_step(
        self, use: str, name: str, tmp_path: Path
    ) -> None:
        metric = Countdown(name)
        with pytest.raises(InputError) as error:
            USES[use](metric, name, tmp_path)
        assert str(error.value) == (
            f"Monitor expects to know whether a higher {name} is better, got no declaration: "
            f"write Monitor('{name}', higher_is_better=True) (or False), or set higher_is_better "
            "in the class of the metric"
        )
        assert metric.count[0] == 0

    @pytest.mark.parametrize(
        ("metric", "monitor"),
        [
            (LowerCountdown(), "rmse"),
            (ByName(), "rmse"),
            (Countdown(), Monitor("rmse", higher_is_better=False)),
            (Countdown(), "loss"),
            (Countdown(), "accuracy"),
        ],
    )
    def test_a_declared_direction_is_taken(
        self, use: str, metric: Metric, monitor: Any, tmp_path: Path
    ) -> None:
        USES[use](metric, monitor, tmp_path)

    def test_a_metric_that_is_not_measured_is_refused(self, use: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="Monitor expects one of the metrics loss, rmse, acc"):
            USES[use](LowerCountdown(), "speed", tmp_path)


def test_the_declared_direction_decides_what_is_better(tmp_path: Path) -> None:
    for metric, best in ((LowerCountdown(), 3), (HigherCountdown(), 1)):
        early = EarlyStopping("rmse")
        folder = tmp_path / str(best)
        fit(metric, callbacks=[early, Checkpoint(folder, best="rmse")])
        assert early.best_epoch == best
        again = Trainer(
            model := Dense(2, 2),
            SoftmaxCrossEntropy(),
            SGD(model.parameters(), 0.1),
            metrics=[metric, Accuracy()],
        )
        assert again.restore(folder / "best.npz").epoch == best
    assert rates(LowerCountdown(), "rmse") == [1, 1, 1]
    assert rates(HigherCountdown(), "rmse") == [1, 1, 0.5]


def test_a_validation_metric_has_the_direction_of_its_metric() -> None:
    early = EarlyStopping("validation_accuracy", patience=50)
    trainer = fit(Countdown(), 8, callbacks=[early], validation=(X, Y))
    column = list(trainer.history.epochs["validation_accuracy"])
    assert not math.isnan(max(column))
    assert early.best_epoch == 1 + column.index(max(column))
    assert early.monitor.best == max(column)
