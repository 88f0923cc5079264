"""A transposed convolution puts its kernel down, times x, at every stop in a larger image."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
from typing import final

import numpy as np

from tinynet.arguments import InputError
from tinynet.initializers import Fan, Initializer, he_normal, started, zeros
from tinynet.layer import Layer
from tinynet.layers.convolution import arguments, channels_in_groups, plus, write_bias_gradient
from tinynet.layers.correlation import (
    correlate,
    spread,
    weight_gradient,
)
from tinynet.layers.window import Pair, Window, pair, samples_first, samples_last
from tinynet.parameter import Array


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
        rng, fan = np.random.default_rng(rng), Fan(inputs * taps / every, outputs * taps)
        shape = (self.in_channels, outputs, *self.window.kernel)
        who = f"{who}({in_channels}, {out_channels}, {kernel_size})"
        self.weight = started(who, weight_init, shape, fan, rng)
        self.bias = started(who, bias_init, (self.out_channels,), fan, rng) if bias else None

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
        images = samples_last(x)
        weight = self.weight.value.astype(x.dtype, copy=False)
        y = spread(images, weight, self.window, (height, width), self.groups)
        y = samples_first(plus(y, self.bias))
        self.remember(y, images)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, out_channels, H, W) -> dx: (N, in_channels, P, Q)."""
        dy, images = self.recall(dy)
        dy = samples_last(dy)
        self._write_gradients(dy, images)
        weight = self.weight.value.astype(dy.dtype, copy=False)
        return samples_first(correlate(dy, weight, self.window, images.shape[1:3], self.groups))

    def backward_parameters(self, dy: Array) -> None:
        """As `backward`, without dx: half of the work of a first layer."""
        dy, images = self.recall(dy)
        self._write_gradients(samples_last(dy), images)

    def _write_gradients(self, dy: Array, images: Array) -> None:
        # The kernel meets dy here, and each stop has an entry of x.
        dw = weight_gradient(dy, images, self.window, self.groups)
        self.weight.grad = dw.astype(self.weight.value.dtype, copy=False)
        write_bias_gradient(self.bias, dy)

    def __repr__(self) -> str:
        return f"ConvTranspose2D({arguments(self, self.output_padding)})"
