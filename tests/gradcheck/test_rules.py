"""Each rule of the gradient check: what breaks it, and what does not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bug_zoo import activations, keeping, products, stale, starts
from bug_zoo.right import Function, Gain, Linear
from bug_zoo.specimen import broken_rule

from tinynet import Array, Dense, GradientCheckError, Layer, Parameter, Rescale, Sequential
from tinynet.gradcheck import Cause, Verdict, check_gradients

X = np.random.default_rng(0).standard_normal((5, 4))


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
        if not hasattr(self, "buffer"):
            self.buffer = np.zeros_like(x)
        return super().forward(x + self.buffer)


class InitialWeightKept(Linear):
    def __init__(self) -> None:
        super().__init__()
        self.transposed = self.weight.value.T.copy()

    def backward(self, dy: Array) -> Any:
        super().backward(dy)
        return dy @ self.transposed


class InputMadePositive(Linear):
    """In place, so that a second call changes nothing."""

    def forward(self, x: Array) -> Array:
        self.sign = np.sign(x)
        np.abs(x, out=x)
        return super().forward(x)

    def backward(self, dy: Array) -> Any:
        return super().backward(dy) * self.sign


class ParameterNamedX(Layer):
    """y = x · self.x."""

    def __init__(self) -> None:
        self.x = Parameter(np.arange(1.0, 5.0))

    def forward(self, x: Array) -> Array:
        self.kept = x
        return x * self.x.value

    def backward(self, dy: Array) -> Array:
        self.x.grad = (dy * self.kept).sum(axis=0)
        return dy * self.x.value


class WrongBesideParameterNamedX(ParameterNamedX):
    def backward(self, dy: Array) -> Array:
        super().backward(dy)
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


class ScratchReused(Linear):
    """Relies on values that an earlier call left in scratch memory."""

    def forward(self, x: Array) -> Array:
        if self._scratch_memory is None:
            self.scratch("sum", (1,), x.dtype)[...] = 0
        total = self.scratch("sum", (1,), x.dtype)
        total += 1
        return super().forward(x) + total


WRONG: dict[Callable[[], Layer], tuple[Verdict, str]] = {
    SignOfOneEntry: (Verdict.WRONG, r"gradient of weight at index \(2, 1\): backward gave"),
    AThousandthTooMuch: (Verdict.WRONG, r"gradient of x at index \(0, 0\): backward gave"),
    AHundredThousandthTooMuch: (Verdict.WRONG, r"gradient of x at index \(0, 0\)"),
    InitialWeightKept: (Verdict.WRONG, r"gradient of x at index \(0, 0\)"),
    WrongBesideParameterNamedX: (Verdict.WRONG, r"gradient of x at index \(0, 0\)"),
    keeping.AddedUpInside: (Verdict.NOT_ZERO, "for a dy of 0, backward gave the gradient of bias"),
    activations.GradientClipped: (
        Verdict.NOT_LINEAR,
        r"for a linear combination of two dy, .* the gradient of x .* at index .*, expected ",
    ),
    WrongInLargeBatches: (
        Verdict.OTHER_BATCH,
        r"gradient of x at index .* for 6 samples, but right for 5",
    ),
    keeping.FirstBatchKept: (
        Verdict.BACKWARD_RAISES,
        r"ValueError.* for x of shape \(5, 4\), after one of shape \(6, 4\)$",
    ),
    BackwardRaises: (
        Verdict.BACKWARD_RAISES,
        r"backward raised ValueError.* for x of shape \(5, 4\)$",
    ),
    ForwardOfOneSizeOnly: (
        Verdict.FORWARD_RAISES,
        r"forward raised ValueError.*for x of shape \(5, 4\), after one of shape \(6, 4\)$",
    ),
    products.BiasIsOneNumber: (
        Verdict.SHAPE,
        r"gradient of bias: backward gave the shape \(\), forward uses \(3,\)",
    ),
    DxOfSeveral: (
        Verdict.SHAPE,
        r"gradient of x: backward gave a tuple that is no array, forward uses the shape \(5, 4\)",
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
        r"backward changed x in place at index \(0, 0\), from .* to -?0",
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
        "for x and dy that are column-major in memory, backward gave the gradient of x ",
    ),
    stale.KeptByTheArray: (
        Verdict.REFILLED,
        r"for an x in an array that held another batch, backward gave the gradient of weight .*, ",
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
    ScratchReused: (
        Verdict.NOT_REPEATABLE,
        "forward gave two different results for the same x and the same state",
    ),
}


@pytest.mark.parametrize(("make", "expected"), WRONG.items())
def test_a_wrong_layer_is_rejected_with_the_rule_that_it_breaks(
    make: Callable[[], Layer], expected: tuple[Verdict, str]
) -> None:
    layer, (verdict, message) = make(), expected
    with pytest.raises(GradientCheckError, match=message) as caught:
        raise broken_rule(layer, X) or AssertionError("no rule is broken")
    assert str(caught.value).startswith(f"{layer!r}: ")
    assert caught.value.layer == repr(layer)
    assert caught.value.verdict is verdict


def test_every_verdict_is_tested() -> None:
    tested_for_check_layer = {Verdict.UNINFORMATIVE}
    assert {verdict for verdict, _ in WRONG.values()} | tested_for_check_layer == set(Verdict)


def test_the_error_of_a_wrong_entry_has_its_position_both_values_and_neighbours() -> None:
    error = broken_rule(SignOfOneEntry(), X)
    assert error is not None
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
    assert f"central differences give {error.numeric:.10g} ± {error.error:.0e}" in str(error)
    assert [index for index, *_ in error.around] == [(i, j) for i in (1, 2, 3) for j in (0, 1, 2)]
    wrong = [index for index, a, n in error.around if a != pytest.approx(n, rel=1e-6)]
    assert wrong == [(2, 1)]


def test_a_parameter_named_x_is_distinguished_from_the_input() -> None:
    assert list(check_gradients(ParameterNamedX(), X)) == ["x", "self.x"]


@pytest.mark.parametrize(("tolerance", "verdict"), [(0.9e-3, Verdict.WRONG), (1.1e-3, None)])
def test_the_tolerance_decides_whether_a_relative_difference_is_an_error(
    tolerance: float, verdict: Verdict | None
) -> None:
    error = broken_rule(AThousandthTooMuch(), X, tolerance=tolerance)
    assert getattr(error, "verdict", None) is verdict


def test_nan_targets_count_as_unchanged() -> None:
    class IgnoresNan(Layer):
        def forward(self, x: Array, targets: Array) -> float:
            self.gap = np.where(np.isnan(targets), 0, x - targets)
            targets[0, 1] = 0
            return float((self.gap**2).sum())

        def backward(self) -> Array:
            return np.asarray(2 * self.gap)

    error = broken_rule(IgnoresNan(), X, np.where(np.arange(4) == 0, np.nan, X[::-1]))
    assert error is not None
    assert error.parameter == "targets"
    assert error.index == (0, 1)


# Batches that the caller did not give


def test_a_batch_size_that_a_fresh_copy_refuses_is_not_checked() -> None:
    class OnlyFive(Linear):
        def forward(self, x: Array) -> Array:
            if len(x) != 5:
                raise ValueError
            return super().forward(x)

    assert "another batch size" not in check_gradients(OnlyFive(), X).rules
    assert "another batch size" in check_gradients(Linear(), X).rules


def test_other_batches_have_only_the_given_values() -> None:
    acosh = Function(np.arccosh, lambda x: 1 / np.sqrt(x**2 - 1))
    check_gradients(acosh, 1.02 + np.abs(X))
    check_gradients(acosh, 1.02 + np.abs(X[:1]))


def test_a_layer_that_accepts_no_other_batch_passes() -> None:
    class OnlyThese(Linear):
        def forward(self, x: Array) -> Array:
            if not np.allclose(x, X, atol=1e-3):
                raise ValueError
            return super().forward(x)

    report = check_gradients(OnlyThese(), X)
    assert "other batches before" not in report.rules
    assert "other batches before" in check_gradients(Linear(), X).rules


def test_a_matrix_inverse_without_a_batch_axis_passes() -> None:
    class Inverse(Layer):
        def forward(self, x: Array) -> Array:
            self.y = np.linalg.inv(x)
            return self.y.copy()

        def backward(self, dy: Array) -> Array:
            return np.asarray(-self.y.T @ dy @ self.y.T)

    check_gradients(Inverse(), np.eye(4) + 0.1 * X[:4])


def test_a_single_sample_does_not_hide_a_cache_per_batch_size() -> None:
    error = broken_rule(keeping.BatchKeptForEachSize(), X[:1])
    assert error is not None
    assert error.parameter == "weight"


# backward_parameters


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
def test_backward_parameters_has_to_write_every_gradient(
    write: Callable[[Any], None], sentence: str
) -> None:
    class Alone(Linear):
        def backward_parameters(self, dy: Array) -> None:  # noqa: ARG002
            write(self)

    with pytest.raises(GradientCheckError, match=f"backward_parameters {sentence}") as caught:
        check_gradients(Alone(), X)
    assert caught.value.verdict is Verdict.WITHOUT_DX
    assert caught.value.cause is None


def test_backward_parameters_is_checked_for_an_x_of_integers() -> None:
    model = Sequential([Rescale(0.5), Dense(4, 2, rng=0)])
    check_gradients(model, np.arange(20).reshape(5, 4))


def test_an_empty_parameter_needs_no_gradient() -> None:
    class Empty(Gain):
        def __init__(self) -> None:
            super().__init__()
            self.none = Parameter(np.zeros(0))

        def backward_parameters(self, dy: Array) -> None:
            self.backward(dy)

    assert list(check_gradients(Empty(), X)) == ["x", "g"]


# Initial values: parameters often start at 0, at 1, or as the identity, where bugs do not show


def test_an_initial_weight_of_zero_does_not_hide_a_wrong_dx() -> None:
    error = broken_rule(starts.ReZeroStraightOnly(), X)
    assert error is not None
    assert error.parameter == "x"


def test_an_identity_matrix_does_not_hide_a_transpose() -> None:
    with pytest.raises(GradientCheckError) as caught:
        check_gradients(starts.IdentityWithoutTranspose(), X)
    assert caught.value.cause is Cause.TRANSPOSE


def test_a_parameter_entry_that_has_to_be_zero_stays_zero() -> None:
    class Strict(Gain):
        def __init__(self) -> None:
            self.g = Parameter([0.0, 1.0, 2.0, 3.0])

        def forward(self, x: Array) -> Array:
            return super().forward(x) if self.g.value[0] == 0 else x * np.nan

    report = check_gradients(Strict(), X, entries=1)
    assert "another batch size" in report.rules


# Memory layouts, and rounding near kinks


def test_a_layout_that_rounds_to_the_other_side_of_a_kink_is_no_error() -> None:
    class Order(Layer):
        """The sign of a sum that is 0 up to rounding, which depends on the layout of x."""

        def forward(self, x: Array) -> Array:
            self.on = x + (1e-17 if x.flags.c_contiguous else -1e-17) > 0
            return np.maximum(x, 0)

        def backward(self, dy: Array) -> Array:
            return np.asarray(dy * self.on)

    check_gradients(Order(), np.zeros((3, 2)))


def test_entries_are_uninformative_where_forward_is_not_finite_nearby() -> None:
    class Edge(Layer):
        """|x| that is only defined for |x| < 2e-4."""

        def forward(self, x: Array) -> Array:
            self.sign = np.where(x.flags.c_contiguous, np.sign(x), 1.0)
            return np.where(np.abs(x) < 2e-4, np.abs(x), np.nan)

        def backward(self, dy: Array) -> Array:
            return np.asarray(dy * self.sign)

    report = check_gradients(Edge(), np.zeros((3, 2)))
    assert report["x"].uninformative == 6


def test_another_rule_that_is_broken_at_a_perturbed_point_is_reported() -> None:
    class OffZero(Layer):
        def forward(self, x: Array) -> Array:
            self.x = x.copy()
            if ((np.abs(x) > 1e-3) & (np.abs(x) < 0.015)).any():
                x[...] = 1
            return np.abs(self.x)

        def backward(self, dy: Array) -> Array:
            return np.asarray(dy * np.sign(self.x))

    error = broken_rule(OffZero(), np.zeros((3, 2)))
    assert error is not None
    assert "forward changed x in place" in str(error)


def test_another_rule_that_is_broken_in_another_layout_is_reported() -> None:
    class Writes(Layer):
        def forward(self, x: Array) -> Array:
            y = x.copy()
            if not x.flags.c_contiguous:
                x[...] = 1
            return y

        def backward(self, dy: Array) -> Array:
            return dy.copy()

    with pytest.raises(GradientCheckError, match="forward changed x in place") as caught:
        check_gradients(Writes(), X)
    assert caught.value.verdict is Verdict.CHANGED_IN_PLACE
