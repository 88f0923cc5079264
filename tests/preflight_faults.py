"""Seeded faults for preflight, each with the name of the finding that has to come first."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from tinynet import (
    SGD,
    Accuracy,
    Adam,
    Array,
    BatchNorm,
    BinaryCrossEntropy,
    Dense,
    Dropout,
    Flatten,
    Hinge,
    Huber,
    KLDivergence,
    Layer,
    LogSoftmax,
    MeanAbsoluteError,
    MeanSquaredError,
    Parameter,
    ReLU,
    Rescale,
    Sequential,
    Sigmoid,
    Softmax,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
    datasets,
)
from tinynet.optimizers.schedules import Cosine

Data = tuple[Any, ...]  # the arguments of preflight, and a dict of its keywords or nothing
Sizes = tuple[int, ...]
USUAL = (784, 128, 10)
SMALL = (784, 12, 10)


@cache
def mnist() -> tuple[Array, Array]:
    train, _ = datasets.load_mnist()
    return train.images, train.labels


def some(start: int, samples: int) -> tuple[Array, Array]:
    images, labels = mnist()
    return images[start : start + samples], labels[start : start + samples]


def zeros(shape: Any, *_: Any) -> Array:
    return np.zeros(shape)


def net(
    sizes: Sizes = USUAL,
    seed: int = 0,
    *,
    activation: type[Layer] = ReLU,
    before: tuple[Layer, ...] | None = None,
) -> Any:
    layers = list((Flatten(), Rescale(1 / 255)) if before is None else before)
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        layers += [Dense(inputs, outputs, rng=10 * seed + index), activation()]
    return Sequential(layers[:-1])


def run(
    model: Layer,
    optimizer: Callable[[list[Parameter]], Any] = lambda p: SGD(p, 0.1, momentum=0.9),
    loss: Layer | None = None,
) -> Trainer:
    return Trainer(model, loss or SoftmaxCrossEntropy(), optimizer(model.parameters()))


def centred(sizes: Sizes, seed: int) -> Any:
    first = [Flatten(), Rescale(1 / 255, -0.1307), Dense(sizes[0], sizes[1], rng=seed), ReLU()]
    return Sequential([*first, Dropout(0.3, rng=seed), *net(sizes[1:], seed + 1, before=())])


def features(seed: int, samples: int = 600) -> tuple[Array, Array]:
    """Standardized features, and a score that depends on them."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, 12)).astype(np.float32)
    direction = rng.standard_normal(12)
    return x, (x @ direction / np.linalg.norm(direction)).astype(np.float32)


class LogCosh(Layer):
    """The mean of log cosh(prediction - target), a loss that is no class of the package."""

    def forward(self, prediction: Array, targets: Array) -> float:
        difference = prediction - targets
        self.save_for_backward(0.0, difference)
        return float((abs(difference) + np.log1p(np.exp(-2 * abs(difference)))).mean() - np.log(2))

    def backward(self) -> Array:
        _, difference = self.saved_for_backward(1)
        dx: Array = np.tanh(difference) / difference.size
        return dx


class WrongBias(Layer):
    """A dense layer with a wrong gradient of its bias."""

    def __init__(self, inputs: int, outputs: int, rng: int) -> None:
        self.dense = Dense(inputs, outputs, rng=rng)

    def forward(self, x: Array) -> Array:
        y: Array = self.dense(x)
        return y

    def backward(self, dy: Array) -> Array:
        dx: Array = self.dense.backward(dy)
        bias: Any = self.dense.bias
        bias.grad = np.full_like(bias.grad, bias.grad.sum() + 1)
        return dx


def changed(seed: int, sizes: Sizes, change: Callable[[Any], None], **how: Any) -> Trainer:
    model = net(sizes, seed, **how)
    change(model)
    return run(model)


def start(dense: Any, weight: float | None = None, *, times: float = 1, bias: float = 0) -> None:
    if weight is not None:
        dense.weight.value[...] = weight
    dense.weight.value *= times
    dense.bias.value += bias


def start_all(model: Any, weight: float) -> None:
    for layer in model:
        if isinstance(layer, Dense):
            start(layer, weight)


def scale_all(model: Any, times: float) -> None:
    for layer in model:
        if isinstance(layer, Dense):
            start(layer, times=times)


