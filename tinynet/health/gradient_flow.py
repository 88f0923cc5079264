"""Gradient flow: whether the gradient reaches the first weights of a network, and at what size."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinynet.errors import InputError
from tinynet.functional import root_mean_square
from tinynet.health.activations import leaves, weight_parameters
from tinynet.health.finding import Finding
from tinynet.layer import Layer
from tinynet.layers.recurrent import Recurrent
from tinynet.mode import in_mode
from tinynet.parameter import Array
from tinynet.recording import Call, recording
from tinynet.samples import Samples, arrays_of, each_array
from tinynet.training.trainer import Trainer

# Limits of the gradient relative to that at the output, and of its inverse. Networks that learn
# have 0.002 to 100, and 7,000 with 50 BatchNorms; 12 sigmoids have 1e-7, weights of N(0, 1) 1e5.
LIMIT = 1e-5
WEAK = 1.5e-3  # where the network does not learn
SMALL_START = 0.1  # last weights that start below this part of the usual size get the usual one


class GradientFlow(NamedTuple):
    """The root mean square of the gradient of the first, the last and the largest weights.

    `output` is that of the gradient at the output, summed over the samples of the batch.
    """

    first: float
    last: float
    largest: float
    output: float
    scale: float  # of the input of the first weights, at least 1
    text: str

    @property
    def relative(self) -> float:
        """The gradient of the first weights relative to that at the output; 1 if one is 0."""
        return self.first / self.output if self.first and self.output else 1.0

    def findings(self, limit: float = LIMIT) -> list[Finding]:
        """A vanishing or an exploding gradient."""
        largest = self.largest / self.scale
        if not math.isfinite(largest) or 0 < self.output < limit * largest:
            advice = (
                "Start from smaller weights (he_normal before a ReLU, Glorot before a tanh), add "
                "BatchNorm or LayerNorm between the layers, or use shortcuts (Residual)."
            )
            return [Finding("exploding gradient", self.text, advice)]
        if self.relative < limit:
            advice = (
                "Use ReLU in place of sigmoid or tanh, start from larger weights (he_normal before "
                "a ReLU, Glorot before a tanh), add BatchNorm or LayerNorm between the layers, or "
                "use shortcuts (Residual) or fewer layers. No learning rate repairs this."
            )
            return [Finding("vanishing gradient", self.text, advice)]
        return []


def backpropagated(trainer: Trainer, x: Samples, y: Samples) -> tuple[Layer, list[Call]]:
    """A copy of the model in float64 with the gradients of a batch, and the calls of `backward`."""
    model, loss = (layer.astype(np.float64) for layer in (trainer.model, trainer.loss))
    with in_mode(training=True), np.errstate(all="ignore"):
        loss(model(_in_float64(x)), y)
        with recording(model, "backward") as calls:
            model.backward(loss.backward())
    return model, calls


def _in_float64(x: Samples) -> Any:
    return each_array(lambda a: a.astype(np.float64) if a.dtype.kind == "f" else a, x)


def measured_flow(trainer: Trainer, x: Samples, y: Samples) -> GradientFlow | None:
    """The flow of a batch through copies, in float64; None where it has no two weights to compare.

    Last weights that start at 0, or near it, pass on no gradient in the first step and in no other:
    the copy has last weights of the usual size.
    """
    model, loss = (layer.astype(np.float64) for layer in (trainer.model, trainer.loss))
    optimized = {id(parameter) for parameter in trainer.optimizer.parameters}
    trained = {name for name, p in trainer.model.named_parameters() if id(p) in optimized}
    x = _in_float64(x)
    with in_mode(training=True), np.errstate(all="ignore"):
        try:
            with recording(model) as calls:
                prediction = model(x)
            _enlarge(leaves(calls), sum(p.shape[-1] for p in arrays_of(prediction)))
            with recording(model) as calls:
                prediction = model(x)
            loss(prediction, y)
            model.backward(loss.backward())
        except InputError:  # such as a BatchNorm for one sample
            return None
    return flow_of(model, leaves(calls), trained)


def _enlarge(calls: Sequence[Call], outputs: int) -> None:
    """Gives the last weights the usual size, if they are smaller."""
    rng = np.random.default_rng(0)
    last = next((call.layer for call in reversed(calls) if weight_parameters(call.layer)), None)
    for _, parameter in weight_parameters(last) if last is not None else ():
        usual = 1 / math.sqrt(max(parameter.value.size / max(outputs, 1), 1))
        if root_mean_square(parameter.value) < SMALL_START * usual:
            parameter.value = rng.normal(0, usual, parameter.value.shape)


def flow_of(model: Layer, calls: Sequence[Call], trained: set[str]) -> GradientFlow | None:
    """The flow of the gradients in the parameters, by the calls of the layers in their order."""
    named = {id(parameter): name for name, parameter in model.named_parameters()}
    layers = []
    for call in calls:
        own = [p for _, p in weight_parameters(call.layer) if named.get(id(p)) in trained]
        gradients = [np.asarray(p.grad) for p in own if p.grad is not None]
        if gradients:
            layers.append((call, root_mean_square(_nonzero(gradients))))
    if len(layers) < 2:
        return None
    (begin, first), (end, last) = layers[0], layers[-1]
    sizes = [_size(call.inputs[0]) for call in (begin, end)]
    largest, there = max((size, call.name) for call, size in layers)
    output = last / sizes[1] if sizes[1] else 0.0
    ratio = first / last if last else math.inf
    text = (
        f"On a batch the gradient of the first weights, {begin.name}, has the root mean square "
        f"{first:.3g}, and that of the last, {end.name}, {last:.3g}: a ratio of {ratio:.2g}."
    )
    if largest > max(first, last):
        text += f" The largest is {largest:.3g}, of {there}."
    if not 1e-2 < sizes[1] < 1e2:
        text += f" The input of the last weights has the root mean square {sizes[1]:.3g}."
    return GradientFlow(first, last, largest, output, max(sizes[0], 1.0), text)


def _size(x: Array) -> float:
    return root_mean_square(x) if x.dtype.kind == "f" else 1.0


def _nonzero(gradients: Sequence[Array]) -> Array:
    """Their entries other than 0: most rows of an embedding are not in a batch."""
    entries = np.concatenate([gradient.ravel() for gradient in gradients])
    return entries[entries != 0] if entries.any() else entries[:1]


def flow_through_time(trainer: Trainer, x: Samples, y: Samples) -> list[Finding]:
    """A gradient that vanishes between the last step and the first of a recurrent layer."""
    _, calls = backpropagated(trainer, x, y)
    for call in calls:
        dx = call.output
        if not isinstance(call.layer, Recurrent) or not isinstance(dx, np.ndarray):
            continue
        steps = np.array([root_mean_square(dx[:, t]) for t in range(dx.shape[1])])
        steps = steps[steps > 0]  # without padding
        if len(steps) > 1 and steps[[0, -1]].min() < LIMIT * steps[[0, -1]].max():
            evidence = (
                f"On a batch the gradient of the first of {len(steps)} time steps of {call.name} "
                f"has the root mean square {steps[0]:.3g}, and that of the last {steps[-1]:.3g}."
            )
            advice = (
                "Use LSTM or GRU, shorter sequences, attention, or a pooling over all steps in "
                "place of the last state: what the first steps say is not learned."
            )
            return [Finding("vanishing gradient", evidence, advice)]
    return []
