"""The formula of all norms in plain loops, for groups of entries that share mean and variance.

Each ∂y[a] / ∂x[b] is added up by itself, so that nothing is simplified as in the layers.
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


def with_random_parameters(layer: Layer) -> Layer:
    """The layer in float64, with parameters that are different for each entry."""
    layer = layer.astype(np.float64)
    for seed, parameter in enumerate(layer.parameters()):
        parameter.value = np.random.default_rng(seed).uniform(0.5, 2, parameter.value.shape)
    return layer


def check_formula(
    layer: Layer,
    x: Array,
    groups: Sequence[Sequence[Entry]],
    parameter_index: Callable[[Entry], Entry],
    *,
    eps: float,
    centered: bool = True,
) -> None:
    """Compares y, dx and the gradients of the layer with the formula.

    `groups` has each entry of x once; `parameter_index` gives, for an entry, the index of its
    weight and bias.
    """
    y = layer(x)
    dy = np.random.default_rng(5).uniform(-1, 1, x.shape)
    dx = layer.backward(dy)
    parameters = dict(layer.named_parameters())
    values, expected_y, expected_dx = np.zeros(x.shape), np.zeros(x.shape), np.zeros(x.shape)
    for group in groups:
        count = len(group)
        mean = math.fsum(float(x[entry]) for entry in group) / count if centered else 0.0
        square = math.fsum((float(x[entry]) - mean) ** 2 for entry in group) / count
        root = math.sqrt(square + eps)
        for a in group:
            values[a] = (float(x[a]) - mean) / root
            expected_y[a] = values[a] * _value(parameters, "weight", parameter_index(a), 1.0)
            expected_y[a] += _value(parameters, "bias", parameter_index(a), 0.0)
        for a in group:
            d = dy[a] * _value(parameters, "weight", parameter_index(a), 1.0)
            for b in group:
                slope = ((a == b) - centered / count - values[a] * values[b] / count) / root
                expected_dx[b] += d * slope
    assert sum(map(len, groups)) == x.size
    _check_close(y, expected_y)
    _check_close(dx, expected_dx)
    for name, factors in (("weight", values), ("bias", np.ones(x.shape))):
        if name in parameters:
            expected = np.zeros(parameters[name].value.shape)
            for entry in np.ndindex(x.shape):
                expected[parameter_index(entry)] += dy[entry] * factors[entry]
            grad = parameters[name].grad
            assert grad is not None
            _check_close(grad, expected)


def _value(parameters: dict[str, Parameter], name: str, index: Entry, default: float) -> float:
    return float(parameters[name].value[index]) if name in parameters else default


def _check_close(got: Array, expected: Array) -> None:
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)
