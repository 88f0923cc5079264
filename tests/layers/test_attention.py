import math
import pickle
import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinynet import Array, InputError, Layer, MultiHeadAttention
from tinynet.initializers import zeros
from tinynet.testing import check_layer, floats, seeds, sizes


def draw(*shape: int, seed: int = 0, dtype: Any = np.float64) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def wide(
    shape: tuple[int, ...], _fan_in: float, _fan_out: float, rng: np.random.Generator
) -> Array:
    """A start of the scale of 1, for biases too: nothing is small or equal."""
    return rng.standard_normal(shape)


def attention(embed_dim: int, num_heads: int, **settings: Any) -> MultiHeadAttention:
    made = MultiHeadAttention(
        embed_dim, num_heads, **{"rng": 0, "weight_init": wide, "bias_init": wide, **settings}
    )
    return made.astype(np.float64)


def gradients(layer: Layer) -> list[Array]:
    return [np.asarray(parameter.grad) for parameter in layer.parameters()]


class Packed(Layer):
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


def near(shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    # Where scores are far apart softmax is too flat for differences.
    return floats(shape, bound=2)


@pytest.mark.gradients
def test_gradients() -> None:
    check_layer(
        Packed,
        ("N", "T", "embed_dim"),
        x=near,
        most_heads=sizes,
        cross=st.booleans(),
        padded=st.booleans(),
        bias=st.booleans(),
        causal=st.booleans(),
        dropout=st.sampled_from([0, 0.3]),
        rng=seeds,
    )


Hidden = Callable[[int, int, int], bool]  # of sample, query and key


def by_loops(
    layer: MultiHeadAttention,
    x: Array,
    context: Array,
    hidden: Hidden,
    factor: Array | None = None,
) -> tuple[Array, Array]:
    """(y, P) entry by entry; `factor` (N, heads, T, S) is that of the dropout."""
    width, heads = layer.embed_dim, layer.num_heads
    d = width // heads

    def affine(weight: list[list[float]], bias: list[float], vector: list[float]) -> list[float]:
        return [
            math.fsum([bias[i], *(row[j] * vector[j] for j in range(width))])
            for i, row in enumerate(weight)
        ]

    weight, weight_o = layer.in_proj_weight.value.tolist(), layer.out_proj_weight.value.tolist()
    bias, bias_o = [0.0] * (3 * width), [0.0] * width
    if layer.in_proj_bias is not None and layer.out_proj_bias is not None:
        bias, bias_o = layer.in_proj_bias.value.tolist(), layer.out_proj_bias.value.tolist()
    rows = [slice(part * width, (part + 1) * width) for part in range(3)]
    n, t, s = len(x), x.shape[1], context.shape[1]
    y, probabilities = np.zeros((n, t, width)), np.zeros((n, heads, t, s))
    for sample in range(n):
        keys, values = (
            [affine(weight[r], bias[r], context[sample, key].tolist()) for key in range(s)]
            for r in rows[1:]
        )
        for position in range(t):
            query = affine(weight[rows[0]], bias[rows[0]], x[sample, position].tolist())
            o = [0.0] * width
            for head in range(heads):
                features = range(head * d, (head + 1) * d)
                scores = {
                    key: math.fsum(query[i] * keys[key][i] for i in features) / math.sqrt(d)
                    for key in range(s)
                    if not hidden(sample, position, key)
                }
                powers = {k: math.exp(score - max(scores.values())) for k, score in scores.items()}
                for key, power in powers.items():
                    p = power / math.fsum(powers.values())
                    probabilities[sample, head, position, key] = p
                    if factor is not None:
                        p *= factor[sample, head, position, key]
                    for i in features:
                        o[i] += p * values[key][i]
            y[sample, position] = affine(weight_o, bias_o, o)
    return y, probabilities


class TestForward:
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
    def test_is_the_formula(
        self,
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

        def hidden(sample: int, query: int, key: int) -> bool:
            return bool(mask is not None and mask[sample, key]) or (causal and key > query)

        layer = attention(heads * d, heads, bias=bias, causal=causal, dropout=rate)
        stream = deepcopy(layer.rng)
        y = layer(x, context if kind == "cross" else None, padding_mask=mask)
        factor = None
        if rate:
            drawn = stream.random((n, heads, t, keys.shape[1]), np.float32)
            factor = (drawn >= rate) / (1 - rate)
        wanted, weights = by_loops(layer, x, keys, hidden, factor)
        np.testing.assert_allclose(y, wanted, 1e-10, 1e-10)
        np.testing.assert_allclose(layer.attention_weights, weights, 1e-10, 1e-10)
        assert y.shape == x.shape

    def test_of_two_numbers(self) -> None:
        layer = attention(1, 1, weight_init=lambda shape, *_: np.ones(shape), bias_init=zeros)
        # Query 0 finds both keys alike; query log 3 finds 0 and log² 3.
        x = np.array([0, math.log(3)]).reshape(1, 2, 1)
        second = 1 / (1 + math.exp(-(math.log(3) ** 2)))
        weights = [[0.5, 0.5], [1 - second, second]]
        np.testing.assert_allclose(layer(x)[0, :, 0], np.array(weights)[:, 1] * math.log(3))
        np.testing.assert_allclose(layer.attention_weights[0, 0], weights)

    def test_scores_are_divided_by_the_root_of_the_features_of_a_head(self) -> None:
        layer = attention(8, 2, weight_init=lambda shape, *_: np.ones(shape), bias_init=zeros)
        x = np.zeros((1, 2, 8))
        x[0, 1, 0] = 1
        layer(x)
        # Every feature of query and key 1 is 1, and there are 4 in a head: 4 / √4 = 2.
        ratio = layer.attention_weights[0, :, 1, 1] / layer.attention_weights[0, :, 1, 0]
        np.testing.assert_allclose(ratio, [math.exp(2), math.exp(2)])

    def test_a_context_that_is_x_is_self_attention(self) -> None:
        for causal in (False, True):
            own, cross = (attention(6, 3, causal=causal) for _ in range(2))
            x, dy = draw(2, 4, 6), draw(2, 4, 6, seed=1)
            np.testing.assert_allclose(cross(x, x.copy()), own(x), 1e-12, 1e-12)
            dx, dcontext = cross.backward(dy)
            np.testing.assert_allclose(dx + dcontext, own.backward(dy), 1e-10, 1e-12)
            for a, b in zip(gradients(own), gradients(cross), strict=True):
                np.testing.assert_allclose(a, b, 1e-10, 1e-12)

    def test_samples_in_another_order_give_the_same_in_that_order(self) -> None:
        layer, x, context = attention(6, 2), draw(4, 3, 6), draw(4, 5, 6, seed=1)
        mask, order = draw(4, 5, seed=2) > 0, [2, 0, 3, 1]
        y = layer(x, context, padding_mask=mask)
        again = layer(x[order], context[order], padding_mask=mask[order])
        np.testing.assert_allclose(again, y[order], 1e-12, 1e-12)

    def test_keys_in_another_order_give_the_same_and_queries_in_another_that_order(self) -> None:
        layer, x, context = attention(6, 2), draw(2, 4, 6), draw(2, 5, 6, seed=1)
        y = layer(x, context)
        np.testing.assert_allclose(layer(x, context[:, ::-1]), y, 1e-12, 1e-12)
        np.testing.assert_allclose(layer(x[:, ::-1], context), y[:, ::-1], 1e-12, 1e-12)

    def test_heads_in_another_order_give_the_same(self) -> None:
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
    def test_an_empty_batch_gives_an_empty_y(self, training: bool) -> None:
        layer = attention(4, 2, dropout=0.1)._set_training(mode=training)
        assert layer(np.zeros((0, 3, 4), np.float32)).shape == (0, 3, 4)
        assert layer.backward(np.zeros((0, 3, 4))).shape == (0, 3, 4)
        assert not any(gradient.any() for gradient in gradients(layer))
        y = layer(np.zeros((0, 3, 4)), np.zeros((0, 2, 4)), padding_mask=np.zeros((0, 2), bool))
        assert y.shape == (0, 3, 4)
        assert [dx.shape for dx in layer.backward(y)] == [(0, 3, 4), (0, 2, 4)]

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_large_numbers_overflow_nowhere(self, dtype: Any) -> None:
        layer = attention(8, 2, causal=True)
        x = np.clip(1e4 * draw(3, 5, 8), -1e4, 1e4).astype(dtype)
        y = layer(x)
        assert np.isfinite(y).all()
        np.testing.assert_allclose(layer.attention_weights.sum(axis=-1), 1, rtol=1e-6)
        assert np.isfinite(layer.backward(np.full_like(y, 1e4))).all()

    def test_a_nan_is_not_hidden(self) -> None:
        x = draw(2, 3, 4)
        x[0, 1, 2] = np.nan
        y = attention(4, 2)(x)
        assert np.isnan(y[0]).all()
        assert np.isfinite(y[1]).all()

    def test_where_one_key_has_all_the_weight_no_score_has_a_gradient(self) -> None:
        layer, dy = attention(6, 2), draw(3, 4, 6, seed=1)
        for context in (draw(3, 1, 6), 1e6 * draw(3, 5, 6)):
            layer(draw(3, 4, 6), context)
            assert set(layer.attention_weights.ravel()) <= {0.0, 1.0}
            assert not layer.backward(dy)[0].any()


class TestCausal:
    def test_the_future_changes_nothing(self) -> None:
        layer, x = attention(6, 2, causal=True), draw(3, 5, 6)
        y = layer(x)
        for t in range(5):
            other = x.copy()
            other[:, t + 1 :] = 100 * draw(3, 4 - t, 6, seed=1)
            changed = layer(other) != y
            assert not changed[:, : t + 1].any()
            assert changed[:, t + 1 :].all()

    def test_no_gradient_comes_from_the_past(self) -> None:
        layer, x = attention(6, 2, causal=True), draw(3, 5, 6)
        for t in range(5):
            dy = np.zeros((3, 5, 6))
            dy[:, t] = 1
            layer(x)
            dx = layer.backward(dy)
            assert (dx[:, t + 1 :] == 0).all()
            assert (dx[:, : t + 1] != 0).all()


class TestPadding:
    def test_what_is_padded_has_no_influence_and_no_gradient(self) -> None:
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
    def test_where_all_is_hidden_y_is_the_bias(self, kind: str, rate: float) -> None:
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

    def test_with_causal_the_first_may_see_nothing(self) -> None:
        layer, x = attention(4, 2, causal=True, bias=False), draw(1, 3, 4)
        y = layer(x, padding_mask=np.array([[True, False, False]]))
        assert (y[0, 0] == 0).all()
        np.testing.assert_array_equal(layer.attention_weights[0, 0, 1], [0, 1, 0])
        assert np.isfinite(layer.backward(y)).all()


class TestDropout:
    def test_evaluation_and_a_rate_of_zero_draw_nothing(self) -> None:
        x = draw(2, 3, 4)
        wanted = attention(4, 2)(x)
        for layer in (attention(4, 2, dropout=0.5).eval(), attention(4, 2)):
            before = layer.generators()
            assert (layer(x) == wanted).all()
            assert layer.generators() == before

    def test_every_forward_draws_anew(self) -> None:
        layer, x = attention(4, 2, dropout=0.5), draw(2, 3, 4)
        assert (layer(x) != layer(x)).any()

    def test_goes_on_with_the_generator_that_it_was_given(self) -> None:
        rng = np.random.default_rng(7)
        layer = MultiHeadAttention(4, 2, dropout=0.5, rng=rng)
        assert layer.rng is rng
        same = MultiHeadAttention(4, 2, dropout=0.5, rng=7)
        assert (layer(draw(2, 3, 4)) == same(draw(2, 3, 4))).all()

    def test_the_draws_do_not_depend_on_the_dtype(self) -> None:
        single, double = (
            attention(4, 2, dropout=0.5)(draw(2, 3, 4).astype(dtype))
            for dtype in (np.float32, np.float64)
        )
        np.testing.assert_allclose(single, double, 1e-4, 1e-5)

    def test_backward_belongs_to_its_forward_whatever_the_mode_is_by_then(self) -> None:
        x, dy = draw(2, 3, 4), draw(2, 3, 4, seed=1)
        for training in (True, False):
            layer, other = (
                attention(4, 2, dropout=0.5)._set_training(mode=training) for _ in range(2)
            )
            layer(x)
            other(x)
            other._set_training(mode=not training)
            assert (layer.backward(dy) == other.backward(dy)).all()


class TestAttentionWeights:
    def test_are_a_copy(self) -> None:
        layer, x, dy = attention(4, 2), draw(2, 3, 4), draw(2, 3, 4, seed=1)
        layer(x)
        wanted = layer.backward(dy)
        layer(x)
        layer.attention_weights[...] = np.nan
        assert (layer.backward(dy) == wanted).all()

    def test_are_refused_where_there_are_none(self) -> None:
        layer = MultiHeadAttention(4, 2)
        sentence = (
            r"^MultiHeadAttention\(4, 2\).attention_weights expects a forward before it, "
            r"got none, or a backward since$"
        )
        with pytest.raises(InputError, match=sentence):
            _ = layer.attention_weights
        layer.backward(layer(draw(2, 3, 4)))
        with pytest.raises(InputError, match=sentence):
            _ = layer.attention_weights

    def test_are_no_part_of_the_state(self) -> None:
        layer = MultiHeadAttention(4, 2)
        layer(draw(2, 3, 4))
        names = ["in_proj_weight", "in_proj_bias", "out_proj_weight", "out_proj_bias"]
        assert list(layer.state_dict()) == names


class TestMemory:
    def test_a_layer_that_has_worked_on_other_batches_is_like_a_new_one(self) -> None:
        used = attention(4, 2, dropout=0.2, rng=0)
        for n, t, dtype in [(3, 2, "f4"), (3, 2, "f8"), (2, 3, "f8"), (2, 3, "f8"), (1, 6, "f4")]:
            x, context, dy = (draw(n, t, 4, seed=seed, dtype=dtype) for seed in range(3))
            new = deepcopy(used)
            for given_context in (None, context):
                assert (used(x, given_context) == new(x, given_context)).all()
                for a, b in zip(used.backward(dy), new.backward(dy), strict=True):
                    assert (a == b).all()
                for a, b in zip(gradients(used), gradients(new), strict=True):
                    assert (a == b).all()

    def test_training_takes_the_same_memory_again_and_evaluation_leaves_none(self) -> None:
        layer, x = attention(4, 2, dropout=0.5), draw(2, 3, 4)
        layer.eval()
        layer.backward(layer(x))
        assert layer._memory == {}
        layer.train()
        layer.backward(layer(x))
        before = dict(layer._memory)
        assert set(before) == {"projected 0", "powers", "factor", "seen", "o", "ds", "dqkv"}
        layer.predict(draw(7, 3, 4))
        layer.backward(layer(x))
        assert all(layer._memory[name] is memory for name, memory in before.items())

    def test_copies_and_pickles_carry_none(self) -> None:
        layer = attention(4, 2)
        layer(draw(2, 3, 4))
        for copy in (deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert copy._memory == {}
            assert (copy(draw(2, 3, 4)) == layer(draw(2, 3, 4))).all()

    def test_with_a_context_nothing_given_is_written_to_and_nothing_returned_is_shared(
        self,
    ) -> None:
        layer, given_arrays = attention(4, 2), [draw(2, 3, 4), draw(2, 5, 4), draw(2, 3, 4)]
        x, context, dy = given_arrays
        before = [array.copy() for array in given_arrays]
        y = layer(x, context)
        dx, dcontext = layer.backward(dy)
        results = [y, dx, dcontext, *gradients(layer)]
        wanted = [result.copy() for result in results]
        layer(x, context)[...] = np.nan
        again = [*layer.backward(dy), *gradients(layer)]
        for result, value in zip(results, wanted, strict=True):
            assert (result == value).all()
            for array in (*given_arrays, *layer._memory.values()):
                assert not np.shares_memory(result, array)
        for result, value in zip(again, wanted[1:], strict=True):
            assert (result == value).all()
        for array, value in zip(given_arrays, before, strict=True):
            assert (array == value).all()


class TestParameters:
    def test_have_the_documented_shapes_and_starts(self) -> None:
        layer = MultiHeadAttention(6, 2, rng=0)
        assert [(name, p.value.shape) for name, p in layer.named_parameters()] == [
            ("in_proj_weight", (18, 6)),
            ("in_proj_bias", (18,)),
            ("out_proj_weight", (6, 6)),
            ("out_proj_bias", (6,)),
        ]
        assert layer.in_proj_bias is not None
        assert layer.out_proj_bias is not None
        assert not layer.in_proj_bias.value.any()
        assert not layer.out_proj_bias.value.any()
        rng = np.random.default_rng(0)
        # glorot_uniform, with 6 inputs and 18 outputs, then 6.
        first = rng.uniform(-0.5, 0.5, (18, 6)).astype(np.float32)
        second = rng.uniform(-math.sqrt(0.5), math.sqrt(0.5), (6, 6)).astype(np.float32)
        assert (layer.in_proj_weight.value == first).all()
        assert (layer.out_proj_weight.value == second).all()

    def test_without_a_bias(self) -> None:
        layer = MultiHeadAttention(6, 2, bias=False)
        assert layer.in_proj_bias is None
        assert layer.out_proj_bias is None
        names = [name for name, _ in layer.named_parameters()]
        assert names == ["in_proj_weight", "out_proj_weight"]

    def test_initializers_are_given_shape_fan_and_generator(self) -> None:
        rng = np.random.default_rng(5)
        calls = []

        def spy(
            shape: tuple[int, ...], fan_in: float, fan_out: float, given_rng: np.random.Generator
        ) -> Array:
            calls.append((shape, (fan_in, fan_out), given_rng is rng))
            return zeros(shape, fan_in, fan_out, rng)

        MultiHeadAttention(4, 2, rng=rng, weight_init=spy, bias_init=spy)
        assert calls == [
            ((12, 4), (4, 12), True),
            ((12,), (4, 12), True),
            ((4, 4), (4, 4), True),
            ((4,), (4, 4), True),
        ]

    def test_bias_gradients_of_many_rows_are_those_of_float64(self) -> None:
        layer = MultiHeadAttention(1, 1, rng=0)
        dy = np.random.default_rng(0).uniform(0, 1, (30_000, 1, 1)).astype(np.float32)
        # With one key P is 1: the gradient of the bias of v is that of y, times one weight.
        layer.out_proj_weight.value[...] = 1
        layer(np.zeros((30_000, 1, 1), np.float32))
        layer.backward(dy)
        assert layer.in_proj_bias is not None
        assert layer.out_proj_bias is not None
        for got in (layer.out_proj_bias.grad, layer.in_proj_bias.grad):
            assert got is not None
            np.testing.assert_allclose(got[-1], math.fsum(dy.ravel().tolist()), rtol=1e-7)


class TestRefuses:
    def test_what_is_no_size_or_rate(self) -> None:
        wrong: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
            ((0, 1), {}, "embed_dim to be a whole number >= 1, got 0"),
            ((4, 0), {}, "num_heads to be a whole number >= 1, got 0"),
            ((6, 4), {}, "num_heads to divide embed_dim = 6, got 4"),
            ((4, 2), {"dropout": 1}, "dropout to be a finite number >= 0 and < 1, got 1"),
        ]
        for sizes_given, settings, sentence in wrong:
            with pytest.raises(InputError, match=f"^MultiHeadAttention expects {sentence}$"):
                MultiHeadAttention(*sizes_given, **settings)

    def test_an_initializer_that_gives_another_shape(self) -> None:
        sentence = (
            r"^MultiHeadAttention\(4, 2\) expects an initializer to give the shape \(12, 4\), "
            r"got \(4, 12\)$"
        )
        with pytest.raises(InputError, match=sentence):
            MultiHeadAttention(4, 2, weight_init=lambda shape, *_: np.zeros(shape[::-1]))

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"x": np.zeros((2, 3, 5))}, "x of shape (N, T, 4), got (2, 3, 5)"),
            ({"x": np.zeros((2, 4))}, "x of shape (N, T, 4), got (2, 4)"),
            ({"context": np.zeros((2, 5, 3))}, "context of shape (2, S, 4), got (2, 5, 3)"),
            ({"context": np.zeros((3, 5, 4))}, "context of shape (2, S, 4), got (3, 5, 4)"),
            ({"context": [1.0]}, "context to be a NumPy array, got list"),
        ],
    )
    def test_what_is_no_such_array(self, changes: dict[str, Any], sentence: str) -> None:
        arrays = {"x": np.zeros((2, 3, 4)), "context": np.zeros((2, 5, 4))} | changes
        sentence = re.escape(f"MultiHeadAttention(4, 2) expects {sentence}")
        with pytest.raises(InputError, match=f"^{sentence}"):
            MultiHeadAttention(4, 2)(**arrays)

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            (
                {"context": np.zeros((2, 5, 4), np.float32)},
                "context to be of x's dtype, float64, got float32",
            ),
            (
                {"padding_mask": np.zeros((2, 3), bool)},
                "padding_mask to be an array of bool of shape (2, 5), got (2, 3) of bool",
            ),
            (
                {"padding_mask": np.zeros((2, 5))},
                "padding_mask to be an array of bool of shape (2, 5), got (2, 5) of float64",
            ),
            (
                {"padding_mask": [[True]]},
                "padding_mask to be an array of bool of shape (2, 5), got () of list",
            ),
            (
                {"context": None, "padding_mask": np.zeros((2, 5), bool)},
                "padding_mask to be an array of bool of shape (2, 3), got (2, 5) of bool",
            ),
        ],
    )
    def test_what_does_not_fit(self, changes: dict[str, Any], sentence: str) -> None:
        arrays = {"x": np.zeros((2, 3, 4)), "context": np.zeros((2, 5, 4))} | changes
        with pytest.raises(InputError) as error:
            MultiHeadAttention(4, 2)(**arrays)
        assert str(error.value) == f"MultiHeadAttention(4, 2) expects {sentence}"

    def test_a_context_of_another_length_with_causal(self) -> None:
        layer = MultiHeadAttention(4, 2, causal=True)
        with pytest.raises(InputError) as error:
            layer(np.zeros((2, 3, 4)), np.zeros((2, 5, 4)))
        assert str(error.value) == (
            "MultiHeadAttention(4, 2, causal=True) expects a context of x's length, 3, got 5"
        )

    def test_what_is_refused_leaves_the_batch_before_as_it_was(self) -> None:
        layer, x, dy = attention(4, 2), draw(2, 3, 4), draw(2, 3, 4, seed=1)
        layer(x)
        wanted = layer.backward(dy)
        layer(x)
        with pytest.raises(InputError):
            layer.forward(2 * x, padding_mask=np.zeros(2, bool))
        assert (layer.backward(dy) == wanted).all()


def test_repr() -> None:
    assert repr(MultiHeadAttention(8, 2)) == "MultiHeadAttention(8, 2)"
    layer = MultiHeadAttention(8, 2, dropout=0.1, bias=False, causal=True)
    assert repr(layer) == "MultiHeadAttention(8, 2, dropout=0.1, bias=False, causal=True)"
