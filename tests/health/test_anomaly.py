import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinynet import (
    SGD,
    Adam,
    AnomalyError,
    Array,
    Dense,
    Dropout,
    Layer,
    MeanSquaredError,
    Optimizer,
    Parameter,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
    detect_anomaly,
)
from tinynet.callbacks import Callback

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


class Log(Layer):
    """y = log(x + shift)."""

    def __init__(self, shift: float) -> None:
        self.shift = shift

    def forward(self, x: Array) -> Array:
        y: Array = np.log(x + np.float32(self.shift))
        self.save_for_backward(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        dy, x = self.saved_for_backward(dy)
        dx: Array = dy / (x + np.float32(self.shift))
        return dx


class Length(Layer):
    """y = |x|, with the derivative x / |x|, which is 0 / 0 at 0."""

    def forward(self, x: Array) -> Array:
        y: Array = np.abs(x)
        self.save_for_backward(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        dy, x = self.saved_for_backward(dy)
        dx: Array = dy * x / np.abs(x)
        return dx


class Gain(Layer):
    """y = gain · x, with an infinity in the gradient of the gain."""

    def __init__(self) -> None:
        self.gain = Parameter(np.ones(4))

    def forward(self, x: Array) -> Array:
        y: Array = x * self.gain.value
        self.save_for_backward(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        dy, x = self.saved_for_backward(dy)
        self.gain.grad = (dy * x).sum(axis=0)
        self.gain.grad[2] = np.inf
        dx: Array = dy * self.gain.value
        return dx


class Halved(Layer):
    """y = x / 2."""

    def forward(self, x: Array) -> Array:
        y: Array = x / 2
        self.save_for_backward(y)
        return y

    def backward(self, dy: Array) -> Array:
        (dy,) = self.saved_for_backward(dy)
        dx: Array = dy / 2
        return dx


class Between(Layer):
    """A layer that multiplies between two others, in forward and in backward."""

    def __init__(self, forward_factor: float, backward_factor: float) -> None:
        self.first, self.second = ReLU(), Halved()
        self.factors = forward_factor, backward_factor

    def forward(self, x: Array) -> Array:
        y: Array = self.second(self.first(x) * np.float32(self.factors[0]))
        return y

    def backward(self, dy: Array) -> Array:
        dx: Array = self.first.backward(self.second.backward(dy) * np.float32(self.factors[1]))
        return dx


class Tuples(Layer):
    """A layer that returns two values, takes keywords and numbers, and has no derivative."""

    def forward(self, x: Array, mask: Any = None, scale: float = 1.0) -> tuple[Array, Any]:
        return scale * x, mask

    def backward(self, dy: Array) -> None:
        del dy


class Child(Log):
    """A layer that inherits forward, and calls backward of its base class."""

    def backward(self, dy: Array) -> Array:
        return super().backward(dy)


class Broken:
    """What a layer may inherit from besides Layer."""

    def forward(self, x: Array) -> Array:
        y: Array = x / 0
        return y

    backward = forward


class Mixed(Broken, Layer):
    """A layer with the methods of another class."""


def net(*between: Layer, seed: int = 0) -> Sequential:
    inner = [Dense(4, 4, rng=seed), *between]
    return Sequential([Sequential(inner), Dense(4, 2, rng=seed + 1)])


def trainer(model: Layer, rate: float = 0.1) -> Trainer:
    return Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), rate))


def by_fit(model: Layer, rate: float = 0.1, x: Array = X, y: Array = Y) -> None:
    trainer(model, rate).fit(x, y, epochs=1, batch_size=60)


def by_hand(model: Layer, rate: float = 0.1, x: Array = X, y: Array = Y) -> None:
    loss, optimizer = SoftmaxCrossEntropy(), SGD(model.parameters(), rate)
    loss(model(x), y)
    model.backward(loss.backward())
    optimizer.step()


def caught(work: Callable[..., Any], *args: Any, **kwargs: Any) -> AnomalyError:
    """The AnomalyError of a call inside the block."""
    with pytest.raises(AnomalyError) as error, detect_anomaly():
        work(*args, **kwargs)
    found = error.value
    assert str(found).startswith(
        f"{found.layer}, {found.phase}, step {found.step}: {found.array} has the first NaN or "
        f"infinity at index {found.index}, "
    )
    return found


def location(error: AnomalyError) -> tuple[str, str, int, str, tuple[int, ...]]:
    return error.layer, error.phase, error.step, error.array, error.index


