import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Array, InputError, UpSample2D
from tinynet.testing import check_layer, floats

factors = st.integers(1, 4)
images = st.tuples(*[st.integers(1, 2)] * 2, *[st.integers(1, 4)] * 2)
modes = st.sampled_from(["nearest", "bilinear"])


@pytest.mark.gradients
def test_gradients_of_upsampling_are_those_of_finite_differences() -> None:
    pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
    small = st.tuples(st.integers(1, 2), st.just(1), st.integers(1, 3), st.integers(1, 3))
    check_layer(UpSample2D, small, scale_factor=pairs, mode=modes)


def weights(index: int, factor: int, size: int, mode: str) -> dict[int, float]:
    """The weights of the entries of x in the sum y[index] along one axis, by their index."""
    if mode == "nearest":
        return {index // factor: 1.0}
    source = (index + 0.5) / factor - 0.5
    lower = math.floor(source)
    found: dict[int, float] = {}
    for entry, weight in ((lower, 1 - (source - lower)), (lower + 1, source - lower)):
        inside = min(max(entry, 0), size - 1)
        found[inside] = found.get(inside, 0) + weight
    return found


@given(st.data(), images, factors, factors, modes)
def test_upsampling_is_the_interpolation_formula_and_its_transpose(
    data: st.DataObject, shape: tuple[int, ...], rows: int, columns: int, mode: Any
) -> None:
    x = data.draw(floats(shape, np.float64, bound=3))
    layer = UpSample2D((rows, columns), mode)
    y = layer(x)
    assert y.shape == (*shape[:2], rows * shape[2], columns * shape[3])
    dy = np.random.default_rng(0).uniform(1, 2, y.shape)
    dx = layer.backward(dy)
    expected = np.zeros(shape)
    for n, c, h, w in np.ndindex(y.shape):
        terms = []
        for i, down in weights(h, rows, shape[2], mode).items():
            for j, along in weights(w, columns, shape[3], mode).items():
                terms.append(down * along * float(x[n, c, i, j]))
                expected[n, c, i, j] += down * along * dy[n, c, h, w]
        assert math.isclose(y[n, c, h, w], math.fsum(terms), abs_tol=1e-14)
    np.testing.assert_allclose(dx, expected, rtol=1e-13)


def test_nearest_upsampling_matches_a_result_by_hand() -> None:
    layer = UpSample2D((2, 3))
    y = layer(np.array([[[[1.0, 2]]]]))
    assert y[0, 0].tolist() == [[1, 1, 1, 2, 2, 2]] * 2
    assert layer.backward(np.arange(12.0).reshape(1, 1, 2, 6))[0, 0].tolist() == [[24, 42]]


def test_bilinear_upsampling_matches_a_result_by_hand() -> None:
    layer = UpSample2D((1, 3), mode="bilinear")
    y = layer(np.array([[[[0.0, 3]]]]))
    np.testing.assert_allclose(y[0, 0], [[0, 0, 1, 2, 3, 3]], atol=1e-15)
    dx = layer.backward(np.array([[[[1.0, 1, 3, 3, 1, 1]]]]))
    np.testing.assert_allclose(dx[0, 0], [[5, 5]])


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
def test_bilinear_upsampling_keeps_a_constant_image(factor: int) -> None:
    y = UpSample2D(factor, "bilinear")(np.full((1, 1, 3, 1), 2.5))
    np.testing.assert_allclose(y, np.full((1, 1, 3 * factor, factor), 2.5), rtol=1e-15)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
class TestBoth:
    @pytest.mark.parametrize("shape", [(0, 2, 3, 4), (3, 0, 3, 4)])
    def test_upsampling_takes_an_empty_batch_and_no_channels(
        self, mode: Any, shape: tuple[int, ...]
    ) -> None:
        layer = UpSample2D(2, mode).eval()
        y = layer(np.zeros(shape, np.float32))
        assert y.shape == (*shape[:2], 6, 8)
        assert layer.backward(y).shape == shape

    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    def test_upsampling_keeps_the_dtype(self, mode: Any, dtype: Any) -> None:
        layer = UpSample2D(2, mode)
        y = layer(np.ones((1, 1, 2, 2), dtype))
        assert y.dtype == layer.backward(y).dtype == dtype

    def test_upsampling_keeps_the_batch_last_layout_in_memory(self, mode: Any) -> None:
        layer, x = UpSample2D(2, mode), np.ones((3, 2, 4, 5))
        y = layer(x)
        dx = layer.backward(y)
        for array in (y, dx):
            assert array.transpose(1, 2, 3, 0).flags.c_contiguous

    def test_upsampling_refuses_images_without_entries_and_other_shapes(self, mode: Any) -> None:
        layer = UpSample2D(2, mode)
        with pytest.raises(InputError, match=r"expects images of at least one entry, got 2 x 0$"):
            layer(np.zeros((1, 1, 2, 0)))
        with pytest.raises(InputError, match=r"expects x of shape \(N, C, H, W\), got \(1, 2, 2\)"):
            layer(np.zeros((1, 2, 2)))
        with pytest.raises(InputError, match="expects x of a float dtype, got int64"):
            layer(np.zeros((1, 1, 2, 2), int))


@pytest.mark.parametrize("factor", [0, 1.5, (1, 2, 3), "2"])
def test_upsampling_refuses_other_scale_factors(factor: Any) -> None:
    with pytest.raises(InputError, match=r"^UpSample2D expects scale_factor to be a"):
        UpSample2D(factor)


def test_upsampling_refuses_other_modes() -> None:
    mode: Any = "bicubic"
    sentence = "UpSample2D expects mode to be 'nearest' or 'bilinear', got 'bicubic'"
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        UpSample2D(2, mode)


def test_upsampling_repeats_entries_twice_by_default() -> None:
    x: Array = np.ones((1, 1, 1, 2))
    x[..., 1] = 3
    assert UpSample2D()(x)[0, 0].tolist() == [[1, 1, 3, 3]] * 2


def test_repr_of_upsampling_is_its_constructor_call() -> None:
    assert repr(UpSample2D()) == "UpSample2D()"
    expected = "UpSample2D(scale_factor=(2, 3), mode='bilinear')"
    assert repr(UpSample2D((2, 3), "bilinear")) == expected
