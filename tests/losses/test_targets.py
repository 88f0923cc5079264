from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinynet import BinaryCrossEntropy, Hinge, SoftmaxCrossEntropy
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
