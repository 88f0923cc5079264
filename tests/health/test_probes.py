import math
import re
from copy import deepcopy
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from tinynet import (
    SGD,
    Adam,
    Array,
    Dense,
    Dropout,
    Layer,
    MeanSquaredError,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
    softmax,
)
from tinynet.health import probes
from tinynet.health.probes import LossCurve, learning_rate, relation
from tinynet.optimizers.schedules import LinearWarmUp, OneCycle

RNG = np.random.default_rng(0)
X = RNG.standard_normal((1000, 6)).astype(np.float32)
DIRECTION = RNG.standard_normal(6)
LABELS = (X @ DIRECTION > 0).astype(np.int64)
ROWS = np.eye(2, dtype=np.float32)[LABELS]
TARGETS = (X @ DIRECTION).astype(np.float32)[:, None]
SHUFFLED = RNG.permutation(1000)


def zeros(shape: Any, *_: Any) -> Array:
    return np.zeros(shape)


def net(outputs: int = 2, hidden: int = 16) -> Sequential:
    return Sequential([Dense(6, hidden, rng=0), ReLU(), Dense(hidden, outputs, rng=1)])


def trainer(rate: Any = 0.1, model: Layer | None = None, loss: Layer | None = None) -> Trainer:
    model = model or net()
    return Trainer(model, loss or SoftmaxCrossEntropy(), SGD(model.parameters(), rate))


def names(findings: list[Any]) -> list[str]:
    return [finding.name for finding in findings]


class TestLossCurve:
    @pytest.mark.parametrize(
        ("curve", "diverged", "decreased", "fitted", "learned"),
        [
            (LossCurve(2, 2, 1.7, 9), False, True, True, True),
            (LossCurve(2, 2, 1.8, 9), False, False, False, True),
            (LossCurve(2, 2, 1.89, 9), False, False, False, True),
            (LossCurve(2, 2, 1.9, 9), False, False, False, False),
            (LossCurve(9, 9, 1.7, 2), False, True, True, True),
            (LossCurve(9, 9, 1.8, 2), False, True, False, True),
            (LossCurve(9, 9, 1.9, 2), False, True, False, False),
            (LossCurve(9, 9, 8.2, 2), False, False, False, False),
            (LossCurve(2, 20, 1, 9), False, True, True, True),
            (LossCurve(2, 20.1, 1, 9), True, False, False, False),
            (LossCurve(2, 2, math.nan, 9), True, False, False, False),
            (LossCurve(2, 2, math.inf, 9), True, False, False, False),
            (LossCurve(2, math.inf, 1, 9), True, False, False, False),
            (LossCurve(0, 1e-3, 0, 9), False, False, False, False),
            # The entropy of soft targets cannot be learned.
            (LossCurve(3, 3, 2.7, 9, 1), False, True, True, True),
            (LossCurve(3, 3, 2.85, 9, 1), False, False, False, True),
            (LossCurve(3, 3, 2.95, 9, 1), False, False, False, False),
            (LossCurve(9, 9, 2.7, 3, 1), False, True, True, True),
        ],
    )
    def test_loss_curve_is_compared_with_its_start_and_the_best_constant(
        self, curve: LossCurve, diverged: bool, decreased: bool, fitted: bool, learned: bool
    ) -> None:
        assert (curve.diverged, curve.decreased) == (diverged, decreased)
        assert (curve.fitted, curve.learned) == (fitted, learned)

    def test_decrease_is_the_difference_of_start_and_end(self) -> None:
        assert LossCurve(3, 4, 1, 9).decrease == 2