def nan_in(x: Array) -> Array:
    x = x.astype(np.float32)
    x[5, 7, 9] = x[6, 0, 0] = np.nan
    return x


def at_rate(optimizer: Callable[..., Any]) -> Callable[[int, Sizes, Array, Array], Data]:
    return lambda s, sizes, x, y: (run(net(sizes, s), optimizer), x, y)


def initialized(change: Callable[[Any], None], **how: Any) -> Callable[..., Data]:
    return lambda s, sizes, x, y: (changed(s, sizes, change, **how), x, y)


def wrong_gradient(seed: int, sizes: Sizes) -> Trainer:
    *layers, last = net(sizes, seed)
    return run(Sequential([*layers, WrongBias(last.in_features, last.out_features, seed)]))


def split(x: Array, y: Array) -> tuple[Array, Array, Array, Array]:
    """Training data, and a fifth of them for validation."""
    end = len(x) * 4 // 5
    return x[:end], y[:end], x[end:], y[end:]


def validated(
    change: Callable[[Array, Array], tuple[Array, Array]], **how: Any
) -> Callable[..., Data]:
    """A healthy run whose validation data are changed; with `before`, on images of floats."""

    def make(seed: int, sizes: Sizes, x: Array, y: Array) -> Data:
        if how:
            x = (x / 255).astype(np.float32)
        x, y, held_out_x, held_out_y = split(x, y)
        return run(net(sizes, seed, **how)), x, y, {"validation": change(held_out_x, held_out_y)}

    return make


FLOATS: dict[str, Any] = {"before": (Flatten(),)}  # and no Rescale


def sorted_by_label(seed: int, sizes: Sizes, x: Array, y: Array) -> Data:
    order = np.argsort(y, kind="stable")
    x, y, *held_out = split(x[order], y[order])
    return run(net(sizes, seed)), x, y, {"validation": tuple(held_out)}


