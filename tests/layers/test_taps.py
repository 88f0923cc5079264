import re

import numpy as np
import pytest

from tinynet import InputError, ReLU
from tinynet.layers.conv2d import batch_last, short
from tinynet.layers.pooling import Tap, check_not_empty, part, transposed, weighted

TAPS: list[Tap] = [
    (slice(0, 2), slice(0, 3, 2), 1),
    (slice(1, 3), slice(1, 3), 0.5),
    (slice(0, 1), slice(2, 3), -2),
]
# The same as a matrix, y = A x.
MATRIX: list[list[float]] = [[1, 0, -2], [0, 0.5, 1], [0, 0, 0.5], [0, 0, 0]]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_weighted_is_a_product_with_a_matrix_along_an_axis(axis: int) -> None:
    x = np.random.default_rng(0).standard_normal((3, 3, 3))
    y = weighted(x, axis, 4, TAPS)
    for row in range(4):
        expected = sum(MATRIX[row][column] * x.take(column, axis) for column in range(3))
        np.testing.assert_allclose(y.take(row, axis), expected, rtol=1e-14)


def test_transposed_taps_are_the_transposed_matrix() -> None:
    dy = np.random.default_rng(0).standard_normal(4)
    dx = weighted(dy, 0, 3, transposed(TAPS))
    np.testing.assert_allclose(dx, [sum(MATRIX[r][c] * dy[r] for r in range(4)) for c in range(3)])


def test_weighted_keeps_the_dtype_and_shares_no_memory() -> None:
    x = np.ones((2, 3), np.float32)
    y = weighted(x, 1, 3, [(slice(None), slice(None), 1)])
    assert y.dtype == np.float32
    assert np.array_equal(y, x)
    assert not np.shares_memory(x, y)


def test_batch_last_copies_only_what_lies_otherwise() -> None:
    last = np.arange(120.0).reshape(2, 3, 4, 5)
    image = last.transpose(3, 0, 1, 2)
    assert np.shares_memory(batch_last(image), last)
    x = np.arange(120.0).reshape(5, 2, 3, 4)
    laid_out = batch_last(x)
    assert laid_out.flags.c_contiguous
    assert laid_out[1, 2, 3, 4] == x[4, 1, 2, 3]


def test_part_is_an_index() -> None:
    assert part(0, slice(1, 2)) == (slice(1, 2),)
    assert part(2, slice(1, 2)) == (slice(None), slice(None), slice(1, 2))


@pytest.mark.parametrize("size", [(0, 3), (3, 0)])
def test_refuses_images_without_entries(size: tuple[int, int]) -> None:
    sentence = f"ReLU() expects images of at least one entry, got {size[0]} x {size[1]}"
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        check_not_empty(ReLU(), size)
    check_not_empty(ReLU(), (1, 1))


def test_short() -> None:
    assert short((2, 2)) == "2"
    assert short((2, 3)) == "(2, 3)"
