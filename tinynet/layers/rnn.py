"""RNN, GRU and LSTM: the steps of the three recurrent layers, forward and backward."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.functional import tanh_slope
from tinynet.initializers import Initializer, recurrent_uniform
from tinynet.layers.recurrent import Recurrent, largest_exponents, write_sigmoid
from tinynet.parameter import Array
from tinynet.validation import one_of


@final
class RNN(Recurrent):
    """hₜ = f(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh), f being tanh or relu: the simple recurrent layer.

    x is (N, T, D); y is (N, T, H), every h, or with states="last" (N, H), the last one. `forward`
    takes an initial `state` (N, H), zeros by default, and `padding_mask` or `lengths`, see
    docs/layers.md. `.weight_ih` is (H, D), `.weight_hh` (H, H), `.bias_ih` and `.bias_hh` (H,), or
    None with bias=False.
    Gradient: from the last step to the first, with daₜ = dhₜ · f': dhₜ₋₁ += W_hhᵀ daₜ,
    dxₜ = W_ihᵀ daₜ, dW_ih = Σₜ daₜ xₜᵀ and dW_hh = Σₜ daₜ hₜ₋₁ᵀ; see docs/derivations/recurrent.md.

    Raises:
        InputError: a size is below 1, nonlinearity or states is neither of the two, an initializer
            gives another shape, or x or the state has another shape or is not an array of floats.

    Source: Elman, "Finding Structure in Time", Cognitive Science 14(2), 1990.

    >>> layer = RNN(3, 4, states="last", rng=0)
    >>> layer(np.ones((2, 5, 3), np.float32)).shape
    (2, 4)
    """

    _scales = (1,)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        nonlinearity: str = "tanh",
        bias: bool = True,
        states: str = "all",
        rng: np.random.Generator | int | None = None,
        weight_init: Initializer = recurrent_uniform,
        bias_init: Initializer = recurrent_uniform,
    ) -> None:
        self.nonlinearity = one_of("RNN", "nonlinearity", nonlinearity, ("tanh", "relu"))
        if nonlinearity == "relu":
            self._padded_a = -math.inf  # where relu is 0
        super().__init__(
            input_size,
            hidden_size,
            bias=bias,
            states=states,
            rng=rng,
            weight_init=weight_init,
            bias_init=bias_init,
        )

    def _forward_steps(
        self, a: Array, initial: list[Array]
    ) -> tuple[list[Array], tuple[Array, ...]]:
        steps, size, n = a.shape
        w = self.weight_hh.value.astype(a.dtype, copy=False)
        h = self.scratch("h", (steps + 1, size, n), a.dtype)
        h[0] = initial[0]
        for t in range(steps):
            a[t] += w @ h[t]
            if self.nonlinearity == "tanh":
                np.tanh(a[t], out=h[t + 1])
            else:
                np.maximum(a[t], 0, out=h[t + 1])
        return [h], (a,)

    def _backward_steps(
        self, dh_from_y: Sequence[Any], hidden: Array, saved: tuple[Array, ...]
    ) -> tuple[Array, Array, list[Array]]:
        (a,) = saved
        w = self.weight_hh.value.astype(a.dtype, copy=False).T
        da = tanh_slope(a) if self.nonlinearity == "tanh" else (a > 0).astype(a.dtype)
        dh = np.zeros_like(hidden[0])
        for t in reversed(range(len(a))):
            dh += dh_from_y[t]
            da[t] *= dh
            np.matmul(w, da[t], out=dh)
        return da, da, [dh]


@final
class GRU(Recurrent):
    """hₜ = (1 - z) n + z hₜ₋₁ with gates r, z and candidate n: a gated recurrent unit.

    r and z are sigmoid(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh), n is tanh(W_ih xₜ + b_ih + r (W_hh hₜ₋₁
    + b_hh)), from consecutive blocks of H rows, in the order r, z, n. x is (N, T, D); y is
    (N, T, H), every h, or with states="last" (N, H), the last one. `forward` takes an initial
    `state` (N, H), zeros by default, and `padding_mask` or `lengths`, see docs/layers.md.
    `.weight_ih` is (3 H, D), `.weight_hh` (3 H, H), `.bias_ih` and `.bias_hh` (3 H,), or None with
    bias=False. Gradient: see docs/derivations/recurrent.md.

    Raises:
        InputError: a size is below 1, states is neither of the two, an initializer gives another
            shape, or x or the state has another shape or is not an array of floats.

    Source: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical
    Machine Translation", EMNLP 2014; with r after W_hh, as in PyTorch.

    >>> GRU(3, 4, rng=0)(np.ones((2, 5, 3), np.float32)).shape
    (2, 5, 4)
    """

    _scales = (-1, -1, 1)

    def _constant_bias(self, b_ih: Array, b_hh: Array) -> Array:
        bias = b_ih + b_hh
        # The part of b_hh in n is multiplied by r.
        bias[2 * self.hidden_size :] = b_ih[2 * self.hidden_size :]
        return bias

    def _forward_steps(
        self, a: Array, initial: list[Array]
    ) -> tuple[list[Array], tuple[Array, ...]]:
        steps, _, n = a.shape
        size, dtype = self.hidden_size, a.dtype
        w = self._scaled(self.weight_hh.value, dtype)
        bias = np.zeros((size, n), dtype)
        if self.bias_hh is not None:
            bias += self.bias_hh.value[2 * size :, None]
        h = self.scratch("h", (steps + 1, size, n), dtype)
        h[0] = initial[0]
        gates = self.scratch("gates", (steps, 2 * size, n), dtype)
        m, new = self.scratch("m, n", (2, steps, size, n), dtype)  # m = W_hh h + b_hh, for n
        largest = largest_exponents(gates[0])
        for t, a_t in enumerate(a):
            product = w @ h[t]
            a_t[: 2 * size] += product[: 2 * size]
            write_sigmoid(a_t[: 2 * size], largest, gates[t])
            r, z = gates[t].reshape(2, size, n)
            _, one_minus_z, a_n = a_t.reshape(3, size, n)
            np.add(product[2 * size :], bias, out=m[t])
            a_n += r * m[t]
            np.tanh(a_n, out=new[t])
            np.add(one_minus_z * new[t], z * h[t], out=h[t + 1])
        return [h], (a, gates, m, new)

    def _backward_steps(
        self, dh_from_y: Sequence[Any], hidden: Array, saved: tuple[Array, ...]
    ) -> tuple[Array, Array, list[Array]]:
        da, gates, m, new = saved
        size = self.hidden_size
        w = self.weight_hh.value.astype(da.dtype, copy=False).T
        # First da / dh for all steps at once: these factors do not depend on dh.
        by_gate = da.reshape(len(da), 3, *m.shape[1:])  # (T, 3, H, N)
        da_r, da_z, da_n = by_gate.swapaxes(0, 1)
        r, z = gates.reshape(len(da), 2, *m.shape[1:]).swapaxes(0, 1)
        # From the forward da_z holds 1 - z, and da_n the pre-activation of n.
        np.multiply(da_z, tanh_slope(da_n), out=da_n)
        da[:, : 2 * size] *= gates  # the slopes s (1 - s)
        da_r *= m
        da_r *= da_n
        da_z *= np.subtract(hidden[:-1], new, out=new)
        dproduct = self.scratch("dproduct", da.shape, da.dtype)
        dproduct[...] = da
        dproduct[:, 2 * size :] *= r
        dproduct_by_gate = dproduct.reshape(by_gate.shape)
        dh = np.zeros_like(hidden[0])
        for t in reversed(range(len(da))):
            dh += dh_from_y[t]
            by_gate[t] *= dh
            dproduct_by_gate[t] *= dh
            dh *= z[t]
            dh += w @ dproduct[t]
        return da, dproduct, [dh]


@final
class LSTM(Recurrent):
    """cₜ = f cₜ₋₁ + i g and hₜ = o tanh cₜ, entry by entry: a long short-term memory.

    i, f and o are sigmoid(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh), g is tanh of such a sum, from
    consecutive blocks of H rows, in the order i, f, g, o. x is (N, T, D); y is (N, T, H), every h,
    or with states="last" (N, H), the last one. `forward` takes an initial `state` (h, c), each
    (N, H), zeros by default, and `padding_mask` or `lengths`, see docs/layers.md. `.weight_ih` is
    (4 H, D), `.weight_hh` (4 H, H), `.bias_ih` and `.bias_hh` (4 H,), or None with bias=False.
    Gradient: see docs/derivations/recurrent.md.

    Raises:
        InputError: a size is below 1, states is neither of the two, an initializer gives another
            shape, x has another shape or is no array of floats, or the state no tuple of two such.

    Sources: Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8), 1997; f
    is from Gers, Schmidhuber and Cummins, "Learning to Forget", Neural Computation 12(10), 2000.

    >>> LSTM(3, 4, rng=0)(np.ones((2, 5, 3), np.float32)).shape
    (2, 5, 4)
    """

    # tanh a = 2 sigmoid(2a) - 1: with 2a in the third gate all four slopes are s (1 - s).
    _scales = (-1, -1, -2, -1)
    _state_arrays = 2

    def _forward_steps(
        self, a: Array, initial: list[Array]
    ) -> tuple[list[Array], tuple[Array, ...]]:
        steps, _, n = a.shape
        size, dtype = self.hidden_size, a.dtype
        w = self._scaled(self.weight_hh.value, dtype)
        h, c = self.scratch("h, c", (2, steps + 1, size, n), dtype)
        h[0], c[0] = initial
        gates = self.scratch("gates", a.shape, dtype)
        g, tanh_c = self.scratch("g, tanh c", (2, steps, size, n), dtype)
        largest = largest_exponents(a[0])
        for t, a_t in enumerate(a):
            a_t += w @ h[t]
            # g by tanh itself: 2 sigmoid(2a) - 1 would lose the digits of a small one.
            np.multiply(a_t[2 * size : 3 * size], -0.5, out=g[t])
            np.tanh(g[t], out=g[t])
            write_sigmoid(a_t, largest, gates[t])
            i, f, _, o = gates[t].reshape(4, size, n)
            np.add(f * c[t], i * g[t], out=c[t + 1])
            np.tanh(c[t + 1], out=tanh_c[t])
            np.multiply(o, tanh_c[t], out=h[t + 1])
        return [h, c], (a, gates, g, c, tanh_c)

    def _backward_steps(
        self, dh_from_y: Sequence[Any], hidden: Array, saved: tuple[Array, ...]
    ) -> tuple[Array, Array, list[Array]]:
        da, gates, g, c, tanh_c = saved
        w = self.weight_hh.value.astype(da.dtype, copy=False).T
        # First da / dc, for o da / dh, for all steps at once: these factors depend on neither.
        da *= gates  # the slopes s (1 - s)
        by_gate = da.reshape(len(da), 4, *g.shape[1:])  # (T, 4, H, N)
        da_i, da_f, da_g, da_o = by_gate.swapaxes(0, 1)
        i, f, _, o = gates.reshape(by_gate.shape).swapaxes(0, 1)
        da_i *= g
        da_f *= c[:-1]
        da_g *= i
        da_g *= 4
        da_o *= tanh_c
        dc_by_dh = tanh_slope(c[1:])
        dc_by_dh *= o
        dh, dc = np.zeros((2, *hidden[0].shape), da.dtype)
        for t in reversed(range(len(da))):
            dh += dh_from_y[t]
            dc += dh * dc_by_dh[t]
            by_gate[t, :3] *= dc
            by_gate[t, 3] *= dh
            dc *= f[t]
            np.matmul(w, da[t], out=dh)
        return da, da, [dh, dc]

    def _unpack_state(self, state: Any, n: int) -> tuple[Array, ...]:
        if not isinstance(state, tuple) or len(state) != 2:
            got = f"a tuple of {len(state)}" if isinstance(state, tuple) else type(state).__name__
            raise InputError(f"{self!r} expects state to be a tuple (h, c), got {got}")
        for name, array in zip("hc", state, strict=True):
            self.check_input(array, n, self.hidden_size, name=f"{name} of the state")
        return state

    def _pack_state(self, arrays: list[Array]) -> Any:
        return tuple(arrays)
