import math
from typing import Any

import numpy as np
import pytest
from resume_run import digest, make_data, make_model

from tinynet import SGD, Array, Dense, InputError, SoftmaxCrossEntropy, Trainer
from tinynet.callbacks import Callback, EarlyStopping
from tinynet.metrics.metric import Metric
from tinynet.monitor import Monitor

X, Y = make_data()


class Scores(Metric):
    """Returns the given scores, one per epoch."""

    higher_is_better = True

    def __init__(self, scores: list[float]) -> None:
        self.count = np.zeros(1, np.int64)
        self.scores, self.epochs = scores, 0

    def update(self, prediction: Array, targets: Array) -> None:  # noqa: ARG002  # as in the base class
        self.count += 1

    def results(self) -> dict[str, Any]:
        if self.count[0]:
            self.epochs += 1
            return {"score": self.scores[self.epochs - 1]}
        return {"score": math.nan}


class Weights(Callback):
    """Keeps the weights of each epoch."""

    def __init__(self) -> None:
        self.of: dict[int, list[bytes]] = {}

    def on_epoch_end(self, trainer: Trainer) -> None:
        self.of[trainer.epoch] = weights(trainer)


def weights(trainer: Trainer) -> list[bytes]:
    return [array.tobytes() for array in trainer.model.state_dict().values()]  # buffers, too


def fit(scores: list[float], monitor: Any = "score", **settings: Any) -> tuple[Trainer, list[Any]]:
    """Trains an epoch per score; returns the best epoch and those with the final weights."""
    model = make_model()
    trainer = Trainer(
        model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1), metrics=[Scores(scores)]
    )
    kept, early = Weights(), EarlyStopping(monitor, **settings)
    trainer.fit(X, Y, epochs=len(scores), callbacks=[kept, early])
    assert list(trainer.history.epochs["score"]) == pytest.approx(
        scores[: trainer.epoch], nan_ok=True
    )
    found = [epoch for epoch, those in kept.of.items() if those == weights(trainer)]
    return trainer, [early.best_epoch, *found]


class TestStops:
    @pytest.mark.parametrize(
        ("scores", "patience", "epochs", "best"),
        [
            ([1, 2, 1, 1, 3, 3], 2, 4, 2),
            ([1, 2, 1, 1, 3, 3], 3, 6, 5),
            ([3, 2, 1, 1], 1, 2, 1),
            ([1, 2, 3, 4], 1, 4, 4),
            ([1, 1, 1, 1, 1, 1, 1], 5, 6, 1),
            ([1, math.nan, 2, math.nan, math.nan, 9], 2, 5, 3),  # NaN is never better
        ],
    )
    def test_early_stopping_ends_without_improvement_and_restores_the_best_weights(
        self, scores: list[float], patience: int, epochs: int, best: int
    ) -> None:
        trainer, found = fit(scores, patience=patience)
        assert trainer.epoch == epochs
        assert found == [best, best]
        assert trainer.stopping == (epochs < len(scores))

    def test_early_stopping_defaults_to_validation_loss_and_5_epochs(self) -> None:
        early = EarlyStopping()
        assert (early.monitor.metric, early.patience, early.best_epoch) == ("validation_loss", 5, 0)

    def test_early_stopping_uses_the_monitor_it_is_given(self) -> None:
        scores = [3, 2.5, 2, 1.5, 1.45, 1]
        lower = Monitor("score", higher_is_better=False, min_delta=0.6)
        trainer, found = fit(scores, lower, patience=2)
        # 2.5 is not better by enough, 2 is; 1.5 and 1.45 are not.
        assert (trainer.epoch, found) == (5, [3, 3])

    def test_weights_stay_if_no_epoch_improved_the_metric(self) -> None:
        trainer, found = fit([math.nan] * 4, patience=2)
        assert (trainer.epoch, found) == (2, [0, 2])


