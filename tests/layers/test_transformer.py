import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinynet import (
    GELU,
    Array,
    Dense,
    Dropout,
    InputError,
    Layer,
    LayerNorm,
    MultiHeadAttention,
    ReLU,
    TransformerBlock,
)
from tinynet.testing import check_layer, floats, sizes

Rows = list[list[float]]  # of one sample


def draw(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def block(embed_dim: int, num_heads: int, **settings: Any) -> TransformerBlock:
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
    return block(
        features,
        heads,
        dim_feedforward=3,
        norm_first=norm_first,
        causal=causal,
        dropout=dropout,
        activation=activation,
    )


@pytest.mark.gradients
def test_gradients() -> None:
    # A norm over few features bends so much that differences tell little of it.
    check_layer(
        drawn_block,
        st.tuples(st.integers(1, 2), st.integers(1, 3), st.just(4)),
        x=lambda shape: st.integers(0, 99).map(lambda seed: draw(*shape, seed=seed)),
        features=4,
        heads=st.sampled_from([1, 2]),
        norm_first=st.booleans(),
        causal=st.booleans(),
        dropout=st.sampled_from([0.0, 0.3]),
        activation=st.sampled_from(["gelu", "relu"]),
        examples=0.2,  # each has some 150 parameters
    )


def norm(layer: LayerNorm, rows: Rows) -> Rows:
    assert layer.weight is not None
    assert layer.bias is not None
    weight, bias = layer.weight.value.tolist(), layer.bias.value.tolist()
    result = []
    for row in rows:
        mean = math.fsum(row) / len(row)
        deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in row) / len(row) + 1e-5)
        result.append(
            [(v - mean) / deviation * w + b for v, w, b in zip(row, weight, bias, strict=True)]
        )
    return result


def affine(weight: Rows, bias: list[float], rows: Rows) -> Rows:
    """For a weight (in, out)."""
    return [
        [math.fsum([b, *(v * weight[i][j] for i, v in enumerate(row))]) for j, b in enumerate(bias)]
        for row in rows
    ]


def dense(layer: Dense, rows: Rows) -> Rows:
    assert layer.bias is not None
    return affine(layer.weight.value.tolist(), layer.bias.value.tolist(), rows)


def attention(layer: MultiHeadAttention, rows: Rows, visible: list[list[int]]) -> Rows:
    assert layer.in_proj_bias is not None
    assert layer.out_proj_bias is not None
    width, d = layer.embed_dim, layer.embed_dim // layer.num_heads
    weight, bias = layer.in_proj_weight.value.T.tolist(), layer.in_proj_bias.value.tolist()
    projected = affine(weight, bias, rows)
    mixed = [[0.0] * width for _ in rows]
    for t, keys in enumerate(visible):
        for i in range(width):
            first = i // d * d
            powers = [
                math.exp(
                    math.fsum(
                        projected[t][j] * projected[s][width + j] for j in range(first, first + d)
                    )
                    / math.sqrt(d)
                )
                for s in keys
            ]
            terms = [p * projected[s][2 * width + i] for p, s in zip(powers, keys, strict=True)]
            mixed[t][i] = math.fsum(terms) / math.fsum(powers) if keys else 0.0
    out = layer.out_proj_weight.value.T.tolist()
    return affine(out, layer.out_proj_bias.value.tolist(), mixed)


def activated(layer: Layer, rows: Rows) -> Rows:
    if isinstance(layer, ReLU):
        return [[max(v, 0) for v in row] for row in rows]
    return [[v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in row] for row in rows]


def plus(a: Rows, b: Rows) -> Rows:
    return [[v + w for v, w in zip(r, s, strict=True)] for r, s in zip(a, b, strict=True)]


def by_formula(made: TransformerBlock, rows: Rows, visible: list[list[int]]) -> Rows:
    def feed_forward(rows: Rows) -> Rows:
        return dense(made.linear2, activated(made.hidden_activation, dense(made.linear1, rows)))

    if made.norm_first:
        h = plus(rows, attention(made.self_attn, norm(made.norm1, rows), visible))
        return plus(h, feed_forward(norm(made.norm2, h)))
    h = norm(made.norm1, plus(rows, attention(made.self_attn, rows, visible)))
    return norm(made.norm2, plus(h, feed_forward(h)))


