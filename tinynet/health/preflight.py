"""Preflight: checks of data, model, loss and optimizer before training.

Everything is tried on copies. The checks run in the order of cause and effect: shapes, targets,
inputs, validation data, the last layer, initial weights, units, gradients, learning rate, and
whether the labels depend on the inputs.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np

from tinynet.datasets.batches import Batches
from tinynet.errors import AnomalyError, InputError
from tinynet.health.data_checks import DATA_CHECKS
from tinynet.health.finding import Finding, Findings
from tinynet.health.inspection import SCAN, Inspection, inspect, sample_rows
from tinynet.health.model_checks import (
    MODEL_CHECKS,
    START_CHECKS,
    initial_loss,
    last_batch_of_one,
)
from tinynet.health.output_checks import OUTPUT_CHECKS
from tinynet.health.probes import learning_rate, relation
from tinynet.health.validation_checks import VALIDATION_CHECKS
from tinynet.parameter import Array
from tinynet.samples import Samples, arrays_of, count_samples, named_arrays, take
from tinynet.training.checks import try_batch
from tinynet.training.trainer import Trainer
from tinynet.validation import check_array, first_index, whole_number


def preflight(
    trainer: Trainer,
    x: Samples,
    y: Samples,
    *,
    validation: tuple[Samples, Samples] | None = None,
    batch_size: int = 64,
    last_batch: str = "keep",
    micro_batch_size: int | None = None,
) -> Findings:
    """Looks for faults that will make training on (x, y) fail, and changes nothing.

    The arguments are as for `fit`. The findings print as a numbered list, each with its evidence
    and an advice.

    Raises:
        InputError: x and y are not arrays with the same number of samples, validation is not a
            pair of such arrays, or a setting is out of range.
    """
    if not isinstance(trainer, Trainer):
        raise InputError(
            f"preflight expects a Trainer, got {trainer!r:.60}: write preflight(trainer, x, y)"
        )
    batches = Batches(x, y, batch_size, last_batch=last_batch)
    if micro_batch_size is not None:
        micro_batch_size = whole_number("preflight", "micro_batch_size", micro_batch_size)
    arrays = named_arrays("x", batches.x) | named_arrays("y", batches.y)
    if validation is not None:
        if not isinstance(validation, tuple) or len(validation) != 2:
            got = type(validation).__name__
            raise InputError(f"preflight expects a pair, validation=(x, y), got a {got}")
        held_out = Batches(*validation)
        validation = held_out.x, held_out.y
        arrays |= named_arrays("the validation x", held_out.x)
        arrays |= named_arrays("the validation y", held_out.y)
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
            rows = sample_rows(count_samples(validation[0]))
            model, loss = deepcopy((trainer.model, trainer.loss))
            with np.errstate(all="ignore"):
                x_rows, y_rows = (take(samples, rows) for samples in validation)
                try_batch(model, loss, trainer.metrics, x_rows, y_rows)
    except InputError as error:
        evidence = f"The network does not accept the {subject}: {error}."
        return Findings([Finding("shapes", evidence, "Correct this shape or dtype.")])
    except AnomalyError as error:
        advice = "Look at the weights of this layer and at the scale of its input."
        return Findings([Finding("not finite", f"{error}.", advice)])
    found = list(last_batch_of_one(inspection, micro_batch_size))
    if found:
        return Findings(found)
    found = list(_of_each_array(inspection, (*DATA_CHECKS, *VALIDATION_CHECKS)))
    whole = all(isinstance(view.prediction, np.ndarray) for _, view in inspection.views())
    if whole:  # the other checks need arrays to look at
        found += _of_each_array(inspection, OUTPUT_CHECKS)
        found += (finding for check in START_CHECKS for finding in check(inspection))
        found += _of_each_array(inspection, (initial_loss,))
        found += (finding for check in MODEL_CHECKS for finding in check(inspection))
    if whole and not found:
        # Every fault above would also show in a failure to learn, so this comes last.
        sample = trainer, inspection.x, inspection.y
        found = learning_rate(*sample) or relation(*sample)
    return Findings(found)


def _of_each_array(
    inspection: Inspection, checks: Sequence[Callable[[Inspection], Iterator[Finding]]]
) -> Iterator[Finding]:
    """The findings in each array of x and each head, with the name of the array in front.

    What is found with all arrays of the other side is a fault of this one alone.
    """
    found: dict[Finding, list[tuple[int, int]]] = {}
    for check in checks:
        for at, view in inspection.views():
            for finding in check(view):
                found.setdefault(finding, []).append(at)
    counts = len(arrays_of(inspection.x)), len(arrays_of(inspection.y))
    for finding, places in found.items():
        sides = zip("xy", counts, zip(*places, strict=True), strict=True)
        names = [f"{n}[{at[0]}]" for n, count, at in sides if count > 1 and len(set(at)) == 1]
        who = f"{' and '.join(names)}: " if names else ""
        yield replace(finding, evidence=f"{who}{finding.evidence}")


def _not_finite(name: str, array: Array) -> Iterator[Finding]:
    if array.dtype.kind != "f" or array.nbytes > SCAN:
        return
    bad = ~np.isfinite(array)
    if bad.any():
        count = f"{bad.sum()} entries that are" if bad.sum() > 1 else "an entry that is"
        evidence = f"{name} has {count} NaN or infinite, the first at {first_index(bad)}."
        yield Finding("not finite", evidence, "Replace them or leave their samples out.")
