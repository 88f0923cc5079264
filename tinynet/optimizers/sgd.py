"""Stochastic gradient descent: downhill, with or without a running start."""

from collections.abc import Callable, Iterable
from typing import Any, final

from tinynet.errors import InputError
from tinynet.optimizers.optimizer import Optimizer, Slots
from tinynet.parameter import Array, Parameter


@final
class SGD(Optimizer):
    """Stochastic gradient descent: w <- w - rate · direction.

        v <- momentum · v + g
        direction = v, or with nesterov=True the step that looks ahead, g + momentum · v

    The learning rate may be changed at any time: the velocity v does not contain it. `others` are
    those of every optimizer, see `Optimizer`: l2, weight_decay, clip_norm, clip_value, rule.

    Raises:
        InputError: a setting is negative or not finite, or nesterov without momentum; see
            `Optimizer` for the rest.

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

    slot_names = ("velocity",)
    settings = (*Optimizer.settings, "momentum", "nesterov")

    def __init__(
        self,
        parameters: Iterable[Parameter] | Iterable[tuple[str, Parameter]],
        learning_rate: float | Callable[[int], float],
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        **others: Any,
    ) -> None:
        super().__init__(parameters, learning_rate, **others)
        self.momentum = momentum
        self.nesterov = nesterov
        if nesterov and not momentum:
            raise InputError("SGD expects momentum > 0 with nesterov=True, got momentum=0")

    def direction(self, grad: Array, slots: Slots) -> Array:
        """The velocity, after it took up the gradient."""
        if not self.momentum:
            return grad
        velocity = slots["velocity"]
        velocity *= self.momentum
        velocity += grad
        return grad + self.momentum * velocity if self.nesterov else velocity

    def _valid(self, name: str, value: Any) -> Any:
        if name != "nesterov":
            return super()._valid(name, value)
        if not isinstance(value, bool):
            raise InputError(f"SGD expects nesterov to be True or False, got {value!r}")
        return value
