import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinynet import Array, InputError, MeanSquaredError, SoftmaxCrossEntropy, softmax
from tinynet.testing import check_layer, floats, labels, probability_rows, sizes

rows = st.tuples(sizes, sizes)


@st.composite
def labels_and_logits(draw: st.DrawFn, dtype: Any = np.float64) -> tuple[Array, Array]:
    shape = draw(rows)
    return draw(floats(shape, dtype, bound=20)), draw(labels(shape))


def cross_entropy(logits: list[float], probabilities: list[float]) -> float:
    """-Σ p log softmax(z) of one row, each term in its own exact sum."""
    largest = max(logits)
    log_sum = math.log(math.fsum(math.exp(z - largest) for z in logits))
    return math.fsum(
        p * (log_sum - (z - largest)) for z, p in zip(logits, probabilities, strict=True)
    )


class TestForward:
    @given(labels_and_logits())
    def test_of_labels_is_the_formula(self, drawn: tuple[Array, Array]) -> None:
        logits, labels = drawn
        wanted = [
            cross_entropy(row, [float(j == label) for j in range(len(row))])
            for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
        ]
        loss = SoftmaxCrossEntropy()(logits, labels)
        assert type(loss) is float
        assert math.isclose(loss, math.fsum(wanted) / len(wanted), rel_tol=1e-12, abs_tol=1e-12)

    @given(st.data(), rows)
    def test_of_probability_rows_is_the_formula(
        self, data: st.DataObject, shape: tuple[int, int]
    ) -> None:
        logits = data.draw(floats(shape, np.float64, bound=20))
        targets = data.draw(probability_rows(shape))
        wanted = map(cross_entropy, logits.tolist(), targets.tolist())
        loss = SoftmaxCrossEntropy()(logits, targets)
        mean = math.fsum(wanted) / shape[0]
        assert math.isclose(loss, mean, rel_tol=1e-12, abs_tol=1e-12)

    def test_of_one_class_is_zero(self) -> None:
        loss = SoftmaxCrossEntropy()
        assert loss(np.array([[3.0], [-3.0]]), np.array([0, 0])) == 0
        assert loss.backward().tolist() == [[0], [0]]

    @given(
        st.lists(st.lists(st.floats(-1e30, 1e30, width=64), min_size=3, max_size=3), min_size=1),
        st.integers(0, 2),
        st.booleans(),
    )
    def test_of_huge_float32_logits_is_finite_and_right(
        self, values: list[list[float]], label: int, as_rows: bool
    ) -> None:
        logits = np.array(values, np.float32)
        labels = np.full(len(values), label)
        targets = np.eye(3, dtype=np.float32)[labels] if as_rows else labels
        losses = []
        for row in logits.tolist():
            gaps = [Fraction(z) - Fraction(max(row)) for z in row]
            log_sum = math.log(math.fsum(math.exp(max(float(gap), -1000)) for gap in gaps))
            losses.append(Fraction(log_sum) - gaps[label])
        wanted = float(sum(losses) / len(losses))
        loss = SoftmaxCrossEntropy()
        assert math.isclose(loss(logits, targets), wanted, rel_tol=1e-6, abs_tol=1e-6)
        dlogits = loss.backward()
        assert np.isfinite(dlogits).all()
        assert abs(dlogits).max() <= 1

    @pytest.mark.parametrize("as_rows", [True, False])
    def test_of_an_impossible_class_that_is_not_asked_for_is_finite(self, as_rows: bool) -> None:
        logits = np.array([[0.0, -np.inf, 1.0]], np.float32)
        targets = np.eye(3)[:1] if as_rows else np.array([0])
        loss = SoftmaxCrossEntropy()
        assert loss(logits, targets) == pytest.approx(math.log(1 + math.e), rel=1e-6)
        wanted = [[-math.e / (1 + math.e), 0, math.e / (1 + math.e)]]
        np.testing.assert_allclose(loss.backward(), wanted, rtol=1e-6)

    @pytest.mark.parametrize("as_rows", [True, False])
    def test_of_many_rows_loses_nothing_to_float32(self, as_rows: bool) -> None:
        rng = np.random.default_rng(0)
        logits = rng.standard_normal((60_000, 10)).astype(np.float32)
        targets: Array = rng.integers(0, 10, 60_000)
        if as_rows:
            targets = np.eye(10)[targets]
        single = SoftmaxCrossEntropy()(logits, targets)
        double = SoftmaxCrossEntropy()(logits.astype(np.float64), targets)
        assert single == pytest.approx(double, rel=1e-7)

    def test_of_a_small_loss_beside_a_large_one_is_not_lost(self) -> None:
        logits = np.array([[16.0, 0.0], [16.0, 0.0]], np.float32)
        loss = SoftmaxCrossEntropy()(logits, np.array([1, 0]))
        # The first is 16 to the last bit of float32; a sum in float32 would be, too.
        assert math.isclose(loss, (16 + math.log1p(math.exp(-16))) / 2, rel_tol=1e-9)


