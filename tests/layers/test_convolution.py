import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Array, Conv2D, ConvTranspose2D, InputError, Permute, ReLU
from tinynet.initializers import zeros
from tinynet.testing import check_layer, floats, seeds, sizes

Pair = tuple[int, int]
Kind = type[Conv2D] | type[ConvTranspose2D]
Sides = tuple[Pair, Pair]
both = pytest.mark.parametrize("kind", [Conv2D, ConvTranspose2D])
few = st.integers(1, 3)
pairs = st.tuples(few, few)
sides = st.tuples(st.integers(0, 2), st.integers(0, 2))


def fitted(kernel: Pair, dilation: Pair, padding: Sides, size: Pair) -> tuple[Pair, Pair]:
    """Kernel size and dilation, reduced until the kernel fits into an image of this size."""
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
def test_gradients_of_a_convolution_are_those_of_finite_differences() -> None:
    check_layer(drawn_convolution, (2, "channels", "height", "width"), **configurations)


@given(st.data(), st.integers(1, 2), sizes, st.tuples(sizes, sizes))
def test_convolution_is_the_weighted_sum_under_the_kernel(
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
    starts = [
        [start for start in range(0, whole, step) if start + (k - 1) * g < whole]
        for whole, step, k, g in zip((tall, wide), drawn["stride"], kernel, gap, strict=True)
    ]
    assert y.shape == (n, layer.out_channels, len(starts[0]), len(starts[1]))
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


def test_convolution_and_its_gradients_match_a_result_by_hand() -> None:
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
def test_convolution_same_keeps_the_size_and_valid_pads_nothing(kernel: Any, dilation: int) -> None:
    x = np.ones((2, 1, 9, 9), np.float32)
    assert Conv2D(1, 3, kernel, padding="same", dilation=dilation)(x).shape == (2, 3, 9, 9)
    valid = Conv2D(1, 3, kernel, padding="valid", dilation=dilation, rng=0)
    assert np.array_equal(valid(x), Conv2D(1, 3, kernel, dilation=dilation, rng=0)(x))


def test_convolution_padding_is_top_bottom_then_left_right() -> None:
    layer = Conv2D(1, 1, 1, padding=((1, 2), (3, 4)), bias=False)
    y = layer(np.ones((1, 1, 1, 1), np.float32))
    assert y.shape == (1, 1, 4, 8)
    assert np.argwhere(y[0, 0]).tolist() == [[1, 3]]


def test_variance_stays_the_same_through_twenty_convolutions_with_relu() -> None:
    # One network of this width may be off by ten: the mean over some of them is what stays.
    variances = np.zeros(20)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((2, 64, 6, 6)).astype(np.float32)
        for depth in range(20):
            # Without a border, at which sums have fewer terms.
            x = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], mode="wrap")
            x = ReLU()(Conv2D(64, 64, 3, rng=rng)(x))
            variances[depth] += x.var()
    assert variances.max() < 4 * variances[0]
    assert variances.min() > variances[0] / 4


@pytest.mark.parametrize("bound", [1e4, -1e4])
def test_convolution_of_huge_numbers_does_not_overflow(bound: float) -> None:
    layer = Conv2D(2, 3, 3, padding=1, rng=0)
    y = layer(np.full((2, 2, 4, 4), bound, np.float32))
    dx = layer.backward(np.full_like(y, bound))
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


def test_convolution_refuses_an_image_smaller_than_the_kernel() -> None:
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


def test_convolution_of_an_image_of_the_kernel_size_has_one_entry() -> None:
    assert Conv2D(1, 2, (5, 3), dilation=2)(np.zeros((1, 1, 9, 5))).shape == (1, 2, 1, 1)


def test_repr_of_a_convolution_is_its_constructor_call() -> None:
    assert repr(Conv2D(1, 16, 3)) == "Conv2D(1, 16, 3)"
    assert repr(Conv2D(1, 16, (3, 3), padding=1)) == "Conv2D(1, 16, (3, 3), padding=1)"
    assert repr(Conv2D(1, 2, (3, 2), padding=(1, 0))) == "Conv2D(1, 2, (3, 2), padding=(1, 0))"
    assert repr(Conv2D(1, 2, 3, padding="same")) == "Conv2D(1, 2, 3, padding='same')"
    assert repr(Conv2D(2, 2, 2, stride=2, padding=((0, 1), (0, 1)), dilation=(1, 2))) == (
        "Conv2D(2, 2, 2, stride=2, padding=((0, 1), (0, 1)), dilation=(1, 2))"
    )
    assert repr(Conv2D(1, 1, 1, padding=((1, 1), (0, 2)))) == (
        "Conv2D(1, 1, 1, padding=((1, 1), (0, 2)))"
    )
    assert repr(Conv2D(4, 4, 3, groups=4, bias=False)) == "Conv2D(4, 4, 3, groups=4, bias=False)"


@both
def test_an_empty_batch_gives_an_empty_y_and_dx_and_a_zero_weight_gradient(kind: Kind) -> None:
    layer = kind(4, 6, 3, stride=2, padding=1, groups=2).eval()
    y = layer(np.zeros((0, 4, 5, 8), np.float32))
    assert y.shape == ((0, 6, 3, 4) if kind is Conv2D else (0, 6, 9, 15))
    assert layer.backward(y).shape == (0, 4, 5, 8)
    assert layer.weight.grad is not None
    assert not layer.weight.grad.any()


