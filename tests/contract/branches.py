"""Layers side by side, layers that move entries, and a function as a layer."""

import numpy as np

from contract.case import Case, N
from tinynet import (
    Concatenate,
    Dense,
    Lambda,
    Parallel,
    Permute,
    ReLU,
    Reshape,
    Residual,
    Select,
    Sum,
)

CASES = {
    "Sum": Case(lambda: Sum([Dense(4, 3, rng=0), [Dense(4, 3, rng=1), ReLU()]]), (N, 4)),
    "Sum of one": Case(lambda: Sum([ReLU()]), (N, 4)),
    "Sum of three": Case(lambda: Sum([ReLU(), Dense(4, 4, rng=0), ReLU()]), (N, 4)),
    "Concatenate": Case(lambda: Concatenate([Dense(4, 3, rng=0), ReLU()]), (N, 4)),
    "Concatenate of one": Case(lambda: Concatenate([ReLU()], axis=2), (N, 4, 2)),
    "Parallel": Case(lambda: Parallel([Dense(3, 2, rng=0), ReLU()], sizes=[3, 1]), (N, 4)),
    "Parallel of one": Case(lambda: Parallel([ReLU()], axis=-1), (N, 2, 4)),
    "Residual": Case(lambda: Residual([Dense(4, 4, rng=0), ReLU()]), (N, 4)),
    "Residual with a shortcut": Case(
        lambda: Residual([Dense(4, 3, rng=0), ReLU()], Dense(4, 3, rng=1)), (N, 4)
    ),
    "Lambda": Case(lambda: Lambda(np.sin, lambda dy, x: dy * np.cos(x)), (N, 4)),
    "Lambda of nothing": Case(lambda: Lambda(lambda x: x, lambda dy, _: dy), (N, 4)),
    "Reshape": Case(lambda: Reshape((2, 2)), (N, 4)),
    "Permute": Case(lambda: Permute((0, 2, 1)), (N, 2, 3)),
    "Permute of nothing": Case(lambda: Permute((0, 1)), (N, 3)),
    "Select": Case(lambda: Select(-1), (N, 2, 3)),
    "Select of some": Case(lambda: Select(slice(0, 3), axis=2), (N, 2, 3)),
}
