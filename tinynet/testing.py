"""Tests of layers in one line: Hypothesis draws the configuration, the shape and the numbers.

    def test_gradients():
        check_layer(Gain, shapes=("N", "features"))

Where `check_layer` finds a gradient that is wrong, Hypothesis shrinks the failure to the smallest
configuration, and the error is that of `check_gradients`. Needs hypothesis, as
`pip install "tinynet-numpy[testing]"` brings it.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import numpy as np

from tinynet.errors import GradientCheckError, InputError
from tinynet.gradcheck.inputs import Case, prepare
from tinynet.gradcheck.layer_under_test import GlobalGenerators
from tinynet.gradcheck.message import explain
from tinynet.gradcheck.report import Report, Verdict
from tinynet.gradcheck.rules import examine, layouts
from tinynet.layer import Layer
from tinynet.parameter import Array

try:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp
except ImportError as error:
    raise ImportError(
        "tinynet.testing expects hypothesis to be installed, got none: "
        'pip install "tinynet-numpy[testing]"'
    ) from error

__all__ = ["check_layer", "floats", "labels", "probability_rows", "seeds", "shapes_like", "sizes"]

Shape = tuple[int, ...]
Pattern = Sequence[int | str | EllipsisType]

sizes = st.integers(1, 4)  # 1 is drawn often: batch 1 and axes of size 1 are where layers break
seeds = st.integers(0, 2**32 - 1)


@st.composite
def shapes_like(draw: st.DrawFn, pattern: Pattern) -> tuple[Shape, dict[str, int]]:
    """Shapes that fit a pattern such as ("N", ..., 3, "features"), and the size of each name.

    A number stands for itself, a name for any size, ... for up to two axes: as in
    `Layer.check_input`.
    """
    named: dict[str, int] = {}
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
    """Arrays of floats, float32 or float64, in any layout in memory.

    They reach from -`bound` to `bound`; by default that is 0.003, 3 or 3000.
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
    return draw(st.sampled_from([x, *layouts(x).values()]))


def labels(shape: Shape) -> st.SearchStrategy[Array]:
    """Integer labels (N, ...) for an x of shape (N, ..., C)."""
    kinds = st.sampled_from([np.int64, np.uint8, np.int32])
    return kinds.flatmap(
        lambda kind: hnp.arrays(kind, shape[:-1], elements=st.integers(0, shape[-1] - 1))
    )


@st.composite
def probability_rows(draw: st.DrawFn, shape: Shape) -> Array:
    """Rows (N, ..., C) that are at least 0 and sum to 1, some of them certain of one class."""
    weights = draw(floats(shape, np.float64, bound=3)) ** 2 + 1e-3
    kind = draw(st.sampled_from([np.float32, np.float64]))
    if draw(st.booleans()):
        one_hot = np.eye(shape[-1], dtype=draw(st.sampled_from([kind, np.int64])))
        return np.asarray(one_hot[weights.argmax(axis=-1)])
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), kind)


@dataclass(repr=False)
class LayerCase:
    """A layer as it was drawn, with what it is checked on."""

    layer: Layer
    call: str
    x: Array
    targets: Array | None

    def __repr__(self) -> str:
        shape = "" if self.targets is None else f" and targets of {self.targets.shape}"
        return f"{self.call} on x of {self.x.shape}{shape}"


@st.composite
def layer_cases(
    draw: st.DrawFn,
    /,
    factory: Callable[..., Layer],
    shapes: Pattern | st.SearchStrategy[Shape],
    x: Callable[[Shape], st.SearchStrategy[Array]] = floats,
    targets: Callable[[Shape], st.SearchStrategy[Array]] | None = None,
    **configuration: Any,
) -> LayerCase:
    """A layer, made by `factory` from what is drawn, with an x and the targets of a loss."""
    named: dict[str, int] = {}
    if isinstance(shapes, st.SearchStrategy):
        shape = draw(shapes)
    else:
        shape, named = draw(shapes_like(shapes))
    takes = _argument_names(factory)
    arguments = {name: size for name, size in named.items() if name in takes}
    for name, value in configuration.items():
        arguments[name] = draw(value) if isinstance(value, st.SearchStrategy) else value
    inside = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    call = f"{_name(factory)}({inside})"
    drawn_x = draw(x(shape))
    return LayerCase(
        factory(**arguments), call, drawn_x, None if targets is None else draw(targets(shape))
    )


