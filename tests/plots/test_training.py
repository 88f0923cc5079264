import math
from array import array
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from tinynet import InputError
from tinynet.plots import learning_curves
from tinynet.plots.style import BLUE, VERMILION

Legible = Callable[[Figure], None]
NAN = math.nan


def draw(**columns: Any) -> Figure:
    return learning_curves(SimpleNamespace(epochs=columns))


def points(figure: Figure) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """The drawn points by panel and label."""
    return {
        axes.get_title(): {
            str(line.get_label()): [(float(x), float(y)) for x, y in np.array(line.get_data()).T]
            for line in axes.lines
        }
        for axes in figure.axes
    }


def test_training_and_validation_share_a_panel_per_metric() -> None:
    figure = draw(
        loss=[0.5, 0.25],
        accuracy=[0.75, 0.875],
        validation_loss=[0.75, 0.5],
        validation_accuracy=[0.5, 0.625],
    )
    assert points(figure) == {
        "Loss": {"training": [(1, 0.5), (2, 0.25)], "validation": [(1, 0.75), (2, 0.5)]},
        "Accuracy (%)": {"training": [(1, 75), (2, 87.5)], "validation": [(1, 50), (2, 62.5)]},
    }
    assert {axes.get_xlabel() for axes in figure.axes} == {"epoch"}


def test_training_and_validation_curves_differ_in_colour_line_and_marker() -> None:
    (panel,) = draw(loss=[0.5, 0.25], validation_loss=[0.5, 0.25]).axes
    training, validation = panel.lines
    assert (training.get_color(), training.get_linestyle(), training.get_marker()) == (
        BLUE,
        "-",
        "o",
    )
    assert (validation.get_color(), validation.get_linestyle(), validation.get_marker()) == (
        VERMILION,
        "--",
        "s",
    )
    assert training.get_markerfacecolor() == BLUE
    assert validation.get_markerfacecolor() == "white"
    legend = panel.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["training", "validation"]


def test_every_column_has_a_curve_and_accuracies_are_in_percent() -> None:
    figure = draw(
        top_5_accuracy=array("d", [0.5]), validation_f1=np.array([0.25]), accuracy_error=[2.0]
    )
    assert points(figure) == {
        "Top 5 accuracy (%)": {"training": [(1, 50)]},
        "F1": {"validation": [(1, 0.25)]},
        "Accuracy error": {"training": [(1, 2)]},
    }


def test_four_metrics_take_two_rows_without_an_empty_panel() -> None:
    figure = draw(a=[1.0], b=[1.0], c=[1.0], d=[1.0])
    assert [axes.get_title() for axes in figure.axes] == ["A", "B", "C", "D"]
    a, b, c, d = (axes.get_subplotspec() for axes in figure.axes)
    assert a is not None
    assert b is not None
    assert c is not None
    assert d is not None
    assert (a.rowspan.start, b.rowspan.start, c.rowspan.start, d.rowspan.start) == (0, 0, 0, 1)


def test_values_that_are_not_finite_are_left_out_of_a_curve() -> None:
    figure = draw(
        loss=[1.0, math.inf, 0.5, NAN], validation_loss=[NAN, 0.75, NAN, 0.25], other=[NAN] * 4
    )
    assert points(figure) == {
        "Loss": {"training": [(1, 1), (3, 0.5)], "validation": [(2, 0.75), (4, 0.25)]}
    }
    low, high = figure.axes[0].get_xlim()
    assert low < 1
    assert high > 4


class TestLearningRate:
    def test_a_changing_learning_rate_has_a_panel_without_a_legend(self) -> None:
        figure = draw(loss=[1.0, 0.5], learning_rate=[0.1, 0.05])
        titles = [axes.get_title() for axes in figure.axes]
        assert titles == ["Loss", "Learning rate"]
        (line,) = figure.axes[1].lines
        assert np.asarray(line.get_ydata()).tolist() == [0.1, 0.05]
        assert figure.axes[1].get_legend() is None

    @pytest.mark.parametrize("rates", [[0.1, 0.1], [0.1, NAN], [NAN, NAN]])
    def test_a_constant_learning_rate_has_no_panel(self, rates: list[float]) -> None:
        assert points(draw(loss=[1.0, 0.5], learning_rate=rates)).keys() == {"Loss"}


@pytest.mark.parametrize(
    ("epochs", "ticks", "every"),
    [
        (1, [1], 1),
        (10, list(range(1, 11)), 1),
        (11, [2, 4, 6, 8, 10], 1),
        (39, list(range(5, 40, 5)), 1),
        (40, list(range(5, 41, 5)), 2),
        (99, list(range(10, 100, 10)), 4),
        (500, list(range(50, 501, 50)), 25),
    ],
)
def test_epochs_have_at_most_ten_ticks_and_few_markers(
    epochs: int, ticks: list[int], every: int, legible: Legible
) -> None:
    figure = draw(loss=np.linspace(1, 0.5, epochs))
    (panel,) = figure.axes
    assert list(panel.get_xticks()) == ticks
    margin = max(0.5, 0.03 * epochs)
    assert panel.get_xlim() == (1 - margin, epochs + margin)
    assert panel.lines[0].get_markevery() == every
    if epochs == 500:  # the longest tick labels
        legible(figure)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({}, "learning_curves expects a history of at least one epoch, got none"),
        ({"loss": []}, "learning_curves expects a history of at least one epoch, got none"),
        (
            {"loss": [1.0], "accuracy": [1.0, 2.0]},
            "learning_curves expects columns of one length, got 1 of loss, 2 of accuracy",
        ),
        (
            {"loss": [NAN], "learning_rate": [0.1]},
            "learning_curves expects at least one finite value, got none in loss, learning_rate",
        ),
    ],
)
def test_learning_curves_refuses_a_history_with_nothing_to_draw(
    columns: Any, sentence: str
) -> None:
    with pytest.raises(InputError) as error:
        draw(**columns)
    assert str(error.value) == sentence
