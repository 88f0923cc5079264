"""Every exception that the package raises on purpose.

The message is one sentence: who complains, what was expected, what was got, and a remedy.
"""

from collections.abc import Iterable, Sequence
from copyreg import __newobj__ as newobj  # type: ignore[attr-defined]  # calls __new__ alone
from enum import StrEnum
from types import EllipsisType
from typing import Any

Shape = tuple[int, ...]
Pattern = Sequence[
    int | str | EllipsisType
]  # sizes; a letter stands for any size, ... for any axes


class _Portable:
    """An error that survives `pickle`, as on its way out of a `multiprocessing.Pool`."""

    args: tuple[Any, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        # Without __init__, whose arguments are not kept. A layer in an error becomes its text: it
        # may have large weights, or functions that cannot be pickled.
        args = (str(a) if hasattr(a, "forward") else a for a in self.args)
        state = {n: str(v) if hasattr(v, "forward") else v for n, v in vars(self).items()}
        return newobj, (type(self), *args), state


class InputError(_Portable, ValueError):
    """A layer, loss or optimizer got something that it does not accept."""

    def add_location(self, location: str) -> None:
        """Puts the part of a network in which it was raised in front of the message."""
        self.args = (f"{location}: {self}",)


class ShapeError(InputError):
    """An array has another shape than a layer expects.

    Containers add the `location` of the layer and the `source` of x as the error passes them.

    >>> error = ShapeError("Dense(3, 2)", "x", (..., 3), (8, 5), "in_features=5 would fit")
    >>> error.add_location("layer 2 of 2")
    >>> error.source = " from layer 1, ReLU()"
    >>> print(error)
    layer 2 of 2: Dense(3, 2) expects x of shape (..., 3), got (8, 5) from layer 1, ReLU(); \
in_features=5 would fit
    """

    def __init__(self, layer: Any, name: str, pattern: Pattern, got: Shape, hint: str = "") -> None:
        super().__init__(layer, name, pattern, got, hint)
        self.layer, self.name, self.pattern, self.got, self.hint = layer, name, pattern, got, hint
        self.location = self.source = ""

    def add_location(self, location: str) -> None:
        """Puts a location in front of those that are there."""
        self.location = f"{location}: {self.location}"

    def __str__(self) -> str:
        sizes = ", ".join("..." if size is ... else str(size) for size in self.pattern)
        sizes += "," if len(self.pattern) == 1 else ""
        hint = f"; {self.hint}" if self.hint else ""
        return (
            f"{self.location}{self.layer} expects {self.name} of shape ({sizes}), "
            f"got {self.got}{self.source}{hint}"
        )


class EmptyBatchError(InputError):
    """A layer cannot take an empty batch, so that its output shape is unknown."""


class CheckpointError(_Portable, ValueError):
    """A checkpoint file cannot be written or read; the message begins with its path."""

    def __init__(self, path: object, sentence: object) -> None:
        super().__init__(f"{path}: {sentence}")


class DatasetError(_Portable, ValueError):
    """A dataset file is missing, damaged or of another kind; the message begins with its path."""

    def __init__(self, path: object, expected: str, got: str) -> None:
        super().__init__(f"{path}: expected {expected}, got {got}")


class DivergenceError(_Portable, ArithmeticError):
    """The loss became infinite or NaN; the parameters are those before this step."""


class AnomalyError(_Portable, ArithmeticError):
    """`detect_anomaly` found the first NaN or infinity: `layer` is the path and repr of its layer.

    `phase` is "input", "forward", "backward" or "step" (of the optimizer). `step` is the number of
    the step, counted from 1 over the whole run of the trainer or optimizer. `array` names the
    array with the NaN or infinity and `index` is its first position there.
    """

    def __init__(
        self, layer: str, phase: str, step: int, array: str, index: tuple[int, ...], rest: str
    ) -> None:
        super().__init__(
            f"{layer}, {phase}, step {step}: {array} has the first NaN or infinity "
            f"at index {index}, {rest}"
        )
        self.layer = layer
        self.phase = phase
        self.step = step
        self.array = array
        self.index = index


class GradientCheckError(_Portable, AssertionError):
    """A layer's backward does not fit its forward, or one of them cannot be trusted.

    `verdict` is the broken rule. For a wrong entry, `parameter` (or "x"), `index`, `analytic`,
    `numeric` and `error`, the uncertainty of the numeric value, say which entry and by how much.
    `cause` is the likely cause, None for unknown, and `certain` whether it is proved. `snippet`
    is code that reproduces the failure.
    """

    def __init__(
        self,
        message: str,
        *,
        verdict: StrEnum,
        layer: str,
        parameter: str | None = None,
        index: tuple[int, ...] | None = None,
        analytic: float | None = None,
        numeric: float | None = None,
        error: float | None = None,
        around: Iterable[tuple[tuple[int, ...], float, float]] = (),
    ) -> None:
        super().__init__(f"{layer}: {message}")
        self.verdict = verdict
        self.layer = layer
        self.parameter = parameter
        self.index = index
        self.analytic = analytic
        self.numeric = numeric
        self.error = error
        self.around = list(around)  # (index, analytic, numeric) of the neighbouring entries
        self.cause: StrEnum | None = None
        self.certain = False
        self.snippet = ""
