"""The formulas of RNN, GRU and LSTM in plain Python, and the states of these layers."""

import math
from typing import Any

import numpy as np
import pytest

from tinynet import GRU, LSTM, RNN, Array
from tinynet.layers.recurrent import Recurrent

Vector = list[float]
GATES: dict[type[Recurrent], int] = {RNN: 1, GRU: 3, LSTM: 4}

every_kind = pytest.mark.parametrize("kind", GATES)


def arrays_of(state: Any) -> list[Array]:
    """The arrays of a state, h first."""
    return list(state) if isinstance(state, tuple) else [state]


def state_of(kind: type[Recurrent], arrays: list[Array]) -> Any:
    return tuple(arrays) if kind is LSTM else arrays[0]


def drawn_state(kind: type[Recurrent], n: int, size: int, dtype: Any = np.float64) -> Any:
    arrays = np.random.default_rng(9).uniform(-1, 1, (2, n, size)).astype(dtype)
    return state_of(kind, list(arrays))


def sigmoid(a: float) -> float:
    return 1 / (1 + math.exp(-a)) if a > 0 else math.exp(a) / (1 + math.exp(a))


class Reference:
    """The formulas for one sample, in plain Python."""

    def __init__(self, layer: Any) -> None:
        self.kind, self.size = type(layer), layer.hidden_size
        self.activation = math.tanh if getattr(layer, "nonlinearity", "tanh") == "tanh" else relu
        self.from_x, self.from_h = layer.weight_ih.value.tolist(), layer.weight_hh.value.tolist()
        zero_bias = [0.0] * len(self.from_x)
        self.b_x = zero_bias if layer.bias_ih is None else layer.bias_ih.value.tolist()
        self.b_h = zero_bias if layer.bias_hh is None else layer.bias_hh.value.tolist()

    def of_x(self, gate: int, unit: int, x: Vector) -> float:
        row = gate * self.size + unit
        return math.fsum(
            [self.b_x[row], *(w * v for w, v in zip(self.from_x[row], x, strict=True))]
        )

    def of_h(self, gate: int, unit: int, h: Vector) -> float:
        row = gate * self.size + unit
        return math.fsum(
            [self.b_h[row], *(w * v for w, v in zip(self.from_h[row], h, strict=True))]
        )

    def step(self, x: Vector, h: Vector, c: Vector) -> tuple[Vector, Vector]:
        new_h, new_c = [], []
        for unit in range(self.size):
            a = [self.of_x(gate, unit, x) for gate in range(GATES[self.kind])]
            b = [self.of_h(gate, unit, h) for gate in range(GATES[self.kind])]
            if self.kind is RNN:
                new_h.append(self.activation(a[0] + b[0]))
            elif self.kind is GRU:
                r, z = sigmoid(a[0] + b[0]), sigmoid(a[1] + b[1])
                n = math.tanh(a[2] + r * b[2])
                new_h.append((1 - z) * n + z * h[unit])
            else:
                i, f, o = (sigmoid(a[gate] + b[gate]) for gate in (0, 1, 3))
                new_c.append(f * c[unit] + i * math.tanh(a[2] + b[2]))
                new_h.append(o * math.tanh(new_c[-1]))
        return new_h, new_c


def relu(a: float) -> float:
    return max(a, 0.0)
