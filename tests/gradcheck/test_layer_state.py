"""What is saved and restored before each forward: state and generators."""

import contextlib
import pickle
import random
from typing import Any

import numpy as np
import pytest

from tinynet import Array, Dense, Layer
from tinynet.gradcheck.inputs import (
    LayerState,
    generators_restored,
    global_generators,
)


class Keeper(Layer):
    """Has attributes of every kind, and changes them all in forward."""

    def __init__(self) -> None:
        self.array = np.zeros(3)
        self.number = 0
        self.items: list[Any] = [np.zeros(2)]
        self.table: dict[str, Any] = {"a": np.zeros(2)}
        self.pair = (np.zeros(2), [1])
        self.generator = np.random.default_rng(0)
        self.legacy = np.random.RandomState(0)
        self.pythons = random.Random(0)
        self.helper = Helper()
        self.method = self.helper.step
        self.inner = Counter()
        self.dense = Dense(2, 2, rng=0)

    def forward(self, x: Array) -> Array:
        self.array += 1
        self.number += 1
        self.items[0] += 1
        self.items.append(self.number)
        self.table["a"] += 1
        self.table["b"] = self.number
        self.pair[0][...] += 1
        self.pair[1].append(2)
        self.new = x
        self.method()
        self.inner(x)
        return np.asarray(x + self.drawn())

    def drawn(self) -> Any:
        return self.generator.random() + self.legacy.rand() + self.pythons.random()

    def backward(self, dy: Array) -> Array:
        return dy.copy()


class Helper:
    itself: Any

    def __init__(self) -> None:
        self.steps = 0

    def step(self) -> None:
        self.steps += 1


class Counter(Layer):
    calls = 0
    dense: Any
    views: Any
    table: Any
    helper: Any

    def forward(self, x: Array) -> Array:
        self.calls += 1
        return x.copy()

    def backward(self, dy: Array) -> Array:
        return dy.copy()


def test_attributes_of_every_kind_are_restored() -> None:
    layer, x = Keeper(), np.zeros(3)
    state = LayerState(layer, (x,))
    first = layer(x)
    for _ in range(2):
        state.restore()
        assert not hasattr(layer, "new")
        assert layer.array.tolist() == [0, 0, 0]
        assert layer.number == 0
        assert [array.tolist() for array in layer.items] == [[0, 0]]
        assert [array.tolist() for array in layer.table.values()] == [[0, 0]]
        assert (layer.pair[0].tolist(), layer.pair[1]) == ([0, 0], [1])
        assert layer.helper.steps == 0
        assert layer.inner.calls == 0
        assert (layer(x) == first).all()


MODULE_WIDE = np.random.default_rng(7)


class Drawing(Layer):
    """Draws from a generator of its module, and from one of a callable helper."""

    def __init__(self) -> None:
        self.drop = Calls()

    def forward(self, x: Array) -> Array:
        return np.asarray(x + MODULE_WIDE.random() + self.drop())

    def backward(self, dy: Array) -> Array:
        return dy.copy()


class Calls:
    __slots__ = ("rng",)

    def __init__(self) -> None:
        self.rng = np.random.default_rng(3)

    def __call__(self) -> float:
        return float(self.rng.random())


def test_generators_of_helpers_and_of_the_module_are_restored() -> None:
    layer, x = Drawing(), np.zeros(3)
    before = MODULE_WIDE.bit_generator.state
    state = LayerState(layer, (x,))
    first = layer(x)
    state.restore()
    assert (layer(x) == first).all()
    state.restore()
    with generators_restored(layer):
        layer(x)
    assert MODULE_WIDE.bit_generator.state == before


def test_x_and_parameters_are_not_restored_even_behind_a_view() -> None:
    layer, x = Counter(), np.zeros((2, 3))
    dense = layer.dense = Dense(2, 2, rng=0)
    layer.views = [x.T, dense.weight.value.T]
    state = LayerState(layer, (x,))
    x += 1
    dense.weight.value[...] = 5
    state.restore()
    assert (x == 1).all()
    assert (dense.weight.value == 5).all()


def test_scratch_memory_and_a_pending_backward_are_not_copied() -> None:
    layer, x = Dense(2, 2, rng=0), np.zeros((2, 2))
    layer(x)
    scratch = layer.scratch("sum", (3,), np.float64)
    scratch[...] = 1
    state = LayerState(layer, ())
    scratch[...] = 2
    x += 1
    state.restore()
    assert scratch.tolist() == [2, 2, 2]
    assert (x == 1).all()


def test_a_read_only_array_is_not_restored() -> None:
    layer = Counter()
    layer.table = np.zeros(3)
    layer.table.setflags(write=False)
    LayerState(layer, ()).restore()


def test_a_helper_that_refers_to_itself_is_restored() -> None:
    layer, helper = Counter(), Helper()
    helper.itself = helper
    layer.helper = helper
    state = LayerState(layer, ())
    helper.step()
    state.restore()
    assert helper.steps == 0


@pytest.mark.parametrize("name", ["generator", "legacy", "pythons"])
def test_generator_states_change_with_every_draw(name: str) -> None:
    layer = Keeper()
    state = LayerState(layer, ())
    before = state.generator_states()
    assert state.generator_states() == before
    getattr(layer, name).bytes(1) if name == "legacy" else getattr(layer, name).random()
    assert state.generator_states() != before


@pytest.mark.parametrize("draw", [random.random, np.random.rand, np.random.standard_normal])
def test_global_generators_are_restored_after_the_block(draw: Any) -> None:
    before = pickle.dumps(global_generators())
    with generators_restored(Counter()):
        draw()
        assert pickle.dumps(global_generators()) != before
    assert pickle.dumps(global_generators()) == before
    with contextlib.suppress(ZeroDivisionError), generators_restored(Counter()):
        draw()
        raise ZeroDivisionError
    assert pickle.dumps(global_generators()) == before
