"""Recording the calls of the layers of a network while it runs."""

from typing import Any

import numpy as np
import pytest

from tinynet import Array, Dense, Dropout, InputError, Layer, Parameter, ReLU, Residual, Sequential
from tinynet.recording import recording

X = np.array([[1.0, -2.0], [3.0, 0.5], [-1.0, 1.0]], np.float32)


@pytest.fixture
def model() -> Sequential:
    return Sequential([Dense(2, 3, rng=0), Residual([ReLU(), Dense(3, 3, rng=1)])])


PATHS = ["layers.0", "layers.1.body.layers.0", "layers.1.body.layers.1", "layers.1.body"]


def test_recording_lists_the_calls_of_all_layers_in_the_order_they_return(
    model: Sequential,
) -> None:
    model(X)  # the first forward checks shapes with an empty batch
    with recording(model) as calls:
        y = model(X)
    assert [call.path for call in calls] == [*PATHS, "layers.1", ""]
    layers = dict(model.named_layers())
    assert all(call.layer is layers[call.path] for call in calls)
    assert calls[-1].output is y


def test_recorded_inputs_and_outputs_are_the_arrays_themselves(model: Sequential) -> None:
    model(X)
    with recording(model) as calls:
        model(X)
    assert calls[0].inputs == (X,)
    assert calls[0].inputs[0] is X
    assert calls[1].inputs[0] is calls[0].output
    assert calls[2].inputs[0] is calls[1].output


def test_recorded_copies_keep_the_values_that_arrays_had_at_the_time_of_the_call() -> None:
    class AddsInPlace(Layer):
        """Breaks the rule that a layer does not write to its input."""

        def forward(self, x: Array) -> Array:
            x += 1
            return x

        backward = forward

    model, x = Sequential([AddsInPlace(), AddsInPlace()]), np.zeros(2)
    with recording(model, copies=True) as calls:
        y = model(x)
    assert [call.inputs[0].tolist() for call in calls] == [[0, 0], [1, 1], [0, 0]]
    assert [call.output.tolist() for call in calls] == [[1, 1], [2, 2], [2, 2]]
    assert not any(np.shares_memory(call.output, y) for call in calls)
    with recording(model) as calls:
        model(x)
    assert all(call.output is x for call in calls)


def test_copies_leave_what_is_no_array_as_it_is() -> None:
    class Lengths(Layer):
        def forward(self, words: list[str], *, factor: int = 1) -> list[int]:
            return [factor * len(word) for word in words]

        def backward(self, dy: Array) -> None: ...

    layer, words = Lengths(), ["a", "word"]
    with recording(layer, copies=True) as calls:
        assert layer.forward(words, factor=2) == [2, 8]
    assert calls[0].inputs == (words,)
    assert calls[0].inputs[0] is words
    assert calls[0].output == [2, 8]


def test_recording_backward_lists_the_gradients_from_the_last_layer_to_the_first(
    model: Sequential,
) -> None:
    dy = np.ones_like(model(X))
    with recording(model, "backward") as calls:
        dx = model.backward(dy)
    assert [call.path for call in calls] == [
        "layers.1.body.layers.1",
        "layers.1.body.layers.0",
        "layers.1.body",
        "layers.1",
        "layers.0",
        "",
    ]
    assert calls[-1].inputs[0] is dy
    assert calls[-1].output is dx
    assert calls[-2].inputs[0] is calls[-3].output


def test_recording_does_not_change_what_a_network_computes(model: Sequential) -> None:
    y = model(X)
    dx = model.backward(np.ones_like(y))
    gradients = [parameter.grad for parameter in model.parameters()]
    with recording(model), recording(model, "backward"):
        np.testing.assert_array_equal(model(X), y, strict=True)
        np.testing.assert_array_equal(model.backward(np.ones_like(y)), dx, strict=True)
    for parameter, grad in zip(model.parameters(), gradients, strict=True):
        np.testing.assert_array_equal(parameter.grad, grad, strict=True)


def test_methods_are_restored_after_the_block_and_calls_behind_it_are_not_recorded(
    model: Sequential,
) -> None:
    before = [dict(vars(layer)) for _, layer in model.named_layers()]
    with recording(model, "backward") as calls:
        pass
    after = [dict(vars(layer)) for _, layer in model.named_layers()]
    assert after == before
    model.backward(np.ones_like(model(X)))
    assert calls == []


def test_methods_are_restored_and_earlier_calls_kept_after_an_error() -> None:
    model = Sequential([ReLU(), Dense(3, 2)])
    model(np.ones((1, 3)))
    with recording(model) as calls, pytest.raises(InputError, match="layer 2 of 2"):
        model(np.ones((1, 4)))
    assert [call.path for call in calls] == ["layers.0"]
    with pytest.raises(InputError, match="layer 2 of 2"), recording(model):
        model(np.ones((1, 4)))
    assert all("forward" not in vars(layer) for _, layer in model.named_layers())


def test_recordings_of_two_methods_and_of_two_networks_are_independent(model: Sequential) -> None:
    other = Sequential([ReLU()])
    model(X)
    with recording(model) as forward, recording(model, "backward") as backward:
        y = model(X)
        other(X)
        model.backward(np.ones_like(y))
    assert len(forward) == len(backward) == 6
    assert forward[-1].output is y


def test_recording_of_a_single_layer_has_an_empty_path() -> None:
    layer = Dense(2, 1, rng=0)
    with recording(layer) as calls:
        layer(X)
        layer(X[:1])
    assert [(call.path, call.layer, len(call.output)) for call in calls] == [
        ("", layer, 3),
        ("", layer, 1),
    ]


def test_the_name_of_a_call_is_path_and_repr_of_the_layer(model: Sequential) -> None:
    model(X)
    with recording(model) as calls:
        model(X)
    assert calls[0].name == "layers.0, Dense(2, 3)"
    assert calls[-1].name == repr(model)


def test_recording_finds_layers_in_dicts_and_records_predictions_in_evaluation_mode() -> None:
    class Chosen(Layer):
        def __init__(self) -> None:
            self.branches: dict[str, Layer] = {"drop": Dropout(0.5, rng=0), "keep": ReLU()}
            self.gain = Parameter(2.0)

        def forward(self, x: Array) -> Array:
            y: Array = self.gain.value * self.branches["drop"](x)
            return y

        def backward(self, dy: Array) -> Any:
            raise NotImplementedError

    model = Chosen()
    with recording(model) as calls:
        model.predict(X, batch_size=2)
    assert [(call.path, len(call.output)) for call in calls] == [
        ("branches.drop", 2),
        ("", 2),
        ("branches.drop", 1),
        ("", 1),
    ]
    np.testing.assert_array_equal(calls[0].output, X[:2])


def test_recordings_of_one_network_can_be_nested(model: Sequential) -> None:
    model(X)
    with recording(model) as outer:
        with recording(model) as inner:
            model(X)
        model(X)
    assert [call.path for call in inner] == [*PATHS, "layers.1", ""]
    assert len(outer) == 2 * len(inner)
    assert not any("forward" in vars(layer) for _, layer in model.named_layers())
