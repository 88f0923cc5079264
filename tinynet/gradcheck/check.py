"""The gradient check: every derivative that `backward` gives, against one measured on `forward`."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from tinynet.arguments import InputError
from tinynet.gradcheck.numeric import Probe, Slopes, rms, step_size
from tinynet.layer import Layer
from tinynet.parameter import Array

Entry = tuple[str, tuple[int, ...]]


class GradientCheckError(AssertionError):
    """A layer's backward does not fit its forward, or breaks the contract of a layer.

    For a wrong entry, `parameter` (or "x"), `index`, `analytic` and `numeric` say which and how.
    """

    def __init__(
        self,
        message: str,
        *,
        layer: str,
        parameter: str | None = None,
        index: tuple[int, ...] | None = None,
        analytic: float | None = None,
        numeric: float | None = None,
    ) -> None:
        super().__init__(f"{layer}: {message}")
        self.layer = layer
        self.parameter = parameter
        self.index = index
        self.analytic = analytic
        self.numeric = numeric


def check_gradients(
    layer: Layer,
    x: Array,
    targets: Array | None = None,
    *,
    rng: np.random.Generator | int = 0,
    tolerance: float = 1e-6,
) -> dict[str, float]:
    """Checks every entry of dx and of every parameter's gradient against central differences.

    Works on a float64 copy; `layer` and its inputs stay as they are. dy is random, of both signs.
    The copy sees other batches first, so that what it wrongly keeps from them shows. The two
    values may differ by `tolerance` times the larger, plus rounding. An entry at a kink, such as
    ReLU at 0, is judged at a point nearby. A loss is given its `targets`, too.

    Returns the largest difference by name, "x" (where it is of floats) and each parameter, relative
    to the largest entry of its gradient.

    Raises:
        GradientCheckError: naming layer, parameter, index, analytic and numeric value; also where
            an input is changed in place, or forward gives different results for one x.
        InputError: there is nothing to check: x is empty, or of integers and the layer without
            parameters.

    >>> from tinynet import Dense
    >>> sorted(check_gradients(Dense(3, 2, rng=0), np.eye(3)))
    ['bias', 'weight', 'x']
    """
    rng = np.random.default_rng(rng)
    x = np.array(x)
    if x.size == 0:
        raise InputError(f"check_gradients expects an x with entries, got one of {x.shape}")
    inputs: tuple[Array, ...] = (x.astype(np.float64) if x.dtype.kind == "f" else x,)
    if targets is not None:
        inputs += (np.array(targets),)
    layer.astype(np.float64)(*inputs)  # What forward refuses is the caller's mistake, no verdict.
    subject = _Subject(layer)
    tensors = subject.tensors(inputs)
    if not tensors:
        raise InputError(
            f"check_gradients expects something to check, got {layer!r} without parameters and x "
            f"of {x.dtype}: integers have no gradient, x.astype(float) has"
        )
    for others in _other_batches(inputs):
        subject.differentiate(others, rng)
    every = [(name, index) for name in tensors for index in np.ndindex(tensors[name].shape)]
    worst, kinks = _judge(subject, inputs, every, rng, tolerance)
    if kinks:
        # Where the slope jumps there is no derivative: these entries are judged nearby, at a point
        # that chance has moved off every kink.
        for tensor in tensors.values():
            scale = np.maximum(np.abs(tensor), rms(tensor) or 1.0)
            tensor += scale * rng.uniform(-0.01, 0.01, tensor.shape)
        _, kinks = _judge(subject, inputs, kinks, rng, tolerance)
    for name, index in kinks:
        raise subject.error(
            f"forward has no slope by {name} at index {index}, and none nearby",
            parameter=name,
            index=index,
        )
    return worst


def _judge(
    subject: _Subject,
    inputs: tuple[Array, ...],
    entries: list[Entry],
    rng: np.random.Generator,
    tolerance: float,
) -> tuple[dict[str, float], list[Entry]]:
    """Compares the entries; returns the largest difference by tensor, and what is at a kink."""
    y, dy, gradients = subject.differentiate(inputs, rng)
    tensors = subject.tensors(inputs)
    worst, kinks = dict.fromkeys(tensors, 0.0), []
    for name, index in entries:
        probe = Probe(partial(subject.forward, inputs), y, dy, tensors[name], index)
        analytic = float(gradients[name][index])
        compared = _compare(analytic, probe, tolerance)
        if compared is None:
            kinks.append((name, index))
            continue
        numeric, difference = compared
        if difference > tolerance:
            raise subject.error(
                f"gradient of {name} at index {index}: "
                f"backward gave {analytic:.10g}, central differences give {numeric:.10g}",
                parameter=name,
                index=index,
                analytic=analytic,
                numeric=numeric,
            )
        largest = np.abs(gradients[name]).max() or 1.0
        worst[name] = max(worst[name], abs(analytic - numeric) / float(largest))
    return worst, kinks


class _Subject:
    """A float64 copy of the layer, watched while it runs."""

    def __init__(self, layer: Layer) -> None:
        self.name = repr(layer)
        self.layer = layer.astype(np.float64)

    def tensors(self, inputs: tuple[Array, ...]) -> dict[str, Array]:
        """What has a gradient: x, where it is of floats, and the parameters."""
        x = {"x": inputs[0]} if inputs[0].dtype.kind == "f" else {}
        return x | {path: parameter.value for path, parameter in self.layer.named_parameters()}

    def forward(self, inputs: tuple[Array, ...]) -> Array:
        """A copy of y, as an array also where it is the float of a loss."""
        try:
            return np.array(self.layer(*inputs), dtype=np.float64)
        except Exception as error:
            raise self.error(
                f"forward raised {error!r} for x of shape {inputs[0].shape}, "
                "having accepted another batch"
            ) from error

    def differentiate(
        self, inputs: tuple[Array, ...], rng: np.random.Generator
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Returns y, a random dy and, by name, the gradients that backward gives."""
        for parameter in self.layer.parameters():
            parameter.grad = None
        before = self._snapshot(inputs)
        y = self.forward(inputs)
        again = self.forward(inputs)
        self._demand_unchanged("forward", before, self._snapshot(inputs))
        if not np.isfinite(y).all():
            raise self.error(f"forward gave {y[~np.isfinite(y)][0]}, which has no derivative")
        if not np.array_equal(y, again):
            raise self.error("forward gave two different results for the same x")
        # Of both signs and all different: a sum over outputs must not look like its mean or like 0.
        dy = rng.choice([-1.0, 1.0], y.shape) * rng.uniform(0.5, 1.5, y.shape)
        is_loss = len(inputs) > 1
        if is_loss:
            dy = np.ones(())
        before["dy"] = dy.copy()
        try:
            dx = self.layer.backward() if is_loss else self.layer.backward(dy)
        except Exception as error:
            raise self.error(
                f"backward raised {error!r} for x of shape {inputs[0].shape}"
            ) from error
        self._demand_unchanged("backward", before, self._snapshot(inputs) | {"dy": dy})
        found = {"x": dx} | {path: p.grad for path, p in self.layer.named_parameters()}
        gradients = {}
        for name, tensor in self.tensors(inputs).items():
            if found[name] is None:
                raise self.error(f"backward gave no gradient of {name}", parameter=name)
            gradients[name] = np.array(found[name], np.float64)
            if gradients[name].shape != tensor.shape:
                raise self.error(
                    f"gradient of {name}: backward gave the shape {gradients[name].shape}, "
                    f"forward uses {tensor.shape}",
                    parameter=name,
                )
        return y, dy, gradients

    def _snapshot(self, inputs: tuple[Array, ...]) -> dict[str, Array]:
        arrays = self.tensors(inputs) | dict(zip(("x", "targets"), inputs, strict=False))
        return {name: array.copy() for name, array in arrays.items()}

    def _demand_unchanged(
        self, step: str, before: dict[str, Array], after: dict[str, Array]
    ) -> None:
        for name, was in before.items():
            is_now = after[name]
            if not np.array_equal(was, is_now):
                index = tuple(map(int, np.argwhere(was != is_now)[0]))
                raise self.error(
                    f"{step} changed {name} in place at index {index}, "
                    f"from {was[index]} to {is_now[index]}",
                    parameter=name,
                    index=index,
                )

    def error(self, message: str, **where: Any) -> GradientCheckError:
        return GradientCheckError(message, layer=self.name, **where)


