"""Checks of the arguments of a Trainer and of `fit`, before anything is changed.

`split_validation` also draws the validation data that `fit` was asked to keep out.
"""

from copy import deepcopy
from typing import Any

import numpy as np

from tinynet.datasets.batches import Batches
from tinynet.errors import InputError
from tinynet.layer import Layer
from tinynet.metrics.metric import Metrics
from tinynet.mode import in_mode, inference
from tinynet.optimizers.optimizer import Optimizer, check_complete
from tinynet.samples import Samples, take
from tinynet.training.progress import Progress
from tinynet.validation import finite_number


def check_parts(model: Any, loss: Any, optimizer: Any) -> None:
    """Requires layers, and an optimizer of parameters of the model or the loss."""
    for name, part, of_list in (
        ("model", model, "Sequential([...])"),
        ("loss", loss, "MultiTaskLoss([...])"),
    ):
        if not isinstance(part, Layer):
            hint = f": write {of_list}" if isinstance(part, list | tuple) else ""
            if isinstance(part, str):
                hint = ": write an object such as SoftmaxCrossEntropy()"
            raise InputError(f"Trainer expects {name} to be a layer, got {part!r}{hint}")
    if not isinstance(optimizer, Optimizer):
        name = optimizer.__name__ if isinstance(optimizer, type) else "Adam"
        raise InputError(
            f"Trainer expects an optimizer, got {optimizer!r}: write {name}(model.parameters())"
        )
    own = {id(parameter) for parameter in (*model.parameters(), *loss.parameters())}
    if not all(id(parameter) in own for parameter in optimizer.parameters):
        raise InputError(
            "Trainer expects an optimizer of the parameters of the model, got one with others: "
            f"write {type(optimizer).__name__}(model.parameters(), ...) for the same model object"
        )


def split_validation(
    x: Samples, y: Samples, share: float, validation: Any, seed: int
) -> tuple[Any, Any, Any]:
    """Returns x, y and validation, for a share above 0 with rows drawn out of x and y.

    Which rows depends on the seed and the number of samples alone, so that every `fit` of a run
    keeps out the same; drawn, because a file may be sorted by label.
    """
    share = finite_number("fit", "validation_split", share, at_least=0, below=1)
    if not share:
        return x, y, validation
    if validation is not None:
        raise InputError(
            f"fit expects validation= or validation_split=, got both, a share of {share:g} as well"
        )
    data = Batches(x, y)  # checks that they are arrays of one length
    total = data.size
    count = round(share * total)
    if not 0 < count < total:
        raise InputError(
            f"fit expects validation_split to leave samples for both parts, got {share:g} of "
            f"{total}"
        )
    # The last number makes these other random numbers than those of the order and of transforms.
    rows = np.random.default_rng((seed, 0, 0, 1)).permutation(total)
    held_out, rest = np.sort(rows[:count]), np.sort(rows[count:])
    held = take(data.x, held_out), take(data.y, held_out)
    return take(data.x, rest), take(data.y, rest), held


def check_validation(model: Layer, loss: Layer, metrics: Metrics, validation: Any) -> None:
    """Requires a pair (x, y), of which one batch goes through model, loss and metrics."""
    if validation is None:
        return
    if not isinstance(validation, tuple) or len(validation) != 2:
        got = type(validation).__name__
        got += f" of {len(validation)}" if isinstance(validation, tuple | list) else ""
        raise InputError(f"fit expects a pair, validation=(x, y), got {got}")
    try:
        try_batch(model, loss, metrics, *next(Batches(*validation, shuffle=False).epoch(0)))
    except InputError as error:
        error.add_location("validation data")
        raise


def try_batch(model: Layer, loss: Layer, metrics: Metrics, x: Samples, y: Samples) -> None:
    """Sends a batch through model, loss and copies of the metrics, and changes none of them."""
    with inference():
        prediction = model(x)
        loss(prediction, y)
        Metrics(metrics.metrics).update(prediction, y)


def check_single_sample(model: Layer, batches: Batches, part: int, epoch: int) -> None:
    """Tries a last batch, or part of a batch, of one sample, which BatchNorm refuses."""
    sizes = (min(batches.batch_size, batches.size), batches.last_size)
    if part > 1 and not any(size % part == 1 for size in sizes):
        return
    x, _ = next(batches.epoch(epoch, start=len(batches) - 1))
    try:
        with in_mode(training=True):
            deepcopy(model)(take(x, slice(1)))
    except InputError as error:
        micro = f", micro_batch_size={part}" if part < max(sizes) else ""
        raise InputError(
            "fit expects batches that the model can be trained on, got one of 1 sample "
            f"({batches.size} samples, batch_size={batches.batch_size}{micro}): {error}; take "
            "another batch size, last_batch='drop' or last_batch='join'"
        ) from error


def note_interrupt(
    error: BaseException, optimizer: Optimizer, progress: Progress, epochs: int
) -> None:
    """Adds to a KeyboardInterrupt where it ended `fit`, and how to continue.

    A note, and nothing printed: Python and notebooks show it below the traceback, and whoever
    catches the interrupt has no line too many.
    """
    if not isinstance(error, KeyboardInterrupt):
        return
    try:
        check_complete(optimizer)
    except InputError as incomplete:
        error.add_note(str(incomplete))
    else:
        error.add_note(progress.where_interrupted(epochs))
