import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from norm_formula import Entry, check_formula, spread, with_random_parameters

from tinynet import GroupNorm, InputError, Layer, LayerNorm, RMSNorm
from tinynet.testing import check_layer, seeds

epsilons = st.sampled_from([1e-5, 1e-2, 1.0])
shapes = st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple)


def by_sample(shape: tuple[int, ...], axes: int) -> list[list[Entry]]:
    """The entries of each sample: those that share the index of the leading axes."""
    lead = len(shape) - axes
    return [
        [(*sample, *entry) for entry in np.ndindex(shape[lead:])]
        for sample in np.ndindex(shape[:lead])
    ]


@pytest.mark.gradients
def test_gradients_of_layer_norm() -> None:
    def layer_norm(axes: int, eps: float, affine: bool, bias: bool) -> Layer:
        return LayerNorm((2, 2)[-axes:], eps, affine, bias)

    check_layer(
        layer_norm,
        st.tuples(st.integers(1, 2), st.just(2), st.just(2)),
        x=spread,
        axes=st.integers(1, 2),
        eps=epsilons,
        affine=st.booleans(),
        bias=st.booleans(),
        examples=0.28,
    )


@given(st.data(), shapes, epsilons, st.booleans(), st.booleans())
def test_layer_norm_is_the_formula(
    data: st.DataObject, shape: Entry, eps: float, affine: bool, bias: bool
) -> None:
    axes = data.draw(st.integers(1, len(shape)))
    layer = with_random_parameters(LayerNorm(shape[-axes:], eps, affine, bias))
    assert len(layer.parameters()) == affine + (affine and bias)
    x = data.draw(spread(shape))
    check_formula(layer, x, by_sample(shape, axes), lambda e: e[-axes:], eps=eps)


def test_parameters_of_layer_norm_have_the_documented_shapes_and_initial_values() -> None:
    layer = LayerNorm((2, 3))
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert layer.weight is not None
    assert layer.bias is not None
    assert layer.weight.value.tolist() == [[1] * 3] * 2
    assert layer.bias.value.tolist() == [[0] * 3] * 2
    assert LayerNorm(3).normalized_shape == LayerNorm([3]).normalized_shape == (3,)


def test_layer_norm_of_a_constant_sample_is_the_bias() -> None:
    layer = LayerNorm(3)
    assert layer(np.full((1, 3), 7.0)).tolist() == [[0, 0, 0]]
    assert layer.backward(np.array([[1.0, 1, 1]])).tolist() == [[0, 0, 0]]


def test_layer_norm_sums_the_gradients_of_many_rows_as_in_float64() -> None:
    rng = np.random.default_rng(0)
    x, dy = (rng.uniform(0, 1, (30_000, 2)).astype(np.float32) for _ in range(2))
    layer = LayerNorm(2, eps=1.0)
    layer(x)
    layer.backward(dy)
    assert layer.bias is not None
    assert layer.bias.grad is not None
    exact = [math.fsum(column) for column in dy.T.tolist()]
    np.testing.assert_allclose(layer.bias.grad.astype(np.float64), exact, rtol=1e-7)
    assert layer.weight is not None
    assert layer.weight.grad is not None
    double = LayerNorm(2, eps=1.0).astype(np.float64)
    double(x.astype(np.float64))
    double.backward(dy)
    assert double.weight is not None
    assert double.weight.grad is not None
    np.testing.assert_allclose(layer.weight.grad, double.weight.grad, rtol=1e-5)


@given(st.integers(0, 40), st.integers(1, 3), seeds)
def test_layer_norm_sums_the_gradients_of_any_number_of_rows(
    rows: int, features: int, seed: int
) -> None:
    dy = np.random.default_rng(seed).standard_normal((rows, features)).astype(np.float32)
    layer = LayerNorm(features)
    layer(np.zeros_like(dy))
    layer.backward(dy)
    assert layer.bias is not None
    assert layer.bias.grad is not None
    for got, column in zip(layer.bias.grad.tolist(), dy.T.tolist(), strict=True):
        # Two rounding errors of at most half a unit: the first addition, and the dtype of grad.
        tolerance = 2.0**-23 * sum(map(abs, column))
        assert abs(got - math.fsum(column)) <= tolerance


def test_repr_of_layer_norm_is_its_constructor_call() -> None:
    assert repr(LayerNorm(3)) == "LayerNorm((3,))"
    assert repr(LayerNorm((3,))) == "LayerNorm((3,))"
    assert repr(LayerNorm((3, 4), bias=False)) == "LayerNorm((3, 4), bias=False)"
    assert (
        repr(LayerNorm(3, eps=1e-3, elementwise_affine=False))
        == "LayerNorm((3,), eps=0.001, elementwise_affine=False, bias=False)"
    )


