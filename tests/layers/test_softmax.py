import math
from collections.abc import Iterator
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Array, InputError, LogSoftmax, Softmax
from tinynet.testing import check_layer, floats, sizes

Kind = type[Softmax] | type[LogSoftmax]

shapes = st.lists(sizes, min_size=1, max_size=3).map(tuple)
both_kinds = pytest.mark.parametrize("kind", [Softmax, LogSoftmax])
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.mark.gradients
@both_kinds
def test_gradients_of_softmax_and_log_softmax(kind: Kind) -> None:
    def up_to_three(shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
        return floats(shape, bound=3)  # further apart they are too flat for differences

    axes = st.sampled_from([-1, 1, 2, -2])
    check_layer(kind, ("N", "H", "C"), x=up_to_three, axis=axes, examples=0.28)


def rows(axis: int, *arrays: Array) -> Iterator[tuple[list[Decimal], ...]]:
    """The entries along the axis in each of the arrays, for every index of the other axes."""
    for index in np.ndindex(*np.delete(arrays[0].shape, axis).tolist()):
        yield tuple(
            [Decimal(value) for value in np.moveaxis(array, axis, -1)[index].tolist()]
            for array in arrays
        )


@st.composite
def along_an_axis(draw: st.DrawFn) -> tuple[Array, Array, int]:
    """An x, a dy of its shape and dtype, and one of its axes."""
    shape = draw(shapes)
    x = draw(floats(shape))
    dy = draw(floats(shape, x.dtype)) + draw(st.sampled_from([0, 1000]))
    return x, dy.astype(x.dtype), draw(st.integers(-len(shape), len(shape) - 1))


def errors(x: Array, z: list[Decimal]) -> tuple[list[float], float]:
    """The relative error of each exp(z - max z), and the absolute one of what is too small.

    The difference is rounded, and exp makes of its error a relative one.
    """
    limits, top = np.finfo(x.dtype), max(z)
    # From 750 on exp is 0 in every dtype, and all error is absolute.
    relative = [(32 + min(float(top - value), 750)) * float(limits.eps) for value in z]
    return relative, 32 * 4000 * float(limits.smallest_normal)


@given(along_an_axis())
def test_softmax_and_its_gradient_keep_their_digits(drawn: tuple[Array, Array, int]) -> None:
    x, dy, axis = drawn
    layer = Softmax(axis)
    y, dx = layer(x), layer.backward(dy)
    assert y.dtype == dx.dtype == x.dtype
    assert y.shape == dx.shape == x.shape
    with localcontext(prec=60):
        for z, d, got, got_dx in rows(axis, x, dy, y, dx):
            relative, lost = errors(x, z)
            total = sum((value - max(z)).exp() for value in z)
            s = [(value - max(z)).exp() / total for value in z]
            for i in range(len(z)):
                assert math.isclose(got[i], s[i], rel_tol=relative[i], abs_tol=lost)
                terms = [s[i] * s[j] * (d[i] - d[j]) for j in range(len(z))]
                error = sum(
                    float(abs(term)) * max(relative[i], other)
                    for term, other in zip(terms, relative, strict=True)
                )
                assert math.isclose(got_dx[i], sum(terms), abs_tol=error + lost)


@given(along_an_axis())
def test_log_softmax_and_its_gradient_keep_their_digits(drawn: tuple[Array, Array, int]) -> None:
    x, dy, axis = drawn
    layer = LogSoftmax(axis)
    y, dx = layer(x), layer.backward(dy)
    assert y.dtype == dx.dtype == x.dtype
    assert y.shape == dx.shape == x.shape
    with localcontext(prec=60):
        for z, d, got, got_dx in rows(axis, x, dy, y, dx):
            relative, lost = errors(x, z)
            top = z.index(max(z))
            s = [(value - z[top]).exp() for value in z]
            others = [j for j in range(len(z)) if j != top]
            rest = sum((s[j] for j in others), Decimal(0))
            # log(1 + rest) by its series where 1 + rest leaves no digits of it.
            log = (1 + rest).ln() if rest > 1e-20 else rest - rest**2 / 2
            error = sum(float(s[j]) * relative[j] for j in others)  # of rest, and so of its log
            s = [value / (1 + rest) for value in s]
            for i, value in enumerate(z):
                expected = value - z[top] - log
                near = relative[top] * abs(float(expected)) + error + lost
                assert math.isclose(got[i], expected, abs_tol=near)
                # dy (1 - s) - s Σ dy of the others, where 1 - s is the s of the others.
                terms = [(d[i] * s[j], -s[i] * d[j]) for j in range(len(z)) if j != i]
                near = lost + sum(
                    float(abs(own)) * relative[j] + float(abs(other)) * relative[i]
                    for (own, other), j in zip(
                        terms, (j for j in range(len(z)) if j != i), strict=True
                    )
                )
                assert math.isclose(got_dx[i], sum(map(sum, terms)), abs_tol=near)


@both_dtypes
def test_the_digits_are_kept_where_one_probability_is_rounded_to_one(dtype: Any) -> None:
    x, dy, small = np.array([40, 0], dtype), np.array([1, 0], dtype), math.exp(-40)
    layer = Softmax()
    assert layer(x)[0] == 1
    close: dict[str, Any] = {"rtol": 8 * np.finfo(dtype).eps}
    np.testing.assert_allclose(layer.backward(dy), [small, -small], **close)
    log = LogSoftmax()
    np.testing.assert_allclose(log(x), [-small, -40], **close)
    np.testing.assert_allclose(log.backward(dy), [small, -small], **close)


@both_kinds
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("size", [1e4, "largest"])
def test_huge_scores_do_not_overflow(kind: Kind, dtype: Any, size: Any) -> None:
    size = float(np.finfo(dtype).max) if size == "largest" else size
    layer = kind()
    y = layer(np.array([[-size, size], [size, size]], dtype))
    with np.errstate(over="ignore"):  # a logarithm too far below 0 for the dtype is -inf
        low = dtype(-size) - dtype(size)
    expected: Any = [[0, 1], [0.5, 0.5]] if kind is Softmax else [[low, 0], [-math.log(2)] * 2]
    np.testing.assert_allclose(y, expected, rtol=np.finfo(dtype).eps)
    dx = layer.backward(np.array([[0, 3], [1, 3]], dtype))
    expected = [[0, 0], [-0.5, 0.5]] if kind is Softmax else [[0, 0], [-1, 1]]
    assert dx.tolist() == expected
    assert y.dtype == dx.dtype == dtype


@both_kinds
def test_a_score_of_minus_infinity_has_probability_zero(kind: Kind) -> None:
    layer = kind()
    y = layer(np.array([0, -np.inf, 0]))
    shares = y if kind is Softmax else np.exp(y)
    np.testing.assert_allclose(shares, [0.5, 0, 0.5])
    dx = layer.backward(np.array([1.0, 0.0, 3.0])).tolist()
    assert dx == pytest.approx([-0.5, 0, 0.5] if kind is Softmax else [-1, 0, 1])


@both_kinds
def test_a_nan_spreads_over_its_row_and_no_further(kind: Kind) -> None:
    layer = kind()
    y = layer(np.array([[0, np.nan], [0, 0]]))
    assert np.isnan(y).tolist() == [[True, True], [False, False]]
    dx = layer.backward(np.ones((2, 2)))
    assert np.isnan(dx).tolist() == [[True, True], [False, False]]


@both_kinds
@pytest.mark.parametrize("axis", [-2, -1, 0, 1])
@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_softmax_takes_an_empty_batch(kind: Kind, axis: int, shape: tuple[int, ...]) -> None:
    layer = kind(axis=axis)
    assert layer(np.zeros(shape)).shape == layer.backward(np.zeros(shape)).shape == shape


@both_kinds
@pytest.mark.parametrize(
    ("axis", "shape", "pattern"),
    [
        (-1, (), r"\(\.\.\., C\), got \(\)"),
        (-2, (3,), r"\(\.\.\., C, any\), got \(3,\)"),
        (0, (), r"\(C, \.\.\.\), got \(\)"),
        (2, (3, 4), r"\(any, any, C, \.\.\.\), got \(3, 4\)"),
    ],
)
def test_softmax_refuses_an_x_without_the_axis(
    kind: Kind, axis: int, shape: tuple[int, ...], pattern: str
) -> None:
    layer = kind(axis)
    shown = "" if axis == -1 else f"axis={axis}"
    sentence = rf"^{kind.__name__}\({shown}\) expects x of shape {pattern}"
    with pytest.raises(InputError, match=sentence):
        layer(np.zeros(shape))


@both_kinds
@pytest.mark.parametrize(
    ("wrong", "expected"), [(1.5, ">= -64"), (None, ">= -64"), (-65, ">= -64"), (64, "<= 63")]
)
def test_softmax_refuses_an_axis_that_no_array_has(kind: Kind, wrong: Any, expected: str) -> None:
    sentence = rf"^{kind.__name__} expects axis to be a whole number {expected}, got {wrong!r}$"
    with pytest.raises(InputError, match=sentence):
        kind(wrong)


@both_kinds
@pytest.mark.parametrize("axis", [-64, 63])
def test_softmax_takes_every_axis_that_an_array_may_have(kind: Kind, axis: int) -> None:
    assert kind(axis).axis == axis


@both_kinds
def test_softmax_layers_refuse_integers(kind: Kind) -> None:
    with pytest.raises(InputError, match=rf"^{kind.__name__}\(\) expects x of a float dtype"):
        kind()(np.zeros((2, 3), int))


def test_repr_of_softmax_names_an_axis_that_is_not_the_default() -> None:
    layers = [Softmax(), Softmax(axis=1), LogSoftmax(), LogSoftmax(0)]
    assert list(map(repr, layers)) == [
        "Softmax()",
        "Softmax(axis=1)",
        "LogSoftmax()",
        "LogSoftmax(axis=0)",
    ]
