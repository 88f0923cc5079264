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

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import EllipsisType
from typing import Any, final

import numpy as np

from tinynet.arguments import InputError, whole_number
from tinynet.parameter import Array
from tinynet.shapes import ShapeError, fits
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

    @final
    def check(self, x_or_shape: Array | Sequence[int]) -> tuple[int, ...]:
        """Sends the shape of x through the whole network, computes nothing, returns that of y.

        Takes an x or the shape of one, batch axis included. What goes through is a batch of no
        samples, in evaluation mode: every layer sees its shape, no product has a term. The modes
        are afterwards what they were; a pending `backward` is forgotten. A `Sequential` does it by
        itself before its first forward.

        Raises:
            InputError: which layer, what it needs, what came from where, what was probably meant.

        >>> from tinynet import Dense, Flatten, Sequential
        >>> Sequential([Flatten(), Dense(784, 10)]).check((64, 28, 28))
        (64, 10)
        >>> Sequential([Flatten(), Dense(784, 10), Dense(100, 10)]).check((64, 28, 28))
        Traceback (most recent call last):
        tinynet.shapes.ShapeError: layer 3 of 3: Dense(100, 10) expects x of shape (..., 100), \
got (64, 10) from layer 2, Dense(784, 10); in_features=10 would take it
        """
        x = self.blank(x_or_shape)
        if not x.ndim:
            raise InputError(f"{self!r}.check expects x to have a batch axis, got the shape ()")
        try:
            return self._shape_of_y(x)
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"{self!r}.check expects layers that take a batch of no samples, got {error!r}"
            ) from error

    @final
    def check_before_first(self, x: Any) -> None:
        """As `check`, for a first forward: what only an empty batch upsets is left for forward."""
        # An empty batch is itself such a check, of a layer around this one; and where an x of one
        # axis has its samples only the layer knows.
        if isinstance(x, np.ndarray) and x.ndim > 1 and len(x):
            try:
                self._shape_of_y(x)
            except InputError:
                raise
            except Exception:
                pass

    def _shape_of_y(self, x: Array) -> tuple[int, ...]:
        with self.in_mode(training=False), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                y = self(x[:0])
            except ShapeError as error:
                # The sentence tells of the batch that is meant, not of the empty one.
                if error.got[:1] == (0,):
                    error.got = (len(x), *error.got[1:])
                raise
        return (len(x), *y.shape[1:])

    @final
    def blank(self, x_or_shape: Array | Sequence[int]) -> Array:
        """An x as it is, or zeros of a shape: floats, or integers where the first layer needs them.

        >>> from tinynet import ReLU
        >>> ReLU().blank((1, 2))
        array([[0., 0.]], dtype=float32)
        """
        if isinstance(x_or_shape, np.ndarray):
            return x_or_shape
        who = type(self).__name__
        if not isinstance(x_or_shape, Sequence):
            raise InputError(f"{who} expects an array or the shape of one, got {x_or_shape!r}")
        sizes = [whole_number(who, "each size of a shape", size, at_least=0) for size in x_or_shape]
        first = next(layer for layer in self._layers() if len(layer._layers()) == 1)
        return np.zeros(sizes, np.int64 if first.takes_integers else self.dtype)

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
            InputError: with the shape expected, the one that came, and what was probably meant.
        """
        if not isinstance(x, np.ndarray):
            raise InputError(f"{self!r} expects {name} to be a NumPy array, got {type(x).__name__}")
        if x.dtype.kind != "f" and not (integers and x.dtype.kind in "iub"):
            mend = "; Rescale(1 / 255) or x.astype(np.float32) makes floats of it"
            raise InputError(
                f"{self!r} expects {name} of {'a number' if integers else 'a float'} dtype, "
                f"got {x.dtype}{mend if x.dtype.kind in 'iub' else ''}"
            )
        if not fits(x.shape, shape):
            raise ShapeError(self, name, shape, x.shape)

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
