"""Two functions in place of a layer, and the variants of the inputs of a check."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from bug_zoo.right import Linear
from bug_zoo.specimen import broken_rule

from tinynet import (
    Array,
    GradientCheckError,
    InputError,
    Layer,
    MeanSquaredError,
    check_gradients,
)
from tinynet.gradcheck import Cause
from tinynet.gradcheck.inputs import memory_layouts

RNG = np.random.default_rng(0)
X, W, B = RNG.standard_normal((5, 4)), RNG.standard_normal((4, 3)), RNG.standard_normal(3)


def affine(x: Array, w: Array, b: Array) -> Array:
    return np.asarray(x @ w + b)


def affine_backward(dy: Array, x: Array, w: Array, b: Array) -> tuple[Array, Array, Array]:
    assert b.shape == (3,)
    return dy @ w.T, x.T @ dy, dy.sum(axis=0)


def wrong_backward(dy: Array, x: Array, w: Array, b: Array) -> tuple[Array, Array, Array]:
    dx, dw, db = affine_backward(dy, x, w, b)
    return dx, 1.01 * dw, db


def test_all_arrays_are_checked_under_the_names_of_the_arguments() -> None:
    report = check_gradients((affine, affine_backward), (X, W, B))
    assert list(report) == ["x", "w", "b"]
    assert report.layer == "(affine, affine_backward)"
    assert "another batch size" not in report.rules  # axis 0 of x may be anything


def test_a_wrong_gradient_of_a_function_is_explained_with_code() -> None:
    with pytest.raises(GradientCheckError) as caught:
        check_gradients((affine, wrong_backward), (X, W, B))
    assert caught.value.parameter == "w"
    assert caught.value.cause is Cause.FACTOR
    names = {"affine": affine, "wrong_backward": wrong_backward}
    with pytest.raises(GradientCheckError, match="gradient of w"):
        exec(caught.value.snippet, names)


def test_a_function_of_one_array_returns_one_gradient() -> None:
    assert list(check_gradients((np.sin, lambda dy, x: dy * np.cos(x)), X)) == ["x"]
    error = broken_rule((np.sin, lambda dy, x: dy * np.sin(x)), X)
    assert error is not None
    assert error.parameter == "x"


def test_a_function_that_returns_a_number_gets_a_dy() -> None:
    check_gradients((lambda x: float((x**2).sum()), lambda dy, x: 2 * dy * x), X)
    assert broken_rule((lambda x: float((x**2).sum()), lambda dy, x: dy * x), X)


def test_the_targets_of_functions_are_constants() -> None:
    def square(x: Array, t: Array) -> float:
        return float(((x - t) ** 2).sum())

    def square_backward(dy: Array, x: Array, t: Array) -> Array:
        return np.asarray(2 * dy * (x - t))

    assert list(check_gradients((square, square_backward), X, X[::-1])) == ["x"]


def test_integer_arguments_of_functions_have_no_gradient() -> None:
    def rows(ids: Array, table: Array) -> Array:
        return np.asarray(table[ids])

    def rows_backward(dy: Array, ids: Array, table: Array) -> Array:
        dtable = np.zeros_like(table)
        np.add.at(dtable, ids, dy)
        return dtable

    assert list(check_gradients((rows, rows_backward), (np.array([1, 0, 1]), W))) == ["table"]

    def scaled(x: Array, ids: Array) -> Array:
        return np.asarray(x * ids[:, None])

    pair = (scaled, lambda dy, _x, ids: dy * ids[:, None])
    assert list(check_gradients(pair, (X, np.arange(1, 6)))) == ["x"]


class Student:
    """A class of the user, with a cache and a gradient as attributes."""

    def forward(self, x: Array) -> Array:
        self.x = x
        return np.asarray(np.tanh(x))

    def backward(self, dy: Array) -> Array:
        return np.asarray(dy * (1 - np.tanh(self.x) ** 2))


class KeepsFirst(Student):
    first: Array | None = None

    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        self.first = x.copy() if self.first is None else self.first
        self.x = self.first
        return y


def test_methods_with_a_cache_take_dy_alone_and_run_on_a_copy() -> None:
    student = Student()
    check_gradients((student.forward, student.backward), X)
    assert not hasattr(student, "x")
    stale = KeepsFirst()
    with pytest.raises(GradientCheckError) as caught:
        check_gradients((stale.forward, stale.backward), X)
    assert caught.value.cause is Cause.STALE
    assert caught.value.layer == "(KeepsFirst.forward, Student.backward)"


def test_a_method_of_a_layer_may_be_one_of_the_functions() -> None:
    layer = Linear()
    error = broken_rule((layer.forward, lambda dy: dy @ (2 * layer.weight.value.T)), X)
    assert error is not None
    assert error.parameter == "x"


@pytest.mark.parametrize("count", [1, 2, 4])
def test_another_number_of_gradients_is_refused(count: int) -> None:
    def several(*arguments: Any) -> Any:
        return (arguments[0],) * count

    with pytest.raises(GradientCheckError, match=r"expects backward to give a gradient for each"):
        check_gradients((affine, several), (X, W, B))


class Odd:
    """Like a function in C, it has no signature."""

    @property
    def __signature__(self) -> Any:
        raise ValueError

    def __call__(self, x: Array, w: Array) -> Array:
        return np.asarray(x * w)


def reserved_name(x: Array, dtype: Array) -> Array:
    return np.asarray(x * dtype)


@pytest.mark.parametrize(
    "forward",
    [
        pytest.param(np.multiply, id="a ufunc"),
        pytest.param(reserved_name, id="a name that a layer has"),
        pytest.param(lambda *a: a[0] * a[1], id="any number of arguments"),
        pytest.param(Odd(), id="no signature"),
    ],
)
def test_arguments_without_usable_names_are_numbered(forward: Any) -> None:
    pair = (forward, lambda dy, a, b: (dy * b, dy * a))
    assert list(check_gradients(pair, (X, 2 * X))) == ["x", "argument1"]


@pytest.mark.parametrize("wrong", [(affine,), (affine, 3), [affine, affine_backward]])
def test_anything_but_a_pair_of_functions_is_refused(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"or two functions \(forward, backward\), got"):
        check_gradients(wrong, X)


@pytest.mark.parametrize("shape", [(2, 3), (4,), (1, 1)])
def test_memory_layouts_have_the_same_values(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape)
    copies = memory_layouts(x)
    assert list(copies) == ["column-major", "with gaps", "reversed"]
    assert all((copy == x).all() and not np.shares_memory(copy, x) for copy in copies.values())


def test_a_number_has_no_other_memory_layouts() -> None:
    assert memory_layouts(np.ones(())) == {}


@pytest.mark.parametrize("x", [[[1.0, 2.0], [3.0, 4.0]], ((1, 2.5), (3, 4)), [X[0], X[1]]])
def test_lists_of_numbers_are_checked_as_the_arrays_made_of_them(x: Any) -> None:
    square = (lambda x: x**2, lambda dy, x: 2 * dy * x)
    arguments: Any = (x,)  # a tuple holds the arguments of a function
    assert list(check_gradients(square, arguments)) == ["x"]
    assert list(check_gradients(Square(), x)) == ["x"]
    assert list(check_gradients(MeanSquaredError(), x, x)) == ["x"]


class Square(Layer):
    def forward(self, x: Array) -> Array:
        self.save_for_backward(y := x**2, x)
        return y

    def backward(self, dy: Array) -> Array:
        dy, x = self.saved_for_backward(dy)
        return np.asarray(2 * dy * x)


def test_arguments_after_x_may_be_numbers_and_text() -> None:
    def scaled(x: Array, scale: Array, mode: Array) -> Array:
        return np.asarray(x * scale if mode == "times" else x)

    def scaled_backward(dy: Array, x: Array, scale: Array, mode: Array) -> Any:
        return (dy * scale, (dy * x).sum()) if mode == "times" else (dy, 0 * scale)

    floats: Any = (X, 2.0, "times")
    assert list(check_gradients((scaled, scaled_backward), floats)) == ["x", "scale"]
    integers: Any = (X, 2, "times")
    assert list(check_gradients((scaled, lambda dy, _, k, __: dy * k), integers)) == ["x"]


def test_an_argument_that_is_no_array_is_refused_by_its_name() -> None:
    cases: list[tuple[Any, str]] = [(pd.DataFrame(W), "DataFrame"), (W.astype(object), "object")]
    for wrong, got in cases:
        with pytest.raises(InputError, match=rf"^check_gradients expects w .*, got {got}; w\."):
            check_gradients((affine, affine_backward), (X, wrong, B))
