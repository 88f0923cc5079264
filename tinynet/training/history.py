"""History: the metrics of a run as columns, one row per epoch and one row per step."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynet.errors import InputError
from tinynet.html import html_table
from tinynet.saving.state import State, check_array, check_keys
from tinynet.validation import one_of

if TYPE_CHECKING:
    import pandas as pd

Columns = dict[str, "array[float]"]


class History:
    """Columns of numbers by name: `epochs["loss"][-1]` is the loss of the last epoch.

    A value that was not measured in a row is NaN there. `steps` has loss, learning_rate and, if
    the optimizer clips by norm, gradient_norm. `epochs` has the mean loss, the metrics, the
    learning rate of the last step, and with validation data validation_loss and so on.

    >>> history = History()
    >>> history.add_epoch({"loss": 0.5})
    >>> history.add_epoch({"loss": 0.25, "accuracy": 0.9})
    >>> history
    History(2 epochs, 0 steps: loss 0.2500, accuracy 0.9000)
    >>> history.epochs["accuracy"]
    array('d', [nan, 0.9])
    """

    def __init__(self) -> None:
        self.epochs: Columns = {}
        self.steps: Columns = {}

    def add_epoch(self, metrics: Mapping[str, float]) -> None:
        """Appends the metrics of an epoch."""
        _add_row(self.epochs, metrics)

    def add_step(self, values: Mapping[str, float]) -> None:
        """Appends the values of a step."""
        _add_row(self.steps, values)

    def cut(self, epochs: int, steps: int) -> None:
        """Removes the rows beyond these numbers, such as one that was added only in part."""
        for columns, rows in ((self.epochs, epochs), (self.steps, steps)):
            for name in list(columns):
                del columns[name][rows:]
                if not columns[name]:
                    del columns[name]

    @property
    def last(self) -> dict[str, float]:
        """The metrics of the last epoch, without those that were not measured in it."""
        rows = ((name, column[-1]) for name, column in self.epochs.items())
        return {name: value for name, value in rows if not math.isnan(value)}

    def to_frame(self, per: str = "epoch") -> pd.DataFrame:
        """A pandas DataFrame, a row for each "epoch" or each "step", counted from 1.

        Raises:
            ImportError: pandas is not installed.
        """
        one_of("to_frame", "per", per, ("epoch", "step"))
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "to_frame needs pandas: in a clone, pip install -e '.[examples]'"
            ) from error
        columns = self.epochs if per == "epoch" else self.steps
        frame = pd.DataFrame({name: np.array(column) for name, column in columns.items()})
        frame.index = pd.RangeIndex(1, len(frame) + 1, name=per)
        return frame

    def state_dict(self) -> State:
        """The columns as arrays of float64."""
        return {
            "epochs": {name: np.array(column) for name, column in self.epochs.items()},
            "steps": {name: np.array(column) for name, column in self.steps.items()},
        }

    def check_state_dict(self, state: Any) -> None:
        """Raises InputError unless the state has columns of numbers, of one length per table."""
        check_keys("History", state, ("epochs", "steps"))
        for table, columns in state.items():
            check_keys("History", columns, columns if isinstance(columns, dict) else ())
            for name, column in columns.items():
                check_array(f"History, {name} of {table},", column, (None,), np.float64)
            if len({len(column) for column in columns.values()}) > 1:
                raise InputError(f"History expects columns of one length, got others in {table}")

    def load_state_dict(self, state: Any) -> None:
        """Continues from a state."""
        self.check_state_dict(state)
        for table in ("epochs", "steps"):
            columns = {name: array("d", column.tolist()) for name, column in state[table].items()}
            setattr(self, table, columns)

    def __repr__(self) -> str:
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in self.last.items())
        size = f"{_rows(self.epochs)} epochs, {_rows(self.steps)} steps"
        return f"History({size}{f': {metrics}' if metrics else ''})"

    def _repr_html_(self) -> str:
        """The epochs as a table, for notebooks; `to_frame` has all digits and the steps."""
        rows = [
            [f"{epoch}", *("" if math.isnan(value) else f"{value:.5g}" for value in values)]
            for epoch, values in enumerate(zip(*self.epochs.values(), strict=True), 1)
        ]
        caption = f"{_rows(self.epochs)} epochs, {_rows(self.steps)} steps"
        return html_table(caption, ["epoch", *self.epochs], rows)


def _add_row(columns: Columns, row: Mapping[str, float]) -> None:
    if columns.keys() != row.keys():
        rows = _rows(columns)
        for name in row:
            columns.setdefault(name, array("d", [math.nan] * rows))
    for name, column in columns.items():
        column.append(row.get(name, math.nan))


def _rows(columns: Columns) -> int:
    return len(next(iter(columns.values()), ()))
