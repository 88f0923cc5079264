from typing import Any

import numpy as np
import pytest

from tinynet import BinaryCrossEntropy, Hinge, SoftmaxCrossEntropy
from tinynet.losses.targets import nonnegative_weights


def test_weights_are_copied() -> None:
    own = np.ones(2)
    for loss in (SoftmaxCrossEntropy(own), Hinge(weight=own), BinaryCrossEntropy(own)):
        assert loss.weight is not None
        assert not np.shares_memory(loss.weight, own)


@pytest.mark.parametrize("make", [SoftmaxCrossEntropy, BinaryCrossEntropy])
def test_weights_are_cast_and_kept_with_the_loss(make: Any) -> None:
    loss = make([1, 2])
    assert loss.weight.dtype == np.float64
    assert loss.astype(np.float32).weight.dtype == np.float32
    assert loss.parameters() == []
    assert list(loss.state_dict()) == ["weight"]
    assert list(make().state_dict()) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_weights_must_be_finite_and_not_negative(bad: float) -> None:
    with pytest.raises(ValueError, match=rf"finite numbers >= 0, got {bad} at index \(0, 1\)$"):
        nonnegative_weights("Loss", "weight", [[0.0, bad]])


def test_many_weights_are_shown_in_short() -> None:
    assert repr(SoftmaxCrossEntropy(np.ones(1000))) == (
        "SoftmaxCrossEntropy(weight=[1., 1., ..., 1., 1.])"
    )
