import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import softmax
from tinynet.testing import floats, sizes


class TestSoftmax:
    @given(st.data(), st.lists(sizes, min_size=1, max_size=3).map(tuple))
    def test_is_the_formula(self, data: st.DataObject, shape: tuple[int, ...]) -> None:
        logits = data.draw(floats(shape, np.float64, bound=20))
        for got, row in zip(
            softmax(logits).reshape(-1, shape[-1]).tolist(),
            logits.reshape(-1, shape[-1]).tolist(),
            strict=True,
        ):
            total = math.fsum(map(math.exp, row))
            assert got == pytest.approx([math.exp(z) / total for z in row], rel=1e-12)

    def test_takes_the_largest_off_each_row_by_itself(self) -> None:
        logits = np.array([[0.0, 0.0], [1000.0, 1000.0]])
        assert softmax(logits).tolist() == [[0.5, 0.5], [0.5, 0.5]]

    def test_of_huge_logits_is_finite(self) -> None:
        logits = np.array([1e30, -1e30, 1e30], np.float32)
        assert softmax(logits).tolist() == [0.5, 0, 0.5]
        assert softmax(logits).dtype == np.float32
