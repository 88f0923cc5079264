"""How training went: the figures of each epoch as curves."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tinynet.errors import InputError
from tinynet.parameter import Array
from tinynet.plots.style import BLUE, GREY, VERMILION, panels

HELD_OUT = "validation_"


class EpochColumns(Protocol):
    """Whatever keeps its figures as columns, one entry an epoch."""

    @property
    def epochs(self) -> Mapping[str, Sequence[float]]:
        """Such as {"loss": [0.9, 0.5], "validation_loss": [0.8, nan]}."""


def learning_curves(history: EpochColumns) -> Figure:
    """A panel per figure of `history.epochs`, with its course in training and in validation.

    `loss` and `validation_loss` share a panel, and so on for every name. What ends in `accuracy`
    is a share and drawn in percent. `learning_rate` has a panel if it changes. What is nan or
    infinite was not measured: the line goes on over it. A column without any number is left out.

    Raises:
        InputError: no epoch, nothing measured, or columns of different lengths.

    >>> from types import SimpleNamespace
    >>> import matplotlib.pyplot as plt
    >>> history = SimpleNamespace(epochs={"loss": [0.9, 0.5], "validation_accuracy": [0.7, 0.8]})
    >>> figure = learning_curves(history)
    >>> [axes.get_title() for axes in figure.axes]
    ['Loss', 'Accuracy (%)']
    >>> plt.close(figure)
    """
    columns, epochs = _measured(history)
    # As keys of a dict the names keep their order, and each comes once.
    names = dict.fromkeys(name.removeprefix(HELD_OUT) for name in columns)
    figure, axes = panels(len(names), columns=3, size=(4.2, 3.4))
    for axis, name in zip(axes, names, strict=True):
        percent = name.endswith("accuracy")
        scale = 100 if percent else 1
        if name == "learning_rate":
            _curve(axis, columns[name], colour=GREY, style="-", mark=".", label="")
        else:
            if name in columns:
                _curve(
                    axis, scale * columns[name], colour=BLUE, style="-", mark="o", label="training"
                )
            if HELD_OUT + name in columns:
                held_out = scale * columns[HELD_OUT + name]
                _curve(axis, held_out, colour=VERMILION, style="--", mark="s", label="validation")
            axis.legend()
        title = name.replace("_", " ")
        axis.set_title(title[:1].upper() + title[1:] + (" (%)" if percent else ""))
        axis.set_xlabel("epoch")
        _count_epochs(axis, epochs)
        axis.grid(alpha=0.3)
    return figure


def _measured(history: EpochColumns) -> tuple[dict[str, Array], int]:
    """The columns to draw, as arrays, and the number of epochs."""
    columns = {name: np.asarray(column, np.float64) for name, column in history.epochs.items()}
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        came = ", ".join(f"{len(column)} of {name}" for name, column in columns.items())
        raise InputError(f"learning_curves expects as many figures in each column, got {came}")
    epochs = max(lengths, default=0)
    if epochs == 0:
        raise InputError("learning_curves expects a history of at least one epoch, got none")
    drawn = {name: column for name, column in columns.items() if np.isfinite(column).any()}
    rates = drawn.get("learning_rate", np.zeros(1))
    if np.nanmin(rates) == np.nanmax(rates):
        drawn.pop("learning_rate", None)
    if not drawn:
        raise InputError(
            f"learning_curves expects a figure that was measured, got none in {', '.join(columns)}"
        )
    return drawn, epochs


def _curve(axis: Axes, values: Array, *, colour: str, style: str, mark: str, label: str) -> None:
    measured = np.isfinite(values)
    numbers = 1 + np.flatnonzero(measured)
    axis.plot(
        numbers,
        values[measured],
        color=colour,
        linestyle=style,
        marker=mark,
        markersize=5,
        # Hollow where training is filled: the marks are told apart where curves run as one.
        markerfacecolor="white" if mark == "s" else colour,
        markevery=max(1, len(numbers) // 20),
        label=label,
    )


def _count_epochs(axis: Axes, epochs: int) -> None:
    """Whole epochs on the x axis, from 1 on, and no more than ten of them named."""
    step = next(
        factor * 10**power
        for power in range(20)
        for factor in (1, 2, 5)
        if epochs <= 10 * factor * 10**power
    )
    axis.set_xticks(range(step, epochs + 1, step))
    room = max(0.5, 0.03 * epochs)
    axis.set_xlim(1 - room, epochs + room)
