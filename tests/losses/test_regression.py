import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinynet import Array, Huber, InputError, Layer, MeanAbsoluteError, MeanSquaredError
from tinynet.testing import check_layer, floats, sizes

batches = st.lists(sizes, min_size=1, max_size=4).map(tuple)


def whole_numbers(shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    dtypes = st.sampled_from([np.int64, np.int8])
    return dtypes.flatmap(lambda dtype: hnp.arrays(dtype, shape, elements=st.integers(-100, 100)))


def away_from_zero(shape: tuple[int, ...], center: float = 4) -> st.SearchStrategy[Array]:
    """Floats up to 3 from the center: beside a target a step of a tiny prediction is lost."""
    return floats(shape, bound=3).map(lambda x: x + center)


@pytest.mark.gradients
def test_mean_squared_error_gradients_are_right() -> None:
    check_layer(
        MeanSquaredError,
        ("N", ...),
        x=away_from_zero,
        targets=lambda shape: away_from_zero(shape, 3.25) | whole_numbers(shape),
    )


@given(st.data(), batches)
def test_mean_squared_error_equals_its_formula_on_any_floats_and_integers(
    data: st.DataObject, shape: tuple[int, ...]
) -> None:
    prediction = data.draw(floats(shape))
    targets = data.draw(floats(shape) | whole_numbers(shape))
    loss = MeanSquaredError()
    got = loss(prediction, targets)
    assert type(got) is float
    pairs = zip(prediction.ravel().tolist(), targets.ravel().tolist(), strict=True)
    differences = [Fraction(p) - Fraction(t) for p, t in pairs]
    mean = float(sum(d * d for d in differences) / len(differences))
    # The difference is rounded, and so is each result computed from it.
    tolerance = 8 * np.finfo(prediction.dtype).eps
    assert math.isclose(got, mean, rel_tol=tolerance)
    dprediction = loss.backward()
    smallest = float(np.finfo(prediction.dtype).smallest_normal)
    assert dprediction.shape == shape
    assert dprediction.dtype == prediction.dtype
    for entry, d in zip(dprediction.ravel().tolist(), differences, strict=True):
        expected = float(2 * d / len(differences))
        assert math.isclose(entry, expected, rel_tol=tolerance, abs_tol=smallest)


def test_mean_squared_error_divides_by_entries_and_not_by_rows() -> None:
    loss = MeanSquaredError()
    assert loss(np.full((2, 3), 3.0), np.zeros((2, 3))) == 9
    assert loss.backward().tolist() == [[1, 1, 1], [1, 1, 1]]


def test_mean_squared_error_of_600000_float32_entries_is_that_of_float64() -> None:
    rng = np.random.default_rng(0)
    prediction, targets = rng.standard_normal((2, 60_000, 10)).astype(np.float32)
    squares = (prediction.astype(np.float64) - targets) ** 2
    exact = math.fsum(squares.ravel().tolist()) / prediction.size
    assert MeanSquaredError()(prediction, targets) == pytest.approx(exact, rel=1e-9)


def test_a_small_squared_error_beside_a_large_one_is_not_rounded_away() -> None:
    prediction = np.array([4096, 2**-8], np.float32)
    assert MeanSquaredError()(prediction, np.zeros(2)) == (2**24 + 2**-16) / 2
    assert MeanSquaredError()(prediction, np.zeros(2, np.float32)) == (2**24 + 2**-16) / 2


@pytest.mark.parametrize(("dtype", "large"), [(np.float16, 6e4), (np.float32, 1e30)])
def test_mean_squared_error_squares_without_overflow_in_half_and_single_precision(
    dtype: Any, large: float
) -> None:
    prediction = np.array([large], dtype)
    loss = MeanSquaredError()
    assert loss(prediction, np.zeros(1, dtype)) == float(prediction[0]) ** 2


@pytest.mark.parametrize("targets", [np.array([2**24 + 1]), np.array([2.0**24 + 1])])
def test_mean_squared_error_does_not_round_targets_to_the_dtype_of_the_prediction(
    targets: Array,
) -> None:
    loss = MeanSquaredError()
    assert loss(np.array([2**24], np.float32), targets) == 1
    assert loss.backward().tolist() == [-2]


@pytest.mark.parametrize(
    ("prediction", "targets", "sentence"),
    [
        ([0.0], np.zeros(1), "prediction to be a NumPy array, got list"),
        (np.zeros(()), np.zeros(()), "prediction of shape (N, ...), got ()"),
        (np.zeros(3, int), np.zeros(3), "prediction of a float dtype, got int64; Rescale"),
        (np.zeros((0, 4)), np.zeros((0, 4)), "at least one entry, got (0, 4)"),
        (np.zeros((3, 0)), np.zeros((3, 0)), "at least one entry, got (3, 0)"),
        (np.zeros(3), [0, 1, 2], "targets to be a NumPy array, got list"),
        (np.zeros(3), np.zeros(3, complex), "targets of a number dtype, got complex128"),
        (
            np.zeros((3, 1)),
            np.zeros((1, 3)),
            "targets of the shape of the prediction, (3, 1), got (1, 3); "
            "targets.reshape(3, 1) gives it",
        ),
        (
            np.zeros(3),
            np.zeros((1, 3)),
            "targets of the shape of the prediction, (3,), got (1, 3); "
            "targets.reshape(3,) gives it",
        ),
        (np.zeros((3, 4)), np.zeros(4), "prediction, (3, 4), got (4,)"),
        (np.zeros((3, 4)), np.zeros((4, 3)), "prediction, (3, 4), got (4, 3)"),
        (np.zeros((3, 4)), np.zeros(()), "prediction, (3, 4), got ()"),
        (np.zeros((3, 4)), np.zeros((1, 4)), "prediction, (3, 4), got (1, 4)"),
    ],
)
def test_mean_squared_error_rejects_invalid_predictions_and_targets(
    prediction: Any, targets: Any, sentence: str
) -> None:
    with pytest.raises(InputError) as error:
        MeanSquaredError()(prediction, targets)
    message = str(error.value)
    assert message.startswith("MeanSquaredError() expects ")
    assert sentence in message
    assert ("reshape" in message) == ("reshape" in sentence)


def test_repr_of_mean_squared_error_is_its_constructor_call() -> None:
    assert repr(MeanSquaredError()) == "MeanSquaredError()"
    assert repr(MeanSquaredError("sum")) == "MeanSquaredError(reduction='sum')"


def absolute(d: Fraction, _delta: float) -> tuple[Fraction, Fraction]:
    """The loss of a difference d, and its derivative."""
    return abs(d), Fraction((d > 0) - (d < 0))


def huber(d: Fraction, delta: float) -> tuple[Fraction, Fraction]:
    if abs(d) <= delta:
        return d * d / 2, d
    bound = Fraction(delta)
    return bound * (abs(d) - bound / 2), bound if d > 0 else -bound


def square(d: Fraction, _delta: float) -> tuple[Fraction, Fraction]:
    return d * d, 2 * d


LOSSES: dict[str, tuple[Any, Any]] = {
    "MeanSquaredError": (lambda _delta, reduction: MeanSquaredError(reduction), square),
    "MeanAbsoluteError": (lambda _delta, reduction: MeanAbsoluteError(reduction), absolute),
    "Huber": (Huber, huber),
}
every_loss = pytest.mark.parametrize(("make", "term"), LOSSES.values(), ids=LOSSES)
DELTAS = st.sampled_from([0.5, 1.0, 2.0])


@every_loss
class TestEveryRegressionLoss:
    @given(st.data(), batches, DELTAS, st.sampled_from(["mean", "sum"]))
    def test_regression_loss_and_its_gradient_equal_their_formulas(
        self,
        make: Any,
        term: Any,
        data: st.DataObject,
        shape: tuple[int, ...],
        delta: float,
        reduction: str,
    ) -> None:
        # Few different numbers: differences of 0 and of exactly delta are common.
        numbers = st.sampled_from([-2.0, -0.5, 0.0, 0.5, 1.0, 2.5])
        dtype = data.draw(st.sampled_from([np.float32, np.float64]))
        prediction = data.draw(hnp.arrays(dtype, shape, elements=numbers))
        targets = data.draw(hnp.arrays(np.float64, shape, elements=numbers))
        loss: Layer = make(delta, reduction)
        got = loss(prediction, targets)
        assert type(got) is float
        pairs = zip(prediction.ravel().tolist(), targets.ravel().tolist(), strict=True)
        terms = [term(Fraction(p) - Fraction(t), delta) for p, t in pairs]
        size = len(terms) if reduction == "mean" else 1
        assert math.isclose(got, float(sum(value for value, _ in terms)) / size, rel_tol=1e-12)
        dprediction = loss.backward()
        assert dprediction.shape == shape
        assert dprediction.dtype == dtype
        for entry, (_, slope) in zip(dprediction.ravel().tolist(), terms, strict=True):
            assert math.isclose(entry, float(slope) / size, rel_tol=1e-6)

    def test_regression_loss_of_many_float32_entries_is_that_of_exact_arithmetic(
        self, make: Any, term: Any
    ) -> None:
        rng = np.random.default_rng(0)
        prediction, targets = 2 * rng.standard_normal((2, 6000)).astype(np.float32)
        pairs = zip(prediction.tolist(), targets.tolist(), strict=True)
        exact = math.fsum(float(term(Fraction(p) - Fraction(t), 1.0)[0]) for p, t in pairs)
        assert make(1.0, "sum")(prediction, targets) == pytest.approx(exact, rel=2e-8)

    def test_regression_loss_does_not_round_targets_to_the_dtype_of_the_prediction(
        self, make: Any, term: Any
    ) -> None:
        loss = make(3.0, "sum")
        assert loss(np.array([2**24], np.float32), np.array([2**24 + 1])) == term(1, 3.0)[0]
        assert loss.backward().tolist() == [-term(1, 3.0)[1]]

    def test_regression_loss_rejects_invalid_reductions_predictions_and_targets(
        self, make: Any, term: Any
    ) -> None:
        del term
        loss = make(1.0, "mean")
        name = type(loss).__name__
        with pytest.raises(InputError, match=rf"^{name} expects reduction to be 'mean' or 'sum'"):
            make(1.0, "average")
        for prediction, targets in (
            (np.zeros((3, 1)), np.zeros((1, 3))),
            (np.zeros((0, 1)), np.zeros((0, 1))),
            (np.zeros(3, int), np.zeros(3)),
        ):
            with pytest.raises(InputError, match=rf"^{name}\(\) expects "):
                loss(prediction, targets)


@pytest.mark.gradients
def test_mean_absolute_error_gradients_are_right() -> None:
    check_layer(
        MeanAbsoluteError,
        ("N", ...),
        x=away_from_zero,
        targets=lambda shape: away_from_zero(shape, 3.25) | whole_numbers(shape),
        reduction=st.sampled_from(["mean", "sum"]),
    )


def test_mean_absolute_error_has_gradient_0_where_prediction_equals_target() -> None:
    loss = MeanAbsoluteError()
    assert loss(np.array([1.0, 2.0]), np.array([1, 4])) == 1
    assert loss.backward().tolist() == [0, -0.5]


def test_repr_of_mean_absolute_error_is_its_constructor_call() -> None:
    assert repr(MeanAbsoluteError()) == "MeanAbsoluteError()"
    assert repr(MeanAbsoluteError("sum")) == "MeanAbsoluteError(reduction='sum')"


@pytest.mark.gradients
def test_huber_gradients_are_right() -> None:
    check_layer(
        Huber,
        ("N", ...),
        x=away_from_zero,
        targets=lambda shape: away_from_zero(shape, 3.25),
        delta=DELTAS,
        reduction=st.sampled_from(["mean", "sum"]),
    )


def test_huber_is_quadratic_within_delta_and_linear_beyond() -> None:
    loss = Huber(2.0)
    assert loss(np.array([1.0, -5.0, 2.0]), np.zeros(3)) == (0.5 + 2 * (5 - 1) + 2) / 3
    np.testing.assert_allclose(loss.backward(), np.array([1.0, -2.0, 2.0]) / 3)


def test_huber_computes_in_float64_what_float32_would_lose_or_overflow() -> None:
    prediction = np.array([4096, 2**-8], np.float32)
    assert Huber(5000, "sum")(prediction, np.zeros(2, np.float32)) == 2**23 + 2**-17
    large = np.array([1e30], np.float32)
    assert Huber(1e35)(large, np.zeros(1, np.float32)) == float(large[0]) ** 2 / 2


@pytest.mark.parametrize(
    ("delta", "sentence"),
    [
        (0, "above 0, got 0; try MeanAbsoluteError"),
        (-1, "a finite number >= 0, got -1"),
        (math.inf, "a finite number >= 0, got inf"),
    ],
)
def test_huber_rejects_a_delta_that_is_not_above_0(delta: float, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        Huber(delta)
    assert str(error.value) == f"Huber expects delta to be {sentence}"


def test_repr_of_huber_is_its_constructor_call() -> None:
    assert repr(Huber()) == "Huber()"
    assert repr(Huber(0.5, "sum")) == "Huber(delta=0.5, reduction='sum')"