@pytest.mark.gradients
def test_gradients_of_rms_norm() -> None:
    def rms_norm(axes: int, eps: float | None, affine: bool) -> Layer:
        return RMSNorm((2, 2)[-axes:], eps, affine)

    check_layer(
        rms_norm,
        st.tuples(st.integers(1, 2), st.just(2), st.just(2)),
        x=spread,
        axes=st.integers(1, 2),
        eps=epsilons | st.none(),
        affine=st.booleans(),
        examples=0.28,
    )


@given(st.data(), shapes, epsilons | st.none(), st.booleans())
def test_rms_norm_is_the_formula(
    data: st.DataObject, shape: Entry, eps: float | None, affine: bool
) -> None:
    axes = data.draw(st.integers(1, len(shape)))
    layer = with_random_parameters(RMSNorm(shape[-axes:], eps, affine))
    assert len(layer.parameters()) == affine
    check_formula(
        layer,
        data.draw(spread(shape)),
        by_sample(shape, axes),
        lambda entry: entry[-axes:],
        eps=2.0**-52 if eps is None else eps,
        centered=False,
    )


@pytest.mark.parametrize(("dtype", "eps"), [(np.float16, 2**-23), (np.float32, 2**-23)])
def test_rms_norm_without_eps_takes_that_of_the_dtype(dtype: Any, eps: float) -> None:
    x = np.array([[1e-3, -1e-3]], dtype)
    y = RMSNorm(2)(x)
    assert y.dtype == dtype
    square = float(x[0, 0]) ** 2
    assert math.isclose(y[0, 0], 1 / math.sqrt(1 + eps / square), rel_tol=1e-3)


def test_parameters_of_rms_norm_have_the_documented_shapes_and_initial_values() -> None:
    layer = RMSNorm((2, 3))
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    assert layer.weight is not None
    assert layer.weight.value.tolist() == [[1] * 3] * 2


def test_repr_of_rms_norm_is_its_constructor_call() -> None:
    assert repr(RMSNorm(3)) == "RMSNorm((3,))"
    assert (
        repr(RMSNorm((3, 4), 0.5, elementwise_affine=False))
        == "RMSNorm((3, 4), eps=0.5, elementwise_affine=False)"
    )


@pytest.mark.gradients
def test_gradients_of_group_norm() -> None:
    def group_norm(num_groups: int, eps: float, affine: bool) -> Layer:
        return GroupNorm(num_groups, 4, eps, affine)

    check_layer(
        group_norm,
        st.sampled_from([(1, 4), (1, 4, 2), (2, 4)]),
        x=spread,
        num_groups=st.sampled_from([1, 2]),
        eps=epsilons,
        affine=st.booleans(),
        examples=0.28,
    )


