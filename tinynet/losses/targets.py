"""Validation of a loss's settings and targets, with a hint at the likely mistake."""

from types import EllipsisType
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from tinynet.errors import InputError, Shape
from tinynet.layer import Layer
from tinynet.parameter import Array
from tinynet.validation import first_index, index_text, one_of

TOLERANCE = 1e-3  # how far the sum of a row of probabilities may be from 1

ONE_COLUMN = (
    "; one column is one class: BinaryCrossEntropy takes 0 and 1, or give the last layer 2 outputs"
)


ONE_OUTPUT = (
    "; states='last' or GlobalPool1D() before the last layer gives one output for a sequence"
)


class HasInput(Protocol):
    """A loss or a metric: it checks an input, and its repr opens the message."""

    def check_input(
        self, x: Any, *shape: int | str | EllipsisType, name: str = "x", integers: bool = False
    ) -> None:
        """As `Layer.check_input`."""


def check_class_targets(
    loss: Layer, logits: Array, targets: Array, weight: Array | None, ignore_index: int
) -> bool:
    """Requires logits (N, ..., C) with labels (N, ...) or probability rows (N, ..., C).

    Returns whether there may be labels to ignore.
    """
    check_logits(loss, logits, weight, "N", ..., "C")
    return check_class_rows_or_labels(loss, targets, logits.shape, ignore_index)


def check_class_rows_or_labels(
    loss: HasInput,
    targets: Array,
    shape: Shape,
    ignore_index: int,
    multi_label: str = "BinaryCrossEntropy",
) -> bool:
    """Requires labels (N, ...) or probability rows (N, ..., C) for scores of `shape` (N, ..., C).

    Returns whether there may be labels to ignore. `multi_label` takes rows of several labels.
    """
    # A last axis of 1, where there are more classes, belongs to labels with an axis too many.
    same_ndim = isinstance(targets, np.ndarray) and targets.ndim == len(shape)
    if same_ndim and not targets.shape[-1] == 1 < shape[-1]:
        _check_rows(loss, targets, shape, multi_label)
        return False
    low, high = check_labels(loss, targets, shape, ignore_index)
    return low <= ignore_index <= high


def check_logits(
    loss: Layer, logits: Array, weight: Array | None, *pattern: int | str | EllipsisType
) -> None:
    """Requires logits of this shape, with a row and a class, and a weight for each class if any."""
    loss.check_input(logits, *pattern, name="logits")
    if logits.size == 0:
        raise InputError(f"{loss!r} expects at least one row and class, got {logits.shape}")
    if weight is not None and len(weight) != logits.shape[-1]:
        raise InputError(
            f"{loss!r} expects as many classes as it has weights, {len(weight)}, "
            f"got logits of shape {logits.shape}"
        )


def check_labels(
    loss: HasInput, labels: Array, shape: Shape, ignore_index: int | None = None
) -> tuple[int, int]:
    """Requires integers from 0 to C - 1, or `ignore_index`, one for each row of logits.

    `shape` is that of the logits. Returns the smallest and the largest label.
    """
    # Every training step comes through here: details are looked for only when something is wrong.
    plain = type(labels) is np.ndarray and labels.dtype.kind in "iu"
    if not plain or labels.shape != shape[:-1]:
        _check_label_array(loss, labels, shape)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= shape[-1]:
        _check_label_range(loss, labels, shape[-1], ignore_index)
    return low, high


def check_same_shape(
    loss: HasInput,
    prediction: Array,
    targets: Array,
    name: str = "prediction",
    takes_labels: str = "SoftmaxCrossEntropy",
) -> Array:
    """Requires a prediction (N, ...) and targets of its shape, which it returns.

    (N,) and (N, 1) are the same column; nothing else is reshaped, and nothing is broadcast.
    """
    loss.check_input(prediction, "N", ..., name=name)
    if prediction.size == 0:
        raise InputError(f"{loss!r} expects at least one entry, got {prediction.shape}")
    loss.check_input(targets, ..., name="targets", integers=True)
    column: Array = as_column(prediction, targets)
    if column.shape != prediction.shape:
        wide, narrow = ([s for s in a.shape if s != 1] for a in (prediction, targets))
        hint = f"; targets.reshape{prediction.shape} gives it" if wide == narrow else ""
        if _one_for_a_sequence(targets.shape, prediction.shape):
            hint = ONE_OUTPUT
        if name == "logits" and targets.shape == prediction.shape[:-1] and not hint:
            hint = f"; {takes_labels} takes labels"
        raise InputError(
            f"{loss!r} expects targets of the shape of the {name}, {prediction.shape}, "
            f"got {targets.shape}{hint}"
        )
    return column


def as_column(prediction: Any, targets: Any) -> Any:
    """The targets in the shape of the prediction, if one is (N,) and the other (N, 1).

    Otherwise the targets as they are. A difference of these two would be broadcast to (N, N).

    >>> as_column(np.zeros((3, 1)), np.arange(3)).tolist()
    [[0], [1], [2]]
    """
    shapes = {getattr(prediction, "shape", ()), getattr(targets, "shape", ())}
    if () in shapes or shapes != {(len(targets),), (len(targets), 1)}:
        return targets
    return targets.reshape(prediction.shape)


