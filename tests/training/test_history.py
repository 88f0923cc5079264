import math
import sys
from array import array
from typing import Any
from xml.etree import ElementTree as html  # noqa: N813  # an HTML table is read as XML

import numpy as np
import pytest

from tinynet import History, InputError

NAN = math.nan


def said(do: Any, *args: Any) -> str:
    with pytest.raises(InputError) as error:
        do(*args)
    return str(error.value)


def lists(columns: dict[str, "array[float]"]) -> dict[str, list[float]]:
    return {name: column.tolist() for name, column in columns.items()}


def filled() -> History:
    history = History()
    history.add_epoch({"loss": 0.5, "accuracy": 0.25})
    history.add_epoch({"loss": 0.125, "accuracy": 0.75})
    for step in range(3):
        history.add_step({"loss": 1 / (step + 1), "learning_rate": 0.1})
    return history


class TestColumns:
    def test_columns_have_a_value_for_each_row(self) -> None:
        history = filled()
        assert lists(history.epochs) == {"loss": [0.5, 0.125], "accuracy": [0.25, 0.75]}
        assert lists(history.steps) == {"loss": [1, 1 / 2, 1 / 3], "learning_rate": [0.1] * 3}
        assert history.epochs["loss"][-1] == 0.125

    @pytest.mark.parametrize("per", ["epoch", "step"])
    def test_columns_have_nan_where_a_value_was_not_measured(self, per: str) -> None:
        history = History()
        add = history.add_epoch if per == "epoch" else history.add_step
        add({"loss": 3.0})
        add({"accuracy": 0.5, "loss": 2.0})
        add({"accuracy": 0.75})
        add({})
        columns = history.epochs if per == "epoch" else history.steps
        assert list(columns) == ["loss", "accuracy"]
        np.testing.assert_array_equal(columns["loss"], [3, 2, NAN, NAN])
        np.testing.assert_array_equal(columns["accuracy"], [NAN, 0.5, 0.75, NAN])

    def test_histories_do_not_share_columns(self) -> None:
        filled()
        assert History().epochs == History().steps == {}


class TestLast:
    def test_last_is_the_metrics_of_the_last_epoch(self) -> None:
        assert filled().last == {"loss": 0.125, "accuracy": 0.75}

    def test_last_leaves_out_what_the_last_epoch_did_not_measure(self) -> None:
        history = filled()
        history.add_epoch({"loss": 0.0, "f1": 0.5})
        assert history.last == {"loss": 0, "f1": 0.5}

    def test_last_of_an_empty_history_is_empty(self) -> None:
        assert History().last == {}


class TestToFrame:
    def test_to_frame_has_a_row_for_each_epoch_counted_from_1(self) -> None:
        frame = filled().to_frame()
        assert frame.to_dict("list") == {"loss": [0.5, 0.125], "accuracy": [0.25, 0.75]}
        assert frame.index.tolist() == [1, 2]
        assert frame.index.name == "epoch"
        assert set(frame.dtypes) == {np.dtype(np.float64)}

    def test_to_frame_has_a_row_for_each_step_counted_from_1(self) -> None:
        frame = filled().to_frame(per="step")
        assert frame["loss"].tolist() == [1, 1 / 2, 1 / 3]
        assert list(frame.columns) == ["loss", "learning_rate"]
        assert frame.index.tolist() == [1, 2, 3]
        assert frame.index.name == "step"

    def test_to_frame_returns_a_copy(self) -> None:
        history = filled()
        frame = history.to_frame()
        history.add_epoch({"loss": 7.0})
        frame.loc[1, "loss"] = 9.0
        assert len(frame) == 2
        assert history.epochs["loss"][0] == 0.5

    def test_to_frame_of_an_empty_history_has_no_rows(self) -> None:
        frame = History().to_frame()
        assert frame.shape == (0, 0)
        assert frame.index.name == "epoch"

    @pytest.mark.parametrize("per", ["steps", None, 1])
    def test_to_frame_rejects_other_rows_than_epochs_and_steps(self, per: Any) -> None:
        assert said(filled().to_frame, per) == (
            f"to_frame expects per to be 'epoch' or 'step', got {per!r}"
        )

    def test_to_frame_without_pandas_names_the_extra_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "pandas", None)
        with pytest.raises(ImportError) as error:
            filled().to_frame()
        assert str(error.value) == "to_frame needs pandas: in a clone, pip install -e '.[examples]'"
        assert isinstance(error.value.__cause__, ImportError)


