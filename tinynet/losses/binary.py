"""Binary cross-entropy: one yes or no for each output, each by itself."""

from typing import final

import numpy as np
from numpy.typing import ArrayLike

from tinynet.errors import InputError
from tinynet.layer import Layer
from tinynet.losses.targets import check_reduction, check_same_shape, factors
from tinynet.parameter import Array


@final
class BinaryCrossEntropy(Layer):
    """L = mean over all entries of -w (v t log s(z) + (1 - t) log s(-z)), in nats.

    It takes logits z (N, ...), and no Sigmoid goes before it: s(z) = 1 / (1 + exp(-z)) is here.
    Targets t: floats, bools or integers from 0 to 1, of the shape of z. w is `weight` and v
    `pos_weight`, what a 1 counts against a 0: numbers, or arrays that broadcast to the shape of
    z, such as (C,) for z (N, C). The mean divides by the number of entries; "sum" does not.
    Gradient: dz = w ((1 - t) s(z) - v t s(-z)) / size, by default (s(z) - t) / size. Both s come
    from exp(-|z|): nothing overflows, and no digits are lost where s is near 1.

    It is `BCEWithLogitsLoss` of PyTorch. `.weight` and `.pos_weight` are arrays, or None.

    Raises:
        InputError: weights below 0 or that do not fit z, no float logits (N, ...), or targets of
            another shape or beyond 0 to 1.

    >>> loss = BinaryCrossEntropy()
    >>> round(loss(np.array([[0.0], [0.0]]), np.array([[0], [1]])), 4)  # ln 2
    0.6931
    >>> loss.backward()
    array([[ 0.25],
           [-0.25]])
    """

    def __init__(
        self,
        weight: ArrayLike | None = None,
        pos_weight: ArrayLike | None = None,
        reduction: str = "mean",
    ) -> None:
        self.weight = factors("BinaryCrossEntropy", "weight", weight)
        self.pos_weight = factors("BinaryCrossEntropy", "pos_weight", pos_weight)
        self.reduction = check_reduction("BinaryCrossEntropy", reduction)

    def forward(self, logits: Array, targets: Array) -> float:
        """logits: (N, ...), targets: (N, ...) -> the loss."""
        self._check(logits, targets)
        size = logits.size if self.reduction == "mean" else 1
        yes = targets.astype(logits.dtype)  # what each answer counts
        no = 1 - yes
        if self.pos_weight is not None:
            yes *= self.pos_weight
        if self.weight is not None:
            yes *= self.weight
            no *= self.weight
        z = np.exp(-np.abs(logits))  # at most 1
        small, large = z / (1 + z), 1 / (1 + z)  # sigmoids of -|logits| and of |logits|
        negative = logits < 0
        # -log(1 / (1 + exp(-x))) is log(1 + exp(-|x|)) + max(-x, 0).
        least = np.log1p(z)  # what even a right answer costs
        surprise_of_yes = least + np.maximum(-logits, 0)
        surprise_of_no = least + np.maximum(logits, 0)
        losses = yes * surprise_of_yes + no * surprise_of_no
        dlogits = no * np.where(negative, small, large) - yes * np.where(negative, large, small)
        dlogits *= 1 / size
        loss = float(losses.sum(dtype=np.float64)) / size
        self.save_for_backward(loss, dlogits)
        return loss

    def backward(self) -> Array:
        """Returns dlogits: (N, ...)."""
        _, dlogits = self.saved_for_backward()
        result: Array = dlogits
        return result

    def _check(self, logits: Array, targets: Array) -> None:
        check_same_shape(self, logits, targets, name="logits")
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
            at = tuple(map(int, np.argwhere(wrong)[0]))
            signs = ((targets == 1) | (targets == -1)).all()
            hint = "; (targets + 1) / 2 makes 0 and 1 of -1 and +1" if signs else ""
            raise InputError(
                f"{self!r} expects targets from 0 to 1, got {targets[at]} at index {at}{hint}"
            )


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False
