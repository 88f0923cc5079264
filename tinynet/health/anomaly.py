"""An anomaly is a NaN or infinity: it spreads through every product, so its birth is the clue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple, NoReturn

import numpy as np

from tinynet.errors import AnomalyError
from tinynet.health.observation import Method, observing
from tinynet.layer import Layer
from tinynet.optimizers import Optimizer
from tinynet.training.trainer import Trainer

Named = list[tuple[str, Any]]


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
    tinynet.errors.AnomalyError: layers.0, Dense(2, 2), forward, step 1: y has the first \
NaN or infinity at index (0, 0), and so has its weight at index (1, 0)
    """
    detector = _Detector()
    others = (
        (Trainer, "fit", detector.watch_fit),
        (Optimizer, "step", detector.watch_step),
    )
    # What NumPy would warn of is told in full.
    with observing(detector.watch_layer, *others), np.errstate(all="ignore"):
        yield


class _Work(NamedTuple):
    """A forward or backward that has begun."""

    layer: Layer
    phase: str
    given: Named


class _Detector:
    """Looks at what goes in and out, and knows which layers are at work around it."""

    def __init__(self) -> None:
        self.step = 1
        self.at_work: list[_Work] = []
        self.paths: dict[int, str] = {}  # of the parameters that went forward, by id

    def watch_layer(self, name: str, method: Method) -> Method:
        phase = "forward" if name == "forward" else "backward"

        @wraps(method)
        def watched(layer: Layer, *args: Any, **kwargs: Any) -> Any:
            names = ("x", "targets") if phase == "forward" else ("dy",)
            work = _Work(layer, phase, [*zip(names, args, strict=False), *kwargs.items()])
            self._check_finite_input(work)
            self.at_work.append(work)
            try:
                result = method(layer, *args, **kwargs)
                came = [("y" if phase == "forward" else "dx", result)]
                if phase == "backward":
                    came += [(f"grad of {n}", p.grad) for n, p in layer.named_parameters()]
                for array, numbers in came:
                    index = _first(numbers)
                    if index is not None:
                        self._raise(layer, phase, array, index, _origin(work))
            finally:
                self.at_work.pop()
            return result

        return watched

    def watch_step(self, _name: str, method: Method) -> Method:
        @wraps(method)
        def watched(optimizer: Optimizer) -> None:
            self.step, rate = optimizer.steps + 1, optimizer.rate
            named = [(self.paths.get(id(p), n), p) for n, p in optimizer.named_parameters()]
            for name, parameter in named:
                index = _first(parameter.grad)
                if index is not None:
                    self._raise(optimizer, "step", f"grad of {name}", index, "before the step")
            method(optimizer)
            for name, parameter in named:
                index = _first(parameter.value)
                if index is not None:
                    slope = np.asarray(parameter.grad)[index]
                    rest = f"behind a step of rate {rate:.3g} along a gradient of {slope:.3g}"
                    self._raise(optimizer, "step", f"value of {name}", index, rest)
            self.step = optimizer.steps + 1

        return watched

    def watch_fit(self, _name: str, method: Method) -> Method:
        @wraps(method)
        def watched(trainer: Trainer, *args: Any, **kwargs: Any) -> Any:
            self.step = trainer.step + 1
            return method(trainer, *args, **kwargs)

        return watched

    def _check_finite_input(self, work: _Work) -> None:
        if not self.at_work:
            self.paths |= {id(p): name for name, p in work.layer.named_parameters()}
        for name, array in work.given:
            index = _first(array)
            if index is None:
                continue
            if not self.at_work:
                self._raise(work.layer, "input", name, index, "where it comes in")
            # All that layers gave was finite: the one around them made this by itself.
            around = self.at_work[-1]
            place = f"{name} for {work.layer!r}"
            self._raise(around.layer, around.phase, place, index, _origin(around))

    def _raise(
        self, who: object, phase: str, array: str, index: tuple[int, ...], rest: str
    ) -> NoReturn:
        nodes = self.at_work[0].layer.named_layers() if self.at_work else ()
        path = next((path for path, node in nodes if node is who), "")
        raise AnomalyError(
            f"{path}, {who!r}" if path else repr(who), phase, self.step, array, index, rest
        )


def _origin(work: _Work) -> str:
    """What makes the birth plain: a parameter that is broken, or how large the input was."""
    for name, parameter in work.layer.named_parameters():
        index = _first(parameter.value)
        if index is not None:
            return f"and so has its {name} at index {index}"
    sizes = [
        f"{name} is finite, at most {np.abs(array).max():.3g}"
        for name, array in work.given
        if isinstance(array, np.ndarray) and array.size and array.dtype.kind in "fiu"
    ]
    return f"while {' and '.join(sizes) or 'forward was finite'}"


def _first(array: Any) -> tuple[int, ...] | None:
    """The index of the first NaN or infinity, () in a number, or None."""
    if (
        not isinstance(array, np.ndarray | np.floating | float)
        or np.asarray(array).dtype.kind != "f"
    ):
        return None
    finite = np.isfinite(array)
    if finite.all():
        return None
    return tuple(int(place) for place in np.argwhere(~finite)[0])
