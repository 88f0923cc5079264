import pickle
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from recurrent_reference import arrays_of, drawn_state, every_kind

from tinynet import GRU, LSTM, RNN, Array, Bidirectional, Dense, InputError, Sequential
from tinynet.gradcheck import check_gradients
from tinynet.initializers import orthogonal

# Of PyTorch 2.13: y, the last states and dx of a bidirectional layer with the weights and the x of
# `as_in_pytorch`, packed sequences of 2 and 3 steps, and dy = sin(0), sin(1), ...
TORCH: dict[Any, tuple[str, str, str]] = {
    RNN: (
        "0.91718946531186 0.4024665564963466 0.700504476956663 0.9660036511854242 0 0 "
        "0.9443549400083872 0.4507319249159799 0.7474437721366785 0.9042871871237556 "
        "0.933331552638615 0.9852469775255923",
        "0.700504476956663 0.4024665564963466 0.933331552638615 0.4507319249159799",
        "-0.6762047067428993 0.07146977095784877 0.003583708389767398 0.44616023467053373 0 0 "
        "-0.5020099779283703 0.01569174037082426 -0.04646310468488634 0.396443194325882 "
        "0.028465313130232265 -0.06806389611913748",
    ),
    GRU: (
        "-0.7023331165956785 -0.013780624776110084 -0.734186344782371 0.07794435414462529 0 0 "
        "-0.7322894576085419 -0.26507514481311634 -0.8034046832652726 -0.1843166826443952 "
        "-0.43726638053593725 -0.18468506762830983",
        "-0.734186344782371 -0.013780624776110084 -0.43726638053593725 -0.26507514481311634",
        "0.07691533179842708 0.009092508614170422 -0.5752660865636734 -0.3690412425714651 0 0 "
        "0.04157974695965174 0.027115378032118588 -0.4653252077775204 -0.35998553447203474 "
        "0.38931766921478717 -0.04515017682091151",
    ),
    LSTM: (
        "-0.5363594390432923 -0.16245718657478672 -0.25601031467260743 0.003381048049115204 0 0 "
        "-0.5499954230492745 -0.27776941390646614 -0.3178169875835949 -0.031718756458312035 "
        "-0.20272028272541578 -0.05795507726149517",
        "-0.25601031467260743 -0.16245718657478672 -0.20272028272541578 -0.27776941390646614",
        "0.010450661598969572 -0.11166890739229968 -0.2878182070345016 -0.19205476677810174 0 0 "
        "0.016075593305948876 -0.11095421080928045 -0.2633726832271051 -0.16418558351924784 "
        "0.16866900268963492 0.09529403894818936",
    ),
}


def numbers(text: str) -> Array:
    return np.array(text.split(), float)


def as_in_pytorch(kind: Any, states: str) -> tuple[Any, Array]:
    layer: Any = Bidirectional(kind(2, 1, states=states)).astype(np.float64)
    for one, first in ((layer.layer, 0), (layer.reverse, 5)):
        for k, parameter in enumerate(one.parameters(), first):
            entries = np.sin(np.arange(parameter.value.size) * 1.3 + k)
            parameter.value[...] = entries.reshape(parameter.value.shape)
    return layer, np.cos(np.arange(12.0)).reshape(2, 3, 2)


@every_kind
def test_a_bidirectional_layer_on_padded_sequences_is_that_of_pytorch_on_packed_ones(
    kind: Any,
) -> None:
    y, last, dx = map(numbers, TORCH[kind])
    layer, x = as_in_pytorch(kind, "all")
    np.testing.assert_allclose(layer(x, lengths=[2, 3]).ravel(), y, rtol=1e-12)
    dy = np.sin(np.arange(12.0)).reshape(2, 3, 2)
    np.testing.assert_allclose(layer.backward(dy).ravel(), dx, rtol=1e-12)
    last_only, _ = as_in_pytorch(kind, "last")
    np.testing.assert_allclose(last_only(x, lengths=[2, 3]).ravel(), last, rtol=1e-12)
    states = [arrays_of(state)[0] for state in last_only.final_state]
    np.testing.assert_allclose(np.concatenate(states, axis=1).ravel(), last, rtol=1e-12)


@every_kind
@pytest.mark.parametrize("states", ["all", "last"])
def test_the_reverse_layer_reads_the_sequence_from_its_end(kind: Any, states: str) -> None:
    layer = Bidirectional(kind(3, 2, states=states, rng=0))
    x = np.random.default_rng(0).standard_normal((4, 5, 3))
    h, g = layer.layer(x), layer.reverse(x[:, ::-1])
    g = g[:, ::-1] if states == "all" else g
    assert np.array_equal(layer(x), np.concatenate([h, g], axis=-1))
    assert layer.output_shape(x) == ((4, 5, 4) if states == "all" else (4, 4))


@pytest.mark.gradients
@every_kind
@pytest.mark.parametrize("states", ["all", "last"])
def test_gradients_of_bidirectional_layers(kind: Any, states: str) -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 2))
    check_gradients(Bidirectional(kind(2, 1, states=states, rng=0)), x, rng=0)


