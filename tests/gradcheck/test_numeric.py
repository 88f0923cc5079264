import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinynet import Array, GradientCheckError
from tinynet.gradcheck import Verdict
from tinynet.gradcheck.numeric import EPSILON, Derivative, Line, rms, rounding, step_size

STEP = math.cbrt(EPSILON)


def test_rms_is_the_root_of_the_mean_square() -> None:
    assert rms(np.array([[3.0, 4.0], [0.0, 0.0]])) == 2.5


@pytest.mark.parametrize(
    ("entry", "usual", "size"), [(-4.0, 2.5, 4), (0.0, 2.5, 2.5), (0.0, 0.0, 1)]
)
def test_a_step_is_as_large_as_the_entry_or_the_usual_one(
    entry: float, usual: float, size: float
) -> None:
    assert step_size(entry, usual) == pytest.approx(STEP * size)


def line(
    f: Callable[[Array], Any],
    x: list[float],
    dy: list[float],
    at: Any = (0,),
    direction: float | Array = 1.0,
    step: float = STEP,
    landing: float = 0.0,
) -> Line:
    tensor = np.array(x)

    def forward() -> Array:
        return np.asarray(f(tensor))

    here, upstream = forward().copy(), np.array(dy)
    noise = rounding(upstream, here)
    return Line(forward, here, upstream, noise, tensor, at, step, direction, landing)


class TestSlopes:
    def test_of_a_corner_differ_and_the_entry_is_put_back(self) -> None:
        corner = line(lambda x: np.maximum(2 * x, -3 * x), [0.0, 5.0], [1.0, 0.5])
        measured = corner.slopes(1e-3)
        assert measured.left == pytest.approx(-3)
        assert measured.right == pytest.approx(2)
        assert measured.central == pytest.approx(-0.5)
        assert measured.gap == pytest.approx(5)
        assert corner.tensor.tolist() == [0, 5]

    def test_in_a_direction_move_all_entries(self) -> None:
        direction = np.array([1.0, -2.0])
        slopes = line(lambda x: 3 * x, [1.0, 1.0], [1.0, 10.0], ..., direction).slopes(1e-3)
        assert slopes.central == pytest.approx(3 - 60)

    def test_have_the_noise_of_the_outputs_and_of_where_entries_land(self) -> None:
        noise = line(lambda x: 3 * x, [1.0, 1.0], [2.0, -1.0], landing=EPSILON).slopes(0.5).noise
        assert noise / EPSILON == pytest.approx((math.hypot(6, 3) + 1) / 0.5)

    def test_put_the_entry_back_when_forward_fails(self) -> None:
        broken = line(lambda x: x, [1.0], [1.0])

        def forward() -> Array:
            raise ZeroDivisionError

        broken.forward = forward
        with pytest.raises(ZeroDivisionError):
            broken.slopes(0.5)
        assert broken.tensor.tolist() == [1]

    def test_are_those_of_an_output_that_is_x_itself(self) -> None:
        # What forward returns moves back with the entry: the difference must come before.
        assert line(lambda x: x, [1.0, 2.0], [1.0, 1.0]).slopes(1e-3).central == pytest.approx(1)


