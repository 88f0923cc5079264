"""Bidirectional recurrent layers: one reads a sequence forwards, another one backwards."""

from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.layers.masking import Masked, mask_of
from tinynet.layers.recurrent import Recurrent
from tinynet.parameter import Array


@final
class Bidirectional(Masked):
    """y[t] = [h[t], g[t]], where `layer` computes h, and `reverse` computes g from the last step.

    x is (N, T, D); y is (N, T, 2 H), or with states="last" (N, 2 H): the last state of `layer`, and
    that of `reverse`, which has read the first step last. `reverse` is by default a second layer
    with the same arguments, its initial values drawn after those of `layer` from the same
    generator. `padding_mask` and `lengths` are those of `layer`, `state` and `final_state` pairs.
    Several are stacked in a `Sequential`: the second one takes 2 H features.

    Gradient: each layer gets its part of dy, and dx is the sum of both dx.

    Raises:
        InputError: the layers are no RNN, GRU or LSTM, or differ in class, input_size or states;
            later, what a layer raises.

    Source: Schuster and Paliwal, "Bidirectional Recurrent Neural Networks", IEEE Transactions on
    Signal Processing 45(11), 1997.

    >>> from tinynet import LSTM
    >>> Bidirectional(LSTM(3, 4, rng=0))(np.ones((2, 5, 3), np.float32)).shape
    (2, 5, 8)
    """

    def __init__(self, layer: Recurrent, reverse: Recurrent | None = None) -> None:
        if not isinstance(layer, Recurrent):
            raise InputError(f"Bidirectional expects an RNN, a GRU or an LSTM, got {layer!r}")
        if reverse is None:
            reverse = layer.draw_another()
        if _kind(reverse) != _kind(layer):
            raise InputError(
                f"Bidirectional expects a reverse layer like {layer!r}, got {reverse!r}"
            )
        self.layer, self.reverse = layer, reverse
        self.named_layers()  # raises InputError for one object at both places

    @property
    def final_state(self) -> Any:
        """The final states of both layers, as a pair; None before the first `forward`."""
        states = self.layer.final_state, self.reverse.final_state
        return None if states[0] is None else states

    def forward(
        self,
        x: Array,
        state: Any = None,
        *,
        padding_mask: Array | None = None,
        lengths: Any = None,
    ) -> Array:
        """x: (N, T, D), state: a pair, zeros if None -> y: (N, T, 2 H) or (N, 2 H)."""
        self.check_input(x, "N", "T", self.layer.input_size)
        if state is not None and not (isinstance(state, tuple) and len(state) == 2):
            raise InputError(
                f"{self!r} expects state to be a pair, of its layer and its reverse layer, "
                f"got {type(state).__name__}"
            )
        mask = mask_of(self, x, padding_mask, lengths)
        mask_reversed = None if mask is None else mask[:, ::-1]
        first, second = (None, None) if state is None else state
        h = self.layer(x, first, padding_mask=mask)
        g = self.reverse(x[:, ::-1], second, padding_mask=mask_reversed)
        y: Array = np.concatenate([h, self._reversed(g)], axis=-1)
        self.save_for_backward(y, state is not None)
        return y

    def backward(self, dy: Array) -> Any:
        """dy: like y -> dx: (N, T, D), or (dx, dstate) where a state was given."""
        dy, state_given = self.saved_for_backward(dy)
        dh, dg = self._split(dy)
        first, second = self.layer.backward(dh), self.reverse.backward(dg)
        if not state_given:
            return first + second[:, ::-1]
        return first[0] + second[0][:, ::-1], (first[1], second[1])

    def backward_parameters(self, dy: Array) -> None:
        """As `backward`, without dx."""
        dy, _ = self.saved_for_backward(dy)
        dh, dg = self._split(dy)
        self.layer.backward_parameters(dh)
        self.reverse.backward_parameters(dg)

    def output_mask(self, x: Any, padding_mask: Array | None = None) -> Array | None:
        """The mask of x, or None with states="last", where y has no steps."""
        return self.layer.output_mask(x, padding_mask)

    def _split(self, dy: Array) -> tuple[Array, Array]:
        size = self.layer.hidden_size
        return dy[..., :size], self._reversed(dy[..., size:])

    def _reversed(self, steps: Array) -> Array:
        return steps[:, ::-1] if self.layer.states == "all" else steps

    def __repr__(self) -> str:
        reverse = "" if f"{self.reverse!r}" == f"{self.layer!r}" else f", {self.reverse!r}"
        return f"Bidirectional({self.layer!r}{reverse})"


def _kind(layer: Any) -> tuple[Any, ...]:
    return (type(layer), getattr(layer, "input_size", None), getattr(layer, "states", None))
