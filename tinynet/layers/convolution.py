"""Convolution and transposed convolution of images (N, C, H, W).

Both are computed on batch-last arrays (C, H, W, N): y and dx are transposed views of such arrays,
and elementwise layers keep their memory order.
"""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
from abc import abstractmethod
from typing import ClassVar, final

import numpy as np

from tinynet.errors import InputError
from tinynet.initializers import Initializer, he_normal, init_parameter, zeros
from tinynet.layer import Layer
from tinynet.layers.conv2d import (
    Pair,
    Window,
    batch_first,
    batch_last,
    conv2d,
    conv2d_input_gradient,
    conv2d_weight_gradient,
    pair,
)
from tinynet.parameter import Array, write_grad
from tinynet.validation import whole_number


class _Convolution(Layer):
    """The parameters of a convolution, and the parts of forward and backward that both share."""

    _transposed: ClassVar[bool]

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
        who = type(self).__name__
        self.in_channels = whole_number(who, "in_channels", in_channels)
        self.out_channels = whole_number(who, "out_channels", out_channels)
        self.window = Window.of(who, kernel_size, stride, padding, dilation)
        self.kernel_size, self.stride = kernel_size, stride
        self.padding, self.dilation = padding, dilation
        self.groups = whole_number(who, "groups", groups)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise InputError(
                f"{who} expects groups to divide in_channels and out_channels, "
                f"got groups={groups} for {in_channels} and {out_channels}"
            )
        # A transposed convolution is the backward pass of a convolution from out_channels to
        # in_channels: it has the weight of that one, and fan_in and fan_out change places.
        inputs, outputs = self.in_channels, self.out_channels
        if self._transposed:
            inputs, outputs = outputs, inputs
        entries, steps = math.prod(self.window.kernel_size), math.prod(self.window.stride)
        fan_in = inputs // self.groups * entries
        fan_out = outputs // self.groups * entries / steps  # a stride leaves out input entries
        fans = (fan_out, fan_in) if self._transposed else (fan_in, fan_out)
        shape = (outputs, inputs // self.groups, *self.window.kernel_size)
        who = f"{who}({in_channels}, {out_channels}, {kernel_size})"
        rng = np.random.default_rng(rng)
        self.weight = init_parameter(who, weight_init, shape, fans, rng)
        self.bias = (
            init_parameter(who, bias_init, (self.out_channels,), fans, rng) if bias else None
        )

    def forward(self, x: Array) -> Array:
        """x: (N, in_channels, H, W) -> y: (N, out_channels, P, Q)."""
        self.check_input(x, "N", self.in_channels, "H", "W")
        output_size = self._output_size((x.shape[2], x.shape[3]))
        images = batch_last(x)
        y = self._convolve(images, self._weight_as(x), output_size)
        if self.bias is not None:
            y += self.bias.value[:, None, None, None]
        y = batch_first(y)
        self.save_for_backward(y, images)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, out_channels, P, Q) -> dx: (N, in_channels, H, W)."""
        dy, images = self.saved_for_backward(dy)
        dy = batch_last(dy)
        self._write_gradients(dy, images)
        return batch_first(self._input_gradient(dy, self._weight_as(dy), images.shape[1:3]))

    def backward_parameters(self, dy: Array) -> None:
        """As `backward`, without dx."""
        dy, images = self.saved_for_backward(dy)
        self._write_gradients(batch_last(dy), images)

    def _write_gradients(self, dy: Array, images: Array) -> None:
        write_grad(self.weight, self._weight_gradient(dy, images))
        if self.bias is not None:
            write_grad(self.bias, dy.sum(axis=(1, 2, 3), dtype=np.float64))

    def _weight_as(self, array: Array) -> Array:
        """The weight in the dtype of an array."""
        return self.weight.value.astype(array.dtype, copy=False)

    @abstractmethod
    def _output_size(self, size: Pair) -> Pair:
        """(P, Q) for (H, W), or InputError."""

    @abstractmethod
    def _convolve(self, images: Array, weight: Array, output_size: Pair) -> Array:
        """The images of y without the bias, all of them batch-last."""

    @abstractmethod
    def _input_gradient(self, dy: Array, weight: Array, size: Pair) -> Array:
        """The gradient by the images, of that size."""

    @abstractmethod
    def _weight_gradient(self, dy: Array, images: Array) -> Array:
        """The gradient by the weight."""


@final
class Conv2D(_Convolution):
    """2-D convolution: the weighted sum of the inputs under a sliding kernel, plus a bias.

    With stride S and dilation D, x being zero-padded, and summed over c, i and j:

        y[n, o, p, q] = b[o] + Σ W[o, c, i, j] · x[n, c, p S + i D, q S + j D].

    x is (N, in_channels, H, W) and y (N, out_channels, P, Q), P = ⌊(H + padding - D (K - 1) - 1) /
    S⌋ + 1, Q alike. Gradients, over the same terms: dx = Σ W · dy, dW = Σ x · dy, db = Σ dy.

    Arguments and parameters are PyTorch's: `.weight` is (out_channels, in_channels / groups, K, K),
    `.bias` (out_channels,) or None with bias=False. Sizes are numbers or pairs (rows, columns);
    docs/layers.md has the forms of `padding`, and the fans.

    Raises:
        InputError: an argument is out of range, groups does not divide both channels, x is not
            (N, in_channels, H, W), or the kernel is larger than the padded image.

    >>> layer = Conv2D(1, 8, 3, padding="same", rng=0)
    >>> layer(np.ones((4, 1, 28, 28), np.float32)).shape
    (4, 8, 28, 28)
    """

    _transposed = False

    def _output_size(self, size: Pair) -> Pair:
        output_size = self.window.output_size(size)
        if min(*output_size, *size) < 1:
            rows, columns = (max(length, 1) for length in self.window.input_size((1, 1)))
            raise InputError(
                f"{self!r} expects images of at least {rows} x {columns}, "
                f"for the kernel to fit in, got {size[0]} x {size[1]}"
            )
        return output_size

    def _convolve(self, images: Array, weight: Array, output_size: Pair) -> Array:
        return conv2d(images, weight, self.window, output_size, self.groups, self.scratch)

    def _input_gradient(self, dy: Array, weight: Array, size: Pair) -> Array:
        return conv2d_input_gradient(dy, weight, self.window, size, self.groups, self.scratch)

    def _weight_gradient(self, dy: Array, images: Array) -> Array:
        return conv2d_weight_gradient(images, dy, self.window, self.groups, self.scratch)


@final
class ConvTranspose2D(_Convolution):
    """Transposed 2-D convolution: each input times the kernel, summed up in a larger image.

    With stride S, dilation D and padding B, over all c, h, w, i, j with h S + i D = p + B and
    w S + j D = q + B:

        y[n, o, p, q] = b[o] + Σ x[n, c, h, w] · W[c, o, i, j].

    x is (N, in_channels, H, W) and y (N, out_channels, P, Q), P = (H - 1) S - 2 B + D (K - 1) + 1 +
    output_padding, Q alike. It does to x what a `Conv2D` does to dy. Gradients, over the same
    terms: dx = Σ W · dy, dW = Σ x · dy, db = Σ dy.

    Arguments and parameters are PyTorch's: `.weight` is (in_channels, out_channels / groups, K, K),
    `.bias` (out_channels,) or None with bias=False. docs/layers.md explains `output_padding`.

    Raises:
        InputError: an argument is out of range, groups does not divide both channels, x is not
            (N, in_channels, H, W), or y would be empty.

    >>> ConvTranspose2D(8, 1, 2, stride=2, rng=0)(np.ones((4, 8, 14, 14), np.float32)).shape
    (4, 1, 28, 28)
    """

    _transposed = True

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
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=pair(who, "padding", padding, at_least=0),
            dilation=dilation,
            groups=groups,
            bias=bias,
            rng=rng,
            weight_init=weight_init,
            bias_init=bias_init,
        )
        self.padding, self.output_padding = padding, output_padding
        self._extra = pair(who, "output_padding", output_padding, at_least=0)
        limits = map(max, self.window.stride, self.window.dilation)
        if any(extra >= limit for extra, limit in zip(self._extra, limits, strict=True)):
            raise InputError(
                f"{who} expects output_padding to be smaller than stride or dilation, "
                f"got {output_padding} with stride={stride}, dilation={dilation}"
            )

    def _output_size(self, size: Pair) -> Pair:
        rows, columns = self.window.input_size(size)
        output_size = (rows + self._extra[0], columns + self._extra[1])
        if min(*output_size, *size) < 1:
            raise InputError(
                f"{self!r} expects images of which its padding leaves at least one entry, "
                f"got {size[0]} x {size[1]}, to become {output_size[0]} x {output_size[1]}"
            )
        return output_size

    # The kernel slides over y, and each of its positions belongs to one entry of x.

    def _convolve(self, images: Array, weight: Array, output_size: Pair) -> Array:
        return conv2d_input_gradient(
            images, weight, self.window, output_size, self.groups, self.scratch
        )

    def _input_gradient(self, dy: Array, weight: Array, size: Pair) -> Array:
        return conv2d(dy, weight, self.window, size, self.groups, self.scratch)

    def _weight_gradient(self, dy: Array, images: Array) -> Array:
        return conv2d_weight_gradient(dy, images, self.window, self.groups, self.scratch)