def test_a_notebook_shows_a_history_as_a_table_of_its_epochs() -> None:
    history = History()
    history.add_epoch({"loss": 0.5})
    history.add_epoch({"loss": 0.123456789, "accuracy": 0.75})
    history.add_step({"loss": 1.0})
    table = html.fromstring(history._repr_html_())
    assert table[0].text == "2 epochs, 1 steps"
    assert [[cell.text for cell in row] for row in table.iter("tr")] == [
        ["epoch", "loss", "accuracy"],
        ["1", "0.5", None],  # not measured
        ["2", "0.12346", "0.75"],
    ]


@pytest.mark.parametrize("epochs", [0, 20, 21])
def test_of_a_long_history_a_notebook_shows_the_first_and_the_last_ten_epochs(epochs: int) -> None:
    history = History()
    for epoch in range(epochs):
        history.add_epoch({"loss": epoch + 0.5})
    first = [row[0].text for row in html.fromstring(history._repr_html_()).iter("tr")]
    every = [f"{epoch}" for epoch in range(1, epochs + 1)]
    assert first == ["epoch", *(every if epochs < 21 else [*every[:10], "⋮", *every[-10:]])]


def test_repr_of_a_history_has_its_size_and_last_metrics() -> None:
    assert repr(History()) == "History(0 epochs, 0 steps)"
    assert repr(filled()) == "History(2 epochs, 3 steps: loss 0.1250, accuracy 0.7500)"


class TestState:
    def test_state_of_a_history_is_its_columns_as_float64(self) -> None:
        state = filled().state_dict()
        assert list(state) == ["epochs", "steps"]
        assert list(state["epochs"]) == ["loss", "accuracy"]
        columns = [*state["epochs"].values(), *state["steps"].values()]
        assert {column.dtype for column in columns} == {np.dtype(np.float64)}
        assert state["epochs"]["accuracy"].tolist() == [0.25, 0.75]
        assert state["steps"]["loss"].tolist() == [1, 1 / 2, 1 / 3]

    def test_history_continues_from_a_state(self) -> None:
        history, other = filled(), History()
        history.add_epoch({"f1": 0.5})
        other.add_epoch({"other": 1.0})
        other.check_state_dict(history.state_dict())
        assert lists(other.epochs) == {"other": [1]}
        other.load_state_dict(history.state_dict())
        for each in (history, other):
            each.add_epoch({"loss": 0.25, "f1": 1.0})
            each.add_step({"loss": 0.75})
        for got, expected in ((other.epochs, history.epochs), (other.steps, history.steps)):
            assert list(got) == list(expected)
            np.testing.assert_equal(lists(got), lists(expected))
        np.testing.assert_array_equal(other.epochs["loss"], [0.5, 0.125, NAN, 0.25])

    def test_history_loads_an_empty_state(self) -> None:
        history = filled()
        history.load_state_dict(History().state_dict())
        assert history.epochs == history.steps == {}

    def test_history_loads_columns_of_any_byte_order_and_layout(self) -> None:
        column = np.array([1.0, 9.0, 2.0, 9.0], ">f8")[::2]
        history = History()
        history.load_state_dict({"epochs": {"loss": column}, "steps": {}})
        assert lists(history.epochs) == {"loss": [1, 2]}

    @pytest.mark.parametrize(
        ("state", "sentence"),
        [
            (None, "History expects a state, got none"),
            (
                {"epochs": {}},
                "History expects a state with epochs, steps, got none of steps",
            ),
            ({"epochs": {}, "steps": [1]}, "History expects a state, got [1]"),
            (
                {"epochs": {"loss": [1.0]}, "steps": {}},
                "History, loss of epochs, expects float64 of shape (any,), got [1.0]",
            ),
            (
                {"epochs": {}, "steps": {"loss": np.zeros(2, np.float32)}},
                "History, loss of steps, expects float64 of shape (any,), "
                "got float32 of shape (2,)",
            ),
            (
                {"epochs": {"loss": np.zeros((2, 1))}, "steps": {}},
                "History, loss of epochs, expects float64 of shape (any,), "
                "got float64 of shape (2, 1)",
            ),
            (
                {"epochs": {}, "steps": {"loss": np.zeros(2), "f1": np.zeros(3)}},
                "History expects columns of one length, got others in steps",
            ),
        ],
    )
    def test_history_rejects_an_invalid_state_and_stays_unchanged(
        self, state: Any, sentence: str
    ) -> None:
        history = filled()
        assert said(history.check_state_dict, state) == sentence
        assert lists(history.epochs) == lists(filled().epochs)
        assert lists(history.steps) == lists(filled().steps)
