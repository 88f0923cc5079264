"""What each usual slip makes of the right numbers: a hypothesis fits where that came out."""

from collections.abc import Callable, Iterator
from itertools import combinations, permutations
from typing import NamedTuple

import numpy as np

from tinynet.gradcheck.measurements import Evidence
from tinynet.gradcheck.report import Cause
from tinynet.parameter import Array


class Diagnosis(NamedTuple):
    """A cause, None for unknown, whether it is proved, and what shows it."""

    cause: Cause | None
    certain: bool
    sentence: str


def other_shape(e: Evidence) -> Iterator[Diagnosis]:
    """For a gradient of a wrong shape: axes summed, not summed, swapped, or one too many."""
    a, n = e.analytic, e.numeric
    if a.size == n.size:
        if a.ndim == n.ndim and any(e.explains(a.transpose(axes), n) for axes in _orders(a)):
            yield Diagnosis(Cause.TRANSPOSE, True, "its axes in another order are right")
        elif e.explains(a.reshape(n.shape), n):
            yield Diagnosis(Cause.EXTRA_AXIS, True, f"reshaped to {n.shape} it is right")
    for axes in _subsets(a.ndim):
        if a.sum(axes).shape == n.shape and e.explains(a.sum(axes), n):
            yield Diagnosis(Cause.WRONG_AXES, True, f"summed over axis {_said(axes)} it is right")
    for axes in _subsets(n.ndim):
        for keepdims in (False, True):
            total = n.sum(axes, keepdims=keepdims)
            if total.shape == a.shape and e.explains(a, total):
                yield Diagnosis(
                    Cause.WRONG_AXES, True, f"it is the right one summed over axis {_said(axes)}"
                )


def _sign(e: Evidence) -> Iterator[Diagnosis]:
    if e.fits(-e.numeric):
        yield Diagnosis(Cause.SIGN, True, "every entry is the right one times -1")


def _nothing(e: Evidence) -> Iterator[Diagnosis]:
    if not e.analytic.any():
        yield Diagnosis(Cause.LEFT_OUT, True, "every entry is 0")


def _factor(e: Evidence) -> Iterator[Diagnosis]:
    factor = e.factor(e.numeric)
    if factor is None or abs(factor) < 1e-12 or e.fits(-e.numeric):
        return
    said = f"every entry is {_number(factor)} times the right one"
    elsewhere = e.factor_for(e.trial.case.other_numbers())
    if elsewhere is None or abs(elsewhere - factor) > 1e-4 * abs(factor):
        sentence = f"{said} here, and another time with other numbers"
        yield Diagnosis(Cause.FACTOR_OF_A_TENSOR, False, sentence)
        return
    more = [e.factor_for(e.trial.case.with_more(count)) for count in (2, 5)]
    if None in more:
        guess = Cause.FACTOR_N if _number(factor) in (f"{e.n}", f"1/{e.n}") else Cause.FACTOR
        yield Diagnosis(guess, False, said)
        return
    ratios = [other / factor for other in more if other is not None]
    if all(abs(ratio - 1) < 1e-4 for ratio in ratios):
        yield Diagnosis(Cause.FACTOR, True, said)
        return
    sizes = [(e.n + count) / e.n for count in (2, 5)]
    follows = any(
        all(abs(r - size**power) < 1e-4 * r for r, size in zip(ratios, sizes, strict=True))
        for power in (1, -1)
    )
    sentence = f"{said} for {e.n} samples, {_number(ratios[0] * factor)} times for {e.n + 2}"
    yield Diagnosis(Cause.FACTOR_N, follows, sentence)


def _transpose(e: Evidence) -> Iterator[Diagnosis]:
    n = e.numeric
    for axes in _orders(n):
        if n.transpose(axes).shape == n.shape and e.fits(n.transpose(axes)):
            yield Diagnosis(Cause.TRANSPOSE, True, "it is right with its axes swapped")
    if n.ndim > 1 and e.fits(n.T.reshape(n.shape)):
        yield Diagnosis(Cause.TRANSPOSE, True, "reshape stands where a transpose is meant")
    if n.ndim > 1 and e.fits(n.reshape(n.T.shape).T):
        yield Diagnosis(Cause.TRANSPOSE, True, "a transpose stands where reshape is meant")
    for axes in _subsets(n.ndim):
        if e.fits(np.flip(n, axes)):
            # With two entries along an axis it may as well be two things mistaken for each other.
            long = all(n.shape[axis] > 2 for axis in axes)
            sentence = f"it is right with axis {_said(axes)} reversed"
            yield Diagnosis(Cause.TRANSPOSE, long, sentence)
    jacobian = e.jacobian
    if jacobian is not None and e.name == "x" and n.shape == e.y.shape:
        turned = (jacobian.T @ e.dy.ravel()).reshape(n.shape)
        if e.fits(turned):
            yield Diagnosis(Cause.TRANSPOSE, True, "the Jacobian is applied the wrong way round")