def check_layer(
    factory: Callable[..., Layer],
    shapes: Pattern | st.SearchStrategy[Shape],
    *,
    x: Callable[[Shape], st.SearchStrategy[Array]] = floats,
    targets: Callable[[Shape], st.SearchStrategy[Array]] | None = None,
    informative: float = 0.9,
    examples: float = 1.0,
    **configuration: Any,
) -> None:
    """Runs `check_gradients` on layers of many configurations, shapes and numbers.

    `shapes` is a pattern of x's shape as in `Layer.check_input`, or a strategy of shapes. What
    `factory` takes by the name of an axis it is given; further arguments follow by keyword, as
    values or as strategies. `x` and, for a loss, `targets` give a strategy for a shape.

    Of the examples that Hypothesis' settings allow the share `examples` is drawn, at least one: a
    large layer takes its time. For a constructor with an argument of one of these names, or with
    **arguments, write a function around it.

    Raises:
        GradientCheckError: for the smallest configuration that fails; also where less than the
            share `informative` of all entries could be judged.
        InputError: an argument is of another kind, or the factory makes no layer.

    >>> from tinynet import Dense
    >>> check_layer(Dense, shapes=("N", "in_features"), out_features=sizes)
    """
    _check_arguments(factory, shapes, x, targets)
    _check_shares(informative=informative, examples=examples)
    failed: list[tuple[LayerCase, Case]] = []
    reports: list[Report] = []
    drawn = layer_cases(factory, shapes, x, targets, **configuration)

    def gradients_are_right(drawn: LayerCase, seed: int) -> None:
        if not isinstance(drawn.layer, Layer):
            raise InputError(f"check_layer expects {drawn.call} to be a layer, got {drawn.layer!r}")
        case = prepare(drawn.layer, drawn.x, drawn.targets, rng=seed)
        try:
            with GlobalGenerators.kept(case.layer):
                reports.append(examine(case))
        except GradientCheckError:
            failed.append((drawn, case))
            raise

    # Hypothesis keeps failures under the name of the test.
    gradients_are_right.__name__ = re.sub(r"\W", "_", f"check_{_name(factory)}")
    test = given(drawn, st.integers(0, 9))(gradients_are_right)
    patient = settings(
        deadline=None,
        max_examples=max(round(examples * settings().max_examples), 1),
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
    )
    try:
        patient(test)()
    except GradientCheckError as error:
        # What failed last is what Hypothesis could not make smaller.
        smallest, case = failed[-1]
        explained = explain(case, error)
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
        if value is not None and (not callable(value) or isinstance(value, st.SearchStrategy)):
            raise InputError(
                f"check_layer expects {name} to be a function from a shape to a strategy, "
                f"got {value!r}"
            )


def _check_shares(**shares: float) -> None:
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise InputError(f"check_layer expects {name} to be a share from 0 to 1, got {share!r}")


def _check_informative(
    factory: Callable[..., Layer], reports: list[Report], informative: float
) -> None:
    entries = [tensor for report in reports for tensor in report.tensors.values()]
    checked = sum(tensor.checked for tensor in entries)
    unknown = sum(tensor.uninformative for tensor in entries)
    if unknown > (1 - informative) * checked:
        raise GradientCheckError(
            f"{unknown} of {checked} entries could not be judged, where forward is too flat or "
            "too noisy: expected at most "
            f"{1 - informative:.0%}; draw other numbers by x=",
            verdict=Verdict.UNINFORMATIVE,
            layer=_name(factory),
        )


def _name(factory: Callable[..., Layer]) -> str:
    return getattr(factory, "__name__", repr(factory))


def _argument_names(factory: Callable[..., Layer]) -> set[str]:
    try:
        return set(inspect.signature(factory).parameters)
    except ValueError:  # a class written in C shows none
        return set()
