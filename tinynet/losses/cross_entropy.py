"""Cross-entropy: how surprised a prediction is by the classes that came."""

from typing import final

import numpy as np

from tinynet.arguments import InputError
from tinynet.layer import Layer
from tinynet.parameter import Array


@final
class SoftmaxCrossEntropy(Layer):
    """L = mean over N of -Σⱼ pⱼ log softmax(z)ⱼ, for logits z (N, C), in nats.

    Targets: integer labels (N,), each in 0..C-1, or probability rows p (N, C).
    Gradient: dz = (s - p) / N, s = softmax(z), as s (1 - p) - p (1 - s) so that nothing cancels.

    Raises:
        InputError: no float logits (N, C), or targets that are neither of the two.

    Source: the stable form is log-sum-exp; see Blanchard, Higham and Higham, "Accurately computing
    the log-sum-exp and softmax functions", IMA Journal of Numerical Analysis 41(4), 2021.

    >>> loss = SoftmaxCrossEntropy()
    >>> round(loss(np.zeros((2, 10)), np.array([3, 7])), 4)  # ln 10
    2.3026
    >>> loss.backward()[0, 3].round(4)  # (1/10 - 1) / 2
    np.float64(-0.45)
    """

    def forward(self, logits: Array, targets: Array) -> float:
        """logits: (N, C), targets: (N,) or (N, C) -> the mean loss."""
        self._check(logits, targets)
        n = len(logits)
        rows, top = np.arange(n), logits.argmax(axis=1)
        shifted = logits - logits[rows, top, None]  # (N, C), at most 0
        # The largest term of each sum is 1. Kept apart from the rest it swallows none of them, and
        # loss and gradient keep all their digits where the network is sure.
        probabilities = np.exp(shifted)
        probabilities[rows, top] = 0
        rest = probabilities.sum(axis=1)  # (N,)
        probabilities[rows, top] = 1
        probabilities /= (1 + rest)[:, None]
        others = rest / (1 + rest)  # 1 - probabilities[rows, top]
        if targets.ndim == 1:
            losses = np.log1p(rest) - shifted[rows, targets]
            own = probabilities[rows, targets]
            dlogits = probabilities
            dlogits[rows, targets] = np.where(targets == top, -others, own - 1)
        else:
            targets = targets.astype(logits.dtype, copy=False)
            surprise = np.log1p(rest)[:, None] - shifted  # -log of the probabilities
            # 0 · inf is 0 here: what is impossible and never asked for costs nothing.
            losses = np.zeros_like(surprise)
            np.multiply(targets, surprise, where=targets > 0, out=losses)
            against = 1 - probabilities
            against[rows, top] = others
            mass = targets.sum(axis=1, keepdims=True)  # 1, or as near as its dtype comes
            dlogits = probabilities * (mass - targets) - against * targets
        dlogits /= n
        loss = float(losses.sum(dtype=np.float64)) / n
        self.remember(loss, dlogits)
        return loss

    def backward(self) -> Array:
        """Returns dlogits: (N, C)."""
        _, dlogits = self.recall(1.0)
        result: Array = dlogits
        return result

    def _check(self, logits: Array, targets: Array) -> None:
        self.check_input(logits, "N", "C", name="logits")
        n, classes = logits.shape
        if logits.size == 0:
            raise InputError(f"{self!r} expects at least one row and class, got {logits.shape}")
        if isinstance(targets, np.ndarray) and targets.ndim == 2:
            self.check_input(targets, n, classes, name="probability rows", integers=True)
            sums = targets.sum(axis=1)
            # Written so that NaN is refused, too.
            if not (targets.min() >= 0 and abs(sums - 1).max() <= 1e-3):
                row = int(np.argmin((targets >= 0).all(axis=1) & (abs(sums - 1) <= 1e-3)))
                raise InputError(
                    f"{self!r} expects probability rows, each >= 0 with sum 1, "
                    f"got {targets[row]} at row {row}"
                )
            return
        self.check_input(targets, n, name="labels", integers=True)
        if targets.dtype.kind not in "iu":
            raise InputError(f"{self!r} expects integer labels, got {targets.dtype}")
        if targets.min() < 0 or targets.max() >= classes:
            at = int(np.argmax((targets < 0) | (targets >= classes)))
            raise InputError(
                f"{self!r} expects labels from 0 to {classes - 1}, got {targets[at]} at index {at}"
            )
