"""Checks of the arguments of a Trainer and of `fit`, before anything is changed."""

from copy import deepcopy
from typing import Any

from tinynet.datasets.batches import Batches
from tinynet.errors import InputError
from tinynet.layer import Layer
from tinynet.metrics.metric import Metrics
from tinynet.mode import in_mode, inference
from tinynet.optimizers.optimizer import Optimizer


def check_parts(model: Any, loss: Any, optimizer: Any) -> None:
    """Requires layers, and an optimizer of parameters of the model or the loss."""
    for name, part in (("model", model), ("loss", loss)):
        if not isinstance(part, Layer):
            raise InputError(f"Trainer expects {name} to be a layer, got {part!r}")
    if not isinstance(optimizer, Optimizer):
        raise InputError(f"Trainer expects an optimizer, got {optimizer!r}")
    own = {id(parameter) for parameter in (*model.parameters(), *loss.parameters())}
    if not all(id(parameter) in own for parameter in optimizer.parameters):
        raise InputError(
            "Trainer expects an optimizer of the parameters of the model, got one with others: "
            f"write {type(optimizer).__name__}(model.parameters(), ...) for the same model object"
        )


def check_validation(model: Layer, loss: Layer, metrics: Metrics, validation: Any) -> None:
    """Requires a pair (x, y), of which one batch goes through model, loss and metrics."""
    if validation is None:
        return
    if not isinstance(validation, tuple) or len(validation) != 2:
        got = type(validation).__name__
        got += f" of {len(validation)}" if isinstance(validation, tuple | list) else ""
        raise InputError(f"fit expects a pair, validation=(x, y), got {got}")
    try:
        x, y = next(Batches(*validation, shuffle=False).epoch(0))
        with inference():
            prediction = model(x)
            loss(prediction, y)
            Metrics(metrics.metrics).update(prediction, y)
    except InputError as error:
        error.add_location("validation data")
        raise


def check_single_sample(model: Layer, batches: Batches, part: int, epoch: int) -> None:
    """Tries a last batch, or part of a batch, of one sample, which BatchNorm refuses."""
    sizes = (min(batches.batch_size, len(batches.x)), batches.last_size)
    if part > 1 and not any(size % part == 1 for size in sizes):
        return
    x, _ = next(batches.epoch(epoch, start=len(batches) - 1))
    try:
        with in_mode(training=True):
            deepcopy(model)(x[:1])
    except InputError as error:
        micro = f", micro_batch_size={part}" if part < max(sizes) else ""
        raise InputError(
            "fit expects batches that the model can be trained on, got one of 1 sample "
            f"({len(batches.x)} samples, batch_size={batches.batch_size}{micro}): {error}; take "
            "another batch size, last_batch='drop' or last_batch='join'"
        ) from error
