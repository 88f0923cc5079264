import copy
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tinynet import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Array,
    Dense,
    InputError,
    Optimizer,
    Parameter,
    RMSprop,
    no_decay_on_biases_and_norms,
)
from tinynet.optimizers.schedules import Constant, Cosine, LinearWarmUp, OnPlateau, Schedule

Slots = dict[str, Array]


class Plain(Optimizer):
    """The simplest optimizer: plain gradient descent, which keeps the last gradient in `seen`."""

    seen: Array = np.zeros(0)

    def direction(self, grad: Array, slots: Slots) -> Array:
        assert not slots
        self.seen = grad
        return grad


def one(value: float = 1.0, grad: float | None = 1.0) -> Parameter:
    parameter = Parameter([value])
    parameter.grad = None if grad is None else np.array([grad], np.float32)
    return parameter


def error_of(do: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(InputError) as error:
        do(*args, **kwargs)
    return str(error.value)


class TestStep:
    def test_a_step_subtracts_the_rate_times_the_direction(self) -> None:
        w = one(grad=3.0)
        Plain([w], 0.25).step()
        assert w.value.tolist() == [0.25]

    def test_a_step_updates_values_in_place_and_leaves_gradients(self) -> None:
        w = one()
        value, grad = w.value, w.grad
        settings: Any = {"weight_decay": 0.1, "l2": 0.1, "clip_norm": 0.5, "clip_value": 0.9}
        SGD([w], 0.5, momentum=0.9, **settings).step()
        assert w.value is value
        assert w.grad is grad
        assert grad is not None
        assert grad.tolist() == [1]

    @pytest.mark.parametrize("kind", [SGD, Adam, AdamW, RMSprop, Adagrad])
    def test_a_parameter_without_axes_is_updated_like_an_array(self, kind: Any) -> None:
        alone, among = Parameter(2.0), Parameter([2.0])
        for w in (alone, among):
            w.grad = np.full(w.value.shape, 0.5, np.float32)
            optimizer = kind([w], 0.1)
            optimizer.step()
            optimizer.step()
        assert alone.value.shape == ()
        assert alone.value == among.value[0] != 2

    def test_a_gradient_may_be_a_list_or_integers(self) -> None:
        w: Any = one()
        w.grad = [2.0]
        SGD([w], 0.25).step()
        assert w.value.tolist() == [0.5]
        w.grad = np.array([100], np.int8)  # whose square is beyond int8
        Adagrad([w], 0.25).step()
        assert w.value.tolist() == [0.25]

    def test_a_gradient_may_have_another_float_dtype_than_its_value(self) -> None:
        single, double = one(), Parameter([1.0], np.float64)
        single.grad, double.grad = np.ones(1, np.float64), np.ones(1, np.float32)
        SGD([single, double], 0.5, momentum=0.5).step()
        assert single.value.dtype == np.float32
        assert double.value.dtype == np.float64
        assert single.value.tolist() == double.value.tolist() == [0.5]

    @pytest.mark.parametrize(
        "grad", [None, np.ones((1, 1)), np.float64(1), np.ones(2), np.ones(1, complex), ["1"]]
    )
    def test_a_step_with_a_wrong_gradient_is_refused_and_changes_nothing(self, grad: Any) -> None:
        first, second = one(), one()
        second.grad = grad
        optimizer = SGD([first, second], 0.5, momentum=0.9)
        got = f"{np.shape(grad)} of {np.asarray(grad).dtype}"
        if grad is None:
            got = "none: run backward first"
        assert error_of(optimizer.step) == (
            f"SGD expects a gradient of shape (1,) for parameter 1, got {got}"
        )
        assert first.value.tolist() == [1]
        assert optimizer.steps == 0
        second.grad = np.ones(1, np.float32)
        optimizer.step()
        assert first.value.tolist() == second.value.tolist() == [0.5]

    def test_a_read_only_value_is_refused_and_nothing_is_changed(self) -> None:
        first, second = one(), one()
        optimizer = SGD([("w", first), ("b", second)], 0.5, momentum=0.9)
        second.value.setflags(write=False)
        sentence = "SGD expects a writable parameter b, got a read-only array"
        assert error_of(optimizer.step) == sentence
        assert first.value.tolist() == [1]

    def test_steps_are_counted(self) -> None:
        optimizer = Plain([one()], 0.5)
        assert optimizer.steps == 0
        optimizer.step()
        optimizer.step()
        assert optimizer.steps == 2

    def test_without_decay_the_step_does_not_depend_on_the_value(self) -> None:
        weight = Parameter([np.inf, 1.0])
        weight.grad = np.array([1.0, 1.0], np.float32)
        SGD([weight], 0.5).step()
        assert weight.value.tolist() == [np.inf, 0.5]


class TestRate:
    def test_the_learning_rate_may_be_changed_between_steps(self) -> None:
        w = one()
        optimizer = Plain([w], 0.5)
        optimizer.step()
        optimizer.learning_rate = 0.25
        assert optimizer.rate == 0.25
        optimizer.step()
        assert w.value.tolist() == [0.25]

    def test_a_rate_function_is_called_once_per_step_counted_from_0(self) -> None:
        steps: list[int] = []

        def rate(step: int) -> float:
            steps.append(step)
            return 0.5 if step == 1 else 0.25

        w = one()
        optimizer = Plain([w], rate)
        for _ in range(3):
            optimizer.step()
        assert steps == [0, 1, 2]
        assert w.value.tolist() == [1 - 0.25 - 0.5 - 0.25]
        assert optimizer.rate == 0.25
        assert steps == [0, 1, 2, 3]

    @pytest.mark.parametrize("rate", [-0.1, math.nan, math.inf, "fast", None])
    def test_a_wrong_rate_from_a_function_is_refused_and_changes_nothing(self, rate: Any) -> None:
        w = one()
        optimizer = Plain([w], lambda _step: rate)
        sentence = f"Plain expects learning_rate to be a finite number >= 0, got {rate!r}"
        assert error_of(optimizer.step) == sentence
        assert error_of(lambda: optimizer.rate) == sentence
        assert w.value.tolist() == [1]
        assert optimizer.steps == 0


class TestDecay:
    def test_l2_decay_is_part_of_the_gradient(self) -> None:
        w = one(2.0, grad=1.0)
        optimizer = Plain([w], 0.5, l2=0.25)
        optimizer.step()
        assert optimizer.seen.tolist() == [1.5]
        assert w.value.tolist() == [2 - 0.75]

    def test_weight_decay_is_not_part_of_the_gradient(self) -> None:
        w = one(2.0, grad=1.0)
        optimizer = Plain([w], 0.5, weight_decay=0.25)
        optimizer.step()
        assert optimizer.seen.tolist() == [1]
        assert w.value.tolist() == [2 - 0.5 * (1 + 0.5)]

    def test_l2_and_weight_decay_use_the_value_before_the_step(self) -> None:
        w = one(2.0, grad=1.0)
        Plain([w], 0.5, l2=0.5, weight_decay=0.25).step()
        assert w.value.tolist() == [2 - 0.5 * (1 + 1 + 0.5)]

    def test_l2_is_added_after_clipping(self) -> None:
        w = one(2.0, grad=4.0)
        Plain([w], 0.5, l2=0.5, clip_value=1, clip_norm=0.5).step()
        assert w.value.tolist() == [2 - 0.5 * (0.5 + 1)]


class TestClipping:
    def test_clip_value_bounds_each_entry(self) -> None:
        w = Parameter([0.0, 0.0, 0.0])
        w.grad = np.array([-3.0, 0.25, 2.0], np.float32)
        optimizer = Plain([w], 1.0, clip_value=0.5)
        optimizer.step()
        assert w.value.tolist() == [0.5, -0.25, -0.5]
        assert math.isnan(optimizer.gradient_norm)

    def test_clip_norm_bounds_the_norm_of_all_gradients_together(self) -> None:
        first, second = one(0.0, grad=3.0), one(0.0, grad=-4.0)
        optimizer = Plain([first, second], 1.0, clip_norm=2.5)
        assert math.isnan(optimizer.gradient_norm)
        optimizer.step()
        assert (first.value.tolist(), second.value.tolist()) == ([-1.5], [2.0])
        assert optimizer.gradient_norm == 5

    @pytest.mark.parametrize("bound", [5.0, 7.0])
    def test_clip_norm_leaves_gradients_within_the_bound_as_they_are(self, bound: float) -> None:
        w = Parameter([0.0, 0.0])
        w.grad = np.array([3.0, 4.0], np.float32)
        optimizer = Plain([w], 1.0, clip_norm=bound)
        optimizer.step()
        assert w.value.tolist() == [-3, -4]
        assert optimizer.seen is w.grad
        assert optimizer.gradient_norm == 5

    def test_clip_norm_applies_after_clip_value(self) -> None:
        w = Parameter([0.0, 0.0])
        w.grad = np.array([9.0, -4.0], np.float32)
        optimizer = Plain([w], 1.0, clip_value=4, clip_norm=math.sqrt(2))
        optimizer.step()
        np.testing.assert_allclose(w.value, [-1, 1], rtol=1e-6)
        assert optimizer.gradient_norm == math.sqrt(32)

    def test_clip_norm_handles_gradients_whose_square_overflows_float32(self) -> None:
        w = Parameter([0.0, 0.0])
        w.grad = np.array([3e30, -4e30], np.float32)
        optimizer = Plain([w], 1.0, clip_norm=1)
        optimizer.step()
        np.testing.assert_allclose(w.value, [-0.6, 0.8], rtol=1e-6)
        assert optimizer.gradient_norm == pytest.approx(5e30, rel=1e-6)

    def test_clipping_leaves_a_gradient_of_zero_at_zero(self) -> None:
        w = one(grad=0.0)
        optimizer = Plain([w], 1.0, clip_norm=0, clip_value=0)
        optimizer.step()
        assert w.value.tolist() == [1]
        assert optimizer.gradient_norm == 0

    def test_clipping_may_be_turned_on_and_off_between_steps(self) -> None:
        w = one(0.0, grad=4.0)
        optimizer = Plain([w], 1.0)
        optimizer.clip_norm = 2.0
        optimizer.step()
        optimizer.clip_norm, optimizer.clip_value = None, 1.0
        optimizer.step()
        optimizer.clip_value = None
        optimizer.step()
        assert w.value.tolist() == [-2 - 1 - 4]


class TestSettings:
    @pytest.mark.parametrize("name", ["learning_rate", "l2", "weight_decay"])
    @pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "fast", None])
    def test_wrong_settings_are_refused_in_the_constructor_and_on_assignment(
        self, name: str, value: Any
    ) -> None:
        sentence = f"Plain expects {name} to be a finite number >= 0, got {value!r}"
        wrong: Any = {"learning_rate": 0.1} | {name: value}
        right: Any = {"learning_rate": 0.1} | {name: 0.5}
        assert error_of(Plain, [one()], **wrong) == sentence
        optimizer = Plain([one()], **right)
        assert error_of(setattr, optimizer, name, value) == sentence
        assert getattr(optimizer, name) == 0.5

    @pytest.mark.parametrize("name", ["clip_norm", "clip_value"])
    @pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "short"])
    def test_clipping_settings_are_non_negative_numbers_or_none(
        self, name: str, value: Any
    ) -> None:
        sentence = f"Plain expects {name} to be a finite number >= 0, got {value!r}"
        bounds: Any = {name: value}
        assert error_of(Plain, [one()], 0.1, **bounds) == sentence
        optimizer = Plain([one()], 0.1)
        assert getattr(optimizer, name) is None
        assert error_of(setattr, optimizer, name, value) == sentence
        assert getattr(optimizer, name) is None

    def test_settings_are_kept_as_python_floats(self) -> None:
        half: Any = np.float32(0.5)
        optimizer = Plain([one()], 1, l2=half, clip_norm=2)
        settings = (optimizer.learning_rate, optimizer.l2, optimizer.clip_norm)
        assert repr(settings) == "(1.0, 0.5, 2.0)"

    def test_repr_shows_settings_that_differ_from_their_defaults(self) -> None:
        assert repr(Plain([one()], 0)) == "Plain(1 parameters, 0)"
        optimizer = Plain(
            [one(), one()], Constant(0.1), l2=0.1, weight_decay=0.2, clip_norm=3, clip_value=4
        )
        assert repr(optimizer) == (
            "Plain(2 parameters, Constant(0.1), "
            "l2=0.1, weight_decay=0.2, clip_norm=3, clip_value=4)"
        )


