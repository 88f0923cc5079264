"""A layer that gets a padding mask with each x, for checks of gradients."""

from typing import Any

import numpy as np

from tinynet import Array, Layer


class Padded(Layer):
    """A layer with `padding_mask`, whose mask depends on the shape of x alone."""

    def __init__(self, layer: Layer, share: float) -> None:
        self.layer, self.share = layer, share

    def mask(self, shape: tuple[int, ...]) -> Array:
        """Bools (N, T), of which about this share is True."""
        return np.asarray(np.random.default_rng(7).random(shape[:2]) < self.share)

    def forward(self, x: Array) -> Any:
        return self.layer(x, padding_mask=self.mask(x.shape))

    def backward(self, dy: Array) -> Any:
        return self.layer.backward(dy)
