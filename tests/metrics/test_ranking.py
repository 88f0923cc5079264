import copy
import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_cases import SCORES, said
from sklearn import metrics as reference

from tinynet import ROCAUC, Array, AveragePrecision

NAN = math.nan
seeds = st.integers(0, 2**32 - 1)


def drawn(seed: int, *shape: int) -> tuple[Array, Array]:
    """Scores with many ties, or without any, and both targets for every label."""
    rng = np.random.default_rng(seed)
    ties = rng.random() < 0.7
    scores = rng.choice(SCORES, shape) if ties else rng.standard_normal(shape)
    targets = rng.random(shape) < rng.choice([0.2, 0.5, 0.8])
    targets[0], targets[1] = 0, 1
    return scores.astype(rng.choice(["f4", "f8"])), targets.astype(int)


def order_of_pairs(scores: list[float], targets: list[int]) -> float:
    """The definition of the area: pairs in the right order, and half the ties; with NaN wrong."""
    ones = [score for score, target in zip(scores, targets, strict=True) if target]
    zeros = [score for score, target in zip(scores, targets, strict=True) if not target]
    right = [(one > zero) + (one == zero) / 2 for one, zero in product(ones, zeros)]
    return sum(right) / len(right)


class TestROCAUC:
    @given(seeds, st.integers(2, 30))
    def test_roc_auc_is_that_of_scikit_learn_and_the_order_of_pairs(
        self, seed: int, size: int
    ) -> None:
        scores, targets = drawn(seed, size)
        got = ROCAUC()(scores, targets)["roc_auc"]
        assert got == pytest.approx(reference.roc_auc_score(targets, scores), rel=1e-14)
        assert got == order_of_pairs(scores.tolist(), targets.tolist())

    @given(seeds)
    def test_roc_auc_of_several_labels_is_their_mean_as_in_scikit_learn(self, seed: int) -> None:
        scores, targets = drawn(seed, 12, 3)
        got = ROCAUC()(scores, targets)["roc_auc"]
        expected = reference.roc_auc_score(targets, scores, average="macro")
        assert got == pytest.approx(expected, rel=1e-14)
        sequence = ROCAUC()(scores.reshape(6, 2, 3), targets.reshape(6, 2, 3))["roc_auc"]
        assert sequence == got

    def test_roc_auc_of_a_worked_example(self) -> None:
        # The pairs (1, 0): 0.35 > 0.1, 0.35 < 0.4, 0.8 > 0.1, 0.8 > 0.4.
        scores, targets = np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])
        assert ROCAUC()(scores, targets) == {"roc_auc": 3 / 4}
        assert ROCAUC()(scores, 1 - targets) == {"roc_auc": 1 / 4}
        assert ROCAUC()(np.zeros(4), targets) == {"roc_auc": 1 / 2}

    @pytest.mark.parametrize("one", [0, 1])
    def test_roc_auc_of_one_target_alone_is_nan(self, one: int) -> None:
        assert math.isnan(ROCAUC()(np.array([1.0, 2.0]), np.array([one, one]))["roc_auc"])

    def test_a_label_with_one_target_alone_is_left_out_of_the_mean(self) -> None:
        scores = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 0.0]])
        metric = ROCAUC()
        assert metric(scores, np.array([[0, 1, 0], [1, 1, 1]])) == {"roc_auc": 0.5}
        assert metric.per_label().tolist() == pytest.approx([1, NAN, 0], nan_ok=True)


