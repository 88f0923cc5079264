"""What is put back before each forward."""

import contextlib
import random
from typing import Any

import numpy as np
import pytest

from tinynet import Array, Dense, Layer
from tinynet.gradcheck.layer_under_test import GlobalGenerators, State


class Keeper(Layer):
    """Keeps things of every kind, and changes them all in forward."""

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


def test_all_that_a_layer_keeps_is_put_back() -> None:
    layer, x = Keeper(), np.zeros(3)
    state = State(layer, (x,))
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
    """Draws from a generator of its module, and by a helper that is called."""

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


def test_generators_are_found_in_helpers_and_in_the_module() -> None:
    layer, x = Drawing(), np.zeros(3)
    before = MODULE_WIDE.bit_generator.state
    state = State(layer, (x,))
    first = layer(x)
    state.restore()
    assert (layer(x) == first).all()
    state.restore()
    with GlobalGenerators.kept(layer):
        layer(x)
    assert MODULE_WIDE.bit_generator.state == before


def test_x_and_parameters_are_left_alone_also_behind_a_view() -> None:
    layer, x = Counter(), np.zeros((2, 3))
    dense = layer.dense = Dense(2, 2, rng=0)
    layer.views = [x.T, dense.weight.value.T]
    state = State(layer, (x,))
    x += 1
    dense.weight.value[...] = 5
    state.restore()
    assert (x == 1).all()
    assert (dense.weight.value == 5).all()


def test_a_read_only_array_needs_no_putting_back() -> None:
    layer = Counter()
    layer.table = np.zeros(3)
    layer.table.setflags(write=False)
    State(layer, ()).restore()


def test_what_holds_itself_is_no_trouble() -> None:
    layer, helper = Counter(), Helper()
    helper.itself = helper
    layer.helper = helper
    state = State(layer, ())
    helper.step()
    state.restore()
    assert helper.steps == 0


def test_positions_move_with_the_generators_of_the_layer() -> None:
    layer = Keeper()
    state = State(layer, ())
    before = state.positions()
    assert state.positions() == before
    layer.generator.random()
    assert state.positions() != before


@pytest.mark.parametrize("draw", [random.random, np.random.rand, np.random.standard_normal])
def test_global_generators_are_watched_and_kept(draw: Any) -> None:
    before = GlobalGenerators.position()
    with GlobalGenerators.kept(Counter()):
        draw()
        assert GlobalGenerators.position() != before
    assert GlobalGenerators.position() == before
    with contextlib.suppress(ZeroDivisionError), GlobalGenerators.kept(Counter()):
        draw()
        raise ZeroDivisionError
    assert GlobalGenerators.position() == before
