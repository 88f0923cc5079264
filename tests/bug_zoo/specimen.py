"""A specimen of the zoo: a wrong layer, its inputs, and the cause that the check should name."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinynet import GradientCheckError, Layer
from tinynet.gradcheck import Cause
from tinynet.gradcheck.rules import check_rules
from tinynet.gradcheck.setup import prepare_check
from tinynet.samples import Samples

Draw = Callable[[Any], Any]  # x or targets from a np.random.Generator


class Specimen(NamedTuple):
    """A layer to be made, what it is fed, and the cause of its wrong gradient."""

    make: Callable[[], Layer]
    x: Draw
    cause: Cause
    targets: Draw | None = None

    def draw(self, seed: int) -> tuple[Samples, ...]:
        """X and, for a loss, its targets."""
        rng = np.random.default_rng(seed)
        x = self.x(rng)
        return (x,) if self.targets is None else (x, self.targets(rng))


ZOO: dict[str, Specimen] = {}


def normal(*shape: int) -> Draw:
    return lambda rng: rng.standard_normal(shape)


def labels(n: int, classes: int) -> Draw:
    return lambda rng: rng.integers(0, classes, n)


def bug(cause: Cause, x: Draw, targets: Draw | None = None) -> Callable[[type[Layer]], type[Layer]]:
    """Puts a class into the zoo, under its name."""

    def put(layer: type[Layer]) -> type[Layer]:
        assert layer.__name__ not in ZOO
        ZOO[layer.__name__] = Specimen(layer, x, cause, targets)
        return layer

    return put


def broken_rule(
    layer: Any, x: Any, *targets: Samples, **settings: Any
) -> GradientCheckError | None:
    """The error of the first broken rule, without the diagnosis, which takes ten times as long."""
    check = prepare_check(layer, x, *targets, **settings)
    try:
        check_rules(check)
    except GradientCheckError as error:
        return error
    return None
