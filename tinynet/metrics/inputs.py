"""Validation of the predictions and targets of metrics, by the rules that the losses have."""

from typing import final

import numpy as np

from tinynet.errors import InputError
from tinynet.losses.targets import (
    as_column,
    check_class_rows_or_labels,
    check_same_shape,
    signs_hint,
)
from tinynet.metrics.metric import Metric
from tinynet.parameter import Array
from tinynet.validation import check_array, check_shape, first_index, index_text, whole_number


class ClassMetric(Metric):
    """Base class of metrics of one class among C, with labels that do not count."""

    counterpart = "BinaryAccuracy"  # the metric of one column of logits, or of several labels a row

    def __init__(self, ignore_index: int) -> None:
        who = type(self).__name__
        self.ignore_index = whole_number(who, "ignore_index", ignore_index, at_least=-(2**31))

    @final
    def checked(
        self, scores: Array, targets: Array, classes: int | str = "C"
    ) -> tuple[Array, Array]:
        """Scores (M, C) with labels (M,) or probability rows (M, C), without ignored labels.

        Every position of a sequence (N, T, C) is a sample.
        """
        check_array(self, "scores", scores)
        shape, some_ignored = scores.shape, False
        if len(shape) < 2 or shape[-1] < 2:
            raise InputError(
                f"{self!r} expects scores of shape (N, ..., C) with at least 2 classes, got "
                f"{shape}; {self.counterpart} takes one column of logits, R2 one of numbers"
            )
        check_shape(self, "scores", scores, ("N", ..., classes))
        both_empty = not scores.size and isinstance(targets, np.ndarray) and not targets.size
        if not both_empty:
            some_ignored = check_class_rows_or_labels(
                self, targets, shape, self.ignore_index, self.counterpart
            )
        rows = scores.reshape(-1, shape[-1])
        if targets.ndim == scores.ndim:
            return rows, targets.reshape(rows.shape)
        labels = targets.reshape(-1)
        if some_ignored:
            counts = labels != self.ignore_index
            rows, labels = rows[counts], labels[counts]
        return rows, labels

    @final
    def with_labels(
        self, scores: Array, targets: Array, classes: int | str = "C"
    ) -> tuple[Array, Array]:
        """As `checked`, with the class of the highest entry as the label of a probability row."""
        rows, checked = self.checked(scores, targets, classes)
        return rows, checked if checked.ndim == 1 else checked.argmax(axis=1)


def binary_targets(metric: Metric, logits: Array, targets: Array) -> Array:
    """The targets of logits (N, ...) as bools of their shape, from 0 and 1 of any number dtype."""
    column = check_pair(metric, logits, targets, "logits")
    wrong = (targets != 0) & (targets != 1)
    if wrong.any():
        index = first_index(wrong)
        raise InputError(
            f"{metric!r} expects targets 0 and 1, got {targets[index]} "
            f"at index {index_text(index)}{signs_hint(targets)}"
        )
    positive: Array = column == 1
    return positive


def check_pair(metric: Metric, prediction: Array, targets: Array, name: str) -> Array:
    """Requires a prediction (N, ...) and targets of its shape, which it returns; also empty ones.

    (N,) and (N, 1) are the same column, as for the losses.
    """
    metric.check_input(prediction, "N", ..., name=name)
    check_array(metric, "targets", targets)
    column: Array = as_column(prediction, targets)
    if column.shape == prediction.shape and not prediction.size:
        return column
    return check_same_shape(metric, prediction, targets, name, "Accuracy")


def columns(metric: Metric, array: Array, former: int, name: str) -> Array:
    """(N,) as one column (N, 1); (N, ..., D) as (M, D), where D is that of former batches."""
    rows = array.reshape(-1, array.shape[-1] if array.ndim > 1 else 1)
    if former and rows.shape[1] != former:
        raise InputError(
            f"{metric!r} expects {former} {name} as in former batches, got {rows.shape[1]}"
        )
    return rows
