import math
from collections.abc import Iterator
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Array, InputError, LogSoftmax, Softmax, softmax
from tinynet.testing import check_layer, floats, sizes

Kind = type[Softmax] | type[LogSoftmax]

shapes = st.lists(sizes, min_size=1, max_size=3).map(tuple)
both_kinds = pytest.mark.parametrize("kind", [Softmax, LogSoftmax])
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


class TestFunction:
    @given(st.data(), shapes)
    def test_is_the_formula(self, data: st.DataObject, shape: tuple[int, ...]) -> None:
        logits = data.draw(floats(shape, np.float64, bound=20))
        for got, row in zip(
            softmax(logits).reshape(-1, shape[-1]).tolist(),
            logits.reshape(-1, shape[-1]).tolist(),
            strict=True,
        ):
            total = math.fsum(map(math.exp, row))
            assert got == pytest.approx([math.exp(z) / total for z in row], rel=1e-12)

    def test_takes_the_largest_off_each_row_by_itself(self) -> None:
        logits = np.array([[0.0, 0.0], [1000.0, 1000.0]])
        assert softmax(logits).tolist() == [[0.5, 0.5], [0.5, 0.5]]

    def test_goes_along_another_axis(self) -> None:
        logits = np.array([[0.0, 1000.0], [0.0, 0.0], [0.0, 1000.0]])
        np.testing.assert_allclose(softmax(logits, 0), [[1 / 3, 0.5], [1 / 3, 0], [1 / 3, 0.5]])

    def test_of_huge_logits_is_finite(self) -> None:
        logits = np.array([1e30, -1e30, 1e30], np.float32)
        assert softmax(logits).tolist() == [0.5, 0, 0.5]
        assert softmax(logits).dtype == np.float32

    def test_takes_integers(self) -> None:
        assert softmax(np.array([3, 3])).tolist() == [0.5, 0.5]

    def test_many_classes_along_the_first_axis_keep_their_digits(self) -> None:
        # Down that axis NumPy adds row after row; in float32 these lose 3e-5.
        logits = np.random.default_rng(0).uniform(0, 1, (60_000, 2)).astype(np.float32)
        wanted = np.exp(logits.astype(np.float64))
        wanted /= [math.fsum(column) for column in wanted.T.tolist()]
        np.testing.assert_allclose(softmax(logits, 0), wanted, rtol=1e-6)


