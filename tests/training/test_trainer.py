"""The training loop, compared with one written by hand."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from resume_run import digest, make_data, make_model, make_trainer

from tinynet import (
    SGD,
    Accuracy,
    Array,
    ConfusionMatrix,
    Dense,
    DivergenceError,
    Dropout,
    InputError,
    Layer,
    MeanSquaredError,
    Parameter,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    TopKAccuracy,
    Trainer,
)
from tinynet.callbacks import Callback, Checkpoint, CSVLog, ProgressBar
from tinynet.datasets.batches import Batches
from tinynet.metrics.metric import Metric
from tinynet.optimizers.schedules import Cosine, OnPlateau, Schedule

X, Y = make_data()  # 50 samples: with batch_size=20 the last batch has half the size
X_TEST, Y_TEST = make_data(30, seed=2)


def trainer_of(model: Layer, rate: Any = 0.1, **settings: Any) -> Trainer:
    optimizer = SGD(model.parameters(), rate, momentum=0.9)
    return Trainer(model, SoftmaxCrossEntropy(), optimizer, **settings)


def weights(trainer: Trainer) -> list[bytes]:
    return [parameter.value.tobytes() for parameter in trainer.model.parameters()]


class Each(Callback):
    """Calls a function after every step, after all other callbacks, and counts the calls."""

    runs_last = True

    def __init__(self, do: Callable[[Trainer], object]) -> None:
        self.do, self.calls = do, 0

    def on_step_end(self, trainer: Trainer) -> None:
        self.calls += 1
        self.do(trainer)


def stop_at(step: int) -> Each:
    return Each(lambda trainer: trainer.stop() if trainer.step == step else None)


class TestAgainstALoopByHand:
    def test_fit_equals_a_handwritten_loop_bit_for_bit(self) -> None:
        rate = Cosine(0.1, steps=9)
        trainer = trainer_of(make_model(), rate, metrics=[Accuracy()], seed=7)
        trainer.optimizer.clip_norm = 0.5
        history = trainer.fit(X, Y, epochs=3, batch_size=20, validation=(X_TEST, Y_TEST))

        model, loss = make_model(), SoftmaxCrossEntropy()
        optimizer = SGD(model.parameters(), rate, momentum=0.9, clip_norm=0.5)
        batches = Batches(X, Y, 20, seed=7)
        losses, norms, rows = [], [], []
        for epoch in range(3):
            loss_sum, correct = 0.0, 0
            for x, y in batches.epoch(epoch):
                logits = model(x)
                losses.append(loss(logits, y))
                loss_sum += losses[-1] * len(x)
                correct += int((logits.argmax(axis=1) == y).sum())
                model.backward(loss.backward())
                optimizer.step()
                norms.append(optimizer.gradient_norm)
            model.eval()
            logits = model(X_TEST)
            validated = loss(logits, Y_TEST), (logits.argmax(axis=1) == Y_TEST).mean()
            model.train()
            rows.append([loss_sum / 50, correct / 50, rate(3 * epoch + 2), *validated])

        assert weights(trainer) == [p.value.tobytes() for p in model.parameters()]
        assert history is trainer.history
        assert {name: list(column) for name, column in history.steps.items()} == {
            "loss": losses,
            "learning_rate": [rate(step) for step in range(9)],
            "gradient_norm": norms,
        }
        names = ["loss", "accuracy", "learning_rate", "validation_loss", "validation_accuracy"]
        assert trainer.metric_names == tuple(names)
        assert list(history.epochs) == names
        assert list(map(list, zip(*history.epochs.values(), strict=True))) == rows
        assert (trainer.epoch, trainer.step, trainer.steps_per_epoch) == (3, 9, 3)
        assert trainer.last_metrics == history.last

    def test_the_seed_determines_the_order_of_the_samples(self) -> None:
        ends = []
        for seed in (0, 0, 1):
            trainer = trainer_of(make_model(), seed=seed)
            trainer.fit(X, Y, epochs=1, batch_size=20)
            ends.append(weights(trainer))
        assert ends[0] == ends[1] != ends[2]

    def test_fit_trains_on_transformed_batches_and_validates_on_the_data(self) -> None:
        def noise(x: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
            return x + rng.standard_normal(x.shape).astype(np.float32), y

        trainer = trainer_of(make_model(), seed=7)
        trainer.fit(X, Y, epochs=2, batch_size=20, transform=noise, validation=(X, Y))
        model, loss = make_model(), SoftmaxCrossEntropy()
        optimizer = SGD(model.parameters(), 0.1, momentum=0.9)
        batches = Batches(X, Y, 20, seed=7, transform=noise)
        for epoch in range(2):
            for x, y in batches.epoch(epoch):
                loss(model(x), y)
                model.backward(loss.backward())
                optimizer.step()
        assert weights(trainer) == [p.value.tobytes() for p in model.parameters()]
        validation_loss = loss(model.eval()(X), Y)  # which is not transformed
        assert trainer.history.last["validation_loss"] == validation_loss

    def test_a_schedule_observes_the_metrics_of_each_epoch(self) -> None:
        observed = []

        class Observing(Schedule):
            def __call__(self, step: int) -> float:  # noqa: ARG002
                return 0.1

            def observe(self, metrics: Any) -> None:
                observed.append(dict(metrics))

        trainer = trainer_of(make_model(), Observing())
        trainer.fit(X, Y, epochs=2, batch_size=20, validation=(X_TEST, Y_TEST))
        columns = trainer.history.epochs
        assert observed == [{name: columns[name][row] for name in columns} for row in (0, 1)]

    def test_on_plateau_lowers_the_learning_rate_in_fit(self) -> None:
        trainer = trainer_of(make_model(), OnPlateau(1e-9, patience=0, factor=0.5, monitor="loss"))
        trainer.fit(X, Y, epochs=12, batch_size=20)
        rates = trainer.history.epochs["learning_rate"]
        assert 1e-9 / 2**11 <= rates[-1] < rates[0] == 1e-9


class Sizes(Layer):
    """y = x; records the number of samples of each call."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def forward(self, x: Array) -> Array:
        self.sizes.append(len(x))
        return x.copy()

    def backward(self, dy: Array) -> Array:
        return dy.copy()


