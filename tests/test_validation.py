from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tinynet import Array, Dense, InputError, Layer
from tinynet.validation import (
    array_hint,
    check_array,
    finite_number,
    first_index,
    for_batch,
    index_text,
    matches,
    one_of,
    sample_axis,
    shape_error,
    shape_hint,
    whole_number,
)


@pytest.mark.parametrize("value", [1, 7, np.int64(7), np.uint8(7), True])
def test_whole_number_returns_an_int(value: Any) -> None:
    assert whole_number("Dense", "size", value) == int(value)
    assert type(whole_number("Dense", "size", value)) is int


@pytest.mark.parametrize("value", [0, -1, 1.0, "1", None, float("nan"), [1]])
def test_whole_number_rejects_other_values_and_names_bound_and_value(value: Any) -> None:
    with pytest.raises(InputError) as error:
        whole_number("Dense", "size", value)
    expected = f"Dense expects size to be a whole number >= 1, got {value!r}"
    assert str(error.value) == expected


def test_the_bound_itself_is_accepted() -> None:
    assert whole_number("SGD", "n", 5, at_least=5) == 5
    assert finite_number("SGD", "rate", 0, at_least=0) == 0.0
    assert finite_number("BatchNorm", "momentum", 1, at_most=1) == 1.0


def test_finite_number_accepts_the_float_just_below_its_upper_bound() -> None:
    assert finite_number("Dropout", "rate", 1 - 2**-53, below=1) == 1 - 2**-53


@pytest.mark.parametrize("value", [-1.5, 3, np.float32(0.5)])
def test_finite_number_returns_a_float(value: Any) -> None:
    assert finite_number("Rescale", "scale", value) == float(value)
    assert type(finite_number("Rescale", "scale", value)) is float


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), "2", None, [1, 2], 10**400]
)
def test_finite_number_rejects_what_is_no_finite_number(value: Any) -> None:
    with pytest.raises(InputError) as error:
        finite_number("Rescale", "scale", value)
    assert str(error.value) == f"Rescale expects scale to be a finite number, got {value!r}"


def test_the_error_of_finite_number_names_its_bound() -> None:
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
def test_the_error_of_finite_number_names_both_bounds(value: Any, bounds: Any, words: str) -> None:
    with pytest.raises(InputError) as error:
        finite_number("Dropout", "rate", value, **bounds)
    expected = f"Dropout expects rate to be a finite number {words}, got {value!r}"
    assert str(error.value) == expected


class Image(Layer):
    """Takes images (N, in_channels, H, W) and returns a copy."""

    def __init__(self, in_channels: int) -> None:
        self.in_channels = in_channels
        self.size = 7  # not a size of x
        self._secret = in_channels

    def forward(self, x: Array) -> Array:
        self.check_input(x, "N", self.in_channels, "H", "W")
        return x.copy()

    def backward(self, dy: Array) -> Array:
        return dy


class Steps(Image):
    """Takes sequences (N, T, in_channels)."""

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
def test_a_shape_error_of_x_hints_at_the_likely_mistake(
    layer: Layer, got: tuple[int, ...], hint: str
) -> None:
    pattern: dict[type[Layer], Any] = {
        Dense: (..., 784),
        Image: ("N", getattr(layer, "in_channels", 0), "H", "W"),
        Steps: ("N", "T", getattr(layer, "in_channels", 0)),
    }
    with pytest.raises(InputError) as error:
        layer.check_input(np.zeros(got), *pattern[type(layer)])
    sizes = ", ".join("..." if size is ... else str(size) for size in pattern[type(layer)])
    sentence = f"{layer!r} expects x of shape ({sizes}), got {got}"
    assert str(error.value) == sentence + (f"; {hint}" if hint else "")


def test_shape_hint_is_empty_where_the_pattern_has_no_size_or_more_than_one() -> None:
    assert shape_hint(DENSE, ("N", "D"), (3,)) == ""
    assert shape_hint(DENSE, ("N", 3, 4), (3, 4)) == ""
    assert shape_hint("not a layer", (..., 3), (2, 4)) == ""


