"""Several inputs, outputs and targets: tuples of arrays through a whole run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from resume_run import SaveAndStop, digest

from tinynet import (
    LSTM,
    R2,
    SGD,
    Accuracy,
    Adam,
    Array,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    HeadMetric,
    Heads,
    InputError,
    Layer,
    Loss,
    Masking,
    MeanSquaredError,
    MultiTaskLoss,
    Parallel,
    Parameter,
    Sequential,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
)
from tinynet.callbacks import Callback
from tinynet.datasets.batches import Batches
from tinynet.samples import take
from tinynet.training.step import accumulate_gradients

N = 12
RNG = np.random.default_rng(0)
IMAGES, IDS = RNG.standard_normal((N, 2, 3)), RNG.integers(0, 5, (N, 2))
LABELS, VALUES = np.where(RNG.random(N) < 0.3, -100, RNG.integers(0, 3, N)), RNG.random((N, 1))
X, Y = (IMAGES, IDS), (LABELS, VALUES)
WEIGHTS = [2.0, 0.25]
INFORMATIVE = [1.0, 3.0, 0.0]  # of the classes


def trunk(seed: int = 0) -> Layer:
    images = [Flatten(), Dense(6, 4, rng=seed)]
    return Parallel([images, [Embedding(5, 2, rng=seed + 1), Flatten()]])


def heads() -> list[Layer]:
    return [Dense(8, 3, rng=7), Dense(8, 1, rng=8)]


def losses() -> list[Layer]:
    return [SoftmaxCrossEntropy(INFORMATIVE), MeanSquaredError()]


def network(dropout: float = 0.0) -> Sequential:
    return Sequential([trunk(), Tanh(), Dropout(dropout, rng=3), Heads(heads())])


def make_trainer(seed: int = 0, dropout: float = 0.3) -> Trainer:
    model = network(dropout)
    for parameter in model.parameters():
        parameter.value += np.float32(seed)
    metrics = [HeadMetric(0, Accuracy(), name="class"), HeadMetric(1, R2())]
    loss = MultiTaskLoss(losses(), weights=WEIGHTS)
    return Trainer(model, loss, Adam(model.parameters(), 0.05), metrics=metrics)


def test_gradients_of_two_heads_are_the_weighted_sum_of_those_of_two_networks() -> None:
    both = network().astype(np.float64)
    loss = MultiTaskLoss(losses(), weights=WEIGHTS)
    value = loss(both(X), Y)
    dx = both.backward(loss.backward())
    values, sums, dxs = [], [np.zeros(())] * 3, []
    for k, weight in enumerate(WEIGHTS):
        one = Sequential([trunk(), Tanh(), heads()[k]]).astype(np.float64)
        single = losses()[k]
        values.append(weight * single(one(X), Y[k]))
        dxs.append(weight * one.backward(single.backward())[0])
        *shared, last, bias = [np.asarray(p.grad) for p in one.parameters()]
        sums = [total + weight * grad for total, grad in zip(sums, shared, strict=True)]
        own = {name: np.asarray(p.grad) for name, p in both.named_parameters()}
        head = f"layers.3.branches.{k}"
        np.testing.assert_allclose(own[f"{head}.weight"], weight * last, 1e-13, 1e-15)
        np.testing.assert_allclose(own[f"{head}.bias"], weight * bias, 1e-13)
    assert value == pytest.approx(sum(values), rel=1e-14)
    for parameter, expected in zip(both.parameters()[:3], sums, strict=False):
        np.testing.assert_allclose(np.asarray(parameter.grad), expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(dx[0], sum(dxs), rtol=1e-12, atol=1e-15)
    assert dx[1] is None  # ids


@given(cuts=st.sets(st.integers(1, N - 1)), size=st.integers(1, N))
def test_the_loss_and_the_gradients_do_not_depend_on_the_division_into_parts(
    cuts: set[int], size: int
) -> None:
    whole, parts = network().astype(np.float64), network().astype(np.float64)
    loss = MultiTaskLoss(losses(), weights=WEIGHTS)
    expected = loss(whole(X), Y)
    whole.backward(loss.backward())
    mean, total = accumulate_gradients(parts, MultiTaskLoss(losses(), weights=WEIGHTS), X, Y, size)
    assert mean == pytest.approx(expected, rel=1e-12)
    assert len(total.divisors) == 2
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        np.testing.assert_allclose(np.asarray(other.grad), np.asarray(one.grad), 1e-11, 1e-14)
    trainer = Trainer(whole, loss, SGD(whole.parameters(), 0.0))
    for batch_size in (size, max(cuts, default=1)):
        assert trainer.evaluate(X, Y, batch_size=batch_size)["loss"] == pytest.approx(expected)
        trainer.fit(X, Y, epochs=trainer.epoch + 1, batch_size=batch_size)
        assert trainer.history.last["loss"] == pytest.approx(expected, rel=1e-12)


def test_a_head_whose_labels_are_all_ignored_adds_nothing() -> None:
    nothing = np.full(N, -100)
    for size in (N, 5):
        model, loss = network().astype(np.float64), MultiTaskLoss(losses(), weights=WEIGHTS)
        mean, _ = accumulate_gradients(model, loss, X, (nothing, VALUES), size)
        assert mean == pytest.approx(0.25 * MeanSquaredError()(network().predict(X)[1], VALUES))
        assert not np.any(dict(model.named_parameters())["layers.3.branches.0.weight"].grad)


class Weighted(Loss):
    """w times the mean of prediction²: a loss with a parameter."""

    def __init__(self) -> None:
        self.w = Parameter([3.0], np.float64)

    def forward(self, prediction: Array, targets: Array) -> float:
        loss = float(self.w.value[0] * np.square(prediction - targets).mean(axis=1).mean())
        self.save_for_backward(loss, prediction - targets)
        return loss

    def backward(self) -> Array:
        _, difference = self.saved_for_backward()
        self.w.grad = np.array([np.square(difference).mean()])
        dprediction: Array = self.w.value * 2 * difference / difference.size
        return dprediction


@pytest.mark.parametrize("size", [N, 5])
def test_a_parameter_of_a_loss_of_a_head_gets_its_weighted_gradient(size: int) -> None:
    model, loss = network().astype(np.float64), MultiTaskLoss([losses()[0], Weighted()])
    loss.weights[1] = 0.5
    accumulate_gradients(model, loss, X, Y, size)
    error = np.square(network().astype(np.float64).predict(X)[1] - VALUES).mean()
    (w,) = loss.parameters()
    np.testing.assert_allclose(np.asarray(w.grad), [0.5 * error], rtol=1e-12)


class ByPrediction(Loss):
    """A mean over what is predicted to be positive."""

    def forward(self, prediction: Array, targets: Array) -> float:
        loss = float(prediction[prediction > 0].sum()) / max(1.0, self.divisor(prediction, targets))
        self.save_for_backward(loss, prediction)
        return loss

    def backward(self) -> Array:
        _, prediction = self.saved_for_backward()
        dprediction: Array = (prediction > 0) / max(1.0, self.divisor(prediction, prediction))
        return dprediction

    def divisor(self, prediction: Array, targets: Array) -> float:  # noqa: ARG002  # as in the base class
        return float((prediction > 0).sum())


def test_a_divisor_that_depends_on_predictions_is_refused_in_parts_and_changes_nothing() -> None:
    model = Sequential([Dense(2, 4, rng=0), Heads([Dense(4, 3, rng=1), Dense(4, 3, rng=2)])])
    loss = MultiTaskLoss([MeanSquaredError(), ByPrediction()])
    trainer = Trainer(model, loss, SGD(model.parameters(), 0.1))
    x, y = RNG.standard_normal((8, 2)), RNG.standard_normal((8, 3))
    before = [parameter.value.copy() for parameter in model.parameters()]
    with pytest.raises(InputError, match=r"head 1: gradient accumulation expects a divisor that"):
        trainer.fit(x, (y, y), epochs=1, micro_batch_size=3)
    for parameter, value in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.value, value)
    trainer.fit(x, (y, y), epochs=1)
    assert trainer.step == 1


@pytest.mark.parametrize("step", [1, 4, 7])
def test_a_run_saved_within_an_epoch_continues_to_the_same_bits(step: int, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 5, "micro_batch_size": 3}
    settings["validation"] = take(X, slice(4)), take(Y, slice(4))
    straight = make_trainer()
    straight.fit(X, Y, **settings)
    stopped = make_trainer()
    stopped.fit(X, Y, **settings, callbacks=[SaveAndStop(step, tmp_path / "run.npz")])
    assert stopped.step == step
    resumed = make_trainer(seed=9).restore(tmp_path / "run.npz")
    resumed.fit(X, Y, **settings)
    assert digest(resumed) == digest(straight)
    assert straight.metric_names[1:3] == ("class_accuracy", "head_1_r2")
    assert straight.higher_is_better["validation_head_1_r2"] is True


def test_a_label_out_of_range_is_named_in_parts_as_in_the_whole_batch() -> None:
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 9, 1])
    for size in (N, 5):
        loss = MultiTaskLoss(losses(), weights=WEIGHTS)
        with pytest.raises(InputError, match=r"head 0: .* expects labels from 0 to 2, got 9"):
            accumulate_gradients(network(), loss, X, (labels, VALUES), size)


def test_a_run_with_other_heads_is_refused_within_an_epoch_and_changes_nothing() -> None:
    trainer = make_trainer()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, epochs=1, batch_size=5, callbacks=[Interrupt()])
    before = digest(trainer)
    trainer.loss = MultiTaskLoss([SoftmaxCrossEntropy(), MeanSquaredError("sum")])
    with pytest.raises(InputError, match="with other heads or another reduction; restart_epoch="):
        trainer.fit(X, Y, epochs=1, batch_size=5)
    trainer.loss = MultiTaskLoss(losses(), weights=WEIGHTS)
    assert digest(trainer) == before


class Interrupt(Callback):
    """Ctrl-C after the first step."""

    def on_step_end(self, trainer: Trainer) -> None:
        if trainer.step == 1:
            raise KeyboardInterrupt


def test_predictions_are_tuples_and_the_same_for_every_batch_size() -> None:
    model = network()
    labels, values = model.predict(X)
    assert (labels.shape, values.shape) == ((N, 3), (N, 1))
    assert labels.dtype == values.dtype == np.float32  # x of float64 is cast
    for size in (1, 5, N):
        for got, expected in zip(model.predict(X, size), (labels, values), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    empty = model.predict(take(X, slice(0)))
    assert [array.shape for array in empty] == [(0, 3), (0, 1)]
    assert model.output_shape(X) == model.output_shape(((N, 2, 3), (N, 2))) == ((N, 3), (N, 1))


class TestBatches:
    def test_every_array_of_a_tuple_has_the_same_samples_in_a_batch(self) -> None:
        numbers = np.arange(10)
        batches = Batches((numbers, numbers * 2), (numbers * 3, numbers * 4), 4, seed=1)
        found = []
        for (a, b), (c, d) in batches.epoch(0):
            np.testing.assert_array_equal([2 * a, 3 * a, 4 * a], [b, c, d])
            found += a.tolist()
        assert sorted(found) == numbers.tolist() != found
        assert repr(batches) == "Batches(10 samples, batch_size=4, seed=1)"

    def test_batches_that_are_views_are_read_only(self) -> None:
        (a, b), y = next(Batches((np.zeros(3), np.ones(3)), np.ones(3), shuffle=False).epoch(0))
        for array in (a, b, y):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1

    def test_a_transform_gets_and_returns_tuples(self) -> None:
        def swap(x: Any, y: Any, _: np.random.Generator) -> Any:
            return (x[1], x[0]), y

        (a, b), _ = next(Batches((np.zeros(3), np.ones(3)), np.ones(3), transform=swap).epoch(0))
        assert (a.tolist(), b.tolist()) == ([1, 1, 1], [0, 0, 0])

    @pytest.mark.parametrize(
        "wrong", [((np.ones(2), np.ones(3)), np.ones(3)), ((np.ones(3), 3), np.ones(3)), ((), ())]
    )
    def test_a_transform_has_to_return_samples_of_one_number(self, wrong: Any) -> None:
        batches = Batches((np.zeros(3), np.ones(3)), np.ones(3), transform=lambda *_: wrong)
        with pytest.raises(InputError, match=r"transform to return \(x, y\), two arrays"):
            next(batches.epoch(0))

    @pytest.mark.parametrize(
        ("x", "sentence"),
        [
            (
                (np.ones(3), np.ones(2)),
                "expects the arrays of x to have one number of samples, got",
            ),
            ((np.ones(3), 2.0), "expects x[1] to be a NumPy array, got float"),
            ((np.ones(3), np.ones(())), "expects x[1] to have samples, got shape ()"),
            ((np.ones(0), np.ones((0, 2))), "expects x to have samples, got shape ((0,), (0, 2))"),
            ((np.ones(2), np.ones(2)), "x and y of the same number of samples, got 2 and 3"),
            ([np.ones(3), np.ones((3, 2))], "got list; tuple(x) makes several inputs of it"),
            ([np.ones(3), np.ones(3)], "np.asarray(x) makes one; tuple(x) makes several inputs"),
            ({"a": np.ones(3)}, "got dict; tuple(x.values()) makes several inputs of it"),
            (((np.ones(3), np.ones(3)), np.ones(3)), "a tuple holds arrays, and no tuples"),
            ((), "expects x to be a NumPy array, got tuple"),
        ],
    )
    def test_other_inputs_are_refused_with_the_remedy(self, x: Any, sentence: str) -> None:
        with pytest.raises(InputError) as error:
            Batches(x, np.ones(3))
        assert sentence in str(error.value)


def test_validation_split_keeps_the_arrays_of_a_tuple_together() -> None:
    seen: list[Any] = []

    class Look(Layer):
        def forward(self, x: Any) -> Array:
            seen.append(x)
            np.testing.assert_array_equal(x[1], 2 * x[0])
            y: Array = x[0] * 1.0
            self.save_for_backward(y)
            return y

        def backward(self, dy: Array) -> Any:
            (dy,) = self.saved_for_backward(dy)
            return dy, 0 * dy

    numbers = np.arange(1.0, 11.0)[:, np.newaxis]
    model = Sequential([Look(), Dense(1, 1, rng=0)])
    trainer = Trainer(model, MeanSquaredError(), SGD(model.parameters(), 0.001))
    history = trainer.fit((numbers, 2 * numbers), numbers, epochs=1, validation_split=0.3)
    assert np.isfinite(history.last["validation_loss"])
    assert {len(x[0]) for x in seen} >= {7, 3}


@pytest.mark.parametrize("of_ids", [True, False])
def test_lengths_and_masks_go_through_fit_and_predict_as_a_second_input(of_ids: bool) -> None:
    rng = np.random.default_rng(1)
    lengths, ids = rng.integers(1, 5, N), rng.integers(0, 5, (N, 4))
    padded = np.arange(4) >= lengths[:, np.newaxis]
    x = ids if of_ids else rng.standard_normal((N, 4, 3))
    first = [Embedding(5, 3, rng=0)] if of_ids else []
    model = Sequential([Masking(), *first, LSTM(3, 4, states="last", rng=1), Dense(4, 2, rng=2)])
    model = model.astype(np.float64)
    one_by_one = Sequential(list(model.layers[1:]))
    expected = [one_by_one(x[n : n + 1, : lengths[n]])[0] for n in range(N)]
    by_lengths, by_mask = model.predict((x, lengths)), model.predict((x, padded), batch_size=5)
    np.testing.assert_allclose(by_lengths, expected, rtol=1e-12)
    np.testing.assert_allclose(by_mask, expected, rtol=1e-12)
    masking, first_x = Masking(), (x, lengths)
    dx, nothing = masking.backward(masking(first_x) * 0.0 + 1)
    assert nothing is None
    np.testing.assert_array_equal(0 if of_ids else dx, 0 if of_ids else ~padded[..., None] * x**0)
    assert (dx is None) == of_ids
    trainer = Trainer(model, SoftmaxCrossEntropy(), Adam(model.parameters(), 0.05))
    labels = (lengths > 2).astype(int)
    first_loss = trainer.evaluate((x, lengths), labels)["loss"]
    trainer.fit((x, lengths), labels, epochs=30, batch_size=4)
    assert trainer.evaluate((x, padded), labels)["loss"] < 0.3 * first_loss
