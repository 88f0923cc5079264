"""Plain functions, checked without a class."""

from typing import Any

import numpy as np
import pytest
from bug_zoo.right import Linear

from tinynet import Array, GradientCheckError, InputError, check_gradients
from tinynet.gradcheck import Cause

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
    assert "another batch size" not in report.held  # axis 0 of x may be anything


def test_a_wrong_one_is_named_and_explained() -> None:
    with pytest.raises(GradientCheckError) as error:
        check_gradients((affine, wrong_backward), (X, W, B))
    assert error.value.parameter == "w"
    assert error.value.cause is Cause.FACTOR
    names = {"affine": affine, "wrong_backward": wrong_backward}
    with pytest.raises(GradientCheckError, match="gradient of w"):
        exec(error.value.snippet, names)


def test_one_array_and_one_gradient() -> None:
    assert list(check_gradients((np.sin, lambda dy, x: dy * np.cos(x)), X)) == ["x"]
    with pytest.raises(GradientCheckError, match="gradient of x at index"):
        check_gradients((np.sin, lambda dy, x: dy * np.sin(x)), X)


def test_a_number_as_result_is_a_loss_with_a_dy() -> None:
    check_gradients((lambda x: float((x**2).sum()), lambda dy, x: 2 * dy * x), X)
    with pytest.raises(GradientCheckError):
        check_gradients((lambda x: float((x**2).sum()), lambda dy, x: dy * x), X)


def test_targets_are_constants() -> None:
    def square(x: Array, t: Array) -> float:
        return float(((x - t) ** 2).sum())

    def square_backward(dy: Array, x: Array, t: Array) -> Array:
        return np.asarray(2 * dy * (x - t))

    assert list(check_gradients((square, square_backward), X, X[::-1])) == ["x"]


def test_integers_have_no_gradient() -> None:
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
    """Somebody's own class, with a cache and a gradient as attributes."""

    def forward(self, x: Array) -> Array:
        self.x = x
        return np.asarray(np.tanh(x))

    def backward(self, dy: Array) -> Array:
        return np.asarray(dy * (1 - np.tanh(self.x) ** 2))


class Forgetful(Student):
    first: Array | None = None

    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        self.first = x.copy() if self.first is None else self.first
        self.x = self.first
        return y


def test_methods_that_remember_take_dy_alone_and_are_checked_on_a_copy() -> None:
    student = Student()
    check_gradients((student.forward, student.backward), X)
    assert not hasattr(student, "x")
    forgetful = Forgetful()
    with pytest.raises(GradientCheckError) as error:
        check_gradients((forgetful.forward, forgetful.backward), X)
    assert error.value.cause is Cause.STALE
    assert "(Forgetful.forward" in error.value.layer or "Student.backward" in error.value.layer


def test_a_layer_has_the_methods_of_a_pair_too() -> None:
    layer = Linear()
    with pytest.raises(GradientCheckError, match="gradient of x"):
        check_gradients((layer.forward, lambda dy: dy @ (2 * layer.weight.value.T)), X)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_another_number_of_gradients_is_refused(count: int) -> None:
    def several(*arguments: Any) -> Any:
        return (arguments[0],) * count

    with pytest.raises(GradientCheckError, match=r"expects backward to give a gradient for each"):
        check_gradients((affine, several), (X, W, B))


def test_names_that_do_not_fit_are_numbered() -> None:
    pair = (np.multiply, lambda dy, a, b: (dy * b, dy * a))
    assert list(check_gradients(pair, (X, 2 * X))) == ["x", "argument1"]

    def training(x: Array, dtype: Array) -> Array:
        return np.asarray(x * dtype)

    assert list(check_gradients((training, pair[1]), (X, 2 * X))) == ["x", "argument1"]
    assert list(check_gradients((lambda *a: a[0] * a[1], pair[1]), (X, 2 * X)))[1] == "argument1"


class Odd:
    """As functions in C are: it does not tell its arguments."""

    @property
    def __signature__(self) -> Any:
        raise ValueError

    def __call__(self, x: Array, w: Array) -> Array:
        return np.asarray(x * w)


def test_arguments_that_are_not_told_are_numbered() -> None:
    pair = (Odd(), lambda dy, x, w: (dy * w, dy * x))
    assert list(check_gradients(pair, (X, 2 * X))) == ["x", "argument1"]


def test_a_lambda_has_a_name_in_messages() -> None:
    report = check_gradients((lambda x: 2 * x, lambda dy, _x: 2 * dy), X)
    assert report.layer.startswith("(")


@pytest.mark.parametrize("wrong", [(affine,), (affine, 3), [affine, affine_backward]])
def test_what_is_no_pair_is_refused(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"or two functions \(forward, backward\), got"):
        check_gradients(wrong, X)
