import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Array, Dense, InputError
from tinynet.initializers import zeros
from tinynet.testing import check_layer, floats, seeds, sizes


@pytest.mark.gradients
def test_dense_gradients_are_right() -> None:
    check_layer(Dense, (..., "in_features"), out_features=sizes, bias=st.booleans(), rng=seeds)


@given(st.data(), st.lists(sizes, min_size=1, max_size=4).map(tuple), sizes, st.booleans())
def test_each_output_of_dense_is_the_weighted_sum_of_the_inputs_plus_the_bias(
    data: st.DataObject, shape: tuple[int, ...], out_features: int, bias: bool
) -> None:
    x = data.draw(floats(shape, np.float64, bound=3))
    layer = Dense(shape[-1], out_features, bias=bias, rng=0, bias_init=_count).astype(np.float64)
    y = layer(x)
    assert y.shape == (*shape[:-1], out_features)
    weight = layer.weight.value.tolist()
    for index in np.ndindex(y.shape):
        *row, out = index
        terms = [float(x[(*row, i)]) * weight[i][out] for i in range(shape[-1])]
        assert math.isclose(y[index], math.fsum([*terms, (out + 1) * bias]), abs_tol=1e-12)


def _count(
    shape: tuple[int, ...], _fan_in: float, _fan_out: float, _rng: np.random.Generator
) -> Array:
    return np.arange(1.0, shape[0] + 1)


def test_dense_parameters_have_the_documented_names_shapes_and_initial_values() -> None:
    layer = Dense(3, 2, rng=0)
    assert layer.weight.value.shape == (3, 2)
    assert layer.bias is not None
    assert layer.bias.value.tolist() == [0, 0]
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    without = Dense(3, 2, bias=False)
    assert without.bias is None
    assert [name for name, _ in without.named_parameters()] == ["weight"]


def test_dense_passes_shape_fan_in_fan_out_and_generator_to_its_initializers() -> None:
    rng = np.random.default_rng(5)
    calls = []

    def recording_zeros(
        shape: tuple[int, ...], fan_in: float, fan_out: float, generator: np.random.Generator
    ) -> Array:
        calls.append((shape, (fan_in, fan_out), generator is rng))
        return zeros(shape, fan_in, fan_out, rng)

    Dense(3, 2, rng=rng, weight_init=recording_zeros, bias_init=recording_zeros)
    assert calls == [((3, 2), (3, 2), True), ((2,), (3, 2), True)]


def test_dense_rejects_an_initializer_that_returns_another_shape() -> None:
    def transposed(
        shape: tuple[int, ...], fan_in: float, fan_out: float, rng: np.random.Generator
    ) -> Array:
        return (
            zeros((2, 3), fan_in, fan_out, rng)
            if len(shape) == 2
            else zeros((5, 2), fan_in, fan_out, rng)
        )

    sentence = r"^Dense\(3, 2\) expects an initializer to give the shape \(3, 2\), got \(2, 3\)$"
    with pytest.raises(InputError, match=sentence):
        Dense(3, 2, weight_init=transposed)
    with pytest.raises(InputError, match=r"the shape \(2,\), got \(5, 2\)$"):
        Dense(3, 2, bias_init=transposed)


def test_dense_bias_gradient_of_60000_float32_rows_is_that_of_float64() -> None:
    dy = np.random.default_rng(0).uniform(0, 1, (60_000, 3)).astype(np.float32)
    layer = Dense(1, 3)
    layer(np.zeros((60_000, 1), np.float32))
    layer.backward(dy)
    assert layer.bias is not None
    assert layer.bias.grad is not None
    exact = [math.fsum(column) for column in dy.T.tolist()]
    np.testing.assert_allclose(layer.bias.grad.astype(np.float64), exact, rtol=1e-7)


@pytest.mark.parametrize(
    ("invalid_sizes", "name"), [((0, 2), "in"), ((2, -1), "out"), ((2.5, 1), "in")]
)
def test_dense_rejects_sizes_below_1(invalid_sizes: Any, name: str) -> None:
    with pytest.raises(InputError, match=rf"^Dense expects {name}_features to be a whole number"):
        Dense(*invalid_sizes)


def test_dense_rejects_an_x_of_another_width_or_of_integers() -> None:
    layer = Dense(784, 128)
    with pytest.raises(InputError) as error:
        layer(np.zeros((32, 100)))
    assert str(error.value) == (
        "Dense(784, 128) expects x of shape (..., 784), got (32, 100); in_features=100 would fit it"
    )
    with pytest.raises(
        InputError, match=r"expects x of a float dtype, got uint8; Rescale\(1 / 255\)"
    ):
        layer(np.zeros((32, 784), np.uint8))


def test_repr_of_dense_is_its_constructor_call() -> None:
    assert repr(Dense(3, 2)) == "Dense(3, 2)"
    assert repr(Dense(3, 2, bias=False)) == "Dense(3, 2, bias=False)"
