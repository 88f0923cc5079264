"""The message of a failed check: the layer, the smallest case, the cause, and the code."""

from typing import Any
from unittest import mock

import numpy as np
import pytest
from bug_zoo import products, right
from bug_zoo.right import Gain, Linear, TwoWays

import tinynet
from tinynet import (
    Array,
    Dense,
    GradientCheckError,
    Layer,
    LayerNorm,
    Parameter,
    ReLU,
    Rescale,
    Sequential,
    SoftmaxCrossEntropy,
    check_gradients,
)
from tinynet.gradcheck import Cause, Verdict
from tinynet.gradcheck.inputs import Inputs
from tinynet.gradcheck.message import is_exact, snippet
from tinynet.gradcheck.setup import GradientCheck

X = np.random.default_rng(0).standard_normal((5, 4))


def failure(layer: Any, x: Any = X, *targets: Array, **settings: Any) -> GradientCheckError:
    with pytest.raises(GradientCheckError) as error:
        check_gradients(layer, x, *targets, **settings)
    return error.value


def test_the_message_has_the_rule_a_table_the_cause_and_code_for_the_smallest_case() -> None:
    error = failure(products.GainSumsEverything())
    first, table, cause, lead, code = str(error).split("\n\n")
    assert first.startswith(
        "GainSumsEverything(g=(4,)): gradient of g at index (0,): backward gave"
    )
    assert table.splitlines()[0].split() == ["index", "backward", "forward"]
    assert table.splitlines()[1].endswith("<")
    assert table.count("<") == 1
    assert cause == (
        "Cause: summed over the wrong axes; every entry is the sum of the right ones over axis 0."
    )
    assert lead == "To reproduce it:"
    assert [line.strip() for line in code.splitlines()] == error.snippet.splitlines()
    assert "x = np.array([[0.1, -0.1, 0.6, 0.1]])" in error.snippet


def test_the_smallest_case_keeps_two_samples_if_one_is_right() -> None:
    error = failure(products.BiasIsMean(), rng=5, tolerance=1e-3)
    assert "x = np.array([[0.1, -0.1, 0.6, 0.1], [-0.5, 0.4, 1.3, 0.9]])" in error.snippet
    assert error.snippet.endswith("check_gradients(layer, x, rng=5, tolerance=0.001)")


def test_the_smallest_case_keeps_values_if_rounding_hides_the_failure() -> None:
    class WrongOffTheGrid(right.ReLU):
        def backward(self, dy: Array) -> Any:
            return super().backward(dy) * (1 + (self.x != self.x.round(1)))

    error = failure(WrongOffTheGrid(), np.abs(X))
    assert f"{float(abs(X[0, 0]))!r}" in error.snippet


@pytest.mark.parametrize(
    ("wrong_only_if_large", "lead"),
    [
        (False, "To reproduce it:"),
        (True, "To reproduce it (with your own values in place of the random ones):"),
    ],
)
def test_a_long_x_is_drawn_and_the_message_says_if_that_may_differ(
    wrong_only_if_large: bool, lead: str
) -> None:
    class Wrong(right.ReLU):
        def backward(self, dy: Array) -> Any:
            is_wrong = np.all(self.x > 0.4) if wrong_only_if_large else 1
            return super().backward(dy) * (1 + is_wrong)

    error = failure(Wrong(), 0.5 + np.abs(np.random.default_rng(1).standard_normal((2, 64))))
    assert "x = np.random.default_rng(0).standard_normal((1, 64))" in error.snippet
    assert lead in str(error)


def test_an_exception_of_the_layer_is_the_cause_of_the_error() -> None:
    assert isinstance(failure(products.ProductDoesNotFit()).__cause__, ValueError)


def test_an_inner_layer_that_is_wrong_on_its_own_is_named_at_any_depth() -> None:
    inner = Sequential([Gain(), products.GainTwice()])
    net = Sequential([Dense(4, 4, rng=0), inner, Dense(4, 2, rng=1)])
    error = failure(net)
    first, second, third, *_ = str(error).splitlines()
    assert first == f"{net!r}: its layers.1 is wrong on its own."
    assert second == f"{inner!r}: its layers.1 is wrong on its own."
    assert third.startswith("GainTwice(g=(4,)): gradient of x at")
    assert error.layer == "GainTwice(g=(4,))"
    assert "layer = GainTwice()" in error.snippet


