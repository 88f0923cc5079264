"""GRU: a recurrent layer with gates that control how much of the state each step replaces."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from tinynet.functional import tanh_slope
from tinynet.layers.recurrent import Recurrent, largest_exponents, write_sigmoid
from tinynet.parameter import Array


@final
class GRU(Recurrent):
    """hₜ = (1 - z) n + z hₜ₋₁ with gates r, z and candidate n: a gated recurrent unit.

    r and z are sigmoid(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh), n is tanh(W_ih xₜ + b_ih + r (W_hh hₜ₋₁
    + b_hh)), from consecutive blocks of H rows, in the order r, z, n. x is (N, T, D); y is
    (N, T, H), every h, or with states="last" (N, H), the last one. `forward` takes an initial
    `state` (N, H), zeros by default. `.weight_ih` is (3 H, D), `.weight_hh` (3 H, H), `.bias_ih`
    and `.bias_hh` (3 H,), or None with bias=False. Gradient: see docs/derivations/recurrent.md.

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
    ) -> tuple[Array, list[Array], tuple[Array, ...]]:
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
        return h, [h[-1]], (a, gates, m, new)

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
