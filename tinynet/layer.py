"""Layer: a function with parameters that also computes its gradient.

`forward(x)` returns y. `backward(dy)` takes the gradient of the loss by y, writes the gradient by
each parameter into `Parameter.grad`, and returns the gradient by x. Networks and losses are layers.
Several inputs or outputs are one tuple of arrays, x = (x1, x2), and so are their gradients.

Ownership rules, kept by every layer:

1. A layer never writes to an array it was given, nor to one it has returned. What it returns
   belongs to the caller and shares no memory with the input.
2. A layer may keep a reference to its input; the caller leaves the input alone until `backward`.
3. Scratch memory that never leaves the layer may be reused between calls.
4. One `forward`, then at most one `backward` for it.
5. Containers own the sums that they compute.

`backward` writes gradients and does not add to them, so there is no `zero_grad`. The price: one
layer object may stand at one place in a network only.
"""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np
from numpy.typing import DTypeLike

from tinynet.errors import EmptyBatchError, InputError, ShapeError
from tinynet.keywords import NamedKeywords
from tinynet.mode import MODE, inference
from tinynet.parameter import Array, Parameter, check_not_replaced
from tinynet.precision import WIDE_FLOATS, input_cast
from tinynet.samples import (
    Samples,
    check_samples,
    concatenate,
    example_input,
    gradient_for,
    gradients_for,
    take,
)
from tinynet.saving.state import State, check_arrays, load_arrays
from tinynet.signature import attributes_text, constructor_call
from tinynet.validation import check_floats, check_shape, for_batch, whole_number

if TYPE_CHECKING:
    from pathlib import Path


