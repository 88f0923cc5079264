"""RNN: the simple recurrent layer, h = tanh(W x + U h + b) at each step."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from tinynet.functional import tanh_slope
from tinynet.initializers import Initializer, recurrent_uniform
from tinynet.layers.recurrent import Recurrent
from tinynet.parameter import Array
from tinynet.validation import one_of


@final
class RNN(Recurrent):
    """hₜ = f(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh), f being tanh or relu: the simple recurrent layer.

    x is (N, T, D); y is (N, T, H), every h, or with states="last" (N, H), the last one. `forward`
    takes an initial `state` (N, H), zeros by default. `.weight_ih` is (H, D), `.weight_hh` (H, H),
    `.bias_ih` and `.bias_hh` (H,), or None with bias=False.
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
    ) -> tuple[Array, list[Array], tuple[Array, ...]]:
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
        return h, [h[-1]], (a,)

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
