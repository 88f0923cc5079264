"""check_gradients from outside: what it accepts, refuses, reports and leaves as it was."""

import random
from typing import Any

import numpy as np
import pytest
from bug_zoo import losses
from bug_zoo.right import Function, Linear, MeanSquare
from bug_zoo.specimen import broken_rule

from tinynet import (
    Array,
    Dense,
    Flatten,
    GradientCheckError,
    InputError,
    Layer,
    Parameter,
    ReLU,
    Rescale,
    Sequential,
    SoftmaxCrossEntropy,
    check_gradients,
)
from tinynet.gradcheck import Cause

RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 4))


def test_a_right_layer_passes_and_the_report_counts_its_entries() -> None:
    report = check_gradients(Linear(), X)
    assert list(report) == ["x", "weight", "bias"]
    assert [tensor.checked for tensor in report.tensors.values()] == [20, 12, 3]
    assert all(0 <= tensor.worst < 1e-8 for tensor in report.tensors.values())
    assert report.informative == 1


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_the_worst_difference_is_relative_to_the_largest_entry(scale: float) -> None:
    slightly_off = Function(lambda x: scale * x, lambda x: scale * (1 + 5e-7) + 0 * x)
    assert check_gradients(slightly_off, X)["x"].worst == pytest.approx(5e-7, rel=1e-2)


def test_a_function_that_is_rough_at_every_scale_cannot_be_judged() -> None:
    rough = Function(lambda x: x + 1e-3 * np.sin(1e12 * x), np.ones_like)
    report = check_gradients(rough, X)
    assert report["x"].uninformative == X.size
    assert report.informative == 0
    assert "but 20 entries could not be judged" in str(report)


# Losses


def test_right_losses_pass() -> None:
    assert list(check_gradients(MeanSquare(), X, X[::-1])) == ["x"]
    check_gradients(SoftmaxCrossEntropy(), X, np.array([0, 2, 1, 1, 3]))


def test_a_loss_gradient_without_the_division_by_n_is_rejected() -> None:
    with pytest.raises(GradientCheckError, match=r"gradient of x at index \(0, 0\)") as caught:
        check_gradients(losses.SquareWithoutMean(), X, X[::-1])
    # The smallest case has two samples: for one alone the gradient is right.
    assert caught.value.analytic == pytest.approx(2 * (caught.value.numeric or 0))


def test_a_loss_that_returns_several_numbers_is_refused() -> None:
    class Each(MeanSquare):
        def forward(self, z: Array, t: Array) -> Any:
            return np.square(z - t).sum(axis=1)

    sentence = r"expects Each\(\) to give one number, as a loss .* does, got the shape \(5,\)"
    with pytest.raises(InputError, match=sentence):
        check_gradients(Each(), X, X)


def test_a_loss_whose_backward_takes_a_dy_gets_a_hint() -> None:
    class WithDy(MeanSquare):
        def backward(self, dy: Array) -> Any:  # type: ignore[override]
            return dy * super().backward()

    with pytest.raises(GradientCheckError, match="backward of a loss takes no dy"):
        check_gradients(WithDy(), X, X[::-1])


def test_a_loss_that_overwrites_its_targets_is_rejected() -> None:
    class OverwritesTargets(MeanSquare):
        def forward(self, z: Array, t: Array) -> float:
            t -= z
            return float(np.square(t).sum() / len(z))

    assert "forward changed targets in place" in str(broken_rule(OverwritesTargets(), X, X[::-1]))


def test_targets_may_be_one_number_for_all_samples() -> None:
    class Huber(Layer):
        def forward(self, prediction: Array, target: Array) -> float:
            self.gap = prediction - target
            size = abs(self.gap)
            return float(np.where(size < 1, self.gap**2 / 2, size - 0.5).sum())

        def backward(self) -> Array:
            return np.asarray(np.clip(self.gap, -1, 1))

    check_gradients(Huber(), X, np.array(0.5))


# Arguments


def test_the_layer_and_x_are_left_unchanged() -> None:
    layer, x = Dense(4, 2, rng=0).eval(), X.astype(np.float32)
    before = [layer.weight.value.copy(), x.copy()]
    check_gradients(layer, x)
    assert (layer.weight.value == before[0]).all()
    assert (x == before[1]).all()
    assert layer.weight.value.dtype == np.float32
    assert layer.weight.grad is None
    assert not layer.training


def test_float32_arrays_and_lists_are_checked_in_float64() -> None:
    dtypes = set()

    class Records(Layer):
        def forward(self, x: Array) -> Array:
            dtypes.add(x.dtype)
            return x.copy()

        def backward(self, dy: Array) -> Array:
            return dy.copy()

    check_gradients(Records(), X.astype(np.float32))
    rows: Any = X.tolist()
    check_gradients(Records(), rows)
    assert dtypes == {np.dtype(np.float64)}


