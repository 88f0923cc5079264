from typing import Any

import numpy as np
import pytest

from tinynet import Array, Conv2D, ReLU
from tinynet.layers import correlation
from tinynet.layers.window import samples_last


@pytest.mark.parametrize("entries", [1, 500, 1000, 2000])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_results_do_not_depend_on_how_much_is_written_out_at_a_time(
    monkeypatch: pytest.MonkeyPatch, entries: int, stride: int, dilation: int
) -> None:
    layer = Conv2D(2, 3, 3, stride=stride, padding=1, dilation=dilation, rng=0).astype(np.float64)
    x = np.random.default_rng(0).standard_normal((4, 2, 11, 6))
    results = []
    for limit in (2**20, entries):
        monkeypatch.setattr(correlation, "ENTRIES", limit)
        y = layer(x)
        layer.backward_parameters(y)
        results.append((y, layer.weight.grad))
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


def test_no_more_is_written_out_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []

    def spy(shape: tuple[int, ...], dtype: Any) -> Array:
        shapes.append(shape)
        return np.zeros(shape, dtype)

    layer = Conv2D(2, 3, 3, bias=False, rng=0)
    monkeypatch.setattr(np, "empty", spy)
    layer(np.zeros((4, 2, 12, 6)))
    monkeypatch.setattr(correlation, "ENTRIES", 1000)
    layer(np.zeros((4, 2, 12, 6)))
    # One image row is 2 channels, 3 columns of the kernel, 4 stops and 4 samples: 96 entries.
    written = [shape for shape in shapes if len(shape) == 6]
    assert written == [(1, 12, 2, 3, 4, 4), (1, 10, 2, 3, 4, 4)]


@pytest.mark.parametrize("kernel", [(4, 3), (3, 4)])
@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
@pytest.mark.parametrize("dilation", [1, 2, (1, 3)])
@pytest.mark.parametrize("groups", [1, 2])
def test_forward_and_both_gradients_are_one_sum(
    kernel: Any, stride: Any, dilation: Any, groups: int
) -> None:
    # Σ W · x · dy over all pairs, put together by y, by dx and by dW: exact for whole numbers.
    rng = np.random.default_rng(0)
    layer = Conv2D(
        4,
        2,
        kernel,
        stride=stride,
        padding=((1, 2), (3, 0)),
        dilation=dilation,
        groups=groups,
        bias=False,
        weight_init=lambda shape, _fan, _rng: rng.integers(-9, 9, shape),
    )
    x = rng.integers(-9, 9, (3, 4, 12, 11)).astype(np.float64)
    y = layer(x)
    dy = rng.integers(-9, 9, y.shape).astype(np.float64)
    dx = layer.backward(dy)
    assert layer.weight.grad is not None
    assert (y * dy).sum() == (x * dx).sum() == (layer.weight.value * layer.weight.grad).sum() != 0


def test_the_layout_passes_on_without_a_copy() -> None:
    layer = Conv2D(2, 3, 3, padding=1, rng=0)
    y = ReLU()(layer(np.ones((4, 2, 5, 6), np.float32)))
    assert np.shares_memory(samples_last(y), y)
    assert layer.backward(y).strides[0] == y.itemsize
