"""Checks of the training data: the range of labels and targets, and the scale of the features."""

from collections.abc import Callable, Iterator

import numpy as np

from tinynet.functional import root_mean_square
from tinynet.health.activations import weight_parameters
from tinynet.health.finding import Finding
from tinynet.health.inspection import Inspection
from tinynet.layers.normalization import BatchNorm
from tinynet.parameter import Array

LARGE, SMALL = 10.0, 0.01  # root mean square of the input of the first weights
TARGETS = 100.0  # root mean square of targets, where that of predictions is below a thirtieth
SCALES = 1000.0  # between the standard deviations of two features of a table
ROUNDING = 1e-7  # of the largest standard deviation: a feature below it is constant
FEW = 256  # samples whose median is the most frequent value, if there is one
MIN_SAMPLES = 20  # with fewer samples a feature may equal the target by chance


def label_range(inspection: Inspection) -> Iterator[Finding]:
    """Targets that are all the same; labels that the network has no output for."""
    classes, labels = inspection.classes, inspection.batches.y
    if len(labels) > 1 and (labels == labels[:1]).all():
        value = f"{labels.flat[0]}" if labels[0].size == 1 else "the same"
        if inspection.takes_classes:
            yield Finding("label range", f"All labels are {value}.", "Load the labels again.")
        else:
            evidence = f"All {len(labels)} targets are {value}."
            yield Finding("constant targets", evidence, "Load the targets again.")
        return
    labels = inspection.without_ignored(labels)
    if classes is not None and labels.size:
        low, high = int(labels.min()), int(labels.max())
        evidence = f"Labels run from {low} to {high}, and the network has {classes} outputs."
        if low == 1 and (high == classes or (high == classes - 1 and labels.size > 20 * classes)):
            advice = f"Classes count from 0: take y - 1 as labels, 0 to {high - 1}."
            yield Finding("label range", evidence, advice)
        elif low < 0 or high >= classes:
            advice = f"Give the last layer {high + 1} outputs, or number the classes from 0."
            yield Finding("label range", evidence, advice)


def target_leakage(inspection: Inspection) -> Iterator[Finding]:
    """A feature that is the target: a table from which its column was not removed."""
    x, y = inspection.x, inspection.y
    if x.ndim != 2 or x.shape[1] < 2 or len(x) < MIN_SAMPLES or y.size != len(y):
        return
    y = y.ravel()
    distinct = np.unique(y)
    if len(distinct) < 2:
        return
    if inspection.classes is None and len(distinct) > 2:
        columns = np.flatnonzero((x == y[:, None]).all(axis=0))
        relation = "equals the target in"
    else:
        columns = _one_value_a_class(x, y)
        relation = "has one value for each class, another for each, in"
    if len(columns):
        evidence = f"Feature {columns[0]} of x {relation} all {len(x)} samples that were compared."
        advice = "Remove the column of the target from x: new data will not have it."
        yield Finding("target leakage", evidence, advice)


def _one_value_a_class(x: Array, labels: Array) -> Array:
    """The features that are constant in each class, with another value in each."""
    values: list[Array] = []
    columns = np.arange(x.shape[1])
    for label in np.unique(labels):
        rows = x[labels == label]
        constant = (rows[:, columns] == rows[:1, columns]).all(axis=0)
        columns, values = columns[constant], [row[constant] for row in values]
        values.append(rows[0, columns])
    ordered = np.sort(values, axis=0)
    different: Array = (ordered[1:] != ordered[:-1]).all(axis=0)
    return np.asarray(columns[different])


def input_range(inspection: Inspection) -> Iterator[Finding]:
    """Inputs of the first weights that are the same, too large or too small, or of mixed scales."""
    calls = inspection.calls
    index = next((i for i, call in enumerate(calls) if weight_parameters(call.layer)), None)
    first = next((call for call in calls if call.layer.parameters()), None)
    if index is not None and any(isinstance(call.layer, BatchNorm) for call in calls[:index]):
        return  # in training it scales each feature
    first = first if index is None else calls[index]
    if first is None or first.inputs[0].dtype.kind != "f":
        return
    x = first.inputs[0]
    if (x == x[:1]).all() and len(x) > 1:
        yield Finding("input range", "All samples are the same.", "Load the inputs again.")
        return
    size = root_mean_square(x)
    evidence = (
        f"The input of {first.name} has values from {x.min():.4g} to {x.max():.4g} and the root "
        f"mean square {size:.3g}."
    )
    if size > LARGE:
        advice = (
            "They look like raw pixels: put Rescale(1 / 255) in front."
            if x.min() >= 0 and 100 < x.max() <= 255
            else "Subtract the mean of each feature and divide by its standard deviation."
        )
        yield Finding("input range", evidence, advice)
    elif x.any() and root_mean_square(x[x != 0]) < SMALL:  # sparse one-hot inputs are fine
        advice = "Scale them to about 1; pixels from 0 to 1 need no Rescale(1 / 255)."
        yield Finding("input range", evidence, advice)
    elif x.ndim in (2, 3):
        yield from _feature_scales(first.name, x.reshape(-1, x.shape[-1]))


def _feature_scales(name: str, x: Array) -> Iterator[Finding]:
    """Features that mostly have one value, as pixels and one-hot columns may, are left out."""
    spread = x.std(axis=0)
    few = x[:FEW]
    median = np.sort(few, axis=0)[len(few) // 2]
    varied = (2 * (few != median).sum(axis=0) > len(few)) & (spread > ROUNDING * spread.max())
    columns = np.flatnonzero(varied)
    if len(columns) < 2:
        return
    low, high = columns[spread[columns].argmin()], columns[spread[columns].argmax()]
    if spread[high] > SCALES * spread[low]:
        evidence = (
            f"The features of the input of {name} have standard deviations from "
            f"{spread[low]:.3g} (feature {low}) to {spread[high]:.3g} (feature {high})."
        )
        advice = "Subtract the mean of each feature and divide by its standard deviation."
        yield Finding("feature scales", evidence, advice)


def target_range(inspection: Inspection) -> Iterator[Finding]:
    """Regression targets that are far larger than the predictions."""
    if not inspection.is_regression:
        return
    y, prediction = (root_mean_square(array) for array in (inspection.y, inspection.prediction))
    if y > TARGETS and y > 30 * prediction:
        evidence = (
            f"The root mean square of the targets is {y:.3g}, that of the predictions so far "
            f"{prediction:.3g}."
        )
        advice = (
            "Train on (y - mean) / standard deviation, and undo that in the predictions: a network "
            "starts near 0, and has a long way to such targets."
        )
        yield Finding("target range", evidence, advice)


DATA_CHECKS: tuple[Callable[[Inspection], Iterator[Finding]], ...] = (
    label_range,
    target_leakage,
    input_range,
    target_range,
)
