import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Array, Conv2D, InputError, Permute, ReLU
from tinynet.initializers import zeros
from tinynet.testing import check_layer, floats, seeds, sizes

Pair = tuple[int, int]
Sides = tuple[Pair, Pair]
few = st.integers(1, 3)
pairs = st.tuples(few, few)
sides = st.tuples(st.integers(0, 2), st.integers(0, 2))


def fitted(kernel: Pair, dilation: Pair, padding: Sides, size: Pair) -> tuple[Pair, Pair]:
    """The kernel, and the gaps in it, made so small that it fits into an image of this size."""
    rows, columns = (
        (k, d) if d * (k - 1) < length + sum(border) else (min(k, length + sum(border)), 1)
        for k, d, border, length in zip(kernel, dilation, padding, size, strict=True)
    )
    return (rows[0], columns[0]), (rows[1], columns[1])


def drawn_convolution(
    channels: int,
    height: int,
    width: int,
    *,
    units: int,
    groups: int,
    kernel: Pair,
    dilation: Pair,
    padding: Sides,
    stride: Pair,
    bias: bool,
    rng: int,
) -> Conv2D:
    groups = math.gcd(channels, groups)
    kernel, dilation = fitted(kernel, dilation, padding, (height, width))
    return Conv2D(
        channels,
        units * groups,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bias,
        rng=rng,
    )


configurations: dict[str, Any] = {
    "units": st.integers(1, 2),
    "groups": st.sampled_from([1, 2, 3, 4]),
    "kernel": pairs,
    "dilation": pairs,
    "padding": st.tuples(sides, sides),
    "stride": pairs,
    "bias": st.booleans(),
    "rng": seeds,
}


@pytest.mark.gradients
def test_gradients() -> None:
    check_layer(drawn_convolution, (2, "channels", "height", "width"), **configurations)


