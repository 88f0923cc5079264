"""What every norm does, in loops from the formula: groups of entries that share mean and variance.

Each ∂y[a] / ∂x[b] is added up by itself, so that nothing here is reduced as the layers do it.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import strategies as st

from tinynet import Array, Layer, Parameter
from tinynet.gradcheck.inputs import memory_layouts
from tinynet.testing import seeds

Entry = tuple[int, ...]


@st.composite
def spread(draw: st.DrawFn, shape: tuple[int, ...]) -> Array:
    """Numbers that differ, in any memory layout: where all are equal a norm is flat."""
    scale, mean = draw(st.sampled_from([0.1, 1.0, 10.0])), draw(st.sampled_from([0.0, -3.0]))
    x = mean + scale * np.random.default_rng(draw(seeds)).standard_normal(shape)
    return np.asarray(draw(st.sampled_from([x, *memory_layouts(x).values()])))


def stirred(layer: Layer) -> Layer:
    """The layer in float64, with parameters that are different for each entry."""
    layer = layer.astype(np.float64)
    for seed, parameter in enumerate(layer.parameters()):
        parameter.value = np.random.default_rng(seed).uniform(0.5, 2, parameter.value.shape)
    return layer


def check_formula(
    layer: Layer,
    x: Array,
    groups: Sequence[Sequence[Entry]],
    place_of: Callable[[Entry], Entry],
    *,
    eps: float,
    centred: bool = True,
) -> None:
    """Holds y, dx and the gradients of the layer against the formula.

    `groups` has each entry of x once; `place_of` says which of weight and bias belong to an entry.
    """
    y = layer(x)
    dy = np.random.default_rng(5).uniform(-1, 1, x.shape)
    dx = layer.backward(dy)
    parameters = dict(layer.named_parameters())
    values, wanted_y, wanted_dx = np.zeros(x.shape), np.zeros(x.shape), np.zeros(x.shape)
    for group in groups:
        count = len(group)
        mean = math.fsum(float(x[entry]) for entry in group) / count if centred else 0.0
        square = math.fsum((float(x[entry]) - mean) ** 2 for entry in group) / count
        root = math.sqrt(square + eps)
        for a in group:
            values[a] = (float(x[a]) - mean) / root
            wanted_y[a] = values[a] * _value(parameters, "weight", place_of(a), 1.0)
            wanted_y[a] += _value(parameters, "bias", place_of(a), 0.0)
        for b in group:
            for a in group:
                slope = ((a == b) - centred / count - values[a] * values[b] / count) / root
                wanted_dx[b] += dy[a] * _value(parameters, "weight", place_of(a), 1.0) * slope
    assert sum(map(len, groups)) == x.size
    _check_close(y, wanted_y)
    _check_close(dx, wanted_dx)
    for name, factors in (("weight", values), ("bias", np.ones(x.shape))):
        if name in parameters:
            wanted = np.zeros(parameters[name].value.shape)
            for entry in np.ndindex(x.shape):
                wanted[place_of(entry)] += dy[entry] * factors[entry]
            grad = parameters[name].grad
            assert grad is not None
            _check_close(grad, wanted)


def _value(parameters: dict[str, Parameter], name: str, place: Entry, default: float) -> float:
    return float(parameters[name].value[place]) if name in parameters else default


def _check_close(got: Array, wanted: Array) -> None:
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)
