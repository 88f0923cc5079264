import pickle

import numpy as np
import pytest

from tinynet import (
    AnomalyError,
    CheckpointError,
    DatasetError,
    Dense,
    DivergenceError,
    EmptyBatchError,
    GradientCheckError,
    InputError,
    ReLU,
    Sequential,
    ShapeError,
)
from tinynet.gradcheck.report import Verdict


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


def test_errors_of_input_are_value_errors_and_errors_of_numbers_arithmetic_errors() -> None:
    assert issubclass(InputError, ValueError)
    assert issubclass(ShapeError, InputError)
    assert issubclass(EmptyBatchError, InputError)
    assert issubclass(CheckpointError, ValueError)
    assert issubclass(DatasetError, ValueError)
    assert issubclass(DivergenceError, ArithmeticError)
    assert issubclass(AnomalyError, ArithmeticError)
    assert issubclass(GradientCheckError, AssertionError)


def test_errors_of_files_begin_with_the_path() -> None:
    assert str(CheckpointError("a.npz", "it is damaged")) == "a.npz: it is damaged"
    assert str(DatasetError("a.gz", "10 labels", "9")) == "a.gz: expected 10 labels, got 9"


def test_an_anomaly_error_keeps_layer_phase_step_array_and_index() -> None:
    error = AnomalyError("layers.1, Tanh()", "forward", 7, "y", (0, 2), "while x is finite")
    assert str(error) == (
        "layers.1, Tanh(), forward, step 7: y has the first NaN or infinity at index (0, 2), "
        "while x is finite"
    )
    assert (error.layer, error.phase, error.step) == ("layers.1, Tanh()", "forward", 7)
    assert (error.array, error.index) == ("y", (0, 2))


def test_a_gradient_check_error_keeps_the_wrong_entry_and_has_no_cause_yet() -> None:
    error = GradientCheckError(
        "x is wrong",
        verdict=Verdict.WRONG,
        layer="Tanh()",
        parameter="x",
        index=(1,),
        analytic=2.0,
        numeric=1.0,
        error=1e-9,
        around=iter([((0,), 3.0, 4.0)]),
    )
    assert str(error) == "Tanh(): x is wrong"
    assert (error.verdict, error.layer, error.parameter) == (Verdict.WRONG, "Tanh()", "x")
    assert (error.index, error.analytic, error.numeric, error.error) == ((1,), 2.0, 1.0, 1e-9)
    assert error.around == [((0,), 3.0, 4.0)]
    assert (error.cause, error.certain, error.snippet) == (None, False, "")
