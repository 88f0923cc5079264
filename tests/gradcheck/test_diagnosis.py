"""The named cause of a wrong gradient: similar causes are distinguished, others stay unknown."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bug_zoo import keeping, products, several
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

from tinynet import Array, Dense, GradientCheckError, Layer, Parameter, check_gradients
from tinynet.gradcheck import Cause, measurements
from tinynet.gradcheck.diagnosis import diagnose
from tinynet.gradcheck.report import Diagnosis
from tinynet.gradcheck.rules import check_rules
from tinynet.gradcheck.setup import prepare_check

X = np.random.default_rng(0).standard_normal((5, 4))


def diagnosis(layer: Any, x: Any = X, *targets: Array) -> Diagnosis:
    """The diagnosis alone: most of the time of check_gradients goes into the smallest case."""
    check = prepare_check(layer, x, *targets)
    with pytest.raises(GradientCheckError) as caught:
        check_rules(check)
    with np.errstate(all="ignore"):
        return diagnose(check, caught.value)


def altered(base: type[Layer], change: Callable[[Any, Array], Any]) -> type[Layer]:
    """The layer with its dx changed."""

    class Altered(base):  # type: ignore[valid-type, misc]
        def backward(self, dy: Array) -> Any:
            return change(self, super().backward(dy))

    return Altered


# Factors


@pytest.mark.parametrize(
    ("factor", "text"),
    [
        (3, "3 times"),
        (1 / 7, "1/7 times"),
        (-2, "-2 times"),
        (1.001, "1.001 times"),
        (0.123456, "0.123456 times"),
    ],
)
def test_a_constant_factor_is_named_as_a_number(factor: float, text: str) -> None:
    cause, certain, sentence = diagnosis(altered(Tanh, lambda _, dx: factor * dx)())
    assert cause is Cause.FACTOR
    assert certain
    assert sentence == f"every entry is {text} the right one"


def test_a_factor_for_an_x_of_integers_is_measured_with_other_parameters() -> None:
    class Doubled(Embedding):
        def backward(self, dy: Array) -> Any:
            super().backward(dy)
            assert self.table.grad is not None
            self.table.grad = 2 * self.table.grad

    cause, certain, _ = diagnosis(Doubled(), np.array([0, 1, 2, 3, 4, 1, 0]))
    assert cause is Cause.FACTOR
    assert certain


def test_a_factor_that_changes_with_the_values_is_not_called_constant() -> None:
    layer = altered(Tanh, lambda layer, dx: dx * np.abs(layer.x).sum())()
    cause, certain, sentence = diagnosis(layer)
    assert cause is Cause.FACTOR_OF_A_TENSOR
    assert not certain
    assert sentence.endswith("times the right one, and the factor changes with the values")


def test_a_factor_that_changes_with_the_batch_size_is_a_factor_n() -> None:
    cause, certain, sentence = diagnosis(altered(Tanh, lambda _, dx: len(dx) * dx)())
    assert cause is Cause.FACTOR_N
    assert certain
    assert sentence == "every entry is 7 times the right one for 7 samples, 9 times for 9"


def test_a_constant_factor_that_equals_the_batch_size_by_chance_is_constant() -> None:
    assert diagnosis(altered(Tanh, lambda _, dx: 5 * dx)()).cause is Cause.FACTOR


@pytest.mark.parametrize(
    ("factor", "cause"), [(4, Cause.FACTOR_N), (1 / 4, Cause.FACTOR_N), (3, Cause.FACTOR)]
)
def test_the_cause_of_a_factor_without_a_batch_axis_is_a_guess(factor: float, cause: Cause) -> None:
    pair = (np.tanh, lambda dy, x: factor * dy * (1 - np.tanh(x) ** 2))
    found = diagnosis(pair, X[0])
    assert found.cause is cause
    assert not found.certain


def test_a_factor_n_is_found_for_a_single_sample() -> None:
    with pytest.raises(GradientCheckError) as caught:
        check_gradients(products.BiasIsMean(), X[:1])
    assert caught.value.cause is Cause.FACTOR_N
    assert "for 3 samples" in str(caught.value)


def test_a_factor_is_not_measured_at_a_batch_size_that_the_layer_refuses() -> None:
    class SmallBatches(Tanh):
        def forward(self, x: Array) -> Array:
            if len(x) > 8:
                raise ValueError
            return super().forward(x)

    found = diagnosis(altered(SmallBatches, lambda _, dx: 7 * dx)())
    assert found.cause is Cause.FACTOR_N  # the factor equals the 7 samples of the diagnosis
    assert not found.certain


# Unknown or uncertain causes


@pytest.mark.parametrize(
    "layer",
    [
        altered(Tanh, lambda layer, dx: dx * np.sin(9 * layer.x))(),
        altered(Linear, lambda _, dx: dx * np.cos(np.arange(4)))(),
    ],
)
def test_a_cause_that_no_hypothesis_fits_is_unknown(layer: Layer) -> None:
    with pytest.raises(GradientCheckError) as caught:
        check_gradients(layer, X)
    assert caught.value.cause is None
    assert not caught.value.certain
    assert "\n\nCause unknown.\n\n" in str(caught.value)


def test_the_cause_is_unknown_where_the_right_gradient_is_0() -> None:
    class Nothing(ReLU):
        def forward(self, x: Array) -> Array:
            return super().forward(x) * 0.0

    assert diagnosis(Nothing()).cause is None


def test_a_cause_is_not_certain_on_fewer_than_four_entries() -> None:
    found = diagnosis(altered(Tanh, lambda _, dx: 3 * dx)(), X[:1, :1])
    assert found.cause is Cause.FACTOR
    assert found.certain  # the diagnosis adds samples where there is a batch axis
    pair = (np.tanh, lambda dy, x: -dy * (1 - np.tanh(x) ** 2))
    found = diagnosis(pair, X[0, :3])
    assert found.cause is Cause.SIGN
    assert not found.certain


def test_a_backward_that_raises_for_a_reason_of_its_own_has_no_known_cause() -> None:
    class Raises(ReLU):
        def backward(self, dy: Array) -> Any:
            raise KeyError(dy.shape)

    assert diagnosis(Raises()).cause is None


def test_a_gradient_of_strings_has_no_known_cause() -> None:
    class Words(ReLU):
        def backward(self, dy: Array) -> Any:
            return np.full(dy.shape, "0.5")

    with pytest.raises(GradientCheckError) as caught:
        check_gradients(Words(), X)
    assert caught.value.cause is None


def test_an_integer_gradient_has_no_known_cause() -> None:
    class WholeNumbers(Linear):
        def backward(self, dy: Array) -> Any:
            dx = super().backward(dy)
            self.bias.grad = np.zeros(3, int)
            return dx

    assert diagnosis(WholeNumbers()).cause is None


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_forward_that_is_not_finite_is_an_overflow() -> None:
    class Large(Tanh):
        def forward(self, x: Array) -> Array:
            return np.asarray(np.exp(super().forward(x) + 800))

    found = diagnosis(Large())
    assert found.cause is Cause.OVERFLOW
    assert found.certain
    assert found.sentence == "it is in forward"


def test_an_exception_in_the_diagnosis_leaves_the_cause_unknown() -> None:
    class Words(ReLU):
        def backward(self, dy: Array) -> Any:
            return [["a word"], []] if dy.any() else np.zeros_like(dy)

    with pytest.raises(GradientCheckError, match="a list that is no array") as caught:
        check_gradients(Words(), X)
    assert caught.value.cause is None


# Values kept from before


def test_a_batch_size_that_is_refused_after_another_is_a_stale_cache() -> None:
    class Grown(ReLU):
        def forward(self, x: Array) -> Array:
            self.buffer = getattr(self, "buffer", 0 * x)
            return super().forward(x + self.buffer)

    assert diagnosis(Grown()).cause is Cause.STALE


def test_a_stale_copy_of_a_parameter_is_distinguished_from_one_of_a_batch() -> None:
    sentence = diagnosis(keeping.TransposeMadeOnce()).sentence
    assert sentence.endswith("a copy of a parameter is used after that has changed")
    sentence = diagnosis(keeping.FirstMaskKept()).sentence
    assert sentence.endswith("a value from the first batch of this size is used again")


def test_a_gradient_accumulated_in_an_attribute_is_found() -> None:
    class Total(Linear):
        total: Any = 0.0

        def backward(self, dy: Array) -> Any:
            dx = super().backward(dy)
            self.total = self.total + dy.sum(axis=0)
            self.bias.grad = self.total
            return dx

    assert diagnosis(Total()).cause is Cause.ADDED


# Masks


def test_a_mask_with_another_scale_is_likely_and_not_certain() -> None:
    class Leaky(ReLU):
        def backward(self, dy: Array) -> Any:
            return np.where(self.x > 0, 2 * dy, dy)

    found = diagnosis(Leaky())
    assert found.cause is Cause.MASK
    assert not found.certain


def test_a_mask_that_is_too_wide_is_a_missing_mask() -> None:
    class Low(ReLU):
        def backward(self, dy: Array) -> Any:
            return dy * (self.x > -0.5)

    assert diagnosis(Low()).cause is Cause.MASK


def test_a_mask_that_is_too_narrow_is_unknown() -> None:
    class High(ReLU):
        def backward(self, dy: Array) -> Any:
            return dy * (self.x > 0.5)

    assert diagnosis(High()).cause is None


def test_a_missing_mask_with_other_wrong_values_is_unknown() -> None:
    class Crooked(ReLU):
        def backward(self, dy: Array) -> Any:
            return dy * np.where(self.x > 0, np.cos(self.x), 0.5 + self.x)

    assert diagnosis(Crooked()).cause is None
    some = np.where(np.arange(4) < 1, 0.5, np.zeros((7, 4)))
    assert not diagnosis(Crooked(), some).certain


# Axes, shapes and transposes


def test_a_transpose_in_place_of_a_reshape_is_found() -> None:
    class Reshaped(Linear):
        def backward(self, dy: Array) -> Any:
            dx = super().backward(dy)
            assert self.weight.grad is not None
            self.weight.grad = self.weight.grad.reshape(3, 4).T
            return dx

    found = diagnosis(Reshaped())
    assert found.cause is Cause.TRANSPOSE
    assert found.sentence == "it is transposed instead of reshaped"


def test_a_mean_over_the_wrong_axis_is_found() -> None:
    found = diagnosis(altered(Linear, lambda _, dx: dx * 0 + dx.mean(axis=1, keepdims=True))())
    assert found.cause is Cause.WRONG_AXES
    assert found.sentence == "every entry is the mean of the right ones over axis 1"


def test_a_sum_over_an_axis_that_has_another_shape_is_found() -> None:
    class Rows(Linear):
        def backward(self, dy: Array) -> Any:
            dx = super().backward(dy)
            assert self.weight.grad is not None
            self.weight.grad = self.weight.grad.sum(axis=1, keepdims=True)
            return dx

    found = diagnosis(Rows())
    assert found.cause is Cause.WRONG_AXES
    assert found.sentence == "it is the right one summed over axis 1"


def test_another_shape_is_only_explained_if_the_values_fit() -> None:
    class Other(Linear):
        def backward(self, dy: Array) -> Any:
            dx = super().backward(dy)
            assert self.weight.grad is not None
            self.weight.grad = self.weight.grad.T * np.cos(np.arange(4))
            return dx

    assert diagnosis(Other()).cause is None
    assert diagnosis(altered(Linear, lambda _, dx: dx[:, 1:])()).cause is None
    assert diagnosis(altered(Linear, lambda _, dx: dx.ravel())()).cause is Cause.EXTRA_AXIS


def test_a_jacobian_that_is_not_transposed_is_found() -> None:
    found = diagnosis(products.DxWithoutTranspose())
    assert found.cause is Cause.TRANSPOSE
    assert found.sentence == "the Jacobian is not transposed"


def test_a_reversed_axis_is_found() -> None:
    reverse = altered(SquareLinear, lambda _, dx: dx[:, ::-1].copy())
    assert diagnosis(reverse()).cause is Cause.TRANSPOSE


def test_permuted_axes_of_three_are_found_with_and_without_another_shape() -> None:
    class Permuted(Layer):
        def forward(self, x: Array) -> Array:
            self.x = x
            return np.asarray(x**3)

        def backward(self, dy: Array) -> Any:
            return (3 * dy * self.x**2).transpose(0, 2, 1)

    square = np.random.default_rng(0).standard_normal((7, 3, 3))
    assert diagnosis(Permuted(), square).cause is Cause.TRANSPOSE
    assert diagnosis(Permuted(), square[:, :2]).cause is Cause.TRANSPOSE


def test_one_wrong_slice_is_likely_and_not_certain() -> None:
    class Border(Convolution):
        def backward(self, dy: Array) -> Any:
            dx = super().backward(dy)
            dx[:, -1] *= 1 + np.arange(len(dx))
            return dx

    found = diagnosis(Border(), np.random.default_rng(0).standard_normal((4, 7)))
    assert found.cause is Cause.ONE_SLICE
    assert not found.certain
    assert found.sentence == "it is right except at index 6 of axis 1"


# Missing terms and factors


def test_a_missing_mean_is_found_where_x_is_at_kinks() -> None:
    class CenteredRelu(Layer):
        def forward(self, x: Array) -> Array:
            self.on = x - x.mean(axis=0) > 0
            return np.asarray(np.maximum(x - x.mean(axis=0), 0))

        def backward(self, dy: Array) -> Any:
            return dy * self.on

    assert diagnosis(CenteredRelu(), np.zeros((7, 4))).cause is Cause.MEAN_TERM


def test_a_missing_multiple_of_y_is_found_among_three_entries() -> None:
    class Softmax(Layer):
        def forward(self, x: Array) -> Array:
            e = np.exp(x - x.max(axis=1, keepdims=True))
            self.y = e / e.sum(axis=1, keepdims=True)
            return np.asarray(self.y.copy())

        def backward(self, dy: Array) -> Any:
            return dy * self.y

    found = diagnosis(Softmax(), X[:, :3])
    assert found.cause is Cause.MEAN_TERM
    assert found.sentence == "a multiple of y is missing along axis 1"


def test_a_missing_target_term_is_found_with_one_target_per_sample() -> None:
    class Sum(MeanSquare):
        def forward(self, z: Array, t: Array) -> float:
            self.z, self.t = z, t
            return float(np.sum((z.sum(axis=1) - t) ** 2))

        def backward(self) -> Any:
            return np.repeat(2 * self.z.sum(axis=1)[:, None], self.z.shape[1], axis=1)

    assert diagnosis(Sum(), X, np.arange(1.0, 6.0)).cause is Cause.TARGET_TERM


def test_an_extra_factor_of_another_parameter_is_named() -> None:
    class Twice(BatchNorm):
        def backward(self, dy: Array) -> Any:
            dx = super().backward(dy)
            assert self.beta.grad is not None
            self.beta.grad = self.beta.grad * self.gamma.value
            return dx

    found = diagnosis(Twice(), np.random.default_rng(0).standard_normal((7, 5)))
    assert found.cause is Cause.FACTOR_OF_A_TENSOR
    assert found.sentence == "there is an extra factor gamma, or a missing division by it"


def test_a_constant_factor_is_distinguished_from_a_parameter_of_that_value() -> None:
    class Doubled(Gain):
        def __init__(self) -> None:
            super().__init__()
            self.g.value[...] = 2

        def backward(self, dy: Array) -> Any:
            return super().backward(dy) * 2

    # Each parameter is perturbed before the check, so g is not exactly 2.
    assert diagnosis(Doubled()).cause is Cause.FACTOR


def test_a_jacobian_with_too_many_entries_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    class OfX(Sigmoid):
        def backward(self, dy: Array) -> Any:
            return dy * self.x * (1 - self.x)

    assert diagnosis(OfX(), X).cause is Cause.INPUT_FOR_OUTPUT
    monkeypatch.setattr(measurements, "MAX_ENTRIES", 32)  # x and y have 20
    assert diagnosis(OfX(), X).cause is None


# A factor such as (1 - slope)


class PerFeature(Layer):
    """y = slope x + (1 - slope) sin x, with a learned slope for each feature."""

    def __init__(self, name: str = "slope") -> None:
        vars(self)[name] = Parameter([0.2, 0.5, 0.7, 1.4])

    def forward(self, x: Array) -> Array:
        self.x, self.s = x, self.parameters()[0].value
        return np.asarray(self.s * x + (1 - self.s) * np.sin(x))

    def backward(self, dy: Array) -> Any:
        self.parameters()[0].grad = (dy * (self.x - np.sin(self.x))).sum(axis=0)
        return dy * self.slopes()

    def slopes(self) -> Any:
        raise NotImplementedError


class WithoutComplement(PerFeature):
    def slopes(self) -> Any:
        return self.s + np.cos(self.x)


class WithoutSlope(PerFeature):
    def slopes(self) -> Any:
        return 1 + (1 - self.s) * np.cos(self.x)


class Exchanged(several.SmoothLeakyReLU):
    def backward(self, dy: Array) -> Any:
        return dy * (self.slope + self.slope / (1 + np.exp(-self.x)))


@pytest.mark.parametrize(
    ("layer", "multiple", "mistake"),
    [
        (WithoutComplement(), "slope", "without a factor (1 - slope)"),
        (WithoutSlope(), "(1 - slope)", "without a factor slope"),
        (several.SlopeOfOneTerm(), "slope", "without a factor (1 - slope)"),
        (Exchanged(), "(1 - 2 slope)", "with slope and (1 - slope) exchanged"),
    ],
)
def test_a_factor_that_one_term_lacks_is_found_by_changing_it(
    layer: Layer, multiple: str, mistake: str
) -> None:
    found = diagnosis(layer)
    assert found.cause is Cause.FACTOR_OF_A_TENSOR
    assert not found.certain
    assert found.sentence == f"the error is a multiple of {multiple}, as {mistake} in one term"


@pytest.mark.parametrize(
    ("slope", "sentence"),
    [
        (lambda y: 1 - y, "a factor (1 + y) is missing"),
        (lambda y: 1 + y, "a factor (1 - y) is missing"),
        (
            lambda y: (1 - y**2) * (1 - np.arctanh(y)),
            "extra factor (1 - x), or a missing division by it",
        ),
    ],
)
def test_a_factor_of_1_minus_an_array_is_found(slope: Any, sentence: str) -> None:
    class Lacks(Tanh):
        def backward(self, dy: Array) -> Any:
            return dy * slope(self.y)

    found = diagnosis(Lacks())
    assert found.cause is Cause.FACTOR_OF_A_TENSOR
    assert found.certain
    assert found.sentence.endswith(sentence)


# Several inputs and outputs


def test_the_gradient_of_another_input_is_found_by_shape_and_value() -> None:
    class Matrices(Layer):
        """y = a @ b, sample by sample."""

        def forward(self, x: tuple[Array, Array]) -> Array:
            self.x = x
            return np.asarray(x[0] @ x[1])

        def backward(self, dy: Array) -> Any:
            a, b = self.x
            return a.transpose(0, 2, 1) @ dy, dy @ b.transpose(0, 2, 1)

    a, b = (np.random.default_rng(0).standard_normal((3, 2, 4)) for _ in range(2))
    for x in ((a, b.transpose(0, 2, 1)), (a[:, :, :2], b[:, :, :2])):
        found = diagnosis(Matrices(), x)
        assert found.cause is Cause.ARRAYS
        assert found.sentence == "it is the gradient of x[1]"


def test_an_input_of_integers_may_be_the_missing_factor() -> None:
    class Weighted(Layer):
        """y = weight · tanh x, with a whole number for each sample."""

        def forward(self, x: tuple[Array, Array]) -> Array:
            self.h, weights = np.tanh(x[0]), x[1][:, None]
            return np.asarray(self.h * weights)

        def backward(self, dy: Array) -> Any:
            return dy * (1 - self.h**2), None

    found = diagnosis(Weighted(), (X, np.arange(1, 6) % 3 + 1))
    assert found.cause is Cause.FACTOR_OF_A_TENSOR
    assert found.sentence == "a factor x[1] is missing"


def test_an_output_that_is_not_counted_is_named() -> None:
    class Three(Layer):
        def forward(self, x: Array) -> Any:
            self.x = x
            return np.sin(x), (x**2).sum(axis=1), x**3

        def backward(self, dy: Any) -> Any:
            return dy[0] * np.cos(self.x) + 2 * dy[1][:, None] * self.x

    assert diagnosis(Three()).sentence == "dy[2] is not counted"
    assert diagnosis(several.SecondHeadForgotten()).sentence == "only dy[0] is counted"
    assert diagnosis(several.UpstreamsExchanged()).sentence == "dy[0] and dy[1] are exchanged"


def test_a_wrong_backward_beside_a_right_backward_parameters_is_no_stale_cache() -> None:
    class Doubled(Dense):  # type: ignore[misc]  # final
        def backward(self, dy: Array) -> Array:
            dx = super().backward(dy)
            assert self.weight.grad is not None
            self.weight.grad = 2 * self.weight.grad
            return dx

    found = diagnosis(Doubled(4, 3, rng=0))
    assert found.cause is Cause.FACTOR
    assert found.sentence == "in backward, every entry is 2 times the right one"