class TestMicroBatches:
    def ends(self, size: int | None, **others: Any) -> Trainer:
        model = Sequential([Dense(4, 8, rng=0), ReLU(), Dense(8, 3, rng=1)]).astype(np.float64)
        trainer = trainer_of(model, metrics=[Accuracy()])
        trainer.fit(X.astype(float), Y, epochs=3, batch_size=20, micro_batch_size=size, **others)
        return trainer

    @pytest.mark.parametrize("size", [1, 7, 10, 19])
    def test_micro_batches_make_the_same_step(self, size: int) -> None:
        whole, parts = self.ends(None), self.ends(size)
        for one, other in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
            np.testing.assert_allclose(other.value, one.value, rtol=1e-10, atol=1e-12)
        losses = [np.array(trainer.history.steps["loss"]) for trainer in (whole, parts)]
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)
        assert whole.history.epochs["accuracy"] == parts.history.epochs["accuracy"]

    def test_micro_batches_have_the_given_size_and_the_remainder(self) -> None:
        seen = Sizes()
        trainer = trainer_of(Sequential([seen, Dense(4, 3, rng=0)]))
        trainer.fit(X, Y, epochs=1, batch_size=20, micro_batch_size=8)
        assert seen.sizes == [
            0,
            8,
            8,
            4,
            8,
            8,
            4,
            8,
            2,
        ]  # first an empty batch, to check the shapes

    def test_micro_batches_of_at_least_the_batch_size_change_no_bit(self) -> None:
        assert digest(self.ends(20)) == digest(self.ends(99)) == digest(self.ends(None))

    def test_micro_batches_average_the_gradients_of_the_loss_too(self) -> None:
        class Weighed(Layer):
            """The mean of a · (prediction - target), with a parameter a."""

            def __init__(self) -> None:
                self.a = Parameter(1.0, np.float64)

            def forward(self, prediction: Array, targets: Array) -> float:
                self.gap = prediction - targets
                return float((self.a.value * self.gap).mean())

            def backward(self) -> Array:
                self.a.grad = np.array(self.gap.mean())
                return np.full(self.gap.shape, self.a.value / self.gap.size)

        ends = []
        for size in (None, 6):
            model, loss = Dense(4, 1, rng=0).astype(np.float64), Weighed()
            optimizer = SGD([*model.parameters(), *loss.parameters()], 0.1)
            x, y = X.astype(float), Y.astype(float)[:, None]
            Trainer(model, loss, optimizer).fit(x, y, epochs=1, micro_batch_size=size)
            ends.append(float(loss.a.value))
        assert ends[0] != 1
        assert ends[1] == pytest.approx(ends[0], rel=1e-12)


