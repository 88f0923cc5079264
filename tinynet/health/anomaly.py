"""Anomaly detection: finds the layer in which the first NaN or infinity of a run appears."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple, NoReturn

import numpy as np

from tinynet.errors import AnomalyError
from tinynet.layer import Layer
from tinynet.optimizers import Optimizer
from tinynet.training.trainer import Trainer
from tinynet.validation import first_index

Method = Callable[..., Any]
Named = list[tuple[str, Any]]
LAYER_METHODS = ("forward", "backward", "backward_parameters")


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Raises AnomalyError at the first NaN or infinity that appears inside the block.

    Every input, output and gradient is checked, which makes training slower: it is meant for
    finding the cause, not for whole runs. Outside of the block nothing is slower.

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
    # Any layer may run inside the block: the methods are replaced in the classes.
    originals: list[tuple[type, str, Method]] = [
        (cls, name, vars(cls)[name])
        for cls in _layer_classes()
        for name in LAYER_METHODS
        if name in vars(cls)
    ]
    originals += [(Optimizer, "step", Optimizer.step), (Trainer, "fit", Trainer.fit)]
    detector = _Detector()
    checked = {"step": detector.checked_step, "fit": detector.checked_fit}
    try:
        for cls, name, method in originals:
            wrapper = checked.get(name) or detector.checked_layer(name)
            setattr(cls, name, wrapper(method))
        with np.errstate(all="ignore"):  # the error says more than NumPy's warnings
            yield
    finally:
        for cls, name, method in originals:
            setattr(cls, name, method)
