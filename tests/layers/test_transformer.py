import math
from typing import Any

import numpy as np
import pytest
from attention_reference import Masked, by_loops, draw
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinynet import (
    GELU,
    Array,
    Dense,
    InputError,
    Layer,
    LayerNorm,
    MultiHeadAttention,
    ReLU,
    TransformerBlock,
)
from tinynet.testing import check_layer, floats, sizes


def make_block(embed_dim: int, num_heads: int, **settings: Any) -> TransformerBlock:
    """In float64, with biases and norms that are away from 0 and 1."""
    made = TransformerBlock(embed_dim, num_heads, **{"rng": 0, **settings}).astype(np.float64)
    rng = np.random.default_rng(1)
    for parameter in made.parameters():
        if parameter.value.ndim == 1:
            parameter.value += 0.5 * rng.standard_normal(parameter.value.shape)
    return made


def drawn_block(
    features: int, heads: int, norm_first: bool, causal: bool, dropout: float, activation: str
) -> Layer:
    return make_block(
        features,
        heads,
        dim_feedforward=2,
        norm_first=norm_first,
        causal=causal,
        dropout=dropout,
        activation=activation,
    )


@pytest.mark.gradients
@pytest.mark.parametrize(("norm_first", "activation"), [(True, "gelu"), (False, "relu")])
def test_gradients_of_a_transformer_block(norm_first: bool, activation: str) -> None:
    # Not over one or two features: a norm is too curved there for differences.
    check_layer(
        drawn_block,
        st.sampled_from([(2, 1, 3), (1, 2, 3)]),
        x=lambda shape: st.integers(0, 99).map(lambda seed: draw(*shape, seed=seed)),
        features=3,
        heads=st.sampled_from([1, 3]),
        norm_first=norm_first,
        causal=st.booleans(),
        dropout=st.sampled_from([0.0, 0.3]),
        activation=activation,
        examples=0.08,  # each has some 80 parameters
    )


def norm(layer: LayerNorm, x: Array) -> Array:
    assert layer.weight is not None
    assert layer.bias is not None
    centered = x - x.mean(axis=-1, keepdims=True)
    variance = (centered**2).mean(axis=-1, keepdims=True)
    y: Array = centered / np.sqrt(variance + 1e-5) * layer.weight.value + layer.bias.value
    return y


def dense(layer: Dense, x: Array) -> Array:
    assert layer.bias is not None
    y: Array = np.einsum("...i,ij->...j", x, layer.weight.value) + layer.bias.value
    return y


def by_formula(block: TransformerBlock, x: Array, masked: Masked) -> Array:
    def attention(x: Array) -> Array:
        return by_loops(block.self_attn, x, x, masked)[0]

    def feed_forward(x: Array) -> Array:
        hidden = dense(block.linear1, x)
        if block.activation == "relu":
            return dense(block.linear2, np.maximum(hidden, 0))
        erf = np.vectorize(math.erf, otypes=[float])
        return dense(block.linear2, hidden * (1 + erf(hidden / math.sqrt(2))) / 2)

    if block.norm_first:
        h = x + attention(norm(block.norm1, x))
        return h + feed_forward(norm(block.norm2, h))
    h = norm(block.norm1, x + attention(x))
    return norm(block.norm2, h + feed_forward(h))


@given(
    data=st.data(),
    n=st.integers(0, 3),
    t=sizes,
    heads=st.integers(1, 2),
    d=st.integers(1, 3),
    width=st.sampled_from([None, 1, 5]),
    causal=st.booleans(),
    padded=st.booleans(),
    norm_first=st.booleans(),
    activation=st.sampled_from(["gelu", "relu"]),
)
def test_a_transformer_block_is_the_formula(
    data: st.DataObject,
    n: int,
    t: int,
    heads: int,
    d: int,
    width: int | None,
    causal: bool,
    padded: bool,
    norm_first: bool,
    activation: str,
) -> None:
    x = data.draw(floats((n, t, heads * d), np.float64, bound=2))
    mask = data.draw(hnp.arrays(bool, (n, t))) if padded else np.zeros((n, t), bool)
    made = make_block(
        heads * d,
        heads,
        dim_feedforward=width,
        causal=causal,
        norm_first=norm_first,
        activation=activation,
    )
    y = made(x, mask if padded else None)
    assert y.shape == x.shape

    def masked(sample: int, query: int, key: int) -> bool:
        return bool(mask[sample, key]) or (causal and key > query)

    # Where features are nearly equal a norm divides rounding by little.
    np.testing.assert_allclose(y, by_formula(made, x, masked), 1e-9, 1e-9)


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_transformer_block_applies_dropout_in_four_layers(norm_first: bool) -> None:
    made = make_block(4, 2, dropout=0.5, norm_first=norm_first)
    x = draw(2, 3, 4)
    layers = (made.self_attn, made.hidden_dropout, made.dropout1, made.dropout2)
    assert made.self_attn.dropout == 0.5
    assert [layer.rate for layer in layers[1:]] == [0.5] * 3
    expected = make_block(4, 2, norm_first=norm_first)(x)
    assert np.array_equal(made.eval()(x), expected)
    for layer in layers:
        # Each by itself, the others in evaluation mode.
        made.eval()
        layer.train()
        assert (made(x) != expected).any()


