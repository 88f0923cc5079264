"""The result of a gradient check: a report per tensor, the broken rule, and the likely cause."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from html import escape
from textwrap import wrap
from typing import NamedTuple

from tinynet.html import html_table

# An entry is informative if the numeric error, relative to the largest entry of its gradient,
# is at most this.
INFORMATIVE = 1e-3


@dataclass
class TensorReport:
    """The entries of one gradient that were checked, and their largest difference.

    `worst` is the largest difference between backward and forward, relative to the largest entry.
    Of the `checked` entries, `kinks` were checked at a point nearby, because the derivative jumps
    there, and the `uninformative` could not be judged, because forward is too flat or too noisy.
    `directions` counts the checks that perturb all entries at once.
    """

    shape: tuple[int, ...]
    entries: int
    checked: int = 0
    directions: int = 0
    worst: float = 0.0
    kinks: int = 0
    uninformative: int = 0


@dataclass(repr=False)
class Report:
    """The reports of all tensors by name, "x" and the parameters; shown, it is a table."""

    layer: str
    seed: int
    tensors: dict[str, TensorReport] = field(default_factory=dict)
    rules: list[str] = field(default_factory=list)  # the other rules that were checked

    @property
    def informative(self) -> float:
        """The share of the checked entries that could be judged."""
        checked = sum(tensor.checked for tensor in self.tensors.values())
        return 1 - self._uninformative() / checked

    def _uninformative(self) -> int:
        return sum(tensor.uninformative for tensor in self.tensors.values())

    def __getitem__(self, name: str) -> TensorReport:
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def _rows(self) -> list[tuple[str, str, str, str, str, str, str]]:
        head = ("gradient of", "shape", "entries", "directions", "worst", "kinks", "uninformative")
        return [head] + [
            (
                name,
                f"{tensor.shape}",
                f"{tensor.checked:,} of {tensor.entries:,}",
                f"{tensor.directions}",
                f"{tensor.worst:.0e}" if tensor.worst else "0",
                f"{tensor.kinks}",
                f"{tensor.uninformative}",
            )
            for name, tensor in self.tensors.items()
        ]

    def __repr__(self) -> str:
        rows = self._rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [f"{self.layer}: {self._result()}"]
        for row in rows:
            left = (text.ljust(width) for text, width in zip(row[:2], widths[:2], strict=True))
            right = (text.rjust(width) for text, width in zip(row[2:], widths[2:], strict=True))
            lines.append("  " + "  ".join([*left, *right]))
        also = wrap(self._also(), 96, initial_indent="  ", subsequent_indent="  ")
        return "\n".join([*lines, *also])

    def _repr_html_(self) -> str:
        head, *rows = self._rows()
        table = html_table(f"{self.layer}: {self._result()}", head, rows)
        return f"{table}\n{escape(self._also())}"

    def _also(self) -> str:
        return f"also checked: {', '.join(self.rules)}; rng={self.seed}"

    def _result(self) -> str:
        if not (unknown := self._uninformative()):
            return "right"
        return f"nothing wrong found, but {unknown} entries could not be judged"


class Verdict(StrEnum):
    """The rule that a layer breaks."""

    FORWARD_RAISES = "forward raises for another batch"
    BACKWARD_RAISES = "backward raises"
    NOT_REPEATABLE = "forward is not repeatable"
    NOT_FINITE = "forward is not finite"
    CHANGED_IN_PLACE = "an array is changed in place"
    OVERWRITTEN = "a returned array is overwritten later"
    NO_GRADIENT = "a gradient is missing"
    SHAPE = "a gradient has the wrong shape"
    DTYPE = "the result is not float64"
    NOT_ZERO = "backward of 0 is not 0"
    NOT_LINEAR = "backward is not linear in dy"
    WRONG = "a gradient is wrong"
    OTHER_BATCH = "a gradient is wrong for another batch size"
    WITHOUT_DX = "backward_parameters differs from backward"
    LAYOUT = "the result depends on the memory layout of x"
    REFILLED = "the result depends on what the array of x held before"
    UNINFORMATIVE = "forward is too flat or too noisy to judge"


class Cause(StrEnum):
    """The common causes of a wrong gradient."""

    SIGN = "the wrong sign"
    FACTOR_N = "a mean instead of a sum, or a factor N"
    FACTOR = "a constant factor"
    FACTOR_OF_A_TENSOR = "an extra or a missing factor"
    WRONG_AXES = "summed over the wrong axes"
    TRANSPOSE = "a transpose"
    MEAN_TERM = "a missing mean or sum term"
    CROSS_TERMS = "only the diagonal of the Jacobian"
    TARGET_TERM = "the wrong term of the targets"
    MASK = "a missing mask"
    COMPLEMENT = "an inverted mask"
    OWN_SLOPE = "the derivative of the layer itself is missing"
    INPUT_FOR_OUTPUT = "x and y are confused"
    UPSTREAM = "the upstream gradient is ignored"
    LAST_BRANCH = "only one branch is counted"
    ONE_SLICE = "wrong in one slice only"
    NOT_FROM_DY = "a term that does not depend on dy"
    NONLINEAR = "clipped, or otherwise nonlinear in dy"
    STALE = "a stale cache"
    FIXED_SIZE = "a fixed batch size"
    ADDED = "accumulated instead of overwritten"
    IN_PLACE = "changed in place"
    REUSED = "a returned array is used again"
    LEFT_OUT = "the gradient is left out"
    EXTRA_AXIS = "the right values in another shape"
    RANDOMNESS = "random numbers that do not repeat"
    PRECISION = "single precision inside"
    ARRAYS = "arrays of a tuple are confused"
    OVERFLOW = "an overflow, or 0 / 0"
    LAYOUT = "it depends on the memory layout"


class Diagnosis(NamedTuple):
    """A cause (None for unknown), whether it is proved, and the evidence as a clause."""

    cause: Cause | None
    certain: bool
    sentence: str
