import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from tinynet import (
    SGD,
    Adam,
    Array,
    Dense,
    Dropout,
    Flatten,
    InputError,
    Layer,
    Parameter,
    ReLU,
    Rescale,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    Trainer,
    datasets,
)
from tinynet.callbacks import Callback, Doctor
from tinynet.health import Finding
from tinynet.initializers import normal
from tinynet.optimizers.schedules import Cosine
from tinynet.saving.state import generator_states

RNG = np.random.default_rng(0)
X = RNG.standard_normal((1280, 6)).astype(np.float32)
LABELS = (X @ RNG.standard_normal(6) > 0).astype(np.int64)


def net(seed: int = 0, hidden: int = 20) -> Any:
    return Sequential(
        [Dense(6, hidden, rng=seed), ReLU(), Dropout(0.2, rng=seed), Dense(hidden, 2, rng=seed + 1)]
    )


def trainer(
    rate: Any = 0.1,
    model: Any = None,
    optimizer: Callable[..., Any] = SGD,
    loss: Layer | None = None,
) -> Trainer:
    model = model or net()
    return Trainer(model, loss or SoftmaxCrossEntropy(), optimizer(model.parameters(), rate))


def examine(
    run: Trainer,
    *others: Callback,
    epochs: int = 3,
    x: Array = X,
    y: Array = LABELS,
    batch_size: int = 32,
    **settings: Any,
) -> tuple[Doctor, list[str]]:
    """The doctor after a run of 40 steps an epoch, and the texts that it reported."""
    reports: list[str] = []
    defaults: dict[str, Any] = {"every_steps": 40, "report": reports.append}
    doctor = Doctor(**defaults | settings)
    run.fit(x, y, epochs=epochs, batch_size=batch_size, callbacks=[*others, doctor])
    assert [re.sub(r"^epoch \d+, step \d+: ", "", text) for text in reports] == [
        str(finding) for finding in doctor.findings
    ]
    return doctor, reports


def names(doctor: Doctor) -> list[str]:
    return [finding.name for finding in doctor.findings]


class At(Callback):
    """Changes something after one step."""

    def __init__(self, step: int, change: Callable[[Trainer], None]) -> None:
        self.step, self.change = step, change

    def on_step_end(self, trainer: Trainer) -> None:
        if trainer.step == self.step:
            self.change(trainer)


class Script(Layer):
    """A loss with a given value in each step."""

    def __init__(self, losses: Callable[[int], float]) -> None:
        self.losses, self.calls = losses, 0

    def forward(self, prediction: Array, targets: Array) -> float:
        del targets
        self.save_for_backward(0.0, prediction)
        self.calls += 1
        return float(self.losses(self.calls))

    def backward(self) -> Array:
        _, prediction = self.saved_for_backward(1)
        dx: Array = np.full_like(prediction, 0.01)
        return dx


def scripted(losses: Callable[[int], float], rate: float = 0.01) -> Trainer:
    return trainer(rate, Dense(6, 2, rng=0), loss=Script(losses))


@cache
def mnist() -> tuple[Array, Array]:
    train, _ = datasets.load_mnist()
    return train.images[:3200], train.labels[:3200]