class Layer(NamedKeywords, ABC):
    """The base class of layers, networks and losses: subclasses write `forward` and `backward`.

    Parameters and sub-layers assigned as plain attributes (also in lists, tuples and dicts) are
    found in the order of definition and named by their attribute path, such as `layers.0.weight`.

    >>> class Gain(Layer):
    ...     def __init__(self, features):
    ...         self.gain = Parameter(np.ones(features))
    ...     def forward(self, x):  # x, y: (N, D)
    ...         y = x * self.gain.value
    ...         self.save_for_backward(y, x)
    ...         return y
    ...     def backward(self, dy):  # dy, dx: (N, D)
    ...         dy, x = self.saved_for_backward(dy)
    ...         self.gain.grad = (dy * x).sum(axis=0)
    ...         return dy * self.gain.value
    """

    takes_integers: bool = False  # and nothing else
    keeps_mask: bool = False  # y[:, t] depends on x[:, t] alone: the mask of padded steps stays
    dtype: np.dtype[Any] = np.dtype(np.float32)  # of parameters, and of y where x is of integers
    _training = True
    _saved: tuple[Any, ...] | None = None
    _scratch_memory: dict[str, Array] | None = None

    @abstractmethod
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Returns y for x; a loss takes (prediction, targets) and returns a float."""

    @abstractmethod
    def backward(self, *args: Any, **kwargs: Any) -> Any:
        """Writes every `Parameter.grad` and returns dx for dy; a loss takes nothing.

        Integers have no gradient: for an x of integers dx means nothing and may be None.
        """

    def backward_parameters(self, dy: Array) -> None:
        """Writes every `Parameter.grad` where dx is not needed; override it for speed alone.

        A network calls it for its first layer with parameters.
        """
        self.backward(dy)

    @final
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`layer(x)` is `layer.forward(x)`."""
        if MODE.get() != "inference":
            self._saved = None  # Should forward fail, no backward is left for the batch before.
        try:
            return self.forward(*args, **kwargs)
        except AttributeError as error:
            check_not_replaced(self, error)
            raise

    @final
    def predict(self, x: Samples, batch_size: int = 1024) -> Any:
        """Returns y for any number of samples, a batch at a time, see `inference`, `input_cast`.

        One sample is a batch of one: `model.predict(images[7:8])[0]`.

        Raises:
            InputError: batch_size is below 1, or x is not what the first layer expects.

        >>> from tinynet import ReLU
        >>> ReLU().predict(np.array([[-1.0], [1.0]]), batch_size=1).tolist()
        [[0.0], [1.0]]
        """
        plain = type(x) is np.ndarray and x.dtype.kind in "fiub" and x.ndim
        count = len(x) if plain else check_samples(self, "x", x)
        batch_size = whole_number("predict", "batch_size", batch_size)
        wide = not plain or x.dtype.type in WIDE_FLOATS  # type: ignore[union-attr]  # plain: no tuple
        cast = input_cast(self.state_dict()) if wide else None
        with inference():
            if count <= batch_size:  # also no samples: y has its shape and dtype all the same
                y = self(cast(x) if cast else x)
                return y if isinstance(y, tuple) else np.asarray(y)
            starts = range(0, count, batch_size)
            parts = (take(x, slice(start, start + batch_size)) for start in starts)
            return concatenate([self(cast(part) if cast else part) for part in parts])

    @final
    def output_shape(self, x_or_shape: Samples | Sequence[Any]) -> tuple[Any, ...]:
        """The shape of y for an x, or for the shape of one, batch axis included.

        An empty batch goes through the whole network in inference mode, so that every layer
        checks its shape and nothing is computed. `Sequential` does it before its first forward.

        Raises:
            InputError: which layer, what it expects, what it got from which layer, and a hint;
                an EmptyBatchError, where a layer cannot take an empty batch.

        >>> from tinynet import Dense, Flatten, Sequential
        >>> Sequential([Flatten(), Dense(784, 10)]).output_shape((64, 28, 28))
        (64, 10)
        """
        x = self.example_input(x_or_shape)
        several = isinstance(x, tuple)
        count = len(x) if not several and x.ndim else check_samples(self, "x", x)
        with inference(), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                y = self(take(x, slice(0)) if several else x[:0])
            except ShapeError as error:
                raise for_batch(error, count) from None
            except InputError:
                raise
            except Exception as error:
                raise EmptyBatchError(
                    f"{self!r}.output_shape expects layers that take an empty batch, got {error!r}"
                ) from error
        if isinstance(y, tuple):
            return tuple((count, *array.shape[1:]) for array in y)
        return (count, *y.shape[1:])

    def example_input(self, x_or_shape: Samples | Sequence[Any]) -> Any:
        """An x as it is, or zeros of a shape, of integers where the first layer needs them."""
        is_array = isinstance(x_or_shape, np.ndarray)
        return x_or_shape if is_array else example_input(self, x_or_shape)

    @final
    def summary(self, x_or_shape: Samples | Sequence[Any]) -> None:
        """Prints the layers inside with output shapes and numbers of parameters, and the totals."""
        from tinynet.summary import summary_table  # who does not ask does not pay for its import

        print(summary_table(self, x_or_shape))

    # For forward and backward
    @final
    def check_input(
        self, x: Any, *shape: int | str | EllipsisType, name: str = "x", integers: bool = False
    ) -> None:
        """Raises InputError unless x is an array of floats (or integers) of `shape`.

        A number in `shape` is required, a letter stands for any size, ... for any axes:
        `self.check_input(x, "N", 3, "H", "W")`.
        """
        if type(x) is not np.ndarray or x.dtype.kind != "f":  # every forward comes through here
            check_floats(self, name, x, integers)
        check_shape(self, name, x, shape)

    @final
    def save_for_backward(self, y: Samples | float, *values: Any) -> None:
        """Keeps, in `forward`, what `backward` needs, and the shape and dtype of y to check dy."""
        if MODE.get() != "inference":
            several = [(a.shape, a.dtype) for a in y] if isinstance(y, tuple) else None
            self._saved = (several or (np.shape(y), getattr(y, "dtype", None)), values)

    @final
    def saved_for_backward(self, dy: Samples | float = 1.0) -> tuple[Any, ...]:
        """Returns, in `backward`, (dy, *values), with dy in the float dtype of y; allowed once.

        Raises:
            InputError: there was no `forward` before, or dy is not like y.
        """
        if self._saved is None:
            raise InputError(
                f"{self!r}.backward expects a forward before it, got none: "
                "each forward allows one backward, and in inference mode none"
            )
        like, values = self._saved
        several = isinstance(like, list)
        checked = gradients_for(self, dy, like) if several else gradient_for(self, "dy", dy, *like)
        self._saved = None
        return checked, *values

    @final
    def scratch(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """An uninitialized array that never leaves the layer; in training it is used again."""
        if not self.training:  # there batches are large and differ in size
            return np.empty(shape, dtype)
        if self._scratch_memory is None:
            self._scratch_memory = {}
        found = self._scratch_memory.get(name)
        if found is None or found.shape != shape or found.dtype != dtype:
            found = self._scratch_memory[name] = np.empty(shape, dtype)
        return found

    # Parameters, sub-layers and modes

    @final
    def parameters(self) -> list[Parameter]:
        """Every parameter of this layer and of those inside it, in the order of definition."""
        return [parameter for _, parameter in self.named_parameters()]

    @final
    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Every parameter with its attribute path, such as `layers.0.weight`."""
        return [(path, parameter) for path, parameter, _ in _walk("", self, Parameter, {})]

    @final
    def named_layers(self) -> list[tuple[str, Layer]]:
        """This layer, with the path "", and every layer inside it with its attribute path."""
        return [(path, layer) for path, layer, _ in _walk("", self, Layer, {})]

    @property
    def training(self) -> bool:
        """Whether in training mode, else in evaluation mode; True at first, see `train`."""
        mode = MODE.get()
        return self._training if mode is None else mode == "training"

    @training.setter
    def training(self, mode: bool) -> None:
        self._training = mode

    @final
    def train(self, mode: bool = True) -> Self:
        """Sets training mode (or evaluation mode) here and in all layers inside; returns self."""
        for _, layer in self.named_layers():
            layer.training = mode
        return self

    @final
    def eval(self) -> Self:
        """Sets evaluation mode here and in all layers inside; returns self."""
        return self.train(False)

    @final
    def astype(self, dtype: DTypeLike) -> Self:
        """A copy, with the parameters and the float arrays among the attributes in `dtype`.

        Raises:
            InputError: `dtype` is not a float type.
        """
        dtype = np.dtype(dtype)
        if dtype.kind != "f":
            raise InputError(f"{self!r}.astype expects a float dtype, got {dtype}")
        copy = deepcopy(self)
        for parameter in copy.parameters():
            parameter._value, parameter.grad = parameter.value.astype(dtype), None
        for _, layer in copy.named_layers():
            layer.dtype = dtype
            for name, value in vars(layer).items():
                if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                    setattr(layer, name, value.astype(dtype))
        return copy

    # State
    @final
    def save(self, path: str | Path) -> None:
        """Writes parameters and buffers into an .npz file, as a whole or not at all.

        Raises:
            CheckpointError: the file cannot be written; what stood there before is untouched.
        """
        from tinynet.saving.checkpoint import write  # who does not save does not pay for its import

        write(path, {"network": repr(self), "model": self.state_dict()})

    @final
    def load(self, path: str | Path) -> Self:
        """Takes parameters and buffers from a file of `save` or `Trainer.save`; returns self.

        Raises:
            CheckpointError: the file is damaged, or of another network; nothing is changed then.
        """
        from tinynet.saving.checkpoint import reading

        with reading(path) as state:
            self.load_state_dict(state.get("model"))
        return self

    @final
    def state_dict(self) -> State:
        """Parameters and buffers by path: the arrays themselves, not copies.

        A buffer is a writable array under a public attribute, such as a running mean.

        Raises:
            InputError: two of them have one path, as by a key with a dot in a dict.
        """
        arrays = [(path, parameter.value) for path, parameter in self.named_parameters()]
        for path, array, private in _walk("", self, np.ndarray, {}):
            if array.flags.writeable and not private:
                arrays.append((path, array))
        state = dict(arrays)
        if len(state) < len(arrays):
            raise InputError(f"{self!r} expects a path of its own for each array, got one twice")
        return state

    @final
    def check_state_dict(self, state: Any) -> None:
        """Raises InputError unless names, shapes and dtypes are those of this network."""
        check_arrays(repr(self), self.state_dict(), state)

    @final
    def load_state_dict(self, state: Any) -> None:
        """Copies the arrays of a state into parameters and buffers, all of them or none."""
        self.check_state_dict(state)
        load_arrays(self.state_dict(), state)

    @final
    def generators(self) -> dict[str, np.random.Generator]:
        """The random generators of this layer and of those inside it, by path."""
        return {path: rng for path, rng, _ in _walk("", self, np.random.Generator, {})}

    def __getstate__(self) -> dict[str, Any]:
        # A copy or a pickle of a layer carries no batch.
        return {name: value for name, value in vars(self).items() if name not in _PER_BATCH}

    def __repr__(self) -> str:
        call = constructor_call(self)
        # Where it has no arguments, the parameters inside say more.
        if call is None or call.endswith("()"):
            return attributes_text(self, Parameter | Layer)
        return call


_PER_BATCH = ("_saved", "_scratch_memory")


def _walk(
    path: str, value: Any, kind: type, seen: dict[int, str], private: bool = False
) -> Iterator[tuple[str, Any, bool]]:
    """What is of a kind in a layer and all that it holds: (path, object, name begins with _)."""
    if isinstance(value, Parameter | Layer):
        if id(value) in seen:
            raise InputError(
                "a network expects each layer and parameter at one place only, "
                f"got a {type(value).__name__} at {seen[id(value)]} and again at {path}: "
                "backward at one would overwrite the gradient of the other, so make a second object"
            )
        seen[id(value)] = path or "the top"
    if isinstance(value, kind):
        yield path, value, private
    is_layer = isinstance(value, Layer)
    items: Iterable[tuple[Any, Any]] = ()
    if is_layer or isinstance(value, dict):
        items = dict(vars(value) if is_layer else value).items()  # another thread may add `_saved`
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    for name, item in items:
        if isinstance(item, (kind, Parameter, Layer, list, tuple, dict)) and name not in _PER_BATCH:
            below = f"{path}.{name}" if path else f"{name}"
            hidden = name.startswith("_") if is_layer else private
            yield from _walk(below, item, kind, seen, hidden)
