"""The layer under test: a float64 copy, run and watched for what a layer must not do."""

from __future__ import annotations  # naming np.random.Generator would import numpy.random

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinynet.layer import Layer
from tinynet.parameter import Array, Parameter


class GradientCheckError(AssertionError):
    """A layer's backward does not fit its forward, or one of them cannot be trusted.

    For a wrong entry, `parameter` (or "x"), `index`, `analytic` and `numeric` say which and how.
    """

    def __init__(
        self,
        message: str,
        *,
        layer: str,
        parameter: str | None = None,
        index: tuple[int, ...] | None = None,
        analytic: float | None = None,
        numeric: float | None = None,
    ) -> None:
        super().__init__(f"{layer}: {message}")
        self.layer = layer
        self.parameter = parameter
        self.index = index
        self.analytic = analytic
        self.numeric = numeric


class Subject:
    """A float64 copy of the layer, watched while it runs."""

    def __init__(self, layer: Layer) -> None:
        self.name = repr(layer)
        self.layer = layer.astype(np.float64)
        self.before = ""  # of the batch before, for an error that it may explain

    def tensors(self, inputs: tuple[Array, ...]) -> dict[str, Array]:
        """What has a gradient: x, where it is of floats, and the parameters."""
        x = {"x": inputs[0]} if inputs[0].dtype.kind == "f" else {}
        return x | {path: parameter.value for path, parameter in self._parameters()}

    def _parameters(self) -> list[tuple[str, Parameter]]:
        """The named parameters; one that is named like what else is watched is told apart."""
        return [
            (f"self.{path}" if path in ("x", "targets", "dy") else path, parameter)
            for path, parameter in self.layer.named_parameters()
        ]

    def forward(self, inputs: tuple[Array, ...]) -> Array:
        """A copy of y, as an array also where it is the float of a loss."""
        try:
            y = np.array(self.layer(*inputs))
        except Exception as error:
            raise self.error(
                f"forward raised {error!r} for x of shape {inputs[0].shape}, "
                "having accepted another batch"
            ) from error
        if y.dtype != np.float64 and inputs[0].dtype == np.float64:
            raise self.error(f"forward gave {y.dtype} for an x of float64, expected float64")
        return y.astype(np.float64, copy=False)

    def differentiate(
        self, inputs: tuple[Array, ...], rng: np.random.Generator
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Returns y, a random dy and, by name, the gradients that backward gives."""
        # Whatever lies in the gradients from before, backward is to replace it.
        earlier = {path: rng.standard_normal(p.value.shape) for path, p in self._parameters()}
        for path, parameter in self._parameters():
            parameter.grad = earlier[path].copy()
        before = self._snapshot(inputs)
        y = self.forward(inputs)
        again = self.forward(inputs)
        self._demand_unchanged("forward", before, self._snapshot(inputs))
        if not np.isfinite(y).all():
            raise self.error(f"forward gave {y[~np.isfinite(y)][0]}, which has no derivative")
        if not np.array_equal(y, again):
            raise self.error("forward gave two different results for the same x")
        # Of both signs and all different: a sum over outputs must not look like its mean or like 0.
        dy = rng.choice([-1.0, 1.0], y.shape) * rng.uniform(0.5, 1.5, y.shape)
        is_loss = len(inputs) > 1
        if is_loss:
            dy = np.ones(())
        before["dy"] = dy.copy()
        try:
            dx = self.layer.backward() if is_loss else self.layer.backward(dy)
        except Exception as error:
            raise self.error(
                f"backward raised {error!r} for x of shape {inputs[0].shape}{self.before}"
            ) from error
        self.before = f", after one of shape {inputs[0].shape}"
        self._demand_unchanged("backward", before, self._snapshot(inputs) | {"dy": dy})
        found = {"x": dx}
        for path, parameter in self._parameters():
            grad = parameter.grad
            untouched = grad is None or np.array_equal(grad, earlier[path])
            found[path] = None if untouched else grad
        gradients = {}
        for name, tensor in self.tensors(inputs).items():
            if found[name] is None:
                raise self.error(f"backward gave no gradient of {name}", parameter=name)
            gradients[name] = np.array(found[name], np.float64)
            if gradients[name].shape != tensor.shape:
                raise self.error(
                    f"gradient of {name}: backward gave the shape {gradients[name].shape}, "
                    f"forward uses {tensor.shape}",
                    parameter=name,
                )
        return y, dy, gradients

    def _snapshot(self, inputs: tuple[Array, ...]) -> dict[str, Array]:
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
                    f"{step} changed {name} in place at index {index}, "
                    f"from {was[index]} to {is_now[index]}",
                    parameter=name,
                    index=index,
                )

    def error(self, message: str, **where: Any) -> GradientCheckError:
        """The verdict against this layer, to be raised."""
        return GradientCheckError(message, layer=self.name, **where)


def other_batches(inputs: tuple[Array, ...]) -> Iterator[tuple[Array, ...]]:
    """Other batches: one sample more, and the reverse order, or for one sample less of it."""
    x, targets = inputs[0], inputs[1:]
    if x.ndim > 1:
        yield tuple(np.concatenate([a, a[:1]]) if a.ndim else a.copy() for a in inputs)
    if len(x) == 1 and x.dtype.kind == "f":
        yield (0.9 * x, *(array.copy() for array in targets))
    else:
        yield tuple(a[::-1].copy() if a.ndim else a.copy() for a in inputs)
