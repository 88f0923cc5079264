from collections.abc import Callable
from copy import deepcopy
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from tinynet import (
    Array,
    Dense,
    Flatten,
    Heads,
    InputError,
    Layer,
    MeanSquaredError,
    MultiTaskLoss,
    Parallel,
    Parameter,
    ReLU,
    Rescale,
    Sequential,
    SoftmaxCrossEntropy,
)
from tinynet.plots import (
    activation_histograms,
    first_layer_weights,
    gradient_histograms,
    model_diagram,
)

Legible = Callable[[Figure], None]
NAN, INF = float("nan"), float("inf")


def network() -> Sequential:
    return Sequential([Flatten(), Sequential([Dense(12, 5, rng=0), ReLU()])])


X = np.random.default_rng(0).integers(0, 9, (20, 3, 4)).astype(np.float32)
LABELS = np.arange(20) % 5


def histogram(axes: Axes) -> tuple[Array, Array]:
    """Counts and edges, as drawn."""
    (steps,) = (patch for patch in axes.patches if isinstance(patch, StepPatch))
    counts, edges, baseline = steps.get_data()
    assert baseline == 0.5  # so that a bar of one can be seen
    return counts, edges


class Noise(Layer):
    """Adds noise, also in evaluation mode, and counts its calls."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.calls = 0
        self.modes: list[bool] = []

    def forward(self, x: Array) -> Array:
        self.calls += 1
        self.modes.append(self.training)
        y: Array = x + self.rng.standard_normal(x.shape).astype(x.dtype)
        self.save_for_backward(y)
        return y

    def backward(self, dy: Array) -> Array:
        (dy,) = self.saved_for_backward(dy)
        return dy.copy()


class TestFirstLayerWeights:
    def test_first_layer_weights_has_an_image_per_unit(self, legible: Legible) -> None:
        model = network()
        figure = first_layer_weights(model, (3, 4))
        axes, bar = figure.axes
        (image,) = axes.images
        grid: Array = np.ma.asarray(image.get_array()).filled(np.nan)
        weights = model.parameters()[0].value  # (12, 5)
        # Three rows and two columns, with a line of empty pixels between them.
        assert grid.shape == (3 * 4 - 1, 2 * 5 - 1)
        for unit in range(5):
            top, left = unit // 2 * 4, unit % 2 * 5
            shown = grid[top : top + 3, left : left + 4]
            assert (shown == weights[:, unit].reshape(3, 4)).all()
        assert np.isnan(grid).sum() == grid.size - weights.size
        assert axes.get_title() == "layers.1.layers.0.weight: all 5 units"
        assert bar.get_ylabel() == "weight"
        # The colours are symmetric about 0.
        limit = abs(weights).max()
        assert image.get_clim() == (-limit, limit)
        assert image.get_cmap().name == "PuOr"
        legible(figure)

    def test_first_layer_weights_with_count_shows_the_first_units(self) -> None:
        model = network()
        axes = first_layer_weights(model, (4, 3), count=2).axes[0]
        (image,) = axes.images
        assert axes.get_title() == "layers.1.layers.0.weight: 2 of 5 units"
        shown: Array = np.ma.asarray(image.get_array()).compressed()
        weights = model.parameters()[0].value[:, :2]
        assert sorted(shown) == sorted(weights.ravel())
        assert image.get_clim()[1] == abs(weights).max()

    def test_first_layer_weights_skips_vectors_before_the_first_matrix(self) -> None:
        class Gain(Layer):
            def __init__(self) -> None:
                self.gain = Parameter(np.ones(4))

            def forward(self, x: Array) -> None: ...

            def backward(self, dy: Array) -> None: ...

        figure = first_layer_weights(Sequential([Gain(), Dense(4, 1, rng=0)]), (2, 2))
        assert figure.axes[0].get_title() == "layers.1.weight: all 1 units"

    def test_first_layer_weights_of_zeros_are_white(self) -> None:
        model = Sequential([Dense(4, 2, rng=0)])
        model.parameters()[0].value[...] = 0
        figure = first_layer_weights(model, (2, 2))
        assert figure.axes[0].images[0].get_clim() == (-1, 1)

    @pytest.mark.parametrize(
        ("model", "shape", "sentence"),
        [
            (Sequential([Dense(4, 2)]), 4, "a shape (H, W), got 4"),
            (Sequential([Dense(4, 2)]), (1, 2, 2), "a shape (H, W), got (1, 2, 2)"),
            (
                Sequential([Dense(4, 2)]),
                (2, 0),
                "each size of the shape to be a whole number >= 1, got 0",
            ),
            (
                Sequential([Dense(4, 2)]),
                (2, 3),
                "layers.0.weight of shape (6, units), so that each unit is an image (2, 3), "
                "got (4, 2)",
            ),
            (
                Sequential([ReLU()]),
                (2, 3),
                "a parameter of two axes, got none in Sequential([ReLU()])",
            ),
        ],
    )
    def test_first_layer_weights_refuses_a_model_or_shape_that_does_not_fit(
        self, model: Layer, shape: Any, sentence: str
    ) -> None:
        with pytest.raises(InputError) as error:
            first_layer_weights(model, shape)
        assert str(error.value) == f"first_layer_weights expects {sentence}"
        assert not plt.get_fignums()

    def test_first_layer_weights_refuses_three_axes_and_weights_that_are_not_finite(self) -> None:
        model = Dense(4, 2)
        with pytest.raises(InputError, match=r"expects count to be a whole number >= 1, got 0$"):
            first_layer_weights(model, (2, 2), count=0)
        model.weight.value[0, 0] = NAN
        with pytest.raises(InputError, match=r"finite weights, got weight with some that are not$"):
            first_layer_weights(model, (2, 2))
        model.weight = Parameter(np.zeros((4, 2, 2)))
        with pytest.raises(InputError, match=r"weight of shape \(4, units\).*, got \(4, 2, 2\)$"):
            first_layer_weights(model, (2, 2))


class TestActivationHistograms:
    def test_activation_histograms_has_a_panel_per_layer_with_counts_of_its_outputs(
        self, legible: Legible
    ) -> None:
        model = network()
        figure = activation_histograms(model, X)
        y = X
        flat = [model[0], *model[1].layers]  # type: ignore[attr-defined]
        paths = ["0", "1.0", "1.1"]
        for axes, path, layer in zip(figure.axes, paths, flat, strict=True):
            y = layer(y)
            counts, edges = histogram(axes)
            expected, _ = np.histogram(y.astype(np.float64), edges)
            assert counts.tolist() == expected.tolist()
            assert counts.sum() == y.size
            assert (edges[0], edges[-1]) == (y.min(), y.max())
            assert axes.get_yscale() == "log"
            share = (y == 0).mean()
            assert axes.get_title() == f"{path}  {layer!r}\n{share:.1%} zeros"
        assert 0 < (y == 0).mean() < 1
        suptitle = figure.get_suptitle()
        assert suptitle == "Outputs of each layer, 20 samples"
        legible(figure)

    def test_activation_histograms_does_not_change_the_model_or_its_generators(self) -> None:
        noise = Noise()
        model = Sequential([network(), noise])
        twin = deepcopy(noise)
        model.train()
        y = model(X)
        before = noise.calls
        activation_histograms(model, X)
        assert noise.calls == before
        assert model.training
        twin(y)
        assert noise.rng.random() == twin.rng.random()
        model.backward(y)  # the saved values of the forward are still there

    def test_activation_histograms_uses_evaluation_mode(self) -> None:
        class Switch(Layer):
            def forward(self, x: Array) -> Array:
                return x + 5 * self.training

            backward = forward

        (axes,) = activation_histograms(Sequential([Switch()]), np.array([[1.0, 2.0]])).axes
        assert histogram(axes)[1][[0, -1]].tolist() == [1, 2]

    @pytest.mark.parametrize("value", [0.0, -3.0, 1e30])
    def test_histogram_of_equal_values_is_one_bar(self, value: float, legible: Legible) -> None:
        x = np.full((1, 4), value)
        x[0, 3] *= 1 + 1e-15  # or nearly equal ones
        figure = activation_histograms(Sequential([Rescale(1)]), x)
        (axes,) = figure.axes
        counts, edges = histogram(axes)
        assert counts.sum() == counts.max() == 4
        margin = max(0.5, abs(value) / 1000)
        assert edges[[0, -1]].tolist() == pytest.approx([value - margin, value + margin])
        assert figure.get_suptitle() == "Outputs of each layer, 1 sample"
        if value == 1e30:  # the longest tick labels
            legible(figure)

    def test_histogram_leaves_out_and_counts_values_that_are_not_finite(self) -> None:
        x = np.array([[0.0, 1.0, NAN, INF, -INF]])
        (axes,) = activation_histograms(Sequential([Rescale(1)]), x).axes
        assert axes.get_title() == "0  Rescale(1)\n20.0% zeros, 3 not finite"
        assert histogram(axes)[0].sum() == 2
        not_finite = np.array([[NAN, NAN]])
        (axes,) = activation_histograms(Sequential([Rescale(1)]), not_finite).axes
        assert histogram(axes)[0].sum() == 0

    def test_histogram_axis_begins_below_a_bar_of_height_one(self) -> None:
        (axes,) = activation_histograms(Sequential([Rescale(1)]), np.array([[1.0, 2.0]])).axes
        assert axes.get_ylim()[0] == 0.5
        x = np.concatenate([np.zeros(1000), [1.0]])[None]
        (axes,) = activation_histograms(Sequential([Rescale(1)]), x).axes
        assert axes.get_ylim() == (0.5, 2000)

    def test_activation_histograms_cuts_long_names(self) -> None:
        class Long(Layer):
            def forward(self, x: Array) -> Array:
                return x.copy()

            backward = forward

            def __repr__(self) -> str:
                return "L" * 90

        (axes,) = activation_histograms(Sequential([Long()]), X).axes
        name = axes.get_title().splitlines()[0]
        assert name == "0  " + "L" * 34 + "..."

    def test_activation_histograms_of_ten_layers_has_four_columns(self) -> None:
        figure = activation_histograms(Sequential([Rescale(1) for _ in range(10)]), X)
        spec = figure.axes[0].get_subplotspec()
        assert spec is not None
        assert spec.get_gridspec().get_geometry() == (3, 4)

    @pytest.mark.parametrize(
        ("model", "x", "sentence"),
        [
            (ReLU(), X, "activation_histograms expects a Sequential, got ReLU()"),
            (
                network(),
                X[:0],
                "activation_histograms expects x to be an array of one sample or more, "
                "got one of shape (0, 3, 4)",
            ),
            (
                network(),
                np.array(1.0),
                "activation_histograms expects x to be an array of one sample or more, "
                "got one of shape ()",
            ),
            (
                network(),
                [1.0],
                "activation_histograms expects x to be an array of one sample or more, got list",
            ),
            (
                network(),
                X[:, :2],
                "layer 2 of 2: layer 1 of 2: Dense(12, 5) expects x of shape (..., 12), "
                "got (20, 8) from layer 1, Flatten(); in_features=8 would fit it",
            ),
        ],
    )
    def test_activation_histograms_refuses_a_model_or_x_that_does_not_fit(
        self, model: Any, x: Any, sentence: str
    ) -> None:
        with pytest.raises(InputError) as error:
            activation_histograms(model, x)
        assert str(error.value) == sentence
        assert not plt.get_fignums()


class TestGradientHistograms:
    def test_gradient_histograms_has_a_panel_per_parameter_with_counts_of_log10_sizes(
        self, legible: Legible
    ) -> None:
        model, loss = network(), SoftmaxCrossEntropy()
        figure = gradient_histograms(model, loss, X, LABELS)
        assert all(parameter.grad is None for parameter in model.parameters())
        loss(model(X), LABELS)
        model.backward(loss.backward())
        assert len(figure.axes) == 2
        every = []
        for axes, (name, parameter) in zip(figure.axes, model.named_parameters(), strict=True):
            assert parameter.grad is not None
            gradient = parameter.grad.astype(np.float64).ravel()
            logs = np.log10(abs(gradient[gradient != 0]))
            every.extend(logs)
            counts, edges = histogram(axes)
            assert counts.tolist() == np.histogram(logs, edges)[0].tolist()
            assert counts.sum() == np.count_nonzero(gradient)
            rms = np.sqrt((gradient**2).mean())
            zeros = (gradient == 0).mean()
            assert axes.get_title() == f"{name}\nrms {rms:.2g}, {zeros:.1%} zeros"
        # All panels have the same axis.
        for axes in figure.axes:
            assert histogram(axes)[1][[0, -1]].tolist() == [min(every), max(every)]
        legible(figure)
        labels = {text.get_text() for axes in figure.axes for text in axes.get_xticklabels()}
        assert "$10^{-2}$" in labels

    def test_gradient_histograms_does_not_change_model_loss_or_generators(self) -> None:
        noise = Noise()
        model, loss = Sequential([network(), noise]), SoftmaxCrossEntropy()
        model.parameters()[0].grad = mark = np.ones((12, 5), np.float32)
        loss(model(X), LABELS)
        twin = deepcopy(noise)
        before = noise.calls
        gradient_histograms(model, loss, X, LABELS)
        assert model.parameters()[0].grad is mark
        assert (mark == 1).all()
        assert noise.calls == before
        assert noise.rng.random() == twin.rng.random()
        model.backward(loss.backward())  # the saved values of both are still there

    @pytest.mark.parametrize("training", [True, False])
    def test_gradient_histograms_uses_the_mode_of_the_model(self, training: bool) -> None:
        class Switch(Layer):
            def __init__(self) -> None:
                self.gain = Parameter([1.0])

            def forward(self, x: Array) -> Array:
                self.save_for_backward(x)
                return x.copy()

            def backward(self, dy: Array) -> Array:
                self.gain.grad = np.full(1, 100.0 if self.training else 1.0, np.float32)
                return dy.copy()

        model = Switch().train() if training else Switch().eval()
        figure = gradient_histograms(model, SoftmaxCrossEntropy(), np.eye(2), np.array([0, 1]))
        assert f"rms {'1e+02' if training else '1'}," in figure.axes[0].get_title()

    @pytest.mark.parametrize(
        ("gradient", "title", "drawn"),
        [
            ([0.0, 0.0, 0.0, 0.0], "rms 0, 100.0% zeros", 0),
            ([0.0, 3.0, 4.0, 0.0], "rms 2.5, 50.0% zeros", 2),
            ([0.0, -3.0, -4.0, 0.0], "rms 2.5, 50.0% zeros", 2),
            ([NAN, 1.0, 1.0, 1.0], "rms nan, 0.0% zeros, 1 not finite", 3),
            ([0.0, 1.0, 1.0, INF], "rms inf, 25.0% zeros, 1 not finite", 2),
            ([1e200, 0.0, 0.0, 0.0], "rms 5e+199, 75.0% zeros", 1),
        ],
    )
    def test_gradient_title_has_rms_zeros_and_entries_that_are_not_finite(
        self, gradient: list[float], title: str, drawn: int, legible: Legible
    ) -> None:
        class Odd(Layer):
            def __init__(self) -> None:
                self.odd = Parameter(np.ones(4), np.float64)

            def forward(self, x: Array) -> Array:
                return x.copy()

            def backward(self, dy: Array) -> Array:
                self.odd.grad = np.array(gradient)
                return dy.copy()

        figure = gradient_histograms(Odd(), SoftmaxCrossEntropy(), np.eye(2), np.array([0, 1]))
        (axes,) = figure.axes
        assert axes.get_title() == f"odd\n{title}"
        assert histogram(axes)[0].sum() == drawn
        if drawn == 3:  # the longest title
            legible(figure)

    def test_gradient_histograms_refuses_a_gradient_that_backward_does_not_write(self) -> None:
        class NoGradient(Layer):
            def __init__(self) -> None:
                self.gain = Parameter([1.0])
                self.gain.grad = np.ones(1, np.float32)  # of an earlier batch

            def forward(self, x: Array) -> Array:
                return x.copy()

            backward = forward

        with pytest.raises(InputError, match=r"backward to write every gradient, got none of gain"):
            gradient_histograms(NoGradient(), SoftmaxCrossEntropy(), np.eye(2), np.array([0, 1]))
        assert not plt.get_fignums()

    @pytest.mark.parametrize(
        ("model", "x", "targets", "sentence"),
        [
            (
                Sequential([ReLU()]),
                X,
                LABELS,
                "gradient_histograms expects a model with parameters, got Sequential([ReLU()])",
            ),
            (
                network(),
                X[:0],
                LABELS,
                "gradient_histograms expects x to be an array of one sample or more, "
                "got one of shape (0, 3, 4)",
            ),
            (
                network(),
                X,
                LABELS + 1,
                "SoftmaxCrossEntropy() expects labels from 0 to 4, got 5 at index 4; classes count "
                "from 0: subtract 1 from the labels",
            ),
        ],
    )
    def test_gradient_histograms_refuses_a_model_x_or_targets_that_do_not_fit(
        self, model: Layer, x: Array, targets: Array, sentence: str
    ) -> None:
        with pytest.raises(InputError) as error:
            gradient_histograms(model, SoftmaxCrossEntropy(), x, targets)
        assert str(error.value) == sentence
        assert not plt.get_fignums()


def test_histograms_and_a_diagram_of_a_network_with_two_inputs_and_two_heads() -> None:
    x = np.ones((4, 3), np.float32), np.ones((4, 2), np.float32)
    parts = Parallel([Dense(3, 2, rng=0), Dense(2, 2, rng=1)])
    model = Sequential([parts, Heads([Dense(4, 3, rng=2), Dense(4, 1, rng=3)])])
    activations = activation_histograms(model, x)
    assert activations.get_suptitle() == "Outputs of each layer, 4 samples"
    assert len(activations.axes) == 2
    loss = MultiTaskLoss([SoftmaxCrossEntropy(), MeanSquaredError()])
    targets = np.array([0, 1, 2, 0]), np.zeros(4)
    titles = [a.get_title() for a in gradient_histograms(model, loss, x, targets).axes]
    assert titles[-1].startswith("layers.1.branches.1.bias")
    diagram = model_diagram(model, ((4, 3), (4, 2)))
    texts = [text.get_text() for text in diagram.axes[0].texts]
    assert "(4, 3), (4, 2)" in texts  # x
    assert "(4, 3), (4, 1)" in texts  # y
    with pytest.raises(InputError, match=r"expects x\[1\] to be an array of one sample or more"):
        activation_histograms(model, (x[0], x[1][:0]))
