import numpy as np
import pytest

from tinynet import Dense, ReLU, Sequential
from tinynet.initializers import he_normal, zeros


@pytest.mark.parametrize("fan_in", [1, 50, 784])
def test_he_normal_has_variance_two_over_fan_in(fan_in: int) -> None:
    draws = he_normal((400, 500), fan_in, np.random.default_rng(0))
    # The variance of n draws is off by √(2/n): 0.3 % here; five of those are allowed.
    assert draws.var() == pytest.approx(2 / fan_in, rel=0.016)
    assert abs(draws.mean()) < 5 * np.sqrt(2 / fan_in / draws.size)


def test_he_normal_keeps_the_variance_through_twenty_relu_layers() -> None:
    rng = np.random.default_rng(0)
    layers = [layer for _ in range(20) for layer in (Dense(256, 256, rng=rng), ReLU())]
    x = rng.standard_normal((256, 256)).astype(np.float32)
    # He's condition is on the mean square of the activations.
    assert 1 / 4 < np.square(Sequential(layers)(x)).mean() / (np.square(x).mean() / 2) < 4


def test_zeros_are_zero() -> None:
    assert (zeros((3, 2), 5, np.random.default_rng(0)) == 0).all()


def test_the_seed_decides_the_draws() -> None:
    first, same, other = (Dense(5, 4, rng=seed).weight.value for seed in (1, 1, 2))
    assert (first == same).all()
    assert (first != other).any()
