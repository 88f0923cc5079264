"""Adaptive optimizers give each entry a rate of its own, by the size of its gradients so far."""

import math
from collections.abc import Callable, Iterable
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.optimizers.optimizer import Optimizer, Slots
from tinynet.parameter import Array, Parameter

Parameters = Iterable[Parameter] | Iterable[tuple[str, Parameter]]
Rate = float | Callable[[int], float]


class Adam(Optimizer):
    """Adam: two running means, corrected for their start at 0, in step t = 1, 2, ...

        m <- β₁ m + (1 - β₁) g          m̂ = m / (1 - β₁ᵗ)
        v <- β₂ v + (1 - β₂) g²         v̂ = v / (1 - β₂ᵗ)
        direction = m̂ / (√v̂ + ε)

    `betas` is (β₁, β₂), `eps` is ε. Decay: `l2` goes through the means, `weight_decay` (as in
    AdamW) does not; `others` are those of every optimizer, see `Optimizer`.

    Raises:
        InputError: betas not two numbers from 0 to below 1; see `Optimizer` for the rest.

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 1.

    >>> w = Parameter([1.0, 1.0])
    >>> w.grad = np.array([0.001, -1000.0], np.float32)
    >>> Adam([w], learning_rate=0.1).step()
    >>> w.value.round(4)  # the size of a gradient hardly counts
    array([0.9, 1.1], dtype=float32)
    """

    slot_names = ("mean", "mean_square")
    settings = (*Optimizer.settings, "betas", "eps")

    def __init__(
        self,
        parameters: Parameters,
        learning_rate: Rate = 0.001,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        **others: Any,
    ) -> None:
        super().__init__(parameters, learning_rate, **others)
        self.betas = betas
        self.eps = eps

    def direction(self, grad: Array, slots: Slots) -> Array:
        """The mean gradient in units of its usual size."""
        (beta1, beta2), t = self.betas, self.steps + 1
        mean = _towards(slots["mean"], grad, beta1)
        mean_square = _towards(slots["mean_square"], grad * grad, beta2)
        # m̂ / (√v̂ + ε), with the two corrections taken together: one pass less over the array.
        correction = math.sqrt(1 - beta2**t)
        size = _root(mean_square)
        size += self.eps * correction
        direction = np.divide(mean, size, out=size)
        direction *= correction / (1 - beta1**t)
        return direction

    def _valid(self, name: str, value: Any) -> Any:
        if name != "betas":
            return super()._valid(name, value)
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise InputError(
                f"{type(self).__name__} expects betas to be two numbers, got {value!r}"
            )
        return tuple(_below_one(self, "each of betas", beta) for beta in value)


@final
class AdamW(Adam):
    """Adam with decoupled weight decay, 0.01 unless told otherwise.

    The decay is rate · weight_decay · w in each step, whatever the gradients were; with `Adam`'s
    `l2` large gradients would hide it. `others` are those of `Adam`.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2.

    >>> w = Parameter([1.0])
    >>> w.grad = np.array([0.0], np.float32)
    >>> AdamW([w], learning_rate=0.1, weight_decay=0.5).step()
    >>> w.value.round(4)
    array([0.95], dtype=float32)
    """

    def __init__(
        self,
        parameters: Parameters,
        learning_rate: Rate = 0.001,
        *,
        weight_decay: float = 0.01,
        **others: Any,
    ) -> None:
        super().__init__(parameters, learning_rate, weight_decay=weight_decay, **others)


@final
class RMSprop(Optimizer):
    """RMSprop: the gradient in units of its recent root mean square.

        v <- alpha · v + (1 - alpha) g²
        direction = g / (√v + ε)

    `others` are those of every optimizer, see `Optimizer`.

    Raises:
        InputError: alpha not from 0 to below 1; see `Optimizer` for the rest.

    Source: Tieleman and Hinton, "Lecture 6.5 - rmsprop", Neural Networks for Machine Learning,
    2012, with ε as PyTorch places it.

    >>> w = Parameter([1.0])
    >>> w.grad = np.array([3.0], np.float32)
    >>> RMSprop([w], learning_rate=0.01).step()  # 0.01 · 3 / √(0.01 · 9)
    >>> w.value.round(4)
    array([0.9], dtype=float32)
    """

    slot_names = ("mean_square",)
    settings = (*Optimizer.settings, "alpha", "eps")

    def __init__(
        self,
        parameters: Parameters,
        learning_rate: Rate = 0.01,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        **others: Any,
    ) -> None:
        super().__init__(parameters, learning_rate, **others)
        self.alpha = alpha
        self.eps = eps

    def direction(self, grad: Array, slots: Slots) -> Array:
        """The gradient in units of its usual size."""
        return _in_units_of(grad, _towards(slots["mean_square"], grad * grad, self.alpha), self.eps)

    def _valid(self, name: str, value: Any) -> Any:
        if name == "alpha":
            return _below_one(self, name, value)
        return super()._valid(name, value)


@final
class Adagrad(Optimizer):
    """Adagrad: s <- s + g², direction = g / (√s + ε); rates only ever fall.

    `others` are those of every optimizer, see `Optimizer`.

    Source: Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and
    Stochastic Optimization", JMLR 12, 2011.

    >>> w = Parameter([1.0])
    >>> w.grad = np.array([3.0], np.float32)
    >>> Adagrad([w], learning_rate=0.1).step()
    >>> w.value.round(4)
    array([0.9], dtype=float32)
    """

    slot_names = ("sum_of_squares",)
    settings = (*Optimizer.settings, "eps")

    def __init__(
        self,
        parameters: Parameters,
        learning_rate: Rate = 0.01,
        *,
        eps: float = 1e-10,
        **others: Any,
    ) -> None:
        super().__init__(parameters, learning_rate, **others)
        self.eps = eps

    def direction(self, grad: Array, slots: Slots) -> Array:
        """The gradient in units of the length of all gradients so far."""
        slots["sum_of_squares"] += grad * grad
        return _in_units_of(grad, slots["sum_of_squares"], self.eps)


def _towards(running: Array, new: Array, beta: float) -> Array:
    """The running mean, moved in place: beta · running + (1 - beta) · new."""
    running *= beta
    running += (1 - beta) * new
    return running


def _in_units_of(grad: Array, square: Array, eps: float) -> Array:
    size = _root(square)
    size += eps
    return np.divide(grad, size, out=size)


def _root(square: Array) -> Array:
    return np.asarray(np.sqrt(square))  # which alone makes a number of an array without axes


def _below_one(who: Optimizer, name: str, value: Any) -> float:
    number = Optimizer._valid(who, name, value)
    if number >= 1:
        raise InputError(f"{type(who).__name__} expects {name} below 1, got {value!r}")
    return float(number)
