import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Array, InputError, Layer, ReLU, Sigmoid, Tanh
from tinynet.testing import check_layer, floats, sizes


@pytest.mark.gradients
def test_gradients() -> None:
    check_layer(ReLU, ("N", ...))


@given(floats(st.lists(sizes, max_size=4).map(tuple), bound=2.0**100))
def test_forward_is_the_positive_part(x: Array) -> None:
    y = ReLU()(x)
    assert y.shape == x.shape
    assert y.ravel().tolist() == [value if value > 0 else 0 for value in x.ravel().tolist()]


@given(st.sampled_from([np.float32, np.float64]))
def test_the_gradient_at_zero_is_zero(dtype: Any) -> None:
    layer = ReLU()
    layer(np.array([-0.0, 0.0, 1e-30, -1e-30], dtype))
    assert layer.backward(np.ones(4, dtype)).tolist() == [0, 0, 1, 0]


def test_a_nan_is_not_hidden() -> None:
    assert np.isnan(ReLU()(np.array([np.nan])))


Exact = Callable[[float], Decimal]


def sigmoid(x: float) -> Decimal:
    return 1 / (1 + (-Decimal(x)).exp())


def tanh(x: float) -> Decimal:
    up, down = Decimal(x).exp(), (-Decimal(x)).exp()
    return (up - down) / (up + down)


def sigmoid_slope(x: float) -> Decimal:
    return sigmoid(x) * sigmoid(-x)  # 1 - y(x) = y(-x)


def tanh_slope(x: float) -> Decimal:
    return (2 / (Decimal(x).exp() + (-Decimal(x)).exp())) ** 2  # 1 / cosh²


# The value and the slope, in the digits of the context.
EXACT: dict[type[Layer], tuple[Exact, Exact]] = {
    Sigmoid: (sigmoid, sigmoid_slope),
    Tanh: (tanh, tanh_slope),
}


@pytest.mark.parametrize("kind", EXACT)
class TestSaturating:
    @pytest.mark.gradients
    def test_gradients(self, kind: type[Layer]) -> None:
        # Further out forward is too flat for differences; the test below goes there.
        check_layer(kind, ("N", ...), x=lambda shape: floats(shape, bound=3))

    @given(x=floats(st.lists(sizes, max_size=3).map(tuple)))
    def test_forward_and_backward_keep_their_digits(self, kind: type[Layer], x: Array) -> None:
        layer, (y, slope) = kind(), EXACT[kind]
        got_y, got_dx = layer(x), layer.backward(np.full_like(x, -3))
        assert got_y.shape == got_dx.shape == x.shape
        assert got_y.dtype == got_dx.dtype == x.dtype
        # What is too small for the dtype may become 0, or lose digits.
        near: dict[str, Any] = {
            "rel_tol": 16 * np.finfo(x.dtype).eps,
            "abs_tol": 16 * float(np.finfo(x.dtype).smallest_normal),
        }
        with localcontext(prec=80):  # exp(x) - exp(-x) of a float32 loses up to 38 of them
            for value, entry, entry_dx in zip(
                x.ravel().tolist(), got_y.ravel().tolist(), got_dx.ravel().tolist(), strict=True
            ):
                assert math.isclose(entry, y(value), **near)
                assert math.isclose(entry_dx, -3 * slope(value), **near)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_the_gradient_keeps_its_digits_where_y_is_one(
        self, kind: type[Layer], dtype: Any
    ) -> None:
        layer, (_, slope) = kind(), EXACT[kind]
        assert layer(np.array([40, -40], dtype))[0] == 1
        wanted = float(slope(40))
        assert wanted > 0
        dx = layer.backward(np.ones(2, dtype))
        np.testing.assert_allclose(dx, [wanted, wanted], rtol=16 * np.finfo(dtype).eps)

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    @pytest.mark.parametrize("size", [1e4, "largest"])
    def test_what_is_huge_overflows_nowhere(self, kind: type[Layer], dtype: Any, size: Any) -> None:
        size = np.finfo(dtype).max if size == "largest" else size
        layer, (y, slope) = kind(), EXACT[kind]
        assert layer(np.array([-size, 0, size], dtype)).tolist() == [
            round(y(-800)),
            float(y(0)),
            1,
        ]
        assert layer.backward(np.ones(3, dtype)).tolist() == [0, float(slope(0)), 0]

    def test_infinities_are_the_limits_and_a_nan_is_not_hidden(self, kind: type[Layer]) -> None:
        layer, (y, _) = kind(), EXACT[kind]
        bottom, top, nan = layer(np.array([-np.inf, np.inf, np.nan])).tolist()
        assert (bottom, top) == (round(y(-800)), 1)
        assert math.isnan(nan)
        assert np.isnan(layer.backward(np.ones(3))).tolist() == [False, False, True]

    def test_refuses_integers(self, kind: type[Layer]) -> None:
        with pytest.raises(InputError, match=rf"^{kind.__name__}\(\) expects x of a float dtype"):
            kind()(np.zeros((2, 3), int))

    def test_repr(self, kind: type[Layer]) -> None:
        assert repr(kind()) == f"{kind.__name__}()"
