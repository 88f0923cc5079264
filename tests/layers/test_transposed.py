import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Conv2D, ConvTranspose2D, InputError
from tinynet.testing import check_layer, floats, seeds, sizes

Pair = tuple[int, int]
few = st.integers(1, 3)
pairs = st.tuples(few, few)


def length(count: int, kernel: int, stride: int, padding: int, dilation: int, extra: int) -> int:
    return (count - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + extra


def drawn_layer(
    channels: int,
    height: int,
    width: int,
    *,
    units: int,
    groups: int,
    kernel: Pair,
    dilation: Pair,
    stride: Pair,
    padding: Pair,
    extra: Pair,
    bias: bool,
    rng: int,
) -> ConvTranspose2D:
    """With as much padding as leaves an entry, and as much output_padding as is allowed."""
    groups = math.gcd(channels, groups)
    lengths = list(zip((height, width), kernel, stride, strict=True))
    (down, rows), (right, columns) = (
        (
            min(e, max(s, d) - 1),
            min(p, (length(count, k, s, 0, d, min(e, max(s, d) - 1)) - 1) // 2),
        )
        for (count, k, s), p, d, e in zip(lengths, padding, dilation, extra, strict=True)
    )
    return ConvTranspose2D(
        channels,
        units * groups,
        kernel,
        stride=stride,
        padding=(rows, columns),
        output_padding=(down, right),
        groups=groups,
        bias=bias,
        dilation=dilation,
        rng=rng,
    )


borders = st.tuples(st.integers(0, 2), st.integers(0, 2))
configurations: dict[str, Any] = {
    "units": st.integers(1, 2),
    "groups": st.sampled_from([1, 2, 3, 4]),
    "kernel": pairs,
    "dilation": pairs,
    "stride": pairs,
    "padding": borders,
    "extra": borders,
    "bias": st.booleans(),
    "rng": seeds,
}


@pytest.mark.gradients
def test_gradients_of_a_transposed_convolution_are_those_of_finite_differences() -> None:
    check_layer(drawn_layer, (2, "channels", "height", "width"), **configurations)


@given(st.data(), st.integers(1, 2), sizes, st.tuples(few, few))
def test_transposed_convolution_adds_up_the_kernel_times_each_input(
    data: st.DataObject, n: int, channels: int, size: Pair
) -> None:
    drawn = {name: data.draw(strategy) for name, strategy in configurations.items()}
    layer = drawn_layer(channels, *size, **drawn).astype(np.float64)
    x = data.draw(floats((n, channels, *size), np.float64, bound=3))
    units, per_group = layer.out_channels // layer.groups, channels // layer.groups
    (rows, columns), (down, across), ((top, _), (left, _)), gaps = layer.window
    extra = [
        min(e, max(s, g) - 1) for e, s, g in zip(drawn["extra"], (down, across), gaps, strict=True)
    ]
    weight = layer.weight.value
    assert weight.shape == (channels, units, rows, columns)
    height = length(size[0], rows, down, top, gaps[0], extra[0])
    width = length(size[1], columns, across, left, gaps[1], extra[1])
    expected = np.zeros((n, layer.out_channels, height, width))
    if layer.bias is not None:
        layer.bias.value[:] = range(1, layer.out_channels + 1)
        for unit in range(layer.out_channels):
            expected[:, unit] = unit + 1
    for sample, channel, p, q in np.ndindex(x.shape):
        first = channel // per_group * units
        for unit, i, j in itertools.product(range(units), range(rows), range(columns)):
            h, w = p * down + i * gaps[0] - top, q * across + j * gaps[1] - left
            if 0 <= h < height and 0 <= w < width:
                term = weight[channel, unit, i, j] * x[sample, channel, p, q]
                expected[sample, first + unit, h, w] += term
    y = layer(x)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-11)


def test_transposed_convolution_and_its_gradients_match_a_result_by_hand() -> None:
    layer = ConvTranspose2D(1, 1, 2, rng=0)
    layer.weight.value[0, 0] = [[1, 2], [3, 4]]
    assert layer.bias is not None
    layer.bias.value[:] = 100
    y = layer(np.array([[[[1, 0], [0, 10]]]], np.float32))
    assert y.tolist() == [[[[101, 102, 100], [103, 114, 120], [100, 130, 140]]]]
    dy = np.array([[[[1, 0, 2], [0, 1, 0], [3, 0, 1]]]], np.float32)
    assert layer.backward(dy).tolist() == [[[[5, 7], [11, 5]]]]
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    assert layer.weight.grad.tolist() == [[[[11, 0], [0, 11]]]]
    assert layer.bias.grad.tolist() == [8]


def test_transposed_convolution_is_the_backward_of_a_convolution() -> None:
    settings: dict[str, Any] = {"stride": 2, "padding": 1, "groups": 2, "bias": False, "rng": 0}
    convolution = Conv2D(4, 6, 3, **settings)
    transposed = ConvTranspose2D(6, 4, 3, output_padding=(1, 0), **settings)
    # Of whole numbers, whose sums are exact in any order.
    rng = np.random.default_rng(0)
    convolution.weight.value[...] = rng.integers(-9, 9, convolution.weight.value.shape)
    transposed.weight.value[...] = convolution.weight.value
    y = convolution(rng.integers(-9, 9, (2, 4, 8, 7)).astype(np.float32))
    assert np.array_equal(transposed(y), convolution.backward(y))


def test_output_padding_may_be_as_large_as_the_stride_if_it_is_smaller_than_the_dilation() -> None:
    layer = ConvTranspose2D(1, 1, 2, dilation=3, output_padding=2)
    assert layer(np.ones((1, 1, 2, 2), np.float32)).shape == (1, 1, 7, 7)


def test_initial_weights_of_a_transposed_convolution_count_the_terms_of_an_output() -> None:
    # Variance 2 / fan_in, because a ReLU drops half of it. At the border sums have fewer terms.
    x = np.random.default_rng(0).standard_normal((2, 64, 12, 12)).astype(np.float32)
    y = ConvTranspose2D(64, 64, 4, stride=2, rng=0)(x)[:, :, 2:-2, 2:-2]
    assert 1.9 < (y**2).mean() < 2.1


@pytest.mark.parametrize("keyword", ["padding", "output_padding"])
@pytest.mark.parametrize("wrong", [-1, "same"])
def test_transposed_convolution_takes_numbers_as_padding_only(keyword: str, wrong: Any) -> None:
    sentence = f"^ConvTranspose2D expects {keyword} to be a whole number >= 0, got {wrong!r}$"
    with pytest.raises(InputError, match=sentence):
        ConvTranspose2D(1, 1, 1, **{keyword: wrong})


@pytest.mark.parametrize("wrong", [2, (2, 0), (0, 2)])
def test_refuses_output_padding_that_is_neither_below_stride_nor_dilation(wrong: Any) -> None:
    with pytest.raises(InputError) as error:
        ConvTranspose2D(1, 1, 3, stride=2, output_padding=wrong)
    assert str(error.value) == (
        "ConvTranspose2D expects output_padding to be smaller than stride or dilation, "
        f"got {wrong} with stride=2, dilation=1"
    )


def test_transposed_convolution_refuses_images_that_the_padding_would_leave_empty() -> None:
    layer = ConvTranspose2D(1, 1, 3, padding=2)
    assert layer(np.zeros((1, 1, 3, 3))).shape == (1, 1, 1, 1)
    with pytest.raises(InputError) as error:
        layer(np.zeros((1, 1, 2, 4)))
    assert str(error.value) == (
        "ConvTranspose2D(1, 1, 3, padding=2) expects images of which its padding leaves "
        "at least one entry, got 2 x 4, to become 0 x 2"
    )
    with pytest.raises(InputError, match=r"got 3 x 0, to become 5 x 2$"):
        ConvTranspose2D(1, 1, 3)(np.zeros((1, 1, 3, 0)))


def test_repr_of_a_transposed_convolution_is_its_constructor_call() -> None:
    assert repr(ConvTranspose2D(8, 1, 2)) == "ConvTranspose2D(8, 1, 2)"
    layer = ConvTranspose2D(
        8, 2, (3, 2), stride=2, padding=(1, 0), output_padding=1, groups=2, bias=False, dilation=2
    )
    assert repr(layer) == (
        "ConvTranspose2D(8, 2, (3, 2), stride=2, padding=(1, 0), output_padding=1, groups=2, "
        "bias=False, dilation=2)"
    )
