"""Dense: a fully connected layer, where every output is a weighted sum of every input."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from typing import final

import numpy as np

from tinynet.initializers import Initializer, he_normal, init_parameter, zeros
from tinynet.layer import Layer
from tinynet.parameter import Array, write_grad
from tinynet.validation import whole_number


@final
class Dense(Layer):
    """y = x W + b, for x of shape (..., in_features) and y of shape (..., out_features).

    Gradients: dx = dy Wᵀ, dW = Σ xᵀ dy and db = Σ dy, summed over all axes but the last.

    `.weight` is (in_features, out_features), the transpose of PyTorch's; `.bias` is
    (out_features,), or None with bias=False. `rng` is a Generator, an int seed, or None for fresh
    randomness. The product is computed in the dtype of x.

    Raises:
        InputError: a size is below 1, an initializer gives another shape, or x does not end in
            in_features.

    >>> layer = Dense(3, 2, rng=0)
    >>> layer(np.ones((4, 3), np.float32)).shape
    (4, 2)
    """

    keeps_mask = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        rng: np.random.Generator | int | None = None,
        weight_init: Initializer = he_normal,
        bias_init: Initializer = zeros,
    ) -> None:
        self.in_features = whole_number("Dense", "in_features", in_features)
        self.out_features = whole_number("Dense", "out_features", out_features)
        fans, rng = (self.in_features, self.out_features), np.random.default_rng(rng)
        who = f"Dense({in_features}, {out_features})"
        self.weight = init_parameter(who, weight_init, fans, fans, rng)
        self.bias = init_parameter(who, bias_init, fans[1:], fans, rng) if bias else None

    def forward(self, x: Array) -> Array:
        """x: (..., in_features) -> y: (..., out_features)."""
        self.check_input(x, ..., self.in_features)
        y: Array = x @ self.weight.value.astype(x.dtype, copy=False)
        if self.bias is not None:
            y += self.bias.value
        self.save_for_backward(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (..., out_features) -> dx: (..., in_features)."""
        dy, x = self.saved_for_backward(dy)
        self._write_gradients(dy, x)
        dx: Array = dy @ self.weight.value.T.astype(x.dtype, copy=False)
        return dx

    def backward_parameters(self, dy: Array) -> None:
        """As `backward`, without dx: a third of the work of a first layer."""
        self._write_gradients(*self.saved_for_backward(dy))

    def _write_gradients(self, dy: Array, x: Array) -> None:
        x = x.reshape(-1, self.in_features)  # (N, in)
        dy = dy.reshape(-1, self.out_features)  # (N, out)
        write_grad(self.weight, x.T @ dy)
        if self.bias is not None:
            # Down the batch axis NumPy adds row after row: in float32 60,000 of them lose 7e-6.
            write_grad(self.bias, dy.sum(axis=0, dtype=np.float64))
