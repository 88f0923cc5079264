import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recurrent_reference import (
    GATES,
    Reference,
    Vector,
    arrays_of,
    drawn_state,
    every_kind,
    sigmoid,
    state_of,
)

from tinynet import GRU, LSTM, RNN, Array, Layer
from tinynet.gradcheck import check_gradients
from tinynet.initializers import constant, zeros
from tinynet.testing import check_layer, floats, seeds, sizes

all_or_last = st.sampled_from(["all", "last"])
small = st.integers(1, 2)


@every_kind
@given(
    data=st.data(),
    n=small,
    steps=sizes,
    input_size=sizes,
    hidden_size=sizes,
    bias=st.booleans(),
    states=all_or_last,
    starts_from_zero=st.booleans(),
)
def test_forward_of_a_recurrent_layer_is_the_formula(
    kind: Any,
    data: st.DataObject,
    n: int,
    steps: int,
    input_size: int,
    hidden_size: int,
    bias: bool,
    states: str,
    starts_from_zero: bool,
) -> None:
    options = {"nonlinearity": data.draw(st.sampled_from(["tanh", "relu"]))} if kind is RNN else {}
    layer = kind(input_size, hidden_size, bias=bias, states=states, rng=0, **options)
    layer = layer.astype(np.float64)
    x = data.draw(floats((n, steps, input_size), np.float64, bound=3))
    state = None if starts_from_zero else drawn_state(kind, n, hidden_size)
    y = layer(x, state)
    reference = Reference(layer)
    assert y.shape == ((n, steps, hidden_size) if states == "all" else (n, hidden_size))
    for sample in range(n):
        h = c = [0.0] * hidden_size
        if state is not None:
            h, c = (arrays_of(state) * 2)[0][sample].tolist(), arrays_of(state)[-1][sample].tolist()
        for t in range(steps):
            h, c = reference.step(x[sample, t].tolist(), h, c)
            if states == "all":
                np.testing.assert_allclose(y[sample, t], h, rtol=1e-12, atol=1e-13)
        if states == "last":
            np.testing.assert_allclose(y[sample], h, rtol=1e-12, atol=1e-13)
        for got, expected in zip(arrays_of(layer.final_state), (h, c), strict=False):
            np.testing.assert_allclose(got[sample], expected, rtol=1e-12, atol=1e-13)


# Gradients


