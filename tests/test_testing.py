"""check_layer and its strategies: what they draw, accept and refuse, and how failures shrink."""

import random
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bug_zoo.right import CrossEntropy, Embedding, Gain, Sigmoid
from bug_zoo.several import Product, TwoSquares
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinynet.testing
from tinynet import (
    Array,
    Dense,
    GradientCheckError,
    InputError,
    Layer,
    Parameter,
    ReLU,
    Rescale,
    check_gradients,
)
from tinynet.gradcheck import Cause, Verdict
from tinynet.testing import check_layer, floats, labels, probability_rows, shapes_like, sizes


class Scale(Gain):
    """A right layer of a drawn width."""

    def __init__(self, features: int, start: float = 1.0) -> None:
        self.g = Parameter(np.full(features, start))


class WrongFromThree(Scale):
    """Wrong for three features or more."""

    def backward(self, dy: Array) -> Any:
        dx = super().backward(dy)
        assert self.g.grad is not None
        self.g.grad[2:] *= 2
        return dx


def bounded_floats(shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    return floats(shape, bound=3)


def test_right_layers_and_losses_pass() -> None:
    check_layer(Scale, ("N", "features"), start=st.floats(0.5, 2), examples=0.3)
    check_layer(CrossEntropy, ("N", "C"), targets=labels, x=bounded_floats, examples=0.3)
    check_layer(Gain, ("N", 4), examples=0.3)


def test_a_tuple_of_patterns_makes_an_x_of_several_arrays() -> None:
    class Bilinear(Layer):
        def __init__(self, left: int, right: int) -> None:
            self.w = Parameter(np.ones((left, right)))

        def forward(self, x: tuple[Array, Array]) -> Array:
            self.a, self.b = x
            return np.asarray(np.einsum("ni,nj,ij->n", self.a, self.b, self.w.value))

        def backward(self, dy: Array) -> Any:
            self.w.grad = np.einsum("ni,nj,n->ij", self.a, self.b, dy)
            da, db = self.b @ self.w.value.T, self.a @ self.w.value
            return da * dy[:, None], db * dy[:, None] * (1 + (self.a.shape[1] > 1))

    patterns = (("N", "left"), ("N", "right"))
    with pytest.raises(GradientCheckError, match=r"gradient of x\[1\]") as caught:
        check_layer(Bilinear, patterns, x=bounded_floats)
    assert caught.value.__notes__ == [
        "The smallest configuration that fails: Bilinear(left=2, right=1) on x of (1, 2) and (1, 1)"
    ]

    def two_squares(shapes: Any) -> st.SearchStrategy[Any]:
        return st.tuples(*map(bounded_floats, shapes))

    for targets in (two_squares, (bounded_floats, bounded_floats)):
        check_layer(
            TwoSquares, (("N", 2), ("N", 3)), x=bounded_floats, targets=targets, examples=0.05
        )
    shapes = st.just(((3, 2), (3, 2)))
    check_layer(Product, shapes, x=(bounded_floats, bounded_floats), examples=0.05)
    check_layer(Product, ("N", 2), x=(bounded_floats, bounded_floats), examples=0.05)


def test_the_factory_gets_axis_sizes_by_name_and_drawn_or_fixed_arguments() -> None:
    seen: list[tuple[int, str, Any]] = []

    def factory(width: int, kind: str, fixed: Any) -> Layer:
        seen.append((width, kind, fixed))
        return ReLU()

    check_layer(
        factory,
        ("N", "width", "other"),
        x=lambda shape: st.just(np.ones(shape)),
        kind=st.sampled_from("ab"),
        fixed=7,
    )
    assert {1, 2, 3} <= {width for width, _, _ in seen} <= {1, 2, 3, 4}
    assert {kind for _, kind, _ in seen} == {"a", "b"}
    assert {fixed for _, _, fixed in seen} == {7}


def test_shapes_and_values_may_be_strategies() -> None:
    shapes, dtypes = set(), set()

    class Records(Layer):
        def forward(self, x: Array) -> Array:
            shapes.add(x.shape[1:])
            dtypes.add(x.dtype)
            return x.copy()

        def backward(self, dy: Array) -> Array:
            return dy.copy()

    check_layer(
        Records,
        st.sampled_from([(2, 3), (1, 5)]),
        x=lambda shape: floats(shape, np.float32),
        examples=0.5,
    )
    assert shapes == {(3,), (5,)}
    assert dtypes == {np.dtype(np.float64)}  # checked in float64, whatever was drawn


def test_a_failure_shrinks_to_the_smallest_configuration() -> None:
    with pytest.raises(GradientCheckError) as caught:
        check_layer(WrongFromThree, ("N", "features"), start=st.sampled_from([1.0, 5.0]))
    assert caught.value.parameter == "g"
    assert caught.value.index == (2,)
    assert "layer = WrongFromThree" in caught.value.snippet
    smallest = (
        "The smallest configuration that fails: "
        "WrongFromThree(features=3, start=1.0) on x of (1, 3)"
    )
    assert smallest in caught.value.__notes__


def test_the_cause_of_a_failure_is_named() -> None:
    class Mean(Scale):
        def backward(self, dy: Array) -> Any:
            dx = super().backward(dy)
            assert self.g.grad is not None
            self.g.grad = self.g.grad / len(dy)
            return dx

    with pytest.raises(GradientCheckError) as caught:
        check_layer(Mean, ("N", "features"))
    assert caught.value.cause is Cause.FACTOR_N


def test_too_many_entries_that_cannot_be_judged_fail() -> None:
    flat: dict[str, Any] = {"x": bounded_floats, "scale": 1e-12, "offset": 1.0, "examples": 0.1}
    with pytest.raises(GradientCheckError) as caught:
        check_layer(Rescale, ("N", 3), **flat)
    assert caught.value.verdict is Verdict.UNINFORMATIVE
    assert "entries could not be judged" in str(caught.value)
    assert "expected at most 10%" in str(caught.value)
    check_layer(Rescale, ("N", 3), **flat, informative=0)


def test_examples_is_the_share_of_the_settings_with_at_least_one() -> None:
    made = []

    def relu() -> Layer:
        made.append(1)
        return ReLU()

    check_layer(relu, ("N", 3), examples=0.2, informative=0)
    assert len(made) == settings().max_examples / 5
    check_layer(relu, ("N", 3), examples=0, informative=0)
    assert len(made) == settings().max_examples / 5 + 1


def test_a_factory_that_returns_no_layer_is_refused() -> None:
    with pytest.raises(InputError, match=r"check_layer expects dict\(\) to be a layer, got {}"):
        check_layer(dict, ("N",))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"factory": Gain()}, r"a class or function that makes a layer, got Gain\(g="),
        ({"factory": 3}, "a class or function that makes a layer, got 3"),
        ({"shapes": "N"}, r"shapes to be a pattern such as \(.* or a strategy .*, got 'N'"),
        ({"shapes": 3}, r"shapes to be a pattern such as \(.* or a strategy .*, got 3"),
        ({"x": floats((2, 2))}, "x to be a function from a shape to a strategy, got"),
        ({"x": (floats, 3)}, "x to be a function from a shape to a strategy, got 3"),
        ({"targets": np.ones(3)}, "targets to be a function from a shape to a strategy, got"),
        ({"informative": 2}, "informative to be a finite number >= 0 and <= 1, got 2"),
        ({"examples": 1.5}, "examples to be a finite number >= 0 and <= 1, got 1.5"),
    ],
)
def test_invalid_arguments_of_check_layer_are_refused(arguments: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^check_layer expects {sentence}"):
        check_layer(**({"factory": Gain, "shapes": ("N", 4)} | arguments))


def test_another_number_of_functions_than_shapes_is_refused() -> None:
    with pytest.raises(InputError, match="expects a function of x for each of 2 shapes, got 3"):
        check_layer(Product, (("N", 2), ("N", 2)), x=(floats, floats, floats))


def test_a_factory_without_a_name_is_shown_by_its_repr() -> None:
    class Make:
        def __call__(self, scale: float) -> Layer:
            return Rescale(scale, 1.0)

    check_layer(Make(), ("N", 2), scale=2.0, examples=0)
    with pytest.raises(GradientCheckError, match=r"^<"):
        check_layer(Make(), ("N", 2), scale=1e-12, x=bounded_floats, examples=0.1)


def test_a_factory_without_a_signature_is_called_with_the_given_arguments() -> None:
    class Odd:
        @property
        def __signature__(self) -> Any:
            raise ValueError

        def __call__(self, features: int) -> Layer:
            return Scale(features)

    check_layer(Odd(), ("N", 3), features=3, examples=0)


def test_an_input_error_of_the_layer_is_passed_on() -> None:
    with pytest.raises(InputError, match=r"expects x of shape \(\.\.\., 4\), got"):
        check_layer(Dense, ("N", 3), in_features=4, out_features=2)


def test_check_layer_restores_the_global_generators() -> None:
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    expected = np.random.rand(), random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    check_layer(Sigmoid, ("N", 2), x=bounded_floats, examples=0.1)
    assert (np.random.rand(), random.random()) == expected  # noqa: NPY002


def test_x_may_be_drawn_as_integers() -> None:
    check_layer(
        lambda: Embedding(),
        ("N",),
        x=lambda shape: hnp.arrays(np.int64, shape, elements=st.integers(0, 4)),
        examples=0.2,
    )


# Strategies


@given(st.data())
def test_drawn_shapes_match_their_pattern(data: st.DataObject) -> None:
    shape, named = data.draw(shapes_like(("N", ..., 3, "D", "D")))
    assert shape[0] == named["N"]
    assert shape[-3:] == (3, named["D"], named["D"])
    assert 4 <= len(shape) <= 6
    assert all(1 <= size <= 4 for size in shape)


@given(floats((2, 3)))
def test_drawn_floats_are_of_either_precision_up_to_3000(x: Array) -> None:
    assert x.dtype in (np.float32, np.float64)
    assert x.shape == (2, 3)
    assert np.abs(x).max() <= 3000


@given(floats(st.sampled_from([(2,), (3,)]), np.float32, bound=0.1))
def test_drawn_floats_keep_to_their_bound_shape_and_dtype(x: Array) -> None:
    assert x.dtype == np.float32
    assert x.shape in ((2,), (3,))
    assert np.abs(x).max() <= np.float32(0.1)


def test_drawn_floats_have_several_scales_and_memory_layouts() -> None:
    magnitudes, contiguous = set(), set()

    @given(floats((2, 2)))
    @settings(max_examples=100, derandomize=True)
    def look(x: Array) -> None:
        magnitudes.add(int(np.log10(np.abs(x).max() + 1e-30)))
        contiguous.add(x.flags.c_contiguous)

    look()
    assert contiguous == {True, False}
    assert min(magnitudes) < -2
    assert max(magnitudes) >= 2


@given(st.data(), st.tuples(sizes, sizes))
def test_drawn_labels_and_probabilities_match_x(
    data: st.DataObject, shape: tuple[int, int]
) -> None:
    classes = data.draw(labels(shape))
    assert classes.shape == shape[:1]
    assert classes.dtype.kind in "iu"
    assert 0 <= classes.min() <= classes.max() < shape[1]
    rows = data.draw(probability_rows(shape))
    assert rows.shape == shape
    assert rows.min() >= 0
    assert rows.sum(axis=1) == pytest.approx(np.ones(shape[0]), abs=1e-6)


@pytest.mark.parametrize(
    "fail",
    [
        lambda: check_layer(WrongFromThree, ("N", "features"), x=bounded_floats),
        lambda: check_gradients(WrongFromThree(3), np.ones((2, 3))),
    ],
)
def test_pytest_shows_the_message_of_a_failure_without_the_source_of_the_check(
    fail: Callable[[], object],
) -> None:
    with pytest.raises(GradientCheckError) as info:
        fail()
    shown = str(info.getrepr(style="long", tbfilter=True))
    assert "WrongFromThree(" in shown
    assert ".g.grad" not in shown
    assert "def check_" not in shown
    frames = [entry for entry in info.traceback if not entry.ishidden(info)]
    assert {entry.path for entry in frames} == {Path(__file__)}


def test_without_hypothesis_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    sentence = (
        r'expects hypothesis to be installed, got none: in a clone, pip install -e "\.\[testing\]"'
    )
    with pytest.raises(ImportError, match=sentence):
        runpy.run_path(str(Path(str(tinynet.testing.__file__))))
