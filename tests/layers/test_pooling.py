import math
import re
from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinynet import Array, AvgPool2D, GlobalAvgPool2D, InputError, Layer, MaxPool2D
from tinynet.testing import check_layer, floats

Pair = tuple[int, int]


class Settings(NamedTuple):
    """The arguments of a pooling layer, each as a pair."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair = (1, 1)

    def places(self, size: Pair, stop: Pair) -> list[Pair]:
        """The entries of an image that the window meets at a stop, row by row."""
        found = []
        for entry in np.ndindex(self.kernel):
            row, column = (
                stop[axis] * self.stride[axis]
                + entry[axis] * self.dilation[axis]
                - self.padding[axis]
                for axis in (0, 1)
            )
            if 0 <= row < size[0] and 0 <= column < size[1]:
                found.append((row, column))
        return found

    def stops(self, size: Pair) -> Pair:
        rows, columns = (
            len(
                range(
                    0,
                    size[axis]
                    + 2 * self.padding[axis]
                    - self.dilation[axis] * (self.kernel[axis] - 1),
                    self.stride[axis],
                )
            )
            for axis in (0, 1)
        )
        return rows, columns


@st.composite
def settings(draw: st.DrawFn, *, dilated: bool) -> Settings:
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(*(st.integers(0, size // 2) for size in kernel)))
    stride = draw(st.just(kernel) | st.tuples(st.integers(1, 3), st.integers(1, 3)))
    gaps = st.integers(1, 2) if dilated else st.just(1)
    return Settings(kernel, stride, padding, draw(st.tuples(gaps, gaps)))


images = st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 5), st.integers(1, 5))


def max_pool(window: Settings) -> Layer:
    return MaxPool2D(window.kernel, window.stride, window.padding, window.dilation)


def avg_pool(window: Settings, counted: bool = True) -> Layer:
    return AvgPool2D(window.kernel, window.stride, window.padding, count_include_pad=counted)


def distinct(shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    """No two entries are equal: at equal ones the maximum has no derivative."""
    count = math.prod(shape)
    return st.permutations(range(count)).map(lambda order: np.reshape(order, shape) / 7 - 1)


def is_batch_last(x: Array) -> bool:
    return x.transpose(1, 2, 3, 0).flags.c_contiguous


class TestMaxPool2D:
    @pytest.mark.gradients
    def test_gradients(self) -> None:
        check_layer(
            max_pool,
            st.just((1, 1, 5, 5)),
            x=distinct,
            window=settings(dilated=True),
        )

    @given(st.data(), settings(dilated=True), images)
    def test_is_the_first_maximum_of_each_window(
        self, data: st.DataObject, window: Settings, shape: tuple[int, int, int, int]
    ) -> None:
        size, stops = shape[2:], window.stops(shape[2:])
        assume(min(stops) > 0)
        assume(all(window.places(size, stop) for stop in np.ndindex(stops)))
        # Few numbers, so that many are equal, and those that comparisons treat in their own way.
        values = st.sampled_from([-1.0, -0.0, 0.0, 2.0, -math.inf, math.nan])
        x = data.draw(hnp.arrays(np.float64, shape, elements=values))
        layer = max_pool(window)
        y = layer(x)
        dy = np.random.default_rng(0).uniform(1, 2, y.shape)
        dx = layer.backward(dy)
        assert y.shape == (*shape[:2], *stops)
        expected = np.zeros(shape)
        for place in np.ndindex(y.shape):
            image, stop = place[:2], (place[2], place[3])
            first, *others = ((*image, *entry) for entry in window.places((size[0], size[1]), stop))
            for other in others:
                # A NaN is larger than all before it, and no number is larger than a NaN.
                if x[other] > x[first] or math.isnan(x[other]):
                    first = other
            assert y[place] == x[first] or (math.isnan(y[place]) and math.isnan(x[first]))
            expected[first] += dy[place]
        np.testing.assert_allclose(dx, expected, rtol=1e-14)

    def test_by_hand(self) -> None:
        x = np.array([[1.0, 3, 3, 0], [3, 2, 5, 5], [0, 0, -1, -2], [0, 0, -3, -1]])
        layer = MaxPool2D(2)
        assert layer(x[None, None])[0, 0].tolist() == [[3, 5], [0, -1]]
        dx = layer.backward(np.array([[[[1.0, 2], [3, 4]]]]))
        assert dx[0, 0].tolist() == [[0, 1, 0, 0], [0, 0, 2, 0], [3, 0, 4, 0], [0, 0, 0, 0]]

    def test_an_entry_that_wins_two_windows_has_the_sum(self) -> None:
        layer = MaxPool2D(2, stride=1)
        layer(np.array([[[[0.0, 7, 0]] * 2]]))
        assert layer.backward(np.array([[[[1.0, 10]]]]))[0, 0].tolist() == [[0, 11, 0], [0, 0, 0]]

    def test_of_infinities_alone_the_first_in_the_image_wins(self) -> None:
        layer = MaxPool2D(2, stride=1, padding=1)
        y = layer(np.full((1, 1, 1, 1), -np.inf))
        assert y.tolist() == [[[[-math.inf] * 2] * 2]]
        assert layer.backward(np.ones((1, 1, 2, 2))).item() == 4

    def test_a_window_of_more_entries_than_a_byte_counts(self) -> None:
        x = np.arange(600.0).reshape(1, 1, 300, 2)
        layer = MaxPool2D((300, 1))
        assert layer(x)[0, 0].tolist() == [[598, 599]]
        dx = layer.backward(np.array([[[[1.0, 2.0]]]]))
        assert dx[0, 0, 299].tolist() == [1, 2]
        assert dx.sum() == 3

    def test_without_stride_windows_lie_side_by_side(self) -> None:
        x = np.random.default_rng(0).standard_normal((2, 3, 6, 8))
        assert np.array_equal(MaxPool2D((3, 2))(x), MaxPool2D((3, 2), stride=(3, 2))(x))

    def test_padding_never_wins(self) -> None:
        assert MaxPool2D(2, padding=1)(np.full((1, 1, 2, 2), -5.0)).max() == -5

    @pytest.mark.parametrize("stop", [3, 4])
    def test_rows_and_columns_that_no_window_reaches_have_no_gradient(self, stop: int) -> None:
        layer = MaxPool2D(3, stride=stop)
        layer(np.ones((1, 1, 5, 5)))
        assert layer.backward(np.ones((1, 1, 1, 1))).sum() == 1

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_takes_what_is_huge(self, dtype: Any) -> None:
        largest = np.finfo(dtype).max
        layer = MaxPool2D(2, stride=1, padding=1)
        y = layer(np.full((1, 1, 2, 2), -largest))
        assert y.dtype == dtype
        assert (y == -largest).all()
        assert layer.backward(np.ones_like(y)).dtype == dtype

    def test_a_window_that_meets_only_padding_is_refused(self) -> None:
        layer = MaxPool2D(2, padding=1, dilation=(1, 3))
        sentence = (
            "MaxPool2D(2, padding=1, dilation=(1, 3)) expects an image in which each window meets "
            "an entry, got 2 columns"
        )
        with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
            layer(np.zeros((1, 1, 2, 2)))
        # There the second entry of the kernel is in the image at the first stop, here at none.
        assert layer(np.zeros((1, 1, 2, 3))).shape == (1, 1, 2, 1)
        with pytest.raises(InputError, match=r"meets an entry, got 1 rows$"):
            MaxPool2D(2, stride=2, padding=1, dilation=(2, 1))(np.zeros((1, 1, 1, 4)))

    def test_repr(self) -> None:
        assert repr(MaxPool2D(2)) == "MaxPool2D(2)"
        assert repr(MaxPool2D(2, 2)) == "MaxPool2D(2)"
        assert (
            repr(MaxPool2D((3, 2), stride=1, padding=(1, 0), dilation=2))
            == "MaxPool2D((3, 2), stride=1, padding=(1, 0), dilation=2)"
        )


class TestAvgPool2D:
    @pytest.mark.gradients
    def test_gradients(self) -> None:
        check_layer(
            avg_pool,
            st.tuples(st.integers(1, 2), st.just(1), st.just(3), st.just(4)),
            window=settings(dilated=False),
            counted=st.booleans(),
        )

    @given(st.data(), settings(dilated=False), images, st.booleans())
    def test_is_the_mean_of_each_window(
        self,
        data: st.DataObject,
        window: Settings,
        shape: tuple[int, int, int, int],
        counted: bool,
    ) -> None:
        size, stops = (shape[2], shape[3]), window.stops((shape[2], shape[3]))
        assume(min(stops) > 0)
        x = data.draw(floats(shape, np.float64, bound=3))
        layer = avg_pool(window, counted)
        y = layer(x)
        dy = np.random.default_rng(0).uniform(1, 2, y.shape)
        dx = layer.backward(dy)
        assert y.shape == (*shape[:2], *stops)
        expected = np.zeros(shape)
        for place in np.ndindex(y.shape):
            met = [(*place[:2], *entry) for entry in window.places(size, (place[2], place[3]))]
            count = window.kernel[0] * window.kernel[1] if counted else len(met)
            mean = math.fsum(float(x[entry]) for entry in met) / count
            assert math.isclose(y[place], mean, abs_tol=1e-14)
            for entry in met:
                expected[entry] += dy[place] / count
        np.testing.assert_allclose(dx, expected, rtol=1e-13)

    def test_by_hand(self) -> None:
        x = np.array([[[[1.0, 2], [3, 6]]]])
        assert AvgPool2D(2)(x).item() == 3
        assert AvgPool2D(2, padding=1)(x)[0, 0].tolist() == [[0.25, 0.5], [0.75, 1.5]]
        layer = AvgPool2D(2, padding=1, count_include_pad=False)
        assert layer(x)[0, 0].tolist() == [[1, 2], [3, 6]]
        assert layer.backward(np.full((1, 1, 2, 2), 5.0)).tolist() == [[[[5] * 2] * 2]]

    @pytest.mark.parametrize("counted", [True, False])
    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    def test_keeps_the_dtype(self, dtype: Any, counted: bool) -> None:
        layer = AvgPool2D(3, 1, 1, count_include_pad=counted)
        y = layer(np.ones((1, 2, 4, 4), dtype))
        assert y.dtype == layer.backward(y).dtype == dtype

    def test_repr(self) -> None:
        assert repr(AvgPool2D(3)) == "AvgPool2D(3)"
        assert (
            repr(AvgPool2D(3, 2, (0, 1), count_include_pad=False))
            == "AvgPool2D(3, stride=2, padding=(0, 1), count_include_pad=False)"
        )


class TestGlobalAvgPool2D:
    @pytest.mark.gradients
    def test_gradients(self) -> None:
        check_layer(GlobalAvgPool2D, ("N", "C", 2, 2))

    @given(floats(images, np.float64, bound=3))
    def test_is_the_mean_of_each_channel(self, x: Array) -> None:
        layer = GlobalAvgPool2D()
        y = layer(x)
        assert y.shape == x.shape[:2]
        count = x.shape[2] * x.shape[3]
        for place in np.ndindex(y.shape):
            mean = math.fsum(x[place].ravel().tolist()) / count
            assert math.isclose(y[place], mean, abs_tol=1e-14)
        dy = np.random.default_rng(0).standard_normal(y.shape)
        dx = layer.backward(dy)
        assert dx.shape == x.shape
        for entry in np.ndindex(x.shape):
            assert math.isclose(dx[entry], dy[entry[:2]] / count, rel_tol=1e-14)

    def test_keeps_the_digits_of_a_large_image(self) -> None:
        x = np.random.default_rng(0).uniform(0, 1, (300, 300, 2)).astype(np.float32)
        exact = [math.fsum(x[..., n].ravel().tolist()) / 90_000 for n in range(2)]
        y = GlobalAvgPool2D()(x.transpose(2, 0, 1)[:, None])
        np.testing.assert_allclose(y[:, 0], exact, rtol=1e-7)

    def test_repr(self) -> None:
        assert repr(GlobalAvgPool2D()) == "GlobalAvgPool2D()"


@pytest.mark.parametrize("make", [MaxPool2D, AvgPool2D])
class TestWindows:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ({"kernel_size": 0}, "expects kernel_size to be a whole number >= 1, got 0"),
            (
                {"kernel_size": 2, "stride": 0},
                "expects stride to be a whole number >= 1, got 0",
            ),
            (
                {"kernel_size": 2, "padding": -1},
                "expects padding to be a whole number >= 0, got -1",
            ),
            (
                {"kernel_size": 2, "padding": "same"},
                "expects padding to be a whole number >= 0, got 'same'",
            ),
            (
                {"kernel_size": 3, "padding": 2},
                "expects a padding of at most half of the kernel, got padding=2 with kernel_size=3",
            ),
            (
                {"kernel_size": (4, 1), "padding": (2, 1)},
                "expects a padding of at most half of the kernel, "
                "got padding=(2, 1) with kernel_size=(4, 1)",
            ),
        ],
    )
    def test_refuses_other_arguments(
        self, make: Callable[..., Layer], arguments: Any, sentence: str
    ) -> None:
        with pytest.raises(InputError, match=f"^{make.__name__} {re.escape(sentence)}$"):
            make(**arguments)

    @pytest.mark.parametrize("shape", [(1, 1, 2, 5), (1, 1, 5, 2)])
    def test_refuses_an_image_smaller_than_the_window(
        self, make: Callable[..., Layer], shape: tuple[int, ...]
    ) -> None:
        sentence = (
            rf"^{make.__name__}\(3\) expects images that its window fits into, "
            f"got {shape[2]} x {shape[3]}$"
        )
        with pytest.raises(InputError, match=sentence):
            make(3)(np.zeros(shape))

    def test_refuses_an_image_without_entries(self, make: Callable[..., Layer]) -> None:
        with pytest.raises(InputError, match=r"of at least one entry, got 0 x 3$"):
            make(2, padding=1)(np.zeros((1, 1, 0, 3)))

    def test_half_of_the_kernel_is_allowed_as_padding(self, make: Callable[..., Layer]) -> None:
        assert make((4, 3), stride=1, padding=(2, 1))(np.ones((1, 1, 1, 1))).shape == (1, 1, 2, 1)


MAKERS: dict[str, Callable[[], Layer]] = {
    "max": lambda: MaxPool2D(2),
    "average": lambda: AvgPool2D(2),
    "global": GlobalAvgPool2D,
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
class TestAll:
    @pytest.mark.parametrize("shape", [(0, 2, 4, 5), (3, 0, 4, 5)])
    def test_takes_an_empty_batch(
        self, make: Callable[[], Layer], shape: tuple[int, int, int, int]
    ) -> None:
        layer = make().eval()
        y = layer(np.zeros(shape, np.float32))
        assert y.shape in (shape[:2], (*shape[:2], 2, 2))
        assert layer.backward(y).shape == shape

    def test_refuses_other_shapes_and_integers(self, make: Callable[[], Layer]) -> None:
        layer = make()
        sentence = rf"^{re.escape(repr(layer))} expects x of shape \(N, C, H, W\), got \(2, 4, 4\)"
        with pytest.raises(InputError, match=sentence):
            layer(np.zeros((2, 4, 4)))
        with pytest.raises(InputError, match="expects x of a float dtype, got int64"):
            layer(np.zeros((1, 2, 4, 4), int))

    def test_the_batch_comes_last_in_memory(self, make: Callable[[], Layer]) -> None:
        x = np.random.default_rng(0).standard_normal((3, 2, 4, 6))
        for laid_out in (x, np.ascontiguousarray(x.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)):
            layer = make()
            y = layer(laid_out)
            if y.ndim == 4:
                assert is_batch_last(y)
            assert is_batch_last(layer.backward(np.ones_like(y)))


@pytest.mark.parametrize("make", [MAKERS["max"], MAKERS["average"]])
def test_channels_and_samples_stand_by_themselves(make: Callable[[], Layer]) -> None:
    x = np.random.default_rng(0).standard_normal((3, 2, 4, 6))
    y = make()(x)
    for n, c in product(range(3), range(2)):
        assert np.array_equal(make()(x[n : n + 1, c : c + 1])[0, 0], y[n, c])
