"""Precision: a float32 network computes float64 samples in float32, at twice the speed.

NumPy, pandas and scikit-learn make float64 arrays, and a layer keeps the dtype of its input: one
such array would turn every forward and backward behind it into float64.
"""

from collections.abc import Callable, Mapping

import numpy as np

from tinynet.parameter import Array
from tinynet.samples import Samples, each_array

SINGLE = np.dtype(np.float32)
WIDE_FLOATS = (np.float64, np.longdouble)


def input_cast(state: Mapping[str, Array]) -> Callable[[Samples], Samples]:
    """A function that makes float32 of a batch x of wider floats, for a network with this state.

    It does so if every array of floats in the state is float32. A network in float64, or one with a
    buffer in float64 (Standardize), takes x as it is; integers always stay integers.

    >>> cast = input_cast({"weight": np.ones(2, np.float32)})
    >>> cast(np.ones(2)).dtype, cast(np.ones(2, np.int64)).dtype
    (dtype('float32'), dtype('int64'))
    """
    if {array.dtype for array in state.values() if array.dtype.kind == "f"} != {SINGLE}:
        return _unchanged
    return _single


def _unchanged(x: Samples) -> Samples:
    return x


def _single(x: Samples) -> Samples:
    single: Samples = each_array(
        lambda array: array.astype(SINGLE) if array.dtype.type in WIDE_FLOATS else array, x
    )
    return single
