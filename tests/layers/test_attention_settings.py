import math
import re
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from attention_reference import attention, draw, gradients

from tinynet import Array, InputError, MultiHeadAttention
from tinynet.initializers import zeros
from tinynet.saving.state import generator_states


def test_attention_in_evaluation_or_without_dropout_draws_nothing() -> None:
    x = draw(2, 3, 4)
    expected = attention(4, 2)(x)
    for layer in (attention(4, 2, dropout=0.5).eval(), attention(4, 2)):
        before = generator_states(layer.generators())
        assert (layer(x) == expected).all()
        assert generator_states(layer.generators()) == before


def test_every_forward_of_attention_draws_its_dropout_mask() -> None:
    layer, x = attention(4, 2, dropout=0.5), draw(2, 3, 4)
    assert (layer(x) != layer(x)).any()


def test_attention_draws_from_the_generator_that_it_is_given() -> None:
    rng = np.random.default_rng(7)
    layer = MultiHeadAttention(4, 2, dropout=0.5, rng=rng)
    assert layer.rng is rng
    same = MultiHeadAttention(4, 2, dropout=0.5, rng=7)
    assert (layer(draw(2, 3, 4)) == same(draw(2, 3, 4))).all()


def test_the_dropout_mask_of_attention_does_not_depend_on_the_dtype() -> None:
    single, double = (
        attention(4, 2, dropout=0.5)(draw(2, 3, 4).astype(dtype))
        for dtype in (np.float32, np.float64)
    )
    np.testing.assert_allclose(single, double, 1e-4, 1e-5)


def test_backward_of_attention_uses_the_mode_of_its_forward() -> None:
    x, dy = draw(2, 3, 4), draw(2, 3, 4, seed=1)
    for training in (True, False):
        layer, other = (attention(4, 2, dropout=0.5).train(training) for _ in range(2))
        layer(x)
        other(x)
        other.train(not training)
        assert (layer.backward(dy) == other.backward(dy)).all()


def test_attention_weights_are_a_copy() -> None:
    layer, x, dy = attention(4, 2), draw(2, 3, 4), draw(2, 3, 4, seed=1)
    layer(x)
    expected = layer.backward(dy)
    layer(x)
    layer.attention_weights[...] = np.nan
    assert (layer.backward(dy) == expected).all()


def test_attention_weights_without_a_forward_are_an_error() -> None:
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


def test_attention_weights_are_no_part_of_the_state_dict() -> None:
    layer = MultiHeadAttention(4, 2)
    layer(draw(2, 3, 4))
    names = ["in_proj_weight", "in_proj_bias", "out_proj_weight", "out_proj_bias"]
    assert list(layer.state_dict()) == names


def test_attention_after_other_batches_gives_the_same_as_a_new_layer() -> None:
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


def test_cross_attention_writes_to_no_given_array_and_shares_no_returned_one() -> None:
    layer, given_arrays = attention(4, 2), [draw(2, 3, 4), draw(2, 5, 4), draw(2, 3, 4)]
    x, context, dy = given_arrays
    before = [array.copy() for array in given_arrays]
    y = layer(x, context)
    dx, dcontext = layer.backward(dy)
    results = [y, dx, dcontext, *gradients(layer)]
    expected = [result.copy() for result in results]
    layer(x, context)[...] = np.nan
    again = [*layer.backward(dy), *gradients(layer)]
    for result, value in zip(results, expected, strict=True):
        assert (result == value).all()
        for array in (*given_arrays, *(layer._scratch_memory or {}).values()):
            assert not np.shares_memory(result, array)
    for result, value in zip(again, expected[1:], strict=True):
        assert (result == value).all()
    for array, value in zip(given_arrays, before, strict=True):
        assert (array == value).all()


def test_parameters_of_attention_have_the_documented_shapes_and_initial_values() -> None:
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


def test_attention_without_a_bias_has_two_parameters() -> None:
    layer = MultiHeadAttention(6, 2, bias=False)
    assert layer.in_proj_bias is None
    assert layer.out_proj_bias is None
    names = [name for name, _ in layer.named_parameters()]
    assert names == ["in_proj_weight", "out_proj_weight"]


def test_initializers_of_attention_are_given_shape_fans_and_generator() -> None:
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


def test_bias_gradients_of_attention_over_many_rows_are_those_of_float64() -> None:
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


def test_attention_refuses_sizes_and_rates_out_of_range() -> None:
    wrong: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        ((0, 1), {}, "embed_dim to be a whole number >= 1, got 0"),
        ((4, 0), {}, "num_heads to be a whole number >= 1, got 0"),
        ((6, 4), {}, "num_heads to divide embed_dim = 6, got 4"),
        ((4, 2), {"dropout": 1}, "dropout to be a finite number >= 0 and < 1, got 1"),
    ]
    for sizes_given, settings, sentence in wrong:
        with pytest.raises(InputError, match=f"^MultiHeadAttention expects {sentence}$"):
            MultiHeadAttention(*sizes_given, **settings)


def test_attention_refuses_an_initializer_that_gives_another_shape() -> None:
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
def test_attention_refuses_x_and_context_of_another_shape(
    changes: dict[str, Any], sentence: str
) -> None:
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
def test_attention_refuses_a_context_or_padding_mask_that_does_not_fit_x(
    changes: dict[str, Any], sentence: str
) -> None:
    arrays = {"x": np.zeros((2, 3, 4)), "context": np.zeros((2, 5, 4))} | changes
    with pytest.raises(InputError) as error:
        MultiHeadAttention(4, 2)(**arrays)
    assert str(error.value) == f"MultiHeadAttention(4, 2) expects {sentence}"


def test_causal_attention_refuses_a_context_of_another_length() -> None:
    layer = MultiHeadAttention(4, 2, causal=True)
    with pytest.raises(InputError) as error:
        layer(np.zeros((2, 3, 4)), np.zeros((2, 5, 4)))
    assert str(error.value) == (
        "MultiHeadAttention(4, 2, causal=True) expects a context of x's length, 3, got 5"
    )


def test_a_refused_input_leaves_the_pending_backward_of_attention_as_it_was() -> None:
    layer, x, dy = attention(4, 2), draw(2, 3, 4), draw(2, 3, 4, seed=1)
    layer(x)
    expected = layer.backward(dy)
    layer(x)
    with pytest.raises(InputError):
        layer.forward(2 * x, padding_mask=np.zeros(2, bool))
    assert (layer.backward(dy) == expected).all()


def test_repr_of_attention_is_its_constructor_call() -> None:
    assert repr(MultiHeadAttention(8, 2)) == "MultiHeadAttention(8, 2)"
    layer = MultiHeadAttention(8, 2, dropout=0.1, bias=False, causal=True)
    assert repr(layer) == "MultiHeadAttention(8, 2, dropout=0.1, bias=False, causal=True)"
