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
from tinynet.health.probes import Course, learning_rate, relation
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


class TestCourse:
    @pytest.mark.parametrize(
        ("course", "broke", "sank", "fell", "learned"),
        [
            (Course(2, 2, 1.7, 9), False, True, True, True),
            (Course(2, 2, 1.8, 9), False, False, False, True),
            (Course(2, 2, 1.89, 9), False, False, False, True),
            (Course(2, 2, 1.9, 9), False, False, False, False),
            (Course(9, 9, 1.7, 2), False, True, True, True),
            (Course(9, 9, 1.8, 2), False, True, False, True),
            (Course(9, 9, 1.9, 2), False, True, False, False),
            (Course(9, 9, 8.2, 2), False, False, False, False),
            (Course(2, 20, 1, 9), False, True, True, True),
            (Course(2, 20.1, 1, 9), True, False, False, False),
            (Course(2, 2, math.nan, 9), True, False, False, False),
            (Course(2, 2, math.inf, 9), True, False, False, False),
            (Course(2, math.inf, 1, 9), True, False, False, False),
            (Course(0, 1e-3, 0, 9), False, False, False, False),
            # What is soft in the targets takes no learning.
            (Course(3, 3, 2.7, 9, 1), False, True, True, True),
            (Course(3, 3, 2.85, 9, 1), False, False, False, True),
            (Course(3, 3, 2.95, 9, 1), False, False, False, False),
            (Course(9, 9, 2.7, 3, 1), False, True, True, True),
        ],
    )
    def test_is_judged_by_its_start_and_by_what_a_constant_can_do(
        self, course: Course, broke: bool, sank: bool, fell: bool, learned: bool
    ) -> None:
        assert (course.broke, course.sank) == (broke, sank)
        assert (course.fell, course.learned) == (fell, learned)

    def test_progress_is_how_far_it_came_down(self) -> None:
        assert Course(3, 4, 1, 9).progress == 2


