"""The same numbers in other memory: code that counts on the order of bytes reads others there."""

import numpy as np

from tinynet.parameter import Array


def layouts(x: Array) -> dict[str, Array]:
    """Copies of x that are column-major, with gaps between the entries, and backwards in memory.

    >>> {name: copy.strides for name, copy in layouts(np.zeros((2, 3))).items()}
    {'column-major': (8, 16), 'with gaps': (48, 16), 'backwards': (24, -8)}
    """
    if x.ndim == 0:
        return {}
    gaps = np.empty((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)[..., ::2]
    backwards = np.empty_like(x, order="C")[..., ::-1]
    for copy in (gaps, backwards):
        copy[...] = x
    return {"column-major": np.array(x, order="F"), "with gaps": gaps, "backwards": backwards}