def test_for_an_x_of_integers_only_parameters_are_checked() -> None:
    model = Sequential([Flatten(), Rescale(1 / 255), Dense(4, 2, rng=0)])
    x = RNG.integers(0, 256, (3, 2, 2), np.uint8)
    assert list(check_gradients(model, x)) == ["layers.2.weight", "layers.2.bias"]


def test_x_may_be_one_sample_without_a_batch_axis() -> None:
    assert list(check_gradients(Dense(4, 2, rng=0), X[0])) == ["x", "weight", "bias"]


class ScaledBySlope(Layer):
    """One learned number, as the slope of a leaky ReLU may be."""

    def __init__(self, factor: float = 1.0) -> None:
        self.scale, self.factor = Parameter(2.0), factor

    def forward(self, x: Array) -> Array:
        self.x = x
        return x * self.scale.value

    def backward(self, dy: Array) -> Array:
        self.scale.grad = np.asarray(self.factor * np.sum(dy * self.x))
        return dy * self.scale.value


def test_a_parameter_without_axes_is_checked() -> None:
    assert check_gradients(ScaledBySlope(), X)["scale"].checked == 1


def test_a_wrong_parameter_without_axes_is_found_with_its_cause() -> None:
    with pytest.raises(GradientCheckError, match=r"scale at index \(\)") as caught:
        check_gradients(ScaledBySlope(factor=2.0), X)
    assert caught.value.cause is Cause.FACTOR


@pytest.mark.parametrize("layer", [ReLU, abs, None])
def test_an_object_that_is_no_layer_is_refused(layer: Any) -> None:
    with pytest.raises(InputError, match=r"expects a layer such as Dense\(3, 2\) or two functions"):
        check_gradients(layer, X)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_x_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(InputError, match="expects an x of finite numbers"):
        check_gradients(ReLU(), np.array([[1.0, value]]))


@pytest.mark.parametrize("tolerance", [-1, float("nan"), "0.1"])
def test_an_invalid_tolerance_is_refused(tolerance: Any) -> None:
    with pytest.raises(InputError, match="check_gradients expects tolerance to be a finite"):
        check_gradients(ReLU(), X, tolerance=tolerance)


@pytest.mark.parametrize("seed", [-1, 1.5, "x", None])
def test_an_invalid_seed_is_refused(seed: Any) -> None:
    with pytest.raises(InputError, match="expects rng to be a whole number >= 0, got"):
        check_gradients(Dense(4, 2), X, rng=seed)


def test_a_check_without_floats_or_samples_is_refused() -> None:
    with pytest.raises(InputError, match=r"got Rescale\(2\) without parameters and x of uint8"):
        check_gradients(Rescale(2), np.zeros((2, 2), np.uint8))
    for shape in ((0, 3), ()):
        with pytest.raises(InputError, match=r"expects an x with samples, got the shape \("):
            check_gradients(Dense(3, 2), np.zeros(shape))


def test_an_x_that_forward_refuses_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"Dense\(3, 2\) expects x of shape"):
        check_gradients(Dense(3, 2), np.zeros((4, 5)))


# Random numbers


def test_the_seed_decides_the_result() -> None:
    layer = Dense(4, 2, rng=0)
    once, again, another = (check_gradients(layer, X, rng=seed) for seed in (3, 3, 4))
    assert once == again
    assert once["x"].worst != another["x"].worst


def test_a_generator_as_rng_draws_the_seed() -> None:
    layer, rng, same = Dense(4, 2, rng=0), *map(np.random.default_rng, (3, 3))
    first, second = (check_gradients(layer, X, rng=rng) for _ in range(2))
    assert first == check_gradients(layer, X, rng=same)
    assert first.seed != second.seed
    assert first == check_gradients(layer, X, rng=first.seed)


def test_the_global_generators_have_the_same_state_after_a_check() -> None:
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = random.random(), np.random.rand()  # noqa: NPY002

    class Draws(Function):
        def forward(self, x: Array) -> Array:
            self.factor = random.random() + np.random.rand()  # noqa: NPY002
            return super().forward(x * self.factor)

        def backward(self, dy: Array) -> Any:
            return super().backward(dy) * self.factor

    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    check_gradients(Draws(lambda x: x, np.ones_like), X)
    with pytest.raises(GradientCheckError):
        check_gradients(Draws(lambda x: x, np.zeros_like), X)
    assert (random.random(), np.random.rand()) == expected  # noqa: NPY002