def _other_batches(inputs: tuple[Array, ...]) -> Iterator[tuple[Array, ...]]:
    """Other batches of the same samples: one sample more, and in the reverse order."""
    if inputs[0].ndim > 1:
        yield tuple(np.concatenate([array, array[:1]]) for array in inputs)
    yield tuple(array[::-1].copy() for array in inputs)


def _compare(analytic: float, probe: Probe, tolerance: float) -> tuple[float, float] | None:
    """The numeric derivative and the relative difference to it, or None at a kink."""
    first = probe.slopes(step_size(probe.tensor, probe.index))
    difference = _difference(analytic, first.central, first.noise)
    if difference <= tolerance:
        return first.central, difference
    # Is it the step? Near a kink the slopes of both sides stay apart on a plateau of
    # the sweep, until the step is too short to reach it.
    sweep = probe.sweep()
    plateau = [
        index
        for index, (coarse, fine) in enumerate(pairwise(sweep), start=1)
        if coarse.gap / 2 < fine.gap < coarse.gap * 2
        and _difference(fine.left, fine.right, fine.noise) > 100 * tolerance
    ]
    # The first step behind the plateau may still touch the kink.
    smooth = sweep[plateau[-1] + 2 :] if plateau else sweep
    if len(smooth) < 2:
        return None
    coarse, fine = min(pairwise(smooth), key=_unsteadiness)
    # Richardson: the error falls with the square of the step, and 1/15 of the change is left.
    numeric = fine.central + (fine.central - coarse.central) / 15
    return numeric, _difference(analytic, numeric, fine.noise)


def _unsteadiness(pair: tuple[Slopes, Slopes]) -> float:
    """How much the slope changes from a step to the next shorter one, or may by rounding."""
    change = abs(pair[0].central - pair[1].central) + pair[1].noise
    return change if math.isfinite(change) else math.inf


def _difference(a: float, b: float, noise: float) -> float:
    """|a - b| beyond rounding, relative to the larger; infinite where one is not a number."""
    excess = abs(a - b) - 4 * noise
    if excess <= 0:
        return 0.0
    return excess / max(abs(a), abs(b)) if math.isfinite(excess) else math.inf
