"""Layers that stand at one place of every sample, and chains of layers."""

from contract.case import Case, N
from tinynet import Dense, Dropout, Flatten, ReLU, Rescale, Sequential

CASES = {
    "Dense": Case(lambda: Dense(4, 3, rng=0), (N, 4)),
    "Dense on sequences": Case(lambda: Dense(4, 3, bias=False, rng=0), (N, 2, 4)),
    "Dropout": Case(lambda: Dropout(0.5, rng=0), (N, 4)),
    "Dropout that drops nothing": Case(lambda: Dropout(0), (N, 4)),
    "Dropout in evaluation": Case(lambda: Dropout(0.5, rng=0).eval(), (N, 4)),
    "Flatten": Case(Flatten, (N, 2, 3)),
    "Flatten on rows": Case(Flatten, (N, 6)),
    "Rescale": Case(lambda: Rescale(0.5, -0.25), (N, 4)),
    "Rescale that changes nothing": Case(lambda: Rescale(1), (N, 4)),
    "Sequential": Case(
        lambda: Sequential(
            [Flatten(), Sequential([Dense(6, 4, rng=0), ReLU()]), Dense(4, 2, rng=1)]
        ),
        (N, 2, 3),
    ),
    "Sequential that draws": Case(
        lambda: Sequential([Dropout(0.2, rng=0), Dense(4, 6, rng=1), Dropout(0.5, rng=2)]), (N, 4)
    ),
    "Sequential of one": Case(lambda: Sequential([Flatten()]), (N, 6)),
}
