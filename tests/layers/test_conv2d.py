import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import Array, Conv2D, InputError, ReLU
from tinynet.layers import conv2d
from tinynet.layers.conv2d import Pair, Window, batch_last, pair


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
        monkeypatch.setattr(conv2d, "ENTRIES", limit)
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
    monkeypatch.setattr(conv2d, "ENTRIES", 1000)
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
        weight_init=lambda shape, _fan_in, _fan_out, _rng: rng.integers(-9, 9, shape),
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
    assert np.shares_memory(batch_last(y), y)
    assert layer.backward(y).strides[0] == y.itemsize


numbers = st.integers(1, 4)
pairs = st.tuples(numbers, numbers)
sides = st.tuples(st.integers(0, 3), st.integers(0, 3))
windows = st.builds(Window, pairs, pairs, pairs, st.tuples(sides, sides))
sizes = st.tuples(st.integers(0, 12), st.integers(0, 12))


def stops_along(size: int, window: Window, axis: int) -> list[list[int]]:
    """What the kernel meets of the padded image at each stop, found by moving it until it ends."""
    kernel, stride, gap = window.kernel[axis], window.stride[axis], window.dilation[axis]
    before, behind = window.padding[axis]
    found: list[list[int]] = []
    start = 0
    while True:
        met = [start + gap * entry for entry in range(kernel)]
        if met[-1] >= before + size + behind:
            return found
        found.append(met)
        start += stride


@given(windows, sizes)
def test_stops_are_counted_as_by_moving_the_kernel(window: Window, size: Pair) -> None:
    found = window.stops(size)
    for axis in (0, 1):
        # Where it never fits, any number below 1 says so.
        assert max(found[axis], 0) == len(stops_along(size[axis], window, axis))


NO_PADDING = ((0, 0), (0, 0))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"kernel_size": 3}, Window((3, 3), (1, 1), (1, 1), NO_PADDING)),
        (
            {"kernel_size": (3, 2), "stride": (2, 1), "dilation": (1, 4), "padding": (1, 0)},
            Window((3, 2), (2, 1), (1, 4), ((1, 1), (0, 0))),
        ),
        (
            {"kernel_size": [3, 2], "stride": np.int64(2), "padding": 2},
            Window((3, 2), (2, 2), (1, 1), ((2, 2), (2, 2))),
        ),
        (
            {"kernel_size": 1, "padding": ((1, 2), [3, 4])},
            Window((1, 1), (1, 1), (1, 1), ((1, 2), (3, 4))),
        ),
        (
            {"kernel_size": 1, "padding": (5, (3, 4))},
            Window((1, 1), (1, 1), (1, 1), ((5, 5), (3, 4))),
        ),
        (
            {"kernel_size": 2, "stride": 3, "padding": "valid"},
            Window((2, 2), (3, 3), (1, 1), NO_PADDING),
        ),
        (
            {"kernel_size": (3, 4), "padding": "same"},
            Window((3, 4), (1, 1), (1, 1), ((1, 1), (1, 2))),
        ),
        (
            {"kernel_size": (1, 2), "padding": "same", "dilation": (7, 3)},
            Window((1, 2), (1, 1), (7, 3), ((0, 0), (1, 2))),
        ),
    ],
)
def test_arguments_are_as_in_pytorch(arguments: Any, expected: Window) -> None:
    assert Window.of("Layer", **arguments) == expected


@given(pairs, pairs, sizes)
def test_same_keeps_the_size(kernel: Pair, dilation: Pair, size: Pair) -> None:
    window = Window.of("Layer", kernel_size=kernel, dilation=dilation, padding="same")
    assert window.stops(size) == size
    for before, behind in window.padding:
        assert behind - before in (0, 1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"kernel_size": 0}, "Layer expects kernel_size to be a whole number >= 1, got 0"),
        (
            {"kernel_size": (1, 2, 3)},
            "Layer expects kernel_size to be a number or a pair of them, got (1, 2, 3)",
        ),
        (
            {"kernel_size": 1, "stride": (1, 0)},
            "Layer expects stride to be a whole number >= 1, got 0",
        ),
        (
            {"kernel_size": 1, "dilation": 1.5},
            "Layer expects dilation to be a whole number >= 1, got 1.5",
        ),
        (
            {"kernel_size": 1, "padding": (0, -1)},
            "Layer expects padding to be a whole number >= 0, got -1",
        ),
        (
            {"kernel_size": 1, "padding": np.array([1, 2])},
            "Layer expects padding to be a whole number >= 0, got array([1, 2])",
        ),
        (
            {"kernel_size": 1, "padding": ((1, 2, 3), 0)},
            "Layer expects padding to be a number or a pair of them, got (1, 2, 3)",
        ),
        (
            {"kernel_size": 1, "padding": "full"},
            'Layer expects padding to be "same", "valid", a number or a pair, got \'full\'',
        ),
        (
            {"kernel_size": 3, "padding": "same", "stride": (1, 2)},
            'Layer expects a stride of 1 with padding="same", got stride=(1, 2); '
            "a number for padding goes with any stride",
        ),
    ],
)
def test_refuses_other_arguments(arguments: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        Window.of("Layer", **arguments)


def test_pair_takes_a_number_for_both() -> None:
    assert pair("Layer", "size", 3) == (3, 3)
    assert pair("Layer", "size", [2, 1]) == (2, 1)
    assert pair("Layer", "size", 0, at_least=0) == (0, 0)
