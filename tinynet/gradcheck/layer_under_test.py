"""The layer under test: a float64 copy, run and watched for what a layer must not do."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

import random
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from tinynet.errors import GradientCheckError
from tinynet.gradcheck.numeric import elsewhere
from tinynet.gradcheck.report import Verdict
from tinynet.layer import Layer
from tinynet.parameter import Array, Parameter

Inputs = tuple[Array, ...]  # x and, for a loss, its targets


class Run(NamedTuple):
    """One forward and one backward: what came out, the very arrays, and copies of them."""

    y: Array
    dy: Array
    gradients: dict[str, Array]
    returned: dict[str, Array]

    def overwritten(self) -> str | None:
        """The name of a returned array that is not what it was."""
        copies = {"y": self.y} | {f"the gradient of {n}": g for n, g in self.gradients.items()}
        for name, array in self.returned.items():
            if not np.array_equal(array, copies[name], equal_nan=array.dtype.kind == "f"):
                return name
        return None


class Subject:
    """A float64 copy of the layer, watched while it runs."""

    def __init__(self, layer: Layer) -> None:
        self.name = repr(layer)
        self.layer = layer.astype(np.float64)
        self.before = ""  # of the batch before, for an error that it may explain
        self._state: State | None = None
        self._generators: tuple[Any, ...] = ()

    def tensors(self, inputs: Inputs) -> dict[str, Array]:
        """What has a gradient: x, where it is of floats, and the parameters."""
        x = {"x": inputs[0]} if inputs[0].dtype.kind == "f" else {}
        values = {path: parameter.value for path, parameter in self.parameters()}
        return x | {path: value for path, value in values.items() if value.size}

    def parameters(self) -> list[tuple[str, Parameter]]:
        """The named parameters; one that is named like what else is watched is told apart."""
        return [
            (f"self.{path}" if path in ("x", "targets", "dy") else path, parameter)
            for path, parameter in self.layer.named_parameters()
        ]

    def stir(self, inputs: Inputs, rng: np.random.Generator) -> None:
        """Moves all parameters by up to 1 %, as a step of training does; none stays 0.

        Unless forward is not finite then: what is 0 has to stay so in that case.
        """
        before = [parameter.value for _, parameter in self.parameters()]
        moved = [elsewhere(value, rng) if value.size else value for value in before]
        for (_, parameter), value in zip(self.parameters(), moved, strict=True):
            parameter.value = value
        if not self.takes(inputs):
            for (_, parameter), value in zip(self.parameters(), before, strict=True):
                parameter.value = np.asarray(value * rng.uniform(0.99, 1.01, value.shape))

    def takes(self, inputs: Inputs) -> bool:
        """Whether a copy of the layer, as it is now, gives finite numbers for this batch."""
        try:
            y = deepcopy(self.layer)(*(array.copy() for array in inputs))
        except Exception:  # whatever it is that somebody's layer raises
            return False
        return bool(np.isfinite(y).all())

    def hold(self, inputs: Inputs) -> None:
        """Takes the state as it is now for the one that every forward starts from."""
        self._state = State(self.layer, inputs, self._generators)

    def forward(self, inputs: Inputs) -> Array:
        """Y from the state that is held, as an array also where it is the float of a loss."""
        if self._state is not None:
            self._state.restore()
        try:
            y = np.asarray(self.layer(*inputs))
        except Exception as error:
            raise self.error(
                Verdict.FORWARD_RAISES,
                f"forward raised {error!r} for x of shape {inputs[0].shape}{self.before}",
            ) from error
        if y.dtype != np.float64 and inputs[0].dtype == np.float64:
            raise self.error(
                Verdict.DTYPE, f"forward gave {y.dtype} for an x of float64, expected float64"
            )
        return y.astype(np.float64, copy=False)

    def differentiate(
        self,
        inputs: Inputs,
        rng: np.random.Generator,
        dy: Array | None = None,
    ) -> Run:
        """One forward and backward for a dy, drawn by default; every rule for them is watched."""
        # Whatever lies in the gradients from before, backward is to replace it.
        earlier = {path: rng.standard_normal(p.value.shape) for path, p in self.parameters()}
        for path, parameter in self.parameters():
            parameter.grad = earlier[path].copy()
        given = self._snapshot(inputs)
        y, result = self._forward_twice(inputs, given)
        if dy is None:
            # Of both signs, all different: a sum over outputs must not look like its mean or 0.
            dy = rng.choice([-1.0, 1.0], y.shape) * rng.uniform(0.5, 1.5, y.shape)
        is_loss = len(inputs) > 1
        if is_loss:
            dy = np.ones(())
        handed = dy.copy()
        try:
            dx = self.layer.backward() if is_loss else self.layer.backward(handed)
        except Exception as error:
            wants_dy = is_loss and isinstance(error, TypeError)
            hint = ": backward of a loss takes no dy" if wants_dy else self.before
            raise self.error(
                Verdict.BACKWARD_RAISES,
                f"backward raised {error!r} for x of shape {inputs[0].shape}{hint}",
            ) from error
        self.before = f", after one of shape {inputs[0].shape}"
        self._check_unchanged("backward", given, self._snapshot(inputs))
        self._check_unchanged("backward", {"dy": dy}, {"dy": handed})
        returned = {"y": result}
        gradients = {}
        found: dict[str, Any] = {"x": dx}
        for path, parameter in self.parameters():
            # What is added to a gradient for a dy of 0 leaves it as it was, too.
            grad = parameter.grad
            untouched = grad is None or (dy.any() and np.array_equal(grad, earlier[path]))
            found[path] = None if untouched else grad
        for name, array in self._gradients(inputs, found).items():
            gradients[name] = np.array(array, np.float64)
            returned[f"the gradient of {name}"] = array
        return Run(y, dy, gradients, returned)

    def _forward_twice(self, inputs: Inputs, given: dict[str, Array]) -> tuple[Array, Array]:
        """A copy of y, and y itself, of two forwards that start from the same state."""
        position = GlobalGenerators.position()
        if self._state is None:
            self.hold(inputs)
        y = self.forward(inputs).copy()
        if not self._generators and position != GlobalGenerators.position():
            # From here on they start each forward where they stand now, as the layer's own do.
            self._generators = GlobalGenerators.both()
            self.hold(inputs)
            y = self.forward(inputs).copy()
        result = self.forward(inputs)
        self._check_unchanged("forward", given, self._snapshot(inputs))
        if not np.isfinite(y).all():
            raise self.error(
                Verdict.NOT_FINITE, f"forward gave {y[~np.isfinite(y)][0]}, which has no derivative"
            )
        if not np.array_equal(y, result):
            raise self.error(
                Verdict.NOT_REPEATABLE,
                "forward gave two different results for the same x and the same state",
            )
        return y, result

    def _gradients(self, inputs: Inputs, found: dict[str, Any]) -> dict[str, Array]:
        """What backward gave by name, all there and of the right form."""
        arrays = {}
        for name, tensor in self.tensors(inputs).items():
            if found[name] is None:
                raise self.error(
                    Verdict.NO_GRADIENT, f"backward gave no gradient of {name}", parameter=name
                )
            try:
                array = arrays[name] = np.asarray(found[name])
            except ValueError as error:
                raise self.error(
                    Verdict.SHAPE,
                    f"gradient of {name}: backward gave a {type(found[name]).__name__} that is no "
                    f"array, forward uses the shape {tensor.shape}",
                    parameter=name,
                ) from error
            if array.shape != tensor.shape:
                raise self.error(
                    Verdict.SHAPE,
                    f"gradient of {name}: backward gave the shape {array.shape}, "
                    f"forward uses {tensor.shape}",
                    parameter=name,
                )
            if array.dtype != np.float64:
                raise self.error(
                    Verdict.DTYPE,
                    f"gradient of {name}: backward gave {array.dtype}, expected float64 as of "
                    f"{name} itself",
                    parameter=name,
                )
            if not np.isfinite(array).all():
                index = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
                raise self.error(
                    Verdict.NOT_FINITE,
                    f"gradient of {name} at index {index}: backward gave {array[index]}, "
                    "where forward is finite",
                    parameter=name,
                    index=index,
                    analytic=float(array[index]),
                )
        return arrays

    def _snapshot(self, inputs: Inputs) -> dict[str, Array]:
        arrays = self.tensors(inputs) | dict(zip(("x", "targets"), inputs, strict=False))
        return {name: array.copy() for name, array in arrays.items()}

    def _check_unchanged(
        self, step: str, before: dict[str, Array], after: dict[str, Array]
    ) -> None:
        for name, was in before.items():
            is_now = after[name]
            if not np.array_equal(was, is_now, equal_nan=was.dtype.kind == "f"):
                index = tuple(map(int, np.argwhere(was != is_now)[0]))
                raise self.error(
                    Verdict.CHANGED_IN_PLACE,
                    f"{step} changed {name} in place at index {index}, "
                    f"from {was[index]:.10g} to {is_now[index]:.10g}",
                    parameter=name,
                    index=index,
                )

    def error(self, verdict: Verdict, message: str, **where: Any) -> GradientCheckError:
        """The verdict against this layer, to be raised."""
        return GradientCheckError(message, verdict=verdict, layer=self.name, **where)


Restore = Callable[[], None]


class State:
    """All that a layer and those inside it keep, parameters apart, as it is now."""

    def __init__(
        self, layer: Layer, inputs: tuple[Array, ...], generators: Iterable[Any] = ()
    ) -> None:
        self._restores: list[Restore] = []
        self._bits: list[Any] = []
        self._seen: set[int] = set()
        self._given = [*inputs, *(parameter.value for parameter in layer.parameters())]
        self._keep_all((layer, *generators, *module_generators(layer)))

    def restore(self) -> None:
        """Puts everything back."""
        for restore in self._restores:
            restore()

    def positions(self) -> list[str]:
        """Where the layer's generators stand now: it changes whenever one is drawn from."""
        return [str(bits.state) for bits in self._bits]

    def _keep(self, value: Any) -> None:
        if id(value) in self._seen or isinstance(value, Parameter):
            return
        self._seen.add(id(value))
        if isinstance(value, np.ndarray):
            # What is only another view of x or of a parameter moves with that.
            if value.flags.writeable and not any(np.shares_memory(value, a) for a in self._given):
                self._restores.append(_array_restore(value, value.copy()))
        elif isinstance(value, np.random.Generator):
            self._bits.append(value.bit_generator)
            self._restores.append(_generator_restore(value.bit_generator))
        elif isinstance(value, np.random.RandomState):
            kept = value.get_state()
            self._restores.append(lambda: value.set_state(kept))
        elif isinstance(value, random.Random):
            drawn = value.getstate()
            self._restores.append(lambda: value.setstate(drawn))
        elif isinstance(value, list):
            self._restores.append(_list_restore(value, list(value)))
            self._keep_all(value)
        elif isinstance(value, dict):
            self._restores.append(_dict_restore(value, dict(value)))
            self._keep_all(value.values())
        elif isinstance(value, tuple):
            self._keep_all(value)
        elif isinstance(value, MethodType):
            self._keep(value.__self__)
        elif not isinstance(value, _UNCHANGING):
            if hasattr(value, "__dict__"):
                attributes = vars(value)
                self._restores.append(_dict_restore(attributes, dict(attributes)))
                # A batch that was remembered is forgotten with the next forward anyway.
                self._keep_all(v for name, v in attributes.items() if name != "_saved")
            names = [n for cls in type(value).__mro__ for n in getattr(cls, "__slots__", ())]
            self._keep_all(getattr(value, name, None) for name in names)

    def _keep_all(self, values: Iterable[Any]) -> None:
        for value in values:
            self._keep(value)


