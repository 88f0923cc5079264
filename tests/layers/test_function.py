import numpy as np
import pytest

from tinynet import Array, GradientCheckError, InputError, Lambda, Layer, check_gradients
from tinynet.testing import check_layer, floats


def cosine_slope(dy: Array, x: Array) -> Array:
    return dy * np.cos(x)


def sine() -> Layer:
    return Lambda(np.sin, cosine_slope)


@pytest.mark.gradients
def test_gradients() -> None:
    check_layer(sine, ("N", ...), x=lambda shape: floats(shape, bound=3))


def test_a_wrong_derivative_is_found() -> None:
    wrong = Lambda(np.sin, lambda dy, x: dy * np.sin(x))
    with pytest.raises(GradientCheckError, match=r"^Lambda\(sin\): gradient of x at index"):
        check_gradients(wrong, np.array([[0.5, -2.0]]))


def test_forward_and_backward_are_the_two_functions() -> None:
    layer = Lambda(lambda x: x**2, lambda dy, x: dy * 2 * x)
    assert layer(np.array([[1.0, -3.0]])).tolist() == [[1, 9]]
    assert layer.backward(np.array([[1.0, 10.0]])).tolist() == [[2, -60]]


@pytest.mark.parametrize("change", [lambda x: x, lambda x: x[:, ::-1], lambda x: x[:, :1]])
def test_what_shares_memory_with_x_is_copied(change: object) -> None:
    layer = Lambda(change, lambda dy, x: dy if dy.shape == x.shape else x)  # type: ignore[arg-type]  # any function
    x = np.ones((2, 3))
    y = layer(x)
    dy = np.ones_like(y)
    dx = layer.backward(dy)
    assert not np.shares_memory(y, x)
    assert not any(np.shares_memory(dx, given) for given in (x, dy))


def test_the_float_dtype_of_x_is_kept() -> None:
    layer = Lambda(lambda x: x.astype(np.float64) * 2, lambda dy, _: dy.astype(np.float64) * 2)
    y = layer(np.ones((1, 2), np.float32))
    assert y.dtype == layer.backward(y).dtype == np.float32
    integers = Lambda(lambda x: x + 1, lambda dy, _: dy)
    assert integers(np.ones((1, 2), np.int32)).dtype == np.int32


def test_refuses_what_is_no_function() -> None:
    with pytest.raises(InputError, match=r"^Lambda expects its function to be a function, got 3$"):
        Lambda(3, cosine_slope)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(InputError, match=r"^Lambda expects its derivative to be a function, got"):
        Lambda(np.sin, None)  # type: ignore[arg-type]  # that is the point


def test_refuses_what_the_functions_should_not_return() -> None:
    x = np.ones((2, 3))
    with pytest.raises(InputError, match=r"expects arrays from its functions, got 6\.0$"):
        Lambda(lambda x: float(x.sum()), cosine_slope)(x)  # type: ignore[arg-type,return-value]  # that is the point
    with pytest.raises(InputError, match=r"of x on axis 0, got \(3,\) for \(2, 3\)$"):
        Lambda(lambda x: x.sum(axis=0), cosine_slope)(x)
    layer = Lambda(lambda x: x.sum(axis=1), lambda dy, _: dy)
    with pytest.raises(
        InputError, match=r"expects its derivative to return the shape of x, \(2, 3\), got \(2,\)$"
    ):
        layer.backward(layer(x))


def test_repr() -> None:
    assert repr(sine()) == "Lambda(sin)"
