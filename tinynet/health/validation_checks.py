"""Checks of validation data against training data: classes, copies, orientation and scale.

Both parts of a random split have the same distribution: what differs by far more than chance was
loaded, split or scaled in another way.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinynet.functional import root_mean_square
from tinynet.health.finding import Finding
from tinynet.health.inspection import SCAN, Inspection, sample_rows
from tinynet.losses.binary import BinaryCrossEntropy
from tinynet.losses.cross_entropy import SoftmaxCrossEntropy
from tinynet.parameter import Array

CHANCE = 1e-6  # the probability that these classes are missing, under a random split
SHARE = 0.01  # of the samples: less is not reported
FEW = 2  # copies: so few are not reported either
DEVIATIONS = 4.0  # standard deviations above the expected number of copies
KEY_COLUMNS = 16  # entries of a sample that are compared before the whole sample is
ENTRIES = 1 << 19  # of a sample: means of so many are exact enough
FEWEST = 32  # samples: the means of fewer are too noisy to compare
FEWEST_FEATURES = 16  # the means of fewer may have any correlation by chance
FEWEST_PIXELS = 64  # of images: fewer may agree with a rearrangement by chance
STRUCTURE = 4.0  # standard errors: the spread of the means of features that are not all alike
ALIKE = 0.9  # correlation of two mean images
CLOSER = 2.5  # how many times closer to the training data a rearrangement has to be
RATIO = 10.0  # of the sizes of inputs or targets in the two parts
OUTSIDE = 0.25  # of the entries of one part, outside the range of the other part


def validation_classes(inspection: Inspection) -> Iterator[Finding]:
    """Classes that one part has and the other lacks, as in a file that is sorted by label."""
    if inspection.validation is None:
        return
    parts = [_labels(inspection, y) for y in (inspection.batches.y, inspection.validation[1])]
    if not all(len(labels) for labels in parts):
        return
    counts = [dict(zip(*np.unique(part, return_counts=True), strict=True)) for part in parts]
    classes = len(counts[0] | counts[1])
    names = ("training", "validation")
    for own, other in ((1, 0), (0, 1)):
        missing = [label for label in counts[own] if label not in counts[other]]
        rows = sum(counts[own][label] for label in missing)
        # In a random split each sample is in one of the parts by chance, in proportion to their
        # sizes. Any such set of classes may be missing.
        log_chance = rows * math.log(len(parts[own]) / sum(map(len, parts)))
        log_chance += math.log(math.comb(classes, len(missing)))
        if rows > SHARE * len(parts[own]) and log_chance < math.log(CHANCE):
            listed = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
            evidence = (
                f"{rows} of the {len(parts[own])} {names[own]} labels are of classes without any "
                f"{names[other]} label: {listed}."
            )
            advice = "Shuffle before you split, or split each class: a file may be sorted by label."
            yield Finding("validation classes", evidence, advice)
            return


def _labels(inspection: Inspection, y: Array) -> Array:
    """The class of each sample, without those that are ignored; none where y has no classes."""
    loss = inspection.trainer.loss
    if inspection.classes is not None:
        return inspection.without_ignored(y).astype(np.int64).ravel()
    rows = y.reshape(-1, y.shape[-1])
    if isinstance(loss, SoftmaxCrossEntropy) and (rows.max(axis=1) == 1).all():
        return np.asarray(rows.argmax(axis=1))
    if isinstance(loss, BinaryCrossEntropy) and y.size == len(y) and ((y == 0) | (y == 1)).all():
        return y.astype(np.int64).ravel()
    return np.zeros(0, np.int64)


def copied_samples(inspection: Inspection) -> Iterator[Finding]:
    """Validation samples that stand in the training data, bit by bit.

    Discrete data have natural copies. In a random split a validation sample has a copy in the
    training data as often as a training sample has another one there, so that is the expectation.
    Each distinct sample counts once, which leaves out blank ones.
    """
    if inspection.validation is None:
        return
    train, held_out = inspection.batches.x, inspection.validation[0]
    alike = train.dtype == held_out.dtype and train.shape[1:] == held_out.shape[1:]
    if not alike or train.nbytes > SCAN:
        return
    rows, held_out_rows = sample_rows(len(train)), sample_rows(len(held_out))
    columns = np.argsort(_flat(inspection.x).std(axis=0))[-KEY_COLUMNS:]
    keys = _keys(train, columns)
    order = np.argsort(keys)
    # Only training samples whose keys occur twice or in the validation data are read as a whole.
    wanted = _matches(keys[order], keys[rows], at_least=2)
    wanted |= _matches(keys[order], _keys(held_out[held_out_rows], columns), at_least=1)
    found: dict[bytes, list[int]] = {}
    for row in np.sort(order[wanted]):
        found.setdefault(train[row].tobytes(), []).append(int(row))
    if not found:
        return
    twice = {row for same in found.values() if len(same) > 1 for row in same}
    natural = len(twice.intersection(rows.tolist()))
    copies = {s: int(r) for r in held_out_rows if (s := held_out[r].tobytes()) in found}
    expected = len(held_out_rows) * (natural + 1) / (len(rows) + 1)
    chance = expected + DEVIATIONS * math.sqrt(expected)
    if len(copies) > chance + max(FEW, SHARE * len(held_out_rows)):
        sample, copy = next(iter(copies.items()))
        evidence = (
            f"{len(copies)} of {len(held_out_rows)} validation samples that were compared stand in "
            f"the training data: sample {copy} is training sample {found[sample][0]}. Of "
            f"{len(rows)} training samples, {natural} stand there twice."
        )
        advice = "Remove them from one of the parts: validation has to be on unseen samples."
        yield Finding("validation leakage", evidence, advice)


def _flat(x: Array) -> Array:
    """A row of numbers for each sample, or for every few of them where there are many."""
    x = x[:: max(math.ceil(x.size / ENTRIES), 1)]
    return x.reshape(len(x), -1).astype(np.float64)


def _keys(x: Array, columns: Array) -> Array:
    """A number for each sample, from a few of its entries: equal for equal samples."""
    index: tuple[Any, ...] = np.unravel_index(columns, x.shape[1:]) if x.ndim > 1 else ()
    entries = np.ascontiguousarray(x[:, *index].reshape(len(x), -1), np.float64)
    odd = np.random.default_rng(0).integers(1 << 62, size=entries.shape[1], dtype=np.uint64) * 2 + 1
    keys: Array = ((entries + 0.0).view(np.uint64) * odd).sum(axis=1)
    return keys


def _matches(ordered: Array, keys: Array, at_least: int) -> Array:
    """Whether each key of an ordered array is one of others, where it occurs so many times."""
    starts, ends = (np.searchsorted(ordered, keys, side) for side in ("left", "right"))
    enough = ends - starts >= at_least
    first, behind = (np.bincount(at[enough], minlength=len(ordered) + 1) for at in (starts, ends))
    return np.asarray((first - behind).cumsum()[:-1] > 0)


def orientation(inspection: Inspection) -> Iterator[Finding]:
    """Validation images that are transposed, mirrored, rotated or inverted against training."""
    x, held_out = _inputs(inspection)
    if min(len(x), len(held_out)) < FEWEST:
        return
    ours, theirs = _flat(x), _flat(held_out)
    mean, other = ours.mean(axis=0), theirs.mean(axis=0)
    errors = np.sqrt(ours.var(axis=0) / len(x) + theirs.var(axis=0) / len(held_out))
    # Standardized features all have the mean 0: then there is nothing to compare.
    if len(mean) < FEWEST_FEATURES or not 0 < STRUCTURE * root_mean_square(errors) < mean.std():
        return
    if not other.std():
        return
    same = _correlation(mean, other)
    if same < -ALIKE:
        evidence = (
            f"The mean validation input and the mean training input have the correlation "
            f"{same:.2f}: large where the other one is small."
        )
        advice = "Invert one of them, such as 255 - x for bytes, so that both are alike."
        yield Finding("validation inputs", evidence, advice)
        return
    if len(mean) < FEWEST_PIXELS:
        return
    original, image = (_as_image(array.reshape(x.shape[1:])) for array in (mean, other))
    if original is None or image is None:
        return
    found = {name: _correlation(original, array) for name, array in _rearranged(image)}
    name, best = max(found.items(), key=lambda item: item[1])
    if best > ALIKE and CLOSER * (1 - best) < 1 - same:
        evidence = (
            f"The mean validation input has the correlation {same:.2f} with the mean training "
            f"input, and {best:.2f} if it is {name}."
        )
        yield Finding("validation inputs", evidence, "Load both in the same way.")


def _correlation(a: Array, b: Array) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def _as_image(mean: Array) -> Array | None:
    """(C, H, W) of a mean image, of a row of pixels of a square image too."""
    side = math.isqrt(mean.size)
    if mean.ndim == 1:
        return mean.reshape(1, side, side) if side * side == mean.size else None
    if mean.ndim == 3 and mean.shape[2] <= 4 < mean.shape[0]:
        return np.moveaxis(mean, 2, 0)
    return mean[None] if mean.ndim == 2 else mean if mean.ndim == 3 else None


def _rearranged(image: Array) -> Iterator[tuple[str, Array]]:
    """(C, H, W) as it would be after the usual mistakes, undone."""
    turned = np.swapaxes(image, 1, 2)
    yield "flipped left to right", image[:, :, ::-1]
    yield "flipped upside down", image[:, ::-1]
    yield "turned by 180 degrees", image[:, ::-1, ::-1]
    if image.shape == turned.shape:
        yield "transposed", turned
        yield "turned by 90 degrees to the left", turned[:, ::-1]
        yield "turned by 90 degrees to the right", turned[:, :, ::-1]
        yield "transposed along the other diagonal", turned[:, ::-1, ::-1]
    if len(image) == 3:
        yield "in the reverse order of channels (BGR, RGB)", image[::-1]


def validation_scale(inspection: Inspection) -> Iterator[Finding]:
    """Inputs or regression targets of another scale than those of the training data."""
    pairs = [("inputs", *_inputs(inspection))]
    if inspection.validation is not None and inspection.is_regression:
        y = inspection.validation[1]
        pairs.append(("targets", inspection.y, y[sample_rows(len(y))]))
    for name, *parts in pairs:
        if min(map(len, parts)) < FEWEST:
            continue
        ours, theirs = map(_flat, parts)
        evidence = (
            f"The validation {name} have values from {theirs.min():.4g} to {theirs.max():.4g}, "
            f"the training {name} from {ours.min():.4g} to {ours.max():.4g}"
        )
        sizes = _usual_size(ours), _usual_size(theirs)
        outside = max(_outside(ours, theirs), _outside(theirs, ours))
        if min(sizes) > 0 and max(sizes) > RATIO * min(sizes):
            evidence += f", and usual sizes of {sizes[1]:.3g} and {sizes[0]:.3g}."
        elif outside > OUTSIDE:
            evidence += f"; {outside:.0%} of the entries of one are outside the range of the other."
        else:
            continue
        advice = "Apply the same scaling to both, with the numbers of the training data."
        yield Finding("validation scale", evidence, advice)
        return


def _usual_size(rows: Array) -> float:
    """The median over samples of the root mean square: an outlier does not change it."""
    sizes = np.sqrt(np.square(rows).mean(axis=1))
    return float(np.median(sizes[sizes > 0])) if sizes.any() else 0.0


def _outside(rows: Array, of: Array) -> float:
    """The share of the entries that are below or above all those of another array."""
    return float(((rows < of.min()) | (rows > of.max())).mean())


def _inputs(inspection: Inspection) -> tuple[Array, Array]:
    """Samples of the inputs of both parts; of token ids, which have no scale, none."""
    none = inspection.x[:0]
    first = next(iter(inspection.calls), None)
    if inspection.validation is None or first is None or first.layer.takes_integers:
        return none, none
    x = inspection.validation[0]
    if x.shape[1:] != inspection.x.shape[1:]:  # sequences may have other lengths
        return none, none
    return inspection.x, x[sample_rows(len(x))]


VALIDATION_CHECKS: tuple[Callable[[Inspection], Iterator[Finding]], ...] = (
    validation_classes,
    orientation,
    validation_scale,
    copied_samples,
)