class TestHealthyRuns:
    @pytest.mark.parametrize(
        ("optimizer", "rate", "every_steps"),
        [
            (SGD, 0.1, 1),
            (SGD, Cosine(0.2, steps=600), 50),
            (Adam, 0.005, 3),
            pytest.param(Adam, 0.001, 50, marks=pytest.mark.sweep),
        ],
    )
    def test_doctor_finds_nothing_in_healthy_runs_on_mnist(
        self, optimizer: Callable[..., Any], rate: Any, every_steps: int
    ) -> None:
        layers = [Flatten(), Rescale(1 / 255), Dense(784, 32, rng=0), ReLU(), Dense(32, 10, rng=1)]
        run = trainer(rate, Sequential(layers), optimizer)
        x, y = mnist()
        few = 1600 if every_steps > 3 else 640
        doctor, _ = examine(run, epochs=6, x=x[:few], y=y[:few], every_steps=every_steps)
        assert doctor.findings == []

    @pytest.mark.parametrize("batch_size", [1, 2, 8])
    def test_doctor_finds_nothing_with_small_batches(self, batch_size: int) -> None:
        doctor, _ = examine(
            trainer(0.01),
            batch_size=batch_size,
            epochs=1,
            every_steps=10,
            x=X[:400],
            y=LABELS[:400],
        )
        assert doctor.findings == []

    def test_doctor_finds_nothing_if_weights_start_at_0(self) -> None:
        model = net()
        model[3].weight.value[...] = 0
        assert examine(trainer(0.5, model), every_steps=4, epochs=4)[0].findings == []

    def test_doctor_finds_nothing_in_training_only_some_layers(self) -> None:
        model = net()
        run = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters()[2:], 0.1))
        assert examine(run, epochs=4)[0].findings == []

    def test_doctor_ignores_large_steps_of_biases(self) -> None:
        class Shift(Layer):
            """x plus a row that starts at 0."""

            def __init__(self) -> None:
                self.row = Parameter(np.zeros((1, 2)))

            def forward(self, x: Array) -> Array:
                y: Array = x + self.row.value
                self.save_for_backward(y)
                return y

            def backward(self, dy: Array) -> Array:
                (dy,) = self.saved_for_backward(dy)
                self.row.grad = dy.sum(axis=0, keepdims=True)
                return dy.copy()

        run = trainer(0.1, Sequential([*net(), Shift()]))
        assert examine(run, epochs=3, every_steps=5)[0].findings == []

    def test_doctor_accepts_sequences_of_another_length_in_each_batch(self) -> None:
        class Mean(Layer):
            """The mean over time."""

            def forward(self, x: Array) -> Array:
                y: Array = x.mean(axis=1)
                self.save_for_backward(y, x.shape)
                return y

            def backward(self, dy: Array) -> Array:
                dy, shape = self.saved_for_backward(dy)
                return np.broadcast_to(dy[:, None] / shape[1], shape).copy()

        def cut(x: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
            return np.repeat(x[:, None], rng.integers(1, 5), axis=1), y

        reports: list[str] = []
        run = trainer(0.1, Sequential([Mean(), *net()]))
        run.fit(
            X,
            LABELS,
            epochs=2,
            callbacks=[Doctor(every_steps=5, report=reports.append)],
            transform=cut,
        )
        assert reports == []


class TestStepsTooLong:
    def test_doctor_finds_steps_too_long_and_names_the_weights(self) -> None:
        doctor, reports = examine(trainer(1.0), epochs=4)
        finding = next(f for f in doctor.findings if f.name == "steps too long")
        assert re.fullmatch(
            r"A step changed layers\.\d\.weight by \S+ of its norm; about 0\.001 is usual\.",
            finding.evidence,
        )
        assert finding.advice == "Lower the learning rate."
        assert sum("steps too long" in text for text in reports) == 1

    @pytest.mark.parametrize(
        ("share", "step", "count"), [(0.09, 121, 0), (0.11, 121, 1), (0.11, 81, 0), (0.11, 122, 0)]
    )
    def test_steps_are_too_long_above_a_tenth_of_the_norm_after_100_steps(
        self, share: float, step: int, count: int
    ) -> None:
        run = scripted(lambda _: 1.0, rate=0.0)

        def push(trainer: Trainer) -> None:
            trainer.model.parameters()[0].value *= 1 + share

        doctor, texts = examine(run, At(step, push), epochs=2, batch_size=20)
        assert names(doctor).count("steps too long") == count
        assert all(f"step {step}: steps too long" in t for t in texts if "too long" in t)


class TestStepsTooShort:
    @pytest.mark.parametrize("rate", [0.0, 1e-9])
    def test_doctor_finds_steps_too_short_if_nothing_is_learned(self, rate: float) -> None:
        doctor, reports = examine(trainer(rate), epochs=4)
        assert names(doctor) == ["steps too short"]
        assert reports[0].startswith(
            "epoch 4, step 121: steps too short: The loss has hardly fallen, and the longest step"
        )
        assert "Raise the learning rate" in doctor.findings[0].advice

    @pytest.mark.parametrize(("share", "count"), [(0.9e-7, 1), (1.1e-7, 0)])
    def test_steps_are_too_short_below_a_ten_millionth_of_the_norm(
        self, share: float, count: int
    ) -> None:
        def push(trainer: Trainer) -> None:
            trainer.model.parameters()[0].value *= 1 + share

        loss = Script(lambda call: 1.0 if call <= 20 else 0.8)
        run = trainer(0.0, Dense(6, 2, rng=0).astype(np.float64), loss=loss)
        doctor, _ = examine(run, At(121, push), epochs=2, batch_size=20)
        assert names(doctor) == ["steps too short"] * count

    @pytest.mark.parametrize(("share", "count"), [(2.9e-5, 1), (3.1e-5, 0)])
    def test_where_the_loss_has_not_fallen_longer_steps_are_too_short_as_well(
        self, share: float, count: int
    ) -> None:
        def push(trainer: Trainer) -> None:
            trainer.model.parameters()[0].value *= 1 + share

        run = trainer(0.0, Dense(6, 2, rng=0).astype(np.float64), loss=Script(lambda _: 1.0))
        doctor, _ = examine(run, At(121, push), epochs=2, batch_size=20)
        assert [f.advice for f in doctor.findings] == ["Raise the learning rate."] * count

    def test_doctor_finds_steps_too_short_behind_a_layer_without_gradient(self) -> None:
        class Wall(Dropout):  # type: ignore[misc]
            def backward(self, dy: Array) -> Array:
                return 0 * super().backward(dy)

        first, *rest = net()
        run = trainer(0.1, Sequential([first, Wall(0.0), *rest]))
        doctor, _ = examine(run, epochs=4)
        assert names(doctor) == ["dead units", "steps too short"]
        assert "layers.1, Wall(0) pass no" in doctor.findings[0].evidence
        assert "layers.0.weight by 0 of" in doctor.findings[1].evidence

    def test_short_steps_at_the_end_of_a_schedule_are_no_fault(self) -> None:
        run = trainer(Cosine(0.05, steps=130), loss=Script(lambda _: 1.0))
        assert names(examine(run, epochs=5, patience=9)[0]) == []

    def test_short_steps_after_learning_are_no_fault(self) -> None:
        run = scripted(lambda call: 1.0 if call <= 20 else 0.49, rate=0.0)
        assert names(examine(run, epochs=4)[0]) == []
        run = scripted(lambda call: 1.0 if call <= 20 else 0.51, rate=0.0)
        assert names(examine(run, epochs=4)[0]) == ["steps too short"]

    def test_short_steps_of_weights_of_0_are_no_fault(self) -> None:
        model = Dense(6, 2, rng=0)
        model.weight.value[...] = 0
        assert names(examine(trainer(0.0, model), epochs=4)[0]) == []


class TestGradientFlow:
    def deep(self, depth: int = 12) -> Trainer:
        layers: list[Layer] = []
        for index in range(depth):
            layers += [Dense(16 if index else 6, 16, rng=index), Sigmoid()]
        return trainer(0.1, Sequential([*layers, Dense(16, 2, rng=99)]))

    def test_a_vanishing_gradient_is_the_only_finding_of_a_dead_network(self) -> None:
        """No rate helps: neither "raise it", for short steps, nor "lower it", on the plateau."""
        doctor, reports = examine(self.deep(), epochs=7, patience=3)
        assert names(doctor) == ["vanishing gradient"]
        assert re.match(
            r"epoch 1, step 40: vanishing gradient: On a batch the gradient of the first weights, "
            r"layers\.0, Dense\(6, 16\), has the root mean square \S+e-\d\d, and that of the last, "
            r"layers\.24, Dense\(16, 2\), 0\.\d+: a ratio of \S+e-\d\d\.",
            reports[0],
        )

    def test_units_that_die_of_a_vanishing_gradient_get_no_other_advice(self) -> None:
        layers: list[Layer] = []
        for index in range(10):
            start = normal(0.01)
            layers += [Dense(16 if index else 6, 16, rng=index, weight_init=start), ReLU()]
        run = trainer(0.1, Sequential([*layers, Dense(16, 2, rng=99)]))
        doctor, _ = examine(run, epochs=7, patience=3)
        assert names(doctor) == ["vanishing gradient"]

    def test_a_weak_gradient_is_a_finding_where_nothing_is_learned(self) -> None:
        doctor, reports = examine(self.deep(depth=6), epochs=3)
        assert names(doctor) == ["vanishing gradient"]
        assert reports[0].startswith("epoch 3, step 120: ")  # after 100 steps

    def test_an_exploding_gradient_is_named_before_its_effects(self) -> None:
        run = trainer(1e-12, Sequential([Dense(6, 9, rng=0), ReLU(), Dense(9, 2, rng=1)]))
        run.model[0].weight.value *= 1e7  # type: ignore[index]  # a Sequential
        doctor, _ = examine(run, epochs=4)
        assert names(doctor) == ["exploding gradient"]

    def test_only_the_weights_that_are_trained_count(self) -> None:
        run = self.deep()
        run.optimizer = SGD(run.model.parameters()[-4:], 0.1)
        assert names(examine(run, epochs=2)[0]) == []


@pytest.mark.parametrize("first", ["steps too short", "loss plateau", "loss blow-up"])
def test_doctor_never_says_raise_and_lower_in_one_run(first: str) -> None:
    doctor = Doctor(report=lambda _: None)
    run = trainer(0.1)
    others = ["steps too short", "loss plateau", "loss blow-up", "steps too long"]
    doctor._report(run, 1, [Finding(name, "", "") for name in (first, *others)])
    raised = [name for name in names(doctor) if name == "steps too short"]
    assert raised == (["steps too short"] if first == "steps too short" else [])
    assert len(names(doctor)) == (1 if raised else 3)


def test_short_steps_of_all_weights_are_the_fault_of_the_rate_and_of_one_that_of_a_layer() -> None:
    doctor, _ = examine(trainer(1e-9), epochs=4)
    assert doctor.findings[0].advice == "Raise the learning rate."
    kept: list[Array] = []

    def keep(trainer: Trainer) -> None:
        kept.append(trainer.model.parameters()[0].value.copy())

    def put_back(trainer: Trainer) -> None:
        trainer.model.parameters()[0].value = kept[0]

    run = trainer(0.05, loss=Script(lambda _: 1.0))
    doctor, _ = examine(run, At(120, keep), At(121, put_back), epochs=4)
    assert names(doctor) == ["steps too short"]
    assert "look for a layer that passes no gradient" in doctor.findings[0].advice


class TestLossPlateau:
    def test_doctor_finds_a_plateau_after_epochs_without_improvement(self) -> None:
        falling = [1.0, 0.5, 0.4, 0.4, 0.41, 0.39961]
        run = scripted(lambda call: falling[(call - 1) // 10])
        doctor, reports = examine(run, epochs=6, batch_size=128, patience=3)
        assert reports[0] == (
            "epoch 6, step 60: loss plateau: The best loss of the last 3 epochs is 0.3996, that of "
            "the epochs before 0.4. Lower the learning rate (OnPlateau, Cosine), or stop "
            "(EarlyStopping)."
        )
        assert names(doctor) == ["loss plateau"]

    @pytest.mark.parametrize(
        ("last", "advice"),
        [(0.95, "It has learned nothing so far"), (0.85, "Lower the learning rate")],
    )
    def test_a_plateau_near_the_start_asks_for_a_preflight_and_no_lower_rate(
        self, last: float, advice: str
    ) -> None:
        run = scripted(lambda call: 1.0 if call <= 20 else last, rate=0.01)
        doctor, _ = examine(run, epochs=11, patience=3)
        (finding,) = (f for f in doctor.findings if f.name == "loss plateau")
        assert finding.advice.startswith(advice)

    @pytest.mark.parametrize("last", [0.3995, -1.0])
    def test_an_improvement_by_a_thousandth_is_no_plateau(self, last: float) -> None:
        falling = [1.0, 0.5, 0.4, 0.4, 0.41, last]
        run = scripted(lambda call: falling[(call - 1) // 10])
        assert names(examine(run, epochs=6, batch_size=128, patience=3)[0]) == []

    def test_a_plateau_needs_more_epochs_than_the_patience(self) -> None:
        assert names(examine(scripted(lambda _: 1.0), epochs=3, patience=3)[0]) == []
        assert names(examine(scripted(lambda _: 1.0), epochs=4, patience=3)[0]) == ["loss plateau"]

    def test_a_plateau_of_negative_losses_is_found_too(self) -> None:
        losses = [-1.0, -1.0005, -1.01, -1.02, -1.03]
        run = scripted(lambda call: losses[(call - 1) // 10])
        assert names(examine(run, epochs=5, batch_size=128, patience=1)[0]) == ["loss plateau"]
        losses[1] = -1.0011
        run = scripted(lambda call: losses[(call - 1) // 10])
        assert names(examine(run, epochs=5, batch_size=128, patience=1)[0]) == []


class TestLossBlowUp:
    @pytest.mark.parametrize(("now", "count"), [(1.4, 0), (1.6, 1)])
    def test_doctor_finds_a_loss_far_above_its_start(self, now: float, count: int) -> None:
        run = scripted(lambda call: 1.0 if call <= 20 else now)
        doctor, texts = examine(run, epochs=1)
        assert names(doctor) == ["loss blow-up"] * count
        if count:
            assert texts == [
                "epoch 1, step 40: loss blow-up: The mean loss of 20 steps was 1 at the start and "
                "is 1.6 now. Lower the learning rate, or clip with clip_norm."
            ]

    def test_a_loss_blow_up_needs_two_windows_of_steps(self) -> None:
        run = scripted(lambda call: 1.0 if call <= 19 else 9.0)
        assert names(examine(run, epochs=1, every_steps=39)[0]) == []

    @pytest.mark.parametrize(("now", "count"), [(3.4, 0), (3.6, 1)])
    def test_a_loss_within_its_initial_variation_is_no_blow_up(
        self, now: float, count: int
    ) -> None:
        limit = 1.5 + 4 * np.std([0, 3] * 10, ddof=1) * np.sqrt(2 / 20)
        assert (now > limit) == count
        run = scripted(lambda call: 3.0 * (call % 2) if call <= 20 else now)
        assert len(examine(run, epochs=1)[0].findings) == count

    def test_a_far_too_high_learning_rate_gives_a_blow_up_and_dead_units(self) -> None:
        doctor, _ = examine(trainer(10.0))
        assert names(doctor) == ["loss blow-up", "dead units"]


class TestStuckUnits:
    def test_doctor_finds_units_that_die_during_the_run(self) -> None:
        def kill(trainer: Trainer) -> None:
            trainer.model.parameters()[1].value[:11] = -100

        doctor, reports = examine(trainer(), At(45, kill))
        assert names(doctor) == ["dead units"]
        assert reports[0].startswith(
            "epoch 2, step 80: dead units: 11 of the 20 units of layers.1, ReLU() pass no gradient "
            "for any of 256 samples"
        )

    @pytest.mark.parametrize(
        ("every_steps", "batch_size", "samples"),
        [(40, 32, 256), (40, 100, 300), (40, 1280, 1280), (3, 32, 96), (1, 40, 40), (40, 48, 288)],
    )
    def test_dead_units_are_looked_for_in_the_last_samples_of_the_interval(
        self, every_steps: int, batch_size: int, samples: int
    ) -> None:
        model = net()
        model[0].bias.value[...] = -100
        doctor, _ = examine(
            trainer(0.0, model),
            every_steps=every_steps,
            batch_size=batch_size,
            epochs=-(-every_steps * batch_size // 1280),
            x=X[: 1280 // batch_size * batch_size],
            y=LABELS[: 1280 // batch_size * batch_size],
        )
        (finding,) = (f for f in doctor.findings if f.name == "dead units")
        assert f"any of {samples} samples" in finding.evidence

    def test_a_finding_is_reported_once_for_all_layers(self) -> None:
        model = Sequential([Dense(6, 9, rng=0), ReLU(), Dense(9, 9, rng=0), ReLU()])
        for dense in (model[0], model[2]):
            dense.bias.value[...] = -100  # type: ignore[attr-defined]
        model = Sequential([*model, Dense(9, 2, rng=0)])
        doctor, reports = examine(trainer(0.1, model), epochs=4)
        assert names(doctor).count("dead units") == 1
        assert names(doctor).count("steps too short") == 1
        assert len(reports) == len(set(names(doctor)))


class TestTraining:
    @pytest.mark.parametrize("rate", [0.1, 10.0])
    def test_training_has_the_same_bits_with_and_without_a_doctor(self, rate: float) -> None:
        states: list[dict[str, Any]] = []
        for callbacks in ([], [Doctor(every_steps=4, report=lambda _: None)]):
            run = trainer(rate)
            run.fit(X, LABELS, epochs=3, batch_size=32, callbacks=callbacks)
            states.append(run.state_dict() | {"callbacks": None})
        np.testing.assert_equal(states[0], states[1])

    def test_doctor_runs_forward_on_a_copy_of_the_model(self) -> None:
        class Noisy(Dropout):  # type: ignore[misc]
            """Dropout in evaluation mode, too."""

            def forward(self, x: Array) -> Array:
                self.training = True
                return super().forward(x)

        model = Sequential([Dense(6, 2, rng=0), Noisy(0.5, rng=0)])
        twin = Sequential([Dense(6, 2, rng=0), Noisy(0.5, rng=0)])
        examine(trainer(0.1, model), every_steps=3, epochs=1)
        trainer(0.1, twin).fit(X, LABELS, epochs=1, batch_size=32)
        states = [generator_states(each.generators()) for each in (model, twin)]
        assert states[0] == states[1]

    def test_training_continues_after_a_finding_that_is_reported_once(self) -> None:
        run = trainer(0.0)
        doctor, reports = examine(run, epochs=7, patience=2, every_steps=10)
        assert run.epoch == 7
        assert names(doctor) == ["steps too short"]
        assert len(reports) == 1

    def test_doctor_starts_again_in_another_fit(self) -> None:
        doctor = Doctor(every_steps=40, report=lambda _: None)
        trainer(0.1).fit(X, LABELS, epochs=3, batch_size=32, callbacks=[doctor])
        other = trainer(0.1, Dense(6, 2, rng=0))
        other.fit(X, LABELS, epochs=3, batch_size=32, callbacks=[doctor])
        assert doctor.findings == []

    def test_doctor_prints_by_default(self, capsys: pytest.CaptureFixture[str]) -> None:
        run = trainer(0.0)
        run.fit(X, LABELS, epochs=4, batch_size=32, callbacks=[Doctor(every_steps=40)])
        assert capsys.readouterr().out.startswith("epoch 4, step 121: steps too short: ")

    def test_doctor_defaults_to_200_steps_and_5_epochs(self) -> None:
        doctor = Doctor()
        assert (doctor.every_steps, doctor.patience, doctor.report) == (200, 5, print)


class TestState:
    def test_a_resumed_run_does_not_report_a_finding_again(self, tmp_path: Any) -> None:
        first = trainer(0.0)

        class Save(Callback):
            runs_last = True

            def on_fit_end(self, trainer: Trainer) -> None:
                trainer.save(tmp_path / "run.npz")

        doctor, reports = examine(first, Save(), epochs=4)
        assert len(reports) == 1
        assert doctor.state_dict() == {"reported": ["steps too short"]}
        resumed = trainer(0.0).restore(tmp_path / "run.npz")
        again, reports = examine(resumed, epochs=8, patience=9)
        assert reports == []
        assert again.state_dict() == doctor.state_dict()

    def test_doctor_continues_from_a_state(self) -> None:
        doctor, other = Doctor(), Doctor()
        doctor.check_state_dict({"reported": ["loss plateau", "dead units"]})
        assert doctor.state_dict() == {"reported": []}
        doctor.load_state_dict({"reported": ["loss plateau", "dead units"]})
        assert doctor.state_dict() == {"reported": ["dead units", "loss plateau"]}
        other.load_state_dict(doctor.state_dict())
        assert other.state_dict() == doctor.state_dict()

    @pytest.mark.parametrize(
        ("state", "sentence"),
        [
            (None, "Doctor expects a state, got none"),
            ({}, "Doctor expects a state with reported, got none of reported"),
            (
                {"reported": "dead units"},
                "Doctor expects reported to be a list of names, got 'dead units'",
            ),
            ({"reported": [1]}, r"Doctor expects reported to be a list of names, got \[1\]"),
        ],
    )
    def test_doctor_rejects_an_invalid_state(self, state: Any, sentence: str) -> None:
        doctor = Doctor()
        with pytest.raises(InputError, match=sentence):
            doctor.check_state_dict(state)
        assert doctor.state_dict() == {"reported": []}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"every_steps": 0}, "Doctor expects every_steps to be a whole number >= 1, got 0"),
        ({"patience": 0.5}, "Doctor expects patience to be a whole number >= 1, got 0.5"),
        ({"report": "log"}, "Doctor expects report to be a function of a text, got 'log'"),
    ],
)
def test_doctor_rejects_invalid_settings(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Doctor(**settings)
