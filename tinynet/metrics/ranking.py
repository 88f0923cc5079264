"""Metrics of the order of scores, for every threshold at once: ROC AUC and average precision.

They keep all scores and targets of an epoch, 9 bytes an entry: no sum of batches tells the order.
"""

from abc import abstractmethod
from typing import Any, final

import numpy as np

from tinynet.metrics.classification import mean_of_known
from tinynet.metrics.inputs import binary_targets, columns
from tinynet.metrics.metric import Metric
from tinynet.parameter import Array


class RankingMetric(Metric):
    """Base class: subclasses give a value to one label, from the counts at each distinct score.

    Logits (N, ...) or other scores, with targets 0 and 1 of their shape: (N,) or (N, 1) for one
    label, (N, ..., L) for L labels, whose values are averaged. A NaN stands at the wrong end of
    the order: below all scores for the target 1, above them for the target 0.
    """

    higher_is_better = True
    shapes_vary = True
    name: str

    def __init__(self) -> None:
        self.scores = np.zeros((0, 0))  # (M, L)
        self.targets = np.zeros((0, 0), np.bool_)
        self._memory = self.scores, self.targets  # these two begin it; batches are written behind

    @abstractmethod
    def value(self, ones: Array, zeros: Array, nan_ones: int, nan_zeros: int) -> float:
        """Of one label; ones and zeros: (K,) counts of targets at the K scores, from the lowest."""

    @final
    def update(self, prediction: Array, targets: Array) -> None:
        """prediction: (N, ...), targets: (N, ...)."""
        positive = binary_targets(self, prediction, targets)
        added = columns(self, prediction, self.scores.shape[1], "labels")
        if not added.size:
            return
        start, end = len(self.scores), len(self.scores) + len(added)
        if end > len(self._memory[0]):
            self._grow(max(end, 2 * start), added.shape[1])
        scores, kept = self._memory
        scores[start:end], kept[start:end] = added, positive.reshape(added.shape)
        self.scores, self.targets = scores[:end], kept[:end]

    @final
    def per_label(self) -> Array:
        """The value of each label (L,); NaN where it is not defined."""
        pairs = zip(self.scores.T, self.targets.T, strict=True)
        return np.array([self._of_label(*pair) for pair in pairs])

    @final
    def results(self) -> dict[str, Any]:
        """The mean over the labels where it is defined; NaN if it is for none."""
        return {self.name: mean_of_known(self.per_label())}

    @final
    def reset(self) -> None:
        """Starts again, without any batch."""
        super().reset()
        self._memory = self.scores, self.targets

    @final
    def load_state_dict(self, state: Any) -> None:
        """Continues from a state."""
        super().load_state_dict(state)
        self._memory = self.scores, self.targets

    def _grow(self, size: int, labels: int) -> None:
        """More memory; states that were taken before keep the former one, which is not written."""
        scores, targets = np.empty((size, labels)), np.empty((size, labels), np.bool_)
        if len(self.scores):
            scores[: len(self.scores)], targets[: len(self.targets)] = self.scores, self.targets
        self._memory = scores, targets

    def _of_label(self, scores: Array, targets: Array) -> float:
        nan = np.isnan(scores)
        _, places = np.unique(scores[~nan], return_inverse=True)
        known = targets[~nan]
        size = int(places.max(initial=-1)) + 1
        ones, zeros = (np.bincount(places[known == one], minlength=size) for one in (True, False))
        nan_ones = int(targets[nan].sum())
        return self.value(ones, zeros, nan_ones, int(nan.sum()) - nan_ones)


@final
class ROCAUC(RankingMetric):
    """The area under the ROC curve: how often a target 1 has a higher score than a target 0.

    AUC = (pairs in the right order + half the tied ones) / all pairs of a 1 and a 0; 1 is perfect
    and 1/2 a guess. For several labels it is the mean over those with both targets, the macro
    average. NaN if no label has both.

    Logits (N, ...), targets 0 and 1 and NaN: as for `RankingMetric`. All scores of an epoch are
    kept in memory.

    Raises:
        InputError: from `update`, other targets, or another number of labels than before.

    Source: Hanley and McNeil, "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve", Radiology 143(1), 1982.

    >>> ROCAUC()(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
    {'roc_auc': 0.75}
    """

    name = "roc_auc"

    def value(self, ones: Array, zeros: Array, nan_ones: int, nan_zeros: int) -> float:
        """The area, counted in integers; NaN if one target is missing."""
        pairs = (int(ones.sum()) + nan_ones) * (int(zeros.sum()) + nan_zeros)
        if not pairs:
            return float("nan")
        below = zeros.cumsum() - zeros
        return int((ones * (2 * below + zeros)).sum()) / (2 * pairs)


@final
class AveragePrecision(RankingMetric):
    """The area under the precision-recall curve, as a sum: AP = Σₙ (Rₙ - Rₙ₋₁) Pₙ.

    Pₙ and Rₙ are precision and recall of the decisions score >= the n-th highest of the distinct
    scores. It looks at the ones alone, and suits labels that are rare; a guess has their share as
    AP. For several labels it is the mean over those with a target 1. NaN if none has one.

    Logits (N, ...), targets 0 and 1 and NaN: as for `RankingMetric`. All scores of an epoch are
    kept in memory.

    Raises:
        InputError: as ROCAUC.

    Source: Su, Yuan and Zhu, "A Relationship between the Average Precision and the Area Under the
    ROC Curve", ICTIR 2015, equation 4.

    >>> AveragePrecision()(np.array([0.1, 0.4, 0.3, 0.8]), np.array([0, 1, 1, 1]))
    {'average_precision': 1.0}
    """

    name = "average_precision"

    def value(self, ones: Array, zeros: Array, nan_ones: int, nan_zeros: int) -> float:
        """The sum; NaN without a target 1."""
        total = int(ones.sum()) + nan_ones
        if not total:
            return float("nan")
        hits = ones[::-1].cumsum()
        chosen = hits + zeros[::-1].cumsum() + nan_zeros
        return float((ones[::-1] * (hits / chosen)).sum()) / total
