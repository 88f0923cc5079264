"""check_layer: what it draws, what it lets through, and what it shrinks a failure to."""

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bug_zoo.right import CrossEntropy, Embedding, Gain, Sigmoid
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinynet.testing
from tinynet import Array, Dense, GradientCheckError, InputError, Layer, Parameter, ReLU, Rescale
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


class TestCheckLayer:
    def test_lets_through_what_is_right(self) -> None:
        check_layer(Scale, ("N", "features"), start=st.floats(0.5, 2))
        check_layer(CrossEntropy, ("N", "C"), targets=labels, x=lambda s: floats(s, bound=3))
        check_layer(Gain, ("N", 4))

    def test_draws_what_it_is_told(self) -> None:
        seen: list[tuple[int, str, Any]] = []

        def factory(width: int, kind: str, fixed: Any) -> Layer:
            seen.append((width, kind, fixed))
            return ReLU()

        check_layer(factory, ("N", "width", "other"), kind=st.sampled_from("ab"), fixed=7)
        assert {1, 2, 3} <= {width for width, _, _ in seen} <= {1, 2, 3, 4}
        assert {kind for _, kind, _ in seen} == {"a", "b"}
        assert {fixed for _, _, fixed in seen} == {7}

    def test_takes_a_strategy_of_shapes_and_one_of_numbers(self) -> None:
        shapes, dtypes = set(), set()

        class Monitor(Layer):
            def forward(self, x: Array) -> Array:
                shapes.add(x.shape[1:])
                dtypes.add(x.dtype)
                return x.copy()

            def backward(self, dy: Array) -> Array:
                return dy.copy()

        check_layer(Monitor, st.sampled_from([(2, 3), (1, 5)]), x=lambda s: floats(s, np.float32))
        assert shapes == {(3,), (5,)}
        assert dtypes == {np.dtype(np.float64)}  # checked in float64, whatever was drawn

    def test_shrinks_a_failure_to_the_smallest_configuration(self) -> None:
        with pytest.raises(GradientCheckError) as error:
            check_layer(WrongFromThree, ("N", "features"), start=st.sampled_from([1.0, 5.0]))
        assert error.value.parameter == "g"
        assert error.value.index == (2,)
        assert "layer = WrongFromThree" in error.value.snippet
        smallest = (
            "The smallest configuration that fails: "
            "WrongFromThree(features=3, start=1.0) on x of (1, 3)"
        )
        assert smallest in error.value.__notes__

    def test_explains_the_failure(self) -> None:
        class Mean(Scale):
            def backward(self, dy: Array) -> Any:
                dx = super().backward(dy)
                assert self.g.grad is not None
                self.g.grad = self.g.grad / len(dy)
                return dx

        with pytest.raises(GradientCheckError) as error:
            check_layer(Mean, ("N", "features"))
        assert error.value.cause is Cause.FACTOR_N

    def test_says_when_too_little_could_be_judged(self) -> None:
        with pytest.raises(GradientCheckError) as error:
            check_layer(Rescale, ("N", 3), x=lambda s: floats(s, bound=3), scale=1e-12, offset=1.0)
        assert error.value.verdict is Verdict.UNINFORMATIVE
        assert "entries could not be judged" in str(error.value)
        assert "expected at most 10%" in str(error.value)
        check_layer(
            Rescale,
            ("N", 3),
            x=lambda s: floats(s, bound=3),
            scale=1e-12,
            offset=1.0,
            informative=0,
        )

    def test_draws_the_share_of_examples_that_it_is_told(self) -> None:
        made = []

        def relu() -> Layer:
            made.append(1)
            return ReLU()

        check_layer(relu, ("N", 3), examples=0.2)
        assert len(made) == settings().max_examples / 5
        check_layer(relu, ("N", 3), examples=0)
        assert len(made) == settings().max_examples / 5 + 1

    def test_refuses_a_factory_of_something_else(self) -> None:
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
            ({"targets": np.ones(3)}, "targets to be a function from a shape to a strategy, got"),
            ({"informative": 2}, "informative to be a share from 0 to 1, got 2"),
            ({"examples": 1.5}, "examples to be a share from 0 to 1, got 1.5"),
        ],
    )
    def test_refuses_other_arguments(self, arguments: Any, sentence: str) -> None:
        with pytest.raises(InputError, match=f"^check_layer expects {sentence}"):
            check_layer(**({"factory": Gain, "shapes": ("N", 4)} | arguments))

    def test_a_factory_needs_no_name(self) -> None:
        class Make:
            def __call__(self, scale: float) -> Layer:
                return Rescale(scale, 1.0)

        check_layer(Make(), ("N", 2), scale=2.0)
        with pytest.raises(GradientCheckError, match=r"^<"):
            check_layer(Make(), ("N", 2), scale=1e-12, x=lambda s: floats(s, bound=3))

    def test_what_a_layer_refuses_is_an_error_of_its_own(self) -> None:
        with pytest.raises(InputError, match=r"expects x of shape \(\.\.\., 4\), got"):
            check_layer(Dense, ("N", 3), in_features=4, out_features=2)

    def test_leaves_no_trace_in_the_generators(self) -> None:
        np.random.seed(5)  # noqa: NPY002
        expected = np.random.rand()  # noqa: NPY002
        np.random.seed(5)  # noqa: NPY002
        check_layer(Sigmoid, ("N", 2), x=lambda s: floats(s, bound=3))
        assert np.random.rand() == expected  # noqa: NPY002


