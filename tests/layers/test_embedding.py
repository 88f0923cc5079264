import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinynet import Array, Dense, Embedding, InputError, PositionalEmbedding, ReLU, Sequential
from tinynet.gradcheck import check_gradients
from tinynet.gradcheck.inputs import memory_layouts
from tinynet.initializers import constant, zeros
from tinynet.testing import check_layer, floats, seeds, sizes

V = 4
paddings = st.none() | st.integers(0, V - 1)


@st.composite
def ids(draw: st.DrawFn, shape: Any) -> Array:
    """Ids below V, of any integer dtype, in any layout in memory."""
    if not isinstance(shape, tuple):
        shape = draw(shape)
    kind = draw(st.sampled_from([np.int64, np.int32, np.uint8, np.uint64]))
    x = draw(hnp.arrays(kind, shape, elements=st.integers(0, V - 1)))
    return draw(st.sampled_from([x, *memory_layouts(x).values()]))


@pytest.mark.gradients
def test_gradients_of_embedding() -> None:
    check_layer(
        Embedding,
        ("N", ...),
        x=ids,
        num_embeddings=V,
        embedding_dim=sizes,
        padding_idx=paddings,
        rng=seeds,
        examples=0.24,
    )


@given(ids(st.lists(sizes, min_size=1, max_size=3).map(tuple)), sizes, paddings)
def test_embedding_takes_rows_and_sums_gradients_by_id(
    x: Array, size: int, padding: int | None
) -> None:
    layer = Embedding(V, size, padding_idx=padding, rng=0).astype(np.float64)
    layer.weight.value += 1  # so that the row of the padding is not 0
    weight = layer.weight.value.tolist()
    y = layer(x)
    assert y.shape == (*x.shape, size)
    dy = np.sin(np.arange(1.0, y.size + 1)).reshape(y.shape)
    backward: Any = layer.backward
    assert backward(dy) is None
    terms: dict[tuple[int, int], list[float]] = {}
    for index in np.ndindex(x.shape):
        one = int(x[index])
        for d in range(size):
            assert y[(*index, d)] == (0 if one == padding else weight[one][d])
            terms.setdefault((one, d), []).append(float(dy[(*index, d)]))
    assert layer.weight.grad is not None
    for one, d in np.ndindex(V, size):
        expected = 0 if one == padding else math.fsum(terms.get((one, d), [0]))
        assert math.isclose(layer.weight.grad[one, d], expected, abs_tol=1e-14)


def test_the_gradient_of_a_frequent_id_keeps_its_digits() -> None:
    dy = np.random.default_rng(0).uniform(0, 1, (60_000, 2)).astype(np.float32)
    layer = Embedding(3, 2)
    layer(np.ones(60_000, int))
    layer.backward(dy)
    assert layer.weight.grad is not None
    exact = [math.fsum(column) for column in dy.T.tolist()]
    np.testing.assert_allclose(layer.weight.grad[1].astype(float), exact, rtol=1e-7)


def test_the_weight_of_embedding_has_the_documented_shape_and_initial_values() -> None:
    layer = Embedding(300, 50, padding_idx=2, rng=0)
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    assert layer.weight.value.shape == (300, 50)
    assert layer.weight.value[2].tolist() == [0] * 50
    assert abs(layer.weight.value.std() - 1) < 0.02
    assert Embedding(2, 2, padding_idx=1, weight_init=constant(3)).weight.value.tolist() == [
        [3, 3],
        [0, 0],
    ]


def test_the_initializer_of_an_embedding_is_given_shape_fans_and_generator() -> None:
    rng, calls = np.random.default_rng(5), []

    def spy(
        shape: tuple[int, ...], fan_in: float, fan_out: float, given_rng: np.random.Generator
    ) -> Array:
        calls.append((shape, (fan_in, fan_out), given_rng is rng))
        return zeros(shape, fan_in, fan_out, rng)

    Embedding(3, 2, rng=rng, weight_init=spy)
    PositionalEmbedding(4, 2, rng=rng, weight_init=spy)
    assert calls == [((3, 2), (1, 2), True), ((4, 2), (1, 2), True)]


