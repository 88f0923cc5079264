from typing import Any

import numpy as np
import pytest

from tinynet import Array, Dense, Dropout, Flatten, Layer, ReLU, Rescale, Sequential, Sigmoid, Tanh
from tinynet.health import Finding
from tinynet.health.activations import stuck_units
from tinynet.health.observation import forward_calls

RNG = np.random.default_rng(0)
NORMAL = RNG.standard_normal((256, 20)).astype(np.float32)


class Slopes(Layer):
    """x times a slope of its own on each side of 0: 0.01 and 1 make a leaky ReLU."""

    def __init__(self, left: float, right: float, at_zero: float | None = None) -> None:
        self.left, self.right = left, right
        self.at_zero = right if at_zero is None else at_zero

    def forward(self, x: Array) -> Array:
        slope = np.where(x > 0, self.right, np.where(x < 0, self.left, self.at_zero))
        y: Array = x * slope.astype(x.dtype)
        self.save_for_backward(y, slope)
        return y

    def backward(self, dy: Array) -> Array:
        dy, slope = self.saved_for_backward(dy)
        dx: Array = dy * slope
        return dx


class Softmax(Layer):
    """A layer that mixes the entries of a row: for a dy of ones dx is 0."""

    def forward(self, x: Array) -> Array:
        e = np.exp(x - x.max(axis=1, keepdims=True))
        y: Array = e / e.sum(axis=1, keepdims=True)
        self.save_for_backward(y, y)
        return y

    def backward(self, dy: Array) -> Array:
        dy, y = self.saved_for_backward(dy)
        dx: Array = y * (dy - (dy * y).sum(axis=1, keepdims=True))
        return dx


def found(layer: Layer, x: Array) -> list[Finding]:
    return stuck_units(forward_calls(layer, x))


def shifted(units: int, by: float) -> Array:
    """Normal numbers, the first so many units moved by far."""
    return NORMAL + by * (np.arange(20) < units).astype(np.float32)


