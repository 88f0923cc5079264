"""Recurrent layers on sequences with padded steps, beside the same sequences without padding."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from padded import Padded
from recurrent_reference import arrays_of, drawn_state, every_kind, state_of

from tinynet import RNN, Array, InputError
from tinynet.initializers import constant, zeros
from tinynet.testing import check_layer, floats, seeds

RIGHT = np.array([[False, False, False, True], [False, True, True, True], [False] * 4])
LEFT = RIGHT[:, ::-1]
all_or_last = pytest.mark.parametrize("states", ["all", "last"])
masks = hnp.array_shapes(min_dims=2, max_dims=2, max_side=5).flatmap(
    lambda shape: hnp.arrays(bool, shape)
)


def draw(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def dy_like(y: Array) -> Array:
    return np.asarray(np.cos(np.arange(y.size)).reshape(y.shape))


@every_kind
@all_or_last
@given(mask=masks)
def test_padded_sequences_give_what_each_one_gives_by_itself(
    kind: Any, states: str, mask: Array
) -> None:
    n, steps = mask.shape
    layer = kind(2, 3, states=states, rng=0).astype(np.float64)
    x, state = draw(n, steps, 2), drawn_state(kind, n, 3)
    x[mask] = np.nan  # what stands at padded steps is not used
    y = layer(x, state, padding_mask=mask)
    final = arrays_of(layer.final_state)
    dy = dy_like(y)
    dx, dstate = layer.backward(dy)
    grads = [parameter.grad for parameter in layer.parameters()]
    expected_grads = [np.zeros_like(grad) for grad in grads]
    close: Any = {"rtol": 1e-12, "atol": 1e-12}
    for sample in range(n):
        real = ~mask[sample]
        given_state = [array[sample : sample + 1] for array in arrays_of(state)]
        own_dy = dy[sample]
        if not real.any():
            expected_last = given_state[0][0]
            assert np.array_equal([array[sample] for array in final], np.concatenate(given_state))
            own_dstate = [own_dy if states == "last" else np.zeros(3), np.zeros(3)]
        else:
            alone = layer(x[sample : sample + 1, real], state_of(kind, given_state))
            expected_last = alone[0] if states == "last" else alone[0, -1]
            if states == "all":
                np.testing.assert_allclose(y[sample, real], alone[0], **close)
                own_dy = own_dy[real]
            for got, array in zip(final, arrays_of(layer.final_state), strict=True):
                np.testing.assert_allclose(got[sample], array[0], **close)
            own_dx, own = layer.backward(own_dy[np.newaxis])
            np.testing.assert_allclose(dx[sample, real], own_dx[0], **close)
            own_dstate = [array[0] for array in arrays_of(own)]
            for total, parameter in zip(expected_grads, layer.parameters(), strict=True):
                total += parameter.grad
        if states == "last":
            np.testing.assert_allclose(y[sample], expected_last, **close)
        else:
            assert not y[sample, mask[sample]].any()
        assert not dx[sample, mask[sample]].any()
        for got, array in zip(arrays_of(dstate), own_dstate, strict=False):
            np.testing.assert_allclose(got[sample], array, **close)
    for got, total in zip(grads, expected_grads, strict=True):
        np.testing.assert_allclose(got, total, **close)


@every_kind
@all_or_last
@pytest.mark.parametrize("mask", [RIGHT, LEFT], ids=["right", "left"])
def test_padding_on_the_right_and_on_the_left_are_the_same(
    kind: Any, states: str, mask: Array
) -> None:
    layer = kind(2, 3, states=states, rng=0).astype(np.float64)
    rows = draw(8, 2)
    x = np.zeros((3, 4, 2))
    x[~mask] = rows  # in the order of samples and steps, wherever the padding is
    y = layer(x, padding_mask=mask)
    right = np.zeros((3, 4, 2))
    right[~RIGHT] = rows
    expected = layer(right, lengths=[3, 1, 4])
    if states == "all":
        y, expected = y[~mask], expected[~RIGHT]
    assert np.array_equal(y, expected)


def bounded(shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    return floats(shape, bound=3)  # further out the gates are too flat for differences


@pytest.mark.gradients
@every_kind
def test_gradients_of_recurrent_layers_under_a_mask(kind: Any) -> None:
    def padded(states: str, share: float, rng: int) -> Padded:
        return Padded(kind(1, 1, states=states, rng=rng), share)

    check_layer(
        padded,
        st.tuples(st.integers(1, 2), st.integers(1, 3), st.just(1)),
        x=bounded,
        states=st.sampled_from(["all", "last"]),
        share=st.sampled_from([0.3, 0.7]),
        rng=seeds,
        informative=0.5,  # padded steps change nothing
        examples=0.1,
    )


@every_kind
def test_lengths_are_a_mask_of_padding_on_the_right(kind: Any) -> None:
    layer, x = kind(2, 3, rng=0), draw(3, 4, 2)
    by_mask = layer(x, padding_mask=RIGHT)
    for lengths in ([3, 1, 4], np.array([3, 1, 4], np.uint8)):
        assert np.array_equal(layer(x, lengths=lengths), by_mask)


@every_kind
@all_or_last
def test_a_mask_without_padding_changes_no_bit(kind: Any, states: str) -> None:
    layer, x = kind(2, 3, states=states, rng=0), draw(3, 4, 2).astype(np.float32)
    y = layer(x)
    dx = layer.backward(dy_like(y))
    for given_mask in ({"padding_mask": np.zeros((3, 4), bool)}, {"lengths": [4, 4, 4]}):
        assert np.array_equal(layer(x, **given_mask), y)
        assert np.array_equal(layer.backward(dy_like(y)), dx)


@every_kind
def test_a_sequence_of_padding_alone_ends_in_its_initial_state(kind: Any) -> None:
    layer = kind(2, 3, states="last", rng=0).astype(np.float64)
    x, state = draw(2, 4, 2), drawn_state(kind, 2, 3)
    assert not layer(x, lengths=[0, 0]).any()
    y = layer(x, state, lengths=[0, 4])
    assert np.array_equal(y[0], arrays_of(state)[0][0])
    dx, dstate = layer.backward(np.ones((2, 3)))
    assert not dx[0].any()
    assert arrays_of(dstate)[0][0].tolist() == [1, 1, 1]


@every_kind
def test_the_final_state_of_padded_sequences_continues_each_of_them(kind: Any) -> None:
    layer, x = kind(2, 3, rng=0).astype(np.float64), draw(3, 6, 2)
    layer(x, lengths=[2, 1, 4])
    rest = [x[0:1, 2:], x[1:2, 1:], x[2:3, 4:]]
    ends = [arrays_of(layer.final_state)]
    for sample, steps in enumerate(rest):
        state = state_of(kind, [array[sample : sample + 1] for array in ends[0]])
        continued = layer(steps, state)
        np.testing.assert_allclose(continued[0], layer(x)[sample, -steps.shape[1] :], rtol=1e-12)


def test_a_relu_rnn_whose_state_grows_does_not_overflow_at_padded_steps() -> None:
    layer = RNN(1, 1, nonlinearity="relu", weight_init=constant(8.0), bias_init=zeros)
    x = np.ones((2, 400, 1), np.float32)  # 8 to the power of 400 would be infinite
    x[0] = 0
    with np.errstate(all="raise", under="ignore"):
        y = layer(x, lengths=[400, 2])
        dx = layer.backward(np.eye(2, 400, 1, np.float32)[..., np.newaxis])
    assert y[1, :3, 0].tolist() == [8, 72, 0]
    assert np.isfinite(dx).all()
    assert np.isfinite(np.asarray(layer.weight_hh.grad)).all()


@every_kind
def test_padded_batches_of_no_samples(kind: Any) -> None:
    layer = kind(2, 3, rng=0)
    assert layer(np.zeros((0, 4, 2)), lengths=[]).shape == (0, 4, 3)
    assert layer(np.zeros((0, 4, 2)), padding_mask=np.zeros((0, 4), bool)).shape == (0, 4, 3)


@every_kind
def test_recurrent_layers_refuse_masks_and_lengths_that_do_not_fit(kind: Any) -> None:
    layer, x = kind(2, 3), np.ones((3, 4, 2))
    who = rf"^{kind.__name__}\(2, 3\) expects "
    mask = who + r"padding_mask to be an array of bool of shape \(3, 4\), got "
    for wrong, got in (
        (RIGHT[:, 1:], r"\(3, 3\) of bool$"),
        (RIGHT.astype(int), r"\(3, 4\) of int64$"),
        (RIGHT.tolist(), r"\(\) of list$"),
    ):
        with pytest.raises(InputError, match=mask + got):
            layer(x, padding_mask=wrong)
    integers = who + r"lengths to be integers of shape \(3,\), got "
    for lengths, got in (
        ([1, 2], r"\(2,\) of int64$"),
        ([1.0, 2.0, 3.0], r"\(3,\) of float64$"),
        (RIGHT, r"\(3, 4\) of bool$"),
    ):
        with pytest.raises(InputError, match=integers + got):
            layer(x, lengths=lengths)
    for lengths, got in (([1, 5, 2], "5"), ([1, -1, 2], "-1")):
        with pytest.raises(
            InputError, match=who + rf"lengths from 0 to 4, the steps of x, got {got}$"
        ):
            layer(x, lengths=lengths)
    with pytest.raises(InputError, match=who + "padding_mask or lengths, got both$"):
        layer(x, padding_mask=RIGHT, lengths=[1, 2, 3])
