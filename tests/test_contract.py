"""Every layer of the package keeps the rules that tinynet/layer.py states."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest
from contract_cases import CASES, Case, Packed

from tinynet import Array, InputError, Layer
from tinynet.gradcheck.inputs import memory_layouts
from tinynet.saving.state import generator_states, load_generators

each_layer = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
# Where an array is converted, `astype(copy=False)` returns the array itself for one dtype only: a
# layer may share memory with float32 and not with float64, or the other way round.
DTYPES = (np.float32, np.float64)


def shipped(base: type[Layer] = Layer) -> Iterator[type[Layer]]:
    for layer in base.__subclasses__():
        # Layers in gradcheck wrap those of the user; abstract and private classes are base classes.
        ships = layer.__module__.startswith("tinynet.") and "gradcheck" not in layer.__module__
        base_class = inspect.isabstract(layer) or layer.__name__.startswith("_")
        if ships and not base_class and "<locals>" not in layer.__qualname__:
            yield layer
        yield from shipped(layer)


def test_every_layer_of_the_package_is_among_the_contract_cases() -> None:
    covered = {type(layer) for case in CASES.values() for _, layer in case.make().named_layers()}
    assert set(shipped()) == covered - {Packed}


def test_repr_of_every_layer_begins_with_its_class() -> None:
    for layer in (case.make() for case in CASES.values()):
        assert repr(layer).startswith(f"{type(layer).__name__}(")


class Run(NamedTuple):
    """One forward and backward."""

    y: Any
    dy: tuple[Array, ...]  # empty for a loss
    dx: Any  # None where x is of integers
    grads: list[Array]

    @property
    def arrays(self) -> list[Any]:
        """Everything that the layer returned."""
        return [array for array in (self.y, self.dx, *self.grads) if array is not None]


def draw(case: Case, dtype: Any, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    if case.ids:
        return rng.integers(case.ids, size=case.shape)
    return rng.standard_normal(case.shape).astype(dtype)


def gradients(layer: Layer) -> list[Array]:
    found = [parameter.grad for parameter in layer.parameters()]
    assert all(grad is not None for grad in found)
    return [grad for grad in found if grad is not None]


def gradient_of_y(case: Case, y: Any, seed: int = 0) -> tuple[Array, ...]:
    if case.targets:
        return ()
    return (np.cos(np.arange(y.size, dtype=y.dtype) + seed).reshape(y.shape),)


def run(layer: Layer, case: Case, x: Array, seed: int = 0) -> Run:
    with restored_generators(layer):
        y = layer(x, *case.targets)
        dy = gradient_of_y(case, y, seed)
        return Run(y, dy, layer.backward(*dy), gradients(layer))


@contextmanager
def restored_generators(layer: Layer) -> Iterator[None]:
    """Two forwards are only the same if both draw the same random numbers."""
    before = generator_states(layer.generators())
    yield
    load_generators(layer.generators(), before)


def same(a: Any, b: Any) -> bool:
    return np.array_equal(a, b)


@each_layer
def test_layer_writes_to_no_array_that_it_is_given(case: Case) -> None:
    for dtype in DTYPES:
        layer = case.make()
        x, *targets = given = [draw(case, dtype), *(target.copy() for target in case.targets)]
        given += [parameter.value for parameter in layer.parameters()]
        before = [array.copy() for array in given]
        dy = gradient_of_y(case, layer(x, *targets))
        expected_dy = [array.copy() for array in dy]
        layer.backward(*dy)
        assert all(map(same, [*given, *dy], [*before, *expected_dy])), dtype
        # What is read-only is accepted as well.
        for array in (x, *targets, *dy):
            array.setflags(write=False)
        layer(x, *targets)
        layer.backward(*dy)


@each_layer
def test_arrays_that_a_layer_returns_belong_to_the_caller(case: Case) -> None:
    for dtype in DTYPES:
        x = draw(case, dtype)
        expected = run(case.make(), case, x.copy())
        layer = case.make()
        parameters = [parameter.value for parameter in layer.parameters()]
        with restored_generators(layer):
            y = layer(x, *case.targets)
            assert not any(np.shares_memory(y, given) for given in (x, *parameters)), dtype
            # The caller overwrites each array as soon as the rules allow it.
            if isinstance(y, np.ndarray):
                y[...] = np.nan
            dy = tuple(array.copy() for array in expected.dy)
            dx = layer.backward(*dy)
        returned = [array for array in (dx, *gradients(layer)) if array is not None]
        for array in returned:
            assert not any(np.shares_memory(array, given) for given in (x, *dy, *parameters)), dtype
        for array in dy:
            array[...] = np.nan
        assert same(dx, expected.dx), dtype
        assert all(map(same, gradients(layer), expected.grads)), dtype
        for array in returned:
            array[...] = np.nan
        again = run(layer, case, x)
        assert same(again.y, expected.y), dtype
        assert same(again.dx, expected.dx), dtype
        assert all(map(same, again.grads, expected.grads)), dtype
        # The layer does not overwrite them in its next pass.
        kept = [np.copy(array) for array in again.arrays]
        run(layer, case, draw(case, dtype, seed=1), seed=1)
        assert all(map(same, again.arrays, kept)), dtype


@each_layer
def test_layer_allows_one_backward_for_each_forward(case: Case) -> None:
    layer = case.make()
    dy = () if case.targets else (np.ones(case.shape, np.float32),)
    with pytest.raises(InputError, match=r"\.backward expects a forward before it, got none"):
        layer.backward(*dy)
    result = run(layer, case, draw(case, np.float32))
    with pytest.raises(InputError, match=r"\.backward expects a forward before it, got none"):
        layer.backward(*result.dy)


@each_layer
def test_layer_writes_gradients_and_does_not_add_to_them(case: Case) -> None:
    layer, x = case.make(), draw(case, np.float32)
    expected = run(layer, case, x)
    for parameter in layer.parameters():
        parameter.grad = np.full_like(parameter.value, np.nan)
    assert all(map(same, run(layer, case, x).grads, expected.grads))
    if not case.targets:  # a loss has no parameters
        for parameter in layer.parameters():
            parameter.grad = None
        layer(x)
        layer.backward_parameters(*expected.dy)
        assert all(map(same, gradients(layer), expected.grads)), "backward_parameters"


@each_layer
def test_layer_keeps_the_dtypes_of_its_input_and_parameters(case: Case) -> None:
    for dtype in DTYPES:
        x = draw(case, dtype)
        for layer in (case.make(), case.make().astype(np.float64)):
            result = run(layer, case, x)
            for parameter, grad in zip(layer.parameters(), result.grads, strict=True):
                assert grad.shape == parameter.value.shape
                assert grad.dtype == parameter.value.dtype
            if case.ids:
                assert result.y.dtype == layer.dtype
                assert result.dx is None
                continue
            assert result.dx.dtype == dtype
            assert result.dx.shape == case.shape
            if not case.targets:
                sizes = [np.dtype(dtype).itemsize, *[layer.dtype.itemsize] * case.narrows]
                assert result.y.dtype == f"f{min(sizes)}"


@each_layer
def test_float32_results_of_a_layer_are_close_to_those_in_float64(case: Case) -> None:
    x = draw(case, np.float32)
    single = run(case.make(), case, x)
    double = run(case.make().astype(np.float64), case, x if case.ids else x.astype(np.float64))
    for got, expected in zip(single.arrays, double.arrays, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


@each_layer
def test_layer_computes_the_same_for_any_memory_layout(case: Case) -> None:
    x = draw(case, np.float32)
    expected = run(case.make(), case, x)
    tolerance = float(10 * np.finfo(np.float32).eps)
    for name, laid_out in memory_layouts(x).items():
        result = run(case.make(), case, laid_out)
        for got, array in zip(result.arrays, expected.arrays, strict=True):
            # An entry is a sum whose terms are as large as the largest entry.
            largest = tolerance * float(np.abs(array).max())
            np.testing.assert_allclose(got, array, tolerance, largest, err_msg=name)


@each_layer
def test_layer_treats_each_sample_by_itself_unless_it_mixes_samples(case: Case) -> None:
    layer, x = case.make(), draw(case, np.float32)
    if case.mixes_samples:  # a batch of one gives another result, and may be refused
        assert not np.allclose(layer(x[:-1]), case.make()(x)[:-1], 1e-5, 1e-6)
        return
    one = Case(case.make, (1, *case.shape[1:]), tuple(target[:1] for target in case.targets))
    result = run(layer, one, x[:1])
    assert case.ids or result.dx.shape == one.shape
    if not case.targets:
        np.testing.assert_allclose(result.y, case.make()(x)[:1], 1e-5, 1e-6)


@each_layer
def test_layer_refuses_lists_complex_numbers_and_none(case: Case) -> None:
    layer, x = case.make(), draw(case, np.float32)
    for wrong in (x.tolist(), x.astype(complex), None):
        with pytest.raises(InputError, match="expects"):
            layer(wrong, *case.targets)
