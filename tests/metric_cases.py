"""Every metric of the package with random batches for it, for tests of what they have in common."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from tinynet import (
    R2,
    ROCAUC,
    Accuracy,
    Array,
    AveragePrecision,
    BinaryAccuracy,
    BinaryLogLoss,
    BinaryPrecisionRecallF1,
    ConfusionMatrix,
    InputError,
    LogLoss,
    MeanAbsoluteErrorMetric,
    Metric,
    PrecisionRecallF1,
    RootMeanSquaredError,
    TopKAccuracy,
)

Batch = tuple[Array, Array]
CLASSES = 4
IGNORED = -100

# Few different scores, so that ties are common.
SCORES = [-1.0, 0.0, 0.0, 0.5, 2.0]


def class_batch(rng: np.random.Generator, size: int, *, nan: bool = False) -> Batch:
    """Scores (N, 4) or (N, T, 4), with labels, some of them ignored, or with probability rows."""
    shape = (size,) if rng.random() < 0.6 else (size, 3)
    dtype = rng.choice(["f4", "f8"])
    scores = rng.choice(SCORES, (*shape, CLASSES)).astype(dtype)
    few = rng.choice(CLASSES, rng.integers(1, CLASSES + 1))  # absent classes are common
    labels = rng.choice(few, shape)
    if rng.random() < 0.3:
        return with_nan(rng, scores, nan), rng.dirichlet(np.ones(CLASSES), shape)
    if rng.random() < 0.5:
        labels = np.where(rng.random(shape) < 0.3, IGNORED, labels)
        return with_nan(rng, scores, nan), labels
    return with_nan(rng, scores, nan), labels.astype(rng.choice(["i8", "u1"]))


def binary_batch(rng: np.random.Generator, size: int, *, nan: bool = False) -> Batch:
    """Logits and targets 0 and 1 of one column or of three labels."""
    shapes = [(size,), (size, 1), (size, 3), (size, 2, 3)]
    shape = shapes[rng.integers(4)]
    logits = rng.choice(SCORES, shape).astype(rng.choice(["f4", "f8"]))
    targets = rng.random(shape) < rng.choice([0.1, 0.5, 1.0])
    return with_nan(rng, logits, nan), targets.astype(rng.choice(["?", "u1", "i8", "f4"]))


def regression_batch(rng: np.random.Generator, size: int, *, nan: bool = False) -> Batch:
    """Predictions and targets, also of several outputs, of which one may be constant."""
    shapes = [(size,), (size, 1), (size, 3), (size, 2, 3)]
    shape = shapes[rng.integers(4)]
    targets = rng.standard_normal(shape) + rng.choice([0.0, 100.0])
    if len(shape) > 2 and rng.random() < 0.5:
        targets[..., 1] = 0.1
    prediction = targets + rng.standard_normal(shape)
    return with_nan(rng, prediction.astype(rng.choice(["f4", "f8"])), nan), targets


def with_nan(rng: np.random.Generator, values: Array, nan: bool) -> Array:
    if nan:
        values[rng.random(values.shape) < 0.2] = np.nan
    return values


def labelled_scores(values: Sequence[float] = SCORES) -> st.SearchStrategy[tuple[Array, Array]]:
    """Scores (N, 4) and labels (N,); absent classes are common."""

    def drawn(seed: int) -> tuple[Array, Array]:
        # By NumPy: a draw of Hypothesis for each entry would take minutes.
        rng = np.random.default_rng(seed)
        size, few = rng.integers(1, 12), rng.choice(CLASSES, rng.integers(1, CLASSES + 1))
        prediction = rng.choice(values, (size, CLASSES)).astype(rng.choice(["f4", "f8"]))
        return prediction, rng.choice(few, size).astype(rng.choice(["i8", "u1"]))

    return st.integers(0, 2**32 - 1).map(drawn)


@dataclass(frozen=True)
class Case:
    make: Callable[[], Metric]
    batch: Callable[..., Batch]
    better: bool | None  # whether higher is
    exact: bool  # counts, where the division into batches changes no bit


CASES = {
    "Accuracy": Case(Accuracy, class_batch, True, True),
    "TopKAccuracy": Case(lambda: TopKAccuracy(2), class_batch, True, True),
    "ConfusionMatrix": Case(lambda: ConfusionMatrix(CLASSES), class_batch, None, True),
    "PrecisionRecallF1": Case(lambda: PrecisionRecallF1(CLASSES), class_batch, True, True),
    "PrecisionRecallF1 of one": Case(
        lambda: PrecisionRecallF1(CLASSES, positive=2), class_batch, True, True
    ),
    "LogLoss": Case(LogLoss, class_batch, False, False),
    "BinaryAccuracy": Case(BinaryAccuracy, binary_batch, True, True),
    "BinaryPrecisionRecallF1": Case(BinaryPrecisionRecallF1, binary_batch, True, True),
    "BinaryLogLoss": Case(BinaryLogLoss, binary_batch, False, False),
    "ROCAUC": Case(ROCAUC, binary_batch, True, True),
    "AveragePrecision": Case(AveragePrecision, binary_batch, True, True),
    "MeanAbsoluteErrorMetric": Case(MeanAbsoluteErrorMetric, regression_batch, False, False),
    "RootMeanSquaredError": Case(RootMeanSquaredError, regression_batch, False, False),
    "R2": Case(R2, regression_batch, True, False),
}


def same(first: Any, second: Any, *, exact: bool = True) -> bool:
    """Whether all results are equal, NaN to NaN, or else equal but for rounding."""
    assert first.keys() == second.keys()
    if exact:
        return all(np.array_equal(first[n], second[n], equal_nan=True) for n in first)
    return all(
        math.isclose(first[n], second[n], rel_tol=1e-11, abs_tol=1e-11)
        or (math.isnan(first[n]) and math.isnan(second[n]))
        for n in first
    )


def said(do: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """The message of the InputError that a call raises."""
    with pytest.raises(InputError) as error:
        do(*args, **kwargs)
    return str(error.value)
