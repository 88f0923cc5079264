"""Margin losses: the score of the right class has to exceed all others by a margin."""

from __future__ import annotations  # help() then shows the names of the types

from typing import final

import numpy as np
from numpy.typing import ArrayLike

from tinynet.losses.loss import Loss
from tinynet.losses.targets import check_labels, check_logits, check_reduction, class_weight
from tinynet.parameter import Array
from tinynet.validation import finite_number, one_of


@final
class Hinge(Loss):
    """L = mean over N of weight[y] Σ_{j≠y} max(0, margin - z[y] + z[j])ᵖ / C, for logits z (N, C).

    Targets y: integer labels (N,) from 0 to C - 1; p is 1 or 2. `weight` has one number for each
    class; the mean divides by N also with weights.
    Gradient: with g[j] = weight[y] p max(0, ...)ᵖ⁻¹ / (C N) for each class j that violates the
    margin, dz[j] = g[j] and dz[y] = -Σⱼ g[j]. At the margin itself g is 0.

    It is `MultiMarginLoss` of PyTorch, with margin before p. `.weight` is an array (C,), or None.

    Raises:
        InputError: settings out of range, no float logits (N, C), or other targets.

    Source: Weston and Watkins, "Support Vector Machines for Multi-Class Pattern Recognition",
    ESANN 1999: the sum over the classes, here as their mean.

    >>> loss = Hinge()
    >>> loss(np.array([[2.0, 1.5, 0.0, -1.0]]), np.array([0]))  # 0.5 / 4
    0.125
    >>> loss.backward()
    array([[-0.25,  0.25,  0.  ,  0.  ]])
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: int = 1,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
    ) -> None:
        self.margin = finite_number("Hinge", "margin", margin)
        self.p = one_of("Hinge", "p", p, (1, 2))
        self.weight = class_weight("Hinge", weight)
        self.reduction = check_reduction("Hinge", reduction)

    def forward(self, logits: Array, targets: Array) -> float:
        """logits: (N, C), targets: (N,) -> the loss."""
        check_logits(self, logits, self.weight, "N", "C")
        check_labels(self, targets, logits.shape)
        n, classes = logits.shape
        rows, divisor = np.arange(n), classes * (self.divisor(logits, targets) or 1)
        violation = logits - logits[rows, targets, None] + self.margin  # (N, C)
        violation[rows, targets] = 0
        np.maximum(violation, 0, out=violation)
        weights = (np.ones(n) if self.weight is None else self.weight[targets]) / divisor
        losses = violation if self.p == 1 else np.square(violation, dtype=np.float64)
        loss: float = float(losses.sum(axis=1, dtype=np.float64) @ weights)
        self.save_for_backward(loss, violation, rows, targets, weights)
        return loss

    def backward(self) -> Array:
        """Returns dlogits: (N, C)."""
        _, violation, rows, targets, weights = self.saved_for_backward()
        dlogits: Array = (violation > 0).astype(violation.dtype) if self.p == 1 else 2 * violation
        dlogits *= weights[:, None].astype(violation.dtype)
        dlogits[rows, targets] = -dlogits.sum(axis=1, dtype=np.float64)
        return dlogits

    def divisor(self, logits: Array, targets: Array) -> float | None:
        """The number of samples; None for a sum."""
        return super().divisor(logits, targets) if self.reduction == "mean" else None
