"""Hypotheses for a wrong gradient: what common mistakes make of the right values.

Each hypothesis yields a diagnosis where the values from backward are those of its mistake.
"""

from collections.abc import Callable, Iterator
from itertools import combinations, permutations

import numpy as np

from tinynet.gradcheck.measurements import FreshRun, GradientData, proportional
from tinynet.gradcheck.report import Cause, Diagnosis
from tinynet.parameter import Array
from tinynet.samples import arrays_of


def other_shape(data: GradientData) -> Iterator[Diagnosis]:
    """For a gradient of the wrong shape: axes summed, not summed or permuted, or an extra one."""
    a, n = data.analytic, data.numeric
    if a.size == n.size:
        if a.ndim == n.ndim and any(data.equal(a.transpose(axes), n) for axes in _permuted(a)):
            yield Diagnosis(Cause.TRANSPOSE, True, "with its axes permuted it is right")
        elif data.equal(a.reshape(n.shape), n):
            yield Diagnosis(Cause.EXTRA_AXIS, True, f"reshaped to {n.shape} it is right")
    for axes in _subsets(a.ndim):
        if a.sum(axes).shape == n.shape and data.equal(a.sum(axes), n):
            yield Diagnosis(Cause.WRONG_AXES, True, f"summed over axis {_names(axes)} it is right")
    for axes in _subsets(n.ndim):
        for keepdims in (False, True):
            total = n.sum(axes, keepdims=keepdims)
            if total.shape == a.shape and data.equal(a, total):
                yield Diagnosis(
                    Cause.WRONG_AXES,
                    True,
                    f"it is the right one summed over axis {_names(axes)}",
                )


def _sign(data: GradientData) -> Iterator[Diagnosis]:
    if data.fits(-data.numeric):
        yield Diagnosis(Cause.SIGN, True, "every entry is -1 times the right one")


def _zero(data: GradientData) -> Iterator[Diagnosis]:
    if not data.analytic.any():
        yield Diagnosis(Cause.LEFT_OUT, True, "every entry is 0")


def _factor(data: GradientData) -> Iterator[Diagnosis]:
    factor = data.factor(data.numeric)
    if factor is None or abs(factor) < 1e-12 or data.fits(-data.numeric):
        return
    text = f"every entry is {_number(factor)} times the right one"
    check = data.fresh.check
    with_other_values = data.factor_in(check.with_other_values())
    if with_other_values is None or abs(with_other_values - factor) > 1e-4 * abs(factor):
        sentence = f"{text}, and the factor changes with the values"
        yield Diagnosis(Cause.FACTOR_OF_A_TENSOR, False, sentence)
        return
    larger = [data.factor_in(check.with_more_samples(count)) for count in (2, 5)]
    if None in larger:
        guess = Cause.FACTOR_N if _number(factor) in (f"{data.n}", f"1/{data.n}") else Cause.FACTOR
        yield Diagnosis(guess, False, text)
        return
    ratios = [other / factor for other in larger if other is not None]
    if all(abs(ratio - 1) < 1e-4 for ratio in ratios):
        yield Diagnosis(Cause.FACTOR, True, text)
        return
    sizes = [(data.n + count) / data.n for count in (2, 5)]
    follows = any(
        all(abs(r - size**power) < 1e-4 * r for r, size in zip(ratios, sizes, strict=True))
        for power in (1, -1)
    )
    sentence = f"{text} for {data.n} samples, {_number(ratios[0] * factor)} times for {data.n + 2}"
    yield Diagnosis(Cause.FACTOR_N, follows, sentence)


def _transpose(data: GradientData) -> Iterator[Diagnosis]:
    n = data.numeric
    for axes in _permuted(n):
        if n.transpose(axes).shape == n.shape and data.fits(n.transpose(axes)):
            yield Diagnosis(Cause.TRANSPOSE, True, "with its axes swapped it is right")
    if n.ndim > 1 and data.fits(n.T.reshape(n.shape)):
        yield Diagnosis(Cause.TRANSPOSE, True, "it is reshaped instead of transposed")
    if n.ndim > 1 and data.fits(n.reshape(n.T.shape).T):
        yield Diagnosis(Cause.TRANSPOSE, True, "it is transposed instead of reshaped")
    for axes in _subsets(n.ndim):
        if data.fits(np.flip(n, axes)):
            # With two entries along an axis, two tensors may be confused as well.
            long = all(n.shape[axis] > 2 for axis in axes)
            sentence = f"with axis {_names(axes)} reversed it is right"
            yield Diagnosis(Cause.TRANSPOSE, long, sentence)
    jacobian = data.jacobian
    if jacobian is not None and data.is_x and n.shape == data.y.shape:
        transposed = (jacobian.T @ data.dy.ravel()).reshape(n.shape)
        if data.fits(transposed):
            yield Diagnosis(Cause.TRANSPOSE, True, "the Jacobian is not transposed")


