"""`summary`, `save` and `load` work on every layer, whatever it is made of."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from contract_cases import CASES

from tinynet import (
    Array,
    Dense,
    InputError,
    Layer,
    Parallel,
    Parameter,
    ReLU,
    Residual,
    Sequential,
    Tanh,
    TransformerBlock,
)
from tinynet.summary import summary_table

NETWORKS = {name: case for name, case in CASES.items() if not case.targets}


class Heads(Layer):
    """A network of a user: layers in a dict, a parameter of its own, and a layer without use."""

    def __init__(self) -> None:
        self.scale = Parameter(np.ones(3))
        self.heads = {"a": Dense(3, 2), "b": Sequential([Dense(3, 1), Tanh()])}
        self.spare = Dense(5, 5)
        self.loose = ReLU()

    def forward(self, x: Array) -> Array:
        x = x * self.scale.value
        return np.concatenate([head(x) for head in self.heads.values()], axis=1)

    def backward(self, dy: Array) -> None:
        raise NotImplementedError


def rows(model: Layer, shape: tuple[int, ...]) -> list[list[str]]:
    """The cells of a summary."""
    return [re.split(r" {2,}", line.strip()) for line in summary_table(model, shape).splitlines()]


def test_summary_shows_the_layers_of_any_network_in_the_order_of_their_calls() -> None:
    assert rows(Heads(), (8, 3)) == [
        ["layer", "output shape", "parameters"],
        ["heads.a", "Dense(3, 2)", "(8, 2)", "8"],
        ["heads.b.0", "Dense(3, 1)", "(8, 1)", "4"],
        ["heads.b.1", "Tanh()", "(8, 1)", "0"],
        # with 3 parameters that are in no layer inside
        ["Heads(scale=(3,), spare=Dense(5, 5), loose=ReLU())", "(8, 3)", "3"],
        ["spare", "Dense(5, 5)", "not called", "30"],
        ["loose", "ReLU()", "not called", "0"],
        ["total", "45", "(180 bytes)"],
    ]


def test_summary_looks_into_containers() -> None:
    body = [Dense(4, 8), ReLU(), Dense(8, 4)]
    model = Sequential([Residual(body, Dense(4, 4)), Parallel([Dense(2, 1), [ReLU()]])])
    assert [row[:3] for row in rows(model, (5, 4))[1:-1]] == [
        ["0.shortcut", "Dense(4, 4)", "(5, 4)"],
        ["0.body.0", "Dense(4, 8)", "(5, 8)"],
        ["0.body.1", "ReLU()", "(5, 8)"],
        ["0.body.2", "Dense(8, 4)", "(5, 4)"],
        ["1.branches.0", "Dense(2, 1)", "(5, 1)"],
        ["1.branches.1.0", "ReLU()", "(5, 2)"],
    ]
    paths = [row[0] for row in rows(TransformerBlock(8, 2), (1, 3, 8))[1:-1]]
    assert paths == [
        "norm1", "self_attn", "dropout1", "norm2", "linear1", "hidden_activation",
        "hidden_dropout", "linear2", "dropout2",
    ]  # fmt: skip


def test_summary_of_a_single_layer_is_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    Dense(3, 2).summary((1, 3))
    assert capsys.readouterr().out.splitlines() == [
        "layer         output shape  parameters",
        "Dense(3, 2)   (1, 2)                 8",
        "total                                8  (32 bytes)",
    ]


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_of_a_summary_count_each_parameter_once_and_nothing_is_changed(name: str) -> None:
    case = NETWORKS[name]
    model = case.make()
    before = pickle.dumps({path: array.tobytes() for path, array in model.state_dict().items()})
    _, *layers, total = rows(model, case.shape)
    count = sum(parameter.value.size for parameter in model.parameters())
    assert sum(int(row[-1].replace(",", "")) for row in layers) == count
    assert total[1] == f"{count:,}"
    after = pickle.dumps({path: array.tobytes() for path, array in model.state_dict().items()})
    assert after == before
    assert all("forward" not in vars(layer) for _, layer in model.named_layers())


@pytest.mark.parametrize("name", [name for name, c in NETWORKS.items() if c.make().parameters()])
def test_every_layer_with_parameters_is_saved_and_loaded(name: str, tmp_path: Path) -> None:
    model, other = NETWORKS[name].make(), NETWORKS[name].make()
    model.save(tmp_path / "model.npz")
    for parameter in other.parameters():
        parameter.value += 1
    assert other.load(tmp_path / "model.npz") is other
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(one.value, two.value)


def test_an_x_that_does_not_fit_is_refused_where_it_does_not() -> None:
    with pytest.raises(InputError, match=r"^body: layer 2 of 2: Dense\(3, 4\) expects"):
        Residual([ReLU(), Dense(3, 4)]).summary((1, 5))
