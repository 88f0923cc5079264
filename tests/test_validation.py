import pickle
from typing import Any

import numpy as np
import pytest

from tinynet import (
    Array,
    Dense,
    Dropout,
    Flatten,
    InputError,
    Layer,
    ReLU,
    Rescale,
    Sequential,
    Tanh,
)
from tinynet.errors import ShapeError
from tinynet.validation import finite_number, matches, shape_hint, whole_number


@pytest.mark.parametrize("value", [1, 7, np.int64(7), np.uint8(7), True])
def test_whole_numbers_pass_as_int(value: Any) -> None:
    assert whole_number("Dense", "size", value) == int(value)
    assert type(whole_number("Dense", "size", value)) is int


@pytest.mark.parametrize("value", [0, -1, 1.0, "1", None, float("nan"), [1]])
def test_anything_else_is_refused_with_both_values(value: Any) -> None:
    with pytest.raises(InputError) as error:
        whole_number("Dense", "size", value)
    expected = f"Dense expects size to be a whole number >= 1, got {value!r}"
    assert str(error.value) == expected


def test_the_bound_itself_passes() -> None:
    assert whole_number("SGD", "n", 5, at_least=5) == 5
    assert finite_number("SGD", "rate", 0, at_least=0) == 0.0
    assert finite_number("BatchNorm", "momentum", 1, at_most=1) == 1.0


def test_just_below_the_upper_bound_passes() -> None:
    assert finite_number("Dropout", "rate", 1 - 2**-53, below=1) == 1 - 2**-53


@pytest.mark.parametrize("value", [-1.5, 3, np.float32(0.5)])
def test_numbers_pass_as_float(value: Any) -> None:
    assert finite_number("Rescale", "scale", value) == float(value)
    assert type(finite_number("Rescale", "scale", value)) is float


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), "2", None, [1, 2], 10**400]
)
def test_what_is_not_finite_is_refused(value: Any) -> None:
    with pytest.raises(InputError) as error:
        finite_number("Rescale", "scale", value)
    assert str(error.value) == f"Rescale expects scale to be a finite number, got {value!r}"


def test_the_sentence_names_the_bound() -> None:
    with pytest.raises(InputError, match=r"^SGD expects rate to be a finite number >= 0, got -1$"):
        finite_number("SGD", "rate", -1, at_least=0)


@pytest.mark.parametrize(
    ("value", "bounds", "words"),
    [
        (1, {"at_least": 0, "below": 1}, ">= 0 and < 1"),
        (1.5, {"at_least": 0, "below": 1}, ">= 0 and < 1"),
        (-0.5, {"at_least": 0, "below": 1}, ">= 0 and < 1"),
        (float("nan"), {"at_least": 0, "below": 1}, ">= 0 and < 1"),
        (1.5, {"at_least": 0, "at_most": 1}, ">= 0 and <= 1"),
        (-0.5, {"at_least": 0, "at_most": 1}, ">= 0 and <= 1"),
        (float("inf"), {"at_most": 1}, "<= 1"),
        (2.5, {"below": 2.5}, "< 2.5"),
        (-float("inf"), {"below": 2.5}, "< 2.5"),
    ],
)
def test_the_sentence_names_both_bounds(value: Any, bounds: Any, words: str) -> None:
    with pytest.raises(InputError) as error:
        finite_number("Dropout", "rate", value, **bounds)
    expected = f"Dropout expects rate to be a finite number {words}, got {value!r}"
    assert str(error.value) == expected


class Image(Layer):
    """Takes images of some channels and leaves them as they are."""

    def __init__(self, in_channels: int) -> None:
        self.in_channels = in_channels
        self.size = 7  # of something else
        self._secret = in_channels

    def forward(self, x: Array) -> Array:
        self.check_input(x, "N", self.in_channels, "H", "W")
        return x.copy()

    def backward(self, dy: Array) -> Array:
        return dy


