"""An object as the constructor call that makes it, for `repr` and for code to paste."""

import inspect
from typing import Any

import numpy as np

from tinynet.parameter import Parameter


def constructor_call(obj: object) -> str | None:
    """The class and its constructor arguments, those at their defaults left out.

    The value of an argument is the attribute of the same name; a `bias` that is a Parameter counts
    as True. `rng` and initializers are left out. Where another argument has no such attribute, the
    call cannot be told, and None is returned.

    >>> from tinynet import Dense
    >>> constructor_call(Dense(3, 2, bias=False))
    'Dense(3, 2, bias=False)'
    """
    texts = []
    for name, parameter in constructor_parameters(type(obj)).items():
        if name == "rng" or name.endswith("_init"):
            continue
        if not hasattr(obj, name):
            return None
        value, default = getattr(obj, name), parameter.default
        if isinstance(default, bool) and not isinstance(value, bool):
            value = value is not None
        if default is parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY:
            texts.append(argument_text(value))
        elif default is parameter.empty or isinstance(value, np.ndarray) or value != default:
            texts.append(f"{name}={argument_text(value)}")
    return f"{type(obj).__name__}({', '.join(texts)})"


def constructor_parameters(cls: type) -> dict[str, inspect.Parameter]:
    """The parameters of a constructor, with those of its base class in place of `**others`."""
    parameters = dict(inspect.signature(cls).parameters)
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for base in cls.__mro__[1:-1]:
            if "__init__" in vars(base):
                inherited = inspect.signature(base).parameters
                return {n: p for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD} | {
                    n: p for n, p in inherited.items() if n not in parameters
                }
    return parameters


def argument_text(value: Any) -> str:
    """A value as it is given in a call: floats to six digits, long arrays shortened."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, np.ndarray):
        return np.array2string(value, 10**6, separator=", ", threshold=10, edgeitems=2)
    if isinstance(value, tuple | list) and not all(isinstance(item, int | tuple) for item in value):
        if all(isinstance(item, Parameter) for item in value):
            return f"{len(value)} parameters"
        return f"[{', '.join(map(argument_text, value))}]"
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
