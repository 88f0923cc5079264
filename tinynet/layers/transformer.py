"""TransformerBlock: self-attention and a feed-forward network, each with a norm and a skip."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from typing import Any, Literal, final

import numpy as np

from tinynet.layer import Layer
from tinynet.layers.activation import GELU, ReLU
from tinynet.layers.attention import MultiHeadAttention, head_sizes
from tinynet.layers.dense import Dense
from tinynet.layers.dropout import Dropout
from tinynet.layers.masking import Masked, check_padding_mask
from tinynet.layers.normalization import LayerNorm
from tinynet.parameter import Array
from tinynet.validation import finite_number, one_of, whole_number


@final
class TransformerBlock(Masked):
    """h = x + attention(norm1(x)), y = h + linear2(activation(linear1(norm2(h)))).

    With norm_first=False, as in the paper, the norms follow the sums: h = norm1(x + attention(x)),
    y = norm2(h + feed_forward(h)).

    x, y are (N, T, embed_dim); `padding_mask`, bools (N, T), and `causal` are those of
    `MultiHeadAttention`. `dim_feedforward` is 4 · embed_dim by default, `activation` "gelu" or
    "relu". `dropout` acts on the attention weights, after the activation, and on both terms that
    are added. Gradients: the chain rule, where at each sum dy goes both ways. `rng` is a Generator,
    an int seed, or None for fresh randomness; all layers inside share it.

    Raises:
        InputError: a setting is out of range, or x or padding_mask is not as above.

    Sources: Vaswani et al., "Attention Is All You Need", NeurIPS 2017; norm_first: Xiong et al.,
    "On Layer Normalization in the Transformer Architecture", ICML 2020.

    >>> TransformerBlock(8, 2, causal=True, rng=0)(np.ones((4, 3, 8), np.float32)).shape
    (4, 3, 8)
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        dim_feedforward: int | None = None,
        dropout: float = 0.0,
        causal: bool = False,
        norm_first: bool = True,
        activation: Literal["gelu", "relu"] = "gelu",
        rng: np.random.Generator | int | None = None,
    ) -> None:
        who = "TransformerBlock"
        self.embed_dim, self.num_heads = e, _ = head_sizes(who, embed_dim, num_heads)
        width = 4 * e if dim_feedforward is None else dim_feedforward
        self.dim_feedforward = whole_number(who, "dim_feedforward", width)
        self.dropout = finite_number(who, "dropout", dropout, at_least=0, below=1)
        self.activation = one_of(who, "activation", activation, ("gelu", "relu"))
        self.causal, self.norm_first = bool(causal), bool(norm_first)
        rng = np.random.default_rng(rng)

        self.norm1 = LayerNorm(e)
        self.self_attn = MultiHeadAttention(
            e, self.num_heads, dropout=self.dropout, causal=causal, rng=rng
        )
        self.dropout1 = Dropout(self.dropout, rng=rng)
        self.norm2 = LayerNorm(e)
        self.linear1 = Dense(e, self.dim_feedforward, rng=rng)
        self.hidden_activation: Layer = GELU() if activation == "gelu" else ReLU()
        self.hidden_dropout = Dropout(self.dropout, rng=rng)
        self.linear2 = Dense(self.dim_feedforward, e, rng=rng)
        self.dropout2 = Dropout(self.dropout, rng=rng)

    def forward(self, x: Array, padding_mask: Array | None = None) -> Array:
        """x: (N, T, E), padding_mask: (N, T) -> y: (N, T, E)."""
        self.check_input(x, "N", "T", self.embed_dim)
        if padding_mask is not None:
            check_padding_mask(self, padding_mask, x)
        y: Array
        if self.norm_first:
            h = x + self._attention(self.norm1(x), padding_mask)
            y = h + self._feed_forward(self.norm2(h))
        else:
            h = self.norm1(x + self._attention(x, padding_mask))
            y = self.norm2(h + self._feed_forward(h))
        self.save_for_backward(y)
        return y

    def output_mask(self, x: Any, padding_mask: Array | None = None) -> Array | None:  # noqa: ARG002  # as in the base class
        """The mask of x."""
        return padding_mask

    def backward(self, dy: Array) -> Array:
        """dy: (N, T, E) -> dx: (N, T, E)."""
        (dy,) = self.saved_for_backward(dy)
        dx: Array
        if self.norm_first:
            dh = dy + self.norm2.backward(self._feed_forward_backward(dy))
            dx = dh + self.norm1.backward(self._attention_backward(dh))
        else:
            dsum = self.norm2.backward(dy)
            dh = dsum + self._feed_forward_backward(dsum)
            dsum = self.norm1.backward(dh)
            dx = dsum + self._attention_backward(dsum)
        return dx

    def _attention(self, x: Array, padding_mask: Array | None) -> Array:
        y: Array = self.dropout1(self.self_attn(x, padding_mask=padding_mask))
        return y

    def _attention_backward(self, dy: Array) -> Array:
        dx: Array = self.self_attn.backward(self.dropout1.backward(dy))
        return dx

    def _feed_forward(self, h: Array) -> Array:
        hidden = self.hidden_dropout(self.hidden_activation(self.linear1(h)))
        y: Array = self.dropout2(self.linear2(hidden))
        return y

    def _feed_forward_backward(self, dy: Array) -> Array:
        dhidden = self.hidden_dropout.backward(self.linear2.backward(self.dropout2.backward(dy)))
        return self.linear1.backward(self.hidden_activation.backward(dhidden))
