import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bug_zoo import activations, keeping, losses, products, starts
from bug_zoo.right import Function, Gain, Linear, MeanSquare

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
from tinynet.gradcheck import Cause, Verdict
from tinynet.gradcheck.layer_under_test import GlobalGenerators

RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 4))


class SignOfOneEntry(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        assert self.weight.grad is not None
        self.weight.grad[2, 1] *= -1
        return dx


class AThousandthTooMuch(Linear):
    def backward(self, dy: Array) -> Any:
        return super().backward(dy) * 1.001


class AHundredThousandthTooMuch(Linear):
    def backward(self, dy: Array) -> Any:
        return super().backward(dy) * 1.00001


class ForwardOfOneSizeOnly(Linear):
    def forward(self, x: Array) -> Array:
        if not hasattr(self, "room"):
            self.room = np.zeros_like(x)
        return super().forward(x + self.room)


class WeightOfTheStartKept(Linear):
    def __init__(self) -> None:
        super().__init__()
        self.transposed = self.weight.value.T.copy()

    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        return dy @ self.transposed


class InputMadePositive(Linear):
    """In place, and a second time nothing changes."""

    def forward(self, x: Array) -> Array:
        self.sign = np.sign(x)
        np.abs(x, out=x)
        return super().forward(x)

    def backward(self, dy: Array) -> Any:
        return super().backward(dy) * self.sign


class ParameterNamedX(Layer):
    def __init__(self) -> None:
        self.x = Parameter(np.arange(1.0, 5.0))

    def forward(self, x: Array) -> Array:
        self.kept = x
        return x * self.x.value

    def backward(self, dy: Array) -> Array:
        self.x.grad = (dy * self.kept).sum(axis=0)
        return 123 * dy


class InputOverwrittenInBackward(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.x *= 0
        return dx


class BackwardRaises(Linear):
    def backward(self, dy: Array) -> Any:
        return super().backward(dy[:, :-1])


class WrongWithoutDx(Linear):
    def backward_parameters(self, dy: Array) -> None:
        self.backward(dy)
        self.weight.grad = -self.x.T @ dy


class DxOfSeveral(Linear):
    def backward(self, dy: Array) -> Any:
        return super().backward(dy), self.weight.grad


class WholeNumbers(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.bias.grad = np.zeros(3, int)
        return dx


class NotANumberInForward(Linear):
    def forward(self, x: Array) -> Array:
        return super().forward(x) * np.inf


class WrongInLargeBatches(Linear):
    def backward(self, dy: Array) -> Any:
        return super().backward(dy) * (1 if len(dy) < 6 else 2)


WRONG: dict[Callable[[], Layer], tuple[Verdict, str]] = {
    SignOfOneEntry: (Verdict.WRONG, r"gradient of weight at index \(2, 1\): backward gave"),
    AThousandthTooMuch: (Verdict.WRONG, r"gradient of x at index \(0, 0\): backward gave"),
    AHundredThousandthTooMuch: (Verdict.WRONG, r"gradient of x at index \(0, 0\)"),
    WeightOfTheStartKept: (Verdict.WRONG, r"gradient of x at index \(0, 0\)"),
    ParameterNamedX: (Verdict.WRONG, r"gradient of x at index \(0, 0\)"),
    keeping.AddedUpInside: (Verdict.NOT_ZERO, "for a dy of 0, backward gave the gradient of bias"),
    activations.GradientClipped: (
        Verdict.NOT_LINEAR,
        r"for a sum of two dy, backward gave the gradient of x .* at index .*, expected ",
    ),
    WrongInLargeBatches: (
        Verdict.OTHER_BATCH,
        r"gradient of x at index .* for 6 samples, having been right for 5",
    ),
    keeping.FirstBatchKept: (
        Verdict.BACKWARD_RAISES,
        r"ValueError.* for x of shape \(\d, 4\), after one of shape \(\d, 4\)\n",
    ),
    BackwardRaises: (
        Verdict.BACKWARD_RAISES,
        r"backward raised ValueError.* for x of shape \(\d, 4\)",
    ),
    ForwardOfOneSizeOnly: (
        Verdict.FORWARD_RAISES,
        r"forward raised ValueError.*for x of shape \(\d, 4\), after one of shape \(\d, 4\)",
    ),
    products.BiasIsOneNumber: (
        Verdict.SHAPE,
        r"gradient of bias: backward gave the shape \(\), forward uses \(3,\)",
    ),
    DxOfSeveral: (
        Verdict.SHAPE,
        r"gradient of x: backward gave a tuple that is no array, forward uses the shape \(\d, 4\)",
    ),
    products.BiasForgotten: (Verdict.NO_GRADIENT, "backward gave no gradient of bias"),
    products.DxForgotten: (Verdict.NO_GRADIENT, "backward gave no gradient of x"),
    keeping.SinglePrecision: (
        Verdict.DTYPE,
        "forward gave float32 for an x of float64, expected float64",
    ),
    WholeNumbers: (
        Verdict.DTYPE,
        "gradient of bias: backward gave int64, expected float64 as of bias itself",
    ),
    InputMadePositive: (Verdict.CHANGED_IN_PLACE, "forward changed x in place at index"),
    InputOverwrittenInBackward: (
        Verdict.CHANGED_IN_PLACE,
        r"backward changed x in place at index \(0, 0\), from .* to 0",
    ),
    keeping.MaskAppliedToUpstream: (
        Verdict.CHANGED_IN_PLACE,
        r"backward changed dy in place at index .* to 0",
    ),
    keeping.StepTakenInBackward: (
        Verdict.CHANGED_IN_PLACE,
        r"backward changed weight in place at index \(0, 0\)",
    ),
    WrongWithoutDx: (
        Verdict.WITHOUT_DX,
        r"backward_parameters gave the gradient of weight .* at index \(\d, \d\), expected ",
    ),
    keeping.OutputBuffer: (Verdict.OVERWRITTEN, "y that was returned changed with a later call"),
    keeping.GradientBuffer: (
        Verdict.OVERWRITTEN,
        "the gradient of weight that was returned changed with a later call",
    ),
    keeping.InTheOrderOfMemory: (
        Verdict.LAYOUT,
        "for an x that is column-major in memory, backward gave the gradient of x ",
    ),
    NotANumberInForward: (
        Verdict.NOT_FINITE,
        "forward gave -?inf, which has no derivative",
    ),
    activations.GradientNormalized: (
        Verdict.NOT_FINITE,
        r"gradient of x at index \(0, 0\): backward gave nan, where forward is finite",
    ),
    activations.DropoutOutOfNowhere: (
        Verdict.NOT_REPEATABLE,
        "forward gave two different results for the same x and the same state",
    ),
}


@pytest.mark.parametrize(("make", "expected"), WRONG.items())
def test_rejects_what_is_wrong_and_says_what(
    make: Callable[[], Layer], expected: tuple[Verdict, str]
) -> None:
    layer, (verdict, message) = make(), expected
    with pytest.raises(GradientCheckError, match=message) as error:
        check_gradients(layer, X)
    assert str(error.value).startswith(f"{layer!r}: ")
    assert error.value.layer == repr(layer)
    assert error.value.verdict is verdict


def test_every_verdict_is_tested() -> None:
    elsewhere = {Verdict.UNINFORMATIVE}  # in tests/test_testing.py
    assert {verdict for verdict, _ in WRONG.values()} | elsewhere == set(Verdict)


def test_a_function_that_is_rough_at_every_scale_cannot_be_judged() -> None:
    rough = Function(lambda x: x + 1e-3 * np.sin(1e12 * x), np.ones_like)
    report = check_gradients(rough, X)
    assert report["x"].uninformative == X.size
    assert report.informative == 0
    assert "but 20 entries could not be judged" in str(report)


def test_accepts_the_right_layer_and_says_what_it_looked_at() -> None:
    report = check_gradients(Linear(), X)
    assert list(report) == ["x", "weight", "bias"]
    assert [tensor.checked for tensor in report.tensors.values()] == [20, 12, 3]
    assert all(0 <= tensor.worst < 1e-8 for tensor in report.tensors.values())
    assert report.informative == 1


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_the_largest_difference_is_relative_to_the_largest_entry(scale: float) -> None:
    slightly_off = Function(lambda x: scale * x, lambda x: scale * (1 + 5e-7) + 0 * x)
    assert check_gradients(slightly_off, X)["x"].worst == pytest.approx(5e-7, rel=1e-2)


def test_the_error_carries_where_and_both_values() -> None:
    with pytest.raises(GradientCheckError) as caught:
        check_gradients(SignOfOneEntry(), X)
    error = caught.value
    assert (error.layer, error.parameter, error.index) == (
        "SignOfOneEntry(weight=(4, 3), bias=(3,))",
        "weight",
        (2, 1),
    )
    assert error.analytic is not None
    assert error.numeric is not None
    assert error.error is not None
    assert error.analytic == pytest.approx(-error.numeric)
    assert 0 < error.error < 1e-8
    assert f"backward gave {error.analytic:.10g}" in str(error)
    assert f"central differences give {error.numeric:.10g} ± {error.error:.0e}\n" in str(error)
    assert [index for index, *_ in error.around] == [(i, j) for i in (1, 2, 3) for j in (0, 1, 2)]
    wrong = [index for index, a, n in error.around if a != pytest.approx(n, rel=1e-6)]
    assert wrong == [(2, 1)]


@pytest.mark.parametrize("sizes", [(20, 20), (200, 200)])
@pytest.mark.parametrize("seed", range(3))
def test_one_wrong_entry_in_many_is_found(sizes: tuple[int, int], seed: int) -> None:
    class OneEntry(Linear):
        def backward(self, dy: Array) -> Any:
            dx = super().backward(dy)
            assert self.weight.grad is not None
            self.weight.grad[7, 11] *= 1.01
            return dx

    x = np.random.default_rng(seed).standard_normal((8, sizes[0]))
    with pytest.raises(GradientCheckError) as error:
        check_gradients(OneEntry(*sizes), x, rng=seed)
    assert error.value.parameter == "weight"
    assert error.value.index == (7, 11)


class TestMoreEntriesThanAreLookedAt:
    def test_a_sample_and_some_directions_stand_for_all(self) -> None:
        report = check_gradients(Linear(30, 20), np.ones((4, 30)), entries=500)
        weight, bias = report["weight"], report["bias"]
        assert (weight.checked, weight.entries, weight.directions) == (200, 600, 8)
        assert (bias.checked, bias.entries, bias.directions) == (20, 20, 0)
        assert "200 of 600" in str(report)

    def test_just_as_many_are_all_looked_at(self) -> None:
        report = check_gradients(Linear(30, 20), np.ones((4, 30)), entries=120 + 600 + 20)
        assert report["weight"].checked == 600
        assert report["weight"].directions == 0

    def test_the_sample_reaches_from_the_first_entries_to_the_last(self) -> None:
        class Edges(Linear):
            def backward(self, dy: Array) -> Any:
                dx = super().backward(dy)
                assert self.weight.grad is not None
                self.weight.grad[:1] *= 2
                return dx

        with pytest.raises(GradientCheckError) as error:
            check_gradients(Edges(30, 20), np.ones((4, 30)), entries=1)
        assert error.value.index is not None
        assert error.value.index[0] == 0


class TestLosses:
    """Squared error, mean over rows, right and wrong."""

    def test_accepts_a_right_loss(self) -> None:
        assert list(check_gradients(MeanSquare(), X, X[::-1])) == ["x"]
        check_gradients(SoftmaxCrossEntropy(), X, np.array([0, 2, 1, 1, 3]))

    def test_rejects_a_missing_mean(self) -> None:
        with pytest.raises(GradientCheckError, match=r"gradient of x at index \(0, 0\)") as error:
            check_gradients(losses.SquareWithoutMean(), X, X[::-1])
        # For two samples: one alone is right.
        assert error.value.analytic == pytest.approx(2 * (error.value.numeric or 0))

    def test_a_loss_of_several_numbers_is_refused(self) -> None:
        class Each(MeanSquare):
            def forward(self, z: Array, t: Array) -> Any:
                return np.square(z - t).sum(axis=1)

        sentence = r"expects Each\(\) to give one number, as a loss .* does, got the shape \(5,\)"
        with pytest.raises(InputError, match=sentence):
            check_gradients(Each(), X, X)

    def test_a_loss_whose_backward_wants_a_dy_is_told(self) -> None:
        class WithDy(MeanSquare):
            def backward(self, dy: Array) -> Any:  # type: ignore[override]
                return dy * super().backward()

        with pytest.raises(GradientCheckError, match="backward of a loss takes no dy"):
            check_gradients(WithDy(), X, X[::-1])

    def test_rejects_overwritten_targets(self) -> None:
        class OverwritesTargets(MeanSquare):
            def forward(self, z: Array, t: Array) -> float:
                t -= z
                return float(np.square(t).sum() / len(z))

        with pytest.raises(GradientCheckError, match="forward changed targets in place"):
            check_gradients(OverwritesTargets(), X, X[::-1])


class TestWhatIsGiven:
    def test_stays_as_it_is(self) -> None:
        layer, x = Dense(4, 2, rng=0).eval(), X.astype(np.float32)
        kept = [layer.weight.value.copy(), x.copy()]
        check_gradients(layer, x)
        assert (layer.weight.value == kept[0]).all()
        assert (x == kept[1]).all()
        assert layer.weight.value.dtype == np.float32
        assert layer.weight.grad is None
        assert not layer.training

    def test_float32_and_lists_are_checked_in_float64(self) -> None:
        seen = set()

        class Monitor(Layer):
            def forward(self, x: Array) -> Array:
                seen.add(x.dtype)
                return x.copy()

            def backward(self, dy: Array) -> Array:
                return dy.copy()

        check_gradients(Monitor(), X.astype(np.float32))
        rows: Any = X.tolist()
        check_gradients(Monitor(), rows)
        assert seen == {np.dtype(np.float64)}

    def test_integers_have_no_gradient_but_parameters_do(self) -> None:
        model = Sequential([Flatten(), Rescale(1 / 255), Dense(4, 2, rng=0)])
        x = RNG.integers(0, 256, (3, 2, 2), np.uint8)
        assert list(check_gradients(model, x)) == ["layers.2.weight", "layers.2.bias"]

    def test_one_sample_without_a_batch_axis(self) -> None:
        assert list(check_gradients(Dense(4, 2, rng=0), X[0])) == ["x", "weight", "bias"]

    def test_one_sample_and_a_cache_for_each_size(self) -> None:
        with pytest.raises(GradientCheckError, match="gradient of weight at index"):
            check_gradients(keeping.BatchKeptForEachSize(), X[:1])

    def test_targets_may_be_one_number_for_all(self) -> None:
        class Huber(Layer):
            def forward(self, prediction: Array, target: Array) -> float:
                self.gap = prediction - target
                size = abs(self.gap)
                return float(np.where(size < 1, self.gap**2 / 2, size - 0.5).sum())

            def backward(self) -> Array:
                return np.asarray(np.clip(self.gap, -1, 1))

        check_gradients(Huber(), X, np.array(0.5))

    def test_a_parameter_named_like_the_input_is_told_apart(self) -> None:
        class Right(ParameterNamedX):
            def backward(self, dy: Array) -> Array:
                super().backward(dy)
                return np.asarray(dy * self.x.value)

        assert list(check_gradients(Right(), X)) == ["x", "self.x"]

    @pytest.mark.parametrize("layer", [ReLU, abs, None])
    def test_what_is_no_layer_is_refused(self, layer: Any) -> None:
        with pytest.raises(
            InputError, match=r"expects a layer such as Dense\(3, 2\) or two functions"
        ):
            check_gradients(layer, X)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_an_x_that_is_not_finite_is_refused(self, value: float) -> None:
        with pytest.raises(InputError, match="expects an x of finite numbers"):
            check_gradients(ReLU(), np.array([[1.0, value]]))

    @pytest.mark.parametrize("tolerance", [-1, float("nan"), "0.1"])
    def test_a_tolerance_that_is_none_is_refused(self, tolerance: Any) -> None:
        with pytest.raises(InputError, match="check_gradients expects tolerance to be a finite"):
            check_gradients(ReLU(), X, tolerance=tolerance)

    def test_with_nothing_to_check_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"got Rescale\(2\) without parameters and x of uint8"):
            check_gradients(Rescale(2), np.zeros((2, 2), np.uint8))
        for shape in ((0, 3), ()):
            with pytest.raises(InputError, match=r"expects an x with samples, got one of \("):
                check_gradients(Dense(3, 2), np.zeros(shape))

    def test_what_forward_refuses_is_no_verdict_on_the_gradient(self) -> None:
        with pytest.raises(InputError, match=r"Dense\(3, 2\) expects x of shape"):
            check_gradients(Dense(3, 2), np.zeros((4, 5)))

    def test_the_seed_decides(self) -> None:
        layer = Dense(4, 2, rng=0)
        once, again, another = (check_gradients(layer, X, rng=seed) for seed in (3, 3, 4))
        assert once == again
        assert once["x"].worst != another["x"].worst

    def test_a_generator_gives_the_seed_and_moves_on(self) -> None:
        layer, rng, same = Dense(4, 2, rng=0), *map(np.random.default_rng, (3, 3))
        first, second = (check_gradients(layer, X, rng=rng) for _ in range(2))
        assert first == check_gradients(layer, X, rng=same)
        assert first.seed != second.seed
        assert first == check_gradients(layer, X, rng=first.seed)

    @pytest.mark.parametrize("seed", [-1, 1.5, "x", None])
    def test_a_seed_that_is_none_is_refused(self, seed: Any) -> None:
        with pytest.raises(InputError, match="expects rng to be a whole number >= 0, got"):
            check_gradients(Dense(4, 2), X, rng=seed)

    def test_the_generators_of_numpy_and_python_are_left_as_they_were(self) -> None:
        before = GlobalGenerators.position()

        class Draws(Function):
            def forward(self, x: Array) -> Array:
                self.factor = random.random() + np.random.rand()  # noqa: NPY002
                return super().forward(x * self.factor)

            def backward(self, dy: Array) -> Any:
                return super().backward(dy) * self.factor

        check_gradients(Draws(lambda x: x, np.ones_like), X)
        with pytest.raises(GradientCheckError):
            check_gradients(Draws(lambda x: x, np.zeros_like), X)
        assert GlobalGenerators.position() == before

    def test_the_tolerance_is_the_callers(self) -> None:
        with pytest.raises(GradientCheckError):
            check_gradients(AThousandthTooMuch(), X, tolerance=0.9e-3)
        check_gradients(AThousandthTooMuch(), X, tolerance=1.1e-3)


def kinks_at(size: float) -> Array:
    """Entries at 0, and at distances from it that steps of a check just reach or miss."""
    distances = [0.0, *(size * 10.0**-power for power in range(1, 17))]
    return np.array([distances, [-d for d in distances]])


class TestKinks:
    @pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
    def test_are_no_false_alarm(self, size: float) -> None:
        check_gradients(ReLU(), kinks_at(size))
        check_gradients(Function(np.abs, np.sign), kinks_at(size))

    def test_many_at_once_are_no_false_alarm(self) -> None:
        model = Sequential([Dense(3, 5, rng=0), ReLU(), Dense(5, 2, rng=1)])
        check_gradients(model, np.zeros((2, 3)))

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("wrong", [lambda x: 1.01 * (x > 0), lambda x: x > -1, np.zeros_like])
    def test_hide_no_wrong_derivative(self, wrong: Callable[[Array], Any], seed: int) -> None:
        layer = Function(lambda x: np.maximum(x, 0), wrong)
        with pytest.raises(GradientCheckError, match="central differences give"):
            check_gradients(layer, kinks_at(1.0), rng=seed)
        with pytest.raises(GradientCheckError, match="central differences give"):
            check_gradients(layer, np.zeros((2, 20)), rng=seed)


class TestScales:
    @pytest.mark.parametrize("scale", [1e-8, 1e-3, 1.0, 1e3, 1e8])
    def test_smooth_functions_of_any_scale_pass(self, scale: float) -> None:
        x = scale * np.random.default_rng(0).uniform(0.5, 2, (3, 4))
        check_gradients(Function(np.log, lambda x: 1 / x), x)
        check_gradients(Function(np.square, lambda x: 2 * x), x)
        check_gradients(
            Function(lambda x: np.exp(x / scale), lambda x: np.exp(x / scale) / scale), x
        )

    def test_strong_curvature_is_no_false_alarm(self) -> None:
        x = np.random.default_rng(0).uniform(-1, 1, (3, 4))
        check_gradients(Function(lambda x: np.sin(3e3 * x), lambda x: 3e3 * np.cos(3e3 * x)), x)

    @pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
    def test_a_wrong_derivative_of_any_scale_is_caught(self, scale: float) -> None:
        x = scale * np.random.default_rng(0).uniform(0.5, 2, (3, 4))
        with pytest.raises(GradientCheckError):
            check_gradients(Function(np.square, lambda x: 2.0001 * x), x)

    def test_a_step_out_of_the_domain_is_shortened(self) -> None:
        x = np.array([[1e-7, 1.0], [2.0, 3.0]])
        with np.errstate(invalid="ignore"):
            check_gradients(Function(np.log, lambda x: 1 / x), x)

    def test_slopes_too_flat_to_be_seen_are_no_false_alarm(self) -> None:
        check_gradients(Rescale(1e-30, 1.0), X)
        assert math.isfinite(check_gradients(Rescale(1e-30), X)["x"].worst)

    def test_slopes_too_flat_to_be_told_from_0_are_uninformative(self) -> None:
        report = check_gradients(Rescale(1e-12, 1.0), X)
        assert report["x"].uninformative == X.size
        assert report.informative == 0

    def test_a_gradient_that_is_0_up_to_rounding_is_informative(self) -> None:
        even = np.full((3, 4), 0.25)
        assert check_gradients(SoftmaxCrossEntropy(), np.zeros((3, 4)), even).informative == 1

    @pytest.mark.parametrize("center", [-40.0, -20.0, 20.0, 40.0])
    def test_saturation_is_no_false_alarm(self, center: float) -> None:
        # Written as a student does: where exp(x) is small, 1 + exp(x) loses it.
        x = center + np.random.default_rng(0).uniform(-1, 1, (3, 4))
        check_gradients(
            Function(lambda x: np.log(1 + np.exp(x)), lambda x: 1 / (1 + np.exp(-x))), x
        )

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("offset", [0.0, 100.0, 1e4])
    def test_large_numbers_that_cancel_inside_are_no_false_alarm(
        self, offset: float, seed: int
    ) -> None:
        class Centered(Layer):
            def forward(self, x: Array) -> Array:
                self.y = x - x.mean(axis=1, keepdims=True)
                return np.asarray(np.tanh(self.y))

            def backward(self, dy: Array) -> Array:
                dy = dy * (1 - np.tanh(self.y) ** 2)
                return np.asarray(dy - dy.mean(axis=1, keepdims=True))

        check_gradients(Centered(), offset + np.random.default_rng(seed).standard_normal((4, 5)))


class TestBatchesThatNobodyGave:
    """Rules are tried on other batches too; a layer need not take those."""

    def test_a_size_that_a_fresh_copy_refuses_is_left_out(self) -> None:
        class OnlyFive(Linear):
            def forward(self, x: Array) -> Array:
                if len(x) != 5:
                    raise ValueError
                return super().forward(x)

        assert "another batch size" not in check_gradients(OnlyFive(), X).held
        assert "another batch size" in check_gradients(Linear(), X).held

    def test_numbers_are_those_that_were_given(self) -> None:
        acosh = Function(np.arccosh, lambda x: 1 / np.sqrt(x**2 - 1))
        check_gradients(acosh, 1.02 + np.abs(X))
        check_gradients(acosh, 1.02 + np.abs(X[:1]))

    def test_a_step_out_of_where_forward_is_defined_is_no_failure(self) -> None:
        class Log(Function):
            def forward(self, x: Array) -> Array:
                if (x <= 0).any():
                    raise ValueError
                return super().forward(x)

        x = np.array([[1e-6, 2.0], [1.0, 3.0]])
        report = check_gradients(Log(np.log, lambda x: 1 / x), x)
        assert report.informative == 1

    def test_no_other_batch_at_all_is_fine(self) -> None:
        class OnlyThese(Linear):
            def forward(self, x: Array) -> Array:
                if not np.allclose(x, X, atol=0.1):
                    raise ValueError
                return super().forward(x)

        check_gradients(OnlyThese(), X)

    def test_a_matrix_inverse_has_no_batch_axis(self) -> None:
        class Inverse(Layer):
            def forward(self, x: Array) -> Array:
                self.y = np.linalg.inv(x)
                return self.y.copy()

            def backward(self, dy: Array) -> Array:
                return np.asarray(-self.y.T @ dy @ self.y.T)

        check_gradients(Inverse(), np.eye(4) + 0.1 * X[:4])


class TestWithoutDx:
    """`backward_parameters`, which a network calls for its first layer with parameters."""

    @pytest.mark.parametrize(
        ("write", "sentence"),
        [
            (lambda _: None, r"gave no gradient of weight of the shape \(4, 3\)"),
            (
                lambda layer: setattr(layer.weight, "grad", np.zeros(3)),
                r"gave no gradient of weight of the shape \(4, 3\)",
            ),
            (lambda layer: layer.nothing, r"raised AttributeError\("),
        ],
    )
    def test_has_to_write_every_gradient(self, write: Callable[[Any], None], sentence: str) -> None:
        class Alone(Linear):
            def backward_parameters(self, dy: Array) -> None:  # noqa: ARG002
                write(self)

        with pytest.raises(GradientCheckError, match=f"backward_parameters {sentence}") as error:
            check_gradients(Alone(), X)
        assert error.value.verdict is Verdict.WITHOUT_DX
        assert error.value.cause is None

    def test_is_checked_for_an_x_of_integers_too(self) -> None:
        model = Sequential([Rescale(0.5), Dense(4, 2, rng=0)])
        check_gradients(model, np.arange(20).reshape(5, 4))


class TestStartingValues:
    """Parameters often start where bugs hide: at 0, at 1, at the identity."""

    def test_a_weight_of_zero_hides_nothing(self) -> None:
        with pytest.raises(GradientCheckError, match="gradient of x at index"):
            check_gradients(starts.ReZeroStraightOnly(), X)

    def test_an_identity_hides_no_transpose(self) -> None:
        with pytest.raises(GradientCheckError) as error:
            check_gradients(starts.IdentityWithoutTranspose(), X)
        assert error.value.cause is Cause.TRANSPOSE

    def test_what_has_to_be_zero_stays_zero(self) -> None:
        class Strict(Gain):
            def __init__(self) -> None:
                self.g = Parameter([0.0, 1.0, 2.0, 3.0])

            def forward(self, x: Array) -> Array:
                return super().forward(x) if self.g.value[0] == 0 else x * np.nan

        report = check_gradients(Strict(), X, entries=1)
        assert "another batch size" in report.held

    def test_an_empty_parameter_needs_no_gradient(self) -> None:
        class Empty(Gain):
            def __init__(self) -> None:
                super().__init__()
                self.none = Parameter(np.zeros(0))

        assert list(check_gradients(Empty(), X)) == ["x", "g"]


class TestNearKinks:
    """Where rounding decides on which side of a kink a number falls."""

    def test_another_layout_may_round_to_the_other_side(self) -> None:
        class Order(Layer):
            """The sign of a sum that is 0 but for rounding, which follows the memory of x."""

            def forward(self, x: Array) -> Array:
                self.on = x + (1e-17 if x.flags.c_contiguous else -1e-17) > 0
                return np.maximum(x, 0)

            def backward(self, dy: Array) -> Array:
                return np.asarray(dy * self.on)

        check_gradients(Order(), np.zeros((3, 2)))

    def test_where_nothing_is_finite_nearby_it_stays_open(self) -> None:
        class Edge(Layer):
            """|x| that is only defined at 0 and -1e-4 < x < 1e-4, around it."""

            def forward(self, x: Array) -> Array:
                self.sign = np.where(x.flags.c_contiguous, np.sign(x), 1.0)
                return np.where(np.abs(x) < 2e-4, np.abs(x), np.nan)

            def backward(self, dy: Array) -> Array:
                return np.asarray(dy * self.sign)

        report = check_gradients(Edge(), np.zeros((3, 2)))
        assert report["x"].uninformative == 6

    def test_what_fails_in_another_way_nearby_is_said(self) -> None:
        class OffZero(Layer):
            def forward(self, x: Array) -> Array:
                self.x = x.copy()
                if (np.abs(x) > 1e-3).any():
                    x[...] = 1
                return np.abs(self.x)

            def backward(self, dy: Array) -> Array:
                return np.asarray(dy * np.sign(self.x))

        with pytest.raises(GradientCheckError, match="forward changed x in place"):
            check_gradients(OffZero(), np.zeros((3, 2)))

    def test_what_fails_in_another_way_in_other_memory_is_said(self) -> None:
        class Writes(Layer):
            def forward(self, x: Array) -> Array:
                y = x.copy()
                if not x.flags.c_contiguous:
                    x[...] = 1
                return y

            def backward(self, dy: Array) -> Array:
                return dy.copy()

        with pytest.raises(GradientCheckError, match="forward changed x in place") as error:
            check_gradients(Writes(), X)
        assert error.value.verdict is Verdict.CHANGED_IN_PLACE


class TestParameterWithoutAxes:
    """One learned number, as the slope of a leaky ReLU may be."""

    class Scale(Layer):
        def __init__(self, factor: float = 1.0) -> None:
            self.scale, self.factor = Parameter(2.0), factor

        def forward(self, x: Array) -> Array:
            self.x = x
            return x * self.scale.value

        def backward(self, dy: Array) -> Array:
            self.scale.grad = np.asarray(self.factor * np.sum(dy * self.x))
            return dy * self.scale.value

    def test_is_checked_as_others_are(self) -> None:
        assert check_gradients(self.Scale(), X)["scale"].checked == 1

    def test_is_found_wrong_and_the_cause_is_told(self) -> None:
        with pytest.raises(GradientCheckError, match=r"scale at index \(\)") as caught:
            check_gradients(self.Scale(factor=2.0), X)
        assert caught.value.cause is Cause.FACTOR
