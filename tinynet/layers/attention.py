"""Attention: every position takes from all positions what it looks for."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import DTypeLike

from tinynet.errors import InputError
from tinynet.initializers import Initializer, glorot_uniform, init_parameter, zeros
from tinynet.layer import Layer
from tinynet.parameter import Array, Parameter
from tinynet.validation import finite_number, whole_number


class _Kept(NamedTuple):
    """What `forward` keeps of the heads. A row of P is `powers` / `total`."""

    q: Array  # (N, H, T, D), already divided by √D
    k: Array  # (N, H, S, D)
    v: Array  # (N, H, S, D)
    powers: Array  # (N, H, T, S): exp(score - the largest score of the row)
    total: Array  # (N, H, T, 1): the sum of a row of powers, or 1 where every key is hidden
    factor: Array | None  # (N, H, T, S): of the dropout, 0 or 1 / (1 - dropout)
    seen: Array  # (N, H, T, S): powers · factor
    o: Array  # (N, T, H, D)


@final
class MultiHeadAttention(Layer):
    """y = o Woᵀ + bo, where each head of o is a mean of values, weighted by query and key.

    With c = `context`, or x without one, q = x Wqᵀ + bq, k = c Wkᵀ + bk and v = c Wvᵀ + bv. Each
    is cut along its features into `num_heads` heads of D = embed_dim / num_heads. In every head

        P = softmax(q kᵀ / √D), each row of sum 1, and o = P v.

    x, y are (N, T, E), context is (N, S, E), P is (N, heads, T, S); T and S count positions in
    time, E is embed_dim. `padding_mask`, booleans (N, S), is True at a key that is only padding
    and that nobody sees (PyTorch's key_padding_mask). With causal=True position t sees the
    positions up to t alone. Where there is nothing to see P is 0 and y = bo (in PyTorch nan).
    In training each entry of P is 0 with probability `dropout`, and P / (1 - dropout) elsewhere.

    Gradients, in every head: do = dy Wo, dv = Pᵀ do, dP = do vᵀ, for the scores
    ds = P (dP - Σ P dP) with the sum along the row, dq = ds k / √D, dk = dsᵀ q / √D; from there as
    in a dense layer. `backward` returns dx, or (dx, dcontext) where there was a context.

    `.in_proj_weight` (3E, E) is Wq, Wk and Wv, one below the other, `.in_proj_bias` is (3E,);
    `.out_proj_weight` (E, E) and `.out_proj_bias` (E,) are what PyTorch calls out_proj.weight and
    out_proj.bias. Weights are (out, in) as there. With bias=False both biases are None. `rng` is a
    Generator, an int seed, or None for fresh randomness; `.rng` is the stream of the dropout.

    Other than in PyTorch the batch is always the first axis, a context has the width of x (there
    is no kdim or vdim), causal is a setting of the layer, there is no other mask by position, and
    `weight_init` starts both weights, where PyTorch starts out_proj like any of its linear layers.

    Raises:
        InputError: a size is below 1, num_heads does not divide embed_dim, dropout is not a number
            from 0 to below 1, an initializer gives another shape; x, context or padding_mask is
            not as above, or causal=True meets a context of another length than x.

    Source: Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser and Polosukhin, "Attention Is
    All You Need", NeurIPS 2017, section 3.2.

    >>> layer = MultiHeadAttention(8, 2, causal=True, rng=0)
    >>> layer(np.ones((4, 2, 8))).shape
    (4, 2, 8)
    >>> layer.attention_weights[0, 0]
    array([[1. , 0. ],
           [0.5, 0.5]])
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
        self._memory: dict[str, Array] = {}

        def start(init: Initializer, rows: int, *columns: int) -> Parameter:
            name = f"{who}({embed_dim}, {num_heads})"
            return init_parameter(name, init, (rows, *columns), (embed_dim, rows), self.rng)

        self.in_proj_weight = start(weight_init, 3 * embed_dim, embed_dim)
        self.in_proj_bias = start(bias_init, 3 * embed_dim) if bias else None
        self.out_proj_weight = start(weight_init, embed_dim, embed_dim)
        self.out_proj_bias = start(bias_init, embed_dim) if bias else None

    def forward(
        self, x: Array, context: Array | None = None, *, padding_mask: Array | None = None
    ) -> Array:
        """x: (N, T, E), context: (N, S, E), padding_mask: (N, S) -> y: (N, T, E)."""
        self.check_input(x, "N", "T", self.embed_dim)
        if context is not None:
            self._check_context(x, context)
        hidden = self._hidden(x, x if context is None else context, padding_mask)
        if context is None:
            q, k, v = self._projected(x, 0, 3)
        else:
            (q,), (k, v) = self._projected(x, 0, 1), self._projected(context, 1, 3)
        kept = self._attend(q, k, v, hidden)
        weight = self.out_proj_weight.value.astype(x.dtype, copy=False)
        y: Array = (kept.o.reshape(-1, self.embed_dim) @ weight.T).reshape(x.shape)
        if self.out_proj_bias is not None:
            y += self.out_proj_bias.value
        self.save_for_backward(y, x, context, kept)
        return y

    def backward(self, dy: Array) -> Any:
        """dy: (N, T, E) -> dx: (N, T, E), or where there was a context (dx, dcontext)."""
        dy, x, context, kept = self.saved_for_backward(dy)
        dw, db, do = _through(dy, kept.o.reshape(x.shape), self.out_proj_weight.value)
        _write(self.out_proj_weight, self.out_proj_bias, dw, db)
        weight = self.in_proj_weight.value
        if context is None:
            dqkv = self._scratch("dqkv", (*x.shape[:2], 3 * self.embed_dim), x.dtype)
            self._attend_back(do, kept, *self._heads(dqkv))
            dw, db, dx = _through(dqkv, x, weight)
            _write(self.in_proj_weight, self.in_proj_bias, dw, db)
            return dx
        dq = self._scratch("dq", x.shape, x.dtype)
        dkv = self._scratch("dkv", (*context.shape[:2], 2 * self.embed_dim), x.dtype)
        self._attend_back(do, kept, *self._heads(dq), *self._heads(dkv))
        dw_q, db_q, dx = _through(dq, x, weight[: self.embed_dim])
        dw_kv, db_kv, dcontext = _through(dkv, context, weight[self.embed_dim :])
        dw, db = np.concatenate([dw_q, dw_kv]), np.concatenate([db_q, db_kv])
        _write(self.in_proj_weight, self.in_proj_bias, dw, db)
        return dx, dcontext

    @property
    def attention_weights(self) -> Array:
        """P of the last `forward`, before dropout, (N, heads, T, S): a copy, for pictures.

        Raises:
            InputError: there was no `forward`, or its `backward` or `predict` has forgotten it.
        """
        if self._saved is None:
            raise InputError(
                f"{self!r}.attention_weights expects a forward before it, got none, "
                "or a backward since"
            )
        *_, (*_, kept) = self._saved
        weights: Array = kept.powers / kept.total
        return weights

    def _attend(self, q: Array, k: Array, v: Array, hidden: Array | None) -> _Kept:
        """In every head o = softmax(q kᵀ / √D) v, with `hidden` added to the scores."""
        n, h, t, d = q.shape
        shape, dtype = (n, h, t, k.shape[2]), q.dtype
        q *= 1 / math.sqrt(d)
        powers = np.matmul(q, k.swapaxes(2, 3), out=self._scratch("powers", shape, dtype))
        if hidden is not None:
            powers += hidden
        # Where all is hidden the largest is not -inf, but the smallest number: no inf - inf.
        powers -= powers.max(axis=-1, keepdims=True, initial=np.finfo(dtype).min)
        np.exp(powers, out=powers)
        # The product is a sum, only faster. With the largest power, 1, in it, it is below 1 only
        # where all is hidden.
        total = np.maximum(powers @ np.ones(shape[-1], dtype), 1)[..., np.newaxis]
        factor, seen = None, powers
        if self.training and self.dropout:
            # Drawn in float32 whatever x is, as in Dropout.
            kept = self.rng.random(shape, np.float32) >= self.dropout
            factor = self._scratch("factor", shape, dtype)
            np.divide(kept, 1 - self.dropout, out=factor)
            seen = np.multiply(powers, factor, out=self._scratch("seen", shape, dtype))
        o = self._scratch("o", (n, t, h, d), dtype)
        rows = o.swapaxes(1, 2)
        np.matmul(seen, v, out=rows)
        rows /= total  # here, since o is smaller than P
        return _Kept(q, k, v, powers, total, factor, seen, o)

    def _attend_back(self, do: Array, kept: _Kept, dq: Array, dk: Array, dv: Array) -> None:
        """Writes dq, dk and dv of every head, for a do of (N, T, E) that it may overwrite."""
        q, k, v, powers, total, factor, seen, o = kept
        do = do.reshape(o.shape).swapaxes(1, 2)
        do /= total  # once for dv and ds; without it `powers` stand for P
        np.matmul(seen.swapaxes(2, 3), do, out=dv)
        ds = np.matmul(do, v.swapaxes(2, 3), out=self._scratch("ds", powers.shape, q.dtype))
        if factor is not None:
            ds *= factor
        # Σ P dP is also Σ o do, but so ds is exactly 0 where one key has all the weight.
        ds -= np.vecdot(ds, powers)[..., np.newaxis] / total
        ds *= powers
        np.matmul(ds, k, out=dq)
        dq *= 1 / math.sqrt(q.shape[3])
        np.matmul(ds.swapaxes(2, 3), q, out=dk)

    def _projected(self, x: Array, first: int, stop: int) -> Array:
        """Of q, k and v those from `first` to `stop`, in one product: (parts, N, H, T, D)."""
        rows = slice(first * self.embed_dim, stop * self.embed_dim)
        weight = self.in_proj_weight.value[rows].astype(x.dtype, copy=False)
        shape = (*x.shape[:2], len(weight))
        projected = self._scratch(f"projected {first}", shape, x.dtype)
        np.matmul(_flat(x), weight.T, out=_flat(projected))
        if self.in_proj_bias is not None:
            projected += self.in_proj_bias.value[rows]
        return self._heads(projected)

    def _heads(self, projected: Array) -> Array:
        """(N, T, parts · E) seen as (parts, N, H, T, D)."""
        (n, t, width), e, h = projected.shape, self.embed_dim, self.num_heads
        return projected.reshape(n, t, width // e, h, e // h).transpose(2, 0, 3, 1, 4)

    def _hidden(self, x: Array, context: Array, padding_mask: Array | None) -> Array | None:
        """What scores (N, H, T, S) get added: -inf where a key is hidden, else 0."""
        hidden: Array | None = None
        if self.causal:
            hidden = np.triu(np.full(2 * x.shape[1:2], -np.inf, x.dtype), 1)
        if padding_mask is not None:
            check_padding_mask(self, padding_mask, context)
            padding = np.where(padding_mask, -np.inf, 0).astype(x.dtype)[:, np.newaxis, np.newaxis]
            hidden = padding if hidden is None else hidden + padding
        return hidden

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

    def _scratch(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Memory that never leaves the layer; in training the same as before, where it fits."""
        # New memory costs a quarter of a step. Evaluation, of large batches, leaves none behind.
        found = self._memory.get(name)
        if found is None or found.shape != shape or found.dtype != dtype:
            found = np.empty(shape, dtype)
            if self.training:
                self._memory[name] = found
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_memory": {}}


def head_sizes(who: str, embed_dim: Any, num_heads: Any) -> tuple[int, int]:
    """Returns both as whole numbers, of which the second divides the first."""
    embed_dim = whole_number(who, "embed_dim", embed_dim)
    num_heads = whole_number(who, "num_heads", num_heads)
    if embed_dim % num_heads:
        raise InputError(
            f"{who} expects num_heads to divide embed_dim = {embed_dim}, got {num_heads}"
        )
    return embed_dim, num_heads


def check_padding_mask(layer: Layer, padding_mask: Any, context: Array) -> None:
    """Refuses a padding mask that is not of booleans (N, S), for a context of (N, S, E)."""
    wanted = context.shape[:2]
    shape = getattr(padding_mask, "shape", ())
    kind = getattr(padding_mask, "dtype", type(padding_mask).__name__)
    if shape != wanted or str(kind) != "bool":
        raise InputError(
            f"{layer!r} expects padding_mask to be an array of bool of shape {wanted}, "
            f"got {shape} of {kind}"
        )


def _flat(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def _through(dy: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """dW, db (in float64) and dx of y = x Wᵀ + b, for dy (N, T, out) and x (N, T, in)."""
    flat = _flat(dy)
    dx: Array = (flat @ weight.astype(x.dtype, copy=False)).reshape(x.shape)
    # In float64 for the reason that Dense gives.
    return flat.T @ _flat(x), flat.sum(axis=0, dtype=np.float64), dx


def _write(weight: Parameter, bias: Parameter | None, dw: Array, db: Array) -> None:
    weight.grad = dw.astype(weight.value.dtype, copy=False)
    if bias is not None:
        bias.grad = db.astype(bias.value.dtype)