@every_kind
def test_states_of_a_bidirectional_layer_are_pairs(kind: Any) -> None:
    layer: Any = Bidirectional(kind(3, 2, rng=0)).astype(np.float64)
    x, pair = np.ones((4, 5, 3)), (drawn_state(kind, 4, 2), drawn_state(kind, 4, 2))
    y = layer(x, pair)
    dx, dstate = layer.backward(np.ones_like(y))
    h = layer.layer(x, pair[0])
    first_dx, first = layer.layer.backward(np.ones_like(h))
    g = layer.reverse(x[:, ::-1], pair[1])
    second_dx, second = layer.reverse.backward(np.ones_like(g))
    assert np.array_equal(dx, first_dx + second_dx[:, ::-1])
    for got, expected in zip(dstate, (first, second), strict=True):
        assert all(map(np.array_equal, arrays_of(got), arrays_of(expected)))
    ends = [arrays_of(state)[0] for state in layer.final_state]
    assert np.array_equal(ends[0], h[:, -1])
    assert np.array_equal(ends[1], g[:, -1])


def test_backward_parameters_of_a_bidirectional_layer_writes_the_same_gradients() -> None:
    layer, x = Bidirectional(GRU(3, 2, rng=0)), np.ones((4, 5, 3))
    dy = np.cos(np.arange(80.0)).reshape(4, 5, 4)
    layer(x)
    layer.backward(dy)
    expected = [parameter.grad for parameter in layer.parameters()]
    layer(x)
    layer.backward_parameters(dy)
    for parameter, grad in zip(layer.parameters(), expected, strict=True):
        assert np.array_equal(np.asarray(parameter.grad), np.asarray(grad))


def test_a_bidirectional_layer_has_no_final_state_before_its_first_forward() -> None:
    assert Bidirectional(GRU(3, 2)).final_state is None


def test_bidirectional_layers_are_stacked_by_a_sequential() -> None:
    model = Sequential(
        [Bidirectional(LSTM(3, 4)), Bidirectional(LSTM(8, 5, states="last")), Dense(10, 2)]
    )
    assert model.output_shape((7, 6, 3)) == (7, 2)
    mask = np.arange(6) >= np.array([6, 1, 3])[:, np.newaxis]
    x = np.random.default_rng(0).standard_normal((3, 6, 3))
    y = model(x, padding_mask=mask)
    for sample, length in enumerate((6, 1, 3)):
        np.testing.assert_allclose(y[sample], model(x[sample : sample + 1, :length])[0], rtol=1e-5)


def test_the_reverse_layer_has_the_same_arguments_and_initial_values_of_its_own() -> None:
    def make() -> Bidirectional:
        layer = RNN(
            3, 2, nonlinearity="relu", bias=False, states="last", rng=0, weight_init=orthogonal
        )
        return Bidirectional(layer)

    layer = make()
    assert repr(layer.reverse) == repr(layer.layer)
    first, second = layer.layer.weight_hh.value, layer.reverse.weight_hh.value
    assert not np.array_equal(first, second)
    np.testing.assert_allclose(second @ second.T, np.eye(2), atol=1e-6)  # also orthogonal
    assert np.array_equal(second, make().reverse.weight_hh.value)  # from the same generator
    names = [name for name, _ in layer.named_parameters()]
    assert names == ["layer.weight_ih", "layer.weight_hh", "reverse.weight_ih", "reverse.weight_hh"]


def test_a_bidirectional_layer_can_be_copied_and_pickled() -> None:
    layer, x = Bidirectional(GRU(3, 2, rng=0)), np.ones((4, 5, 3), np.float32)
    y = layer(x)
    for copy in (deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert np.array_equal(copy(x), y)


def test_repr_of_a_bidirectional_layer_is_a_constructor_call() -> None:
    assert repr(Bidirectional(GRU(3, 2))) == "Bidirectional(GRU(3, 2))"
    assert repr(Bidirectional(GRU(3, 2), GRU(3, 4))) == "Bidirectional(GRU(3, 2), GRU(3, 4))"


def test_bidirectional_refuses_layers_that_do_not_belong_together() -> None:
    wrong: Any
    for wrong in (Dense(3, 2), GRU):
        with pytest.raises(InputError, match=r"^Bidirectional expects an RNN, a GRU or an LSTM, "):
            Bidirectional(wrong)
    like = r"^Bidirectional expects a reverse layer like GRU\(3, 2\), got "
    other: Any
    for other in (GRU(4, 2), LSTM(3, 2), GRU(3, 2, states="last"), Dense(3, 2)):
        with pytest.raises(InputError, match=like):
            Bidirectional(GRU(3, 2), other)
    layer = GRU(3, 2)
    with pytest.raises(InputError, match="each layer and parameter at one place only"):
        Bidirectional(layer, layer)
    with pytest.raises(InputError, match="expects a layer that is no copy, got one: "):
        Bidirectional(deepcopy(layer))
    Bidirectional(deepcopy(layer), GRU(3, 2))


def test_a_bidirectional_layer_refuses_a_state_that_is_no_pair() -> None:
    state = np.zeros((4, 2))
    with pytest.raises(InputError, match="expects state to be a pair, of its layer and its reve"):
        Bidirectional(GRU(3, 2))(np.ones((4, 5, 3)), state)