def _axes(data: GradientData) -> Iterator[Diagnosis]:
    n = data.numeric
    for axes in _subsets(n.ndim):
        total = np.broadcast_to(n.sum(axes, keepdims=True), n.shape)
        count = int(np.prod([n.shape[axis] for axis in axes]))
        for factor, word in ((1, "sum"), (1 / count, "mean")):
            if count > 1 and data.fits(factor * total):
                # In dx that may be chance: the slopes of a softmax sum to 1.
                over = f"{word} of the right ones over axis {_names(axes)}"
                yield Diagnosis(Cause.WRONG_AXES, not data.is_x, f"every entry is the {over}")
    terms = data.terms
    if terms is None:
        return
    for axes in _subsets(terms.ndim):
        total = terms.sum(axes)
        if total.shape == n.shape and data.fits(total):
            yield Diagnosis(
                Cause.WRONG_AXES,
                True,
                f"the sum is over axis {_names(axes)} of dy, the wrong one",
            )


def _mask(data: GradientData) -> Iterator[Diagnosis]:
    """Nonzero entries where the right gradient is 0: no mask, or its complement."""
    a, n = data.analytic, data.numeric
    small = 1e-9 * max(np.nanmax(np.abs(n)), np.abs(a).max())
    n_is_zero, a_is_zero = np.abs(n) <= small, np.abs(a) <= small
    if not n_is_zero.any() or n_is_zero.all():
        return
    if (a_is_zero == ~n_is_zero).all():
        sentence = "it is 0 where the right one is not, and nowhere else"
        # The nonzero entries of a mask are dy, up to a factor; an index may be off by one instead.
        is_mask = data.elementwise and data.factor(np.where(a_is_zero, np.nan, data.dy)) is not None
        yield Diagnosis(Cause.COMPLEMENT, is_mask, sentence)
    elif (n_is_zero & ~a_is_zero).any() and not (a_is_zero & ~n_is_zero).any():
        factor = data.factor(np.where(n_is_zero, np.nan, n))
        if factor is not None:
            sentence = "it is not 0 where the outputs do not depend on the entry"
            yield Diagnosis(Cause.MASK, abs(factor - 1) < 1e-5, sentence)


def _target_term(data: GradientData) -> Iterator[Diagnosis]:
    """A loss with the wrong multiple of the targets in its gradient: p in place of p - t."""
    if data.is_x and data.inputs.targets is not None:
        for targets in arrays_of(data.inputs.targets):
            yield from _term_of(data, targets)


def _term_of(data: GradientData, targets: Array) -> Iterator[Diagnosis]:
    x = data.tensor
    if targets.ndim == 1 and x.ndim == 2 and targets.dtype.kind in "iu":
        targets = (targets[:, None] == np.arange(x.shape[1])).astype(float)
    while 0 < targets.ndim < x.ndim:
        targets = targets[..., None]
    missing = (data.numeric - data.analytic).reshape(1, -1)
    fits_x = all(t in (1, n) for t, n in zip(targets.shape, x.shape, strict=False))
    if fits_x and data.spans([np.broadcast_to(targets, x.shape).reshape(-1, 1)], missing):
        depends = data.depends_on_targets()
        sentence = "a multiple of the targets is missing: it does not depend on them at all"
        if depends:
            sentence = "it contains the wrong multiple of the targets"
        yield Diagnosis(Cause.TARGET_TERM, not depends, sentence)


def _own_slope(data: GradientData) -> Iterator[Diagnosis]:
    is_nonzero = np.abs(data.numeric).min() > 0
    if data.is_x and data.elementwise and data.fits(data.dy) and is_nonzero:
        yield Diagnosis(Cause.OWN_SLOPE, False, "dx is dy, as if y were x")


def _diagonal(data: GradientData) -> Iterator[Diagnosis]:
    jacobian, shape = data.jacobian, data.y.shape
    if jacobian is None or not data.is_x or data.numeric.shape != shape or data.elementwise:
        return
    if data.fits(np.diagonal(jacobian).reshape(shape) * data.dy):
        sentence = "as if each output depended only on the input at its own index"
        yield Diagnosis(Cause.CROSS_TERMS, True, sentence)


