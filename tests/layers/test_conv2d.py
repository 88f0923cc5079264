import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Array, Conv2D, InputError, ReLU
from tinynet.layers import conv2d
from tinynet.layers.conv2d import Pair, Window, batch_first, batch_last, pair


@pytest.mark.parametrize("entries", [1, 500, 1000, 2000])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_convolution_does_not_depend_on_how_much_is_unfolded_at_a_time(
    monkeypatch: pytest.MonkeyPatch, entries: int, stride: int, dilation: int
) -> None:
    layer = Conv2D(2, 3, 3, stride=stride, padding=1, dilation=dilation, rng=0).astype(np.float64)
    x = np.random.default_rng(0).standard_normal((4, 2, 11, 6))
    results = []
    for limit in (2**20, entries):
        monkeypatch.setattr(conv2d, "UNFOLD_ENTRIES", limit)
        y = layer(x)
        layer.backward_parameters(y)
        results.append((y, layer.weight.grad))
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


def test_convolution_unfolds_no_more_entries_at_a_time_than_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shapes: list[tuple[int, ...]] = []

    def spy(shape: tuple[int, ...], dtype: Any) -> Array:
        shapes.append(shape)
        return np.zeros(shape, dtype)

    layer = Conv2D(2, 3, 3, bias=False, rng=0)
    monkeypatch.setattr(np, "empty", spy)
    layer(np.zeros((4, 2, 12, 6)))
    monkeypatch.setattr(conv2d, "UNFOLD_ENTRIES", 1000)
    layer(np.zeros((4, 2, 12, 6)))
    # One image row is 2 channels, 3 kernel columns, 4 output columns and 4 samples: 96 entries.
    blocks = [shape for shape in shapes if len(shape) == 6]
    assert blocks == [(1, 12, 2, 3, 4, 4), (1, 10, 2, 3, 4, 4)]


@pytest.mark.parametrize("kernel", [(4, 3), (3, 4)])
@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
@pytest.mark.parametrize("dilation", [1, 2, (1, 3)])
@pytest.mark.parametrize("groups", [1, 2])
def test_forward_and_both_gradients_of_a_convolution_are_sums_of_the_same_terms(
    kernel: Any, stride: Any, dilation: Any, groups: int
) -> None:
    # Σ W · x · dy over all terms, grouped by y, by dx and by dW: exact for whole numbers.
    rng = np.random.default_rng(0)
    layer = Conv2D(
        4,
        2,
        kernel,
        stride=stride,
        padding=((1, 2), (3, 0)),
        dilation=dilation,
        groups=groups,
        bias=False,
        weight_init=lambda shape, _fan_in, _fan_out, _rng: rng.integers(-9, 9, shape),
    )
    x = rng.integers(-9, 9, (3, 4, 12, 11)).astype(np.float64)
    y = layer(x)
    dy = rng.integers(-9, 9, y.shape).astype(np.float64)
    dx = layer.backward(dy)
    assert layer.weight.grad is not None
    assert (y * dy).sum() == (x * dx).sum() == (layer.weight.value * layer.weight.grad).sum() != 0


