import json
import math
from typing import Any

import numpy as np
import pytest

from tinynet import DivergenceError, InputError
from tinynet.datasets.batches import Batches
from tinynet.losses.batch_loss import LossSum
from tinynet.training.progress import Progress

NAMES = ["epoch", "step", "batch", "loss_sum", "divisor", "size", "batch_size", "batches"]


def batches(size: int = 10, batch_size: int = 4) -> Batches:
    return Batches(np.zeros(size), np.zeros(size), batch_size)


def mean(loss: float, samples: int) -> LossSum:
    return LossSum((loss * samples,), (samples,))


def said(do: Any, *args: Any) -> str:
    with pytest.raises(InputError) as error:
        do(*args)
    return str(error.value)


class TestCounts:
    def test_progress_starts_at_0(self) -> None:
        state = Progress().state_dict()
        assert list(state) == NAMES
        assert state.pop("loss_sum") == state.pop("divisor") == ()  # one number for each head
        assert set(state.values()) == {0}

    @pytest.mark.parametrize(("size", "count"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
    def test_progress_knows_the_number_of_batches_of_an_epoch(self, size: int, count: int) -> None:
        progress = Progress()
        progress.begin(batches(size))
        assert progress.batches == count == len(batches(size))

    def test_progress_counts_steps_batches_losses_and_their_divisors(self) -> None:
        progress = Progress()
        progress.begin(batches())
        progress.count(mean(0.5, 4))
        progress.count(mean(2.0, 4))
        progress.count(mean(1.0, 2))
        assert progress == Progress(
            epoch=0,
            step=3,
            batch=3,
            loss_sum=(12.0,),
            divisor=(10,),
            size=10,
            batch_size=4,
            batches=3,
        )

    def test_the_losses_of_an_epoch_are_summed_if_the_loss_is_a_sum(self) -> None:
        progress = Progress()
        progress.begin(batches())
        for value in (0.5, 2.0, 1.0):
            progress.count(LossSum((value,), (None,)))
        assert progress.loss == 3.5

    def test_the_loss_of_an_epoch_is_divided_once_and_reset_at_its_end(self) -> None:
        progress = Progress()
        progress.begin(batches())
        for epoch in range(2):
            for loss in (mean(0.5, 4), mean(2.0, 4), mean(1.0, 2)):
                progress.count(loss)
            assert progress.loss == 1.2
            progress.finish_epoch()
            done = epoch + 1
            assert progress == Progress(epoch=done, step=3 * done, size=10, batch_size=4, batches=3)


class TestBegin:
    def test_begin_continues_an_epoch_with_the_same_batches(self) -> None:
        progress = Progress()
        progress.begin(batches())
        progress.count(mean(0.5, 4))
        progress.begin(batches())
        assert (progress.batch, progress.divisor) == (1, (4,))

    def test_begin_accepts_other_batches_between_two_epochs(self) -> None:
        progress = Progress()
        progress.begin(batches())
        progress.count(mean(0.5, 10))
        progress.finish_epoch()
        progress.begin(batches(20, 5))
        assert progress == Progress(epoch=1, step=1, size=20, batch_size=5, batches=4)

    @pytest.mark.parametrize(
        ("size", "batch_size", "last_batch", "got"),
        [
            (11, 4, "keep", "11 samples, batch_size=4 and 3"),
            (10, 5, "keep", "10 samples, batch_size=5 and 2"),
            (10, 4, "drop", "10 samples, batch_size=4 and 2"),
        ],
    )
    def test_begin_rejects_other_batches_within_an_epoch(
        self, size: int, batch_size: int, last_batch: str, got: str
    ) -> None:
        progress = Progress(epoch=2)
        progress.begin(batches())
        progress.count(mean(0.5, 4))
        before = progress.state_dict()
        other = Batches(np.zeros(size), np.zeros(size), batch_size, last_batch=last_batch)
        assert said(progress.begin, other) == (
            "fit expects to continue within epoch 3, with 10 samples, batch_size=4 and 3 batches, "
            f"got {got} batches; restart_epoch=True starts this epoch again from the present "
            "weights, and a new Trainer around the same model starts a new run"
        )
        assert progress.state_dict() == before

    def test_begin_with_restart_accepts_other_batches_and_discards_what_was_done_of_the_epoch(
        self,
    ) -> None:
        progress = Progress(epoch=2, step=6)
        progress.begin(batches())
        progress.count(mean(0.5, 4))
        progress.begin(batches(20, 5), restart=True)
        assert progress == Progress(epoch=2, step=7, size=20, batch_size=5, batches=4)


def test_progress_says_where_it_was_interrupted_and_how_to_continue() -> None:
    again = "call it again with the same arguments to continue there"
    progress = Progress(epoch=2, step=241, batch=41, batches=100)
    assert progress.where_interrupted(10) == (
        "fit was interrupted in epoch 3 of 10, after 41 of 100 steps of this epoch, 241 in all; "
        f"{again}, or with restart_epoch=True to start this epoch again"
    )
    assert Progress(epoch=2, step=200, batches=100).where_interrupted(10) == (
        f"fit was interrupted before epoch 3 of 10, after step 200; {again}"
    )
    assert Progress(epoch=10, step=1000).where_interrupted(10) == (
        "fit was interrupted after its last epoch, 10"
    )


@pytest.mark.parametrize(
    ("done", "epochs", "rest"),
    [
        (5, 5, "epochs=5 is the total, and 5 are done; epochs=10 trains 5 more"),
        (1, 1, "epochs=1 is the total, and 1 is done; epochs=2 trains 1 more"),
        (7, 5, "epochs=5 is the total, and 7 are done; epochs=12 trains 5 more"),
        (7, 0, "epochs=0 is the total, and 7 are done; epochs=8 trains 1 more"),
        (4, 5, "a callback stopped it before the first step"),
    ],
)
def test_progress_says_why_nothing_was_trained(done: int, epochs: int, rest: str) -> None:
    assert Progress(epoch=done).nothing_trained(epochs) == f"fit trained nothing: {rest}"


class TestCheckLoss:
    @pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
    def test_a_loss_that_is_not_finite_is_refused_with_step_and_epoch(self, loss: float) -> None:
        progress = Progress(epoch=2, step=7)
        with pytest.raises(DivergenceError) as error:
            progress.check_loss(loss, LossSum(), np.ones(3))
        assert str(error.value).startswith(f"the loss became {loss} in step 8, epoch 3")
        assert "lower learning rate or clip_norm" in str(error.value)
        assert progress == Progress(epoch=2, step=7)

    def test_a_batch_that_is_not_finite_is_named_as_the_cause(self) -> None:
        x = np.ones((3, 2)), np.array([0, 1, 2]), np.array([[1.0], [math.nan], [0.0]])
        with pytest.raises(
            DivergenceError, match=r"x\[2\] of this batch has NaN .* index \(1, 0\)"
        ):
            Progress().check_loss(math.nan, LossSum(), x)

    @pytest.mark.parametrize("loss", [0.0, -3.0, 1e300])
    def test_any_finite_loss_is_accepted(self, loss: float) -> None:
        Progress().check_loss(loss, LossSum(), np.ones(3))

    @pytest.mark.parametrize("other", [LossSum((1.0, 2.0), (3.0, 4.0)), LossSum((1.0,), (None,))])
    def test_within_an_epoch_a_loss_of_other_heads_or_reduction_is_refused(
        self, other: LossSum
    ) -> None:
        progress = Progress()
        progress.begin(batches())
        progress.check_loss(1.0, other, np.ones(3))
        progress.count(mean(0.5, 4))
        assert "with other heads or another reduction; restart_epoch=True" in said(
            progress.check_loss, 1.0, other, np.ones(3)
        )
        progress.begin(batches(), restart=True)
        progress.check_loss(1.0, other, np.ones(3))


class TestState:
    def test_progress_continues_from_a_state_stored_as_json(self) -> None:
        progress, other = Progress(), Progress(epoch=9)
        progress.begin(batches())
        progress.count(mean(0.5, 4))
        other.check_state_dict(json.loads(json.dumps(progress.state_dict())))
        assert other == Progress(epoch=9)
        other.load_state_dict(json.loads(json.dumps(progress.state_dict())))
        assert other == progress
        for each in (progress, other):
            each.begin(batches())
            each.count(mean(1.5, 6))
        assert other.loss == progress.loss == 1.1
        assert other == progress

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("value", [math.nan, "3", math.inf, 1.5])
    def test_progress_rejects_wrong_numbers_in_a_state_and_stays_unchanged(
        self, name: str, value: Any
    ) -> None:
        progress = Progress(1, 2, 3, (4.0, 5.0), (6.0, None), 7, 8, 9)
        before = progress.state_dict()
        if name in ("loss_sum", "divisor"):
            if value == 1.5:
                value = -math.inf
            expected = "a finite number" + " >= 0" * (name == "divisor")
            state = before | {name: [1.0, value]}
        else:
            expected, state = "a whole number >= 0", before | {name: value}
        assert said(progress.check_state_dict, state) == (
            f"Progress expects {name} to be {expected}, got {value!r}"
        )
        assert progress.state_dict() == before

    def test_progress_state_has_counts_of_at_least_0_and_any_sums_of_losses(self) -> None:
        progress = Progress()
        state = progress.state_dict()
        assert said(progress.check_state_dict, state | {"batch": -1}).endswith(">= 0, got -1")
        assert said(progress.check_state_dict, state | {"batch": 1.0}).endswith(">= 0, got 1.0")
        assert said(progress.check_state_dict, state | {"divisor": [-1.0], "loss_sum": [0.0]}) == (
            "Progress expects divisor to be a finite number >= 0, got -1.0"
        )
        progress.load_state_dict(state | {"loss_sum": [-0.5], "divisor": [None]})
        assert progress.loss == -0.5

    def test_progress_state_has_one_divisor_for_each_sum(self) -> None:
        state = Progress().state_dict()
        other = Progress()
        other.load_state_dict(state | {"loss_sum": 3.0, "divisor": 2.0})  # as in older files
        assert other.loss == 1.5
        assert said(Progress().check_state_dict, state | {"loss_sum": [3.0]}) == (
            "Progress expects a divisor for each loss_sum, got 0 for 1"
        )

    def test_progress_rejects_a_state_with_other_keys(self) -> None:
        assert said(Progress().check_state_dict, None) == "Progress expects a state, got none"
        state = Progress().state_dict()
        del state["epoch"]
        assert said(Progress().check_state_dict, state) == (
            "Progress expects a state with batch, batch_size, batches, divisor and 4 more, "
            "got none of epoch"
        )
