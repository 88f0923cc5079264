import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_cases import CASES, IGNORED, binary_batch, said, same
from sklearn import metrics as reference

from tinynet import Array, BinaryAccuracy, BinaryPrecisionRecallF1, PrecisionRecallF1

NAN = math.nan
Z = np.array([[5.0], [-5.0], [5.0], [-5.0]])
Y = np.array([[0], [1], [0], [1]])
seeds = st.integers(0, 2**32 - 1)
every_binary_metric = pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case.batch is binary_batch]
)


def drawn(seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return binary_batch(rng, int(rng.integers(1, 14)))


class TestBinaryAccuracy:
    def test_a_classifier_that_is_always_wrong_has_accuracy_0(self) -> None:
        assert BinaryAccuracy()(Z, Y) == {"accuracy": 0}
        assert BinaryAccuracy()(Z, 1 - Y) == {"accuracy": 1}
        assert BinaryAccuracy()(Z.ravel(), Y.ravel()) == {"accuracy": 0}

    def test_right_rows_of_several_labels_are_right(self) -> None:
        rows = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1]])
        assert BinaryAccuracy()(10.0 * rows - 5, rows) == {"accuracy": 1}
        rows[0, 1] = 1  # one entry of nine
        assert BinaryAccuracy()(np.where(rows, 5.0, -5.0) * [1, -1, 1], rows)["accuracy"] == 6 / 9

    @given(seeds, st.sampled_from([0.0, 0.5, -1.0]))
    def test_accuracy_of_the_entries_is_that_of_scikit_learn(
        self, seed: int, threshold: float
    ) -> None:
        logits, targets = drawn(seed)
        expected = reference.accuracy_score(targets.ravel().astype(int), logits.ravel() > threshold)
        assert BinaryAccuracy(threshold)(logits, targets) == {"accuracy": expected}

    def test_a_logit_at_the_threshold_decides_for_0(self) -> None:
        assert BinaryAccuracy()(np.zeros(3), np.array([0, 0, 1]))["accuracy"] == 2 / 3
        probabilities = np.array([0.5, 0.75, 0.25])
        assert BinaryAccuracy(0.5)(probabilities, np.array([0, 1, 0])) == {"accuracy": 1}

    @pytest.mark.parametrize("kind", [BinaryAccuracy, BinaryPrecisionRecallF1])
    @pytest.mark.parametrize("wrong", [NAN, math.inf, None, "0"])
    def test_a_threshold_is_a_finite_number(self, kind: Any, wrong: Any) -> None:
        assert said(kind, wrong) == (
            f"{kind.__name__} expects threshold to be a finite number, got {wrong!r}"
        )


class TestBinaryPrecisionRecallF1:
    @given(seeds, st.sampled_from([0.0, 0.5, -1.0]))
    def test_values_of_the_entries_are_those_of_scikit_learn(
        self, seed: int, threshold: float
    ) -> None:
        logits, targets = drawn(seed)
        actual, decided = targets.ravel().astype(int), logits.ravel() > threshold
        got = BinaryPrecisionRecallF1(threshold)(logits, targets)
        if not actual.any() and not decided.any():
            assert same(got, {"precision": NAN, "recall": NAN, "f1": NAN})
        else:
            precision, recall, f1, _ = reference.precision_recall_fscore_support(
                actual, decided, average="binary", zero_division=0
            )
            expected = {"precision": precision, "recall": recall, "f1": f1}
            assert got == pytest.approx(expected, rel=1e-14)

    @given(seeds)
    def test_values_of_several_labels_are_the_micro_average(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        logits, targets = rng.standard_normal((9, 3)), rng.integers(0, 2, (9, 3))
        targets[0], logits[0] = 1, 1
        precision, recall, f1, _ = reference.precision_recall_fscore_support(
            targets, logits > 0, average="micro"
        )
        assert BinaryPrecisionRecallF1()(logits, targets) == pytest.approx(
            {"precision": precision, "recall": recall, "f1": f1}, rel=1e-14
        )

    @given(seeds)
    def test_values_are_those_of_class_1_of_two(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        logits, targets = binary_batch(rng, 9, nan=True)
        z = logits.ravel()
        two = PrecisionRecallF1(2, positive=1)(
            np.stack([-z, np.where(z == 0, -1.0, z)], axis=1), targets.ravel().astype(int)
        )
        assert same(BinaryPrecisionRecallF1()(logits, targets), two)


class TestNaN:
    @pytest.mark.parametrize("threshold", [0.0, -1.0, 1.0])
    def test_nan_is_never_a_right_decision(self, threshold: float) -> None:
        logits, targets = np.array([NAN, NAN, 2.0, -2.0]), np.array([0, 1, 1, 0])
        assert BinaryAccuracy(threshold)(logits, targets) == {"accuracy": 0.5}
        values = BinaryPrecisionRecallF1(threshold)(logits, targets)
        assert values == {"precision": 0.5, "recall": 0.5, "f1": 0.5}
        assert BinaryAccuracy(threshold)(logits[:2], targets[:2]) == {"accuracy": 0}


@every_binary_metric
class TestTargets:
    @pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32, np.float64])
    def test_targets_are_0_and_1_of_any_number_dtype(self, name: str, dtype: Any) -> None:
        logits, targets = np.array([0.5, -1.0, 2.0]), np.array([0, 1, 1])
        expected = CASES[name].make()(logits, targets)
        assert same(CASES[name].make()(logits, targets.astype(dtype)), expected)
        assert same(CASES[name].make()(logits[:, None], targets[:, None]), expected)

    @pytest.mark.parametrize(
        ("logits", "targets", "sentence"),
        [
            (np.zeros(3), np.array([0, 2, 1]), "targets 0 and 1, got 2 at index 1"),
            (np.zeros((2, 2)), np.array([[0, 1], [0.3, 1]]), "0 and 1, got 0.3 at index (1, 0)"),
            (np.zeros(2), np.array([NAN, 1]), "targets 0 and 1, got nan at index 0"),
            (np.zeros(2), np.array([0, IGNORED]), "targets 0 and 1, got -100 at index 1"),
            (
                np.zeros(2),
                np.array([1, -1]),
                "0 and 1, got -1 at index 1; (targets + 1) / 2 makes 0 and 1 of -1 and +1",
            ),
            (
                np.zeros((3, 1)),
                np.zeros((1, 3)),
                "targets of the shape of the logits, (3, 1), got (1, 3); targets.reshape(3, 1)",
            ),
            (
                np.zeros((3, 4)),
                np.zeros(3, int),
                "targets of the shape of the logits, (3, 4), got (3,); Accuracy takes labels",
            ),
            (np.array(1.0), np.array(1), "logits of shape (N, ...), got ()"),
            ([1.0], np.array([1]), "logits to be a NumPy array, got list; np.asarray(logits)"),
            (np.zeros(1), [1], "targets to be a NumPy array, got list; np.asarray(targets)"),
        ],
    )
    def test_other_targets_are_refused(
        self, name: str, logits: Any, targets: Any, sentence: str
    ) -> None:
        metric = CASES[name].make()
        message = said(metric.update, logits, targets)
        assert message.startswith(f"{metric!r} expects ")
        assert sentence in message
