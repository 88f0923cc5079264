"""What all optimizers share: rate, decay, clipping and rules around a step, and their state.

An optimizer changes parameters so that the loss goes down: one step for each gradient.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, final

import numpy as np

from tinynet.errors import InputError
from tinynet.optimizers.schedules import Schedule
from tinynet.parameter import Array, Parameter
from tinynet.saving.state import State, check_array, check_keys, load_arrays
from tinynet.signature import constructor_call
from tinynet.validation import finite_number, whole_number

Rule = Callable[[str, Parameter], Mapping[str, float]]
Slots = dict[str, Array]


def no_decay_on_biases_and_norms(_name: str, parameter: Parameter) -> Mapping[str, float]:
    """A rule for optimizers: parameters with fewer than two axes are spared l2 and weight decay.

    >>> no_decay_on_biases_and_norms("layers.0.bias", Parameter([0.0, 0.0]))
    {'l2': 0.0, 'weight_decay': 0.0}
    """
    return {"l2": 0.0, "weight_decay": 0.0} if parameter.value.ndim < 2 else {}


class Optimizer(ABC):
    """What all optimizers share around the formula of a step, which is their `direction`.

    A step does, for every parameter w with its gradient dw, at the learning rate of this step:

        g = dw, clipped, + l2 · w
        w <- w - rate · (direction(g) + weight_decay · w)

    `learning_rate` is a number, or a function of the step such as a `Schedule`. `l2` is the
    coupled decay, the gradient of l2/2 · Σw²; `weight_decay` the decoupled one, which no momentum
    and no scaling sees. `clip_value` bounds each entry of all gradients, `clip_norm` then the
    length of all of them together, which stays in `gradient_norm` as it was before.

    Parameters come as model.parameters(), or as model.named_parameters() with a
    `rule(name, parameter)` that gives settings of its own to some: a dict of `l2`, `weight_decay`
    or `rate_scale`, which multiplies the rate. Every setting may be changed between steps.

    Raises:
        InputError: a setting out of range, or parameters that are none, empty or twice the same;
            from `step`, a gradient that is missing or of another shape. Nothing is changed then.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, on the two
    decays; Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks",
    ICML 2013, on clipping by norm.
    """

    slot_names: ClassVar[tuple[str, ...]] = ()  # arrays kept for each parameter, from 0 on
    settings: ClassVar[tuple[str, ...]] = ("l2", "weight_decay", "clip_norm", "clip_value")

    learning_rate: float | Callable[[int], float]
    l2: float
    weight_decay: float
    clip_norm: float | None
    clip_value: float | None

    def __init__(
        self,
        parameters: Iterable[Parameter] | Iterable[tuple[str, Parameter]],
        learning_rate: float | Callable[[int], float],
        *,
        l2: float = 0.0,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        rule: Rule | None = None,
    ) -> None:
        self.names, self.parameters = _named(type(self).__name__, parameters)
        self.learning_rate, self.rule = learning_rate, rule
        self.l2, self.weight_decay = l2, weight_decay
        self.clip_norm, self.clip_value = clip_norm, clip_value
        self.steps = 0  # done so far
        self.gradient_norm = math.nan
        self._slots: list[Slots] = [
            {name: np.zeros_like(p.value) for name in self.slot_names} for p in self.parameters
        ]
        self._shapes = [p.value.shape for p in self.parameters]
        self._own = [self._ruled(rule, *named) for named in self.named_parameters()]

    @abstractmethod
    def direction(self, grad: Array, slots: Slots) -> Array:
        """What is taken off a parameter, times the rate; updates its `slots` in place.

        `grad` is not to be written to.
        """

    @property
    def rate(self) -> float:
        """The learning rate of the step that comes next."""
        if callable(self.learning_rate):
            rate = self.learning_rate(self.steps)
            return finite_number(type(self).__name__, "learning_rate", rate, at_least=0)
        return self.learning_rate

    @final
    def step(self) -> None:
        """Updates every parameter value in place from its gradient."""
        rate = self.rate
        values, grads = zip(*map(self._checked, range(len(self.parameters))), strict=True)
        for value, grad, slots, own in zip(
            values, self._clipped(grads), self._slots, self._own, strict=True
        ):
            l2 = own.get("l2", self.l2)
            decay = own.get("weight_decay", self.weight_decay)
            own_rate = rate * own.get("rate_scale", 1.0)
            direction = self.direction(grad + l2 * value if l2 else grad, slots)
            if decay:
                # Not value *= 1 - rate · decay: float32 would round that the same way each time.
                direction = direction + decay * value
            value -= own_rate * direction
        self.steps += 1

    @final
    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """The parameters with their names, which are their places where none were given."""
        return list(zip(self.names, self.parameters, strict=True))

    def state_dict(self) -> State:
        """Slots, steps and settings, and where a schedule stands: the arrays themselves."""
        rate: Any = self.learning_rate
        if callable(rate):
            rate = rate.state_dict() if isinstance(rate, Schedule) else None
        return {
            "kind": type(self).__name__,
            "steps": self.steps,
            "learning_rate": rate,
            "settings": {name: getattr(self, name) for name in self.settings},
            "slots": dict(zip(self.names, self._slots, strict=True)),
        }

    def check_state_dict(self, state: Any) -> None:
        """Raises InputError unless the state is of this kind of optimizer and these parameters."""
        who = type(self).__name__
        check_keys(who, state, ("kind", "steps", "learning_rate", "settings", "slots"))
        if state["kind"] != who:
            raise InputError(f"{who} expects the state of a {who}, got that of {state['kind']}")
        whole_number(who, "steps", state["steps"], at_least=0)
        check_keys(who, state["settings"], self.settings)
        for name, value in state["settings"].items():
            self._valid(name, value)
        rate, rate_state = self.learning_rate, state["learning_rate"]
        if isinstance(rate, Schedule):
            rate.check_state_dict(rate_state)
        elif not callable(rate):
            self._valid("learning_rate", rate_state)
        elif rate_state is not None:
            raise InputError(f"{self!r} expects no state of {rate!r}, got {rate_state!r:.60}")
        check_keys(who, state["slots"], self.names)
        for name, own in zip(self.names, self._slots, strict=True):
            check_keys(f"{who}, {name},", state["slots"][name], own)
            for slot, array in own.items():
                got = state["slots"][name][slot]
                check_array(f"{who}, {slot} of {name},", got, array.shape, array.dtype)

    def load_state_dict(self, state: Any) -> None:
        """Continues from a state; of a schedule, from where it was."""
        self.check_state_dict(state)
        self.steps = state["steps"]
        for name, value in state["settings"].items():
            setattr(self, name, value)
        if isinstance(self.learning_rate, Schedule):
            self.learning_rate.load_state_dict(state["learning_rate"])
        elif not callable(self.learning_rate):
            self.learning_rate = state["learning_rate"]
        for name, own in zip(self.names, self._slots, strict=True):
            load_arrays(own, state["slots"][name])

    def _valid(self, name: str, value: Any) -> Any:
        """A setting as it has to be: each of them, when it is set."""
        if value is None and name in ("clip_norm", "clip_value"):
            return None
        return finite_number(type(self).__name__, name, value, at_least=0)

    def __setattr__(self, name: str, value: Any) -> None:
        # A wrong setting is refused where it is set, not in the middle of training.
        if name in self.settings or (name == "learning_rate" and not callable(value)):
            value = self._valid(name, value)
        super().__setattr__(name, value)

    def _ruled(self, rule: Rule | None, name: str, parameter: Parameter) -> dict[str, float]:
        who = type(self).__name__
        own = {} if rule is None else rule(name, parameter)
        if not isinstance(own, Mapping) or not own.keys() <= {"l2", "weight_decay", "rate_scale"}:
            raise InputError(
                f"{who} expects a rule to give a dict of l2, weight_decay and rate_scale, "
                f"got {own!r} for {name}"
            )
        return {key: finite_number(who, key, value, at_least=0) for key, value in own.items()}

    def _checked(self, index: int) -> tuple[Array, Array]:
        """The value and gradient of a parameter, which may have become anything."""
        value, grad = self.parameters[index].value, self.parameters[index].grad
        shape, who = self._shapes[index], type(self).__name__
        if not (isinstance(value, np.ndarray) and value.shape == shape and value.flags.writeable):
            came = f"{value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
            raise InputError(
                f"{who} expects parameter {self.names[index]} to be a writable array "
                f"of shape {shape}, got {came}"
            )
        if grad is None:
            raise InputError(
                f"{who} expects a gradient of shape {shape} for parameter {self.names[index]}, "
                "got none: run backward first"
            )
        grad = np.asarray(grad)
        if grad.shape != shape or grad.dtype.kind not in "fiu":
            raise InputError(
                f"{who} expects a gradient of shape {shape} for parameter {self.names[index]}, "
                f"got {grad.shape} of {grad.dtype}"
            )
        return value, np.asarray(grad, value.dtype)

    def _clipped(self, grads: tuple[Array, ...]) -> list[Array]:
        clipped = list(grads)
        if self.clip_value is not None:
            clipped = [np.clip(grad, -self.clip_value, self.clip_value) for grad in clipped]
        if self.clip_norm is not None:
            # In float64: squares of a gradient that explodes are beyond float32.
            squares = (np.square(grad, dtype=np.float64).sum() for grad in clipped)
            self.gradient_norm = math.sqrt(sum(map(float, squares)))
            if self.gradient_norm > self.clip_norm:
                factor = self.clip_norm / self.gradient_norm
                clipped = [grad * factor for grad in clipped]
        return clipped

    def __repr__(self) -> str:
        return constructor_call(self) or object.__repr__(self)


def _named(who: str, parameters: Any) -> tuple[tuple[str, ...], tuple[Parameter, ...]]:
    given = list(parameters) if isinstance(parameters, Iterable) else []
    named = [
        p if isinstance(p, tuple) and len(p) == 2 else (str(i), p) for i, p in enumerate(given)
    ]
    if not named or not all(isinstance(n, str) and isinstance(p, Parameter) for n, p in named):
        raise InputError(f"{who} expects parameters, as model.parameters(), got {parameters!r}")
    names, found = zip(*named, strict=True)
    if len(set(map(id, found))) < len(found) or len(set(names)) < len(names):
        raise InputError(f"{who} expects each parameter once, got one twice in {parameters!r}")
    return names, found
