"""`fit(validation_split=...)`: a share of the samples, drawn by the seed, is kept out."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import SGD, Array, Dense, InputError, MeanSquaredError, Trainer
from tinynet.callbacks import Callback
from tinynet.training.checks import split_validation


class Seen(Callback):
    """Collects the samples that are trained on."""

    def __init__(self) -> None:
        self.rows: list[float] = []

    def on_step_end(self, trainer: Trainer) -> None:
        self.rows += trainer.batch[:, 0].tolist()


def numbered(count: int) -> Array:
    return np.arange(count, dtype=np.float32)[:, None]


def trainer(seed: int = 0) -> Trainer:
    model = Dense(1, 1, rng=0)
    return Trainer(model, MeanSquaredError(), SGD(model.parameters(), 1e-9), seed=seed)


@given(st.integers(2, 200), st.floats(0.01, 0.99), st.integers(0, 9))
def test_every_sample_is_in_one_of_the_two_parts_in_its_order_and_with_its_target(
    count: int, share: float, seed: int
) -> None:
    x = numbered(count)
    if not 0 < round(share * count) < count:
        with pytest.raises(InputError, match="to leave samples for both parts"):
            split_validation(x, 3 * x, share, None, seed)
        return
    rest, targets, (held_out, held_out_targets) = split_validation(x, 3 * x, share, None, seed)
    assert len(held_out) == round(share * count)
    assert sorted([*rest[:, 0], *held_out[:, 0]]) == x[:, 0].tolist()
    for part, its_targets in ((rest, targets), (held_out, held_out_targets)):
        assert (np.diff(part[:, 0]) > 0).all()
        np.testing.assert_array_equal(its_targets, 3 * part)


@given(st.integers(0, 50))
def test_a_file_sorted_by_label_gives_no_part_of_one_class(seed: int) -> None:
    labels = np.repeat([0, 1, 2, 3], 100)
    _, rest, (_, held_out) = split_validation(numbered(400), labels, 0.1, None, seed)
    assert set(rest) == set(held_out) == {0, 1, 2, 3}


def test_the_kept_out_samples_are_not_trained_on_and_make_the_validation_metrics() -> None:
    x, seen, run = numbered(50), Seen(), trainer(seed=3)
    history = run.fit(x, 2 * x, epochs=1, batch_size=7, validation_split=0.2, callbacks=[seen])
    held_out = np.array(sorted({*x[:, 0]} - {*seen.rows}), np.float32)[:, None]
    assert (len(held_out), len(seen.rows)) == (10, 40)
    expected = run.evaluate(held_out, 2 * held_out)["loss"]
    assert history.last["validation_loss"] == expected


def test_the_part_depends_on_the_seed_and_is_the_same_in_every_fit() -> None:
    x = numbered(100)
    run, seen = trainer(seed=3), [Seen(), Seen()]
    for epochs, each in enumerate(seen, 1):
        run.fit(x, x, epochs=epochs, validation_split=0.1, callbacks=[each])
    assert sorted(seen[0].rows) == sorted(seen[1].rows)
    other = Seen()
    trainer(seed=4).fit(x, x, epochs=1, validation_split=0.1, callbacks=[other])
    assert sorted(other.rows) != sorted(seen[0].rows)


def test_a_share_of_0_keeps_nothing_out_and_returns_the_arrays_themselves() -> None:
    x = numbered(4)
    assert split_validation(x, x, 0, None, 0)[0] is x
    assert "validation_loss" not in trainer().fit(x, x, epochs=1, validation_split=0).last


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"validation_split": 0.5, "validation": (numbered(2), numbered(2))},
            "^fit expects validation= or validation_split=, got both",
        ),
        (
            {"validation_split": 1},
            "^fit expects validation_split to be a finite number >= 0 and < 1",
        ),
        ({"validation_split": "a"}, "^fit expects validation_split to be a finite number"),
        ({"validation_split": 0.1}, "to leave samples for both parts, got 0.1 of 4$"),
        ({"validation_split": 0.5, "y": numbered(3)}, "same number of samples, got 4 and 3$"),
        ({"validation_split": 0.5, "x": [[1.0]] * 4}, r"np.asarray\(x\) makes one$"),
    ],
)
def test_a_split_that_cannot_be_made_is_refused(settings: dict[str, Any], sentence: str) -> None:
    run = trainer()
    arguments: dict[str, Any] = {"x": numbered(4), "y": numbered(4), "epochs": 1}
    with pytest.raises(InputError, match=sentence):
        run.fit(**arguments | settings)
    assert run.step == 0
