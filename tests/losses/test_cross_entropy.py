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


def away_from_zero(shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    """Logits from 1 to 7: a step of a tiny one would be lost beside the others."""
    return floats(shape, bound=3).map(lambda logits: logits + 4)


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


@given(labels_and_logits())
def test_cross_entropy_of_labels_equals_its_formula(drawn: tuple[Array, Array]) -> None:
    logits, labels = drawn
    expected = [
        cross_entropy(row, [float(j == label) for j in range(len(row))])
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    ]
    loss = SoftmaxCrossEntropy()(logits, labels)
    assert type(loss) is float
    assert math.isclose(loss, math.fsum(expected) / len(expected), rel_tol=1e-12, abs_tol=1e-12)


@given(st.data(), rows)
def test_cross_entropy_of_probability_rows_equals_its_formula(
    data: st.DataObject, shape: tuple[int, int]
) -> None:
    logits = data.draw(floats(shape, np.float64, bound=20))
    targets = data.draw(probability_rows(shape))
    expected = map(cross_entropy, logits.tolist(), targets.tolist())
    loss = SoftmaxCrossEntropy()(logits, targets)
    mean = math.fsum(expected) / shape[0]
    assert math.isclose(loss, mean, rel_tol=1e-12, abs_tol=1e-12)


def test_cross_entropy_of_a_single_class_is_zero() -> None:
    loss = SoftmaxCrossEntropy()
    assert loss(np.array([[3.0], [-3.0]]), np.array([0, 0])) == 0
    assert loss.backward().tolist() == [[0], [0]]


@given(
    st.lists(st.lists(st.floats(-1e30, 1e30, width=64), min_size=3, max_size=3), min_size=1),
    st.integers(0, 2),
    st.booleans(),
)
def test_huge_float32_logits_give_the_right_loss_and_a_finite_gradient(
    values: list[list[float]], label: int, as_rows: bool
) -> None:
    logits = np.array(values, np.float32)
    labels = np.full(len(values), label)
    targets = np.eye(3, dtype=np.float32)[labels] if as_rows else labels
    losses = []
    for row in logits.tolist():
        gaps = [Fraction(z) - Fraction(max(row)) for z in row]
        log_sum = math.log(math.fsum(math.exp(max(float(gap), -1000)) for gap in gaps))
        losses.append(Fraction(log_sum) - gaps[label])
    expected = float(sum(losses) / len(losses))
    loss = SoftmaxCrossEntropy()
    assert math.isclose(loss(logits, targets), expected, rel_tol=1e-6, abs_tol=1e-6)
    dlogits = loss.backward()
    assert np.isfinite(dlogits).all()
    assert abs(dlogits).max() <= 1


@pytest.mark.parametrize("as_rows", [True, False])
def test_a_logit_of_minus_infinity_for_another_class_keeps_the_loss_finite(as_rows: bool) -> None:
    logits = np.array([[0.0, -np.inf, 1.0]], np.float32)
    targets = np.eye(3)[:1] if as_rows else np.array([0])
    loss = SoftmaxCrossEntropy()
    assert loss(logits, targets) == pytest.approx(math.log(1 + math.e), rel=1e-6)
    expected = [[-math.e / (1 + math.e), 0, math.e / (1 + math.e)]]
    np.testing.assert_allclose(loss.backward(), expected, rtol=1e-6)


@pytest.mark.parametrize("as_rows", [True, False])
def test_cross_entropy_of_60000_float32_rows_is_that_of_float64(as_rows: bool) -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((60_000, 10)).astype(np.float32)
    targets: Array = rng.integers(0, 10, 60_000)
    if as_rows:
        targets = np.eye(10)[targets]
    single = SoftmaxCrossEntropy()(logits, targets)
    double = SoftmaxCrossEntropy()(logits.astype(np.float64), targets)
    assert single == pytest.approx(double, rel=1e-7)


def test_a_small_cross_entropy_beside_a_large_one_is_not_rounded_away() -> None:
    logits = np.array([[16.0, 0.0], [16.0, 0.0]], np.float32)
    loss = SoftmaxCrossEntropy()(logits, np.array([1, 0]))
    # The first is 16 to the last bit of float32; a sum in float32 would be, too.
    assert math.isclose(loss, (16 + math.log1p(math.exp(-16))) / 2, rel_tol=1e-9)


@st.composite
def loss_settings(draw: st.DrawFn, classes: int) -> dict[str, Any]:
    weight = st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=classes, max_size=classes)
    return {
        "weight": draw(st.none() | weight),
        "ignore_index": draw(st.sampled_from([-100, -1, 0, 1, 255])),
        "reduction": draw(st.sampled_from(["mean", "sum"])),
        "label_smoothing": draw(st.sampled_from([0.0, 0.1, 0.7, 1])),
    }


