import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from norm_formula import Entry, check_formula, spread, with_random_parameters

from tinynet import Array, BatchNorm, Dense, InputError, Layer, Parameter, Sequential
from tinynet.testing import check_layer

epsilons = st.sampled_from([1e-5, 1e-2, 1.0])
momenta = st.sampled_from([None, 0.0, 0.1, 0.7, 1.0])
shapes = st.tuples(st.integers(2, 4), st.integers(1, 3)).flatmap(
    lambda sizes: st.lists(st.integers(1, 3), max_size=2).map(lambda behind: (*sizes, *behind))
)


def buffers(layer: BatchNorm) -> tuple[list[float], list[float], int]:
    assert layer.running_mean is not None
    assert layer.running_var is not None
    assert layer.num_batches_tracked is not None
    return (
        layer.running_mean.tolist(),
        layer.running_var.tolist(),
        int(layer.num_batches_tracked),
    )


def by_channel(shape: Entry) -> list[list[Entry]]:
    return [[e for e in np.ndindex(shape) if e[1] == channel] for channel in range(shape[1])]


def rows(*numbers: float) -> Array:
    return np.array([[number] for number in numbers], float)


def trained(layer: BatchNorm, batches: int = 2) -> BatchNorm:
    rng = np.random.default_rng(3)
    for _ in range(batches):
        layer(2 + 3 * rng.standard_normal((6, layer.num_features)))
    return layer


@pytest.mark.gradients
def test_gradients_of_batch_norm_in_training() -> None:
    def batch_norm(eps: float, affine: bool, tracks: bool) -> Layer:
        return BatchNorm(2, eps, affine=affine, track_running_stats=tracks)

    check_layer(
        batch_norm,
        st.sampled_from([(4, 2), (2, 2, 2), (1, 2, 2, 2)]),
        x=spread,
        eps=epsilons,
        affine=st.booleans(),
        tracks=st.booleans(),
        examples=0.28,
    )


@given(st.data(), shapes, epsilons, st.booleans(), st.booleans())
def test_batch_norm_in_training_is_the_formula(
    data: st.DataObject, shape: Entry, eps: float, affine: bool, tracks: bool
) -> None:
    layer = with_random_parameters(
        BatchNorm(shape[1], eps, affine=affine, track_running_stats=tracks)
    )
    assert len(layer.parameters()) == 2 * affine
    x = data.draw(spread(shape))
    check_formula(layer, x, by_channel(shape), lambda entry: entry[1:2], eps=eps)


@given(st.data(), shapes, momenta)
def test_running_statistics_are_moving_averages_of_the_batches(
    data: st.DataObject, shape: Entry, momentum: float | None
) -> None:
    layer = BatchNorm(shape[1], momentum=momentum).astype(np.float64)
    means, variances = [0.0] * shape[1], [1.0] * shape[1]
    for batch in range(1, 4):
        x = data.draw(spread(shape))
        layer(x)
        step = 1 / batch if momentum is None else momentum
        for channel, group in enumerate(by_channel(shape)):
            mean = math.fsum(float(x[e]) for e in group) / len(group)
            squares = math.fsum((float(x[e]) - mean) ** 2 for e in group)
            means[channel] += step * (mean - means[channel])
            unbiased = squares / (len(group) - 1)
            variances[channel] += step * (unbiased - variances[channel])
        got_means, got_variances, count = buffers(layer)
        np.testing.assert_allclose(got_means, means, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(got_variances, variances, rtol=1e-10, atol=1e-12)
        assert count == batch


def test_batch_norm_gives_the_numbers_computed_by_hand() -> None:
    layer = BatchNorm(1, eps=0.0, momentum=0.5).astype(np.float64)
    assert layer(rows(1, 3)).tolist() == [[-1], [1]]
    assert buffers(layer) == ([1.0], [1.5], 1)
    assert layer(rows(5, 5, 11)).mean() < 1e-15
    assert buffers(layer) == ([4.0], [6.75], 2)


def test_running_statistics_without_momentum_are_the_mean_over_all_batches() -> None:
    layer = BatchNorm(1, momentum=None).astype(np.float64)
    for batch in (rows(0, 2), rows(2, 4), rows(7, 13)):
        layer(batch)
    mean, variance, count = buffers(layer)
    np.testing.assert_allclose(mean, [(1 + 3 + 10) / 3])
    np.testing.assert_allclose(variance, [(2 + 2 + 18) / 3])
    assert count == 3


def test_batch_norm_keeps_its_digits_beside_a_large_mean() -> None:
    near = np.random.default_rng(0).standard_normal((64, 3, 8, 8)).astype(np.float32)
    far = (near * 0.25 + 1000).astype(np.float32)
    layer, double = BatchNorm(3), BatchNorm(3).astype(np.float64)
    y, dx = layer(far), layer.backward(near)
    expected_y = double(far.astype(np.float64))
    np.testing.assert_allclose(y, expected_y, rtol=1e-5, atol=1e-5)
    expected_dx = double.backward(near.astype(np.float64))
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-5, atol=1e-5)
    for got, expected in zip(buffers(layer)[:2], buffers(double)[:2], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1), (1, 3, 1, 1)])
