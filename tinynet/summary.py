"""Summary: the layers of a network with their output shapes and numbers of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynet.mode import inference
from tinynet.parameter import Parameter
from tinynet.recording import recording
from tinynet.samples import Samples, arrays_of

if TYPE_CHECKING:
    from tinynet.layer import Layer


def summary_table(model: Layer, x_or_shape: Samples | Sequence[Any]) -> str:
    """A row for each layer that computes something, in the order of the calls, and the totals.

    Containers such as `Sequential` and `Residual` are shown as the layers inside them; `layers` is
    left out of the paths. A layer that is called twice has the output shape of its last call, and
    one that is not called has none. A copy of the model runs, in inference mode.

    >>> from tinynet import Dense, ReLU, Residual
    >>> print(summary_table(Residual([Dense(4, 3), ReLU(), Dense(3, 4, bias=False)]), (8, 4)))
    layer                             output shape  parameters
    body.0  Dense(4, 3)               (8, 3)                15
    body.1  ReLU()                    (8, 3)                 0
    body.2  Dense(3, 4, bias=False)   (8, 4)                12
    total                                                   27  (108 bytes)
    """
    parameters, model = model.parameters(), deepcopy(model)
    with recording(model) as calls, inference():
        model(model.example_input(x_or_shape))
    shapes = {call.path: shape_text(call.output) for call in calls}
    layers = dict(model.named_layers())
    order = [*shapes, *(path for path in layers if path not in shapes)]
    rows = [
        (_short(path), f"{layers[path]!r}", shapes.get(path, "not called"), f"{own:,}")
        for path, own in ((path, _own(layers[path])) for path in order)
        if own or len(layers[path].named_layers()) == 1
    ]
    path, name, shape = (max(len(row[column]) for row in rows) for column in range(3))
    shape = max(shape, len("output shape"))
    gap = "  " if path else ""
    left = path + len(gap) + name
    size = f"{sum(parameter.value.nbytes for parameter in parameters):,} bytes"
    lines = [
        f"{'layer':{left}}   {'output shape':{shape}}  {'parameters':>10}",
        *(f"{row[0]:{path}}{gap}{row[1]:{name}}   {row[2]:{shape}}  {row[3]:>10}" for row in rows),
        f"{'total':{left}}   {'':{shape}}  {_count(parameters):>10,}  ({size})",
    ]
    return "\n".join(lines)


def shape_text(samples: Samples) -> str:
    """The shape of an array, or those of a tuple of arrays."""
    return ", ".join(str(np.shape(array)) for array in arrays_of(samples))


def _short(path: str) -> str:
    return ".".join(part for part in path.split(".") if part != "layers")


def _own(layer: Layer) -> int:
    """The number of parameters of a layer without those of the layers inside it."""
    inside = {id(p) for _, sub in layer.named_layers()[1:] for p in sub.parameters()}
    return _count([parameter for parameter in layer.parameters() if id(parameter) not in inside])


def _count(parameters: Sequence[Parameter]) -> int:
    return sum(parameter.value.size for parameter in parameters)