def _axes(e: Evidence) -> Iterator[Diagnosis]:
    n = e.numeric
    for axes in _subsets(n.ndim):
        total = np.broadcast_to(n.sum(axes, keepdims=True), n.shape)
        count = int(np.prod([n.shape[axis] for axis in axes]))
        for factor, what in ((1, "sum"), (1 / count, "mean")):
            if count > 1 and e.fits(factor * total):
                # In dx that may be chance: the slopes of a softmax sum to 1.
                over = f"{what} of the right ones over axis {_said(axes)}"
                yield Diagnosis(Cause.WRONG_AXES, e.name != "x", f"every entry is the {over}")
    terms = e.terms
    if terms is None:
        return
    for axes in _subsets(terms.ndim):
        total = terms.sum(axes)
        if total.shape == n.shape and e.fits(total):
            yield Diagnosis(
                Cause.WRONG_AXES, True, f"it is summed over axis {_said(axes)} of dy, not its own"
            )


def _mask(e: Evidence) -> Iterator[Diagnosis]:
    """Zeros where the other has none: a mask left out, or turned round."""
    a, n = e.analytic, e.numeric
    small = 1e-9 * max(np.nanmax(np.abs(n)), np.abs(a).max())
    off, closed = np.abs(n) <= small, np.abs(a) <= small
    if not off.any() or off.all():
        return
    if (closed == ~off).all():
        sentence = "it is 0 just where it should not be, and the other way round"
        # Of a mask what is let through is dy, up to a factor; an index may be off by one as well.
        opened = e.elementwise and e.factor(np.where(closed, np.nan, e.dy)) is not None
        yield Diagnosis(Cause.COMPLEMENT, opened, sentence)
    elif (off & ~closed).any() and not (closed & ~off).any():
        factor = e.factor(np.where(off, np.nan, n))
        if factor is not None:
            most = "it is not 0 where the outputs do not follow the entry"
            yield Diagnosis(Cause.MASK, abs(factor - 1) < 1e-5, most)


def _target_term(e: Evidence) -> Iterator[Diagnosis]:
    """A loss whose gradient lacks what the targets add: p where p - t is meant."""
    if len(e.inputs) < 2:
        return
    x, targets = e.inputs
    if targets.ndim == 1 and x.ndim == 2 and targets.dtype.kind in "iu":
        targets = (targets[:, None] == np.arange(x.shape[1])).astype(float)
    while 0 < targets.ndim < x.ndim:
        targets = targets[..., None]
    missing = (e.numeric - e.analytic).reshape(1, -1)
    fits_x = all(t in (1, n) for t, n in zip(targets.shape, x.shape, strict=False))
    if fits_x and e.spans([np.broadcast_to(targets, x.shape).reshape(-1, 1)], missing):
        follows = e.follows_targets()
        what = (
            "the targets have another share than they should"
            if follows
            else ("what is missing is a share of the targets, which it does not follow at all")
        )
        yield Diagnosis(Cause.TARGET_TERM, not follows, what)


def _own_slope(e: Evidence) -> Iterator[Diagnosis]:
    if e.name == "x" and e.elementwise and e.fits(e.dy) and np.abs(e.numeric).min() > 0:
        yield Diagnosis(Cause.OWN_SLOPE, False, "dx is dy, as if y were x")


def _diagonal(e: Evidence) -> Iterator[Diagnosis]:
    jacobian = e.jacobian
    if jacobian is None or e.name != "x" or e.numeric.shape != e.y.shape or e.elementwise:
        return
    if e.fits(np.diagonal(jacobian).reshape(e.y.shape) * e.dy):
        sentence = "each output is taken to depend on the input at its own place alone"
        yield Diagnosis(Cause.CROSS_TERMS, True, sentence)


