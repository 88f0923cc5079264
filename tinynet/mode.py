"""Modes of layers: training, evaluation and inference, for all layers that run in one thread.

In training mode layers such as Dropout and BatchNorm work on the batch, in evaluation mode as in
use. Inference mode is evaluation mode with nothing kept for `backward`.
"""

from __future__ import annotations

from contextvars import ContextVar

# "training", "evaluation" or "inference", for all layers that run in this thread; None leaves the
# mode to each layer. A context variable and no attribute: other threads do not see it.
MODE: ContextVar[str | None] = ContextVar("mode", default=None)


def inference() -> _Mode:
    """Evaluation mode inside the block, with nothing kept for `backward`.

    A network is only read, so several threads may call it at the same time, also while it is
    trained. `predict`, `evaluate` and `output_shape` work like this.

    >>> import numpy as np
    >>> from tinynet import Dropout
    >>> with inference():
    ...     print(Dropout(0.5)(np.ones((1, 3))))
    [[1. 1. 1.]]
    """
    return _Mode("inference")


def in_mode(*, training: bool) -> _Mode:
    """Training mode, or evaluation mode with a `backward`, for all layers inside the block."""
    return _Mode("training" if training else "evaluation")


class _Mode:
    """A mode for the block that it is entered for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._token = MODE.set(self._name)

    def __exit__(self, *_: object) -> None:
        MODE.reset(self._token)
