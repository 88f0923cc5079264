from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from preflight_faults import features, net

from tinynet import (
    SGD,
    Adam,
    Array,
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    InputError,
    Layer,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
)
from tinynet.datasets.batches import Batches
from tinynet.health import Finding
from tinynet.health.inspection import Inspection, inspect
from tinynet.health.model_checks import equal_weights, last_batch_of_one, schedule
from tinynet.optimizers.schedules import (
    Constant,
    Cosine,
    Exponential,
    LinearWarmUp,
    OneCycle,
    OnPlateau,
    StepDecay,
)

X, SCORE = features(0)
LABELS = (SCORE > 0).astype(int)


def trainer_of(model: Layer, rate: Any = 0.1) -> Trainer:
    return Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), rate))


def names(check: Any, trainer: Trainer, x: Array = X, y: Array = LABELS, **how: Any) -> list[str]:
    looked_at = inspect(trainer, Batches(x, y, **how), None)
    return [finding.name for finding in check(looked_at)]


def last_batch(inspection: Inspection) -> Iterator[Finding]:
    return last_batch_of_one(inspection, None)


def table_net() -> Sequential:
    return Sequential(list(net((12, 4, 2), before=())))


class TestSchedule:
    """With 600 samples and batches of 8, an epoch has 75 steps."""

    @pytest.mark.parametrize(
        "rate",
        [
            0.1,
            Constant(0.1),
            Cosine(0.1, steps=75),  # one epoch
            OneCycle(0.1, steps=75),
            OneCycle(0.1, steps=75, start_divisor=1e6),
            LinearWarmUp(200, then=0.1),
            StepDecay(0.1, every=25),
            Exponential(0.1, factor=0.9),
            OnPlateau(0.1),
            lambda step: 0.1 * min(step / 50, 1),
            lambda step: 0.1 * (step > 8),
        ],
        ids=lambda rate: repr(rate).partition(" at 0x")[0],
    )
    def test_rates_that_rise_from_0_or_fall_over_an_epoch_are_not_accused(self, rate: Any) -> None:
        assert names(schedule, trainer_of(table_net(), rate), batch_size=8) == []

    @pytest.mark.parametrize(
        "rate",
        [
            0.0,
            Constant(0.0),
            lambda step: 0.1 * (step > 9),
            lambda step: 0.1 * min(step // 75, 5),
        ],
        ids=["number", "constant", "ten steps", "an epoch"],
    )
    def test_a_rate_that_stays_0_is_found(self, rate: Any) -> None:
        assert names(schedule, trainer_of(table_net(), rate), batch_size=8) == [
            "zero learning rate"
        ]

    @pytest.mark.parametrize(
        "rate",
        [
            Cosine(0.1, steps=30),
            OneCycle(0.1, steps=30),
            StepDecay(0.1, every=9),
            Exponential(0.1, factor=0.8),
            LinearWarmUp(5, then=Cosine(0.1, steps=30)),
        ],
        ids=repr,
    )
    def test_a_schedule_of_epochs_is_found(self, rate: Any) -> None:
        run = trainer_of(table_net(), rate)
        assert names(schedule, run, batch_size=8) == ["short schedule"]
        # With batches of 64 these are three epochs, and with all samples at once thirty.
        assert names(schedule, run) == names(schedule, run, batch_size=600) == []

    def test_a_run_in_progress_is_not_accused(self) -> None:
        run = trainer_of(table_net(), Cosine(0.1, steps=10))
        run.fit(X, LABELS, epochs=1)
        assert names(schedule, run, batch_size=8) == []

    def test_the_evidence_gives_the_steps(self) -> None:
        run = trainer_of(table_net(), lambda step: 0.1 * (step > 20))
        (finding,) = schedule(inspect(run, Batches(X, LABELS, 8), None))
        assert finding.evidence == (
            "The learning rate is 0 in the first 21 steps; an epoch has 75."
        )
        run = trainer_of(table_net(), Constant(0.0))
        (finding,) = schedule(inspect(run, Batches(X, LABELS, 8), None))
        assert finding.evidence.startswith("The learning rate is 0 in the first 75 steps;")


class TestLastBatch:
    @pytest.mark.parametrize(
        ("samples", "how", "accused"),
        [
            (65, {}, True),
            (64, {}, False),
            (66, {}, False),
            (65, {"last_batch": "drop"}, False),
            (65, {"last_batch": "join"}, False),
            (65, {"batch_size": 65}, False),
            (65, {"batch_size": 32}, True),
            (5, {"batch_size": 1}, True),
            (1, {}, True),
        ],
    )
    def test_batches_of_one_are_found(
        self, samples: int, how: dict[str, Any], accused: bool
    ) -> None:
        model = Sequential([*table_net(), BatchNorm(2)])
        found = names(last_batch, trainer_of(model), X[:samples], LABELS[:samples], **how)
        assert found == (["last batch"] if accused else [])

    @pytest.mark.parametrize(
        ("part", "accused"), [(21, True), (16, False), (64, False), (100, False), (1, True)]
    )
    def test_parts_of_one_sample_are_found(self, part: int, accused: bool) -> None:
        run = trainer_of(Sequential([*table_net(), BatchNorm(2)]))
        looked_at = inspect(run, Batches(X[:64], LABELS[:64]), None)
        assert len([*last_batch_of_one(looked_at, part)]) == accused

    def test_networks_that_take_one_sample_are_not_accused(self) -> None:
        assert names(last_batch, trainer_of(table_net()), X[:65], LABELS[:65]) == []
        x = np.random.default_rng(0).standard_normal((65, 1, 6, 6)).astype(np.float32)
        layers = [Conv2D(1, 2, 3, rng=0), BatchNorm(2), Flatten(), Dense(32, 2, rng=0)]
        run = trainer_of(Sequential(layers))  # 16 values a channel
        assert names(last_batch, run, x, LABELS[:65]) == []

    def test_a_layer_of_ones_own_that_refuses_one_sample_is_found(self) -> None:
        class Pairs(Layer):
            """A layer that needs two samples in training."""

            def forward(self, x: Array) -> Array:
                if self.training and len(x) == 1:
                    raise InputError("Pairs() expects two samples, got one")
                self.save_for_backward(x)
                return x.copy()

            def backward(self, dy: Array) -> Array:
                (dy,) = self.saved_for_backward(dy)
                dx: Array = dy.copy()
                return dx

        model = Sequential([*table_net(), Pairs()])
        assert names(last_batch, trainer_of(model), X[:65], LABELS[:65]) == ["last batch"]


def test_equal_weights_whose_outputs_are_single_numbers_are_not_accused() -> None:
    class Sum(Layer):
        """(N, D) -> (N,): x times a matrix of ones, summed; and back to (N, 2)."""

        def __init__(self, make: Callable[[], Dense]) -> None:
            self.weight = make().weight

        def forward(self, x: Array) -> Array:
            y: Array = (x @ np.asarray(self.weight.value)).sum(axis=1)
            self.save_for_backward(y, x)
            return y

        def backward(self, dy: Array) -> Array:
            raise NotImplementedError

    class Column(Layer):
        """(N,) -> (N, 1)."""

        def forward(self, x: Array) -> Array:
            return x[:, None].copy()

        def backward(self, dy: Array) -> Array:
            raise NotImplementedError

    first = Sum(lambda: Dense(12, 3, weight_init=lambda shape, *_: np.ones(shape)))
    model = Sequential([first, Column(), Dense(1, 2, rng=0), Dense(2, 2, rng=1)])
    run = Trainer(model, SoftmaxCrossEntropy(), Adam(model.parameters()))
    assert names(equal_weights, run) == []
