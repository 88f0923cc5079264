"""Arguments by keyword: a call in the order or with the names of PyTorch gets the call to write.

Python's own TypeError says how many arguments a function takes, and not which keyword was meant.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np

from tinynet.errors import InputError
from tinynet.signature import argument_text, constructor_parameters

# The positions of PyTorch (of Keras for `fit`), under the names that tinynet has for them. A name
# that is no argument here has its remedy below. "*" stands for any number of layers.
ORDERS = {
    "Adagrad": "parameters learning_rate lr_decay l2 initial_accumulator_value eps",
    "Adam": "parameters learning_rate betas eps l2 amsgrad",
    "AdamW": "parameters learning_rate betas eps weight_decay amsgrad",
    "AvgPool2D": "kernel_size stride padding ceil_mode count_include_pad divisor_override",
    "Batches": "x y batch_size shuffle",
    "Concatenate": "*",
    "Conv2D": "in_channels out_channels kernel_size stride padding dilation groups bias"
    " padding_mode",
    "ConvTranspose2D": "in_channels out_channels kernel_size stride padding output_padding groups"
    " bias dilation padding_mode",
    "Cosine": "rate steps final",
    "Dense": "in_features out_features bias",
    "Dropout": "rate inplace",
    "ELU": "alpha inplace",
    "Embedding": "num_embeddings embedding_dim padding_idx max_norm norm_type scale_grad_by_freq"
    " sparse",
    "Exponential": "rate factor",
    "Flatten": "start_dim end_dim",
    "GRU": "input_size hidden_size num_layers bias batch_first dropout bidirectional",
    "GlobalAvgPool2D": "output_size",
    "Heads": "*",
    "LSTM": "input_size hidden_size num_layers bias batch_first dropout bidirectional proj_size",
    "LeakyReLU": "negative_slope inplace",
    "LinearWarmUp": "steps then",
    "MaxPool2D": "kernel_size stride padding dilation return_indices ceil_mode",
    "MultiTaskLoss": "*",
    "MultiHeadAttention": "embed_dim num_heads dropout bias add_bias_kv add_zero_attn kdim vdim"
    " batch_first",
    "Parallel": "*",
    "RMSprop": "parameters learning_rate alpha eps l2 momentum centered",
    "RNN": "input_size hidden_size num_layers nonlinearity bias batch_first dropout bidirectional",
    "ReLU": "inplace",
    "SGD": "parameters learning_rate momentum dampening l2 nesterov",
    "Sequential": "*",
    "SiLU": "inplace",
    "Sigmoid": "",
    "Softplus": "beta threshold",
    "StepDecay": "rate every factor",
    "Sum": "*",
    "Tanh": "",
    "Trainer": "model loss optimizer metrics",
    "TransformerBlock": "embed_dim num_heads dim_feedforward dropout activation layer_norm_eps"
    " batch_first norm_first bias",
    "fit": "x y batch_size epochs",
}

RENAMED = {  # by keyword, where a class has the second name
    "T_max": "steps",
    "d_model": "embed_dim",
    "dim": "axis",
    "eta_min": "final",
    "filters": "out_channels",
    "gamma": "factor",
    "lr": "learning_rate",
    "max_lr": "rate",
    "nhead": "num_heads",
    "p": "rate",
    "params": "parameters",
    "peak": "rate",
    "scheduler": "learning_rate",
    "step_size": "every",
    "total_steps": "steps",
    "units": "out_features",
    "validation_data": "validation",
}

REMEDIES = {
    "activation": "an activation is a layer of its own, such as ReLU()",
    "amsgrad": "there is no AMSGrad",
    "batch_first": "sequences are always (N, T, D)",
    "bidirectional": "Bidirectional is a layer of its own",
    "ceil_mode": "output sizes are always rounded down",
    "centered": "the mean is never subtracted",
    "dampening": "momentum is never dampened",
    "device": "all arrays are in the memory of the CPU",
    "dropout": "Dropout is a layer of its own",
    "dtype": ".astype(np.float64) makes a copy in another dtype",
    "inplace": "no layer writes to its input",
    "initial_epoch": "epochs is the total, and a run that was restored continues by itself",
    "lr_decay": "learning_rate takes a schedule",
    "mask_zero": "padding_idx=0 starts a mask",
    "max_norm": "vectors are never rescaled",
    "min_delta": "write Monitor(name, min_delta=...) in place of the name",
    "mode": "write Monitor(name, higher_is_better=True) in place of the name",
    "momentum": "there is none; Adam has a running mean of the gradient",
    "num_layers": "several are a Sequential of them",
    "output_size": "the output is always of one pixel",
    "padding_mode": "padding is always with zeros",
    "restore_best_weights": "it always does",
    "resume": "a run that was restored continues by itself",
    "return_indices": "only the maxima are returned",
    "return_sequences": "states='all' returns those of every step",
    "shuffle": "the samples are always shuffled, by the seed of the Trainer",
    "start_dim": "it always flattens all axes but the first",
    "threshold": "it is never replaced by a line",
    "verbose": "callbacks=[ProgressBar()] shows the progress",
}
Method = TypeVar("Method", bound=Callable[..., Any])

LONG = 30  # characters: a longer value stands in the call as its name


class NamedKeywords:
    """Base class: a constructor of the package that is called like that of PyTorch says its own.

    What is raised is an InputError with the call to write. It costs nothing but a `try` around each
    construction. Constructors of subclasses outside of the package are left alone.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__module__.startswith("tinynet."):
            return
        if "__init__" in vars(cls):
            cls.__init__ = named_keywords(cls.__init__, cls)  # type: ignore[method-assign]
        elif cls.__init__ is object.__init__ and cls.__name__ in ORDERS:

            def __init__(self: Any) -> None:  # noqa: N807  # it becomes one
                """Takes no arguments."""

            cls.__init__ = named_keywords(__init__, cls)  # type: ignore[method-assign]


