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

# The variance as the papers have it, in the fans.
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
def test_mean_and_variance_are_those_of_the_paper(
    init: Initializer, fans: tuple[float, float]
) -> None:
    draws = init((400, 500), *fans, RNG(0))
    variance = VARIANCES[init](*fans)
    # The variance of n draws is off by √(2/n): 0.3 % here; five of those are allowed.
    assert draws.var() == pytest.approx(variance, rel=0.016)
    assert abs(draws.mean()) < 5 * np.sqrt(variance / draws.size)


@pytest.mark.parametrize("init", [he_uniform, glorot_uniform, lecun_uniform, recurrent_uniform])
def test_uniform_draws_fill_their_interval_and_no_more(init: Initializer) -> None:
    fans = (50, 7)
    draws, bound = init((400, 500), *fans, RNG(0)), math.sqrt(3 * VARIANCES[init](*fans))
    assert 0.999 * bound < abs(draws).max() <= bound
    # A fifth of them in every fifth.
    counts = np.histogram(draws, bins=5, range=(-bound, bound))[0]
    np.testing.assert_allclose(counts, draws.size / 5, rtol=0.02)


@pytest.mark.parametrize("init", [he_normal, glorot_normal, lecun_normal])
def test_normal_draws_have_normal_tails(init: Initializer) -> None:
    draws = init((400, 500), 50, 7, RNG(0))
    beyond_two = (abs(draws) > 2 * math.sqrt(VARIANCES[init](50, 7))).mean()
    assert beyond_two == pytest.approx(math.erfc(math.sqrt(2)), rel=0.05)


def test_he_normal_keeps_the_variance_through_twenty_relu_layers() -> None:
    rng = RNG(0)
    layers = [layer for _ in range(20) for layer in (Dense(256, 256, rng=rng), ReLU())]
    x = rng.standard_normal((256, 256)).astype(np.float32)
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


def test_orthogonal_matrices_turn_and_mirror_every_way() -> None:
    # Without the signs of R the first column of each would point to one side.
    draws = [orthogonal((2, 2), 2, 2, RNG(seed)) for seed in range(2000)]
    assert np.mean([q[0, 0] > 0 for q in draws]) == pytest.approx(0.5, abs=0.05)
    assert np.mean([np.linalg.det(q) > 0 for q in draws]) == pytest.approx(0.5, abs=0.05)
    assert np.mean([q[0, 0] ** 2 for q in draws]) == pytest.approx(0.5, abs=0.05)


def test_orthogonal_refuses_a_vector() -> None:
    with pytest.raises(InputError, match=r"^orthogonal expects a shape of at least two axes, got"):
        orthogonal((3,), 3, 1, RNG(0))


def test_zeros_and_constants_are_what_they_say() -> None:
    assert (zeros((3, 2), 5, 3, RNG(0)) == 0).all()
    assert (constant(-0.5)((3, 2), 5, 3, RNG(0)) == -0.5).all()
    with pytest.raises(InputError, match=r"^constant expects value to be a finite number, got nan"):
        constant(math.nan)


def test_the_seed_decides_the_draws() -> None:
    first, same, other = (Dense(5, 4, rng=seed).weight.value for seed in (1, 1, 2))
    assert (first == same).all()
    assert (first != other).any()
