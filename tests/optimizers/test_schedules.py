import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import InputError
from tinynet.monitor import Monitor
from tinynet.optimizers.schedules import (
    Constant,
    Cosine,
    Exponential,
    LinearWarmUp,
    OneCycle,
    OnPlateau,
    Schedule,
    StepDecay,
)

positive = st.floats(1e-6, 10)
fractions = st.floats(0, 1)
lengths = st.integers(1, 50)


def error_of(do: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(InputError) as error:
        do(*args, **kwargs)
    return str(error.value)


def close(got: float, expected: float) -> bool:
    return math.isclose(got, expected, rel_tol=1e-12, abs_tol=1e-15)


def highest(schedule: Schedule, steps: int = 200) -> float:
    """The largest rate of all steps, checked against `peak`, up to the rounding of a cosine."""
    rates = [schedule(step) for step in range(steps)]
    assert all(type(rate) is float for rate in rates)
    assert min(rates) >= 0
    assert max(rates) <= schedule.peak * (1 + 1e-15)
    return max(rates)


class TestConstant:
    @given(st.floats(0, 10), st.integers(0, 10**9))
    def test_constant_gives_the_same_rate_in_every_step(self, rate: float, step: int) -> None:
        assert Constant(rate)(step) == rate == Constant(rate).peak


class TestStepDecay:
    @given(positive, lengths, fractions)
    def test_step_decay_follows_its_formula(self, rate: float, every: int, factor: float) -> None:
        schedule = StepDecay(rate, every=every, factor=factor)
        expected = rate
        for step in range(120):
            if step > 0 and step % every == 0:
                expected *= factor
            assert close(schedule(step), expected)
        assert highest(schedule) == schedule.peak == rate

    def test_step_decay_drops_to_a_tenth_by_default_at_every_multiple(self) -> None:
        schedule = StepDecay(8.0, every=3)
        rates = [schedule(step) for step in range(7)]
        assert rates == pytest.approx([8, 8, 8, 0.8, 0.8, 0.8, 0.08], rel=1e-12)


class TestExponential:
    @given(positive, fractions)
    def test_exponential_follows_its_formula(self, rate: float, factor: float) -> None:
        schedule = Exponential(rate, factor=factor)
        expected = rate
        for step in range(60):
            assert close(schedule(step), expected)
            expected *= factor
        assert highest(schedule) == schedule.peak == rate


class TestCosine:
    @given(positive, lengths, st.floats(0, 10))
    def test_cosine_follows_its_formula_and_then_stays_at_the_final_rate(
        self, rate: float, steps: int, final: float
    ) -> None:
        schedule = Cosine(rate, steps=steps, final=final)
        for step in range(steps):
            down = (1 - math.cos(math.pi * step / steps)) / 2  # from 0 to 1
            assert close(schedule(step), rate * (1 - down) + final * down)
        assert schedule(steps) == schedule(steps + 1) == schedule(10 * steps) == final
        assert highest(schedule) == pytest.approx(schedule.peak, rel=1e-15)
        assert schedule.peak == max(rate, final)

    def test_cosine_ends_at_zero_by_default(self) -> None:
        schedule = Cosine(4.0, steps=2)
        assert [schedule(step) for step in range(4)] == pytest.approx([4, 2, 0, 0], abs=1e-15)
        assert schedule(2) == 0


INNER: dict[str, Callable[[], Schedule]] = {
    "Constant": lambda: Constant(0.3),
    "StepDecay": lambda: StepDecay(0.3, every=4),
    "Exponential": lambda: Exponential(0.3, factor=0.9),
    "Cosine": lambda: Cosine(0.3, steps=20, final=0.01),
    "a rising Cosine": lambda: Cosine(0.3, steps=20, final=0.7),
    "OneCycle": lambda: OneCycle(0.3, steps=20),
    "OnPlateau": lambda: OnPlateau(0.3, monitor="loss"),
    "LinearWarmUp": lambda: LinearWarmUp(7, then=0.3),
}


class TestLinearWarmUp:
    @pytest.mark.parametrize("name", INNER)
    @pytest.mark.parametrize("steps", [1, 3, 11])
    def test_warm_up_rises_linearly_and_then_follows_the_next_schedule(
        self, name: str, steps: int
    ) -> None:
        inner = INNER[name]()
        schedule = LinearWarmUp(steps, then=inner)
        for step in range(steps):
            assert close(schedule(step), inner(0) / steps * (step + 1))
        assert schedule(steps - 1) == inner(0)
        assert [schedule(steps + step) for step in range(40)] == [inner(s) for s in range(40)]
        assert schedule.peak == inner.peak
        assert highest(schedule) == pytest.approx(schedule.peak, rel=1e-15)

    @given(positive, lengths)
    def test_warm_up_to_a_constant_rate_never_exceeds_it(self, rate: float, steps: int) -> None:
        schedule = LinearWarmUp(steps, then=rate)
        assert highest(schedule) == schedule.peak == rate == schedule(steps) == schedule(10**6)
        assert max(map(schedule, range(steps))) == rate

    def test_warm_up_passes_metrics_and_state_to_the_next_schedule(self) -> None:
        def made() -> LinearWarmUp:
            return LinearWarmUp(2, then=OnPlateau(0.8, factor=0.5, patience=0, monitor="loss"))

        schedule, other = made(), made()
        for loss in (1.0, 2.0):
            schedule.observe({"loss": loss})
        assert [schedule(step) for step in range(4)] == [0.2, 0.4, 0.4, 0.4]
        assert schedule.state_dict() == schedule.then.state_dict() != other.state_dict()
        other.load_state_dict(schedule.state_dict())
        assert other.state_dict() == schedule.state_dict()
        assert other(5) == 0.4
        assert error_of(other.check_state_dict, {}).startswith(
            "OnPlateau expects a state with monitor, rate"
        )


class TestOneCycle:
    @given(positive, st.integers(1, 40), fractions, st.floats(1, 100), st.floats(1, 1e6))
    def test_one_cycle_is_two_halves_of_a_cosine(
        self, peak: float, steps: int, warm_up: float, start: float, end: float
    ) -> None:
        schedule = OneCycle(
            peak, steps=steps, warm_up=warm_up, start_divisor=start, end_divisor=end
        )
        top = warm_up * steps
        for step in range(steps):
            if step < top:
                low, fraction = peak / start, step / top
            else:
                low, fraction = peak / end, 1 - (step - top) / (steps - top)
            up = (1 - math.cos(math.pi * fraction)) / 2  # from 0 to 1
            assert close(schedule(step), low + (peak - low) * up)
        assert schedule(steps) == schedule(steps + 1) == schedule(10 * steps) == peak / end
        highest(schedule)

    @pytest.mark.parametrize("warm_up", [0.0, 0.25, 0.5])
    def test_one_cycle_reaches_its_peak_if_it_falls_on_a_step(self, warm_up: float) -> None:
        schedule = OneCycle(0.7, steps=20, warm_up=warm_up)
        assert schedule.peak == 0.7
        assert schedule(int(20 * warm_up)) == pytest.approx(0.7, rel=1e-15)
        assert highest(schedule) == pytest.approx(0.7, rel=1e-15)

    def test_one_cycle_with_warm_up_only_ends_after_it(self) -> None:
        schedule = OneCycle(1.0, steps=2, warm_up=1.0, start_divisor=5, end_divisor=10)
        assert [schedule(step) for step in range(4)] == pytest.approx([0.2, 0.6, 0.1, 0.1])

    def test_one_cycle_has_the_default_proportions_of_fast_ai(self) -> None:
        schedule = OneCycle(1.0, steps=10)
        assert [schedule(step) for step in (0, 3, 10)] == pytest.approx([1 / 25, 1, 1e-4])
        assert schedule(1) == pytest.approx(0.04 + 0.96 * (1 - math.cos(math.pi / 3)) / 2)

    def test_one_cycle_with_divisors_of_1_is_constant(self) -> None:
        schedule = OneCycle(0.5, steps=4, start_divisor=1, end_divisor=1)
        assert {schedule(step) for step in range(6)} == {0.5}


@pytest.mark.parametrize("make", [Cosine, OneCycle])
def test_cosine_and_one_cycle_take_the_highest_rate_and_the_steps_alike(make: Any) -> None:
    schedule = make(0.3, 20)
    assert (schedule.rate, schedule.peak, schedule.steps) == (0.3, 0.3, 20)
    assert repr(make(rate=0.3, steps=20)) == repr(schedule) == f"{make.__name__}(0.3, 20)"


def rates_after(schedule: OnPlateau, values: list[float]) -> list[float]:
    rates = []
    for value in values:
        schedule.observe(dict.fromkeys(("loss", "accuracy", "validation_rmse"), value))
        rates.append(schedule(0))
    return rates


class TestOnPlateau:
    def test_on_plateau_lowers_the_rate_after_patience_epochs_without_improvement(self) -> None:
        schedule = OnPlateau(8.0, factor=0.5, patience=1, monitor="loss")
        #     better    wait drop wait better    wait drop
        losses = [3.0, 2.0, 2.0, 2.5, 2.0, 1.9, 1.9, 1.9]
        assert rates_after(schedule, losses) == [8, 8, 8, 4, 4, 4, 4, 2]

    def test_on_plateau_waits_for_patience_epochs_after_each_drop(self) -> None:
        schedule = OnPlateau(8.0, factor=0.5, patience=2, monitor="loss")
        assert rates_after(schedule, [1.0] * 10) == [8, 8, 8, 4, 4, 4, 2, 2, 2, 1]

    def test_on_plateau_with_patience_0_lowers_the_rate_at_once(self) -> None:
        schedule = OnPlateau(8.0, factor=0.5, patience=0, monitor="loss")
        assert rates_after(schedule, [1.0, 1.0, 0.5, 0.5]) == [8, 4, 4, 2]

    def test_on_plateau_counts_nan_as_no_improvement(self) -> None:
        schedule = OnPlateau(8.0, factor=0.5, patience=1, monitor="loss")
        values = [math.nan, math.nan, 5.0, math.nan, 4.0, math.nan, math.nan]
        assert rates_after(schedule, values) == [8, 4, 4, 4, 4, 4, 2]

    def test_on_plateau_does_not_go_below_the_lowest_rate(self) -> None:
        schedule = OnPlateau(8.0, factor=0.25, patience=0, monitor="loss", lowest=1.0)
        assert rates_after(schedule, [1.0] * 5) == [8, 2, 1, 1, 1]

    def test_on_plateau_leaves_a_rate_below_the_lowest_as_it_is(self) -> None:
        schedule = OnPlateau(0.5, factor=0.25, patience=0, monitor="loss", lowest=1.0)
        assert rates_after(schedule, [1.0] * 3) == [0.5, 0.5, 0.5]

    def test_on_plateau_by_default_divides_by_10_after_10_epochs_of_validation_loss(self) -> None:
        schedule = OnPlateau(1.0)
        rates = []
        for _ in range(12):
            schedule.observe({"validation_loss": 1.0, "loss": 0.0})
            rates.append(schedule(3))
        assert rates == [1.0] * 11 + [0.1]

    def test_on_plateau_follows_the_direction_of_its_monitor(self) -> None:
        higher = OnPlateau(8.0, factor=0.5, patience=0, monitor="accuracy")
        higher.check_metrics({"loss": False, "accuracy": True})
        assert rates_after(higher, [0.5, 0.6, 0.6]) == [8, 8, 4]
        monitor = Monitor("accuracy", higher_is_better=False, min_delta=0.5)
        lower = OnPlateau(8.0, factor=0.5, patience=0, monitor=monitor)
        assert rates_after(lower, [3.0, 2.0, 1.75]) == [8, 8, 4]

    def test_on_plateau_refuses_a_metric_without_a_known_direction(self) -> None:
        plateau = OnPlateau(8.0, patience=0, monitor="validation_rmse")
        for schedule in (plateau, LinearWarmUp(2, then=plateau)):
            sentence = "Monitor expects to know whether a higher validation_rmse is better"
            metrics = {"loss": False, "validation_rmse": None}
            assert error_of(schedule.check_metrics, metrics).startswith(sentence)
            assert error_of(schedule.observe, {"validation_rmse": 1.0}).startswith(sentence)
            assert error_of(schedule.check_metrics, {"loss": False}).startswith(
                "Monitor expects one of the metrics loss, got 'validation_rmse'"
            )
        assert plateau(0) == 8
        LinearWarmUp(2, then=plateau).check_metrics({"validation_rmse": False})
        assert rates_after(plateau, [3.0, 3.0]) == [8, 0.8]

    def test_other_schedules_need_no_metric(self) -> None:
        Constant(0.1).check_metrics({"loss": False})

    def test_on_plateau_is_constant_within_an_epoch(self) -> None:
        schedule = OnPlateau(8.0, monitor="loss")
        assert highest(schedule) == schedule(10**6) == schedule.peak == 8

    def test_on_plateau_refuses_metrics_without_the_monitored_one(self) -> None:
        schedule = OnPlateau(8.0, patience=0)
        message = error_of(schedule.observe, {"loss": 1.0})
        assert message.startswith("Monitor expects one of the metrics loss, got 'validation_loss'")
        assert schedule(0) == 8

    @pytest.mark.parametrize("before", [0, 1, 2, 3, 5])
    def test_a_restored_on_plateau_continues_with_the_same_rates(self, before: int) -> None:
        losses = [3.0, 3.0, 2.0, 2.0, math.nan, 2.0, 1.0, 1.5, 1.5, 1.5]

        def made() -> OnPlateau:
            return OnPlateau(8.0, factor=0.5, patience=1, monitor="loss")

        whole, other = made(), made()
        rates_after(whole, losses[:before])
        rates_after(other, [9.0, 9.0, 9.0])
        other.check_state_dict(json.loads(json.dumps(whole.state_dict())))
        assert other.state_dict() == {"rate": 4.0, "monitor": {"best": 9.0, "waited": 0}}
        other.load_state_dict(json.loads(json.dumps(whole.state_dict())))
        assert other.state_dict() == whole.state_dict()
        assert rates_after(other, losses[before:]) == rates_after(whole, losses[before:])
        assert other.state_dict() == whole.state_dict()

    @pytest.mark.parametrize(
        ("state", "sentence"),
        [
            ({}, "OnPlateau expects a state with monitor, rate, got none of monitor, rate"),
            (
                {"rate": -1, "monitor": {"best": None, "waited": 0}},
                "OnPlateau expects rate to be a finite number >= 0, got -1",
            ),
            ({"rate": 1.0, "monitor": None}, "Monitor expects a state, got none"),
        ],
    )
    def test_on_plateau_refuses_a_wrong_state_and_changes_nothing(
        self, state: Any, sentence: str
    ) -> None:
        schedule = OnPlateau(8.0)
        before = schedule.state_dict()
        assert error_of(schedule.check_state_dict, state) == sentence
        assert error_of(schedule.load_state_dict, state) == sentence
        assert schedule.state_dict() == before


STEADY = [
    Constant(0.1),
    StepDecay(0.1, every=2),
    Exponential(0.1, factor=0.5),
    Cosine(0.1, steps=3),
    OneCycle(0.1, steps=3),
    LinearWarmUp(2, then=0.1),
]


@pytest.mark.parametrize("schedule", STEADY)
class TestSchedulesOfTheStepAlone:
    def test_schedules_of_the_step_alone_have_an_empty_state(self, schedule: Schedule) -> None:
        assert schedule.state_dict() == {}
        schedule.load_state_dict({})

    def test_schedules_of_the_step_alone_refuse_a_state_that_is_not_empty(
        self, schedule: Schedule
    ) -> None:
        name = "Constant" if isinstance(schedule, LinearWarmUp) else type(schedule).__name__
        sentence = f"{name} expects a state with nothing, got rate"
        assert error_of(schedule.check_state_dict, {"rate": 1.0}) == sentence
        assert error_of(schedule.load_state_dict, {"rate": 1.0}) == sentence
        assert error_of(schedule.check_state_dict, None) == f"{name} expects a state, got none"

    def test_schedules_of_the_step_alone_ignore_metrics(self, schedule: Schedule) -> None:
        before = [schedule(step) for step in range(5)]
        schedule.observe({"loss": math.nan})
        assert [schedule(step) for step in range(5)] == before


NUMBER, NUMBER_FROM_1 = "to be a finite number >= 0", "to be a finite number >= 1"
WHOLE, FRACTION = "to be a whole number >= 1", "to be a finite number >= 0 and <= 1"
CYCLE = {"rate": 1, "steps": 1}
WRONG: list[tuple[Callable[..., Schedule], dict[str, Any], str, str, list[Any]]] = [
    (Constant, {}, "rate", NUMBER, [-1, math.nan, math.inf, "x"]),
    (StepDecay, {"every": 1}, "rate", NUMBER, [-1, None]),
    (StepDecay, {"rate": 1}, "every", WHOLE, [0, 1.5, None]),
    (StepDecay, {"rate": 1, "every": 1}, "factor", FRACTION, [1.1, 2, -0.1, math.nan]),
    (Exponential, {"factor": 1}, "rate", NUMBER, [-1]),
    (Exponential, {"rate": 1}, "factor", FRACTION, [1.5]),
    (Cosine, {"steps": 1}, "rate", NUMBER, [-1]),
    (Cosine, {"rate": 1}, "steps", WHOLE, [0, 2.0]),
    (Cosine, {"rate": 1, "steps": 1}, "final", NUMBER, [-1]),
    (LinearWarmUp, {"then": 1.0}, "steps", WHOLE, [0, "x"]),
    (OneCycle, {"steps": 1}, "rate", NUMBER, [-1]),
    (OneCycle, {"rate": 1}, "steps", WHOLE, [0]),
    (OneCycle, CYCLE, "warm_up", FRACTION, [1.01]),
    (OneCycle, CYCLE, "start_divisor", NUMBER_FROM_1, [0.9]),
    (OneCycle, CYCLE, "end_divisor", NUMBER_FROM_1, [0.9]),
    (OnPlateau, {}, "rate", NUMBER, [-1]),
    (OnPlateau, {"rate": 1}, "factor", FRACTION, [1.01]),
    (OnPlateau, {"rate": 1}, "patience", "to be a whole number >= 0", [-1, 0.5]),
    (OnPlateau, {"rate": 1}, "lowest", NUMBER, [-1]),
]


@pytest.mark.parametrize(("make", "others", "name", "expected", "values"), WRONG)
def test_wrong_arguments_of_schedules_are_refused(
    make: Any, others: dict[str, Any], name: str, expected: str, values: list[Any]
) -> None:
    for value in values:
        assert error_of(make, **others | {name: value}) == (
            f"{make.__name__} expects {name} {expected}, got {value!r}"
        )


def test_wrong_inner_schedules_and_monitors_are_refused() -> None:
    wrong: Any = "later"
    assert error_of(LinearWarmUp, 2, then=wrong) == (
        "Constant expects rate to be a finite number >= 0, got 'later'"
    )
    assert error_of(OnPlateau, 0.1, monitor=3) == "Monitor expects the name of a metric, got 3"


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        (Constant(0.1), "Constant(0.1)"),
        (StepDecay(0.1, every=2), "StepDecay(0.1, every=2)"),
        (StepDecay(0.1, every=2, factor=0.5), "StepDecay(0.1, every=2, factor=0.5)"),
        (Exponential(1, factor=0.5), "Exponential(1, factor=0.5)"),
        (Cosine(0.1, steps=3), "Cosine(0.1, 3)"),
        (LinearWarmUp(3, then=Cosine(0.1, steps=3)), "LinearWarmUp(3, then=Cosine(0.1, 3))"),
        (LinearWarmUp(3, then=0.1), "LinearWarmUp(3, then=Constant(0.1))"),
        (OneCycle(0.1, steps=3, warm_up=0.5), "OneCycle(0.1, 3, warm_up=0.5)"),
        (
            OnPlateau(0.1, patience=2, monitor="accuracy"),
            "OnPlateau(0.1, patience=2, monitor=Monitor('accuracy'))",
        ),
    ],
)
def test_repr_is_the_constructor_call(schedule: Schedule, text: str) -> None:
    assert repr(schedule) == text
