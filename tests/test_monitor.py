import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import InputError
from tinynet.monitor import Monitor, check_monitored


def said(do: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(InputError) as error:
        do(*args, **kwargs)
    return str(error.value)


def told(watch: Monitor, values: list[float]) -> list[bool]:
    return [watch.improves({watch.metric: value}) for value in values]


class TestImproves:
    @pytest.mark.parametrize(
        ("figure", "higher"),
        [
            ("loss", False),
            ("validation_loss", False),
            ("top_1_error", False),
            ("accuracy", True),
            ("f1", True),
            ("losses", True),
            ("loss_of_face", True),
        ],
    )
    def test_knows_by_the_name_which_way_is_better(self, figure: str, higher: bool) -> None:
        watch = Monitor(figure)
        assert watch.higher_is_better is higher
        assert told(watch, [1.0, 2.0, 0.0]) == [True, higher, not higher]

    @pytest.mark.parametrize("higher", [True, False])
    @pytest.mark.parametrize("figure", ["loss", "accuracy"])
    def test_may_be_told_which_way_is_better(self, figure: str, higher: bool) -> None:
        watch = Monitor(figure, higher_is_better=higher)
        assert told(watch, [1.0, 2.0, 0.0]) == [True, higher, not higher]

    def test_counts_how_long_it_has_waited(self) -> None:
        watch = Monitor("accuracy")
        waits = []
        for value in (0.5, 0.5, 0.4, 0.6, 0.1):
            watch.improves({"accuracy": value, "loss": 0.0})
            waits.append(watch.waited)
        assert waits == [0, 1, 2, 0, 1]
        assert watch.best == 0.6

    @pytest.mark.parametrize("sign", [1, -1])
    def test_is_by_more_than_min_delta(self, sign: int) -> None:
        watch = Monitor("figure", higher_is_better=sign > 0, min_delta=0.5)
        values = [sign * value for value in (1.0, 1.25, 1.5, 1.75, 2.0, 2.3)]
        assert told(watch, values) == [True, False, False, True, False, True]
        assert watch.best == sign * 2.3

    def test_is_by_any_gain_without_min_delta(self) -> None:
        assert told(Monitor("loss"), [1.0, 1.0, math.nextafter(1.0, 0)]) == [True, False, True]

    @pytest.mark.parametrize("figure", ["loss", "accuracy"])
    def test_is_never_true_of_nan(self, figure: str) -> None:
        watch = Monitor(figure)
        assert told(watch, [math.nan, math.nan]) == [False, False]
        assert (watch.best, watch.waited) == (None, 2)
        assert told(watch, [0.5, math.nan]) == [True, False]
        assert (watch.best, watch.waited) == (0.5, 1)

    def test_of_infinite_figures_knows_good_from_bad(self) -> None:
        assert told(Monitor("loss"), [math.inf, 3.0, -math.inf, 0.0]) == [False, True, True, False]
        assert told(Monitor("score"), [-math.inf, 3.0, math.inf, 0.0]) == [False, True, True, False]

    @given(st.lists(st.floats(width=16)), st.booleans())
    def test_keeps_the_best_of_all(self, values: list[float], higher: bool) -> None:
        watch = Monitor("figure", higher_is_better=higher)
        told(watch, values)
        worst = -math.inf if higher else math.inf
        real = [value for value in values if not math.isnan(value) and value != worst]
        assert watch.best == (max if higher else min)(real, default=None)

    def test_keeps_a_plain_float(self) -> None:
        watch = Monitor("loss")
        watch.improves({"loss": np.float64(0.5)})
        assert type(watch.best) is float

    def test_starts_anew_after_forget(self) -> None:
        watch = Monitor("loss")
        assert told(watch, [1.0, 2.0, 3.0]) == [True, False, False]
        watch.forget()
        assert (watch.best, watch.waited) == (None, 0)
        assert told(watch, [5.0]) == [True]


class TestRefusals:
    @pytest.mark.parametrize("figure", [None, 1, ["loss"], Monitor])
    def test_of_a_figure_without_a_name(self, figure: Any) -> None:
        assert said(Monitor, figure) == f"Monitor expects the name of a figure, got {figure!r}"

    @pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, None])
    def test_of_a_min_delta_that_is_none(self, value: Any) -> None:
        assert said(Monitor, "loss", min_delta=value) == (
            f"Monitor expects min_delta to be a finite number >= 0, got {value!r}"
        )

    def test_of_figures_without_it_before_anything_is_counted(self) -> None:
        watch = Monitor("f1")
        figures = {"loss": 1.0, "accuracy": 0.5}
        sentence = "watching 'f1' expects one of the figures loss, accuracy"
        assert said(watch.improves, figures) == sentence
        assert said(check_monitored, "f1", figures) == sentence
        assert watch.waited == 0

    def test_of_validation_figures_tell_how_to_have_them(self) -> None:
        assert said(check_monitored, "validation_loss", {"loss": 1.0}) == (
            "watching 'validation_loss' expects one of the figures loss; "
            "give validation data to fit"
        )

    def test_are_none_where_the_figure_is_there(self) -> None:
        check_monitored("validation_loss", {"loss": 1.0, "validation_loss": 2.0})


class TestState:
    @pytest.mark.parametrize("values", [[], [1.0, 2.0], [math.nan], [-math.inf, 0.0]])
    def test_goes_through_json_and_on_as_before(self, values: list[float]) -> None:
        watch, other = Monitor("loss"), Monitor("loss")
        told(watch, values)
        told(other, [-5.0])
        other.check_state_dict(json.loads(json.dumps(watch.state_dict())))
        assert (other.best, other.waited) == (-5, 0)
        other.load_state_dict(json.loads(json.dumps(watch.state_dict())))
        assert (other.best, other.waited) == (watch.best, watch.waited)
        assert told(other, [0.5, 0.7]) == told(watch, [0.5, 0.7])
        assert other.state_dict() == watch.state_dict()

    @pytest.mark.parametrize(
        ("state", "sentence"),
        [
            (None, "Monitor expects a state, got none"),
            ({"best": 1.0}, "Monitor expects a state with best, waited, got none of waited"),
            (
                {"best": 1.0, "waited": -1},
                "Monitor expects waited to be a whole number >= 0, got -1",
            ),
            (
                {"best": math.nan, "waited": 0},
                "Monitor expects best to be a finite number, got nan",
            ),
            ({"best": "inf", "waited": 0}, "Monitor expects best to be a finite number, got 'inf'"),
            ({"best": [], "waited": 0}, "Monitor expects best to be a finite number, got []"),
            (
                {"best": np.zeros(2), "waited": 0},
                "Monitor expects best to be a finite number, got array([0., 0.])",
            ),
        ],
    )
    def test_that_is_none_is_refused_and_nothing_changed(self, state: Any, sentence: str) -> None:
        watch = Monitor("loss")
        told(watch, [3.0, 4.0])
        assert said(watch.check_state_dict, state) == sentence
        assert watch.state_dict() == {"best": 3.0, "waited": 1}