def _input_for_output(data: GradientData) -> Iterator[Diagnosis]:
    """Derivatives such as y (1 - y) and 1 - y², with x in place of y, or the other way round."""
    if not data.is_x or not data.elementwise:
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
    x, y, dy = data.tensor, data.y, data.dy
    with np.errstate(all="ignore"):
        for formula, slope in slopes.items():
            for right, wrong, names in ((y, x, "v = y, not v = x"), (x, y, "v = x, not v = y")):
                if data.equal(slope(right) * dy, data.numeric) and data.fits(slope(wrong) * dy):
                    sentence = f"the derivative is {formula} with {names}"
                    yield Diagnosis(Cause.INPUT_FOR_OUTPUT, True, sentence)


def _branches(data: GradientData) -> Iterator[Diagnosis]:
    """A sum over several paths to the outputs, of which only some are counted."""
    a, n, dy = data.analytic, data.numeric, data.dy
    branches = data.branches()
    if len(branches) > 1 and data.equal(sum(branches, np.zeros_like(n)), n):
        for branch in branches:
            if data.fits(branch):
                yield Diagnosis(Cause.LAST_BRANCH, True, "it is the dx of one inner layer alone")
    if data.is_x and a.shape == dy.shape and not data.elementwise:
        if data.fits(dy):
            sentence = "dx is dy: only the identity branch is counted"
            yield Diagnosis(Cause.LAST_BRANCH, False, sentence)
        if data.fits(n - dy):
            sentence = "dy is missing in dx: the identity branch is not counted"
            yield Diagnosis(Cause.LAST_BRANCH, True, sentence)
    each = data.contributions
    if each is None:
        return
    for axis in range(data.y.ndim):
        for position, word in ((-1, "last"), (0, "first")):
            along = np.moveaxis(each.reshape(-1, *data.y.shape), axis + 1, 1)
            if along.shape[1] > 1:
                part = along[:, position].reshape(len(each), -1).sum(axis=1).reshape(n.shape)
                if data.fits(part):
                    sentence = f"only the {word} index of axis {axis} of dy is counted"
                    yield Diagnosis(Cause.LAST_BRANCH, True, sentence)
    for ordered, word in ((each[:, ::-1], "last"), (each, "first")):
        if data.fits(_first_nonzero(ordered).reshape(n.shape)):
            sentence = f"of the outputs that depend on an entry, only the {word} is counted"
            yield Diagnosis(Cause.LAST_BRANCH, True, sentence)
    if data.y.ndim > 1:
        # Samples share an entry if they take the same row of an embedding.
        totals = each.reshape(len(each), -1, data.y.shape[-1]).sum(axis=2)
        if data.fits(_first_nonzero(totals[:, ::-1]).reshape(n.shape)):
            sentence = "of several samples that share an entry, only the last is counted"
            yield Diagnosis(Cause.LAST_BRANCH, True, sentence)


def _mean_term(data: GradientData) -> Iterator[Diagnosis]:
    """The missing term is constant along an axis, or proportional to x or y: that of a mean."""
    if not data.is_x or data.inputs.is_loss:
        return
    x, missing = data.tensor, data.numeric - data.analytic
    for axes in _subsets(x.ndim):
        groups = _grouped(missing, axes)
        pairs = zip(_grouped(data.numeric, axes), _grouped(data.analytic, axes), strict=True)
        if all(proportional(wrong, right) for right, wrong in pairs):
            continue  # a factor per group, and no missing term
        along = [(data.name, _grouped(x, axes))]
        if data.y.shape == x.shape:
            along.append(("y", _grouped(data.y, axes)))
            along.append(("exp y", np.exp(np.minimum(along[-1][1], 0))))
        for name, bases in along:
            shapes = [np.stack([np.ones_like(b), b], axis=1) for b in bases]
            axis = f"missing along axis {_names(axes)}"
            if groups.shape[1] > 3 and data.spans(shapes, groups):
                sentence = f"a constant and a multiple of {name} are {axis}"
                yield Diagnosis(Cause.MEAN_TERM, True, sentence)
            elif groups.shape[1] > 2 and data.spans([b[:, None] for b in bases], groups):
                yield Diagnosis(Cause.MEAN_TERM, True, f"a multiple of {name} is {axis}")


def _factor_of_a_tensor(data: GradientData) -> Iterator[Diagnosis]:
    for name, tensor in data.possible_factors():
        try:
            factor = np.broadcast_to(tensor, data.numeric.shape)
        except ValueError:
            continue
        if np.ptp(factor) == 0:
            continue
        if data.fits(data.numeric * factor):
            sentence = f"there is an extra factor {name}, or a missing division by it"
            yield Diagnosis(Cause.FACTOR_OF_A_TENSOR, True, sentence)
        if data.equal(data.analytic * factor, data.numeric):
            yield Diagnosis(Cause.FACTOR_OF_A_TENSOR, True, f"a factor {name} is missing")


