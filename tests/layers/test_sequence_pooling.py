import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from padded import Padded

from tinynet import Array, GlobalPool1D, InputError
from tinynet.testing import check_layer, floats, sizes

MODES = ("mean", "max", "last")
each_mode = pytest.mark.parametrize("mode", MODES)
masked_arrays = st.tuples(sizes, sizes, sizes).flatmap(
    lambda shape: st.tuples(floats(shape, np.float64, bound=3), hnp.arrays(bool, shape[:2]))
)


def formula(mode: str, values: list[float]) -> float:
    if not values:
        return 0.0
    return {"mean": math.fsum(values) / len(values), "max": max(values), "last": values[-1]}[mode]


@each_mode
@given(masked_arrays)
def test_pooling_over_time_is_the_formula_for_the_real_steps(
    mode: Any, drawn: tuple[Array, Array]
) -> None:
    x, mask = drawn
    x = x.copy()
    x[mask] = np.nan  # what stands at padded steps is not used
    y = GlobalPool1D(mode)(x, mask)
    for sample, feature in np.ndindex(y.shape):
        real = x[sample, ~mask[sample], feature].tolist()
        assert math.isclose(y[sample, feature], formula(mode, real), rel_tol=1e-13, abs_tol=1e-15)


@each_mode
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_gradients_of_pooling_over_time(mode: Any, share: float) -> None:
    check_layer(
        lambda: Padded(GlobalPool1D(mode), share), ("N", "T", "D"), informative=0.3, examples=0.3
    )


def test_the_gradient_of_the_maximum_goes_to_the_first_of_equal_entries() -> None:
    pool = GlobalPool1D("max")
    pool(np.array([[[9.0], [2.0], [2.0], [1.0]]]), np.array([[True, False, False, False]]))
    assert pool.backward(np.array([[5.0]])).ravel().tolist() == [0, 5, 0, 0]


def test_the_maximum_of_the_lowest_values_and_of_nan_is_that_of_the_real_steps() -> None:
    x = np.array([[[7.0], [-np.inf]], [[7.0], [np.nan]]])
    mask = np.array([[True, False], [True, False]])
    assert GlobalPool1D("max")(x, mask).ravel().tolist()[0] == -math.inf
    assert math.isnan(GlobalPool1D("max")(x, mask)[1, 0])


@each_mode
def test_a_sequence_of_padding_alone_gives_0_and_has_the_gradient_0(mode: Any) -> None:
    pool, x = GlobalPool1D(mode), np.ones((2, 3, 2), np.float32)
    assert pool(x, lengths=[0, 3]).tolist() == [[0, 0], [1, 1]]
    dx = pool.backward(np.ones((2, 2)))
    assert not dx[0].any()
    assert dx[1].sum() == pytest.approx(2)
    assert not pool(x, lengths=[0, 0]).any()
    assert not pool.backward(np.ones((2, 2))).any()


@each_mode
def test_a_mask_without_padding_is_no_mask(mode: Any) -> None:
    pool, x = GlobalPool1D(mode), np.random.default_rng(0).standard_normal((2, 3, 4))
    y = pool(x)
    dx = pool.backward(y)
    assert np.array_equal(pool(x, np.zeros((2, 3), bool)), y)
    assert np.array_equal(pool.backward(y), dx)


def test_the_mean_of_float32_is_that_of_float64() -> None:
    x = np.random.default_rng(0).uniform(0, 1, (1, 100_000, 1)).astype(np.float32)
    expected = x.astype(np.float64).mean()
    np.testing.assert_allclose(GlobalPool1D("mean")(x)[0, 0], expected, rtol=1e-7)


def test_pooling_over_time_refuses_what_it_cannot_pool() -> None:
    with pytest.raises(InputError, match=r"^GlobalPool1D expects mode to be 'mean' or 'max' or"):
        GlobalPool1D("sum")  # type: ignore[arg-type]
    pool = GlobalPool1D("max")
    assert repr(pool) == "GlobalPool1D(mode='max')"
    with pytest.raises(InputError, match=r"expects x of shape \(N, T, D\), got \(3, 4\)"):
        pool(np.ones((3, 4)))
    with pytest.raises(InputError, match="expects x of at least one step, got none"):
        pool(np.ones((3, 0, 4)))
    with pytest.raises(InputError, match=r"bool of shape \(3, 4\), got \(4, 3\) of bool"):
        pool(np.ones((3, 4, 2)), np.ones((4, 3), bool))
    assert pool(np.ones((0, 4, 2))).shape == (0, 2)
    assert pool(np.ones((3, 4, 0))).shape == (3, 0)
