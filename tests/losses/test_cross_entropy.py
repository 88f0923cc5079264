import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Array, InputError, SoftmaxCrossEntropy
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