class TestParameters:
    def test_parameters_may_come_from_any_iterable(self) -> None:
        layer = Dense(2, 1)
        optimizer = Plain((p for p in layer.parameters()), 0.1)
        assert optimizer.parameters == tuple(layer.parameters())
        assert optimizer.names == ("0", "1")

    def test_parameters_keep_the_names_given_with_them(self) -> None:
        layer = Dense(2, 1)
        optimizer = Plain(layer.named_parameters(), 0.1)
        assert optimizer.names == ("weight", "bias")
        assert optimizer.named_parameters() == [("weight", layer.weight), ("bias", layer.bias)]

    @pytest.mark.parametrize(
        "wrong",
        [
            [],
            [1],
            Dense(1, 1),
            None,
            one(),
            [one(), np.ones(2)],
            [("w", 1)],
            [(1, one())],
            [("w", one(), 2)],
            {"w": one()},
        ],
    )
    def test_arguments_that_are_not_parameters_are_refused(self, wrong: Any) -> None:
        assert error_of(SGD, wrong, 0.1) == (
            f"SGD expects parameters, as model.parameters(), got {wrong!r}"
        )

    def test_a_parameter_or_name_given_twice_is_refused(self) -> None:
        w = one()
        sentence = "SGD expects each parameter once, got one twice in ["
        assert error_of(SGD, [w, one(), w], 0.1).startswith(sentence)
        assert error_of(SGD, [("a", w), ("b", w)], 0.1).startswith(sentence)
        assert error_of(SGD, [("a", one()), ("a", one())], 0.1).startswith(sentence)


