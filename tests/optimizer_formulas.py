"""Reference implementations of the optimizers: loops over Python floats, from the papers."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from tinynet import Array, Optimizer, Parameter, no_decay_on_biases_and_norms
from tinynet.optimizers.schedules import Cosine

STEPS = 40  # past the end of the schedule below
SHAPES: dict[str, tuple[int, ...]] = {"weight": (2, 2), "bias": (2,), "gain": ()}
OWNERS = ["weight"] * 4 + ["bias"] * 2 + ["gain"]  # of each of the seven values


class Choice(NamedTuple):
    """An argument of an optimizer, and its meaning in the formula."""

    argument: Any
    meaning: Any

    def __repr__(self) -> str:
        return repr(self.argument)


def on_the_bias(name: str, _parameter: Parameter) -> Mapping[str, float]:
    return {"rate_scale": 0.25, "l2": 0.3, "weight_decay": 0.2} if name == "bias" else {}


RATES = [
    Choice(0.1, lambda _t: 0.1),
    Choice(0.01, lambda _t: 0.01),
    Choice(0.0, lambda _t: 0.0),
    Choice(lambda step: 0.1 / (step + 1), lambda t: 0.1 / (t + 1)),
    Choice(
        Cosine(0.1, steps=30, final=0.01),
        lambda t: 0.055 + 0.045 * math.cos(math.pi * t / 30) if t < 30 else 0.01,
    ),
]
NO_DECAY = {"l2": 0.0, "weight_decay": 0.0}
RULES = [
    Choice(None, {}),
    Choice(no_decay_on_biases_and_norms, {"bias": NO_DECAY, "gain": NO_DECAY}),
    Choice(on_the_bias, {"bias": {"rate_scale": 0.25, "l2": 0.3, "weight_decay": 0.2}}),
]

rates, rules = st.sampled_from(RATES), st.sampled_from(RULES)
shared = st.fixed_dictionaries(
    {},
    optional={
        "l2": st.sampled_from([0.0, 0.01, 0.1]),
        "weight_decay": st.sampled_from([0.0, 0.01, 0.1]),
        "clip_norm": st.sampled_from([None, 0.5, 2.0, 1e6]),
        "clip_value": st.sampled_from([None, 0.3, 1.0]),
    },
)


def sgd(g: float, slots: dict[str, float], _t: int, options: dict[str, Any]) -> float:
    momentum: float = options.get("momentum", 0.0)
    if momentum == 0:
        return g
    slots["velocity"] = momentum * slots["velocity"] + g
    return g + momentum * slots["velocity"] if options.get("nesterov") else slots["velocity"]


def adam(g: float, slots: dict[str, float], t: int, options: dict[str, Any]) -> float:
    beta1, beta2 = options.get("betas", (0.9, 0.999))
    eps = options.get("eps", 1e-8)
    slots["mean"] = beta1 * slots["mean"] + (1 - beta1) * g
    slots["mean_square"] = beta2 * slots["mean_square"] + (1 - beta2) * g**2
    mean, mean_square = slots["mean"] / (1 - beta1**t), slots["mean_square"] / (1 - beta2**t)
    return float(mean / (math.sqrt(mean_square) + eps))


def rmsprop(g: float, slots: dict[str, float], _t: int, options: dict[str, Any]) -> float:
    alpha, eps = options.get("alpha", 0.99), options.get("eps", 1e-8)
    slots["mean_square"] = alpha * slots["mean_square"] + (1 - alpha) * g**2
    return g / (math.sqrt(slots["mean_square"]) + float(eps))


def adagrad(g: float, slots: dict[str, float], _t: int, options: dict[str, Any]) -> float:
    slots["sum_of_squares"] += g**2
    return g / (math.sqrt(slots["sum_of_squares"]) + float(options.get("eps", 1e-10)))


class Formula:
    """The reference: values and slots of an optimizer as floats, and its step."""

    def __init__(
        self,
        direction: Callable[[float, dict[str, float], int, dict[str, Any]], float],
        slots: tuple[str, ...],
        options: dict[str, Any],
        rate: Callable[[int], float],
        own: dict[str, dict[str, float]],
    ) -> None:
        self.direction, self.options, self.rate, self.own = direction, options, rate, own
        self.values: list[float] = []
        self.slots = [dict.fromkeys(slots, 0.0) for _ in OWNERS]
        self.steps = 0

    def step(self, grads: list[float]) -> None:
        rate = self.rate(self.steps)
        self.steps += 1
        bound, longest = self.options.get("clip_value"), self.options.get("clip_norm")
        if bound is not None:
            grads = [max(-bound, min(bound, g)) for g in grads]
        length = math.sqrt(math.fsum(g**2 for g in grads))
        if longest is not None and length > longest:
            grads = [g / length * longest for g in grads]
        for i, owner in enumerate(OWNERS):
            chosen = {"l2": 0.0, "weight_decay": 0.0} | self.options | self.own.get(owner, {})
            w = self.values[i]
            g = grads[i] + chosen["l2"] * w
            direction = self.direction(g, self.slots[i], self.steps, self.options)
            decayed = direction + chosen["weight_decay"] * w
            self.values[i] = w - rate * chosen.get("rate_scale", 1.0) * decayed


class Comparison:
    """An optimizer and its formula, with the same initial values and gradients."""

    def __init__(
        self,
        kind: type[Optimizer],
        formula: Callable[[float, dict[str, float], int, dict[str, Any]], float],
        options: dict[str, Any],
        rate: Choice,
        rule: Choice,
        *,
        seed: int,
        dtype: Any,
        steps: int = STEPS,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.grads = rng.standard_normal((steps, len(OWNERS))).astype(dtype)
        self.parameters = {
            name: Parameter(rng.standard_normal(shape), dtype) for name, shape in SHAPES.items()
        }
        self.optimizer = kind(
            self.parameters.items(), learning_rate=rate.argument, rule=rule.argument, **options
        )
        self.formula = Formula(formula, kind.slot_names, options, rate.meaning, rule.meaning)
        self.synchronize()

    def values_as_floats(self) -> list[float]:
        return list(np.concatenate([p.value for p in self.parameters.values()], axis=None).tolist())

    def slots(self) -> list[dict[str, float]]:
        slots = self.optimizer.state_dict()["slots"].values()
        names = self.optimizer.slot_names
        columns = [np.concatenate([s[name] for s in slots], axis=None).tolist() for name in names]
        return [{n: column[i] for n, column in zip(names, columns, strict=True)} for i in range(7)]

    def synchronize(self) -> None:
        """Sets values and slots of the formula to those of the optimizer."""
        self.formula.values, self.formula.slots = self.values_as_floats(), self.slots()

    def steps(self) -> Iterator[None]:
        """Does a step of both for each gradient."""
        for grad in self.grads:
            parts = np.split(grad, [4, 6])
            for parameter, part in zip(self.parameters.values(), parts, strict=True):
                parameter.grad = part.reshape(parameter.value.shape)
            self.optimizer.step()
            self.formula.step(grad.tolist())
            yield

    def error(self) -> float:
        """The largest difference, relative to the largest value, or to 1 if that is smaller."""
        values = np.array(self.formula.values)
        difference: Array = abs(np.array(self.values_as_floats()) - values)
        return float(difference.max() / max(1.0, abs(values).max()))


def check_in_float64(kind: type[Optimizer], formula: Any, *choices: Any, seed: int) -> None:
    """After every step, values and slots are those of the formula."""
    pair = Comparison(kind, formula, *choices, seed=seed, dtype=np.float64)
    for _ in pair.steps():
        assert pair.error() < 1e-12
    for got, expected in zip(pair.slots(), pair.formula.slots, strict=True):
        for name in got:
            assert math.isclose(got[name], expected[name], rel_tol=1e-12, abs_tol=1e-12)


def check_in_float32(kind: type[Optimizer], formula: Any, *choices: Any, seed: int) -> None:
    """Each step in float32 is that of the formula from the same float32 values."""
    pair = Comparison(kind, formula, *choices, seed=seed, dtype=np.float32)
    for _ in pair.steps():
        assert pair.error() < 1e-6
        pair.synchronize()
    assert {p.value.dtype for p in pair.parameters.values()} == {np.dtype(np.float32)}


def error_after_100_steps_in_float32(
    kind: type[Optimizer], formula: Any, *choices: Any, seed: int
) -> float:
    """The largest error of 100 float32 steps against the exact formula."""
    pair = Comparison(kind, formula, *choices, seed=seed, dtype=np.float32, steps=100)
    return max(pair.error() for _ in pair.steps())
