from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from preflight_faults import features, net, some

from tinynet import (
    SGD,
    Array,
    BatchNorm,
    Dense,
    Layer,
    MeanSquaredError,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
)
from tinynet.datasets.batches import Batches
from tinynet.health.data_checks import input_range, label_range, target_leakage
from tinynet.health.inspection import Inspection, inspect

X, SCORE = features(0)
LABELS = (SCORE > 0).astype(int)
Check = Callable[[Inspection], Iterator[Any]]


def names(
    check: Check, x: Array, y: Array, *first: Layer, loss: Layer | None = None, outputs: int = 2
) -> list[str]:
    features = x[0].size
    model = Sequential([*first, *net((features, outputs), before=())])
    trainer = Trainer(model, loss or SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1))
    return [finding.name for finding in check(inspect(trainer, Batches(x, y), None))]


class TestFeatureScales:
    @pytest.mark.parametrize("sequences", [False, True])
    def test_a_feature_that_is_much_smaller_is_found(self, sequences: bool) -> None:
        x = X * np.where(np.arange(12) == 4, 1e-4, 1).astype(np.float32)
        if sequences:
            x = np.stack([x, x], axis=1)
            model = Sequential([Dense(12, 2, rng=0)])
            trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1))
            looked_at = inspect(trainer, Batches(x, np.stack([LABELS] * 2, axis=1)), None)
            found = [finding.name for finding in input_range(looked_at)]
        else:
            found = names(input_range, x, LABELS)
        assert found == ["feature scales"]

    @pytest.mark.parametrize("factor", [1e-3, 0.1, 2.0, 9.0])
    def test_features_of_similar_scales_are_not_accused(self, factor: float) -> None:
        x = X.copy()
        x[:, 4] *= 1.5 * factor
        assert names(input_range, x, LABELS) == []

    def test_constant_features_are_not_accused(self) -> None:
        rng = np.random.default_rng(0)
        x = X.copy()
        x[:, 0], x[:, 1] = 0.3, 0.0
        x[:, 2] = 1e-9 * rng.standard_normal(len(x))  # what rounding leaves of a constant
        assert names(input_range, x, LABELS) == []

    def test_rare_categories_are_not_accused(self) -> None:
        rng = np.random.default_rng(0)
        rare = (rng.random((600, 3)) < (0.5, 0.02, 0.002)).astype(np.float32)
        tiny = np.float32(1e-5) * (rng.random((600, 3)) < 0.4)
        assert names(input_range, np.hstack([X, rare, tiny]).astype(np.float32), LABELS) == []

    @pytest.mark.parametrize("mean", [0.0, 0.1307])
    def test_pixels_that_are_mostly_of_one_value_are_not_accused(self, mean: float) -> None:
        images, labels = some(0, 600)
        x = (images.reshape(-1, 784) / 255 - mean).astype(np.float32)
        assert names(input_range, x, labels, outputs=10) == []

    def test_a_single_feature_has_no_other_scale(self) -> None:
        assert names(input_range, X[:, :1], LABELS) == []

    def test_raw_features_before_a_batch_norm_are_not_accused(self) -> None:
        x = (X * np.logspace(-3, 3, 12)).astype(np.float32)
        assert names(input_range, x, LABELS) == ["input range"]
        assert names(input_range, x, LABELS, BatchNorm(12)) == []


class TestTargetLeakage:
    @pytest.mark.parametrize("classes", [2, 3])
    @pytest.mark.parametrize("scaled", [False, True])
    def test_a_column_of_the_labels_is_found(self, classes: int, scaled: bool) -> None:
        labels = np.digitize(SCORE, np.linspace(-0.5, 0.5, classes - 1))
        column = (labels - labels.mean()) / labels.std() if scaled else labels
        x = np.column_stack([X, column]).astype(np.float32)
        assert names(target_leakage, x, labels, outputs=classes) == ["target leakage"]

    def test_a_feature_that_predicts_all_labels_but_one_is_not_accused(self) -> None:
        x = np.column_stack([X, LABELS]).astype(np.float32)
        x[123, 12] = 1 - x[123, 12]
        assert names(target_leakage, x, LABELS) == []

    def test_a_feature_that_does_not_separate_the_classes_is_not_accused(self) -> None:
        labels = np.digitize(SCORE, (-0.5, 0.5))
        x = np.column_stack([X, labels > 0, np.ones(600)]).astype(np.float32)
        assert names(target_leakage, x, labels, outputs=3) == []

    def test_a_column_of_the_targets_is_found(self) -> None:
        x, squares = np.column_stack([X, SCORE]), MeanSquaredError()
        assert names(target_leakage, x, SCORE[:, None], loss=squares, outputs=1) == [
            "target leakage"
        ]
        x[5, 12] += 1
        assert names(target_leakage, x, SCORE[:, None], loss=squares, outputs=1) == []

    @pytest.mark.parametrize(
        ("x", "y"),
        [
            (X[:, :1], X[:, :1]),
            (X[:19], X[:19, :1]),
            (X[:, :2], X[:, :2]),
            (X, np.zeros((600, 1), np.float32)),
            (np.stack([X, X], axis=1).reshape(600, 2, 12)[:, :, 0], np.stack([SCORE] * 2, axis=1)),
        ],
        ids=["one feature", "few samples", "autoencoder", "constant", "two targets"],
    )
    def test_other_relations_are_not_accused(self, x: Array, y: Array) -> None:
        found = names(target_leakage, x, y, loss=MeanSquaredError(), outputs=y.shape[1])
        assert found == []


class TestConstantTargets:
    @pytest.mark.parametrize("columns", [1, 2])
    def test_constant_targets_are_found(self, columns: int) -> None:
        y = np.full((600, columns), 1.5, np.float32)
        assert names(label_range, X, y, loss=MeanSquaredError(), outputs=columns) == [
            "constant targets"
        ]
        y[3] += 1
        assert names(label_range, X, y, loss=MeanSquaredError(), outputs=columns) == []

    def test_a_single_target_is_not_constant(self) -> None:
        y = np.ones((1, 1), np.float32)
        assert names(label_range, X[:1], y, loss=MeanSquaredError(), outputs=1) == []
