"""The code that a reader meets on the way of a training step stays short."""

import inspect
import sys
from types import FrameType
from typing import Any

import numpy as np

from tinynet import (
    SGD,
    Dense,
    Layer,
    Loss,
    Optimizer,
    Parameter,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
)

CORE = (Parameter, Layer, Dense, ReLU, Loss, SoftmaxCrossEntropy, Sequential, Optimizer, SGD)


def build_train_and_predict() -> None:
    """All that a small network does from its first line to its first prediction."""
    model = Sequential([Dense(4, 3, rng=0), ReLU(), Dense(3, 2, rng=1)])
    loss, optimizer = SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1, momentum=0.9)
    x, y = np.ones((5, 4), np.float32), np.array([0, 1, 0, 1, 1])
    loss(model(x), y)
    model.backward(loss.backward())
    optimizer.step()
    model.predict(x)


def functions_called() -> dict[str, int]:
    """The functions of the package outside the core classes that a small network calls."""
    called: dict[str, int] = {}

    def look(frame: FrameType, event: str, _: Any) -> None:
        code, module = frame.f_code, frame.f_globals.get("__name__", "")
        owner = code.co_qualname.partition(".")[0]
        counted = {cls.__name__ for cls in CORE} | {"<module>", "<lambda>"}
        nested = "<locals>" in code.co_qualname  # its lines are those of the function around it
        if (
            event == "call"
            and module.startswith("tinynet.")
            and not nested
            and owner not in counted
        ):
            called[f"{module}.{code.co_qualname}"] = len(inspect.getsourcelines(code)[0])

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        build_train_and_predict()
    finally:
        sys.setprofile(before)
    return called


def test_core_classes_and_what_they_call_in_a_training_step_are_at_most_1200_lines() -> None:
    called = functions_called()
    assert "tinynet.functional.log_softmax" in called
    classes = sum(len(inspect.getsourcelines(cls)[0]) for cls in CORE)
    assert classes + sum(called.values()) <= 1200
