"""Padding masks, and how they travel through a network beside the sequences they belong to.

A mask is an array of bools (N, T): True where a step of sequences (N, T, D) is padding. It is an
argument, `forward(x, padding_mask=mask)`, and a container passes it from layer to layer. A layer is

- `Masked`: it takes the mask, and `output_mask` says which mask y has: recurrent layers, attention,
  pooling over time, and containers;
- one that keeps the mask, with `keeps_mask = True`: y[:, t] depends on x[:, t] alone;
- any other, which raises an error where it would get padded steps without knowing it.

`Masking` starts a mask, and `GlobalPool1D`, which pools over time, ends one.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any, Literal, final

import numpy as np

from tinynet.errors import InputError
from tinynet.layer import Layer
from tinynet.mode import inference
from tinynet.parameter import Array
from tinynet.samples import Samples, arrays_of, check_samples
from tinynet.validation import one_of


class Masked(Layer):
    """The base class of layers whose `forward` takes a `padding_mask`."""

    starts_mask: bool = False  # y may have a mask where x has none; its mask depends on x

    @abstractmethod
    def output_mask(self, x: Any, padding_mask: Array | None = None) -> Array | None:
        """The padding mask of y, for an x with this mask; None where y has no padded steps.

        x matters, and is given, only where the layer starts a mask.
        """


@final
class Masking(Masked):
    """y = x, and 0 at padded steps: those of x (N, T, D) where every feature is `mask_value`.

    It starts the padding mask that recurrent layers, attention and pooling behind it in a network
    take, as `Embedding(padding_idx=...)` does for ids. The value may be nan. As in Keras.

    x may also be a tuple (x, padding_mask), bools (N, T), or (x, lengths), integers (N,): so a
    network takes them in `fit` and `predict`. There the value does not count, and x may be ids.

    Gradient: dx = dy, and 0 at padded steps.

    Raises:
        InputError: mask_value is no number, x is not (N, T, D) of floats, or a mask or lengths do
            not fit it.

    >>> from tinynet import RNN, Sequential
    >>> model = Sequential([Masking(-1), RNN(1, 1, states="last", rng=0)])
    >>> x = np.array([[[2.0], [-1.0], [-1.0]], [[-1.0], [-1.0], [2.0]]])
    >>> bool(np.ptp(model(x)) == 0)
    True
    """

    starts_mask = True

    def __init__(self, mask_value: float = 0.0) -> None:
        try:
            self.mask_value = float(mask_value)
        except (TypeError, ValueError):
            raise InputError(
                f"Masking expects mask_value to be a number, got {mask_value!r}"
            ) from None

    def forward(self, x: Samples, padding_mask: Array | None = None) -> Array:  # noqa: ARG002  # as in the base class
        """x: (N, T, D) -> y: (N, T, D); a `padding_mask` is for the next layer."""
        several = isinstance(x, tuple)
        mask = self._padded(x)
        y: Array = arrays_of(x)[0].copy()
        if y.dtype.kind == "f":  # an id of 0 would be that of a word
            y[mask] = 0
        self.save_for_backward(y, mask, several, y.dtype.kind == "f")
        return y

    def backward(self, dy: Array) -> Any:
        """dy: (N, T, D) -> dx: (N, T, D), of a tuple (dx, None), of ids None."""
        dy, mask, several, differentiable = self.saved_for_backward(dy)
        dx = None
        if differentiable:
            dx = dy.copy()
            dx[mask] = 0
        return (dx, None) if several else dx

    def output_mask(self, x: Any, padding_mask: Array | None = None) -> Array | None:
        """True where every feature of x is `mask_value`, or where the mask of x is."""
        return union([self._padded(x), padding_mask])

    def _padded(self, x: Any) -> Array:
        if isinstance(x, tuple):
            check_samples(self, "x", x)
            if len(x) != 2:
                raise InputError(
                    f"{self!r} expects a tuple (x, padding_mask) or (x, lengths), got {len(x)}"
                )
            sequences, second = x
            self.check_input(sequences, "N", "T", ..., integers=True)
            is_mask = second.dtype.kind == "b"
            if not is_mask and (second.ndim != 1 or second.dtype.kind == "f"):
                hint = "lengths.astype(int)" if second.ndim == 1 else "lengths.ravel()"
                if second.shape[1:] == sequences.shape[1:2] != (1,):
                    hint = "padding_mask.astype(bool)"
                raise InputError(
                    f"{self!r} expects a padding_mask of bools (N, T) or lengths of integers (N,), "
                    f"got {second.dtype} with {second.ndim} axes; {hint} makes one"
                )
            given = (second, None) if is_mask else (None, second)
            mask: Any = mask_of(self, sequences, *given)
            return np.asarray(mask)
        if isinstance(x, np.ndarray) and x.dtype.kind in "iu":
            raise InputError(
                f"{self!r} expects sequences of numbers (N, T, D), got {x.dtype}; for ids write "
                "Embedding(..., padding_idx=0), or give a tuple (ids, lengths) or (ids, mask)"
            )
        self.check_input(x, "N", "T", "D")
        same = np.isnan(x) if np.isnan(self.mask_value) else x == self.mask_value
        return np.asarray(same.all(axis=2))


def mask_after(layer: Layer, x: Any, padding_mask: Array | None) -> Array | None:
    """The padding mask of y for any layer.

    Raises:
        InputError: the layer knows no masks and may mix time steps.

    >>> from tinynet import Dense, Embedding
    >>> mask = mask_after(Embedding(9, 4, padding_idx=0), np.array([[5, 0]]), None)
    >>> mask_after(Dense(4, 3), None, mask)
    array([[False,  True]])
    """
    if isinstance(layer, Masked):
        return layer.output_mask(x, padding_mask)
    if padding_mask is not None and not layer.keeps_mask:
        raise InputError(
            f"{layer!r} expects x without padded steps, got a padding_mask: it may mix time steps; "
            "GlobalPool1D() or states='last' before it leaves the padded ones out, "
            "Embedding(..., mask=False) starts no mask, and keeps_mask = True in a layer says that "
            "it treats each step by itself"
        )
    return padding_mask


def masked_step(layer: Layer, padding_mask: Array | None, x: Any) -> tuple[Any, Array | None]:
    """One layer of a chain: y, and its mask."""
    if isinstance(padding_mask, np.ndarray) and padding_mask.dtype.kind != "b":
        raise InputError(
            f"{layer!r} expects padding_mask to be an array of bool, got {padding_mask.dtype}; "
            "several inputs are one tuple, model((x1, x2))"
        )
    if isinstance(layer, Masked):
        return layer(x, padding_mask=padding_mask), layer.output_mask(x, padding_mask)
    padding_mask = mask_after(layer, x, padding_mask)
    return layer(x), padding_mask


def masked_output(layer: Layer, padding_mask: Array | None, x: Any) -> Any:
    """One layer as the last of a chain: y alone."""
    return masked_step(layer, padding_mask, x)[0]


def chain_mask(layers: Sequence[Layer], x: Any, padding_mask: Array | None) -> Array | None:
    """The mask after a chain of layers.

    Layers run only where one behind them starts a mask: it needs its x.
    """
    starts = (i for i, layer in enumerate(layers) if getattr(layer, "starts_mask", False))
    last = max(starts, default=0)
    with inference():
        for index, layer in enumerate(layers):
            if index < last:
                x, padding_mask = masked_step(layer, padding_mask, x)
            else:
                padding_mask = mask_after(layer, x, padding_mask)
                x = None
    return padding_mask


def union(masks: Iterable[Array | None]) -> Array | None:
    """True where one of the masks is; None stands for a mask without padding."""
    given = [mask for mask in masks if mask is not None]
    return reduce(np.logical_or, given) if given else None


def check_padding_mask(layer: Layer, padding_mask: Any, x: Array) -> None:
    """Raises InputError unless padding_mask is of bools (N, T), for an x (N, T, D)."""
    expected = x.shape[:2]
    shape = getattr(padding_mask, "shape", ())
    kind = getattr(padding_mask, "dtype", type(padding_mask).__name__)
    if shape != expected or str(kind) != "bool":
        raise InputError(
            f"{layer!r} expects padding_mask to be an array of bool of shape {expected}, "
            f"got {shape} of {kind}"
        )


def mask_of(layer: Layer, x: Array, padding_mask: Any, lengths: Any) -> Array | None:
    """The mask that a forward got as one of two arguments, checked; None if it got neither.

    Raises:
        InputError: both were given, or one that does not fit x.
    """
    if padding_mask is not None:
        if lengths is not None:
            raise InputError(f"{layer!r} expects padding_mask or lengths, got both")
        check_padding_mask(layer, padding_mask, x)
    if lengths is None:
        checked: Array | None = padding_mask
        return checked
    n, steps = x.shape[:2]
    numbers = np.asarray(lengths)
    if numbers.shape != (n,) or (numbers.dtype.kind not in "iu" and n):
        raise InputError(
            f"{layer!r} expects lengths to be integers of shape {(n,)}, "
            f"got {numbers.shape} of {numbers.dtype}"
        )
    if n and not 0 <= numbers.min() <= numbers.max() <= steps:
        wrong = numbers[(numbers < 0) | (numbers > steps)][0]
        raise InputError(
            f"{layer!r} expects lengths from 0 to {steps}, the steps of x, got {wrong}"
        )
    mask: Array = np.arange(steps) >= numbers[:, np.newaxis]
    return mask


class Packing:
    """Sequences with their real steps first, wherever the padded ones stand.

    A recurrent layer never goes back: padded steps at the end change none of the real ones.
    """

    def __init__(self, mask: Array) -> None:
        n, self.steps = mask.shape
        self.lengths: Array = self.steps - mask.sum(axis=1)
        # Steps that are padding in all samples are left out.
        longest = int(self.lengths.max(initial=1))
        self.padding: Array = np.arange(longest) >= self.lengths[:, np.newaxis]
        # Rows of all real steps, in the same order: sample by sample, and step by step.
        self._real, self._packed = np.flatnonzero(~mask), np.flatnonzero(~self.padding)
        self._samples = np.arange(n)

    def pack(self, x: Array) -> Array:
        """(N, T, D) -> (N, longest, D), with 0 after the end of a sequence."""
        return _moved(x, self._real, self._packed, self.padding.shape[1])

    def unpack(self, packed: Array) -> Array:
        """(N, longest, D) -> (N, T, D), with 0 at padded steps: the inverse of `pack`."""
        return _moved(packed, self._packed, self._real, self.steps)

    def last(self, states: Array) -> Array:
        """The state (N, H) after the last real step, of those after each step, (T + 1, H, N)."""
        last: Array = states[self.lengths, :, self._samples]
        return last

    def put_last(self, dy: Array) -> list[Array]:
        """The gradient (H, N) by the state after each step, for that by the last one, (N, H)."""
        dh = np.zeros((self.padding.shape[1] + 1, dy.shape[1], len(dy)), dy.dtype)
        dh[self.lengths, :, self._samples] = dy
        return list(dh)


def _moved(x: Array, source: Array, target: Array, steps: int) -> Array:
    """(N, ..., D) -> (N, steps, D), with the rows of x at `source` in the rows `target`."""
    n, before, features = x.shape
    moved = np.zeros((n * steps, features), x.dtype)
    moved[target] = x.reshape(n * before, features)[source]
    return moved.reshape(n, steps, features)


@final
class GlobalPool1D(Masked):
    """The mean, the maximum or the last of the real steps of sequences: (N, T, D) -> (N, D).

    Steps where `padding_mask`, bools (N, T), is True, or from `lengths`, integers (N,), on, are
    left out; in a network the mask comes from `Embedding(padding_idx=...)`. A sequence of padding
    alone gives 0. Mean and maximum are GlobalAveragePooling1D and GlobalMaxPooling1D of Keras.

    Gradients, for L real steps: dx[n, t] = dy[n] / L; or dy[n] at the first largest entry of each
    feature, or at the last real step, and else 0. It is 0 at padded steps.

    Raises:
        InputError: mode is none of the three, x is not (N, T, D) of floats, or mask or lengths do
            not fit x.

    >>> x = np.array([[[1.0, 4.0], [3.0, 2.0], [9.0, 9.0]]])
    >>> [GlobalPool1D(mode)(x, lengths=[2]).tolist() for mode in ("mean", "max", "last")]
    [[[2.0, 3.0]], [[3.0, 4.0]], [[3.0, 2.0]]]
    """

    def __init__(self, mode: Literal["mean", "max", "last"] = "mean") -> None:
        self.mode = one_of("GlobalPool1D", "mode", mode, ("mean", "max", "last"))

    def forward(self, x: Array, padding_mask: Array | None = None, *, lengths: Any = None) -> Array:
        """x: (N, T, D), padding_mask: (N, T) -> y: (N, D)."""
        self.check_input(x, "N", "T", "D")
        if x.shape[1] == 0:
            raise InputError(f"{self!r} expects x of at least one step, got none")
        mask = mask_of(self, x, padding_mask, lengths)
        packing = Packing(np.zeros(x.shape[:2], bool) if mask is None else mask)
        steps, index = packing.pack(x), None
        if self.mode == "mean":
            count = np.maximum(packing.lengths, 1)[:, np.newaxis]
            y: Array = (steps.sum(axis=1, dtype=np.float64) / count).astype(x.dtype)
        else:
            if self.mode == "max":
                real = np.where(packing.padding[..., np.newaxis], -np.inf, steps)
                index = real.argmax(axis=1, keepdims=True)
            else:
                index = np.broadcast_to(
                    packing.lengths[:, np.newaxis, np.newaxis] - 1, (len(x), 1, 1)
                )
            y = np.take_along_axis(steps, index, axis=1)[:, 0]
        self.save_for_backward(y, packing, index)
        return y

    def backward(self, dy: Array) -> Array:
        """dy: (N, D) -> dx: (N, T, D)."""
        dy, packing, index = self.saved_for_backward(dy)
        dsteps = np.zeros((len(dy), packing.padding.shape[1], dy.shape[1]), dy.dtype)
        if index is None:
            dsteps += (dy / np.maximum(packing.lengths, 1)[:, np.newaxis])[:, np.newaxis]
        else:
            np.put_along_axis(dsteps, index, dy[:, np.newaxis], axis=1)
        dx: Array = packing.unpack(dsteps)
        return dx

    def output_mask(self, x: Any, padding_mask: Array | None = None) -> Array | None:  # noqa: ARG002  # as in the base class
        """None: y has no steps."""
        return None
