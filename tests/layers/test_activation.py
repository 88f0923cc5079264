import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any, NamedTuple

import numpy as np
import pytest
from exact_normal import PI, cdf, density
from hypothesis import given
from hypothesis import strategies as st

from tinynet import (
    ELU,
    GELU,
    Array,
    InputError,
    Layer,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from tinynet.testing import check_layer, floats, sizes

shapes = st.lists(sizes, max_size=3).map(tuple)
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def up_to_three(shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    # Further out forward is too flat for differences; the test of the digits covers that.
    return floats(shape, bound=3)


@pytest.mark.gradients
@pytest.mark.parametrize(
    ("kind", "configuration"),
    [
        (ReLU, {}),
        (LeakyReLU, {"negative_slope": st.sampled_from([0.01, 0.3, -2.0])}),
        (ELU, {"alpha": st.sampled_from([1.0, 0.5, 3.0])}),
        (Sigmoid, {}),
        (Tanh, {}),
        (SiLU, {}),
        (Softplus, {"beta": st.floats(0.25, 4)}),
        (GELU, {"approximate": st.sampled_from(["none", "tanh"])}),
    ],
)
def test_gradients_of_activations(kind: type[Layer], configuration: dict[str, Any]) -> None:
    check_layer(kind, ("N", ...), x=up_to_three, examples=0.24, **configuration)


# The functions and their derivatives in decimal arithmetic


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
    slope_at_minus_infinity: float = 0.0


def leaky(slope: float) -> Exact:
    def derivative(x: Decimal) -> Decimal:
        return Decimal(1) if x > 0 else Decimal(slope)

    return Exact(
        lambda: LeakyReLU(slope),
        lambda x: x * derivative(x),
        lambda x: (derivative(x),),
        (-math.inf if slope > 0 else math.inf, math.inf),
        slope_at_minus_infinity=slope,
    )


def elu(alpha: float) -> Exact:
    return Exact(
        lambda: ELU(alpha),
        lambda x: x if x > 0 else Decimal(alpha) * (x.exp() - 1),
        lambda x: (Decimal(1) if x > 0 else Decimal(alpha) * x.exp(),),
        (-alpha, math.inf),
    )


EXACT = {
    "ReLU": Exact(ReLU, lambda x: max(x, Decimal(0)), lambda x: (Decimal(x > 0),), (0, math.inf)),
    "LeakyReLU of 0.01": leaky(0.01),
    "LeakyReLU of -2": leaky(-2),
    "ELU of 1": elu(1),
    "ELU of -0.5": elu(-0.5),
    "Sigmoid": Exact(Sigmoid, sigmoid, lambda x: (sigmoid_slope(x),), (0, 1)),
    "Tanh": Exact(Tanh, tanh, lambda x: (tanh_slope(x),), (-1, 1)),
    "GELU": Exact(GELU, lambda x: x * cdf(x), lambda x: (cdf(x), x * density(x)), (0, math.inf)),
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
every_activation = pytest.mark.parametrize("exact", EXACT.values(), ids=EXACT)


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


@every_activation
@given(x=floats(shapes))
def test_an_activation_keeps_its_digits_forward_and_backward(exact: Exact, x: Array) -> None:
    assert_digits(exact, x)


@every_activation
@both_dtypes
def test_an_activation_keeps_its_digits_from_minus_45_to_45(exact: Exact, dtype: Any) -> None:
    assert_digits(exact, np.linspace(-45, 45, 121, dtype=dtype))


@every_activation
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("size", [1e4, "largest", np.inf])
def test_a_huge_input_of_an_activation_does_not_overflow(
    exact: Exact, dtype: Any, size: Any
) -> None:
    size = float(np.finfo(dtype).max) if size == "largest" else size
    middle, slope = float(exact.y(Decimal(0))), float(sum(exact.slope(Decimal(0))))
    (bottom, top), left = exact.ends, exact.slope_at_minus_infinity
    layer, near = exact.make(), 4 * np.finfo(dtype).eps
    with np.errstate(over="raise" if abs(left) <= 1 else "ignore"):  # -2 times the largest
        y = layer(np.array([-size, 0, size], dtype))
        expected = np.array([-left * size if left else bottom, middle, min(top, size)]).astype(
            dtype
        )
    np.testing.assert_allclose(y, expected, rtol=near)
    dx = layer.backward(np.ones(3, dtype))
    np.testing.assert_allclose(dx.tolist(), [left, slope, top == math.inf], rtol=near)
    assert y.dtype == dx.dtype == dtype


@every_activation
def test_an_activation_passes_nan_on(exact: Exact) -> None:
    layer = exact.make()
    assert np.isnan(layer(np.array([np.nan, 0]))).tolist() == [True, False]
    dx = layer.backward(np.ones(2))
    # The slopes of pieces are constants, and no comparison with NaN is true.
    piecewise = isinstance(layer, ReLU | LeakyReLU)
    assert np.isnan(dx).tolist() == [not piecewise, False]


@every_activation
def test_an_activation_takes_an_empty_batch(exact: Exact) -> None:
    layer = exact.make()
    assert layer(np.zeros((0, 3))).shape == layer.backward(np.zeros((0, 3))).shape == (0, 3)


@every_activation
@both_dtypes
def test_an_activation_gives_the_same_in_inference_mode_and_in_any_memory_layout(
    exact: Exact, dtype: Any
) -> None:
    layer = exact.make()
    x = np.random.default_rng(0).uniform(-9, 9, (400, 150)).astype(dtype)  # more than one block
    dy = x[::-1] + 1
    y, dx = layer(x), layer.backward(dy)
    close: dict[str, Any] = {"rtol": 8 * np.finfo(dtype).eps, "atol": 1e-37}
    np.testing.assert_allclose(layer.predict(x), y, **close)
    for step in (slice(None, 150, 2), slice(None, None, -1)):
        np.testing.assert_allclose(layer(x.T[:, step]), y.T[:, step], **close)
        np.testing.assert_allclose(layer.backward(dy.T[:, step]), dx.T[:, step], **close)


@every_activation
def test_an_activation_refuses_integers(exact: Exact) -> None:
    with pytest.raises(InputError, match=r"^\w+\(.*\) expects x of a float dtype"):
        exact.make()(np.zeros((2, 3), int))


@given(floats(shapes, bound=2.0**100))
def test_relu_is_exactly_the_positive_part(x: Array) -> None:
    y = ReLU()(x)
    assert y.shape == x.shape
    assert y.ravel().tolist() == [value if value > 0 else 0 for value in x.ravel().tolist()]


@both_dtypes
@pytest.mark.parametrize(
    ("layer", "slope"), [(ReLU(), 0), (LeakyReLU(0.25), 0.25), (ELU(0.25), 0.25)]
)
def test_the_slope_at_zero_is_that_of_the_left_side(layer: Layer, slope: float, dtype: Any) -> None:
    layer(np.array([-0.0, 0.0, 1e-30, -1e-30], dtype))
    assert layer.backward(np.ones(4, dtype)).tolist() == [slope, slope, 1, slope]


def test_leaky_relu_has_the_default_slope_of_pytorch() -> None:
    assert LeakyReLU()(np.array([-100.0])).tolist() == [-1]


@pytest.mark.parametrize("name", ["Sigmoid", "Tanh"])
@both_dtypes
def test_the_gradient_keeps_its_digits_where_y_is_rounded_to_one(name: str, dtype: Any) -> None:
    layer = EXACT[name].make()
    assert layer(np.array([40, -40], dtype))[0] == 1
    (expected,) = map(float, EXACT[name].slope(Decimal(40)))
    assert expected > 0
    dx = layer.backward(np.ones(2, dtype))
    np.testing.assert_allclose(dx, [expected, expected], rtol=16 * np.finfo(dtype).eps)


def test_gelu_by_tanh_is_within_a_thousandth_of_gelu() -> None:
    x = np.linspace(-6, 6, 121)
    difference = abs(GELU()(x) - GELU(approximate="tanh")(x)).max()
    assert 1e-4 < difference < 1e-3


def test_softplus_does_not_overflow_for_a_large_beta() -> None:
    layer = Softplus(beta=1e4)
    largest = np.finfo(np.float32).max
    assert layer(np.array([-largest, largest], np.float32)).tolist() == [0, largest]
    assert layer.backward(np.ones(2, np.float32)).tolist() == [0, 1]


@pytest.mark.parametrize("wrong", ["erf", None, True, ""])
def test_gelu_refuses_another_approximation(wrong: Any) -> None:
    sentence = rf"^GELU expects approximate to be 'none' or 'tanh', got {wrong!r}$"
    with pytest.raises(InputError, match=sentence):
        GELU(approximate=wrong)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, "0.1", None])
def test_leaky_relu_and_elu_refuse_a_number_that_is_not_finite(wrong: Any) -> None:
    sentence = r"^LeakyReLU expects negative_slope to be a finite number, got "
    with pytest.raises(InputError, match=sentence):
        LeakyReLU(wrong)
    with pytest.raises(InputError, match=r"^ELU expects alpha to be a finite number, got "):
        ELU(wrong)


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
        (LeakyReLU(0.2), "LeakyReLU(negative_slope=0.2)"),
        (ELU(0.5), "ELU(alpha=0.5)"),
        (GELU("tanh"), "GELU(approximate='tanh')"),
        (Softplus(beta=2.5), "Softplus(beta=2.5)"),
        *((kind(), f"{kind.__name__}()") for kind in (ELU, GELU, ReLU, SiLU, Sigmoid, Tanh)),
    ],
)
def test_repr_of_an_activation_is_its_constructor_call(layer: Layer, shown: str) -> None:
    assert repr(layer) == shown
