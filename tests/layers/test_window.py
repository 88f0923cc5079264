import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import InputError
from tinynet.layers.window import Pair, Window, pair

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
