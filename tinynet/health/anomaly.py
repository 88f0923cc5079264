"""An anomaly is a NaN or infinity: it spreads through every product, so its birth is the clue."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import numpy as np

from tinynet.health.observation import observing
from tinynet.layer import Layer
from tinynet.optimizers import Optimizer

Named = Iterable[tuple[str, Any]]


class AnomalyError(ArithmeticError):
    """A NaN or infinity was born: `layer` says where, and is its path and repr.

    `phase` is "input", "forward", "backward" or "step" (of the optimizer), `step` counts from 1,
    `array` names what holds it and `index` is its first place in there.
    """

    def __init__(
        self, layer: str, phase: str, step: int, array: str, index: tuple[int, ...], rest: str
    ) -> None:
        super().__init__(
            f"{layer}, {phase}, step {step}: {array} has the first NaN or infinity "
            f"at index {index}, {rest}"
        )
        self.layer = layer
        self.phase = phase
        self.step = step
        self.array = array
        self.index = index


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Raises AnomalyError as soon as a NaN or an infinity is born inside the block.

    Every output is looked at, which slows training down: meant for finding, not for long runs.

    Raises:
        AnomalyError: naming layer, phase, step and index.

    >>> from tinynet import Dense, ReLU, Sequential
    >>> model = Sequential([Dense(2, 2, rng=0), ReLU()])
    >>> model[0].weight.value[1, 0] = np.inf
    >>> with detect_anomaly():
    ...     y = model(np.ones((1, 2), np.float32))
    Traceback (most recent call last):
    tinynet.health.anomaly.AnomalyError: layers.0, Dense(2, 2), forward, step 1: y has the first \
NaN or infinity at index (0, 0), and so has its weight at index (1, 0)
    """
    detector = _Detector()
    # What NumPy would warn of is told in full.
    with observing(detector.watch_layer, detector.watch_step), np.errstate(all="ignore"):
        yield


class _Detector:
    """Looks at what goes in and out, and knows which layers are at work around it."""

    def __init__(self) -> None:
        self.step = 1
        self.at_work: list[Layer] = []

    def watch_layer(self, method: Callable[..., Any]) -> Callable[..., Any]:
        phase = "forward" if method.__name__ == "forward" else "backward"

        @wraps(method)
        def watched(layer: Layer, *args: Any, **kwargs: Any) -> Any:
            given = list(zip(_argument_names(phase), args, strict=False))
            if not self.at_work:
                self._demand_finite(layer, "input", given, "where it comes in")
            self.at_work.append(layer)
            try:
                result = method(layer, *args, **kwargs)
                came = [("y" if phase == "forward" else "dx", result)]
                if phase == "backward":
                    came += [(f"grad of {n}", p.grad) for n, p in layer.named_parameters()]
                self._demand_finite(layer, phase, came, self._origin(layer, given))
            finally:
                self.at_work.pop()
            return result

        return watched

    def watch_step(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def watched(optimizer: Optimizer) -> None:
            self.step = optimizer.steps + 1
            rate = optimizer.rate
            for name, parameter in optimizer.named_parameters():
                index = _first(parameter.grad)
                if index is not None:
                    self._raise(optimizer, "step", f"grad of {name}", index, "before the step")
            method(optimizer)
            for name, parameter in optimizer.named_parameters():
                index = _first(parameter.value)
                if index is not None:
                    slope = np.asarray(parameter.grad)[index]
                    rest = f"behind a step of rate {rate:.3g} along a gradient of {slope:.3g}"
                    self._raise(optimizer, "step", f"value of {name}", index, rest)
            self.step = optimizer.steps + 1

        return watched

    def _origin(self, layer: Layer, given: Named) -> str:
        """What makes the birth plain: a parameter that is broken, or how large the input was."""
        for name, parameter in layer.named_parameters():
            index = _first(parameter.value)
            if index is not None:
                return f"and so has its {name} at index {index}"
        sizes = [
            f"{name} is finite, at most {np.abs(array).max():.3g}"
            for name, array in given
            if isinstance(array, np.ndarray) and array.size and array.dtype.kind in "fiu"
        ]
        return f"while {' and '.join(sizes) or 'forward was finite'}"

    def _demand_finite(self, layer: Layer, phase: str, arrays: Named, rest: str) -> None:
        for name, array in arrays:
            index = _first(array)
            if index is not None:
                self._raise(layer, phase, name, index, rest)

    def _raise(
        self, who: object, phase: str, array: str, index: tuple[int, ...], rest: str
    ) -> None:
        nodes = self.at_work[0]._nodes() if self.at_work else ()
        path = next((path for path, node in nodes if node is who and path), "")
        raise AnomalyError(
            f"{path}, {who!r}" if path else repr(who), phase, self.step, array, index, rest
        )


def _argument_names(phase: str) -> tuple[str, ...]:
    return ("x", "targets") if phase == "forward" else ("dy",)


def _first(array: Any) -> tuple[int, ...] | None:
    """The index of the first NaN or infinity, () in a number, or None."""
    if array is None or not np.issubdtype(np.asarray(array).dtype, np.floating):
        return None
    finite = np.isfinite(array)
    if finite.all():
        return None
    return tuple(int(place) for place in np.argwhere(~finite)[0])
