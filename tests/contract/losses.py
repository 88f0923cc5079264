"""Losses, each with its targets."""

import numpy as np

from contract.case import Case, N
from tinynet import MeanSquaredError, SoftmaxCrossEntropy

CASES = {
    "SoftmaxCrossEntropy of labels": Case(
        SoftmaxCrossEntropy, (N, 3), (np.array([0, 2, 1, 1, 0]),)
    ),
    "SoftmaxCrossEntropy of rows": Case(
        SoftmaxCrossEntropy, (N, 3), (np.full((N, 3), 1 / 3, np.float32),)
    ),
    "MeanSquaredError": Case(MeanSquaredError, (N, 3), (np.full((N, 3), 0.5, np.float32),)),
    "MeanSquaredError of integers": Case(
        MeanSquaredError, (N, 2, 3), (np.arange(N * 6).reshape(N, 2, 3),)
    ),
}
