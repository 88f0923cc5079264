"""Optimizer: the base class of gradient descent methods, with decay, clipping, rules and state."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, final

import numpy as np

from tinynet.errors import InputError
from tinynet.keywords import NamedKeywords
from tinynet.optimizers.schedules import Schedule
from tinynet.parameter import Array, Parameter
from tinynet.saving.state import State, check_arrays, check_keys, load_arrays
from tinynet.signature import constructor_call
from tinynet.validation import finite_number, whole_number

Parameters = Iterable[Parameter] | Iterable[tuple[str, Parameter]]
Rate = float | Callable[[int], float]
Rule = Callable[[str, Parameter], Mapping[str, float]]
Slots = dict[str, Array]


def no_decay_on_biases_and_norms(_name: str, parameter: Parameter) -> Mapping[str, float]:
    """A rule for optimizers: no l2 and no weight decay for parameters with fewer than two axes.

    >>> no_decay_on_biases_and_norms("layers.0.bias", Parameter([0.0, 0.0]))
    {'l2': 0.0, 'weight_decay': 0.0}
    """
    return {"l2": 0.0, "weight_decay": 0.0} if parameter.value.ndim < 2 else {}


class Optimizer(NamedKeywords, ABC):
    """Base class of the optimizers, with the step for every parameter w and its gradient dw.

        g = clip(dw) + l2 · w
        w <- w - rate · (direction(g) + weight_decay · w)

    Subclasses give the direction. `learning_rate` is a number, or a function of the step such as a
    `Schedule`. `l2` is the coupled decay, the gradient of l2/2 · Σw²; `weight_decay` the decoupled
    one, outside of momentum and scaling. `clip_value` bounds each entry of the gradients, then
    `clip_norm` the norm of all of them together; `gradient_norm` is that norm before clipping.

    With model.named_parameters(), `rule(name, parameter)` gives a parameter settings of its own: a
    dict of `l2`, `weight_decay` or `rate_scale`, a factor of the rate. Every setting but the rule
    may be changed between steps.

    Raises:
        InputError: a setting out of range; no parameters, or one twice; from `step`, a missing or
            wrong gradient. Nothing is changed then.

    Sources: Loshchilov and Hutter, ICLR 2019 (decay); Pascanu et al., ICML 2013 (clipping).
    """

    slot_names: ClassVar[tuple[str, ...]] = ()  # arrays kept for each parameter, zeros at first
    settings: ClassVar[tuple[str, ...]] = ("l2", "weight_decay", "clip_norm", "clip_value")

    def __init__(
        self,
        parameters: Parameters,
        learning_rate: Rate,
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
        self.steps = 0
        self._updating = False  # true after a step that was interrupted: some values are updated
        self.gradient_norm = math.nan
        values = [parameter.value for parameter in self.parameters]
        self._slots = [{name: np.zeros_like(v) for name in self.slot_names} for v in values]
        self._rules = [self._ruled(*named) for named in self.named_parameters()]

    @abstractmethod
    def direction(self, grad: Array, slots: Slots) -> Array:
        """The step of one parameter before the rate; updates its `slots`, but never `grad`."""

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        rate = self.learning_rate
        if callable(rate):
            rate = finite_number(type(self).__name__, "learning_rate", rate(self.steps), at_least=0)
        return rate

    @final
    def step(self) -> None:
        """Updates every parameter value in place from its gradient."""
        if self._updating:
            check_complete(self)
        rate = self.rate
        checked = map(self._arrays, self.names, self.parameters)
        values, grads = zip(*checked, strict=True)  # all of them, before the first one changes
        grads = self._clipped(grads)
        vars(self)["_updating"] = True
        for value, grad, slots, own in zip(values, grads, self._slots, self._rules, strict=True):
            l2, decay = own.get("l2", self.l2), own.get("weight_decay", self.weight_decay)
            direction = self.direction(grad + l2 * value if l2 else grad, slots)
            if decay:
                # Not value *= 1 - rate · decay: float32 would round it the same way in every step.
                direction = direction + decay * value
            value -= rate * own.get("rate_scale", 1.0) * direction
        vars(self).update(steps=self.steps + 1, _updating=False)  # both, or none of them

    @final
    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """The parameters with their names; without names given, these are their indices."""
        return list(zip(self.names, self.parameters, strict=True))

    def state_dict(self) -> State:
        """Steps, settings, slots (the arrays themselves) and the state of a schedule."""
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
            raise InputError(f"{who} expects the state of {who}, got that of {state['kind']}")
        whole_number(who, "steps", state["steps"], at_least=0)
        check_keys(who, state["settings"], self.settings)
        for name, value in state["settings"].items():
            self._validated(name, value)
        rate, rate_state = self.learning_rate, state["learning_rate"]
        if isinstance(rate, Schedule):
            rate.check_state_dict(rate_state)
        elif not callable(rate):
            self._validated("learning_rate", rate_state)
        elif rate_state is not None:
            raise InputError(f"{self!r} expects no state of {rate!r}, got {rate_state!r:.60}")
        check_keys(who, state["slots"], self.names)
        for name, slots in zip(self.names, self._slots, strict=True):
            check_arrays(f"{who} for {name}", slots, state["slots"][name])

    def load_state_dict(self, state: Any) -> None:
        """Continues from a state: checks all of it, then assigns."""
        self.check_state_dict(state)
        self.steps = state["steps"]
        for name, value in state["settings"].items():
            setattr(self, name, value)
        if isinstance(self.learning_rate, Schedule):
            self.learning_rate.load_state_dict(state["learning_rate"])
        elif not callable(self.learning_rate):
            self.learning_rate = state["learning_rate"]
        for name, slots in zip(self.names, self._slots, strict=True):
            load_arrays(slots, state["slots"][name])
        self._updating = False

    def __setattr__(self, name: str, value: Any) -> None:
        # A wrong setting is refused where it is set, not in the middle of training.
        if name in self.settings or (name == "learning_rate" and not callable(value)):
            value = self._validated(name, value)
        super().__setattr__(name, value)

    def _validated(self, name: str, value: Any) -> Any:
        """The value of a setting, checked; subclasses check their own settings here."""
        if value is None and name in ("clip_norm", "clip_value"):
            return None
        return finite_number(type(self).__name__, name, value, at_least=0)

    def _ruled(self, name: str, parameter: Parameter) -> dict[str, float]:
        """What the rule gives for a parameter, checked."""
        who, own = type(self).__name__, {} if self.rule is None else self.rule(name, parameter)
        if not isinstance(own, Mapping) or not own.keys() <= {"l2", "weight_decay", "rate_scale"}:
            raise InputError(
                f"{who} expects a rule to give a dict of l2, weight_decay and rate_scale, "
                f"got {own!r} for {name}"
            )
        return {key: finite_number(who, key, value, at_least=0) for key, value in own.items()}

    def _arrays(self, name: str, parameter: Parameter) -> tuple[Array, Array]:
        """Value and gradient of a parameter, checked: anybody may have assigned a gradient."""
        value, grad, who = parameter.value, parameter.grad, type(self).__name__
        if not value.flags.writeable:
            raise InputError(f"{who} expects a writable parameter {name}, got a read-only array")
        array, shape = np.asarray(grad), value.shape
        if array.shape != shape or array.dtype.kind not in "fiu":
            got = "none: run backward first" if grad is None else f"{array.shape} of {array.dtype}"
            raise InputError(
                f"{who} expects a gradient of shape {shape} for parameter {name}, got {got}"
            )
        return value, array.astype(value.dtype, copy=False)

    def _clipped(self, grads: tuple[Array, ...]) -> tuple[Array, ...]:
        if self.clip_value is not None:
            grads = tuple(np.clip(grad, -self.clip_value, self.clip_value) for grad in grads)
        if self.clip_norm is not None:
            # In float64: the squares of an exploding gradient overflow float32.
            squares = (np.square(grad, dtype=np.float64).sum() for grad in grads)
            self.gradient_norm = math.sqrt(sum(map(float, squares)))
            if self.gradient_norm > self.clip_norm:
                grads = tuple(grad * (self.clip_norm / self.gradient_norm) for grad in grads)
        return grads

    def __repr__(self) -> str:
        return constructor_call(self) or object.__repr__(self)


def check_complete(optimizer: Optimizer) -> None:
    """Raises InputError if a step was interrupted after it had updated a part of the values."""
    if optimizer._updating:
        raise InputError(
            f"{type(optimizer).__name__} expects parameters after a whole step, got some that step "
            f"{optimizer.steps + 1} has updated and some that it has not, as it was interrupted: "
            "restore a checkpoint, or load states into the model and the optimizer"
        )


def _named(who: str, parameters: Any) -> tuple[tuple[str, ...], tuple[Parameter, ...]]:
    args = list(parameters) if isinstance(parameters, Iterable) else []
    named = [p if isinstance(p, tuple) and len(p) == 2 else (f"{i}", p) for i, p in enumerate(args)]
    if not named or not all(isinstance(n, str) and isinstance(p, Parameter) for n, p in named):
        raise InputError(f"{who} expects parameters, as model.parameters(), got {parameters!r}")
    names, found = zip(*named, strict=True)
    if len(set(map(id, found))) < len(found) or len(set(names)) < len(names):
        raise InputError(f"{who} expects each parameter once, got one twice in {parameters!r}")
    return names, found
