"""What `fit` refuses before its first step, so that no work is lost."""

import pickle
from typing import Any

import numpy as np
import pytest
from resume_run import digest

from tinynet import (
    SGD,
    Accuracy,
    Array,
    BatchNorm,
    Dense,
    Dropout,
    InputError,
    Layer,
    Metric,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
)
from tinynet.optimizers.schedules import OnPlateau

RNG = np.random.default_rng(0)


def data(samples: int) -> tuple[Array, Array]:
    return RNG.standard_normal((samples, 4)).astype(np.float32), RNG.integers(0, 2, samples)


def trainer_of(*layers: Layer, rate: Any = 0.1) -> Trainer:
    model = Sequential([*layers, Dense(4, 2, rng=0)])
    optimizer = SGD(model.parameters(), rate)
    return Trainer(model, SoftmaxCrossEntropy(), optimizer, metrics=[Accuracy()])


# 65 samples, in batches of 64; the parts of the last batch and of all batches by their sizes.
LONE = [
    {"batch_size": 64},
    {"batch_size": 1},
    {"batch_size": 64, "micro_batch_size": 1},
    {"batch_size": 64, "micro_batch_size": 9},  # 7 · 9 + 1
    {"batch_size": 64, "micro_batch_size": 16, "last_batch": "join"},  # 4 · 16 + 1
    {"batch_size": 32, "micro_batch_size": 31, "last_batch": "drop"},
]
FITTING = [
    {"batch_size": 63},
    {"batch_size": 64, "last_batch": "drop"},
    {"batch_size": 64, "last_batch": "join"},
    {"batch_size": 64, "last_batch": "join", "micro_batch_size": 13},
    {"batch_size": 65, "micro_batch_size": 33},
]


@pytest.mark.parametrize("settings", LONE)
def test_a_lone_sample_for_batch_norm_is_refused_before_the_first_step(
    settings: dict[str, Any],
) -> None:
    trainer = trainer_of(BatchNorm(4), Dropout(0.5, rng=1))
    before = digest(trainer)
    with pytest.raises(InputError) as error:
        trainer.fit(*data(65), epochs=2, **settings)
    numbers = ", ".join(f"{n}={settings[n]}" for n in settings if n != "last_batch")
    assert str(error.value).startswith(
        "fit expects batches that the model can be trained on, got one of 1 sample (65 samples, "
        f"{numbers}): layer 1 of 3: "
    )
    assert "BatchNorm(4) expects more than one value per channel in training" in str(error.value)
    assert str(error.value).endswith(
        "; take another batch size, last_batch='drop' or last_batch='join'"
    )
    assert (digest(trainer), trainer.epochs) == (before, 0)


@pytest.mark.parametrize("settings", FITTING)
def test_batch_norm_trains_on_batches_without_a_lone_sample(settings: dict[str, Any]) -> None:
    trainer = trainer_of(BatchNorm(4))
    trainer.fit(*data(65), epochs=2, **settings)
    assert trainer.epoch == 2


@pytest.mark.parametrize("settings", LONE)
def test_a_lone_sample_is_no_fault_for_other_layers_and_is_tried_on_a_copy(
    settings: dict[str, Any],
) -> None:
    trainer = trainer_of(Dropout(0.5, rng=1))
    before = pickle.dumps(trainer.model)  # with the state of its generator
    trainer.fit(*data(65), epochs=0, **settings)  # the trial alone
    assert pickle.dumps(trainer.model) == before
    trainer.fit(*data(65), epochs=1, **settings)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x, y: (x, y.astype(float)), "SoftmaxCrossEntropy() expects integer labels, got "),
        (lambda x, y: (x[:, :3], y), "layer 1 of 1: Dense(4, 2) expects x of shape"),
        (lambda x, y: (x.astype(int), y), "layer 1 of 1: Dense(4, 2) expects x of a float dtype"),
        (lambda x, y: (x, y[:5]), "Batches expects x and y of the same number of samples"),
        (lambda x, y: (x.tolist(), y), "Batches expects x to be a NumPy array, got list"),
        (lambda x, y: (x, y + 1), "SoftmaxCrossEntropy() expects labels from 0 to 1, got 2"),
    ],
)
def test_validation_data_that_do_not_fit_are_refused_before_the_first_step(
    change: Any, sentence: str
) -> None:
    trainer, (x, y) = trainer_of(), data(20)
    y[0] = 1
    before = digest(trainer)
    with pytest.raises(InputError) as error:
        trainer.fit(x, y, epochs=1, validation=change(x, y))
    assert str(error.value).startswith(f"validation data: {sentence}")
    assert digest(trainer) == before
    trainer.fit(x, y, epochs=2, validation=(x, y))
    assert (trainer.epoch, len(trainer.history.epochs["validation_loss"])) == (2, 2)


def test_validation_labels_that_are_wrong_in_a_later_batch_cost_no_epoch() -> None:
    x, y = data(1500)
    wrong, trainer, other = y.copy(), trainer_of(), trainer_of()
    wrong[1200] = 7
    with pytest.raises(InputError, match="expects labels from 0 to 1, got 7 at index 176"):
        trainer.fit(x, y, epochs=2, validation=(x, wrong))
    assert (trainer.epoch, trainer.step, trainer.history.epochs) == (0, 24, {})
    for each in (trainer, other):
        each.fit(x, y, epochs=2, validation=(x, y))
    assert digest(trainer) == digest(other)


def test_a_schedule_whose_metric_is_not_measured_is_refused_before_the_first_step() -> None:
    trainer = trainer_of(rate=OnPlateau(0.1, monitor="validation_loss"))
    with pytest.raises(InputError, match="give validation data to fit"):
        trainer.fit(*data(20), epochs=1)
    assert trainer.step == 0


def test_a_metric_with_the_name_of_another_one_for_validation_data_is_refused() -> None:
    class Taken(Metric):
        def update(self, prediction: Array, targets: Array) -> None: ...

        def results(self) -> dict[str, float]:
            return {"validation_loss": 1.0}

    model = Dense(4, 2)
    optimizer = SGD(model.parameters(), 0.1)
    trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer, metrics=[Taken()])
    trainer.fit(*data(9), epochs=1)
    assert trainer.higher_is_better == {
        "loss": False,
        "validation_loss": None,
        "learning_rate": None,
    }
    with pytest.raises(InputError, match="different names, validation included, got loss, valid"):
        trainer.fit(*data(9), epochs=2, validation=data(9))


def test_the_trainer_tells_for_each_metric_whether_higher_is_better() -> None:
    trainer = trainer_of()
    trainer.fit(*data(9), epochs=1, validation=data(9))
    assert trainer.higher_is_better == {
        "loss": False,
        "accuracy": True,
        "learning_rate": None,
        "validation_loss": False,
        "validation_accuracy": True,
    }