@pytest.mark.parametrize(
    "layer",
    [
        ReLU(),
        Sigmoid(),
        Tanh(),
        Slopes(0.01, 1),
        Slopes(0.001, 1),
        Slopes(0, 1, at_zero=1),
        Slopes(-1, 1),
        Softmax(),
        Dropout(0.9, rng=0),
        Rescale(1 / 255),
        Rescale(0.0001, -3),
        Flatten(),
        Dense(20, 5, rng=0),
        Sequential([Dense(20, 50, rng=0), ReLU(), Dropout(0.5, rng=0), Dense(50, 3, rng=1)]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("x", [NORMAL, NORMAL - 1, 0.01 * NORMAL, 3 * NORMAL.astype(np.float64)])
def test_healthy_layers_have_no_stuck_units(layer: Layer, x: Array) -> None:
    factor = 0.3 if isinstance(layer, Tanh) else 1  # flat from 3.3 on
    assert found(layer, (factor * x).astype(x.dtype)) == []


@pytest.mark.parametrize("layer", [Slopes(0.01, 1), Slopes(0.001, 1), Rescale(2)])
def test_what_passes_a_little_everywhere_is_never_stuck(layer: Layer) -> None:
    assert found(layer, NORMAL - 100) == []


class TestDeadUnits:
    def test_are_those_that_pass_nothing_for_any_sample(self) -> None:
        (finding,) = found(Sequential([ReLU()]), shifted(11, by=-20))
        assert finding.name == "dead units"
        assert finding.evidence == (
            "11 of the 20 units of layers.0, ReLU() pass no gradient on for any of 256 samples: "
            "they stand on their flat side."
        )
        assert "bias" in finding.advice

    def test_half_of_the_units_may_be_dead(self) -> None:
        assert found(ReLU(), shifted(10, by=-20)) == []

    def test_one_sample_is_enough_to_live(self) -> None:
        x = np.full((256, 20), -1, np.float32)
        assert len(found(ReLU(), x)) == 1
        x[7] = 1
        assert found(ReLU(), x) == []

    def test_say_nothing_of_few_samples(self) -> None:
        x = np.full((32, 20), -1, np.float32)
        assert len(found(ReLU(), x)) == 1
        assert found(ReLU(), x[:31]) == []

    @pytest.mark.parametrize("at_zero", [0.0, 0.5, 1.0])
    def test_whatever_the_slope_at_zero_is(self, at_zero: float) -> None:
        (finding,) = found(Slopes(0, 1, at_zero), shifted(11, by=-20))
        assert finding.name == "dead units"

    def test_a_layer_may_be_flat_on_its_right_side(self) -> None:
        (finding,) = found(Slopes(1, 0), shifted(11, by=20))
        assert finding.name == "dead units"

    @pytest.mark.parametrize("form", [(256, 8, 5, 5), (256, 8, 5)])
    def test_a_unit_of_images_is_a_channel(self, form: tuple[int, ...]) -> None:
        x = RNG.standard_normal(form).astype(np.float32)
        x[:, :, :3] -= 20  # most places are silent in each channel
        assert found(ReLU(), x) == []
        x[:, :5] -= 20
        (finding,) = found(ReLU(), x)
        assert finding.evidence.startswith("5 of the 8 units of ReLU() pass")

    def test_an_x_of_one_number_per_sample_is_one_unit(self) -> None:
        assert found(ReLU(), NORMAL[:, 0]) == []
        (finding,) = found(ReLU(), NORMAL[:, 0] - 20)
        assert finding.evidence.startswith("1 of the 1 units")


class TestSaturatedUnits:
    @pytest.mark.parametrize(("layer", "bound"), [(Sigmoid(), 6.7), (Tanh(), 3.4)])
    @pytest.mark.parametrize("sign", [-1, 1])
    def test_stand_where_the_slope_is_almost_0(self, layer: Layer, bound: float, sign: int) -> None:
        x = np.full((256, 20), sign * bound, np.float32)
        (finding,) = found(Sequential([layer]), x)
        assert finding.name == "saturated units"
        assert finding.evidence == (
            f"100% of the outputs of layers.0, {layer!r} stand where its slope is almost 0; "
            f"its inputs are {bound:.3g} in root mean square."
        )
        assert "smaller weights" in finding.advice
        assert found(layer, 0.9 * x) == []

    def test_are_told_for_more_than_three_fifths_of_the_entries(self) -> None:
        x = np.zeros((100, 20), np.float32)
        x[:60] = 50
        assert found(Sigmoid(), x) == []
        x[60] = -50
        (finding,) = found(Sigmoid(), x)
        assert finding.evidence.startswith("61% of the outputs of Sigmoid()")

    def test_slopes_of_exactly_0_far_out_do_not_make_them_dead(self) -> None:
        (finding,) = found(Sigmoid(), np.full((256, 20), 1000, np.float32))
        assert finding.name == "saturated units"


@pytest.mark.parametrize(
    "x", [np.zeros((256, 20), np.uint8), np.full((256, 4, 5), -9, np.float32)], ids=["bytes", "3d"]
)
def test_layers_of_integers_and_of_other_shapes_are_left_alone(x: Array) -> None:
    assert found(Flatten(), x) == []
    assert found(Rescale(0.0), x.astype(np.uint8)) == []


def test_each_layer_is_judged() -> None:
    model = Sequential([Rescale(1, -20), ReLU(), Rescale(1, 20), Tanh()])
    assert [f.name for f in found(model, NORMAL)] == ["dead units", "saturated units"]


def test_looking_changes_neither_mode_nor_stream() -> None:
    layer: Any = Dropout(0.5, rng=0)
    model, before = Sequential([layer]), layer.rng.bit_generator.state
    assert found(model, NORMAL) == []
    assert layer.training
    assert layer.rng.bit_generator.state == before
