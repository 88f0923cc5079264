"""A constructor that is called as in PyTorch says how to call it."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet
from tinynet import (
    GRU,
    SGD,
    Array,
    Conv2D,
    Dense,
    InputError,
    Layer,
    MeanSquaredError,
    ReLU,
    Trainer,
    callbacks,
)
from tinynet.datasets import batches
from tinynet.keywords import ORDERS, REMEDIES, RENAMED, NamedKeywords
from tinynet.optimizers import schedules

# Calls that a type checker would refuse.
nn: Any = tinynet
rates: Any = schedules
watch: Any = callbacks
beside: Any = batches
P = Dense(2, 2).parameters()
CASES: dict[str, tuple[Callable[[], Any], str]] = {
    "Conv2D": (
        lambda: nn.Conv2D(1, 8, 3, 1, 1),
        "at most 3 arguments by position, got 5: write Conv2D(1, 8, 3, stride=1, padding=1)",
    ),
    "LSTM": (
        lambda: nn.LSTM(3, 4, 2),
        "at most 2 arguments by position, got 3: write LSTM(3, 4); num_layers: several are a "
        "Sequential of them",
    ),
    "RNN": (
        lambda: nn.RNN(3, 4, 1, "relu", False),
        "at most 2 arguments by position, got 5: write RNN(3, 4, nonlinearity='relu', bias=False); "
        "num_layers: several are a Sequential of them",
    ),
    "Adam": (
        lambda: nn.Adam(P, 1e-3, (0.9, 0.99)),
        "at most 2 arguments by position, got 3: write Adam(parameters, 0.001, betas=(0.9, 0.99))",
    ),
    "AdamW": (
        lambda: nn.AdamW(nn.Dense(2, 2).named_parameters(), 0.1, (0.9, 0.99), 1e-8, 0.02, True),
        "at most 2 arguments by position, got 6: write AdamW(parameters, 0.1, betas=(0.9, 0.99), "
        "eps=1e-08, weight_decay=0.02); amsgrad: there is no AMSGrad",
    ),
    "SGD": (  # the weight decay of PyTorch's SGD is part of the gradient: here it is l2
        lambda: nn.SGD(iter(P), 0.1, 0.9, 0, 1e-4, nesterov=True),
        "at most 2 arguments by position, got 5: write SGD(parameters, 0.1, momentum=0.9, "
        "l2=0.0001, nesterov=True); dampening: momentum is never dampened",
    ),
    "Dense": (
        lambda: nn.Dense(2, 3, False),
        "at most 2 arguments by position, got 3: write Dense(2, 3, bias=False)",
    ),
    "Embedding": (
        lambda: nn.Embedding(5, 3, 0, 1.0, 2.0),
        "at most 2 arguments by position, got 5: write Embedding(5, 3, padding_idx=0); max_norm: "
        "vectors are never rescaled; norm_type: there is no such argument",
    ),
    "TransformerBlock": (
        lambda: nn.TransformerBlock(8, 2, 32, 0.1),
        "at most 2 arguments by position, got 4: write TransformerBlock(8, 2, dim_feedforward=32, "
        "dropout=0.1)",
    ),
    "AvgPool2D": (  # the fourth one of PyTorch is ceil_mode
        lambda: nn.AvgPool2D(2, 2, 0, True),
        "at most 3 arguments by position, got 4: write AvgPool2D(2, 2, 0); ceil_mode: output sizes "
        "are always rounded down",
    ),
    "ReLU": (
        lambda: nn.ReLU(True),
        "no arguments by position, got 1: write ReLU(); inplace: no layer writes to its input",
    ),
    "Tanh": (lambda: nn.Tanh(1), "no arguments by position, got 1"),
    "Sequential": (
        lambda: nn.Sequential(nn.Dense(2, 3), nn.ReLU()),
        "at most 1 argument by position, got 2: write Sequential([Dense(2, 3), ReLU()])",
    ),
    "Sequential of long layers": (
        lambda: nn.Sequential(nn.ReLU(), nn.Sequential([nn.Dense(2, 3), nn.ReLU(), nn.Tanh()])),
        "at most 1 argument by position, got 2: write Sequential([ReLU(), layer])",
    ),
    "Concatenate": (
        lambda: nn.Concatenate([nn.ReLU()], 1),
        "at most 1 argument by position, got 2; by keyword it takes axis=",
    ),
    "StepDecay": (
        lambda: rates.StepDecay(0.1, 30),
        "at most 1 argument by position, got 2: write StepDecay(0.1, every=30)",
    ),
    "Cosine": (
        lambda: rates.Cosine(0.1, 100, 0.01),
        "at most 2 arguments by position, got 3: write Cosine(0.1, 100, final=0.01)",
    ),
    "EarlyStopping": (
        lambda: watch.EarlyStopping("loss", 3),
        "at most 1 argument by position, got 2; by keyword it takes patience=",
    ),
    "Accuracy": (
        lambda: nn.Accuracy(3),
        "no arguments by position, got 1; by keyword it takes ignore_index=",
    ),
    "Trainer": (
        lambda: nn.Trainer(nn.Dense(2, 2), nn.MeanSquaredError(), nn.SGD(P, 0.1), [nn.Accuracy()]),
        "at most 3 arguments by position, got 4: write Trainer(Dense(2, 2), MeanSquaredError(), "
        "SGD(2 parameters, 0.1), metrics=[Accuracy()])",
    ),
    "Batches": (  # in the order of a DataLoader
        lambda: beside.Batches(np.zeros(3), np.zeros(3), 2, True),
        "at most 3 arguments by position, got 4: write Batches(x, y, 2, shuffle=True)",
    ),
    "a name of PyTorch": (
        lambda: nn.SGD(P, lr=0.1),
        "arguments among parameters, learning_rate, momentum, nesterov, l2, weight_decay, "
        "clip_norm, clip_value, rule, got lr: write learning_rate=0.1",
    ),
    "a name of PyTorch for a function of x": (
        lambda: nn.Softmax(dim=1),
        "arguments among axis, got dim: write axis=1",
    ),
    "a former name": (
        lambda: rates.OneCycle(peak=0.1, steps=3),
        "arguments among rate, steps, warm_up, start_divisor, end_divisor, got peak: write "
        "rate=0.1",
    ),
    "a name that is close": (
        lambda: nn.Dropout(rates=0.5),
        "arguments among rate, rng, got rates: write rate=0.5",
    ),
    "a name that does not exist": (
        lambda: nn.Dropout(0.5, seed=0),
        "arguments among rate, rng, got seed",
    ),
    "a name with a remedy": (
        lambda: nn.Flatten(start_dim=1),
        "no arguments, got start_dim: it always flattens all axes but the first",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_call_as_in_pytorch_is_told_the_call_to_write(name: str) -> None:
    call, expected = CASES[name]
    with pytest.raises(InputError) as info:
        call()
    who, _, sentence = str(info.value).partition(" expects ")
    assert sentence == expected
    assert who in dir(tinynet) or hasattr(schedules, who) or who in ("EarlyStopping", "Batches")
    assert info.value.__cause__ is None
    assert info.value.__suppress_context__ or info.value.__context__ is None


def test_fit_takes_epochs_by_keyword_and_says_so() -> None:
    x, model = np.ones((4, 2), np.float32), Dense(2, 2)
    trainer: Any = Trainer(model, MeanSquaredError(), SGD(model.parameters(), 0.1))
    with pytest.raises(InputError) as info:
        trainer.fit(x, x, 32, 5)  # in the order of Keras
    assert str(info.value) == (
        "fit expects at most 2 arguments by position, got 4: write fit(x, y, batch_size=32, "
        "epochs=5)"
    )
    with pytest.raises(InputError, match=r"got validation_data: write validation=validation_data$"):
        trainer.fit(x, x, epochs=1, validation_data=(x, x))
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'epochs'"):
        trainer.fit(x, x)


def test_a_missing_argument_keeps_the_error_of_python() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'out_features'"):
        nn.Dense(2)


class Own(Layer):
    def __init__(self, size: int, *, scale: float = 1.0) -> None:
        self.size, self.scale = size, scale

    def forward(self, x: Array) -> Array:
        return x

    backward = forward


class Passing(GRU):  # type: ignore[misc]  # it is final
    def __init__(self, *sizes: Any) -> None:
        super().__init__(*sizes)


def test_constructors_outside_of_the_package_keep_the_errors_of_python() -> None:
    own: Any = Own
    with pytest.raises(TypeError, match=r"Own.__init__\(\) takes 2 positional arguments but 3"):
        own(1, 2.0)
    with pytest.raises(TypeError, match="takes 3 positional arguments but 4"):
        Passing(1, 2, 3)


def test_a_type_error_from_inside_a_constructor_is_left_alone() -> None:
    class Broken(NamedKeywords):
        __module__ = "tinynet.broken"

        def __init__(self, size: Any) -> None:
            len(size)

    with pytest.raises(TypeError, match="object of type 'int' has no len"):
        Broken(3)


def test_signatures_and_documentation_of_constructors_are_those_that_were_written() -> None:
    assert list(inspect.signature(Conv2D).parameters)[:4] == [
        "in_channels", "out_channels", "kernel_size", "stride"
    ]  # fmt: skip
    assert str(inspect.signature(ReLU)) in ("()", "() -> None", "() -> 'None'")
    assert list(inspect.signature(Trainer.fit).parameters)[:4] == ["self", "x", "y", "epochs"]
    assert Trainer.fit.__doc__ is not None


# By position, copied from inspect.signature of PyTorch 2.13 (device and dtype left out).
PYTORCH = {
    "Adagrad": "params lr lr_decay weight_decay initial_accumulator_value eps",
    "Adam": "params lr betas eps weight_decay amsgrad",
    "AdamW": "params lr betas eps weight_decay amsgrad",
    "AvgPool2D": "kernel_size stride padding ceil_mode count_include_pad divisor_override",
    "BatchNorm": "num_features eps momentum affine track_running_stats",
    "Conv2D": "in_channels out_channels kernel_size stride padding dilation groups bias"
    " padding_mode",
    "ConvTranspose2D": "in_channels out_channels kernel_size stride padding output_padding groups"
    " bias dilation padding_mode",
    "Dense": "in_features out_features bias",
    "Dropout": "p inplace",
    "ELU": "alpha inplace",
    "Embedding": "num_embeddings embedding_dim padding_idx max_norm norm_type scale_grad_by_freq"
    " sparse",
    "Flatten": "start_dim end_dim",
    "GELU": "approximate",
    "GRU": "input_size hidden_size num_layers bias batch_first dropout bidirectional",
    "GroupNorm": "num_groups num_channels eps affine",
    "LSTM": "input_size hidden_size num_layers bias batch_first dropout bidirectional proj_size",
    "LayerNorm": "normalized_shape eps elementwise_affine bias",
    "LeakyReLU": "negative_slope inplace",
    "LogSoftmax": "dim",
    "MaxPool2D": "kernel_size stride padding dilation return_indices ceil_mode",
    "MultiHeadAttention": "embed_dim num_heads dropout bias add_bias_kv add_zero_attn kdim vdim"
    " batch_first",
    "RMSNorm": "normalized_shape eps elementwise_affine",
    "RMSprop": "params lr alpha eps weight_decay momentum centered",
    "RNN": "input_size hidden_size num_layers nonlinearity bias batch_first dropout bidirectional",
    "ReLU": "inplace",
    "SGD": "params lr momentum dampening weight_decay nesterov",
    "SiLU": "inplace",
    "Sigmoid": "",
    "Softmax": "dim",
    "Softplus": "beta threshold",
    "Tanh": "",
    "TransformerBlock": "d_model nhead dim_feedforward dropout activation layer_norm_eps"
    " batch_first norm_first bias",
}


@pytest.mark.parametrize("name", PYTORCH)
def test_what_is_given_by_position_means_the_same_as_in_pytorch(name: str) -> None:
    order = [RENAMED.get(theirs, theirs) for theirs in PYTORCH[name].split()]
    if name in ("Adagrad", "Adam", "RMSprop", "SGD"):  # AdamW alone decays beside the gradient
        order[order.index("weight_decay")] = "l2"
    parameters = inspect.signature(getattr(tinynet, name)).parameters.values()
    by_position = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert order[: len(by_position)] == by_position
    assert len(order) == len(by_position) or order == ORDERS[name].split()


def test_the_orders_of_keras_and_of_schedules_begin_with_what_is_given_by_position() -> None:
    own: dict[str, Any] = {**vars(tinynet), **vars(schedules), **vars(batches)}
    own["fit"] = Trainer.fit
    for name in ORDERS.keys() - PYTORCH.keys() - {"GlobalAvgPool2D"}:
        parameters = [p for n, p in inspect.signature(own[name]).parameters.items() if n != "self"]
        by_position = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        order = ORDERS[name].split()
        assert order == ["*"] or order[: len(by_position)] == by_position
        assert order == ["*"] or {*order} <= {p.name for p in parameters}


def test_every_name_that_stands_for_one_of_pytorch_is_an_argument() -> None:
    own = {**vars(tinynet), **vars(schedules)}.values()
    classes = [cls for cls in own if inspect.isclass(cls) and issubclass(cls, NamedKeywords)]
    arguments = {name for cls in classes for name in inspect.signature(cls).parameters}
    assert {*RENAMED.values()} <= arguments | {*inspect.signature(Trainer.fit).parameters}
    assert not {*REMEDIES} & {*RENAMED}