def _input_for_output(e: Evidence) -> Iterator[Diagnosis]:
    """Derivatives such as y (1 - y) and 1 - y², with x in them, or the other way round."""
    if e.name != "x" or not e.elementwise:
        return
    slopes: dict[str, Callable[[Array], Array]] = {
        "v (1 - v)": lambda v: v * (1 - v),
        "1 - v²": lambda v: 1 - v**2,
        "v": lambda v: v,
        "2 v": lambda v: 2 * v,
        "1 / v": lambda v: 1 / v,
        "1 / (2 v)": lambda v: 1 / (2 * v),
        "cos v": np.cos,
        "exp v": np.exp,
        "1 / (1 + exp(-v))": lambda v: 1 / (1 + np.exp(-v)),
        "1 - exp(-v)": lambda v: 1 - np.exp(-v),
        "1 - tanh² v": lambda v: 1 - np.tanh(v) ** 2,
        "s (1 - s) with s = 1 / (1 + exp(-v))": lambda v: 1 / (2 + np.exp(-v) + np.exp(v)),
    }
    x, y = e.inputs[0], e.y
    with np.errstate(all="ignore"):
        for formula, slope in slopes.items():
            for right, wrong, names in ((y, x, "v = y, not v = x"), (x, y, "v = x, not v = y")):
                if e.explains(slope(right) * e.dy, e.numeric) and e.fits(slope(wrong) * e.dy):
                    sentence = f"the slope is {formula} with {names}"
                    yield Diagnosis(Cause.INPUT_FOR_OUTPUT, True, sentence)


def _branches(e: Evidence) -> Iterator[Diagnosis]:
    """A sum over several ways to the outputs, of which only some are counted."""
    a, n = e.analytic, e.numeric
    parts = e.parts()
    whole = sum(parts, np.zeros_like(n))
    if len(parts) > 1 and e.explains(whole, n):
        for part in parts:
            if e.fits(part):
                yield Diagnosis(Cause.LAST_BRANCH, True, "it is what one inner layer gives alone")
    if e.name == "x" and a.shape == e.dy.shape and not e.elementwise:
        if e.fits(e.dy):
            yield Diagnosis(Cause.LAST_BRANCH, False, "dx is dy: only the straight way is counted")
        if e.fits(n - e.dy):
            yield Diagnosis(Cause.LAST_BRANCH, True, "dy is missing in dx: the straight way is not")
    each = e.contributions
    if each is None:
        return
    for axis in range(e.y.ndim):
        for place, word in ((-1, "last"), (0, "first")):
            along = np.moveaxis(each.reshape(-1, *e.y.shape), axis + 1, 1)
            if along.shape[1] > 1:
                part = along[:, place].reshape(len(each), -1).sum(axis=1).reshape(n.shape)
                if e.fits(part):
                    sentence = f"only the {word} index of axis {axis} of dy is counted"
                    yield Diagnosis(Cause.LAST_BRANCH, True, sentence)
    for ordered, word in ((each[:, ::-1], "last"), (each, "first")):
        if e.fits(_first(ordered).reshape(n.shape)):
            sentence = f"of the outputs that an entry reaches, only the {word} is counted"
            yield Diagnosis(Cause.LAST_BRANCH, True, sentence)
    if e.y.ndim > 1:
        # A row that several samples share, such as that of a word which comes twice.
        totals = each.reshape(len(each), -1, e.y.shape[-1]).sum(axis=2)
        if e.fits(_first(totals[:, ::-1]).reshape(n.shape)):
            sentence = "where several samples share an entry, only the last is counted"
            yield Diagnosis(Cause.LAST_BRANCH, True, sentence)