class TestBackward:
    @pytest.mark.parametrize("as_rows", [True, False])
    def test_keeps_its_digits_where_the_network_is_sure(self, as_rows: bool) -> None:
        targets = np.eye(2)[:1] if as_rows else np.array([0])
        loss = SoftmaxCrossEntropy()
        loss(np.array([[40.0, 0.0]]), targets)
        small = 1 / (1 + math.exp(40))
        assert loss.backward().tolist() == [pytest.approx([-small, small], rel=1e-12, abs=0)]

    @pytest.mark.gradients
    def test_gradients_for_labels(self) -> None:
        check_layer(SoftmaxCrossEntropy, ("N", "C"), targets=labels)

    @pytest.mark.gradients
    def test_gradients_for_probability_rows(self) -> None:
        check_layer(SoftmaxCrossEntropy, ("N", "C"), targets=probability_rows)

    @given(labels_and_logits(np.float32))
    def test_labels_and_their_one_hot_rows_are_the_same(self, drawn: tuple[Array, Array]) -> None:
        logits, labels = drawn
        by_label, by_row = SoftmaxCrossEntropy(), SoftmaxCrossEntropy()
        one_hot = np.eye(logits.shape[1])[labels]
        assert by_label(logits, labels) == pytest.approx(
            by_row(logits, one_hot), rel=1e-6, abs=1e-6
        )
        first, second = by_label.backward(), by_row.backward()
        assert first.dtype == second.dtype == np.float32
        np.testing.assert_allclose(first, second, atol=1e-7)


LOGITS = np.zeros((3, 4), np.float32)


@pytest.mark.parametrize(
    ("logits", "targets", "sentence"),
    [
        ([[0.0]], np.array([0]), "logits to be a NumPy array, got list"),
        (np.zeros(4), np.array([0]), "logits of shape (N, C), got (4,)"),
        (LOGITS.astype(int), np.zeros(3, int), "logits of a float dtype, got int64; Rescale"),
        (np.zeros((0, 4)), np.zeros(0, int), "at least one row and class, got (0, 4)"),
        (np.zeros((3, 0)), np.zeros(3, int), "at least one row and class, got (3, 0)"),
        (LOGITS, [0, 1, 2], "labels to be a NumPy array, got list"),
        (LOGITS, np.zeros(2, int), "labels of shape (3,), got (2,)"),
        (LOGITS, np.zeros((3, 1, 1), int), "labels of shape (3,), got (3, 1, 1)"),
        (LOGITS, np.zeros(3), "integer labels, got float64"),
        (LOGITS, np.zeros(3, bool), "integer labels, got bool"),
        (LOGITS, np.array([0, 4, 9]), "labels from 0 to 3, got 4 at index 1"),
        (LOGITS, np.array([0, 2, 4]), "labels from 0 to 3, got 4 at index 2"),
        (LOGITS, np.array([0, 2, -1]), "labels from 0 to 3, got -1 at index 2"),
        (LOGITS, np.ones((3, 5)), "probability rows of shape (3, 4), got (3, 5)"),
        (LOGITS, np.full((3, 4), "x"), "probability rows of a number dtype, got <U1"),
        (LOGITS, np.full((3, 4), 0.3), "each >= 0 with sum 1, got [0.3 0.3 0.3 0.3] at row 0"),
        (LOGITS, np.eye(3, 4) * [1, 1, 0, 0], "with sum 1, got [0. 0. 0. 0.] at row 2"),
        (LOGITS, np.full((3, 4), np.nan), "with sum 1, got [nan nan nan nan] at row 0"),
        (LOGITS, np.array([[1, 0, 0, 0], [2, -1, 0, 0], [0, 0, 0, 1]]), "[ 2 -1  0  0] at row 1"),
    ],
)
def test_refuses_other_logits_and_targets(logits: Any, targets: Any, sentence: str) -> None:
    loss = SoftmaxCrossEntropy()
    with pytest.raises(InputError) as error:
        loss(logits, targets)
    assert str(error.value).startswith("SoftmaxCrossEntropy() expects ")
    assert sentence in str(error.value)


