import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any, NamedTuple

import numpy as np
import pytest
from exact_normal import PI, bell, share_below
from hypothesis import given
from hypothesis import strategies as st

from tinynet import GELU, Array, InputError, Layer, Sigmoid, SiLU, Softplus, Tanh
from tinynet.testing import check_layer, floats, sizes


def three(shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    # Further out forward is too flat for differences; the test of the digits goes there.
    return floats(shape, bound=3)


@pytest.mark.gradients
@pytest.mark.parametrize("kind", [Sigmoid, Tanh, SiLU])
def test_gradients(kind: type[Layer]) -> None:
    check_layer(kind, ("N", ...), x=three)


@pytest.mark.gradients
def test_gradients_of_gelu() -> None:
    check_layer(GELU, ("N", ...), x=three, approximate=st.sampled_from(["none", "tanh"]))


@pytest.mark.gradients
def test_gradients_of_softplus() -> None:
    check_layer(Softplus, ("N", ...), x=three, beta=st.floats(0.25, 4))


def sigmoid(x: Decimal) -> Decimal:
    return 1 / (1 + (-x).exp())


def sigmoid_slope(x: Decimal) -> Decimal:
    return sigmoid(x) * sigmoid(-x)  # 1 - y(x) = y(-x)


def tanh(x: Decimal) -> Decimal:
    up, down = x.exp(), (-x).exp()
    return (up - down) / (up + down)


def tanh_slope(x: Decimal) -> Decimal:
    return (2 / (x.exp() + (-x).exp())) ** 2  # 1 / cosh²


def inner(x: Decimal) -> Decimal:
    # No further than decimal arithmetic reaches.
    limit = Decimal(10**6)
    return min(max((8 / PI).sqrt() * (x + Decimal("0.044715") * x**3), -limit), limit)


def inner_slope(x: Decimal) -> Decimal:
    return (8 / PI).sqrt() * (1 + 3 * Decimal("0.044715") * x**2)


def softplus(x: Decimal) -> Decimal:
    z = x.exp()
    # Where 1 + z leaves no digits of z, the first terms of the series do.
    return (1 + z).ln() if x > -50 else z - z**2 / 2 + z**3 / 3


def zero(_: Decimal) -> Decimal:
    return Decimal(0)


class Exact(NamedTuple):
    """What a layer computes, in the digits of the context."""

    make: Callable[[], Layer]
    y: Callable[[Decimal], Decimal]
    # The terms of the slope: where they cancel, no more digits are left than they have.
    slope: Callable[[Decimal], tuple[Decimal, ...]]
    ends: tuple[float, float]  # the limits of y
    # An exponent that is rounded: exp makes of its error a relative one.
    exponent: Callable[[Decimal], Decimal] = zero


EXACT = {
    "Sigmoid": Exact(Sigmoid, sigmoid, lambda x: (sigmoid_slope(x),), (0, 1)),
    "Tanh": Exact(Tanh, tanh, lambda x: (tanh_slope(x),), (-1, 1)),
    "GELU": Exact(
        GELU, lambda x: x * share_below(x), lambda x: (share_below(x), x * bell(x)), (0, math.inf)
    ),
    "GELU by tanh": Exact(
        lambda: GELU(approximate="tanh"),
        lambda x: x * sigmoid(inner(x)),
        lambda x: (sigmoid(inner(x)), x * inner_slope(x) * sigmoid_slope(inner(x))),
        (0, math.inf),
        inner,
    ),
    "SiLU": Exact(
        SiLU, lambda x: x * sigmoid(x), lambda x: (sigmoid(x), x * sigmoid_slope(x)), (0, math.inf)
    ),
    "Softplus": Exact(Softplus, softplus, lambda x: (sigmoid(x),), (0, math.inf)),
    "Softplus of beta 3": Exact(
        lambda: Softplus(beta=3),
        lambda x: softplus(3 * x) / 3,
        lambda x: (sigmoid(3 * x),),
        (0, math.inf),
        lambda x: 3 * x,
    ),
}


def assert_digits(exact: Exact, x: Array) -> None:
    layer = exact.make()
    y, dx = layer(x), layer.backward(np.full_like(x, -3))
    assert y.shape == dx.shape == x.shape
    assert y.dtype == dx.dtype == x.dtype
    limits = np.finfo(x.dtype)
    with localcontext(prec=80):  # exp(x) - exp(-x) of a float32 loses up to 38 of them
        for entry, got, got_dx in zip(
            x.ravel().tolist(), y.ravel().tolist(), dx.ravel().tolist(), strict=True
        ):
            value = Decimal(entry)
            relative = float(16 + 4 * abs(exact.exponent(value))) * float(limits.eps)
            # What is too small for the dtype may become 0, or lose digits.
            lost = 16 * float(limits.smallest_normal) * (1 + abs(entry))
            terms = exact.slope(value)
            scale = float(sum(map(abs, terms)))
            assert math.isclose(got, exact.y(value), rel_tol=relative, abs_tol=lost)
            assert math.isclose(got_dx, -3 * sum(terms), abs_tol=relative * 3 * scale + lost)


@pytest.mark.parametrize("name", EXACT)
class TestEach:
    @given(x=floats(st.lists(sizes, max_size=3).map(tuple)))
    def test_forward_and_backward_keep_their_digits(self, name: str, x: Array) -> None:
        assert_digits(EXACT[name], x)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_digits_are_kept_all_the_way(self, name: str, dtype: Any) -> None:
        assert_digits(EXACT[name], np.linspace(-45, 45, 181, dtype=dtype))

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    @pytest.mark.parametrize("size", [1e4, "largest", np.inf])
    def test_what_is_huge_overflows_nowhere(self, name: str, dtype: Any, size: Any) -> None:
        exact = EXACT[name]
        size = float(np.finfo(dtype).max) if size == "largest" else size
        middle, slope = float(exact.y(Decimal(0))), float(sum(exact.slope(Decimal(0))))
        bottom, top = exact.ends
        layer, near = exact.make(), 4 * np.finfo(dtype).eps
        y = layer(np.array([-size, 0, size], dtype))
        np.testing.assert_allclose(y.tolist(), [bottom, middle, min(top, size)], rtol=near)
        dx = layer.backward(np.ones(3, dtype))
        np.testing.assert_allclose(dx.tolist(), [0, slope, top == math.inf], rtol=near)
        assert y.dtype == dx.dtype == dtype

    def test_a_nan_is_not_hidden(self, name: str) -> None:
        layer = EXACT[name].make()
        assert np.isnan(layer(np.array([np.nan, 0]))).tolist() == [True, False]
        assert np.isnan(layer.backward(np.ones(2))).tolist() == [True, False]

    def test_takes_an_empty_batch(self, name: str) -> None:
        layer = EXACT[name].make()
        assert layer(np.zeros((0, 3))).shape == layer.backward(np.zeros((0, 3))).shape == (0, 3)

    def test_refuses_integers(self, name: str) -> None:
        layer = EXACT[name].make()
        with pytest.raises(InputError, match=r"^\w+\(.*\) expects x of a float dtype"):
            layer(np.zeros((2, 3), int))


@pytest.mark.parametrize("kind", [Sigmoid, Tanh])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gradient_keeps_its_digits_where_y_is_one(kind: type[Layer], dtype: Any) -> None:
    layer = kind()
    assert layer(np.array([40, -40], dtype))[0] == 1
    (wanted,) = map(float, EXACT[kind.__name__].slope(Decimal(40)))
    assert wanted > 0
    dx = layer.backward(np.ones(2, dtype))
    np.testing.assert_allclose(dx, [wanted, wanted], rtol=16 * np.finfo(dtype).eps)


def test_gelu_by_tanh_is_near_gelu() -> None:
    x = np.linspace(-6, 6, 121)
    difference = abs(GELU()(x) - GELU(approximate="tanh")(x)).max()
    assert 1e-4 < difference < 1e-3


def test_softplus_overflows_nowhere_for_a_large_beta() -> None:
    layer = Softplus(beta=1e4)
    largest = np.finfo(np.float32).max
    assert layer(np.array([-largest, largest], np.float32)).tolist() == [0, largest]
    assert layer.backward(np.ones(2, np.float32)).tolist() == [0, 1]


@pytest.mark.parametrize("wrong", ["erf", None, True, ""])
def test_gelu_refuses_another_approximation(wrong: Any) -> None:
    sentence = rf'^GELU expects approximate to be "none" or "tanh", got {wrong!r}$'
    with pytest.raises(InputError, match=sentence):
        GELU(approximate=wrong)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (0, "beta > 0, got 0$"),
        (-1, "beta to be a finite number >= 0, got -1$"),
        (math.inf, "beta to be a finite number >= 0, got inf$"),
        ("1", "beta to be a finite number >= 0, got '1'$"),
    ],
)
def test_softplus_refuses_a_beta_that_is_not_above_zero(wrong: Any, expected: str) -> None:
    with pytest.raises(InputError, match=rf"^Softplus expects {expected}"):
        Softplus(wrong)


@pytest.mark.parametrize(
    ("layer", "shown"),
    [
        (Sigmoid(), "Sigmoid()"),
        (Tanh(), "Tanh()"),
        (GELU(), "GELU()"),
        (GELU("tanh"), 'GELU(approximate="tanh")'),
        (SiLU(), "SiLU()"),
        (Softplus(), "Softplus()"),
        (Softplus(beta=2.5), "Softplus(2.5)"),
    ],
)
def test_repr(layer: Layer, shown: str) -> None:
    assert repr(layer) == shown
