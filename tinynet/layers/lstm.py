"""LSTM: a recurrent layer with a memory that gates write to, keep and read."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.layers.recurrent import Recurrent, largest_exponents, sigmoids, tanh_slope
from tinynet.parameter import Array


@final
class LSTM(Recurrent):
    """A long short-term memory: cₜ = f cₜ₋₁ + i g and hₜ = o tanh cₜ, entry by entry.

    i, f and o are sigmoid(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh) and g is tanh of such a sum, each of
    its own block of rows, in the order i, f, g, o. x is (N, T, D), batch first; y is (N, T, H) of
    the h of all steps, or (N, H) of the last one with states="last". `forward` takes a `state`
    (h, c), each (N, H), to start from, zeros by default.
    Gradient: through all steps, from the last to the first; see docs/derivations/recurrent.md.

    Parameters, as in PyTorch's cells: `.weight_ih` (4 H, D), `.weight_hh` (4 H, H), `.bias_ih` and
    `.bias_hh` (4 H,), or None with bias=False; PyTorch's layers add `_l0` to the names. There is
    one layer and one direction: num_layers is a `Sequential` of them, bidirectional and proj_size
    are not offered.

    Raises:
        InputError: a size is below 1, states is none of the two, an initializer gives another
            shape, x is of another shape or no array of floats, or the state no tuple of two such.

    Source: Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8), 1997;
    f comes from Gers, Schmidhuber and Cummins, "Learning to Forget", Neural Computation 12(10),
    2000.

    >>> layer = LSTM(3, 4, rng=0)
    >>> layer(np.ones((2, 5, 3), np.float32)).shape
    (2, 5, 4)
    >>> [array.shape for array in layer.final_state]
    [(2, 4), (2, 4)]
    """

    # tanh a = 2 sigmoid(2a) - 1: with 2a in the third gate one pass gives the slopes of all four.
    _scales = (-1, -1, -2, -1)
    _carried = 2

    def _run(
        self, entering: Array, first: list[Array]
    ) -> tuple[Array, list[Array], tuple[Array, ...]]:
        steps, _, n = entering.shape
        size, dtype = self.hidden_size, entering.dtype
        w = self._scaled(self.weight_hh.value, dtype)
        h, c = self._scratch("h, c", (2, steps + 1, size, n), dtype)
        h[0], c[0] = first
        gates = self._scratch("gates", entering.shape, dtype)
        g, tanh_c = self._scratch("g, tanh c", (2, steps, size, n), dtype)
        bound = largest_exponents(entering[0])
        for t, a in enumerate(entering):
            a += w @ h[t]
            # g by tanh itself: 2 sigmoid(2a) - 1 would lose the digits of a small one.
            np.multiply(a[2 * size : 3 * size], -0.5, out=g[t])
            np.tanh(g[t], out=g[t])
            sigmoids(a, bound, gates[t])
            i, f, _, o = gates[t].reshape(4, size, n)
            np.add(f * c[t], i * g[t], out=c[t + 1])
            np.tanh(c[t + 1], out=tanh_c[t])
            np.multiply(o, tanh_c[t], out=h[t + 1])
        return h, [h[-1], c[-1]], (entering, gates, g, c, tanh_c)

    def _run_back(
        self, arriving: Sequence[Any], hidden: Array, kept: tuple[Array, ...]
    ) -> tuple[Array, Array, list[Array]]:
        da, gates, g, c, tanh_c = kept
        w = self.weight_hh.value.astype(da.dtype, copy=False).T
        # What each gate's da is to dc, or to dh for o: nothing of it waits for dc or dh.
        da *= gates  # the slopes s (1 - s)
        by_gate = da.reshape(len(da), 4, *g.shape[1:])  # (T, 4, H, N)
        of_i, of_f, of_g, of_o = by_gate.swapaxes(0, 1)
        i, f, _, o = gates.reshape(by_gate.shape).swapaxes(0, 1)
        of_i *= g
        of_f *= c[:-1]
        of_g *= i
        of_g *= 4
        of_o *= tanh_c
        dc_of_dh = tanh_slope(c[1:])
        dc_of_dh *= o
        dh, dc = np.zeros((2, *hidden[0].shape), da.dtype)
        for t in reversed(range(len(da))):
            dh += arriving[t]
            dc += dh * dc_of_dh[t]
            by_gate[t, :3] *= dc
            by_gate[t, 3] *= dh
            dc *= f[t]
            np.matmul(w, da[t], out=dh)
        return da, da, [dh, dc]

    def _unpacked(self, state: Any, n: int) -> tuple[Array, ...]:
        if not isinstance(state, tuple) or len(state) != 2:
            raise InputError(f"{self!r} expects state to be a tuple (h, c), got {_form(state)}")
        for name, array in zip("hc", state, strict=True):
            self.check_input(array, n, self.hidden_size, name=f"{name} of the state")
        return state

    def _packed(self, arrays: list[Array]) -> Any:
        return tuple(arrays)


def _form(state: Any) -> str:
    return f"a tuple of {len(state)}" if isinstance(state, tuple) else type(state).__name__
