import math
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from attention_reference import attention, by_loops, draw, gradients
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinynet import Array, Layer, MultiHeadAttention
from tinynet.initializers import zeros
from tinynet.testing import check_layer, floats, seeds, sizes


class AttentionOfX(Layer):
    """Self-attention, or with `cross` from the first half of x to the second, as a layer of x."""

    def __init__(
        self,
        embed_dim: int,
        most_heads: int,
        *,
        cross: bool,
        padded: bool,
        causal: bool,
        **settings: Any,
    ) -> None:
        heads = max(h for h in range(1, most_heads + 1) if embed_dim % h == 0)
        self.attention = MultiHeadAttention(
            embed_dim, heads, causal=causal and not cross, **settings
        )
        self.cross, self.padded = cross, padded

    def forward(self, x: Array) -> Array:
        self.split = (x.shape[1] + 1) // 2
        context = x[:, self.split :] if self.cross else None
        keys = x if context is None else context
        padding_mask = np.add.outer(np.arange(len(x)), np.arange(keys.shape[1])) % 3 == 1
        y = self.attention(
            x[:, : self.split] if self.cross else x,
            context,
            padding_mask=padding_mask if self.padded else None,
        )
        self.save_for_backward(y)
        return np.asarray(y)

    def backward(self, dy: Array) -> Array:
        (dy,) = self.saved_for_backward(dy)
        dx = self.attention.backward(dy)
        return np.concatenate(dx, axis=1) if self.cross else np.asarray(dx)