class TestLearningRate:
    @pytest.mark.parametrize("rate", [0.5, 0.1, 0.02])
    @pytest.mark.parametrize("y", [LABELS, ROWS], ids=["labels", "rows"])
    def test_that_lets_a_batch_be_learned_is_right(self, rate: float, y: Array) -> None:
        assert learning_rate(trainer(rate), X, y) == []

    @pytest.mark.parametrize("outputs", [1, 3])
    def test_that_fits_a_regression_is_right(self, outputs: int) -> None:
        y = np.repeat(TARGETS, outputs, axis=1)
        assert learning_rate(trainer(0.05, net(outputs), MeanSquaredError()), X, y) == []

    @pytest.mark.parametrize("rate", [1000.0, 100.0, 30.0])
    def test_too_high_is_told_with_one_that_works(self, rate: float) -> None:
        (finding,) = learning_rate(trainer(rate), X, LABELS)
        assert finding.name == "learning rate too high"
        assert f"In 100 steps on one batch at the rate {rate:.3g} the loss went" in finding.evidence
        works = re.search(r"; at (\d\S*) it falls to 0\.", finding.evidence)
        assert works is not None
        assert finding.advice == f"Try {works[1]}, or lower still."

    def test_too_high_may_break_the_loss_altogether(self) -> None:
        (finding,) = learning_rate(trainer(50.0, net(1), MeanSquaredError()), X, TARGETS)
        assert finding.name == "learning rate too high"
        assert "to nan, by way of " in finding.evidence

    def test_too_low_is_told_with_one_that_works(self) -> None:
        (finding,) = learning_rate(trainer(1e-5), X, LABELS)
        assert finding.name == "learning rate too low"
        assert "by way of" not in finding.evidence
        assert "; at 0.01 it falls to " in finding.evidence
        assert finding.advice == "Try 0.01, or higher still."

    @pytest.mark.parametrize("rate", [0.01, 0.3])
    def test_is_judged_fairly_where_targets_stand_far_from_0(self, rate: float) -> None:
        """It takes all steps to come near them, and no rate brings it below their variance."""
        run = trainer(rate, net(1, 32), MeanSquaredError())
        found = learning_rate(run, X, 0.1 * TARGETS + 30)
        assert names(found) == (["learning rate too high"] if rate == 0.3 else [])

    def test_that_is_only_slow_is_left_alone(self) -> None:
        assert learning_rate(trainer(1e-3), X, LABELS) == []

    def test_does_not_matter_where_nothing_is_left_to_learn(self) -> None:
        model = net(1)
        perfect = model(X)
        assert learning_rate(trainer(1e-5, model, MeanSquaredError()), X, perfect) == []

    @pytest.mark.parametrize("rate", [0.3, 0.02])
    def test_is_right_where_a_small_net_gets_little_out_of_noisy_labels(self, rate: float) -> None:
        model = Sequential([Dense(6, 2, weight_init=zeros)])
        noisy = (X @ DIRECTION + 9 * np.random.default_rng(1).standard_normal(1000) > 0).astype(int)
        assert learning_rate(trainer(rate, model), X, noisy) == []

    @pytest.mark.parametrize("smoothing", [0.1, 0.5, 0.9])
    def test_is_right_for_smoothed_labels(self, smoothing: float) -> None:
        loss = SoftmaxCrossEntropy(label_smoothing=smoothing)
        assert learning_rate(trainer(0.1, loss=loss), X, LABELS) == []

    def test_is_judged_by_the_start_alone_where_all_rows_are_the_same(self) -> None:
        assert learning_rate(trainer(0.1), X, np.full((1000, 2), [0.25, 0.75])) == []

    def test_is_judged_by_the_start_alone_where_all_labels_of_the_batch_are_the_same(self) -> None:
        assert learning_rate(trainer(0.1), X, np.zeros(1000, int)) == []

    def test_is_judged_for_a_loss_that_nobody_knows_too(self) -> None:
        class Own(Layer):
            """(prediction - 1)² on average, whatever the targets."""

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

    def test_looks_at_one_batch_in_evaluation_mode(self) -> None:
        """Silencing 9 of 10 units makes the loss much higher, which is no learning."""
        model = Sequential([Dense(6, 64, rng=0), Dropout(0.9, rng=0), Dense(64, 2, rng=1)])
        run = trainer(0.0, model)
        course = probes._fit_one_batch(run, X[:64], LABELS[:64], 0.0)
        assert course.start == course.end < course.highest / 1.3

    def test_takes_the_loss_of_training_where_it_is_the_lower_one(self) -> None:
        class Slower(Layer):
            """A layer that gives noise in evaluation mode."""

            def forward(self, x: Array) -> Array:
                y: Array = x if self.training else 50 * x
                self.save_for_backward(y)
                return y.copy()

            def backward(self, dy: Array) -> Array:
                (dy,) = self.saved_for_backward(dy)
                dx: Array = dy.copy()
                return dx

        model = Sequential([*net(), Slower()])
        loss = SoftmaxCrossEntropy()(model(X[:64]), 1 - LABELS[:64])
        course = probes._fit_one_batch(trainer(0.0, model), X[:64], 1 - LABELS[:64], 0.0)
        assert course.start == course.highest == course.end == loss

    def test_trains_in_training_mode_whatever_the_mode_is(self) -> None:
        model = Sequential([Dense(6, 64, rng=0), Dropout(0.9, rng=0), Dense(64, 2, rng=1)])
        run = trainer(0.1, model)
        course = probes._fit_one_batch(run, X[:64], LABELS[:64], 0.1)
        model.eval()
        assert probes._fit_one_batch(run, X[:64], LABELS[:64], 0.1) == course

    def test_gives_up_where_the_loss_is_no_number(self) -> None:
        course = probes._fit_one_batch(trainer(1e30), X[:64], LABELS[:64], 1e30)
        assert not math.isfinite(course.end) or course.highest > 1e20
        assert course.broke