def with_copies(seed: int, sizes: Sizes, x: Array, y: Array) -> Data:
    held_out = x[-len(x) // 3 :], y[-len(x) // 3 :]  # of which the last fifth is unseen
    x, y, *_ = split(x, y)
    return run(net(sizes, seed)), x, y, {"validation": held_out}


def ends_with(*layers: Layer) -> Callable[..., Data]:
    """Layers behind the last weights of a healthy run."""
    return lambda s, sizes, x, y: (run(Sequential([*net(sizes, s), *deepcopy(layers)])), x, y)


def at_schedule(rate: Callable[[int], float]) -> Callable[..., Data]:
    return lambda s, sizes, x, y: (run(net(sizes, s), lambda p: SGD(p, rate)), x, y)


def table(
    targets: Callable[[Array], Array],
    loss: Callable[[], Layer],
    *last: Layer,
    outputs: int = 1,
    change: Callable[[Array, Array], Array] = lambda x, _y: x,
    **how: Any,
) -> Callable[..., Data]:
    """A run on a table, with targets made of a score that depends on the features."""

    def make(seed: int, *_: Any) -> Data:
        x, score = features(seed)
        y = targets(score)
        x = change(x, y)
        sizes = x.shape[1], 16, outputs
        layers = [*net(sizes, seed, before=()), *deepcopy(last)]
        model = Sequential(layers)
        optimizer = SGD(model.parameters(), 0.05)
        return Trainer(model, loss(), optimizer, **deepcopy(how)), x, y

    return make


def yes_or_no(score: Array) -> Array:
    return (score[:, None] > 0).astype(int)


def column(score: Array) -> Array:
    return score[:, None]


def classes(score: Array) -> Array:
    return (score > 0).astype(int)


def table_of_other_scale(seed: int, *_: Any) -> Data:
    trainer, x, y = table(classes, SoftmaxCrossEntropy, outputs=2)(seed)
    x, y, held_out_x, held_out_y = split(x, y)
    return trainer, x, y, {"validation": (100 + 40 * held_out_x, held_out_y)}


def targets_of_other_scale(seed: int, *_: Any) -> Data:
    trainer, x, y = table(column, MeanSquaredError)(seed)
    x, y, held_out_x, held_out_y = split(x, y)
    return trainer, x, y, {"validation": (held_out_x, 300 + 50 * held_out_y)}


def batch_norm(seed: int, sizes: Sizes, x: Array, y: Array) -> Data:
    model = Sequential([*net(sizes, seed), BatchNorm(sizes[-1])])
    return run(model), x[:129], y[:129], {"batch_size": 32}


# The loss of each kind, its targets of a score, and what comes behind the last weights.
KINDS: dict[str, tuple[Callable[[], Layer], Callable[[Array], Array], tuple[Layer, ...]]] = {
    "softmax cross-entropy": (SoftmaxCrossEntropy, classes, ()),
    "hinge": (Hinge, classes, ()),
    "binary cross-entropy": (BinaryCrossEntropy, yes_or_no, ()),
    "KL divergence": (KLDivergence, lambda s: np.eye(2)[classes(s)], (LogSoftmax(),)),
    "squared error": (MeanSquaredError, column, ()),
    "absolute error": (MeanAbsoluteError, column, ()),
    "Huber's loss": (Huber, column, ()),
    "an own loss": (LogCosh, column, ()),
}
REGRESSIONS = list(KINDS)[4:]
LOGITS = list(KINDS)[:3]


def of_kind(
    kind: str, targets: Callable[[Array], Array] = lambda y: y, rate: float = 0.05, times: float = 1
) -> Callable[..., Data]:
    """A run on a table with a loss of this kind, with other targets, rate or last weights."""
    loss, of_score, last = KINDS[kind]

    def make(seed: int, *_: Any) -> Data:
        x, score = features(seed)
        y = of_score(score)
        outputs = 1 if y.shape == (len(x), 1) else 2
        first = net((12, 16, outputs), seed, before=())
        start(first[-1], times=times)
        model = Sequential([*first, *deepcopy(last)])
        return Trainer(model, loss(), SGD(model.parameters(), rate)), x, targets(y)

    return make


def of_each(
    fault: str, kinds: Iterable[str], name: str, pattern: str, **how: Any
) -> dict[str, tuple[Callable[..., Data], str, str]]:
    return {f"{fault}, {kind}": (of_kind(kind, **how), name, pattern) for kind in kinds}


# A function of (seed, sizes, x, y), the name of the first finding, and a pattern of its text.
FAULTS: dict[str, tuple[Callable[..., Data], str, str]] = {
    "pixels that are not scaled": (
        lambda s, sizes, x, y: (
            run(net(sizes, s, before=(Flatten(),))),
            x.astype(np.float32),
            y,
        ),
        "input range",
        r"layers\.1, Dense\(784, \d+\) has values from 0 to 255 and the root mean square 8\d.*"
        r"Rescale\(1 / 255\) in front",
    ),
    "bytes into a dense layer": (
        lambda s, sizes, x, y: (run(net(sizes, s, before=(Flatten(),))), x, y),
        "shapes",
        r"The network does not accept the data: layer 2 of \d: Dense.* a float dtype, got uint8",
    ),
    "pixels scaled twice": (
        lambda s, sizes, x, y: (run(net(sizes, s)), (x / 255).astype(np.float32), y),
        "input range",
        r"values from 0 to 0\.003922.* need no Rescale",
    ),
    "NaN in x": (
        lambda s, sizes, x, y: (run(net(sizes, s)), nan_in(x), y),
        "not finite",
        r"x has 2 entries that are NaN or infinite, the first at \(5, 7, 9\)\.",
    ),
    "labels from 1": (
        lambda s, sizes, x, y: (run(net(sizes, s)), x, y + 1),
        "label range",
        r"Labels run from 1 to 10, and the network has 10 outputs\..* y - 1 as labels, 0 to 9\.",
    ),
    "labels from 1 and an output more": (
        lambda s, sizes, x, y: (run(net((*sizes[:-1], 11), s)), x, y + 1),
        "label range",
        r"Labels run from 1 to 10, and the network has 11 outputs\..* y - 1 as labels, 0 to 9\.",
    ),
    "labels beyond the outputs": (
        lambda s, sizes, x, y: (run(net((*sizes[:-1], 7), s)), x, y),
        "label range",
        r"from 0 to 9, and the network has 7 outputs\. Give the last layer 10 outputs",
    ),
    "labels below 0": (
        lambda s, sizes, x, y: (run(net(sizes, s)), x, y.astype(int) - 1),
        "label range",
        r"Labels run from -1 to 8, .*number the classes from 0",
    ),
    "labels that are all the same": (
        lambda s, sizes, x, y: (run(net(sizes, s)), x, np.full_like(y, 3)),
        "label range",
        r"All labels are 3\. Load the labels again\.",
    ),
    "rows that are all the same": (
        lambda s, sizes, x, y: (run(net(sizes, s)), x, np.eye(10)[np.full_like(y, 3)]),
        "label range",
        r"All labels are the same\.",
    ),
    "a start at 0": (
        initialized(lambda model: start_all(model, 0)),
        "same start",
        r"Every entry of weight of layers\.2, Dense\(784, \d+\) is 0\..*random weights",
    ),
    "a constant start": (
        initialized(lambda model: start(model[2], 0.01)),
        "same start",
        r"Every entry of weight of layers\.2, Dense\(784, \d+\) is 0\.01\.",
    ),
    "a start that is far too large": (
        initialized(lambda model: start(model[-1], times=100)),
        "start loss",
        r"starts at \d+\.?\d*, and equal probabilities for 10 classes have ln 10 = 2\.303; the "
        r"standard deviation of the logits is \d+.*smaller weights, above all the last ones",
    ),
    "a rate that is far too high": (
        at_rate(lambda p: SGD(p, 100.0)),
        "learning rate too high",
        r"Try \d\S*, or (lower|higher) still",
    ),
    "a rate that is far too high for momentum": (
        at_rate(lambda p: SGD(p, 50.0, momentum=0.9)),
        "learning rate too high",
        r"Try \d\S*, or (lower|higher) still",
    ),
    "a rate that is far too high for Adam": (
        at_rate(lambda p: Adam(p, 1.0)),
        "learning rate too high",
        r"Try \d\S*, or (lower|higher) still",
    ),
    "a rate that is far too low": (
        at_rate(lambda p: SGD(p, 1e-5)),
        "learning rate too low",
        r"Try \d\S*, or (lower|higher) still",
    ),
    "a rate that is far too low for Adam": (
        at_rate(lambda p: Adam(p, 1e-6)),
        "learning rate too low",
        r"Try \d\S*, or (lower|higher) still",
    ),
    "sigmoids that are saturated": (
        initialized(lambda model: start(model[2], times=50), activation=Sigmoid),
        "saturated units",
        r"\d\d% of the outputs of layers\.3, Sigmoid\(\) are where its slope is almost 0",
    ),
    "tanhs that are saturated": (
        initialized(lambda model: start(model[2], times=50), activation=Tanh),
        "saturated units",
        r"\d\d% of the outputs of layers\.3, Tanh\(\) are where its slope is almost 0",
    ),
    "units that are dead": (
        initialized(lambda model: start(model[2], bias=-20)),
        "dead units",
        r"(\d+) of the \1 units of layers\.3, ReLU\(\) pass no gradient for",
    ),
    "labels in another order": (
        lambda s, sizes, x, y: (run(net(sizes, s)), x, np.random.default_rng(s).permutation(y)),
        "unrelated labels",
        r"fit their own labels hardly better than shuffled ones",
    ),
    "a layer with a wrong gradient": (
        lambda s, sizes, x, y: (wrong_gradient(s, sizes), x, y),
        "gradient",
        r"layers\.\d, WrongBias.*gradient of dense\.bias.*Run check_gradients on that layer alone",
    ),
    "an optimizer without the parameters that matter": (
        lambda s, sizes, x, y: (run(net(sizes, s), lambda p: SGD(p[-1:], 0.1)), x, y),
        "one batch",
        r"The optimizer was given 1 of \d parameters\.",
    ),
    "infinite weights": (
        initialized(lambda model: start(model[-1], np.inf)),
        "not finite",
        r"layers\.\d, Dense.*, forward, step 1: y has the first NaN or infinity.*its weight",
    ),
    "x that is always the same": (
        lambda s, sizes, x, y: (run(net(sizes, s)), np.repeat(x[:1], len(x), axis=0), y),
        "input range",
        r"All samples are the same\. Load the inputs again\.",
    ),
    "a softmax before softmax cross-entropy": (
        ends_with(Softmax()),
        "output activation",
        r"rows add up to 1.* no class a probability above 0\.232.*Remove the last Softmax",
    ),
    "a sigmoid before softmax cross-entropy": (
        ends_with(Sigmoid()),
        "output activation",
        r"They come from layers\.\d, Sigmoid\(\), whose outputs are from 0 to 1\.",
    ),
    "a ReLU before softmax cross-entropy": (
        ends_with(ReLU()),
        "output activation",
        r"They come from layers\.\d, ReLU\(\), whose outputs are from 0 to infinity\.",
    ),
    "a tanh before softmax cross-entropy": (
        ends_with(Tanh()),
        "output activation",
        r"They come from layers\.\d, Tanh\(\), whose outputs are from -1 to 1\.",
    ),
    "a sigmoid before binary cross-entropy": (
        table(yes_or_no, BinaryCrossEntropy, Sigmoid()),
        "output activation",
        r"BinaryCrossEntropy takes logits.*layers\.3, Sigmoid\(\), whose outputs are from 0 to 1",
    ),
    "a ReLU before binary cross-entropy": (
        table(yes_or_no, BinaryCrossEntropy, ReLU()),
        "output activation",
        r"layers\.3, ReLU\(\), whose outputs are from 0 to infinity",
    ),
    "logits into the KL divergence": (
        table(lambda score: np.eye(3)[np.digitize(score, (-0.5, 0.5))], KLDivergence, outputs=3),
        "output activation",
        r"whose exponentials add up to \S+ to \S+\. Put a LogSoftmax\(\)",
    ),
    "a ReLU before targets of both signs": (
        table(column, MeanSquaredError, ReLU()),
        "output range",
        r"(4|5)\d% of the targets.* outside of what layers\.3, ReLU\(\) returns, 0 to infinity",
    ),
    "a sigmoid before targets from -3 to 3": (
        table(column, MeanAbsoluteError, Sigmoid()),
        "output range",
        r"\d\d% of the targets.* outside of what layers\.3, Sigmoid\(\) returns, 0 to 1",
    ),
    "dropout of the predictions": (
        ends_with(Dropout(0.5, rng=0)),
        "output dropout",
        r"layers\.\d, Dropout\(0\.5\) sets (49|50|51)% of the predictions to 0\.",
    ),
    "a last batch of one with batch norm": (
        batch_norm,
        "last batch",
        r"BatchNorm\(10\) expects more than one value.*last_batch='drop' or last_batch='join'",
    ),
    "validation data of other classes": (
        sorted_by_label,
        "validation classes",
        r"\d+ of the \d+ validation labels are of classes without any training label: (8, )?9\.",
    ),
    "validation samples that are training samples": (
        with_copies,
        "validation leakage",
        r"\d+ of \d+ validation samples that were compared stand in the training data: sample "
        r"\d+ is training sample \d+\. Of \d+ training samples, \d stand there twice\.",
    ),
    "validation images that are transposed": (
        validated(lambda x, y: (x.swapaxes(1, 2), y)),
        "validation inputs",
        r"correlation 0\.\d+ with the mean training input, and \S+ if it is transposed\.",
    ),
    "validation images that are inverted": (
        validated(lambda x, y: (255 - x, y)),
        "validation inputs",
        r"have the correlation -(0\.9\d|1\.00): large where the other one is small",
    ),
    "validation images of another scale": (
        validated(lambda x, y: (255 * x, y), **FLOATS),
        "validation scale",
        r"values from 0 to 255, the training inputs from 0 to 1, and usual sizes of \d\d",
    ),
    "validation images from -1 to 1": (
        validated(lambda x, y: (2 * x - 1, y), **FLOATS),
        "validation scale",
        r"from 0 to 1; \d\d% of the entries of one are outside the range of the other",
    ),
    "a validation table that is not standardized": (
        table_of_other_scale,
        "validation scale",
        r"The validation inputs have values from",
    ),
    "validation targets that are not standardized": (
        targets_of_other_scale,
        "validation scale",
        r"The validation targets have values from",
    ),
    "NaN in the validation data": (
        validated(lambda x, y: (nan_in(x), y)),
        "not finite",
        r"the validation x has 2 entries that are NaN or infinite, the first at \(5, 7, 9\)\.",
    ),
    "validation images of another shape": (
        validated(lambda x, y: (x[:, :14], y)),
        "shapes",
        r"does not accept the validation data: layer \d of \d: Dense.*got \(\d+, 392\)",
    ),
    "validation labels that are floats": (
        validated(lambda x, y: (x, y.astype(float))),
        "shapes",
        r"does not accept the validation data: SoftmaxCrossEntropy\(\) expects integer labels",
    ),
    "a metric of other predictions": (
        table(yes_or_no, BinaryCrossEntropy, metrics=[Accuracy()]),
        "shapes",
        r"does not accept the data: Accuracy\(\) expects scores",
    ),
    "targets that are constant": (
        table(lambda score: np.full((len(score), 1), 2.5), MeanSquaredError),
        "constant targets",
        r"All 600 targets are 2\.5\. Load the targets again\.",
    ),
    "a feature that is ten thousand times smaller": (
        table(
            classes,
            SoftmaxCrossEntropy,
            outputs=2,
            change=lambda x, _: x * np.where(np.arange(12) == 7, 1e-4, 1).astype(np.float32),
        ),
        "feature scales",
        r"from \S*e-05|0\.0001\S* \(feature 7\) to 1\.\d* \(feature \d+\)",
    ),
    "a column of the labels among the features": (
        table(
            classes,
            SoftmaxCrossEntropy,
            outputs=2,
            change=lambda x, y: np.column_stack([x, 2 * y - 1]).astype(np.float32),
        ),
        "target leakage",
        r"Feature 12 of x has one value for each class, another for each, in all 600 samples",
    ),
    "a column of the targets among the features": (
        table(column, MeanSquaredError, change=lambda x, y: np.column_stack([y, x])),
        "target leakage",
        r"Feature 0 of x equals the target in all 600 samples",
    ),
    "a learning rate of 0": (
        at_rate(lambda p: SGD(p, 0.0)),
        "zero learning rate",
        r"The learning rate is 0\.",
    ),
    "a learning rate that starts at 0 for an epoch": (
        at_schedule(lambda step: 0.02 * min(step // 9, 5) if step > 9 else 0.0),
        "zero learning rate",
        r"The learning rate is 0 in the first 10 steps; an epoch has \d+\.",
    ),
    "a schedule of epochs instead of steps": (
        lambda s, sizes, x, y: (
            run(net(sizes, s), lambda p: SGD(p, Cosine(0.1, steps=10))),
            x,
            y,
            {"batch_size": 16},
        ),
        "short schedule",
        r"first epoch of \d+ steps, the learning rate falls from 0\.1 to 0\.",
    ),
    "twelve sigmoid layers": (
        lambda s, _, x, y: (run(net((784, *[64] * 12, 10), s, activation=Sigmoid)), x, y),
        "vanishing gradient",
        r"first weights, layers\.2, Dense\(784, 64\), has the root mean square \S+e-0\d, and that "
        r"of the last, layers\.26, Dense\(64, 10\), 0\.0\d+: a ratio of \S+e-0[67]\.",
    ),
    "weights of a standard normal distribution": (
        lambda s, _, x, y: (
            changed(s, (784, *[64] * 12, 10), lambda model: scale_all(model, 6)),
            x,
            y,
        ),
        "exploding gradient",
        r"first weights, layers\.2, Dense\(784, 64\), has the root mean square \S+e\+\d\d",
    ),
    **of_each(
        "constant targets",
        [*REGRESSIONS, "binary cross-entropy", "KL divergence"],
        "constant targets",
        r"All 600 targets are .*Load the targets again\.",
        targets=lambda y: np.repeat(y[:1], len(y), axis=0),
    ),
    **of_each(
        "labels of one class",
        ["hinge"],
        "label range",
        r"All labels are \d\.",
        targets=lambda y: np.repeat(y[:1], len(y), axis=0),
    ),
    **of_each(
        "targets in another order",
        KINDS,
        "unrelated labels",
        r"fit their own labels hardly better than shuffled ones",
        targets=lambda y: np.random.default_rng(0).permutation(y),
    ),
    **of_each(
        "targets of another scale",
        REGRESSIONS,
        "target range",
        r"The root mean square of the targets is 2\.\d*e\+05, that of the predictions so far",
        targets=lambda y: 200_000 + 50_000 * y,
    ),
    **of_each(
        "last weights that are far too large",
        LOGITS,
        "start loss",
        r"The loss starts at \d\S+, and (equal|logits).*smaller weights",
        times=100,
    ),
    **of_each(
        "a rate that is far too low",
        KINDS,
        "learning rate too low",
        r"Try \S+, or higher still",
        rate=1e-6,
    ),
}