def _mean_term(e: Evidence) -> Iterator[Diagnosis]:
    """What is missing is the same along an axis, or follows x or y there: a mean's share."""
    if e.name != "x" or len(e.inputs) > 1:
        return
    x, missing = e.inputs[0], e.numeric - e.analytic
    for axes in _subsets(x.ndim):
        groups = _grouped(missing, axes)
        parts = zip(_grouped(e.numeric, axes), _grouped(e.analytic, axes), strict=True)
        if all(proportional(wrong, right) for right, wrong in parts):
            continue  # One factor for each group: nothing is missing but that.
        along = [("x", _grouped(x, axes))]
        if e.y.shape == x.shape:
            along.append(("y", _grouped(e.y, axes)))
            along.append(("exp y", np.exp(np.minimum(along[-1][1], 0))))
        for name, bases in along:
            shapes = [np.stack([np.ones_like(b), b], axis=1) for b in bases]
            if groups.shape[1] > 3 and e.spans(shapes, groups):
                sentence = f"what is missing is a constant and a share of {name} along axis "
                yield Diagnosis(Cause.MEAN_TERM, True, sentence + _said(axes))
            elif groups.shape[1] > 2 and e.spans([b[:, None] for b in bases], groups):
                sentence = f"what is missing is a share of {name} along axis {_said(axes)}"
                yield Diagnosis(Cause.MEAN_TERM, True, sentence)


def _factor_of_a_tensor(e: Evidence) -> Iterator[Diagnosis]:
    for name, tensor in e.others():
        try:
            spread = np.broadcast_to(tensor, e.numeric.shape)
        except ValueError:
            continue
        if np.ptp(spread) == 0:
            continue
        if e.fits(e.numeric * spread):
            sentence = f"{name} is multiplied in too often, or a division by it is missing"
            yield Diagnosis(Cause.FACTOR_OF_A_TENSOR, True, sentence)
        if e.explains(e.analytic * spread, e.numeric):
            yield Diagnosis(Cause.FACTOR_OF_A_TENSOR, True, f"a factor {name} is missing")


def _one_slice(e: Evidence) -> Iterator[Diagnosis]:
    wrong = ~e.close(e.analytic, e.numeric)
    for axis in range(wrong.ndim):
        rest = tuple(k for k in range(wrong.ndim) if k != axis)
        places = np.flatnonzero(wrong.any(axis=rest))
        if wrong.shape[axis] > 2 and len(places) == 1:
            sentence = f"right everywhere but at index {places[0]} of axis {axis}"
            yield Diagnosis(Cause.ONE_SLICE, False, sentence)


# From the special to the general; what comes first is named first.
HYPOTHESES = (
    _nothing,
    _sign,
    _mask,
    _factor,
    _transpose,
    _axes,
    _target_term,
    _factor_of_a_tensor,
    _own_slope,
    _input_for_output,
    _mean_term,
    _branches,
    _diagonal,
    _one_slice,
)


def _subsets(ndim: int) -> Iterator[tuple[int, ...]]:
    for size in range(1, ndim + 1):
        yield from combinations(range(ndim), size)


def _orders(a: Array) -> Iterator[tuple[int, ...]]:
    orders = permutations(range(a.ndim)) if a.ndim < 5 else iter(())
    return (axes for axes in orders if axes != tuple(range(a.ndim)))


def _grouped(a: Array, axes: tuple[int, ...]) -> Array:
    """(groups, entries along `axes`)."""
    rest = tuple(axis for axis in range(a.ndim) if axis not in axes)
    along = int(np.prod([a.shape[axis] for axis in axes]))
    grouped: Array = a.transpose(*rest, *axes).reshape(-1, along)
    return grouped


def _first(columns: Array) -> Array:
    """Of each row the first number that is not 0, up to rounding."""
    there = np.abs(columns) > 1e-9 * np.abs(columns).max()
    first: Array = columns[np.arange(len(columns)), there.argmax(axis=1)]
    return first


def same(a: Array, b: Array) -> bool:
    """Whether all numbers are the same, up to rounding."""
    scale = max(float(np.abs(a).max()), float(np.abs(b).max()))
    return a.shape == b.shape and bool((np.abs(a - b) <= 1e-9 * scale).all())


def proportional(a: Array, b: Array) -> bool:
    """Whether one is a multiple of the other, and not 0."""
    factor = float(np.vdot(a, b)) / (float(np.vdot(b, b)) or 1.0)
    return bool(np.any(a)) and same(a, factor * b)


def _said(axes: tuple[int, ...]) -> str:
    return " and ".join(map(str, axes))


def _number(value: float) -> str:
    """2 for 2.0000001, 1/3 for 0.3333333, and 1.001 for itself."""
    for text, number in ((f"{round(value)}", value), (f"1/{round(1 / value)}", 1 / value)):
        if abs(number - round(number)) < 1e-5 * abs(number):
            return text
    return f"{value:.6g}"
