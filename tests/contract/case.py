"""What `test_contract` runs: a layer, the shape of its x, and the targets of a loss."""

from collections.abc import Callable
from typing import Any, NamedTuple

from tinynet import Layer

N = 5  # samples


class Case(NamedTuple):
    make: Callable[[], Layer]
    shape: tuple[int, ...]  # of x
    targets: tuple[Any, ...] = ()  # of a loss
    mixes_samples: bool = False  # y of a sample depends on the rest of its batch
    ids: int = 0  # x is of integers below this; floats where it is 0
