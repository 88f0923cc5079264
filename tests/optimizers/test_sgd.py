from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optimizer_formulas import (
    Choice,
    check_in_float32,
    check_in_float64,
    error_after_100_steps_in_float32,
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


class TestFormula:
    @settings(max_examples=15)
    @given(options, rates, rules, seeds)
    def test_sgd_follows_its_formula_in_float64(
        self, options: dict[str, Any], rate: Choice, rule: Choice, seed: int
    ) -> None:
        check_in_float64(SGD, sgd, options, rate, rule, seed=seed)

    @settings(max_examples=15)
    @given(options, rates, rules, seeds)
    def test_each_sgd_step_in_float32_is_that_of_the_formula(
        self, options: dict[str, Any], rate: Choice, rule: Choice, seed: int
    ) -> None:
        check_in_float32(SGD, sgd, options, rate, rule, seed=seed)

    @pytest.mark.parametrize("momentum", [0.0, 0.9])
    def test_100_sgd_steps_in_float32_stay_within_a_millionth(self, momentum: float) -> None:
        # Each step rounds the values by up to 2⁻²⁴ of their size, in total up to 6e-6 over 100
        # steps. Over 150 drawn settings the error was 3e-7 as a rule, and 7e-7 at most.
        options = {"momentum": momentum, "l2": 0.01, "weight_decay": 0.01, "clip_norm": 2.0}
        rate, rule = Choice(0.05, lambda _t: 0.05), Choice(None, {})
        assert error_after_100_steps_in_float32(SGD, sgd, options, rate, rule, seed=0) < 1e-6


class TestMomentum:
    def test_momentum_keeps_a_fraction_of_the_velocity(self) -> None:
        w = one(grad=1.0)
        optimizer = SGD([w], 0.5, momentum=0.5)
        optimizer.step()
        w.grad = np.zeros(1, np.float32)
        optimizer.step()
        optimizer.step()
        assert w.value.tolist() == [1 - 0.5 - 0.25 - 0.125]

    def test_nesterov_momentum_looks_one_step_ahead(self) -> None:
        w = one(grad=1.0)
        SGD([w], 0.5, momentum=0.5, nesterov=True).step()
        assert w.value.tolist() == [1 - 0.5 * 1.5]

    def test_momentum_may_be_turned_on_between_steps(self) -> None:
        w = one()
        optimizer = SGD([w], 0.25)
        optimizer.step()
        optimizer.momentum = 0.5
        optimizer.step()
        optimizer.step()
        assert w.value.tolist() == [1 - 0.25 - 0.25 - 0.25 * 1.5]

    def test_momentum_may_be_turned_off_between_steps_also_with_nesterov(self) -> None:
        w = one()
        optimizer = SGD([w], 0.25, momentum=0.5, nesterov=True)
        optimizer.momentum = 0
        optimizer.step()
        assert w.value.tolist() == [0.75]
        assert optimizer.state_dict()["slots"]["0"]["velocity"].tolist() == [0]

    def test_the_velocity_does_not_contain_the_rate(self) -> None:
        w = one()
        optimizer = SGD([w], 0.5, momentum=0.5)
        optimizer.step()
        optimizer.learning_rate = 0.25
        optimizer.step()
        assert w.value.tolist() == [1 - 0.5 - 0.25 * 1.5]


class TestSettings:
    def test_nesterov_without_momentum_is_refused(self) -> None:
        with pytest.raises(InputError) as error:
            SGD([one()], 0.1, nesterov=True)
        assert str(error.value) == "SGD expects momentum > 0 with nesterov=True, got momentum=0"

    @pytest.mark.parametrize("value", [1, None, "yes", 0.9])
    def test_nesterov_other_than_true_or_false_is_refused(self, value: Any) -> None:
        optimizer = SGD([one()], 0.1, momentum=0.9, nesterov=True)
        with pytest.raises(InputError) as error:
            optimizer.nesterov = value
        assert str(error.value) == f"SGD expects nesterov to be True or False, got {value!r}"
        assert optimizer.nesterov is True

    @pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "fast", None])
    def test_momentum_other_than_a_non_negative_number_is_refused(self, value: Any) -> None:
        sentence = rf"^SGD expects momentum to be a finite number >= 0, got {value!r}$"
        with pytest.raises(InputError, match=sentence):
            SGD([one()], 0.1, momentum=value)
        optimizer = SGD([one()], 0.1, momentum=0.5)
        with pytest.raises(InputError, match=sentence):
            optimizer.momentum = value
        assert optimizer.momentum == 0.5

    def test_repr_shows_momentum_and_nesterov(self) -> None:
        assert repr(SGD([one()], 0.1, momentum=0.9, nesterov=True)) == (
            "SGD(1 parameters, 0.1, momentum=0.9, nesterov=True)"
        )
