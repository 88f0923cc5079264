import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import ELU, Array, InputError, Layer, LeakyReLU, ReLU
from tinynet.testing import check_layer, floats, sizes

shapes = st.lists(sizes, max_size=4).map(tuple)
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


class TestReLU:
    @pytest.mark.gradients
    def test_gradients(self) -> None:
        check_layer(ReLU, ("N", ...))

    @given(floats(shapes, bound=2.0**100))
    def test_forward_is_the_positive_part(self, x: Array) -> None:
        y = ReLU()(x)
        assert y.shape == x.shape
        assert y.ravel().tolist() == [value if value > 0 else 0 for value in x.ravel().tolist()]

    @both_dtypes
    def test_the_gradient_at_zero_is_zero(self, dtype: Any) -> None:
        layer = ReLU()
        layer(np.array([-0.0, 0.0, 1e-30, -1e-30], dtype))
        assert layer.backward(np.ones(4, dtype)).tolist() == [0, 0, 1, 0]


class TestLeakyReLU:
    @pytest.mark.gradients
    def test_gradients(self) -> None:
        check_layer(LeakyReLU, ("N", ...), negative_slope=st.sampled_from([0.01, 0.3, -2.0]))

    @given(floats(shapes, bound=2.0**100), st.sampled_from([0.01, 0.0, 0.3, -2.0]))
    def test_is_the_formula(self, x: Array, slope: float) -> None:
        layer = LeakyReLU(slope)
        y, dx = layer(x), layer.backward(np.full_like(x, 3))
        assert y.shape == dx.shape == x.shape
        slope = float(x.dtype.type(slope))
        for value, got, got_dx in zip(
            x.ravel().tolist(), y.ravel().tolist(), dx.ravel().tolist(), strict=True
        ):
            near = 2 * np.finfo(x.dtype).eps
            assert math.isclose(got, value if value > 0 else slope * value, rel_tol=near)
            assert math.isclose(got_dx, 3 if value > 0 else 3 * slope, rel_tol=near)

    @both_dtypes
    def test_the_gradient_at_zero_is_that_of_the_left(self, dtype: Any) -> None:
        layer = LeakyReLU(0.25)
        layer(np.array([-0.0, 0.0, 1e-30, -1e-30], dtype))
        assert layer.backward(np.ones(4, dtype)).tolist() == [0.25, 0.25, 1, 0.25]

    def test_has_the_slope_of_pytorch(self) -> None:
        assert LeakyReLU()(np.array([-100.0])).tolist() == [-1]

    @pytest.mark.parametrize("wrong", [math.nan, math.inf, "0.1", None])
    def test_refuses_a_slope_that_is_not_finite(self, wrong: Any) -> None:
        sentence = r"^LeakyReLU expects negative_slope to be a finite number, got "
        with pytest.raises(InputError, match=sentence):
            LeakyReLU(wrong)

    def test_repr(self) -> None:
        assert [repr(LeakyReLU()), repr(LeakyReLU(0.2))] == ["LeakyReLU()", "LeakyReLU(0.2)"]


class TestELU:
    @pytest.mark.gradients
    def test_gradients(self) -> None:
        def three(shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
            return floats(shape, bound=3)  # further down it is too flat for differences

        check_layer(ELU, ("N", ...), x=three, alpha=st.sampled_from([1.0, 0.5, 3.0]))

    @given(floats(shapes), st.sampled_from([1.0, 0.0, 0.5, -2.0]))
    def test_keeps_its_digits(self, x: Array, alpha: float) -> None:
        layer = ELU(alpha)
        y, dx = layer(x), layer.backward(np.full_like(x, -3))
        assert y.shape == dx.shape == x.shape
        near: dict[str, Any] = {
            "rel_tol": 8 * np.finfo(x.dtype).eps,
            "abs_tol": 8 * float(np.finfo(x.dtype).smallest_normal),
        }
        with localcontext(prec=80):
            for value, got, got_dx in zip(
                x.ravel().tolist(), y.ravel().tolist(), dx.ravel().tolist(), strict=True
            ):
                exp = Decimal(min(value, 0.0)).exp()
                right = value > 0
                wanted = Decimal(value) if right else Decimal(alpha) * (exp - 1)
                assert math.isclose(got, wanted, **near)
                assert math.isclose(got_dx, -3 if right else -3 * Decimal(alpha) * exp, **near)

    @both_dtypes
    def test_the_gradient_at_zero_is_alpha(self, dtype: Any) -> None:
        layer = ELU(0.25)
        layer(np.array([-0.0, 0.0, 1e-30, -1e-30], dtype))
        assert layer.backward(np.ones(4, dtype)).tolist() == [0.25, 0.25, 1, 0.25]

    @pytest.mark.parametrize("wrong", [math.nan, math.inf, "1", None])
    def test_refuses_an_alpha_that_is_not_finite(self, wrong: Any) -> None:
        with pytest.raises(InputError, match=r"^ELU expects alpha to be a finite number, got "):
            ELU(wrong)

    def test_repr(self) -> None:
        assert [repr(ELU()), repr(ELU(0.5))] == ["ELU()", "ELU(0.5)"]


# What each gives for the lowest float, and the slope there.
LOWEST: dict[type[Layer], tuple[Callable[[float], float], float]] = {
    ReLU: (lambda _: 0, 0),
    LeakyReLU: (lambda x: 0.01 * x, 0.01),
    ELU: (lambda _: -1, 0),
}


@pytest.mark.parametrize("kind", LOWEST)
class TestAll:
    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    @pytest.mark.parametrize("size", [1e4, "largest", np.inf])
    def test_what_is_huge_overflows_nowhere(self, kind: type[Layer], dtype: Any, size: Any) -> None:
        size = float(np.finfo(dtype).max) if size == "largest" else size
        layer, (lowest, slope) = kind(), LOWEST[kind]
        near = 2 * np.finfo(dtype).eps
        y = layer(np.array([-size, size], dtype))
        np.testing.assert_allclose(y, np.array([lowest(-size), size], dtype), rtol=near)
        dx = layer.backward(np.ones(2, dtype))
        np.testing.assert_allclose(dx, np.array([slope, 1], dtype), rtol=near)
        assert y.dtype == dx.dtype == dtype

    def test_takes_an_empty_batch(self, kind: type[Layer]) -> None:
        layer = kind()
        assert layer(np.zeros((0, 3))).shape == layer.backward(np.zeros((0, 3))).shape == (0, 3)

    def test_a_nan_is_not_hidden(self, kind: type[Layer]) -> None:
        assert np.isnan(kind()(np.array([np.nan])))

    def test_refuses_integers(self, kind: type[Layer]) -> None:
        with pytest.raises(InputError, match=rf"^{kind.__name__}\(\) expects x of a float dtype"):
            kind()(np.zeros((2, 3), int))