def named_keywords(method: Method, owner: type | None = None) -> Method:
    """The method (a constructor of its `owner`), with an error that names keywords.

    >>> from tinynet import Conv2D
    >>> Conv2D(1, 8, 3, 1, 1)
    Traceback (most recent call last):
    tinynet.errors.InputError: Conv2D expects at most 3 arguments by position, got 5: \
write Conv2D(1, 8, 3, stride=1, padding=1)
    """

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        try:
            return method(self, *args, **kwargs)
        except TypeError as error:
            trace = error.__traceback__
            if trace is None or trace.tb_next is not None:
                raise  # it comes from inside the method, not from its call
            if owner is None:
                parameters = dict(list(inspect.signature(method).parameters.items())[1:])
                sentence = _sentence(method.__name__, parameters, args, kwargs)
            else:
                parameters = constructor_parameters(type(self))
                sentence = _sentence(type(self).__name__, parameters, args, kwargs)
            if not sentence:
                raise
        raise InputError(sentence)

    return cast(Method, call)


def _sentence(
    who: str,
    parameters: Mapping[str, inspect.Parameter],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> str:
    """What to write in place of a call that Python refused; an empty string if unknown."""
    kinds = [parameter.kind for parameter in parameters.values()]
    most = sum(kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for kind in kinds)
    if len(args) > most and inspect.Parameter.VAR_POSITIONAL not in kinds:
        return _by_position(who, list(parameters), args, kwargs, most)
    unknown = [name for name in kwargs if name not in parameters]
    if unknown and inspect.Parameter.VAR_KEYWORD not in kinds:
        name = unknown[0]
        hint = _hint(name, kwargs[name], parameters)
        takes = f"arguments among {', '.join(parameters)}" if parameters else "no arguments"
        return f"{who} expects {takes}, got {name}{hint and ': '}{hint}"
    return ""


def _by_position(
    who: str, names: list[str], args: Sequence[Any], kwargs: Mapping[str, Any], most: int
) -> str:
    limit = f"at most {most} argument{'s' * (most > 1)}" if most else "no arguments"
    head = f"{who} expects {limit} by position, got {len(args)}"
    if who == "fit" and isinstance(args[2], np.ndarray):
        return f"{head}: several inputs are one tuple, fit((x1, x2), y, epochs=...)"
    order = ORDERS.get(who, "").split()
    if order == ["*"] and not isinstance(args[0], list | tuple):
        return f"{head}: write {who}([{', '.join(_text('layer', value) for value in args)}])"
    if len(order) < len(args):
        others = [f"{name}=" for name in names[most:]]
        return f"{head}{'; by keyword it takes ' if others else ''}{', '.join(others)}"
    given = dict(zip(order, args, strict=False))
    texts = [_text(name, value) for name, value in list(given.items())[:most]]
    by_keyword = {name: given[name] for name in order[most : len(args)] if name in names}
    texts += [f"{name}={_text(name, v)}" for name, v in {**by_keyword, **kwargs}.items()]
    rest = [name for name in order[most : len(args)] if name not in names]
    remedies = (f"; {name}: {REMEDIES.get(name, 'there is no such argument')}" for name in rest)
    return f"{head}: write {who}({', '.join(texts)}){''.join(remedies)}"


def _hint(name: str, value: Any, parameters: Mapping[str, Any]) -> str:
    other = RENAMED.get(name)
    if other in parameters:
        return f"write {other}={_text(name, value)}"
    if name in REMEDIES:
        return REMEDIES[name]
    from difflib import get_close_matches

    close = get_close_matches(name, parameters, n=1)
    return f"write {close[0]}={_text(close[0], value)}" if close else ""


def _text(name: str, value: Any) -> str:
    """A value as it stands in a call, or its name where it is an array or long."""
    if isinstance(value, np.ndarray) or (name == "parameters" and not isinstance(value, str)):
        return name
    text = argument_text(value)
    return name if len(text) > LONG else text