def test_embedding_takes_an_empty_batch() -> None:
    layer = Embedding(3, 2, padding_idx=0)
    assert layer(np.zeros((0, 4), int)).shape == (0, 4, 2)
    layer.backward(np.zeros((0, 4, 2)))
    assert layer.weight.grad is not None
    assert not layer.weight.grad.any()


def test_a_network_may_begin_with_an_embedding() -> None:
    model = Sequential([Embedding(5, 3, padding_idx=0, rng=0), ReLU(), Dense(3, 2, rng=1)])
    x = np.array([[1, 4, 0], [2, 2, 0]])
    assert model(x).shape == (2, 3, 2)
    assert model.backward(np.ones((2, 3, 2))) is None
    assert "layers.0.weight" in check_gradients(model, x)


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (np.array([[1, 2], [3, 4]]), r"ids from 0 to 3, got 4 at index \(1, 1\)$"),
        (np.array([0, -1, 9]), r"ids from 0 to 3, got -1 at index \(1,\)$"),
        (np.array([0.0, 1.0]), r"x of an integer dtype, got float64$"),
        (np.array([True]), r"x of an integer dtype, got bool$"),
        (
            np.zeros((2, 3, 4)),
            r"x of an integer dtype, got float64; x\.argmax\(axis=-1\) makes ids of one-hot ",
        ),
        (np.array(2), r"x of shape \(N, \.\.\.\), got \(\)"),
        ([1, 2], r"x to be a NumPy array, got list; np\.asarray\(x\) makes one$"),
    ],
)
def test_embedding_refuses_an_x_that_is_not_of_ids(x: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=rf"^Embedding\(4, 2\) expects {sentence}"):
        Embedding(4, 2)(x)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((0, 2), r"num_embeddings to be a whole number >= 1, got 0$"),
        ((3, 0), r"embedding_dim to be a whole number >= 1, got 0$"),
        ((3, 2, 3), r"padding_idx to be an id from 0 to 2, got 3$"),
        ((3, 2, -1), r"padding_idx to be a whole number >= 0, got -1$"),
    ],
)
def test_embedding_refuses_sizes_and_a_padding_id_out_of_range(
    arguments: Any, sentence: str
) -> None:
    num_embeddings, embedding_dim, *padding = arguments
    with pytest.raises(InputError, match=rf"^Embedding expects {sentence}"):
        Embedding(num_embeddings, embedding_dim, padding_idx=padding[0] if padding else None)


def test_embedding_refuses_an_initializer_that_gives_another_shape() -> None:
    sentence = r"^Embedding\(3, 2\) expects an initializer to give the shape \(3, 2\), got \(1,\)$"
    with pytest.raises(InputError, match=sentence):
        Embedding(3, 2, weight_init=lambda *_: np.zeros(1))


def test_embedding_is_marked_as_taking_integers() -> None:
    assert Embedding.takes_integers


def test_repr_of_embedding_is_its_constructor_call() -> None:
    assert repr(Embedding(3, 2)) == "Embedding(3, 2)"
    assert repr(Embedding(3, 2, padding_idx=0)) == "Embedding(3, 2, padding_idx=0)"


@pytest.mark.gradients
def test_gradients_of_positional_embedding() -> None:
    check_layer(
        PositionalEmbedding,
        ("N", "T", "embedding_dim"),
        max_length=st.integers(4, 5),
        kind=st.sampled_from(["learned", "sinusoidal"]),
        rng=seeds,
        examples=0.24,
    )


@given(st.data(), sizes, sizes, sizes)
def test_a_learned_positional_embedding_adds_a_row_of_the_weight_to_each_step(
    data: st.DataObject, n: int, steps: int, size: int
) -> None:
    x = data.draw(floats((n, steps, size), np.float64, bound=3))
    layer = PositionalEmbedding(5, size, rng=0).astype(np.float64)
    assert layer.weight is not None
    y = layer(x)
    dx = layer.backward(x)
    assert layer.weight.grad is not None
    assert y.shape == x.shape
    assert np.array_equal(dx, x)
    for index in np.ndindex(y.shape):
        assert y[index] == x[index] + layer.weight.value[index[1:]]
    for t, d in np.ndindex(5, size):
        terms = [float(x[i, t, d]) for i in range(n)] if t < steps else [0.0]
        assert math.isclose(layer.weight.grad[t, d], math.fsum(terms), abs_tol=1e-14)