class TestForward:
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
    def test_is_the_formula(
        self,
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
        made = block(
            heads * d,
            heads,
            dim_feedforward=width,
            causal=causal,
            norm_first=norm_first,
            activation=activation,
        )
        y = made(x, mask if padded else None)
        assert y.shape == x.shape
        for sample in range(n):
            visible = [
                [s for s in range(t) if not mask[sample, s] and not (causal and s > position)]
                for position in range(t)
            ]
            wanted = by_formula(made, x[sample].tolist(), visible)
            # Where features are nearly equal a norm divides rounding by little.
            np.testing.assert_allclose(y[sample], wanted, 1e-9, 1e-9)

    @pytest.mark.parametrize("norm_first", [True, False])
    def test_dropout_stands_at_four_places(self, norm_first: bool) -> None:
        made = block(4, 2, dropout=0.5, norm_first=norm_first)
        x = draw(2, 3, 4)
        rate_of = {
            "self_attn": made.self_attn.dropout,
            "dropout": made.hidden_dropout.rate,
            "dropout1": made.dropout1.rate,
            "dropout2": made.dropout2.rate,
        }
        assert set(rate_of.values()) == {0.5}
        wanted = block(4, 2, norm_first=norm_first)(x)
        assert np.array_equal(made.eval()(x), wanted)
        for name in rate_of:
            # Each by itself, the others being asleep.
            made.eval()
            getattr(made, name).train()
            assert (made(x) != wanted).any()

    @pytest.mark.parametrize("training", [True, False])
    def test_an_empty_batch_gives_an_empty_y(self, training: bool) -> None:
        for norm_first in (True, False):
            made = TransformerBlock(4, 2, dropout=0.1, norm_first=norm_first)
            y = made._set_training(mode=training)(np.zeros((0, 3, 4), np.float32))
            assert y.shape == (0, 3, 4)
            assert made.backward(y).shape == (0, 3, 4)

    def test_with_causal_the_future_changes_nothing(self) -> None:
        made, x = block(4, 2, causal=True), draw(2, 5, 4)
        y = made(x)
        x[:, 3:] = 1
        assert np.array_equal(made(x)[:, :3], y[:, :3])

    def test_padding_has_no_influence_on_the_rest(self) -> None:
        mask = np.array([[False, False, True], [True, False, False]])
        for norm_first in (True, False):
            made, x = block(4, 2, norm_first=norm_first), draw(2, 3, 4)
            y = made(x, padding_mask=mask)
            dy = draw(2, 3, 4, seed=1) * ~mask[..., np.newaxis]
            assert not made.backward(dy)[mask].any()
            x[mask] = 9
            assert np.array_equal(made(x, padding_mask=mask)[~mask], y[~mask])


class TestMadeOf:
    def test_parameters_have_the_names_and_shapes_of_pytorch(self) -> None:
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

    def test_one_stream_starts_all_and_draws_for_all(self) -> None:
        rng = np.random.default_rng(3)
        made, same = TransformerBlock(4, 2, dropout=0.3, rng=rng), np.random.default_rng(3)
        wanted = [
            MultiHeadAttention(4, 2, rng=same).in_proj_weight,
            Dense(4, 16, rng=same).weight,
            Dense(16, 4, rng=same).weight,
        ]
        got = [made.self_attn.in_proj_weight, made.linear1.weight, made.linear2.weight]
        for a, b in zip(got, wanted, strict=True):
            assert np.array_equal(a.value, b.value)
        for layer in (made.self_attn, made.hidden_dropout, made.dropout1, made.dropout2):
            assert layer.rng is rng

    def test_kinds(self) -> None:
        made = TransformerBlock(4, 2)
        assert isinstance(made.hidden_activation, GELU)
        assert repr(made.activation) == "GELU()"
        assert isinstance(TransformerBlock(4, 2, activation="relu").activation, ReLU)
        assert [made.hidden_dropout.rate, made.self_attn.dropout, made.self_attn.causal] == [
            0,
            0,
            False,
        ]
        assert isinstance(made.dropout, Dropout)


class TestRefuses:
    @pytest.mark.parametrize(
        ("arguments", "settings", "sentence"),
        [
            ((0, 1), {}, "embed_dim to be a whole number >= 1, got 0"),
            ((4, 0), {}, "num_heads to be a whole number >= 1, got 0"),
            ((6, 4), {}, "num_heads to divide embed_dim = 6, got 4"),
            ((4, 2), {"dim_feedforward": 0}, "dim_feedforward to be a whole number >= 1, got 0"),
            ((4, 2), {"dropout": 1}, "dropout to be a finite number >= 0 and < 1, got 1"),
            ((4, 2), {"activation": "tanh"}, 'activation to be "gelu" or "relu", got \'tanh\''),
        ],
    )
    def test_arguments(
        self, arguments: tuple[int, int], settings: dict[str, Any], sentence: str
    ) -> None:
        with pytest.raises(InputError) as error:
            TransformerBlock(*arguments, **settings)
        assert str(error.value) == f"TransformerBlock expects {sentence}"

    def test_inputs_in_its_own_name(self) -> None:
        made = TransformerBlock(4, 2)
        with pytest.raises(
            InputError, match=r"^TransformerBlock\(4, 2\) expects x of shape \(N, T, 4\), got"
        ):
            made(np.zeros((2, 3, 5)))
        with pytest.raises(InputError) as error:
            made(np.zeros((2, 3, 4)), np.zeros((2, 4), bool))
        assert str(error.value) == (
            "TransformerBlock(4, 2) expects padding_mask to be an array of bool of shape (2, 3), "
            "got (2, 4) of bool"
        )


def test_repr() -> None:
    assert repr(TransformerBlock(8, 2, dim_feedforward=32)) == "TransformerBlock(8, 2)"
    made = TransformerBlock(
        8, 2, dim_feedforward=9, dropout=0.1, causal=True, norm_first=False, activation="relu"
    )
    assert repr(made) == (
        "TransformerBlock(8, 2, dim_feedforward=9, dropout=0.1, causal=True, norm_first=False, "
        'activation="relu")'
    )
