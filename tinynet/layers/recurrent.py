"""The base class of recurrent layers, which process a sequence step by step and carry a state."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import DTypeLike

from tinynet.errors import InputError
from tinynet.initializers import Initializer, init_parameter, recurrent_uniform
from tinynet.layers.masking import Masked, Packing, mask_of
from tinynet.parameter import Array, write_grad
from tinynet.signature import constructor_arguments
from tinynet.validation import one_of, whole_number


class Recurrent(Masked):
    """What RNN, GRU and LSTM share: parameters, states, and the products over all steps at once.

    Inside, samples are columns. A state is (H, N), and the pre-activations of G gates are
    (T, G·H, N): each step, and each gate of it, is one block of memory, and a step is one product
    with W_hh.

    The pre-activation of gate k is computed times `_scales[k]`: -1 for a sigmoid, which needs
    exp(-a).

    Padded steps are moved behind the real ones, where they change nothing, see `Packing`.
    """

    _scales: ClassVar[tuple[int, ...]]
    _state_arrays: ClassVar[int] = 1  # in a state, h being the first
    # The part of `a` from x at padded steps, where the state could grow without bound from x = 0.
    _padded_a: float | None = None

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
        self.states = one_of(name, "states", states, ("all", "last"))
        self.bias = bool(bias)
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
        self._draw: Callable[..., Any] | None = partial(
            type(self), rng=rng, weight_init=weight_init, bias_init=bias_init
        )

    @property
    def final_state(self) -> Any:
        """A copy of the state after the last step of the last `forward`; None before the first.

        It is that of the last real step of each sequence. `layer(x, layer.final_state)` continues
        the sequence. No gradient flows through it.
        """
        if self._final is None:
            return None
        return self._pack_state([array.copy() for array in self._final])

    def forward(
        self,
        x: Array,
        state: Any = None,
        *,
        padding_mask: Array | None = None,
        lengths: Any = None,
    ) -> Array:
        """x: (N, T, D), state: zeros if None -> y: (N, T, H), or (N, H) with states="last".

        Steps where `padding_mask`, bools (N, T), is True, or from `lengths`, integers (N,), on,
        keep the state, and their y is 0. A sequence of padding alone ends in its initial state.
        """
        self.check_input(x, "N", "T", self.input_size)
        n, steps, _ = x.shape
        if steps == 0:
            raise InputError(f"{self!r} expects x of at least one step, got none")
        if state is None:
            initial = [np.zeros((self.hidden_size, n), x.dtype)] * self._state_arrays
        else:
            initial = [array.T.astype(x.dtype) for array in self._unpack_state(state, n)]
        mask = mask_of(self, x, padding_mask, lengths)
        packing = Packing(mask) if mask is not None and mask.any() else None
        if packing is not None:
            x = packing.pack(x)
            steps = x.shape[1]
        # Time first: (T, N, D), as rows of D.
        rows = np.ascontiguousarray(x.swapaxes(0, 1)).reshape(steps * n, self.input_size)
        a = self._project_inputs(rows, steps, n)
        if packing is not None and self._padded_a is not None:
            np.copyto(a, self._padded_a, where=packing.padding.T[:, np.newaxis])
        states, saved = self._forward_steps(a, initial)
        if packing is None:
            final = tuple(array[-1].T.copy() for array in states)
        else:
            final = tuple(map(packing.last, states))
        self._final = final
        y: Array
        if self.states == "last":
            y = final[0].copy()
        else:
            y = states[0][1:].transpose(2, 0, 1)
            y = y.copy() if packing is None else packing.unpack(y)
        self.save_for_backward(y, rows, state is not None, packing, states[0], saved)
        return y

    def backward(self, dy: Array) -> Any:
        """dy: (N, T, H) or (N, H) -> dx: (N, T, D), or (dx, dstate) where a state was given."""
        dy, rows, state_given, packing, hidden, saved = self.saved_for_backward(dy)
        da, dinitial = self._write_gradients(dy, rows, packing, hidden, saved)
        drows = da.T @ self.weight_ih.value.astype(rows.dtype, copy=False)
        dx = drows.reshape(len(hidden) - 1, len(dy), self.input_size).swapaxes(0, 1)
        dx = dx if packing is None else packing.unpack(dx)
        return (dx, self._pack_state([array.T for array in dinitial])) if state_given else dx

    def backward_parameters(self, dy: Array) -> None:
        """As `backward`, without the product for dx."""
        dy, rows, _, packing, hidden, saved = self.saved_for_backward(dy)
        self._write_gradients(dy, rows, packing, hidden, saved)

    def draw_another(self) -> Self:
        """A second layer with the same arguments, its initial values drawn from the same generator.

        Raises:
            InputError: this one is a copy, which has no generator.
        """
        if self._draw is None:
            raise InputError(
                f"{self!r}.draw_another expects a layer that is no copy, got one: "
                "Bidirectional(layer, reverse) takes a second layer"
            )
        another: Self = self._draw(**constructor_arguments(self))
        return another

    def output_mask(self, x: Any, padding_mask: Array | None = None) -> Array | None:  # noqa: ARG002  # as in the base class
        """The mask of x, or None with states="last", where y has no steps."""
        return padding_mask if self.states == "all" else None

    def _project_inputs(self, rows: Array, steps: int, n: int) -> Array:
        """W_ih x + b for all steps, (T, G·H, N), times the scales."""
        weight = self._scaled(self.weight_ih.value, rows.dtype)
        product = self.scratch("columns", (len(weight), steps * n), rows.dtype)
        np.matmul(weight, rows.T, out=product)
        if self.bias_ih is not None and self.bias_hh is not None:
            b_ih, b_hh = (b.value.astype(rows.dtype) for b in (self.bias_ih, self.bias_hh))
            product += self._scaled(self._constant_bias(b_ih, b_hh), rows.dtype)[:, None]
        a = self.scratch("a", (steps, len(weight), n), rows.dtype)
        a[...] = product.reshape(len(weight), steps, n).swapaxes(0, 1)
        return a

    def _constant_bias(self, b_ih: Array, b_hh: Array) -> Array:
        """The part of both biases that is added to the pre-activations whatever the state is."""
        return b_ih + b_hh

    def _scaled(self, values: Array, dtype: DTypeLike) -> Array:
        scales = np.repeat(np.array(self._scales, dtype), self.hidden_size)
        scaled: Array = (values.T.astype(dtype, copy=False) * scales).T
        return scaled

    def _write_gradients(
        self,
        dy: Array,
        rows: Array,
        packing: Packing | None,
        hidden: Array,
        saved: tuple[Array, ...],
    ) -> tuple[Array, list[Array]]:
        """Writes the gradients; returns da (G·H, T·N), and those of the initial state."""
        steps = len(hidden) - 1
        # The part of each dh that comes from y: (H, N), or 0 where only the last h went out.
        dh_from_y: list[Any]
        if self.states == "all":
            dy = dy if packing is None else packing.pack(dy)
            dh_from_y = [0.0, *dy.transpose(1, 2, 0)]
        elif packing is None:
            dh_from_y = [0.0] * steps + [dy.T]
        else:
            dh_from_y = packing.put_last(dy)
        da, dproduct, dinitial = self._backward_steps(dh_from_y[1:], hidden, saved)
        if packing is not None:  # without a real step the initial state is the last one
            dinitial[0] += dh_from_y[0]
        h_before = self._columns("h before", hidden[:-1])
        da_columns = self._columns("columns", da)
        dproduct_columns = da_columns if dproduct is da else self._columns("columns of h", dproduct)
        write_grad(self.weight_ih, da_columns @ rows)
        write_grad(self.weight_hh, dproduct_columns @ h_before.T)
        # Along a contiguous axis NumPy adds in pairs, which keeps the digits of float32.
        write_grad(self.bias_ih, da_columns.sum(axis=1))
        write_grad(self.bias_hh, dproduct_columns.sum(axis=1))
        return da_columns, dinitial

    def _columns(self, name: str, steps: Array) -> Array:
        """(T, F, N) -> (F, T·N): all samples of all steps, for one product over all of them."""
        count, size, n = steps.shape
        columns = self.scratch(name, (size, count * n), steps.dtype)
        columns.reshape(size, count, n)[...] = steps.swapaxes(0, 1)
        return columns

    def __getstate__(self) -> dict[str, Any]:
        # A copy or a pickle of a layer carries no batch.
        return super().__getstate__() | {"_final": None, "_draw": None}

    # What RNN, GRU and LSTM define

    @abstractmethod
    def _forward_steps(
        self, a: Array, initial: list[Array]
    ) -> tuple[list[Array], tuple[Array, ...]]:
        """All steps. Returns every h, the initial one first, for an LSTM every c; what to save.

        `a` is the part of the pre-activations that comes from x, and may be overwritten.
        """

    @abstractmethod
    def _backward_steps(
        self, dh_from_y: Sequence[Any], hidden: Array, saved: tuple[Array, ...]
    ) -> tuple[Array, Array, list[Array]]:
        """All steps in reverse, where `dh_from_y` is the part of each dh that comes from y.

        Returns the gradients by the pre-activations, by W_hh h + b_hh, and by the initial state.
        """

    def _unpack_state(self, state: Any, n: int) -> tuple[Array, ...]:
        """The arrays (N, H) of a state that was given."""
        self.check_input(state, n, self.hidden_size, name="state")
        return (state,)

    def _pack_state(self, arrays: list[Array]) -> Any:
        """Arrays (N, H) as a state, the inverse of `_unpack_state`."""
        return arrays[0]


def largest_exponents(like: Array) -> Array:
    """The largest number whose exp is finite, as an array: np.minimum is slow with a number."""
    return np.full_like(like, math.log(np.finfo(like.dtype).max) - 0.01)


def write_sigmoid(minus_a: Array, largest: Array, sigmoid: Array) -> None:
    """Writes s = sigmoid(a) into `sigmoid`, and 1 - s over the -a that is given.

    With z = exp(-a) they are 1 / (1 + z) and z / (1 + z): nothing is subtracted, no digits are
    lost. `largest` holds the `largest_exponents`.
    """
    np.minimum(minus_a, largest, out=minus_a)
    np.exp(minus_a, out=minus_a)
    np.add(minus_a, 1, out=sigmoid)
    np.divide(minus_a, sigmoid, out=minus_a)
    np.reciprocal(sigmoid, out=sigmoid)
