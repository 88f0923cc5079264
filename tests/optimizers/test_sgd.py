from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optimizer_formulas import (
    Choice,
    follow_in_float32,
    follow_in_float64,
    gap_in_float32,
    rates,
    rules,
    sgd,
    shared,
)

from tinynet import SGD, InputError, Parameter
from tinynet.testing import seeds

own = st.sampled_from(
    [
        {},
        {"momentum": 0.0, "nesterov": False},
        {"momentum": 0.5},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
    ]
)
options = st.builds(lambda a, b: a | b, own, shared)


def one(value: float = 1.0, grad: float = 1.0) -> Parameter:
    parameter = Parameter([value])
    parameter.grad = np.array([grad], np.float32)
    return parameter


class TestAHundredSteps:
    @settings(max_examples=20)
    @given(options, rates, rules, seeds)
    def test_are_the_formula_in_float64(
        self, options: dict[str, Any], rate: Choice, rule: Choice, seed: int
    ) -> None:
        follow_in_float64(SGD, sgd, options, rate, rule, seed=seed)

    @settings(max_examples=20)
    @given(options, rates, rules, seeds)
    def test_are_the_formula_in_float32_each_by_itself(
        self, options: dict[str, Any], rate: Choice, rule: Choice, seed: int
    ) -> None:
        follow_in_float32(SGD, sgd, options, rate, rule, seed=seed)

    @pytest.mark.parametrize("momentum", [0.0, 0.9])
    def test_in_float32_end_within_a_millionth(self, momentum: float) -> None:
        # Each step rounds the numbers by up to 2⁻²⁴ of their size. That may add up to 6e-6 over a
        # hundred steps; over 150 drawn settings it came to 3e-7 as a rule, and 7e-7 at most.
        options = {"momentum": momentum, "l2": 0.01, "weight_decay": 0.01, "clip_norm": 2.0}
        rate, rule = Choice(0.05, lambda _t: 0.05), Choice(None, {})
        assert gap_in_float32(SGD, sgd, options, rate, rule, seed=0) < 1e-6


class TestMomentum:
    def test_is_the_speed_that_is_left(self) -> None:
        w = one(grad=1.0)
        optimizer = SGD([w], 0.5, momentum=0.5)
        optimizer.step()
        w.grad = np.zeros(1, np.float32)
        optimizer.step()
        optimizer.step()
        assert w.value.tolist() == [1 - 0.5 - 0.25 - 0.125]

    def test_with_nesterov_looks_one_step_ahead(self) -> None:
        w = one(grad=1.0)
        SGD([w], 0.5, momentum=0.5, nesterov=True).step()
        assert w.value.tolist() == [1 - 0.5 * 1.5]

    def test_may_be_turned_on_later(self) -> None:
        w = one()
        optimizer = SGD([w], 0.25)
        optimizer.step()
        optimizer.momentum = 0.5
        optimizer.step()
        optimizer.step()
        assert w.value.tolist() == [1 - 0.25 - 0.25 - 0.25 * 1.5]

    def test_may_be_turned_off_later_also_with_nesterov(self) -> None:
        w = one()
        optimizer = SGD([w], 0.25, momentum=0.5, nesterov=True)
        optimizer.momentum = 0
        optimizer.step()
        assert w.value.tolist() == [0.75]
        assert optimizer.state_dict()["slots"]["0"]["velocity"].tolist() == [0]

    def test_keeps_the_speed_out_of_the_rate(self) -> None:
        w = one()
        optimizer = SGD([w], 0.5, momentum=0.5)
        optimizer.step()
        optimizer.learning_rate = 0.25
        optimizer.step()
        assert w.value.tolist() == [1 - 0.5 - 0.25 * 1.5]


class TestSettings:
    def test_nesterov_needs_momentum(self) -> None:
        with pytest.raises(InputError) as error:
            SGD([one()], 0.1, nesterov=True)
        assert str(error.value) == "SGD expects momentum > 0 with nesterov=True, got momentum=0"

    @pytest.mark.parametrize("value", [1, None, "yes", 0.9])
    def test_nesterov_is_true_or_false(self, value: Any) -> None:
        optimizer = SGD([one()], 0.1, momentum=0.9, nesterov=True)
        with pytest.raises(InputError) as error:
            optimizer.nesterov = value
        assert str(error.value) == f"SGD expects nesterov to be True or False, got {value!r}"
        assert optimizer.nesterov is True

    @pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "fast", None])
    def test_momentum_is_a_number_from_0_on(self, value: Any) -> None:
        sentence = rf"^SGD expects momentum to be a finite number >= 0, got {value!r}$"
        with pytest.raises(InputError, match=sentence):
            SGD([one()], 0.1, momentum=value)
        optimizer = SGD([one()], 0.1, momentum=0.5)
        with pytest.raises(InputError, match=sentence):
            optimizer.momentum = value
        assert optimizer.momentum == 0.5

    def test_are_in_its_repr(self) -> None:
        assert repr(SGD([one()], 0.1, momentum=0.9, nesterov=True)) == (
            "SGD(1 parameters, learning_rate=0.1, momentum=0.9, nesterov=True)"
        )
