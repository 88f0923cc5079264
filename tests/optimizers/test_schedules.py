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
shares = st.floats(0, 1)
lengths = st.integers(1, 50)


def said(do: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(InputError) as error:
        do(*args, **kwargs)
    return str(error.value)


def close(got: float, wanted: float) -> bool:
    return math.isclose(got, wanted, rel_tol=1e-12, abs_tol=1e-15)


def highest(schedule: Schedule, steps: int = 200) -> float:
    """Of the rates of all steps; none may be above `peak`, but by the rounding of a half wave."""
    rates = [schedule(step) for step in range(steps)]
    assert all(type(rate) is float for rate in rates)
    assert min(rates) >= 0
    assert max(rates) <= schedule.peak * (1 + 1e-15)
    return max(rates)


class TestConstant:
    @given(st.floats(0, 10), st.integers(0, 10**9))
    def test_is_the_same_at_each_step(self, rate: float, step: int) -> None:
        assert Constant(rate)(step) == rate == Constant(rate).peak


class TestStepDecay:
    @given(positive, lengths, shares)
    def test_is_the_formula(self, rate: float, every: int, factor: float) -> None:
        schedule = StepDecay(rate, every=every, factor=factor)
        wanted = rate
        for step in range(120):
            if step > 0 and step % every == 0:
                wanted *= factor
            assert close(schedule(step), wanted)
        assert highest(schedule) == schedule.peak == rate

    def test_drops_at_the_step_itself_to_a_tenth(self) -> None:
        schedule = StepDecay(8.0, every=3)
        rates = [schedule(step) for step in range(7)]
        assert rates == pytest.approx([8, 8, 8, 0.8, 0.8, 0.8, 0.08], rel=1e-12)


class TestExponential:
    @given(positive, shares)
    def test_is_the_formula(self, rate: float, factor: float) -> None:
        schedule = Exponential(rate, factor=factor)
        wanted = rate
        for step in range(60):
            assert close(schedule(step), wanted)
            wanted *= factor
        assert highest(schedule) == schedule.peak == rate


class TestCosine:
    @given(positive, lengths, st.floats(0, 10))
    def test_is_the_formula_and_the_final_rate_behind_it(
        self, rate: float, steps: int, final: float
    ) -> None:
        schedule = Cosine(rate, steps=steps, final=final)
        for step in range(steps):
            down = (1 - math.cos(math.pi * step / steps)) / 2  # from 0 to 1
            assert close(schedule(step), rate * (1 - down) + final * down)
        assert schedule(steps) == schedule(steps + 1) == schedule(10 * steps) == final
        assert highest(schedule) == pytest.approx(schedule.peak, rel=1e-15)
        assert schedule.peak == max(rate, final)

    def test_ends_at_zero_unless_told_otherwise(self) -> None:
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
    def test_rises_in_equal_steps_and_leaves_the_rest_to_the_schedule_behind(
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
    def test_stays_at_a_rate_and_never_above_it(self, rate: float, steps: int) -> None:
        schedule = LinearWarmUp(steps, then=rate)
        assert highest(schedule) == schedule.peak == rate == schedule(steps) == schedule(10**6)
        assert max(map(schedule, range(steps))) == rate

    def test_passes_figures_and_state_on(self) -> None:
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
        assert said(other.check_state_dict, {}).startswith(
            "OnPlateau expects a state with monitor, rate"
        )


class TestOneCycle:
    @given(positive, st.integers(1, 40), shares, st.floats(1, 100), st.floats(1, 1e6))
    def test_is_two_half_waves(
        self, peak: float, steps: int, warm_up: float, start: float, end: float
    ) -> None:
        schedule = OneCycle(
            peak, steps=steps, warm_up=warm_up, start_divisor=start, end_divisor=end
        )
        top = warm_up * steps
        for step in range(steps):
            if step < top:
                low, share = peak / start, step / top
            else:
                low, share = peak / end, 1 - (step - top) / (steps - top)
            up = (1 - math.cos(math.pi * share)) / 2  # from 0 to 1
            assert close(schedule(step), low + (peak - low) * up)
        assert schedule(steps) == schedule(steps + 1) == schedule(10 * steps) == peak / end
        highest(schedule)

    @pytest.mark.parametrize("warm_up", [0.0, 0.25, 0.5])
    def test_reaches_its_peak_where_that_is_at_a_step(self, warm_up: float) -> None:
        schedule = OneCycle(0.7, steps=20, warm_up=warm_up)
        assert schedule.peak == 0.7
        assert schedule(int(20 * warm_up)) == pytest.approx(0.7, rel=1e-15)
        assert highest(schedule) == pytest.approx(0.7, rel=1e-15)

    def test_that_is_all_warm_up_ends_behind_it(self) -> None:
        schedule = OneCycle(1.0, steps=2, warm_up=1.0, start_divisor=5, end_divisor=10)
        assert [schedule(step) for step in range(4)] == pytest.approx([0.2, 0.6, 0.1, 0.1])

    def test_has_the_proportions_of_fast_ai(self) -> None:
        schedule = OneCycle(1.0, steps=10)
        assert [schedule(step) for step in (0, 3, 10)] == pytest.approx([1 / 25, 1, 1e-4])
        assert schedule(1) == pytest.approx(0.04 + 0.96 * (1 - math.cos(math.pi / 3)) / 2)

    def test_may_be_flat(self) -> None:
        schedule = OneCycle(0.5, steps=4, start_divisor=1, end_divisor=1)
        assert {schedule(step) for step in range(6)} == {0.5}


def rates_after(schedule: OnPlateau, values: list[float]) -> list[float]:
    rates = []
    for value in values:
        schedule.observe({"loss": value, "accuracy": value})
        rates.append(schedule(0))
    return rates


class TestOnPlateau:
    def test_falls_after_more_than_patience_epochs_without_a_better_figure(self) -> None:
        schedule = OnPlateau(8.0, factor=0.5, patience=1, monitor="loss")
        #         better   wait    fall, wait    better  wait  fall
        losses = [3.0, 2.0, 2.0, 2.5, 2.0, 1.9, 1.9, 1.9]
        assert rates_after(schedule, losses) == [8, 8, 8, 4, 4, 4, 4, 2]

    def test_waits_anew_after_each_fall(self) -> None:
        schedule = OnPlateau(8.0, factor=0.5, patience=2, monitor="loss")
        assert rates_after(schedule, [1.0] * 10) == [8, 8, 8, 4, 4, 4, 2, 2, 2, 1]

    def test_without_patience_falls_at_once(self) -> None:
        schedule = OnPlateau(8.0, factor=0.5, patience=0, monitor="loss")
        assert rates_after(schedule, [1.0, 1.0, 0.5, 0.5]) == [8, 4, 4, 2]

    def test_takes_nan_for_no_better(self) -> None:
        schedule = OnPlateau(8.0, factor=0.5, patience=1, monitor="loss")
        values = [math.nan, math.nan, 5.0, math.nan, 4.0, math.nan, math.nan]
        assert rates_after(schedule, values) == [8, 4, 4, 4, 4, 4, 2]

    def test_never_falls_below_the_lowest(self) -> None:
        schedule = OnPlateau(8.0, factor=0.25, patience=0, monitor="loss", lowest=1.0)
        assert rates_after(schedule, [1.0] * 5) == [8, 2, 1, 1, 1]

    def test_below_the_lowest_stays_where_it_is(self) -> None:
        schedule = OnPlateau(0.5, factor=0.25, patience=0, monitor="loss", lowest=1.0)
        assert rates_after(schedule, [1.0] * 3) == [0.5, 0.5, 0.5]

    def test_falls_to_a_tenth_after_ten_epochs_of_validation_loss_by_default(self) -> None:
        schedule = OnPlateau(1.0)
        rates = []
        for _ in range(12):
            schedule.observe({"validation_loss": 1.0, "loss": 0.0})
            rates.append(schedule(3))
        assert rates == [1.0] * 11 + [0.1]

    def test_watches_in_the_way_that_it_is_told(self) -> None:
        higher = OnPlateau(8.0, factor=0.5, patience=0, monitor="accuracy")
        assert rates_after(higher, [0.5, 0.6, 0.6]) == [8, 8, 4]
        watch = Monitor("accuracy", higher_is_better=False, min_delta=0.5)
        lower = OnPlateau(8.0, factor=0.5, patience=0, monitor=watch)
        assert rates_after(lower, [3.0, 2.0, 1.75]) == [8, 8, 4]

    def test_is_the_same_at_each_step_of_an_epoch(self) -> None:
        schedule = OnPlateau(8.0, monitor="loss")
        assert highest(schedule) == schedule(10**6) == schedule.peak == 8

    def test_refuses_figures_without_the_one_that_it_watches(self) -> None:
        schedule = OnPlateau(8.0, patience=0)
        assert said(schedule.observe, {"loss": 1.0}) == (
            "watching 'validation_loss' expects one of the figures loss; "
            "give validation data to fit"
        )
        assert schedule(0) == 8

    @pytest.mark.parametrize("before", [0, 1, 2, 3, 5])
    def test_goes_on_from_its_state_as_if_it_had_never_stopped(self, before: int) -> None:
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
            ({}, "OnPlateau expects a state with monitor, rate, got none of rate, watch"),
            (
                {"rate": -1, "monitor": {"best": None, "waited": 0}},
                "OnPlateau expects rate to be a finite number >= 0, got -1",
            ),
            ({"rate": 1.0, "watch": None}, "Monitor expects a state, got none"),
        ],
    )
    def test_refuses_what_is_no_state_of_it(self, state: Any, sentence: str) -> None:
        schedule = OnPlateau(8.0)
        before = schedule.state_dict()
        assert said(schedule.check_state_dict, state) == sentence
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
    def test_have_nothing_to_keep(self, schedule: Schedule) -> None:
        assert schedule.state_dict() == {}
        schedule.load_state_dict({})

    def test_refuse_a_state_that_is_not_empty(self, schedule: Schedule) -> None:
        name = "Constant" if isinstance(schedule, LinearWarmUp) else type(schedule).__name__
        sentence = f"{name} expects a state with nothing, got rate"
        assert said(schedule.check_state_dict, {"rate": 1.0}) == sentence
        assert said(schedule.check_state_dict, None) == f"{name} expects a state, got none"

    def test_do_not_care_for_figures(self, schedule: Schedule) -> None:
        before = [schedule(step) for step in range(5)]
        schedule.observe({"loss": math.nan})
        assert [schedule(step) for step in range(5)] == before