class TestLearningRate:
    @pytest.mark.parametrize("rate", [0.5, 0.1, 0.02])
    @pytest.mark.parametrize("y", [LABELS, ROWS], ids=["labels", "rows"])
    def test_a_rate_that_fits_one_batch_of_classes_has_no_finding(
        self, rate: float, y: Array
    ) -> None:
        assert learning_rate(trainer(rate), X, y) == []

    @pytest.mark.parametrize("outputs", [1, 3])
    def test_a_rate_that_fits_one_batch_of_a_regression_has_no_finding(self, outputs: int) -> None:
        y = np.repeat(TARGETS, outputs, axis=1)
        assert learning_rate(trainer(0.05, net(outputs), MeanSquaredError()), X, y) == []

    @pytest.mark.parametrize("rate", [1000.0, 100.0, 30.0])
    def test_a_rate_too_high_is_found_with_one_that_works(self, rate: float) -> None:
        (finding,) = learning_rate(trainer(rate), X, LABELS)
        assert finding.name == "learning rate too high"
        assert (
            f"In 100 steps on one batch at the learning rate {rate:.3g} the loss went"
            in finding.evidence
        )
        works = re.search(r"; at (\d\S*) it falls to 0\.", finding.evidence)
        assert works is not None
        assert finding.advice == f"Try {works[1]}, or lower still."

    def test_a_rate_that_makes_the_loss_nan_is_found(self) -> None:
        (finding,) = learning_rate(trainer(50.0, net(1), MeanSquaredError()), X, TARGETS)
        assert finding.name == "learning rate too high"
        assert "to nan, with a maximum of " in finding.evidence

    def test_a_rate_too_low_is_found_with_one_that_works(self) -> None:
        (finding,) = learning_rate(trainer(1e-5), X, LABELS)
        assert finding.name == "learning rate too low"
        assert "maximum" not in finding.evidence
        assert "; at 0.01 it falls to " in finding.evidence
        assert finding.advice == "Try 0.01, or higher still."

    @pytest.mark.parametrize("rate", [0.01, 0.3])
    def test_targets_far_from_0_are_no_fault_of_the_rate(self, rate: float) -> None:
        """All steps are needed to approach them; no rate brings the loss below their variance."""
        run = trainer(rate, net(1, 32), MeanSquaredError())
        found = learning_rate(run, X, 0.1 * TARGETS + 30)
        assert names(found) == (["learning rate too high"] if rate == 0.3 else [])

    def test_a_slow_rate_has_no_finding(self) -> None:
        assert learning_rate(trainer(1e-3), X, LABELS) == []

    def test_a_perfect_model_has_no_finding_at_any_rate(self) -> None:
        model = net(1)
        perfect = model(X)
        assert learning_rate(trainer(1e-5, model, MeanSquaredError()), X, perfect) == []

    @pytest.mark.parametrize("rate", [0.3, 0.02])
    def test_a_small_network_on_noisy_labels_has_no_finding(self, rate: float) -> None:
        model = Sequential([Dense(6, 2, weight_init=zeros)])
        noisy = (X @ DIRECTION + 9 * np.random.default_rng(1).standard_normal(1000) > 0).astype(int)
        assert learning_rate(trainer(rate, model), X, noisy) == []

    @pytest.mark.parametrize("smoothing", [0.1, 0.9])
    def test_smoothed_labels_have_no_finding(self, smoothing: float) -> None:
        loss = SoftmaxCrossEntropy(label_smoothing=smoothing)
        assert learning_rate(trainer(0.1, loss=loss), X, LABELS) == []

    def test_equal_target_rows_are_compared_with_the_start_alone(self) -> None:
        assert learning_rate(trainer(0.1), X, np.full((1000, 2), [0.25, 0.75])) == []

    def test_equal_labels_are_compared_with_the_start_alone(self) -> None:
        assert learning_rate(trainer(0.1), X, np.zeros(1000, int)) == []

    def test_the_rate_of_a_user_defined_loss_is_tested_but_not_its_relation(self) -> None:
        class Own(Layer):
            """The mean of (prediction - 1)², without targets."""

            def forward(self, prediction: Array, targets: Array) -> float:
                del targets
                self.save_for_backward(0.0, prediction)
                return float(np.mean((prediction - 1) ** 2))

            def backward(self) -> Array:
                (_, prediction) = self.saved_for_backward(1)
                dx: Array = 2 * (prediction - 1) / prediction.size
                return dx

        assert learning_rate(trainer(0.1, loss=Own()), X, LABELS) == []
        assert names(learning_rate(trainer(1e-6, loss=Own()), X, LABELS)) == [
            "learning rate too low"
        ]
        assert relation(trainer(loss=Own()), X, LABELS) == []

    def test_one_batch_is_evaluated_in_evaluation_mode(self) -> None:
        """Dropping 9 of 10 units makes the loss much higher, which does not count."""
        model = Sequential([Dense(6, 64, rng=0), Dropout(0.9, rng=0), Dense(64, 2, rng=1)])
        run = trainer(0.0, model)
        curve = probes._fit_one_batch(run, X[:64], LABELS[:64], 0.0)
        assert curve.start == curve.end < curve.highest / 1.3

    def test_the_lower_loss_of_training_and_evaluation_mode_counts(self) -> None:
        class Scaling(Layer):
            """A layer that scales x in evaluation mode."""

            def forward(self, x: Array) -> Array:
                y: Array = x if self.training else 50 * x
                self.save_for_backward(y)
                return y.copy()

            def backward(self, dy: Array) -> Array:
                (dy,) = self.saved_for_backward(dy)
                dx: Array = dy.copy()
                return dx

        model = Sequential([*net(), Scaling()])
        loss = SoftmaxCrossEntropy()(model(X[:64]), 1 - LABELS[:64])
        curve = probes._fit_one_batch(trainer(0.0, model), X[:64], 1 - LABELS[:64], 0.0)
        assert curve.start == curve.highest == curve.end == loss

    def test_one_batch_is_trained_in_training_mode(self) -> None:
        model = Sequential([Dense(6, 64, rng=0), Dropout(0.9, rng=0), Dense(64, 2, rng=1)])
        run = trainer(0.1, model)
        curve = probes._fit_one_batch(run, X[:64], LABELS[:64], 0.1)
        model.eval()
        assert probes._fit_one_batch(run, X[:64], LABELS[:64], 0.1) == curve

    def test_a_non_finite_loss_is_divergence(self) -> None:
        curve = probes._fit_one_batch(trainer(1e30), X[:64], LABELS[:64], 1e30)
        assert not math.isfinite(curve.end) or curve.highest > 1e20
        assert curve.diverged