class Steps(Image):
    """Takes sequences."""

    def forward(self, x: Array) -> Array:
        self.check_input(x, "N", "T", self.in_channels)
        return x.copy()


DENSE = Dense(784, 10)


@pytest.mark.parametrize(
    ("layer", "got", "hint"),
    [
        (DENSE, (32, 28, 28), "Flatten() before it makes rows of 784"),
        (DENSE, (28, 28), "a single sample is a batch of one: x[None]"),
        (DENSE, (784, 32), "the samples are its rows: x.T"),
        (DENSE, (8, 784, 7, 7), "GlobalAvgPool2D() before it leaves the channels alone"),
        (
            DENSE,
            (8, 32, 5, 5),
            "Flatten() before it makes rows of 800, and in_features=800 would fit them",
        ),
        (DENSE, (32, 100), "in_features=100 would fit it"),
        (DENSE, (32, 5, 100), "in_features=100 would fit it"),
        (Image(3), (3, 8, 8), "a single sample is a batch of one: x[None]"),
        (
            Image(3),
            (32, 8, 8, 3),
            "the channels come first: Permute((0, 3, 1, 2)) before it puts them there",
        ),
        (Image(1), (32, 8, 9), "Reshape((1, 8, 9)) before it gives the images a channel"),
        (Image(3), (32, 8, 9), ""),
        (Image(3), (32, 48), "Reshape((3, 4, 4)) before it makes images of the rows"),
        (Image(3), (32, 49), ""),
        (Image(3), (32, 2), ""),
        (Image(3), (32, 16, 8, 8), "in_channels=16 would fit it"),
        (Image(3), (32, 16, 8, 8, 2), ""),
        (Steps(5), (9, 5), "a single sample is a batch of one: x[None]"),
        (Steps(5), (2, 9, 6), "in_channels=6 would fit it"),
        (Steps(5), (2, 9), ""),
        (Steps(1), (2, 9), "Reshape((9, 1)) before it gives every step its one feature"),
        (
            Steps(5),
            (2, 3, 4, 6),
            "Flatten() before it makes rows of 72, and in_channels=72 would fit them",
        ),
    ],
)
def test_shape_errors_hint_at_the_likely_mistake(layer: Layer, got: tuple[int, ...], hint: str) -> None:
    pattern: dict[type[Layer], Any] = {
        Dense: (..., 784),
        Image: ("N", getattr(layer, "in_channels", 0), "H", "W"),
        Steps: ("N", "T", getattr(layer, "in_channels", 0)),
    }
    with pytest.raises(InputError) as error:
        layer.check_input(np.zeros(got), *pattern[type(layer)])
    wanted = ", ".join("..." if size is ... else str(size) for size in pattern[type(layer)])
    sentence = f"{layer!r} expects x of shape ({wanted}), got {got}"
    assert str(error.value) == sentence + (f"; {hint}" if hint else "")


def test_says_nothing_where_no_size_or_more_than_one_is_demanded() -> None:
    assert shape_hint(DENSE, ("N", "D"), (3,)) == ""
    assert shape_hint(DENSE, ("N", 3, 4), (3, 4)) == ""
    assert shape_hint("who is no layer", (..., 3), (2, 4)) == ""


def test_says_it_of_x_alone() -> None:
    with pytest.raises(InputError, match=r"expects dy of shape \(\.\.\., 3\), got \(2, 4\)$"):
        Dense(3, 4).check_input(np.zeros((2, 4)), ..., 3, name="dy")


def test_fits() -> None:
    assert matches((2, 3), ("N", 3))
    assert matches((2, 3), [..., 3])
    assert not matches((2, 3), ("N", 4))
    assert not matches((2, 3), ("N", 3, "T"))
    assert not matches((2,), ("N", ..., 3, 4))


def test_the_error_can_be_pickled() -> None:
    with pytest.raises(ShapeError) as error:
        Sequential([ReLU(), Dense(3, 2)])(np.zeros((4, 5)))
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


