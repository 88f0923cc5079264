import multiprocessing
import pickle
import pkgutil
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from importlib import import_module

import numpy as np
import pytest
from subprocesses import raise_error

import tinynet
from tinynet import (
    AnomalyError,
    CheckpointError,
    DatasetError,
    Dense,
    DivergenceError,
    EmptyBatchError,
    GradientCheckError,
    InputError,
    Lambda,
    ReLU,
    Sequential,
    ShapeError,
)
from tinynet.gradcheck.report import Verdict


def shape_error() -> ShapeError:
    """With a location, a source, and a layer that cannot be pickled."""
    layers = [ReLU(), Lambda(lambda x: x, lambda dy, _: dy), Dense(3, 2)]
    with pytest.raises(ShapeError) as error:
        Sequential(layers)(np.zeros((4, 5)))
    error.value.layer = layers[1]
    error.value.add_note("a note")
    return error.value


def gradient_check_error() -> GradientCheckError:
    error = GradientCheckError(
        "wrong", verdict=Verdict.NOT_ZERO, layer="ReLU()", index=(0, 2), analytic=1.0
    )
    error.snippet = "check_gradients(...)"
    return error


ERRORS = [
    InputError("too wide"),
    shape_error(),
    EmptyBatchError("too wide"),
    CheckpointError("a.npz", "it is damaged"),
    DatasetError("a.gz", "10 labels", "9"),
    DivergenceError("the loss became nan"),
    AnomalyError("layers.1, Tanh()", "forward", 7, "y", (0, 2), "while x is finite"),
    gradient_check_error(),
]


def facts(error: BaseException) -> dict[str, str]:
    """All that an error carries, with layers as their text."""
    return {name: str(value) for name, value in vars(error).items()} | {"message": str(error)}


def exception_classes() -> set[type[BaseException]]:
    """The exceptions that the modules of the package define, whatever they are called."""
    names = (module.name for module in pkgutil.walk_packages(tinynet.__path__, "tinynet."))
    modules = [import_module(name) for name in names if not name.endswith("__main__")]
    return {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, BaseException)
        and value.__module__.startswith("tinynet")
    }


def test_each_exception_class_of_the_package_is_among_the_examples() -> None:
    public = {cls for cls in exception_classes() if not cls.__name__.startswith("_")}
    assert public == {type(error) for error in ERRORS}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_survives_pickle_with_all_that_it_carries(
    error: BaseException, protocol: int
) -> None:
    restored = pickle.loads(pickle.dumps(error, protocol))
    assert type(restored) is type(error)
    assert facts(restored) == facts(error)
    assert facts(deepcopy(error)) == facts(error)


@pytest.mark.parametrize("kind", ["Pool", "ProcessPoolExecutor"])
def test_every_error_comes_out_of_another_process(kind: str) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) if kind == "Pool" else ProcessPoolExecutor(1, context) as workers:
        for error in ERRORS:
            if isinstance(workers, ProcessPoolExecutor):
                wait = workers.submit(raise_error, error).result
            else:
                wait = workers.apply_async(raise_error, [error]).get
            with pytest.raises(type(error)) as raised:
                wait(timeout=60)
            assert facts(raised.value)["message"] == str(error)
            assert vars(raised.value).keys() >= vars(error).keys()


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
