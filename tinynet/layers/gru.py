"""GRU: a recurrent layer whose gates say how much of the state each step replaces."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from tinynet.layers.recurrent import Recurrent, largest_exponents, sigmoids, tanh_slope
from tinynet.parameter import Array


@final
class GRU(Recurrent):
    """A gated recurrent unit: hₜ = (1 - z) n + z hₜ₋₁, entry by entry.

    r and z are sigmoid(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh) and n is tanh(W_ih xₜ + b_ih +
    r (W_hh hₜ₋₁ + b_hh)), each of its own block of rows, in the order r, z, n. x is (N, T, D),
    batch first; y is (N, T, H) of the h of all steps, or (N, H) of the last one with
    states="last". `forward` takes a `state` (N, H) to start from, zeros by default.
    Gradient: through all steps, from the last to the first; see docs/derivations/recurrent.md.

    Parameters, as in PyTorch's cells: `.weight_ih` (3 H, D), `.weight_hh` (3 H, H), `.bias_ih` and
    `.bias_hh` (3 H,), or None with bias=False; PyTorch's layers add `_l0` to the names. There is
    one layer and one direction: num_layers is a `Sequential` of them, bidirectional is not offered.

    Raises:
        InputError: a size is below 1, states is none of the two, an initializer gives another
            shape, or x or the state is of another shape or no array of floats.

    Source: Cho, van Merriënboer, Gulcehre, Bahdanau, Bougares, Schwenk and Bengio, "Learning Phrase
    Representations using RNN Encoder-Decoder", EMNLP 2014. There r meets h before W_hh; here, as in
    PyTorch, behind it, so that one product serves all gates.

    >>> layer = GRU(3, 4, rng=0)
    >>> layer(np.ones((2, 5, 3), np.float32)).shape
    (2, 5, 4)
    """

    _scales = (-1, -1, 1)

    def _bias(self, of_x: Array, of_h: Array) -> Array:
        bias = of_x + of_h
        # What b_hh has for n goes through r first.
        bias[2 * self.hidden_size :] = of_x[2 * self.hidden_size :]
        return bias

    def _run(
        self, entering: Array, first: list[Array]
    ) -> tuple[Array, list[Array], tuple[Array, ...]]:
        steps, _, n = entering.shape
        size, dtype = self.hidden_size, entering.dtype
        w = self._scaled(self.weight_hh.value, dtype)
        bias = np.zeros((size, n), dtype)
        if self.bias_hh is not None:
            bias += self.bias_hh.value[2 * size :, None]
        h = self._scratch("h", (steps + 1, size, n), dtype)
        h[0] = first[0]
        gates = self._scratch("gates", (steps, 2 * size, n), dtype)
        m, new = self._scratch("m, n", (2, steps, size, n), dtype)
        bound = largest_exponents(gates[0])
        for t, a in enumerate(entering):
            product = w @ h[t]
            a[: 2 * size] += product[: 2 * size]
            sigmoids(a[: 2 * size], bound, gates[t])
            r, z = gates[t].reshape(2, size, n)
            _, one_minus_z, a_n = a.reshape(3, size, n)
            np.add(product[2 * size :], bias, out=m[t])
            a_n += r * m[t]
            np.tanh(a_n, out=new[t])
            np.add(one_minus_z * new[t], z * h[t], out=h[t + 1])
        return h, [h[-1]], (entering, gates, m, new)

    def _run_back(
        self, arriving: Sequence[Any], hidden: Array, kept: tuple[Array, ...]
    ) -> tuple[Array, Array, list[Array]]:
        da, gates, m, new = kept
        size = self.hidden_size
        w = self.weight_hh.value.astype(da.dtype, copy=False).T
        # What each gate's da is to dh: nothing of it waits for dh.
        by_gate = da.reshape(len(da), 3, *m.shape[1:])  # (T, 3, H, N)
        of_r, of_z, of_n = by_gate.swapaxes(0, 1)
        r, z = gates.reshape(len(da), 2, *m.shape[1:]).swapaxes(0, 1)
        # From the forward 1 - z stands in of_z, and what tanh was taken of in of_n.
        np.multiply(of_z, tanh_slope(of_n), out=of_n)
        da[:, : 2 * size] *= gates  # the slopes s (1 - s)
        of_r *= m
        of_r *= of_n
        of_z *= np.subtract(hidden[:-1], new, out=new)
        dproduct = self._scratch("dproduct", da.shape, da.dtype)
        dproduct[...] = da
        dproduct[:, 2 * size :] *= r
        by_gate_of_product = dproduct.reshape(by_gate.shape)
        dh = np.zeros_like(hidden[0])
        for t in reversed(range(len(da))):
            dh += arriving[t]
            by_gate[t] *= dh
            by_gate_of_product[t] *= dh
            dh *= z[t]
            dh += w @ dproduct[t]
        return da, dproduct, [dh]