# What has no state of its own, as far as a layer goes.
_UNCHANGING = (FunctionType, BuiltinFunctionType, ModuleType, type, type(None), int, float, str)


def module_generators(layer: Layer) -> list[Any]:
    """The generators that the methods of the layers reach by a global name."""
    found = []
    for _, node in layer.named_layers():
        for method in vars(type(node)).values():
            if isinstance(method, FunctionType):
                reached = map(method.__globals__.get, method.__code__.co_names)
                found += [value for value in reached if isinstance(value, np.random.Generator)]
    return found


class GlobalGenerators:
    """The generators behind `random.random()` and `np.random.rand()`, which a layer may draw from.

    To put them back costs more than a small forward: that is done for a layer that uses them.
    """

    @staticmethod
    def both() -> tuple[random.Random, np.random.RandomState]:
        """Python's and NumPy's: the objects whose methods these functions are."""
        return random.random.__self__, np.random.rand.__self__  # type: ignore[attr-defined]

    @classmethod
    def position(cls) -> Hashable:
        """What changes whenever somebody draws from one of them."""
        pythons, numpys = cls.both()
        _, keys, *rest = numpys.get_state()
        return pythons.getstate(), np.asarray(keys).tobytes(), *rest

    @classmethod
    @contextmanager
    def kept(cls, layer: Layer) -> Iterator[None]:
        """Behind the block they stand where they stood before it, as do the layer's globals."""
        pythons, numpys = cls.both()
        before = pythons.getstate(), numpys.get_state()
        restores = [_generator_restore(own.bit_generator) for own in module_generators(layer)]
        try:
            yield
        finally:
            pythons.setstate(before[0])
            numpys.set_state(before[1])
            for restore in restores:
                restore()


def _array_restore(array: Array, kept: Array) -> Restore:
    def restore() -> None:
        array[...] = kept

    return restore


def _list_restore(items: list[Any], kept: list[Any]) -> Restore:
    def restore() -> None:
        items[:] = kept

    return restore


def _dict_restore(items: dict[str, Any], kept: dict[str, Any]) -> Restore:
    def restore() -> None:
        items.clear()
        items.update(kept)

    return restore


def _generator_restore(bits: np.random.BitGenerator) -> Restore:
    kept = deepcopy(bits.state)

    def restore() -> None:
        bits.state = kept

    return restore
