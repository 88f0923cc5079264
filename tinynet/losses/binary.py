"""Binary cross-entropy: an independent yes-or-no decision for each output."""

from __future__ import annotations  # help() then shows the names of the types

from typing import final

import numpy as np
from numpy.typing import ArrayLike

from tinynet.errors import InputError
from tinynet.functional import sigmoid, softplus
from tinynet.losses.loss import Loss
from tinynet.losses.targets import (
    check_reduction,
    check_same_shape,
    nonnegative_weights,
    signs_hint,
)
from tinynet.parameter import Array
from tinynet.validation import first_index


@final
class BinaryCrossEntropy(Loss):
    """L = mean over all entries of -w (v t log s(z) + (1 - t) log s(-z)), in nats.

    It takes logits z (N, ...) without a Sigmoid before it; s(z) = 1 / (1 + exp(-z)).
    Targets t: floats, bools or integers from 0 to 1, of the shape of z, or (N,) for (N, 1) and
    back. w is `weight` and v `pos_weight`, the weight of a 1 against a 0: numbers, or arrays that
    broadcast to the shape of z, such as (C,) for z (N, C). The mean divides by the number of
    entries; "sum" does not.
    Gradient: dz = w ((1 - t) s(z) - v t s(-z)) / size, by default (s(z) - t) / size.

    It is `BCEWithLogitsLoss` of PyTorch. `.weight` and `.pos_weight` are arrays, or None.

    Raises:
        InputError: weights below 0 or that do not fit z, no float logits (N, ...), or targets of
            another shape or outside 0 to 1.

    >>> loss = BinaryCrossEntropy()
    >>> round(loss(np.array([[0.0], [0.0]]), np.array([[0], [1]])), 4)  # ln 2
    0.6931
    """

    def __init__(
        self,
        weight: ArrayLike | None = None,
        pos_weight: ArrayLike | None = None,
        reduction: str = "mean",
    ) -> None:
        who = "BinaryCrossEntropy"
        self.weight = None if weight is None else nonnegative_weights(who, "weight", weight)
        self.pos_weight = (
            None if pos_weight is None else nonnegative_weights(who, "pos_weight", pos_weight)
        )
        self.reduction = check_reduction(who, reduction)

    def forward(self, logits: Array, targets: Array) -> float:
        """logits: (N, ...), targets: (N, ...) -> the loss."""
        targets = self._checked(logits, targets)
        positive = targets.astype(logits.dtype)  # the weight of log s(z) in each entry's loss,
        negative = 1 - positive  # and that of log s(-z)
        if self.pos_weight is not None:
            positive *= self.pos_weight
        if self.weight is not None:
            positive *= self.weight
            negative *= self.weight
        losses = positive * softplus(-logits) + negative * softplus(logits)  # -log s(z), -log s(-z)
        divisor = self.divisor(logits, targets) or 1
        loss = float(losses.sum(dtype=np.float64)) / divisor
        self.save_for_backward(loss, logits, positive, negative, divisor)
        return loss

    def backward(self) -> Array:
        """Returns dlogits: (N, ...)."""
        _, logits, positive, negative, divisor = self.saved_for_backward()
        dlogits: Array = negative * sigmoid(logits) - positive * sigmoid(-logits)
        dlogits *= 1 / divisor
        return dlogits

    def divisor(self, logits: Array, targets: Array) -> float | None:  # noqa: ARG002  # as forward
        """The number of entries; None for a sum."""
        return float(logits.size) if self.reduction == "mean" else None

    def _checked(self, logits: Array, targets: Array) -> Array:
        """The targets in the shape of the logits."""
        column = check_same_shape(self, logits, targets, name="logits")
        for name in ("weight", "pos_weight"):
            factor = getattr(self, name)
            if factor is not None and not _broadcasts(factor.shape, logits.shape):
                raise InputError(
                    f"{self!r} expects logits that its {name} {factor.shape} broadcasts to, "
                    f"got {logits.shape}"
                )
        # Written so that NaN is refused, too.
        if not (targets.min() >= 0 and targets.max() <= 1):
            wrong = ~((targets >= 0) & (targets <= 1))
            at = first_index(wrong)
            raise InputError(
                f"{self!r} expects targets from 0 to 1, got {targets[at]} at index {at}"
                f"{signs_hint(targets)}"
            )
        return column


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False
