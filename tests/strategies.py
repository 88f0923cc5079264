"""Hypothesis strategies for arrays, named by what they draw."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinynet import Array

sizes = st.integers(1, 4)  # 1 is drawn often: batch 1 and axes of size 1 are where layers break


def layouts(x: Array) -> dict[str, Array]:
    """The same values in other memory: column-major, with gaps, backwards, and read-only."""
    gaps = np.empty((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)[..., ::2]
    gaps[...] = x
    backwards = np.empty_like(x)[..., ::-1]
    backwards[...] = x
    read_only = x.copy()
    read_only.setflags(write=False)
    return {
        "column-major": np.asfortranarray(x),
        "with gaps": gaps,
        "backwards": backwards,
        "read-only": read_only,
    }


@st.composite
def floats(
    draw: st.DrawFn,
    shape: st.SearchStrategy[tuple[int, ...]] | tuple[int, ...],
    dtype: Any = np.float64,
    *,
    bound: float = 3,
) -> Array:
    """Float arrays between -bound and bound, in any memory layout."""
    if not isinstance(shape, tuple):
        shape = draw(shape)
    elements = st.floats(-bound, bound, width=32, allow_subnormal=False)
    x = draw(hnp.arrays(dtype, shape, elements=elements))
    return draw(st.sampled_from([x, *layouts(x).values()]))


rows = st.tuples(sizes, sizes)
blocks = st.lists(sizes, min_size=1, max_size=4).map(tuple)
