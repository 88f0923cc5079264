from typing import Any

import numpy as np
import pytest

from tinynet import (
    Array,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Parameter,
    ReLU,
    Rescale,
    Sequential,
    Sigmoid,
    Tanh,
)
from tinynet.health import Finding
from tinynet.health.activations import leaf_calls, stuck_units, weight_parameters

RNG = np.random.default_rng(0)
NORMAL = RNG.standard_normal((256, 20)).astype(np.float32)


class Slopes(Layer):
    """y = x times a slope for each side of 0: 0.01 and 1 make a leaky ReLU."""

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
    """A layer that combines the entries of a row: for a dy of ones dx is 0."""

    def forward(self, x: Array) -> Array:
        e = np.exp(x - x.max(axis=1, keepdims=True))
        y: Array = e / e.sum(axis=1, keepdims=True)
        self.save_for_backward(y, y)
        return y

    def backward(self, dy: Array) -> Array:
        dy, y = self.saved_for_backward(dy)
        dx: Array = y * (dy - (dy * y).sum(axis=1, keepdims=True))
        return dx


class Centred(Layer):
    """y = x less the mean of its row: for a dy of ones dx is exactly 0."""

    def forward(self, x: Array) -> Array:
        y: Array = x - x.mean(axis=1, keepdims=True)
        self.save_for_backward(y)
        return y

    def backward(self, dy: Array) -> Array:
        (dy,) = self.saved_for_backward(dy)
        dx: Array = dy - dy.mean(axis=1, keepdims=True)
        return dx


def found(layer: Layer, x: Array) -> list[Finding]:
    return stuck_units(leaf_calls(layer, x)[1])


def shifted(units: int, by: float) -> Array:
    """Normal numbers, with the first units shifted."""
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
        Centred(),
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
def test_layers_with_a_small_slope_everywhere_are_never_stuck(layer: Layer) -> None:
    assert found(layer, NORMAL - 100) == []


class TestDeadUnits:
    def test_dead_units_pass_no_gradient_for_any_sample(self) -> None:
        (finding,) = found(Sequential([ReLU()]), shifted(11, by=-20))
        assert finding.name == "dead units"
        assert finding.evidence == (
            "11 of the 20 units of layers.0, ReLU() pass no gradient for any of 256 samples."
        )
        assert "bias" in finding.advice

    def test_no_finding_if_half_of_the_units_are_dead(self) -> None:
        assert found(ReLU(), shifted(10, by=-20)) == []

    def test_a_unit_active_for_one_sample_is_not_dead(self) -> None:
        x = np.full((256, 20), -1, np.float32)
        assert len(found(ReLU(), x)) == 1
        x[7] = 1
        assert found(ReLU(), x) == []

    def test_dead_units_are_not_reported_for_few_samples(self) -> None:
        x = np.full((32, 20), -1, np.float32)
        assert len(found(ReLU(), x)) == 1
        assert found(ReLU(), x[:31]) == []

    @pytest.mark.parametrize("at_zero", [0.0, 0.5, 1.0])
    def test_dead_units_are_found_with_any_slope_at_0(self, at_zero: float) -> None:
        (finding,) = found(Slopes(0, 1, at_zero), shifted(11, by=-20))
        assert finding.name == "dead units"

    def test_dead_units_are_found_on_a_flat_right_side(self) -> None:
        (finding,) = found(Slopes(1, 0), shifted(11, by=20))
        assert finding.name == "dead units"

    @pytest.mark.parametrize("form", [(256, 8, 5, 5), (256, 8, 5)])
    def test_a_unit_of_images_and_sequences_is_a_channel(self, form: tuple[int, ...]) -> None:
        x = RNG.standard_normal(form).astype(np.float32)
        x[:, :, :3] -= 20  # most positions are inactive in each channel
        assert found(ReLU(), x) == []
        x[:, :5] -= 20
        (finding,) = found(ReLU(), x)
        assert finding.evidence.startswith("5 of the 8 units of ReLU() pass")

    def test_an_input_of_one_number_per_sample_is_one_unit(self) -> None:
        assert found(ReLU(), NORMAL[:, 0]) == []
        (finding,) = found(ReLU(), NORMAL[:, 0] - 20)
        assert finding.evidence.startswith("1 of the 1 units")


