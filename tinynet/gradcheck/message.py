"""The message of a failed check: the smallest failing case, the likely cause, and code for it."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from tinynet.errors import GradientCheckError
from tinynet.gradcheck.diagnosis import UNKNOWN, diagnose
from tinynet.gradcheck.inputs import Inputs
from tinynet.gradcheck.layer_under_test import LayerUnderTest
from tinynet.gradcheck.measurements import FreshRun
from tinynet.gradcheck.report import Diagnosis, Verdict
from tinynet.gradcheck.rules import check_rules
from tinynet.gradcheck.setup import FunctionLayer, GradientCheck
from tinynet.layer import Layer
from tinynet.parameter import Array, Parameter
from tinynet.samples import Samples, arrays_of
from tinynet.signature import (
    call_text,
    constructor_arguments,
    constructor_parameters,
    split_arguments,
)

LITERAL = 60  # longer arrays are drawn in the code, not written out


def explain(check: GradientCheck, error: GradientCheckError) -> GradientCheckError:
    """The error for the smallest failing case, with its likely cause and code to reproduce it."""
    with np.errstate(all="ignore"):
        return _explained(check, error)


def _explained(check: GradientCheck, error: GradientCheckError) -> GradientCheckError:
    for path, inner in _inner_checks(check):
        found = _failure(inner)
        # Inner layers need not accept every batch: raising is no evidence against one.
        if found and found.verdict not in (Verdict.FORWARD_RAISES, Verdict.BACKWARD_RAISES):
            explained = _explained(inner, found)
            explained.args = (f"{error.layer}: its {path} is wrong on its own.\n{explained}",)
            return explained
    smallest, smaller = _smallest(check, error)
    # A large case would take too long to diagnose.
    tensors = LayerUnderTest(check.layer).tensors(check.inputs).values()
    large = sum(tensor.size for tensor in tensors) > 5000
    diagnosis = _diagnosis(smallest, smaller) if large else _diagnosis(check, error)
    error = smaller
    error.cause, error.certain = diagnosis.cause, diagnosis.certain
    error.snippet = snippet(smallest)
    error.args = ("\n\n".join(_paragraphs(smallest, error, diagnosis)),)
    return error


def _failure(check: GradientCheck) -> GradientCheckError | None:
    try:
        check_rules(check)
    except GradientCheckError as error:
        return error
    return None


def _diagnosis(check: GradientCheck, error: GradientCheckError) -> Diagnosis:
    try:
        return diagnose(check, error)
    except Exception:  # a user's layer may raise anything; the known error is reported all the same
        return UNKNOWN


def _paragraphs(
    check: GradientCheck, error: GradientCheckError, diagnosis: Diagnosis
) -> Iterator[str]:
    yield str(error)
    if error.around:
        yield _table(error)
    if diagnosis.cause is None:
        yield "Cause unknown."
    else:
        word = "Cause" if diagnosis.certain else "Likely cause"
        yield f"{word}: {diagnosis.cause}; {diagnosis.sentence}."
    note = "" if is_exact(check) else " (with your own values in place of the random ones)"
    code = "\n".join(f"    {line}".rstrip() for line in error.snippet.splitlines())
    yield f"To reproduce it{note}:\n\n{code}"


def _table(error: GradientCheckError) -> str:
    """The wrong entry and its neighbours, from backward and from central differences."""
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


# The smallest case


def _inner_checks(check: GradientCheck) -> Iterator[tuple[str, GradientCheck]]:
    """Checks of the outermost inner layers, each with its path and with the inputs it gets."""
    layers = dict(check.layer.named_layers())
    if len(layers) == 1:
        return
    calls = FreshRun(check).record("forward") or []
    for path, call in {call.path: call for call in calls}.items():
        is_number = not isinstance(call.output, tuple) and np.ndim(call.output) == 0
        is_layer = len(call.inputs) == 1 or (len(call.inputs) == 2 and is_number)
        given = [array for samples in call.inputs for array in arrays_of(samples)]
        arrays = all(isinstance(array, np.ndarray) and array.size for array in given)
        if is_layer and arrays and all(array.ndim for array in arrays_of(call.inputs[0])):
            yield path, replace(check, layer=layers[path], inputs=Inputs(*call.inputs))


def _smallest(
    check: GradientCheck, error: GradientCheckError
) -> tuple[GradientCheck, GradientCheckError]:
    """Fewer samples and rounded values, as long as the same rule fails for the same tensor."""
    for smaller in (_fewer_samples, _simpler_values):
        for candidate in smaller(check):
            found = _failure(candidate) if FreshRun(candidate).succeeds() else None
            if found and (found.verdict, found.parameter) == (error.verdict, error.parameter):
                check, error = candidate, found
                break
    return check, error


def _fewer_samples(check: GradientCheck) -> Iterator[GradientCheck]:
    if check.has_batch_axis:
        for fewer in range(1, min(len(check.inputs), 4)):
            yield replace(check, inputs=check.take(np.arange(fewer)))


def _simpler_values(check: GradientCheck) -> Iterator[GradientCheck]:
    """With short arrays rounded and long ones drawn, or long ones drawn only; or so for x alone."""
    for change in (_rounded, _drawn_if_long):
        layer = deepcopy(check.layer)
        for parameter in layer.parameters():
            parameter.value[...] = change(parameter.value)
        inputs = check.inputs.each_x(change)
        yield replace(check, layer=layer, inputs=inputs)
        yield replace(check, inputs=inputs)


def _rounded(array: Array) -> Array:
    return _drawn_if_long(array.round(1) + 0.0 if array.dtype.kind == "f" else array)


def _drawn_if_long(array: Array) -> Array:
    if array.size > LITERAL and array.dtype.kind == "f":
        return drawn(array.shape).astype(array.dtype)
    return array


def drawn(shape: tuple[int, ...]) -> Array:
    """The values that a snippet has in place of a long array."""
    return np.random.default_rng(0).standard_normal(shape)


def is_exact(check: GradientCheck) -> bool:
    """Whether the snippet has the very values of the check."""
    parameters = [parameter.value for parameter in check.layer.parameters()]
    arrays = [*check.inputs.arrays.values(), *parameters]
    return all(
        array.size <= LITERAL or np.allclose(array, drawn(array.shape)) for array in arrays
    ) and math.isfinite(check.tolerance)


# The code


def snippet(check: GradientCheck) -> str:
    """Code that repeats a check, for a namespace with the user's own classes and functions."""
    layer = check.layer
    settings = f"rng={check.seed}"
    if check.tolerance != 1e-6:
        settings += f", tolerance={check.tolerance:g}"
    if check.entries != 15_000:
        settings += f", entries={check.entries}"
    inputs = [_samples_code(samples) for samples in check.inputs.arguments]
    if isinstance(layer, FunctionLayer):
        arrays = [inputs[0], *map(_array_code, layer.arrays())]
        inputs[0] = arrays[0] if len(arrays) == 1 else f"({', '.join(arrays)})"
        lines = [f"check_gradients({_function_names(layer)}, {', '.join(inputs)}, {settings})"]
    else:
        lines = _layer_code("layer", layer)
        if not layer.training:
            lines.append("layer.eval()")
        lines.append(f"x = {inputs[0]}")
        arguments = ["layer", "x", *inputs[1:], settings]
        lines.append(f"check_gradients({', '.join(arguments)})")
    ours, theirs = _class_names(layer)
    head = ["import numpy as np", f"from tinynet import {', '.join(sorted(ours))}", ""]
    if theirs:
        head[-1] = f"# and your own {', '.join(sorted(theirs))}"
    return "\n".join([*head, *lines])


