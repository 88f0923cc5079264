"""The gradient check: every derivative that `backward` gives, against one measured on `forward`."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet.arguments import InputError, finite_number, whole_number
from tinynet.gradcheck.case import Case
from tinynet.gradcheck.examination import examine
from tinynet.gradcheck.pair import Pair
from tinynet.gradcheck.report import Report
from tinynet.gradcheck.state import GlobalGenerators
from tinynet.gradcheck.subject import Subject
from tinynet.gradcheck.verdict import GradientCheckError
from tinynet.layer import Layer
from tinynet.parameter import Array

Functions = tuple[Callable[..., Any], Callable[..., Any]]


def check_gradients(
    layer: Layer | Functions,
    x: Array | tuple[Array, ...],
    targets: Array | None = None,
    *,
    rng: np.random.Generator | int = 0,
    tolerance: float = 1e-6,
    entries: int = 15_000,
) -> Report:
    """Checks dx and every parameter's gradient against differences of `forward`, in float64.

    Works on a copy, whose random state and buffers are put back before each forward; dy is random,
    of both signs. The two values may differ by `tolerance` times the larger, plus what the numeric
    one may be off. An entry at a kink, such as ReLU at 0, is judged at a point nearby. Where there
    are more than `entries` in all, a sample of them is looked at and directions that move all.

    A loss is given its `targets`, too. Two plain functions do as well: `forward(x, w, ...)` and
    `backward(dy, x, w, ...)` or `backward(dy)`, with the arrays as a tuple in place of x.

    Returns a report of what was covered; printed, it is a table.

    Raises:
        GradientCheckError: says which rule is broken, where, why, and how to see it again.
        InputError: there is nothing to check: x is empty or not finite, or of integers and the
            layer without parameters.

    >>> from tinynet import Dense
    >>> sorted(check_gradients(Dense(3, 2, rng=0), np.eye(3)))
    ['bias', 'weight', 'x']
    """
    case = prepare(layer, x, targets, rng=rng, tolerance=tolerance, entries=entries)
    with GlobalGenerators.kept():
        try:
            return examine(case)
        except GradientCheckError as error:
            failure = error
        # Only a failure pays for the import of what explains it.
        from tinynet.gradcheck.explanation import explain

        raise explain(case, failure) from failure.__cause__


def prepare(
    layer: Layer | Functions,
    x: Array | tuple[Array, ...],
    targets: Array | None = None,
    *,
    rng: np.random.Generator | int = 0,
    tolerance: float = 1e-6,
    entries: int = 15_000,
) -> Case:
    """The case that these arguments of `check_gradients` make.

    Raises:
        InputError: there is nothing to check in them.
    """
    if isinstance(rng, np.random.Generator):
        rng = int(rng.integers(2**32))
    seed = whole_number("check_gradients", "rng", rng, at_least=0)
    tolerance = finite_number("check_gradients", "tolerance", tolerance, at_least=0)
    entries = whole_number("check_gradients", "entries", entries)
    layer, x = _as_layer(layer, x)
    if x.size == 0 or x.ndim == 0:
        raise InputError(f"check_gradients expects an x with samples, got one of {x.shape}")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise InputError("check_gradients expects an x of finite numbers, got one with nan or inf")
    inputs: tuple[Array, ...] = (x.astype(np.float64) if x.dtype.kind == "f" else x,)
    if targets is not None:
        inputs += (np.array(targets),)
    if not Subject(layer).tensors(inputs):
        raise InputError(
            f"check_gradients expects something to check, got {layer!r} without parameters and x "
            f"of {x.dtype}: integers have no gradient, x.astype(float) has"
        )
    with GlobalGenerators.kept():
        # What forward refuses on a copy of its own is the caller's mistake, no verdict.
        layer.astype(np.float64)(*(array.copy() for array in inputs))
    return Case(layer, inputs, seed, tolerance, entries)


def _as_layer(layer: Any, x: Any) -> tuple[Layer, Array]:
    if isinstance(layer, Layer):
        return layer, np.array(x)
    if isinstance(layer, tuple) and len(layer) == 2 and all(map(callable, layer)):
        first, *others = map(np.array, x if isinstance(x, tuple) else (x,))
        return Pair(*layer, tuple(others)), first
    raise InputError(
        "check_gradients expects a layer such as Dense(3, 2) or two functions "
        f"(forward, backward), got {layer!r}"
    )