@pytest.mark.parametrize("train", [by_fit, by_hand])
class TestTraining:
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_nan_in_the_data_is_found(self, train: Callable[..., None], bad: float) -> None:
        model, x = net(ReLU()), X.copy()
        x[17, 2] = bad
        error = caught(train, model, x=x)
        assert location(error) == (repr(model), "input", 1, "x", (17, 2))
        assert str(error).endswith("where the data comes in")

    def test_nan_in_the_forward_of_a_nested_layer_is_found(
        self, train: Callable[..., None]
    ) -> None:
        model = net(ReLU(), Sequential([Dense(4, 4, rng=3), Log(-1e3)]))
        error = caught(train, model)
        layer = "layers.0.layers.2.layers.1, Log(-1000)"
        assert location(error) == (layer, "forward", 1, "y", (0, 0))
        assert "while x is finite, at most " in str(error)

    def test_the_first_index_of_a_nan_is_reported(self, train: Callable[..., None]) -> None:
        model = net(Log(1e3))
        model.layers[0][0].bias.value[...] = 0, 0, -1e3, 0  # type: ignore[index]
        model.layers[0][0].weight.value[:, 2] = 0  # type: ignore[index]
        error = caught(train, model)
        assert location(error) == ("layers.0.layers.1, Log(1000)", "forward", 1, "y", (0, 2))
        assert str(error).endswith("while x is finite, at most 1e+03")

    @pytest.mark.parametrize("bad", [np.nan, -np.inf])
    def test_nan_in_a_weight_is_found(self, train: Callable[..., None], bad: float) -> None:
        model = net(ReLU())
        model.parameters()[3].value[1] = bad
        error = caught(train, model)
        assert location(error) == ("layers.1, Dense(4, 2)", "forward", 1, "y", (0, 1))
        assert str(error).endswith("and so has its bias at index (1,)")

    def test_nan_in_backward_is_found(self, train: Callable[..., None]) -> None:
        model = net(ReLU(), Length())
        error = caught(train, model)
        assert location(error)[:4] == ("layers.0.layers.2, Length()", "backward", 1, "dx")
        before = Sequential(model.layers[0].layers[:2])  # type: ignore[attr-defined]
        assert error.index == tuple(np.argwhere(before(X) == 0)[0])
        assert "while dy is finite, at most " in str(error)

    def test_infinity_in_the_gradient_of_a_parameter_is_found(
        self, train: Callable[..., None]
    ) -> None:
        error = caught(train, net(Gain()))
        layer = "layers.0.layers.1, Gain(gain=(4,))"
        assert location(error) == (layer, "backward", 1, "grad of gain", (2,))

    def test_infinity_in_the_step_of_an_optimizer_is_found(
        self, train: Callable[..., None]
    ) -> None:
        model = net(ReLU())
        for parameter in model.parameters():
            parameter.value *= 1e6
        error = caught(train, model, rate=1e36)
        assert error.layer.startswith("SGD(4 parameters, ")
        assert location(error)[1:4] == ("step", 1, "value of layers.0.layers.0.weight")
        assert len(error.index) == 2
        assert "after a step with learning rate 1e+36 and gradient " in str(error)

    def test_nan_in_arithmetic_between_layers_is_found(self, train: Callable[..., None]) -> None:
        model = net(Between(np.inf, 1))
        error = caught(train, model)
        layer = "layers.0.layers.1, Between(first=ReLU(), second=Halved())"
        assert location(error)[:4] == (layer, "forward", 1, "x for Halved()")
        assert "while x is finite, at most " in str(error)
        error = caught(train, net(Between(1, np.nan)))
        assert location(error)[:4] == (layer, "backward", 1, "dy for ReLU()")
        assert "while dy is finite" in str(error)