def reference_loss(
    rows: list[list[float]],
    targets: list[Any],
    weight: list[float] | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> tuple[float, list[list[float]]]:
    """The loss and its gradient by the formulas of the docstring, row by row."""
    terms, divisors, gradients = [], [], []
    for logits, target in zip(rows, targets, strict=True):
        classes = len(logits)
        weights = weight or [1.0] * classes
        if target == ignore_index:
            gradients.append([0.0] * classes)
            continue
        p = target if isinstance(target, list) else [float(j == target) for j in range(classes)]
        smooth = [(1 - label_smoothing) * p_j + label_smoothing / classes for p_j in p]
        q = [w * p_j for w, p_j in zip(weights, smooth, strict=True)]
        terms.append(cross_entropy(logits, q))
        divisors.append(1.0 if isinstance(target, list) else weights[target])
        gradients.append(
            [s * math.fsum(q) - q_j for s, q_j in zip(softmax(logits), q, strict=True)]
        )
    # The mean over no labels is 0.
    divisor = 1.0 if reduction == "sum" else math.fsum(divisors) or math.inf
    return math.fsum(terms) / divisor, [[g / divisor for g in row] for row in gradients]


def softmax(logits: list[float]) -> list[float]:
    powers = [math.exp(z - max(logits)) for z in logits]
    return [power / math.fsum(powers) for power in powers]


@given(st.data(), st.lists(sizes, min_size=2, max_size=4).map(tuple), st.booleans())
def test_cross_entropy_with_any_settings_and_axes_equals_its_formula(
    data: st.DataObject, shape: tuple[int, ...], as_rows: bool
) -> None:
    logits = data.draw(floats(shape, np.float64, bound=20))
    chosen = data.draw(loss_settings(shape[-1]))
    drawn = data.draw((probability_rows if as_rows else labels)(shape))
    if not as_rows:
        ignored = data.draw(hnp.arrays(bool, shape[:-1]))
        drawn = np.where(ignored, chosen["ignore_index"], drawn.astype(np.int64))
    flat: Any = (drawn.reshape(-1, shape[-1]) if as_rows else drawn.ravel()).tolist()
    expected, gradient = reference_loss(logits.reshape(-1, shape[-1]).tolist(), flat, **chosen)
    loss = SoftmaxCrossEntropy(**chosen)
    assert math.isclose(loss(logits, drawn), expected, rel_tol=1e-12, abs_tol=1e-11)
    dlogits = loss.backward()
    assert dlogits.shape == shape
    np.testing.assert_allclose(dlogits.reshape(-1, shape[-1]), gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.gradients
def test_cross_entropy_gradients_are_right_with_all_settings() -> None:
    def targets(shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
        pairs = st.tuples(labels(shape), hnp.arrays(bool, shape[:-1]))
        some_ignored = pairs.map(lambda pair: np.where(pair[1], -1, pair[0].astype(np.int64)))
        return some_ignored | probability_rows(shape)

    check_layer(
        loss_of_classes,
        ("N", ..., "classes"),
        x=away_from_zero,
        targets=targets,
        label_smoothing=st.sampled_from([0.0, 0.2]),
        reduction=st.sampled_from(["mean", "sum"]),
        with_weight=st.booleans(),
        informative=0.5,  # where all labels are ignored the gradient is 0, and says little
    )


def test_label_smoothing_with_class_weights_matches_a_calculation_by_hand() -> None:
    loss = SoftmaxCrossEntropy([1, 2, 4], label_smoothing=0.3)
    # q is 0.8 · 1, 0.1 · 2, 0.1 · 4, and the label counts 1.
    assert loss(np.zeros((1, 3)), np.array([0])) == pytest.approx(1.4 * math.log(3), rel=1e-12)
    assert loss.backward().tolist() == [pytest.approx([1.4 / 3 - q for q in (0.8, 0.2, 0.4)])]


def test_class_weights_match_a_calculation_by_hand() -> None:
    loss = SoftmaxCrossEntropy(weight=[1, 3])
    logits, targets = np.array([[0.0, 0.0], [0.0, math.log(3)]]), np.array([0, 1])
    expected = (1 * math.log(2) + 3 * math.log(4 / 3)) / 4
    assert loss(logits, targets) == pytest.approx(expected, rel=1e-12)
    expected_gradient = np.array([[-0.5, 0.5], [0.75, -0.75]]) / 4
    np.testing.assert_allclose(loss.backward(), expected_gradient, rtol=1e-12)
    assert loss.weight is not None
    assert loss.weight.tolist() == [1, 3]


@pytest.mark.parametrize("smoothing", [0, 0.1])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_ignored_labels_contribute_nothing_to_loss_gradient_and_divisor(
    reduction: str, smoothing: float
) -> None:
    rng = np.random.default_rng(0)
    logits, targets = rng.standard_normal((4, 3)), np.array([-100, 2, -100, 0])
    loss = SoftmaxCrossEntropy(reduction=reduction, label_smoothing=smoothing)
    with_ignored = loss(logits, targets)
    dlogits = loss.backward()
    assert with_ignored == pytest.approx(loss(logits[1::2], targets[1::2]), rel=1e-14)
    np.testing.assert_allclose(dlogits[1::2], loss.backward(), rtol=1e-14, atol=1e-15)
    assert not dlogits[::2].any()


@pytest.mark.parametrize("smoothing", [0, 0.1])
@pytest.mark.parametrize("weight", [None, [1, 1], [0, 1]])
def test_loss_and_gradient_are_0_where_all_labels_are_ignored_or_have_weight_0(
    weight: Any, smoothing: float
) -> None:
    loss = SoftmaxCrossEntropy(weight, label_smoothing=smoothing)
    targets = [np.array([-100, -100]), *([np.array([0, -100])] if weight == [0, 1] else [])]
    for no_counted_label in targets:
        assert loss(np.array([[1.0, -1.0], [0.0, 0.0]]), no_counted_label) == 0
        assert not loss.backward().any()


@pytest.mark.parametrize(
    ("ignore_index", "targets"),
    [(255, np.array([0, 255, 1], np.uint8)), (1, np.array([0, 1, 1], np.uint64))],
)
def test_ignore_index_may_be_a_value_of_an_unsigned_dtype(
    ignore_index: int, targets: Array
) -> None:
    loss = SoftmaxCrossEntropy(ignore_index=ignore_index)
    loss(np.zeros((3, 2)), targets)
    assert loss.backward().any(axis=1).tolist() == (targets != ignore_index).tolist()


def test_labels_that_are_ignored_or_have_weight_0_may_have_probability_0() -> None:
    logits = np.array([[-np.inf, 0.0], [-np.inf, 0.0], [0.0, 0.0]])
    loss = SoftmaxCrossEntropy([0, 1])
    assert loss(logits, np.array([-100, 0, 1])) == pytest.approx(math.log(2))
    np.testing.assert_allclose(loss.backward(), [[0.0, 0.0], [0.0, 0.0], [0.5, -0.5]])


def test_loss_of_sequences_equals_the_loss_of_their_positions_as_rows() -> None:
    rng = np.random.default_rng(1)
    logits, targets = rng.standard_normal((3, 4, 5)), rng.integers(0, 5, (3, 4))
    loss = SoftmaxCrossEntropy()
    whole = loss(logits, targets)
    dlogits = loss.backward()
    assert whole == loss(logits.reshape(12, 5), targets.ravel())
    assert dlogits.tolist() == loss.backward().reshape(3, 4, 5).tolist()
    # A view with another layout in memory, as logits (N, C, T) with their classes moved.
    moved = np.moveaxis(np.moveaxis(logits, -1, 1).copy(), 1, -1)
    assert loss(moved, targets) == pytest.approx(whole, rel=1e-14)
    np.testing.assert_allclose(loss.backward(), dlogits, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("as_rows", [True, False])
def test_weighted_loss_and_gradient_keep_their_precision_for_confident_logits(
    as_rows: bool,
) -> None:
    logits = np.array([[40.0, 0.0], [0.0, 0.0]])
    targets = np.eye(2)[[0, 1]] if as_rows else np.array([0, 1])
    loss = SoftmaxCrossEntropy([2, 0], reduction="sum")
    assert loss(logits, targets) == pytest.approx(2 * math.exp(-40), rel=1e-12, abs=0)
    small = 2 / (1 + math.exp(40))
    assert loss.backward()[0].tolist() == pytest.approx([-small, small], rel=1e-12, abs=0)


def test_gradient_of_smoothed_labels_keeps_its_precision_near_0() -> None:
    loss = SoftmaxCrossEntropy([1, 3], label_smoothing=0.5)
    # q = (0.75, 0.75): half for each class, where the logits are equal.
    loss(np.array([[1e-6, 0.0]]), np.array([0]))
    assert loss.backward()[0, 0] == pytest.approx(1.5 * 0.25e-6, rel=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_cross_entropy_gradient_has_the_dtype_of_the_logits(dtype: Any, smoothing: float) -> None:
    loss = SoftmaxCrossEntropy([0.1, 0.7], label_smoothing=smoothing)
    for targets in (np.array([0, 1]), np.eye(2)):
        loss(np.zeros((2, 2), dtype), targets)
        assert loss.backward().dtype == dtype


def test_weighted_targets_are_q_of_the_formula() -> None:
    loss = SoftmaxCrossEntropy([1, 2, 4], label_smoothing=0.3)
    q = loss.weighted_targets(np.array([[0, -100]]), (1, 2, 3))
    np.testing.assert_allclose(q, [[0.8, 0.2, 0.4], [0.0, 0.0, 0.0]])
    assert q.dtype == np.float64
    q = loss.weighted_targets(np.eye(3, dtype=int)[:2], (2, 3))
    np.testing.assert_allclose(q, [[0.8, 0.2, 0.4], [0.1, 1.6, 0.4]])


def loss_of_classes(
    classes: int, *, label_smoothing: float, reduction: str, with_weight: bool
) -> SoftmaxCrossEntropy:
    weight = np.arange(1, classes + 1) / 2 if with_weight else None
    return SoftmaxCrossEntropy(weight, -1, reduction, label_smoothing)


@pytest.mark.parametrize("as_rows", [True, False])
def test_cross_entropy_gradient_keeps_its_precision_for_confident_logits(as_rows: bool) -> None:
    targets = np.eye(2)[:1] if as_rows else np.array([0])
    loss = SoftmaxCrossEntropy()
    loss(np.array([[40.0, 0.0]]), targets)
    small = 1 / (1 + math.exp(40))
    assert loss.backward().tolist() == [pytest.approx([-small, small], rel=1e-12, abs=0)]


@pytest.mark.gradients
def test_cross_entropy_gradients_are_right_for_labels() -> None:
    check_layer(SoftmaxCrossEntropy, ("N", "C"), x=away_from_zero, targets=labels, examples=0.5)


@given(labels_and_logits(np.float32))
def test_labels_and_their_one_hot_rows_give_the_same_loss_and_gradient(
    drawn: tuple[Array, Array],
) -> None:
    logits, labels = drawn
    by_label, by_row = SoftmaxCrossEntropy(), SoftmaxCrossEntropy()
    one_hot = np.eye(logits.shape[1])[labels]
    assert by_label(logits, labels) == pytest.approx(by_row(logits, one_hot), rel=1e-6, abs=1e-6)
    first, second = by_label.backward(), by_row.backward()
    assert first.dtype == second.dtype == np.float32
    np.testing.assert_allclose(first, second, atol=1e-7)


LOGITS, SEQUENCE = np.zeros((3, 4), np.float32), np.zeros((3, 2, 4), np.float32)
ONE_COLUMN = "one column: "  # marks an error that hints at BinaryCrossEntropy


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
            ONE_COLUMN + "labels from 0 to 0, got 1 at index 1",
        ),
        (LOGITS[:, :1], np.array([[1], [1], [0]]), ONE_COLUMN + "sum 1, got [0] at row 2"),
        (LOGITS, np.ones((3, 5)), "probability rows of shape (3, 4), got (3, 5)"),
        (LOGITS, np.full((3, 4), "x"), "probability rows of a number dtype, got <U1"),
        (LOGITS, np.full((3, 4), 0.3), "each >= 0 with sum 1, got [0.3 0.3 0.3 0.3] at row 0"),
        (LOGITS, np.eye(3, 4) * [1, 1, 0, 0], "with sum 1, got [0. 0. 0. 0.] at row 2"),
        (LOGITS, np.full((3, 4), np.nan), "with sum 1, got [nan nan nan nan] at row 0"),
        (LOGITS, np.array([[1, 0, 0, 0], [2, -1, 0, 0], [0, 0, 0, 1]]), "[ 2 -1  0  0] at row 1."),
        (SEQUENCE, np.zeros((3, 2, 4)), "with sum 1, got [0. 0. 0. 0.] at row (0, 0)."),
        (
            LOGITS,
            np.array([[1, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]),
            "got [1 0 1 0] at row 1; BinaryCrossEntropy takes rows of 0 and 1.",
        ),
    ],
)
def test_cross_entropy_rejects_invalid_logits_and_targets(
    logits: Any, targets: Any, sentence: str
) -> None:
    loss = SoftmaxCrossEntropy()
    with pytest.raises(InputError) as error:
        loss(logits, targets)
    message = f"{error.value}."
    assert message.startswith("SoftmaxCrossEntropy() expects ")
    one_column = sentence.startswith(ONE_COLUMN)
    assert sentence.removeprefix(ONE_COLUMN) in message
    assert ("; one column is one class: BinaryCrossEntropy takes 0 and 1, or give " in message) == (
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
def test_cross_entropy_rejects_invalid_settings(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        SoftmaxCrossEntropy(**settings)
    assert str(error.value) == f"SoftmaxCrossEntropy expects {sentence}"


def test_cross_entropy_rejects_logits_with_more_or_fewer_classes_than_weights() -> None:
    with pytest.raises(InputError) as error:
        SoftmaxCrossEntropy([1, 2, 3])(LOGITS, np.zeros(3, int))
    assert str(error.value) == (
        "SoftmaxCrossEntropy(weight=[1., 2., 3.]) expects as many classes as it has weights, 3, "
        "got logits of shape (3, 4)"
    )


def test_repr_of_cross_entropy_is_its_constructor_call() -> None:
    assert repr(SoftmaxCrossEntropy()) == "SoftmaxCrossEntropy()"
    loss = SoftmaxCrossEntropy([0.5, 1], -1, "sum", 0.1)
    assert repr(loss) == (
        "SoftmaxCrossEntropy(weight=[0.5, 1. ], ignore_index=-1, reduction='sum', "
        "label_smoothing=0.1)"
    )


def test_a_rejected_forward_leaves_no_backward_for_the_previous_batch() -> None:
    loss = SoftmaxCrossEntropy()
    loss(LOGITS, np.zeros(3, int))
    with pytest.raises(InputError, match="labels from 0 to 3"):
        loss(LOGITS, np.full(3, 7))
    with pytest.raises(InputError, match="expects a forward before it"):
        loss.backward()


def test_sums_of_probability_rows_may_be_off_by_float16_rounding() -> None:
    third = np.full((3, 4), np.float16(1 / 3)) * [1, 1, 1, 0]
    assert SoftmaxCrossEntropy()(LOGITS, third.astype(np.float16)) == pytest.approx(
        math.log(4), 1e-3
    )
