from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import (
    BinaryCrossEntropy,
    Hinge,
    Huber,
    InputError,
    KLDivergence,
    MeanAbsoluteError,
    MeanSquaredError,
    SoftmaxCrossEntropy,
    check_gradients,
)
from tinynet.losses.targets import nonnegative_weights


def test_losses_copy_the_weights_they_are_given() -> None:
    given = np.ones(2)
    for loss in (SoftmaxCrossEntropy(given), Hinge(weight=given), BinaryCrossEntropy(given)):
        assert loss.weight is not None
        assert not np.shares_memory(loss.weight, given)


@pytest.mark.parametrize("make", [SoftmaxCrossEntropy, BinaryCrossEntropy])
def test_loss_weights_are_float64_buffers_in_the_state_dict(make: Any) -> None:
    loss = make([1, 2])
    assert loss.weight.dtype == np.float64
    assert loss.astype(np.float32).weight.dtype == np.float32
    assert loss.parameters() == []
    assert list(loss.state_dict()) == ["weight"]
    assert list(make().state_dict()) == []


@pytest.mark.parametrize("invalid", [np.nan, np.inf, -1.0])
def test_loss_weights_must_be_finite_and_not_negative(invalid: float) -> None:
    with pytest.raises(ValueError, match=rf"finite numbers >= 0, got {invalid} at index \(0, 1\)$"):
        nonnegative_weights("Loss", "weight", [[0.0, invalid]])


def test_repr_of_a_loss_shortens_many_weights() -> None:
    assert repr(SoftmaxCrossEntropy(np.ones(1000))) == (
        "SoftmaxCrossEntropy(weight=[1., 1., ..., 1., 1.])"
    )


def test_labels_may_be_memory_mapped(tmp_path: Path) -> None:
    labels = np.memmap(tmp_path / "labels", np.int64, "w+", shape=(3,))
    labels[:] = [0, 2, 1]
    logits = np.eye(3)[:, ::-1]
    loss = SoftmaxCrossEntropy()
    assert loss(logits, labels) == loss(logits, np.array([0, 2, 1]))


BATCHES = st.tuples(st.integers(1, 6), st.integers(0, 2**32 - 1))
COLUMN_LOSSES = {
    kind.__name__: kind
    for kind in (
        BinaryCrossEntropy,
        Huber,
        KLDivergence,
        MeanAbsoluteError,
        MeanSquaredError,
    )
}


@pytest.mark.parametrize("kind", COLUMN_LOSSES.values(), ids=COLUMN_LOSSES)
class TestOneColumn:
    """(N,) beside (N, 1) is one column; whatever else differs in shape is refused."""

    @given(BATCHES, st.sampled_from(["f4", "f8"]), st.sampled_from(["mean", "sum"]))
    def test_value_gradient_and_divisor_are_those_of_targets_in_the_shape_of_the_prediction(
        self, kind: Any, batch: tuple[int, int], dtype: str, reduction: str
    ) -> None:
        (size, seed), loss = batch, kind(reduction=reduction)
        rng = np.random.default_rng(seed)
        flat, targets = rng.standard_normal(size).astype(dtype), rng.integers(0, 2, size)
        expected = loss(flat, targets)
        gradient, divisor = loss.backward(), loss.divisor(flat, targets)
        for prediction, other in ((flat[:, None], targets), (flat, targets[:, None])):
            assert loss(prediction, other) == expected
            assert loss.divisor(prediction, other) == divisor
            dx = loss.backward()
            assert dx.shape == prediction.shape
            assert dx.dtype == prediction.dtype
            np.testing.assert_array_equal(dx.ravel(), gradient)

    @given(
        st.lists(st.integers(1, 3), min_size=1, max_size=3),
        st.lists(st.integers(1, 3), min_size=1, max_size=3),
    )
    def test_other_shapes_are_refused_and_never_broadcast(
        self, kind: Any, shape: list[int], other: list[int]
    ) -> None:
        prediction, targets = np.zeros(shape), np.zeros(other)
        one_column = {(shape[0],), (shape[0], 1)}
        if shape == other or {tuple(shape), tuple(other)} == one_column:
            kind()(prediction, targets)
            return
        with pytest.raises(InputError, match=r"of the shape of the (prediction|logits), \("):
            kind()(prediction, targets)

    def test_gradients_are_right_with_targets_of_one_axis(self, kind: Any) -> None:
        prediction = np.array([[-0.5], [0.25], [1.5]])
        check_gradients(kind(), prediction, np.array([0, 1, 1]))
        check_gradients(kind(), prediction[:, 0], np.array([[0], [1], [1]]))


def test_a_weight_of_a_column_has_the_shape_of_its_logits() -> None:
    logits, targets = np.array([[0.0], [2.0]]), np.array([1, 0])
    loss = BinaryCrossEntropy(weight=[[1.0], [3.0]])
    # (ln 2 + 3 ln(1 + e²)) / 2
    assert loss(logits, targets) == pytest.approx((np.log(2) + 3 * np.log1p(np.exp(2))) / 2)


def test_the_index_of_a_wrong_target_is_that_in_the_targets_as_they_were_given() -> None:
    with pytest.raises(InputError, match=r"got 2 at index \(1,\)$"):
        BinaryCrossEntropy()(np.zeros((2, 1)), np.array([0, 2]))
