"""The layer under test: a float64 copy, run and watched for what a layer must not do."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np

from tinynet.gradcheck.numeric import elsewhere
from tinynet.gradcheck.state import GlobalGenerators, State
from tinynet.gradcheck.verdict import GradientCheckError, Verdict
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
        self._demand_unchanged("backward", given, self._snapshot(inputs))
        self._demand_unchanged("backward", {"dy": dy}, {"dy": handed})
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
        self._demand_unchanged("forward", given, self._snapshot(inputs))
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

    def _demand_unchanged(
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
