import numpy as np
import pytest

from tinynet.layers.pooling import Slices, add_slices, along, swap_slices

SLICES: list[Slices] = [
    (slice(0, 2), slice(0, 3, 2), 1),
    (slice(1, 3), slice(1, 3), 0.5),
    (slice(0, 1), slice(2, 3), -2),
]
# The same as a matrix, y = A x.
MATRIX: list[list[float]] = [[1, 0, -2], [0, 0.5, 1], [0, 0, 0.5], [0, 0, 0]]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_adding_shifted_slices_is_a_matrix_product_along_an_axis(axis: int) -> None:
    x = np.random.default_rng(0).standard_normal((3, 3, 3))
    y = add_slices(x, axis, 4, SLICES)
    for row in range(4):
        expected = sum(MATRIX[row][column] * x.take(column, axis) for column in range(3))
        np.testing.assert_allclose(y.take(row, axis), expected, rtol=1e-14)


def test_adding_swapped_slices_is_the_product_with_the_transposed_matrix() -> None:
    dy = np.random.default_rng(0).standard_normal(4)
    dx = add_slices(dy, 0, 3, swap_slices(SLICES))
    np.testing.assert_allclose(dx, [sum(MATRIX[r][c] * dy[r] for r in range(4)) for c in range(3)])


def test_adding_shifted_slices_keeps_the_dtype_and_shares_no_memory_with_x() -> None:
    x = np.ones((2, 3), np.float32)
    y = add_slices(x, 1, 3, [(slice(None), slice(None), 1)])
    assert y.dtype == np.float32
    assert np.array_equal(y, x)
    assert not np.shares_memory(x, y)


def test_along_is_the_index_of_a_slice_of_one_axis() -> None:
    assert along(0, slice(1, 2)) == (slice(1, 2),)
    assert along(2, slice(1, 2)) == (slice(None), slice(None), slice(1, 2))
