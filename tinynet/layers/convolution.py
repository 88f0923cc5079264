"""A convolution slides a small kernel over an image and sums up what it sees.

Images have the shape (N, C, H, W), as everywhere. In memory the samples come last, in the order
(C, H, W, N): y and dx are views of such arrays, and what works entry by entry keeps the order.
"""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.initializers import Initializer, he_normal, init_parameter, zeros
from tinynet.layer import Layer
from tinynet.layers.conv2d import (
    Pair,
    Window,
    batch_first,
    batch_last,
    correlate,
    pair,
    short,
    spread,
    weight_gradient,
)
from tinynet.parameter import Array, Parameter
from tinynet.validation import whole_number


@final
class Conv2D(Layer):
    """At each stop of the kernel the weighted sum of what it sees, per output channel, plus a bias.

    With stride S, dilation D, and x being 0 on the border that padding puts around it:

        y[n, o, p, q] = b[o] + Σ_c Σ_i Σ_j W[o, c, i, j] · x[n, c, p S + i D, q S + j D].

    x is (N, in_channels, H, W) and y (N, out_channels, P, Q), where P counts the stops,
    P = ⌊(H + padding - D (K - 1) - 1) / S⌋ + 1 with the padding of both sides, and Q alike. With
    `groups` both channels are cut into that many parts, and each part of y is summed over one part
    of x alone; groups = in_channels is a depthwise convolution. Sizes are numbers or pairs (rows,
    columns). `padding` is also "valid", "same", or, unlike in PyTorch, ((top, bottom), (left,
    right)); there is no padding_mode.

    Gradients, summed over the same pairs of entries: dx = Σ W · dy, dW = Σ x · dy, db = Σ dy.

    `.weight` is (out_channels, in_channels / groups, K, K) as in PyTorch, `.bias` (out_channels,),
    or None with bias=False. `rng` is a Generator, an int seed, or None for fresh randomness. An
    initializer is told that an entry of x goes to K K / (S S) stops on average. The product is
    computed in the dtype of x.

    Raises:
        InputError: an argument is out of range, groups does not divide both channels, an
            initializer gives another shape, x is not (N, in_channels, H, W), or the kernel does
            not fit into the image.

    >>> layer = Conv2D(1, 8, 3, padding="same", rng=0)
    >>> layer(np.ones((4, 1, 28, 28), np.float32)).shape
    (4, 8, 28, 28)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        *,
        stride: int | Pair = 1,
        padding: int | Pair | tuple[Pair, Pair] | str = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        rng: np.random.Generator | int | None = None,
        weight_init: Initializer = he_normal,
        bias_init: Initializer = zeros,
    ) -> None:
        who = "Conv2D"
        self.kernel_size, self.stride = kernel_size, stride
        self.padding, self.dilation = padding, dilation
        self.window = Window.of(
            who, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation
        )
        self.in_channels, self.out_channels, self.groups = channels_in_groups(
            who, in_channels, out_channels, groups
        )
        inputs, outputs = self.in_channels // self.groups, self.out_channels // self.groups
        taps, every = math.prod(self.window.kernel), math.prod(self.window.stride)
        rng, fans = np.random.default_rng(rng), (inputs * taps, outputs * taps / every)
        shape = (self.out_channels, inputs, *self.window.kernel)
        who = f"{who}({in_channels}, {out_channels}, {kernel_size})"
        self.weight = init_parameter(who, weight_init, shape, fans, rng)
        self.bias = (
            init_parameter(who, bias_init, (self.out_channels,), fans, rng) if bias else None
        )

    def forward(self, x: Array) -> Array:
        """x: (N, in_channels, H, W) -> y: (N, out_channels, P, Q)."""
        self.check_input(x, "N", self.in_channels, "H", "W")
        size = (x.shape[2], x.shape[3])
        stops = self.window.stops(size)
        if min(*stops, *size) < 1:
            rows, columns = (
                max(gap * (kernel - 1) + 1 - sum(sides), 1)
                for gap, kernel, sides in zip(
                    self.window.dilation, self.window.kernel, self.window.padding, strict=True
                )
            )
            raise InputError(
                f"{self!r} expects images of at least {rows} x {columns}, "
                f"for the kernel to fit in, got {size[0]} x {size[1]}"
            )
        images = batch_last(x)
        weight = self.weight.value.astype(x.dtype, copy=False)
        y = correlate(images, weight, self.window, stops, self.groups)
        y = batch_first(plus(y, self.bias))
        self.save_for_backward(y, images)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, out_channels, P, Q) -> dx: (N, in_channels, H, W)."""
        dy, images = self.saved_for_backward(dy)
        dy = batch_last(dy)
        self._write_gradients(dy, images)
        weight = self.weight.value.astype(dy.dtype, copy=False)
        return batch_first(spread(dy, weight, self.window, images.shape[1:3], self.groups))

    def backward_parameters(self, dy: Array) -> None:
        """As `backward`, without dx: a third of the work of a first layer."""
        dy, images = self.saved_for_backward(dy)
        self._write_gradients(batch_last(dy), images)

    def _write_gradients(self, dy: Array, images: Array) -> None:
        dw = weight_gradient(images, dy, self.window, self.groups)
        self.weight.grad = dw.astype(self.weight.value.dtype, copy=False)
        write_bias_gradient(self.bias, dy)