class TestRule:
    def test_no_decay_on_biases_and_norms_turns_decay_off_below_two_axes(self) -> None:
        weight, bias = Parameter([[2.0]]), Parameter([2.0])
        assert no_decay_on_biases_and_norms("w", weight) == {}
        assert no_decay_on_biases_and_norms("b", bias) == {"l2": 0, "weight_decay": 0}
        assert no_decay_on_biases_and_norms("g", Parameter(2.0)) == {"l2": 0, "weight_decay": 0}
        for w in (weight, bias):
            w.grad = np.ones_like(w.value)
        optimizer = Plain(
            [weight, bias], 0.5, l2=0.25, weight_decay=0.5, rule=no_decay_on_biases_and_norms
        )
        optimizer.step()
        assert (weight.value.tolist(), bias.value.tolist()) == ([[2 - 0.5 * 2.5]], [1.5])

    def test_a_rule_gives_parameters_their_own_rate_and_decay(self) -> None:
        own: dict[str, dict[str, float]] = {
            "slow": {"rate_scale": 0.25},
            "l2": {"l2": 1.0},
            "decay": {"weight_decay": 1.0},
            "fixed": {"rate_scale": 0},
            "plain": {},
        }
        parameters = {name: one(2.0) for name in own}
        given: list[Parameter] = []

        def rule(name: str, parameter: Parameter) -> dict[str, float]:
            given.append(parameter)
            return own[name]

        optimizer = Plain(parameters.items(), 0.5, l2=0.5, weight_decay=0.25, rule=rule)
        assert given == list(parameters.values())
        optimizer.step()
        assert {name: p.value.item() for name, p in parameters.items()} == {
            "slow": 2 - 0.125 * (1 + 1 + 0.5),
            "l2": 2 - 0.5 * (1 + 2 + 0.5),
            "decay": 2 - 0.5 * (1 + 1 + 2),
            "fixed": 2,
            "plain": 2 - 0.5 * (1 + 1 + 0.5),
        }

    @pytest.mark.parametrize(
        "nonsense", [None, 3, ["l2"], {"l1": 0.1}, {"l2": 0.1, "momentum": 0.9}, {1: 0.1}]
    )
    def test_a_rule_that_returns_other_keys_or_no_dict_is_refused(self, nonsense: Any) -> None:
        assert error_of(Plain, [("w", one())], 0.1, rule=lambda _name, _parameter: nonsense) == (
            "Plain expects a rule to give a dict of l2, weight_decay and rate_scale, "
            f"got {nonsense!r} for w"
        )

    @pytest.mark.parametrize("key", ["l2", "weight_decay", "rate_scale"])
    @pytest.mark.parametrize("value", [-1, math.nan, None, "much"])
    def test_a_rule_that_returns_wrong_numbers_is_refused(self, key: str, value: Any) -> None:
        assert error_of(Plain, [one()], 0.1, rule=lambda _name, _parameter: {key: value}) == (
            f"Plain expects {key} to be a finite number >= 0, got {value!r}"
        )


