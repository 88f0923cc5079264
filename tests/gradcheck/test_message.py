"""What a message says: where, how small, why, and how to see it again."""

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
    Parameter,
    ReLU,
    Rescale,
    Sequential,
    SoftmaxCrossEntropy,
    check_gradients,
)
from tinynet.gradcheck import Cause, Verdict
from tinynet.gradcheck.inputs import Case
from tinynet.gradcheck.message import is_exact, snippet

X = np.random.default_rng(0).standard_normal((5, 4))


def failure(layer: Any, x: Any = X, *targets: Array, **settings: Any) -> GradientCheckError:
    with pytest.raises(GradientCheckError) as error:
        check_gradients(layer, x, *targets, **settings)
    return error.value


def test_the_whole_message() -> None:
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
    assert lead == "To see it again:"
    assert [line.strip() for line in code.splitlines()] == error.snippet.splitlines()


def test_the_case_is_as_small_as_it_can_be() -> None:
    error = failure(products.GainSumsEverything())
    assert "x = np.array([[0.1, -0.1, 0.6, 0.1]])" in error.snippet


def test_two_samples_stay_where_one_is_right() -> None:
    error = failure(products.BiasIsMean())
    assert "x = np.array([[0.1, -0.1, 0.6, 0.1], [-0.5, 0.4, 1.3, 0.9]])" in error.snippet


def test_numbers_stay_as_they_are_where_rounding_hides_the_failure() -> None:
    class WrongOffTheGrid(right.ReLU):
        def backward(self, dy: Array) -> Any:
            return super().backward(dy) * (1 + (self.x != self.x.round(1)))

    error = failure(WrongOffTheGrid(), np.abs(X))
    assert f"{float(abs(X[0, 0]))!r}" in error.snippet


def test_a_long_x_is_drawn_and_said_to_be() -> None:
    class Wrong(right.ReLU):
        def backward(self, dy: Array) -> Any:
            return 2 * super().backward(dy)

    long = np.random.default_rng(1).standard_normal((2, 100))
    error = failure(Wrong(), long)
    assert "x = np.random.default_rng(0).standard_normal((1, 100))" in error.snippet
    assert "To see it again:" in str(error)

    class WrongForWhole(right.ReLU):
        def backward(self, dy: Array) -> Any:
            return super().backward(dy) * (1 + np.all(self.x > 0.4))

    error = failure(WrongForWhole(), 0.5 + np.abs(long))
    assert "To see it again (with your own numbers for what is drawn here):" in str(error)


def test_the_settings_are_those_of_the_check() -> None:
    error = failure(products.GainTwice(), rng=5, tolerance=1e-3)
    assert error.snippet.endswith("check_gradients(layer, x, rng=5, tolerance=0.001)")


def test_what_raised_is_the_cause_of_the_error() -> None:
    assert isinstance(failure(products.ProductDoesNotFit()).__cause__, ValueError)


class TestWhere:
    def test_the_layer_inside_that_is_wrong_by_itself_is_named(self) -> None:
        net = Sequential([Dense(4, 4, rng=0), products.GainTwice(), Dense(4, 2, rng=1)])
        error = failure(net)
        assert str(error).startswith(
            f"{net!r}: its layers.1 is wrong by itself.\nGainTwice(g=(4,)): gradient of x at"
        )
        assert error.layer == "GainTwice(g=(4,))"
        assert "layer = GainTwice()" in error.snippet

    def test_also_two_levels_down(self) -> None:
        net = Sequential([Dense(4, 4, rng=0), Sequential([Gain(), products.GainTwice()])])
        message = str(failure(net))
        assert "its layers.1 is wrong by itself.\nSequential([Gain(g=(4,)), GainTwice" in message
        assert "its layers.1 is wrong by itself.\nGainTwice" in message

    def test_where_all_inside_are_right_it_is_the_layer_around_them(self) -> None:
        class SecondOnly(TwoWays):
            def backward(self, dy: Array) -> Any:
                self.first.backward(dy)
                return self.second.backward(dy)

        error = failure(SecondOnly())
        assert error.layer.startswith("SecondOnly(")
        assert error.cause is Cause.LAST_BRANCH

    def test_a_layer_inside_that_is_not_used_is_no_suspect(self) -> None:
        class Unused(right.ReLU):
            def __init__(self) -> None:
                self.spare = products.DxForgotten()

            def backward(self, dy: Array) -> Any:
                for parameter in self.parameters():
                    parameter.grad = np.zeros_like(parameter.value)
                return 2 * super().backward(dy)

        assert failure(Unused()).layer.startswith("Unused(")

    def test_a_layer_inside_that_takes_something_else_than_arrays_is_passed_over(self) -> None:
        class Times(Layer):
            def forward(self, x: Array, factor: float) -> Array:
                self.factor = factor
                return x * factor

            def backward(self, dy: Array) -> Any:
                return dy * self.factor

        class Around(Layer):
            def __init__(self) -> None:
                self.times = Times()

            def forward(self, x: Array) -> Array:
                return np.asarray(self.times(x, 2.0))

            def backward(self, dy: Array) -> Any:
                return -self.times.backward(dy)

        error = failure(Around())
        assert error.layer == "Around(times=Times())"
        assert error.cause is Cause.SIGN

    def test_a_layer_that_fails_at_once_is_not_looked_into(self) -> None:
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
        self.save_for_backward(y)
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
    assert not any("_saved" in line for line in lines)


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
