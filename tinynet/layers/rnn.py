"""RNN: the simplest recurrent layer, whose state is bent once a step."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.initializers import Initializer, recurrent_uniform
from tinynet.layers.recurrent import Recurrent, tanh_slope
from tinynet.parameter import Array


@final
class RNN(Recurrent):
    """hₜ = f(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh), f being tanh or relu: the simple recurrent layer.

    x is (N, T, D), batch first; y is (N, T, H) of the h of all steps, or (N, H) of the last one
    with states="last". `forward` takes a `state` (N, H) to start from, zeros by default.
    Gradient: through all steps, from the last to the first. With daₜ = dhₜ · f', dhₜ₋₁ takes
    W_hhᵀ daₜ, dxₜ = W_ihᵀ daₜ, dW_ih = Σₜ daₜ xₜᵀ and dW_hh = Σₜ daₜ hₜ₋₁ᵀ.

    Parameters, as in PyTorch's cells: `.weight_ih` (H, D), `.weight_hh` (H, H), `.bias_ih` and
    `.bias_hh` (H,), or None with bias=False; PyTorch's layers add `_l0` to the names. Both biases
    start uniformly, as the weights do. There is one layer and one direction: num_layers is a
    `Sequential` of them, bidirectional is not offered.

    Raises:
        InputError: a size is below 1, nonlinearity or states is none of the two, an initializer
            gives another shape, or x or the state is of another shape or no array of floats.

    Source: Elman, "Finding Structure in Time", Cognitive Science 14(2), 1990.

    >>> layer = RNN(3, 4, states="last", rng=0)
    >>> x = np.ones((2, 5, 3), np.float32)
    >>> layer(x).shape
    (2, 4)
    >>> layer(x, layer.final_state).shape  # goes on where the first five steps stopped
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
        if nonlinearity not in ("tanh", "relu"):
            raise InputError(
                f'RNN expects nonlinearity to be "tanh" or "relu", got {nonlinearity!r}'
            )
        self.nonlinearity = nonlinearity
        super().__init__(
            input_size,
            hidden_size,
            bias=bias,
            states=states,
            rng=rng,
            weight_init=weight_init,
            bias_init=bias_init,
        )

    def _run(
        self, entering: Array, first: list[Array]
    ) -> tuple[Array, list[Array], tuple[Array, ...]]:
        steps, size, n = entering.shape
        w = self.weight_hh.value.astype(entering.dtype, copy=False)
        h = self._scratch("h", (steps + 1, size, n), entering.dtype)
        h[0] = first[0]
        for t, a in enumerate(entering):
            a += w @ h[t]
            if self.nonlinearity == "tanh":
                np.tanh(a, out=h[t + 1])
            else:
                np.maximum(a, 0, out=h[t + 1])
        return h, [h[-1]], (entering,)

    def _run_back(
        self, arriving: Sequence[Any], hidden: Array, kept: tuple[Array, ...]
    ) -> tuple[Array, Array, list[Array]]:
        (a,) = kept
        w = self.weight_hh.value.astype(a.dtype, copy=False).T
        da = tanh_slope(a) if self.nonlinearity == "tanh" else (a > 0).astype(a.dtype)
        dh = np.zeros_like(hidden[0])
        for t in reversed(range(len(a))):
            dh += arriving[t]
            da[t] *= dh
            np.matmul(w, da[t], out=dh)
        return da, da, [dh]
