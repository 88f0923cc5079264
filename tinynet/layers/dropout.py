"""Dropout silences units at random in training, so that none can rely on a few others."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from typing import final

import numpy as np

from tinynet.layer import Layer
from tinynet.parameter import Array
from tinynet.validation import finite_number


@final
class Dropout(Layer):
    """In training y = x · m / (1 - rate), m being 0 with probability `rate` and else 1; else y = x.

    Each entry has an m of its own, for any shape, drawn anew by each `forward`. The quotient keeps
    the mean of y at x, so that evaluation has nothing to scale and draws nothing.
    Gradient: dx = dy · m / (1 - rate) with the m of the `forward`, or dx = dy in evaluation.

    `rng` is a Generator, an int seed, or None for fresh randomness. `.rng` is the random stream:
    the masks depend on it and on the shapes of x alone.

    Raises:
        InputError: rate is not a number from 0 to below 1, or x is not a float array.

    Source: Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, "Dropout: A Simple Way to
    Prevent Neural Networks from Overfitting", JMLR 15, 2014. There evaluation scales by 1 - rate;
    here, in the inverted form, training divides by it.

    >>> layer = Dropout(0.5, rng=0)
    >>> np.unique(layer(np.ones((8, 8))))
    array([0., 2.])
    >>> layer.eval()(np.ones(3))
    array([1., 1., 1.])
    """

    def __init__(self, rate: float, *, rng: np.random.Generator | int | None = None) -> None:
        self.rate = finite_number("Dropout", "rate", rate, at_least=0, below=1)
        self.rng = np.random.default_rng(rng)

    def forward(self, x: Array) -> Array:
        """x: (...) -> y: (...)."""
        self.check_input(x, ...)
        mask = None
        if self.training and self.rate:
            # Always in float32, whatever x is: the same masks in every dtype, and half the bits.
            mask = self.rng.random(x.shape, np.float32) >= self.rate
        y = self._scaled(x, mask)
        # The mask, and not the mode, which may have changed until backward, says what was done.
        self.save_for_backward(y, mask)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (...) -> dx: (...)."""
        dy, mask = self.saved_for_backward(dy)
        return self._scaled(dy, mask)

    def _scaled(self, array: Array, mask: Array | None) -> Array:
        # Without a mask a copy: what is returned is the caller's.
        result: Array = array.copy() if mask is None else array * mask / (1 - self.rate)
        return result
