"""`Layer.output_shape`, and the check of all shapes before the first forward of a chain."""

from typing import Any

import numpy as np
import pytest

from tinynet import (
    Array,
    Dense,
    Dropout,
    EmptyBatchError,
    Flatten,
    InputError,
    Layer,
    ReLU,
    Rescale,
    Sequential,
    Tanh,
)


def test_output_shape_returns_the_shape_of_y_for_an_x_or_a_shape() -> None:
    model = Sequential([Flatten(), Rescale(1 / 255), Dense(784, 128), ReLU(), Dense(128, 10)])
    assert model.output_shape((64, 28, 28)) == (64, 10)
    assert model.output_shape(np.zeros((3, 28, 28), np.uint8)) == (3, 10)
    assert model.output_shape((0, 28, 28)) == (0, 10)
    assert Dense(3, 2).output_shape((5, 7, 3)) == (5, 7, 2)


def test_output_shape_sends_an_empty_batch_through_in_evaluation_mode() -> None:
    seen = []

    class Recorder(Layer):
        def forward(self, x: Array) -> Array:
            seen.append((x.shape, str(x.dtype), self.training))
            return x.copy()

        backward = forward

    model = Sequential([Recorder(), Dropout(0.5), Recorder()])
    model.output_shape(np.ones((64, 3)))
    assert seen == [((0, 3), "float64", False)] * 2
    assert all(layer.training for layer in model)


def test_output_shape_of_a_shape_uses_integers_where_the_first_layer_takes_them() -> None:
    class Table(Layer):
        takes_integers = True

        def forward(self, x: Array) -> Array:
            assert x.dtype.kind == "i"
            return np.zeros((*x.shape, 4), np.float32)

        def backward(self, dy: Array) -> None: ...

    assert Sequential([Sequential([Table()]), Dense(4, 2)]).output_shape((8, 20)) == (8, 20, 2)


def test_output_shape_leaves_a_pending_backward() -> None:
    model = Sequential([ReLU()])
    y = model(np.ones((2, 3)))
    model.output_shape((2, 3))
    np.testing.assert_array_equal(model.backward(y), y)


def test_a_shape_error_of_output_shape_names_the_requested_batch_size() -> None:
    model = Sequential([Flatten(), ReLU(), Dense(100, 10)])
    with pytest.raises(InputError) as error:
        model.output_shape((32, 28, 28))
    assert str(error.value) == (
        "layer 3 of 3: Dense(100, 10) expects x of shape (..., 100), got (32, 784) from "
        "layer 2, ReLU(); in_features=784 would fit it"
    )
    with pytest.raises(InputError) as again:
        model(np.zeros((32, 28, 28)))
    assert str(again.value) == str(error.value)


def test_output_shape_leaves_the_shape_error_of_a_non_empty_array_unchanged() -> None:
    class Whole(Layer):
        def forward(self, x: Array) -> Array:
            self.check_input(np.zeros((2, 3)), "N", 4)
            return x

        backward = forward

    with pytest.raises(InputError, match=r"shape \(N, 4\), got \(2, 3\)"):
        Whole().output_shape((8, 3))


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (3, "ReLU expects an array or the shape of one, got 3"),
        ((2, -1), "ReLU expects each size of a shape to be a whole number >= 0, got -1"),
        ((), "ReLU() expects x to have samples, got shape ()"),
        (np.array(1.0), "ReLU() expects x to have samples, got shape ()"),
    ],
)
def test_output_shape_rejects_what_is_no_array_or_shape(x: Any, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        ReLU().output_shape(x)
    assert str(error.value) == sentence


def test_output_shape_passes_on_what_a_layer_says_about_the_dtype() -> None:
    with pytest.raises(InputError, match=r"^Dense\(3, 2\) expects x of a float dtype, got uint8"):
        Dense(3, 2).output_shape(np.zeros((5, 3), np.uint8))


def test_the_first_forward_of_a_chain_checks_all_shapes_before_it_computes() -> None:
    products = []

    class Product(Layer):
        def forward(self, x: Array) -> Array:
            products.append(x.size)
            return x @ np.ones((3, 3))

        def backward(self, dy: Array) -> Array:
            return dy

    model = Sequential([Product(), Sequential([Product()]), Dense(4, 2)])
    for _ in range(2):  # a second attempt finds the error again
        with pytest.raises(InputError, match=r"^layer 3 of 3: Dense\(4, 2\) expects"):
            model(np.ones((5, 3)))
    assert products == [0, 0, 0, 0]


def test_only_the_first_forward_of_a_chain_checks_its_shapes() -> None:
    sizes = []

    class Recorder(Layer):
        def forward(self, x: Array) -> Array:
            sizes.append(len(x))
            return x.copy()

        backward = forward

    model = Sequential([Recorder(), Sequential([Recorder()])])
    for _ in range(2):
        model(np.ones((5, 3)))
    assert sizes == [0, 0, 5, 5, 5, 5]


def test_a_layer_that_fails_on_an_empty_batch_still_runs_forward() -> None:
    class Range(Layer):
        def forward(self, x: Array) -> Array:
            y: Array = x / x.max()
            return y

        def backward(self, dy: Array) -> Array:
            return dy

    model = Sequential([Range()])
    assert model(np.array([[1.0], [2.0]])).tolist() == [[0.5], [1]]
    sentence = r"\.output_shape expects layers that take an empty batch, got .*zero-size array"
    with pytest.raises(EmptyBatchError, match=sentence) as error:
        model.output_shape((2, 1))
    assert isinstance(error.value.__cause__, ValueError)


def test_a_chain_takes_a_row_without_a_batch_axis() -> None:
    assert Sequential([Dense(3, 2), Tanh()])(np.ones(3)).shape == (2,)