@given(
    st.data(),
    st.integers(1, 3),
    st.integers(1, 3),
    st.lists(st.integers(1, 3), max_size=2),
    epsilons,
    st.booleans(),
)
def test_group_norm_is_the_formula(
    data: st.DataObject,
    groups: int,
    size: int,
    behind: list[int],
    eps: float,
    affine: bool,
) -> None:
    shape = (data.draw(st.integers(1, 3)), groups * size, *behind)
    layer = with_random_parameters(GroupNorm(groups, groups * size, eps, affine))
    assert len(layer.parameters()) == 2 * affine
    members: dict[tuple[int, int], list[Entry]] = {}
    for entry in np.ndindex(shape):
        members.setdefault((entry[0], entry[1] // size), []).append(entry)
    x = data.draw(spread(shape))
    check_formula(layer, x, list(members.values()), lambda entry: entry[1:2], eps=eps)


def test_group_norm_with_one_group_is_layer_norm() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    np.testing.assert_allclose(GroupNorm(1, 3)(x), LayerNorm((3, 4))(x), rtol=1e-12)


def test_parameters_of_group_norm_have_the_documented_shapes_and_initial_values() -> None:
    layer = GroupNorm(2, 4)
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert layer.weight is not None
    assert layer.bias is not None
    assert layer.weight.value.tolist() == [1] * 4
    assert layer.bias.value.tolist() == [0] * 4


def test_group_norm_keeps_the_memory_layout_of_its_input() -> None:
    x = np.ones((4, 2, 3, 5)).transpose(3, 0, 1, 2)  # the batch last in memory
    layer = GroupNorm(2, 4)
    y = layer(x)
    assert y.transpose(1, 2, 3, 0).flags.c_contiguous
    assert layer.backward(y).transpose(1, 2, 3, 0).flags.c_contiguous


def test_group_norm_sums_the_gradients_of_large_images_as_in_float64() -> None:
    rng = np.random.default_rng(0)
    dy = rng.uniform(0, 1, (2, 1, 200, 200)).astype(np.float32)
    for laid_out in (dy, np.array(dy, order="F")):
        layer = GroupNorm(1, 1)
        layer(laid_out)
        layer.backward(laid_out)
        assert layer.bias is not None
        assert layer.bias.grad is not None
        exact = math.fsum(dy.ravel().tolist())
        assert math.isclose(layer.bias.grad[0], exact, rel_tol=1e-7)


@pytest.mark.parametrize(("groups", "channels"), [(2, 3), (3, 2)])
def test_group_norm_refuses_groups_that_do_not_divide_the_channels(
    groups: int, channels: int
) -> None:
    sentence = (
        "^GroupNorm expects num_channels to be a multiple of num_groups, "
        f"got {channels} channels in {groups} groups$"
    )
    with pytest.raises(InputError, match=sentence):
        GroupNorm(groups, channels)


def test_group_norm_refuses_arguments_and_inputs_out_of_range() -> None:
    with pytest.raises(InputError, match=r"^GroupNorm expects num_groups to be a whole number"):
        GroupNorm(0, 2)
    with pytest.raises(InputError, match=r"^GroupNorm expects num_channels to be a whole num"):
        GroupNorm(1, 0)
    with pytest.raises(InputError, match=r"^GroupNorm expects eps to be a finite number >= 0"):
        GroupNorm(1, 2, eps=-1)
    for shape in ((2, 3), (4,), (4, 2)):
        with pytest.raises(InputError, match=r"^GroupNorm\(2, 4\) expects x of shape"):
            GroupNorm(2, 4)(np.zeros(shape))


def test_repr_of_group_norm_is_its_constructor_call() -> None:
    assert repr(GroupNorm(2, 4)) == "GroupNorm(2, 4)"
    assert repr(GroupNorm(2, 4, 0.1, affine=False)) == "GroupNorm(2, 4, eps=0.1, affine=False)"


@pytest.mark.parametrize("make", [LayerNorm, RMSNorm])
@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((), "expects normalized_shape to have an axis, got ()"),
        (0, "expects normalized_shape to be a whole number >= 1, got 0"),
        ((2, 1.5), "expects normalized_shape to be a whole number >= 1, got 1.5"),
    ],
)
def test_a_norm_refuses_a_normalized_shape_that_is_not_one(
    make: Callable[..., Layer], shape: Any, sentence: str
) -> None:
    with pytest.raises(InputError, match=f"^{make.__name__} {re.escape(sentence)}$"):
        make(shape)


@pytest.mark.parametrize("make", [LayerNorm, RMSNorm])
def test_a_norm_refuses_a_negative_eps(make: Callable[..., Layer]) -> None:
    with pytest.raises(InputError, match=f"^{make.__name__} expects eps to be a finite number"):
        make(3, eps=-1e-5)


@pytest.mark.parametrize("make", [LayerNorm, RMSNorm])
def test_a_norm_refuses_inputs_of_another_shape_or_dtype(make: Callable[..., Layer]) -> None:
    with pytest.raises(InputError, match=r"expects x of shape \(\.\.\., 2, 3\), got \(3, 2\)"):
        make((2, 3))(np.zeros((3, 2)))
    with pytest.raises(InputError, match="expects x of a float dtype"):
        make(3)(np.zeros((2, 3), int))


MAKERS: dict[str, Callable[[], Layer]] = {
    "layer": lambda: LayerNorm((4, 2)),
    "rms": lambda: RMSNorm((4, 2)),
    "group": lambda: GroupNorm(2, 4),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_norm_takes_an_empty_batch(make: Callable[[], Layer]) -> None:
    layer = make().eval()
    y = layer(np.zeros((0, 4, 2), np.float32))
    assert y.shape == (0, 4, 2)
    assert y.dtype == np.float32
    assert layer.backward(y).shape == (0, 4, 2)
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_norm_of_half_precision_does_not_overflow(make: Callable[[], Layer]) -> None:
    layer = make()
    x = np.random.default_rng(0).uniform(-6e4, 6e4, (3, 4, 2)).astype(np.float16)
    y = layer(x)
    dx = layer.backward(np.ones_like(y))
    assert y.dtype == dx.dtype == np.float16
    np.testing.assert_allclose(y, make()(x.astype(np.float64)), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("scale", [1e4, 1e-4])
def test_a_norm_without_eps_does_not_depend_on_the_scale_of_x(
    make: Callable[[], Layer], scale: float
) -> None:
    layer = make()
    layer.__dict__["eps"] = 0.0
    x = np.random.default_rng(0).standard_normal((3, 4, 2)).astype(np.float32)
    np.testing.assert_allclose(layer(x * np.float32(scale)), layer(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_nan_stays_in_its_sample_of_a_norm(make: Callable[[], Layer]) -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, 2))
    x[0] = np.nan
    y = make()(x)
    assert np.isnan(y[0]).all()
    assert not np.isnan(y[1]).any()


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_norm_by_sample_is_the_same_in_evaluation(make: Callable[[], Layer]) -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, 2))
    assert np.array_equal(make()(x), make().eval()(x))
