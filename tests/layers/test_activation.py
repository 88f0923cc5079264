from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Array, ReLU
from tinynet.testing import check_layer, floats, sizes


@pytest.mark.gradients
def test_gradients() -> None:
    check_layer(ReLU, ("N", ...))


@given(floats(st.lists(sizes, max_size=4).map(tuple), bound=2.0**100))
def test_forward_is_the_positive_part(x: Array) -> None:
    y = ReLU()(x)
    assert y.shape == x.shape
    assert y.ravel().tolist() == [value if value > 0 else 0 for value in x.ravel().tolist()]


@given(st.sampled_from([np.float32, np.float64]))
def test_the_gradient_at_zero_is_zero(dtype: Any) -> None:
    layer = ReLU()
    layer(np.array([-0.0, 0.0, 1e-30, -1e-30], dtype))
    assert layer.backward(np.ones(4, dtype)).tolist() == [0, 0, 1, 0]


def test_a_nan_is_not_hidden() -> None:
    assert np.isnan(ReLU()(np.array([np.nan])))
