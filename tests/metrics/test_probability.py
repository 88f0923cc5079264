import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from tinynet import BinaryCrossEntropy, BinaryLogLoss, LogLoss, SoftmaxCrossEntropy

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]])
seeds = st.integers(0, 2**32 - 1)


class TestLogLoss:
    @given(seeds)
    def test_log_loss_is_that_of_scikit_learn_for_the_softmax(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        logits, labels = 3 * rng.standard_normal((9, 4)), rng.integers(0, 4, 9)
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        expected = reference.log_loss(labels, p, labels=range(4))
        assert LogLoss()(logits, labels)["log_loss"] == pytest.approx(expected, rel=1e-12)

    def test_log_loss_is_that_of_pytorch_for_labels_and_for_rows(self) -> None:
        # From torch.nn.functional.cross_entropy in float64.
        of_labels = LogLoss()(LOGITS, np.array([0, 2]))["log_loss"]
        assert of_labels == pytest.approx(2.6481482660171523, rel=1e-15)
        rows = np.array([[0.5, 0.25, 0.25], [0, 0, 1]])
        of_rows = LogLoss()(LOGITS, rows)["log_loss"]
        assert of_rows == pytest.approx(3.2106482660171523, rel=1e-15)

    def test_log_loss_has_neither_weights_nor_smoothing(self) -> None:
        labels = np.array([0, 2])
        weighted = SoftmaxCrossEntropy(weight=[1, 2, 3], label_smoothing=0.1)(LOGITS, labels)
        plain = SoftmaxCrossEntropy()(LOGITS, labels)
        assert LogLoss()(LOGITS, labels)["log_loss"] == pytest.approx(plain, rel=1e-15)
        assert abs(weighted - plain) > 0.1

    def test_log_loss_is_computed_in_float64(self) -> None:
        logits = np.array([[20.0, 0.0]], np.float32)
        assert LogLoss()(logits, np.array([0]))["log_loss"] == pytest.approx(
            math.log1p(math.exp(-20)), rel=1e-14
        )

    def test_log_loss_of_an_impossible_class_is_infinite_only_if_it_counts(self) -> None:
        logits = np.array([[0.0, 0.0, -math.inf]])
        assert LogLoss()(logits, np.array([[0.5, 0.5, 0]]))["log_loss"] == pytest.approx(
            math.log(2)
        )
        assert LogLoss()(logits, np.array([2])) == {"log_loss": math.inf}


class TestBinaryLogLoss:
    @given(seeds, st.sampled_from([(9,), (9, 1), (9, 3)]))
    def test_binary_log_loss_is_that_of_scikit_learn_for_the_sigmoid(
        self, seed: int, shape: Any
    ) -> None:
        rng = np.random.default_rng(seed)
        logits, targets = 3 * rng.standard_normal(shape), rng.integers(0, 2, shape)
        p = (1 / (1 + np.exp(-logits))).ravel()
        expected = reference.log_loss(targets.ravel(), p, labels=[0, 1])
        got = BinaryLogLoss()(logits, targets)["log_loss"]
        assert got == pytest.approx(expected, rel=1e-12)

    def test_binary_log_loss_is_that_of_pytorch(self) -> None:
        # From torch.nn.functional.binary_cross_entropy_with_logits in float64.
        got = BinaryLogLoss()(LOGITS, np.array([[1, 0, 1], [0, 1, 1]]))["log_loss"]
        assert got == pytest.approx(0.6304882043196604, rel=1e-15)

    def test_binary_log_loss_has_no_weights(self) -> None:
        targets = np.array([[1, 0, 1], [0, 1, 1]])
        plain = BinaryCrossEntropy()(LOGITS, targets)
        assert BinaryLogLoss()(LOGITS, targets)["log_loss"] == pytest.approx(plain, rel=1e-15)
        assert BinaryCrossEntropy(pos_weight=2)(LOGITS, targets) > plain + 0.1

    def test_binary_log_loss_keeps_its_digits_for_confident_logits(self) -> None:
        got = BinaryLogLoss()(np.array([40.0, -40.0], np.float32), np.array([1, 0]))["log_loss"]
        assert got == pytest.approx(math.log1p(math.exp(-40)), rel=1e-14, abs=0)
        assert BinaryLogLoss()(np.array([1e4]), np.array([0])) == {"log_loss": 1e4}


@pytest.mark.parametrize("metric", [LogLoss(), BinaryLogLoss()])
def test_log_loss_of_nan_is_nan(metric: Any) -> None:
    logits = np.array([[math.nan, 0.0], [1.0, 0.0]])
    assert math.isnan(metric(logits, np.eye(2))["log_loss"])