def _layer_code(name: str, layer: Layer) -> list[str]:
    """The lines that construct the layer and set the values of its parameters."""
    call = _call(layer)
    if call is None:
        cls = type(layer).__name__
        lines = [f"{name} = {cls}.__new__({cls})  # without its constructor"]
        for attribute, value in Layer.__getstate__(layer).items():
            lines += _attribute_code(f"{name}.{attribute}", value)
        return lines
    lines = [f"{name} = {call}"]
    for path, parameter in layer.named_parameters():
        lines.append(f"{name}{_access(layer, path)}.value[...] = {_values_code(parameter.value)}")
    return lines


def _attribute_code(target: str, value: Any) -> list[str]:
    if isinstance(value, Layer):
        return _layer_code(target, value)
    if isinstance(value, Parameter):
        dtype = "" if value.value.dtype == np.float32 else f", np.{value.value.dtype}"
        return [f"{target} = Parameter({_values_code(value.value)}{dtype})"]
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return [f"{target} = {_array_code(value)}"]
    if isinstance(value, list | tuple) and any(isinstance(item, Layer) for item in value):
        lines = [f"{target} = [None] * {len(value)}"]
        for index, item in enumerate(value):
            lines += _attribute_code(f"{target}[{index}]", item)
        return lines
    return [f"{target} = {value!r}" if _is_plain(value) else f"# {target}: as in your layer"]