class TestDerivative:
    @pytest.mark.parametrize("x", [0.3, -2.0, 40.0])
    def test_is_right_within_its_error(self, x: float) -> None:
        for f, slope in (
            (np.exp, math.exp(x)),
            (np.sin, math.cos(x)),
            (lambda v: v**3, 3 * x**2),
        ):
            measured = line(f, [x], [1.0], step=step_size(x, 0)).derivative(slope, 1e-6, 1.0)
            assert abs(measured.value - slope) <= measured.error <= 1e-6 * abs(slope)
            assert not measured.kink

    def test_of_a_curve_has_the_quadratic_term_taken_off(self) -> None:
        first = line(lambda x: x**3, [1.0], [1.0], step=1e-3).first_look()
        assert first.value == pytest.approx(3, abs=1e-9)
        # Of the two steps, 16e-3 and 4e-3, the squares differ by 2.4e-4; an error is four times
        # the change.
        assert first.error == pytest.approx(4 * 2.4e-4, rel=1e-3)

    def test_swept_around_a_kink_is_that_of_its_side(self) -> None:
        for x, slope in ((1e-7, 2.0), (-1e-7, -3.0)):
            kinked = line(lambda v: np.maximum(2 * v, -3 * v), [x, 1.0], [1.0, 0.0])
            measured = kinked.derivative(slope, 1e-6, 1.0)
            assert measured.kink
            assert measured.value == pytest.approx(slope, rel=1e-6)

    def test_at_a_kink_is_unknown(self) -> None:
        measured = line(np.abs, [0.0, 1.0], [1.0, 0.0]).derivative(0.5, 1e-6, 1.0)
        assert measured.kink
        assert measured.error == math.inf

    def test_that_agrees_at_a_kink_by_chance_is_still_one_of_a_kink(self) -> None:
        # Between -1 and 1 central differences give 0, which is what sign(0) is.
        measured = line(np.abs, [0.0, 1.0], [1.0, 0.0]).derivative(0.0, 1e-6, 1.0)
        assert measured.kink

    def test_of_what_loses_digits_inside_has_the_error_of_that(self) -> None:
        # 1 + exp(-25) keeps five digits of exp(-25).
        measured = line(lambda x: np.log(1 + np.exp(x)), [-25.0], [1.0], step=25 * STEP)
        found = measured.derivative(math.exp(-25), 1e-6, 1e-11)
        assert abs(found.value - math.exp(-25)) <= found.error
        assert found.error < 0.1 * math.exp(-25)

    def test_of_what_stands_still_is_0_within_the_last_bit_of_1(self) -> None:
        found = line(lambda x: np.log(1 + np.exp(x)), [-40.0], [1.0], step=40 * STEP)
        measured = found.derivative(math.exp(-40), 1e-6, 1e-18)
        assert measured.value == 0
        assert math.exp(-40) < measured.error < 1e-9

    def test_is_not_blurred_by_outputs_that_do_not_depend_on_the_entry(self) -> None:
        mixed = line(np.square, [1e-8, 1e8], [1.0, 1.0], step=1e-8 * STEP)
        measured = mixed.derivative(1e-8, 1e-6, 1e8)
        assert measured.value == pytest.approx(2e-8, rel=1e-6)
        assert measured.error < 1e-12

    def test_is_blurred_by_outputs_that_may_depend_and_are_too_flat_to_show_it(self) -> None:
        # The second output is 1 - exp(-40): it moves, but by less than its last bit.
        flat = line(lambda x: np.array([0 * x[0], 1 / (1 + np.exp(-x[0]))]), [40.0], [1.0, 1.0])
        measured = flat.derivative(math.exp(-40), 1e-6, 1.0)
        assert measured.error > math.exp(-40)

    def test_of_no_number_has_no_finite_error(self) -> None:
        with np.errstate(invalid="ignore"):
            measured = line(lambda x: np.sqrt(x - 1), [1.0], [1.0]).derivative(1.0, 1e-6, 1.0)
        assert measured.error == math.inf

    def test_survives_a_forward_that_refuses_what_is_far_away(self) -> None:
        def f(x: Array) -> Array:
            if abs(x[0]) > 2:
                raise GradientCheckError("out", verdict=Verdict.FORWARD_RAISES, layer="f")
            return np.asarray(x**2)

        assert line(f, [1.0], [1.0]).derivative(5.0, 1e-6, 1.0).value == pytest.approx(2)

    def test_passes_on_what_is_wrong_with_forward_itself(self) -> None:
        def f(x: Array) -> Array:
            if x[0] != 1:
                raise GradientCheckError("single", verdict=Verdict.DTYPE, layer="f")
            return np.asarray(x)

        with pytest.raises(GradientCheckError, match="single"):
            line(f, [1.0], [1.0]).slopes(0.1)

    def test_difference_is_what_the_error_does_not_cover(self) -> None:
        measured = Derivative(2.0, 0.5)
        assert measured.difference(2.5) == 0
        assert measured.difference(4.0) == pytest.approx((2 - 0.5) / 4)
        assert measured.difference(1.0) == pytest.approx((1 - 0.5) / 2)


def test_contributions_are_those_of_each_output() -> None:
    f = line(lambda x: np.array([x[0] ** 2, x[0] * x[1], x[1]]), [3.0, 5.0], [1.0, 2.0, 4.0])
    assert f.contributions() == pytest.approx([6, 10, 0])