class TestJudgement:
    """Of courses that are made up: the end of each at rates of 0.1 times powers of ten."""

    def told(
        self, monkeypatch: pytest.MonkeyPatch, ends: dict[int, float], start: float = 2.0
    ) -> list[str]:
        def course(run: Trainer, _x: Array, _y: Array, rate: float) -> Course:
            exponent = 9 if isinstance(run.optimizer, Adam) else round(math.log10(rate / 0.1))
            return Course(start, start, ends.get(exponent, start), start)

        monkeypatch.setattr(probes, "_fit_one_batch", course)
        return names(learning_rate(trainer(0.1), X, LABELS))

    @pytest.mark.parametrize("higher", [1, 2, 3])
    def test_a_rate_is_too_low_where_another_comes_twenty_times_as_far(
        self, monkeypatch: pytest.MonkeyPatch, higher: int
    ) -> None:
        low = ["learning rate too low"]
        assert self.told(monkeypatch, {0: 1.99, higher: 1.79}) == low
        assert self.told(monkeypatch, {0: 1.99, higher: 1.81, 9: 1}) == []
        assert self.told(monkeypatch, {0: 1.98, higher: 1.5}) == low
        assert self.told(monkeypatch, {0: 1.97, higher: 1.5}) == []

    @pytest.mark.parametrize("lower", [-1, -2, -3, -4])
    def test_a_rate_is_too_high_where_a_lower_one_learns_and_it_does_not(
        self, monkeypatch: pytest.MonkeyPatch, lower: int
    ) -> None:
        assert self.told(monkeypatch, {lower: 1.8}) == ["learning rate too high"]
        assert self.told(monkeypatch, {0: 1.89, lower: 1.0}) == []

    def test_a_batch_is_learned_by_any_rate_or_by_adam_or_not_at_all(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.told(monkeypatch, {}) == ["one batch"]
        assert self.told(monkeypatch, {0: 1.91}) == ["one batch"]
        assert self.told(monkeypatch, {0: 1.89}) == []
        assert self.told(monkeypatch, {0: 1.95, 1: 1.85}) == []
        assert self.told(monkeypatch, {9: 1.8}) == []

    def test_nothing_is_asked_of_a_loss_that_is_0(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.told(monkeypatch, {}, start=1e-7) == []
        assert self.told(monkeypatch, {}, start=1e-5) == ["one batch"]


class TestOneBatch:
    def test_that_no_rate_brings_down_is_told(self) -> None:
        class Wall(Layer):
            """A layer that lets no gradient through."""

            def forward(self, x: Array) -> Array:
                return x.copy()

            def backward(self, dy: Array) -> Array:
                return np.zeros_like(dy)

        (finding,) = learning_rate(trainer(0.1, Sequential([*net(), Wall()])), X, LABELS)
        assert finding.name == "one batch"
        assert "and no other rate brings it below 0.6" in finding.evidence
        assert "was given" not in finding.evidence
        assert "passes no gradient on" in finding.advice

    def test_names_how_many_parameters_the_optimizer_was_given(self) -> None:
        model = net()
        run = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters()[3:], 0.1))
        (finding,) = learning_rate(run, X, LABELS)
        assert finding.name == "one batch"
        assert finding.evidence.endswith(" The optimizer was given 1 of 4 parameters.")

    def test_may_be_learned_by_the_last_layer_alone(self) -> None:
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
    def test_is_seen_and_missed(self, outputs: int, loss: Layer, y: Array) -> None:
        assert relation(trainer(0.05, net(outputs), loss), X, y) == []
        (finding,) = relation(trainer(0.05, net(outputs), loss), X, y[SHUFFLED])
        assert finding.name == "unrelated labels"
        assert "After 20 passes over 500 samples, predictions for 500 others" in finding.evidence
        assert "chance alone comes to 3.5." in finding.evidence
        assert "same order" in finding.advice

    @pytest.mark.parametrize("rate", [0.0, 1e-9, 1e9])
    @pytest.mark.parametrize("offset", [0.0, 30.0])
    def test_does_not_hang_on_the_rate_or_on_where_targets_stand(
        self, rate: float, offset: float
    ) -> None:
        model = Sequential([Dense(6, 1, weight_init=zeros)])
        loss = MeanSquaredError()
        assert relation(trainer(rate, model, loss), X, 0.3 * TARGETS + offset) == []
        assert relation(trainer(rate), X, LABELS) == []

    def test_is_seen_in_targets_far_from_0_before_a_net_has_come_there(self) -> None:
        noise = np.random.default_rng(2).standard_normal((1000, 1)).astype(np.float32)
        model = net(1, 32)
        run = Trainer(model, MeanSquaredError(), Adam(model.parameters(), 1e-4))
        assert relation(run, X, 300 + TARGETS + 2 * noise) == []

    def test_is_seen_with_a_rare_class_and_with_noisy_labels(self) -> None:
        rare = (1.7 * np.linalg.norm(DIRECTION) < X @ DIRECTION).astype(int)
        assert 0.02 < rare.mean() < 0.06
        assert relation(trainer(), X, rare) == []
        noisy = np.where(np.random.default_rng(1).random(1000) < 0.5, LABELS, LABELS[SHUFFLED])
        assert relation(trainer(), X, noisy) == []

    def test_says_nothing_of_few_samples(self) -> None:
        y = LABELS[SHUFFLED]
        assert names(relation(trainer(), X[:80], y[:80])) == ["unrelated labels"]
        assert names(relation(trainer(), X[:79], y[:79])) == ["unrelated labels"]
        assert relation(trainer(), X[:78], y[:78]) == []

    def test_says_nothing_good_of_targets_that_are_all_the_same(self) -> None:
        (finding,) = relation(trainer(0.05, net(1), MeanSquaredError()), X, np.ones((1000, 1)))
        assert "by 0.0 standard deviations" in finding.evidence


