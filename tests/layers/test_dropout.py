import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Array, Dense, Dropout, InputError, Layer, Sequential
from tinynet.saving.state import generator_states, load_generators
from tinynet.testing import check_layer, floats, seeds, sizes

rates = st.floats(0, 0.9)
shapes = st.lists(sizes, max_size=4).map(tuple)


def mask_of(layer: Layer, shape: tuple[int, ...], dtype: Any = np.float64) -> Array:
    """Where the layer keeps its input."""
    return np.asarray(layer(np.ones(shape, dtype)) != 0)


@pytest.mark.gradients
def test_gradients_of_dropout_in_training() -> None:
    check_layer(Dropout, ("N", ...), rate=rates, rng=seeds, examples=0.24)


@pytest.mark.gradients
def test_gradients_of_dropout_in_evaluation() -> None:
    def in_evaluation(rate: float, rng: int) -> Layer:
        return Dropout(rate, rng=rng).eval()

    check_layer(in_evaluation, ("N", ...), rate=rates, rng=seeds, examples=0.12)


@given(st.data(), shapes, rates, seeds)
def test_dropout_in_training_divides_by_the_kept_share_and_draws_the_mask_entry_by_entry(
    data: st.DataObject, shape: tuple[int, ...], rate: float, seed: int
) -> None:
    x = data.draw(floats(shape))
    y = Dropout(rate, rng=seed)(x)
    # 0 where a float32 drawn from [0, 1), one for each entry, is below the rate.
    generator = np.random.default_rng(seed)
    assert y.shape == shape
    for got, value in zip(y.ravel().tolist(), x.ravel().tolist(), strict=True):
        kept = rate == 0 or float(generator.random(dtype=np.float32)) >= np.float32(rate)
        expected = float(Fraction(value) / (1 - Fraction(rate))) if kept else 0
        assert math.isclose(got, expected, rel_tol=4 * np.finfo(x.dtype).eps)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_the_share_given_by_the_rate(rate: float) -> None:
    n = 100_000
    dropped = n - int(mask_of(Dropout(rate, rng=3), (100, n // 100)).sum())
    # Six standard deviations of the binomial distribution.
    assert abs(dropped - n * rate) < 6 * math.sqrt(n * rate * (1 - rate))


def test_dropout_drops_entries_independently() -> None:
    mask = mask_of(Dropout(0.5, rng=0), (400, 400))
    for axis in (0, 1):
        shares = mask.mean(axis=axis)
        assert 0.3 < shares.min() < shares.max() < 0.7
        assert len(np.unique(mask, axis=axis).T) == 400


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean(rate: float) -> None:
    x = np.random.default_rng(0).uniform(1, 2, 100_000)
    y = Dropout(rate, rng=1)(x)
    deviation = math.sqrt(rate / (1 - rate) * math.fsum(x.tolist() * x))
    assert abs(math.fsum(y.tolist()) - math.fsum(x.tolist())) < 6 * deviation


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dropout_scales_the_kept_entries_exactly(dtype: Any) -> None:
    x = np.random.default_rng(0).standard_normal((50, 40)).astype(dtype)
    for rate, factor in ((0.5, 2), (0.75, 4)):
        layer = Dropout(rate, rng=0)
        y = layer(x)
        kept = y != 0
        assert (y[kept] == x[kept] * factor).all()
        dy = np.random.default_rng(1).standard_normal((50, 40)).astype(dtype)
        assert (layer.backward(dy) == np.where(kept, dy * factor, 0)).all()


def test_every_forward_of_dropout_draws_a_mask_and_backward_uses_the_last_one() -> None:
    layer = Dropout(0.5, rng=0)
    first, second = layer(np.ones(100)), layer(np.ones(100))
    assert (first != second).any()
    assert (layer.backward(np.ones(100)) == second).all()


def test_the_same_seed_draws_the_same_mask_and_another_seed_another_one() -> None:
    masks = [mask_of(Dropout(0.5, rng=seed), (10, 10)) for seed in (7, 7, 8)]
    assert (masks[0] == masks[1]).all()
    assert (masks[0] != masks[2]).any()


def test_dropout_layers_without_a_seed_draw_different_masks() -> None:
    assert (mask_of(Dropout(0.5), (10, 10)) != mask_of(Dropout(0.5), (10, 10))).any()


def test_dropout_draws_from_the_generator_that_it_is_given() -> None:
    rng = np.random.default_rng(7)
    layer = Dropout(0.5, rng=rng)
    assert layer.rng is rng
    assert (mask_of(layer, (10, 10)) == mask_of(Dropout(0.5, rng=7), (10, 10))).all()


def test_the_mask_of_dropout_does_not_depend_on_the_dtype() -> None:
    # An odd number of entries, twice: every dtype leaves the generator in the same state.
    layers = [Dropout(0.4, rng=0) for _ in range(3)]
    for _ in range(2):
        half, single, double = (
            mask_of(layer, (5, 7), dtype)
            for layer, dtype in zip(layers, (np.float16, np.float32, np.float64), strict=True)
        )
        assert (half == double).all()
        assert (single == double).all()


def test_dropout_passes_nan_on() -> None:
    assert np.isnan(Dropout(0.5, rng=0)(np.full(20, np.nan))).all()


@given(st.data(), shapes, rates)
def test_dropout_in_evaluation_is_the_identity_and_draws_nothing(
    data: st.DataObject, shape: tuple[int, ...], rate: float
) -> None:
    x = data.draw(floats(shape))
    layer = Dropout(rate, rng=0).eval()
    before = generator_states(layer.generators())
    y = layer(x)
    assert np.array_equal(y, x)
    assert y.dtype == x.dtype
    assert np.array_equal(layer.backward(x), x)
    assert generator_states(layer.generators()) == before


def test_predict_applies_no_dropout() -> None:
    model = Sequential([Dropout(0.9, rng=0), Dense(4, 2, rng=0), Dropout(0.9, rng=0)])
    x = np.random.default_rng(0).standard_normal((7, 4))
    before = generator_states(model.generators())
    assert np.array_equal(model.predict(x, batch_size=3), model.layers[1].predict(x, 3))
    assert generator_states(model.generators()) == before


def test_dropout_at_rate_zero_draws_nothing() -> None:
    layer = Dropout(0, rng=0)
    before = generator_states(layer.generators())
    x = np.arange(6.0)
    assert layer(x).tolist() == layer.backward(x).tolist() == x.tolist()
    assert generator_states(layer.generators()) == before


@pytest.mark.parametrize("training", [True, False])
def test_backward_of_dropout_uses_the_mode_of_its_forward(training: bool) -> None:
    layer = Dropout(0.5, rng=0).train(training)
    y = layer(np.ones(100))
    layer.train(not training)
    assert (layer.backward(np.ones(100)) == y).all()


def test_the_generators_of_dropout_layers_are_found_saved_and_restored() -> None:
    model = Sequential([Dropout(0.5, rng=0), Sequential([Dropout(0.2, rng=1)])])
    assert list(model.generators()) == ["layers.0.rng", "layers.1.layers.0.rng"]
    model(np.ones((3, 5)))
    state = generator_states(model.generators())
    expected = [model(np.ones((3, 5))) for _ in range(3)]
    other = Sequential([Dropout(0.5), Sequential([Dropout(0.2)])])
    load_generators(other.generators(), state)
    assert all((other(np.ones((3, 5))) == y).all() for y in expected)


def test_dropout_has_no_parameters_and_no_buffers() -> None:
    layer = Dropout(0.5)
    assert layer.parameters() == []
    assert layer.state_dict() == {}


@pytest.mark.parametrize("rate", [1, 1.5, -0.1, float("nan"), "0.5", None])
def test_dropout_refuses_a_rate_outside_zero_to_below_one(rate: Any) -> None:
    with pytest.raises(InputError) as error:
        Dropout(rate)
    expected = f"Dropout expects rate to be a finite number >= 0 and < 1, got {rate!r}"
    assert str(error.value) == expected


def test_dropout_refuses_integers_before_it_draws() -> None:
    layer = Dropout(0.5, rng=0)
    before = generator_states(layer.generators())
    with pytest.raises(InputError, match=r"^Dropout\(0\.5\) expects x of a float dtype, got uint8"):
        layer(np.zeros((2, 3), np.uint8))
    assert generator_states(layer.generators()) == before


def test_repr_of_dropout_has_the_rate_to_six_digits() -> None:
    assert repr(Dropout(0.5, rng=0)) == "Dropout(0.5)"
    assert repr(Dropout(1 / 3)) == "Dropout(0.333333)"
    assert repr(Dropout(0)) == "Dropout(0)"