@pytest.mark.parametrize("training", [True, False])
def test_a_transformer_block_takes_an_empty_batch(training: bool) -> None:
    for norm_first in (True, False):
        made = TransformerBlock(4, 2, dropout=0.1, norm_first=norm_first)
        y = made.train(training)(np.zeros((0, 3, 4), np.float32))
        assert y.shape == (0, 3, 4)
        assert made.backward(y).shape == (0, 3, 4)


def test_a_causal_transformer_block_does_not_depend_on_the_future() -> None:
    made, x = make_block(4, 2, causal=True), draw(2, 5, 4)
    y = made(x)
    x[:, 3:] = 1
    assert np.array_equal(made(x)[:, :3], y[:, :3])


def test_padded_positions_have_no_influence_on_the_rest_of_a_transformer_block() -> None:
    mask = np.array([[False, False, True], [True, False, False]])
    for norm_first in (True, False):
        made, x = make_block(4, 2, norm_first=norm_first), draw(2, 3, 4)
        y = made(x, padding_mask=mask)
        dy = draw(2, 3, 4, seed=1) * ~mask[..., np.newaxis]
        assert not made.backward(dy)[mask].any()
        x[mask] = 9
        assert np.array_equal(made(x, padding_mask=mask)[~mask], y[~mask])


def test_parameters_of_a_transformer_block_have_the_names_and_shapes_of_pytorch() -> None:
    names = [(name, p.value.shape) for name, p in TransformerBlock(4, 2).named_parameters()]
    assert names == [
        ("norm1.weight", (4,)),
        ("norm1.bias", (4,)),
        ("self_attn.in_proj_weight", (12, 4)),
        ("self_attn.in_proj_bias", (12,)),
        ("self_attn.out_proj_weight", (4, 4)),
        ("self_attn.out_proj_bias", (4,)),
        ("norm2.weight", (4,)),
        ("norm2.bias", (4,)),
        ("linear1.weight", (4, 16)),
        ("linear1.bias", (16,)),
        ("linear2.weight", (16, 4)),
        ("linear2.bias", (4,)),
    ]


def test_one_generator_draws_initial_values_and_dropout_of_a_transformer_block() -> None:
    rng = np.random.default_rng(3)
    made, same = TransformerBlock(4, 2, dropout=0.3, rng=rng), np.random.default_rng(3)
    expected = [
        MultiHeadAttention(4, 2, rng=same).in_proj_weight,
        Dense(4, 16, rng=same).weight,
        Dense(16, 4, rng=same).weight,
    ]
    got = [made.self_attn.in_proj_weight, made.linear1.weight, made.linear2.weight]
    for a, b in zip(got, expected, strict=True):
        assert np.array_equal(a.value, b.value)
    for layer in (made.self_attn, made.hidden_dropout, made.dropout1, made.dropout2):
        assert layer.rng is rng


def test_a_transformer_block_has_gelu_and_no_dropout_by_default() -> None:
    made = TransformerBlock(4, 2)
    assert isinstance(made.hidden_activation, GELU)
    assert made.activation == "gelu"
    relu = TransformerBlock(4, 2, activation="relu")
    assert isinstance(relu.hidden_activation, ReLU)
    assert relu.activation == "relu"
    assert made.dropout == made.hidden_dropout.rate == made.self_attn.dropout == 0
    assert not made.self_attn.causal


@pytest.mark.parametrize(
    ("arguments", "settings", "sentence"),
    [
        ((0, 1), {}, "embed_dim to be a whole number >= 1, got 0"),
        ((4, 0), {}, "num_heads to be a whole number >= 1, got 0"),
        ((6, 4), {}, "num_heads to divide embed_dim = 6, got 4"),
        ((4, 2), {"dim_feedforward": 0}, "dim_feedforward to be a whole number >= 1, got 0"),
        ((4, 2), {"dropout": 1}, "dropout to be a finite number >= 0 and < 1, got 1"),
        ((4, 2), {"activation": "tanh"}, "activation to be 'gelu' or 'relu', got 'tanh'"),
    ],
)
def test_a_transformer_block_refuses_settings_out_of_range(
    arguments: tuple[int, int], settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError) as error:
        TransformerBlock(*arguments, **settings)
    assert str(error.value) == f"TransformerBlock expects {sentence}"


def test_a_transformer_block_refuses_an_x_and_a_padding_mask_of_another_shape() -> None:
    made = TransformerBlock(4, 2)
    with pytest.raises(
        InputError,
        match=r"^TransformerBlock\(4, 2, dim_feedforward=16\) expects x of shape \(N, T, 4\), got",
    ):
        made(np.zeros((2, 3, 5)))
    with pytest.raises(InputError) as error:
        made(np.zeros((2, 3, 4)), np.zeros((2, 4), bool))
    assert str(error.value) == (
        "TransformerBlock(4, 2, dim_feedforward=16) expects padding_mask to be an array of bool "
        "of shape (2, 3), "
        "got (2, 4) of bool"
    )


def test_repr_of_a_transformer_block_is_its_constructor_call() -> None:
    assert repr(TransformerBlock(8, 2)) == "TransformerBlock(8, 2, dim_feedforward=32)"
    made = TransformerBlock(
        8, 2, dim_feedforward=9, dropout=0.1, causal=True, norm_first=False, activation="relu"
    )
    assert repr(made) == (
        "TransformerBlock(8, 2, dim_feedforward=9, dropout=0.1, causal=True, norm_first=False, "
        "activation='relu')"
    )
