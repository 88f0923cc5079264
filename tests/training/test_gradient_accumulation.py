from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import (
    Array,
    Dense,
    Layer,
    MeanSquaredError,
    Parameter,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    Tanh,
)
from tinynet.training.step import accumulate_gradients


def network(dtype: Any = np.float64) -> Layer:
    layers = [Dense(3, 5, rng=0), Tanh(), Dense(5, 4, rng=1), Sigmoid(), Dense(4, 3, rng=2)]
    return Sequential(layers).astype(dtype)


def data(samples: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(samples)
    return rng.standard_normal((samples, 3)), rng.integers(0, 3, samples)


class Scale(Layer):
    """y = w x with a w without axes; it records its batch sizes in `sizes`."""

    def __init__(self) -> None:
        self.w = Parameter(2.0, np.float64)
        self.sizes: list[int] = []

    def forward(self, x: Array) -> Array:
        self.sizes.append(len(x))
        y: Array = self.w.value * x
        self.save_for_backward(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        dy, x = self.saved_for_backward(dy)
        self.w.grad = np.asarray((dy * x).sum())
        dx: Array = self.w.value * dy
        return dx


class Weighted(Layer):
    """A loss with a parameter of its own: w times the mean of (prediction - targets)²."""

    def __init__(self) -> None:
        self.w = Parameter([3.0], np.float64)
        self.error = MeanSquaredError()

    def forward(self, prediction: Array, targets: Array) -> float:
        self.mean = float(self.error(prediction, targets))
        return float(self.w.value[0]) * self.mean

    def backward(self) -> Array:
        self.w.grad = np.array([self.mean])
        dprediction: Array = self.w.value[0] * self.error.backward()
        return dprediction


class TestAccumulateGradients:
    @given(st.integers(1, 24), st.integers(1, 30), st.booleans())
    def test_accumulated_gradients_equal_those_of_the_whole_batch(
        self, samples: int, size: int, labels: bool
    ) -> None:
        x, y = data(samples)
        targets = y if labels else x + 1
        whole, parts = network(), network()
        loss, other_loss = (
            (SoftmaxCrossEntropy() if labels else MeanSquaredError()) for _ in range(2)
        )
        expected: float = loss(whole(x), targets)
        whole.backward(loss.backward())
        got, _ = accumulate_gradients(parts, other_loss, x, targets, size)
        assert type(got) is float
        assert got == pytest.approx(expected, rel=1e-12)
        for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
            assert one.grad is not None
            assert other.grad is not None
            assert other.grad.dtype == np.float64
            np.testing.assert_allclose(other.grad, one.grad, rtol=1e-12, atol=1e-13)

    @pytest.mark.parametrize(
        ("size", "sizes"),
        [(1, [1] * 7), (3, [3, 3, 1]), (4, [4, 3]), (6, [6, 1]), (7, [7]), (8, [7])],
    )
    def test_a_batch_is_split_into_parts_of_at_most_the_given_size(
        self, size: int, sizes: list[int]
    ) -> None:
        model, x = Scale(), np.arange(7.0)
        loss, _ = accumulate_gradients(model, MeanSquaredError(), x, 3 * x, size)
        assert model.sizes == sizes
        assert loss == pytest.approx(13, rel=1e-14)  # the mean of x²
        assert model.w.grad == pytest.approx(-2 * 13, rel=1e-14)
        assert np.shape(model.w.grad) == ()

    @pytest.mark.parametrize("size", [2, 4, 5, 9])
    def test_gradients_of_parameters_of_the_loss_are_averaged_too(self, size: int) -> None:
        x = np.arange(5.0)
        model, loss = Scale(), Weighted()
        mean, _ = accumulate_gradients(model, loss, x, 3 * x, size)
        assert mean == pytest.approx(18, rel=1e-14)
        assert loss.w.grad is not None
        assert loss.w.grad.tolist() == pytest.approx([6], rel=1e-14)  # the mean of x²
        assert model.w.grad == pytest.approx(-3 * 2 * 6, rel=1e-14)

    @given(st.integers(1, 12), st.integers(1, 15))
    def test_observe_gets_each_sample_once_in_order(self, samples: int, size: int) -> None:
        x, y = data(samples)
        model = network()
        shown: list[tuple[Array, Array]] = []
        accumulate_gradients(
            model,
            SoftmaxCrossEntropy(),
            x,
            y,
            size,
            lambda prediction, targets: shown.append((prediction, targets)),
        )
        assert max(len(targets) for _, targets in shown) == min(size, samples)
        assert np.concatenate([targets for _, targets in shown]).tolist() == y.tolist()
        predictions = np.concatenate([prediction for prediction, _ in shown])
        np.testing.assert_allclose(predictions, model(x), rtol=1e-12, atol=1e-13)

    @pytest.mark.parametrize("size", [2, 5])
    def test_gradients_of_the_previous_batch_are_not_added(self, size: int) -> None:
        x, y = data(5)
        used, fresh = network(), network()
        accumulate_gradients(used, SoftmaxCrossEntropy(), -x, 2 - y, size)
        for model in (used, fresh):
            accumulate_gradients(model, SoftmaxCrossEntropy(), x, y, size)
        for one, other in zip(used.parameters(), fresh.parameters(), strict=True):
            assert np.array_equal(np.asarray(one.grad), np.asarray(other.grad))

    @pytest.mark.parametrize("size", [2, 5])
    def test_accumulated_gradients_of_float32_parameters_are_float32(self, size: int) -> None:
        x, y = data(5)
        model = network(np.float32)
        accumulate_gradients(model, SoftmaxCrossEntropy(), x.astype(np.float32), y, size)
        for parameter in model.parameters():
            assert parameter.grad is not None
            assert parameter.grad.dtype == np.float32
            assert parameter.grad.shape == parameter.value.shape