def channels_in_groups(
    who: str, in_channels: int, out_channels: int, groups: int
) -> tuple[int, int, int]:
    """Returns the three, or raises InputError if groups does not divide both channels."""
    in_channels = whole_number(who, "in_channels", in_channels)
    out_channels = whole_number(who, "out_channels", out_channels)
    groups = whole_number(who, "groups", groups)
    if in_channels % groups or out_channels % groups:
        raise InputError(
            f"{who} expects groups to divide in_channels and out_channels, "
            f"got groups={groups} for {in_channels} and {out_channels}"
        )
    return in_channels, out_channels, groups


def plus(y: Array, bias: Parameter | None) -> Array:
    """Adds the bias to y itself, per channel of (C, H, W, N)."""
    if bias is not None:
        y += bias.value[:, None, None, None]
    return y


def write_bias_gradient(bias: Parameter | None, dy: Array) -> None:
    """The sum of dy (C, H, W, N) per channel."""
    if bias is not None:
        bias.grad = dy.sum(axis=(1, 2, 3), dtype=np.float64).astype(bias.value.dtype)


def arguments(layer: Any, output_padding: Pair = (0, 0)) -> str:
    """What the constructor was given, as far as it is not the default."""
    window: Window = layer.window
    (top, bottom), (left, right) = window.padding
    even = top == bottom and left == right
    settings = [
        ("stride", short(window.stride), "1"),
        ("padding", short((top, left)) if even else repr(window.padding), "0"),
        ("output_padding", short(output_padding), "0"),
        ("dilation", short(window.dilation), "1"),
        ("groups", repr(layer.groups), "1"),
        ("bias", repr(layer.bias is not None), "True"),
    ]
    others = [f", {name}={value}" for name, value, usual in settings if value != usual]
    return f"{layer.in_channels}, {layer.out_channels}, {short(window.kernel)}{''.join(others)}"