class TestEpochs:
    def test_epochs_count_all_fits_and_a_second_fit_continues(self) -> None:
        whole, parts = make_trainer(), make_trainer()
        whole.fit(X, Y, epochs=5, batch_size=20)
        for epochs in (0, 2, 2, 1, 5):
            parts.fit(X, Y, epochs=epochs, batch_size=20)
            assert parts.epochs == epochs
        assert (parts.epoch, parts.step) == (5, 15)
        assert digest(parts) == digest(whole)

    def test_each_epoch_may_have_other_data_and_batch_sizes(self) -> None:
        trainer = make_trainer()
        trainer.fit(X, Y, epochs=1, batch_size=20)
        trainer.fit(X_TEST, Y_TEST, epochs=2, batch_size=15)
        assert (trainer.epoch, trainer.step, trainer.steps_per_epoch) == (2, 5, 2)

    def test_a_trainer_without_epochs_has_no_history_and_nan_metrics(self) -> None:
        trainer = make_trainer()
        assert (trainer.epoch, trainer.step, trainer.steps_per_epoch) == (0, 0, 0)
        assert (trainer.epochs, trainer.stopping, trainer.metric_names) == (0, False, ())
        assert (len(trainer.batch), trainer.last_metrics) == (0, {})
        assert trainer.history.epochs == {}
        trainer.fit(X, Y, epochs=0)
        assert list(trainer.last_metrics) == list(trainer.metric_names)
        assert np.isnan([*trainer.last_metrics.values()]).all()

    def test_fit_defaults_to_batches_of_64_and_seed_0(self) -> None:
        x, y = make_data(65)
        trainer = trainer_of(make_model())
        trainer.fit(x, y, epochs=1)
        assert (trainer.step, trainer.seed) == (2, 0)

    def test_validation_data_may_be_added_in_a_later_fit(self) -> None:
        trainer = trainer_of(make_model())
        trainer.fit(X, Y, epochs=1)
        trainer.fit(X, Y, epochs=2, validation=(X_TEST, Y_TEST))
        before, after = trainer.history.epochs["validation_loss"]
        assert np.isnan(before)
        assert after == trainer.evaluate(X_TEST, Y_TEST)["loss"]
        trainer.fit(X, Y, epochs=3)
        assert list(trainer.last_metrics) == ["loss", "learning_rate"]


