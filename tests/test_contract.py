"""Every layer that ships, through every rule that tinynet/layer.py states."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import contract
import numpy as np
import pytest
from contract.case import Case

from tinynet import Array, InputError, Layer
from tinynet.gradcheck.rules import layouts
from tinynet.saving.state import generator_states, load_generators

# One file a family, as under tinynet/layers.
FAMILIES = [module.name for module in pkgutil.iter_modules(contract.__path__)]
CASES: dict[str, Case] = {}
for family in FAMILIES:
    CASES |= getattr(importlib.import_module(f"contract.{family}"), "CASES", {})

every_layer = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def shipped(base: type[Layer] = Layer) -> Iterator[type[Layer]]:
    for layer in base.__subclasses__():
        # What stands beside the layers, in gradcheck, wraps what others wrote.
        ships = layer.__module__.startswith("tinynet.") and "gradcheck" not in layer.__module__
        # What some layers share is no layer yet.
        if ships and not (inspect.isabstract(layer) or layer.__name__.startswith("_")):
            yield layer
        yield from shipped(layer)


def test_no_layer_is_missing_here() -> None:
    covered = {type(layer) for case in CASES.values() for _, layer in case.make().named_layers()}
    assert {layer for layer in shipped() if "<locals>" not in layer.__qualname__} == covered


class Run(NamedTuple):
    """One forward and backward."""

    y: Any
    dy: tuple[Array, ...]  # empty for a loss
    dx: Any  # None where x is of integers
    grads: list[Array]

    @property
    def arrays(self) -> list[Any]:
        """All that came back."""
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


def run(layer: Layer, case: Case, x: Array) -> Run:
    with streams_put_back(layer):
        y = layer(x, *case.targets)
        dy = () if case.targets else (np.cos(np.arange(y.size, dtype=y.dtype)).reshape(y.shape),)
        return Run(y, dy, layer.backward(*dy), gradients(layer))


@contextmanager
def streams_put_back(layer: Layer) -> Iterator[None]:
    """Two forwards are only the same where both draw the same random numbers."""
    before = generator_states(layer.generators())
    yield
    load_generators(layer.generators(), before)


def same(a: Any, b: Any) -> bool:
    return np.array_equal(a, b)


@every_layer
@both_dtypes
class TestOwnership:
    def test_writes_to_no_array_that_it_was_given(self, case: Case, dtype: Any) -> None:
        layer = case.make()
        given = [draw(case, dtype), *case.targets, *(p.value for p in layer.parameters())]
        before = [array.copy() for array in given]
        y = layer(*given[: 1 + len(case.targets)])
        dy = () if case.targets else (np.ones_like(y),)
        layer.backward(*dy)
        assert all(map(same, given, before))
        assert all((array == 1).all() for array in dy)

    def test_takes_read_only_arrays(self, case: Case, dtype: Any) -> None:
        layer, x = case.make(), draw(case, dtype)
        for array in (x, *case.targets):
            array.setflags(write=False)
        y = layer(x, *case.targets)
        dy = () if case.targets else (np.ones_like(y),)
        for array in dy:
            array.setflags(write=False)
        layer.backward(*dy)

    def test_returns_share_no_memory_with_what_came_in(self, case: Case, dtype: Any) -> None:
        layer, x = case.make(), draw(case, dtype)
        result = run(layer, case, x)
        for returned in result.arrays:
            for given in (x, *result.dy, *(p.value for p in layer.parameters())):
                assert not np.shares_memory(returned, given)

    def test_what_it_returned_is_the_callers_to_overwrite(self, case: Case, dtype: Any) -> None:
        x = draw(case, dtype)
        expected = run(case.make(), case, x.copy())
        layer = case.make()
        with streams_put_back(layer):
            y = layer(x, *case.targets)
            if isinstance(y, np.ndarray):
                y[...] = np.nan
            dy = tuple(array.copy() for array in expected.dy)
            dx = layer.backward(*dy)
        for array in dy:
            array[...] = np.nan
        assert same(dx, expected.dx)
        assert all(map(same, gradients(layer), expected.grads))
        if dx is not None:
            dx[...] = np.nan
        for grad in gradients(layer):
            grad[...] = np.nan
        again = run(layer, case, x)
        assert same(again.y, expected.y)
        assert same(again.dx, expected.dx)
        assert all(map(same, again.grads, expected.grads))

    def test_never_overwrites_what_it_returned(self, case: Case, dtype: Any) -> None:
        layer = case.make()
        first = run(layer, case, draw(case, dtype))
        kept = [np.copy(array) for array in first.arrays]
        run(layer, case, draw(case, dtype, seed=1))
        assert all(map(same, first.arrays, kept))

    def test_allows_one_backward_for_one_forward(self, case: Case, dtype: Any) -> None:
        layer = case.make()
        with pytest.raises(InputError, match=r"\.backward expects a forward before it, got none"):
            layer.backward(*() if case.targets else (np.ones(case.shape, dtype),))
        result = run(layer, case, draw(case, dtype))
        with pytest.raises(InputError, match=r"\.backward expects a forward before it, got none"):
            layer.backward(*result.dy)


@every_layer
@both_dtypes
class TestGradients:
    def test_are_written_and_not_added_to(self, case: Case, dtype: Any) -> None:
        layer, x = case.make(), draw(case, dtype)
        first = run(layer, case, x)
        for parameter in layer.parameters():
            parameter.grad = np.full_like(parameter.value, np.nan)
        assert all(map(same, run(layer, case, x).grads, first.grads))

    def test_have_the_shape_and_dtype_of_their_parameter(self, case: Case, dtype: Any) -> None:
        for layer in (case.make(), case.make().astype(np.float64)):
            for parameter, grad in zip(
                layer.parameters(), run(layer, case, draw(case, dtype)).grads, strict=True
            ):
                assert grad.shape == parameter.value.shape
                assert grad.dtype == parameter.value.dtype

    def test_are_the_same_without_dx(self, case: Case, dtype: Any) -> None:
        if case.targets:  # a loss has no parameters
            return
        layer, x = case.make(), draw(case, dtype)
        expected = run(layer, case, x)
        layer(x)
        layer.backward_parameters(*expected.dy)
        assert all(map(same, gradients(layer), expected.grads))


@every_layer
@both_dtypes
class TestData:
    def test_keeps_the_float_dtype_of_its_input(self, case: Case, dtype: Any) -> None:
        for layer in (case.make(), case.make().astype(np.float64)):
            result = run(layer, case, draw(case, dtype))
            if case.ids:
                assert result.y.dtype == layer.dtype
                assert result.dx is None
                continue
            assert result.dx.dtype == dtype
            assert result.dx.shape == case.shape
            if not case.targets:
                assert result.y.dtype == dtype

    def test_gives_the_same_for_any_memory_layout(self, case: Case, dtype: Any) -> None:
        x = draw(case, dtype)
        expected = run(case.make(), case, x)
        tolerance = 10 * np.finfo(dtype).eps
        for name, laid_out in layouts(x).items():
            result = run(case.make(), case, laid_out)
            for got, wanted in zip(result.arrays, expected.arrays, strict=True):
                np.testing.assert_allclose(got, wanted, tolerance, tolerance, err_msg=name)

    def test_float32_is_close_to_float64(self, case: Case, dtype: Any) -> None:
        x = draw(case, np.float32)
        single = run(case.make(), case, x)
        wide = x if case.ids else x.astype(np.float64)
        double = run(case.make().astype(np.float64), case, wide)
        for got, wanted in zip(single.arrays, double.arrays, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)
        assert dtype in (np.float32, np.float64)

    def test_takes_one_sample(self, case: Case, dtype: Any) -> None:
        layer, x = case.make(), draw(case, dtype)
        if case.mixes_samples:  # one alone is another thing then, and may be refused
            assert not np.allclose(layer(x[:-1]), case.make()(x)[:-1], 1e-5, 1e-6)
            return
        one = Case(case.make, (1, *case.shape[1:]), tuple(t[:1] for t in case.targets))
        result = run(layer, one, x[:1])
        assert case.ids or result.dx.shape == one.shape
        if not case.targets:
            whole = case.make()(x)
            np.testing.assert_allclose(result.y, whole[:1], 1e-5, 1e-6)

    def test_refuses_what_is_no_array_of_floats(self, case: Case, dtype: Any) -> None:
        layer = case.make()
        for wrong in (draw(case, dtype).tolist(), draw(case, dtype).astype(complex), None):
            with pytest.raises(InputError, match="expects"):
                layer(wrong, *case.targets)


@every_layer
def test_repr_names_the_layer(case: Case) -> None:
    layer = case.make()
    assert repr(layer).startswith(f"{type(layer).__name__}(")
