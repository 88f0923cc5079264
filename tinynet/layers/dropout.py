"""Dropout: sets random entries to zero in training, against overfitting."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from typing import final

import numpy as np

from tinynet.layer import Layer
from tinynet.parameter import Array
from tinynet.validation import finite_number


@final
class Dropout(Layer):
    """In training y = x · m / (1 - rate), m being 0 with probability `rate` and else 1; else y = x.

    Each entry of x, of any shape, has its own m, drawn in each `forward`. The division keeps the
    mean of y equal to x.
    Gradient: dx = dy · m / (1 - rate) with the m of the `forward`, or dx = dy in evaluation.

    `rng` is a Generator, an int seed, or None for fresh randomness. The masks depend on the
    generator, `.rng`, and on the shapes of x alone.

    Raises:
        InputError: rate is not a number from 0 to below 1, or x is not a float array.

    Source: Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, "Dropout: A Simple Way to
    Prevent Neural Networks from Overfitting", JMLR 15, 2014.

    >>> np.unique(Dropout(0.5, rng=0)(np.ones((8, 8))))
    array([0., 2.])
    """

    keeps_mask = True

    def __init__(self, rate: float, *, rng: np.random.Generator | int | None = None) -> None:
        self.rate = finite_number("Dropout", "rate", rate, at_least=0, below=1)
        self.rng = np.random.default_rng(rng)

    def forward(self, x: Array) -> Array:
        """x: (...) -> y: (...)."""
        self.check_input(x, ...)
        mask = None
        if self.training and self.rate:
            # In float32 whatever the dtype of x: the same masks in every dtype, and faster.
            mask = self.rng.random(x.shape, np.float32) >= self.rate
        y = self._scaled(x, mask)
        # The mask is kept and not the mode, which may change before backward.
        self.save_for_backward(y, mask)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (...) -> dx: (...)."""
        dy, mask = self.saved_for_backward(dy)
        return self._scaled(dy, mask)

    def _scaled(self, array: Array, mask: Array | None) -> Array:
        # Without a mask a copy: the result belongs to the caller.
        result: Array = array.copy() if mask is None else array * mask / (1 - self.rate)
        return result