class TestEvaluate:
    def test_evaluate_returns_mean_loss_and_metrics_in_evaluation_mode(self) -> None:
        trainer = trainer_of(make_model(), metrics=[Accuracy(), ConfusionMatrix(3)])
        trainer.fit(X, Y, epochs=1)
        logits = trainer.model.eval()(X_TEST)
        trainer.model.train()
        results = trainer.evaluate(X_TEST, Y_TEST)
        assert list(results) == ["loss", "accuracy", "confusion_matrix"]
        assert results["loss"] == SoftmaxCrossEntropy()(logits, Y_TEST)
        assert results["accuracy"] == (logits.argmax(axis=1) == Y_TEST).mean()
        assert results["confusion_matrix"].sum() == 30
        assert "confusion_matrix" not in trainer.history.epochs  # which has numbers
        in_parts = trainer.evaluate(X_TEST, Y_TEST, batch_size=7)
        assert in_parts["loss"] == pytest.approx(results["loss"], rel=1e-6)
        assert in_parts["accuracy"] == results["accuracy"]

    def test_evaluate_weights_batches_by_their_samples(self) -> None:
        model = Dense(1, 1, rng=0)
        trainer = Trainer(model, MeanSquaredError(), SGD(model.parameters(), 0.1))
        model.weight.value[:] = 1
        x = np.array([[0.0], [0.0], [3.0]], np.float32)
        results = trainer.evaluate(x, np.zeros((3, 1), np.float32), batch_size=2)
        assert results == {"loss": pytest.approx(3)}

    def test_evaluate_and_predict_default_to_batches_of_1024(self) -> None:
        seen = Sizes()
        trainer = trainer_of(Sequential([seen, Dense(4, 3, rng=0)]))
        x, y = make_data(1025)
        trainer.evaluate(x, y)
        trainer.predict(x)
        assert seen.sizes == [0, 1024, 1, 1024, 1]  # first an empty batch, to check the shapes

    def test_predict_returns_the_output_of_the_model(self) -> None:
        trainer = make_trainer()
        assert (trainer.predict(X) == trainer.model.predict(X)).all()
        assert trainer.predict(X, 7).shape == (50, 3)

    def test_evaluate_and_predict_within_an_epoch_change_nothing(self) -> None:
        def look(trainer: Trainer) -> None:
            trainer.evaluate(X, Y, batch_size=7)
            trainer.predict(X, 7)
            assert trainer.model.training

        plain, looked_at, looks = make_trainer(), make_trainer(), Each(look)
        plain.fit(X, Y, epochs=3, batch_size=20)
        looked_at.fit(X, Y, epochs=3, batch_size=20, callbacks=[looks])
        assert looks.calls == 9
        assert digest(looked_at) == digest(plain)


class TestModes:
    def test_fit_sets_training_mode_and_restores_the_former_modes(self) -> None:
        trainer = make_trainer()
        frozen: Any = trainer.model
        frozen.layers[3].eval()  # a Dropout
        trainer.loss.eval()
        modes: list[bool] = []
        layers = [*frozen.layers, trainer.loss]
        look = Each(lambda _: modes.extend(layer.training for layer in layers))
        trainer.fit(X, Y, epochs=1, validation=(X, Y), callbacks=[look])
        assert modes == [True] * 6
        after = [True, True, True, False, True, False]
        assert [layer.training for layer in layers] == after
        trainer.evaluate(X, Y)
        assert [layer.training for layer in layers] == after

    def test_the_loss_is_in_evaluation_mode_for_validation(self) -> None:
        class ModeLoss(Layer):
            def forward(self, *_: Array) -> float:
                return float(self.training)

            def backward(self) -> Array:
                return np.zeros((50, 3))

        model = make_model()
        trainer = Trainer(model, ModeLoss(), SGD(model.parameters(), 0.1))
        trainer.fit(X, Y, epochs=1, validation=(X, Y))
        assert trainer.history.last == {"loss": 1, "learning_rate": 0.1, "validation_loss": 0}

    def test_an_error_in_fit_restores_modes_and_closes_callbacks(self) -> None:
        closed = []

        class Door(Callback):
            def on_step_end(self, trainer: Trainer) -> None:
                raise ZeroDivisionError(trainer.step)

            def close(self) -> None:
                closed.append(self)

        trainer, door = make_trainer(), Door()
        trainer.model.eval()
        with pytest.raises(ZeroDivisionError, match="1"):
            trainer.fit(X, Y, epochs=1, callbacks=[door])
        assert closed == [door]
        assert not trainer.model.training
        assert trainer.state_dict()["callbacks"] == {"Door": {}}  # for the next fit
        assert trainer.step == 1


class TestDivergence:
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_divergence_is_raised_before_the_parameters_change(self, value: float) -> None:
        x = X.copy()
        trainer = make_trainer()
        trainer.fit(x, Y, epochs=2, batch_size=20)
        _, (batch, _), _ = Batches(x, Y, 20).epoch(2)
        x[(x == batch[5]).all(axis=1)] = value  # in the second batch of the third epoch
        marks: list[Any] = []
        keep = Each(lambda trainer: marks.append((weights(trainer), trainer.optimizer.steps)))
        with pytest.raises(DivergenceError) as error:
            trainer.fit(x, Y, epochs=3, batch_size=20, callbacks=[keep])
        assert re.fullmatch(
            r"the loss became (nan|inf) in step 8, epoch 3: x of this batch has NaN or infinity "
            r"at index \(\d+, 0\); replace such entries or leave their samples out\. The "
            r"parameters are those before this step",
            str(error.value),
        )
        assert isinstance(error.value, ArithmeticError)
        assert (weights(trainer), trainer.optimizer.steps) == marks[-1]
        assert (trainer.step, len(trainer.history.steps["loss"])) == (7, 7)

    def test_a_far_too_high_learning_rate_raises_divergence_error(self) -> None:
        trainer = trainer_of(make_model(), 1e30)
        with pytest.raises(DivergenceError, match="the loss became nan in step 2, epoch 1"):
            trainer.fit(X, Y, epochs=1, batch_size=20)