@pytest.mark.parametrize("tracks", [True, False])
def test_batch_norm_refuses_one_value_per_channel_and_changes_nothing(
    shape: tuple[int, ...], tracks: bool
) -> None:
    layer = BatchNorm(3, track_running_stats=tracks)
    end = "" if tracks else ", track_running_stats=False"
    with pytest.raises(InputError) as error:
        layer(np.zeros(shape))
    assert str(error.value) == (
        f"BatchNorm(3{end}) expects more than one value per channel in training, "
        f"got x of shape {shape}"
    )
    if tracks:
        assert buffers(layer) == ([0] * 3, [1] * 3, 0)
        assert layer.eval()(np.ones(shape)).shape == shape
    else:
        with pytest.raises(InputError, match=r"than one value per channel, got x of shape"):
            layer.eval()(np.ones(shape))


def test_a_forward_of_batch_norm_that_fails_changes_nothing() -> None:
    layer = BatchNorm(2)
    before = buffers(layer)
    with pytest.raises(InputError, match=r"^BatchNorm\(2\) expects x of shape \(N, 2, \.\.\.\)"):
        layer(np.zeros((3, 3)))
    assert layer.bias is not None
    layer.bias = Parameter(np.zeros(3))
    with pytest.raises(ValueError, match="broadcast"):
        layer(np.random.default_rng(0).standard_normal((4, 2)))
    layer.bias = Parameter(np.zeros(2))
    # The batch is in range, its variance is not in that of the running variance's dtype.
    with pytest.raises(RuntimeWarning, match="overflow"):
        layer(np.array([[1.0, 1e30], [2.0, -1e30]]))
    assert buffers(layer) == before


def test_an_empty_batch_changes_no_running_statistics() -> None:
    layer = BatchNorm(2)
    y = layer(np.zeros((0, 2, 3), np.float32))
    assert y.shape == (0, 2, 3)
    assert layer.backward(y).shape == (0, 2, 3)
    assert buffers(layer) == ([0, 0], [1, 1], 0)


def test_batch_norm_of_half_precision_does_not_overflow() -> None:
    x = np.random.default_rng(0).uniform(-6e4, 6e4, (8, 2, 3)).astype(np.float16)
    layer = BatchNorm(2)
    y = layer(x)
    assert y.dtype == layer.backward(y).dtype == np.float16
    np.testing.assert_allclose(y, BatchNorm(2)(x.astype(np.float64)), rtol=2e-3, atol=2e-3)


def test_batch_norm_keeps_the_memory_layout_of_its_input() -> None:
    x = np.random.default_rng(0).standard_normal((5, 2, 3, 4))
    last = np.ascontiguousarray(x.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)
    for laid_out, axes in ((last, (1, 2, 3, 0)), (x, (1, 0, 2, 3))):
        layer = BatchNorm(2)
        y = layer(laid_out)
        assert y.transpose(axes).flags.c_contiguous
        assert layer.backward(y).transpose(axes).flags.c_contiguous


