"""Losses, each with its targets."""

import numpy as np

from contract.case import Case, N
from tinynet import (
    BinaryCrossEntropy,
    Hinge,
    Huber,
    KLDivergence,
    MeanAbsoluteError,
    MeanSquaredError,
    SoftmaxCrossEntropy,
)

LABELS = np.array([0, 2, 1, 1, 0])
PLACES = np.array([[0, 2], [-100, 1], [1, 1], [2, -100], [0, 0]])
THIRDS = np.full((N, 3), 1 / 3, np.float32)
HALVES = np.full((N, 3), 0.5, np.float32)
WHOLE = np.arange(N * 6).reshape(N, 2, 3)

CASES = {
    "SoftmaxCrossEntropy of labels": Case(SoftmaxCrossEntropy, (N, 3), (LABELS,)),
    "SoftmaxCrossEntropy of rows": Case(SoftmaxCrossEntropy, (N, 3), (THIRDS,)),
    "SoftmaxCrossEntropy of sequences": Case(
        lambda: SoftmaxCrossEntropy([1, 0.5, 2]), (N, 2, 3), (PLACES,)
    ),
    "SoftmaxCrossEntropy of smoothed labels": Case(
        lambda: SoftmaxCrossEntropy([1, 0.5, 2], reduction="sum", label_smoothing=0.1),
        (N, 2, 3),
        (PLACES,),
    ),
    "SoftmaxCrossEntropy of smoothed rows": Case(
        lambda: SoftmaxCrossEntropy(label_smoothing=0.1), (N, 3), (THIRDS,)
    ),
    "BinaryCrossEntropy": Case(BinaryCrossEntropy, (N, 3), (HALVES,)),
    "BinaryCrossEntropy of weighed bools": Case(
        lambda: BinaryCrossEntropy(2, [1, 0.5, 3], "sum"), (N, 2, 3), (WHOLE % 2 == 1,)
    ),
    "MeanSquaredError": Case(MeanSquaredError, (N, 3), (HALVES,)),
    "MeanSquaredError of integers": Case(MeanSquaredError, (N, 2, 3), (WHOLE,)),
    "MeanSquaredError as a sum": Case(lambda: MeanSquaredError("sum"), (N, 3), (HALVES,)),
    "MeanAbsoluteError": Case(MeanAbsoluteError, (N, 3), (HALVES,)),
    "MeanAbsoluteError of integers": Case(MeanAbsoluteError, (N, 2, 3), (WHOLE,)),
    "Huber": Case(lambda: Huber(0.5), (N, 3), (HALVES,)),
    "Huber of integers": Case(lambda: Huber(2, "sum"), (N, 2, 3), (WHOLE,)),
    "Hinge": Case(Hinge, (N, 3), (LABELS,)),
    "Hinge of squares": Case(lambda: Hinge(0.5, 2, [1, 0.5, 2]), (N, 3), (LABELS,)),
    "KLDivergence": Case(KLDivergence, (N, 3), (THIRDS,)),
    "KLDivergence of logarithms": Case(
        lambda: KLDivergence("sum", True), (N, 3), (np.log(THIRDS),)
    ),
}
