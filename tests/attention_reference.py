"""Scaled dot-product attention in plain loops, and attention layers to compare with it."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet import Array, Layer, MultiHeadAttention


def draw(*shape: int, seed: int = 0, dtype: Any = np.float64) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def standard_normal(
    shape: tuple[int, ...], _fan_in: float, _fan_out: float, rng: np.random.Generator
) -> Array:
    """Initial values of the scale of 1, also of biases: nothing is small or equal."""
    return rng.standard_normal(shape)


def attention(embed_dim: int, num_heads: int, **settings: Any) -> MultiHeadAttention:
    made = MultiHeadAttention(
        embed_dim,
        num_heads,
        **{"rng": 0, "weight_init": standard_normal, "bias_init": standard_normal, **settings},
    )
    return made.astype(np.float64)


def gradients(layer: Layer) -> list[Array]:
    return [np.asarray(parameter.grad) for parameter in layer.parameters()]


Masked = Callable[[int, int, int], bool]  # of sample, query and key


def by_loops(
    layer: MultiHeadAttention,
    x: Array,
    context: Array,
    masked: Masked,
    factor: Array | None = None,
) -> tuple[Array, Array]:
    """(y, P) entry by entry; `factor` (N, heads, T, S) is that of the dropout."""
    width, heads = layer.embed_dim, layer.num_heads
    d = width // heads

    def affine(weight: list[list[float]], bias: list[float], vector: list[float]) -> list[float]:
        return [
            math.fsum([bias[i], *(row[j] * vector[j] for j in range(width))])
            for i, row in enumerate(weight)
        ]

    weight, weight_o = layer.in_proj_weight.value.tolist(), layer.out_proj_weight.value.tolist()
    bias, bias_o = [0.0] * (3 * width), [0.0] * width
    if layer.in_proj_bias is not None and layer.out_proj_bias is not None:
        bias, bias_o = layer.in_proj_bias.value.tolist(), layer.out_proj_bias.value.tolist()
    rows = [slice(part * width, (part + 1) * width) for part in range(3)]
    n, t, s = len(x), x.shape[1], context.shape[1]
    y, probabilities = np.zeros((n, t, width)), np.zeros((n, heads, t, s))
    for sample in range(n):
        keys, values = (
            [affine(weight[r], bias[r], context[sample, key].tolist()) for key in range(s)]
            for r in rows[1:]
        )
        for position in range(t):
            query = affine(weight[rows[0]], bias[rows[0]], x[sample, position].tolist())
            o = [0.0] * width
            for head in range(heads):
                features = range(head * d, (head + 1) * d)
                scores = {
                    key: math.fsum(query[i] * keys[key][i] for i in features) / math.sqrt(d)
                    for key in range(s)
                    if not masked(sample, position, key)
                }
                powers = {k: math.exp(score - max(scores.values())) for k, score in scores.items()}
                for key, power in powers.items():
                    p = power / math.fsum(powers.values())
                    probabilities[sample, head, position, key] = p
                    if factor is not None:
                        p *= factor[sample, head, position, key]
                    for i in features:
                        o[i] += p * values[key][i]
            y[sample, position] = affine(weight_o, bias_o, o)
    return y, probabilities