class TestCheck:
    def test_gives_the_shape_of_y(self) -> None:
        model = Sequential([Flatten(), Rescale(1 / 255), Dense(784, 128), ReLU(), Dense(128, 10)])
        assert model.output_shape((64, 28, 28)) == (64, 10)
        assert model.output_shape(np.zeros((3, 28, 28), np.uint8)) == (3, 10)
        assert model.output_shape((0, 28, 28)) == (0, 10)
        assert Dense(3, 2).output_shape((5, 7, 3)) == (5, 7, 2)

    def test_computes_nothing(self) -> None:
        seen = []

        class Monitor(Layer):
            def forward(self, x: Array) -> Array:
                seen.append((x.shape, str(x.dtype), self.training))
                return x.copy()

            backward = forward

        model = Sequential([Monitor(), Dropout(0.5), Monitor()])
        model.output_shape(np.ones((64, 3)))
        assert seen == [((0, 3), "float64", False)] * 2
        assert all(layer.training for layer in model)

    def test_integers_go_where_integers_are_needed(self) -> None:
        class Table(Layer):
            takes_integers = True

            def forward(self, x: Array) -> Array:
                assert x.dtype.kind == "i"
                return np.zeros((*x.shape, 4), np.float32)

            def backward(self, dy: Array) -> None: ...

        assert Sequential([Sequential([Table()]), Dense(4, 2)]).output_shape((8, 20)) == (8, 20, 2)

    def test_forgets_a_pending_backward(self) -> None:
        model = Sequential([ReLU()])
        y = model(np.ones((2, 3)))
        model.output_shape((2, 3))
        with pytest.raises(InputError, match="expects a forward before it"):
            model.backward(y)

    def test_tells_of_the_batch_that_is_meant(self) -> None:
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

    def test_a_shape_that_is_not_of_a_batch_stays_as_it_is(self) -> None:
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
            ((), "ReLU().output_shape expects x to have a batch axis, got none"),
            (np.array(1.0), "ReLU().output_shape expects x to have a batch axis, got none"),
        ],
    )
    def test_refuses_what_is_no_shape(self, x: Any, sentence: str) -> None:
        with pytest.raises(InputError) as error:
            ReLU().output_shape(x)
        assert str(error.value) == sentence


class TestFirstForward:
    def test_checks_all_shapes_before_the_first_product(self) -> None:
        products = []

        class Product(Layer):
            def forward(self, x: Array) -> Array:
                products.append(x.size)
                return x @ np.ones((3, 3))

            def backward(self, dy: Array) -> Array:
                return dy

        model = Sequential([Product(), Sequential([Product()]), Dense(4, 2)])
        for _ in range(2):  # a fault that is still there is still found first
            with pytest.raises(InputError, match=r"^layer 3 of 3: Dense\(4, 2\) expects"):
                model(np.ones((5, 3)))
        assert products == [0, 0, 0, 0]

    def test_is_the_only_one_to_check(self) -> None:
        sizes = []

        class Monitor(Layer):
            def forward(self, x: Array) -> Array:
                sizes.append(len(x))
                return x.copy()

            backward = forward

        model = Sequential([Monitor(), Sequential([Monitor()])])
        for _ in range(2):
            model(np.ones((5, 3)))
        assert sizes == [0, 0, 5, 5, 5, 5]

    def test_leaves_to_forward_what_only_an_empty_batch_upsets(self) -> None:
        class Range(Layer):
            def forward(self, x: Array) -> Array:
                y: Array = x / x.max()
                return y

            def backward(self, dy: Array) -> Array:
                return dy

        model = Sequential([Range()])
        assert model(np.array([[1.0], [2.0]])).tolist() == [[0.5], [1]]
        with pytest.raises(
            InputError, match=r"\.output_shape expects layers that take an empty batch"
        ):
            model.output_shape((2, 1))

    def test_a_row_without_a_batch_goes_through(self) -> None:
        assert Sequential([Dense(3, 2), Tanh()])(np.ones(3)).shape == (2,)
