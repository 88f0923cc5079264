"""The constructor call of an object, as `repr` and the snippets of the gradient check show it."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet
from tinynet import (
    ELU,
    GELU,
    LSTM,
    RNN,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Array,
    AvgPool2D,
    BatchNorm,
    BinaryCrossEntropy,
    Concatenate,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GroupNorm,
    Hinge,
    Huber,
    KLDivergence,
    Lambda,
    Layer,
    LayerNorm,
    LeakyReLU,
    MaxPool2D,
    MultiHeadAttention,
    Parallel,
    Parameter,
    Permute,
    ReLU,
    Rescale,
    Reshape,
    Residual,
    RMSprop,
    Select,
    Sequential,
    SoftmaxCrossEntropy,
    Softplus,
    TransformerBlock,
)
from tinynet.optimizers import schedules
from tinynet.optimizers.schedules import (
    Constant,
    Cosine,
    Exponential,
    LinearWarmUp,
    StepDecay,
)
from tinynet.signature import (
    argument_text,
    attributes_text,
    call_text,
    constructor_arguments,
    constructor_call,
    constructor_parameters,
    parameter_names,
    split_arguments,
)

LAYERS_AND_LOSSES = {
    # Required arguments by position, others by name where they are not at their defaults.
    "Dense(3, 2)": Dense(3, 2, rng=0),
    "Dense(3, 2, bias=False)": Dense(3, 2, bias=False, weight_init=tinynet.initializers.zeros),
    "ReLU()": ReLU(),
    "LeakyReLU(negative_slope=0.2)": LeakyReLU(0.2),
    "ELU()": ELU(1.0),
    "Softplus(beta=2)": Softplus(2.0),
    "GELU(approximate='tanh')": GELU("tanh"),
    "Dropout(0.25)": Dropout(0.25, rng=0),
    # Floats to six digits.
    "Rescale(0.00392157, offset=-1)": Rescale(1 / 255, -1.0),
    # Tuples, slices and keyword-only arguments.
    "Reshape((2, -1))": Reshape((2, -1)),
    "Permute((0, 2, 1))": Permute((0, 2, 1)),
    "Select(slice(1, 3, None), axis=2)": Select(slice(1, 3), axis=2),
    "Conv2D(1, 8, 3, padding=1)": Conv2D(1, 8, 3, padding=1),
    "MaxPool2D(2, stride=1)": MaxPool2D(2, stride=1),
    "AvgPool2D((2, 3))": AvgPool2D((2, 3)),
    "BatchNorm(4, momentum=0.2)": BatchNorm(4, momentum=0.2),
    "LayerNorm((4,))": LayerNorm(4),
    "GroupNorm(2, 4)": GroupNorm(2, 4),
    "Embedding(5, 3)": Embedding(5, 3),
    "RNN(2, 3)": RNN(2, 3, rng=0),
    "LSTM(2, 3)": LSTM(2, 3),
    "MultiHeadAttention(4, 2, causal=True)": MultiHeadAttention(4, 2, causal=True),
    "TransformerBlock(4, 2, dim_feedforward=8)": TransformerBlock(4, 2, dim_feedforward=8),
    # Layers inside, and functions by their names.
    "Sequential([Flatten(), Sequential([Dense(4, 3), ReLU()])])": Sequential(
        [Flatten(), Sequential([Dense(4, 3), ReLU()])]
    ),
    "Concatenate([Dense(1, 2), ReLU()], axis=-1)": Concatenate([Dense(1, 2), ReLU()], axis=-1),
    "Parallel([ReLU(), ReLU()], sizes=[1, 2])": Parallel([ReLU(), ReLU()], sizes=[1, 2]),
    "Residual(Dense(2, 2), shortcut=Rescale(2))": Residual(Dense(2, 2), Rescale(2)),
    "Lambda(sin, cos)": Lambda(np.sin, np.cos),
    # Arrays, long ones shortened.
    "SoftmaxCrossEntropy()": SoftmaxCrossEntropy(),
    "SoftmaxCrossEntropy(weight=[0.5, 2. ], reduction='sum')": SoftmaxCrossEntropy(
        [0.5, 2], reduction="sum"
    ),
    "Hinge(weight=[0., 1., ..., 4., 5.])": Hinge(weight=np.arange(12.0) % 6),
    "BinaryCrossEntropy(pos_weight=3.)": BinaryCrossEntropy(pos_weight=3),
    "Huber(delta=0.5)": Huber(0.5),
    "KLDivergence(log_target=True)": KLDivergence(log_target=True),
}
WEIGHTS = [Parameter([1.0]), Parameter([[2.0, 3.0]])]
OPTIMIZERS = {
    # With the arguments of the base class, which the constructor takes as **others.
    "SGD(2 parameters, 0.1)": SGD(WEIGHTS, 0.1),
    "SGD(2 parameters, 0.1, momentum=0.9, nesterov=True)": SGD(
        WEIGHTS, 0.1, momentum=0.9, nesterov=True
    ),
    "SGD(2 parameters, 0.1, weight_decay=0.0001, clip_norm=1)": SGD(
        WEIGHTS, 0.1, clip_norm=1.0, weight_decay=1e-4
    ),
    "SGD(2 parameters, Cosine(0.1, 10), momentum=0.9)": SGD(
        WEIGHTS, Cosine(0.1, steps=10), momentum=0.9
    ),
    "Adam(2 parameters)": Adam(WEIGHTS),
    "Adam(2 parameters, learning_rate=0.01, eps=1e-06)": Adam(WEIGHTS, 0.01, eps=1e-6),
    "Adam(2 parameters, betas=(0.8, 0.99))": Adam(WEIGHTS, betas=(0.8, 0.99)),
    "AdamW(2 parameters, weight_decay=0.1)": AdamW(WEIGHTS, weight_decay=0.1),
    "RMSprop(2 parameters, clip_norm=5)": RMSprop(WEIGHTS, clip_norm=5),
    "Adagrad(1 parameters, learning_rate=0.1)": Adagrad(WEIGHTS[:1], 0.1),
}
SCHEDULES = {
    "Constant(0.1)": Constant(0.1),
    "Cosine(0.1, 10)": Cosine(0.1, steps=10),
    "Cosine(0.1, 10, final=0.01)": Cosine(0.1, steps=10, final=0.01),
    "StepDecay(0.1, every=5)": StepDecay(0.1, every=5),
    "Exponential(0.1, factor=0.9)": Exponential(0.1, factor=0.9),
    "LinearWarmUp(5, then=Cosine(0.1, 10))": LinearWarmUp(5, then=Cosine(0.1, steps=10)),
}
OBJECTS: dict[str, Any] = {**LAYERS_AND_LOSSES, **OPTIMIZERS, **SCHEDULES}


@pytest.mark.parametrize("call", OBJECTS)
def test_constructor_call_and_repr_show_required_arguments_and_those_not_at_their_defaults(
    call: str,
) -> None:
    assert constructor_call(OBJECTS[call]) == call
    assert repr(OBJECTS[call]) == call


@pytest.mark.parametrize("call", [c for c in OBJECTS if "parameters" not in c and "..." not in c])
def test_evaluating_a_constructor_call_makes_an_object_with_the_same_call(call: str) -> None:
    names = vars(tinynet) | vars(schedules) | {"sin": np.sin, "cos": np.cos}
    assert repr(eval(call.replace("2. ]", "2.]"), dict(names))) == call


class Affine(Layer):
    """A layer with arguments that it keeps under other names, or not at all."""

    def __init__(self, size: int, *, scale: float = 1.0) -> None:
        self.scale = scale
        self.w = Parameter(np.ones(size))
        self.inner = ReLU()
        self.note = "text"

    def forward(self, x: Array) -> Array:
        return x

    backward = forward


def test_constructor_call_is_none_where_a_required_or_optional_argument_is_not_kept() -> None:
    layer = Affine(3)
    assert constructor_arguments(layer) == {"size": inspect.Parameter.empty}
    assert constructor_call(layer) is None
    del layer.scale
    assert constructor_arguments(layer)["scale"] is inspect.Parameter.empty


def test_repr_of_a_layer_whose_call_is_unknown_shows_its_parameters_and_layers() -> None:
    assert repr(Affine(3)) == "Affine(w=(3,), inner=ReLU())"
    assert repr(Affine(3, scale=2.0)) == "Affine(w=(3,), inner=ReLU())"


def test_constructor_arguments_leave_out_defaults_generators_and_initializers() -> None:
    weight_init = tinynet.initializers.zeros
    assert constructor_arguments(Dense(3, 2, rng=0, weight_init=weight_init)) == {
        "in_features": 3,
        "out_features": 2,
    }
    assert constructor_arguments(Dense(3, 2, bias=False))["bias"] is False


def test_an_array_at_the_place_of_a_default_is_always_shown() -> None:
    arguments = constructor_arguments(Hinge(weight=[1, 2]))
    assert list(arguments) == ["weight"]
    np.testing.assert_array_equal(arguments["weight"], [1.0, 2.0])


class Base:
    def __init__(self, size: int, *, rate: float = 0.1, decay: float = 0.0) -> None:
        self.size, self.rate, self.decay = size, rate, decay


class Middle(Base):
    pass


class Derived(Middle):
    """Passes on what it does not know, and sets another default of its own."""

    def __init__(self, size: int, *, rate: float = 0.5, axis: int, **others: Any) -> None:
        super().__init__(size, rate=rate, **others)
        self.axis = axis


class WithoutBase:
    def __init__(self, size: int = 1, **others: int) -> None:
        self.size, self.others = size, others


def test_constructor_parameters_take_those_of_the_base_class_in_place_of_others() -> None:
    parameters = constructor_parameters(Derived)
    assert list(parameters) == ["size", "rate", "axis", "decay"]
    assert parameters["rate"].default == 0.5
    assert parameters["decay"].default == 0.0
    assert list(constructor_parameters(Base)) == ["size", "rate", "decay"]


def test_constructor_parameters_keep_others_where_no_base_class_has_a_constructor() -> None:
    assert list(constructor_parameters(WithoutBase)) == ["size", "others"]


def test_required_keyword_only_arguments_are_given_by_name() -> None:
    assert constructor_call(Derived(3, axis=1)) == "Derived(3, axis=1)"
    assert constructor_call(Derived(3, axis=1, rate=0.1, decay=2)) == (
        "Derived(3, rate=0.1, axis=1, decay=2)"
    )


def test_call_text_puts_required_arguments_first_and_the_others_behind_by_name() -> None:
    assert call_text(Dense, {"bias": "False", "in_features": "n", "out_features": "2"}) == (
        "Dense(n, 2, bias=False)"
    )
    assert split_arguments(Derived, {"axis": 1, "size": 3}) == ([3], {"axis": 1})
    assert call_text(Derived, {}) == "Derived()"


def test_parameter_names_of_a_callable_without_a_signature_are_none() -> None:
    assert parameter_names(Dense)[:2] == ["in_features", "out_features"]
    assert parameter_names(lambda x, *, rng: (x, rng)) == ["x", "rng"]
    assert parameter_names(min) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1 / 3, "0.333333"),
        (2.0, "2"),
        (1e-12, "1e-12"),
        (np.float64(0.5), "0.5"),
        (3, "3"),
        (True, "True"),
        (None, "None"),
        (Path("runs") / "digits", "'runs/digits'"),
        ("mean", "'mean'"),
        ((2, 3), "(2, 3)"),
        ([1, 2], "[1, 2]"),
        ([], "[]"),
        (((1, 2), (0, 0)), "((1, 2), (0, 0))"),
        ([0.5, 1 / 3], "[0.5, 0.333333]"),
        ((0.5, 1 / 3), "(0.5, 0.333333)"),
        ([ReLU(), Dense(1, 2)], "[ReLU(), Dense(1, 2)]"),
        ([Parameter(1.0), Parameter(2.0)], "2 parameters"),
        (np.array([1.0, 2.5]), "[1. , 2.5]"),
        (np.array([[1], [2]]), "[[1],\n [2]]"),
        (np.arange(11) % 10, "[0, 1, ..., 9, 0]"),
        (np.sin, "sin"),
        (abs, "abs"),
    ],
    ids=str,
)
def test_argument_text_is_the_value_as_a_call_gives_it(value: Any, text: str) -> None:
    assert argument_text(value) == text


def test_attributes_text_shows_attributes_of_the_given_types_and_parameters_by_shape() -> None:
    layer = Affine(3)
    assert attributes_text(layer, Parameter | Layer) == "Affine(w=(3,), inner=ReLU())"
    assert attributes_text(layer, str) == "Affine(note='text')"
    assert attributes_text(layer, (str, float)) == "Affine(scale=1.0, note='text')"
    assert attributes_text(layer, ()) == "Affine()"


def test_attributes_text_of_an_object_without_attributes_is_the_class() -> None:
    assert attributes_text(Parameter(1.0), object) == "Parameter()"
