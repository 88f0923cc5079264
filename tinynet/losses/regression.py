"""Losses of predicted numbers: how far each is from its target."""

from typing import final

import numpy as np

from tinynet.arguments import InputError
from tinynet.layer import Layer
from tinynet.parameter import Array


@final
class MeanSquaredError(Layer):
    """L = mean over all entries of (prediction - target)², for any shape (N, ...).

    Targets: floats or integers, of the shape of the prediction and nothing that would broadcast.
    Gradient: dprediction = 2 (prediction - target) / size, size being the number of all entries.
    It is `MSELoss(reduction="mean")` of PyTorch.

    Raises:
        InputError: no float prediction (N, ...), none of its entries, or targets of another shape.

    Source: Goodfellow, Bengio and Courville, "Deep Learning", MIT Press, 2016, section 5.5.1: the
    negative log-likelihood of a normal distribution around the prediction, up to constants.

    >>> loss = MeanSquaredError()
    >>> loss(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1, 2], [3, 2]]))
    1.0
    >>> loss.backward()
    array([[0., 0.],
           [0., 1.]])
    """

    def forward(self, prediction: Array, targets: Array) -> float:
        """prediction: (N, ...), targets: (N, ...) -> the mean loss."""
        self._check(prediction, targets)
        difference = prediction - targets
        # Squares and sum in float64: a mean over many entries keeps the digits of its terms.
        loss = float(np.square(difference, dtype=np.float64).sum()) / difference.size
        self.remember(loss, difference, prediction.dtype)
        return loss

    def backward(self) -> Array:
        """Returns dprediction: (N, ...)."""
        _, difference, dtype = self.recall(1.0)
        # Targets of more digits make a difference of more digits.
        dprediction: Array = (difference * (2 / difference.size)).astype(dtype, copy=False)
        return dprediction

    def _check(self, prediction: Array, targets: Array) -> None:
        self.check_input(prediction, "N", ..., name="prediction")
        if prediction.size == 0:
            raise InputError(f"{self!r} expects at least one entry, got {prediction.shape}")
        self.check_input(targets, ..., name="targets", integers=True)
        if targets.shape != prediction.shape:
            wide, narrow = ([s for s in a.shape if s != 1] for a in (prediction, targets))
            mend = f"; targets.reshape{prediction.shape} gives it" if wide == narrow else ""
            raise InputError(
                f"{self!r} expects targets of the shape of the prediction, {prediction.shape}, "
                f"got {targets.shape}{mend}"
            )
