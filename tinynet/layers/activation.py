"""An activation bends its input, entry by entry; without it, dense layers in a row are only one."""

from typing import final

import numpy as np

from tinynet.layer import Layer
from tinynet.parameter import Array


@final
class ReLU(Layer):
    """y = max(x, 0), entry by entry, for any shape.

    Gradient: dx = dy where x > 0, else 0; at x = 0, where the derivative jumps, it is 0.

    Raises:
        InputError: x is not a float array.

    >>> ReLU()(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """

    def forward(self, x: Array) -> Array:
        """x: (...) -> y: (...)."""
        self.check_input(x, ...)
        y: Array = np.maximum(x, 0)
        # y belongs to the caller, who may write to it: what is kept is x.
        self.remember(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (...) -> dx: (...)."""
        dy, x = self.recall(dy)
        dx: Array = dy * (x > 0)
        return dx
