import math
import pickle
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import GRU, LSTM, RNN, Array, Dense, InputError, Layer, Sequential
from tinynet.gradcheck import check_gradients
from tinynet.initializers import constant, zeros
from tinynet.layers.recurrent import Recurrent
from tinynet.testing import check_layer, floats, seeds, sizes

Vector = list[float]
GATES: dict[type[Recurrent], int] = {RNN: 1, GRU: 3, LSTM: 4}

every_kind = pytest.mark.parametrize("kind", GATES)
all_or_last = st.sampled_from(["all", "last"])
small = st.integers(1, 2)


def arrays_of(state: Any) -> list[Array]:
    """The arrays of a state, h first."""
    return list(state) if isinstance(state, tuple) else [state]


def state_of(kind: type[Recurrent], arrays: list[Array]) -> Any:
    return tuple(arrays) if kind is LSTM else arrays[0]


def drawn_state(kind: type[Recurrent], n: int, size: int, dtype: Any = np.float64) -> Any:
    arrays = np.random.default_rng(9).uniform(-1, 1, (2, n, size)).astype(dtype)
    return state_of(kind, list(arrays))


# Value


def sigmoid(a: float) -> float:
    return 1 / (1 + math.exp(-a)) if a > 0 else math.exp(a) / (1 + math.exp(a))


class ByHand:
    """One sample through plain Python, from the formulas."""

    def __init__(self, layer: Any) -> None:
        self.kind, self.size = type(layer), layer.hidden_size
        self.bend = math.tanh if getattr(layer, "nonlinearity", "tanh") == "tanh" else relu
        self.from_x, self.from_h = layer.weight_ih.value.tolist(), layer.weight_hh.value.tolist()
        nothing = [0.0] * len(self.from_x)
        self.b_x = nothing if layer.bias_ih is None else layer.bias_ih.value.tolist()
        self.b_h = nothing if layer.bias_hh is None else layer.bias_hh.value.tolist()

    def of_x(self, gate: int, unit: int, x: Vector) -> float:
        row = gate * self.size + unit
        return math.fsum(
            [self.b_x[row], *(w * v for w, v in zip(self.from_x[row], x, strict=True))]
        )

    def of_h(self, gate: int, unit: int, h: Vector) -> float:
        row = gate * self.size + unit
        return math.fsum(
            [self.b_h[row], *(w * v for w, v in zip(self.from_h[row], h, strict=True))]
        )

    def step(self, x: Vector, h: Vector, c: Vector) -> tuple[Vector, Vector]:
        new_h, new_c = [], []
        for unit in range(self.size):
            a = [self.of_x(gate, unit, x) for gate in range(GATES[self.kind])]
            b = [self.of_h(gate, unit, h) for gate in range(GATES[self.kind])]
            if self.kind is RNN:
                new_h.append(self.bend(a[0] + b[0]))
            elif self.kind is GRU:
                r, z = sigmoid(a[0] + b[0]), sigmoid(a[1] + b[1])
                n = math.tanh(a[2] + r * b[2])
                new_h.append((1 - z) * n + z * h[unit])
            else:
                i, f, o = (sigmoid(a[gate] + b[gate]) for gate in (0, 1, 3))
                new_c.append(f * c[unit] + i * math.tanh(a[2] + b[2]))
                new_h.append(o * math.tanh(new_c[-1]))
        return new_h, new_c


