"""A case as code to paste: the layer, its numbers, and the check that fails."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import inspect
import math
from copy import deepcopy
from itertools import product
from typing import Any

import numpy as np

from tinynet.gradcheck.case import Case
from tinynet.gradcheck.pair import Pair
from tinynet.layer import Layer
from tinynet.parameter import Array, Parameter

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
    return [f"# {target}: as yours"] if not target.endswith("._remembered") else []


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
    for path, node in layer._nodes():
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
    for _, node in layer._nodes():
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
