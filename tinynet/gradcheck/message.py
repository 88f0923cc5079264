"""From the first broken rule to a message that helps: where, how small, why, and how to see it."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import inspect
import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from tinynet.errors import GradientCheckError
from tinynet.gradcheck.diagnosis import UNKNOWN, diagnose
from tinynet.gradcheck.hypotheses import Diagnosis
from tinynet.gradcheck.inputs import Case, Pair
from tinynet.gradcheck.layer_under_test import Subject
from tinynet.gradcheck.measurements import Trial
from tinynet.gradcheck.report import Verdict
from tinynet.gradcheck.rules import examine
from tinynet.layer import Layer
from tinynet.parameter import Array, Parameter


def explain(case: Case, error: GradientCheckError) -> GradientCheckError:
    """The same failure in its smallest form, with the likely cause and code that reproduces it."""
    with np.errstate(all="ignore"):
        return _explained(case, error)


def _explained(case: Case, error: GradientCheckError) -> GradientCheckError:
    for path, inner in _inner_cases(case):
        found = _failure(inner)
        # What an inner layer may take, nobody has said: that it raises is no sign.
        if found and found.verdict not in (Verdict.FORWARD_RAISES, Verdict.BACKWARD_RAISES):
            explained = _explained(inner, found)
            explained.args = (f"{error.layer}: its {path} is wrong by itself.\n{explained}",)
            return explained
    smallest, smaller = _smallest(case, error)
    # What is too large to look at closely is looked at in its smallest form.
    large = sum(tensor.size for tensor in Subject(case.layer).tensors(case.inputs).values()) > 5000
    diagnosis = _diagnosis(smallest, smaller) if large else _diagnosis(case, error)
    error = smaller
    error.cause, error.certain = diagnosis.cause, diagnosis.certain
    error.snippet = snippet(smallest)
    error.args = ("\n\n".join(_paragraphs(smallest, error, diagnosis)),)
    return error


def _failure(case: Case) -> GradientCheckError | None:
    try:
        examine(case)
    except GradientCheckError as error:
        return error
    return None


def _diagnosis(case: Case, error: GradientCheckError) -> Diagnosis:
    try:
        return diagnose(case, error)
    except Exception:
        # Whatever somebody's layer does when it is looked at more closely: that it is wrong is
        # known already, and not to be lost.
        return UNKNOWN


def _paragraphs(case: Case, error: GradientCheckError, diagnosis: Diagnosis) -> Iterator[str]:
    yield str(error)
    if error.around:
        yield _table(error)
    if diagnosis.cause is None:
        yield "Cause unknown."
    else:
        sure = "Cause" if diagnosis.certain else "Likely cause"
        yield f"{sure}: {diagnosis.cause}; {diagnosis.sentence}."
    note = "" if is_exact(case) else " (with your own numbers for what is drawn here)"
    code = "\n".join(f"    {line}".rstrip() for line in error.snippet.splitlines())
    yield f"To see it again{note}:\n\n{code}"


def _table(error: GradientCheckError) -> str:
    """The wrong entry and those around it, both ways."""
    rows = [("index", "backward", "forward", "")]
    for index, analytic, numeric in error.around:
        mark = "<" if index == error.index else ""
        rows.append((f"{index}", f"{analytic:.6g}", f"{numeric:.6g}", mark))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"    {row[0]:{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip()
        for row in rows
    ]
    return "\n".join(lines)


# Where


def _inner_cases(case: Case) -> Iterator[tuple[str, Case]]:
    """The layers inside, each with the x that it gets."""
    children = {path: node for path, node in case.layer.named_layers() if path}
    if not children:
        return
    trial = Trial(case)
    seen: dict[str, tuple[Any, ...]] = {}
    for path, node in trial.subject.layer.named_layers():
        if path in children and not any(path.startswith(f"{outer}.") for outer in seen):
            seen[path] = ()
            vars(node)["forward"] = _recorded(node.forward, path, seen)
    trial.hold()
    if not trial.runs():
        return
    for path, (*inputs, y) in ((path, call) for path, call in seen.items() if call):
        arrays = all(isinstance(array, np.ndarray) and array.size for array in inputs)
        if (
            arrays
            and inputs[0].ndim
            and (len(inputs) == 1 or (len(inputs) == 2 and np.ndim(y) == 0))
        ):
            yield path, replace(case, layer=children[path], inputs=tuple(inputs))


def _recorded(forward: Any, path: str, seen: dict[str, tuple[Any, ...]]) -> Any:
    def recorded(*args: Any) -> Any:
        given = [np.array(a) if isinstance(a, np.ndarray) else a for a in args]
        y = forward(*args)
        seen[path] = (*given, y)
        return y

    return recorded


# How small


def _smallest(case: Case, error: GradientCheckError) -> tuple[Case, GradientCheckError]:
    """Fewer samples and rounder numbers, as long as the same thing fails."""
    for smaller in (_fewer_samples, _plain_numbers):
        for candidate in smaller(case):
            found = _failure(candidate) if Trial(candidate).runs() else None
            if found and (found.verdict, found.parameter) == (error.verdict, error.parameter):
                case, error = candidate, found
                break
    return case, error


def _fewer_samples(case: Case) -> Iterator[Case]:
    if case.has_batch_axis:
        for fewer in range(1, min(len(case.inputs[0]), 4)):
            yield replace(case, inputs=case.take(np.arange(fewer)))


def _plain_numbers(case: Case) -> Iterator[Case]:
    """All numbers rounded; or only what is short, and the rest drawn; or x alone."""
    for change in (_rounded, _drawn_if_long):
        layer = deepcopy(case.layer)
        for parameter in layer.parameters():
            parameter.value = np.asarray(change(parameter.value))
        inputs = (change(case.inputs[0]), *case.inputs[1:])
        yield replace(case, layer=layer, inputs=inputs)
        yield replace(case, inputs=inputs)


def _rounded(array: Array) -> Array:
    return _drawn_if_long(array.round(1) + 0.0 if array.dtype.kind == "f" else array)


def _drawn_if_long(array: Array) -> Array:
    if array.size > LITERAL and array.dtype.kind == "f":
        return drawn(array.shape).astype(array.dtype)
    return array


LITERAL = 60  # numbers that are written out; more of them are drawn


def drawn(shape: tuple[int, ...]) -> Array:
    """What stands in a snippet for an array that is too long to write out."""
    return np.random.default_rng(0).standard_normal(shape)


def snippet(case: Case) -> str:
    """Code that checks this case; classes and functions of the user's own have to be there."""
    layer = case.layer
    settings = f"rng={case.seed}"
    if case.tolerance != 1e-6:
        settings += f", tolerance={case.tolerance:g}"
    if case.entries != 15_000:
        settings += f", entries={case.entries}"
    inputs = [_literal(array) for array in case.inputs]
    if isinstance(layer, Pair):
        given = [inputs[0], *map(_literal, layer.arrays())]
        inputs[0] = given[0] if len(given) == 1 else f"({', '.join(given)})"
        lines = [f"check_gradients({_pair(layer)}, {', '.join(inputs)}, {settings})"]
    else:
        lines = _building("layer", layer)
        if not layer.training:
            lines.append("layer.eval()")
        lines.append(f"x = {inputs[0]}")
        arguments = ["layer", "x", *inputs[1:], settings]
        lines.append(f"check_gradients({', '.join(arguments)})")
    ours, theirs = _classes(layer)
    head = ["import numpy as np", f"from tinynet import {', '.join(sorted(ours))}", ""]
    if theirs:
        head[-1] = f"# and your own {', '.join(sorted(theirs))}"
    return "\n".join([*head, *lines])


