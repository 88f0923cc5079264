import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Array, Conv2D, ConvTranspose2D, InputError
from tinynet.initializers import zeros
from tinynet.testing import check_layer, floats, seeds, sizes

Pair = tuple[int, int]
few = st.integers(1, 3)
pairs = st.tuples(few, few)


def side(stops: int, kernel: int, stride: int, padding: int, dilation: int, more: int) -> int:
    return (stops - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + more


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
    more: Pair,
    bias: bool,
    rng: int,
) -> ConvTranspose2D:
    """With as much padding as leaves an entry, and as much output_padding as is allowed."""
    groups = math.gcd(channels, groups)
    lengths = list(zip((height, width), kernel, stride, strict=True))
    (down, rows), (right, columns) = (
        (
            min(m, max(s, d) - 1),
            min(p, (side(stops, k, s, 0, d, min(m, max(s, d) - 1)) - 1) // 2),
        )
        for (stops, k, s), p, d, m in zip(lengths, padding, dilation, more, strict=True)
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
    "more": borders,
    "bias": st.booleans(),
    "rng": seeds,
}


@pytest.mark.gradients
def test_gradients() -> None:
    check_layer(drawn_layer, (2, "channels", "height", "width"), **configurations)


@given(st.data(), st.integers(1, 2), sizes, st.tuples(few, few))
def test_forward_puts_the_kernel_down_at_each_stop(
    data: st.DataObject, n: int, channels: int, stops: Pair
) -> None:
    drawn = {name: data.draw(strategy) for name, strategy in configurations.items()}
    layer = drawn_layer(channels, *stops, **drawn).astype(np.float64)
    x = data.draw(floats((n, channels, *stops), np.float64, bound=3))
    units, per_group = layer.out_channels // layer.groups, channels // layer.groups
    (rows, columns), (down, across), (gap_down, gap_across) = layer.window[:3]
    (top, _), (left, _) = layer.window.padding
    weight = layer.weight.value
    assert weight.shape == (channels, units, rows, columns)
    height = side(stops[0], rows, down, top, gap_down, layer.output_padding[0])
    width = side(stops[1], columns, across, left, gap_across, layer.output_padding[1])
    wanted = np.zeros((n, layer.out_channels, height, width))
    if layer.bias is not None:
        layer.bias.value[:] = range(1, layer.out_channels + 1)
        for unit in range(layer.out_channels):
            wanted[:, unit] = unit + 1
    for sample, channel, p, q in np.ndindex(x.shape):
        first = channel // per_group * units
        for unit, i, j in itertools.product(range(units), range(rows), range(columns)):
            h, w = p * down + i * gap_down - top, q * across + j * gap_across - left
            if 0 <= h < height and 0 <= w < width:
                term = weight[channel, unit, i, j] * x[sample, channel, p, q]
                wanted[sample, first + unit, h, w] += term
    y = layer(x)
    assert y.shape == wanted.shape
    np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-11)


def test_by_hand() -> None:
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


def test_it_is_the_way_back_of_a_convolution() -> None:
    settings: dict[str, Any] = {"stride": 2, "padding": 1, "groups": 2, "bias": False, "rng": 0}
    convolution = Conv2D(4, 6, 3, **settings)
    transposed = ConvTranspose2D(6, 4, 3, output_padding=(1, 0), **settings)
    transposed.weight.value[...] = convolution.weight.value
    y = convolution(np.ones((2, 4, 8, 7), np.float32))
    assert np.array_equal(transposed(y), convolution.backward(y))


def test_output_padding_may_also_be_smaller_than_the_dilation_only() -> None:
    layer = ConvTranspose2D(1, 1, 2, dilation=3, output_padding=2)
    assert layer(np.ones((1, 1, 2, 2), np.float32)).shape == (1, 1, 7, 7)


def test_an_empty_batch_goes_through() -> None:
    layer = ConvTranspose2D(4, 6, 3, stride=2, padding=1, groups=2).eval()
    y = layer(np.zeros((0, 4, 3, 4), np.float32))
    assert y.shape == (0, 6, 5, 7)
    assert layer.backward(y).shape == (0, 4, 3, 4)


def test_the_bias_gradient_of_many_entries_is_that_of_float64() -> None:
    dy = np.random.default_rng(0).uniform(0, 1, (60, 3, 40, 25)).astype(np.float32)
    dy[:30] += 1000
    dy[30:] -= 1000
    layer = ConvTranspose2D(1, 3, 1)
    layer(np.zeros((60, 1, 40, 25), np.float32))
    layer.backward(dy)
    assert layer.bias is not None
    assert layer.bias.grad is not None
    exact = [math.fsum(dy[:, unit].ravel().tolist()) for unit in range(3)]
    np.testing.assert_allclose(layer.bias.grad.astype(np.float64), exact, rtol=1e-7)


