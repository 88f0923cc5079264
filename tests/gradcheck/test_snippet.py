"""Code to paste: it makes the layer as it was, numbers and all."""

from typing import Any
from unittest import mock

import numpy as np
import pytest
from bug_zoo.right import Gain, Linear, TwoWays

import tinynet
from tinynet import Array, Dense, Layer, Parameter, ReLU, Rescale, Sequential, SoftmaxCrossEntropy
from tinynet.gradcheck.case import Case
from tinynet.gradcheck.snippet import is_exact, snippet


class Held(Layer):
    """Takes an argument that it does not show, and keeps things of many kinds."""

    def __init__(self, size: int, /) -> None:
        self.gain = Parameter(np.arange(1.0, size + 1), np.float64)
        self.shift = np.array([1, 2, 3])
        self.name = "a name"
        self.function = np.sin
        self.inner = (Dense(2, 2, rng=0), None)
        self.only = Gain()

    def forward(self, x: Array) -> Array:
        y = np.asarray(self.inner[0](x))
        self.remember(y)
        return y

    def backward(self, dy: Array) -> Any:
        return dy


class Unshown(Held):
    """Takes what no snippet can write down."""

    def __init__(self, function: Any) -> None:
        super().__init__(3)
        self.function = function


class Many(Layer):
    def __init__(self, *layers: Layer) -> None:
        self.layers = {"first": layers[0], 2: layers[1]}

    def forward(self, x: Array) -> Array:
        return x.copy()

    def backward(self, dy: Array) -> Any:
        return dy.copy()


class Around(Layer):
    def __init__(self, inner: Layer) -> None:
        self.inner = inner

    def forward(self, x: Array) -> Array:
        return np.asarray(self.inner(x))

    def backward(self, dy: Array) -> Any:
        return self.inner.backward(dy)


class Needs(Layer):
    """Takes an array, which it keeps under the same name."""

    def __init__(self, table: Array) -> None:
        self.table = table

    forward = Many.forward
    backward = Many.backward


def run(case: Case) -> Any:
    """The layer and the arguments that the code hands to check_gradients."""
    found: list[Any] = []
    names = {
        cls.__name__: cls for cls in (Around, Held, Unshown, Many, Linear, TwoWays, Gain, Needs)
    }
    code = snippet(case)

    def check(*arguments: Any, **settings: Any) -> None:
        found.extend([*arguments, settings])

    with mock.patch.object(tinynet, "check_gradients", check):
        exec(compile(code, "the snippet", "exec"), names)
    return found


def case(layer: Layer, x: Any = None, *targets: Array, **settings: Any) -> Case:
    x = np.array([[0.5, -1.5]]) if x is None else x
    return Case(layer, (x, *targets), **({"seed": 3} | settings))


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        (Dense(2, 3, rng=0), "layer = Dense(2, 3)"),
        (Dense(2, 3, bias=False, rng=0), "layer = Dense(2, 3, bias=None)"),
        (Rescale(0.5, 2.0), "layer = Rescale(0.5, offset=2.0)"),
        (Linear(), "layer = Linear()"),
        (TwoWays(), "layer = TwoWays()"),
        (
            Sequential([Dense(2, 3), Sequential([ReLU()])]),
            "layer = Sequential([Dense(2, 3), Sequential([ReLU()])])",
        ),
        (Around(Dense(2, 1)), "layer = Around(Dense(2, 1))"),
        (Linear(2, 2), "layer = Linear.__new__(Linear)  # as it was"),
        (Held(3), "layer = Held(3)"),
        (Unshown(np.sin), "layer = Unshown.__new__(Unshown)  # as it was"),
        (Many(Gain(), Dense(1, 2)), "layer = Many.__new__(Many)  # as it was"),
        (Needs(np.ones(2)), "layer = Needs.__new__(Needs)  # as it was"),
    ],
)
def test_makes_the_layer_and_gives_it_its_numbers(layer: Layer, line: str) -> None:
    assert line in snippet(case(layer)).splitlines()
    if isinstance(layer, Many):
        return  # layers in a dict are named only
    made, x, settings = run(case(layer))
    assert repr(made) == repr(layer)
    assert x.tolist() == [[0.5, -1.5]]
    assert settings == {"rng": 3}
    for (path, a), (same_path, b) in zip(
        made.named_parameters(), layer.named_parameters(), strict=True
    ):
        assert path == same_path
        assert a.value.dtype == b.value.dtype
        assert (a.value == b.value).all()


def test_what_cannot_be_written_is_named() -> None:
    lines = snippet(case(Unshown(np.sin))).splitlines()
    assert "# layer.function: as yours" in lines
    assert "layer.shift = np.array([1, 2, 3])" in lines
    assert "layer.name = 'a name'" in lines
    assert "layer.inner[0] = Dense(2, 2)" in lines
    assert "layer.only = Gain()" in lines
    assert not any("_remembered" in line for line in lines)


def test_keeps_targets_settings_and_mode() -> None:
    given = case(
        SoftmaxCrossEntropy().eval(), None, np.array([1], np.uint8), seed=5, tolerance=1e-4
    )
    made, _, targets, settings = run(given)
    assert not made.training
    assert targets.tolist() == [1]
    assert targets.dtype == np.uint8
    assert settings == {"rng": 5, "tolerance": 1e-4}


def test_reaches_parameters_in_tuples_and_dicts() -> None:
    class Named(Layer):
        def __init__(self) -> None:
            self.table = {"a": Parameter([1.0]), 2: Parameter([2.0])}

        forward = Many.forward
        backward = Many.backward

    lines = snippet(case(Named())).splitlines()
    assert "layer.table['a'].value[...] = [1.0]" in lines
    assert "layer.table[2].value[...] = [2.0]" in lines


def test_long_arrays_are_drawn_and_said_not_to_be_exact() -> None:
    x = np.zeros((10, 7))
    assert "x = np.random.default_rng(0).standard_normal((10, 7))" in snippet(case(ReLU(), x))
    assert not is_exact(case(ReLU(), x))
    drawn = np.random.default_rng(0).standard_normal((10, 7))
    assert is_exact(case(ReLU(), drawn))
    assert is_exact(case(ReLU(), np.zeros((10, 6))))
    labels = np.zeros((10, 7), np.uint8)
    assert "np.array([[0, 0" in snippet(case(ReLU(), labels))


def test_names_what_to_import() -> None:
    code = snippet(case(Sequential([Dense(2, 2), Linear(2, 2)])))
    assert code.splitlines()[:3] == [
        "import numpy as np",
        "from tinynet import Dense, Parameter, Sequential, check_gradients",
        "# and your own Linear",
    ]
