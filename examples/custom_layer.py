"""A custom layer with and without a correct gradient: python examples/custom_layer.py.

The layer is Gain: it multiplies each feature by a learned number, y = g · x. `check_gradients`
passes it, and finds the error in the backward of WrongGain.
"""

import numpy as np

from tinynet import Array, GradientCheckError, Layer, Parameter, check_gradients


class Gain(Layer):
    """y = g · x, for x and y of shape (N, D) and a learned g of shape (D,)."""

    def __init__(self, features: int) -> None:
        self.g = Parameter(np.ones(features))

    def forward(self, x: Array) -> Array:
        """x: (N, D) -> y: (N, D)."""
        y: Array = x * self.g.value
        self.save_for_backward(y, x)  # what backward needs
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, D) -> dx: (N, D)."""
        dy, x = self.saved_for_backward(dy)
        self.g.grad = (dy * x).sum(axis=0)  # each g multiplies one column: one sum per column
        dx: Array = dy * self.g.value
        return dx


class WrongGain(Gain):
    """The same with a bug that still trains, only worse: one sum over all columns."""

    def backward(self, dy: Array) -> Array:
        """dy: (N, D) -> dx: (N, D)."""
        dy, x = self.saved_for_backward(dy)
        self.g.grad = np.full(self.g.value.shape, (dy * x).sum())
        dx: Array = dy * self.g.value
        return dx


def main() -> None:
    """Checks the gradients of both."""
    x = np.random.default_rng(0).standard_normal((4, 3))
    for layer in (Gain(3), WrongGain(3)):
        try:
            print(check_gradients(layer, x))
        except GradientCheckError as error:
            print(f"\n{error}")


if __name__ == "__main__":
    main()
