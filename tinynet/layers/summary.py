"""A summary is a network as a table: its layers, their output shapes, what they have to learn."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tinynet.layer import Layer
from tinynet.parameter import Parameter

Step = tuple[str, Layer, Any]  # path, layer, y


def table(taken: Sequence[Step], parameters: Sequence[Parameter]) -> str:
    """A row for each (path, layer, y) of `Sequential.walk`, and the totals.

    >>> from tinynet import Dense, ReLU, Sequential
    >>> Sequential([Sequential([Dense(4, 3), ReLU()]), Dense(3, 2, bias=False)]).summary((8, 4))
    layer                          output shape  parameters
    0.0  Dense(4, 3)               (8, 3)                15
    0.1  ReLU()                    (8, 3)                 0
    1    Dense(3, 2, bias=False)   (8, 2)                 6
    total                                                21  (84 bytes)
    """
    rows = [
        (path, f"{layer!r}", f"{np.shape(y)}", f"{_count(layer.parameters()):,}")
        for path, layer, y in taken
    ]
    path, name, shape = (max(len(row[column]) for row in rows) for column in range(3))
    shape = max(shape, len("output shape"))
    left = path + 2 + name
    total = f"{_count(parameters):,}"
    size = f"{sum(parameter.value.nbytes for parameter in parameters):,} bytes"
    lines = [
        f"{'layer':{left}}   {'output shape':{shape}}  {'parameters':>10}",
        *(f"{row[0]:{path}}  {row[1]:{name}}   {row[2]:{shape}}  {row[3]:>10}" for row in rows),
        f"{'total':{left}}   {'':{shape}}  {total:>10}  ({size})",
    ]
    return "\n".join(lines)


def steps(chain: Any, x: Any, prefix: str = "") -> list[Step]:
    """What `Sequential.walk` returns, for the layers of a chain and of chains inside it."""
    taken: list[Step] = []
    for index, layer in enumerate(chain):
        path = f"{prefix}{index}"
        if isinstance(layer, type(chain)):
            taken += chain.at(index, partial(steps, layer, prefix=f"{path}."), x)
        else:
            taken.append((path, layer, chain.at(index, layer, x)))
        x = taken[-1][2]
    return taken


def _count(parameters: Sequence[Parameter]) -> int:
    return sum(parameter.value.size for parameter in parameters)
