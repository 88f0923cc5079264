import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optimizer_formulas import (
    Choice,
    adagrad,
    adam,
    check_in_float32,
    check_in_float64,
    error_after_100_steps_in_float32,
    rates,
    rmsprop,
    rules,
    shared,
)

from tinynet import Adagrad, Adam, AdamW, InputError, Optimizer, Parameter, RMSprop
from tinynet.testing import seeds

FORMULAS: dict[type[Optimizer], Any] = {
    Adam: adam,
    AdamW: adam,
    RMSprop: rmsprop,
    Adagrad: adagrad,
}
BETAS = st.sampled_from([(0.9, 0.999), (0.5, 0.9), (0.0, 0.0), [0.9, 0.99]])
OWN: dict[type[Optimizer], dict[str, st.SearchStrategy[Any]]] = {
    Adam: {"betas": BETAS, "eps": st.sampled_from([1e-8, 1e-3])},
    AdamW: {"betas": BETAS, "eps": st.sampled_from([1e-8, 1e-3])},
    RMSprop: {"alpha": st.sampled_from([0.0, 0.5, 0.9]), "eps": st.sampled_from([1e-8, 1e-3])},
    Adagrad: {"eps": st.sampled_from([1e-10, 1e-3])},
}
every_kind = pytest.mark.parametrize("kind", FORMULAS)


def options(data: st.DataObject, kind: type[Optimizer]) -> dict[str, Any]:
    drawn = data.draw(st.fixed_dictionaries({}, optional=OWN[kind])) | data.draw(shared)
    return {"weight_decay": 0.01} | drawn if kind is AdamW else drawn


def one(value: float = 1.0, grad: float = 1.0) -> Parameter:
    parameter = Parameter([value], np.float64)
    parameter.grad = np.array([grad])
    return parameter


class TestFormula:
    @every_kind
    @settings(max_examples=15)
    @given(st.data(), rates, rules, seeds)
    def test_adaptive_optimizers_follow_their_formula_in_float64(
        self, kind: type[Optimizer], data: st.DataObject, rate: Choice, rule: Choice, seed: int
    ) -> None:
        chosen = options(data, kind)
        check_in_float64(kind, FORMULAS[kind], chosen, rate, rule, seed=seed)

    @every_kind
    @settings(max_examples=15)
    @given(st.data(), rates, rules, seeds)
    def test_each_adaptive_step_in_float32_is_that_of_the_formula(
        self, kind: type[Optimizer], data: st.DataObject, rate: Choice, rule: Choice, seed: int
    ) -> None:
        chosen = options(data, kind)
        check_in_float32(kind, FORMULAS[kind], chosen, rate, rule, seed=seed)

    @every_kind
    def test_100_adaptive_steps_in_float32_stay_within_a_millionth(
        self, kind: type[Optimizer]
    ) -> None:
        # Each step rounds the values by up to 2⁻²⁴ of their size, in total up to 6e-6 over 100
        # steps. Over 150 drawn settings the error was 3e-7 as a rule, and 9e-7 at most.
        options = {"l2": 0.01, "weight_decay": 0.01, "clip_norm": 2.0}
        rate, rule = Choice(0.05, lambda _t: 0.05), Choice(None, {})
        assert (
            error_after_100_steps_in_float32(kind, FORMULAS[kind], options, rate, rule, seed=0)
            < 1e-6
        )


