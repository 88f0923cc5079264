import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import SGD, Dense, InputError, Parameter

settings = st.fixed_dictionaries(
    {
        "learning_rate": st.sampled_from([0.0, 0.001, 0.1]),
        "momentum": st.sampled_from([0.0, 0.5, 0.9]),
        "weight_decay": st.sampled_from([0.0, 0.01]),
        "nesterov": st.booleans(),
    }
).filter(lambda s: s["momentum"] or not s["nesterov"])


def reference(values: list[float], grads: list[list[float]], chosen: dict[str, Any]) -> list[float]:
    """The formula of the docstring, number by number."""
    rate, momentum = chosen["learning_rate"], chosen["momentum"]
    velocities = [0.0] * len(values)
    for step_grads in grads:
        for i, dw in enumerate(step_grads):
            g = dw + chosen["weight_decay"] * values[i]
            velocities[i] = momentum * velocities[i] + g
            step = g + momentum * velocities[i] if chosen["nesterov"] else velocities[i]
            values[i] = values[i] - rate * step
    return values


@given(settings, st.integers(0, 2**32))
def test_a_hundred_steps_are_the_formula(chosen: dict[str, Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    start, grads = rng.standard_normal(6), rng.standard_normal((100, 6))
    double = [
        Parameter(part, np.float64) for part in (start[:4].reshape(2, 2), start[4], start[5:])
    ]
    single = [Parameter(part.value) for part in double]
    for parameters in (double, single):
        optimizer = SGD(parameters, **chosen)
        for grad in grads:
            parts = (grad[:4].reshape(2, 2), grad[4], grad[5:])
            for parameter, part in zip(parameters, parts, strict=True):
                parameter.grad = np.asarray(part, parameter.value.dtype)
            optimizer.step()
    wanted = reference(start.tolist(), grads.tolist(), chosen)
    for parameters, tolerance in ((double, 1e-12), (single, 1e-4)):
        got = np.concatenate([parameter.value.ravel() for parameter in parameters])
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
    assert all(parameter.value.dtype == np.float32 for parameter in single)


def one(value: float = 1.0, grad: float | None = 1.0) -> Parameter:
    parameter = Parameter([value])
    parameter.grad = None if grad is None else np.array([grad], np.float32)
    return parameter


class TestStep:
    def test_follows_a_changed_learning_rate(self) -> None:
        w = one()
        optimizer = SGD([w], 0.5)
        optimizer.step()
        optimizer.learning_rate = 0.25
        optimizer.step()
        assert w.value.tolist() == [0.25]

    def test_momentum_may_be_turned_on_later(self) -> None:
        w = one()
        optimizer = SGD([w], 0.25)
        optimizer.step()
        optimizer.momentum = 0.5
        optimizer.step()
        optimizer.step()
        assert w.value.tolist() == [1 - 0.25 - 0.25 - 0.25 * 1.5]

    def test_without_weight_decay_the_value_itself_has_no_say(self) -> None:
        weight = Parameter([np.inf, 1.0])
        weight.grad = np.array([1.0, 1.0], np.float32)
        SGD([weight], 0.5).step()
        assert weight.value.tolist() == [np.inf, 0.5]

    def test_updates_in_place_and_leaves_the_gradient(self) -> None:
        w = one()
        value, grad = w.value, w.grad
        SGD([w], 0.5, momentum=0.9, weight_decay=0.1).step()
        assert w.value is value
        assert w.grad is grad
        assert grad is not None
        assert grad.tolist() == [1]

    def test_takes_a_generator_of_parameters(self) -> None:
        layer = Dense(2, 1)
        assert len(SGD((p for p in layer.parameters()), 0.1).parameters) == 2

    @pytest.mark.parametrize(
        "grad", [None, np.ones((1, 1)), np.float64(1), np.ones(2), np.ones(1, complex), ["1"]]
    )
    def test_refuses_a_wrong_gradient_before_anything_changes(self, grad: Any) -> None:
        first, second = one(), one()
        second.grad = grad
        optimizer = SGD([first, second], 0.5, momentum=0.9)
        came = f"{np.shape(grad)} of {np.asarray(grad).dtype}"
        if grad is None:
            came = "none: run backward first"
        with pytest.raises(InputError) as error:
            optimizer.step()
        assert str(error.value) == (
            f"SGD expects a gradient of shape (1,) for parameter 1, got {came}"
        )
        assert first.value.tolist() == [1]
        second.grad = np.ones(1, np.float32)
        optimizer.step()
        assert first.value.tolist() == second.value.tolist() == [0.5]

    def test_takes_a_list_as_a_gradient(self) -> None:
        w: Any = one()
        w.grad = [2.0]
        SGD([w], 0.25).step()
        assert w.value.tolist() == [0.5]

    @pytest.mark.parametrize(
        ("value", "came"),
        [(np.float32(1), "float32"), (np.ones(2), "(2,)"), ([1.0], "list"), (None, "NoneType")],
    )
    def test_refuses_a_value_that_became_something_else(self, value: Any, came: str) -> None:
        first, second = one(), one()
        optimizer = SGD([first, second], 0.5, momentum=0.9)
        second.value = value
        sentence = rf"parameter 1 to be a writable array of shape \(1,\), got {re.escape(came)}$"
        with pytest.raises(InputError, match=sentence):
            optimizer.step()
        assert first.value.tolist() == [1]

    def test_refuses_a_value_that_may_not_be_written(self) -> None:
        w = one()
        w.value.setflags(write=False)
        with pytest.raises(InputError, match="to be a writable array"):
            SGD([w], 0.5).step()

    @pytest.mark.parametrize("name", ["learning_rate", "momentum", "weight_decay"])
    @pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "fast", None])
    def test_refuses_wrong_settings_at_the_start_and_later(self, name: str, value: Any) -> None:
        given = {"learning_rate": 0.1} | {name: value}
        with pytest.raises(
            InputError, match=rf"^SGD expects {name} to be a finite number >= 0, got"
        ):
            SGD([one()], **given)
        w = one()
        optimizer = SGD([w], 0.1)
        setattr(optimizer, name, value)
        with pytest.raises(InputError, match=rf"^SGD expects {name}"):
            optimizer.step()
        assert w.value.tolist() == [1]


class TestParameters:
    @pytest.mark.parametrize("wrong", [[], [1], Dense(1, 1), None, [one(), np.ones(2)]])
    def test_refuses_what_are_no_parameters(self, wrong: Any) -> None:
        with pytest.raises(InputError, match=r"^SGD expects parameters, as model\.parameters\(\)"):
            SGD(wrong, 0.1)

    def test_refuses_one_parameter_twice(self) -> None:
        w = one()
        with pytest.raises(InputError, match=r"^SGD expects each parameter once"):
            SGD([w, one(), w], 0.1)

    def test_nesterov_needs_momentum(self) -> None:
        with pytest.raises(InputError, match=r"^SGD expects momentum > 0 with nesterov=True"):
            SGD([one()], 0.1, nesterov=True)

    def test_repr(self) -> None:
        assert repr(SGD([one()], 0.1, momentum=0.9)) == (
            "SGD(1 parameters, learning_rate=0.1, momentum=0.9, nesterov=False, weight_decay=0.0)"
        )