class TestDecision:
    """With made-up loss curves: their ends at rates of 0.1 times powers of ten."""

    def found(
        self, monkeypatch: pytest.MonkeyPatch, ends: dict[int, float], start: float = 2.0
    ) -> list[str]:
        def curve(run: Trainer, _x: Array, _y: Array, rate: float) -> LossCurve:
            exponent = 9 if isinstance(run.optimizer, Adam) else round(math.log10(rate / 0.1))
            return LossCurve(start, start, ends.get(exponent, start), start)

        monkeypatch.setattr(probes, "_fit_one_batch", curve)
        return names(learning_rate(trainer(0.1), X, LABELS))

    @pytest.mark.parametrize("higher", [1, 2, 3, 4])
    def test_a_rate_is_too_low_if_another_decreases_the_loss_twenty_times_as_much(
        self, monkeypatch: pytest.MonkeyPatch, higher: int
    ) -> None:
        low = ["learning rate too low"]
        assert self.found(monkeypatch, {0: 1.99, higher: 1.79}) == low
        assert self.found(monkeypatch, {0: 1.99, higher: 1.81, 9: 1}) == []
        assert self.found(monkeypatch, {0: 1.98, higher: 1.5}) == low
        assert self.found(monkeypatch, {0: 1.97, higher: 1.5}) == []

    @pytest.mark.parametrize("lower", [-1, -2, -3, -4])
    def test_a_rate_is_too_high_if_it_does_not_learn_and_a_lower_one_does(
        self, monkeypatch: pytest.MonkeyPatch, lower: int
    ) -> None:
        assert self.found(monkeypatch, {lower: 1.8}) == ["learning rate too high"]
        assert self.found(monkeypatch, {0: 1.89, lower: 1.0}) == []

    def test_one_batch_is_found_if_neither_a_rate_nor_adam_learns(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.found(monkeypatch, {}) == ["one batch"]
        assert self.found(monkeypatch, {0: 1.91}) == ["one batch"]
        assert self.found(monkeypatch, {0: 1.89}) == []
        assert self.found(monkeypatch, {0: 1.95, 1: 1.85}) == []
        assert self.found(monkeypatch, {9: 1.8}) == []

    def test_a_loss_of_0_has_no_finding(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.found(monkeypatch, {}, start=1e-7) == []
        assert self.found(monkeypatch, {}, start=1e-5) == ["one batch"]


def test_predictions_are_pulled_from_their_mean_by_a_loss_without_a_minimum() -> None:
    class Product(Layer):
        """The mean of -prediction · target."""

        def forward(self, prediction: Array, targets: Array) -> float:
            self.save_for_backward(0.0, targets)
            return -float(np.mean(prediction * targets))

        def backward(self) -> Array:
            _, targets = self.saved_for_backward(1)
            dx: Array = -targets / targets.size
            return dx

    ((_, pull),) = probes._pulls(Product(), np.zeros((1000, 1)), TARGETS)
    np.testing.assert_allclose(pull, TARGETS / 1000)


class TestOneBatch:
    def test_a_batch_that_no_rate_fits_is_found(self) -> None:
        class Wall(Layer):
            """A layer that passes no gradient."""

            def forward(self, x: Array) -> Array:
                return x.copy()

            def backward(self, dy: Array) -> Array:
                return np.zeros_like(dy)

        (finding,) = learning_rate(trainer(0.1, Sequential([*net(), Wall()])), X, LABELS)
        assert finding.name == "one batch"
        assert "and no other rate brings it below 0.6" in finding.evidence
        assert "was given" not in finding.evidence
        assert "passes no gradient," in finding.advice

    def test_one_batch_reports_how_many_parameters_are_trained(self) -> None:
        model = net()
        run = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters()[3:], 0.1))
        (finding,) = learning_rate(run, X, LABELS)
        assert finding.name == "one batch"
        assert finding.evidence.endswith(" The optimizer was given 1 of 4 parameters.")

    def test_training_only_the_last_layer_may_fit_one_batch(self) -> None:
        model = net()
        run = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters()[2:], 0.1))
        assert learning_rate(run, X, LABELS) == []