@given(st.data(), st.integers(1, 2), sizes, st.tuples(sizes, sizes))
def test_forward_is_the_sum_over_the_kernel(
    data: st.DataObject, n: int, channels: int, size: Pair
) -> None:
    drawn = {name: data.draw(strategy) for name, strategy in configurations.items()}
    layer = drawn_convolution(channels, *size, **drawn).astype(np.float64)
    x = data.draw(floats((n, channels, *size), np.float64, bound=3))
    if layer.bias is not None:
        layer.bias.value[:] = range(1, layer.out_channels + 1)
    y = layer(x)
    assert y.dtype == np.float64
    weight = layer.weight.value
    (top, bottom), (left, right) = padding = drawn["padding"]
    kernel, gap = fitted(drawn["kernel"], drawn["dilation"], padding, size)
    (rows, columns), (down, across) = kernel, drawn["stride"]
    assert weight.shape == (layer.out_channels, channels // layer.groups, rows, columns)
    tall, wide = size[0] + top + bottom, size[1] + left + right
    stops = [
        [start for start in range(0, whole, step) if start + (k - 1) * g < whole]
        for whole, step, k, g in zip((tall, wide), drawn["stride"], kernel, gap, strict=True)
    ]
    assert y.shape == (n, layer.out_channels, len(stops[0]), len(stops[1]))
    for sample, unit, p, q in np.ndindex(y.shape):
        group = unit // (layer.out_channels // layer.groups)
        total = float(unit + 1) if layer.bias is not None else 0.0
        for c in range(weight.shape[1]):
            channel = group * weight.shape[1] + c
            for i in range(rows):
                for j in range(columns):
                    h = p * down + i * gap[0] - top
                    w = q * across + j * gap[1] - left
                    if 0 <= h < size[0] and 0 <= w < size[1]:
                        total += float(weight[unit, c, i, j]) * float(x[sample, channel, h, w])
        assert math.isclose(y[sample, unit, p, q], total, abs_tol=1e-11)


def test_by_hand() -> None:
    layer = Conv2D(1, 1, 2, rng=0)
    layer.weight.value[0, 0] = [[1, 2], [3, 4]]
    assert layer.bias is not None
    layer.bias.value[:] = 100
    x = np.array([[[[1, 0, 2], [0, 1, 0], [3, 0, 1]]]], np.float32)
    assert layer(x).tolist() == [[[[105, 107], [111, 105]]]]
    dx = layer.backward(np.array([[[[1, 0], [0, 10]]]], np.float32))
    assert dx.tolist() == [[[[1, 2, 0], [3, 14, 20], [0, 30, 40]]]]
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    assert layer.weight.grad.tolist() == [[[[11, 0], [0, 11]]]]
    assert layer.bias.grad.tolist() == [11]


@pytest.mark.parametrize("kernel", [1, 2, 3, (4, 1), (2, 5)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_keeps_the_size_and_valid_pads_nothing(kernel: Any, dilation: int) -> None:
    x = np.ones((2, 1, 9, 9), np.float32)
    assert Conv2D(1, 3, kernel, padding="same", dilation=dilation)(x).shape == (2, 3, 9, 9)
    valid = Conv2D(1, 3, kernel, padding="valid", dilation=dilation, rng=0)
    assert np.array_equal(valid(x), Conv2D(1, 3, kernel, dilation=dilation, rng=0)(x))


def test_sides_are_top_bottom_left_right() -> None:
    layer = Conv2D(1, 1, 1, padding=((1, 2), (3, 4)), bias=False)
    y = layer(np.ones((1, 1, 1, 1), np.float32))
    assert y.shape == (1, 1, 4, 8)
    assert np.argwhere(y[0, 0]).tolist() == [[1, 3]]


def test_an_empty_batch_goes_through() -> None:
    layer = Conv2D(4, 6, 3, stride=2, padding=1, groups=2).eval()
    y = layer(np.zeros((0, 4, 5, 8), np.float32))
    assert y.shape == (0, 6, 3, 4)
    assert layer.backward(y).shape == (0, 4, 5, 8)
    assert layer.weight.grad is not None
    assert not layer.weight.grad.any()


def test_through_twenty_layers_the_variance_stays() -> None:
    # One network of this width may be off by ten: the mean over some of them is what stays.
    variances = np.zeros(20)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((4, 64, 16, 16)).astype(np.float32)
        for depth in range(20):
            x = ReLU()(Conv2D(64, 64, 3, padding=1, rng=rng)(x))
            variances[depth] += x.var()
    assert variances.max() < 4 * variances[0]
    assert variances.min() > variances[0] / 4


def test_the_bias_gradient_of_many_entries_is_that_of_float64() -> None:
    dy = np.random.default_rng(0).uniform(0, 1, (60, 3, 40, 25)).astype(np.float32)
    dy[:30] += 1000
    dy[30:] -= 1000
    layer = Conv2D(1, 3, 1)
    layer(np.zeros((60, 1, 40, 25), np.float32))
    layer.backward(dy)
    assert layer.bias is not None
    assert layer.bias.grad is not None
    exact = [math.fsum(dy[:, unit].ravel().tolist()) for unit in range(3)]
    np.testing.assert_allclose(layer.bias.grad.astype(np.float64), exact, rtol=1e-7)


@pytest.mark.parametrize("bound", [1e4, -1e4])
def test_what_is_huge_overflows_nowhere(bound: float) -> None:
    layer = Conv2D(2, 3, 3, padding=1, rng=0)
    y = layer(np.full((2, 2, 4, 4), bound, np.float32))
    dx = layer.backward(np.full_like(y, bound))
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


def test_parameters_have_the_documented_shapes_and_starts() -> None:
    layer = Conv2D(4, 6, (3, 2), groups=2, rng=0)
    assert layer.weight.value.shape == (6, 2, 3, 2)
    assert layer.bias is not None
    assert layer.bias.value.tolist() == [0] * 6
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert [name for name, _ in Conv2D(1, 1, 1, bias=False).named_parameters()] == ["weight"]
    again = Conv2D(4, 6, (3, 2), groups=2, rng=np.random.default_rng(0))
    assert np.array_equal(layer.weight.value, again.weight.value)


def test_initializers_are_given_shape_fan_and_generator() -> None:
    rng = np.random.default_rng(5)
    calls = []

    def spy(
        shape: tuple[int, ...], fan_in: float, fan_out: float, given_rng: np.random.Generator
    ) -> Array:
        calls.append((shape, (fan_in, fan_out), given_rng is rng))
        return zeros(shape, fan_in, fan_out, rng)

    Conv2D(4, 6, (3, 2), stride=(2, 1), groups=2, rng=rng, weight_init=spy, bias_init=spy)
    fan = (2 * 6, 3 * 6 / 2)
    assert calls == [((6, 2, 3, 2), fan, True), ((6,), fan, True)]


def test_refuses_an_initializer_that_gives_another_shape() -> None:
    def dense(
        shape: tuple[int, ...], fan_in: float, fan_out: float, rng: np.random.Generator
    ) -> Array:
        return zeros((2, 1) if len(shape) == 4 else (5,), fan_in, fan_out, rng)

    sentence = r"^Conv2D\(1, 2, 3\) expects an initializer to give the shape "
    with pytest.raises(InputError, match=sentence + r"\(2, 1, 3, 3\), got \(2, 1\)$"):
        Conv2D(1, 2, 3, weight_init=dense)
    with pytest.raises(InputError, match=sentence + r"\(2,\), got \(5,\)$"):
        Conv2D(1, 2, 3, bias_init=dense)


def test_refuses_arguments_out_of_range() -> None:
    for wrong, name in (
        ((0, 1, 1), "in_channels"),
        ((1, -1, 1), "out_channels"),
        ((1, 1, 0), "kernel_size"),
    ):
        with pytest.raises(InputError, match=f"^Conv2D expects {name} to be a whole number >= 1"):
            Conv2D(*wrong)
    for keyword, least in (("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1)):
        arguments: dict[str, Any] = {keyword: least - 1}
        with pytest.raises(
            InputError, match=f"^Conv2D expects {keyword} to be a whole number >= {least}"
        ):
            Conv2D(1, 1, 1, **arguments)
    for channels in ((4, 3), (3, 4)):
        with pytest.raises(InputError) as error:
            Conv2D(*channels, 1, groups=2)
        assert str(error.value) == (
            "Conv2D expects groups to divide in_channels and out_channels, "
            f"got groups=2 for {channels[0]} and {channels[1]}"
        )


def test_refuses_an_image_that_is_smaller_than_the_kernel() -> None:
    for layer, size, sentence in (
        (
            Conv2D(1, 16, 5),
            (3, 8),
            "Conv2D(1, 16, 5) expects images of at least 5 x 5, "
            "for the kernel to fit in, got 3 x 8",
        ),
        (
            Conv2D(1, 16, (5, 3), padding=1, dilation=2),
            (9, 2),
            "Conv2D(1, 16, (5, 3), padding=1, dilation=2) expects images of at least 7 x 3, "
            "for the kernel to fit in, got 9 x 2",
        ),
        (
            Conv2D(1, 1, 1, padding=2),
            (4, 0),
            "Conv2D(1, 1, 1, padding=2) expects images of at least 1 x 1, "
            "for the kernel to fit in, got 4 x 0",
        ),
    ):
        with pytest.raises(InputError) as error:
            layer(np.zeros((2, 1, *size), np.float32))
        assert str(error.value) == sentence


def test_an_image_of_the_size_of_the_kernel_gives_one_entry() -> None:
    assert Conv2D(1, 2, (5, 3), dilation=2)(np.zeros((1, 1, 9, 5))).shape == (1, 2, 1, 1)


def test_refuses_channels_last_and_integers() -> None:
    layer = Conv2D(3, 8, 3)
    channels_last = np.zeros((16, 32, 32, 3), np.float32)
    with pytest.raises(
        InputError,
        match=r"^Conv2D\(3, 8, 3\) expects x of shape \(N, 3, H, W\), got \(16, 32, 32, 3\)",
    ):
        layer(channels_last)
    assert layer(Permute((0, 3, 1, 2))(channels_last)).shape == (16, 8, 30, 30)
    with pytest.raises(InputError, match=r"expects x of a float dtype, got uint8; Rescale\("):
        layer(np.zeros((1, 3, 8, 8), np.uint8))


def test_repr() -> None:
    assert repr(Conv2D(1, 16, 3)) == "Conv2D(1, 16, 3)"
    assert repr(Conv2D(1, 16, (3, 3), padding=1)) == "Conv2D(1, 16, 3, padding=1)"
    assert repr(Conv2D(1, 2, (3, 2), padding=(1, 0))) == "Conv2D(1, 2, (3, 2), padding=(1, 0))"
    assert repr(Conv2D(1, 2, 3, padding="same")) == "Conv2D(1, 2, 3, padding=1)"
    assert repr(Conv2D(2, 2, 2, stride=2, padding=((0, 1), (0, 1)), dilation=(1, 2))) == (
        "Conv2D(2, 2, 2, stride=2, padding=((0, 1), (0, 1)), dilation=(1, 2))"
    )
    assert repr(Conv2D(1, 1, 1, padding=((1, 1), (0, 2)))) == (
        "Conv2D(1, 1, 1, padding=((1, 1), (0, 2)))"
    )
    assert repr(Conv2D(4, 4, 3, groups=4, bias=False)) == "Conv2D(4, 4, 3, groups=4, bias=False)"