def _call(layer: Layer) -> str | None:
    """The constructor call that makes such a layer, if its attributes show the arguments."""
    parameters = constructor_parameters(type(layer))
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters.values()):
        return None
    values = {
        n: v for n, v in constructor_arguments(layer).items() if _argument_code(v) is not None
    }
    required = [name for name, p in parameters.items() if p.default is p.empty]
    hidden = [name for name in required if name not in values]
    # A required argument that is no attribute is often one of the sizes.
    sizes = sorted({size for p in layer.parameters() for size in p.value.shape})[:6]
    for guess in product(sizes, repeat=len(hidden)):
        arguments = values | dict(zip(hidden, guess, strict=True))
        arguments = {name: arguments[name] for name in parameters if name in arguments}
        if _makes_equal_layer(layer, arguments):
            texts = {name: str(_argument_code(value)) for name, value in arguments.items()}
            return call_text(type(layer), texts)
    return None


def _makes_equal_layer(layer: Layer, arguments: dict[str, Any]) -> bool:
    positional, by_name = split_arguments(type(layer), deepcopy(arguments))
    try:
        other = type(layer)(*positional, **by_name)
    except Exception:  # a user's constructor may raise anything
        return False
    return _structure(other) == _structure(layer)


def _structure(layer: Layer) -> list[Any]:
    """The inner layers with their plain attributes, and the shapes of the parameters, by path."""
    found: list[Any] = [(path, p.value.shape) for path, p in layer.named_parameters()]
    for path, inner in layer.named_layers():
        attributes = inner.__getstate__()
        plain = {name: value for name, value in attributes.items() if isinstance(value, _SCALARS)}
        found.append((path, type(inner), plain))
    return found


def _argument_code(value: Any) -> str | None:
    if isinstance(value, Layer):
        return _call(value)
    if isinstance(value, list | tuple) and all(isinstance(item, Layer) for item in value):
        calls = [_call(item) for item in value]
        return None if None in calls else f"[{', '.join(map(str, calls))}]"
    return repr(value) if _is_plain(value) else None


_SCALARS = (bool, int, float, str, type(None))


def _is_plain(value: Any) -> bool:
    """Whether `repr` is code for it: a scalar, or a list or tuple of such."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, _SCALARS)


def _access(layer: Layer, path: str) -> str:
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


def _samples_code(samples: Samples) -> str:
    if not isinstance(samples, tuple):
        return _array_code(samples)
    return f"({', '.join(map(_array_code, samples))}{',' * (len(samples) == 1)})"


def _array_code(array: Array) -> str:
    if array.size > LITERAL and array.dtype.kind == "f":
        return _values_code(array)
    dtype = "" if array.dtype in (np.float64, np.int64, np.bool_) else f", np.{array.dtype}"
    return f"np.array({_values_code(array)}{dtype})"


def _values_code(array: Array) -> str:
    if array.dtype.kind != "f":
        return repr(array.tolist())
    if array.size <= LITERAL:
        return repr(array.astype(str).astype(float).tolist())  # 0.1 for the 0.1 of float32
    return f"np.random.default_rng(0).standard_normal({array.shape})"


def _class_names(layer: Layer) -> tuple[set[str], set[str]]:
    """The names that the code uses: those of tinynet, and the user's."""
    ours, theirs = {"check_gradients"}, set()
    if isinstance(layer, FunctionLayer):
        return ours, {_function_names(layer)}
    for _, node in [*layer.named_layers(), *layer.named_parameters()]:
        name = type(node).__name__
        if isinstance(node, Parameter) or type(node).__module__.startswith("tinynet."):
            ours.add(name)
        else:
            theirs.add(name)
    return ours, theirs


def _function_names(layer: FunctionLayer) -> str:
    names = [getattr(f, "__qualname__", "") for f in layer.functions]
    plain = all(part.isidentifier() for name in names for part in name.split("."))
    return f"({', '.join(names)})" if plain else "(forward, backward)"