class TestStopping:
    def test_a_run_stopped_at_every_step_equals_one_never_stopped(self) -> None:
        whole = make_trainer()
        whole.fit(X, Y, epochs=4, batch_size=20, validation=(X_TEST, Y_TEST))
        stopped = make_trainer()
        for step in range(1, 13):
            settings: Any = {"epochs": 4, "batch_size": 20, "validation": (X_TEST, Y_TEST)}
            stopped.fit(X, Y, callbacks=[stop_at(step)], **settings)
            assert stopped.stopping
            assert stopped.step == step
            assert stopped.epoch == step // 3 == len(stopped.history.epochs.get("loss", ()))
        stopped.fit(X, Y, epochs=4, batch_size=20)
        assert not stopped.stopping
        assert digest(stopped) == digest(whole)

    @pytest.mark.parametrize(
        ("samples", "batch_size", "got"),
        [
            (50, 25, "50 samples, batch_size=25 and 2 batches"),
            (40, 20, "40 samples, batch_size=20 and 2 batches"),
        ],
    )
    def test_other_batches_within_an_epoch_are_rejected(
        self, samples: int, batch_size: int, got: str
    ) -> None:
        trainer = make_trainer()
        trainer.fit(X, Y, epochs=2, batch_size=20, callbacks=[stop_at(4)])
        before = digest(trainer)
        with pytest.raises(InputError) as error:
            trainer.fit(X[:samples], Y[:samples], epochs=2, batch_size=batch_size)
        assert str(error.value) == (
            "fit expects to continue within epoch 2, with 50 samples, batch_size=20 and 3 batches, "
            f"got {got}; restart_epoch=True starts this epoch again from the present weights, and "
            "a new Trainer around the same model starts a new run"
        )
        assert digest(trainer) == before
        trainer.fit(X, Y, epochs=2, batch_size=20)
        assert trainer.step == 6

    @pytest.mark.parametrize(
        ("hook", "steps"),
        [("on_fit_start", 0), ("on_epoch_start", 1), ("on_step_end", 1), ("on_epoch_end", 3)],
    )
    def test_stop_works_in_every_hook(self, hook: str, steps: int) -> None:
        stopper: Any = type("Stopper", (Callback,), {hook: lambda _, trainer: trainer.stop()})()
        trainer = make_trainer()
        trainer.fit(X, Y, epochs=2, batch_size=20, callbacks=[stopper])
        assert trainer.step == steps


class Recorder(Callback):
    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int]] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("on_"):
            return lambda trainer: self.calls.append((name, trainer.epoch, trainer.step))
        return super().__getattribute__(name)

    def on_step_end(self, trainer: Trainer) -> None:
        raise NotImplementedError  # overridden, so that Callbacks calls it