Make = Callable[[list[tuple[str, Parameter]], Any], Optimizer]

MAKE: dict[str, tuple[Make, Make]] = {  # each with another one of its kind, with other settings
    "SGD": (lambda p, r: SGD(p, r, l2=0.1, clip_norm=1), lambda p, r: SGD(p, r)),
    "momentum": (
        lambda p, r: SGD(p, r, momentum=0.9, weight_decay=0.1),
        lambda p, r: SGD(p, r, momentum=0.5, nesterov=True),
    ),
    "Nesterov": (
        lambda p, r: SGD(p, r, momentum=0.9, nesterov=True, clip_value=0.5),
        lambda p, r: SGD(p, r, clip_value=0.7, clip_norm=9),
    ),
    "Adam": (lambda p, r: Adam(p, r, betas=(0.8, 0.9)), lambda p, r: Adam(p, r, eps=1)),
    "AdamW": (lambda p, r: AdamW(p, r, l2=0.1), lambda p, r: AdamW(p, r, weight_decay=1)),
    "RMSprop": (lambda p, r: RMSprop(p, r, alpha=0.9), lambda p, r: RMSprop(p, r, eps=1)),
    "Adagrad": (lambda p, r: Adagrad(p, r, eps=0.1), lambda p, r: Adagrad(p, r)),
}


