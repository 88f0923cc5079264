"""The weights of a first layer as images, and histograms of activations and gradients."""

import copy
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from tinynet.errors import InputError
from tinynet.functional import root_mean_square
from tinynet.layer import Layer
from tinynet.layers.sequential import Sequential
from tinynet.parameter import Array
from tinynet.plots.style import BLUE, new_figure, panels
from tinynet.samples import Samples, arrays_of, check_samples, named_arrays
from tinynet.validation import whole_number

BINS = 51  # odd: if all values are equal, one bar is centred on them


def first_layer_weights(model: Layer, shape: tuple[int, int], *, count: int = 64) -> Figure:
    """The weights of each unit of the first layer as an image of the input, which `shape` is of.

    Takes the first parameter of two axes or more, which must be (in, out) with in = H W, where
    shape is (H, W). All units share one colour scale, and white is 0.

    Raises:
        InputError: there is no such parameter, it does not fit `shape`, or it is not finite.

    >>> from tinynet import Dense
    >>> figure = first_layer_weights(Sequential([Dense(6, 4, rng=0)]), (2, 3))
    >>> figure.axes[0].get_title()
    'layers.0.weight: all 4 units'
    """
    who = "first_layer_weights"
    if not isinstance(shape, Sequence) or len(shape) != 2:
        raise InputError(f"{who} expects a shape (H, W), got {shape!r}")
    h, w = (whole_number(who, "each size of the shape", size) for size in shape)
    count = whole_number(who, "count", count)
    found = ((name, p.value) for name, p in model.named_parameters() if p.value.ndim >= 2)
    name, weights = next(found, (None, np.zeros(())))
    if name is None:
        raise InputError(f"{who} expects a parameter of two axes, got none in {model!r}")
    if weights.ndim != 2 or len(weights) != h * w:
        raise InputError(
            f"{who} expects {name} of shape ({h * w}, units), so that each unit is an image "
            f"({h}, {w}), got {weights.shape}"
        )
    if not np.isfinite(weights).all():
        raise InputError(f"{who} expects finite weights, got {name} with some that are not")
    units = weights.shape[1]
    shown = weights.T[:count].reshape(-1, h, w)
    grid = _image_grid(shown)
    limit = float(abs(shown).max()) or 1.0
    inches = 0.9 / max(h, w)  # of a pixel
    size = (max(4.0, inches * grid.shape[1] + 1.2), max(2.0, inches * grid.shape[0] + 0.6))
    figure, axis = new_figure(size)
    # Colour-blind people can tell purple and orange apart, unlike red and green.
    image = axis.imshow(grid, cmap="PuOr", vmin=-limit, vmax=limit)
    axis.set_axis_off()
    which = f"all {units}" if units <= count else f"{count} of {units}"
    axis.set_title(f"{name}: {which} units")
    figure.colorbar(image, label="weight", shrink=0.9)
    return figure


def activation_histograms(model: Sequential, x: Samples) -> Figure:
    """A histogram of the outputs of each layer, for x in evaluation mode.

    One panel per layer, also of a Sequential inside the Sequential, with counts on a logarithmic
    scale. Works on a copy: the model, its modes and its random generators stay as they are.

    Raises:
        InputError: the model is no Sequential, x is empty, or a layer refuses it.

    >>> from tinynet import ReLU
    >>> figure = activation_histograms(Sequential([ReLU()]), np.array([[-1.0, 1.0, 2.0, 3.0]]))
    >>> figure.axes[0].get_title().splitlines()
    ['0  ReLU()', '25.0% zeros']
    """
    who = "activation_histograms"
    if not isinstance(model, Sequential):
        raise InputError(f"{who} expects a Sequential, got {model!r}")
    count = _count_samples(who, x)
    steps = copy.deepcopy(model).walk(x)
    figure, axes = panels(len(steps), columns=3 if len(steps) <= 9 else 4, size=(3.2, 2.2))
    for axis, (path, layer, y) in zip(axes, steps, strict=True):
        values = np.concatenate([np.ravel(array) for array in arrays_of(y)]).astype(np.float64)
        finite = values[np.isfinite(values)]
        _histogram(axis, finite, _edges(finite))
        axis.set_title(f"{_short(f'{path}  {layer!r}')}\n{_zeros(values)}", fontsize=9)
    figure.suptitle(f"Outputs of each layer, {count:,} {'samples' if count > 1 else 'sample'}")
    _label(figure, "output")
    return figure