class TestSaturatedUnits:
    @pytest.mark.parametrize(("layer", "bound"), [(Sigmoid(), 6.7), (Tanh(), 3.4)])
    @pytest.mark.parametrize("sign", [-1, 1])
    def test_saturated_units_are_where_the_slope_is_almost_0(
        self, layer: Layer, bound: float, sign: int
    ) -> None:
        x = np.full((256, 20), sign * bound, np.float32)
        (finding,) = found(Sequential([layer]), x)
        assert finding.name == "saturated units"
        assert finding.evidence == (
            f"100% of the outputs of layers.0, {layer!r} are where its slope is almost 0; "
            f"the root mean square of its inputs is {bound:.3g}."
        )
        assert "smaller weights" in finding.advice
        assert found(layer, 0.9 * x) == []

    def test_saturated_units_are_reported_above_60_percent_of_the_entries(self) -> None:
        x = np.zeros((100, 20), np.float32)
        x[:60] = 50
        assert found(Sigmoid(), x) == []
        x[60] = -50
        (finding,) = found(Sigmoid(), x)
        assert finding.evidence.startswith("61% of the outputs of Sigmoid()")

    def test_saturated_units_with_slope_0_are_not_dead(self) -> None:
        (finding,) = found(Sigmoid(), np.full((256, 20), 1000, np.float32))
        assert finding.name == "saturated units"


@pytest.mark.parametrize(
    "x", [np.zeros((256, 20), np.uint8), np.full((256, 4, 5), -9, np.float32)], ids=["bytes", "3d"]
)
def test_layers_with_integers_or_other_output_shapes_are_ignored(x: Array) -> None:
    assert found(Flatten(), x) == []
    assert found(Rescale(0.0), x.astype(np.uint8)) == []


def test_stuck_units_are_reported_for_each_layer() -> None:
    model = Sequential([Rescale(1, -20), ReLU(), Rescale(1, 20), Tanh()])
    assert [f.name for f in found(model, NORMAL)] == ["dead units", "saturated units"]


def test_looking_for_stuck_units_changes_neither_mode_nor_generator() -> None:
    layer: Any = Dropout(0.5, rng=0)
    model, before = Sequential([layer]), layer.rng.bit_generator.state
    assert found(model, NORMAL) == []
    assert layer.training
    assert layer.rng.bit_generator.state == before


class Double(Layer):
    """y = 2 x."""

    def forward(self, x: Array) -> Array:
        return 2 * x

    def backward(self, dy: Array) -> Array:
        return 2 * dy


class Shifted(Double):
    """y = 2 x + 1, through the forward of its base class."""

    def forward(self, x: Array) -> Array:
        return super().forward(x) + 1


class Outer(Layer):
    """A layer that calls another one with a keyword."""

    def __init__(self, inner: Layer) -> None:
        self.inner = inner

    def forward(self, x: Array) -> Array:
        y: Array = self.inner(x=x)
        return y

    def backward(self, dy: Array) -> Array:
        dx: Array = self.inner.backward(dy)
        return dx


class TestLeafCalls:
    X = np.array([[1.0, -2.0]], np.float32)

    def test_leaf_calls_are_those_of_layers_without_sub_layers(self) -> None:
        dense = Dense(2, 3, rng=0)
        model = Sequential([Sequential([dense, ReLU()]), Double()])
        y, calls = leaf_calls(model, self.X)
        assert [call.name for call in calls] == [
            "layers.0.layers.0, Dense(2, 3)",
            "layers.0.layers.1, ReLU()",
            "layers.1, Double()",
        ]
        assert [call.layer for call in calls] == [dense, model[0][1], model[1]]  # type: ignore[index]
        assert calls[0].inputs[0] is self.X
        assert calls[1].inputs[0] is calls[0].output
        assert calls[2].output is y

    def test_a_single_layer_is_its_own_leaf(self) -> None:
        _, (call,) = leaf_calls(Shifted(), self.X)
        assert (call.name, call.output.tolist()) == ("Shifted()", [[3, -3]])

    def test_leaf_calls_leave_out_calls_with_keywords(self) -> None:
        assert leaf_calls(Outer(ReLU()), self.X)[1] == []

    def test_leaf_calls_are_made_in_evaluation_mode_which_is_left_again(self) -> None:
        model = Sequential([Dropout(0.5, rng=0), Dropout(0.9, rng=0).eval()])
        _, calls = leaf_calls(model, self.X)
        assert [call.output.tolist() for call in calls] == [self.X.tolist()] * 2
        assert [layer.training for layer in model] == [True, False]


def test_weight_parameters_connect_many_inputs_with_many_outputs() -> None:
    class Many(Double):
        def __init__(self) -> None:
            shapes = {
                "scalar": (),
                "bias": (3,),
                "row": (1, 3),
                "column": (3, 1),
                "weight": (3, 2),
                "kernel": (4, 1, 3, 3),
            }
            self.all = {name: Parameter(np.zeros(shape)) for name, shape in shapes.items()}

    model = Many()
    weights = [(f"all.{name}", model.all[name]) for name in ("weight", "kernel")]
    assert weight_parameters(model) == weights