class TestHooks:
    def test_hooks_run_in_order_with_updated_counts(self) -> None:
        recorder = Recorder()
        trainer = make_trainer()
        trainer.fit(X, Y, epochs=2, batch_size=30, callbacks=[recorder])
        assert recorder.calls == [
            ("on_fit_start", 0, 0),
            ("on_epoch_start", 0, 0),
            ("on_step_end", 0, 1),
            ("on_step_end", 0, 2),
            ("on_epoch_end", 1, 2),
            ("on_epoch_start", 1, 2),
            ("on_step_end", 1, 3),
            ("on_step_end", 1, 4),
            ("on_epoch_end", 2, 4),
            ("on_fit_end", 2, 4),
        ]

    def test_hooks_run_again_when_an_epoch_is_continued(self) -> None:
        trainer, first, second = make_trainer(), Recorder(), Recorder()
        trainer.fit(X, Y, epochs=1, batch_size=30, callbacks=[stop_at(1), first])
        trainer.fit(X, Y, epochs=1, batch_size=30, callbacks=[second])
        assert [name for name, *_ in first.calls] == [
            "on_fit_start",
            "on_epoch_start",
            "on_step_end",
            "on_fit_end",
        ]
        assert [name for name, *_ in second.calls] == [
            "on_fit_start",
            "on_epoch_start",
            "on_step_end",
            "on_epoch_end",
            "on_fit_end",
        ]

    def test_hooks_can_read_the_batch_and_the_metric_names(self) -> None:
        sizes: list[Any] = []
        trainer = make_trainer()
        look = Each(lambda trainer: sizes.append((len(trainer.batch), trainer.metric_names[:2])))
        trainer.fit(X, Y, epochs=1, batch_size=20, callbacks=[look])
        assert sizes == [(size, ("loss", "accuracy")) for size in (20, 20, 10)]

    def test_hooks_can_read_the_states_of_callbacks(self) -> None:
        class Constant(Callback):
            def state_dict(self) -> dict[str, Any]:
                return {"a": 1}

        seen: list[Any] = []
        trainer, look = make_trainer(), Each(lambda trainer: seen.append(trainer.state_dict()))
        trainer.fit(X, Y, epochs=1, callbacks=[Constant(), look, Constant()])
        assert seen[0]["callbacks"] == {"Constant": {"a": 1}, "Each": {}, "Constant-2": {"a": 1}}


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"model": "net"}, "Trainer expects model to be a layer, got 'net'"),
            ({"model": Dense}, "Trainer expects model to be a layer, got <class 'tinynet.layers"),
            ({"loss": None}, "Trainer expects loss to be a layer, got None"),
            ({"optimizer": 0.1}, "Trainer expects an optimizer, got 0.1"),
            (
                {"optimizer": SGD(Dense(4, 3).parameters(), 0.1)},
                "Trainer expects an optimizer of the parameters of the model, got one with others: "
                "write SGD(model.parameters(), ...) for the same model object",
            ),
            (
                {"metrics": [Accuracy]},
                "got <class 'tinynet.metrics.classification.Accuracy'>: write Accuracy(..",
            ),
            ({"metrics": ["accuracy"]}, "Trainer expects metrics, got 'accuracy'"),
            (
                {"metrics": [Accuracy(), TopKAccuracy(2), Accuracy()]},
                "Trainer expects metrics of different names, got loss, learning_rate, accuracy, "
                "top_2_accuracy, accuracy",
            ),
            ({"seed": -1}, "Trainer expects seed to be a whole number >= 0, got -1"),
            ({"seed": 0.5}, "Trainer expects seed to be a whole number >= 0, got 0.5"),
        ],
    )
    def test_trainer_rejects_parts_that_do_not_fit(
        self, change: dict[str, Any], sentence: str
    ) -> None:
        model = Dense(4, 3, rng=0)
        parts: dict[str, Any] = {
            "model": model,
            "loss": SoftmaxCrossEntropy(),
            "optimizer": SGD(model.parameters(), 0.1),
        }
        with pytest.raises(InputError, match=re.escape(sentence)):
            Trainer(**{**parts, **change})

    @pytest.mark.parametrize("name", ["loss", "learning_rate"])
    def test_trainer_rejects_metrics_with_reserved_names(self, name: str) -> None:
        class Taken(Metric):
            def update(self, prediction: Array, targets: Array) -> None: ...

            def results(self) -> dict[str, Any]:
                return {name: 1.0}

        with pytest.raises(InputError, match=f"different names, got loss, learning_rate, {name}$"):
            trainer_of(make_model(), metrics=[Taken()])

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"epochs": -1}, "fit expects epochs to be a whole number >= 0, got -1"),
            ({"epochs": 1.5}, "fit expects epochs to be a whole number >= 0, got 1.5"),
            ({"batch_size": 0}, "Batches expects batch_size to be a whole number >= 1, got 0"),
            ({"micro_batch_size": 0}, "fit expects micro_batch_size to be a whole number >= 1, go"),
            ({"x": X[:49]}, "Batches expects x and y of the same number of samples, got 49 and 5"),
            ({"y": list(Y)}, "Batches expects y to be a NumPy array, got list"),
            ({"validation": X}, "fit expects a pair, validation=(x, y), got ndarray"),
            ({"validation": [X, Y]}, "fit expects a pair, validation=(x, y), got list of 2"),
            ({"validation": (X, Y, Y)}, "fit expects a pair, validation=(x, y), got tuple of 3"),
            ({"validation": (X, Y / 2)}, "validation data: SoftmaxCrossEntropy() expects integer"),
            (
                {"validation": (X, Y + 9)},
                "validation data: SoftmaxCrossEntropy() expects labels",
            ),
            ({"last_batch": "skip"}, "Batches expects last_batch to be 'keep' or 'drop' or 'join'"),
            (
                {"batch_size": 51, "last_batch": "drop"},
                "at least one whole batch for last_ba",
            ),
            ({"validation": (X, Y[:9])}, "x and y of the same number of samples, got 50 and 9"),
            ({"callbacks": ProgressBar()}, "fit expects a list, callbacks=[...], got ProgressBar"),
            ({"callbacks": [CSVLog]}, "got <class 'tinynet.callbacks.csv_log.CSVLog'>: write CSVL"),
            ({"callbacks": [print]}, "fit expects callbacks, got <built-in function print>"),
            (
                {"callbacks": [Checkpoint("no", best="accuracy.")]},
                "Monitor expects one of the metrics loss, accuracy, precision",
            ),
        ],
    )
    def test_fit_rejects_wrong_arguments_before_anything_changes(
        self, change: dict[str, Any], sentence: str
    ) -> None:
        trainer = make_trainer()
        arguments: dict[str, Any] = {"x": X, "y": Y, "epochs": 2, "batch_size": 20}
        trainer.fit(**arguments)
        before = digest(trainer)
        with pytest.raises(InputError, match=re.escape(sentence)):
            trainer.fit(**{**arguments, "epochs": 3, **change})
        assert digest(trainer) == before
        assert trainer.steps_per_epoch == 3

    def test_trainer_rejects_an_invalid_state_and_stays_unchanged(self) -> None:
        trainer, other = make_trainer(), make_trainer(seed=1)
        before = digest(trainer)
        state = other.state_dict()
        changes: list[dict[str, Any]] = [{"callbacks": []}, {"seed": -1}, {"progress": {}}]
        for change in [*changes, {"generators": {}}]:
            with pytest.raises(InputError, match="expects"):
                trainer.load_state_dict(state | change)
            assert digest(trainer) == before

    def test_an_error_of_a_metric_comes_before_the_step(self) -> None:
        trainer = trainer_of(make_model(), metrics=[ConfusionMatrix(4)])
        before = weights(trainer)
        with pytest.raises(
            InputError, match=r"Matrix\(4\) expects scores of shape \(N, \.\.\., 4\)"
        ):
            trainer.fit(X, Y, epochs=1)
        assert (weights(trainer), trainer.step) == (before, 0)


class TestWhatItOwns:
    def test_an_optimizer_may_train_part_of_the_model(self) -> None:
        model = make_model()
        last: Any = model[4]
        trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(last.parameters(), 0.1))
        before = weights(trainer)
        trainer.fit(X, Y, epochs=1)
        changed = [one != other for one, other in zip(before, weights(trainer), strict=True)]
        assert changed == [False, False, True, True]

    def test_trainer_copies_its_metrics(self) -> None:
        accuracy = Accuracy()
        trainer = trainer_of(make_model(), metrics=[accuracy])
        trainer.fit(X, Y, epochs=1)
        assert accuracy.counts.tolist() == [0, 0]
        assert trainer.history.last["accuracy"] > 0

    def test_repr_of_a_trainer_has_its_parts_and_epoch(self) -> None:
        model = Sequential([Dense(4, 3, rng=0), Dropout(0.1)])
        trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1))
        trainer.fit(X, Y, epochs=2)
        assert repr(trainer) == (
            f"Trainer({model!r}, SoftmaxCrossEntropy(), {trainer.optimizer!r}, epoch=2)"
        )
