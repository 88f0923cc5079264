"""Metrics of predicted numbers: mean absolute error, root mean squared error and R²."""

import math
from typing import Any, final

import numpy as np

from tinynet.functional import merged_moments
from tinynet.metrics.inputs import check_pair, columns
from tinynet.metrics.metric import MeanMetric, Metric
from tinynet.parameter import Array


@final
class MeanAbsoluteErrorMetric(MeanMetric):
    """The mean of |prediction - target| over all entries, in the unit of the targets.

    Any shape (N, ...), with targets of that shape; computed in float64. Its name tells it from
    the loss MeanAbsoluteError, which has a gradient.

    Raises:
        InputError: from `update`, targets of another shape.

    >>> MeanAbsoluteErrorMetric()(np.array([1.0, 5.0]), np.array([1, 2]))
    {'mean_absolute_error': 1.5}
    """

    higher_is_better = False

    def update(self, prediction: Array, targets: Array) -> None:
        """prediction: (N, ...), targets: (N, ...)."""
        self.add(abs(_errors(self, prediction, targets)))

    def results(self) -> dict[str, Any]:
        """mean_absolute_error, from 0 up."""
        return {"mean_absolute_error": self.mean}


@final
class RootMeanSquaredError(MeanMetric):
    """The root of the mean of (prediction - target)² over all entries, in the unit of the targets.

    Any shape (N, ...), with targets of that shape; computed in float64. The mean over batches is
    taken before the root.

    Raises:
        InputError: from `update`, targets of another shape.

    >>> RootMeanSquaredError()(np.array([1.0, 5.0]), np.array([2, 12]))
    {'root_mean_squared_error': 5.0}
    """

    higher_is_better = False

    def update(self, prediction: Array, targets: Array) -> None:
        """prediction: (N, ...), targets: (N, ...)."""
        self.add(_errors(self, prediction, targets) ** 2)

    def results(self) -> dict[str, Any]:
        """root_mean_squared_error, from 0 up."""
        return {"root_mean_squared_error": math.sqrt(self.mean)}


@final
class R2(Metric):
    """The coefficient of determination: 1 - Σ (t - prediction)² / Σ (t - mean of t)².

    1 is perfect; 0 is no better than the mean of all targets t, below 0 is worse. Predictions
    (N, ..., D), with targets of their shape: D outputs (one for (N,)), each with an R² of its own;
    the result is their mean. An output whose targets are all equal has none and is left out of
    it; NaN if no output is left. Computed in float64; a large mean of the targets costs no digits.

    Raises:
        InputError: from `update`, targets of another shape, or another D than before.

    Source: Chan, Golub and LeVeque, "Algorithms for Computing the Sample Variance", The American
    Statistician 37(3), 1983: the sums of squares of two batches as that of both.

    >>> R2()(np.array([1.0, 2.0, 4.0]), np.array([1, 2, 3]))  # 1 - 1 / 2
    {'r2': 0.5}
    """

    higher_is_better = True
    shapes_vary = True

    def __init__(self) -> None:
        self.counts = np.zeros(0, np.int64)  # this and the others: (D,)
        self.first = np.zeros(0)  # the first target
        self.mean = np.zeros(0)  # of t - first: exactly 0 while all targets are equal
        self.squares = np.zeros(0)  # Σ (t - mean)²
        self.residuals = np.zeros(0)  # Σ (t - prediction)²

    def update(self, prediction: Array, targets: Array) -> None:
        """prediction: (N, ..., D), targets: (N, ..., D)."""
        targets = check_pair(self, prediction, targets, "prediction")
        columns_of = (columns(self, a, len(self.counts), "outputs") for a in (prediction, targets))
        # (D, M), for sums along the last axis are pairwise and lose no digits.
        predicted, t = (np.ascontiguousarray(a.T, np.float64) for a in columns_of)
        if not t.size:
            return
        if not self.counts.size:
            self.counts = np.zeros(len(t), np.int64)
            self.first = t[:, 0].copy()
            self.mean, self.squares, self.residuals = np.zeros((3, len(t)))
        with np.errstate(over="ignore", invalid="ignore"):  # infinite numbers give NaN
            residuals = ((t - predicted) ** 2).sum(axis=1)
            t = t - self.first[:, None]
            self.mean, self.squares = merged_moments(self.counts, self.mean, self.squares, t)
        self.residuals, self.counts = self.residuals + residuals, self.counts + t.shape[1]

    def per_output(self) -> Array:
        """The R² of each output (D,); NaN where all targets are equal."""
        unexplained = np.full(len(self.counts), np.nan)
        np.divide(self.residuals, self.squares, out=unexplained, where=self.squares != 0)
        return 1 - unexplained

    def results(self) -> dict[str, Any]:
        """r2, at most 1."""
        # An output that is NaN because of its predictions is not left out.
        known = self.per_output()[self.squares != 0]
        return {"r2": float(known.mean()) if known.size else float("nan")}


def _errors(metric: Metric, prediction: Array, targets: Array) -> Array:
    """Prediction - targets in float64, which also takes differences of unsigned integers."""
    targets = check_pair(metric, prediction, targets, "prediction")
    with np.errstate(invalid="ignore"):  # the difference of infinite numbers is NaN
        return np.subtract(prediction, targets, dtype=np.float64)
