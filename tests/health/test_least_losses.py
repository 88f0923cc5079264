"""The least losses of a constant prediction and of any, for every loss; and what a loss is."""

import math
from typing import Any

import numpy as np
import pytest

from tinynet import (
    Array,
    BinaryCrossEntropy,
    Hinge,
    Huber,
    KLDivergence,
    Layer,
    MeanAbsoluteError,
    MeanSquaredError,
    SoftmaxCrossEntropy,
)
from tinynet.functional import log_softmax
from tinynet.health.least_losses import least_losses, measures_distance, minimum

RNG = np.random.default_rng(0)
X = RNG.standard_normal((9, 6))
YES = (RNG.random((64, 3)) < 0.3).astype(int)
SHARES = YES.mean(axis=0)
TARGETS = 1e5 * RNG.standard_normal((65, 2)) + 3e5
MEDIAN = np.median(TARGETS, axis=0)
ROWS = RNG.dirichlet(np.ones(4), 64)
LABELS = RNG.integers(0, 4, 64)


def test_least_losses_are_those_of_the_best_constant_and_prediction() -> None:
    labels = np.array([0, 2, 2, 5], np.uint64)
    shares = np.array([0.25, 0, 0.5, 0, 0, 0.25])
    with np.errstate(divide="ignore"):
        logits = np.log(np.tile(shares, (4, 1)))
    loss = SoftmaxCrossEntropy()
    for y in (labels, np.eye(6)[labels.astype(int)]):
        expected = pytest.approx((loss(logits, y), 0))
        assert least_losses(loss, logits, y) == expected
    constant = np.tile(X[:9].mean(axis=0), (9, 1))
    for squares in (MeanSquaredError(), MeanSquaredError("sum")):
        expected = pytest.approx((squares(constant, X[:9]), 0))
        assert least_losses(squares, constant, X[:9]) == expected


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("as_rows", [True, False])
def test_least_losses_are_minima_under_all_settings_of_the_loss(
    reduction: str, as_rows: bool
) -> None:
    loss = SoftmaxCrossEntropy([1, 2, 0.5], -1, reduction, 0.2)
    y = np.array([[0, 2, -1], [1, 0, 0]])
    if as_rows:
        y = np.eye(3)[y]
    logits = np.zeros((2, 3, 3))
    guess, least = least_losses(loss, logits, y)
    for best, axis in ((guess, (0, 1)), (least, ())):
        # Gradient descent to the best constant, or to the best prediction of each position.
        logits[...] = 0
        for _ in range(400):
            value = loss(logits, y)
            logits -= (0.2 if reduction == "sum" else 1.0) * loss.backward().sum(
                axis=axis, keepdims=True
            )
        assert value == pytest.approx(best, rel=1e-4)
        assert value >= best * (1 - 1e-12)  # the least loss, up to rounding


