"""Causes that are near each other are told apart; what the numbers do not tell stays unknown."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bug_zoo import keeping, products
from bug_zoo.right import (
    BatchNorm,
    Convolution,
    Embedding,
    Gain,
    Linear,
    MeanSquare,
    ReLU,
    Sigmoid,
    SquareLinear,
    Tanh,
)

from tinynet import Array, GradientCheckError, Layer, check_gradients
from tinynet.gradcheck import Cause

X = np.random.default_rng(0).standard_normal((5, 4))


def failure(layer: Any, x: Any = X, *targets: Array) -> GradientCheckError:
    with pytest.raises(GradientCheckError) as error:
        check_gradients(layer, x, *targets)
    return error.value


def altered(base: type[Layer], change: Callable[[Any, Array], Any]) -> type[Layer]:
    """The layer with its dx changed."""

    class Altered(base):  # type: ignore[valid-type, misc]
        def backward(self, dy: Array) -> Any:
            return change(self, super().backward(dy))

    return Altered


class TestAFactor:
    @pytest.mark.parametrize(
        ("factor", "said"),
        [
            (3, "3 times"),
            (1 / 7, "1/7 times"),
            (-2, "-2 times"),
            (1.001, "1.001 times"),
            (0.123456, "0.123456 times"),
        ],
    )
    def test_is_said_as_a_number(self, factor: float, said: str) -> None:
        error = failure(altered(Tanh, lambda _, dx: factor * dx)())
        assert error.cause is Cause.FACTOR
        assert error.certain
        assert f"every entry is {said} the right one" in str(error)

    def test_of_integers_is_tried_with_other_parameters(self) -> None:
        class Doubled(Embedding):
            def backward(self, dy: Array) -> Any:
                super().backward(dy)
                assert self.table.grad is not None
                self.table.grad = 2 * self.table.grad

        error = failure(Doubled(), np.array([0, 1, 2, 3, 4, 1, 0]))
        assert error.cause is Cause.FACTOR
        assert error.certain

    def test_that_follows_the_numbers_is_not_called_constant(self) -> None:
        error = failure(altered(Tanh, lambda layer, dx: dx * np.abs(layer.x).sum())())
        assert error.cause is Cause.FACTOR_OF_A_TENSOR
        assert not error.certain
        assert "times the right one here, and another time with other numbers" in str(error)

    def test_that_follows_the_batch_is_a_factor_n(self) -> None:
        error = failure(altered(Tanh, lambda _, dx: len(dx) * dx)())
        assert error.cause is Cause.FACTOR_N
        assert error.certain
        assert "every entry is 7 times the right one for 7 samples, 9 times for 9." in str(error)

    def test_that_is_as_large_as_the_batch_by_chance_is_constant(self) -> None:
        assert failure(altered(Tanh, lambda _, dx: 5 * dx)()).cause is Cause.FACTOR

    def test_without_a_batch_axis_is_guessed(self) -> None:
        row = X[0]
        for factor, cause in ((4, Cause.FACTOR_N), (1 / 4, Cause.FACTOR_N), (3, Cause.FACTOR)):
            pair = (np.tanh, lambda dy, x, f=factor: f * dy * (1 - np.tanh(x) ** 2))
            error = failure(pair, row)
            assert error.cause is cause
            assert not error.certain

    def test_of_a_batch_of_one_needs_another_to_show(self) -> None:
        error = failure(products.BiasIsMean(), X[:1])
        assert error.cause is Cause.FACTOR_N
        assert "for 2 samples" in str(error)

    def test_is_not_measured_at_a_size_that_the_layer_does_not_take(self) -> None:
        class SmallBatches(Tanh):
            def forward(self, x: Array) -> Array:
                if len(x) > 8:
                    raise ValueError
                return super().forward(x)

        error = failure(altered(SmallBatches, lambda _, dx: 7 * dx)())
        assert error.cause is Cause.FACTOR_N  # for the 7 samples that were looked at
        assert not error.certain


class TestUnknown:
    @pytest.mark.parametrize(
        "layer",
        [
            altered(Tanh, lambda layer, dx: dx * np.sin(9 * layer.x))(),
            altered(Linear, lambda _, dx: dx * np.cos(np.arange(4)))(),
        ],
    )
    def test_is_an_answer(self, layer: Layer) -> None:
        error = failure(layer)
        assert error.cause is None
        assert not error.certain
        assert "\n\nCause unknown.\n\n" in str(error)

    def test_where_the_right_gradient_is_0(self) -> None:
        class Nothing(ReLU):
            def forward(self, x: Array) -> Array:
                return super().forward(x) * 0.0

        assert failure(Nothing()).cause is None

    def test_where_too_few_entries_tell_it_is_not_certain(self) -> None:
        error = failure(altered(Tanh, lambda _, dx: 3 * dx)(), X[:1, :1])
        assert error.cause is Cause.FACTOR
        assert error.certain  # with more samples, made of this one
        pair = (np.tanh, lambda dy, x: -dy * (1 - np.tanh(x) ** 2))
        error = failure(pair, X[0, :3])
        assert error.cause is Cause.SIGN
        assert not error.certain

    def test_a_backward_that_raises_for_a_reason_of_its_own(self) -> None:
        class Raises(ReLU):
            def backward(self, dy: Array) -> Any:
                raise KeyError(dy.shape)

        assert failure(Raises()).cause is None

    def test_a_gradient_that_is_no_array(self) -> None:
        class Words(ReLU):
            def backward(self, dy: Array) -> Any:
                return np.full(dy.shape, "0.5")

        assert failure(Words()).cause is None


class TestHistory:
    def test_a_batch_size_that_is_refused_after_another_is_kept(self) -> None:
        class Grown(ReLU):
            def forward(self, x: Array) -> Array:
                self.room = getattr(self, "room", 0 * x)
                return super().forward(x + self.room)

        assert failure(Grown()).cause is Cause.STALE

    def test_a_parameter_that_is_kept_is_said_to_be_one(self) -> None:
        error = failure(keeping.TransposeMadeOnce())
        assert "a parameter is kept as it was, and has changed since" in str(error)
        assert "something is kept from the batch before" in str(failure(keeping.FirstMaskKept()))

    def test_what_was_added_up_is_found_with_a_cache_that_starts_at_none(self) -> None:
        class Total(Linear):
            total: Any = 0.0

            def backward(self, dy: Array) -> Any:
                dx = super().backward(dy)
                self.total = self.total + dy.sum(axis=0)
                self.bias.grad = self.total
                return dx

        assert failure(Total()).cause is Cause.ADDED


class TestNearMisses:
    def test_a_mask_with_a_scale_is_likely_and_not_certain(self) -> None:
        class Leaky(ReLU):
            def backward(self, dy: Array) -> Any:
                return np.where(self.x > 0, 2 * dy, dy)

        error = failure(Leaky())
        assert error.cause is Cause.MASK
        assert not error.certain

    def test_a_mask_that_lets_through_too_much_of_some(self) -> None:
        class Low(ReLU):
            """The mask of another threshold."""

            def backward(self, dy: Array) -> Any:
                return dy * (self.x > -0.5)

        assert failure(Low()).cause is Cause.MASK

    def test_a_mask_that_lets_through_too_little_is_unknown(self) -> None:
        class High(ReLU):
            def backward(self, dy: Array) -> Any:
                return dy * (self.x > 0.5)

        assert failure(High()).cause is None

    def test_axes_that_are_reshaped_for_transposed_and_the_other_way_round(self) -> None:
        class Reshaped(Linear):
            def backward(self, dy: Array) -> Any:
                dx = super().backward(dy)
                assert self.weight.grad is not None
                self.weight.grad = self.weight.grad.reshape(3, 4).T
                return dx

        error = failure(Reshaped())
        assert error.cause is Cause.TRANSPOSE
        assert "a transpose stands where reshape is meant" in str(error)

    def test_an_average_over_the_wrong_axis(self) -> None:
        error = failure(altered(Linear, lambda _, dx: dx * 0 + dx.mean(axis=1, keepdims=True))())
        assert error.cause is Cause.WRONG_AXES
        assert "every entry is the mean of the right ones over axis 1" in str(error)

    def test_a_sum_over_some_axes_that_has_another_shape(self) -> None:
        class Rows(Linear):
            def backward(self, dy: Array) -> Any:
                dx = super().backward(dy)
                assert self.weight.grad is not None
                self.weight.grad = self.weight.grad.sum(axis=1, keepdims=True)
                return dx

        error = failure(Rows())
        assert error.cause is Cause.WRONG_AXES
        assert "it is the right one summed over axis 1" in str(error)

    def test_another_shape_with_other_numbers_is_unknown(self) -> None:
        class Other(Linear):
            def backward(self, dy: Array) -> Any:
                dx = super().backward(dy)
                assert self.weight.grad is not None
                self.weight.grad = self.weight.grad.T * np.cos(np.arange(4))
                return dx

        class Shorter(Linear):
            def backward(self, dy: Array) -> Any:
                return super().backward(dy)[:, 1:]

        class Flat(Linear):
            def backward(self, dy: Array) -> Any:
                return super().backward(dy).ravel()

        assert failure(Other()).cause is None
        assert failure(Shorter()).cause is None
        assert failure(Flat()).cause is Cause.EXTRA_AXIS

    def test_a_jacobian_the_wrong_way_round(self) -> None:
        error = failure(products.DxWithoutTranspose())
        assert "the Jacobian is applied the wrong way round" in str(error)
        assert failure(altered(SquareLinear, lambda _, dx: dx[:, ::-1].copy())()).cause is (
            Cause.TRANSPOSE
        )

    def test_a_mean_is_found_missing_also_where_x_is_at_kinks(self) -> None:
        class CenteredRelu(Layer):
            def forward(self, x: Array) -> Array:
                self.on = x - x.mean(axis=0) > 0
                return np.asarray(np.maximum(x - x.mean(axis=0), 0))

            def backward(self, dy: Array) -> Any:
                return dy * self.on

        error = failure(CenteredRelu(), np.zeros((7, 4)))
        assert error.cause is Cause.MEAN_TERM

    def test_a_target_term_of_one_number_for_each_sample(self) -> None:
        class Sum(MeanSquare):
            def forward(self, z: Array, t: Array) -> float:
                self.z, self.t = z, t
                return float(np.sum((z.sum(axis=1) - t) ** 2))

            def backward(self) -> Any:
                return np.repeat(2 * self.z.sum(axis=1)[:, None], self.z.shape[1], axis=1)

        assert failure(Sum(), X, np.arange(1.0, 6.0)).cause is Cause.TARGET_TERM

    def test_a_factor_of_another_parameter_in_the_gradient_of_one(self) -> None:
        class Twice(BatchNorm):
            def backward(self, dy: Array) -> Any:
                dx = super().backward(dy)
                assert self.beta.grad is not None
                self.beta.grad = self.beta.grad * self.gamma.value
                return dx

        wide = np.random.default_rng(0).standard_normal((7, 5))
        error = failure(Twice(), wide)
        assert error.cause is Cause.FACTOR_OF_A_TENSOR
        assert "gamma is multiplied in too often" in str(error)

    def test_a_constant_is_no_factor_of_a_tensor(self) -> None:
        class Doubled(Gain):
            def __init__(self) -> None:
                super().__init__()
                self.g.value[...] = 2

            def backward(self, dy: Array) -> Any:
                return super().backward(dy) * 2

        # Each parameter moves by up to 1 % before the check, so 2 is told from g.
        assert failure(Doubled()).cause is Cause.FACTOR

    def test_the_whole_gradient_of_another_slice_is_not_one_slice(self) -> None:
        class Border(Convolution):
            def backward(self, dy: Array) -> Any:
                dx = super().backward(dy)
                dx[:, -1] *= 1 + np.arange(len(dx))
                return dx

        long = np.random.default_rng(0).standard_normal((4, 7))
        error = failure(Border(), long)
        assert error.cause is Cause.ONE_SLICE
        assert not error.certain
        assert "right everywhere but at index 6 of axis 1" in str(error)

    def test_too_many_numbers_for_the_jacobian_leave_what_needs_it_unknown(self) -> None:
        class OfX(Sigmoid):
            def backward(self, dy: Array) -> Any:
                return dy * self.x * (1 - self.x)

        assert failure(OfX(), X).cause is Cause.INPUT_FOR_OUTPUT
        wide = np.random.default_rng(0).standard_normal((7, 220))
        assert failure(OfX(), wide).cause is None


def test_a_shape_with_more_axes_is_searched_too() -> None:
    class Permuted(Layer):
        def forward(self, x: Array) -> Array:
            self.x = x
            return np.asarray(x**3)

        def backward(self, dy: Array) -> Any:
            return (3 * dy * self.x**2).transpose(0, 2, 1)

    square = np.random.default_rng(0).standard_normal((7, 3, 3))
    assert failure(Permuted(), square).cause is Cause.TRANSPOSE
    assert failure(Permuted(), square[:, :2]).cause is Cause.TRANSPOSE


def test_a_share_of_y_is_found_missing_among_three() -> None:
    class Softmax(Layer):
        def forward(self, x: Array) -> Array:
            e = np.exp(x - x.max(axis=1, keepdims=True))
            self.y = e / e.sum(axis=1, keepdims=True)
            return np.asarray(self.y.copy())

        def backward(self, dy: Array) -> Any:
            return dy * self.y

    error = failure(Softmax(), X[:, :3])
    assert error.cause is Cause.MEAN_TERM
    assert "what is missing is a share of y along axis 1" in str(error)


def test_a_mask_that_is_missing_and_more_is_unknown() -> None:
    class Crooked(ReLU):
        def backward(self, dy: Array) -> Any:
            return dy * np.where(self.x > 0, np.cos(self.x), 0.5 + self.x)

    assert failure(Crooked()).cause is None
    some = np.where(np.arange(4) < 1, 0.5, np.zeros((7, 4)))
    assert not failure(Crooked(), some).certain