class TestOtherCalls:
    def test_infinity_in_the_loss_is_found(self) -> None:
        loss = MeanSquaredError()
        with np.errstate(all="ignore"):
            assert loss(np.array([1e200]), np.zeros(1)) == math.inf
        error = caught(loss, np.array([1e200]), np.zeros(1))
        assert location(error) == ("MeanSquaredError()", "forward", 1, "y", ())
        assert str(error).endswith(
            "while x is finite, at most 1e+200 and targets is finite, at most 0"
        )

    def test_nan_in_the_targets_is_found(self) -> None:
        error = caught(MeanSquaredError(), np.zeros(3), np.array([0, np.nan, np.nan]))
        assert location(error) == ("MeanSquaredError()", "input", 1, "targets", (1,))

    def test_infinity_in_a_keyword_argument_is_found(self) -> None:
        error = caught(Tuples(), X, mask=np.array([np.inf]))
        assert location(error) == ("Tuples()", "input", 1, "mask", (0,))
        assert location(caught(Tuples(), X, scale=math.nan))[3:] == ("scale", ())
        assert location(caught(Tuples(), X, scale=np.float32("inf")))[3:] == ("scale", ())

    def test_nan_in_the_given_gradient_is_found(self) -> None:
        model = net(ReLU())
        dy = np.zeros((60, 2), np.float32)
        model(X)
        dy[3, 1] = np.nan
        assert location(caught(lambda: model.backward(dy))) == (
            repr(model),
            "input",
            1,
            "dy",
            (3, 1),
        )

    def test_nan_in_the_backward_of_a_loss_is_found(self) -> None:
        class OddError(MeanSquaredError):  # type: ignore[misc]
            def backward(self) -> Array:  # type: ignore[misc]
                return super().backward() * np.nan

        loss = OddError()
        loss(np.ones(2), np.ones(2))
        error = caught(lambda: loss.backward())
        assert location(error) == ("OddError()", "backward", 1, "dx", (0,))
        assert str(error).endswith("while forward was finite")

    def test_nan_in_a_gradient_before_the_step_is_found(self) -> None:
        parameter = Parameter([1.0, 2.0])
        parameter.grad = np.array([0.0, np.nan])
        error = caught(lambda: SGD([("w", parameter)], 0.1).step())
        assert location(error)[1:] == ("step", 1, "grad of w", (1,))
        assert str(error).endswith("before the step")
        assert parameter.value.tolist() == [1, 2]

    def test_infinity_in_a_parameter_without_axes_is_found(self) -> None:
        parameter = Parameter(1.0)
        parameter.grad = np.array(2.0, np.float32)
        error = caught(lambda: SGD([parameter], 1e39).step())
        assert location(error)[1:] == ("step", 1, "value of 0", ())
        assert str(error).endswith("after a step with learning rate 1e+39 and gradient 2")

    def test_infinity_in_backward_parameters_is_found(self) -> None:
        model = Dense(4, 2, rng=0)
        model(X)
        error = caught(lambda: model.backward_parameters(np.full((60, 2), 3e38, np.float32)))
        assert location(error) == ("Dense(4, 2)", "backward", 1, "grad of weight", error.index)

    def test_nan_in_inherited_methods_is_found(self) -> None:
        error = caught(by_hand, net(Child(-1e3)))
        assert location(error)[:3] == ("layers.0.layers.1, Child(-1000)", "forward", 1)
        model = net(Child(1e3))
        model(X)
        with np.errstate(all="ignore"):
            model.layers[0][1].shift = math.nan  # type: ignore[index]
        error = caught(lambda: model.backward(np.ones((60, 2), np.float32)))
        assert location(error)[:3] == ("layers.0.layers.1, Child(nan)", "backward", 1)

    def test_nan_in_methods_of_a_base_class_that_is_no_layer_is_found(self) -> None:
        error = caught(Mixed(), X)
        assert location(error) == ("Mixed()", "forward", 1, "y", (0, 0))

    def test_a_method_of_two_names_is_reported_by_the_called_one(self) -> None:
        class Odd(Layer):
            def forward(self, x: Array) -> Array:
                y: Array = x / 0
                return y

            backward = forward

        error = caught(lambda: Odd().backward(np.ones(1)))
        assert location(error) == ("Odd()", "backward", 1, "dx", (0,))

    def test_the_cause_leaves_out_arguments_that_are_empty_or_not_numbers(self) -> None:
        class Constant(Tuples):
            def forward(self, x: Array) -> Array:  # type: ignore[override]
                y: Array = np.full(2, np.nan) + x.sum()
                return y

        error = caught(Constant(), np.zeros((0, 2)))
        assert str(error).endswith("while forward was finite")
        error = caught(Constant(), np.zeros((1, 2), bool))
        assert str(error).endswith("while forward was finite")
        error = caught(Constant(), np.full((1, 2), 3, np.uint8))
        assert str(error).endswith("while x is finite, at most 3")


class TestStep:
    @pytest.mark.parametrize("steps", [0, 1, 7])
    def test_steps_are_counted_over_the_run_of_a_trainer(self, steps: int) -> None:
        class Poison(Callback):
            def on_step_end(self, trainer: Trainer) -> None:
                if trainer.step == steps:
                    trainer.model.parameters()[0].value[0, 0] = np.nan

        run = trainer(net(ReLU()))
        if not steps:
            run.model.parameters()[0].value[0, 0] = np.nan
        error = caught(lambda: run.fit(X, Y, epochs=3, batch_size=20, callbacks=[Poison()]))
        assert location(error)[1:3] == ("forward", steps + 1)

    def test_steps_continue_in_a_resumed_run(self) -> None:
        run = trainer(net(ReLU()))
        run.fit(X, Y, epochs=2, batch_size=20)
        resumed = trainer(net(ReLU()))
        resumed.load_state_dict(run.state_dict())
        resumed.model.parameters()[0].value[0, 0] = np.nan
        error = caught(lambda: resumed.fit(X, Y, epochs=3, batch_size=20))
        assert location(error)[1:3] == ("forward", 7)

    def test_steps_are_those_of_the_optimizer_in_a_handwritten_loop(self) -> None:
        model = net(ReLU())
        loss, optimizer = SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1)
        optimizer.steps = 40

        def loop() -> None:
            for step in range(3):
                if step == 2:
                    model.parameters()[0].value[0, 0] = np.nan
                loss(model(X), Y)
                model.backward(loss.backward())
                optimizer.step()

        assert caught(loop).step == 43
        parameter = Parameter([1.0])
        parameter.grad = np.array([np.nan])
        optimizer = SGD([parameter], 0.1)
        optimizer.steps = 40
        assert caught(lambda: optimizer.step()).step == 41