def test_the_outer_layer_is_named_if_all_inner_layers_are_right() -> None:
    class SecondOnly(TwoWays):
        def backward(self, dy: Array) -> Any:
            self.first.backward(dy)
            return self.second.backward(dy)

    error = failure(SecondOnly())
    assert error.layer.startswith("SecondOnly(")
    assert error.cause is Cause.LAST_BRANCH


def test_an_inner_layer_that_is_not_called_is_not_checked() -> None:
    class Unused(right.ReLU):
        def __init__(self) -> None:
            self.spare = products.DxForgotten()

        def backward(self, dy: Array) -> Any:
            for parameter in self.parameters():
                parameter.grad = np.zeros_like(parameter.value)
            return 2 * super().backward(dy)

    assert failure(Unused()).layer.startswith("Unused(")


class TimesFactor(Layer):
    def forward(self, x: Array, factor: float) -> Array:
        self.factor = factor
        return x * factor

    def backward(self, dy: Array) -> Any:
        return dy * self.factor


@pytest.mark.parametrize("by_name", [False, True])
def test_an_inner_layer_with_other_inputs_than_arrays_is_not_checked(by_name: bool) -> None:
    class Negated(Layer):
        def __init__(self) -> None:
            self.times = TimesFactor()

        def forward(self, x: Array) -> Array:
            if by_name:
                return np.asarray(self.times(x=x, factor=2.0))
            return np.asarray(self.times(x, 2.0))

        def backward(self, dy: Array) -> Any:
            return -self.times.backward(dy)

    error = failure(Negated())
    assert error.layer == "Negated(times=TimesFactor())"
    assert error.cause is Cause.SIGN


def test_inner_layers_are_not_checked_if_the_layer_raises_at_once() -> None:
    class Raises(Linear):
        def __init__(self) -> None:
            super().__init__()
            self.inner = right.ReLU()

        def backward(self, dy: Array) -> Any:
            raise KeyError(dy.shape)

    error = failure(Raises())
    assert error.verdict is Verdict.BACKWARD_RAISES
    assert error.cause is None
    assert "\n\nCause unknown.\n\n" in str(error)


# The code


class Held(Layer):
    """Has a required argument that is no attribute, and attributes of many kinds."""

    def __init__(self, size: int, /) -> None:
        self.gain = Parameter(np.arange(1.0, size + 1), np.float64)
        self.shift = np.array([1, 2, 3])
        self.name = "a name"
        self.function = np.sin
        self.inner = (Dense(2, 2, rng=0), None)
        self.only = Gain()

    def forward(self, x: Array) -> Array:
        y = np.asarray(self.inner[0](x))
        self.save_for_backward(y)
        return y

    def backward(self, dy: Array) -> Any:
        return dy


class Unshown(Held):
    """Takes an argument that no code can show."""

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


class ByName(Layer):
    """Takes a required argument by name only."""

    def __init__(self, *, size: tuple[int, int]) -> None:
        self.size = size

    forward = Many.forward
    backward = Many.backward


class Needs(Layer):
    """Takes an array, which is an attribute of the same name."""

    def __init__(self, table: Array) -> None:
        self.table = table

    forward = Many.forward
    backward = Many.backward


def run(check: GradientCheck) -> Any:
    """The layer and the arguments with which the code calls check_gradients."""
    found: list[Any] = []
    classes = (Around, ByName, Held, Unshown, Many, Linear, TwoWays, Gain, Needs)
    names = {cls.__name__: cls for cls in classes}
    code = snippet(check)

    def record(*arguments: Any, **settings: Any) -> None:
        found.extend([*arguments, settings])

    with mock.patch.object(tinynet, "check_gradients", record):
        exec(compile(code, "the snippet", "exec"), names)
    return found