@final
class ConvTranspose2D(Layer):
    """At each stop of the kernel its weights times x, put down in a larger image, plus a bias.

    With stride S, dilation D and padding B:

        y[n, o, h, w] = b[o] + Σ x[n, c, p, q] · W[c, o, i, j],

    summed over all c, p, q, i, j with p S + i D = h + B and q S + j D = w + B. It does to x what
    a `Conv2D` does to dy on the way back. x is (N, in_channels, P, Q) and y (N, out_channels, H, W)
    with H = (P - 1) S - 2 B + D (K - 1) + 1 + output_padding, and W alike. Where a `Conv2D` has
    the same P for several H, `output_padding` says which: so many more rows at the bottom and
    columns at the right. `groups` and sizes are as for `Conv2D`, but padding is numbers only.

    Gradients, summed over the same pairs of entries: dx = Σ W · dy, dW = Σ x · dy, db = Σ dy.

    `.weight` is (in_channels, out_channels / groups, K, K) as in PyTorch, `.bias` (out_channels,),
    or None with bias=False. `rng` is a Generator, an int seed, or None for fresh randomness. An
    initializer is told that in_channels / groups · K K / (S S) terms meet in an entry of y on
    average. The product is computed in the dtype of x.

    Raises:
        InputError: an argument is out of range, groups does not divide both channels,
            output_padding is smaller neither than stride nor than dilation, an initializer gives
            another shape, x is not (N, in_channels, P, Q), or y would have no entry.

    >>> layer = ConvTranspose2D(8, 1, 2, stride=2, rng=0)
    >>> layer(np.ones((4, 8, 14, 14), np.float32)).shape
    (4, 1, 28, 28)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        *,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        output_padding: int | Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Pair = 1,
        rng: np.random.Generator | int | None = None,
        weight_init: Initializer = he_normal,
        bias_init: Initializer = zeros,
    ) -> None:
        who = "ConvTranspose2D"
        self.kernel_size, self.stride = kernel_size, stride
        self.padding, self.dilation = padding, dilation
        top, left = pair(who, "padding", padding, at_least=0)
        self.window = Window.of(
            who,
            kernel_size=kernel_size,
            stride=stride,
            padding=((top, top), (left, left)),
            dilation=dilation,
        )
        self.output_padding = pair(who, "output_padding", output_padding, at_least=0)
        limits = map(max, self.window.stride, self.window.dilation)
        if any(more >= limit for more, limit in zip(self.output_padding, limits, strict=True)):
            raise InputError(
                f"{who} expects output_padding to be smaller than stride or dilation, "
                f"got {output_padding} with stride={stride}, dilation={dilation}"
            )
        self.in_channels, self.out_channels, self.groups = channels_in_groups(
            who, in_channels, out_channels, groups
        )
        inputs, outputs = self.in_channels // self.groups, self.out_channels // self.groups
        taps, every = math.prod(self.window.kernel), math.prod(self.window.stride)
        rng, fans = np.random.default_rng(rng), (inputs * taps / every, outputs * taps)
        shape = (self.in_channels, outputs, *self.window.kernel)
        who = f"{who}({in_channels}, {out_channels}, {kernel_size})"
        self.weight = init_parameter(who, weight_init, shape, fans, rng)
        self.bias = (
            init_parameter(who, bias_init, (self.out_channels,), fans, rng) if bias else None
        )

    def forward(self, x: Array) -> Array:
        """x: (N, in_channels, P, Q) -> y: (N, out_channels, H, W)."""
        self.check_input(x, "N", self.in_channels, "P", "Q")
        stops = x.shape[2:]
        # The smallest image with so many stops, and what is asked for beyond it.
        height, width = (
            stride * (count - 1) + gap * (kernel - 1) + 1 - sum(sides) + more
            for stride, count, gap, kernel, sides, more in zip(
                self.window.stride,
                stops,
                self.window.dilation,
                self.window.kernel,
                self.window.padding,
                self.output_padding,
                strict=True,
            )
        )
        if min(*stops, height, width) < 1:
            raise InputError(
                f"{self!r} expects images of which its padding leaves at least one entry, "
                f"got {stops[0]} x {stops[1]}, to become {height} x {width}"
            )
        images = batch_last(x)
        weight = self.weight.value.astype(x.dtype, copy=False)
        y = spread(images, weight, self.window, (height, width), self.groups)
        y = batch_first(plus(y, self.bias))
        self.save_for_backward(y, images)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, out_channels, H, W) -> dx: (N, in_channels, P, Q)."""
        dy, images = self.saved_for_backward(dy)
        dy = batch_last(dy)
        self._write_gradients(dy, images)
        weight = self.weight.value.astype(dy.dtype, copy=False)
        return batch_first(correlate(dy, weight, self.window, images.shape[1:3], self.groups))

    def backward_parameters(self, dy: Array) -> None:
        """As `backward`, without dx: half of the work of a first layer."""
        dy, images = self.saved_for_backward(dy)
        self._write_gradients(batch_last(dy), images)

    def _write_gradients(self, dy: Array, images: Array) -> None:
        # The kernel meets dy here, and each stop has an entry of x.
        dw = weight_gradient(dy, images, self.window, self.groups)
        self.weight.grad = dw.astype(self.weight.value.dtype, copy=False)
        write_bias_gradient(self.bias, dy)
