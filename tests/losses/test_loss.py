"""A mean is divided once: the losses of several batches combine to the loss of one."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from tinynet import (
    SGD,
    Array,
    BinaryCrossEntropy,
    Dense,
    Hinge,
    Huber,
    InputError,
    KLDivergence,
    Layer,
    LogSoftmax,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
)
from tinynet.losses.batch_loss import LossSum, batch_loss
from tinynet.training.step import accumulate_gradients

N, C = 7, 3  # samples, classes


def labels(rng: np.random.Generator, ignored: bool) -> Array:
    return np.where(ignored & (rng.random(N) < 0.6), -100, rng.integers(0, C, N))


def probabilities(rng: np.random.Generator) -> Array:
    return rng.dirichlet(np.ones(C), N)


def outputs(rng: np.random.Generator) -> Array:
    return rng.standard_normal((N, C))


class Quartic(Loss):
    """A user's loss: the mean over samples of Σ (prediction - target)⁴."""

    def forward(self, prediction: Array, targets: Array) -> float:
        difference = prediction - targets
        self.save_for_backward(0.0, difference)
        return float((difference**4).sum()) / len(prediction)

    def backward(self) -> Array:
        _, difference = self.saved_for_backward()
        gradient: Array = 4 * difference**3 / len(difference)
        return gradient


class Plain(Layer):
    """A user's loss that is no `Loss`, with a mean over samples."""

    forward, backward = Quartic.forward, Quartic.backward


class WeightedSquares(Quartic):
    """A user's loss with a divisor of its own: Σ |t| (prediction - target)² / Σ |t|."""

    def forward(self, prediction: Array, targets: Array) -> float:
        weight, difference = np.abs(targets), prediction - targets
        self.save_for_backward(0.0, weight * difference / weight.sum())
        return float((weight * difference**2).sum()) / float(weight.sum())

    def backward(self) -> Array:
        _, difference = self.saved_for_backward()
        gradient: Array = 2 * difference
        return gradient

    def divisor(self, prediction: Array, targets: Array) -> float:  # noqa: ARG002  # as forward
        return float(np.abs(targets).sum())


WEIGHT = np.array([0.5, 0.0, 2.0])
Case = tuple[Callable[[], Layer], Callable[[np.random.Generator], Array]]


def cases() -> dict[str, Case]:
    """Every loss x reduction x weights x ignored labels, with the targets that it takes."""
    found: dict[str, Case] = {
        "a loss of a user": (Quartic, outputs),
        "a plain layer": (Plain, outputs),
        "a divisor of its own": (WeightedSquares, outputs),
    }
    for reduction in ("mean", "sum"):
        same: Any = {"reduction": reduction}
        for kind in (MeanSquaredError, MeanAbsoluteError, Huber):
            found[f"{kind.__name__} {reduction}"] = (partial(kind, **same), outputs)
        found[f"KLDivergence {reduction}"] = (partial(KLDivergence, **same), probabilities)
        for weight in (None, WEIGHT):
            own = {"weight": weight, **same}
            name = f"{reduction}{'' if weight is None else ' weighted'}"
            found[f"Hinge {name}"] = (partial(Hinge, **own), lambda rng: labels(rng, False))
            found[f"BinaryCrossEntropy {name}"] = (
                partial(BinaryCrossEntropy, pos_weight=3.0, **own),
                lambda rng: (outputs(rng) > 0).astype(float),
            )
            for smoothing in (0.0, 0.1):
                kinds: dict[str, Callable[[np.random.Generator], Array]] = {
                    "labels": lambda rng: labels(rng, False),
                    "ignored labels": lambda rng: labels(rng, True),
                    "rows": probabilities,
                }
                for kind_of_targets, targets in kinds.items():
                    found[f"SoftmaxCrossEntropy {name} {smoothing} {kind_of_targets}"] = (
                        partial(SoftmaxCrossEntropy, label_smoothing=smoothing, **own),
                        targets,
                    )
    return found


