"""Learning curves: the metrics of each epoch, in training and in validation."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tinynet.errors import InputError
from tinynet.parameter import Array
from tinynet.plots.style import BLUE, GREY, VERMILION, panels

# By the prefix of a column's name. Hollow markers for validation and filled ones for training can
# be told apart where the curves overlap.
_STYLES: dict[str, dict[str, Any]] = {
    "": {"label": "training", "color": BLUE, "marker": "o"},
    "validation_": {
        "label": "validation",
        "color": VERMILION,
        "linestyle": "--",
        "marker": "s",
        "markerfacecolor": "white",
    },
}
_LEARNING_RATE: dict[str, dict[str, Any]] = {"": {"color": GREY, "marker": "."}}


class EpochColumns(Protocol):
    """Anything with the metrics of its epochs as columns, such as a `History`."""

    @property
    def epochs(self) -> Mapping[str, Sequence[float]]:
        """Such as {"loss": [0.9, 0.5], "validation_loss": [0.8, nan]}."""


def learning_curves(history: EpochColumns) -> Figure:
    """One panel per metric of `history.epochs`, with a curve for training and one for validation.

    `loss` and `validation_loss` share a panel, and so on for every name. A metric that ends in
    `accuracy` is drawn in percent. `learning_rate` has a panel if it changes. A value that is nan
    or infinite is left out of its curve, and a column of nothing else has no curve.

    Raises:
        InputError: no epoch, no finite value, or columns of different lengths.

    >>> from types import SimpleNamespace
    >>> history = SimpleNamespace(epochs={"loss": [0.9, 0.5], "validation_accuracy": [0.7, 0.8]})
    >>> figure = learning_curves(history)
    >>> [axes.get_title() for axes in figure.axes]
    ['Loss', 'Accuracy (%)']
    """
    if not isinstance(getattr(history, "epochs", None), Mapping):
        raise InputError(
            f"learning_curves expects a history, such as trainer.history, got {history!r:.60}"
        )
    columns, epochs = _finite_columns(history)
    # The keys of a dict are unique and keep their order.
    names = dict.fromkeys(name.removeprefix("validation_") for name in columns)
    figure, axes = panels(len(names), columns=3, size=(4.2, 3.4))
    for axis, name in zip(axes, names, strict=True):
        percent = name.endswith("accuracy")
        rate = name == "learning_rate"
        for prefix, style in (_LEARNING_RATE if rate else _STYLES).items():
            if prefix + name in columns:
                _draw_curve(axis, (100 if percent else 1) * columns[prefix + name], style)
        if not rate:
            axis.legend()
        title = name.replace("_", " ")
        axis.set_title(title[:1].upper() + title[1:] + (" (%)" if percent else ""))
        axis.set_xlabel("epoch")
        _set_epoch_ticks(axis, epochs)
        axis.grid(alpha=0.3)
    return figure


def _finite_columns(history: EpochColumns) -> tuple[dict[str, Array], int]:
    """The columns to draw, as arrays, and the number of epochs."""
    columns = {name: np.asarray(column, np.float64) for name, column in history.epochs.items()}
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        got = ", ".join(f"{len(column)} of {name}" for name, column in columns.items())
        raise InputError(f"learning_curves expects columns of one length, got {got}")
    epochs = max(lengths, default=0)
    if epochs == 0:
        raise InputError("learning_curves expects a history of at least one epoch, got none")
    drawn = {name: column for name, column in columns.items() if np.isfinite(column).any()}
    rates = drawn.get("learning_rate", np.zeros(1))
    if np.nanmin(rates) == np.nanmax(rates):
        drawn.pop("learning_rate", None)
    if not drawn:
        raise InputError(
            f"learning_curves expects at least one finite value, got none in {', '.join(columns)}"
        )
    return drawn, epochs


def _draw_curve(axis: Axes, values: Array, style: Mapping[str, Any]) -> None:
    finite = np.isfinite(values)
    epochs = 1 + np.flatnonzero(finite)
    every = max(1, len(epochs) // 20)
    axis.plot(epochs, values[finite], markersize=5, markevery=every, **style)


def _set_epoch_ticks(axis: Axes, epochs: int) -> None:
    """Whole epochs on the x axis, from 1, with at most ten ticks."""
    step = next(
        factor * 10**power
        for power in range(20)
        for factor in (1, 2, 5)
        if epochs <= 10 * factor * 10**power
    )
    axis.set_xticks(range(step, epochs + 1, step))
    margin = max(0.5, 0.03 * epochs)
    axis.set_xlim(1 - margin, epochs + margin)
