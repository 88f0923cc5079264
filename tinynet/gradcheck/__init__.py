"""Gradient checking: compares the gradients of `backward` with numeric derivatives of `forward`."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet.errors import GradientCheckError
from tinynet.gradcheck.report import Cause, Report, TensorReport, Verdict
from tinynet.layer import Layer
from tinynet.samples import Samples

__all__ = ["Cause", "GradientCheckError", "Report", "TensorReport", "Verdict", "check_gradients"]


def check_gradients(
    layer: Layer | tuple[Callable[..., Any], Callable[..., Any]],
    x: Samples,
    targets: Samples | None = None,
    *,
    rng: np.random.Generator | int = 0,
    tolerance: float = 1e-6,
    entries: int = 15_000,
) -> Report:
    """Checks dx and every parameter's gradient against central differences of `forward`.

    Runs on a float64 copy, whose random state and buffers are restored before each forward, with a
    random dy. A difference may be `tolerance` times the larger value plus the numeric error. If
    there are more than `entries` entries in all, a sample of them and random directions are
    checked. docs/gradient_check.md explains every step.

    A loss takes its `targets`; x, targets and what forward returns may be tuples of arrays. Two
    functions may stand for a layer, `forward(x, w, ...)` and `backward(dy, x, w, ...)` or
    `backward(dy)`, with the tuple (x, w, ...) as `x`.

    Raises:
        GradientCheckError: a rule is broken; says which, where, the likely cause and code for it.
        InputError: there is nothing to check, or an argument is invalid.

    >>> from tinynet import Dense
    >>> sorted(check_gradients(Dense(3, 2, rng=0), np.eye(3)))
    ['bias', 'weight', 'x']
    """
    __tracebackhide__ = True  # a failure shows its message, and not the lines of this function
    # Imported here so that `import tinynet` does not load them.
    from tinynet.gradcheck.inputs import generators_restored
    from tinynet.gradcheck.rules import check_rules
    from tinynet.gradcheck.setup import prepare_check

    check = prepare_check(layer, x, targets, rng=rng, tolerance=tolerance, entries=entries)
    with generators_restored(check.layer):
        try:
            return check_rules(check)
        except GradientCheckError as error:
            failure = error
        from tinynet.gradcheck.message import explain

        # The traceback inside the check does not help the reader.
        raise explain(check, failure).with_traceback(None) from failure.__cause__