@given(sizes, st.integers(1, 7), st.integers(1, 7))
def test_a_sinusoidal_positional_embedding_adds_sines_and_cosines(
    n: int, steps: int, size: int
) -> None:
    layer = PositionalEmbedding(7, size, kind="sinusoidal")
    y = layer(np.zeros((n, steps, size)))
    for i, t, d in np.ndindex(n, steps, size):
        wave = math.cos if d % 2 else math.sin
        angle = t / math.pow(10_000, (d - d % 2) / size)
        assert math.isclose(y[i, t, d], wave(angle), abs_tol=1e-14)


def test_a_sinusoidal_positional_embedding_loses_no_digits_by_a_change_of_dtype() -> None:
    layer = PositionalEmbedding(7, 3, kind="sinusoidal")
    x = np.zeros((1, 7, 3))
    there_and_back = layer.astype(np.float32).astype(np.float64)
    assert np.array_equal(layer(x), there_and_back(x))


def test_the_gradient_of_a_position_over_many_samples_keeps_its_digits() -> None:
    dy = np.random.default_rng(0).uniform(0, 1, (60_000, 1, 2)).astype(np.float32)
    layer = PositionalEmbedding(1, 2)
    layer(np.zeros_like(dy))
    layer.backward(dy)
    assert layer.weight is not None
    assert layer.weight.grad is not None
    exact = [math.fsum(column) for column in dy[:, 0].T.tolist()]
    np.testing.assert_allclose(layer.weight.grad[0].astype(float), exact, rtol=1e-7)


def test_the_weight_of_positional_embedding_has_the_documented_shape_and_initial_values() -> None:
    layer = PositionalEmbedding(300, 50, rng=0)
    assert layer.weight is not None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    assert layer.weight.value.shape == (300, 50)
    assert abs(layer.weight.value.std() - 0.02) < 0.0005
    waves = PositionalEmbedding(300, 50, kind="sinusoidal")
    assert waves.weight is None
    assert waves.parameters() == []


def test_positional_embedding_takes_an_empty_batch() -> None:
    layer = PositionalEmbedding(3, 2)
    assert layer(np.zeros((0, 3, 2))).shape == (0, 3, 2)
    assert layer.backward(np.zeros((0, 3, 2))).shape == (0, 3, 2)


def test_positional_embedding_refuses_sequences_that_are_too_long_or_of_another_width() -> None:
    layer = PositionalEmbedding(3, 2)
    with pytest.raises(
        InputError,
        match=r"^PositionalEmbedding\(3, 2\) expects x of at most 3 steps, got 4$",
    ):
        layer(np.zeros((1, 4, 2)))
    with pytest.raises(InputError, match=r"expects x of shape \(N, T, 2\), got \(1, 3, 5\)"):
        layer(np.zeros((1, 3, 5)))


@pytest.mark.parametrize(("arguments", "name"), [((0, 2), "max_length"), ((3, 0), "embedding")])
def test_positional_embedding_refuses_sizes_below_one(arguments: Any, name: str) -> None:
    with pytest.raises(InputError, match=rf"^PositionalEmbedding expects {name}\w* to be a wh"):
        PositionalEmbedding(*arguments)


def test_positional_embedding_refuses_another_kind_or_an_initializer_that_gives_another_shape() -> (
    None
):
    with pytest.raises(
        InputError,
        match=r"^PositionalEmbedding expects kind to be 'learned' or 'sinusoidal', got 'sine'$",
    ):
        PositionalEmbedding(3, 2, kind="sine")
    with pytest.raises(InputError, match=r"^PositionalEmbedding\(3, 2\) expects an initializer"):
        PositionalEmbedding(3, 2, weight_init=lambda *_: np.zeros(1))


def test_repr_of_positional_embedding_is_its_constructor_call() -> None:
    assert repr(PositionalEmbedding(3, 2)) == "PositionalEmbedding(3, 2)"
    waves = PositionalEmbedding(3, 2, kind="sinusoidal")
    assert repr(waves) == "PositionalEmbedding(3, 2, kind='sinusoidal')"
