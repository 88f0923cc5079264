"""What a gradient check looked at, and how closely: a pass says what it covers."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from textwrap import wrap

# An entry is informative where an error this large, relative to the largest entry of its gradient,
# could not have hidden in what the numeric value may be off.
INFORMATIVE = 1e-3


@dataclass
class TensorReport:
    """What was checked of one gradient.

    `worst` is the largest difference between backward and forward, relative to the largest entry.
    Of the `checked` entries, `kinks` were judged nearby, because the slope jumps where they are,
    and of the `uninformative` nothing can be said: forward is too flat or too noisy there.
    `directions` were checked besides, each moving all entries at once.
    """

    shape: tuple[int, ...]
    entries: int
    checked: int = 0
    directions: int = 0
    worst: float = 0.0
    kinks: int = 0
    uninformative: int = 0


@dataclass
class Report:
    """The tensors by name, "x" and the parameters; `str` of it is a table."""

    layer: str
    seed: int
    tensors: dict[str, TensorReport] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)  # the preconditions, in words

    @property
    def informative(self) -> float:
        """The share of the checked entries that could be judged."""
        checked = sum(tensor.checked for tensor in self.tensors.values())
        return 1 - sum(tensor.uninformative for tensor in self.tensors.values()) / checked

    def __getitem__(self, name: str) -> TensorReport:
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __str__(self) -> str:
        head = ("gradient of", "shape", "entries", "directions", "worst", "kinks", "uninformative")
        rows = [
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
        widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
        lines = [f"{self.layer}: {self._verdict()}"]
        for row in [head, *rows]:
            left = (text.ljust(width) for text, width in zip(row[:2], widths[:2], strict=True))
            right = (text.rjust(width) for text, width in zip(row[2:], widths[2:], strict=True))
            lines.append("  " + "  ".join([*left, *right]))
        held = f"also held: {', '.join(self.held)}; rng={self.seed}"
        return "\n".join([*lines, *wrap(held, 96, initial_indent="  ", subsequent_indent="  ")])

    def _verdict(self) -> str:
        unknown = sum(tensor.uninformative for tensor in self.tensors.values())
        if not unknown:
            return "right"
        return f"nothing wrong found, but {unknown} entries could not be judged"


class Verdict(StrEnum):
    """The rule that a layer broke: each is looked at on its own."""

    FORWARD_RAISES = "forward takes one batch and raises for another"
    BACKWARD_RAISES = "backward raises"
    NOT_REPEATABLE = "forward is not repeatable"
    NOT_FINITE = "forward is not finite"
    CHANGED_IN_PLACE = "an array is changed in place"
    OVERWRITTEN = "a returned array is overwritten later"
    NO_GRADIENT = "a gradient is missing"
    SHAPE = "a gradient has another shape"
    DTYPE = "another dtype than float64 comes out"
    NOT_ZERO = "backward of 0 is not 0"
    NOT_LINEAR = "backward is not linear in dy"
    WRONG = "a gradient is wrong"
    OTHER_BATCH = "a gradient is wrong for another batch size"
    WITHOUT_DX = "backward_parameters differs from backward"
    LAYOUT = "the layout of x in memory matters"
    UNINFORMATIVE = "forward is too flat or too noisy to judge"


class Cause(StrEnum):
    """What a wrong gradient usually comes from."""

    SIGN = "the sign is turned"
    FACTOR_N = "a mean for a sum, or a factor N"
    FACTOR = "a constant factor"
    FACTOR_OF_A_TENSOR = "a factor too many or too few"
    WRONG_AXES = "summed over the wrong axes"
    TRANSPOSE = "a transpose"
    MEAN_TERM = "a dropped mean or sum"
    CROSS_TERMS = "only the diagonal of the Jacobian"
    TARGET_TERM = "the term of the targets is left out"
    MASK = "a missing mask"
    COMPLEMENT = "the complement of the mask"
    OWN_SLOPE = "the layer's own slope is left out"
    INPUT_FOR_OUTPUT = "x and y are mistaken for each other"
    UPSTREAM = "the upstream gradient is ignored"
    LAST_BRANCH = "only the last branch is counted"
    ONE_SLICE = "wrong in one slice only"
    NOT_FROM_DY = "a term that does not come from dy"
    BENT = "dy is clipped or bent"
    STALE = "a stale cache"
    FIXED_SIZE = "right for some batch sizes only"
    ADDED = "added to instead of written"
    IN_PLACE = "changed in place"
    REUSED = "a returned array is used again"
    LEFT_OUT = "the gradient is left out"
    EXTRA_AXIS = "the right numbers in another shape"
    RANDOMNESS = "randomness in the wrong place"
    PRECISION = "single precision inside"
    OVERFLOW = "an overflow, or 0 / 0"
    LAYOUT = "it counts on the order of bytes"
