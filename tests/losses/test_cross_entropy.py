import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

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


@st.composite
def settings_of(draw: st.DrawFn, classes: int) -> dict[str, Any]:
    weight = st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=classes, max_size=classes)
    return {
        "weight": draw(st.none() | weight),
        "ignore_index": draw(st.sampled_from([-100, -1, 0, 1, 255])),
        "reduction": draw(st.sampled_from(["mean", "sum"])),
        "label_smoothing": draw(st.sampled_from([0.0, 0.1, 0.7, 1])),
    }


def general_loss(
    rows: list[list[float]],
    targets: list[Any],
    weight: list[float] | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> float:
    """The formula of the docstring, row by row."""
    terms, divisors = [], []
    for logits, target in zip(rows, targets, strict=True):
        classes = len(logits)
        weights = weight or [1.0] * classes
        if target == ignore_index:
            continue
        p = target if isinstance(target, list) else [float(j == target) for j in range(classes)]
        divisor = 1.0 if isinstance(target, list) else weights[target]
        smooth = [(1 - label_smoothing) * p_j + label_smoothing / classes for p_j in p]
        asked = [w * p_j for w, p_j in zip(weights, smooth, strict=True)]
        terms.append(cross_entropy(logits, asked))
        divisors.append(divisor)
    total = math.fsum(divisors)
    if reduction == "sum":
        return math.fsum(terms)
    return math.fsum(terms) / total if total else 0.0


class TestSettings:
    @given(st.data(), st.lists(sizes, min_size=2, max_size=4).map(tuple), st.booleans())
    def test_the_loss_is_the_formula_on_any_axes(
        self, data: st.DataObject, shape: tuple[int, ...], as_rows: bool
    ) -> None:
        logits = data.draw(floats(shape, np.float64, bound=20))
        chosen = data.draw(settings_of(shape[-1]))
        drawn = data.draw((probability_rows if as_rows else labels)(shape))
        if not as_rows:
            ignored = data.draw(hnp.arrays(bool, shape[:-1]))
            drawn = np.where(ignored, chosen["ignore_index"], drawn.astype(np.int64))
        flat: Any = (drawn.reshape(-1, shape[-1]) if as_rows else drawn.ravel()).tolist()
        wanted = general_loss(logits.reshape(-1, shape[-1]).tolist(), flat, **chosen)
        loss = SoftmaxCrossEntropy(**chosen)
        assert math.isclose(loss(logits, drawn), wanted, rel_tol=1e-12, abs_tol=1e-11)
        assert loss.backward().shape == shape

    @pytest.mark.gradients
    def test_gradients_of_all_settings(self) -> None:
        def targets(shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
            pairs = st.tuples(labels(shape), hnp.arrays(bool, shape[:-1]))
            some_ignored = pairs.map(lambda pair: np.where(pair[1], -1, pair[0].astype(np.int64)))
            return some_ignored | probability_rows(shape)

        check_layer(
            weighted,
            ("N", ..., "classes"),
            x=lambda shape: floats(shape, bound=3),
            targets=targets,
            label_smoothing=st.sampled_from([0.0, 0.2]),
            reduction=st.sampled_from(["mean", "sum"]),
            weighs=st.booleans(),
            informative=0.5,  # where all labels are ignored the gradient is 0, and says little
        )

    def test_smoothed_weighed_labels_are_those_of_a_hand(self) -> None:
        loss = SoftmaxCrossEntropy([1, 2, 4], label_smoothing=0.3)
        # q is 0.8 · 1, 0.1 · 2, 0.1 · 4, and the label counts 1.
        assert loss(np.zeros((1, 3)), np.array([0])) == pytest.approx(1.4 * math.log(3), rel=1e-12)
        assert loss.backward().tolist() == [pytest.approx([1.4 / 3 - q for q in (0.8, 0.2, 0.4)])]

    def test_weighed_labels_are_those_of_a_hand(self) -> None:
        loss = SoftmaxCrossEntropy(weight=[1, 3])
        logits, targets = np.array([[0.0, 0.0], [0.0, math.log(3)]]), np.array([0, 1])
        wanted = (1 * math.log(2) + 3 * math.log(4 / 3)) / 4
        assert loss(logits, targets) == pytest.approx(wanted, rel=1e-12)
        wanted_gradient = np.array([[-0.5, 0.5], [0.75, -0.75]]) / 4
        np.testing.assert_allclose(loss.backward(), wanted_gradient, rtol=1e-12)
        assert loss.weight is not None
        assert loss.weight.tolist() == [1, 3]

    @pytest.mark.parametrize("smoothing", [0, 0.1])
    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    def test_ignored_labels_count_nothing(self, reduction: str, smoothing: float) -> None:
        rng = np.random.default_rng(0)
        logits, targets = rng.standard_normal((4, 3)), np.array([-100, 2, -100, 0])
        loss = SoftmaxCrossEntropy(reduction=reduction, label_smoothing=smoothing)
        some = loss(logits, targets)
        dlogits = loss.backward()
        assert some == pytest.approx(loss(logits[1::2], targets[1::2]), rel=1e-14)
        np.testing.assert_allclose(dlogits[1::2], loss.backward(), rtol=1e-14)
        assert not dlogits[::2].any()

    @pytest.mark.parametrize("smoothing", [0, 0.1])
    @pytest.mark.parametrize("weight", [None, [1, 1], [0, 1]])
    def test_where_no_label_counts_loss_and_gradient_are_0(
        self, weight: Any, smoothing: float
    ) -> None:
        loss = SoftmaxCrossEntropy(weight, label_smoothing=smoothing)
        targets = [np.array([-100, -100]), *([np.array([0, -100])] if weight == [0, 1] else [])]
        for none in targets:
            assert loss(np.array([[1.0, -1.0], [0.0, 0.0]]), none) == 0
            assert not loss.backward().any()

    @pytest.mark.parametrize(
        ("ignore_index", "targets"),
        [(255, np.array([0, 255, 1], np.uint8)), (1, np.array([0, 1, 1], np.uint64))],
    )
    def test_ignored_may_be_what_any_dtype_holds(self, ignore_index: int, targets: Array) -> None:
        loss = SoftmaxCrossEntropy(ignore_index=ignore_index)
        loss(np.zeros((3, 2)), targets)
        assert loss.backward().any(axis=1).tolist() == (targets != ignore_index).tolist()

    def test_ignored_and_weightless_labels_may_be_impossible(self) -> None:
        logits = np.array([[-np.inf, 0.0], [-np.inf, 0.0], [0.0, 0.0]])
        loss = SoftmaxCrossEntropy([0, 1])
        assert loss(logits, np.array([-100, 0, 1])) == pytest.approx(math.log(2))
        np.testing.assert_allclose(loss.backward(), [[0.0, 0.0], [0.0, 0.0], [0.5, -0.5]])

    def test_a_sequence_is_its_places_as_rows(self) -> None:
        rng = np.random.default_rng(1)
        logits, targets = rng.standard_normal((3, 4, 5)), rng.integers(0, 5, (3, 4))
        loss = SoftmaxCrossEntropy()
        whole = loss(logits, targets)
        dlogits = loss.backward()
        assert whole == loss(logits.reshape(12, 5), targets.ravel())
        assert dlogits.tolist() == loss.backward().reshape(3, 4, 5).tolist()
        # A view that is laid out otherwise, as logits (N, C, T) with their classes moved.
        assert loss(np.moveaxis(np.moveaxis(logits, -1, 1).copy(), 1, -1), targets) == whole
        assert loss.backward().tolist() == dlogits.tolist()

    @pytest.mark.parametrize("as_rows", [True, False])
    def test_keep_the_digits_where_the_network_is_sure(self, as_rows: bool) -> None:
        logits = np.array([[40.0, 0.0], [0.0, 0.0]])
        targets = np.eye(2)[[0, 1]] if as_rows else np.array([0, 1])
        loss = SoftmaxCrossEntropy([2, 0], reduction="sum")
        assert loss(logits, targets) == pytest.approx(2 * math.exp(-40), rel=1e-12, abs=0)
        small = 2 / (1 + math.exp(40))
        assert loss.backward()[0].tolist() == pytest.approx([-small, small], rel=1e-12, abs=0)

    def test_keep_the_digits_of_smoothed_labels(self) -> None:
        loss = SoftmaxCrossEntropy([1, 3], label_smoothing=0.5)
        # q = (0.75, 0.75): half for each class, where the logits are equal.
        loss(np.array([[1e-9, 0.0]]), np.array([0]))
        assert loss.backward()[0, 0] == pytest.approx(1.5 * 0.25e-9, rel=1e-6)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("smoothing", [0, 0.1])
    def test_the_gradient_has_the_dtype_of_the_logits(self, dtype: Any, smoothing: float) -> None:
        loss = SoftmaxCrossEntropy([0.1, 0.7], label_smoothing=smoothing)
        for targets in (np.array([0, 1]), np.eye(2)):
            loss(np.zeros((2, 2), dtype), targets)
            assert loss.backward().dtype == dtype

    def test_weighted_targets_are_what_the_gradient_subtracts(self) -> None:
        loss = SoftmaxCrossEntropy([1, 2, 4], label_smoothing=0.3)
        weighted, divisor = loss.weighted_targets(np.array([[0, -100]]), (1, 2, 3))
        np.testing.assert_allclose(weighted, [[0.8, 0.2, 0.4], [0.0, 0.0, 0.0]])
        assert divisor == 1
        assert weighted.dtype == np.float64
        weighted, divisor = loss.weighted_targets(np.eye(3, dtype=int)[:2], (2, 3))
        np.testing.assert_allclose(weighted, [[0.8, 0.2, 0.4], [0.1, 1.6, 0.4]])
        assert divisor == 2


def weighted(
    classes: int, *, label_smoothing: float, reduction: str, weighs: bool
) -> SoftmaxCrossEntropy:
    weight = np.arange(1, classes + 1) / 2 if weighs else None
    return SoftmaxCrossEntropy(weight, -1, reduction, label_smoothing)


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


LOGITS, SEQUENCE = np.zeros((3, 4), np.float32), np.zeros((3, 2, 4), np.float32)
ONE_COLUMN_OF = "one column: "


@pytest.mark.parametrize(
    ("logits", "targets", "sentence"),
    [
        ([[0.0]], np.array([0]), "logits to be a NumPy array, got list"),
        (np.zeros(4), np.array([0]), "logits of shape (N, ..., C), got (4,)"),
        (LOGITS.astype(int), np.zeros(3, int), "logits of a float dtype, got int64; Rescale"),
        (np.zeros((0, 4)), np.zeros(0, int), "at least one row and class, got (0, 4)"),
        (np.zeros((3, 0)), np.zeros(3, int), "at least one row and class, got (3, 0)"),
        (LOGITS, [0, 1, 2], "labels to be a NumPy array, got list"),
        (LOGITS, np.zeros(2, int), "labels of shape (3,), got (2,)."),
        (LOGITS, np.zeros((3, 1), int), "labels of shape (3,), got (3, 1); labels.ravel() gives"),
        (LOGITS, np.zeros((3, 1, 1), int), "shape (3,), got (3, 1, 1); labels.ravel() gives it."),
        (
            SEQUENCE,
            np.zeros((3, 2, 1), int),
            "labels of shape (3, 2), got (3, 2, 1); labels.reshape(3, 2) gives it.",
        ),
        (SEQUENCE, np.zeros((2, 3), int), "labels of shape (3, 2), got (2, 3)."),
        (
            SEQUENCE,
            np.zeros((3, 4), int),
            "labels of shape (3, 2), got (3, 4); classes belong on the last axis: "
            "np.moveaxis(logits, 1, -1) puts them there.",
        ),
        (LOGITS, np.zeros(3), "integer labels, got float64; labels.astype(int) makes integers of"),
        (LOGITS, np.zeros(3, bool), "integer labels, got bool; labels.astype(int) makes integers"),
        (LOGITS, np.array([0, 0.5, 1]), "integer labels, got float64."),
        (LOGITS, np.array([0, np.inf, 1]), "integer labels, got float64."),
        (LOGITS, np.full(3, "x"), "labels of a number dtype, got <U1"),
        (LOGITS, np.array([0, 4, 9]), "labels from 0 to 3, got 4 at index 1."),
        (LOGITS, np.array([0, 2, 4]), "labels from 0 to 3, got 4 at index 2."),
        (LOGITS, np.array([0, 2, -1]), "labels from 0 to 3, got -1 at index 2."),
        (
            LOGITS,
            np.array([-100, 1, 4]),
            "labels from 0 to 3, got 4 at index 2; classes count from 0: subtract 1 from the ",
        ),
        (LOGITS, np.array([1, 2, 5]), "labels from 0 to 3, got 5 at index 2."),
        (SEQUENCE, np.array([[0, 1], [2, 9], [0, 0]]), "from 0 to 3, got 9 at index (1, 1)."),
        (
            LOGITS[:, :1],
            np.array([0, 1, 0]),
            ONE_COLUMN_OF + "labels from 0 to 0, got 1 at index 1",
        ),
        (LOGITS[:, :1], np.array([[1], [1], [0]]), ONE_COLUMN_OF + "sum 1, got [0] at row 2"),
        (LOGITS, np.ones((3, 5)), "probability rows of shape (3, 4), got (3, 5)"),
        (LOGITS, np.full((3, 4), "x"), "probability rows of a number dtype, got <U1"),
        (LOGITS, np.full((3, 4), 0.3), "each >= 0 with sum 1, got [0.3 0.3 0.3 0.3] at row 0"),
        (LOGITS, np.eye(3, 4) * [1, 1, 0, 0], "with sum 1, got [0. 0. 0. 0.] at row 2"),
        (LOGITS, np.full((3, 4), np.nan), "with sum 1, got [nan nan nan nan] at row 0"),
        (LOGITS, np.array([[1, 0, 0, 0], [2, -1, 0, 0], [0, 0, 0, 1]]), "[ 2 -1  0  0] at row 1."),
        (SEQUENCE, np.zeros((3, 2, 4)), "with sum 1, got [0. 0. 0. 0.] at row (0, 0)."),
    ],
)
def test_refuses_other_logits_and_targets(logits: Any, targets: Any, sentence: str) -> None:
    loss = SoftmaxCrossEntropy()
    with pytest.raises(InputError) as error:
        loss(logits, targets)
    said = f"{error.value}."
    assert said.startswith("SoftmaxCrossEntropy() expects ")
    one_column = sentence.startswith(ONE_COLUMN_OF)
    assert sentence.removeprefix(ONE_COLUMN_OF) in said
    assert ("; one column is one class: BinaryCrossEntropy takes 0 and 1, or give " in said) == (
        one_column
    )


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"weight": [[1, 2]]}, "weight to have one number for each class, got the shape (1, 2)"),
        ({"weight": 2.0}, "weight to have one number for each class, got the shape ()"),
        ({"weight": []}, "weight to have one number for each class, got the shape (0,)"),
        ({"weight": [1, -1]}, "weight to be finite numbers >= 0, got -1.0 at index (1,)"),
        ({"weight": {0: 1.0}}, "weight to be numbers, got {0: 1.0}"),
        ({"ignore_index": 1.5}, "ignore_index to be a whole number >= -2147483648, got 1.5"),
        ({"reduction": "none"}, "reduction to be 'mean' or 'sum', got 'none'"),
        ({"label_smoothing": 1.1}, "label_smoothing to be a finite number >= 0 and <= 1, got 1.1"),
        ({"label_smoothing": -1}, "label_smoothing to be a finite number >= 0 and <= 1, got -1"),
    ],
)
def test_refuses_other_settings(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        SoftmaxCrossEntropy(**settings)
    assert str(error.value) == f"SoftmaxCrossEntropy expects {sentence}"


def test_refuses_logits_of_more_or_fewer_classes_than_weights() -> None:
    with pytest.raises(InputError) as error:
        SoftmaxCrossEntropy([1, 2, 3])(LOGITS, np.zeros(3, int))
    assert str(error.value) == (
        "SoftmaxCrossEntropy(weight=[1., 2., 3.]) expects as many classes as it has weights, 3, "
        "got logits of shape (3, 4)"
    )


def test_repr() -> None:
    assert repr(SoftmaxCrossEntropy()) == "SoftmaxCrossEntropy()"
    loss = SoftmaxCrossEntropy([0.5, 1], -1, "sum", 0.1)
    assert repr(loss) == (
        "SoftmaxCrossEntropy(weight=[0.5, 1. ], ignore_index=-1, reduction='sum', "
        "label_smoothing=0.1)"
    )


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