class TestGradients:
    @pytest.mark.gradients
    @pytest.mark.parametrize("kind", [Softmax, LogSoftmax])
    def test_of_samples(self, kind: Kind) -> None:
        def three(shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
            return floats(shape, bound=3)  # further apart they are too flat for differences

        check_layer(kind, ("N", "H", "C"), x=three, axis=st.sampled_from([-1, 1, 2, -2]))


def rows(axis: int, *arrays: Array) -> Iterator[tuple[list[Decimal], ...]]:
    """What lies along the axis in each of them, place after place."""
    for place in np.ndindex(*np.delete(arrays[0].shape, axis).tolist()):
        yield tuple(
            [Decimal(value) for value in np.moveaxis(array, axis, -1)[place].tolist()]
            for array in arrays
        )


@st.composite
def along_an_axis(draw: st.DrawFn) -> tuple[Array, Array, int]:
    """An x, a dy of its shape and dtype, and one of its axes."""
    shape = draw(shapes)
    x = draw(floats(shape))
    dy = draw(floats(shape, x.dtype)) + draw(st.sampled_from([0, 1000]))
    return x, dy.astype(x.dtype), draw(st.integers(-len(shape), len(shape) - 1))


def near(x: Array) -> tuple[float, float]:
    """A relative error, and an absolute one for what is too small for the dtype."""
    limits = np.finfo(x.dtype)
    return 32 * float(limits.eps), 32 * 4000 * float(limits.smallest_normal)


class TestDigits:
    @given(along_an_axis())
    def test_softmax_and_its_gradient_keep_them(self, drawn: tuple[Array, Array, int]) -> None:
        x, dy, axis = drawn
        layer, (relative, lost) = Softmax(axis), near(x)
        y, dx = layer(x), layer.backward(dy)
        assert y.dtype == dx.dtype == x.dtype
        assert y.shape == dx.shape == x.shape
        with localcontext(prec=60):
            for z, d, got, got_dx in rows(axis, x, dy, y, dx):
                total = sum((value - max(z)).exp() for value in z)
                s = [(value - max(z)).exp() / total for value in z]
                for i in range(len(z)):
                    assert math.isclose(got[i], s[i], rel_tol=relative, abs_tol=lost)
                    terms = [s[i] * s[j] * (d[i] - d[j]) for j in range(len(z))]
                    scale = float(sum(map(abs, terms)))
                    assert math.isclose(got_dx[i], sum(terms), abs_tol=relative * scale + lost)

    @given(along_an_axis())
    def test_log_softmax_and_its_gradient_keep_them(self, drawn: tuple[Array, Array, int]) -> None:
        x, dy, axis = drawn
        layer, (relative, lost) = LogSoftmax(axis), near(x)
        y, dx = layer(x), layer.backward(dy)
        assert y.dtype == dx.dtype == x.dtype
        assert y.shape == dx.shape == x.shape
        with localcontext(prec=60):
            for z, d, got, got_dx in rows(axis, x, dy, y, dx):
                top = z.index(max(z))
                others = range(len(z))
                parts = [(value - z[top]).exp() for value in z]
                rest = sum((parts[j] for j in others if j != top), Decimal(0))
                # log(1 + rest) by its series where 1 + rest leaves no digits of it.
                log = (1 + rest).ln() if rest > 1e-20 else rest - rest**2 / 2
                for i in others:
                    wanted = z[i] - z[top] - log
                    assert math.isclose(got[i], wanted, rel_tol=relative, abs_tol=lost)
                    # dy (1 - s) - s Σ dy of the others, where 1 - s is the s of the others.
                    s, terms = parts[i] / (1 + rest), []
                    for j in others:
                        if j != i:
                            terms += [d[i] * parts[j] / (1 + rest), -s * d[j]]
                    scale = float(sum(map(abs, terms)))
                    assert math.isclose(got_dx[i], sum(terms), abs_tol=relative * scale + lost)

    @both_dtypes
    def test_are_kept_where_one_is_sure(self, dtype: Any) -> None:
        x, dy, small = np.array([40, 0], dtype), np.array([1, 0], dtype), math.exp(-40)
        layer = Softmax()
        assert layer(x)[0] == 1
        close: dict[str, Any] = {"rtol": 8 * np.finfo(dtype).eps}
        np.testing.assert_allclose(layer.backward(dy), [small, -small], **close)
        log = LogSoftmax()
        np.testing.assert_allclose(log(x), [-small, -40], **close)
        np.testing.assert_allclose(log.backward(dy), [small, -small], **close)


@both_kinds
class TestBoth:
    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    @pytest.mark.parametrize("size", [1e4, "largest"])
    def test_what_is_huge_overflows_nowhere(self, kind: Kind, dtype: Any, size: Any) -> None:
        size = float(np.finfo(dtype).max) if size == "largest" else size
        layer = kind()
        y = layer(np.array([[-size, size], [size, size]], dtype))
        with np.errstate(over="ignore"):  # a logarithm too far below 0 for the dtype is -inf
            low = dtype(-size) - dtype(size)
        wanted: Any = [[0, 1], [0.5, 0.5]] if kind is Softmax else [[low, 0], [-math.log(2)] * 2]
        np.testing.assert_allclose(y, wanted, rtol=np.finfo(dtype).eps)
        dx = layer.backward(np.array([[0, 3], [1, 3]], dtype))
        wanted = [[0, 0], [-0.5, 0.5]] if kind is Softmax else [[0, 0], [-1, 1]]
        assert dx.tolist() == wanted
        assert y.dtype == dx.dtype == dtype

    def test_what_is_minus_infinity_has_no_share(self, kind: Kind) -> None:
        layer = kind()
        y = layer(np.array([0, -np.inf, 0]))
        shares = y if kind is Softmax else np.exp(y)
        np.testing.assert_allclose(shares, [0.5, 0, 0.5])
        dx = layer.backward(np.array([1.0, 0.0, 3.0])).tolist()
        assert dx == pytest.approx([-0.5, 0, 0.5] if kind is Softmax else [-1, 0, 1])

    def test_a_nan_is_not_hidden(self, kind: Kind) -> None:
        layer = kind()
        y = layer(np.array([[0, np.nan], [0, 0]]))
        assert np.isnan(y).tolist() == [[True, True], [False, False]]
        dx = layer.backward(np.ones((2, 2)))
        assert np.isnan(dx).tolist() == [[True, True], [False, False]]

    @pytest.mark.parametrize("axis", [-2, -1, 0, 1])
    @pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
    def test_takes_an_empty_batch(self, kind: Kind, axis: int, shape: tuple[int, ...]) -> None:
        layer = kind(axis=axis)
        assert layer(np.zeros(shape)).shape == layer.backward(np.zeros(shape)).shape == shape

    @pytest.mark.parametrize(
        ("axis", "shape", "pattern"),
        [
            (-1, (), r"\(\.\.\., C\), got \(\)"),
            (-2, (3,), r"\(\.\.\., C, any\), got \(3,\)"),
            (0, (), r"\(C, \.\.\.\), got \(\)"),
            (2, (3, 4), r"\(any, any, C, \.\.\.\), got \(3, 4\)"),
        ],
    )
    def test_refuses_an_x_without_the_axis(
        self, kind: Kind, axis: int, shape: tuple[int, ...], pattern: str
    ) -> None:
        layer = kind(axis)
        shown = "" if axis == -1 else f"axis={axis}"
        sentence = rf"^{kind.__name__}\({shown}\) expects x of shape {pattern}"
        with pytest.raises(InputError, match=sentence):
            layer(np.zeros(shape))

    @pytest.mark.parametrize(
        ("wrong", "expected"), [(1.5, ">= -64"), (None, ">= -64"), (-65, ">= -64"), (64, "<= 63")]
    )
    def test_refuses_what_is_no_axis(self, kind: Kind, wrong: Any, expected: str) -> None:
        sentence = rf"^{kind.__name__} expects axis to be a whole number {expected}, got {wrong!r}$"
        with pytest.raises(InputError, match=sentence):
            kind(wrong)

    @pytest.mark.parametrize("axis", [-64, 63])
    def test_takes_every_axis_that_an_array_may_have(self, kind: Kind, axis: int) -> None:
        assert kind(axis).axis == axis

    def test_refuses_integers(self, kind: Kind) -> None:
        with pytest.raises(InputError, match=rf"^{kind.__name__}\(\) expects x of a float dtype"):
            kind()(np.zeros((2, 3), int))


def test_repr() -> None:
    layers = [Softmax(), Softmax(axis=1), LogSoftmax(), LogSoftmax(0)]
    assert list(map(repr, layers)) == [
        "Softmax()",
        "Softmax(axis=1)",
        "LogSoftmax()",
        "LogSoftmax(axis=0)",
    ]
