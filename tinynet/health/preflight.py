"""Preflight: checks of data, model, loss and optimizer before training.

Everything is tried on copies. The checks run in the order of cause and effect: shapes, targets,
inputs, validation data, the last layer, initial weights, units, gradients, learning rate, and
whether the labels depend on the inputs.
"""

from collections.abc import Iterator
from copy import deepcopy

import numpy as np

from tinynet.datasets.batches import Batches
from tinynet.errors import AnomalyError, InputError
from tinynet.health.data_checks import DATA_CHECKS
from tinynet.health.finding import Finding, Findings
from tinynet.health.inspection import SCAN, inspect, sample_rows
from tinynet.health.model_checks import MODEL_CHECKS, last_batch_of_one
from tinynet.health.output_checks import OUTPUT_CHECKS
from tinynet.health.probes import learning_rate, relation
from tinynet.health.validation_checks import VALIDATION_CHECKS
from tinynet.parameter import Array
from tinynet.training.checks import try_batch
from tinynet.training.trainer import Trainer
from tinynet.validation import check_array, first_index, whole_number


def preflight(
    trainer: Trainer,
    x: Array,
    y: Array,
    *,
    validation: tuple[Array, Array] | None = None,
    batch_size: int = 64,
    last_batch: str = "keep",
    micro_batch_size: int | None = None,
) -> Findings:
    """Looks for faults that will make training on (x, y) fail, and changes nothing.

    The arguments are those of `fit`. The findings print as a numbered list, each with its evidence
    and an advice.

    Raises:
        InputError: x and y are not arrays with the same number of samples, validation is not a
            pair of such arrays, or a setting is out of range.
    """
    batches = Batches(x, y, batch_size, last_batch=last_batch)
    if micro_batch_size is not None:
        micro_batch_size = whole_number("preflight", "micro_batch_size", micro_batch_size)
    arrays = {"x": batches.x, "y": batches.y}
    if validation is not None:
        if not isinstance(validation, tuple) or len(validation) != 2:
            got = type(validation).__name__
            raise InputError(f"preflight expects a pair, validation=(x, y), got a {got}")
        held_out = Batches(*validation)
        validation = held_out.x, held_out.y
        arrays |= {"the validation x": held_out.x, "the validation y": held_out.y}
    for name, array in arrays.items():
        check_array("preflight", name, array)
    found = [finding for name, array in arrays.items() for finding in _not_finite(name, array)]
    if found:
        return Findings(found)
    subject = "data"
    try:
        inspection = inspect(trainer, batches, validation)
        if validation is not None and inspection.in_range:
            subject = "validation data"
            rows = sample_rows(len(validation[0]))
            model, loss = deepcopy((trainer.model, trainer.loss))
            with np.errstate(all="ignore"):
                try_batch(model, loss, trainer.metrics, validation[0][rows], validation[1][rows])
    except InputError as error:
        evidence = f"The network does not accept the {subject}: {error}."
        return Findings([Finding("shapes", evidence, "Correct this shape or dtype.")])
    except AnomalyError as error:
        advice = "Look at the weights of this layer and at the scale of its input."
        return Findings([Finding("not finite", f"{error}.", advice)])
    found = list(last_batch_of_one(inspection, micro_batch_size))
    if found:
        return Findings(found)
    checks = [*DATA_CHECKS, *VALIDATION_CHECKS]
    whole = isinstance(inspection.prediction, np.ndarray)
    if whole:  # the other checks need an array to look at
        checks += [*OUTPUT_CHECKS, *MODEL_CHECKS]
    found = [finding for check in checks for finding in check(inspection)]
    if whole and not found:
        # Every fault above would also show in a failure to learn, so this comes last.
        sample = trainer, inspection.x, inspection.y
        found = learning_rate(*sample) or relation(*sample)
    return Findings(found)


def _not_finite(name: str, array: Array) -> Iterator[Finding]:
    if array.dtype.kind != "f" or array.nbytes > SCAN:
        return
    bad = ~np.isfinite(array)
    if bad.any():
        count = f"{bad.sum()} entries that are" if bad.sum() > 1 else "an entry that is"
        evidence = f"{name} has {count} NaN or infinite, the first at {first_index(bad)}."
        yield Finding("not finite", evidence, "Replace them or leave their samples out.")
