import math
from typing import Any

import numpy as np
import pytest
from resume_run import digest, make_data, make_model

from tinynet import SGD, Array, Dense, InputError, SoftmaxCrossEntropy, Trainer
from tinynet.callbacks import Callback, EarlyStopping
from tinynet.monitor import Monitor
from tinynet.training.metrics import Metric

X, Y = make_data()


class Told(Metric):
    """Gives the scores that it was told to, one an epoch."""

    def __init__(self, scores: list[float]) -> None:
        self.count = np.zeros(1, np.int64)
        self.scores, self.epochs = scores, 0

    def update(self, prediction: Array, targets: Array) -> None:  # noqa: ARG002
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


def fit(scores: list[float], watch: Any = "score", **settings: Any) -> tuple[Trainer, list[Any]]:
    """Trains an epoch for each score; returns which was best, and whose weights it ends with."""
    model = make_model()
    trainer = Trainer(
        model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1), metrics=[Told(scores)]
    )
    kept, early = Weights(), EarlyStopping(watch, **settings)
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
    def test_where_it_got_no_better_and_brings_the_best_weights_back(
        self, scores: list[float], patience: int, epochs: int, best: int
    ) -> None:
        trainer, found = fit(scores, patience=patience)
        assert trainer.epoch == epochs
        assert found == [best, best]
        assert trainer.stopping == (epochs < len(scores))

    def test_after_5_epochs_on_the_validation_loss_where_nothing_else_is_said(self) -> None:
        early = EarlyStopping()
        assert (early.monitor.metric, early.patience, early.best_epoch) == ("validation_loss", 5, 0)

    def test_by_what_a_watch_calls_better(self) -> None:
        scores = [3, 2.5, 2, 1.5, 1.45, 1]
        lower = Monitor("score", higher_is_better=False, min_delta=0.6)
        trainer, found = fit(scores, lower, patience=2)
        # 2.5 is not better by enough, 2 is; 1.5 and 1.45 are not.
        assert (trainer.epoch, found) == (5, [3, 3])

    def test_where_no_epoch_was_any_good_the_weights_stay(self) -> None:
        trainer, found = fit([math.nan] * 4, patience=2)
        assert (trainer.epoch, found) == (2, [0, 2])


class TestRefuses:
    @pytest.mark.parametrize(
        ("watch", "mend"),
        [("speed", ""), ("validation_loss", "; give validation data to fit")],
    )
    def test_a_figure_that_is_not_there_at_the_start(self, watch: str, hint: str) -> None:
        model = Dense(4, 3)
        trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1))
        with pytest.raises(InputError) as error:
            trainer.fit(X, Y, epochs=1, callbacks=[EarlyStopping(watch)])
        assert str(error.value) == (
            f"watching {watch!r} expects one of the figures loss, learning_rate{hint}"
        )
        assert trainer.step == 0

    def test_a_figure_that_was_there_in_an_earlier_fit(self) -> None:
        model = Dense(4, 3)
        trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1))
        trainer.fit(X, Y, epochs=1, validation=(X, Y))
        with pytest.raises(InputError, match="watching 'validation_loss' expects"):
            trainer.fit(X, Y, epochs=2, callbacks=[EarlyStopping()])
        assert trainer.epoch == 1

    def test_a_patience_below_1(self) -> None:
        with pytest.raises(InputError, match="EarlyStopping expects patience to be a whole numb"):
            EarlyStopping(patience=0)

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"watch": {}}, "Monitor expects a state with best, waited"),
            ({"best_epoch": -1}, "EarlyStopping expects best_epoch to be a whole number >= 0"),
            ({"best": 3}, "EarlyStopping expects a state, got 3"),
            ({"best": {"w": "x"}}, "EarlyStopping, w, expects"),
        ],
    )
    def test_a_state_that_is_none_of_its_own(self, change: dict[str, Any], sentence: str) -> None:
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
            }
        )


class SaveAtEnd(Callback):
    """Saves when the last epoch is over, before the best weights come back."""

    runs_last = True

    def __init__(self, path: Any) -> None:
        self.path = path

    def on_epoch_end(self, trainer: Trainer) -> None:
        trainer.save(self.path)


class TestGoingOn:
    def trainer(self) -> Trainer:
        model = Dense(4, 3, rng=0)
        return Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 3.0))

    def test_resumed_after_it_had_stopped_it_does_not_train_on(self, tmp_path: Any) -> None:
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
        # A fit of its own begins anew.
        again.fit(X, Y, callbacks=[same], **settings)
        assert again.epoch > first.epoch

    def test_another_fit_starts_anew(self) -> None:
        trainer, early = self.trainer(), EarlyStopping("loss", patience=1)
        trainer.fit(X, Y, epochs=50, batch_size=10, callbacks=[early])
        early.monitor.best = -1.0  # which no loss is below
        trainer.fit(X, Y, epochs=trainer.epoch + 1, batch_size=10, callbacks=[early])
        assert early.best_epoch == trainer.epoch
        trainer.fit(X, Y, epochs=0, callbacks=[early])
        assert early.best_epoch == 0

    def test_another_run_starts_anew_also_with_the_watch_of_the_first(self) -> None:
        watch = Monitor("loss", min_delta=0.5)
        for _ in range(2):
            early = EarlyStopping(watch, patience=2)
            self.trainer().fit(X, Y, epochs=2, callbacks=[early])
            assert early.best_epoch > 0

    def test_the_best_weights_are_those_of_then(self) -> None:
        trainer, early, kept = self.trainer(), EarlyStopping("loss", patience=50), Weights()
        trainer.fit(X, Y, epochs=5, callbacks=[early, kept])
        before = kept.of[early.best_epoch]
        assert [array.tobytes() for array in early.state_dict()["best"].values()] == before
        trainer.model.parameters()[0].value += 1  # they are not the weights, but a copy
        assert [array.tobytes() for array in early.state_dict()["best"].values()] == before
