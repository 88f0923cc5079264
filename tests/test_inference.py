"""Inference mode: a network is read and not changed, by one thread or by many."""

import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from contract_cases import CASES

from tinynet import (
    SGD,
    Accuracy,
    BatchNorm,
    Dense,
    Dropout,
    InputError,
    Layer,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
    inference,
)
from tinynet.callbacks import Callback
from tinynet.mode import in_mode

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 40)


def network() -> Sequential:
    layers = [Dense(6, 16, rng=0), BatchNorm(16), ReLU(), Dropout(0.5, rng=1), Dense(16, 3, rng=2)]
    return Sequential(layers)


def trained() -> tuple[Sequential, Trainer]:
    model = network()
    trainer = Trainer(
        model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1), metrics=[Accuracy()]
    )
    trainer.fit(X, Y, epochs=2, batch_size=8)
    return model, trainer


def in_threads(count: int, run: Callable[[int], None]) -> None:
    errors: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            run(number)
        except BaseException as error:  # an assertion of a thread is one of the test
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def everything(model: Layer) -> list[dict[str, Any]]:
    """Every attribute of every layer, with arrays as they are now."""
    return [
        {n: v.tobytes() if isinstance(v, np.ndarray) else repr(v) for n, v in vars(layer).items()}
        for _, layer in model.named_layers()
    ]


@pytest.mark.parametrize("mode", [True, False])
def test_reading_a_network_changes_no_attribute_of_any_layer(mode: bool) -> None:
    model, trainer = trained()
    model.train(mode)
    y = model(X)
    before, state = everything(model), pickle.dumps(trainer.state_dict())
    model.predict(X)
    model.predict(X[:1])
    model.output_shape(X.shape)
    model.walk(X)
    trainer.evaluate(X, Y, batch_size=7)
    with inference():
        model(X)
        trainer.loss(model(X), Y)
    assert everything(model) == before
    assert pickle.dumps(trainer.state_dict()) == state
    assert model.backward(np.ones_like(y)) is not None  # the forward of before is pending


def test_a_first_prediction_leaves_the_pickle_of_a_network_as_it_was() -> None:
    model = network()
    before = pickle.dumps(model)
    model.predict(X)
    assert pickle.dumps(model) == before


def test_every_layer_keeps_nothing_for_backward_in_inference_mode() -> None:
    for name, case in CASES.items():
        layer, rng = case.make(), np.random.default_rng(0)
        x = (
            rng.integers(0, case.ids, case.shape)
            if case.ids
            else rng.random(case.shape, np.float32)
        )
        with inference():
            layer(x, *case.targets)
        for path, inner in layer.named_layers():
            assert inner._saved is None, f"{name}, {path}"
            assert inner._scratch_memory is None, f"{name}, {path}"


def test_backward_in_inference_mode_says_why_it_cannot_be() -> None:
    model = network()
    with inference():
        y = model(X)
    with pytest.raises(InputError, match=r"one backward, and in inference mode none$"):
        model.backward(y)


def test_inference_mode_ends_with_the_block_also_by_an_error_and_can_be_nested() -> None:
    layer = Dropout(0.5)
    with inference():
        with inference():
            assert not layer.training
        assert not layer.training
        with in_mode(training=True):
            assert layer.training
        assert not layer.training
    with pytest.raises(ZeroDivisionError), inference():
        raise ZeroDivisionError
    assert layer.training
    assert not layer.eval().training
    with in_mode(training=True):
        assert layer.training
    assert not layer.training


def test_other_threads_do_not_see_the_mode_of_a_block() -> None:
    layer, seen = Dropout(0.5), []
    with inference():
        in_threads(1, lambda _: seen.append(layer.training))
    assert seen == [True]


def test_four_threads_predict_what_one_predicts() -> None:
    model, _ = trained()
    expected, before = [model.predict(X[i : i + 1]) for i in range(40)], everything(model)

    def predict(number: int) -> None:
        for i in range(250):
            at = (i * (number + 1)) % 40
            np.testing.assert_array_equal(model.predict(X[at : at + 1]), expected[at])

    in_threads(4, predict)
    assert everything(model) == before


def test_predictions_beside_a_running_fit_change_neither_the_run_nor_each_other() -> None:
    def trainer_of(rate: float, *, norm: bool) -> Trainer:
        layers = [layer for layer in network() if norm or not isinstance(layer, BatchNorm)]
        model = Sequential(layers)
        return Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), rate))

    # Weights that stay, so that the predictions are known, in a network in training mode.
    still, expected = trainer_of(0.0, norm=False), trainer_of(0.0, norm=False).predict(X)
    moving, alone = trainer_of(0.1, norm=True), trainer_of(0.1, norm=True)
    alone.fit(X, Y, epochs=40, batch_size=8)
    running = threading.Event()

    def run(number: int) -> None:
        if number == 0:
            still.fit(X, Y, epochs=60, batch_size=8)
            running.set()
        elif number == 1:
            moving.fit(X, Y, epochs=40, batch_size=8)
        else:
            while not running.is_set():
                np.testing.assert_array_equal(still.predict(X), expected)
                moving.predict(X)
                moving.evaluate(X, Y)

    in_threads(4, run)
    for one, other in zip(moving.model.parameters(), alone.model.parameters(), strict=True):
        np.testing.assert_array_equal(one.value, other.value)
    for array, same in zip(
        moving.model.state_dict().values(), alone.model.state_dict().values(), strict=True
    ):
        np.testing.assert_array_equal(array, same)


def test_predicting_in_a_callback_leaves_the_step_that_is_under_way_alone() -> None:
    class Look(Callback):
        def on_step_end(self, trainer: Trainer) -> None:
            trainer.predict(X)
            assert trainer.model.training

    plain, _ = trained()
    model = network()
    trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1))
    trainer.fit(X, Y, epochs=2, batch_size=8, callbacks=[Look()])
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))


def test_the_prediction_of_a_batch_belongs_to_the_caller() -> None:
    model, _ = trained()
    y = model.predict(X)
    y[:] = 0
    assert model.predict(X).any()
