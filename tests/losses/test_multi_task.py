"""MultiTaskLoss, and the metric of one head."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import (
    ROCAUC,
    Accuracy,
    HeadMetric,
    InputError,
    MeanSquaredError,
    Metric,
    MultiTaskLoss,
    PrecisionRecallF1,
    SoftmaxCrossEntropy,
)

LOSS = MultiTaskLoss([SoftmaxCrossEntropy(), MeanSquaredError()], weights=[1.0, 0.5])
LOGITS, LABELS = np.zeros((2, 4)), np.array([3, 1])
VALUES, TARGETS = np.array([[1.0], [3.0]]), np.array([0.0, 0.0])


def said(do: Any, *args: Any) -> str:
    with pytest.raises(InputError) as error:
        do(*args)
    return str(error.value)


def test_the_loss_and_its_gradient_are_weighted_sums() -> None:
    value = LOSS((LOGITS, VALUES), (LABELS, TARGETS))
    assert value == pytest.approx(np.log(4) + 0.5 * (1 + 9) / 2, rel=1e-15)
    dlogits, dvalues = LOSS.backward()
    np.testing.assert_allclose(dlogits, (0.25 - np.eye(4)[LABELS]) / 2, rtol=1e-15)
    np.testing.assert_allclose(dvalues, [[0.5], [1.5]], rtol=1e-15)
    assert repr(LOSS) == (
        "MultiTaskLoss([SoftmaxCrossEntropy(), MeanSquaredError()], weights=[1, 0.5])"
    )


@pytest.mark.parametrize(
    ("losses", "weights", "sentence"),
    [
        (MeanSquaredError(), None, "a list of losses, got MeanSquaredError()"),
        ([], None, "a list of losses, got []"),
        ([MeanSquaredError], None, "losses, got <class"),
        ([MeanSquaredError()], [1, 2], "a weight for each of 1 losses, got [1, 2]"),
        ([MeanSquaredError()], 2.0, "a weight for each of 1 losses, got 2.0"),
        ([MeanSquaredError()], [-1], "weight to be a finite number >= 0, got -1"),
    ],
)
def test_other_losses_and_weights_are_refused(losses: Any, weights: Any, sentence: str) -> None:
    assert sentence in said(lambda: MultiTaskLoss(losses, weights=weights))
    one = MeanSquaredError()
    assert "at one place only" in said(lambda: MultiTaskLoss([one, one]))


def test_errors_name_the_head() -> None:
    right = (LOGITS, VALUES), (LABELS, TARGETS)
    assert said(LOSS, LOGITS, right[1]).endswith(
        "expects prediction to be a tuple of 2 arrays, one for each loss, got ndarray"
    )
    assert said(LOSS, right[0], (LABELS,)).endswith(
        "expects targets to be a tuple of 2 arrays, one for each loss, got 1"
    )
    assert said(LOSS, right[0], (LABELS, np.zeros((2, 3)))).startswith(
        "head 1: MeanSquaredError() expects targets of the shape of the prediction"
    )


@given(cuts=st.sets(st.integers(1, 8)), seed=st.integers(0, 99))
@pytest.mark.parametrize("metric", [Accuracy(), PrecisionRecallF1(3), ROCAUC()])
def test_the_metric_of_a_head_is_that_metric_of_its_arrays(
    metric: Metric, cuts: set[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    other, labels = rng.random((9, 2)), rng.integers(0, 2, 9)
    scores = rng.random((9, 1 if isinstance(metric, ROCAUC) else 3))
    expected = metric(scores, labels.reshape(scores.shape) if scores.shape[1] == 1 else labels)
    of_head = HeadMetric(1, metric, name="digit")
    of_head.reset()
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), 9], strict=True):
        rows = slice(start, stop)
        of_head.update((other[rows], scores[rows]), (other[rows], labels[rows]))
    assert list(of_head.results()) == [f"digit_{name}" for name in expected]
    for got, value in zip(of_head.results().values(), expected.values(), strict=True):
        np.testing.assert_allclose(got, value)
    kept = {name: array.copy() for name, array in of_head.state_dict().items()}
    for_all_heads = HeadMetric(1, metric)
    assert list(for_all_heads((other, scores), labels)) == [f"head_1_{n}" for n in expected]
    for_all_heads.load_state_dict(kept)
    for_all_heads.check_state_dict(kept)
    np.testing.assert_equal([*for_all_heads.results().values()], [*of_head.results().values()])


def test_a_head_metric_refuses_what_has_no_such_head() -> None:
    metric = HeadMetric(1, Accuracy())
    assert metric.higher_is_better == {"head_1_accuracy": True}
    assert "HeadMetric expects metrics, got <class" in said(lambda: HeadMetric(0, Accuracy))  # type: ignore[arg-type]  # as users write it
    assert "head to be a whole number >= 0" in said(lambda: HeadMetric(-1, Accuracy()))
    for first in ("digit", Accuracy()):
        assert "write HeadMetric(0, Accuracy(), name='digit')" in said(
            lambda first=first: HeadMetric(first, Accuracy())
        )
    for name in ("", 3, "validation", "validation_digit"):
        assert f"got {name!r}" in said(lambda name=name: HeadMetric(0, Accuracy(), name=name))
    assert said(metric.update, LOGITS, LABELS).endswith(
        "expects prediction to be a tuple of 2 arrays or more, got ndarray"
    )
    assert said(metric.update, (LOGITS, LOGITS), (LABELS,)).endswith(
        "expects targets to be a tuple of 2 arrays or more, got a tuple of 1"
    )
    assert np.isnan(metric.results()["head_1_accuracy"])