def signs_hint(targets: Array) -> str:
    """What makes 0 and 1 of targets that are -1 and +1; an empty string for others."""
    signs = ((targets == 1) | (targets == -1)).all()
    return "; (targets + 1) / 2 makes 0 and 1 of -1 and +1" if signs else ""


def check_reduction(who: str, value: Any) -> str:
    """Returns "mean" or "sum"."""
    return str(one_of(who, "reduction", value, ("mean", "sum")))


def nonnegative_weights(who: str, name: str, value: ArrayLike) -> Array:
    """Returns weights as an array of floats; requires finite numbers >= 0.

    >>> nonnegative_weights("BinaryCrossEntropy", "pos_weight", [2, -1])
    Traceback (most recent call last):
    tinynet.errors.InputError: BinaryCrossEntropy expects pos_weight to be finite numbers >= 0, \
got -1.0 at index (1,)
    """
    try:
        array: Array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{who} expects {name} to be numbers, got {value!r:.60}") from error
    wrong = ~(np.isfinite(array) & (array >= 0))
    if wrong.any():
        index = first_index(wrong)
        raise InputError(
            f"{who} expects {name} to be finite numbers >= 0, got {array[index]} at index {index}"
        )
    return array


def class_weight(who: str, value: ArrayLike | None) -> Array | None:
    """As `nonnegative_weights`, one for each class; None as None."""
    if value is None:
        return None
    array = nonnegative_weights(who, "weight", value)
    if array.ndim != 1 or not array.size:
        raise InputError(
            f"{who} expects weight to have one number for each class, got the shape {array.shape}"
        )
    return array


def _check_rows(loss: HasInput, rows: Array, shape: Shape, multi_label: str) -> None:
    loss.check_input(rows, *shape, name="probability rows", integers=True)
    sums = rows.sum(axis=-1)
    # The comparisons are written so that NaN fails them.
    if not (rows.min() >= 0 and abs(sums - 1).max() <= TOLERANCE):
        index = first_index(~((rows >= 0).all(axis=-1) & (abs(sums - 1) <= TOLERANCE)))
        hint = ONE_COLUMN if shape[-1] == 1 else ""
        if not hint and rows.any() and ((rows == 0) | (rows == 1)).all():
            hint = f"; {multi_label} takes rows of 0 and 1"
        raise InputError(
            f"{loss!r} expects probability rows, each >= 0 with sum 1, got {rows[index]} "
            f"at row {index_text(index)}{hint}"
        )


def _check_label_range(
    loss: HasInput, labels: Array, classes: int, ignore_index: int | None
) -> None:
    ignored = np.zeros(labels.shape, bool) if ignore_index is None else labels == ignore_index
    wrong = ~ignored & ((labels < 0) | (labels >= classes))
    if wrong.any():
        index, hint = first_index(wrong), _label_range_hint(labels[~ignored], classes)
        raise InputError(
            f"{loss!r} expects labels from 0 to {classes - 1}, "
            f"got {labels[index]} at index {index_text(index)}{hint}"
        )


def _check_label_array(loss: HasInput, labels: Array, shape: Shape) -> None:
    loss.check_input(labels, ..., name="labels", integers=True)
    if labels.shape != shape[:-1]:
        hint = _label_shape_hint(labels.shape, shape)
        raise InputError(f"{loss!r} expects labels of shape {shape[:-1]}, got {labels.shape}{hint}")
    if labels.dtype.kind in "iu":
        return
    whole = labels.dtype.kind == "b" or (np.isfinite(labels) & (labels == np.floor(labels))).all()
    hint = "; labels.astype(int) makes integers of them" if whole else ""
    raise InputError(f"{loss!r} expects integer labels, got {labels.dtype}{hint}")


def _label_shape_hint(got: Shape, logits: Shape) -> str:
    expected = logits[:-1]
    if got == logits:
        return "; labels.argmax(axis=-1) makes labels of one-hot rows"
    if [size for size in got if size != 1] == [size for size in expected if size != 1]:
        return f"; labels.{'ravel()' if len(expected) == 1 else f'reshape{expected}'} gives it"
    if _one_for_a_sequence(got, logits):
        return ONE_OUTPUT
    if got == (logits[0], *logits[2:]):
        return "; classes belong on the last axis: np.moveaxis(logits, 1, -1) puts them there"
    return ""


def _one_for_a_sequence(targets: Shape, outputs: Shape) -> bool:
    """Whether these are targets (N,) or (N, 1) beside outputs (N, T, C), one for each step."""
    return len(outputs) == 3 and targets in ((outputs[0],), (outputs[0], 1))


def _label_range_hint(labels: Array, classes: int) -> str:
    if classes == 1:
        return ONE_COLUMN
    if labels.min() >= 1 and labels.max() == classes:
        return "; classes count from 0: subtract 1 from the labels"
    return ""
