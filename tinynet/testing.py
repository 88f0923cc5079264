"""Property-based gradient checks: Hypothesis draws a layer's configuration, x and targets.

    def test_gradients():
        check_layer(Gain, shapes=("N", "features"))

Hypothesis shrinks a failure to the smallest configuration; the error is that of `check_gradients`.
Needs hypothesis: in a clone, `pip install -e ".[testing]"`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import numpy as np

from tinynet.errors import GradientCheckError, InputError, Pattern, Shape
from tinynet.gradcheck.inputs import generators_restored, memory_layouts
from tinynet.gradcheck.message import explain
from tinynet.gradcheck.report import Report, Verdict
from tinynet.gradcheck.rules import check_rules
from tinynet.gradcheck.setup import GradientCheck, prepare_check
from tinynet.layer import Layer
from tinynet.parameter import Array
from tinynet.samples import Samples, arrays_of
from tinynet.signature import parameter_names
from tinynet.validation import finite_number

try:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp
except ImportError as error:
    raise ImportError(
        "tinynet.testing expects hypothesis to be installed, got none: "
        'in a clone, pip install -e ".[testing]"'
    ) from error

__all__ = ["check_layer", "floats", "labels", "probability_rows", "seeds", "shapes_like", "sizes"]

sizes = st.integers(1, 4)  # 1 is drawn often: many bugs show for one sample or an axis of size 1
seeds = st.integers(0, 2**32 - 1)


Draw = Callable[[Shape], st.SearchStrategy[Array]]


@st.composite
def shapes_like(
    draw: st.DrawFn, pattern: Pattern, named: dict[str, int] | None = None
) -> tuple[Shape, dict[str, int]]:
    """Shapes that match a pattern such as ("N", ..., 3, "features"), and the size of each name.

    As in `Layer.check_input`, a name stands for any size, or for the one that it has in `named`;
    ... stands for up to two axes.
    """
    named = dict(named or {})
    shape: list[int] = []
    for size in pattern:
        if isinstance(size, str):
            shape.append(named.setdefault(size, draw(sizes)))
        elif isinstance(size, EllipsisType):
            shape += draw(st.lists(sizes, max_size=2))
        else:
            shape.append(size)
    return tuple(shape), named


@st.composite
def floats(
    draw: st.DrawFn,
    shape: st.SearchStrategy[Shape] | Shape,
    dtype: Any = None,
    *,
    bound: float | None = None,
) -> Array:
    """Arrays of float32 or float64 between -`bound` and `bound`, in any memory layout.

    The bound is 0.003, 3 or 3000 by default.
    """
    if not isinstance(shape, tuple):
        shape = draw(shape)
    if dtype is None:
        dtype = draw(st.sampled_from([np.float64, np.float32]))
    if bound is None:
        bound = 3 * draw(st.sampled_from([1.0, 1e-3, 1e3]))
    bound = float(np.float32(bound))
    elements = st.floats(-bound, bound, width=32, allow_subnormal=False)
    x = draw(hnp.arrays(dtype, shape, elements=elements))
    return draw(st.sampled_from([x, *memory_layouts(x).values()]))


def labels(shape: Shape) -> st.SearchStrategy[Array]:
    """Integer labels (N, ...) for an x of shape (N, ..., C)."""
    kinds = st.sampled_from([np.int64, np.uint8, np.int32])
    return kinds.flatmap(
        lambda kind: hnp.arrays(kind, shape[:-1], elements=st.integers(0, shape[-1] - 1))
    )


@st.composite
def probability_rows(draw: st.DrawFn, shape: Shape) -> Array:
    """Probabilities (N, ..., C) that sum to 1 along the last axis, some of them one-hot."""
    weights = draw(floats(shape, np.float64, bound=3)) ** 2 + 1e-3
    kind = draw(st.sampled_from([np.float32, np.float64]))
    if draw(st.booleans()):
        one_hot = np.eye(shape[-1], dtype=draw(st.sampled_from([kind, np.int64])))
        return np.asarray(one_hot[weights.argmax(axis=-1)])
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), kind)


@dataclass(repr=False)
class DrawnLayer:
    """A drawn layer with its inputs, and the call that made it as text."""

    layer: Layer
    call: str
    x: Samples
    targets: Samples | None

    def __repr__(self) -> str:
        shapes = "" if self.targets is None else f" and targets of {_shapes_text(self.targets)}"
        return f"{self.call} on x of {_shapes_text(self.x)}{shapes}"


@st.composite
def drawn_layers(
    draw: st.DrawFn,
    /,
    factory: Callable[..., Layer],
    shapes: Any,
    x: Draw | tuple[Draw, ...] = floats,
    targets: Draw | tuple[Draw, ...] | None = None,
    **configuration: Any,
) -> DrawnLayer:
    """Layers made by `factory` from drawn arguments, each with an x and the targets of a loss."""
    named: dict[str, int] = {}
    shape: Any = []
    if isinstance(shapes, st.SearchStrategy):
        shape = draw(shapes)
    elif _are_several(shapes):
        for pattern in shapes:
            drawn, named = draw(shapes_like(pattern, named))
            shape.append(drawn)
    else:
        shape, named = draw(shapes_like(shapes))
    if _are_several(shape) and not isinstance(x, tuple):
        x = (x,) * len(shape)

    def samples(name: str, function: Draw | tuple[Draw, ...]) -> Samples:
        if not isinstance(function, tuple):
            return draw(function(shape))
        each = shape if _are_several(shape) else [shape] * len(function)
        if len(each) != len(function):
            raise InputError(
                f"check_layer expects a function of {name} for each of {len(each)} shapes, "
                f"got {len(function)}"
            )
        return tuple(draw(one(own)) for one, own in zip(function, each, strict=True))

    names = parameter_names(factory)
    arguments = {name: size for name, size in named.items() if name in names}
    for name, value in configuration.items():
        arguments[name] = draw(value) if isinstance(value, st.SearchStrategy) else value
    inside = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    call = f"{_name(factory)}({inside})"
    drawn_x = samples("x", x)
    drawn_targets = None if targets is None else samples("targets", targets)
    return DrawnLayer(factory(**arguments), call, drawn_x, drawn_targets)


def check_layer(
    factory: Callable[..., Layer],
    shapes: Pattern | tuple[Pattern, ...] | st.SearchStrategy[Any],
    *,
    x: Draw | tuple[Draw, ...] = floats,
    targets: Draw | tuple[Draw, ...] | None = None,
    informative: float = 0.9,
    examples: float = 1.0,
    **configuration: Any,
) -> None:
    """Runs `check_gradients` on layers of many drawn configurations, shapes and values.

    `shapes` is a pattern of x's shape as in `Layer.check_input`, a tuple of patterns for an x of
    several arrays, or a strategy of shapes. `factory` gets the sizes of the axes that it has
    arguments for; further arguments follow by keyword, as values or strategies. `x` and, for a
    loss, `targets` are functions from a shape to a strategy, or tuples of them. `examples` is the
    share of the examples in Hypothesis' settings to draw, at least one. Write a function around a
    constructor that has an argument of one of these names, or `**arguments`.

    Raises:
        GradientCheckError: for the smallest configuration that fails, or if less than the share
            `informative` of all entries could be judged.
        InputError: an argument is invalid, or the factory returns no layer.

    >>> from tinynet import Dense
    >>> check_layer(Dense, shapes=("N", "in_features"), out_features=sizes)
    """
    __tracebackhide__ = True  # a failure shows its message, and not the lines of this function
    _check_arguments(factory, shapes, x, targets)
    informative = finite_number("check_layer", "informative", informative, at_least=0, at_most=1)
    examples = finite_number("check_layer", "examples", examples, at_least=0, at_most=1)
    failed: list[tuple[DrawnLayer, GradientCheck]] = []
    reports: list[Report] = []
    drawn = drawn_layers(factory, shapes, x, targets, **configuration)

    def gradients_are_right(drawn: DrawnLayer, seed: int) -> None:
        if not isinstance(drawn.layer, Layer):
            raise InputError(f"check_layer expects {drawn.call} to be a layer, got {drawn.layer!r}")
        check = prepare_check(drawn.layer, drawn.x, drawn.targets, rng=seed)
        try:
            with generators_restored(check.layer):
                reports.append(check_rules(check))
        except GradientCheckError:
            failed.append((drawn, check))
            raise

    # Hypothesis stores failures under the name of the test.
    gradients_are_right.__name__ = re.sub(r"\W", "_", f"check_{_name(factory)}")
    test = given(drawn, st.integers(0, 9))(gradients_are_right)
    patient = settings(
        deadline=None,
        max_examples=max(round(examples * settings().max_examples), 1),
        # Its explanation traces every line of every check, and the message here says more.
        phases=[phase for phase in settings().phases if phase is not Phase.explain],
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
    )
    try:
        patient(test)()
    except GradientCheckError as error:
        # The last failure is the smallest one.
        smallest, check = failed[-1]
        explained = explain(check, error)
        explained.add_note(f"The smallest configuration that fails: {smallest!r}")
        raise explained.with_traceback(None) from error.__cause__
    _check_informative(factory, reports, informative)


def _check_arguments(factory: Any, shapes: Any, x: Any, targets: Any) -> None:
    if not callable(factory) or isinstance(factory, Layer):
        raise InputError(
            f"check_layer expects a class or function that makes a layer, got {factory!r}"
        )
    if isinstance(shapes, str) or not isinstance(shapes, Sequence | st.SearchStrategy):
        raise InputError(
            'check_layer expects shapes to be a pattern such as ("N", "features") or a strategy '
            f"of shapes, got {shapes!r}"
        )
    for name, value in (("x", x), ("targets", targets)):
        for function in value if isinstance(value, tuple) else (value,):
            if value is not None and (
                not callable(function) or isinstance(function, st.SearchStrategy)
            ):
                raise InputError(
                    f"check_layer expects {name} to be a function from a shape to a strategy, "
                    f"got {function!r}"
                )


def _are_several(shapes: Any) -> bool:
    """Whether these are the shapes, or patterns of shapes, of several arrays."""
    return len(shapes) > 0 and all(isinstance(shape, tuple | list) for shape in shapes)


def _shapes_text(samples: Samples) -> str:
    return " and ".join(f"{array.shape}" for array in arrays_of(samples))


def _check_informative(
    factory: Callable[..., Layer], reports: list[Report], informative: float
) -> None:
    entries = [tensor for report in reports for tensor in report.tensors.values()]
    checked = sum(tensor.checked for tensor in entries)
    unknown = sum(tensor.uninformative for tensor in entries)
    if unknown > (1 - informative) * checked:
        raise GradientCheckError(
            f"{unknown} of {checked} entries could not be judged, because forward is too flat or "
            f"too noisy there: expected at most {1 - informative:.0%}; draw other values by x=",
            verdict=Verdict.UNINFORMATIVE,
            layer=_name(factory),
        )


def _name(factory: Callable[..., Layer]) -> str:
    return getattr(factory, "__name__", repr(factory))
