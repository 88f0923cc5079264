"""The gradient check: every derivative that `backward` gives, against one measured on `forward`."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet.errors import GradientCheckError
from tinynet.gradcheck.report import Report
from tinynet.layer import Layer
from tinynet.parameter import Array


def check_gradients(
    layer: Layer | tuple[Callable[..., Any], Callable[..., Any]],
    x: Array | tuple[Array, ...],
    targets: Array | None = None,
    *,
    rng: np.random.Generator | int = 0,
    tolerance: float = 1e-6,
    entries: int = 15_000,
) -> Report:
    """Checks dx and every parameter's gradient against differences of `forward`, in float64.

    Works on a copy, whose random state and buffers are put back before each forward; dy is random,
    of both signs. The two values may differ by `tolerance` times the larger, plus what the numeric
    one may be off. An entry at a kink, such as ReLU at 0, is judged at a point nearby. Where there
    are more than `entries` in all, a sample of them is looked at and directions that move all.

    A loss is given its `targets`, too. Two plain functions do as well: `forward(x, w, ...)` and
    `backward(dy, x, w, ...)` or `backward(dy)`, with the arrays as a tuple in place of x.

    Returns a report of what was covered; printed, it is a table.

    Raises:
        GradientCheckError: says which rule is broken, where, why, and how to see it again.
        InputError: there is nothing to check: x is empty or not finite, or of integers and the
            layer without parameters.

    >>> from tinynet import Dense
    >>> sorted(check_gradients(Dense(3, 2, rng=0), np.eye(3)))
    ['bias', 'weight', 'x']
    """
    # Who imports tinynet to train does not pay for what checks and explains.
    from tinynet.gradcheck.inputs import prepare
    from tinynet.gradcheck.layer_under_test import GlobalGenerators
    from tinynet.gradcheck.rules import examine

    case = prepare(layer, x, targets, rng=rng, tolerance=tolerance, entries=entries)
    with GlobalGenerators.kept(case.layer):
        try:
            return examine(case)
        except GradientCheckError as error:
            failure = error
        from tinynet.gradcheck.message import explain

        # Where inside the check it was found is nothing to its reader.
        raise explain(case, failure).with_traceback(None) from failure.__cause__
