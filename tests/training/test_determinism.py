"""One seed gives one run: weights, metrics and files do not depend on what looks on."""

import random
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from resume_run import digest, make_data, make_model, make_trainer

from tinynet import Array, Sequential, Trainer, check_gradients, plots, preflight
from tinynet.callbacks import Callback, Checkpoint, CSVLog, Doctor, ProgressBar

mpl.use("Agg")

X, Y = make_data()
X_TEST, Y_TEST = make_data(30, seed=2)


class Look(Callback):
    """Looks at the trainer in each hook, in one of many ways."""

    def __init__(self, look: Any) -> None:
        self.look = look

    def on_step_end(self, trainer: Trainer) -> None:
        self.look(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        self.look(trainer)

    def on_fit_start(self, trainer: Trainer) -> None:
        self.look(trainer)


def draw_plots(trainer: Trainer) -> None:
    if trainer.step != 3 or not isinstance(trainer.model, Sequential):
        return  # drawing takes long
    plots.activation_histograms(trainer.model, X)
    plots.gradient_histograms(trainer.model, trainer.loss, X, Y)
    plots.model_diagram(trainer.model, X)
    if trainer.history.epochs:
        plots.learning_curves(trainer.history)
    plt.close("all")


def draw_numbers(_: Trainer) -> None:
    np.random.seed(random.randrange(2**32))  # noqa: NPY002  # the global generator on purpose
    random.seed(3)


LOOKS = {
    "evaluate": lambda trainer: trainer.evaluate(X_TEST, Y_TEST, batch_size=7),
    "predict": lambda trainer: trainer.predict(X_TEST[:1]),
    "output_shape": lambda trainer: trainer.model.output_shape((9, 4)),
    "summary": lambda trainer: trainer.model.summary((9, 4)),
    "state": lambda trainer: trainer.state_dict(),
    "plots": draw_plots,
    "gradient check": lambda trainer: check_gradients(trainer.model[1], X[:2]),
    "global generators": draw_numbers,
}


def train(trainer: Trainer, callbacks: list[Callback]) -> str:
    validation = X_TEST, Y_TEST
    trainer.fit(X, Y, epochs=3, batch_size=20, validation=validation, callbacks=callbacks)
    return digest(trainer)


@pytest.fixture(scope="module")
def plain() -> str:
    return train(make_trainer(), [])


@pytest.mark.parametrize("look", LOOKS)
def test_a_run_that_is_looked_at_has_the_bits_of_one_that_is_not(look: str, plain: str) -> None:
    assert train(make_trainer(), [Look(LOOKS[look])]) == plain


def test_callbacks_that_only_observe_change_no_bit(plain: str, tmp_path: Path) -> None:
    for order in (1, -1):
        callbacks: list[Callback] = [
            ProgressBar(),
            CSVLog(tmp_path / "log.csv"),
            Checkpoint(tmp_path / f"run {order}", every_steps=2),
            Doctor(every_steps=2, report=lambda _: None),
        ]
        assert train(make_trainer(), callbacks[::order]) == plain


def test_files_of_one_run_are_the_same_bytes_whatever_else_looks_on(tmp_path: Path) -> None:
    def files(folder: Path, looks: list[Callback]) -> dict[str, bytes]:
        trainer = make_trainer()
        train(trainer, [*looks, CSVLog(folder / "log.csv"), Checkpoint(folder)])
        trainer.model.save(folder / "model.npz")
        trainer.save(folder / "run.npz")
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

    looks: list[Callback] = [Look(LOOKS["evaluate"]), Look(LOOKS["plots"])]
    alone, looked_at = files(tmp_path / "alone", []), files(tmp_path / "looked at", looks)
    assert alone.keys() == looked_at.keys()
    assert len(alone) == 6  # three checkpoints
    for name in ("log.csv", "model.npz", "run.npz"):
        assert alone[name] == looked_at[name]


def test_a_preflight_before_a_run_changes_no_bit(plain: str) -> None:
    trainer = make_trainer()
    preflight(trainer, X, Y)
    assert train(trainer, []) == plain


def test_the_order_of_named_arguments_and_of_metrics_changes_no_weight() -> None:
    settings: dict[str, Any] = {
        "epochs": 2,
        "batch_size": 20,
        "validation": (X_TEST, Y_TEST),
        "micro_batch_size": 7,
        "callbacks": [],
    }
    weights: list[list[Array]] = []
    for names in (list(settings), list(settings)[::-1]):
        trainer = make_trainer()
        trainer.fit(y=Y, x=X, **{name: settings[name] for name in names})
        weights.append([parameter.value for parameter in trainer.model.parameters()])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_two_models_of_one_seed_are_equal_whatever_was_drawn_before() -> None:
    first = make_model(4)
    np.random.default_rng(0).random(9)
    make_model(5)
    for one, other in zip(first.parameters(), make_model(4).parameters(), strict=True):
        np.testing.assert_array_equal(one.value, other.value)