@pytest.mark.parametrize("kernel", [1, 3, (2, 3)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, ((0, 1), (2, 0))])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("n", [1, 3])
def test_depthwise_convolution_is_a_full_one_with_zeros_between_the_channels(
    kernel: Any, stride: int, padding: Any, dilation: int, n: int
) -> None:
    rng = np.random.default_rng(0)
    settings: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    depthwise = Conv2D(4, 4, kernel, groups=4, **settings).astype(np.float64)
    full = Conv2D(4, 4, kernel, **settings).astype(np.float64)
    depthwise.weight.value = rng.integers(-9, 9, depthwise.weight.value.shape)
    full.weight.value[...] = 0
    own = range(4)
    full.weight.value[own, own] = depthwise.weight.value[:, 0]
    x = rng.integers(-9, 9, (n, 4, 6, 7)).astype(np.float64)
    y = depthwise(x)
    assert np.array_equal(y, full(x))
    dy = rng.integers(-9, 9, y.shape).astype(np.float64)
    assert np.array_equal(depthwise.backward(dy), full.backward(dy))
    assert depthwise.weight.grad is not None
    assert full.weight.grad is not None
    assert np.array_equal(depthwise.weight.grad[:, 0], full.weight.grad[own, own])


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1])
def test_1x1_convolution_is_a_matrix_product_at_every_pixel(stride: int, padding: int) -> None:
    rng = np.random.default_rng(0)
    layer = Conv2D(3, 5, 1, stride=stride, padding=padding, bias=False, rng=0).astype(np.float64)
    layer.weight.value = weight = rng.integers(-9, 9, (5, 3, 1, 1)).astype(np.float64)
    x = rng.integers(-9, 9, (2, 3, 6, 7)).astype(np.float64)
    border = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    pixels = np.pad(x, border)[:, :, ::stride, ::stride]
    y = layer(x)
    assert np.array_equal(y, np.einsum("oc,nchw->nohw", weight[:, :, 0, 0], pixels))
    dy = rng.integers(-9, 9, y.shape).astype(np.float64)
    dx = np.zeros((2, 3, 6 + 2 * padding, 7 + 2 * padding))
    dx[:, :, ::stride, ::stride] = np.einsum("oc,nohw->nchw", weight[:, :, 0, 0], dy)
    inside = slice(padding, -padding or None)
    assert np.array_equal(layer.backward(dy), dx[:, :, inside, inside])
    assert layer.weight.grad is not None
    dw = np.einsum("nohw,nchw->oc", dy, pixels)
    assert np.array_equal(layer.weight.grad[:, :, 0, 0], dw)


def test_convolution_and_relu_keep_the_batch_last_layout_without_a_copy() -> None:
    layer = Conv2D(2, 3, 3, padding=1, rng=0)
    y = ReLU()(layer(np.ones((4, 2, 5, 6), np.float32)))
    assert np.shares_memory(batch_last(y), y)
    assert layer.backward(y).strides[0] == y.itemsize


numbers = st.integers(1, 4)
pairs = st.tuples(numbers, numbers)
sides = st.tuples(st.integers(0, 3), st.integers(0, 3))
windows = st.builds(Window, pairs, pairs, st.tuples(sides, sides), pairs)
sizes = st.tuples(st.integers(0, 12), st.integers(0, 12))


def positions(size: int, window: Window, axis: int) -> int:
    """The number of output positions along an axis, counted by sliding the kernel to the end."""
    kernel, stride, gap = window.kernel_size[axis], window.stride[axis], window.dilation[axis]
    before, after = window.padding[axis]
    count = 0
    while count * stride + gap * (kernel - 1) < before + size + after:
        count += 1
    return count


@given(windows, sizes)
def test_output_size_is_the_number_of_positions_of_the_kernel(window: Window, size: Pair) -> None:
    output_size = window.output_size(size)
    for axis in (0, 1):
        # Where the kernel does not fit, any number below 1 will do.
        assert max(output_size[axis], 0) == positions(size[axis], window, axis)


@given(windows, pairs)
def test_input_size_is_that_of_the_smallest_image_with_an_output_size(
    window: Window, output_size: Pair
) -> None:
    rows, columns = window.input_size(output_size)
    assert window.output_size((rows, columns)) == output_size
    fewer = window.output_size((rows - 1, columns - 1))
    assert fewer == (output_size[0] - 1, output_size[1] - 1)


