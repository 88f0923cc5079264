"""Plots of predictions: confusion matrices, and images with their predicted class."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tinynet.errors import InputError
from tinynet.parameter import Array
from tinynet.plots.style import (
    BLUE,
    VERMILION,
    check_array,
    check_predictions,
    class_names,
    ink,
    new_figure,
)
from tinynet.validation import whole_number

MANY = 20  # classes: with more of them the cells are too small for numbers


def confusion_matrix(counts: Array, *, names: Sequence[str] | None = None) -> Figure:
    """A confusion matrix of counts, in which only the mistakes are coloured.

    counts: (C, C) integers, a row per label and a column per prediction. With more than 20 classes
    a colour bar, on a symmetric logarithmic scale, replaces the numbers in the cells.

    Raises:
        InputError: counts are not (C, C), not integers or below 0, or there are not C names.

    >>> figure = confusion_matrix(np.array([[8, 2], [1, 9]]), names=["cat", "dog"])
    >>> figure.axes[0].get_title().splitlines()
    ['17 of 20 right (85.00%)', 'mistakes are coloured']
    """
    who = "confusion_matrix"
    check_array(who, "counts", counts, "C", "C", kind="i")
    classes = len(counts)
    check_array(who, "counts", counts, classes, classes)
    if counts.min() < 0:
        raise InputError(f"{who} expects counts >= 0, got {counts.min()}")
    names = class_names(who, names, classes)
    mistakes = np.where(np.eye(classes, dtype=bool), 0, counts)
    most = max(int(mistakes.max()), 1)
    few = classes <= MANY
    side = max(3.6, 0.45 * classes) if few else 6.0  # inches
    border = 0.8 + 0.085 * max(map(len, names))
    size = (side + border + (0 if few else 1), side + border)
    figure, axis = new_figure(size)
    norm = Normalize(0, most) if few else SymLogNorm(1, vmin=0, vmax=most)
    image = axis.imshow(mistakes, cmap="Oranges", norm=norm)
    if few:
        # A bold digit is as wide as 0.7 of its size. An inch has 72 points.
        points = 0.75 * 72 * side / classes / (0.7 * len(str(counts.max())))
        _write_numbers(axis, counts, image.to_rgba(mistakes), min(10, points))
    else:
        axis.axline((0, 0), slope=1, color="grey", linestyle=":", linewidth=0.8)
        powers = [10**power for power in range(len(str(most)))]
        bar = figure.colorbar(image, label="mistakes", shrink=0.8, ticks=[0, *powers])
        bar.ax.set_yticklabels(["0", *(f"{power:,}" for power in powers)])
        bar.ax.minorticks_off()
    _name_classes(axis, names)
    right, total = int(counts.trace()), int(counts.sum())
    # Rounded down: 100.00% is without a mistake.
    share = f" ({10_000 * right // total / 100:.2f}%)" if total else ""
    axis.set_title(f"{right:,} of {total:,} right{share}\nmistakes are coloured")
    return figure


def _write_numbers(axis: Axes, counts: Array, colours: Array, points: float) -> None:
    for (row, column), count in np.ndenumerate(counts):
        axis.text(
            column,
            row,
            f"{count}",
            ha="center",
            va="center",
            color=ink(*colours[row, column, :3]),
            weight="bold" if row == column else "normal",
            fontsize=points,
        )


def _name_classes(axis: Axes, names: Sequence[str]) -> None:
    """Names along both axes, of every class or of so few that they do not overlap."""
    ticks = range(0, len(names), math.ceil(len(names) / MANY))
    labels = [names[tick] for tick in ticks]
    rotation: dict[str, Any] = {}
    if max(map(len, labels)) > 3:
        rotation = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axis.set_xticks(ticks, labels, **rotation)
    axis.set_yticks(ticks, labels)
    axis.set(xlabel="predicted", ylabel="label")


def sample_predictions(
    images: Array,
    labels: Array,
    probabilities: Array,
    *,
    names: Sequence[str] | None = None,
    count: int = 32,
    rng: np.random.Generator | int | None = None,
    rows: int | Sequence[int] | Array | None = None,
) -> Figure:
    """Images, each with its predicted class and, for a mistake, its label.

    images: (N, H, W) in grey with 0 as white, or (N, H, W, 3) in colour; labels: (N,) integers;
    probabilities: (N, C). Mistakes have a frame and a bold caption. `rows` are the indices of the
    images, up to `count` of them; without it they are drawn by `rng`, a Generator, an int seed, or
    None for fresh randomness.

    Raises:
        InputError: shapes that do not match, a label, a probability or a row out of range, or not
            C names.

    >>> sure = np.eye(3)[[0, 1, 1]]
    >>> figure = sample_predictions(np.zeros((3, 8, 8)), np.array([0, 1, 2]), sure, rows=[0, 2])
    >>> figure.axes[0].get_title()
    'Sample predictions: 1 of 2 right, mistakes framed'
    """
    who = "sample_predictions"
    check_predictions(who, images, labels, probabilities)
    names = class_names(who, names, probabilities.shape[1])
    count = whole_number(who, "count", count)
    order = np.random.default_rng(rng).permutation(len(images)) if rows is None else rows
    rows = _checked_rows(who, order, len(images))[:count]
    predicted, labels = probabilities[rows].argmax(axis=1), labels[rows]
    right = predicted == labels
    captions = [
        names[guess] if guess == label else _mistake(names, guess, label)
        for guess, label in zip(predicted, labels, strict=True)
    ]
    title = f"Sample predictions: {right.sum()} of {len(rows)} right, mistakes framed"
    return _gallery(title, images[rows], captions, right)


def confident_mistakes(
    images: Array,
    labels: Array,
    probabilities: Array,
    *,
    names: Sequence[str] | None = None,
    count: int = 32,
) -> Figure:
    """The mistakes with the highest predicted probability, in descending order.

    The arguments are those of `sample_predictions`. A caption has the predicted class, the label,
    and the probability of the prediction.

    Raises:
        InputError: as for `sample_predictions`.

    >>> sure = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8]])
    >>> figure = confident_mistakes(np.zeros((3, 8, 8)), np.array([1, 1, 1]), sure)
    >>> [text.get_text().splitlines() for text in figure.axes[0].texts]
    [['0, is 1', '90.0%'], ['0, is 1', '60.0%']]
    """
    who = "confident_mistakes"
    check_predictions(who, images, labels, probabilities)
    names = class_names(who, names, probabilities.shape[1])
    count = whole_number(who, "count", count)
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    if len(wrong) == 0:
        figure, axis = new_figure((4.6, 1.2))
        n = len(images)
        axis.text(0.5, 0.5, f"No mistakes: {n:,} of {n:,} right", ha="center", va="center")
        axis.set_axis_off()
        return figure
    rows = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    captions = [
        f"{_mistake(names, predicted[row], labels[row])}\n{confidence[row]:.1%}" for row in rows
    ]
    title = f"The {len(rows):,} most confident of {len(wrong):,} mistakes"
    return _gallery(title, images[rows], captions)


def _checked_rows(who: str, rows: Any, n: int) -> Array:
    """The indices of rows as an array (M,), as NumPy counts them: -1 is the last."""
    rows = np.atleast_1d(rows)
    if rows.dtype == bool:
        hint = "np.flatnonzero(rows) makes them"
        raise InputError(f"{who} expects rows of an integer dtype, got bool; {hint}")
    check_array(who, "rows", rows, "M", kind="i")
    wrong = (rows < -n) | (rows >= n)
    if wrong.any():
        raise InputError(f"{who} expects rows from {-n} to {n - 1}, got {rows[wrong][0]}")
    return np.asarray(rows)


def _mistake(names: Sequence[str], guess: int, label: int) -> str:
    """The caption `3, is 5`; longer names take two lines."""
    between = ", " if max(map(len, names)) <= 3 else "\n"
    return f"{names[guess]}{between}is {names[label]}"


def _gallery(
    title: str, images: Array, captions: Sequence[str], right: Array | None = None
) -> Figure:
    """Images in a grid with a caption above each; `right` marks those without a frame."""
    columns = min(len(images), max(4, math.ceil(math.sqrt(2 * len(images)))))
    rows = math.ceil(len(images) / columns)
    lines = [line for caption in captions for line in caption.split("\n")]
    # The unit is an inch; a bold character of size 9 takes 0.085 at most, on average.
    cell = max(1.0, 0.085 * max(map(len, lines)) + 0.12)
    width = 0.78
    height = width * images.shape[1] / images.shape[2]
    pitch = height + 0.36 + 0.16 * max(caption.count("\n") for caption in captions)
    size = (max(4.6, columns * cell + 0.2), rows * pitch + 0.5)
    figure, axis = new_figure(size)
    low, high = _white_and_black(images)
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        is_right = right is not None and right[index]
        left = index % columns * cell + (cell - width) / 2
        bottom = -(index // columns + 1) * pitch + 0.08
        scaled = (image.astype(np.float64) - low) / (high - low)
        extent = (left, left + width, bottom, bottom + height)
        axis.imshow(scaled, cmap="gray_r", vmin=0, vmax=1, extent=extent)
        axis.text(
            left + width / 2,
            bottom + height + 0.05,
            caption,
            ha="center",
            va="bottom",
            color=BLUE if is_right else VERMILION,
            weight="normal" if is_right else "bold",
            fontsize=9,
        )
        if right is not None and not is_right:
            corner, around = (left - 0.03, bottom - 0.03), (width + 0.06, height + 0.06)
            axis.add_patch(Rectangle(corner, *around, fill=False, color=VERMILION, linewidth=1.8))
    axis.set(xlim=(0, columns * cell), ylim=(-rows * pitch, 0))
    axis.set_axis_off()
    axis.set_title(title)
    return figure


def _white_and_black(images: Array) -> tuple[float, float]:
    """0 and 255 for uint8, 0 and 1 for floats in that range, else the minimum and maximum."""
    if images.dtype == np.uint8:
        return 0.0, 255.0
    return float(images.min(initial=0)), float(images.max(initial=1))