def test_shape_hint_names_the_argument_for_a_size_on_an_axis_in_the_middle() -> None:
    assert shape_hint(Image(3), ("N", 3, "T"), (2, 5, 9)) == "in_channels=5 would fit it"
    assert shape_hint(Image(3), ("N", 3, "T"), (2, 5)) == ""


def test_only_a_shape_error_of_x_has_a_hint() -> None:
    with pytest.raises(InputError, match=r"expects dy of shape \(\.\.\., 3\), got \(2, 4\)$"):
        Dense(3, 4).check_input(np.zeros((2, 4)), ..., 3, name="dy")


def test_matches_compares_a_shape_with_a_pattern_of_sizes_letters_and_ellipsis() -> None:
    assert matches((2, 3), ("N", 3))
    assert matches((2, 3), [..., 3])
    assert not matches((2, 3), ("N", 4))
    assert not matches((2, 3), ("N", 3, "T"))
    assert not matches((2,), ("N", ..., 3, 4))


def test_one_of_returns_an_allowed_value() -> None:
    assert one_of("Hinge", "p", 2, (1, 2)) == 2
    assert one_of("RNN", "nonlinearity", "tanh", ("tanh", "relu")) == "tanh"


@pytest.mark.parametrize("value", [0, 3, "1", 1.0, True, None, [1]])
def test_one_of_rejects_other_values_and_equal_values_of_another_type(value: Any) -> None:
    with pytest.raises(InputError) as error:
        one_of("Hinge", "p", value, (1, 2))
    assert str(error.value) == f"Hinge expects p to be 1 or 2, got {value!r}"


def test_one_of_names_every_allowed_value() -> None:
    with pytest.raises(InputError, match=r"^Loss expects mode to be 'a' or 'b' or True, got 'c'$"):
        one_of("Loss", "mode", "c", ("a", "b", True))


def test_sample_axis_returns_a_whole_number_other_than_0() -> None:
    assert sample_axis("Concatenate", 1) == 1
    assert sample_axis("Concatenate", np.int8(-1)) == -1
    with pytest.raises(InputError, match=r"^Sum expects an axis of a sample, got 0, the batch ax"):
        sample_axis("Sum", 0)
    with pytest.raises(InputError, match=r"^Sum expects axis to be a whole number .*, got 1\.5$"):
        sample_axis("Sum", 1.5)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8", "u1", "i8", "?"])
def test_check_array_accepts_arrays_of_numbers(dtype: str) -> None:
    check_array("Dense", "x", np.zeros((2, 3), dtype))
    check_array("Dense", "x", np.zeros(()), numbers=False)


def test_check_array_accepts_memory_maps_and_other_subclasses_that_compute_as_arrays_do(
    tmp_path: Path,
) -> None:
    class Own(np.ndarray[Any, Any]):
        pass

    check_array("Dense", "x", np.zeros(3).view(Own))
    check_array("Dense", "x", np.memmap(tmp_path / "x", np.float32, "w+", shape=(2, 3)))