NO_PADDING = ((0, 0), (0, 0))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"kernel_size": 3}, Window((3, 3), (1, 1), NO_PADDING, (1, 1))),
        (
            {"kernel_size": (3, 2), "stride": (2, 1), "dilation": (1, 4), "padding": (1, 0)},
            Window((3, 2), (2, 1), ((1, 1), (0, 0)), (1, 4)),
        ),
        (
            {"kernel_size": [3, 2], "stride": np.int64(2), "padding": 2},
            Window((3, 2), (2, 2), ((2, 2), (2, 2)), (1, 1)),
        ),
        (
            {"kernel_size": 1, "padding": ((1, 2), [3, 4])},
            Window((1, 1), (1, 1), ((1, 2), (3, 4)), (1, 1)),
        ),
        (
            {"kernel_size": 1, "padding": (5, (3, 4))},
            Window((1, 1), (1, 1), ((5, 5), (3, 4)), (1, 1)),
        ),
        (
            {"kernel_size": 2, "stride": 3, "padding": "valid"},
            Window((2, 2), (3, 3), NO_PADDING, (1, 1)),
        ),
        (
            {"kernel_size": (3, 4), "padding": "same"},
            Window((3, 4), (1, 1), ((1, 1), (1, 2)), (1, 1)),
        ),
        (
            {"kernel_size": (1, 2), "padding": "same", "dilation": (7, 3)},
            Window((1, 2), (1, 1), ((0, 0), (1, 2)), (7, 3)),
        ),
    ],
)
def test_window_takes_the_arguments_of_pytorch(arguments: Any, expected: Window) -> None:
    assert Window.of("Layer", **arguments) == expected


@given(pairs, pairs, sizes)
def test_padding_same_keeps_the_size_of_an_image(kernel: Pair, dilation: Pair, size: Pair) -> None:
    window = Window.of("Layer", kernel_size=kernel, dilation=dilation, padding="same")
    assert window.output_size(size) == size
    for before, after in window.padding:
        assert after - before in (0, 1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"kernel_size": 0}, "Layer expects kernel_size to be a whole number >= 1, got 0"),
        (
            {"kernel_size": (1, 2, 3)},
            "Layer expects kernel_size to be a number or a pair of them, got (1, 2, 3)",
        ),
        (
            {"kernel_size": 1, "stride": (1, 0)},
            "Layer expects stride to be a whole number >= 1, got 0",
        ),
        (
            {"kernel_size": 1, "dilation": 1.5},
            "Layer expects dilation to be a whole number >= 1, got 1.5",
        ),
        (
            {"kernel_size": 1, "padding": (0, -1)},
            "Layer expects padding to be a whole number >= 0, got -1",
        ),
        (
            {"kernel_size": 1, "padding": np.array([1, 2])},
            "Layer expects padding to be a whole number >= 0, got array([1, 2])",
        ),
        (
            {"kernel_size": 1, "padding": ((1, 2, 3), 0)},
            "Layer expects padding to be a number or a pair of them, got (1, 2, 3)",
        ),
        (
            {"kernel_size": 1, "padding": "full"},
            'Layer expects padding to be "same", "valid", a number or a pair, got \'full\'',
        ),
        (
            {"kernel_size": 3, "padding": "same", "stride": (1, 2)},
            'Layer expects a stride of 1 with padding="same", got stride=(1, 2); '
            "a number for padding goes with any stride",
        ),
    ],
)
def test_window_refuses_arguments_out_of_range(arguments: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        Window.of("Layer", **arguments)


def test_pair_takes_one_number_for_rows_and_columns() -> None:
    assert pair("Layer", "size", 3) == (3, 3)
    assert pair("Layer", "size", [2, 1]) == (2, 1)
    assert pair("Layer", "size", 0, at_least=0) == (0, 0)


def test_batch_last_copies_only_arrays_in_another_memory_order() -> None:
    last = np.arange(120.0).reshape(2, 3, 4, 5)
    images = batch_first(last)
    assert images.shape == (5, 2, 3, 4)
    assert np.shares_memory(batch_last(images), last)
    x = np.arange(120.0).reshape(5, 2, 3, 4)
    copied = batch_last(x)
    assert copied.flags.c_contiguous
    assert copied[1, 2, 3, 4] == x[4, 1, 2, 3]
