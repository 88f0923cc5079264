"""A layer is a function with parameters that also knows its derivative.

`forward(x)` gives y. `backward(dy)` takes the gradient of the loss by y, writes the gradient by
each parameter into `Parameter.grad`, and returns the gradient by x. Whole networks and losses are
layers.

The ownership rules, which every layer keeps:

1. A layer never writes to an array it was given, nor to one it has returned. What it returns is
   the caller's, and shares no memory with what came in.
2. A layer may keep a reference to its input; the caller leaves that alone until `backward`.
3. Scratch memory that never leaves the layer may be reused between calls.
4. One `forward`, then at most one `backward` for it.
5. Containers own the sums that they make.

`backward` writes gradients and does not add to them, so there is nothing to set to zero between
steps. The price: one layer object stands at one place in a network only.
"""

from abc import ABC, abstractmethod
from types import EllipsisType
from typing import Any, final

import numpy as np

from tinynet.arguments import InputError, whole_number
from tinynet.parameter import Array
from tinynet.tree import Tree


class Layer(Tree, ABC):
    """The contract: subclasses write `forward` and `backward`, all else is here or in `Tree`.

    Parameters and sub-layers assigned as plain attributes (also in lists, tuples and dicts) are
    found by themselves, in the order of definition, and named by their attribute path.

    >>> from tinynet import Parameter
    >>> class Gain(Layer):
    ...     def __init__(self, features):
    ...         self.gain = Parameter(np.ones(features))
    ...     def forward(self, x):  # x, y: (N, D)
    ...         y = x * self.gain.value
    ...         self.remember(y, x)
    ...         return y
    ...     def backward(self, dy):  # dy, dx: (N, D)
    ...         dy, x = self.recall(dy)
    ...         self.gain.grad = (dy * x).sum(axis=0)
    ...         return dy * self.gain.value
    >>> Gain(3).named_parameters()
    [('gain', Parameter(shape=(3,), dtype=float32))]
    """

    @abstractmethod
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Returns y for x; a loss takes (prediction, targets) and returns a float."""

    @abstractmethod
    def backward(self, *args: Any, **kwargs: Any) -> Any:
        """Writes every `Parameter.grad` and returns dx for dy; a loss takes nothing.

        Integers have no gradient: for an x of integers dx means nothing and may be None.
        """

    def backward_parameters(self, dy: Array) -> None:
        """Writes every `Parameter.grad`, where nobody needs dx.

        The one method to override for speed alone: a layer whose dx costs work of its own leaves
        it out here. A network of which it is the first with parameters then calls this.
        """
        self.backward(dy)

    @final
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`layer(x)` is `layer.forward(x)`."""
        self._remembered = None  # Should forward fail, no backward is left for the batch before.
        return self.forward(*args, **kwargs)

    @final
    def predict(self, x: Array, batch_size: int = 1024) -> Array:
        """Returns y for any number of samples, in evaluation mode, `batch_size` at a time.

        The modes of the layers are afterwards what they were; a pending `backward` is forgotten.
        One sample is a batch of one: `model.predict(images[7:8])[0]`.

        Raises:
            InputError: batch_size is below 1, or x is not what the first layer expects.

        >>> from tinynet import ReLU
        >>> ReLU().predict(np.array([[-1.0], [0.0], [1.0]]), batch_size=2)
        array([[0.],
               [0.],
               [1.]])
        """
        self.check_input(x, "N", ..., integers=True)
        batch_size = whole_number("predict", "batch_size", batch_size)
        with self.in_mode(training=False):
            # An x of no samples is one empty batch: y has its shape and dtype all the same.
            starts = range(0, max(len(x), 1), batch_size)
            return np.concatenate([self(x[start : start + batch_size]) for start in starts])

    # What forward and backward are made of

    @final
    def check_input(
        self,
        x: Any,
        *shape: int | str | EllipsisType,
        name: str = "x",
        integers: bool = False,
    ) -> None:
        """Refuses an x that is no array, of a wrong dtype, or not of `shape`.

        A number in `shape` is demanded, a letter stands for any size, ... for any axes:
        `self.check_input(x, "N", 3, "H", "W")`.

        Raises:
            InputError: with the shape expected and the one that came.
        """
        if not isinstance(x, np.ndarray):
            raise InputError(f"{self!r} expects {name} to be a NumPy array, got {type(x).__name__}")
        if x.dtype.kind != "f" and not (integers and x.dtype.kind in "iub"):
            mend = "; Rescale(1 / 255) or x.astype(np.float32) makes floats of it"
            raise InputError(
                f"{self!r} expects {name} of {'a number' if integers else 'a float'} dtype, "
                f"got {x.dtype}{mend if x.dtype.kind in 'iub' else ''}"
            )
        if not _fits(x.shape, shape):
            wanted = ", ".join("..." if size is ... else str(size) for size in shape)
            wanted += "," if len(shape) == 1 else ""
            raise InputError(f"{self!r} expects {name} of shape ({wanted}), got {x.shape}")

    @final
    def remember(self, y: Array | float, *kept: Any) -> None:
        """Keeps in `forward` what `backward` needs, and the form of y, to hold dy against it."""
        self._remembered = (np.shape(y), getattr(y, "dtype", None), kept)

    @final
    def recall(self, dy: Array | float) -> tuple[Any, ...]:
        """Gives in `backward` (dy, *kept), with dy in the float dtype of y, and forgets them.

        A loss, whose y is a number, recalls for a dy of 1.

        Raises:
            InputError: no `forward` came before, or dy is not like y.
        """
        if self._remembered is None:
            raise InputError(
                f"{self!r}.backward expects a forward before it, got none: "
                "each forward allows one backward"
            )
        shape, dtype, kept = self._remembered
        dy = np.asarray(dy)
        if dy.shape != shape or dy.dtype.kind not in "fiub":
            raise InputError(
                f"{self!r}.backward expects dy of the shape of y, {shape}, "
                f"got {dy.shape} of {dy.dtype}"
            )
        self._remembered = None
        if dtype is not None and dtype.kind == "f":
            dy = dy.astype(dtype, copy=False)
        return dy, *kept


def _fits(shape: tuple[int, ...], pattern: tuple[int | str | EllipsisType, ...]) -> bool:
    if ... in pattern:
        head = pattern.index(...)
        tail = len(pattern) - head - 1
        if len(shape) < head + tail:
            return False
        shape = shape[:head] + shape[len(shape) - tail :]
        pattern = pattern[:head] + pattern[head + 1 :]
    if len(shape) != len(pattern):
        return False
    # A plain loop: every forward of every layer comes through here.
    for size, wanted in zip(shape, pattern, strict=True):
        if size != wanted and not isinstance(wanted, str):
            return False
    return True