def checked(layer: Layer, x: Any = None, *targets: Array, **settings: Any) -> GradientCheck:
    x = np.array([[0.5, -1.5]]) if x is None else x
    return GradientCheck(layer, Inputs(x, *targets), **({"seed": 3} | settings))


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        (Dense(2, 3, rng=0), "layer = Dense(2, 3)"),
        (Dense(2, 3, bias=False, rng=0), "layer = Dense(2, 3, bias=False)"),
        (Rescale(0.5, 2.0), "layer = Rescale(0.5, offset=2.0)"),
        (LayerNorm((2, 1)), "layer = LayerNorm((2, 1))"),
        (ByName(size=(2, 1)), "layer = ByName(size=(2, 1))"),
        (Linear(), "layer = Linear()"),
        (TwoWays(), "layer = TwoWays()"),
        (
            Sequential([Dense(2, 3), Sequential([ReLU()])]),
            "layer = Sequential([Dense(2, 3), Sequential([ReLU()])])",
        ),
        (Around(Dense(2, 1)), "layer = Around(Dense(2, 1))"),
        (Linear(2, 2), "layer = Linear.__new__(Linear)  # without its constructor"),
        (Held(3), "layer = Held(3)"),
        (Unshown(np.sin), "layer = Unshown.__new__(Unshown)  # without its constructor"),
        (Many(Gain(), Dense(1, 2)), "layer = Many.__new__(Many)  # without its constructor"),
        (Needs(np.ones(2)), "layer = Needs.__new__(Needs)  # without its constructor"),
    ],
)
def test_the_code_constructs_the_layer_and_sets_its_parameters(layer: Layer, line: str) -> None:
    assert line in snippet(checked(layer)).splitlines()
    if isinstance(layer, Many):
        return  # layers in a dict are a comment in the code
    made, x, settings = run(checked(layer))
    assert type(made) is type(layer)
    assert x.tolist() == [[0.5, -1.5]]
    assert settings == {"rng": 3}
    for (path, a), (same_path, b) in zip(
        made.named_parameters(), layer.named_parameters(), strict=True
    ):
        assert path == same_path
        assert a.value.dtype == b.value.dtype
        assert (a.value == b.value).all()


def test_attributes_that_no_code_can_show_are_named_in_a_comment() -> None:
    layer = Unshown(np.sin)
    layer.forward(np.ones((1, 2)))  # a pending backward is no attribute to show
    lines = snippet(checked(layer)).splitlines()
    assert "# layer.function: as in your layer" in lines
    assert "layer.shift = np.array([1, 2, 3])" in lines
    assert "layer.name = 'a name'" in lines
    assert "layer.inner[0] = Dense(2, 2)" in lines
    assert "layer.only = Gain()" in lines
    assert not any("_saved" in line for line in lines)


def test_the_code_keeps_targets_settings_and_evaluation_mode() -> None:
    given = checked(
        SoftmaxCrossEntropy().eval(),
        None,
        np.array([1], np.uint8),
        seed=5,
        tolerance=1e-4,
        entries=7,
    )
    made, _, targets, settings = run(given)
    assert not made.training
    assert targets.tolist() == [1]
    assert targets.dtype == np.uint8
    assert settings == {"rng": 5, "tolerance": 1e-4, "entries": 7}


def test_the_code_sets_parameters_in_dicts() -> None:
    class Named(Layer):
        def __init__(self) -> None:
            self.table = {"a": Parameter([1.0]), 2: Parameter([2.0])}

        forward = Many.forward
        backward = Many.backward

    lines = snippet(checked(Named())).splitlines()
    assert "layer.table['a'].value[...] = [1.0]" in lines
    assert "layer.table[2].value[...] = [2.0]" in lines


def test_long_arrays_are_drawn_in_the_code_which_is_exact_only_for_such_values() -> None:
    x = np.zeros((10, 7))
    assert "x = np.random.default_rng(0).standard_normal((10, 7))" in snippet(checked(ReLU(), x))
    assert not is_exact(checked(ReLU(), x))
    drawn = np.random.default_rng(0).standard_normal((10, 7))
    assert is_exact(checked(ReLU(), drawn))
    assert is_exact(checked(ReLU(), np.zeros((10, 6))))
    labels = np.zeros((10, 7), np.uint8)
    assert "np.array([[0, 0" in snippet(checked(ReLU(), labels))


def test_the_code_imports_its_names_and_lists_the_users_classes() -> None:
    code = snippet(checked(Sequential([Dense(2, 2), Linear(2, 2)])))
    assert code.splitlines()[:3] == [
        "import numpy as np",
        "from tinynet import Dense, Parameter, Sequential, check_gradients",
        "# and your own Linear",
    ]
