"""What recurrent layers share: they read a sequence step by step and carry a state along."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tinynet.errors import InputError
from tinynet.initializers import Initializer, init_parameter, recurrent_uniform
from tinynet.layer import Layer
from tinynet.parameter import Array, Parameter
from tinynet.validation import whole_number


class Recurrent(Layer):
    """What RNN, GRU and LSTM share: parameters, states, and the products over all steps at once.

    Inside, samples are columns. A state is (H, N), and what enters G gates is (T, G·H, N): each
    step, and each gate of it, is one block of memory, and a step is one product with W_hh.

    What enters gate k is computed times `_scales[k]`: a sigmoid starts from exp(-a) anyway.
    """

    _scales: ClassVar[tuple[int, ...]]
    _carried: ClassVar[int] = 1  # arrays in a state, h being the first

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        states: str = "all",
        rng: np.random.Generator | int | None = None,
        weight_init: Initializer = recurrent_uniform,
        bias_init: Initializer = recurrent_uniform,
    ) -> None:
        name = type(self).__name__
        self.input_size = whole_number(name, "input_size", input_size)
        self.hidden_size = whole_number(name, "hidden_size", hidden_size)
        if states not in ("all", "last"):
            raise InputError(f'{name} expects states to be "all" or "last", got {states!r}')
        self.bias, self.states = bool(bias), states
        rng = np.random.default_rng(rng)
        who = f"{name}({input_size}, {hidden_size})"
        rows = len(self._scales) * self.hidden_size
        # The fans are those of one gate, which is a dense layer of its own.
        of_x, of_h = (self.input_size, self.hidden_size), (self.hidden_size, self.hidden_size)
        self.weight_ih = init_parameter(who, weight_init, (rows, self.input_size), of_x, rng)
        self.weight_hh = init_parameter(who, weight_init, (rows, self.hidden_size), of_h, rng)
        self.bias_ih = init_parameter(who, bias_init, (rows,), of_x, rng) if bias else None
        self.bias_hh = init_parameter(who, bias_init, (rows,), of_h, rng) if bias else None
        self._final: tuple[Array, ...] | None = None
        self._memory: dict[str, Array] = {}

    @property
    def final_state(self) -> Any:
        """A copy of the state behind the last step of the last `forward`; None before the first.

        `layer(x, layer.final_state)` goes on where that one stopped. No gradient flows through it.
        """
        return None if self._final is None else self._packed([each.copy() for each in self._final])

    def forward(self, x: Array, state: Any = None) -> Array:
        """x: (N, T, D), state: zeros if None -> y: (N, T, H), or (N, H) with states="last"."""
        self.check_input(x, "N", "T", self.input_size)
        n, steps, _ = x.shape
        if steps == 0:
            raise InputError(f"{self!r} expects x of at least one step, got none")
        if state is None:
            first = [np.zeros((self.hidden_size, n), x.dtype)] * self._carried
        else:
            first = [each.T.astype(x.dtype) for each in self._unpacked(state, n)]
        # A step's samples lie together: (T, N, D) as rows of D.
        rows = np.ascontiguousarray(x.swapaxes(0, 1)).reshape(steps * n, self.input_size)
        hidden, last, kept = self._run(self._entering(rows, steps, n), first)
        self._final = tuple(each.T.copy() for each in last)
        y = hidden[-1].T.copy() if self.states == "last" else hidden[1:].transpose(2, 0, 1).copy()
        self.save_for_backward(y, rows, state is not None, hidden, kept)
        return y

    def backward(self, dy: Array) -> Any:
        """dy: (N, T, H) or (N, H) -> dx: (N, T, D), or (dx, dstate) where a state was given."""
        dy, rows, state_given, hidden, kept = self.saved_for_backward(dy)
        da, dfirst = self._write_gradients(dy, rows, hidden, kept)
        drows = da.T @ self.weight_ih.value.astype(rows.dtype, copy=False)
        dx = drows.reshape(len(hidden) - 1, len(dy), self.input_size).swapaxes(0, 1)
        return (dx, self._packed([each.T for each in dfirst])) if state_given else dx

    def backward_parameters(self, dy: Array) -> None:
        """As `backward`, without the product for dx."""
        dy, rows, _, hidden, kept = self.saved_for_backward(dy)
        self._write_gradients(dy, rows, hidden, kept)

    def _entering(self, rows: Array, steps: int, n: int) -> Array:
        """What x alone brings into the gates of every step, (T, G·H, N), times the scales."""
        weight = self._scaled(self.weight_ih.value, rows.dtype)
        product = self._scratch("columns", (len(weight), steps * n), rows.dtype)
        np.matmul(weight, rows.T, out=product)
        if self.bias_ih is not None and self.bias_hh is not None:
            of_x, of_h = (b.value.astype(rows.dtype) for b in (self.bias_ih, self.bias_hh))
            product += self._scaled(self._bias(of_x, of_h), rows.dtype)[:, None]
        entering = self._scratch("entering", (steps, len(weight), n), rows.dtype)
        entering[...] = product.reshape(len(weight), steps, n).swapaxes(0, 1)
        return entering

    def _scratch(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Memory of an earlier call, where it fits: fresh memory costs a tenth of all the time."""
        if not self.training:  # batches differ then, and may be huge
            return np.empty(shape, dtype)
        found = self._memory.get(name)
        if found is None or found.shape != shape or found.dtype != dtype:
            found = self._memory[name] = np.empty(shape, dtype)
        return found

    def _bias(self, of_x: Array, of_h: Array) -> Array:
        """What of b_ih and b_hh enters the gates whatever the state is."""
        return of_x + of_h

    def _scaled(self, values: Array, dtype: np.dtype[Any]) -> Array:
        scales = np.repeat(np.array(self._scales, dtype), self.hidden_size)
        scaled: Array = (values.T.astype(dtype, copy=False) * scales).T
        return scaled

    def _write_gradients(
        self, dy: Array, rows: Array, hidden: Array, kept: tuple[Array, ...]
    ) -> tuple[Array, list[Array]]:
        steps = len(hidden) - 1
        # What each step's h gets from outside: (H, N), or 0 where only the last one went out.
        last_only = self.states == "last"
        arriving = [0.0] * (steps - 1) + [dy.T] if last_only else list(dy.transpose(1, 2, 0))
        da, dproduct, dfirst = self._run_back(arriving, hidden, kept)
        before = self._columns("before", hidden[:-1])
        from_x = self._columns("columns", da)
        from_h = from_x if dproduct is da else self._columns("columns of h", dproduct)
        self._write(self.weight_ih, from_x @ rows)
        self._write(self.weight_hh, from_h @ before.T)
        # Along an axis that is contiguous NumPy adds up in pairs, and float32 keeps its digits.
        self._write(self.bias_ih, from_x.sum(axis=1))
        self._write(self.bias_hh, from_h.sum(axis=1))
        return from_x, dfirst

    def _columns(self, name: str, steps: Array) -> Array:
        """(T, F, N) -> (F, T·N): all samples of all steps, for one product over all of them."""
        count, size, n = steps.shape
        columns = self._scratch(name, (size, count * n), steps.dtype)
        columns.reshape(size, count, n)[...] = steps.swapaxes(0, 1)
        return columns

    @staticmethod
    def _write(parameter: Parameter | None, grad: Array) -> None:
        if parameter is not None:
            parameter.grad = grad.astype(parameter.value.dtype, copy=False)

    def __getstate__(self) -> dict[str, Any]:
        # A copy or a pickle of a layer carries no batch, nor memory of the size of one.
        return super().__getstate__() | {"_memory": {}, "_final": None}

    # What a kind of layer is made of

    @abstractmethod
    def _run(
        self, entering: Array, first: list[Array]
    ) -> tuple[Array, list[Array], tuple[Array, ...]]:
        """The steps: (h of all steps, h before the first in front; the last state; what to keep).

        `entering` is there to be written to.
        """

    @abstractmethod
    def _run_back(
        self, arriving: Sequence[Any], hidden: Array, kept: tuple[Array, ...]
    ) -> tuple[Array, Array, list[Array]]:
        """The steps backwards, `arriving` being the dh of each from outside.

        Returns the gradients by what enters the gates, by W_hh h + b_hh, and by the first state.
        """

    def _unpacked(self, state: Any, n: int) -> tuple[Array, ...]:
        """The arrays (N, H) of a state that was given."""
        self.check_input(state, n, self.hidden_size, name="state")
        return (state,)

    def _packed(self, arrays: list[Array]) -> Any:
        """Arrays (N, H) in the form of a state."""
        return arrays[0]


def largest_exponents(like: Array) -> Array:
    """The largest number whose exp is finite, in an array: np.minimum is slow with a number."""
    return np.full_like(like, math.log(np.finfo(like.dtype).max) - 0.01)


def sigmoids(minus_a: Array, bound: Array, sigmoid: Array) -> None:
    """From -a, writes s, the sigmoid of a, into `sigmoid`, and 1 - s over -a.

    With z = exp(-a) they are 1 / (1 + z) and z / (1 + z): nothing is subtracted, all digits stay.
    """
    np.minimum(minus_a, bound, out=minus_a)
    np.exp(minus_a, out=minus_a)
    np.add(minus_a, 1, out=sigmoid)
    np.divide(minus_a, sigmoid, out=minus_a)
    np.reciprocal(sigmoid, out=sigmoid)


def tanh_slope(a: Array) -> Array:
    """1 - tanh² a as (2 z / (1 + z²))² with z = exp(-|a|), where nothing cancels."""
    z: Array = np.abs(a)
    np.negative(z, out=z)
    np.exp(z, out=z)
    sums = z * z
    sums += 1
    z /= sums
    z *= 2
    z *= z
    return z
