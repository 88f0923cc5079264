from functools import wraps
from typing import Any

import numpy as np
import pytest

from tinynet import SGD, Array, Dense, Dropout, Layer, Parameter, ReLU, Sequential
from tinynet.health.observation import forward_calls, observing, weights
from tinynet.optimizers import Optimizer

X = np.array([[1.0, -2.0]], np.float32)


class Doubling:
    """What a layer may be mixed with."""

    def forward(self, x: Array) -> Array:
        return 2 * x

    def backward(self, dy: Array) -> Array:
        return 2 * dy


class Double(Doubling, Layer):
    """A layer whose code is that of another class."""


class Shifted(Double):
    """A layer that asks its base class."""

    def forward(self, x: Array) -> Array:
        return super().forward(x) + 1


class Identity(Layer):
    """A layer whose backward is its forward."""

    def forward(self, x: Array) -> Array:
        return x.copy()

    backward = forward


class Outer(Layer):
    """A layer around another one, which it calls by a keyword."""

    def __init__(self, inner: Layer) -> None:
        self.inner = inner

    def forward(self, x: Array) -> Array:
        y: Array = self.inner(x=x)
        return y

    def backward(self, dy: Array) -> Array:
        dx: Array = self.inner.backward(dy)
        return dx


class Broken(Identity):
    """A layer that cannot go forward."""

    def forward(self, x: Array) -> Array:  # noqa: ARG002
        raise RuntimeError("on purpose")


def methods() -> dict[tuple[type, str], Any]:
    """Every method that could have been wrapped, as it stands now."""
    kinds = [Dense, ReLU, Sequential, Dropout, Doubling, Double, Shifted, Identity, Broken, Outer]
    return {(kind, name): value for kind in kinds for name, value in vars(kind).items()} | {
        (Optimizer, "step"): Optimizer.step
    }


class Log:
    """A wrapper that writes down what is called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, name: str, method: Any) -> Any:
        @wraps(method)
        def logged(who: Any, *args: Any, **kwargs: Any) -> Any:
            self.calls.append(f"{type(who).__name__}.{name}")
            return method(who, *args, **kwargs)

        return logged


class TestObserving:
    def test_every_forward_and_backward_goes_through_the_wrapper(self) -> None:
        model, log = Sequential([Dense(2, 2, rng=0), ReLU()]), Log()
        model(X)  # before a first forward the shapes go through alone
        with observing(log):
            model.backward(model(X))
            model(X)
            model.backward_parameters(X)
        forward = ["Sequential.forward", "Dense.forward", "ReLU.forward"]
        assert log.calls == [
            *forward,
            *("Sequential.backward", "ReLU.backward", "Dense.backward"),
            *forward,
            *("Sequential.backward_parameters", "ReLU.backward", "Dense.backward_parameters"),
        ]

    def test_an_inherited_method_is_wrapped_once(self) -> None:
        log = Log()
        with observing(log):
            assert Double()(X).tolist() == [[2, -4]]
        assert log.calls == ["Double.forward"]

    def test_a_method_goes_by_the_name_it_is_called_by(self) -> None:
        log = Log()
        with observing(log):
            Identity().backward(X)
        assert log.calls == ["Identity.backward"]

    def test_other_methods_are_wrapped_where_asked_for(self) -> None:
        log, layer = Log(), Dense(2, 2, rng=0)
        layer.backward(layer(X))
        optimizer = SGD(layer.parameters(), 0.1)
        with observing(log, (Optimizer, "step", log)):
            optimizer.step()
        assert log.calls == ["SGD.step"]
        assert optimizer.steps == 1

    def test_nothing_stays_wrapped(self) -> None:
        before, log = methods(), Log()
        with observing(log, (Optimizer, "step", log)):
            assert methods() != before
        assert methods() == before

    def test_nothing_stays_wrapped_after_an_error(self) -> None:
        before = methods()
        with pytest.raises(RuntimeError, match="on purpose"), observing(Log()):
            Broken()(X)
        assert methods() == before

    def test_nothing_stays_wrapped_where_a_wrapper_fails(self) -> None:
        before = methods()

        def refuses(name: str, method: Any) -> Any:
            if method is vars(Identity)["forward"]:
                raise RuntimeError(name)
            return None

        with pytest.raises(RuntimeError, match="forward"), observing(refuses):
            pass
        assert methods() == before

    def test_blocks_may_stand_in_each_other(self) -> None:
        before, outer, inner = methods(), Log(), Log()
        with observing(outer):
            with observing(inner):
                ReLU()(X)
            ReLU()(X)
        assert inner.calls == ["ReLU.forward"]
        assert outer.calls == ["ReLU.forward"] * 2
        assert methods() == before


class TestForwardCalls:
    def test_are_those_of_layers_without_layers_inside_with_path_and_repr(self) -> None:
        dense = Dense(2, 3, rng=0)
        model = Sequential([Sequential([dense, ReLU()]), Double()])
        calls = forward_calls(model, X)
        assert [call.name for call in calls] == [
            "layers.0.layers.0, Dense(2, 3)",
            "layers.0.layers.1, ReLU()",
            "layers.1, Double()",
        ]
        assert [call.layer for call in calls] == [dense, model[0][1], model[1]]  # type: ignore[index]
        assert calls[0].x is X
        assert calls[1].x is calls[0].y
        assert (calls[1].y == np.maximum(calls[1].x, 0)).all()
        assert (calls[2].y == 2 * calls[2].x).all()

    def test_of_a_layer_alone_has_its_repr(self) -> None:
        assert [call.name for call in forward_calls(ReLU(), X)] == ["ReLU()"]

    def test_a_layer_that_asks_its_base_class_is_one_call(self) -> None:
        (call,) = forward_calls(Shifted(), X)
        assert call.y.tolist() == [[3, -3]]

    def test_leave_out_what_is_called_by_keywords(self) -> None:
        assert forward_calls(Outer(ReLU()), X) == []

    def test_are_made_in_evaluation_mode_and_leave_the_mode_alone(self) -> None:
        model = Sequential([Dropout(0.5, rng=0), Dropout(0.9, rng=0).eval()])
        state = model.generators()
        assert [call.y.tolist() for call in forward_calls(model, X)] == [X.tolist()] * 2
        assert [layer.training for layer in model] == [True, False]
        assert model.generators() == state

    def test_nothing_stays_wrapped(self) -> None:
        before = methods()
        forward_calls(ReLU(), X)
        with pytest.raises(RuntimeError, match="on purpose"):
            forward_calls(Sequential([Broken()]), X)
        assert methods() == before

    def test_wraps_forward_alone(self) -> None:
        class Looking(Layer):
            def forward(self, x: Array) -> Array:
                self.backward_is_plain = vars(Identity)["backward"] is before
                return x.copy()

            def backward(self, dy: Array) -> Array:
                return dy

        before, layer = vars(Identity)["backward"], Looking()
        forward_calls(layer, X)
        assert layer.backward_is_plain


def test_weights_are_what_connects_many_with_many() -> None:
    class Many(Layer):
        def __init__(self) -> None:
            shapes = {
                "scalar": (),
                "bias": (3,),
                "row": (1, 3),
                "column": (3, 1),
                "weight": (3, 2),
                "kernel": (4, 1, 3, 3),
            }
            self.all = {name: Parameter(np.zeros(shape)) for name, shape in shapes.items()}

        def forward(self, x: Array) -> Array:
            return x

        backward = forward

    model = Many()
    assert weights(model) == [(f"all.{name}", model.all[name]) for name in ("weight", "kernel")]
