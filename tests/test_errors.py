import pickle

import numpy as np
import pytest

from tinynet import (
    CheckpointError,
    Dense,
    EmptyBatchError,
    InputError,
    ReLU,
    Sequential,
    ShapeError,
)


def test_a_shape_error_can_be_pickled_with_its_location_and_source() -> None:
    with pytest.raises(ShapeError) as error:
        Sequential([ReLU(), Dense(3, 2)])(np.zeros((4, 5)))
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_add_location_puts_each_outer_location_in_front_of_the_message() -> None:
    for error in (InputError("too wide"), EmptyBatchError("too wide")):
        error.add_location("layer 2 of 3")
        error.add_location("layer 1 of 4")
        assert str(error) == "layer 1 of 4: layer 2 of 3: too wide"


def test_a_shape_error_without_location_source_and_hint_is_one_sentence() -> None:
    error = ShapeError("Dense(3, 2)", "x", ("N", 3), (4, 5))
    assert str(error) == "Dense(3, 2) expects x of shape (N, 3), got (4, 5)"
    assert str(ShapeError("Loss()", "labels", ("N",), ())) == (
        "Loss() expects labels of shape (N,), got ()"
    )


def test_errors_of_input_and_checkpoints_are_value_errors() -> None:
    assert issubclass(InputError, ValueError)
    assert issubclass(ShapeError, InputError)
    assert issubclass(EmptyBatchError, InputError)
    assert issubclass(CheckpointError, ValueError)
    assert str(CheckpointError("a.npz", "it is damaged")) == "a.npz: it is damaged"