CASES = cases()
partitions = st.lists(st.integers(1, N - 1), max_size=N - 1, unique=True).map(
    lambda cuts: list(zip([0, *sorted(cuts)], [*sorted(cuts), N], strict=True))
)


def model_for(name: str, seed: int) -> Sequential:
    layers: list[Layer] = [Dense(4, C, rng=seed)]
    return Sequential(layers + [LogSoftmax()] * name.startswith("KL")).astype(np.float64)


def data_for(name: str, seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((N, 4)), CASES[name][1](rng)


@given(partition=partitions, seed=st.integers(0, 99))
def test_the_losses_of_any_batches_combine_to_the_loss_of_all_samples(
    partition: list[tuple[int, int]], seed: int
) -> None:
    for name, (make, _) in CASES.items():
        note(name)
        x, y = data_for(name, seed)
        prediction, loss, total = model_for(name, seed)(x), make(), LossSum()
        for start, stop in partition:
            total.add(batch_loss(loss, prediction[start:stop], y[start:stop]).sum)
        assert total.mean == pytest.approx(loss(prediction, y), rel=1e-12, abs=1e-12)


@given(size=st.integers(1, N), seed=st.integers(0, 99))
def test_accumulated_gradients_are_those_of_the_whole_batch_for_every_loss(
    size: int, seed: int
) -> None:
    for name, (make, _) in CASES.items():
        note(name)
        x, y = data_for(name, seed)
        whole, parts, loss = model_for(name, seed), model_for(name, seed), make()
        expected: float = loss(whole(x), y)
        whole.backward(loss.backward())
        mean, _ = accumulate_gradients(parts, make(), x, y, size)
        assert mean == pytest.approx(expected, rel=1e-12, abs=1e-12)
        for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
            np.testing.assert_allclose(np.asarray(other.grad), np.asarray(one.grad), 1e-11, 1e-12)


@pytest.mark.parametrize("batch_size", range(1, N + 1))
def test_evaluate_and_the_loss_of_an_epoch_are_the_same_for_every_batch_size(
    batch_size: int,
) -> None:
    for name, (make, _) in CASES.items():
        x, y = data_for(name, 3)
        model, loss = model_for(name, 3), make()
        expected = pytest.approx(loss(model(x), y), rel=1e-12, abs=1e-12)
        trainer = Trainer(model, loss, SGD(model.parameters(), 0.0))  # the weights stay
        assert trainer.evaluate(x, y, batch_size=batch_size) == {"loss": expected}, name
        trainer.fit(x, y, epochs=2, batch_size=batch_size)
        assert trainer.history.epochs["loss"].tolist() == [expected, expected], name


LOGITS = np.array([[3.0, 0], [3, 0], [0, 3], [0, 3]])
LABELS = np.array([0, -100, 0, 0])
# ln(1 + e⁻³) for the first row, ln(1 + e³) for the last two, and three labels that count.
MEAN = (math.log1p(math.exp(-3)) + 2 * math.log1p(math.exp(3))) / 3


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 9])
def test_ignored_labels_do_not_count_in_the_mean_of_any_batch_size(batch_size: int) -> None:
    model = Dense(2, 2, bias=False).astype(np.float64)
    model.weight.value[:] = np.eye(2)
    trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.0))
    assert pytest.approx(2.0486, abs=5e-5) == MEAN
    results = trainer.evaluate(LOGITS, LABELS, batch_size=batch_size)
    assert results["loss"] == pytest.approx(MEAN, rel=1e-14)
    history = trainer.fit(LOGITS, LABELS, epochs=1, batch_size=batch_size)
    assert history.last["loss"] == pytest.approx(MEAN, rel=1e-14)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_step_with_micro_batches_is_the_step_of_the_batch_with_ignored_labels(size: int) -> None:
    values = []
    for micro_batch_size in (4, size):
        model = Dense(2, 2, rng=0).astype(np.float64)
        trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 1.0))
        trainer.fit(LOGITS, LABELS, epochs=3, micro_batch_size=micro_batch_size)
        values.append(model.weight.value)
    np.testing.assert_allclose(values[1], values[0], rtol=1e-13)