class TestAgreement:
    @pytest.mark.parametrize("kind", ["labels", "rows", "targets"])
    def test_is_the_distance_from_the_mean_over_all_orders_in_their_deviations(
        self, kind: str
    ) -> None:
        rng = np.random.default_rng(3)
        prediction, y = rng.standard_normal((6, 3)), rng.standard_normal((6, 3))
        loss: Layer = MeanSquaredError()
        scores = prediction @ y.T
        if kind != "targets":
            loss, labels = SoftmaxCrossEntropy(), np.array([0, 1, 2, 0, 1, 1])
            y = labels if kind == "labels" else np.eye(3)[labels]
            scores = softmax(prediction)[:, labels]
        sums = [sum(scores[i, j] for i, j in enumerate(order)) for order in permutations(range(6))]
        wanted = (np.trace(scores) - np.mean(sums)) / np.std(sums)
        assert probes._agreement(loss, prediction, y) == pytest.approx(wanted, rel=1e-9)

    def test_of_sequences_is_that_of_their_rows_laid_side_by_side(self) -> None:
        rng = np.random.default_rng(4)
        prediction, y = rng.standard_normal((6, 2, 3)), rng.integers(0, 3, (6, 2))
        y[0, 1] = -100
        rows = np.eye(3)[np.where(y < 0, 0, y)] * (y >= 0)[..., None]
        side_by_side = softmax(prediction).reshape(6, 6), rows.reshape(6, 6)
        wanted = probes._agreement(MeanSquaredError(), *side_by_side)
        got = probes._agreement(SoftmaxCrossEntropy(), prediction, y)
        assert got == pytest.approx(wanted, rel=1e-9)

    def test_of_a_constant_is_none(self) -> None:
        assert probes._agreement(MeanSquaredError(), np.ones((5, 1)), TARGETS[:5]) == 0


class TestBestLosses:
    def test_are_the_least_of_a_constant_and_of_any_prediction(self) -> None:
        labels = np.array([0, 2, 2, 5], np.uint64)
        shares = np.array([0.25, 0, 0.5, 0, 0, 0.25])
        with np.errstate(divide="ignore"):
            logits = np.log(np.tile(shares, (4, 1)))
        loss = SoftmaxCrossEntropy()
        for y in (labels, np.eye(6)[labels.astype(int)]):
            wanted = pytest.approx((loss(logits, y), 0))
            assert probes._best_losses(loss, logits, y) == wanted
        constant = np.tile(X[:9].mean(axis=0), (9, 1))
        for squares in (MeanSquaredError(), MeanSquaredError("sum")):
            wanted = pytest.approx((squares(constant, X[:9]), 0))
            assert probes._best_losses(squares, constant, X[:9]) == wanted

    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    @pytest.mark.parametrize("as_rows", [True, False])
    def test_hang_on_the_settings_of_the_loss(self, reduction: str, as_rows: bool) -> None:
        loss = SoftmaxCrossEntropy([1, 2, 0.5], -1, reduction, 0.2)
        y = np.array([[0, 2, -1], [1, 0, 0]])
        if as_rows:
            y = np.eye(3)[y]
        logits = np.zeros((2, 3, 3))
        guess, least = probes._best_losses(loss, logits, y)
        for best, axis in ((guess, (0, 1)), (least, ())):
            # Down the gradient to the best constant, or to the best prediction of each place.
            logits[...] = 0
            for _ in range(400):
                value = loss(logits, y)
                logits -= (0.2 if reduction == "sum" else 1.0) * loss.backward().sum(
                    axis=axis, keepdims=True
                )
            assert value == pytest.approx(best, rel=1e-4)
            assert value >= best

    def test_of_another_loss_is_unknown(self) -> None:
        assert probes._best_losses(ReLU(), X, X) == (math.inf, 0)


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
def test_the_rate_that_is_tried_is_the_highest_one(rate: Any, peak: float) -> None:
    assert probes._peak(SGD(net().parameters(), rate)) == peak


def test_probing_changes_nothing() -> None:
    model = Sequential([Dense(6, 8, rng=0), Dropout(0.5, rng=1), Dense(8, 2, rng=2)])
    run = Trainer(model, SoftmaxCrossEntropy(), Adam(model.parameters()))
    run.fit(X[:50], LABELS[:50], epochs=1, batch_size=10)
    model.eval()
    before = deepcopy(run.state_dict())
    learning_rate(run, X, LABELS)
    relation(run, X, LABELS)
    np.testing.assert_equal(run.state_dict(), before)
    assert not any(layer.training for layer in model)