def falling(step: int) -> float:
    return 0.1 / (step + 1)


RATES: dict[str, Callable[[], Any]] = {
    "a number": lambda: 0.05,
    "a function": lambda: falling,
    "Cosine": lambda: Cosine(0.1, steps=60),
    "OnPlateau": lambda: OnPlateau(0.1, patience=1, factor=0.5, monitor="loss"),
    "a warm-up before OnPlateau": lambda: LinearWarmUp(
        25, then=OnPlateau(0.1, patience=0, factor=0.5, monitor="loss")
    ),
}


class Run:
    """Three parameters, and gradients that depend on them and on the step."""

    def __init__(self, make: Make, rate: Any) -> None:
        rng = np.random.default_rng(0)
        shapes: dict[str, tuple[int, ...]] = {"w": (3, 2), "b": (2,), "g": ()}
        self.named = [(n, Parameter(rng.standard_normal(s))) for n, s in shapes.items()]
        self.optimizer = make(self.named, rate)

    def train(self, steps: range) -> None:
        for step in steps:
            rng = np.random.default_rng((1, step))
            for _, p in self.named:
                noise = rng.standard_normal(p.value.shape).astype(np.float32)
                p.grad = p.value + noise
            self.optimizer.step()
            rate = self.optimizer.learning_rate
            if step % 5 == 4 and isinstance(rate, Schedule):
                rate.observe({"loss": float(rng.standard_normal())})

    def bits(self) -> list[bytes]:
        slots = self.optimizer.state_dict()["slots"].values()
        slot_bits = [array.tobytes() for own in slots for array in own.values()]
        return [p.value.tobytes() for _, p in self.named] + slot_bits


def saved(state: Any) -> Any:
    """A state as a file holds it: copies of the arrays, everything else through JSON."""
    if isinstance(state, np.ndarray):
        return state.copy()
    if isinstance(state, dict):
        return {name: saved(value) for name, value in state.items()}
    return json.loads(json.dumps(state))


def plain(state: Any) -> Any:
    """A state that can be compared by ==."""
    if isinstance(state, np.ndarray):
        return (state.dtype, state.tolist())
    if isinstance(state, dict):
        return {name: plain(value) for name, value in state.items()}
    return list(state) if isinstance(state, tuple) else state