def _building(name: str, layer: Layer) -> list[str]:
    """The lines that make the layer and give its parameters their values."""
    call = _call(layer)
    if call is None:
        lines = [f"{name} = {type(layer).__name__}.__new__({type(layer).__name__})  # as it was"]
        for attribute, value in vars(layer).items():
            lines += _assigned(f"{name}.{attribute}", value)
        return lines
    lines = [f"{name} = {call}"]
    for path, parameter in layer.named_parameters():
        lines.append(f"{name}{_accessed(layer, path)}.value[...] = {_numbers(parameter.value)}")
    return lines


def _assigned(target: str, value: Any) -> list[str]:
    if isinstance(value, Layer):
        return _building(target, value)
    if isinstance(value, Parameter):
        dtype = "" if value.value.dtype == np.float32 else f", np.{value.value.dtype}"
        return [f"{target} = Parameter({_numbers(value.value)}{dtype})"]
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return [f"{target} = {_literal(value)}"]
    if isinstance(value, list | tuple) and any(isinstance(item, Layer) for item in value):
        lines = [f"{target} = [None] * {len(value)}"]
        for place, item in enumerate(value):
            lines += _assigned(f"{target}[{place}]", item)
        return lines
    if _is_plain(value):
        return [f"{target} = {value!r}"]
    return [f"# {target}: as yours"] if not target.endswith("._saved") else []


