"""An optimizer changes parameters so that the loss goes down: one step for each gradient."""

from collections.abc import Iterable
from typing import final

import numpy as np

from tinynet.arguments import InputError, finite_number
from tinynet.parameter import Array, Parameter


@final
class SGD:
    """Stochastic gradient descent: w <- w - learning_rate · step.

        g = dw + weight_decay · w
        v <- momentum · v + g
        step = v, or with nesterov=True the step that looks ahead, g + momentum · v

    `learning_rate` may be changed at any time: the velocity v does not contain it.

    Raises:
        InputError: a setting is negative or not finite, or parameters that are none, empty or
            twice the same; from `step`, a gradient that is missing or of another shape. Nothing is
            changed then.

    Source: Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum
    in deep learning", ICML 2013, in the form without the rate inside v.

    >>> w = Parameter([1.0])
    >>> optimizer = SGD([w], learning_rate=0.1, momentum=0.9)
    >>> for _ in range(2):  # loss w², dw = 2 w: v = 2, then 0.9 · 2 + 1.6
    ...     w.grad = 2 * w.value
    ...     optimizer.step()
    >>> w.value.round(4)
    array([0.46], dtype=float32)
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: float,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        self.parameters = tuple(parameters) if isinstance(parameters, Iterable) else ()
        if not self.parameters or not all(isinstance(p, Parameter) for p in self.parameters):
            raise InputError(f"SGD expects parameters, as model.parameters(), got {parameters!r}")
        if len(set(map(id, self.parameters))) < len(self.parameters):
            raise InputError(f"SGD expects each parameter once, got one twice in {parameters!r}")
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay
        self._settings()
        if nesterov and not momentum:
            raise InputError("SGD expects momentum > 0 with nesterov=True, got momentum=0")
        self._velocities = [np.zeros_like(p.value) for p in self.parameters]

    def step(self) -> None:
        """Updates every parameter value in place from its gradient."""
        rate, momentum, decay = self._settings()
        pairs = list(map(self._checked, range(len(self.parameters))))
        for (value, grad), velocity in zip(pairs, self._velocities, strict=True):
            step = grad + decay * value if decay else grad
            if momentum:
                velocity *= momentum
                velocity += step
                step = step + momentum * velocity if self.nesterov else velocity
            value -= rate * step

    def _settings(self) -> tuple[float, float, float]:
        """The rate, momentum and weight decay, which may have been changed since the last step."""
        return (
            finite_number("SGD", "learning_rate", self.learning_rate, at_least=0),
            finite_number("SGD", "momentum", self.momentum, at_least=0),
            finite_number("SGD", "weight_decay", self.weight_decay, at_least=0),
        )

    def _checked(self, index: int) -> tuple[Array, Array]:
        """The value and gradient of a parameter, which may have become anything."""
        value, grad = self.parameters[index].value, self.parameters[index].grad
        shape = self._velocities[index].shape
        if not (isinstance(value, np.ndarray) and value.shape == shape and value.flags.writeable):
            came = f"{value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
            raise InputError(
                f"SGD expects parameter {index} to be a writable array of shape {shape}, got {came}"
            )
        if grad is None:
            raise InputError(
                f"SGD expects a gradient of shape {shape} for parameter {index}, "
                "got none: run backward first"
            )
        grad = np.asarray(grad)
        if grad.shape != shape or grad.dtype.kind not in "fiu":
            raise InputError(
                f"SGD expects a gradient of shape {shape} for parameter {index}, "
                f"got {grad.shape} of {grad.dtype}"
            )
        return value, grad

    def __repr__(self) -> str:
        settings = ("learning_rate", "momentum", "nesterov", "weight_decay")
        inside = ", ".join(f"{name}={getattr(self, name)!r}" for name in settings)
        return f"SGD({len(self.parameters)} parameters, {inside})"
