import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

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

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 3))


class Linear(Layer):
    """y = x W + b, as a student writes it; each wrong layer below changes one thing."""

    def __init__(self, inputs: int = 3, outputs: int = 3) -> None:
        rng = np.random.default_rng(1)
        self.weight = Parameter(rng.standard_normal((inputs, outputs)))
        self.bias = Parameter(rng.standard_normal(outputs))

    def forward(self, x: Array) -> Array:
        self.x = x
        return x @ self.weight.value + self.bias.value

    def backward(self, dy: Array) -> Any:
        self.weight.grad = self.x.T @ dy
        self.bias.grad = dy.sum(axis=0)
        return dy @ self.weight.value.T


class BiasSummedOverAll(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.bias.grad = np.sum(dy)
        return dx


class BiasSummedOverAllAndSpread(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.bias.grad = np.full(3, np.sum(dy))
        return dx


class TransposedWeight(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.weight.grad = dy.T @ self.x
        return dx


class TransposedDx(Linear):
    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        return dy @ self.weight.value


class MeanForSum(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.bias.grad = dy.mean(axis=0)
        return dx


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


class FirstBatchKept(Linear):
    first: Array | None = None

    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        if self.first is None:
            self.first = x.copy()
        self.x = self.first
        return y


class FirstBatchOfThisSizeKept(Linear):
    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[int, Array] = {}

    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        self.x = self.seen.setdefault(len(x), x.copy())
        return y


class FirstSizeKept(Linear):
    def forward(self, x: Array) -> Array:
        if not hasattr(self, "n"):
            self.n = len(x)
        return super().forward(x) / self.n

    def backward(self, dy: Array) -> Any:
        return super().backward(dy / len(dy))


class ForwardOfOneSizeOnly(Linear):
    def forward(self, x: Array) -> Array:
        if not hasattr(self, "room"):
            self.room = np.zeros_like(x)
        return super().forward(x + self.room)


class AddedInsteadOfWritten(Linear):
    def backward(self, dy: Array) -> Any:
        if self.weight.grad is None:
            self.weight.grad = np.zeros_like(self.weight.value)
        self.weight.grad += self.x.T @ dy
        self.bias.grad = dy.sum(axis=0)
        return dy @ self.weight.value.T


class AddedInATotalOfItsOwn(Linear):
    total: Any = 0.0

    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.total = self.total + dy.sum(axis=0)
        self.bias.grad = np.asarray(self.total)
        return dx


class WeightOfTheStartKept(Linear):
    def __init__(self) -> None:
        super().__init__()
        self.transposed = self.weight.value.T.copy()

    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        return dy @ self.transposed


class WeightOfTheFirstForwardKept(Linear):
    transposed: Array | None = None

    def forward(self, x: Array) -> Array:
        if self.transposed is None:
            self.transposed = self.weight.value.T.copy()
        return super().forward(x)

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
        self.x = Parameter(np.arange(1.0, 4.0))

    def forward(self, x: Array) -> Array:
        self.kept = x
        return x * self.x.value

    def backward(self, dy: Array) -> Array:
        self.x.grad = (dy * self.kept).sum(axis=0)
        return 123 * dy


class SinglePrecisionInside(Linear):
    def forward(self, x: Array) -> Array:
        return super().forward(x).astype(np.float32)


class InputOverwritten(Linear):
    def forward(self, x: Array) -> Array:
        x -= x.mean(axis=0)
        return super().forward(x)


class InputOverwrittenInBackward(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.x *= 0
        return dx


class UpstreamOverwritten(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        dy *= 2
        return dx


class WeightOverwritten(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.weight.value -= 0.1
        return dx


class UpstreamIgnored(Linear):
    def backward(self, dy: Array) -> Any:
        return super().backward(np.ones_like(dy))


class NoDx(Linear):
    def backward(self, dy: Array) -> Any:
        super().backward(dy)


class NoBiasGradient(Linear):
    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        self.bias.grad = None
        return dx


class BackwardRaises(Linear):
    def backward(self, dy: Array) -> Any:
        return super().backward(dy[:, :-1])


class NotANumberInBackward(Linear):
    def backward(self, dy: Array) -> Any:
        return super().backward(dy) * np.nan


class NotANumberInForward(Linear):
    def forward(self, x: Array) -> Array:
        return super().forward(x) * np.inf


class Chance(Linear):
    def forward(self, x: Array) -> Array:
        return super().forward(x) * np.random.default_rng().uniform()


class Takagi(Layer):
    """Σ dist(2ᵏ x, nearest whole number) / 2ᵏ: continuous, with a kink wherever one looks."""

    def forward(self, x: Array) -> Array:
        waves = [2.0**k * x for k in range(60)]
        tents = [abs(w - np.round(w)) / 2.0**k for k, w in enumerate(waves)]
        return np.asarray(np.sum(tents, axis=0))

    def backward(self, dy: Array) -> Array:
        return np.zeros_like(dy)


WRONG: dict[Callable[[], Layer], str] = {
    BiasSummedOverAll: r"gradient of bias: backward gave the shape \(\), forward uses \(3,\)",
    BiasSummedOverAllAndSpread: r"gradient of bias at index \(0,\): backward gave .*, central",
    TransposedWeight: r"gradient of weight at index \(0, 1\): backward gave",
    lambda: TransposedWeight(3, 2): r"gradient of weight: backward gave the shape \(2, 3\)",
    TransposedDx: r"gradient of x at index \(0, 0\)",
    lambda: TransposedDx(3, 2): r"backward raised ValueError.* for x of shape",
    MeanForSum: r"gradient of bias at index \(0,\)",
    SignOfOneEntry: r"gradient of weight at index \(2, 1\)",
    AThousandthTooMuch: r"gradient of x at index \(0, 0\)",
    AHundredThousandthTooMuch: r"gradient of x at index \(0, 0\)",
    FirstBatchKept: r"ValueError.* for x of shape \(4, 3\), after one of shape \(5, 3\)$",
    FirstBatchOfThisSizeKept: r"gradient of weight at index \(0, 0\)",
    FirstSizeKept: r"gradient of x at index \(0, 0\)",
    ForwardOfOneSizeOnly: r"forward raised ValueError.*shape \(4, 3\), having accepted another",
    AddedInsteadOfWritten: r"gradient of weight at index \(0, 0\)",
    AddedInATotalOfItsOwn: r"gradient of bias at index \(0,\)",
    WeightOfTheStartKept: r"gradient of x at index \(0, 0\)",
    WeightOfTheFirstForwardKept: r"gradient of x at index \(0, 0\)",
    ParameterNamedX: r"gradient of x at index \(0, 0\)",
    SinglePrecisionInside: r"forward gave float32 for an x of float64, expected float64",
    InputMadePositive: r"forward changed x in place at index",
    InputOverwritten: r"forward changed x in place at index \(0, 0\), from .* to ",
    InputOverwrittenInBackward: r"backward changed x in place at index \(0, 0\)",
    UpstreamOverwritten: r"backward changed dy in place at index \(0, 0\)",
    WeightOverwritten: r"backward changed weight in place at index \(0, 0\)",
    UpstreamIgnored: r"gradient of x at index \(0, 0\)",
    NoDx: r"backward gave no gradient of x",
    NoBiasGradient: r"backward gave no gradient of bias",
    BackwardRaises: r"backward raised ValueError.* for x of shape \(5, 3\)$",
    NotANumberInBackward: r"gradient of x at index \(0, 0\): backward gave nan",
    NotANumberInForward: r"forward gave -?inf, which has no derivative",
    Chance: r"forward gave two different results for the same x",
    Takagi: r"forward has no slope by x at index|gradient of x at index",
}


@pytest.mark.parametrize(("make", "message"), WRONG.items())
def test_rejects_what_is_wrong_and_says_what(make: Callable[[], Layer], message: str) -> None:
    layer = make()
    with pytest.raises(GradientCheckError, match=message) as error:
        check_gradients(layer, X)
    assert str(error.value).startswith(f"{layer!r}: ")
    assert error.value.layer == repr(layer)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("make", WRONG)
def test_rejects_it_for_any_draw(make: Callable[[], Layer], seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((4, 3))
    with pytest.raises(GradientCheckError):
        check_gradients(make(), x, rng=seed)


def test_accepts_the_right_layer_and_names_the_largest_difference() -> None:
    differences = check_gradients(Linear(), X)
    assert list(differences) == ["x", "weight", "bias"]
    assert all(0 <= difference < 1e-8 for difference in differences.values())


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_the_largest_difference_is_relative_to_the_largest_entry(scale: float) -> None:
    slightly_off = Function(lambda x: scale * x, lambda x: scale * (1 + 5e-7) + 0 * x)
    assert check_gradients(slightly_off, X)["x"] == pytest.approx(5e-7, rel=1e-2)


def test_the_error_carries_where_and_both_values() -> None:
    with pytest.raises(GradientCheckError) as caught:
        check_gradients(SignOfOneEntry(), X)
    error = caught.value
    assert (error.layer, error.parameter, error.index) == (
        "SignOfOneEntry(weight=(3, 3), bias=(3,))",
        "weight",
        (2, 1),
    )
    assert error.analytic is not None
    assert error.numeric is not None
    assert error.analytic == pytest.approx(-error.numeric)
    assert f"backward gave {error.analytic:.10g}" in str(error)
    assert f"central differences give {error.numeric:.10g}" in str(error)


class TestLosses:
    """Squared error, mean over rows, right and wrong."""

    class MeanOfSquares(Layer):
        def forward(self, prediction: Array, targets: Array) -> float:
            self.difference = prediction - targets
            return float(np.square(self.difference).sum() / len(prediction))

        def backward(self) -> Array:
            return 2 * self.difference / len(self.difference)

    class WithoutTheMean(MeanOfSquares):
        def backward(self) -> Array:
            return 2 * self.difference

    class OverwritesTargets(MeanOfSquares):
        def forward(self, prediction: Array, targets: Array) -> float:
            targets -= prediction
            return float(np.square(targets).sum() / len(prediction))

    def test_accepts_a_right_loss(self) -> None:
        assert list(check_gradients(self.MeanOfSquares(), X, X[::-1])) == ["x"]
        check_gradients(SoftmaxCrossEntropy(), X, np.array([0, 2, 1, 1]))

    def test_rejects_a_missing_mean(self) -> None:
        with pytest.raises(GradientCheckError, match=r"gradient of x at index \(0, 0\)") as error:
            check_gradients(self.WithoutTheMean(), X, X[::-1])
        assert error.value.analytic == pytest.approx(4 * (error.value.numeric or 0))

    def test_rejects_overwritten_targets(self) -> None:
        with pytest.raises(GradientCheckError, match="forward changed targets in place"):
            check_gradients(self.OverwritesTargets(), X, X[::-1])


class TestWhatIsGiven:
    def test_stays_as_it_is(self) -> None:
        layer, x = Dense(3, 2, rng=0).eval(), X.astype(np.float32)
        kept = [layer.weight.value.copy(), x.copy()]
        check_gradients(layer, x)
        assert (layer.weight.value == kept[0]).all()
        assert (x == kept[1]).all()
        assert layer.weight.value.dtype == np.float32
        assert layer.weight.grad is None
        assert not layer.training

    def test_float32_and_lists_are_checked_in_float64(self) -> None:
        seen = set()

        class Watch(Layer):
            def forward(self, x: Array) -> Array:
                seen.add(x.dtype)
                return x.copy()

            def backward(self, dy: Array) -> Array:
                return dy.copy()

        check_gradients(Watch(), X.astype(np.float32))
        rows: Any = X.tolist()
        check_gradients(Watch(), rows)
        assert seen == {np.dtype(np.float64)}

    def test_integers_have_no_gradient_but_parameters_do(self) -> None:
        model = Sequential([Flatten(), Rescale(1 / 255), Dense(4, 2, rng=0)])
        x = RNG.integers(0, 256, (3, 2, 2), np.uint8)
        assert list(check_gradients(model, x)) == ["layers.2.weight", "layers.2.bias"]

    def test_one_sample_without_a_batch_axis(self) -> None:
        assert list(check_gradients(Dense(3, 2, rng=0), X[0])) == ["x", "weight", "bias"]

    def test_one_sample_and_a_cache_for_each_size(self) -> None:
        with pytest.raises(GradientCheckError, match="gradient of weight at index"):
            check_gradients(FirstBatchOfThisSizeKept(), X[:1])

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
        with pytest.raises(InputError, match="expects a layer such as"):
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
        x, layer = X, Dense(3, 2, rng=0)
        assert check_gradients(layer, x, rng=3) == check_gradients(layer, x, rng=3)
        rng = np.random.default_rng(3)
        assert check_gradients(layer, x, rng=rng) == check_gradients(layer, x, rng=3)

    def test_the_tolerance_is_the_callers(self) -> None:
        with pytest.raises(GradientCheckError):
            check_gradients(AThousandthTooMuch(), X, tolerance=0.9e-3)
        check_gradients(AThousandthTooMuch(), X, tolerance=1.1e-3)


class Function(Layer):
    """y = f(x) entry by entry, with f' given."""

    def __init__(self, f: Callable[[Array], Any], derivative: Callable[[Array], Any]) -> None:
        self.f, self.derivative = f, derivative

    def forward(self, x: Array) -> Array:
        self.x = x
        return np.asarray(self.f(x))

    def backward(self, dy: Array) -> Any:
        return dy * self.derivative(self.x)


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
        assert math.isfinite(check_gradients(Rescale(1e-30), X)["x"])

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