class TestStrategies:
    @given(st.data())
    def test_shapes_fit_their_pattern(self, data: st.DataObject) -> None:
        shape, named = data.draw(shapes_like(("N", ..., 3, "D", "D")))
        assert shape[0] == named["N"]
        assert shape[-3:] == (3, named["D"], named["D"])
        assert 4 <= len(shape) <= 6
        assert all(1 <= size <= 4 for size in shape)

    @given(floats((2, 3)))
    def test_floats_are_of_either_precision(self, x: Array) -> None:
        assert x.dtype in (np.float32, np.float64)
        assert x.shape == (2, 3)
        assert np.abs(x).max() <= 3000

    @given(floats(st.sampled_from([(2,), (3,)]), np.float32, bound=0.1))
    def test_floats_keep_to_their_bound(self, x: Array) -> None:
        assert x.dtype == np.float32
        assert x.shape in ((2,), (3,))
        assert np.abs(x).max() <= np.float32(0.1)

    def test_floats_come_at_several_scales_and_in_any_layout(self) -> None:
        sizes_seen, contiguous = set(), set()

        @given(floats((4, 4)))
        @settings(max_examples=200)
        def look(x: Array) -> None:
            sizes_seen.add(int(np.log10(np.abs(x).max() + 1e-30)))
            contiguous.add(x.flags.c_contiguous)

        look()
        assert contiguous == {True, False}
        assert min(sizes_seen) < -2
        assert max(sizes_seen) >= 2

    @given(st.data(), st.tuples(sizes, sizes))
    def test_labels_and_probability_rows_fit_x(
        self, data: st.DataObject, shape: tuple[int, int]
    ) -> None:
        classes = data.draw(labels(shape))
        assert classes.shape == shape[:1]
        assert classes.dtype.kind in "iu"
        assert 0 <= classes.min() <= classes.max() < shape[1]
        rows = data.draw(probability_rows(shape))
        assert rows.shape == shape
        assert rows.min() >= 0
        assert rows.sum(axis=1) == pytest.approx(np.ones(shape[0]), abs=1e-6)


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    sentence = (
        r'expects hypothesis to be installed, got none: pip install "tinynet-numpy\[testing\]"'
    )
    with pytest.raises(ImportError, match=sentence):
        runpy.run_path(str(Path(str(tinynet.testing.__file__))))


def test_a_factory_may_keep_its_arguments_to_itself() -> None:
    class Odd:
        @property
        def __signature__(self) -> Any:
            raise ValueError

        def __call__(self, features: int) -> Layer:
            return Scale(features)

    check_layer(Odd(), ("N", 3), features=3)


def test_bytes_and_ids_can_be_drawn() -> None:
    check_layer(
        lambda: Embedding(),
        ("N",),
        x=lambda shape: hnp.arrays(np.int64, shape, elements=st.integers(0, 4)),
    )
