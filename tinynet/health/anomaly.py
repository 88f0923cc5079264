"""Anomaly detection: finds the layer in which the first NaN or infinity of a run appears."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple, NoReturn

import numpy as np

from tinynet.errors import AnomalyError
from tinynet.layer import Layer
from tinynet.optimizers.optimizer import Optimizer
from tinynet.samples import named_arrays
from tinynet.training.trainer import Trainer
from tinynet.validation import first_index

Method = Callable[..., Any]
Named = list[tuple[str, Any]]


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Raises AnomalyError at the first NaN or infinity that appears inside the block.

    Every input, output and gradient is checked, which slows training down: use it to find the
    cause, not for whole runs.

    Raises:
        AnomalyError: with layer, phase, step and index.

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
    checks: list[tuple[type, str, Method]] = [
        (cls, name, detector.check_layer)
        for cls in _layer_classes()
        for name in ("forward", "backward", "backward_parameters")
    ]
    checks += [(Optimizer, "step", detector.check_step), (Trainer, "fit", detector.check_fit)]
    # Any layer may run inside the block, so the methods are replaced in the classes.
    methods = [(cls, name, vars(cls)[name], c) for cls, name, c in checks if name in vars(cls)]
    for cls, name, method, check in methods:
        setattr(cls, name, _wrapped(name, method, check))
    try:
        with np.errstate(all="ignore"):  # the error says more than NumPy's warnings
            yield
    finally:
        for cls, name, method, _ in methods:
            setattr(cls, name, method)


def _wrapped(name: str, method: Method, check: Method) -> Method:
    @wraps(method)
    def wrapper(owner: Any, /, *args: Any, **kwargs: Any) -> Any:
        return check(name, method, owner, args, kwargs)

    return wrapper


def _layer_classes() -> dict[type, None]:
    """All subclasses of Layer, and the classes that they inherit from."""
    return dict.fromkeys(cls for subclass in _subclasses(Layer) for cls in subclass.__mro__)


def _subclasses(cls: type) -> list[type]:
    direct: list[type] = cls.__subclasses__()
    return [below for subclass in direct for below in (subclass, *_subclasses(subclass))]


class _Call(NamedTuple):
    """A forward or backward that is running, with its arguments by name."""

    layer: Layer
    phase: str
    arguments: Named


class _Detector:
    """Checks what goes in and out of layers and optimizers, and knows which calls are running."""

    def __init__(self) -> None:
        self.step = 1
        self.running: list[_Call] = []  # the outermost first
        self.paths: dict[int, str] = {}  # of the parameters of networks that ran, by id

    def check_layer(
        self, name: str, method: Method, layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        is_forward = name == "forward"
        names = ("x", "targets") if is_forward else ("dy",)
        arguments = _arrays([*zip(names, args, strict=False), *kwargs.items()])
        call = _Call(layer, "forward" if is_forward else "backward", arguments)
        self._check_arguments(call)
        self.running.append(call)
        try:
            result = method(layer, *args, **kwargs)
            outputs = _arrays([("y" if is_forward else "dx", result)])
            if not is_forward:
                outputs += [(f"grad of {n}", p.grad) for n, p in layer.named_parameters()]
            for array_name, array in outputs:
                index = _first_non_finite(array)
                if index is not None:
                    self._raise(layer, call.phase, array_name, index, _cause(call))
        finally:
            self.running.pop()
        return result

    def check_step(self, _name: str, method: Method, optimizer: Optimizer, *_: Any) -> None:
        self.step, rate = optimizer.steps + 1, optimizer.rate
        named = [(self.paths.get(id(p), n), p) for n, p in optimizer.named_parameters()]
        for name, parameter in named:
            index = _first_non_finite(parameter.grad)
            if index is not None:
                self._raise(optimizer, "step", f"grad of {name}", index, "before the step")
        method(optimizer)
        for name, parameter in named:
            index = _first_non_finite(parameter.value)
            if index is not None:
                gradient = np.asarray(parameter.grad)[index]
                rest = f"after a step with learning rate {rate:.3g} and gradient {gradient:.3g}"
                self._raise(optimizer, "step", f"value of {name}", index, rest)
        self.step = optimizer.steps + 1

    def check_fit(
        self, _: str, method: Method, trainer: Trainer, args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        self.step = trainer.step + 1
        return method(trainer, *args, **kwargs)

    def _check_arguments(self, call: _Call) -> None:
        if not self.running:
            self.paths |= {id(p): name for name, p in call.layer.named_parameters()}
        for name, array in call.arguments:
            index = _first_non_finite(array)
            if index is None:
                continue
            if not self.running:
                self._raise(call.layer, "input", name, index, "where the data comes in")
            # Every layer before returned finite values: the one around them made this itself.
            outer = self.running[-1]
            self._raise(
                outer.layer, outer.phase, f"{name} for {call.layer!r}", index, _cause(outer)
            )

    def _raise(
        self, owner: object, phase: str, array: str, index: tuple[int, ...], rest: str
    ) -> NoReturn:
        layers = self.running[0].layer.named_layers() if self.running else ()
        path = next((path for path, layer in layers if layer is owner), "")
        name = f"{path}, {owner!r}" if path else repr(owner)
        raise AnomalyError(name, phase, self.step, array, index, rest)


def _cause(call: _Call) -> str:
    """A parameter that is not finite, or else the largest size of the arguments."""
    for name, parameter in call.layer.named_parameters():
        index = _first_non_finite(parameter.value)
        if index is not None:
            return f"and so has its {name} at index {index}"
    sizes = [
        f"{name} is finite, at most {np.abs(array).max():.3g}"
        for name, array in call.arguments
        if isinstance(array, np.ndarray) and array.size and array.dtype.kind in "fiu"
    ]
    return f"while {' and '.join(sizes) or 'forward was finite'}"


def _arrays(values: Named) -> Named:
    """The same values by name, with each array of a tuple by its own name."""
    return [named for name, value in values for named in named_arrays(name, value).items()]


def _first_non_finite(array: Any) -> tuple[int, ...] | None:
    """The index of the first NaN or infinity, () for a number, or None."""
    is_number = isinstance(array, np.ndarray | np.floating | float)
    if not is_number or np.asarray(array).dtype.kind != "f":
        return None
    finite = np.isfinite(array)
    return None if finite.all() else first_index(~finite)