class TestRelation:
    @pytest.mark.parametrize(
        ("outputs", "loss", "y"),
        [
            (2, SoftmaxCrossEntropy(), LABELS),
            (2, SoftmaxCrossEntropy(), ROWS),
            (1, MeanSquaredError(), TARGETS),
            (3, MeanSquaredError(), np.repeat(TARGETS, 3, axis=1)),
        ],
        ids=["labels", "rows", "target", "targets"],
    )
    def test_a_relation_of_labels_and_inputs_is_detected_and_its_absence_found(
        self, outputs: int, loss: Layer, y: Array
    ) -> None:
        x, y = X[:400], y[:400]
        assert relation(trainer(0.05, net(outputs), loss), x, y) == []
        shuffled = np.random.default_rng(0).permutation(y)
        (finding,) = relation(trainer(0.05, net(outputs), loss), x, shuffled)
        assert finding.name == "unrelated labels"
        assert "After 20 epochs on 200 samples, the predictions for 200 others" in finding.evidence
        assert "chance reaches 3.5." in finding.evidence
        assert "same order" in finding.advice

    @pytest.mark.parametrize(("rate", "offset"), [(0.0, 30.0), (1e-9, 0.0), (1e9, 30.0)])
    def test_the_relation_is_detected_at_any_rate_and_offset_of_the_targets(
        self, rate: float, offset: float
    ) -> None:
        model = Sequential([Dense(6, 1, weight_init=zeros)])
        loss = MeanSquaredError()
        assert relation(trainer(rate, model, loss), X, 0.3 * TARGETS + offset) == []
        assert relation(trainer(rate), X, LABELS) == []

    def test_the_relation_is_detected_besides_unrelated_targets_of_a_larger_scale(self) -> None:
        noise = np.random.default_rng(2).standard_normal((1000, 1)).astype(np.float32)
        y = np.hstack([TARGETS, 1000 * noise])
        assert relation(trainer(0.0, net(2), MeanSquaredError()), X, y) == []

    def test_a_diverging_rate_raises_no_warning(self) -> None:
        run = trainer(1e30, loss=MeanSquaredError())
        noise = np.random.default_rng(2).standard_normal((100, 2)).astype(np.float32)
        assert relation(run, X[:100], noise) != []

    def test_the_relation_is_detected_in_noisy_targets_far_from_0(self) -> None:
        noise = np.random.default_rng(2).standard_normal((1000, 1)).astype(np.float32)
        model = net(1, 32)
        run = Trainer(model, MeanSquaredError(), Adam(model.parameters(), 1e-4))
        assert relation(run, X, 300 + TARGETS + 2 * noise) == []

    def test_the_relation_is_detected_with_a_rare_class_and_noisy_labels(self) -> None:
        rare = (1.7 * np.linalg.norm(DIRECTION) < X @ DIRECTION).astype(int)
        assert 0.02 < rare.mean() < 0.06
        assert relation(trainer(), X, rare) == []
        noisy = np.where(np.random.default_rng(1).random(1000) < 0.5, LABELS, LABELS[SHUFFLED])
        assert relation(trainer(), X, noisy) == []

    def test_the_relation_is_not_tested_on_few_samples(self) -> None:
        y = LABELS[SHUFFLED]
        assert names(relation(trainer(), X[:80], y[:80])) == ["unrelated labels"]
        assert names(relation(trainer(), X[:79], y[:79])) == ["unrelated labels"]
        assert relation(trainer(), X[:78], y[:78]) == []

    def test_the_relation_to_constant_targets_is_not_tested(self) -> None:
        assert relation(trainer(0.05, net(1), MeanSquaredError()), X[:99], np.ones((99, 1))) == []


