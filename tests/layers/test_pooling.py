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
from tinynet.layers import conv2d
from tinynet.testing import check_layer, floats

Pair = tuple[int, int]


class Settings(NamedTuple):
    """The arguments of a pooling layer, each as a pair."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair = (1, 1)

    def covered(self, size: Pair, position: Pair) -> list[Pair]:
        """The entries of an image under the window at an output position, in row-major order."""
        found = []
        for entry in np.ndindex(self.kernel):
            row, column = (
                position[axis] * self.stride[axis]
                + entry[axis] * self.dilation[axis]
                - self.padding[axis]
                for axis in (0, 1)
            )
            if 0 <= row < size[0] and 0 <= column < size[1]:
                found.append((row, column))
        return found

    def output_size(self, size: Pair) -> Pair:
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
    def test_gradients_of_max_pooling_are_those_of_finite_differences(self) -> None:
        check_layer(
            max_pool,
            st.just((1, 1, 5, 5)),
            x=distinct,
            window=settings(dilated=True),
        )

    @given(st.data(), settings(dilated=True), images)
    def test_max_pooling_is_the_first_maximum_of_each_window(
        self, data: st.DataObject, window: Settings, shape: tuple[int, int, int, int]
    ) -> None:
        size = (shape[2], shape[3])
        output_size = window.output_size(size)
        assume(min(output_size) > 0)
        assume(all(window.covered(size, (p, q)) for p, q in np.ndindex(output_size)))
        # Few numbers, so that many are equal, and those that comparisons treat in their own way.
        values = st.sampled_from([-1.0, -0.0, 0.0, 2.0, -math.inf, math.nan])
        x = data.draw(hnp.arrays(np.float64, shape, elements=values))
        layer = max_pool(window)
        y = layer(x)
        dy = np.random.default_rng(0).uniform(1, 2, y.shape)
        dx = layer.backward(dy)
        assert y.shape == (*shape[:2], *output_size)
        expected = np.zeros(shape)
        for n, c, p, q in np.ndindex(y.shape):
            first, *others = ((n, c, *entry) for entry in window.covered(size, (p, q)))
            for other in others:
                # A NaN is larger than all before it, and no number is larger than a NaN.
                if x[other] > x[first] or math.isnan(x[other]):
                    first = other
            assert y[n, c, p, q] == x[first] or np.isnan([y[n, c, p, q], x[first]]).all()
            expected[first] += dy[n, c, p, q]
        np.testing.assert_allclose(dx, expected, rtol=1e-14)

    def test_max_pooling_and_its_gradient_match_a_result_by_hand(self) -> None:
        x = np.array([[1.0, 3, 3, 0], [3, 2, 5, 5], [0, 0, -1, -2], [0, 0, -3, -1]])
        layer = MaxPool2D(2)
        assert layer(x[None, None])[0, 0].tolist() == [[3, 5], [0, -1]]
        dx = layer.backward(np.array([[[[1.0, 2], [3, 4]]]]))
        assert dx[0, 0].tolist() == [[0, 1, 0, 0], [0, 0, 2, 0], [3, 0, 4, 0], [0, 0, 0, 0]]

    def test_maximum_of_two_windows_gets_the_sum_of_their_gradients(self) -> None:
        layer = MaxPool2D(2, stride=1)
        layer(np.array([[[[0.0, 7, 0]] * 2]]))
        assert layer.backward(np.array([[[[1.0, 10]]]]))[0, 0].tolist() == [[0, 11, 0], [0, 0, 0]]

    def test_max_pooling_of_minus_infinity_picks_an_entry_of_the_image_not_padding(self) -> None:
        layer = MaxPool2D(2, stride=1, padding=1)
        y = layer(np.full((1, 1, 1, 1), -np.inf))
        assert y.tolist() == [[[[-math.inf] * 2] * 2]]
        assert layer.backward(np.ones((1, 1, 2, 2))).item() == 4

    def test_max_pooling_takes_windows_of_more_than_256_rows(self) -> None:
        x = np.arange(600.0).reshape(1, 1, 300, 2)
        layer = MaxPool2D((300, 1))
        assert layer(x)[0, 0].tolist() == [[598, 599]]
        dx = layer.backward(np.array([[[[1.0, 2.0]]]]))
        assert dx[0, 0, 299].tolist() == [1, 2]
        assert dx.sum() == 3

    def test_max_pooling_without_a_stride_uses_the_kernel_size(self) -> None:
        x = np.random.default_rng(0).standard_normal((2, 3, 6, 8))
        assert np.array_equal(MaxPool2D((3, 2))(x), MaxPool2D((3, 2), stride=(3, 2))(x))

    def test_max_pooling_never_picks_the_padding(self) -> None:
        assert MaxPool2D(2, padding=1)(np.full((1, 1, 2, 2), -5.0)).max() == -5

    @pytest.mark.parametrize("stride", [3, 4])
    def test_entries_under_no_window_get_no_gradient_of_max_pooling(self, stride: int) -> None:
        layer = MaxPool2D(3, stride=stride)
        layer(np.ones((1, 1, 5, 5)))
        assert layer.backward(np.ones((1, 1, 1, 1))).sum() == 1

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_max_pooling_takes_the_largest_numbers_of_a_dtype(self, dtype: Any) -> None:
        largest = np.finfo(dtype).max
        layer = MaxPool2D(2, stride=1, padding=1)
        y = layer(np.full((1, 1, 2, 2), -largest))
        assert y.dtype == dtype
        assert (y == -largest).all()
        assert layer.backward(np.ones_like(y)).dtype == dtype

    def test_max_pooling_refuses_an_image_with_a_window_of_padding_only(self) -> None:
        layer = MaxPool2D(2, padding=1, dilation=(1, 3))
        sentence = (
            "MaxPool2D(2, padding=1, dilation=(1, 3)) expects an image in which each window covers "
            "an entry, got 2 columns"
        )
        with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
            layer(np.zeros((1, 1, 2, 2)))
        # There the second kernel column covers an entry in the first window, here in none.
        assert layer(np.zeros((1, 1, 2, 3))).shape == (1, 1, 2, 1)
        with pytest.raises(InputError, match=r"covers an entry, got 1 rows$"):
            MaxPool2D(2, stride=2, padding=1, dilation=(2, 1))(np.zeros((1, 1, 1, 4)))

    @pytest.mark.parametrize("layer", [MaxPool2D(2), MaxPool2D(3, 2, 1), MaxPool2D(2, 3)])
    def test_max_pooling_does_not_depend_on_how_many_channels_are_in_the_cache(
        self, monkeypatch: pytest.MonkeyPatch, layer: Layer
    ) -> None:
        x = np.random.default_rng(0).standard_normal((2, 5, 6, 8))
        y = layer(x)
        dx = layer.backward(y)
        monkeypatch.setattr(conv2d, "BLOCK_ENTRIES", 200)  # two channels
        assert np.array_equal(layer(x), y)
        assert np.array_equal(layer.backward(y), dx)

    @given(floats((2, 2, 5, 6), np.float32, bound=3))
    def test_max_pooling_in_inference_mode_returns_the_same(self, x: Array) -> None:
        for layer in (MaxPool2D(2), MaxPool2D(3, 2, 1)):
            assert np.array_equal(layer.predict(x), layer(x))

    def test_repr_of_max_pooling_is_its_constructor_call(self) -> None:
        assert repr(MaxPool2D(2)) == "MaxPool2D(2)"
        assert repr(MaxPool2D(2, 2)) == "MaxPool2D(2, stride=2)"
        assert (
            repr(MaxPool2D((3, 2), stride=1, padding=(1, 0), dilation=2))
            == "MaxPool2D((3, 2), stride=1, padding=(1, 0), dilation=2)"
        )


class TestAvgPool2D:
    @pytest.mark.gradients
    def test_gradients_of_average_pooling_are_those_of_finite_differences(self) -> None:
        check_layer(
            avg_pool,
            st.tuples(st.integers(1, 2), st.just(1), st.just(3), st.just(4)),
            window=settings(dilated=False),
            counted=st.booleans(),
        )

    @given(st.data(), settings(dilated=False), images, st.booleans())
    def test_average_pooling_is_the_mean_of_each_window(
        self,
        data: st.DataObject,
        window: Settings,
        shape: tuple[int, int, int, int],
        counted: bool,
    ) -> None:
        size = (shape[2], shape[3])
        output_size = window.output_size(size)
        assume(min(output_size) > 0)
        x = data.draw(floats(shape, np.float64, bound=3))
        layer = avg_pool(window, counted)
        y = layer(x)
        dy = np.random.default_rng(0).uniform(1, 2, y.shape)
        dx = layer.backward(dy)
        assert y.shape == (*shape[:2], *output_size)
        expected = np.zeros(shape)
        for n, c, p, q in np.ndindex(y.shape):
            covered = [(n, c, *entry) for entry in window.covered(size, (p, q))]
            count = window.kernel[0] * window.kernel[1] if counted else len(covered)
            mean = math.fsum(float(x[entry]) for entry in covered) / count
            assert math.isclose(y[n, c, p, q], mean, abs_tol=1e-14)
            for entry in covered:
                expected[entry] += dy[n, c, p, q] / count
        np.testing.assert_allclose(dx, expected, rtol=1e-13)

    def test_average_pooling_and_its_gradient_match_a_result_by_hand(self) -> None:
        x = np.array([[[[1.0, 2], [3, 6]]]])
        assert AvgPool2D(2)(x).item() == 3
        assert AvgPool2D(2, padding=1)(x)[0, 0].tolist() == [[0.25, 0.5], [0.75, 1.5]]
        layer = AvgPool2D(2, padding=1, count_include_pad=False)
        assert layer(x)[0, 0].tolist() == [[1, 2], [3, 6]]
        assert layer.backward(np.full((1, 1, 2, 2), 5.0)).tolist() == [[[[5] * 2] * 2]]

    @pytest.mark.parametrize("counted", [True, False])
    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    def test_average_pooling_keeps_the_dtype(self, dtype: Any, counted: bool) -> None:
        layer = AvgPool2D(3, 1, 1, count_include_pad=counted)
        y = layer(np.ones((1, 2, 4, 4), dtype))
        assert y.dtype == layer.backward(y).dtype == dtype

    def test_repr_of_average_pooling_is_its_constructor_call(self) -> None:
        assert repr(AvgPool2D(3)) == "AvgPool2D(3)"
        assert (
            repr(AvgPool2D(3, 2, (0, 1), count_include_pad=False))
            == "AvgPool2D(3, stride=2, padding=(0, 1), count_include_pad=False)"
        )


class TestGlobalAvgPool2D:
    @pytest.mark.gradients
    def test_gradients_of_global_average_pooling_are_those_of_finite_differences(self) -> None:
        check_layer(GlobalAvgPool2D, ("N", "C", 2, 2), examples=0.4)

    @given(floats(images, np.float64, bound=3))
    def test_global_average_pooling_is_the_mean_of_each_channel(self, x: Array) -> None:
        layer = GlobalAvgPool2D()
        y = layer(x)
        assert y.shape == x.shape[:2]
        count = x.shape[2] * x.shape[3]
        for image in np.ndindex(y.shape):
            mean = math.fsum(x[image].ravel().tolist()) / count
            assert math.isclose(y[image], mean, abs_tol=1e-14)
        dy = np.random.default_rng(0).standard_normal(y.shape)
        dx = layer.backward(dy)
        assert dx.shape == x.shape
        for entry in np.ndindex(x.shape):
            assert math.isclose(dx[entry], dy[entry[:2]] / count, rel_tol=1e-14)

    def test_global_average_of_a_large_float32_image_is_that_of_float64(self) -> None:
        x = np.random.default_rng(0).uniform(0, 1, (300, 300, 2)).astype(np.float32)
        exact = [math.fsum(x[..., n].ravel().tolist()) / 90_000 for n in range(2)]
        y = GlobalAvgPool2D()(x.transpose(2, 0, 1)[:, None])
        np.testing.assert_allclose(y[:, 0], exact, rtol=1e-7)

    def test_repr_of_global_average_pooling_is_its_constructor_call(self) -> None:
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
    def test_pooling_refuses_arguments_out_of_range(
        self, make: Callable[..., Layer], arguments: Any, sentence: str
    ) -> None:
        with pytest.raises(InputError, match=f"^{make.__name__} {re.escape(sentence)}$"):
            make(**arguments)

    @pytest.mark.parametrize("shape", [(1, 1, 2, 5), (1, 1, 5, 2)])
    def test_pooling_refuses_an_image_smaller_than_the_window(
        self, make: Callable[..., Layer], shape: tuple[int, ...]
    ) -> None:
        sentence = (
            rf"^{make.__name__}\(3\) expects images that its window fits into, "
            f"got {shape[2]} x {shape[3]}$"
        )
        with pytest.raises(InputError, match=sentence):
            make(3)(np.zeros(shape))

    def test_pooling_takes_a_padding_of_half_of_the_kernel(
        self, make: Callable[..., Layer]
    ) -> None:
        assert make((4, 3), stride=1, padding=(2, 1))(np.ones((1, 1, 1, 1))).shape == (1, 1, 2, 1)


LAYERS: dict[str, Callable[[], Layer]] = {
    "max": lambda: MaxPool2D(2),
    "average": lambda: AvgPool2D(2),
    "global": GlobalAvgPool2D,
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
class TestAll:
    @pytest.mark.parametrize("shape", [(0, 2, 4, 5), (3, 0, 4, 5)])
    def test_pooling_takes_an_empty_batch_and_no_channels(
        self, make: Callable[[], Layer], shape: tuple[int, int, int, int]
    ) -> None:
        layer = make().eval()
        y = layer(np.zeros(shape, np.float32))
        assert y.shape in (shape[:2], (*shape[:2], 2, 2))
        assert layer.backward(y).shape == shape

    def test_pooling_refuses_other_shapes_integers_and_images_without_entries(
        self, make: Callable[[], Layer]
    ) -> None:
        layer = make()
        for rows, columns in ((0, 3), (3, 0)):
            sentence = f"images of at least one entry, got {rows} x {columns}$"
            with pytest.raises(InputError, match=sentence):
                layer(np.zeros((1, 2, rows, columns)))
        sentence = rf"^{re.escape(repr(layer))} expects x of shape \(N, C, H, W\), got \(2, 4, 4\)"
        with pytest.raises(InputError, match=sentence):
            layer(np.zeros((2, 4, 4)))
        with pytest.raises(InputError, match="expects x of a float dtype, got int64"):
            layer(np.zeros((1, 2, 4, 4), int))

    def test_pooling_keeps_the_batch_last_layout_in_memory(self, make: Callable[[], Layer]) -> None:
        x = np.random.default_rng(0).standard_normal((3, 2, 4, 6))
        for laid_out in (x, np.ascontiguousarray(x.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)):
            layer = make()
            y = layer(laid_out)
            if y.ndim == 4:
                assert is_batch_last(y)
            assert is_batch_last(layer.backward(np.ones_like(y)))


@pytest.mark.parametrize("make", [LAYERS["max"], LAYERS["average"]])
def test_pooling_treats_each_channel_and_sample_by_itself(make: Callable[[], Layer]) -> None:
    x = np.random.default_rng(0).standard_normal((3, 2, 4, 6))
    y = make()(x)
    for n, c in product(range(3), range(2)):
        assert np.array_equal(make()(x[n : n + 1, c : c + 1])[0, 0], y[n, c])
