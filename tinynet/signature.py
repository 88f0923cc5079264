"""An object as the constructor call that makes it, for `repr` and for code to paste."""

import inspect
from collections.abc import Callable
from os import PathLike, fspath
from typing import Any

import numpy as np

from tinynet.parameter import Parameter


def constructor_call(obj: object) -> str | None:
    """The class and its constructor arguments, those at their defaults left out.

    None where an argument has no attribute of the same name that shows its value.

    >>> from tinynet import Dense
    >>> constructor_call(Dense(3, 2, bias=False))
    'Dense(3, 2, bias=False)'
    """
    arguments = constructor_arguments(obj)
    if any(value is inspect.Parameter.empty for value in arguments.values()):
        return None
    texts = {name: argument_text(value) for name, value in arguments.items()}
    return call_text(type(obj), texts)


def constructor_arguments(obj: object) -> dict[str, Any]:
    """The constructor arguments by name, those at their defaults left out.

    The value of an argument is the attribute of the same name; a `bias` that is a Parameter counts
    as True. Without such an attribute it is `inspect.Parameter.empty`. `rng` and initializers are
    left out.
    """
    arguments = {}
    for name, parameter in constructor_parameters(type(obj)).items():
        if name == "rng" or name.endswith("_init"):
            continue
        value, default = getattr(obj, name, parameter.empty), parameter.default
        if value is parameter.empty or default is parameter.empty:
            arguments[name] = value
            continue
        if isinstance(default, bool) and not isinstance(value, bool):
            value = value is not None
        if isinstance(value, np.ndarray) or value != default:
            arguments[name] = value
    return arguments


def call_text(cls: type, texts: dict[str, str]) -> str:
    """The constructor call with these texts as arguments: `Dense(3, 2, bias=False)`."""
    positional, by_name = split_arguments(cls, texts)
    return f"{cls.__name__}({', '.join([*positional, *(f'{n}={t}' for n, t in by_name.items())])})"


def split_arguments(cls: type, arguments: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The required arguments, which a call gives by position, and the others, given by name."""
    parameters = constructor_parameters(cls)
    required = [
        name
        for name in arguments
        if parameters[name].default is inspect.Parameter.empty
        and parameters[name].kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    others = {name: value for name, value in arguments.items() if name not in required}
    return [arguments[name] for name in required], others


def constructor_parameters(cls: type) -> dict[str, inspect.Parameter]:
    """The parameters of a constructor, with those of its base class in place of `**others`."""
    parameters = dict(inspect.signature(cls).parameters)
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for base in cls.__mro__[1:-1]:
            if "__init__" in vars(base):
                inherited = constructor_parameters(base)
                return {n: p for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD} | {
                    n: p for n, p in inherited.items() if n not in parameters
                }
    return parameters


def parameter_names(function: Callable[..., Any]) -> list[str]:
    """The names of a function's parameters; none for one written in C that does not show them."""
    try:
        return list(inspect.signature(function).parameters)
    except ValueError:
        return []


def argument_text(value: Any) -> str:
    """A value as it is given in a call: floats to six digits, long arrays shortened."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, PathLike):
        return repr(fspath(value))
    if isinstance(value, np.ndarray):
        return np.array2string(value, 10**6, separator=", ", threshold=10, edgeitems=2)
    if isinstance(value, tuple | list) and not all(isinstance(item, int | tuple) for item in value):
        if all(isinstance(item, Parameter) for item in value):
            return f"{len(value)} parameters"
        texts = ", ".join(map(argument_text, value))
        is_numbers = isinstance(value, tuple) and all(isinstance(item, float) for item in value)
        return f"({texts})" if is_numbers else f"[{texts}]"
    return getattr(value, "__name__", None) or repr(value)


def attributes_text(obj: object, kinds: Any) -> str:
    """The class and those of its attributes that are of some kinds, parameters as their shapes.

    >>> attributes_text(Parameter([1.0, 2.0]), ())
    'Parameter()'
    """
    texts = (
        f"{name}={value.value.shape if isinstance(value, Parameter) else repr(value)}"
        for name, value in getattr(obj, "__dict__", {}).items()
        if isinstance(value, kinds)
    )
    return f"{type(obj).__name__}({', '.join(texts)})"
