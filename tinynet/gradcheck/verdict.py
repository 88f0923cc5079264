"""What can be wrong with a layer, and the error that says it."""

from collections.abc import Iterable
from enum import StrEnum


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


class GradientCheckError(AssertionError):
    """A layer's backward does not fit its forward, or one of them cannot be trusted.

    `verdict` says which rule is broken. For a wrong entry `parameter` (or "x"), `index`,
    `analytic`, `numeric` and `error`, how far the numeric value may be off, say which and how.
    `cause` is the likely cause, None for unknown, and `certain` whether it is proved. `snippet`
    is code that reproduces the failure.
    """

    def __init__(
        self,
        message: str,
        *,
        verdict: Verdict,
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
        self.around = list(around)  # (index, analytic, numeric) of the entries next to it
        self.cause: Cause | None = None
        self.certain = False
        self.snippet = ""