def agreement(loss: Layer, prediction: Array, y: Array) -> float:
    ((_, pull),) = probes._pulls(loss, prediction, y)
    return probes._agreement(loss, pull, prediction)


class TestAgreement:
    @pytest.mark.parametrize("kind", ["labels", "rows", "targets"])
    def test_agreement_is_the_z_score_over_all_permutations(self, kind: str) -> None:
        rng = np.random.default_rng(3)
        prediction, y = rng.standard_normal((6, 3)), rng.standard_normal((6, 3))
        loss: Layer = MeanSquaredError()
        scores = prediction @ (y / y.std(axis=0)).T
        if kind != "targets":
            loss, labels = SoftmaxCrossEntropy(), np.array([0, 1, 2, 0, 1, 1])
            y = labels if kind == "labels" else np.eye(3)[labels]
            scores = softmax(prediction)[:, labels]
        sums = [sum(scores[i, j] for i, j in enumerate(order)) for order in permutations(range(6))]
        expected = (np.trace(scores) - np.mean(sums)) / np.std(sums)
        assert agreement(loss, prediction, y) == pytest.approx(expected, rel=1e-9)

    def test_agreement_of_sequences_is_that_of_their_flattened_rows(self) -> None:
        rng = np.random.default_rng(4)
        prediction, y = rng.standard_normal((6, 2, 3)), rng.integers(0, 3, (6, 2))
        y[0, 1] = -100
        rows = np.eye(3)[np.where(y < 0, 0, y)] * (y >= 0)[..., None]
        side_by_side = softmax(prediction).reshape(6, 6), rows.reshape(6, 6)
        expected = probes._agreement(MeanSquaredError(), side_by_side[1], side_by_side[0])
        got = agreement(SoftmaxCrossEntropy(), prediction, y)
        assert got == pytest.approx(expected, rel=1e-9)

    def test_agreement_of_a_constant_is_0(self) -> None:
        assert agreement(MeanSquaredError(), np.ones((5, 1)), TARGETS[:5]) == 0


def test_standardized_targets_have_mean_0_and_deviation_1() -> None:
    y = np.array([[1.0, 7.0], [3.0, 7.0]])
    assert probes._standardized(y).tolist() == [[-1, 0], [1, 0]]


@pytest.mark.parametrize(
    ("rate", "peak"),
    [
        (0.1, 0.1),
        (OneCycle(0.3, steps=100), 0.3),
        (LinearWarmUp(50, then=0.2), 0.2),
        (lambda step: 0.4 if step == 777 else 0.1, 0.4),
    ],
)
def test_the_probed_rate_is_the_highest_of_the_optimizer(rate: Any, peak: float) -> None:
    assert probes._peak_rate(SGD(net().parameters(), rate)) == peak


def test_probes_change_nothing() -> None:
    model = Sequential([Dense(6, 8, rng=0), Dropout(0.5, rng=1), Dense(8, 2, rng=2)])
    run = Trainer(model, SoftmaxCrossEntropy(), Adam(model.parameters()))
    run.fit(X[:50], LABELS[:50], epochs=1, batch_size=10)
    model.eval()
    before = deepcopy(run.state_dict())
    learning_rate(run, X, LABELS)
    relation(run, X[:200], LABELS[:200])
    np.testing.assert_equal(run.state_dict(), before)
    assert not any(layer.training for layer in model)