def bounded(shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    # Further out the gates are too flat for differences; the tests of the digits cover that.
    return floats(shape, bound=3)


@pytest.mark.gradients
@every_kind
def test_gradients_of_recurrent_layers(kind: Any) -> None:
    options: dict[str, Any] = {}
    if kind is RNN:
        options["nonlinearity"] = st.sampled_from(["tanh", "relu"])
    # One unit, for time: each of the many parameters needs forwards of its own. The next test has
    # two.
    check_layer(
        kind,
        st.tuples(small, small, st.just(2)),
        x=bounded,
        input_size=2,
        hidden_size=1,
        bias=st.booleans(),
        states=all_or_last,
        rng=seeds,
        examples=0.24,
        **options,
    )


class StateInInput(Layer):
    """A recurrent layer of two steps of one number; the initial state is the rest of a row of x."""

    def __init__(self, kind: Any, rng: int) -> None:
        self.kind, self.inner = kind, kind(1, 2, rng=rng)

    def forward(self, x: Array) -> Array:
        """x: (N, 4), or (N, 6) for an LSTM -> y."""
        state = state_of(self.kind, np.split(x[:, 2:], GATES[self.kind] // 4 + 1, axis=1))
        y: Array = self.inner(x[:, :2, None], state)
        self.save_for_backward(y)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: like y -> dx."""
        (dy,) = self.saved_for_backward(dy)
        dx, dstate = self.inner.backward(dy)
        return np.concatenate([dx[..., 0], *arrays_of(dstate)], axis=1)


@pytest.mark.gradients
@every_kind
def test_gradients_of_recurrent_layers_by_the_initial_state(kind: Any) -> None:
    x = np.random.default_rng(0).standard_normal((2, 6 if kind is LSTM else 4))
    assert "inner.weight_hh" in check_gradients(StateInInput(kind, rng=1), x)


def exact_slopes(a: float) -> tuple[float, float]:
    """The derivatives of sigmoid and tanh, without cancellation."""
    return 1 / ((1 + math.exp(a)) * (1 + math.exp(-a))), 1 / math.cosh(a) ** 2


H, C = 0.75, -0.5  # the initial state of the next tests


def preactivation_gradients(kind: Any, a: Vector) -> Vector:
    """Of one unit in one step of x = 1: dW_ih is the gradient by the pre-activations a."""
    layer = kind(1, 1, bias=False, weight_init=zeros).astype(np.float64)
    layer.weight_ih.value[:, 0] = a
    layer(np.ones((1, 1, 1)), state_of(kind, [np.full((1, 1), H), np.full((1, 1), C)]))
    layer.backward(np.ones((1, 1, 1)))
    found: Vector = layer.weight_ih.grad[:, 0].tolist()
    return found


flat_and_steep = pytest.mark.parametrize("a", [-30.0, 0.5, 30.0])


@flat_and_steep
def test_gradients_of_an_rnn_keep_their_digits_where_tanh_is_flat(a: float) -> None:
    (da,) = preactivation_gradients(RNN, [a])
    assert math.isclose(da, exact_slopes(a)[1], rel_tol=1e-14)


@flat_and_steep
def test_gradients_of_a_gru_keep_their_digits_where_gates_are_flat(a: float) -> None:
    sigmoid_slope, tanh_slope = exact_slopes(a)
    _, dz, _ = preactivation_gradients(GRU, [0.25, a, 0.5])
    assert math.isclose(dz, (H - math.tanh(0.5)) * sigmoid_slope, rel_tol=1e-14)
    *_, dn = preactivation_gradients(GRU, [0.25, 0.5, a])
    assert math.isclose(dn, sigmoid(-0.5) * tanh_slope, rel_tol=1e-14)
    *_, dn = preactivation_gradients(GRU, [0.25, a, 0.5])
    assert math.isclose(dn, sigmoid(-a) * exact_slopes(0.5)[1], rel_tol=1e-14)


@flat_and_steep
def test_gradients_of_an_lstm_keep_their_digits_where_gates_are_flat(a: float) -> None:
    sigmoid_slope, tanh_slope = exact_slopes(a)
    s, g = sigmoid(0.25), math.tanh(0.5)
    for gate, slope in enumerate([g * sigmoid_slope, C * sigmoid_slope, s * tanh_slope]):
        preactivations = [0.25, 0.25, 0.5, 0.25]
        preactivations[gate] = a
        i, f = sigmoid(preactivations[0]), sigmoid(preactivations[1])
        c = f * C + i * math.tanh(preactivations[2])
        expected = s * exact_slopes(c)[1] * slope
        got = preactivation_gradients(LSTM, preactivations)[gate]
        assert math.isclose(got, expected, rel_tol=1e-13)
    *_, do = preactivation_gradients(LSTM, [0.25, 0.25, 0.5, a])
    assert math.isclose(do, math.tanh(s * C + s * g) * sigmoid_slope, rel_tol=1e-13)


def test_the_gradient_of_an_lstm_keeps_its_digits_where_tanh_of_the_cell_state_is_flat() -> None:
    layer = LSTM(1, 1, bias=False, weight_init=zeros).astype(np.float64)
    layer(np.ones((1, 1, 1)), (np.zeros((1, 1)), np.full((1, 1), 40.0)))
    _, (_, dc) = layer.backward(np.ones((1, 1, 1)))
    # c = 20 after the step, f = o = 1/2.
    assert math.isclose(dc[0, 0], 0.25 / math.cosh(20) ** 2, rel_tol=1e-13)


@every_kind
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_huge_inputs_of_a_recurrent_layer_do_not_overflow(kind: Any, dtype: Any) -> None:
    layer = kind(1, 1, weight_init=constant(1), bias_init=zeros)
    x = np.array([-1e4, -1e3, 0, 1e3, 1e4], dtype).reshape(1, 5, 1)
    dx = layer.backward(np.ones_like(layer(x)))
    assert np.isfinite(layer(x)).all()
    assert np.isfinite(dx).all()
    assert np.isfinite(layer.weight_ih.grad).all()


def test_the_gradient_of_a_relu_rnn_at_zero_is_zero() -> None:
    layer = RNN(1, 1, nonlinearity="relu", bias=False, weight_init=constant(1))
    layer(np.array([[[0.0]], [[1e-30]], [[-1e-30]]]))
    assert layer.backward(np.ones((3, 1, 1))).ravel().tolist() == [0, 1, 0]


@every_kind
def test_bias_gradients_of_recurrent_layers_over_many_samples_are_those_of_float64(
    kind: Any,
) -> None:
    dy = np.random.default_rng(0).uniform(0, 1, (20_000, 1, 2)).astype(np.float32)
    single = kind(1, 2, rng=0)
    double = single.astype(np.float64)
    for layer in (single, double):
        layer(np.zeros((20_000, 1, 1), layer.bias_ih.value.dtype))
        layer.backward(dy)
    for name in ("bias_ih", "bias_hh"):
        got, expected = (getattr(layer, name).grad.astype(float) for layer in (single, double))
        np.testing.assert_allclose(got, expected, rtol=1e-6)


@every_kind
def test_backward_parameters_of_a_recurrent_layer_with_a_state_writes_the_same_gradients(
    kind: Any,
) -> None:
    x, state = np.ones((2, 3, 2)), drawn_state(kind, 2, 4)
    layer = kind(2, 4, rng=0)
    layer(x, state)
    dy = np.cos(np.arange(24.0)).reshape(2, 3, 4)
    layer.backward(dy)
    expected = [parameter.grad for parameter in layer.parameters()]
    layer(x, state)
    layer.backward_parameters(dy)
    for parameter, grad in zip(layer.parameters(), expected, strict=True):
        assert parameter.grad is not grad
        assert np.array_equal(parameter.grad, grad)
