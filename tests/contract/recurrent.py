"""Layers that carry a state from step to step."""

from contract.case import Case, N
from tinynet import GRU, LSTM, RNN

CASES = {
    "RNN": Case(lambda: RNN(3, 4, rng=0), (N, 3, 3)),
    "RNN of relu": Case(lambda: RNN(3, 4, nonlinearity="relu", rng=0), (N, 3, 3)),
    "RNN, the last state": Case(lambda: RNN(3, 4, states="last", bias=False, rng=0), (N, 3, 3)),
    "GRU": Case(lambda: GRU(3, 4, rng=0), (N, 3, 3)),
    "GRU, the last state": Case(lambda: GRU(3, 4, states="last", bias=False, rng=0), (N, 3, 3)),
    "GRU of one step": Case(lambda: GRU(3, 4, rng=0), (N, 1, 3)),
    "LSTM": Case(lambda: LSTM(3, 4, rng=0), (N, 3, 3)),
    "LSTM, the last state": Case(lambda: LSTM(3, 4, states="last", bias=False, rng=0), (N, 3, 3)),
    "LSTM in evaluation": Case(lambda: LSTM(3, 4, rng=0).eval(), (N, 3, 3)),
}