def _call(layer: Layer) -> str | None:
    """The constructor with the arguments that make such a layer, as far as it shows them."""
    required: dict[str, Any] = {}
    optional: dict[str, Any] = {}
    hidden = []
    for name, parameter in inspect.signature(type(layer)).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            return None
        value = vars(layer).get(name, inspect.Parameter.empty)
        shown = _argument(value) is not None
        if parameter.default is inspect.Parameter.empty:
            required[name] = value
            hidden += [] if shown else [name]
        elif shown and value != parameter.default:
            optional[name] = value
    # What it does not show is often one of its sizes.
    sizes = sorted({size for p in layer.parameters() for size in p.value.shape})[:6]
    for guess in product(sizes, repeat=len(hidden)):
        required |= dict(zip(hidden, guess, strict=True))
        if _makes(layer, required, optional):
            code = [str(_argument(value)) for value in required.values()]
            code += [f"{name}={_argument(value)}" for name, value in optional.items()]
            return f"{type(layer).__name__}({', '.join(code)})"
    return None


def _makes(layer: Layer, required: dict[str, Any], optional: dict[str, Any]) -> bool:
    """Whether the constructor makes a layer with the same insides from these arguments."""
    try:
        again = type(layer)(*deepcopy(list(required.values())), **deepcopy(optional))
    except Exception:  # whatever it is that it wants
        return False
    return _insides(again) == _insides(layer)


def _insides(layer: Layer) -> list[Any]:
    found: list[Any] = []
    for path, node in [*layer.named_layers(), *layer.named_parameters()]:
        if isinstance(node, Parameter):
            found.append((path, node.value.shape))
        else:
            plain = {name: value for name, value in vars(node).items() if _is_plain(value)}
            found.append((path, type(node), plain))
    return found


def _argument(value: Any) -> str | None:
    if isinstance(value, Layer):
        return _call(value)
    if isinstance(value, list | tuple) and all(isinstance(item, Layer) for item in value):
        inside = [_call(item) for item in value]
        return None if None in inside else f"[{', '.join(map(str, inside))}]"
    return repr(value) if _is_plain(value) else None


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _accessed(layer: Layer, path: str) -> str:
    """`.layers[0].weight` for the path layers.0.weight."""
    code, value = "", layer
    for part in path.split("."):
        if isinstance(value, dict):
            key = next(key for key in value if str(key) == part)
            code, value = f"{code}[{key!r}]", value[key]
        elif isinstance(value, list | tuple):
            code, value = f"{code}[{part}]", value[int(part)]
        else:
            code, value = f"{code}.{part}", getattr(value, part)
    return code


def _literal(array: Array) -> str:
    if array.size > LITERAL and array.dtype.kind == "f":
        return _numbers(array)
    dtype = "" if array.dtype in (np.float64, np.int64, np.bool_) else f", np.{array.dtype}"
    return f"np.array({_numbers(array)}{dtype})"


def _numbers(array: Array) -> str:
    if array.dtype.kind != "f":
        return repr(array.tolist())
    if array.size <= LITERAL:
        return repr(array.astype(str).astype(float).tolist())  # 0.1 of float32 is 0.1
    return f"np.random.default_rng(0).standard_normal({array.shape})"


def _classes(layer: Layer) -> tuple[set[str], set[str]]:
    """The names that the code uses: those of tinynet, and the user's."""
    ours, theirs = {"check_gradients"}, set()
    if isinstance(layer, Pair):
        return ours, {_pair(layer)}
    for _, node in [*layer.named_layers(), *layer.named_parameters()]:
        name = type(node).__name__
        if isinstance(node, Parameter) or type(node).__module__.startswith("tinynet."):
            ours.add(name)
        else:
            theirs.add(name)
    return ours, theirs


def _pair(pair: Pair) -> str:
    names = [getattr(f, "__qualname__", "") for f in pair.functions]
    plain = all(part.isidentifier() for name in names for part in name.split("."))
    return f"({', '.join(names)})" if plain else "(forward, backward)"


def is_exact(case: Case) -> bool:
    """Whether every number of the case can be written down, or is what `drawn` gives."""
    arrays = [*case.inputs, *(parameter.value for parameter in case.layer.parameters())]
    return all(
        array.size <= LITERAL or np.allclose(array, drawn(array.shape)) for array in arrays
    ) and math.isfinite(case.tolerance)