class TestDefaults:
    @pytest.mark.parametrize(
        ("kind", "rate", "own"),
        [
            (Adam, 0.001, {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}),
            (AdamW, 0.001, {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}),
            (RMSprop, 0.01, {"alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0}),
            (Adagrad, 0.01, {"eps": 1e-10, "weight_decay": 0.0}),
        ],
    )
    def test_defaults_are_those_of_the_papers(
        self, kind: Any, rate: float, own: dict[str, Any]
    ) -> None:
        optimizer = kind([one()])
        assert optimizer.learning_rate == rate
        assert {name: getattr(optimizer, name) for name in own} == own


class TestFirstStep:
    @every_kind
    def test_a_first_gradient_of_zero_changes_nothing(self, kind: Any) -> None:
        w = one(grad=0.0)
        kind([w], 0.1, weight_decay=0.0).step()
        assert w.value.tolist() == [1]

    @every_kind
    @pytest.mark.parametrize("grad", [1e-3, -5.0, 1e6])
    def test_the_first_step_hardly_depends_on_the_size_of_the_gradient(
        self, kind: Any, grad: float
    ) -> None:
        w = one(grad=grad)
        root = 0.1 if kind is RMSprop else 1.0  # √(1 - alpha)
        kind([w], 0.1 * root, weight_decay=0.0).step()
        assert w.value[0] == pytest.approx(1 - math.copysign(0.1, grad), rel=1e-4)

    @every_kind
    def test_the_first_step_is_divided_by_the_size_of_the_gradient_plus_eps(
        self, kind: Any
    ) -> None:
        w = one(grad=2.0)
        size = 0.2 if kind is RMSprop else 2.0
        kind([w], 0.1, eps=3.0, weight_decay=0.0).step()
        assert w.value[0] == pytest.approx(1 - 0.1 * 2 / (size + 3), rel=1e-12)


class TestDecay:
    @every_kind
    def test_l2_decay_is_scaled_like_the_gradient(self, kind: Any) -> None:
        first, second = one(2.0, grad=1.0), one(2.0, grad=1.5)
        kind([first], 0.1, l2=0.25, weight_decay=0.0).step()
        kind([second], 0.1, weight_decay=0.0).step()
        assert first.value.tolist() == second.value.tolist()

    @every_kind
    def test_weight_decay_does_not_enter_the_slots(self, kind: Any) -> None:
        first, second = one(2.0), one(2.0)
        decaying, plain = kind([first], 0.1, weight_decay=0.25), kind([second], 0.1, weight_decay=0)
        decaying.step()
        plain.step()
        assert first.value[0] == pytest.approx(second.value[0] - 0.1 * 0.25 * 2, rel=1e-14)
        assert decaying.state_dict()["slots"] == plain.state_dict()["slots"]


class TestSettings:
    @pytest.mark.parametrize("kind", [Adam, AdamW])
    @pytest.mark.parametrize(
        "value", [0.9, None, (0.9,), (0.9, 0.99, 0.999), "ab", {0.5: 1, 0.6: 2}]
    )
    def test_betas_other_than_two_numbers_are_refused(self, kind: Any, value: Any) -> None:
        sentence = f"{kind.__name__} expects betas to be two numbers, got {value!r}"
        with pytest.raises(InputError) as error:
            kind([one()], betas=value)
        assert str(error.value) == sentence

    @pytest.mark.parametrize("index", [0, 1])
    @pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "half", None])
    def test_a_wrong_beta_is_refused_and_the_old_ones_stay(self, index: int, value: Any) -> None:
        optimizer = Adam([one()], betas=(0.5, 0.6))
        betas: Any = (value, 0.9) if index == 0 else (0.9, value)
        with pytest.raises(InputError) as error:
            optimizer.betas = betas
        assert str(error.value) == (
            f"Adam expects each of betas to be a finite number >= 0 and < 1, got {value!r}"
        )
        assert optimizer.betas == (0.5, 0.6)

    @pytest.mark.parametrize("betas", [(1.0, 0.9), (0.9, 1.0), (0.9, 1.5)])
    def test_betas_of_1_and_more_are_refused(self, betas: tuple[float, float]) -> None:
        with pytest.raises(InputError) as error:
            Adam([one()], betas=betas)
        assert str(error.value) == (
            f"Adam expects each of betas to be a finite number >= 0 and < 1, got {max(betas)}"
        )

    def test_betas_from_a_list_become_a_tuple_of_floats(self) -> None:
        listed: Any = [0, np.float32(0.5)]
        assert repr(Adam([one()], betas=listed).betas) == "(0.0, 0.5)"

    @pytest.mark.parametrize("value", [1, -0.1, None])
    def test_alpha_outside_of_0_to_below_1_is_refused(self, value: Any) -> None:
        optimizer = RMSprop([one()], alpha=0.5)
        with pytest.raises(InputError) as error:
            optimizer.alpha = value
        assert str(error.value) == (
            f"RMSprop expects alpha to be a finite number >= 0 and < 1, got {value!r}"
        )
        assert optimizer.alpha == 0.5

    @every_kind
    @pytest.mark.parametrize("value", [-1e-8, math.nan, None])
    def test_eps_other_than_a_non_negative_number_is_refused(self, kind: Any, value: Any) -> None:
        with pytest.raises(InputError) as error:
            kind([one()], eps=value)
        assert str(error.value) == (
            f"{kind.__name__} expects eps to be a finite number >= 0, got {value!r}"
        )

    @pytest.mark.parametrize(
        ("optimizer", "text"),
        [
            (Adam([one()]), "Adam(1 parameters)"),
            (
                AdamW([one()], 0.1, betas=(0.5, 0.9)),
                "AdamW(1 parameters, learning_rate=0.1, betas=(0.5, 0.9))",
            ),
            (
                RMSprop([one(), one()], alpha=0, eps=0, l2=0.1),
                "RMSprop(2 parameters, alpha=0, eps=0, l2=0.1)",
            ),
            (Adagrad([one()], clip_norm=1), "Adagrad(1 parameters, clip_norm=1)"),
        ],
    )
    def test_repr_shows_arguments_that_differ_from_their_defaults(
        self, optimizer: Optimizer, text: str
    ) -> None:
        assert repr(optimizer) == text
