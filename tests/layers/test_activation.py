from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strategies import blocks, floats

from tinynet import Array, ReLU, check_gradients


@given(floats(blocks, np.float32) | floats(blocks))
def test_gradients(x: Array) -> None:
    check_gradients(ReLU(), x)


@given(floats(blocks, bound=2.0**100))
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
