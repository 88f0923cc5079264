"""Divergence losses: how much one probability distribution differs from another."""

from typing import final

import numpy as np

from tinynet.errors import InputError
from tinynet.losses.loss import Loss
from tinynet.losses.targets import TOLERANCE, check_reduction, check_same_shape
from tinynet.parameter import Array
from tinynet.validation import first_index, one_of


@final
class KLDivergence(Loss):
    """L = mean over N of Σ t (log t - x), in nats, for log-probabilities x (N, ...).

    x is the output of a LogSoftmax, not probabilities or logits. Targets t: probabilities of the
    shape of x or, with log_target=True, their logarithms. 0 · log 0 is 0.
    Gradient: dx = -t / N, and -t with reduction="sum".

    It is `KLDivLoss` of PyTorch with reduction="batchmean": the mean is over samples, not entries.

    Raises:
        InputError: settings out of range, no float x (N, ...), or targets of another shape, below
            0 or, as logarithms, above 0.

    Source: Kullback and Leibler, "On Information and Sufficiency", Annals of Mathematical
    Statistics 22(1), 1951.

    >>> loss = KLDivergence()
    >>> x, t = np.log([[0.5, 0.5]]), np.array([[1.0, 0.0]])
    >>> round(loss(x, t), 4)  # ln 2
    0.6931
    """

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        self.reduction = check_reduction("KLDivergence", reduction)
        self.log_target = one_of("KLDivergence", "log_target", log_target, (True, False))

    def forward(self, prediction: Array, targets: Array) -> float:
        """prediction: (N, ...), targets: (N, ...) -> the loss."""
        targets = self._checked(prediction, targets)
        # In float64: near its minimum a divergence is a small difference of large logarithms.
        t = targets.astype(np.float64, copy=False)
        if self.log_target:
            t, log_t = np.exp(t), t
        else:
            log_t = np.log(t, where=t > 0, out=np.zeros_like(t))
        divisor = self.divisor(prediction, targets) or 1
        gap = np.subtract(log_t, prediction, where=t > 0, out=np.zeros_like(t))
        loss = float((t * gap).sum()) / divisor
        self.save_for_backward(loss, t, divisor, prediction.dtype)
        return loss

    def backward(self) -> Array:
        """Returns dprediction: (N, ...)."""
        _, t, divisor, dtype = self.saved_for_backward()
        dprediction: Array = (t / -divisor).astype(dtype)
        return dprediction

    def divisor(self, prediction: Array, targets: Array) -> float | None:
        """The number of samples; None for a sum."""
        return super().divisor(prediction, targets) if self.reduction == "mean" else None

    def _checked(self, prediction: Array, targets: Array) -> Array:
        """The targets in the shape of the prediction."""
        column = check_same_shape(self, prediction, targets)
        if self.log_target:
            wrong, expected = ~(targets <= TOLERANCE), "logarithms of probabilities, at most 0"
            hint = "; log_target=False takes probabilities"
        else:
            wrong, expected = ~(targets >= 0), "probabilities, at least 0"
            hint = "; log_target=True takes their logarithms"
        if wrong.any():
            at = first_index(wrong)
            raise InputError(
                f"{self!r} expects targets to be {expected}, got {targets[at]} at index {at}{hint}"
            )
        return column
