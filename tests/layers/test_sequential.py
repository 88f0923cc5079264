import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinynet import Array, Dense, Flatten, InputError, Layer, Parameter, ReLU, Rescale, Sequential
from tinynet.testing import check_layer, floats, seeds, sizes


def network(height: int, width: int, widths: list[int], nested: bool, seed: int) -> Sequential:
    """One to three dense layers, on request each with its ReLU in a chain of its own."""
    layers: list[Layer] = [Flatten(), Rescale(0.5, 0.1)]
    features = height * width
    for position, width in enumerate(widths):
        block = [Dense(features, width, rng=seed + position), ReLU()]
        layers += [Sequential(block)] if nested else block
        features = width
    return Sequential([*layers, Dense(features, 2, rng=seed)])


hidden_sizes = st.lists(sizes, max_size=2)


@pytest.mark.gradients
def test_gradients_of_networks_are_right_on_floats_and_on_bytes() -> None:
    check_layer(
        network,
        ("N", "height", "width"),
        x=lambda shape: floats(shape) | hnp.arrays(np.uint8, shape),
        widths=hidden_sizes,
        nested=st.booleans(),
        seed=seeds,
    )


@given(st.data(), sizes, sizes, sizes, sizes)
def test_a_two_layer_network_equals_its_formula(
    data: st.DataObject, n: int, d: int, h: int, c: int
) -> None:
    x = data.draw(floats((n, d), np.float64, bound=3))
    first, second = Dense(d, h, rng=0), Dense(h, c, rng=1)
    model = Sequential([first, ReLU(), second]).astype(np.float64)
    w1, w2 = first.weight.value.tolist(), second.weight.value.tolist()
    y = model(x)
    for row, outputs in zip(x.tolist(), y.tolist(), strict=True):
        hidden = [max(math.fsum(row[i] * w1[i][j] for i in range(d)), 0.0) for j in range(h)]
        for k, got in enumerate(outputs):
            expected = math.fsum(hidden[j] * w2[j][k] for j in range(h))
            assert math.isclose(got, expected, abs_tol=1e-12)


@pytest.fixture
def model() -> Sequential:
    return Sequential([Flatten(), Rescale(1 / 255), Dense(4, 3, rng=0), ReLU(), Dense(3, 2, rng=1)])


BYTES = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)


def test_backward_of_integers_returns_none_and_writes_the_parameter_gradients(
    model: Sequential,
) -> None:
    floats = BYTES.astype(np.float32)
    dy = np.ones((3, 2), np.float32)
    assert model(BYTES).tolist() == model(floats).tolist()
    assert model.backward(dy) is not None
    expected = [parameter.grad for parameter in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = None
    model(BYTES)
    assert model.backward(dy) is None
    for parameter, grad in zip(model.parameters(), expected, strict=True):
        np.testing.assert_array_equal(parameter.grad, grad, strict=True)


def test_backward_of_integers_skips_dx_of_the_first_layer_with_parameters() -> None:
    calls = []

    class CallRecorder(Layer):
        def __init__(self, inside: Layer) -> None:
            self.inside = inside

        def forward(self, x: Array) -> Any:
            return self.inside(x)

        def backward(self, dy: Array) -> Any:
            calls.append(f"backward of {self.inside}")
            return self.inside.backward(dy)

        def backward_parameters(self, dy: Array) -> None:
            calls.append(f"backward_parameters of {self.inside}")
            self.inside.backward_parameters(dy)

    layers = [Rescale(1), Dense(4, 3), ReLU(), Dense(3, 2)]
    model = Sequential([Flatten(), Sequential([CallRecorder(layer) for layer in layers])])
    model(BYTES)
    model.backward(np.ones((3, 2)))
    assert calls == [
        "backward of Dense(3, 2)",
        "backward of ReLU()",
        "backward_parameters of Dense(4, 3)",
    ]


def test_backward_of_integers_through_layers_without_parameters_returns_none() -> None:
    model = Sequential([Flatten(), Rescale(2)])
    model(BYTES)
    assert model.backward(np.ones((3, 4))) is None


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 1024])
def test_predict_equals_forward_whatever_the_batch_size(model: Sequential, batch_size: int) -> None:
    whole = model(BYTES)
    y = model.predict(BYTES, batch_size=batch_size)
    np.testing.assert_allclose(y, whole, rtol=1e-6, atol=1e-8)


def test_predict_of_no_samples_has_shape_and_dtype_of_y(model: Sequential) -> None:
    y = model.predict(BYTES[:0])
    assert y.shape == (0, 2)
    assert y.dtype == np.float32


def test_predict_runs_in_evaluation_mode_and_restores_every_mode_also_after_an_error() -> None:
    seen = []

    class Recorder(Layer):
        def forward(self, x: Array) -> Array:
            seen.append((self.training, len(x)))
            if len(seen) == 5:
                raise KeyboardInterrupt
            return x

        backward = forward

    frozen, live = Recorder(), Recorder()
    model = Sequential([frozen, live])
    frozen.eval()
    model.predict(np.zeros((2, 1)))
    # An empty batch goes through first, to check the shapes.
    assert seen == [(False, 0), (False, 0), (False, 2), (False, 2)]
    with pytest.raises(KeyboardInterrupt):
        model.predict(np.zeros((2, 1)))
    assert (model.training, frozen.training, live.training) == (True, False, True)