NUMBER, NUMBER_FROM_1 = "to be a finite number >= 0", "to be a finite number >= 1"
WHOLE, SHARE = "to be a whole number >= 1", "from 0 to 1"
CYCLE = {"peak": 1, "steps": 1}
WRONG: list[tuple[Callable[..., Schedule], dict[str, Any], str, str, list[Any]]] = [
    (Constant, {}, "rate", NUMBER, [-1, math.nan, math.inf, "x"]),
    (StepDecay, {"every": 1}, "rate", NUMBER, [-1, None]),
    (StepDecay, {"rate": 1}, "every", WHOLE, [0, 1.5, None]),
    (StepDecay, {"rate": 1, "every": 1}, "factor", SHARE, [1.1, 2]),
    (StepDecay, {"rate": 1, "every": 1}, "factor", NUMBER, [-0.1, math.nan]),
    (Exponential, {"factor": 1}, "rate", NUMBER, [-1]),
    (Exponential, {"rate": 1}, "factor", SHARE, [1.5]),
    (Cosine, {"steps": 1}, "rate", NUMBER, [-1]),
    (Cosine, {"rate": 1}, "steps", WHOLE, [0, 2.0]),
    (Cosine, {"rate": 1, "steps": 1}, "final", NUMBER, [-1]),
    (LinearWarmUp, {"then": 1.0}, "steps", WHOLE, [0, "x"]),
    (OneCycle, {"steps": 1}, "peak", NUMBER, [-1]),
    (OneCycle, {"peak": 1}, "steps", WHOLE, [0]),
    (OneCycle, CYCLE, "warm_up", SHARE, [1.01]),
    (OneCycle, CYCLE, "start_divisor", NUMBER_FROM_1, [0.9]),
    (OneCycle, CYCLE, "end_divisor", NUMBER_FROM_1, [0.9]),
    (OnPlateau, {}, "rate", NUMBER, [-1]),
    (OnPlateau, {"rate": 1}, "factor", SHARE, [1.01]),
    (OnPlateau, {"rate": 1}, "patience", "to be a whole number >= 0", [-1, 0.5]),
    (OnPlateau, {"rate": 1}, "lowest", NUMBER, [-1]),
]


