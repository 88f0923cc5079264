"""Numeric derivatives with their errors, and gradients compared with them."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bug_zoo.right import Function, Linear
from bug_zoo.specimen import broken_rule

from tinynet import (
    Array,
    Dense,
    GradientCheckError,
    Layer,
    ReLU,
    Rescale,
    Sequential,
    SoftmaxCrossEntropy,
    check_gradients,
)
from tinynet.gradcheck import Verdict
from tinynet.gradcheck.inputs import perturbed, rms
from tinynet.gradcheck.numeric import EPSILON, Estimate, NumericDerivative, rounding, step_size

STEP = math.cbrt(EPSILON)
X = np.random.default_rng(0).standard_normal((5, 4))


def test_rms_is_the_root_of_the_mean_square() -> None:
    assert rms(np.array([[3.0, 4.0], [0.0, 0.0]])) == 2.5


def test_perturbed_entries_keep_their_sign_and_zeros_change() -> None:
    tensor = np.array([[3.0, -4.0], [0.0, 1e-12]])
    change = perturbed(tensor, np.random.default_rng(0)) - tensor
    assert (np.abs(change) <= [[0.03, 0.04], [0.025, 0.025]]).all()
    assert (change != 0).all()


@pytest.mark.parametrize(
    ("entry", "typical", "size"), [(-4.0, 2.5, 4), (0.0, 2.5, 2.5), (0.0, 0.0, 1)]
)
def test_a_step_is_proportional_to_the_entry_or_to_a_typical_one(
    entry: float, typical: float, size: float
) -> None:
    assert step_size(entry, typical) == pytest.approx(STEP * size)


def numeric(
    f: Callable[[Array], Any],
    x: list[float],
    dy: list[float],
    index: Any = (0,),
    direction: float | Array = 1.0,
    step: float = STEP,
    entry_rounding: float = 0.0,
) -> NumericDerivative:
    tensor = np.array(x)

    def forward() -> Array:
        return np.asarray(f(tensor))

    y, upstream = forward().copy(), np.array(dy)
    noise = rounding(upstream, y)
    return NumericDerivative(
        forward, y, upstream, noise, tensor, index, step, direction, entry_rounding
    )


# Slopes


def test_the_slopes_of_a_corner_differ_and_the_entry_is_restored() -> None:
    corner = numeric(lambda x: np.maximum(2 * x, -3 * x), [0.0, 5.0], [1.0, 0.5])
    slopes = corner.slopes(1e-3)
    assert slopes.left == pytest.approx(-3)
    assert slopes.right == pytest.approx(2)
    assert slopes.central == pytest.approx(-0.5)
    assert slopes.gap == pytest.approx(5)
    assert corner.tensor.tolist() == [0, 5]


def test_the_slopes_in_a_direction_perturb_all_entries() -> None:
    direction = np.array([1.0, -2.0])
    slopes = numeric(lambda x: 3 * x, [1.0, 1.0], [1.0, 10.0], ..., direction).slopes(1e-3)
    assert slopes.central == pytest.approx(3 - 60)


def test_the_noise_of_slopes_is_the_rounding_of_outputs_and_entries() -> None:
    derivative = numeric(lambda x: 3 * x, [1.0, 1.0], [2.0, -1.0], entry_rounding=EPSILON)
    assert derivative.slopes(0.5).noise / EPSILON == pytest.approx((math.hypot(6, 3) + 1) / 0.5)


def test_the_entry_is_restored_when_forward_raises() -> None:
    broken = numeric(lambda x: x, [1.0], [1.0])

    def forward() -> Array:
        raise ZeroDivisionError

    broken.forward = forward
    with pytest.raises(ZeroDivisionError):
        broken.slopes(0.5)
    assert broken.tensor.tolist() == [1]


def test_the_slopes_of_an_output_that_is_x_itself_are_right() -> None:
    # The returned array changes back with the entry, so the difference has to be taken before.
    assert numeric(lambda x: x, [1.0, 2.0], [1.0, 1.0]).slopes(1e-3).central == pytest.approx(1)


def test_an_error_of_forward_other_than_its_domain_is_passed_on() -> None:
    def f(x: Array) -> Array:
        if x[0] != 1:
            raise GradientCheckError("single", verdict=Verdict.DTYPE, layer="f")
        return np.asarray(x)

    with pytest.raises(GradientCheckError, match="single"):
        numeric(f, [1.0], [1.0]).slopes(0.1)


# Estimates


@pytest.mark.parametrize("x", [0.3, -2.0, 40.0])
def test_an_estimate_of_a_smooth_function_is_right_within_its_error(x: float) -> None:
    for f, slope in (
        (np.exp, math.exp(x)),
        (np.sin, math.cos(x)),
        (lambda v: v**3, 3 * x**2),
    ):
        estimate = numeric(f, [x], [1.0], step=step_size(x, 0)).estimate(slope, 1e-6, 1.0)
        assert abs(estimate.value - slope) <= estimate.error <= 1e-6 * abs(slope)
        assert not estimate.kink


def test_two_steps_remove_the_quadratic_error_term() -> None:
    estimate = numeric(lambda x: x**3, [1.0], [1.0], step=1e-3).from_two_steps()
    assert estimate.value == pytest.approx(3, abs=1e-9)
    # The squares of the steps, 16e-3 and 4e-3, differ by 2.4e-4; the error is four times that.
    assert estimate.error == pytest.approx(4 * 2.4e-4, rel=1e-3)


def test_an_estimate_close_to_a_kink_is_the_slope_of_its_side() -> None:
    for x, slope in ((1e-7, 2.0), (-1e-7, -3.0)):
        kinked = numeric(lambda v: np.maximum(2 * v, -3 * v), [x, 1.0], [1.0, 0.0])
        estimate = kinked.estimate(slope, 1e-6, 1.0)
        assert estimate.kink
        assert estimate.value == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize(
    "expected", [0.5, pytest.param(0.0, id="sign(0), which central differences give, too")]
)
def test_an_estimate_at_a_kink_is_unknown(expected: float) -> None:
    estimate = numeric(np.abs, [0.0, 1.0], [1.0, 0.0]).estimate(expected, 1e-6, 1.0)
    assert estimate.kink
    assert estimate.error == math.inf


def test_the_error_of_an_estimate_covers_digits_that_forward_loses() -> None:
    # 1 + exp(-25) keeps five digits of exp(-25).
    derivative = numeric(lambda x: np.log(1 + np.exp(x)), [-25.0], [1.0], step=25 * STEP)
    estimate = derivative.estimate(math.exp(-25), 1e-6, 1e-11)
    assert abs(estimate.value - math.exp(-25)) <= estimate.error
    assert estimate.error < 0.1 * math.exp(-25)


def test_an_estimate_of_an_unchanged_output_is_0_within_the_last_bit_of_1() -> None:
    derivative = numeric(lambda x: np.log(1 + np.exp(x)), [-40.0], [1.0], step=40 * STEP)
    estimate = derivative.estimate(math.exp(-40), 1e-6, 1e-18)
    assert estimate.value == 0
    assert math.exp(-40) < estimate.error < 1e-9


def test_outputs_that_do_not_depend_on_the_entry_add_no_error() -> None:
    mixed = numeric(np.square, [1e-8, 1e8], [1.0, 1.0], step=1e-8 * STEP)
    estimate = mixed.estimate(1e-8, 1e-6, 1e8)
    assert estimate.value == pytest.approx(2e-8, rel=1e-6)
    assert estimate.error < 1e-12


def test_outputs_too_flat_to_show_a_dependence_add_their_error() -> None:
    # The second output is 1 - exp(-40): it changes by less than its last bit.
    flat = numeric(lambda x: np.array([0 * x[0], 1 / (1 + np.exp(-x[0]))]), [40.0], [1.0, 1.0])
    estimate = flat.estimate(math.exp(-40), 1e-6, 1.0)
    assert estimate.error > math.exp(-40)


def test_an_estimate_of_nan_has_no_finite_error() -> None:
    with np.errstate(invalid="ignore"):
        estimate = numeric(lambda x: np.sqrt(x - 1), [1.0], [1.0]).estimate(1.0, 1e-6, 1.0)
    assert estimate.error == math.inf


def test_an_estimate_avoids_steps_out_of_the_domain_of_forward() -> None:
    def f(x: Array) -> Array:
        if abs(x[0]) > 2:
            raise GradientCheckError("out", verdict=Verdict.FORWARD_RAISES, layer="f")
        return np.asarray(x**2)

    assert numeric(f, [1.0], [1.0]).estimate(5.0, 1e-6, 1.0).value == pytest.approx(2)


def test_the_difference_to_an_estimate_is_reduced_by_its_error() -> None:
    estimate = Estimate(2.0, 0.5)
    assert estimate.difference(2.5) == 0
    assert estimate.difference(4.0) == pytest.approx((2 - 0.5) / 4)
    assert estimate.difference(1.0) == pytest.approx((1 - 0.5) / 2)


def test_contributions_are_those_of_each_output() -> None:
    f = numeric(lambda x: np.array([x[0] ** 2, x[0] * x[1], x[1]]), [3.0, 5.0], [1.0, 2.0, 4.0])
    assert f.contributions() == pytest.approx([6, 10, 0])


# Comparisons at kinks


def kinks_at(size: float) -> Array:
    """Entries at 0, and at distances from it that steps of a check just reach or miss."""
    distances = [0.0, *(size * 10.0**-power for power in range(1, 17))]
    return np.array([distances, [-d for d in distances]])


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_right_layers_pass_at_and_around_kinks(size: float) -> None:
    check_gradients(ReLU(), kinks_at(size))
    check_gradients(Function(np.abs, np.sign), kinks_at(size))


def test_many_kinks_at_once_pass() -> None:
    model = Sequential([Dense(3, 5, rng=0), ReLU(), Dense(5, 2, rng=1)])
    check_gradients(model, np.zeros((2, 3)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("wrong", [lambda x: 1.01 * (x > 0), lambda x: x > -1, np.zeros_like])
def test_kinks_hide_no_wrong_derivative(wrong: Callable[[Array], Any], seed: int) -> None:
    layer = Function(lambda x: np.maximum(x, 0), wrong)
    for x in (kinks_at(1.0), np.zeros((2, 20))):
        error = broken_rule(layer, x, rng=seed)
        assert error is not None
        assert "central differences give" in str(error)


# Comparisons at several scales


@pytest.mark.parametrize("scale", [1e-8, 1e-3, 1.0, 1e3, 1e8])
def test_smooth_functions_of_any_scale_pass_and_wrong_ones_do_not(scale: float) -> None:
    x = scale * np.random.default_rng(0).uniform(0.5, 2, (3, 4))
    check_gradients(Function(np.log, lambda x: 1 / x), x)
    check_gradients(Function(np.square, lambda x: 2 * x), x)
    check_gradients(Function(lambda x: np.exp(x / scale), lambda x: np.exp(x / scale) / scale), x)
    assert broken_rule(Function(np.square, lambda x: 2.0001 * x), x)


def test_strong_curvature_passes() -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (3, 4))
    check_gradients(Function(lambda x: np.sin(3e3 * x), lambda x: 3e3 * np.cos(3e3 * x)), x)


def test_steps_out_of_the_domain_are_shortened() -> None:
    x = np.array([[1e-7, 1.0], [2.0, 3.0]])
    with np.errstate(invalid="ignore"):
        check_gradients(Function(np.log, lambda x: 1 / x), x)


def test_a_forward_that_raises_out_of_its_domain_is_no_failure() -> None:
    class Log(Function):
        def forward(self, x: Array) -> Array:
            if (x <= 0).any():
                raise ValueError
            return super().forward(x)

    x = np.array([[1e-6, 2.0], [1.0, 3.0]])
    assert check_gradients(Log(np.log, lambda x: 1 / x), x).informative == 1


def test_slopes_too_flat_to_change_any_output_pass() -> None:
    check_gradients(Rescale(1e-30, 1.0), X)
    assert math.isfinite(check_gradients(Rescale(1e-30), X)["x"].worst)


def test_slopes_too_flat_to_be_distinguished_from_0_are_uninformative() -> None:
    report = check_gradients(Rescale(1e-12, 1.0), X)
    assert report["x"].uninformative == X.size
    assert report.informative == 0


def test_a_gradient_that_is_0_up_to_rounding_is_informative() -> None:
    even = np.full((3, 4), 0.25)
    assert check_gradients(SoftmaxCrossEntropy(), np.zeros((3, 4)), even).informative == 1


@pytest.mark.parametrize("center", [-40.0, -20.0, 20.0, 40.0])
def test_saturated_functions_pass(center: float) -> None:
    # As in textbooks: where exp(x) is small, 1 + exp(x) loses its digits.
    x = center + np.random.default_rng(0).uniform(-1, 1, (3, 4))
    check_gradients(Function(lambda x: np.log(1 + np.exp(x)), lambda x: 1 / (1 + np.exp(-x))), x)


@pytest.mark.parametrize("offset", [0.0, 100.0, 1e4])
def test_large_numbers_that_cancel_in_forward_pass(offset: float) -> None:
    class Centered(Layer):
        def forward(self, x: Array) -> Array:
            self.y = x - x.mean(axis=1, keepdims=True)
            return np.asarray(np.tanh(self.y))

        def backward(self, dy: Array) -> Array:
            dy = dy * (1 - np.tanh(self.y) ** 2)
            return np.asarray(dy - dy.mean(axis=1, keepdims=True))

    for seed in range(5):
        x = offset + np.random.default_rng(seed).standard_normal((4, 5))
        check_gradients(Centered(), x)


# Comparisons of more entries than are checked one by one


@pytest.mark.parametrize(("size", "seed"), [(20, 0), (20, 1), (20, 2), (200, 0)])
def test_one_wrong_entry_in_many_is_found(size: int, seed: int) -> None:
    class OneEntry(Linear):
        def backward(self, dy: Array) -> Any:
            dx = super().backward(dy)
            assert self.weight.grad is not None
            self.weight.grad[7, 11] *= 1.01
            return dx

    x = np.random.default_rng(seed).standard_normal((8, size))
    error = broken_rule(OneEntry(size, size), x, rng=seed)
    assert error is not None
    assert (error.parameter, error.index) == ("weight", (7, 11))


def test_above_the_limit_a_sample_and_directions_are_checked() -> None:
    report = check_gradients(Linear(30, 20), np.ones((4, 30)), entries=600)
    weight, bias = report["weight"], report["bias"]
    assert (weight.checked, weight.entries, weight.directions) == (200, 600, 8)
    assert (bias.checked, bias.entries, bias.directions) == (20, 20, 0)
    assert "200 of 600" in str(report)


def test_up_to_the_limit_all_entries_are_checked() -> None:
    report = check_gradients(Linear(30, 20), np.ones((4, 30)), entries=120 + 600 + 20)
    assert report["weight"].checked == 600
    assert report["weight"].directions == 0


def test_the_sample_covers_the_first_entries() -> None:
    class Edges(Linear):
        def backward(self, dy: Array) -> Any:
            dx = super().backward(dy)
            assert self.weight.grad is not None
            self.weight.grad[:1] *= 2
            return dx

    error = broken_rule(Edges(30, 20), np.ones((4, 30)), entries=1)
    assert error is not None
    assert error.index is not None
    assert error.index[0] == 0
