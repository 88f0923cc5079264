"""Stochastic gradient descent, optionally with momentum or Nesterov momentum."""

from typing import Any, final

from tinynet.errors import InputError
from tinynet.optimizers.optimizer import Optimizer, Parameters, Rate, Slots
from tinynet.parameter import Array
from tinynet.validation import one_of


@final
class SGD(Optimizer):
    """Stochastic gradient descent: w <- w - rate · direction.

        v <- momentum · v + g
        direction = v, or g + momentum · v with nesterov=True

    The rate is not part of v and may change at any time. `others`: see `Optimizer`.

    Raises:
        InputError: a negative momentum, or nesterov without momentum; see `Optimizer`.

    Source: Sutskever et al., "On the importance of initialization and momentum", ICML 2013.

    >>> from tinynet import Parameter
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
        parameters: Parameters,
        learning_rate: Rate,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        **others: Any,
    ) -> None:
        super().__init__(parameters, learning_rate, **others)
        self.momentum, self.nesterov = momentum, nesterov
        if nesterov and not momentum:
            raise InputError("SGD expects momentum > 0 with nesterov=True, got momentum=0")

    def direction(self, grad: Array, slots: Slots) -> Array:
        """The gradient, the velocity, or the gradient after one more step of the velocity."""
        if not self.momentum:
            return grad
        velocity = slots["velocity"]
        velocity *= self.momentum
        velocity += grad
        return grad + self.momentum * velocity if self.nesterov else velocity

    def _validated(self, name: str, value: Any) -> Any:
        if name == "nesterov":
            return one_of("SGD", name, value, (True, False))
        return super()._validated(name, value)