def test_a_refused_forward_leaves_no_gradient_of_the_batch_before() -> None:
    loss = SoftmaxCrossEntropy()
    loss(LOGITS, np.zeros(3, int))
    with pytest.raises(InputError, match="labels from 0 to 3"):
        loss(LOGITS, np.full(3, 7))
    with pytest.raises(InputError, match="expects a forward before it"):
        loss.backward()


def test_probability_rows_may_be_off_by_their_rounding() -> None:
    third = np.full((3, 4), np.float16(1 / 3)) * [1, 1, 1, 0]
    assert SoftmaxCrossEntropy()(LOGITS, third.astype(np.float16)) == pytest.approx(
        math.log(4), 1e-3
    )


class TestSoftmax:
    @given(st.data(), st.lists(sizes, min_size=1, max_size=3).map(tuple))
    def test_is_the_formula(self, data: st.DataObject, shape: tuple[int, ...]) -> None:
        logits = data.draw(floats(shape, np.float64, bound=20))
        for got, row in zip(
            softmax(logits).reshape(-1, shape[-1]).tolist(),
            logits.reshape(-1, shape[-1]).tolist(),
            strict=True,
        ):
            total = math.fsum(map(math.exp, row))
            assert got == pytest.approx([math.exp(z) / total for z in row], rel=1e-12)

    def test_takes_the_largest_off_each_row_by_itself(self) -> None:
        logits = np.array([[0.0, 0.0], [1000.0, 1000.0]])
        assert softmax(logits).tolist() == [[0.5, 0.5], [0.5, 0.5]]

    def test_of_huge_logits_is_finite(self) -> None:
        logits = np.array([1e30, -1e30, 1e30], np.float32)
        assert softmax(logits).tolist() == [0.5, 0, 0.5]
        assert softmax(logits).dtype == np.float32


batches = st.lists(sizes, min_size=1, max_size=4).map(tuple)


def targets_like(shape: tuple[int, ...], bound: float | None = None) -> st.SearchStrategy[Array]:
    """Floats or small integers."""
    kinds = st.sampled_from([np.int64, np.int8])
    whole = kinds.flatmap(lambda kind: hnp.arrays(kind, shape, elements=st.integers(-100, 100)))
    return st.one_of(floats(shape, bound=bound), whole)