class TestState:
    @pytest.mark.parametrize("rate", RATES)
    @pytest.mark.parametrize("name", MAKE)
    def test_a_restored_optimizer_continues_to_the_same_bits(self, name: str, rate: str) -> None:
        make, make_other = MAKE[name]
        whole = Run(make, RATES[rate]())
        whole.train(range(20))
        state = saved(whole.optimizer.state_dict())
        values = [p.value.copy() for _, p in whole.named]
        whole.train(range(20, 70))

        other_rate = 0.3 if rate == "a number" else RATES[rate]()
        resumed = Run(make_other, other_rate)
        resumed.train(range(3))
        resumed.optimizer.check_state_dict(state)
        resumed.optimizer.load_state_dict(state)
        assert resumed.optimizer.steps == 20
        for (_, parameter), value in zip(resumed.named, values, strict=True):
            parameter.value[...] = value
        resumed.train(range(20, 70))
        assert resumed.bits() == whole.bits()
        assert plain(resumed.optimizer.state_dict()) == plain(whole.optimizer.state_dict())
        assert resumed.optimizer.rate == whole.optimizer.rate

    def test_state_dict_holds_the_slot_arrays_themselves_and_every_setting(self) -> None:
        w = one(grad=2.0)
        optimizer = SGD([("w", w)], 0.5, momentum=0.5, l2=0.25)
        before = optimizer.state_dict()
        optimizer.step()
        state = optimizer.state_dict()
        velocity = state["slots"]["w"]["velocity"]
        assert velocity is before["slots"]["w"]["velocity"]
        assert state == {
            "kind": "SGD",
            "steps": 1,
            "learning_rate": 0.5,
            "settings": {
                "l2": 0.25,
                "weight_decay": 0.0,
                "clip_norm": None,
                "clip_value": None,
                "momentum": 0.5,
                "nesterov": False,
            },
            "slots": {"w": {"velocity": velocity}},
        }
        assert velocity.tolist() == [2.25]

    def test_state_of_a_rate_is_its_number_or_the_schedule_state_or_none(self) -> None:
        for rate, expected in (
            (0.5, 0.5),
            (falling, None),
            (Cosine(0.1, steps=3), {}),
            (OnPlateau(0.1), {"rate": 0.1, "monitor": {"best": None, "waited": 0}}),
        ):
            assert SGD([one()], rate).state_dict()["learning_rate"] == expected

    def test_check_state_dict_changes_nothing_and_load_state_dict_copies(self) -> None:
        run = Run(MAKE["Adam"][0], 0.1)
        run.train(range(3))
        state = saved(run.optimizer.state_dict())
        other = Run(MAKE["Adam"][1], 0.2)
        before = plain(other.optimizer.state_dict())
        other.optimizer.check_state_dict(state)
        assert plain(other.optimizer.state_dict()) == before
        other.optimizer.load_state_dict(state)
        assert plain(other.optimizer.state_dict()) == plain(state)
        for own in state["slots"].values():
            for array in own.values():
                array[...] = 7
        assert plain(other.optimizer.state_dict()) != plain(state)


DELETED = object()


