import json
import math
from typing import Any

import numpy as np
import pytest

from tinynet import DivergenceError, InputError
from tinynet.datasets.batches import Batches
from tinynet.training.progress import Progress

NAMES = ["epoch", "step", "batch", "samples", "loss_sum", "size", "batch_size"]


def batches(size: int = 10, batch_size: int = 4) -> Batches:
    return Batches(np.zeros(size), np.zeros(size), batch_size)


def said(do: Any, *args: Any) -> str:
    with pytest.raises(InputError) as error:
        do(*args)
    return str(error.value)


class TestCounts:
    def test_progress_starts_at_0(self) -> None:
        assert list(Progress().state_dict().items()) == [(name, 0) for name in NAMES]
        assert Progress().batches == 0

    @pytest.mark.parametrize(("size", "count"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
    def test_progress_knows_the_number_of_batches_of_an_epoch(self, size: int, count: int) -> None:
        progress = Progress()
        progress.begin(batches(size))
        assert progress.batches == count == len(batches(size))

    def test_progress_counts_steps_batches_samples_and_losses(self) -> None:
        progress = Progress()
        progress.begin(batches())
        progress.count(0.5, 4)
        progress.count(2.0, 4)
        progress.count(1.0, 2)
        assert progress == Progress(
            epoch=0, step=3, batch=3, samples=10, loss_sum=12.0, size=10, batch_size=4
        )

    def test_finish_epoch_returns_the_mean_loss_and_resets_the_epoch(self) -> None:
        progress = Progress()
        progress.begin(batches())
        for epoch in range(2):
            progress.count(0.5, 4)
            progress.count(2.0, 4)
            progress.count(1.0, 2)
            assert progress.finish_epoch() == 1.2
            done = epoch + 1
            assert progress == Progress(epoch=done, step=3 * done, size=10, batch_size=4)


class TestBegin:
    def test_begin_continues_an_epoch_with_the_same_batches(self) -> None:
        progress = Progress()
        progress.begin(batches())
        progress.count(0.5, 4)
        progress.begin(batches())
        assert (progress.batch, progress.samples) == (1, 4)

    def test_begin_accepts_other_batches_between_two_epochs(self) -> None:
        progress = Progress()
        progress.begin(batches())
        progress.count(0.5, 10)
        progress.finish_epoch()
        progress.begin(batches(20, 5))
        assert progress == Progress(epoch=1, step=1, size=20, batch_size=5)

    @pytest.mark.parametrize(("size", "batch_size"), [(11, 4), (10, 5)])
    def test_begin_rejects_other_batches_within_an_epoch(self, size: int, batch_size: int) -> None:
        progress = Progress(epoch=2)
        progress.begin(batches())
        progress.count(0.5, 4)
        before = progress.state_dict()
        assert said(progress.begin, batches(size, batch_size)) == (
            "fit expects to continue within epoch 3, with 10 samples and batch_size=4, "
            f"got {size} samples and batch_size={batch_size}"
        )
        assert progress.state_dict() == before


class TestCheckFinite:
    @pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
    def test_check_finite_raises_for_a_non_finite_loss_with_step_and_epoch(
        self, loss: float
    ) -> None:
        progress = Progress(epoch=2, step=7)
        with pytest.raises(DivergenceError) as error:
            progress.check_finite(loss)
        assert str(error.value).startswith(f"the loss became {loss} in step 8, epoch 3")
        assert "lower learning rate or clip_norm" in str(error.value)
        assert progress == Progress(epoch=2, step=7)

    @pytest.mark.parametrize("loss", [0.0, -3.0, 1e300])
    def test_check_finite_accepts_any_finite_loss(self, loss: float) -> None:
        Progress().check_finite(loss)


class TestState:
    def test_progress_continues_from_a_state_stored_as_json(self) -> None:
        progress, other = Progress(), Progress(epoch=9)
        progress.begin(batches())
        progress.count(0.5, 4)
        other.check_state_dict(json.loads(json.dumps(progress.state_dict())))
        assert other == Progress(epoch=9)
        other.load_state_dict(json.loads(json.dumps(progress.state_dict())))
        assert other == progress
        for each in (progress, other):
            each.begin(batches())
            each.count(1.5, 6)
        assert other.finish_epoch() == progress.finish_epoch() == 1.1
        assert other == progress

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("value", [math.nan, None, "3", math.inf])
    def test_progress_rejects_wrong_numbers_in_a_state_and_stays_unchanged(
        self, name: str, value: Any
    ) -> None:
        progress = Progress(*range(1, 8))
        before = progress.state_dict()
        expected = "a finite number" if name == "loss_sum" else "a whole number >= 0"
        assert said(progress.check_state_dict, before | {name: value}) == (
            f"Progress expects {name} to be {expected}, got {value!r}"
        )
        assert progress.state_dict() == before

    def test_progress_state_has_counts_of_at_least_0_and_any_sum_of_losses(self) -> None:
        progress = Progress()
        state = progress.state_dict()
        assert said(progress.check_state_dict, state | {"batch": -1}).endswith(">= 0, got -1")
        assert said(progress.check_state_dict, state | {"batch": 1.0}).endswith(">= 0, got 1.0")
        progress.load_state_dict(state | {"loss_sum": -0.5})
        assert progress.loss_sum == -0.5

    def test_progress_rejects_a_state_with_other_keys(self) -> None:
        assert said(Progress().check_state_dict, None) == "Progress expects a state, got none"
        state = Progress().state_dict()
        del state["epoch"]
        assert said(Progress().check_state_dict, state) == (
            "Progress expects a state with batch, batch_size, epoch, loss_sum and 3 more, "
            "got none of epoch"
        )