def test_the_loss_is_0_where_all_labels_are_ignored_in_every_batch() -> None:
    model = Dense(2, 2, rng=0)
    trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1))
    before = model.weight.value.copy()
    nothing = np.full(4, -100)
    trainer.fit(LOGITS, nothing, epochs=1, batch_size=3, micro_batch_size=2)
    assert trainer.evaluate(LOGITS, nothing, batch_size=3) == {"loss": 0}
    assert trainer.history.epochs["loss"].tolist() == [0]
    np.testing.assert_array_equal(model.weight.value, before)


def test_divisors_are_rows_entries_samples_or_sums_of_weights() -> None:
    z, y = np.zeros((2, 5, 3)), np.array([[0, 1, 2, -100, 0], [-100, -100, 1, 1, 2]])
    assert SoftmaxCrossEntropy().divisor(z, np.full(z.shape, 1 / 3)) == 10
    assert SoftmaxCrossEntropy().divisor(z, y) == 7
    assert SoftmaxCrossEntropy(WEIGHT).divisor(z, y) == 2 * 0.5 + 3 * 0 + 2 * 2.0
    assert SoftmaxCrossEntropy(reduction="sum").divisor(z, y) is None
    assert MeanSquaredError().divisor(z, z) == BinaryCrossEntropy().divisor(z, z) == 30
    assert KLDivergence().divisor(z, z) == Hinge().divisor(z, y) == 2
    for kind in (MeanAbsoluteError, BinaryCrossEntropy, KLDivergence, Hinge):
        assert kind(reduction="sum").divisor(z, z) is None
    assert batch_loss(Plain(), z, z).sum.divisors == (Quartic().divisor(z, z),) == (2,)


def test_a_mean_over_nothing_has_the_sum_that_it_does_not_show() -> None:
    # The classes of all labels have the weight 0, and label smoothing counts the other ones.
    loss, z, y = SoftmaxCrossEntropy([1.0, 0.0], label_smoothing=0.5), LOGITS[:2], np.array([1, 1])
    batch = batch_loss(loss, z, y)
    assert (batch.value, loss.reduction) == (0, "mean")
    assert batch.sum.totals[0] == pytest.approx(2 * 0.25 * math.log1p(math.exp(-3)))
    assert batch.sum.divisors == (0,)


def test_a_part_without_any_weight_adds_nothing_for_a_loss_of_a_user() -> None:
    class Weighted(WeightedSquares):
        def forward(self, prediction: Array, targets: Array) -> float:
            if not targets.any():
                self.save_for_backward(0.0, prediction)
                return math.nan
            return super().forward(prediction, targets)

    x, y = np.ones((3, 4)), np.array([[0.0] * 3, [1.0] * 3, [0.0] * 3])
    whole, parts = model_for("", 0), model_for("", 0)
    expected = Weighted()
    value = expected(whole(x), y)
    whole.backward(expected.backward())
    mean, _ = accumulate_gradients(parts, Weighted(), x, y, 1)
    assert mean == pytest.approx(value)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        np.testing.assert_allclose(np.asarray(other.grad), np.asarray(one.grad), 1e-12)


def test_errors_of_evaluate_and_of_parts_name_the_loss_of_the_user() -> None:
    model = Dense(2, 2, rng=0)
    trainer = Trainer(model, SoftmaxCrossEntropy([1.0, 2.0]), SGD(model.parameters(), 0.1))
    sentence = r"^SoftmaxCrossEntropy\(weight=\[1., 2.\]\) expects labels"
    for run in (
        lambda: trainer.evaluate(LOGITS, LABELS + 7),
        lambda: trainer.fit(LOGITS, LABELS + 7, epochs=1, micro_batch_size=2),
    ):
        with pytest.raises(InputError, match=sentence):
            run()