def edits() -> Iterator[tuple[str, Any, str]]:
    """(path in the state, the value put there, or DELETED; the error message)."""
    yield "", None, "Adam expects a state, got none"
    yield (
        "steps",
        DELETED,
        "Adam expects a state with kind, learning_rate, settings, slots and 1 more, "
        "got none of steps",
    )
    yield (
        "more",
        1,
        "Adam expects a state with kind, learning_rate, settings, slots and 1 more, got more",
    )
    yield "kind", "AdamW", "Adam expects the state of Adam, got that of AdamW"
    yield "steps", -1, "Adam expects steps to be a whole number >= 0, got -1"
    yield "steps", 1.0, "Adam expects steps to be a whole number >= 0, got 1.0"
    number = "to be a finite number >= 0, got"
    yield "learning_rate", -1, f"Adam expects learning_rate {number} -1"
    yield "learning_rate", None, f"Adam expects learning_rate {number} None"
    yield "learning_rate", {"rate": 1}, f"Adam expects learning_rate {number} {{'rate': 1}}"
    settings = "Adam expects a state with betas, clip_norm, clip_value, eps and 2 more, got"
    yield "settings", 3, "Adam expects a state, got 3"
    yield "settings/eps", DELETED, f"{settings} none of eps"
    yield "settings/alpha", 0.5, f"{settings} alpha"
    yield "settings/l2", math.nan, f"Adam expects l2 {number} nan"
    yield "settings/eps", None, f"Adam expects eps {number} None"
    yield "settings/betas", [1, 2, 3], "Adam expects betas to be two numbers, got [1, 2, 3]"
    yield (
        "settings/betas",
        [0.5, 1],
        "Adam expects each of betas to be a finite number >= 0 and < 1, got 1",
    )
    yield "slots", None, "Adam expects a state, got none"
    yield "slots/b", DELETED, "Adam expects a state with b, w, got none of b"
    yield "slots/b", None, "Adam for b expects a state, got none"
    slots = "Adam for b expects a state with mean, mean_square, got"
    yield "slots/b/mean", DELETED, f"{slots} none of mean"
    yield "slots/b/velocity", np.zeros(2, np.float32), f"{slots} velocity"
    mean = "Adam for b, mean, expects float32 of shape (2,), got"
    yield "slots/b/mean", np.zeros(3, np.float32), f"{mean} float32 of shape (3,)"
    yield "slots/b/mean", np.zeros(2), f"{mean} float64 of shape (2,)"
    yield "slots/b/mean", [0.0, 0.0], f"{mean} [0.0, 0.0]"


class TestWrongState:
    @pytest.mark.parametrize(("path", "value", "message"), list(edits()))
    def test_a_wrong_state_is_refused_with_its_reason_and_changes_nothing(
        self, path: str, value: Any, message: str
    ) -> None:
        def made() -> Optimizer:
            named = [("w", Parameter(np.ones((2, 3)))), ("b", Parameter(np.ones(2)))]
            for _, parameter in named:
                parameter.grad = parameter.value
            return Adam(named, 0.1)

        source, optimizer = made(), made()
        source.step()
        source.l2 = 0.5
        good: Any = saved(source.state_dict())
        wrong: Any = copy.deepcopy(good)
        if path:
            *parents, last = path.split("/")
            parent = wrong
            for key in parents:
                parent = parent[key]
            parent[last] = value
            if value is DELETED:
                del parent[last]
        before = plain(optimizer.state_dict())
        for do in (optimizer.check_state_dict, optimizer.load_state_dict):
            assert error_of(do, wrong if path else value) == message
        assert plain(optimizer.state_dict()) == before
        optimizer.load_state_dict(good)
        assert plain(optimizer.state_dict()) == plain(good)

    def test_a_wrong_schedule_state_is_refused_by_the_schedule(self) -> None:
        state = SGD([one()], 0.1).state_dict()
        assert error_of(SGD([one()], Cosine(0.1, steps=3)).check_state_dict, state) == (
            "Cosine expects a state, got 0.1"
        )
        rate = {"rate": -1, "monitor": {"best": None, "waited": 0}}
        optimizer = SGD([one()], OnPlateau(0.1))
        assert error_of(optimizer.check_state_dict, state | {"learning_rate": rate}) == (
            "OnPlateau expects rate to be a finite number >= 0, got -1"
        )

    def test_a_rate_state_is_refused_when_the_rate_is_a_function(self) -> None:
        optimizer = SGD([one()], falling)
        state = optimizer.state_dict() | {"learning_rate": "x" * 99}
        sentence = (
            r"^SGD\(1 parameters, falling\) expects no state of "
            r"<function falling at \w+>, got 'x{59}$"
        )
        assert re.match(sentence, error_of(optimizer.check_state_dict, state))
        assert optimizer.learning_rate is falling

    def test_a_state_with_a_nesterov_that_is_no_bool_is_refused(self) -> None:
        optimizer = SGD([one()], 0.1)
        state = optimizer.state_dict()
        state["settings"]["nesterov"] = 1
        assert error_of(optimizer.check_state_dict, state) == (
            "SGD expects nesterov to be True or False, got 1"
        )