@pytest.mark.parametrize(("make", "others", "name", "wanted", "values"), WRONG)
def test_wrong_arguments_are_refused(
    make: Any, others: dict[str, Any], name: str, wanted: str, values: list[Any]
) -> None:
    for value in values:
        assert said(make, **others | {name: value}) == (
            f"{make.__name__} expects {name} {wanted}, got {value!r}"
        )


def test_other_things_to_build_on_are_refused() -> None:
    wrong: Any = "later"
    assert said(LinearWarmUp, 2, then=wrong) == (
        "Constant expects rate to be a finite number >= 0, got 'later'"
    )
    assert said(OnPlateau, 0.1, monitor=3) == "Monitor expects the name of a figure, got 3"


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        (Constant(0.1), "Constant(rate=0.1)"),
        (StepDecay(0.1, every=2), "StepDecay(rate=0.1, every=2, factor=0.1)"),
        (Exponential(1, factor=0.5), "Exponential(rate=1.0, factor=0.5)"),
        (Cosine(0.1, steps=3), "Cosine(rate=0.1, steps=3, final=0.0)"),
        (
            LinearWarmUp(3, then=Cosine(0.1, steps=3)),
            "LinearWarmUp(steps=3, then=Cosine(rate=0.1, steps=3, final=0.0))",
        ),
        (OneCycle(0.1, steps=3), "OneCycle(peak=0.1, steps=3, warm_up=0.3)"),
        (OnPlateau(0.1), "OnPlateau(rate=0.1, factor=0.1, patience=10, lowest=0.0)"),
    ],
)
def test_repr_tells_the_arguments(schedule: Schedule, text: str) -> None:
    assert repr(schedule) == text