# The best constants by their formulas: the share of each label, the median, the mean distribution.
ENTROPY = float(-(SHARES * np.log(SHARES) + (1 - SHARES) * np.log(1 - SHARES)).mean())
DIVERGENCE = float((ROWS * np.log(ROWS / ROWS.mean(axis=0))).sum(axis=1).mean())
KNOWN: dict[str, tuple[Layer, Array, Array, float]] = {
    "binary": (BinaryCrossEntropy(), np.zeros((64, 3)), YES, ENTROPY),
    "binary sum": (BinaryCrossEntropy(reduction="sum"), np.zeros((64, 3)), YES, 192 * ENTROPY),
    "absolute": (
        MeanAbsoluteError(),
        np.zeros((65, 2)),
        TARGETS,
        float(abs(TARGETS - MEDIAN).mean()),
    ),
    "KL": (KLDivergence(), log_softmax(np.zeros((64, 4))), ROWS, DIVERGENCE),
    "KL of logarithms": (
        KLDivergence(log_target=True),
        log_softmax(np.zeros((64, 4))),
        np.log(ROWS),
        DIVERGENCE,
    ),
    "KL along axis 1": (
        KLDivergence(),
        log_softmax(np.zeros((64, 4, 2)), axis=1),
        np.stack([ROWS, ROWS], axis=2),
        2 * DIVERGENCE,
    ),
    "KL of all entries": (
        KLDivergence(),
        np.full((64, 2, 2), -math.log(4)),
        ROWS.reshape(64, 2, 2),
        DIVERGENCE,
    ),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_the_least_losses_of_other_losses_are_found_numerically(kind: str) -> None:
    loss, prediction, y, constant = KNOWN[kind]
    expected = pytest.approx((constant, 0), rel=1e-3, abs=1e-4 * constant)
    assert least_losses(loss, prediction, y) == expected


@pytest.mark.parametrize("loss", [Huber(), Hinge(), Hinge(p=2), MeanSquaredError()], ids=repr)
def test_no_other_constant_has_a_lower_loss(loss: Layer) -> None:
    y = LABELS if isinstance(loss, Hinge) else ROWS
    least, constant = minimum(loss, np.zeros((64, 4)), y, 1)
    for seed in range(20):
        nearby = constant + 0.1 * np.random.default_rng(seed).standard_normal((1, 4))
        assert least <= loss(np.repeat(nearby, 64, axis=0), y) * (1 + 1e-4)
    assert minimum(loss, np.zeros((64, 4)), y, 64)[0] == pytest.approx(0, abs=1e-4)


class Own(Layer):
    """The mean of a function of prediction - target."""

    def __init__(self, function: Any, slope: Any) -> None:
        self.function, self.slope = function, slope

    def forward(self, prediction: Array, targets: Array) -> float:
        self.save_for_backward(0.0, prediction - targets)
        return float(np.mean(self.function(prediction - targets)))

    def backward(self) -> Array:
        _, difference = self.saved_for_backward(1)
        dx: Array = self.slope(difference) / difference.size
        return dx


LOG_COSH = Own(lambda d: np.log(np.cosh(d)), np.tanh)
LINEAR = Own(lambda d: d, np.ones_like)
LOGARITHM = Own(np.log, lambda d: 1 / d)


def test_losses_of_ones_own_are_minimized_as_well() -> None:
    y = np.repeat([[-1.0], [1.0]], 20, axis=0)
    expected = pytest.approx((math.log(math.cosh(1)), 0), rel=1e-4, abs=1e-6)
    assert least_losses(LOG_COSH, np.zeros((40, 1)), y) == expected


@pytest.mark.parametrize("loss", [LINEAR, LOGARITHM], ids=["no minimum", "NaN below the target"])
def test_the_least_losses_of_a_loss_without_a_minimum_are_not_known(loss: Layer) -> None:
    with np.errstate(all="ignore"):
        assert least_losses(loss, np.zeros((9, 1)), np.ones((9, 1))) == (math.inf, 0)


def test_the_least_losses_of_a_loss_that_refuses_the_predictions_are_not_known() -> None:
    assert least_losses(Hinge(), np.zeros((9, 2)), np.full(9, 5)) == (math.inf, 0)


@pytest.mark.parametrize(
    ("loss", "y", "expected"),
    [
        (MeanSquaredError(), X, True),
        (MeanAbsoluteError(), X[:, 0], True),
        (Huber(), X, True),
        (LOG_COSH, X, True),
        (LINEAR, X, False),
        (BinaryCrossEntropy(), YES[:9], False),
        (BinaryCrossEntropy(), X, False),
        (KLDivergence(), np.eye(9, 6), False),
        (KLDivergence(log_target=True), np.log(np.full((9, 6), 1 / 6)), False),
        (SoftmaxCrossEntropy(), np.eye(9, 6), False),
        (SoftmaxCrossEntropy(), LABELS[:9], False),
        (Hinge(), LABELS[:9], False),
    ],
    ids=str,
)
def test_a_regression_has_a_loss_of_0_where_the_prediction_is_the_target_and_nowhere_else(
    loss: Layer, y: Array, expected: bool
) -> None:
    shape = (9, 1) if y.ndim == 1 and y.dtype.kind == "f" else (9, *y.shape[1:], 6)[: y.ndim or 2]
    prediction = np.zeros(shape if y.dtype.kind == "f" else (9, y.shape[-1] if y.ndim > 1 else 4))
    assert measures_distance(loss, prediction, y) == expected


def test_outputs_that_are_no_array_are_no_regression() -> None:
    assert not measures_distance(MeanSquaredError(), (X, X), X)