def up_to_two(shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    # Where scores are far apart softmax is too flat for differences.
    return floats(shape, bound=2)


@pytest.mark.gradients
def test_gradients_of_attention() -> None:
    check_layer(
        AttentionOfX,
        ("N", "T", "embed_dim"),
        x=up_to_two,
        most_heads=sizes,
        cross=st.booleans(),
        padded=st.booleans(),
        bias=st.booleans(),
        causal=st.booleans(),
        dropout=st.sampled_from([0, 0.3]),
        rng=seeds,
        examples=0.28,
    )


@given(
    data=st.data(),
    shape=st.tuples(st.integers(0, 3), sizes, sizes),
    heads=st.integers(1, 3),
    d=st.integers(1, 3),
    bias=st.booleans(),
    kind=st.sampled_from(["self", "causal", "cross"]),
    padded=st.booleans(),
    rate=st.sampled_from([0, 0.4]),
)
def test_attention_is_the_formula(
    data: st.DataObject,
    shape: tuple[int, int, int],
    heads: int,
    d: int,
    bias: bool,
    kind: str,
    padded: bool,
    rate: float,
) -> None:
    (n, t, s), causal = shape, kind == "causal"
    x = data.draw(floats((n, t, heads * d), np.float64, bound=2))
    context = data.draw(floats((n, s, heads * d), np.float64, bound=2))
    keys = context if kind == "cross" else x
    mask = data.draw(hnp.arrays(bool, keys.shape[:2])) if padded else None

    def masked(sample: int, query: int, key: int) -> bool:
        return bool(mask is not None and mask[sample, key]) or (causal and key > query)

    layer = attention(heads * d, heads, bias=bias, causal=causal, dropout=rate)
    rng = deepcopy(layer.rng)
    y = layer(x, context if kind == "cross" else None, padding_mask=mask)
    factor = None
    if rate:
        drawn = rng.random((n, heads, t, keys.shape[1]), np.float32)
        factor = (drawn >= rate) / (1 - rate)
    expected, weights = by_loops(layer, x, keys, masked, factor)
    np.testing.assert_allclose(y, expected, 1e-10, 1e-10)
    np.testing.assert_allclose(layer.attention_weights, weights, 1e-10, 1e-10)
    assert y.shape == x.shape


def test_attention_to_two_numbers_gives_the_weights_computed_by_hand() -> None:
    layer = attention(1, 1, weight_init=lambda shape, *_: np.ones(shape), bias_init=zeros)
    # Query 0 finds both keys alike; query log 3 finds 0 and log² 3.
    x = np.array([0, math.log(3)]).reshape(1, 2, 1)
    second = 1 / (1 + math.exp(-(math.log(3) ** 2)))
    weights = [[0.5, 0.5], [1 - second, second]]
    np.testing.assert_allclose(layer(x)[0, :, 0], np.array(weights)[:, 1] * math.log(3))
    np.testing.assert_allclose(layer.attention_weights[0, 0], weights)


def test_scores_are_divided_by_the_root_of_the_features_of_a_head() -> None:
    layer = attention(8, 2, weight_init=lambda shape, *_: np.ones(shape), bias_init=zeros)
    x = np.zeros((1, 2, 8))
    x[0, 1, 0] = 1
    layer(x)
    # Every feature of query and key 1 is 1, and there are 4 in a head: 4 / √4 = 2.
    ratio = layer.attention_weights[0, :, 1, 1] / layer.attention_weights[0, :, 1, 0]
    np.testing.assert_allclose(ratio, [math.exp(2), math.exp(2)])


def test_cross_attention_to_x_is_self_attention() -> None:
    for causal in (False, True):
        own, cross = (attention(6, 3, causal=causal) for _ in range(2))
        x, dy = draw(2, 4, 6), draw(2, 4, 6, seed=1)
        np.testing.assert_allclose(cross(x, x.copy()), own(x), 1e-12, 1e-12)
        dx, dcontext = cross.backward(dy)
        np.testing.assert_allclose(dx + dcontext, own.backward(dy), 1e-10, 1e-12)
        for a, b in zip(gradients(own), gradients(cross), strict=True):
            np.testing.assert_allclose(a, b, 1e-10, 1e-12)


def test_attention_treats_samples_independently() -> None:
    layer, x, context = attention(6, 2), draw(4, 3, 6), draw(4, 5, 6, seed=1)
    mask, order = draw(4, 5, seed=2) > 0, [2, 0, 3, 1]
    y = layer(x, context, padding_mask=mask)
    again = layer(x[order], context[order], padding_mask=mask[order])
    np.testing.assert_allclose(again, y[order], 1e-12, 1e-12)


def test_attention_is_invariant_to_the_order_of_keys_and_equivariant_to_that_of_queries() -> None:
    layer, x, context = attention(6, 2), draw(2, 4, 6), draw(2, 5, 6, seed=1)
    y = layer(x, context)
    np.testing.assert_allclose(layer(x, context[:, ::-1]), y, 1e-12, 1e-12)
    np.testing.assert_allclose(layer(x[:, ::-1], context), y[:, ::-1], 1e-12, 1e-12)


def test_attention_is_invariant_to_the_order_of_heads() -> None:
    layer, x = attention(6, 3), draw(2, 4, 6)
    y, weights = layer(x), layer.attention_weights
    order = [2, 0, 1]
    for parameter in (layer.in_proj_weight, layer.in_proj_bias):
        assert parameter is not None
        shape = parameter.value.shape
        cut = parameter.value.reshape(3, 3, 2, *shape[1:])
        parameter.value = cut[:, order].reshape(shape)
    out = layer.out_proj_weight
    out.value = out.value.reshape(6, 3, 2)[:, order].reshape(6, 6)
    np.testing.assert_allclose(layer(x), y, 1e-12, 1e-12)
    np.testing.assert_allclose(layer.attention_weights, weights[:, order], 1e-12, 1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_attention_takes_an_empty_batch(training: bool) -> None:
    layer = attention(4, 2, dropout=0.1).train(training)
    assert layer(np.zeros((0, 3, 4), np.float32)).shape == (0, 3, 4)
    assert layer.backward(np.zeros((0, 3, 4))).shape == (0, 3, 4)
    assert not any(gradient.any() for gradient in gradients(layer))
    y = layer(np.zeros((0, 3, 4)), np.zeros((0, 2, 4)), padding_mask=np.zeros((0, 2), bool))
    assert y.shape == (0, 3, 4)
    assert [dx.shape for dx in layer.backward(y)] == [(0, 3, 4), (0, 2, 4)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_attention_to_large_numbers_does_not_overflow(dtype: Any) -> None:
    layer = attention(8, 2, causal=True)
    x = np.clip(1e4 * draw(3, 5, 8), -1e4, 1e4).astype(dtype)
    y = layer(x)
    assert np.isfinite(y).all()
    np.testing.assert_allclose(layer.attention_weights.sum(axis=-1), 1, rtol=1e-6)
    assert np.isfinite(layer.backward(np.full_like(y, 1e4))).all()


def test_a_nan_stays_in_its_sample_of_attention() -> None:
    x = draw(2, 3, 4)
    x[0, 1, 2] = np.nan
    y = attention(4, 2)(x)
    assert np.isnan(y[0]).all()
    assert np.isfinite(y[1]).all()


def test_scores_have_no_gradient_where_one_key_has_all_the_weight() -> None:
    layer, dy = attention(6, 2), draw(3, 4, 6, seed=1)
    for context in (draw(3, 1, 6), 1e6 * draw(3, 5, 6)):
        layer(draw(3, 4, 6), context)
        assert set(layer.attention_weights.ravel()) <= {0.0, 1.0}
        assert not layer.backward(dy)[0].any()


def test_causal_attention_does_not_depend_on_the_future() -> None:
    layer, x = attention(6, 2, causal=True), draw(3, 5, 6)
    y = layer(x)
    for t in range(5):
        other = x.copy()
        other[:, t + 1 :] = 100 * draw(3, 4 - t, 6, seed=1)
        changed = layer(other) != y
        assert not changed[:, : t + 1].any()
        assert changed[:, t + 1 :].all()


def test_causal_attention_passes_no_gradient_to_the_future() -> None:
    layer, x = attention(6, 2, causal=True), draw(3, 5, 6)
    for t in range(5):
        dy = np.zeros((3, 5, 6))
        dy[:, t] = 1
        layer(x)
        dx = layer.backward(dy)
        assert (dx[:, t + 1 :] == 0).all()
        assert (dx[:, : t + 1] != 0).all()


def test_padded_keys_have_no_influence_and_no_gradient() -> None:
    layer, x, context = attention(6, 2), draw(2, 4, 6), draw(2, 5, 6, seed=1)
    mask = np.array([[False, True, False, True, True], [False] * 4 + [True]])
    y = layer(x, context, padding_mask=mask)
    dy = draw(2, 4, 6, seed=2)
    _, dcontext = layer.backward(dy)
    assert (dcontext[mask] == 0).all()
    assert (dcontext[~mask] != 0).all()
    other = context.copy()
    other[mask] = 1e3
    assert (layer(x, other, padding_mask=mask) == y).all()
    assert (layer.attention_weights.transpose(0, 3, 1, 2)[mask] == 0).all()
    # As if the padding were not there.
    short = layer(x[:1], context[:1, [0, 2]])
    np.testing.assert_allclose(y[:1], short, 1e-12, 1e-12)


@pytest.mark.parametrize("kind", ["self", "cross", "nothing there"])
@pytest.mark.parametrize("rate", [0, 0.5])
def test_attention_without_any_key_gives_the_bias(kind: str, rate: float) -> None:
    layer, x = attention(6, 2, dropout=rate), draw(2, 3, 6)
    mask = np.array([[True] * 3, [False] * 3])
    context = {"self": None, "cross": draw(2, 3, 6, seed=1), "nothing there": x[:, :0]}[kind]
    if kind == "nothing there":
        mask = mask[:, :0]
    y = layer(x, context, padding_mask=mask)
    assert layer.out_proj_bias is not None
    assert (y[0] == layer.out_proj_bias.value).all()
    assert (layer.attention_weights[0] == 0).all()
    dx = layer.backward(np.ones_like(y))
    for gradient in (*dx, *gradients(layer)):
        assert np.isfinite(gradient).all()
    assert (dx[0] == 0).all() if kind == "self" else (dx[1][0] == 0).all()


def test_the_first_position_of_causal_attention_may_have_no_key() -> None:
    layer, x = attention(4, 2, causal=True, bias=False), draw(1, 3, 4)
    y = layer(x, padding_mask=np.array([[True, False, False]]))
    assert (y[0, 0] == 0).all()
    np.testing.assert_array_equal(layer.attention_weights[0, 0, 1], [0, 1, 0])
    assert np.isfinite(layer.backward(y)).all()