class TestAveragePrecision:
    @given(seeds, st.integers(2, 30))
    def test_average_precision_is_that_of_scikit_learn(self, seed: int, size: int) -> None:
        scores, targets = drawn(seed, size)
        got = AveragePrecision()(scores, targets)["average_precision"]
        expected = reference.average_precision_score(targets, scores)
        assert got == pytest.approx(expected, rel=1e-13)

    @given(seeds)
    def test_average_precision_of_several_labels_is_their_mean_as_in_scikit_learn(
        self, seed: int
    ) -> None:
        scores, targets = drawn(seed, 12, 3)
        got = AveragePrecision()(scores, targets)["average_precision"]
        expected = reference.average_precision_score(targets, scores, average="macro")
        assert got == pytest.approx(expected, rel=1e-13)

    def test_average_precision_of_a_worked_example(self) -> None:
        # From the top: 0.8 is a 1 (precision 1), 0.4 is none, 0.35 is the second 1 (2 of 3).
        scores, targets = np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])
        got = AveragePrecision()(scores, targets)["average_precision"]
        assert got == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3, rel=1e-15)
        assert AveragePrecision()(np.zeros(4), targets) == {"average_precision": 1 / 2}

    def test_average_precision_without_a_target_1_is_nan_and_with_nothing_else_1(self) -> None:
        scores = np.array([[1.0, 1.0], [2.0, 2.0]])
        metric = AveragePrecision()
        assert math.isnan(metric(scores, np.zeros((2, 2)))["average_precision"])
        assert metric(scores, np.array([[0, 1], [0, 1]])) == {"average_precision": 1}
        assert metric.per_label().tolist() == pytest.approx([NAN, 1], nan_ok=True)


class TestNaN:
    @given(seeds)
    def test_a_nan_is_on_the_wrong_side_of_every_pair(self, seed: int) -> None:
        scores, targets = drawn(seed, 12)
        scores[np.random.default_rng(seed).random(12) < 0.3] = NAN
        got = ROCAUC()(scores, targets)["roc_auc"]
        assert got == order_of_pairs(scores.tolist(), targets.tolist())
        wrong_end = np.where(np.isnan(scores), np.where(targets == 1, -9, 9), scores)
        finite = AveragePrecision()(wrong_end, targets)["average_precision"]
        with_nan = AveragePrecision()(scores, targets)["average_precision"]
        assert with_nan <= finite + 1e-15
        expected = finite - self.share_of_the_last(wrong_end, targets)
        assert with_nan == pytest.approx(expected, rel=1e-12, abs=1e-14)

    @staticmethod
    def share_of_the_last(scores: Array, targets: Array) -> float:
        """What the ones at -9, below all others, add: they are found last, and with NaN never."""
        last = np.count_nonzero(scores == -9)
        return float(last / targets.sum() * targets.mean())

    def test_scores_that_are_all_nan_find_nothing(self) -> None:
        scores, targets = np.full(4, NAN), np.array([0, 1, 0, 1])
        assert ROCAUC()(scores, targets) == {"roc_auc": 0}
        assert AveragePrecision()(scores, targets) == {"average_precision": 0}

    def test_infinite_scores_are_ordered(self) -> None:
        scores, targets = np.array([-math.inf, 0.0, math.inf, math.inf]), np.array([0, 1, 1, 0])
        assert ROCAUC()(scores, targets) == {"roc_auc": (1 + 0 + 1 + 1 / 2) / 4}


@pytest.mark.parametrize("kind", [ROCAUC, AveragePrecision])
class TestBatches:
    def test_the_number_of_labels_stays(self, kind: Any) -> None:
        metric = kind()
        metric.update(np.zeros((2, 3)), np.ones((2, 3)))
        assert said(metric.update, np.zeros((2, 2)), np.ones((2, 2))) == (
            f"{kind.__name__}() expects 3 labels as in former batches, got 2"
        )
        metric.reset()
        metric.update(np.zeros((2, 2)), np.ones((2, 2)))
        assert metric.per_label().shape == (2,)

    def test_many_small_batches_copy_the_scores_a_few_times_only(self, kind: Any) -> None:
        metric, memories = kind(), set()
        for step in range(1000):
            metric.update(np.full(3, float(step)), np.array([0, 1, 1]))
            memories.add(metric.state_dict()["scores"].ctypes.data)
        assert metric.state_dict()["scores"].shape == (3000, 1)
        assert len(memories) < 15

    def test_a_copy_of_a_metric_has_scores_of_its_own(self, kind: Any) -> None:
        metric = kind()
        for step in range(5):
            metric.update(np.full(3, float(step)), np.array([0, 1, 1]))
        other = copy.deepcopy(metric)
        before = metric.results()
        other.update(np.array([9.0, 9.0]), np.array([0, 0]))
        assert metric.results() == before != other.results()
        metric.update(np.array([9.0, 9.0]), np.array([0, 0]))
        assert metric.results() == other.results()
