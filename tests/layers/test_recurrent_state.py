import pickle
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from recurrent_reference import GATES, arrays_of, drawn_state, every_kind

from tinynet import LSTM, RNN, Array, Dense, InputError, Sequential
from tinynet.initializers import zeros


@every_kind
def test_the_final_state_continues_a_sequence(kind: Any) -> None:
    x = np.random.default_rng(0).standard_normal((2, 5, 3))
    layer = kind(3, 4, rng=0)
    assert layer.final_state is None
    whole, end = layer(x, layer.final_state), layer.final_state
    first = layer(x[:, :2])
    second = layer(x[:, 2:], layer.final_state)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, rtol=1e-12)
    np.testing.assert_allclose(arrays_of(layer.final_state), arrays_of(end), rtol=1e-12)
    assert np.array_equal(arrays_of(end)[0], whole[:, -1])


@every_kind
def test_the_final_state_is_a_copy_of_the_one_in_the_layer(kind: Any) -> None:
    layer = kind(3, 4, rng=0)
    layer(np.ones((2, 5, 3)))
    before = [array.copy() for array in arrays_of(layer.final_state)]
    for array in arrays_of(layer.final_state):
        array[...] = np.nan
    assert all(map(np.array_equal, arrays_of(layer.final_state), before))


@every_kind
def test_the_final_state_is_in_no_state_dict_and_in_no_copy(kind: Any) -> None:
    layer = kind(3, 4, rng=0)
    size = len(pickle.dumps(layer))
    layer(np.ones((50, 5, 3)))
    assert list(layer.state_dict()) == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    assert len(pickle.dumps(layer)) == size
    assert deepcopy(layer).final_state is None
    assert layer.final_state is not None


@every_kind
def test_a_given_state_is_neither_changed_nor_shared(kind: Any) -> None:
    layer, state = kind(3, 4, rng=0), drawn_state(kind, 2, 4)
    before = [array.copy() for array in arrays_of(state)]
    y = layer(np.ones((2, 1, 3)), state)
    dx, dstate = layer.backward(np.ones_like(y))
    assert all(map(np.array_equal, arrays_of(state), before))
    assert type(dstate) is type(state)
    returned = [y, dx, *arrays_of(dstate), *arrays_of(layer.final_state)]
    for index, array in enumerate(returned):
        assert array.dtype == np.float64
        for other in [*returned[:index], *arrays_of(state)]:
            assert not np.shares_memory(array, other)


@every_kind
def test_a_state_of_another_dtype_is_cast_to_that_of_x(kind: Any) -> None:
    layer, state = kind(3, 4, rng=0), drawn_state(kind, 2, 4)
    y = layer(np.ones((2, 1, 3), np.float32), state)
    _, dstate = layer.backward(y)
    assert y.dtype == np.float32
    assert {array.dtype for array in arrays_of(dstate)} == {np.dtype(np.float32)}


@every_kind
def test_the_last_state_alone_gives_the_gradients_of_all_states_with_a_dy_of_zero_before_it(
    kind: Any,
) -> None:
    x = np.random.default_rng(0).standard_normal((2, 5, 3))
    every, last = kind(3, 4, rng=0), kind(3, 4, states="last", rng=0)
    assert np.array_equal(last(x), every(x)[:, -1])
    dy = np.zeros((2, 5, 4))
    dy[:, -1] = [[1, 2, 3, 4], [-1, 0, 1, 5]]
    assert np.array_equal(last.backward(dy[:, -1]), every.backward(dy))
    for one, other in zip(last.parameters(), every.parameters(), strict=True):
        assert np.array_equal(one.grad, other.grad)


@every_kind
def test_recurrent_layers_refuse_a_state_of_another_shape_or_dtype(kind: Any) -> None:
    layer, x = kind(3, 4), np.ones((2, 5, 3))
    who = rf"^{kind.__name__}\(3, 4\) expects "
    name = "h of the state" if kind is LSTM else "state"
    good = np.zeros((2, 4))
    for wrong, sentence in (
        (np.zeros((1, 4)), rf"{name} of shape \(2, 4\), got \(1, 4\)$"),
        (np.zeros((2, 4), int), f"{name} of a float dtype, got int64"),
        ([[0.0] * 4] * 2, f"{name} to be a NumPy array, got list; np.asarray"),
    ):
        with pytest.raises(InputError, match=who + sentence):
            layer(x, (wrong, good) if kind is LSTM else wrong)


def test_an_lstm_refuses_a_state_that_is_not_a_tuple_of_two() -> None:
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
def test_a_recurrent_layer_after_other_batches_gives_the_same_as_a_new_one(kind: Any) -> None:
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
def test_a_recurrent_layer_keeps_no_batch_after_predict(kind: Any) -> None:
    layer = kind(3, 4, rng=0)
    layer.predict(np.ones((6, 5, 3)))
    assert layer._scratch_memory is layer._saved is None
    assert all(array.base is None for array in layer._final)  # copies, not views of all steps


@every_kind
def test_recurrent_layers_take_an_empty_batch(kind: Any) -> None:
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
def test_parameters_of_recurrent_layers_have_the_documented_names_shapes_and_initial_values(
    kind: Any,
) -> None:
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


@every_kind
def test_initializers_of_recurrent_layers_are_given_shape_fans_and_generator(kind: Any) -> None:
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


@every_kind
def test_recurrent_layers_refuse_an_initializer_that_gives_another_shape(kind: Any) -> None:
    with pytest.raises(
        InputError,
        match=rf"^{kind.__name__}\(3, 2\) expects an initializer to give the shape \(\d, 3\), ",
    ):
        kind(3, 2, weight_init=lambda *_: np.zeros(1))


@every_kind
def test_recurrent_layers_refuse_sizes_below_one_and_other_states(kind: Any) -> None:
    who = f"^{kind.__name__} expects "
    with pytest.raises(InputError, match=who + "input_size to be a whole number >= 1, got 0$"):
        kind(0, 2)
    with pytest.raises(InputError, match=who + "hidden_size to be a whole number >= 1, got -1"):
        kind(2, -1)
    with pytest.raises(InputError, match=who + "states to be 'all' or 'last', got 'final'$"):
        kind(2, 2, states="final")


@every_kind
def test_recurrent_layers_refuse_an_x_of_another_shape(kind: Any) -> None:
    who = rf"^{kind.__name__}\(3, 4\) expects "
    with pytest.raises(InputError, match=who + r"x of shape \(N, T, 3\), got \(2, 5, 4\)"):
        kind(3, 4)(np.zeros((2, 5, 4)))
    with pytest.raises(InputError, match=who + r"x of at least one step, got none$"):
        kind(3, 4)(np.zeros((2, 0, 3)))


@every_kind
def test_repr_of_a_recurrent_layer_is_its_constructor_call(kind: Any) -> None:
    name = kind.__name__
    assert repr(kind(3, 4)) == f"{name}(3, 4)"
    assert repr(kind(3, 4, bias=False, states="last")) == (
        f"{name}(3, 4, bias=False, states='last')"
    )


def test_an_rnn_has_the_nonlinearity_tanh_or_relu() -> None:
    assert repr(RNN(3, 4, nonlinearity="relu")) == "RNN(3, 4, nonlinearity='relu')"
    with pytest.raises(
        InputError, match=r"^RNN expects nonlinearity to be 'tanh' or 'relu', got 'sine'$"
    ):
        RNN(3, 4, nonlinearity="sine")
