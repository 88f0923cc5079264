"""Loss: the base class of losses. MultiTaskLoss: the weighted sum of the losses of heads."""

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from tinynet.errors import InputError
from tinynet.layer import Layer
from tinynet.parameter import Array
from tinynet.samples import Samples, count_samples, each_array
from tinynet.validation import finite_number


class Loss(Layer):
    """The base class of losses: `forward(prediction, targets)` is a number, `backward()` its dx.

    A loss that is no mean over samples also overrides `divisor`: with it the losses of several
    batches combine to that of one batch with all their samples.
    """

    def divisor(self, prediction: Any, targets: Any) -> float | None:  # noqa: ARG002  # as in the base class
        """What `forward` divides a sum by: the number of samples. None for a loss that is a sum."""
        return float(count_samples(prediction))


def scaled_backward(loss: Layer, factor: float) -> Any:
    """The gradient of factor times the loss, also by the loss's own parameters."""

    def scaled(gradient: Array) -> Array:
        return factor * gradient if factor else np.zeros_like(gradient)  # 0 also for NaN

    dprediction = loss.backward()
    for parameter in loss.parameters():
        parameter.grad = scaled(np.asarray(parameter.grad))
    return each_array(scaled, dprediction)


@final
class MultiTaskLoss(Loss):
    """L = Σₖ weightₖ · lossₖ(predictionₖ, targetsₖ): a loss for each head of a network.

    Prediction and targets are tuples with an array for each loss. The weights are 1 by default;
    choose them so that no loss is small beside the others.

    Gradient: (weight₁ dL₁, weight₂ dL₂, ...), a tuple like the prediction. Every mean is divided by
    its own divisor, also over several batches.

    Raises:
        InputError: no list of losses, not one weight >= 0 for each, or tuples of another length.

    >>> from tinynet import MeanSquaredError, SoftmaxCrossEntropy
    >>> loss = MultiTaskLoss([SoftmaxCrossEntropy(), MeanSquaredError()], weights=[1.0, 0.1])
    >>> prediction, targets = (np.zeros((2, 10)), np.zeros((2, 1))), (np.array([3, 7]), np.ones(2))
    >>> round(loss(prediction, targets), 4)  # ln 10 + 0.1
    2.4026
    """

    def __init__(
        self, losses: Sequence[Layer], *, weights: Sequence[float] | Array | None = None
    ) -> None:
        if not isinstance(losses, list | tuple) or not losses:
            raise InputError(f"MultiTaskLoss expects a list of losses, got {losses!r}")
        for loss in losses:
            if not isinstance(loss, Layer):
                hint = f": write {loss.__name__}()" if isinstance(loss, type) else ""
                raise InputError(f"MultiTaskLoss expects losses, got {loss!r}{hint}")
        weights = [1.0] * len(losses) if weights is None else weights
        if np.ndim(weights) != 1 or len(weights) != len(losses):
            raise InputError(
                f"MultiTaskLoss expects a weight for each of {len(losses)} losses, got {weights!r}"
            )
        self.losses = tuple(losses)
        self.weights = [finite_number("MultiTaskLoss", "weight", w, at_least=0) for w in weights]
        self.named_layers()  # raises InputError for an object in two positions

    def forward(self, prediction: Samples, targets: Samples) -> float:
        """prediction: K arrays (N, ...), targets: K arrays (N, ...) -> the loss."""
        values = self.each(lambda loss, *head: loss(*head), prediction, targets)
        return float(sum(w * value for w, value in zip(self.weights, values, strict=True)))

    def backward(self) -> Samples:
        """Returns dprediction: K arrays (N, ...)."""
        pairs = zip(self.losses, self.weights, strict=True)
        return tuple(scaled_backward(loss, weight) for loss, weight in pairs)

    def each(self, function: Callable[..., Any], prediction: Any, targets: Any) -> list[Any]:
        """The function of each loss, its prediction and its targets; errors name the head.

        Raises:
            InputError: prediction or targets are no tuples of one array for each loss.
        """
        count = len(self.losses)
        for name, given in (("prediction", prediction), ("targets", targets)):
            if not isinstance(given, tuple) or len(given) != count:
                got = f"{len(given)}" if isinstance(given, tuple) else type(given).__name__
                raise InputError(
                    f"{self!r} expects {name} to be a tuple of {count} arrays, one for each loss, "
                    f"got {got}"
                )
        results = []
        for head, arguments in enumerate(zip(self.losses, prediction, targets, strict=True)):
            try:
                results.append(function(*arguments))
            except InputError as error:
                error.add_location(f"head {head}")
                raise
        return results
