"""Attention: each position of a sequence computes a weighted mean over all positions."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
from typing import Any, NamedTuple, final

import numpy as np

from tinynet.errors import InputError
from tinynet.initializers import Initializer, glorot_uniform, init_parameter, zeros
from tinynet.layers.masking import Masked, check_padding_mask
from tinynet.parameter import Array, Parameter, write_grad
from tinynet.validation import finite_number, whole_number


class _Heads(NamedTuple):
    """What `forward` saves of the heads. A row of P is `powers` / `total`."""

    q: Array  # (N, H, T, D), already divided by √D
    k: Array  # (N, H, S, D)
    v: Array  # (N, H, S, D)
    powers: Array  # (N, H, T, S): exp(score - the largest score of the row)
    total: Array  # (N, H, T, 1): the sum of a row of powers, or 1 where every key is masked
    factor: Array | None  # (N, H, T, S): of the dropout, 0 or 1 / (1 - dropout)
    dropped: Array  # (N, H, T, S): powers · factor
    o: Array  # (N, T, H, D)


@final
class MultiHeadAttention(Masked):
    """o = softmax(q kᵀ / √D) v in each head, y = o Woᵀ + bo: scaled dot-product attention.

    q = x Wqᵀ + bq, k = c Wkᵀ + bk, v = c Wvᵀ + bv, with c = x, or in cross-attention the `context`,
    are split into `num_heads` heads of D = embed_dim / num_heads features. x, y are (N, T, E), c is
    (N, S, E). Keys where `padding_mask`, bools (N, S), is True are ignored; with causal=True
    position t attends to positions up to t alone. Without any key y is bo. `dropout` acts on P,
    the softmax. Gradient: docs/derivations/attention.md; `backward` returns dx or (dx, dcontext).

    `.in_proj_weight` (3E, E) is Wq, Wk and Wv stacked, `.in_proj_bias` is (3E,), `.out_proj_weight`
    (E, E), `.out_proj_bias` (E,). `rng`: a Generator, an int seed, or None for fresh randomness.

    Raises:
        InputError: a setting is out of range, or x, context or padding_mask are not as above.

    Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.2.

    >>> MultiHeadAttention(8, 2, causal=True, rng=0)(np.ones((4, 2, 8))).shape
    (4, 2, 8)
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        dropout: float = 0.0,
        bias: bool = True,
        causal: bool = False,
        rng: np.random.Generator | int | None = None,
        weight_init: Initializer = glorot_uniform,
        bias_init: Initializer = zeros,
    ) -> None:
        who = "MultiHeadAttention"
        self.embed_dim, self.num_heads = head_sizes(who, embed_dim, num_heads)
        self.dropout = finite_number(who, "dropout", dropout, at_least=0, below=1)
        self.bias, self.causal = bool(bias), bool(causal)
        self.rng = np.random.default_rng(rng)

        def parameter(init: Initializer, rows: int, *columns: int) -> Parameter:
            name = f"{who}({embed_dim}, {num_heads})"
            return init_parameter(name, init, (rows, *columns), (embed_dim, rows), self.rng)

        self.in_proj_weight = parameter(weight_init, 3 * embed_dim, embed_dim)
        self.in_proj_bias = parameter(bias_init, 3 * embed_dim) if bias else None
        self.out_proj_weight = parameter(weight_init, embed_dim, embed_dim)
        self.out_proj_bias = parameter(bias_init, embed_dim) if bias else None

    def forward(
        self, x: Array, context: Array | None = None, *, padding_mask: Array | None = None
    ) -> Array:
        """x: (N, T, E), context: (N, S, E), padding_mask: (N, S) -> y: (N, T, E)."""
        self.check_input(x, "N", "T", self.embed_dim)
        if context is not None:
            self._check_context(x, context)
        mask = self._mask(x, x if context is None else context, padding_mask)
        if context is None:
            q, k, v = self._project(x, 0, 3)
        else:
            (q,), (k, v) = self._project(x, 0, 1), self._project(context, 1, 3)
        heads = self._attend(q, k, v, mask)
        weight = self.out_proj_weight.value.astype(x.dtype, copy=False)
        y: Array = (heads.o.reshape(-1, self.embed_dim) @ weight.T).reshape(x.shape)
        if self.out_proj_bias is not None:
            y += self.out_proj_bias.value
        self.save_for_backward(y, x, context, heads)
        return y

    def backward(self, dy: Array) -> Any:
        """dy: (N, T, E) -> dx: (N, T, E), or where there was a context (dx, dcontext)."""
        dy, x, context, heads = self.saved_for_backward(dy)
        dw, db, do = _linear_backward(dy, heads.o.reshape(x.shape), self.out_proj_weight.value)
        write_grad(self.out_proj_weight, dw)
        write_grad(self.out_proj_bias, db)
        weight = self.in_proj_weight.value
        if context is None:
            dqkv = self.scratch("dqkv", (*x.shape[:2], 3 * self.embed_dim), x.dtype)
            self._attend_backward(do, heads, *self._split_heads(dqkv))
            dw, db, dx = _linear_backward(dqkv, x, weight)
            dcontext = None
        else:
            dq = self.scratch("dq", x.shape, x.dtype)
            dkv = self.scratch("dkv", (*context.shape[:2], 2 * self.embed_dim), x.dtype)
            self._attend_backward(do, heads, *self._split_heads(dq), *self._split_heads(dkv))
            dw_q, db_q, dx = _linear_backward(dq, x, weight[: self.embed_dim])
            dw_kv, db_kv, dcontext = _linear_backward(dkv, context, weight[self.embed_dim :])
            dw, db = np.concatenate([dw_q, dw_kv]), np.concatenate([db_q, db_kv])
        write_grad(self.in_proj_weight, dw)
        write_grad(self.in_proj_bias, db)
        return dx if context is None else (dx, dcontext)

    def output_mask(self, x: Any, padding_mask: Array | None = None) -> Array | None:  # noqa: ARG002  # as in the base class
        """The mask of x, for self-attention."""
        return padding_mask

    @property
    def attention_weights(self) -> Array:
        """P of the last `forward`, before dropout, (N, heads, T, S): a copy, for plots.

        Raises:
            InputError: there was no `forward`, or a `backward` or `predict` has discarded it.
        """
        if self._saved is None:
            raise InputError(
                f"{self!r}.attention_weights expects a forward before it, got none, "
                "or a backward since"
            )
        *_, (*_, heads) = self._saved
        weights: Array = heads.powers / heads.total
        return weights

    def _attend(self, q: Array, k: Array, v: Array, mask: Array | None) -> _Heads:
        """Computes o = softmax(q kᵀ / √D + mask) v in every head."""
        n, h, t, d = q.shape
        shape, dtype = (n, h, t, k.shape[2]), q.dtype
        q *= 1 / math.sqrt(d)
        powers = np.matmul(q, k.swapaxes(2, 3), out=self.scratch("powers", shape, dtype))
        if mask is not None:
            powers += mask
        # Where all keys are masked the largest is the lowest float and not -inf: no inf - inf.
        powers -= powers.max(axis=-1, keepdims=True, initial=np.finfo(dtype).min)
        np.exp(powers, out=powers)
        # The product is a sum, only faster. It contains the largest power, 1, and so is below 1
        # only where all keys are masked.
        total = np.maximum(powers @ np.ones(shape[-1], dtype), 1)[..., np.newaxis]
        factor, dropped = None, powers
        if self.training and self.dropout:
            # In float32 whatever the dtype of x, as in Dropout.
            kept = self.rng.random(shape, np.float32) >= self.dropout
            factor = self.scratch("factor", shape, dtype)
            np.divide(kept, 1 - self.dropout, out=factor)
            dropped = np.multiply(powers, factor, out=self.scratch("dropped", shape, dtype))
        o = self.scratch("o", (n, t, h, d), dtype)
        rows = o.swapaxes(1, 2)
        np.matmul(dropped, v, out=rows)
        rows /= total  # of o and not of P, which is larger
        return _Heads(q, k, v, powers, total, factor, dropped, o)

    def _attend_backward(self, do: Array, heads: _Heads, dq: Array, dk: Array, dv: Array) -> None:
        """Writes dq, dk and dv of every head, for a do of (N, T, E) that it may overwrite."""
        q, k, v, powers, total, factor, dropped, o = heads
        do = do.reshape(o.shape).swapaxes(1, 2)
        do /= total  # once for dv and ds, which then take `powers` in place of P
        np.matmul(dropped.swapaxes(2, 3), do, out=dv)
        ds = np.matmul(do, v.swapaxes(2, 3), out=self.scratch("ds", powers.shape, q.dtype))
        if factor is not None:
            ds *= factor
        # Σ P dP is also Σ o do, but this way ds is exactly 0 where one key has all the weight.
        ds -= np.vecdot(ds, powers)[..., np.newaxis] / total
        ds *= powers
        np.matmul(ds, k, out=dq)
        dq *= 1 / math.sqrt(q.shape[3])
        np.matmul(ds.swapaxes(2, 3), q, out=dk)

    def _project(self, x: Array, first: int, stop: int) -> Array:
        """Of q, k and v those from `first` to `stop`, in one product: (parts, N, H, T, D)."""
        rows = slice(first * self.embed_dim, stop * self.embed_dim)
        weight = self.in_proj_weight.value[rows].astype(x.dtype, copy=False)
        projected = self.scratch(f"projected {first}", (*x.shape[:2], len(weight)), x.dtype)
        np.matmul(_flat(x), weight.T, out=_flat(projected))
        if self.in_proj_bias is not None:
            projected += self.in_proj_bias.value[rows]
        return self._split_heads(projected)

    def _split_heads(self, projected: Array) -> Array:
        """A view of (N, T, parts · E) as (parts, N, H, T, D)."""
        (n, t, width), e, h = projected.shape, self.embed_dim, self.num_heads
        return projected.reshape(n, t, width // e, h, e // h).transpose(2, 0, 3, 1, 4)

    def _mask(self, x: Array, context: Array, padding_mask: Array | None) -> Array | None:
        """What is added to the scores (N, H, T, S): -inf where a key is masked, else 0."""
        mask: Array | None = None
        if self.causal:
            mask = np.triu(np.full(2 * x.shape[1:2], -np.inf, x.dtype), 1)
        if padding_mask is not None:
            check_padding_mask(self, padding_mask, context)
            padding = np.where(padding_mask, -np.inf, 0).astype(x.dtype)[:, np.newaxis, np.newaxis]
            mask = padding if mask is None else mask + padding
        return mask

    def _check_context(self, x: Array, context: Array) -> None:
        self.check_input(context, len(x), "S", self.embed_dim, name="context")
        if context.dtype != x.dtype:
            raise InputError(
                f"{self!r} expects context to be of x's dtype, {x.dtype}, got {context.dtype}"
            )
        if self.causal and context.shape[1] != x.shape[1]:
            raise InputError(
                f"{self!r} expects a context of x's length, {x.shape[1]}, got {context.shape[1]}"
            )


def head_sizes(who: str, embed_dim: Any, num_heads: Any) -> tuple[int, int]:
    """Returns both as whole numbers, of which the second divides the first."""
    embed_dim = whole_number(who, "embed_dim", embed_dim)
    num_heads = whole_number(who, "num_heads", num_heads)
    if embed_dim % num_heads:
        raise InputError(
            f"{who} expects num_heads to divide embed_dim = {embed_dim}, got {num_heads}"
        )
    return embed_dim, num_heads


def _flat(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def _linear_backward(dy: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """dW, db (in float64) and dx of y = x Wᵀ + b, for dy (N, T, out) and x (N, T, in)."""
    flat = _flat(dy)
    dx: Array = (flat @ weight.astype(x.dtype, copy=False)).reshape(x.shape)
    # db in float64 as in Dense: a float32 sum over many rows loses digits.
    return flat.T @ _flat(x), flat.sum(axis=0, dtype=np.float64), dx