class TestHealthyRuns:
    def run(self, optimizer: Callable[..., Optimizer] = Adam) -> tuple[Any, ...]:
        model = Sequential([Dense(4, 8, rng=0), ReLU(), Dropout(0.3, rng=1), Dense(8, 2, rng=2)])
        run = Trainer(model, SoftmaxCrossEntropy(), optimizer(model.parameters()))
        run.fit(X, Y, epochs=3, batch_size=7, validation=(X, Y), micro_batch_size=3)
        return run.state_dict(), run.predict(X), run.evaluate(X, Y)

    def test_a_healthy_run_has_the_same_bits_inside_and_outside(self) -> None:
        outside = self.run()
        with detect_anomaly():
            inside = self.run()
        np.testing.assert_equal(inside, outside)

    def test_other_values_than_floats_raise_no_error(self) -> None:
        with detect_anomaly():
            y, mask = Tuples()(X, mask=(np.ones(2), "text"))
            assert Tuples()(X.astype(np.uint8), mask=np.array([None]))[1].tolist() == [None]
            assert Tuples()(X, mask=np.array([1j * np.inf]))
        assert y is not X
        assert mask[1] == "text"

    def test_numpy_warnings_are_silent_inside_the_block(self) -> None:
        with detect_anomaly():
            assert (np.zeros(1) / np.zeros(1)).shape == (1,)
        with pytest.raises(RuntimeWarning):
            np.zeros(1) / np.zeros(1)


class TestAfterTheBlock:
    def methods(self) -> list[Any]:
        kinds = [Dense, ReLU, Sequential, Log, Child, Between, SoftmaxCrossEntropy]
        members = [value for kind in kinds for value in vars(kind).values()]
        return [*members, Optimizer.step, Trainer.fit]

    def test_methods_are_restored_after_the_block(self) -> None:
        before = self.methods()
        with detect_anomaly():
            inside = self.methods()
            with detect_anomaly():
                by_hand(net(ReLU()))
            assert self.methods() == inside
        assert inside != before
        assert self.methods() == before

    def test_methods_are_restored_after_an_error(self) -> None:
        before = self.methods()
        caught(by_fit, net(Log(-1e3)))
        with pytest.raises(ValueError, match="layer 1 of 2"), detect_anomaly():
            by_hand(net(ReLU()), x=X[:, :3])
        assert self.methods() == before
        with np.errstate(all="ignore"):
            assert np.isnan(net(Log(-1e3))(X)).all()

    def test_detection_continues_after_an_error_in_a_layer(self) -> None:
        model = net(ReLU())
        with detect_anomaly():
            with pytest.raises(ValueError, match="layer 1 of 2: layer 1 of 2"):
                model(X[:, :3])
            assert location(caught(model, X * np.nan))[:2] == (repr(model), "input")

    def test_nested_blocks_report_the_same_error(self) -> None:
        with detect_anomaly():
            error = caught(by_hand, net(Log(-1e3)))
        assert error.layer == "layers.0.layers.1, Log(-1000)"


class Split(Layer):
    """y = (x, log x), whose backward takes a tuple."""

    def forward(self, x: Array) -> tuple[Array, Array]:
        self.save_for_backward(0.0, x)
        return x.copy(), np.log(x)

    def backward(self, dy: tuple[Array, Array]) -> Array:
        _, x = self.saved_for_backward(0.0)
        dx: Array = dy[0] + dy[1] / x
        return dx


class TestTuples:
    def test_arrays_of_a_tuple_are_looked_at_one_by_one(self) -> None:
        x = np.array([[1.0, 2.0], [3.0, -1.0]])
        with pytest.raises(AnomalyError) as caught, detect_anomaly():
            Split()(x)
        assert str(caught.value) == (
            "Split(), forward, step 1: y[1] has the first NaN or infinity at index (1, 1), while x "
            "is finite, at most 3"
        )

    def test_the_gradients_of_a_tuple_have_names(self) -> None:
        split, x = Split(), np.ones((2, 2))
        dy = x, np.array([[1.0, np.nan], [1.0, 1.0]])
        split(x)
        match = r"input.*dy\[1\] has the first NaN or infinity at index \(0, 1\)"
        with pytest.raises(AnomalyError, match=match), detect_anomaly():
            split.backward(dy)
