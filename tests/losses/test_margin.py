import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Hinge, InputError
from tinynet.testing import check_layer, floats, labels, sizes

MARGINS = st.sampled_from([1.0, 0.5, 2.0, 0.0, -1.0])
reductions = st.sampled_from(["mean", "sum"])
# Multiples of 1/1024, some of them round: gaps are exact, and gaps of just the margin are common.
scores = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0]) | st.integers(-3072, 3072).map(
    lambda k: k / 1024
)


@given(st.data(), sizes, sizes, MARGINS, st.sampled_from([1, 2]), reductions, st.booleans())
def test_hinge_and_its_gradient_equal_their_formulas(
    data: st.DataObject,
    n: int,
    classes: int,
    margin: float,
    p: int,
    reduction: str,
    with_weight: bool,
) -> None:
    rows = data.draw(
        st.lists(st.lists(scores, min_size=classes, max_size=classes), min_size=n, max_size=n)
    )
    targets = data.draw(labels((n, classes)))
    weight = [0.5 * (1 + c) for c in range(classes)] if with_weight else None
    loss = Hinge(margin, p, weight, reduction)
    got = loss(np.array(rows), targets)
    assert type(got) is float
    size = classes * (n if reduction == "mean" else 1)
    terms, expected = [], [[0.0] * classes for _ in range(n)]
    for i, (row, y) in enumerate(zip(rows, targets.tolist(), strict=True)):
        for j in range(classes):
            violation = margin - row[y] + row[j]
            if j != y and violation > 0:
                w = weight[y] if weight else 1.0
                terms.append(w * violation**p)
                slope = w * (2 * violation if p == 2 else 1.0) / size
                expected[i][j] += slope
                expected[i][y] -= slope
    assert math.isclose(got, math.fsum(terms) / size, rel_tol=1e-12, abs_tol=1e-14)
    np.testing.assert_allclose(loss.backward(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.gradients
def test_hinge_gradients_are_right() -> None:
    def make(classes: int, *, margin: float, p: int, with_weight: bool, reduction: str) -> Hinge:
        return Hinge(margin, p, np.arange(1, classes + 1) / 2 if with_weight else None, reduction)

    check_layer(
        make,
        ("N", "classes"),
        # None near 0, where a step of the numeric derivative is lost beside the margin, and no
        # margin of 0, where equal scores have a gradient of 0.
        x=lambda shape: floats(shape, bound=3).map(lambda x: x + 4),
        targets=labels,
        margin=st.sampled_from([1.0, 0.5, 2.0, -1.0]),
        p=st.sampled_from([1, 2]),
        with_weight=st.booleans(),
        reduction=reductions,
    )


@pytest.mark.parametrize("p", [1, 2])
def test_a_gap_of_exactly_the_margin_costs_nothing(p: int) -> None:
    loss = Hinge(p=p)
    assert loss(np.array([[1.0, 0.0, -1.0]]), np.array([0])) == 0
    assert loss.backward().tolist() == [[0, 0, 0]]


def test_squared_hinge_matches_a_calculation_by_hand() -> None:
    loss = Hinge(p=2)
    assert loss(np.array([[1.0, 1.0, -1.0, 2.0]]), np.array([0])) == (1 + 4) / 4
    assert loss.backward().tolist() == [[-1.5, 0.5, 0, 1]]


def test_hinge_of_float32_sums_in_float64_and_returns_a_float32_gradient() -> None:
    rng = np.random.default_rng(0)
    logits, targets = rng.standard_normal((6000, 3)), rng.integers(0, 3, 6000)
    single = Hinge(weight=[0.1, 1, 0.7], p=2)
    got = single(logits.astype(np.float32), targets)
    assert single.backward().dtype == np.float32
    double = Hinge(weight=[0.1, 1, 0.7], p=2)
    assert got == pytest.approx(double(logits.astype(np.float32).astype(float), targets), rel=2e-8)
    logits = np.array([[1e30, 0, 0]], np.float32)
    assert Hinge(p=2)(logits, np.array([1])) == pytest.approx(1e60 / 3, rel=1e-6)


@pytest.mark.parametrize(
    ("logits", "targets", "sentence"),
    [
        (np.zeros((3, 2, 4)), np.zeros((3, 2), int), "logits of shape (N, C), got (3, 2, 4)."),
        (np.zeros((0, 4)), np.zeros(0, int), "at least one row and class, got (0, 4)."),
        (
            np.zeros((3, 4)),
            np.eye(3, 4),
            "labels of shape (3,), got (3, 4); labels.argmax(axis=-1) makes labels of one-hot",
        ),
        (np.zeros((3, 4)), np.zeros((3, 1), int), "got (3, 1); labels.ravel() gives it."),
        (np.zeros((3, 4)), np.zeros(3), "integer labels, got float64; labels.astype(int) makes"),
        (np.zeros((3, 4)), np.array([0, 0, -100]), "labels from 0 to 3, got -100 at index 2."),
        (np.zeros((3, 4)), np.array([1, 4, 2]), "got 4 at index 1; classes count from 0: subtract"),
        (np.zeros((3, 4)), [0, 1, 2], "labels to be a NumPy array, got list"),
    ],
)
def test_hinge_rejects_invalid_logits_and_targets(logits: Any, targets: Any, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        Hinge()(logits, targets)
    message = f"{error.value}."
    assert message.startswith("Hinge() expects ")
    assert sentence in message


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"margin": math.nan}, "margin to be a finite number, got nan"),
        ({"p": 3}, "p to be 1 or 2, got 3"),
        ({"p": True}, "p to be 1 or 2, got True"),
        ({"weight": 1}, "weight to have one number for each class, got the shape ()"),
        ({"reduction": "none"}, "reduction to be 'mean' or 'sum', got 'none'"),
    ],
)
def test_hinge_rejects_invalid_settings(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        Hinge(**settings)
    assert str(error.value) == f"Hinge expects {sentence}"


def test_hinge_rejects_logits_with_more_or_fewer_classes_than_weights() -> None:
    with pytest.raises(InputError, match=r"as many classes as it has weights, 2, got logits of"):
        Hinge(weight=[1, 2])(np.zeros((1, 3)), np.array([0]))


def test_repr_of_hinge_is_its_constructor_call() -> None:
    assert repr(Hinge()) == "Hinge()"
    assert repr(Hinge(0.5, 2, [1, 2])) == "Hinge(margin=0.5, p=2, weight=[1., 2.])"
