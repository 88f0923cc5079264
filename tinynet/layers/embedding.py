"""Embeddings: a trainable vector for each token id, and one for each position of a sequence."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.initializers import Initializer, init_parameter, normal
from tinynet.layer import Layer
from tinynet.layers.masking import Masked, union
from tinynet.parameter import Array
from tinynet.validation import first_index, one_of, whole_number

standard_normal = normal(1.0)
small_normal = normal(0.02)  # a position is added to x and must not dominate it


@final
class Embedding(Masked):
    """y = W[x]: the row of W for every id in x, for x of integers (N, ...) and y (N, ..., D).

    Gradient: dW[v] is the sum of dy over all positions where x is v; dx is None, since integers
    have no gradient.

    `.weight` is (V, D) = (num_embeddings, embedding_dim), and y has its dtype. The id
    `padding_idx` gives y = 0, whatever its row holds, and its row has the gradient 0. For x (N, T)
    it also starts the padding mask that recurrent layers, attention and pooling behind it in a
    network take, unless mask=False. `rng` is a Generator, an int seed, or None.

    Raises:
        InputError: a size is below 1, padding_idx is not an id, an initializer gives another shape,
            or x is not an array of integers from 0 to V - 1.

    >>> layer = Embedding(10, 3, padding_idx=0, rng=0)
    >>> layer(np.array([[7, 0]]))[0, 1]
    array([0., 0., 0.], dtype=float32)
    """

    takes_integers = True

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        padding_idx: int | None = None,
        mask: bool = True,
        rng: np.random.Generator | int | None = None,
        weight_init: Initializer = standard_normal,
    ) -> None:
        self.num_embeddings = whole_number("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = whole_number("Embedding", "embedding_dim", embedding_dim)
        self.padding_idx = padding_idx
        if padding_idx is not None:
            self.padding_idx = whole_number("Embedding", "padding_idx", padding_idx, at_least=0)
            if self.padding_idx >= self.num_embeddings:
                raise InputError(
                    f"Embedding expects padding_idx to be an id from 0 to "
                    f"{self.num_embeddings - 1}, got {padding_idx}"
                )
        self.mask = bool(mask)
        self.starts_mask = self.mask and self.padding_idx is not None
        shape = (self.num_embeddings, self.embedding_dim)
        # It is a product with one-hot rows: one input of V is not 0.
        fans, rng = (1, self.embedding_dim), np.random.default_rng(rng)
        who = f"Embedding({num_embeddings}, {embedding_dim})"
        self.weight = init_parameter(who, weight_init, shape, fans, rng)
        if self.padding_idx is not None:
            self.weight.value[self.padding_idx] = 0

    def forward(self, x: Array, padding_mask: Array | None = None) -> Array:  # noqa: ARG002  # as in the base class
        """x: (N, ...) of integers -> y: (N, ..., D); a `padding_mask` is for the next layer."""
        self.check_input(x, "N", ..., integers=True)
        if x.dtype.kind not in "iu":
            one_hot = x.ndim > 2 and x.shape[-1] == self.num_embeddings
            hint = "; x.argmax(axis=-1) makes ids of one-hot rows" if one_hot else ""
            raise InputError(f"{self!r} expects x of an integer dtype, got {x.dtype}{hint}")
        if x.size and not (x.min() >= 0 and x.max() < self.num_embeddings):
            index = first_index((x < 0) | (x >= self.num_embeddings))
            raise InputError(
                f"{self!r} expects ids from 0 to {self.num_embeddings - 1}, "
                f"got {x[index]} at index {index}"
            )
        ids = x.astype(np.intp, copy=False)
        y: Array = self.weight.value.take(ids, axis=0)
        if self.padding_idx is not None:
            y[ids == self.padding_idx] = 0
        self.save_for_backward(y, ids)
        return y

    def output_mask(self, x: Any, padding_mask: Array | None = None) -> Array | None:
        """True where x (N, T) is `padding_idx`, or where the mask of x is."""
        if not self.starts_mask or np.ndim(x) != 2:
            return padding_mask
        return union([x == self.padding_idx, padding_mask])

    def backward(self, dy: Array) -> None:
        """dy: (N, ..., D) -> None: there is no dx."""
        dy, ids = self.saved_for_backward(dy)
        self.weight.grad = np.zeros_like(self.weight.value)
        if ids.size == 0:
            return
        # Sorted, equal ids are adjacent, and each run of them is one sum. np.add.at is slower and
        # adds one by one in float32, where a frequent id loses digits.
        ids = ids.ravel()
        order = ids.argsort(kind="stable")
        ids = ids[order]
        starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
        rows = dy.reshape(-1, self.embedding_dim)[order]
        self.weight.grad[ids[starts]] = np.add.reduceat(rows, starts, axis=0, dtype=np.float64)
        if self.padding_idx is not None:
            self.weight.grad[self.padding_idx] = 0


@final
class PositionalEmbedding(Layer):
    """y[n, t] = x[n, t] + P[t]: adds a vector for each position, for x and y (N, T, D).

    With kind="learned" P is `.weight`, (max_length, embedding_dim). With kind="sinusoidal"
    P[t, 2i] = sin(t / 10000^(2i/D)) and P[t, 2i+1] is its cosine; `.weight` is None, and `rng` and
    `weight_init` are not used. T is at most max_length.
    Gradients: dx = dy, and dP[t] = Σ dy[n, t] over n, 0 for t >= T.

    Raises:
        InputError: a size is below 1, kind is neither of the two, an initializer gives another
            shape, or x is not (N, T, D) of floats or longer than max_length.

    Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.5.

    >>> PositionalEmbedding(8, 2, kind="sinusoidal")(np.zeros((1, 2, 2))).round(3)
    array([[[0.   , 1.   ],
            [0.841, 0.54 ]]])
    """

    keeps_mask = True

    def __init__(
        self,
        max_length: int,
        embedding_dim: int,
        *,
        kind: str = "learned",
        rng: np.random.Generator | int | None = None,
        weight_init: Initializer = small_normal,
    ) -> None:
        self.max_length = whole_number("PositionalEmbedding", "max_length", max_length)
        self.embedding_dim = whole_number("PositionalEmbedding", "embedding_dim", embedding_dim)
        self.kind = one_of("PositionalEmbedding", "kind", kind, ("learned", "sinusoidal"))
        shape = (self.max_length, self.embedding_dim)
        who = f"PositionalEmbedding({max_length}, {embedding_dim})"
        fans, rng = (1, self.embedding_dim), np.random.default_rng(rng)
        self.weight = (
            init_parameter(who, weight_init, shape, fans, rng) if kind == "learned" else None
        )

    def forward(self, x: Array) -> Array:
        """x: (N, T, D) -> y: (N, T, D)."""
        self.check_input(x, "N", "T", self.embedding_dim)
        steps = x.shape[1]
        if steps > self.max_length:
            raise InputError(f"{self!r} expects x of at most {self.max_length} steps, got {steps}")
        if self.weight is None:
            positions = _sinusoids(steps, self.embedding_dim)
        else:
            positions = self.weight.value[:steps]
        y: Array = x + positions.astype(x.dtype, copy=False)
        self.save_for_backward(y)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, T, D) -> dx: (N, T, D)."""
        (dy,) = self.saved_for_backward(dy)
        if self.weight is not None:
            self.weight.grad = np.zeros_like(self.weight.value)
            self.weight.grad[: dy.shape[1]] = dy.sum(axis=0, dtype=np.float64)
        return dy.copy()


def _sinusoids(steps: int, size: int) -> Array:
    """P of the formula, (steps, size), in float64; not stored, so that `astype` costs no digits."""
    positions: Array = np.empty((steps, size))
    angles: Any = np.arange(steps)[:, None] / 10_000.0 ** (np.arange(0, size, 2) / size)
    positions[:, 0::2] = np.sin(angles)
    positions[:, 1::2] = np.cos(angles[:, : size // 2])
    return positions