class TestErrors:
    @pytest.mark.parametrize(
        ("monitor", "hint"),
        [("speed", ""), ("validation_loss", "; give validation data to fit")],
    )
    def test_early_stopping_rejects_an_unknown_metric_at_the_start(
        self, monitor: str, hint: str
    ) -> None:
        model = Dense(4, 3)
        trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1))
        with pytest.raises(InputError) as error:
            trainer.fit(X, Y, epochs=1, callbacks=[EarlyStopping(monitor)])
        assert str(error.value) == (
            f"Monitor expects one of the metrics loss, learning_rate, got {monitor!r}{hint}"
        )
        assert trainer.step == 0

    def test_early_stopping_rejects_a_metric_of_an_earlier_fit_only(self) -> None:
        model = Dense(4, 3)
        trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1))
        trainer.fit(X, Y, epochs=1, validation=(X, Y))
        with pytest.raises(InputError, match="Monitor expects one of the metrics loss"):
            trainer.fit(X, Y, epochs=2, callbacks=[EarlyStopping()])
        assert trainer.epoch == 1

    def test_early_stopping_rejects_patience_below_1(self) -> None:
        with pytest.raises(InputError, match="EarlyStopping expects patience to be a whole numb"):
            EarlyStopping(patience=0)

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"monitor": {}}, "Monitor expects a state with best, waited"),
            ({"best_epoch": -1}, "EarlyStopping expects best_epoch to be a whole number >= 0"),
            ({"best": 3}, "EarlyStopping expects a state, got 3"),
            ({"last": 3}, "EarlyStopping expects a state, got 3"),
            ({"best": {"w": "x"}}, "EarlyStopping, w, expects"),
        ],
    )
    def test_early_stopping_rejects_an_invalid_state(
        self, change: dict[str, Any], sentence: str
    ) -> None:
        early = EarlyStopping("loss")
        state = early.state_dict()
        with pytest.raises(InputError, match=sentence):
            early.check_state_dict({**state, **change})
        with pytest.raises(InputError, match="EarlyStopping expects a state with best, best_epoch"):
            early.check_state_dict({"best": {}})
        assert (
            early.state_dict()
            == state
            == {
                "monitor": {"best": None, "waited": 0},
                "best_epoch": 0,
                "best": {},
                "last": {},
            }
        )


class SaveAtEnd(Callback):
    """Saves when the last epoch is over, before the best weights come back."""

    runs_last = True

    def __init__(self, path: Any) -> None:
        self.path = path

    def on_epoch_end(self, trainer: Trainer) -> None:
        trainer.save(self.path)


class TestResume:
    def trainer(self) -> Trainer:
        model = Dense(4, 3, rng=0)
        return Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 3.0))

    def test_a_stopped_run_does_not_train_after_it_is_resumed(self, tmp_path: Any) -> None:
        first, again = self.trainer(), self.trainer()
        early = EarlyStopping("loss", patience=1)
        settings: Any = {"epochs": 50, "batch_size": 10}
        first.fit(X, Y, callbacks=[early, SaveAtEnd(tmp_path / "c.npz")], **settings)
        assert first.epoch == early.best_epoch + 1 < 50
        again.restore(tmp_path / "c.npz")
        assert weights(again) != weights(first)
        same = EarlyStopping("loss", patience=1)
        again.fit(X, Y, callbacks=[same], **settings)
        assert digest(again) == digest(first)
        assert same.best_epoch == early.best_epoch
        # Another fit starts again.
        again.fit(X, Y, callbacks=[same], **settings)
        assert again.epoch > first.epoch

    def test_a_run_resumed_before_it_stopped_ends_as_the_whole_run(self, tmp_path: Any) -> None:
        whole, first, again = self.trainer(), self.trainer(), self.trainer()
        early: list[EarlyStopping] = [EarlyStopping("loss", patience=2) for _ in range(3)]
        whole.fit(X, Y, epochs=50, batch_size=10, callbacks=[early[0]])
        assert 2 < whole.epoch < 50
        save = SaveAtEnd(tmp_path / "c.npz")
        first.fit(X, Y, epochs=whole.epoch - 1, batch_size=10, callbacks=[early[1], save])
        again.restore(tmp_path / "c.npz")
        again.fit(X, Y, epochs=50, batch_size=10, callbacks=[early[2]])
        assert digest(again) == digest(whole)
        assert early[2].best_epoch == early[0].best_epoch

    def test_early_stopping_starts_again_in_another_fit(self) -> None:
        trainer, early = self.trainer(), EarlyStopping("loss", patience=1)
        trainer.fit(X, Y, epochs=50, batch_size=10, callbacks=[early])
        early.monitor.best = -1.0  # which no loss is below
        trainer.fit(X, Y, epochs=trainer.epoch + 1, batch_size=10, callbacks=[early])
        assert early.best_epoch == trainer.epoch
        trainer.fit(X, Y, epochs=0, callbacks=[early])
        assert early.best_epoch == 0

    def test_early_stopping_starts_again_with_the_monitor_of_another_run(self) -> None:
        monitor = Monitor("loss", min_delta=0.5)
        for _ in range(2):
            early = EarlyStopping(monitor, patience=2)
            self.trainer().fit(X, Y, epochs=2, callbacks=[early])
            assert early.best_epoch > 0

    def test_early_stopping_stores_a_copy_of_the_best_weights(self) -> None:
        trainer, early, kept = self.trainer(), EarlyStopping("loss", patience=50), Weights()
        trainer.fit(X, Y, epochs=5, callbacks=[early, kept])
        best = kept.of[early.best_epoch]
        assert [array.tobytes() for array in early.state_dict()["best"].values()] == best
        trainer.model.parameters()[0].value += 1
        assert [array.tobytes() for array in early.state_dict()["best"].values()] == best