@pytest.mark.parametrize("dtype", ["c16", "O", "U3", "S3", "M8[s]", "m8[s]", "V3"])
def test_check_array_rejects_other_dtypes_unless_any_will_do(dtype: str) -> None:
    check_array("Batches", "x", np.zeros(3, dtype), numbers=False)
    with pytest.raises(InputError, match=r"^Batches expects x of a number dtype, got "):
        check_array("Batches", "x", np.zeros(3, dtype))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ((1, 2), "labels to be a NumPy array, got tuple; np.asarray(labels) makes one"),
        (
            ["cat", "dog"],
            "labels to be a NumPy array, got list; np.asarray(labels) makes one; "
            "classes, labels = np.unique(labels, return_inverse=True) makes integers of them",
        ),
        (
            np.array(["1", "2"]),
            "labels of a number dtype, got <U1; "
            "classes, labels = np.unique(labels, return_inverse=True) makes integers of them; "
            "labels.astype(np.float32) makes numbers of them",
        ),
        (
            np.ma.masked_equal([1, 2], 2),
            "labels to be a NumPy array, got MaskedArray; labels.filled(number) makes one",
        ),
        ({1, 2}, "labels to be a NumPy array, got set"),
        (np.zeros(2, complex), "labels of a number dtype, got complex128"),
    ],
)
def test_check_array_names_type_or_dtype_and_the_remedy(value: Any, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        check_array("Hinge()", "labels", value)
    assert str(error.value) == f"Hinge() expects {sentence}"


def test_np_unique_makes_the_labels_that_the_hint_promises() -> None:
    for labels in (np.array(["dog", "cat", "dog"]), np.array(["b", "a", "b"], object), ["b", "a"]):
        names: dict[str, Any] = {"np": np, "labels": labels}
        exec(array_hint(np.asarray(labels), "labels").partition(" makes")[0], names)
        assert names["labels"].tolist() == [1, 0, 1][: len(labels)]
        assert names["labels"].dtype.kind == "i"


@pytest.mark.parametrize(
    "x",
    [
        [[1.0, 2.0]],
        range(3),
        (k for k in range(3)),
        pd.DataFrame({"a": [1, 2]}),
        pd.Series([1.0, None], dtype="Float32"),
        np.array([[1, 2]], object),
        np.array(["1.5", "2"]),
        pd.Series([np.ones(3), np.zeros(3)]).to_numpy(),
        np.array([(1, 2.0)], [("a", int), ("b", float)]),
        np.rec.array([(1, 2.0)], [("a", int), ("b", float)]),
    ],
)
def test_the_code_in_a_hint_makes_an_array(x: Any) -> None:
    names: dict[str, Any] = {"np": np, "numpy": np, "x": x}
    exec("import numpy.lib.recfunctions\nx = " + array_hint(x).partition(" makes")[0], names)
    check_array("Dense", "x", names["x"], numbers=not isinstance(x, pd.Series))


def test_the_hint_sees_only_the_first_rows_of_a_large_table() -> None:
    class Table:
        def __getitem__(self, rows: slice) -> Any:
            assert rows == slice(100)
            return pd.Series(["cat"])

        def to_numpy(self) -> Any:
            raise AssertionError("it may be larger than memory")

    assert array_hint(Table(), "y").startswith("y.to_numpy() makes one; classes, labels = ")


@pytest.mark.parametrize(
    ("wrong", "index"),
    [
        ([True], (0,)),
        ([False, True, True], (1,)),
        ([[False, False], [False, True], [True, True]], (1, 1)),
        ([[[False], [True]]], (0, 1, 0)),
        (True, ()),
    ],
)
def test_first_index_is_that_of_the_first_true_in_row_major_order(
    wrong: Any, index: tuple[int, ...]
) -> None:
    found = first_index(np.array(wrong))
    assert found == index
    assert all(type(entry) is int for entry in found)


def test_index_text_is_a_number_for_one_axis_and_a_tuple_for_more_or_none() -> None:
    assert index_text((3,)) == "3"
    assert index_text((3, 0)) == "(3, 0)"
    assert index_text(()) == "()"


def test_for_batch_replaces_an_empty_batch_by_the_size_and_renews_the_hint() -> None:
    error = shape_error(DENSE, "x", (..., 784), (0, 28, 28))
    error.source = " from layer 1, ReLU()"
    error.add_location("layer 2 of 2")
    assert str(for_batch(error, 32)) == (
        "layer 2 of 2: Dense(784, 10) expects x of shape (..., 784), got (32, 28, 28) "
        "from layer 1, ReLU(); Flatten() before it makes rows of 784"
    )


def test_for_batch_returns_the_error_of_a_non_empty_array_unchanged() -> None:
    for got in ((5, 3), (5, 0), ()):
        error = shape_error(DENSE, "x", (..., 784), got)
        assert for_batch(error, 32) is error