@both
def test_bias_gradient_over_many_float32_entries_is_that_of_float64(kind: Kind) -> None:
    dy = np.random.default_rng(0).uniform(0, 1, (60, 3, 40, 25)).astype(np.float32)
    dy[:30] += 1000
    dy[30:] -= 1000
    layer = kind(1, 3, 1)
    layer(np.zeros((60, 1, 40, 25), np.float32))
    layer.backward(dy)
    assert layer.bias is not None
    assert layer.bias.grad is not None
    exact = [math.fsum(dy[:, unit].ravel().tolist()) for unit in range(3)]
    np.testing.assert_allclose(layer.bias.grad.astype(np.float64), exact, rtol=1e-7)


@both
def test_convolution_parameters_have_the_documented_names_shapes_and_values(kind: Kind) -> None:
    layer = kind(4, 6, (3, 2), groups=2, rng=0)
    assert layer.weight.value.shape == ((6, 2, 3, 2) if kind is Conv2D else (4, 3, 3, 2))
    assert layer.bias is not None
    assert layer.bias.value.tolist() == [0] * 6
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert [name for name, _ in kind(1, 1, 1, bias=False).named_parameters()] == ["weight"]


@both
def test_convolution_initializers_get_shape_fans_and_generator(kind: Kind) -> None:
    rng = np.random.default_rng(5)
    calls = []

    def spy(
        shape: tuple[int, ...], fan_in: float, fan_out: float, given_rng: np.random.Generator
    ) -> Array:
        calls.append((shape, fan_in, fan_out, given_rng is rng))
        return zeros(shape, fan_in, fan_out, rng)

    kind(4, 6, (3, 2), stride=(2, 1), groups=2, rng=rng, weight_init=spy, bias_init=spy)
    # Of two positions of each kernel entry one covers an entry of the image slid over.
    weight, *fans = ((6, 2, 3, 2), 2 * 6, 3 * 6 / 2)
    if kind is ConvTranspose2D:
        weight, *fans = ((4, 3, 3, 2), 2 * 6 / 2, 3 * 6)
    assert calls == [(weight, *fans, True), ((6,), *fans, True)]


@both
def test_convolution_refuses_an_initializer_that_gives_another_shape(kind: Kind) -> None:
    def init(
        shape: tuple[int, ...], fan_in: float, fan_out: float, rng: np.random.Generator
    ) -> Array:
        return zeros((2, 1) if len(shape) == 4 else (5,), fan_in, fan_out, rng)

    sentence = rf"^{kind.__name__}\(2, 2, 3\) expects an initializer to give the shape "
    with pytest.raises(InputError, match=sentence + r"\(2, 2, 3, 3\), got \(2, 1\)$"):
        kind(2, 2, 3, weight_init=init)
    with pytest.raises(InputError, match=sentence + r"\(2,\), got \(5,\)$"):
        kind(2, 2, 3, bias_init=init)


@both
def test_convolution_refuses_arguments_out_of_range(kind: Kind) -> None:
    for wrong, name in (
        ((0, 1, 1), "in_channels"),
        ((1, -1, 1), "out_channels"),
        ((1, 1, 0), "kernel_size"),
    ):
        sentence = f"^{kind.__name__} expects {name} to be a whole number >= 1"
        with pytest.raises(InputError, match=sentence):
            kind(*wrong)
    for keyword, least in (("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1)):
        sentence = f"^{kind.__name__} expects {keyword} to be a whole number >= {least}"
        arguments: dict[str, Any] = {keyword: least - 1}
        with pytest.raises(InputError, match=sentence):
            kind(1, 1, 1, **arguments)
    for channels in ((4, 3), (3, 4)):
        with pytest.raises(InputError) as error:
            kind(*channels, 1, groups=2)
        assert str(error.value) == (
            f"{kind.__name__} expects groups to divide in_channels and out_channels, "
            f"got groups=2 for {channels[0]} and {channels[1]}"
        )


@both
def test_convolution_hints_at_in_channels_that_would_fit(kind: Kind) -> None:
    # The kernel is of the same number, and would not help.
    with pytest.raises(InputError, match=r"got \(2, 5, 8, 8\); in_channels=5 would fit it$"):
        kind(3, 3, 3)(np.zeros((2, 5, 8, 8), np.float32))


@both
def test_convolution_refuses_channels_last_and_integers(kind: Kind) -> None:
    layer = kind(3, 8, 3)
    channels_last = np.zeros((16, 32, 32, 3), np.float32)
    sentence = f"{kind.__name__}(3, 8, 3) expects x of shape (N, 3, H, W), got (16, 32, 32, 3)"
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}"):
        layer(channels_last)
    assert layer(Permute((0, 3, 1, 2))(channels_last)).shape[:2] == (16, 8)
    with pytest.raises(InputError, match=r"expects x of a float dtype, got uint8; Rescale\("):
        layer(np.zeros((1, 3, 8, 8), np.uint8))
