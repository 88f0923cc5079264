"""What a message says: where, how small, why, and how to see it again."""

from typing import Any

import numpy as np
import pytest
from bug_zoo import products
from bug_zoo.right import Gain, Linear, ReLU, TwoWays

from tinynet import Array, Dense, GradientCheckError, Layer, Sequential, check_gradients
from tinynet.gradcheck import Cause, Verdict

X = np.random.default_rng(0).standard_normal((5, 4))


def failure(layer: Any, x: Any = X, *targets: Array, **settings: Any) -> GradientCheckError:
    with pytest.raises(GradientCheckError) as error:
        check_gradients(layer, x, *targets, **settings)
    return error.value


def test_the_whole_message() -> None:
    error = failure(products.GainSumsEverything())
    first, table, cause, lead, code = str(error).split("\n\n")
    assert first.startswith(
        "GainSumsEverything(g=(4,)): gradient of g at index (0,): backward gave"
    )
    assert table.splitlines()[0].split() == ["index", "backward", "forward"]
    assert table.splitlines()[1].endswith("<")
    assert table.count("<") == 1
    assert cause == (
        "Cause: summed over the wrong axes; every entry is the sum of the right ones over axis 0."
    )
    assert lead == "To see it again:"
    assert [line.strip() for line in code.splitlines()] == error.snippet.splitlines()


def test_the_case_is_as_small_as_it_can_be() -> None:
    error = failure(products.GainSumsEverything())
    assert "x = np.array([[0.1, -0.1, 0.6, 0.1]])" in error.snippet


def test_two_samples_stay_where_one_is_right() -> None:
    error = failure(products.BiasIsMean())
    assert "x = np.array([[0.1, -0.1, 0.6, 0.1], [-0.5, 0.4, 1.3, 0.9]])" in error.snippet


def test_numbers_stay_as_they_are_where_rounding_hides_the_failure() -> None:
    class WrongOffTheGrid(ReLU):
        def backward(self, dy: Array) -> Any:
            return super().backward(dy) * (1 + (self.x != self.x.round(1)))

    error = failure(WrongOffTheGrid(), np.abs(X))
    assert f"{float(abs(X[0, 0]))!r}" in error.snippet


def test_a_long_x_is_drawn_and_said_to_be() -> None:
    class Wrong(ReLU):
        def backward(self, dy: Array) -> Any:
            return 2 * super().backward(dy)

    long = np.random.default_rng(1).standard_normal((2, 100))
    error = failure(Wrong(), long)
    assert "x = np.random.default_rng(0).standard_normal((1, 100))" in error.snippet
    assert "To see it again:" in str(error)

    class WrongForWhole(ReLU):
        def backward(self, dy: Array) -> Any:
            return super().backward(dy) * (1 + np.all(self.x > 0.4))

    error = failure(WrongForWhole(), 0.5 + np.abs(long))
    assert "To see it again (with your own numbers for what is drawn here):" in str(error)


def test_the_settings_are_those_of_the_check() -> None:
    error = failure(products.GainTwice(), rng=5, tolerance=1e-3)
    assert error.snippet.endswith("check_gradients(layer, x, rng=5, tolerance=0.001)")


def test_what_raised_is_the_cause_of_the_error() -> None:
    assert isinstance(failure(products.ProductDoesNotFit()).__cause__, ValueError)


class TestWhere:
    def test_the_layer_inside_that_is_wrong_by_itself_is_named(self) -> None:
        net = Sequential([Dense(4, 4, rng=0), products.GainTwice(), Dense(4, 2, rng=1)])
        error = failure(net)
        assert str(error).startswith(
            f"{net!r}: its layers.1 is wrong by itself.\nGainTwice(g=(4,)): gradient of x at"
        )
        assert error.layer == "GainTwice(g=(4,))"
        assert "layer = GainTwice()" in error.snippet

    def test_also_two_levels_down(self) -> None:
        net = Sequential([Dense(4, 4, rng=0), Sequential([Gain(), products.GainTwice()])])
        message = str(failure(net))
        assert "its layers.1 is wrong by itself.\nSequential([Gain(g=(4,)), GainTwice" in message
        assert "its layers.1 is wrong by itself.\nGainTwice" in message

    def test_where_all_inside_are_right_it_is_the_layer_around_them(self) -> None:
        class SecondOnly(TwoWays):
            def backward(self, dy: Array) -> Any:
                self.first.backward(dy)
                return self.second.backward(dy)

        error = failure(SecondOnly())
        assert error.layer.startswith("SecondOnly(")
        assert error.cause is Cause.LAST_BRANCH

    def test_a_layer_inside_that_is_not_used_is_no_suspect(self) -> None:
        class Unused(ReLU):
            def __init__(self) -> None:
                self.spare = products.DxForgotten()

            def backward(self, dy: Array) -> Any:
                for parameter in self.parameters():
                    parameter.grad = np.zeros_like(parameter.value)
                return 2 * super().backward(dy)

        assert failure(Unused()).layer.startswith("Unused(")

    def test_a_layer_inside_that_takes_something_else_than_arrays_is_passed_over(self) -> None:
        class Times(Layer):
            def forward(self, x: Array, factor: float) -> Array:
                self.factor = factor
                return x * factor

            def backward(self, dy: Array) -> Any:
                return dy * self.factor

        class Around(Layer):
            def __init__(self) -> None:
                self.times = Times()

            def forward(self, x: Array) -> Array:
                return np.asarray(self.times(x, 2.0))

            def backward(self, dy: Array) -> Any:
                return -self.times.backward(dy)

        error = failure(Around())
        assert error.layer == "Around(times=Times())"
        assert error.cause is Cause.SIGN

    def test_a_layer_that_fails_at_once_is_not_looked_into(self) -> None:
        class Raises(Linear):
            def __init__(self) -> None:
                super().__init__()
                self.inner = ReLU()

            def backward(self, dy: Array) -> Any:
                raise KeyError(dy.shape)

        error = failure(Raises())
        assert error.verdict is Verdict.BACKWARD_RAISES
        assert error.cause is None
        assert "\n\nCause unknown.\n\n" in str(error)
