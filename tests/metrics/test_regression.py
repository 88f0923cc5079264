import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_cases import said
from sklearn import metrics as reference

from tinynet import R2, Array, MeanAbsoluteErrorMetric, RootMeanSquaredError

NAN = math.nan
seeds = st.integers(0, 2**32 - 1)


def drawn(seed: int, *shape: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    targets = rng.standard_normal(shape) * rng.choice([1e-3, 1, 1e3]) + rng.choice([0, -50, 1e4])
    return targets + rng.standard_normal(shape), targets


def exact_r2(prediction: Array, targets: Array) -> float:
    """The formula on the whole data, in fractions."""
    t, p = (list(map(Fraction, values.tolist())) for values in (targets, prediction))
    mean = sum(t, Fraction(0)) / len(t)
    residuals = sum((a - b) ** 2 for a, b in zip(t, p, strict=True))
    return float(1 - residuals / sum((a - mean) ** 2 for a in t))


class TestErrors:
    @given(seeds, st.sampled_from([(9,), (9, 1), (9, 3), (4, 2, 3)]))
    def test_errors_of_all_entries_are_those_of_scikit_learn(self, seed: int, shape: Any) -> None:
        prediction, targets = drawn(seed, *shape)
        t, p = targets.ravel(), prediction.ravel()
        assert MeanAbsoluteErrorMetric()(prediction, targets) == pytest.approx(
            {"mean_absolute_error": reference.mean_absolute_error(t, p)}, rel=1e-12
        )
        assert RootMeanSquaredError()(prediction, targets) == pytest.approx(
            {"root_mean_squared_error": reference.root_mean_squared_error(t, p)}, rel=1e-12
        )

    def test_the_root_is_taken_of_the_mean_over_all_batches(self) -> None:
        metric = RootMeanSquaredError()
        for error in (3.0, 4.0, 0.0, 0.0):
            metric.update(np.array([error]), np.zeros(1))
        assert metric.results() == {"root_mean_squared_error": 2.5}  # the mean of roots: 1.75

    def test_errors_of_float32_are_computed_in_float64(self) -> None:
        prediction, targets = np.full(3, 2**24, np.float32), np.full(3, 2**24 + 1.0)
        for metric in (MeanAbsoluteErrorMetric(), RootMeanSquaredError()):
            assert list(metric(prediction, targets).values()) == [1]
        many = np.full(10**5, 0.1, np.float32)
        got = MeanAbsoluteErrorMetric()(many, np.zeros(10**5))["mean_absolute_error"]
        assert got == pytest.approx(float(np.float32(0.1)), rel=1e-14)

    def test_targets_of_unsigned_integers_do_not_wrap_around(self) -> None:
        prediction, targets = np.array([0.0, 1.0]), np.array([3, 255], np.uint8)
        assert MeanAbsoluteErrorMetric()(prediction, targets)["mean_absolute_error"] == 128.5
        bytes_ = prediction.astype(np.uint8)
        assert MeanAbsoluteErrorMetric()(bytes_, targets)["mean_absolute_error"] == 128.5
        assert R2()(bytes_, targets)["r2"] == exact_r2(prediction, targets.astype(float))


class TestR2:
    @given(seeds)
    def test_r2_is_that_of_scikit_learn(self, seed: int) -> None:
        prediction, targets = drawn(seed, 9)
        expected = reference.r2_score(targets, prediction)
        assert R2()(prediction, targets)["r2"] == pytest.approx(expected, rel=1e-9)

    @given(seeds)
    def test_r2_of_several_outputs_is_their_mean_as_in_scikit_learn(self, seed: int) -> None:
        prediction, targets = drawn(seed, 12, 3)
        targets[:, 1] *= 100  # in another unit
        expected = reference.r2_score(targets, prediction, multioutput="raw_values")
        metric = R2()
        assert metric(prediction, targets)["r2"] == pytest.approx(expected.mean(), rel=1e-9)
        assert metric.per_output() == pytest.approx(expected, rel=1e-9)
        sequence = (6, 2, 3)
        metric.update(prediction.reshape(sequence), targets.reshape(sequence))
        assert metric.results()["r2"] == pytest.approx(expected.mean(), rel=1e-9)

    @pytest.mark.parametrize("offset", [1e6, -1e9])
    @pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
    def test_a_large_mean_of_the_targets_costs_no_digits_in_any_batches(
        self, offset: float, batch_size: int
    ) -> None:
        rng = np.random.default_rng(0)
        targets = offset + rng.standard_normal(1000)
        prediction = targets + 0.5 * rng.standard_normal(1000)
        metric = R2()
        for start in range(0, 1000, batch_size):
            rows = slice(start, start + batch_size)
            metric.update(prediction[rows], targets[rows])
        expected = exact_r2(prediction, targets)
        assert metric.results()["r2"] == pytest.approx(expected, rel=1e-13)
        sums = 1 - ((targets - prediction) ** 2).sum() / (
            (targets**2).sum() - targets.sum() ** 2 / 1000
        )
        assert abs(sums - expected) > 1e-8  # what plain sums of squares lose

    def test_a_first_target_far_from_the_others_costs_few_digits(self) -> None:
        rng = np.random.default_rng(1)
        targets = rng.standard_normal(1000)
        targets[0] = 1e8
        prediction = targets + 1e6 * rng.standard_normal(1000)
        metric = R2()
        for row in range(1000):
            metric.update(prediction[row : row + 1], targets[row : row + 1])
        expected = exact_r2(prediction, targets)
        assert metric.results()["r2"] == pytest.approx(expected, rel=1e-10)

    def test_batches_sorted_by_target_give_the_variance_of_the_whole(self) -> None:
        targets = np.repeat([0.0, 100.0], 50)
        metric = R2()
        for rows in (slice(50), slice(50, 100)):
            metric.update(targets[rows] + 1, targets[rows])
        assert metric.results()["r2"] == pytest.approx(1 - 1 / 2500, rel=1e-15)

    def test_r2_of_the_mean_is_0_and_below_it_for_worse(self) -> None:
        targets = np.array([1.0, 2.0, 6.0])
        assert R2()(np.full(3, 3.0), targets) == {"r2": 0}
        assert R2()(np.full(3, 5.0), targets)["r2"] == 1 - 26 / 14

    @pytest.mark.parametrize("value", [0.0, 0.1, 1e6 + 0.1])
    @pytest.mark.parametrize("error", [0.0, 1.0])
    def test_r2_of_constant_targets_is_nan(self, value: float, error: float) -> None:
        metric = R2()
        for size in (3, 1, 6):
            metric.update(np.full(size, value + error), np.full(size, value))
            assert math.isnan(metric.results()["r2"])

    def test_an_output_of_constant_targets_is_left_out_of_the_mean(self) -> None:
        targets = np.array([[1.0, 0.1], [2.0, 0.1], [6.0, 0.1]])
        metric = R2()
        assert metric(np.full((3, 2), 3.0), targets) == {"r2": 0}
        assert metric.per_output().tolist() == pytest.approx([0, NAN], nan_ok=True)

    def test_the_number_of_outputs_stays(self) -> None:
        metric = R2()
        metric.update(np.zeros(3), np.arange(3))
        metric.update(np.zeros((3, 1)), np.arange(3)[:, None])
        assert said(metric.update, np.zeros((2, 2)), np.ones((2, 2))) == (
            "R2() expects 1 outputs as in former batches, got 2"
        )


@pytest.mark.parametrize("kind", [MeanAbsoluteErrorMetric, RootMeanSquaredError, R2])
class TestEveryRegressionMetric:
    @pytest.mark.parametrize("value", [NAN, math.inf])
    def test_a_prediction_or_target_that_is_not_finite_is_not_hidden(
        self, kind: Any, value: float
    ) -> None:
        values = np.array([[1.0, 1.0], [2.0, 2.0], [4.0, 3.0]])
        for place in (0, 1):
            pair = [values + 1, values.copy()]
            pair[place][1, 1] = value
            (result,) = kind()(*pair).values()
            assert not math.isfinite(result)

    @pytest.mark.parametrize(
        ("prediction", "targets", "sentence"),
        [
            (
                np.zeros((3, 1)),
                np.zeros((1, 3)),
                "targets of the shape of the prediction, (3, 1), got (1, 3); targets.reshape(3, 1)",
            ),
            (np.zeros((3, 2)), np.zeros(3), "the shape of the prediction, (3, 2), got (3,)"),
            (np.array(1.0), np.array(1.0), "prediction of shape (N, ...), got ()"),
            ([1.0], np.ones(1), "prediction to be a NumPy array, got list"),
            (np.ones(1), np.array(["a"]), "targets of a number dtype, got <U1"),
        ],
    )
    def test_targets_of_another_shape_are_refused(
        self, kind: Any, prediction: Any, targets: Any, sentence: str
    ) -> None:
        message = said(kind(), prediction, targets)
        assert message.startswith(f"{kind.__name__}() expects ")
        assert sentence in message