def test_predict_leaves_a_pending_backward(model: Sequential) -> None:
    y = model(BYTES)
    model.predict(BYTES[:1])
    model.backward(y)
    with pytest.raises(InputError, match="expects a forward before it"):
        model[4].backward(y)


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, None])
def test_predict_rejects_batch_sizes_that_are_no_positive_whole_number(
    model: Sequential, batch_size: Any
) -> None:
    with pytest.raises(InputError, match=r"^predict expects batch_size to be a whole number"):
        model.predict(BYTES, batch_size=batch_size)


def test_predict_rejects_a_sample_without_a_batch_axis(model: Sequential) -> None:
    with pytest.raises(InputError, match=r"^layer 3 of 5: Dense\(4, 3\) expects x of shape"):
        model.predict(BYTES[0])
    with pytest.raises(InputError, match=r"expects x to have samples, got shape \(\)$"):
        Sequential([ReLU()]).predict(np.array(1.0))


SUMMARY = """\
layer                      output shape  parameters
0.0  Flatten()             (64, 784)              0
0.1  Rescale(0.00392157)   (64, 784)              0
1    Dense(784, 1000)      (64, 1000)       785,000
2    ReLU()                (64, 1000)             0
3    Dense(1000, 10)       (64, 10)          10,010
total                                       795,010  (3,180,040 bytes)
"""


