"""Softmax makes probabilities of scores."""

import numpy as np

from tinynet.parameter import Array


def softmax(logits: Array) -> Array:
    """exp(zᵢ) / Σⱼ exp(zⱼ) along the last axis: (..., C) numbers -> (..., C) probabilities.

    The largest z is taken off first, which changes nothing in the quotient and cannot overflow.

    >>> softmax(np.array([0.0, np.log(3.0)]))
    array([0.25, 0.75])
    """
    probabilities: Array = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities /= probabilities.sum(axis=-1, keepdims=True)
    return probabilities
