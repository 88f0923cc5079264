"""Layers that bend their input, entry by entry or along an axis."""

from contract.case import Case, N
from tinynet import ELU, GELU, LeakyReLU, LogSoftmax, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh

CASES = {
    "ReLU": Case(ReLU, (N, 4)),
    "LeakyReLU": Case(LeakyReLU, (N, 4)),
    "LeakyReLU that turns": Case(lambda: LeakyReLU(-0.5), (N, 4)),
    "ELU": Case(ELU, (N, 4)),
    "ELU with a kink": Case(lambda: ELU(0.5), (N, 2, 4)),
    "Sigmoid": Case(Sigmoid, (N, 4)),
    "Tanh": Case(Tanh, (N, 2, 4)),
    "GELU": Case(GELU, (N, 4)),
    "GELU by tanh": Case(lambda: GELU(approximate="tanh"), (N, 2, 4)),
    "SiLU": Case(SiLU, (N, 4)),
    "Softplus": Case(Softplus, (N, 4)),
    "Softplus of another beta": Case(lambda: Softplus(beta=3), (N, 4)),
    "Softmax": Case(Softmax, (N, 4)),
    "Softmax along another axis": Case(lambda: Softmax(axis=1), (N, 3, 2)),
    "LogSoftmax": Case(LogSoftmax, (N, 4)),
    "LogSoftmax along another axis": Case(lambda: LogSoftmax(axis=-2), (N, 3, 2)),
}
