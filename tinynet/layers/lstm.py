"""LSTM: a recurrent layer with a cell state that gates write to, keep and read."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.functional import tanh_slope
from tinynet.layers.recurrent import Recurrent, largest_exponents, write_sigmoid
from tinynet.parameter import Array


@final
class LSTM(Recurrent):
    """cₜ = f cₜ₋₁ + i g and hₜ = o tanh cₜ, entry by entry: a long short-term memory.

    i, f and o are sigmoid(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh), g is tanh of such a sum, from
    consecutive blocks of H rows, in the order i, f, g, o. x is (N, T, D); y is (N, T, H), every h,
    or with states="last" (N, H), the last one. `forward` takes an initial `state` (h, c), each
    (N, H), zeros by default. `.weight_ih` is (4 H, D), `.weight_hh` (4 H, H), `.bias_ih` and
    `.bias_hh` (4 H,), or None with bias=False. Gradient: see docs/derivations/recurrent.md.

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
    ) -> tuple[Array, list[Array], tuple[Array, ...]]:
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
        return h, [h[-1], c[-1]], (a, gates, g, c, tanh_c)

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
