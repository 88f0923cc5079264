import math
from collections.abc import Callable

import numpy as np
import pytest

from tinynet import Dense, InputError, ReLU, Sequential
from tinynet.initializers import (
    Initializer,
    constant,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
    normal,
    orthogonal,
    recurrent_uniform,
    zeros,
)

RNG = np.random.default_rng

# The variance by fan_in and fan_out, as in the papers.
VARIANCES: dict[Initializer, Callable[[float, float], float]] = {
    he_normal: lambda fan_in, _: 2 / fan_in,
    he_uniform: lambda fan_in, _: 2 / fan_in,
    glorot_normal: lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    glorot_uniform: lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    lecun_normal: lambda fan_in, _: 1 / fan_in,
    lecun_uniform: lambda fan_in, _: 1 / fan_in,
    recurrent_uniform: lambda _, fan_out: 1 / (3 * fan_out),
    normal(0.02): lambda *_: 0.02**2,
    normal(1): lambda *_: 1.0,
}


@pytest.mark.parametrize("init", VARIANCES, ids=lambda init: init.__name__)
@pytest.mark.parametrize("fans", [(1, 1), (50, 7), (784, 128)])
def test_initializer_draws_have_mean_0_and_the_variance_of_the_paper(
    init: Initializer, fans: tuple[float, float]
) -> None:
    draws = init((400, 500), *fans, RNG(0))
    variance = VARIANCES[init](*fans)
    # The variance of n draws is off by √(2/n): 0.3 % here; five of those are allowed.
    assert draws.var() == pytest.approx(variance, rel=0.016)
    assert abs(draws.mean()) < 5 * np.sqrt(variance / draws.size)


@pytest.mark.parametrize("init", [he_uniform, glorot_uniform, lecun_uniform, recurrent_uniform])
def test_uniform_initializers_fill_the_interval_of_their_variance_evenly(init: Initializer) -> None:
    fans = (50, 7)
    draws, bound = init((400, 500), *fans, RNG(0)), math.sqrt(3 * VARIANCES[init](*fans))
    assert 0.999 * bound < abs(draws).max() <= bound
    # Each fifth of the interval has a fifth of the draws.
    counts = np.histogram(draws, bins=5, range=(-bound, bound))[0]
    np.testing.assert_allclose(counts, draws.size / 5, rtol=0.02)


@pytest.mark.parametrize("init", [he_normal, glorot_normal, lecun_normal])
def test_normal_initializers_have_the_tails_of_a_normal_distribution(init: Initializer) -> None:
    draws = init((400, 500), 50, 7, RNG(0))
    beyond_two = (abs(draws) > 2 * math.sqrt(VARIANCES[init](50, 7))).mean()
    assert beyond_two == pytest.approx(math.erfc(math.sqrt(2)), rel=0.05)


def test_he_normal_keeps_the_variance_through_twenty_relu_layers() -> None:
    rng = RNG(0)
    layers = [layer for _ in range(20) for layer in (Dense(128, 128, rng=rng), ReLU())]
    x = rng.standard_normal((128, 128)).astype(np.float32)
    variances = [np.var(y) for _, layer, y in Sequential(layers).walk(x) if type(layer) is ReLU]
    assert len(variances) == 20
    assert max(variances) / min(variances) < 4


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (2, 3, 2, 2), (1, 1)])
def test_orthogonal_rows_or_columns_are_unit_vectors_at_right_angles(
    shape: tuple[int, ...],
) -> None:
    matrix = orthogonal(shape, 1, 1, RNG(0))
    assert matrix.shape == shape
    rows = matrix.reshape(shape[0], -1)
    rows = rows if rows.shape[0] <= rows.shape[1] else rows.T
    np.testing.assert_allclose(rows @ rows.T, np.eye(len(rows)), atol=1e-12)


def test_orthogonal_matrices_are_uniformly_distributed() -> None:
    # Without the signs of R the first column of each would point to one side.
    draws = [orthogonal((2, 2), 2, 2, RNG(seed)) for seed in range(800)]
    assert np.mean([q[0, 0] > 0 for q in draws]) == pytest.approx(0.5, abs=0.05)
    assert np.mean([np.linalg.det(q) > 0 for q in draws]) == pytest.approx(0.5, abs=0.05)
    assert np.mean([q[0, 0] ** 2 for q in draws]) == pytest.approx(0.5, abs=0.05)


def test_orthogonal_refuses_a_vector() -> None:
    with pytest.raises(InputError, match=r"^orthogonal expects a shape of at least two axes, got"):
        orthogonal((3,), 3, 1, RNG(0))


def test_zeros_and_constant_fill_the_shape_with_their_value() -> None:
    assert (zeros((3, 2), 5, 3, RNG(0)) == 0).all()
    assert (constant(-0.5)((3, 2), 5, 3, RNG(0)) == -0.5).all()
    with pytest.raises(InputError, match=r"^constant expects value to be a finite number, got nan"):
        constant(math.nan)


def test_initial_values_are_determined_by_the_seed() -> None:
    first, same, other = (Dense(5, 4, rng=seed).weight.value for seed in (1, 1, 2))
    assert (first == same).all()
    assert (first != other).any()


def test_normal_refuses_a_negative_or_infinite_standard_deviation() -> None:
    for std in (-1, math.inf):
        with pytest.raises(
            InputError, match=r"^normal expects std to be a finite number >= 0, got"
        ):
            normal(std)


def test_initializers_that_take_a_number_show_it_in_their_name() -> None:
    names = [init.__name__ for init in (normal(0.02), constant(1))]
    assert names == ["normal(0.02)", "constant(1)"]
