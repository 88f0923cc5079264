import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import InputError
from tinynet.monitor import Monitor


def said(do: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(InputError) as error:
        do(*args, **kwargs)
    return str(error.value)


def improvements(monitor: Monitor, values: list[float]) -> list[bool]:
    return [monitor.improves({monitor.metric: value}) for value in values]


def undeclared(metric: str) -> str:
    return (
        f"Monitor expects to know whether a higher {metric} is better, got no declaration: write "
        f"Monitor('{metric}', higher_is_better=True) (or False), or set higher_is_better in the "
        "class of the metric"
    )


class TestDirection:
    @pytest.mark.parametrize("metric", ["loss", "validation_loss"])
    def test_a_lower_loss_is_better(self, metric: str) -> None:
        monitor = Monitor(metric)
        assert monitor.higher_is_better is False
        assert improvements(monitor, [1.0, 2.0, 0.0]) == [True, False, True]

    @pytest.mark.parametrize(
        "metric", ["accuracy", "validation_rmse", "top_1_error", "my_loss", "loss_of_face", "f1"]
    )
    def test_no_direction_is_guessed_from_a_name(self, metric: str) -> None:
        monitor = Monitor(metric)
        assert said(monitor.improves, {metric: 1.0}) == undeclared(metric)
        assert said(monitor.check, {"loss": False, metric: None}) == undeclared(metric)
        assert (monitor.best, monitor.waited) == (None, 0)

    @pytest.mark.parametrize("higher", [True, False])
    @pytest.mark.parametrize("metric", ["accuracy", "validation_rmse", "my_loss"])
    def test_monitor_takes_the_direction_that_the_metric_declares(
        self, metric: str, higher: bool
    ) -> None:
        monitor = Monitor(metric)
        monitor.check({"loss": False, metric: higher})
        monitor.reset()
        assert improvements(monitor, [1.0, 2.0, 0.0]) == [True, higher, not higher]
        monitor.check({"loss": False, metric: not higher})
        monitor.reset()
        assert improvements(monitor, [1.0, 2.0, 0.0]) == [True, not higher, higher]

    @pytest.mark.parametrize("higher", [True, False])
    @pytest.mark.parametrize("metric", ["loss", "accuracy"])
    def test_a_direction_that_is_given_comes_before_a_declared_one(
        self, metric: str, higher: bool
    ) -> None:
        for declared in (True, False, None):
            monitor = Monitor(metric, higher_is_better=higher)
            monitor.check({metric: declared})
            assert improvements(monitor, [1.0, 2.0, 0.0]) == [True, higher, not higher]

    @pytest.mark.parametrize("wrong", ["max", 1, 0.0])
    def test_a_direction_is_true_false_or_none(self, wrong: Any) -> None:
        assert said(Monitor, "f1", higher_is_better=wrong) == (
            f"Monitor expects higher_is_better to be True or False or None, got {wrong!r}"
        )


class TestImproves:
    def test_monitor_counts_epochs_without_improvement(self) -> None:
        monitor = Monitor("accuracy", higher_is_better=True)
        waits = []
        for value in (0.5, 0.5, 0.4, 0.6, 0.1):
            monitor.improves({"accuracy": value, "loss": 0.0})
            waits.append(monitor.waited)
        assert waits == [0, 1, 2, 0, 1]
        assert monitor.best == 0.6

    @pytest.mark.parametrize("sign", [1, -1])
    def test_improvement_must_exceed_min_delta(self, sign: int) -> None:
        monitor = Monitor("metric", higher_is_better=sign > 0, min_delta=0.5)
        values = [sign * value for value in (1.0, 1.25, 1.5, 1.75, 2.0, 2.3)]
        assert improvements(monitor, values) == [True, False, False, True, False, True]
        assert monitor.best == sign * 2.3

    def test_any_gain_is_an_improvement_without_min_delta(self) -> None:
        assert improvements(Monitor("loss"), [1.0, 1.0, math.nextafter(1.0, 0)]) == [
            True,
            False,
            True,
        ]

    @pytest.mark.parametrize("higher", [True, False])
    def test_nan_is_never_an_improvement(self, higher: bool) -> None:
        monitor = Monitor("metric", higher_is_better=higher)
        assert improvements(monitor, [math.nan, math.nan]) == [False, False]
        assert (monitor.best, monitor.waited) == (None, 2)
        assert improvements(monitor, [0.5, math.nan]) == [True, False]
        assert (monitor.best, monitor.waited) == (0.5, 1)

    def test_monitor_orders_infinite_values(self) -> None:
        assert improvements(Monitor("loss"), [math.inf, 3.0, -math.inf, 0.0]) == [
            False,
            True,
            True,
            False,
        ]
        score = Monitor("score", higher_is_better=True)
        assert improvements(score, [-math.inf, 3.0, math.inf, 0.0]) == [
            False,
            True,
            True,
            False,
        ]

    @given(st.lists(st.floats(width=16)), st.booleans())
    def test_monitor_keeps_the_best_value_of_any_sequence(
        self, values: list[float], higher: bool
    ) -> None:
        monitor = Monitor("metric", higher_is_better=higher)
        improvements(monitor, values)
        worst = -math.inf if higher else math.inf
        real = [value for value in values if not math.isnan(value) and value != worst]
        assert monitor.best == (max if higher else min)(real, default=None)

    def test_monitor_stores_the_best_value_as_a_python_float(self) -> None:
        monitor = Monitor("loss")
        monitor.improves({"loss": np.float64(0.5)})
        assert type(monitor.best) is float

    def test_monitor_starts_again_after_reset(self) -> None:
        monitor = Monitor("loss")
        assert improvements(monitor, [1.0, 2.0, 3.0]) == [True, False, False]
        monitor.reset()
        assert (monitor.best, monitor.waited) == (None, 0)
        assert improvements(monitor, [5.0]) == [True]


def test_repr_of_a_monitor_is_its_constructor_call() -> None:
    monitor = Monitor("loss", min_delta=0.5)
    assert repr(monitor) == "Monitor('loss', higher_is_better=False, min_delta=0.5)"


class TestErrors:
    @pytest.mark.parametrize("metric", [None, 1, ["loss"], Monitor])
    def test_monitor_rejects_a_metric_that_is_not_a_name(self, metric: Any) -> None:
        assert said(Monitor, metric) == f"Monitor expects the name of a metric, got {metric!r}"

    @pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, None])
    def test_monitor_rejects_a_negative_or_non_finite_min_delta(self, value: Any) -> None:
        assert said(Monitor, "loss", min_delta=value) == (
            f"Monitor expects min_delta to be a finite number >= 0, got {value!r}"
        )

    def test_monitor_rejects_metrics_without_its_own_and_counts_nothing(self) -> None:
        monitor = Monitor("f1", higher_is_better=True)
        sentence = "Monitor expects one of the metrics loss, accuracy, got 'f1'"
        assert said(monitor.improves, {"loss": 1.0, "accuracy": 0.5}) == sentence
        assert said(monitor.check, {"loss": False, "accuracy": True}) == sentence
        assert monitor.waited == 0

    def test_monitor_of_a_validation_metric_hints_at_validation_data(self) -> None:
        assert said(Monitor("validation_loss").check, {"loss": False}) == (
            "Monitor expects one of the metrics loss, got 'validation_loss'; "
            "give validation data to fit"
        )

    def test_monitor_accepts_metrics_that_contain_its_own(self) -> None:
        Monitor("validation_loss").check({"loss": False, "validation_loss": False})


class TestState:
    @pytest.mark.parametrize("values", [[], [1.0, 2.0], [math.nan], [-math.inf, 0.0]])
    def test_monitor_continues_from_a_state_stored_as_json(self, values: list[float]) -> None:
        monitor, other = Monitor("loss"), Monitor("loss")
        improvements(monitor, values)
        improvements(other, [-5.0])
        other.check_state_dict(json.loads(json.dumps(monitor.state_dict())))
        assert (other.best, other.waited) == (-5, 0)
        other.load_state_dict(json.loads(json.dumps(monitor.state_dict())))
        assert (other.best, other.waited) == (monitor.best, monitor.waited)
        assert improvements(other, [0.5, 0.7]) == improvements(monitor, [0.5, 0.7])
        assert other.state_dict() == monitor.state_dict()

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
    def test_monitor_rejects_an_invalid_state_and_stays_unchanged(
        self, state: Any, sentence: str
    ) -> None:
        monitor = Monitor("loss")
        improvements(monitor, [3.0, 4.0])
        assert said(monitor.check_state_dict, state) == sentence
        assert monitor.state_dict() == {"best": 3.0, "waited": 1}