def relu(a: float) -> float:
    return max(a, 0.0)


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
def test_forward_is_the_formula(
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
    by_hand = ByHand(layer)
    assert y.shape == ((n, steps, hidden_size) if states == "all" else (n, hidden_size))
    for sample in range(n):
        h = c = [0.0] * hidden_size
        if state is not None:
            h, c = (arrays_of(state) * 2)[0][sample].tolist(), arrays_of(state)[-1][sample].tolist()
        for t in range(steps):
            h, c = by_hand.step(x[sample, t].tolist(), h, c)
            if states == "all":
                np.testing.assert_allclose(y[sample, t], h, rtol=1e-12, atol=1e-13)
        if states == "last":
            np.testing.assert_allclose(y[sample], h, rtol=1e-12, atol=1e-13)
        for got, wanted in zip(arrays_of(layer.final_state), (h, c), strict=False):
            np.testing.assert_allclose(got[sample], wanted, rtol=1e-12, atol=1e-13)


# Gradients


def bounded(shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    # Further out the gates are too flat for differences; the test of digits goes there.
    return floats(shape, bound=3)


@pytest.mark.gradients
@every_kind
def test_gradients(kind: Any) -> None:
    options: dict[str, Any] = {}
    if kind is RNN:
        options["nonlinearity"] = st.sampled_from(["tanh", "relu"])
    # One unit, for time: each of the many parameters has forwards of its own. Below there are two.
    check_layer(
        kind,
        st.tuples(small, small, st.just(2)),
        x=bounded,
        input_size=2,
        hidden_size=1,
        bias=st.booleans(),
        states=all_or_last,
        rng=seeds,
        **options,
    )


class Carried(Layer):
    """A recurrent layer of two steps of one number, with its state behind them in a row of x."""

    def __init__(self, kind: Any, states: str, rng: int) -> None:
        self.kind, self.inner = kind, kind(1, 2, states=states, rng=rng)

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
@pytest.mark.parametrize("states", ["all", "last"])
def test_gradients_by_the_state(kind: Any, states: str) -> None:
    x = np.random.default_rng(0).standard_normal((2, 6 if kind is LSTM else 4))
    assert "inner.weight_hh" in check_gradients(Carried(kind, states, rng=1), x)


def exact_slopes(a: float) -> tuple[float, float]:
    """Of sigmoid and of tanh, far out too."""
    return 1 / ((1 + math.exp(a)) * (1 + math.exp(-a))), 1 / math.cosh(a) ** 2


@pytest.mark.parametrize("a", [-30.0, 0.5, 30.0])
class TestDigitsWhereGatesAreFlat:
    """One unit, one step of x = 1 from a state: dW_ih is the gradient by what enters the gates."""

    h, c = 0.75, -0.5

    def gradients(self, kind: Any, entering: list[float]) -> list[float]:
        layer = kind(1, 1, bias=False, weight_init=zeros).astype(np.float64)
        layer.weight_ih.value[:, 0] = entering
        layer(
            np.ones((1, 1, 1)), state_of(kind, [np.full((1, 1), self.h), np.full((1, 1), self.c)])
        )
        layer.backward(np.ones((1, 1, 1)))
        found: list[float] = layer.weight_ih.grad[:, 0].tolist()
        return found

    def test_of_an_rnn(self, a: float) -> None:
        assert math.isclose(self.gradients(RNN, [a])[0], exact_slopes(a)[1], rel_tol=1e-14)

    def test_of_a_gru(self, a: float) -> None:
        flat, bent = exact_slopes(a)
        _, dz, _ = self.gradients(GRU, [0.25, a, 0.5])
        assert math.isclose(dz, (self.h - math.tanh(0.5)) * flat, rel_tol=1e-14)
        *_, dn = self.gradients(GRU, [0.25, 0.5, a])
        assert math.isclose(dn, sigmoid(-0.5) * bent, rel_tol=1e-14)
        *_, dn = self.gradients(GRU, [0.25, a, 0.5])
        assert math.isclose(dn, sigmoid(-a) * exact_slopes(0.5)[1], rel_tol=1e-14)

    def test_of_an_lstm(self, a: float) -> None:
        flat, bent = exact_slopes(a)
        s, g = sigmoid(0.25), math.tanh(0.5)
        for gate, of_gate in enumerate([g * flat, self.c * flat, s * bent]):
            entering = [0.25, 0.25, 0.5, 0.25]
            entering[gate] = a
            i, f = sigmoid(entering[0]), sigmoid(entering[1])
            c = f * self.c + i * math.tanh(entering[2])
            wanted = s * exact_slopes(c)[1] * of_gate
            assert math.isclose(self.gradients(LSTM, entering)[gate], wanted, rel_tol=1e-13)
        *_, do = self.gradients(LSTM, [0.25, 0.25, 0.5, a])
        assert math.isclose(do, math.tanh(s * self.c + s * g) * flat, rel_tol=1e-13)


def test_the_digits_of_an_lstm_with_a_full_memory() -> None:
    layer = LSTM(1, 1, bias=False, weight_init=zeros).astype(np.float64)
    layer(np.ones((1, 1, 1)), (np.zeros((1, 1)), np.full((1, 1), 40.0)))
    _, (_, dc) = layer.backward(np.ones((1, 1, 1)))
    # c = 20 behind the step, f = o = 1/2.
    assert math.isclose(dc[0, 0], 0.25 / math.cosh(20) ** 2, rel_tol=1e-13)


@every_kind
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_is_huge_overflows_nowhere(kind: Any, dtype: Any) -> None:
    layer = kind(1, 1, weight_init=constant(1), bias_init=zeros)
    x = np.array([-1e4, -1e3, 0, 1e3, 1e4], dtype).reshape(1, 5, 1)
    dx = layer.backward(np.ones_like(layer(x)))
    assert np.isfinite(layer(x)).all()
    assert np.isfinite(dx).all()
    assert np.isfinite(layer.weight_ih.grad).all()


def test_the_gradient_of_relu_at_zero_is_zero() -> None:
    layer = RNN(1, 1, nonlinearity="relu", bias=False, weight_init=constant(1))
    layer(np.array([[[0.0]], [[1e-30]], [[-1e-30]]]))
    assert layer.backward(np.ones((3, 1, 1))).ravel().tolist() == [0, 1, 0]


@every_kind
def test_the_bias_gradients_of_many_samples_are_those_of_float64(kind: Any) -> None:
    dy = np.random.default_rng(0).uniform(0, 1, (20_000, 1, 2)).astype(np.float32)
    single = kind(1, 2, rng=0)
    double = single.astype(np.float64)
    for layer in (single, double):
        layer(np.zeros((20_000, 1, 1), layer.bias_ih.value.dtype))
        layer.backward(dy)
    for name in ("bias_ih", "bias_hh"):
        got, wanted = (getattr(layer, name).grad.astype(float) for layer in (single, double))
        np.testing.assert_allclose(got, wanted, rtol=1e-6)


@every_kind
def test_without_dx_the_gradients_are_the_same_also_with_a_state(kind: Any) -> None:
    x, state = np.ones((2, 3, 2)), drawn_state(kind, 2, 4)
    layer = kind(2, 4, rng=0)
    layer(x, state)
    dy = np.cos(np.arange(24.0)).reshape(2, 3, 4)
    layer.backward(dy)
    expected = [parameter.grad for parameter in layer.parameters()]
    layer(x, state)
    layer.backward_parameters(dy)
    for parameter, wanted in zip(layer.parameters(), expected, strict=True):
        assert parameter.grad is not wanted
        assert np.array_equal(parameter.grad, wanted)


# States


@every_kind
class TestState:
    def test_a_sequence_goes_on_where_it_stopped(self, kind: Any) -> None:
        x = np.random.default_rng(0).standard_normal((2, 5, 3))
        layer = kind(3, 4, rng=0)
        assert layer.final_state is None
        whole, end = layer(x, layer.final_state), layer.final_state
        first = layer(x[:, :2])
        second = layer(x[:, 2:], layer.final_state)
        np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, rtol=1e-12)
        np.testing.assert_allclose(arrays_of(layer.final_state), arrays_of(end), rtol=1e-12)
        assert np.array_equal(arrays_of(end)[0], whole[:, -1])

    def test_the_final_state_is_a_copy(self, kind: Any) -> None:
        layer = kind(3, 4, rng=0)
        layer(np.ones((2, 5, 3)))
        before = [array.copy() for array in arrays_of(layer.final_state)]
        for array in arrays_of(layer.final_state):
            array[...] = np.nan
        assert all(map(np.array_equal, arrays_of(layer.final_state), before))

    def test_belongs_to_no_checkpoint_and_to_no_copy(self, kind: Any) -> None:
        layer = kind(3, 4, rng=0)
        size = len(pickle.dumps(layer))
        layer(np.ones((50, 5, 3)))
        assert list(layer.state_dict()) == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
        assert len(pickle.dumps(layer)) == size
        assert deepcopy(layer).final_state is None
        assert layer.final_state is not None

    def test_a_state_that_was_given_is_neither_changed_nor_shared(self, kind: Any) -> None:
        layer, state = kind(3, 4, rng=0), drawn_state(kind, 2, 4)
        before = [array.copy() for array in arrays_of(state)]
        y = layer(np.ones((2, 1, 3)), state)
        dx, dstate = layer.backward(np.ones_like(y))
        assert all(map(np.array_equal, arrays_of(state), before))
        assert type(dstate) is type(state)
        returned = [y, dx, *arrays_of(dstate), *arrays_of(layer.final_state)]
        for place, array in enumerate(returned):
            assert array.dtype == np.float64
            for other in [*returned[:place], *arrays_of(state)]:
                assert not np.shares_memory(array, other)

    def test_states_of_another_dtype_give_way_to_that_of_x(self, kind: Any) -> None:
        layer, state = kind(3, 4, rng=0), drawn_state(kind, 2, 4)
        y = layer(np.ones((2, 1, 3), np.float32), state)
        _, dstate = layer.backward(y)
        assert y.dtype == np.float32
        assert {array.dtype for array in arrays_of(dstate)} == {np.dtype(np.float32)}

    def test_the_last_state_alone_is_that_of_all_with_a_dy_of_zero_before(self, kind: Any) -> None:
        x = np.random.default_rng(0).standard_normal((2, 5, 3))
        every, last = kind(3, 4, rng=0), kind(3, 4, states="last", rng=0)
        assert np.array_equal(last(x), every(x)[:, -1])
        dy = np.zeros((2, 5, 4))
        dy[:, -1] = [[1, 2, 3, 4], [-1, 0, 1, 5]]
        assert np.array_equal(last.backward(dy[:, -1]), every.backward(dy))
        for one, other in zip(last.parameters(), every.parameters(), strict=True):
            assert np.array_equal(one.grad, other.grad)

    def test_refuses_a_state_of_another_form(self, kind: Any) -> None:
        layer, x = kind(3, 4), np.ones((2, 5, 3))
        who = rf"^{kind.__name__}\(3, 4\) expects "
        name = "h of the state" if kind is LSTM else "state"
        good = np.zeros((2, 4))
        for wrong, sentence in (
            (np.zeros((1, 4)), rf"{name} of shape \(2, 4\), got \(1, 4\)$"),
            (np.zeros((2, 4), int), f"{name} of a float dtype, got int64"),
            ([[0.0] * 4] * 2, f"{name} to be a NumPy array, got list$"),
        ):
            with pytest.raises(InputError, match=who + sentence):
                layer(x, (wrong, good) if kind is LSTM else wrong)


def test_the_state_of_an_lstm_is_a_tuple_of_two() -> None:
    layer, x, good = LSTM(3, 4), np.ones((2, 5, 3)), np.zeros((2, 4))
    who = r"^LSTM\(3, 4\) expects "
    with pytest.raises(InputError, match=who + r"state to be a tuple \(h, c\), got ndarray$"):
        layer(x, good)
    with pytest.raises(InputError, match=who + r"state to be a tuple \(h, c\), got a tuple of 3$"):
        layer(x, (good, good, good))
    with pytest.raises(InputError, match=who + r"c of the state of shape \(2, 4\), got \(2, 5\)$"):
        layer(x, (good, np.zeros((2, 5))))


# Memory


@every_kind
def test_scratch_of_other_shapes_and_dtypes_is_not_taken(kind: Any) -> None:
    def run(layer: Any, x: Array) -> list[Array]:
        y = layer(x)
        return [y, layer.backward(np.ones_like(y)), *(p.grad for p in layer.parameters())]

    used = kind(3, 4, rng=0)
    for shape, dtype in (((2, 5, 3), "d"), ((5, 2, 3), "d"), ((2, 5, 3), "f"), ((2, 4, 3), "f")):
        x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
        for training in (True, False):
            used.train() if training else used.eval()
            assert all(map(np.array_equal, run(used, x), run(kind(3, 4, rng=0), x)))


@every_kind
def test_in_evaluation_no_memory_is_held(kind: Any) -> None:
    layer = kind(3, 4, rng=0)
    layer.predict(np.ones((6, 5, 3)))
    assert layer._memory == {}
    assert all(array.base is None for array in layer._final)
    layer(np.ones((2, 5, 3)))
    held = {name: id(array) for name, array in layer._memory.items()}
    layer(np.zeros((2, 5, 3)))
    assert held == {name: id(array) for name, array in layer._memory.items()} != {}


@every_kind
def test_an_empty_batch(kind: Any) -> None:
    layer = kind(3, 4, rng=0)
    assert layer(np.zeros((0, 5, 3))).shape == (0, 5, 4)
    assert layer.backward(np.zeros((0, 5, 4))).shape == (0, 5, 3)
    assert not any(parameter.grad.any() for parameter in layer.parameters())
    last = kind(3, 4, states="last")
    assert last.eval()(np.zeros((0, 5, 3))).shape == (0, 4)
    stack = Sequential([kind(3, 4), kind(4, 2, states="last"), Dense(2, 1)])
    assert stack.predict(np.zeros((0, 5, 3))).shape == (0, 1)


# Construction


@every_kind
class TestConstruction:
    def test_parameters_have_the_documented_names_shapes_and_starts(self, kind: Any) -> None:
        rows = GATES[kind] * 400
        layer = kind(30, 400, rng=0)
        shapes = [(name, p.value.shape) for name, p in layer.named_parameters()]
        assert shapes == [
            ("weight_ih", (rows, 30)),
            ("weight_hh", (rows, 400)),
            ("bias_ih", (rows,)),
            ("bias_hh", (rows,)),
        ]
        for parameter in layer.parameters():
            assert 0.049 < parameter.value.max() <= 0.05
            assert -0.049 > parameter.value.min() >= -0.05
        without = kind(3, 4, bias=False)
        assert without.bias_ih is without.bias_hh is None
        assert [name for name, _ in without.named_parameters()] == ["weight_ih", "weight_hh"]

    def test_initializers_are_given_shape_fan_and_generator(self, kind: Any) -> None:
        rng, calls = np.random.default_rng(5), []

        def spy(what: str) -> Callable[..., Array]:
            def start(
                shape: tuple[int, ...],
                fan_in: float,
                fan_out: float,
                given_rng: np.random.Generator,
            ) -> Array:
                calls.append((what, shape, (fan_in, fan_out), given_rng is rng))
                return zeros(shape, fan_in, fan_out, rng)

            return start

        kind(3, 2, rng=rng, weight_init=spy("weight"), bias_init=spy("bias"))
        rows = GATES[kind] * 2
        assert calls == [
            ("weight", (rows, 3), (3, 2), True),
            ("weight", (rows, 2), (2, 2), True),
            ("bias", (rows,), (3, 2), True),
            ("bias", (rows,), (2, 2), True),
        ]

    def test_refuses_an_initializer_that_gives_another_shape(self, kind: Any) -> None:
        with pytest.raises(
            InputError,
            match=rf"^{kind.__name__}\(3, 2\) expects an initializer to give the shape \(\d, 3\), ",
        ):
            kind(3, 2, weight_init=lambda *_: np.zeros(1))

    def test_refuses_sizes_below_one_and_other_states(self, kind: Any) -> None:
        who = f"^{kind.__name__} expects "
        with pytest.raises(InputError, match=who + "input_size to be a whole number >= 1, got 0$"):
            kind(0, 2)
        with pytest.raises(InputError, match=who + "hidden_size to be a whole number >= 1, got -1"):
            kind(2, -1)
        with pytest.raises(InputError, match=who + 'states to be "all" or "last", got .final.$'):
            kind(2, 2, states="final")

    def test_refuses_x_of_another_shape(self, kind: Any) -> None:
        who = rf"^{kind.__name__}\(3, 4\) expects "
        with pytest.raises(InputError, match=who + r"x of shape \(N, T, 3\), got \(2, 5, 4\)"):
            kind(3, 4)(np.zeros((2, 5, 4)))
        with pytest.raises(InputError, match=who + r"x of at least one step, got none$"):
            kind(3, 4)(np.zeros((2, 0, 3)))

    def test_repr(self, kind: Any) -> None:
        name = kind.__name__
        assert repr(kind(3, 4)) == f"{name}(3, 4)"
        assert repr(kind(3, 4, bias=False, states="last")) == (
            f"{name}(3, 4, bias=False, states='last')"
        )


def test_an_rnn_bends_by_tanh_or_relu() -> None:
    assert repr(RNN(3, 4, nonlinearity="relu")) == "RNN(3, 4, nonlinearity='relu')"
    with pytest.raises(
        InputError, match=r'^RNN expects nonlinearity to be "tanh" or "relu", got .sine.$'
    ):
        RNN(3, 4, nonlinearity="sine")