@pytest.mark.gradients
def test_gradients_of_batch_norm_in_evaluation() -> None:
    def in_evaluation(eps: float, affine: bool) -> Layer:
        return trained(BatchNorm(2, eps, affine=affine)).eval()

    check_layer(
        in_evaluation,
        st.sampled_from([(1, 2), (3, 2), (1, 2, 2), (1, 2, 1, 2)]),
        x=spread,
        eps=epsilons,
        affine=st.booleans(),
        examples=0.28,
    )


@given(st.data(), shapes, epsilons, st.booleans())
def test_batch_norm_in_evaluation_scales_and_shifts_each_channel(
    data: st.DataObject, shape: Entry, eps: float, affine: bool
) -> None:
    layer = BatchNorm(shape[1], eps, affine=affine).astype(np.float64)
    rng = np.random.default_rng(0)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    layer.running_mean[...] = rng.uniform(-1, 1, shape[1])
    layer.running_var[...] = rng.uniform(0.5, 2, shape[1])
    weight, bias = np.ones(shape[1]), np.zeros(shape[1])
    if layer.weight is not None and layer.bias is not None:
        layer.weight.value = weight = rng.uniform(0.5, 2, shape[1])
        layer.bias.value = bias = rng.uniform(-1, 1, shape[1])
    before = buffers(layer)
    x = data.draw(spread(shape))
    y = layer.eval()(x)
    dy = rng.uniform(-1, 1, shape)
    dx = layer.backward(dy)
    products, sums = np.zeros(shape[1]), np.zeros(shape[1])
    for entry in np.ndindex(shape):
        c = entry[1]
        root = math.sqrt(before[1][c] + eps)
        value = (float(x[entry]) - before[0][c]) / root
        assert math.isclose(y[entry], value * weight[c] + bias[c], abs_tol=1e-12)
        assert math.isclose(dx[entry], dy[entry] * weight[c] / root, rel_tol=1e-12)
        products[c] += dy[entry] * value
        sums[c] += dy[entry]
    if layer.weight is not None and layer.bias is not None:
        assert layer.weight.grad is not None
        assert layer.bias.grad is not None
        np.testing.assert_allclose(layer.weight.grad, products, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(layer.bias.grad, sums, rtol=1e-9, atol=1e-9)
    assert buffers(layer) == before


def test_batch_norm_without_running_statistics_takes_those_of_the_batch() -> None:
    x = np.random.default_rng(0).standard_normal((4, 3, 2))
    layer = BatchNorm(3, track_running_stats=False)
    assert layer.running_mean is layer.running_var is layer.num_batches_tracked is None
    assert np.array_equal(layer.eval()(x), BatchNorm(3)(x))
    assert list(layer.state_dict()) == ["weight", "bias"]


@pytest.mark.parametrize("tracks", [True, False])
@pytest.mark.parametrize("shape", [(0, 2), (0, 2, 3), (0, 2, 3, 3), (2, 2, 0)])
def test_batch_norm_in_evaluation_takes_an_empty_batch(
    shape: tuple[int, ...], tracks: bool
) -> None:
    layer = BatchNorm(2, track_running_stats=tracks).eval()
    y = layer(np.zeros(shape, np.float32))
    assert y.shape == shape
    assert y.dtype == np.float32
    assert layer.backward(y).shape == shape


def test_predict_changes_no_running_statistics() -> None:
    layer = trained(BatchNorm(2))
    before = buffers(layer)
    layer.predict(np.ones((5, 2)), batch_size=2)
    assert buffers(layer) == before
    assert layer.training


@pytest.mark.parametrize("training", [True, False])
def test_backward_of_batch_norm_uses_the_mode_and_statistics_of_its_forward(training: bool) -> None:
    x = np.random.default_rng(0).standard_normal((4, 2))
    results = []
    for changed in (False, True):
        layer = trained(BatchNorm(2)).train(training)
        layer(x)
        if changed:
            layer.train(not training)
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean[...], layer.running_var[...] = 7, 8
        results.append(layer.backward(x))
    assert np.array_equal(results[0], results[1])


def test_parameters_and_buffers_of_batch_norm_have_the_documented_initial_values() -> None:
    layer = BatchNorm(2)
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert layer.weight is not None
    assert layer.bias is not None
    assert layer.weight.value.tolist() == [1, 1]
    assert layer.bias.value.tolist() == [0, 0]
    assert buffers(layer) == ([0, 0], [1, 1], 0)
    assert {name: array.dtype for name, array in layer.state_dict().items()} == {
        "weight": np.float32,
        "bias": np.float32,
        "running_mean": np.float32,
        "running_var": np.float32,
        "num_batches_tracked": np.int64,
    }


def test_running_statistics_are_saved_and_continue_after_loading(tmp_path: Path) -> None:
    def network(seed: int) -> Sequential:
        return Sequential([Dense(3, 2, rng=seed), BatchNorm(2, momentum=None)])

    batches = np.random.default_rng(0).standard_normal((3, 5, 3)).astype(np.float32)
    first = network(1)
    for batch in batches[:2]:
        first(batch)
    first.save(tmp_path / "model.npz")
    second = network(2).load(tmp_path / "model.npz")
    assert int(second.state_dict()["layers.1.num_batches_tracked"]) == 2
    assert np.array_equal(first.predict(batches[0]), second.predict(batches[0]))
    for model in (first, second):
        model(batches[2])
    for name, array in first.state_dict().items():
        assert np.array_equal(array, second.state_dict()[name])


def test_loading_a_state_writes_into_the_same_buffers() -> None:
    layer, other = BatchNorm(2), trained(BatchNorm(2))
    held = layer.state_dict()
    layer.load_state_dict(other.state_dict())
    assert buffers(layer) == buffers(other)
    trained(layer)
    # Training writes in place, too: the arrays of state_dict() stay those of the layer.
    for name, array in layer.state_dict().items():
        if "running" in name or "num" in name:
            assert array is held[name]
    assert buffers(layer)[2] == 4


def test_astype_converts_the_running_statistics_too() -> None:
    layer = trained(BatchNorm(2))
    double = layer.astype(np.float64)
    assert buffers(double) == buffers(layer)
    assert double.running_mean is not None
    assert double.running_var is not None
    assert double.num_batches_tracked is not None
    assert double.running_mean.dtype == double.running_var.dtype == np.float64
    assert double.num_batches_tracked.dtype == np.int64
    trained(double, 1)
    assert double.running_mean.dtype == np.float64
    assert buffers(layer)[2] == 2
    assert buffers(double)[2] == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((0,), r"num_features to be a whole number >= 1, got 0"),
        ((2, -1.0), r"eps to be a finite number >= 0, got -1\.0"),
        ((2, 1e-5, -0.1), r"momentum to be a finite number >= 0 and <= 1, got -0\.1"),
        ((2, 1e-5, "0.1"), r"momentum to be a finite number >= 0 and <= 1, got '0\.1'"),
        ((2, 1e-5, 1.5), r"momentum to be a finite number >= 0 and <= 1, got 1\.5"),
    ],
)
def test_batch_norm_refuses_arguments_out_of_range(arguments: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^BatchNorm expects {sentence}$"):
        BatchNorm(*arguments)


def test_batch_norm_refuses_inputs_of_another_shape_or_dtype() -> None:
    for shape in ((2,), (2, 3), (2, 3, 2)):
        with pytest.raises(
            InputError, match=r"^BatchNorm\(2\) expects x of shape \(N, 2, \.\.\.\)"
        ):
            BatchNorm(2)(np.zeros(shape))
    with pytest.raises(InputError, match="expects x of a float dtype, got int64"):
        BatchNorm(2)(np.zeros((3, 2), int))


def test_repr_of_batch_norm_is_its_constructor_call() -> None:
    assert repr(BatchNorm(3)) == "BatchNorm(3)"
    assert repr(BatchNorm(3, 1e-3, None)) == "BatchNorm(3, eps=0.001, momentum=None)"
    assert (
        repr(BatchNorm(3, momentum=0.5, affine=False, track_running_stats=False))
        == "BatchNorm(3, momentum=0.5, affine=False, track_running_stats=False)"
    )