def test_the_default_start_keeps_the_mean_square_in_steps() -> None:
    # 2 / fan for a ReLU, which leaves out half of it. The border sees fewer terms.
    x = np.random.default_rng(0).standard_normal((2, 64, 20, 20)).astype(np.float32)
    y = ConvTranspose2D(64, 64, 4, stride=2, rng=0)(x)[:, :, 2:-2, 2:-2]
    assert 1.9 < (y**2).mean() < 2.1


def test_parameters_have_the_documented_shapes_and_starts() -> None:
    layer = ConvTranspose2D(4, 6, (3, 2), groups=2, rng=0)
    assert layer.weight.value.shape == (4, 3, 3, 2)
    assert layer.bias is not None
    assert layer.bias.value.tolist() == [0] * 6
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    without = ConvTranspose2D(1, 1, 1, bias=False)
    assert [name for name, _ in without.named_parameters()] == ["weight"]


def test_initializers_are_given_shape_fan_and_generator() -> None:
    rng = np.random.default_rng(5)
    calls = []

    def spy(
        shape: tuple[int, ...], fan_in: float, fan_out: float, given_rng: np.random.Generator
    ) -> Array:
        calls.append((shape, (fan_in, fan_out), given_rng is rng))
        return zeros(shape, fan_in, fan_out, rng)

    ConvTranspose2D(4, 6, (3, 2), stride=(2, 1), groups=2, rng=rng, weight_init=spy, bias_init=spy)
    fan = (2 * 6 / 2, 3 * 6)
    assert calls == [((4, 3, 3, 2), fan, True), ((6,), fan, True)]


def test_refuses_an_initializer_that_gives_another_shape() -> None:
    def dense(
        shape: tuple[int, ...], fan_in: float, fan_out: float, rng: np.random.Generator
    ) -> Array:
        return zeros((1, 2) if len(shape) == 4 else (5,), fan_in, fan_out, rng)

    sentence = r"^ConvTranspose2D\(1, 2, 3\) expects an initializer to give the shape "
    with pytest.raises(InputError, match=sentence + r"\(1, 2, 3, 3\), got \(1, 2\)$"):
        ConvTranspose2D(1, 2, 3, weight_init=dense)
    with pytest.raises(InputError, match=sentence + r"\(2,\), got \(5,\)$"):
        ConvTranspose2D(1, 2, 3, bias_init=dense)


def test_refuses_arguments_out_of_range() -> None:
    for wrong, name in (
        ((0, 1, 1), "in_channels"),
        ((1, -1, 1), "out_channels"),
        ((1, 1, 0), "kernel_size"),
    ):
        sentence = f"^ConvTranspose2D expects {name} to be a whole number >= 1"
        with pytest.raises(InputError, match=sentence):
            ConvTranspose2D(*wrong)
    for keyword, wrong_value, least in (
        ("stride", 0, 1),
        ("padding", -1, 0),
        ("padding", "same", 0),
        ("output_padding", -1, 0),
        ("dilation", 0, 1),
        ("groups", 0, 1),
    ):
        arguments: dict[str, Any] = {keyword: wrong_value}
        sentence = f"^ConvTranspose2D expects {keyword} to be a whole number >= {least}"
        with pytest.raises(InputError, match=sentence):
            ConvTranspose2D(1, 1, 1, **arguments)
    with pytest.raises(InputError, match=r"^ConvTranspose2D expects groups to divide .* 4 and 3$"):
        ConvTranspose2D(4, 3, 1, groups=2)


@pytest.mark.parametrize("wrong", [2, (2, 0), (0, 2)])
def test_refuses_output_padding_that_is_another_stop(wrong: Any) -> None:
    with pytest.raises(InputError) as error:
        ConvTranspose2D(1, 1, 3, stride=2, output_padding=wrong)
    assert str(error.value) == (
        "ConvTranspose2D expects output_padding to be smaller than stride or dilation, "
        f"got {wrong} with stride=2, dilation=1"
    )


def test_refuses_images_of_which_nothing_would_be_left() -> None:
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


def test_refuses_channels_last() -> None:
    sentence = r"^ConvTranspose2D\(3, 8, 3\) expects x of shape \(N, 3, P, Q\), got \(16, 9, 9, 3\)"
    with pytest.raises(InputError, match=sentence):
        ConvTranspose2D(3, 8, 3)(np.zeros((16, 9, 9, 3), np.float32))


def test_repr() -> None:
    assert repr(ConvTranspose2D(8, 1, 2)) == "ConvTranspose2D(8, 1, 2)"
    layer = ConvTranspose2D(
        8, 2, (3, 2), stride=2, padding=(1, 0), output_padding=1, groups=2, bias=False, dilation=2
    )
    assert repr(layer) == (
        "ConvTranspose2D(8, 2, (3, 2), stride=2, padding=(1, 0), output_padding=1, dilation=2, "
        "groups=2, bias=False)"
    )
