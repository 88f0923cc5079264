"""Adaptive methods: optimizers that scale the rate of each entry by its past gradients."""

import math
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.optimizers.optimizer import Optimizer, Parameters, Rate, Slots
from tinynet.parameter import Array
from tinynet.validation import finite_number


class Adam(Optimizer):
    """Adam: running means of g and g², corrected for their start at 0, in step t = 1, 2, ...

        m <- β₁ m + (1 - β₁) g          m̂ = m / (1 - β₁ᵗ)
        v <- β₂ v + (1 - β₂) g²         v̂ = v / (1 - β₂ᵗ)
        direction = m̂ / (√v̂ + ε)

    `betas` is (β₁, β₂), `eps` is ε. `l2` is part of g, and so of the means; `weight_decay` is not,
    as in AdamW. `others`: see `Optimizer`.

    Raises:
        InputError: betas not two numbers from 0 to below 1; see `Optimizer` for the rest.

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 1.

    >>> from tinynet import Parameter
    >>> w = Parameter([1.0, 1.0])
    >>> w.grad = np.array([0.001, -1000.0], np.float32)
    >>> Adam([w], learning_rate=0.1).step()
    >>> w.value.round(4)  # the first step hardly depends on the size of the gradient
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
        """The mean gradient divided by its root mean square."""
        (beta1, beta2), t = self.betas, self.steps + 1
        mean = _update_mean(slots["mean"], grad, beta1)
        mean_square = _update_mean(slots["mean_square"], grad * grad, beta2)
        # m̂ / (√v̂ + ε), with both corrections in one factor: one pass less over the array.
        correction = math.sqrt(1 - beta2**t)
        direction = _divide_by_root(mean, mean_square, self.eps * correction)
        direction *= correction / (1 - beta1**t)
        return direction

    def _validated(self, name: str, value: Any) -> Any:
        if name != "betas":
            return super()._validated(name, value)
        who = type(self).__name__
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise InputError(f"{who} expects betas to be two numbers, got {value!r}")
        return tuple(finite_number(who, "each of betas", b, at_least=0, below=1) for b in value)


@final
class AdamW(Adam):
    """Adam with decoupled weight decay, 0.01 by default.

    The decay is rate · weight_decay · w in each step, whatever the gradients; that of `l2` would be
    divided by their size like the rest of the gradient. `others`: see `Adam`.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2.

    >>> from tinynet import Parameter
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
    """RMSprop: the gradient divided by a running root mean square of it.

        v <- alpha · v + (1 - alpha) g²
        direction = g / (√v + ε)

    `others`: see `Optimizer`.

    Raises:
        InputError: alpha not from 0 to below 1; see `Optimizer` for the rest.

    Source: Tieleman and Hinton, "Lecture 6.5 - rmsprop", Neural Networks for Machine Learning,
    2012, with ε as PyTorch places it.

    >>> from tinynet import Parameter
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
        """The gradient divided by its running root mean square."""
        mean_square = _update_mean(slots["mean_square"], grad * grad, self.alpha)
        return _divide_by_root(grad, mean_square, self.eps)

    def _validated(self, name: str, value: Any) -> Any:
        if name == "alpha":
            return finite_number("RMSprop", name, value, at_least=0, below=1)
        return super()._validated(name, value)


@final
class Adagrad(Optimizer):
    """Adagrad: s <- s + g², direction = g / (√s + ε), so that steps only become smaller.

    `others`: see `Optimizer`.

    Source: Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and
    Stochastic Optimization", JMLR 12, 2011.

    >>> from tinynet import Parameter
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
        """The gradient divided by the root of the sum of all squares so far."""
        slots["sum_of_squares"] += grad * grad
        return _divide_by_root(grad, slots["sum_of_squares"], self.eps)


def _update_mean(mean: Array, new: Array, beta: float) -> Array:
    """An exponential moving average, in place: beta · mean + (1 - beta) · new."""
    mean *= beta
    mean += (1 - beta) * new
    return mean


def _divide_by_root(array: Array, square: Array, eps: float) -> Array:
    """A new array: array / (√square + eps)."""
    root: Array = np.asarray(np.sqrt(square))  # NumPy gives a number for an array without axes
    root += eps
    np.divide(array, root, out=root)
    return root