@pytest.mark.parametrize(
    "x", [(64, 28, 28), [64, 28, 28], np.zeros((64, 28, 28)), np.zeros((64, 28, 28), np.uint8)]
)
def test_summary_takes_an_array_or_a_shape_and_prints_layers_shapes_and_sizes(
    x: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = Sequential([Flatten(), Rescale(1 / 255)])
    model = Sequential([inner, Dense(784, 1000), ReLU(), Dense(1000, 10)])
    model.summary(x)
    assert capsys.readouterr().out == SUMMARY
    assert model.training
    with pytest.raises(InputError, match="expects a forward"):
        inner.backward(np.zeros((64, 784)))


def test_summary_widens_its_column_for_a_long_shape(capsys: pytest.CaptureFixture[str]) -> None:
    Sequential([Rescale(1)]).summary((1, 2, 3, 4, 5, 6))
    assert capsys.readouterr().out.splitlines() == [
        "layer           output shape        parameters",
        "0  Rescale(1)   (1, 2, 3, 4, 5, 6)           0",
        "total                                        0  (0 bytes)",
    ]


def test_summary_lists_the_layers_of_a_nested_chain_in_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Sequential([Flatten(), Sequential([ReLU(), Rescale(2)])]).summary((1, 3))
    paths = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert paths == ["layer", "0", "1.0", "1.1", "total"]


@pytest.mark.parametrize("x", [3, None, {64, 28}])
def test_summary_rejects_what_is_no_array_or_shape(model: Sequential, x: Any) -> None:
    with pytest.raises(InputError, match=r"^Sequential expects an array or the shape of one, got"):
        model.summary(x)


def test_summary_names_the_position_of_a_misfit_in_nested_chains() -> None:
    model = Sequential([Flatten(), Sequential([ReLU(), Dense(5, 2)])])
    with pytest.raises(InputError, match=r"^layer 2 of 2: layer 2 of 2: Dense\(5, 2\) expects"):
        model.summary((1, 4))


def test_summary_names_the_layer_that_does_not_fit(model: Sequential) -> None:
    with pytest.raises(InputError, match=r"^layer 3 of 5: Dense\(4, 3\) expects .*\(1, 9\) from"):
        model.summary((1, 3, 3))
    with pytest.raises(InputError, match=r"^Sequential expects each size of a shape to be a whole"):
        model.summary((1, -3))


def test_walk_returns_path_layer_and_output_of_every_layer() -> None:
    first, relu, last = Dense(4, 3, rng=0), ReLU(), Dense(3, 2, rng=1)
    model = Sequential([Flatten(), Sequential([first, Sequential([relu])]), last])
    x = BYTES.astype(np.float32)
    steps = model.walk(x)
    assert [path for path, _, _ in steps] == ["0", "1.0", "1.1.0", "2"]
    assert [layer for _, layer, _ in steps] == [model[0], first, relu, last]
    outputs = [x.reshape(3, 4)]
    for layer in (first, relu, last):
        outputs.append(layer(outputs[-1]))
    for (_, _, y), expected in zip(steps, outputs, strict=True):
        np.testing.assert_array_equal(y, expected, strict=True)


def test_walk_runs_in_evaluation_mode_and_restores_every_mode() -> None:
    seen = []

    class Recorder(Layer):
        def forward(self, x: Array) -> Array:
            seen.append(self.training)
            return x.copy()

        backward = forward

    frozen, live = Recorder(), Recorder()
    frozen.eval()
    Sequential([frozen, live]).walk((2, 1))
    assert seen == [False, False]
    assert (frozen.training, live.training) == (False, True)


def test_sequential_is_indexable_iterable_and_has_a_length(model: Sequential) -> None:
    assert len(model) == 5
    assert list(model) == [model[index] for index in range(5)]
    assert model[-1] is model[4]
    with pytest.raises(IndexError):
        model[5]


def test_a_slice_of_sequential_is_a_chain_of_the_same_layers(model: Sequential) -> None:
    head = model[:3]
    assert isinstance(head, Sequential)
    assert list(head) == list(model)[:3]
    assert list(model[::-1]) == list(model)[::-1]
    assert head(BYTES).tolist() == model.walk(BYTES)[2][2].tolist()
    with pytest.raises(InputError, match=r"^Sequential expects at least one layer, got an emp"):
        model[5:]


def test_the_sum_of_two_chains_is_one_chain_of_the_layers_of_both(model: Sequential) -> None:
    whole = model[:2] + model[2:]
    assert list(whole) == list(model)
    assert whole.parameters() == model.parameters()
    other: Any = [ReLU()]
    with pytest.raises(TypeError, match="unsupported operand"):
        model + other
    with pytest.raises(InputError, match=r"at layers\.0 and again at layers\.1"):
        model[:1] + model[:1]


def test_parameters_of_nested_chains_are_named_by_their_positions() -> None:
    model = Sequential([Dense(1, 1), Sequential([ReLU(), Dense(1, 1, bias=False)])])
    assert [name for name, _ in model.named_parameters()] == [
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.layers.1.weight",
    ]


def test_sequential_takes_any_iterable_of_layers() -> None:
    assert len(Sequential(ReLU() for _ in range(3))) == 3


def test_repr_of_sequential_is_its_constructor_call() -> None:
    assert repr(Sequential([Dense(2, 3), Sequential([ReLU()])])) == (
        "Sequential([Dense(2, 3), Sequential([ReLU()])])"
    )


def test_a_shape_error_names_its_position_in_nested_chains_and_the_source_of_x() -> None:
    model = Sequential([ReLU(), Sequential([Flatten(), ReLU(), Dense(5, 2)])])
    with pytest.raises(InputError) as error:
        model(np.zeros((2, 4)))
    assert str(error.value) == (
        "layer 2 of 2: layer 3 of 3: Dense(5, 2) expects x of shape (..., 5), got (2, 4) "
        "from layer 2, ReLU(); in_features=4 would fit it"
    )


def test_an_error_of_backward_names_its_position_in_the_chain() -> None:
    class BackwardFails(Layer):
        def __init__(self) -> None:
            self.gain = Parameter([1.0])

        def forward(self, x: Array) -> Array:
            return x * self.gain.value

        def backward(self, dy: Array) -> Array:
            raise InputError(f"not {dy.shape}")

    # For bytes the last step is backward_parameters of the first layer with parameters.
    for x in (BYTES, BYTES.astype(np.float32)):
        model = Sequential([Rescale(1), BackwardFails(), ReLU()])
        with pytest.raises(InputError, match=r"^layer 2 of 3: not \("):
            model.backward(model(x))


def test_a_failed_forward_leaves_no_backward_for_the_previous_batch() -> None:
    model = Sequential([ReLU(), Dense(2, 1)])
    y = model(np.ones((3, 2)))
    with pytest.raises(InputError, match="layer 2 of 2"):
        model(np.ones((3, 4)))
    with pytest.raises(InputError, match=r"^Sequential.*\.backward expects a forward before it"):
        model.backward(y)


def test_the_first_layer_of_a_chain_may_take_other_than_arrays() -> None:
    class Lengths(Layer):
        def forward(self, words: list[str]) -> Array:
            return np.array([[len(word)] for word in words], np.float32)

        def backward(self, dy: Array) -> None: ...

    model = Sequential([Lengths(), Dense(1, 1, rng=0)])
    y = model(["a", "word"])
    assert model.backward(y) is None
    assert model.parameters()[0].grad is not None


def test_a_dy_of_another_shape_is_rejected_before_any_gradient_is_written(
    model: Sequential,
) -> None:
    model(BYTES)
    with pytest.raises(InputError, match=r"backward expects dy of the shape of y, \(3, 2\)"):
        model.backward(np.ones((3, 3)))
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ([], "Sequential expects at least one layer, got an empty list"),
        (ReLU(), "Sequential expects a list of layers, got ReLU()"),
        (None, "Sequential expects a list of layers, got None"),
        ([ReLU(), abs], "Sequential expects layers, got <built-in function abs> at 1"),
        (
            [Flatten(), ReLU],
            f"Sequential expects layers, got {ReLU!r} at 1: write ReLU()",
        ),
    ],
)
def test_sequential_rejects_what_is_no_list_of_layers(layers: Any, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        Sequential(layers)
    assert str(error.value) == sentence


def test_sequential_rejects_one_object_at_two_positions_and_names_both() -> None:
    relu = ReLU()
    with pytest.raises(InputError, match=r"at layers\.0 and again at layers\.1\.layers\.1"):
        Sequential([relu, Sequential([Flatten(), relu])])
