import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinynet import Array
from tinynet.gradcheck.numeric import EPSILON, Probe, rms, step_size


def test_rms_is_the_root_of_the_mean_square() -> None:
    assert rms(np.array([[3.0, 4.0], [0.0, 0.0]])) == 2.5


@pytest.mark.parametrize(
    ("tensor", "index", "scale"),
    [([3.0, -4.0, 0.0, 0.0], 1, 4), ([3.0, 4.0, 0.0, 0.0], 2, 2.5), ([0.0, 0.0], 0, 1)],
)
def test_a_step_is_as_large_as_the_entry_or_the_tensor(
    tensor: list[float], index: int, scale: float
) -> None:
    assert step_size(np.array(tensor), (index,)) == pytest.approx(EPSILON ** (1 / 3) * scale)


def probe(f: Callable[[Array], Any], x: list[float], dy: list[float], index: int = 0) -> Probe:
    tensor = np.array(x)

    def forward() -> Array:
        return np.asarray(f(tensor))

    return Probe(forward, forward(), np.array(dy), tensor, (index,))


def test_slopes_of_a_corner_differ_and_the_entry_is_put_back() -> None:
    corner = probe(lambda x: np.maximum(2 * x, -3 * x), [0.0, 5.0], [1.0, 0.5])
    measured = corner.slopes(1e-3)
    assert measured.left == pytest.approx(-3)
    assert measured.right == pytest.approx(2)
    assert measured.central == pytest.approx(-0.5)
    assert measured.gap == pytest.approx(5)
    assert corner.tensor.tolist() == [0, 5]


def test_noise_is_the_rounding_of_the_outputs_that_moved() -> None:
    line = probe(lambda x: 3 * x, [1.0, 1.0], [2.0, -1.0])
    assert line.slopes(0.5).noise / EPSILON == pytest.approx(6 / 0.5)


def test_a_sweep_halves_the_step_twice_each_time() -> None:
    sweep = probe(np.square, [1.0], [1.0]).sweep(EPSILON ** (1 / 3))
    assert len(sweep) == 11
    # The gap of x² is twice the step.
    assert sweep[0].gap == pytest.approx(2 * 16 * EPSILON ** (1 / 3), rel=1e-3)
    assert sweep[1].gap / sweep[0].gap == pytest.approx(1 / 4, rel=1e-3)
    assert sweep[1].noise / sweep[0].noise == pytest.approx(4)


def test_the_noise_of_a_sweep_is_that_of_all_outputs() -> None:
    first = probe(lambda x: 3 + 0 * x, [1.0, 1.0], [2.0, -1.0]).sweep(EPSILON ** (1 / 3))[0]
    step = 16 * EPSILON ** (1 / 3)
    assert first.noise / EPSILON == pytest.approx(math.hypot(6, 3) / step)


def test_the_entry_is_put_back_when_forward_fails() -> None:
    broken = probe(lambda x: x, [1.0], [1.0])

    def forward() -> Array:
        raise ZeroDivisionError

    broken.forward = forward
    with pytest.raises(ZeroDivisionError):
        broken.slopes(0.5)
    assert broken.tensor.tolist() == [1]