class TestMeanSquaredError:
    @pytest.mark.gradients
    def test_gradients(self) -> None:
        # Of one size: beside a target of 3000 nothing is seen of a prediction of 0.003.
        check_layer(
            MeanSquaredError,
            ("N", ...),
            x=lambda shape: floats(shape, bound=100),
            targets=lambda shape: targets_like(shape, bound=100),
        )

    @given(st.data(), batches)
    def test_is_the_formula(self, data: st.DataObject, shape: tuple[int, ...]) -> None:
        prediction, targets = data.draw(floats(shape)), data.draw(targets_like(shape))
        loss = MeanSquaredError()
        got = loss(prediction, targets)
        assert type(got) is float
        pairs = zip(prediction.ravel().tolist(), targets.ravel().tolist(), strict=True)
        differences = [Fraction(p) - Fraction(t) for p, t in pairs]
        mean = float(sum(d * d for d in differences) / len(differences))
        # Each difference is rounded, and so is what becomes of it.
        tolerance = 8 * np.finfo(prediction.dtype).eps
        assert math.isclose(got, mean, rel_tol=tolerance)
        dprediction = loss.backward()
        smallest = float(np.finfo(prediction.dtype).smallest_normal)
        assert dprediction.shape == shape
        assert dprediction.dtype == prediction.dtype
        for entry, d in zip(dprediction.ravel().tolist(), differences, strict=True):
            wanted = float(2 * d / len(differences))
            assert math.isclose(entry, wanted, rel_tol=tolerance, abs_tol=smallest)

    def test_counts_entries_and_not_rows(self) -> None:
        loss = MeanSquaredError()
        assert loss(np.full((2, 3), 3.0), np.zeros((2, 3))) == 9
        assert loss.backward().tolist() == [[1, 1, 1], [1, 1, 1]]

    def test_of_many_entries_loses_nothing_to_float32(self) -> None:
        rng = np.random.default_rng(0)
        prediction, targets = rng.standard_normal((2, 60_000, 10)).astype(np.float32)
        pairs = zip(prediction.ravel().tolist(), targets.ravel().tolist(), strict=True)
        exact = math.fsum((p - t) ** 2 for p, t in pairs) / prediction.size
        assert MeanSquaredError()(prediction, targets) == pytest.approx(exact, rel=1e-9)

    def test_of_a_small_error_beside_a_large_one_is_not_lost(self) -> None:
        prediction = np.array([4096, 2**-8], np.float32)
        assert MeanSquaredError()(prediction, np.zeros(2)) == (2**24 + 2**-16) / 2
        assert MeanSquaredError()(prediction, np.zeros(2, np.float32)) == (2**24 + 2**-16) / 2

    @pytest.mark.parametrize(("dtype", "large"), [(np.float16, 6e4), (np.float32, 1e30)])
    def test_squares_do_not_overflow(self, dtype: Any, large: float) -> None:
        prediction = np.array([large], dtype)
        loss = MeanSquaredError()
        assert loss(prediction, np.zeros(1, dtype)) == float(prediction[0]) ** 2

    @pytest.mark.parametrize("targets", [np.array([2**24 + 1]), np.array([2.0**24 + 1])])
    def test_targets_of_more_digits_are_not_rounded_first(self, targets: Array) -> None:
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
                np.zeros(3),
                "targets of the shape of the prediction, (3, 1), got (3,); "
                "targets.reshape(3, 1) gives it",
            ),
            (
                np.zeros(3),
                np.zeros((3, 1)),
                "targets of the shape of the prediction, (3,), got (3, 1); "
                "targets.reshape(3,) gives it",
            ),
            (np.zeros((3, 4)), np.zeros(4), "prediction, (3, 4), got (4,)"),
            (np.zeros((3, 4)), np.zeros((4, 3)), "prediction, (3, 4), got (4, 3)"),
            (np.zeros((3, 4)), np.zeros(()), "prediction, (3, 4), got ()"),
            (np.zeros((3, 4)), np.zeros((1, 4)), "prediction, (3, 4), got (1, 4)"),
        ],
    )
    def test_refuses_other_predictions_and_targets(
        self, prediction: Any, targets: Any, sentence: str
    ) -> None:
        with pytest.raises(InputError) as error:
            MeanSquaredError()(prediction, targets)
        message = str(error.value)
        assert message.startswith("MeanSquaredError() expects ")
        assert sentence in message
        assert ("reshape" in message) == ("reshape" in sentence)

    def test_repr(self) -> None:
        assert repr(MeanSquaredError()) == "MeanSquaredError()"