def gradient_histograms(model: Layer, loss: Layer, x: Samples, targets: Samples) -> Figure:
    """A histogram of the absolute entries of each parameter's gradient, for one batch x.

    One panel per parameter, all with the same logarithmic axis, with the share of zeros and the
    root mean square. Works on copies of model and loss, in the current mode of the model.

    Raises:
        InputError: the model has no parameters, x is empty, a layer refuses x or the loss the
            targets, or `backward` does not write a gradient.

    >>> from tinynet import Dense, SoftmaxCrossEntropy
    >>> model, x = Sequential([Dense(2, 3, bias=False, rng=0)]), np.array([[1.0, 0.0]])
    >>> figure = gradient_histograms(model, SoftmaxCrossEntropy(), x, np.array([2]))
    >>> figure.axes[0].get_title().splitlines()
    ['layers.0.weight', 'rms 0.26, 50.0% zeros']
    """
    who = "gradient_histograms"
    _count_samples(who, x)
    model, loss = copy.deepcopy((model, loss))
    named = model.named_parameters()
    if not named:
        raise InputError(f"{who} expects a model with parameters, got {model!r}")
    for _, parameter in named:
        parameter.grad = None
    loss(model(x), targets)
    model.backward_parameters(loss.backward())
    gradients: list[tuple[str, Array]] = []
    for name, parameter in named:
        if parameter.grad is None:
            raise InputError(f"{who} expects backward to write every gradient, got none of {name}")
        gradients.append((name, parameter.grad.astype(np.float64).ravel()))
    logs = [np.log10(abs(g[np.isfinite(g) & (g != 0)])) for _, g in gradients]
    edges = _edges(np.concatenate(logs))
    figure, axes = panels(len(gradients), columns=2 if len(gradients) <= 8 else 4, size=(3.2, 2.2))
    for axis, (name, gradient), log in zip(axes, gradients, logs, strict=True):
        _histogram(axis, log, edges)
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axis.xaxis.set_major_formatter(lambda power, _: f"$10^{{{power:.0f}}}$")
        rms = root_mean_square(gradient)
        axis.set_title(f"{_short(name)}\nrms {rms:.2g}, {_zeros(gradient)}", fontsize=9)
    figure.suptitle("Gradient of each parameter")
    _label(figure, "absolute value of the entries")
    return figure


def _count_samples(who: str, x: Samples) -> int:
    for name, array in named_arrays("x", x).items():
        if not isinstance(array, np.ndarray) or array.ndim == 0 or array.size == 0:
            got = f"one of shape {array.shape}" if hasattr(array, "shape") else type(array).__name__
            raise InputError(
                f"{who} expects {name} to be an array of one sample or more, got {got}"
            )
    return check_samples(who, "x", x)


def _image_grid(images: Array) -> Array:
    """Images (N, H, W) in a grid, about as wide as high, with a line of nan between them."""
    n, h, w = images.shape
    columns = math.ceil(math.sqrt(n * h / w))
    rows = math.ceil(n / columns)
    grid = np.full((rows * (h + 1) - 1, columns * (w + 1) - 1), np.nan)
    for index, image in enumerate(images):
        top, left = index // columns * (h + 1), index % columns * (w + 1)
        grid[top : top + h, left : left + w] = image
    return grid


def _edges(values: Array) -> Array:
    """The bin edges of a histogram of finite values."""
    low, high = (values.min(), values.max()) if values.size else (0.0, 0.0)
    largest = max(abs(low), abs(high))
    # Equal values, or nearly equal ones, have no range to divide into bins.
    margin = max(0.5, 1e-3 * largest) if high - low <= 1e-9 * largest else 0.0
    return np.linspace(low - margin, high + margin, BINS + 1)


def _histogram(axis: Axes, values: Array, edges: Array) -> None:
    counts, _ = np.histogram(values, edges)
    axis.set_yscale("log")
    # The axis begins at 0.5, so that a bar of height 1 can be seen.
    axis.stairs(counts, edges, baseline=0.5, fill=True, color=BLUE)
    axis.set_ylim(0.5, max(20.0, 2.0 * counts.max()))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)


def _zeros(values: Array) -> str:
    lost = np.count_nonzero(~np.isfinite(values))
    return f"{np.mean(values == 0):.1%} zeros" + (f", {lost:,} not finite" if lost else "")


def _label(figure: Figure, values: str) -> None:
    figure.supxlabel(values, fontsize="medium")
    figure.supylabel("count", fontsize="medium")


def _short(text: str, limit: int = 40) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