def other_array(data: GradientData) -> Iterator[Diagnosis]:
    """The gradient of another array of x."""
    for name in data.inputs.floats:
        if data.is_x and name != data.name:
            other = GradientData(data.fresh, name).numeric
            if data.equal(data.analytic, other) and not data.equal(data.numeric, other):
                yield Diagnosis(Cause.ARRAYS, True, f"it is the gradient of {name}")


def _outputs(data: GradientData) -> Iterator[Diagnosis]:
    """Of several outputs, one is not counted, or the dy of one is used for another."""
    each, n = data.contributions, data.numeric
    if each is None:
        return
    for name, part in data.parts.items():
        alone = each[:, part].sum(axis=1).reshape(n.shape)
        if data.fits(alone):
            yield Diagnosis(Cause.LAST_BRANCH, True, f"only {name} is counted")
        if data.fits(n - alone):
            yield Diagnosis(Cause.LAST_BRANCH, True, f"{name} is not counted")
    for (first, one), (second, other) in combinations(data.parts.items(), 2):
        if data.dy[one].size == data.dy[other].size:
            dy = data.dy.copy()
            dy[one], dy[other] = data.dy[other], data.dy[one]
            if data.fits((each / data.dy @ dy).reshape(n.shape)):
                yield Diagnosis(Cause.ARRAYS, True, f"{first} and {second} are exchanged")


def factor_in_a_term(data: GradientData) -> Iterator[Diagnosis]:
    """The error is a multiple of v or of 1 - v, where v is a parameter or a number of the layer."""
    for name, value, other, check in data.fresh.check.with_other_numbers():
        try:
            first, second = (np.broadcast_to(v, data.numeric.shape) for v in (value, other))
        except ValueError:
            continue
        again = GradientData(FreshRun(check), data.name, max_entries=200)
        error, changed = data.numeric - data.analytic, again.numeric - again.analytic
        exchanged = f"with {name} and (1 - {name}) exchanged"
        for multiple, mistake, a, b in (
            (name, f"without a factor (1 - {name})", first, second),
            (f"(1 - {name})", f"without a factor {name}", 1 - first, 1 - second),
            (f"(1 - 2 {name})", exchanged, 1 - 2 * first, 1 - 2 * second),
        ):
            is_exact = np.nanmax(np.abs(error * b), initial=0) > 1e4 * (data.noise + again.noise)
            if is_exact and data.equal(error * b, changed * a):
                sentence = f"the error is a multiple of {multiple}, as {mistake} in one term"
                yield Diagnosis(Cause.FACTOR_OF_A_TENSOR, False, sentence)


def _one_slice(data: GradientData) -> Iterator[Diagnosis]:
    wrong = ~data.close(data.analytic, data.numeric)
    for axis in range(wrong.ndim):
        rest = tuple(k for k in range(wrong.ndim) if k != axis)
        indices = np.flatnonzero(wrong.any(axis=rest))
        if wrong.shape[axis] > 2 and len(indices) == 1:
            sentence = f"it is right except at index {indices[0]} of axis {axis}"
            yield Diagnosis(Cause.ONE_SLICE, False, sentence)


# From the special to the general: the first one that fits is named.
HYPOTHESES = (
    _zero,
    _sign,
    other_array,
    _outputs,
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


def _grouped(a: Array, axes: tuple[int, ...]) -> Array:
    """(groups, entries along `axes`)."""
    rest = tuple(axis for axis in range(a.ndim) if axis not in axes)
    along = int(np.prod([a.shape[axis] for axis in axes]))
    grouped: Array = a.transpose(*rest, *axes).reshape(-1, along)
    return grouped


def _first_nonzero(rows: Array) -> Array:
    """The first number of each row that is not 0, up to rounding."""
    nonzero = np.abs(rows) > 1e-9 * np.abs(rows).max()
    first: Array = rows[np.arange(len(rows)), nonzero.argmax(axis=1)]
    return first


def _number(value: float) -> str:
    """2 for 2.0000001, 1/3 for 0.3333333, and 1.001 for itself."""
    for text, number in ((f"{round(value)}", value), (f"1/{round(1 / value)}", 1 / value)):
        if abs(number - round(number)) < 1e-5 * abs(number):
            return text
    return f"{value:.6g}"


def _subsets(ndim: int) -> Iterator[tuple[int, ...]]:
    for size in range(1, ndim + 1):
        yield from combinations(range(ndim), size)


def _permuted(a: Array) -> Iterator[tuple[int, ...]]:
    """All orders of the axes but the present one, for up to 4 axes."""
    orders = permutations(range(a.ndim)) if a.ndim < 5 else iter(())
    return (axes for axes in orders if axes != tuple(range(a.ndim)))


def _names(axes: tuple[int, ...]) -> str:
    return " and ".join(map(str, axes))
