import importlib
import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from preflight_faults import (
    FAULTS,
    SMALL,
    USUAL,
    LogCosh,
    Sizes,
    centred,
    features,
    mnist,
    nan_in,
    net,
    run,
    some,
    start,
    zeros,
)

from tinynet import (
    SGD,
    Accuracy,
    Adagrad,
    Adam,
    AdamW,
    Array,
    BatchNorm,
    BinaryCrossEntropy,
    Dense,
    Embedding,
    Flatten,
    Hinge,
    Huber,
    InputError,
    KLDivergence,
    Layer,
    LogSoftmax,
    MeanAbsoluteError,
    MeanSquaredError,
    Parameter,
    ReLU,
    Rescale,
    RMSprop,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
)
from tinynet.health import Findings, preflight
from tinynet.optimizers.schedules import Cosine, LinearWarmUp, OneCycle

module = importlib.import_module("tinynet.health.preflight")  # `preflight` is also its function


# Fixtures of conftest.py.
without_gradient_check = pytest.mark.usefixtures("_no_gradient_check")
without_probes = pytest.mark.usefixtures("_no_probes")
without_model_check = pytest.mark.usefixtures("_no_model_check")


def names(findings: Findings) -> list[str]:
    return [finding.name for finding in findings]


# Healthy runs


def some_of(items: Any, first: int) -> list[Any]:
    """The first ones, and all of them in the sweep."""
    return [
        pytest.param(item, id=str(item), marks=() if index < first else pytest.mark.sweep)
        for index, item in enumerate(items)
    ]


OPTIMIZERS: dict[str, Callable[[list[Parameter]], Any]] = {
    "SGD": lambda p: SGD(p, 0.1),
    "slow SGD": lambda p: SGD(p, 0.01),
    "momentum": lambda p: SGD(p, 0.06, momentum=0.9, l2=3e-4),
    "Adam": Adam,
    "slow Adam": lambda p: Adam(p, 1e-4),
    "AdamW": lambda p: AdamW(p, 1e-3, weight_decay=0.1),
    "RMSprop": lambda p: RMSprop(p, 1e-3),
    "Adagrad": lambda p: Adagrad(p, 1e-2),
    "OneCycle": lambda p: SGD(p, OneCycle(0.2, steps=5000), momentum=0.9),
    "Cosine": lambda p: SGD(p, Cosine(0.2, steps=5000), momentum=0.9),
    "LinearWarmUp": lambda p: Adam(p, LinearWarmUp(500, then=Cosine(0.01, steps=5000))),
}

NETS: dict[str, Callable[[Sizes, int], Any]] = {
    "Sigmoid": lambda sizes, seed: net(sizes, seed, activation=Sigmoid),
    "Tanh": lambda sizes, seed: net(sizes, seed, activation=Tanh),
    "dropout, centred": centred,
}

SIZES: list[Sizes] = [(784, 10), (784, 10, 10), (784, 128, 64, 10)]


def check_healthy(trainer: Trainer, x: Array, y: Array) -> None:
    assert str(preflight(trainer, x, y)) == "nothing found"


def test_preflight_finds_nothing_in_a_common_network_on_mnist() -> None:
    check_healthy(run(net((784, 32, 10))), *mnist())


@without_gradient_check
class TestHealthy:
    @pytest.mark.parametrize("optimizer", some_of(OPTIMIZERS, 4))
    def test_preflight_finds_nothing_with_common_optimizers(self, optimizer: str) -> None:
        check_healthy(run(net(SMALL), OPTIMIZERS[optimizer]), *mnist())

    @pytest.mark.parametrize("make", NETS.values(), ids=NETS)
    def test_preflight_finds_nothing_with_common_networks(self, make: Callable[..., Any]) -> None:
        check_healthy(run(make((784, 32, 10), 1)), *mnist())

    @pytest.mark.parametrize("sizes", some_of(SIZES, 2))
    def test_preflight_finds_nothing_in_networks_of_other_depths(self, sizes: Sizes) -> None:
        check_healthy(run(net(sizes, 2)), *mnist())

    @pytest.mark.parametrize("samples", [1, 6, 100, 500])
    def test_preflight_finds_nothing_in_few_samples(self, samples: int) -> None:
        check_healthy(run(net(SMALL, 3)), *some(0, samples))

    def test_preflight_finds_nothing_in_float_images_and_one_hot_targets(self) -> None:
        images, labels = some(0, 500)
        model = net(SMALL, before=(Flatten(),))
        check_healthy(run(model), (images / 255).astype(np.float32), np.eye(10)[labels])

    def test_preflight_finds_nothing_with_a_rare_class_or_noisy_labels(self) -> None:
        images, labels = mnist()
        rows = np.r_[np.flatnonzero(labels == 0)[:1900], np.flatnonzero(labels == 1)[:100]]
        rows = np.random.default_rng(0).permutation(rows)
        check_healthy(run(net((784, 12, 2))), images[rows], labels[rows])
        rng = np.random.default_rng(0)
        noisy = np.where(rng.random(len(labels)) < 0.5, rng.integers(0, 10, len(labels)), labels)
        check_healthy(run(net(SMALL)), images, noisy)

    def test_preflight_finds_nothing_in_a_run_in_progress(self) -> None:
        trainer = run(net(SMALL))
        trainer.fit(*some(0, 640), epochs=3)
        check_healthy(trainer, *mnist())

    def test_preflight_reports_no_start_loss_in_a_run_in_progress(self) -> None:
        trainer = run(net(SMALL))
        trainer.fit(*some(0, 64), epochs=1)
        start(trainer.model[-1], times=100)  # type: ignore[index]
        assert "start loss" not in names(preflight(trainer, *some(0, 500)))

    @pytest.mark.parametrize("bias", [True, False])
    def test_preflight_finds_nothing_in_a_linear_model_starting_at_0(self, bias: bool) -> None:
        dense = Dense(784, 10, bias=bias, weight_init=zeros)
        check_healthy(run(Sequential([Flatten(), Rescale(1 / 255), dense])), *mnist())

    def test_preflight_finds_nothing_if_only_the_last_weights_start_at_0(self) -> None:
        model = net(SMALL)
        model[4].weight.value[...] = 0
        check_healthy(run(model), *mnist())

    def test_preflight_finds_nothing_in_training_only_the_last_layer(self) -> None:
        check_healthy(run(net(SMALL), lambda p: SGD(p[2:], 0.1)), *mnist())


class Norm(Layer):
    """y = gain x + shift, with gains of 1 in a matrix, as weights are."""

    def __init__(self, size: int) -> None:
        self.gain = Parameter(np.ones((2, size // 2)))
        self.shift = Parameter(np.zeros((1, size)))

    def forward(self, x: Array) -> Array:
        y: Array = x * self.gain.value.ravel() + self.shift.value
        self.save_for_backward(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        dy, x = self.saved_for_backward(dy)
        self.gain.grad = (dy * x).sum(axis=0).reshape(self.gain.value.shape)
        self.shift.grad = dy.sum(axis=0, keepdims=True)
        dx: Array = dy * self.gain.value.ravel()
        return dx


class Table(Layer):
    """A lookup table: a row for each token."""

    def __init__(self, tokens: int, size: int) -> None:
        self.rows = Parameter(np.random.default_rng(0).standard_normal((tokens, size)))

    def forward(self, x: Array) -> Array:
        self.check_input(x, "N", integers=True)
        y: Array = self.rows.value[x]
        self.save_for_backward(y, x)
        return y

    def backward(self, dy: Array) -> None:
        dy, x = self.saved_for_backward(dy)
        self.rows.grad = np.zeros_like(self.rows.value)
        np.add.at(self.rows.grad, x, dy)


@without_gradient_check
class TestHealthyTables:
    @pytest.mark.parametrize("optimizer", ["SGD", "slow SGD", "Adam"])
    def test_preflight_finds_nothing_in_noisy_classes(self, optimizer: str) -> None:
        x, score = features(0)
        noisy = (score + np.random.default_rng(1).standard_normal(len(x)) > 0).astype(int)
        check_healthy(run(net((12, 32, 2), before=()), OPTIMIZERS[optimizer]), x, noisy)

    @pytest.mark.parametrize(
        ("optimizer", "scale", "offset"),
        [
            ("slow SGD", 1, 0),
            ("Adam", 0.1, 0),
            ("Adam", 0.2, 9),
            pytest.param("Adam", 1, 0, marks=pytest.mark.sweep),
            pytest.param("slow SGD", 0.1, 0, marks=pytest.mark.sweep),
            pytest.param("slow SGD", 0.2, 9, marks=pytest.mark.sweep),
        ],
    )
    def test_preflight_finds_nothing_in_noisy_regression(
        self, optimizer: str, scale: float, offset: float
    ) -> None:
        x, score = features(1)
        noise = np.random.default_rng(1).standard_normal(len(x)).astype(np.float32)
        y = (scale * (score + noise) + offset)[:, None]
        model = net((12, 32, 1), 1, before=())
        check_healthy(run(model, OPTIMIZERS[optimizer], MeanSquaredError()), x, y)

    def test_preflight_finds_nothing_in_sparse_one_hot_features(self) -> None:
        codes = np.random.default_rng(0).integers(0, 20, 200)
        x = np.zeros((200, 12_000), np.float32)
        x[np.arange(200), codes] = 1
        check_healthy(run(net((12_000, 2), before=()), lambda p: Adam(p, 0.01)), x, codes % 2)

    def test_preflight_finds_nothing_in_tokens(self) -> None:
        x = np.random.default_rng(0).integers(0, 90, 1000)
        model = Sequential([Table(90, 16), Dense(16, 3, rng=0)])
        check_healthy(run(model), x, x % 3)

    def test_preflight_finds_nothing_in_gains_that_start_at_1(self) -> None:
        x, score = features(2)
        model = Sequential([Dense(12, 16, rng=0), Norm(16), ReLU(), Dense(16, 2, rng=1)])
        check_healthy(run(model), x, (score > 0).astype(int))

    @pytest.mark.parametrize("seed", some_of(range(3), 1))
    def test_preflight_finds_nothing_in_deep_networks_for_two_classes(self, seed: int) -> None:
        x, score = features(seed, 400)
        model = net((12, 64, 64, 2), seed, before=())
        check_healthy(run(model, Adam), x, (score > 0).astype(int))

    def test_preflight_accepts_large_targets_if_predictions_are_large(self) -> None:
        x, score = features(3)
        model = Sequential([*net((12, 8, 1), before=()), Rescale(1000.0)])
        y = (1000 * score)[:, None]
        check_healthy(run(model, Adam, MeanSquaredError()), x, y)

    def test_preflight_reports_no_start_loss_for_a_single_class(self) -> None:
        x, _ = features(3)
        trainer = run(net((12, 8, 1), before=()))
        found = preflight(trainer, x, np.zeros(len(x), int))
        assert names(found) == ["label range"]


def sequences(samples: int = 300) -> tuple[Array, Array]:
    """The class of each position depends on its features; some positions are padding."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((samples, 4, 6)).astype(np.float32)
    y = x[..., :3].argmax(axis=-1)
    y[rng.random(y.shape) < 0.2] = -100
    return x, y


LOSSES: dict[str, tuple[Callable[[], Layer], Callable[[Array], Array], int]] = {
    "weights": (lambda: SoftmaxCrossEntropy([0.1, 5]), lambda y: y, 2),
    "smoothing": (lambda: SoftmaxCrossEntropy(label_smoothing=0.3), lambda y: y, 2),
    "both, as a sum": (
        lambda: SoftmaxCrossEntropy([0.1, 50], reduction="sum", label_smoothing=0.3),
        lambda y: y,
        2,
    ),
    "soft rows": (SoftmaxCrossEntropy, lambda y: 0.8 * np.eye(2)[y] + 0.1, 2),
    "labels to ignore": (
        lambda: SoftmaxCrossEntropy(ignore_index=-1),
        lambda y: np.where(np.arange(len(y)) % 3, y, -1),
        2,
    ),
    "binary": (BinaryCrossEntropy, lambda y: y[:, None], 1),
    "absolute": (MeanAbsoluteError, lambda y: 2.0 * y[:, None] - 1, 1),
    "Huber": (Huber, lambda y: 2.0 * y[:, None] - 1, 1),
    "hinge": (Hinge, lambda y: y, 2),
    "an own loss": (LogCosh, lambda y: 2.0 * y[:, None] - 1, 1),
    "squared hinge": (lambda: Hinge(p=2), lambda y: y, 2),
}


@without_model_check
class TestHealthyLosses:
    @pytest.mark.parametrize("kind", LOSSES)
    def test_preflight_finds_nothing_with_any_loss(self, kind: str) -> None:
        make, targets, outputs = LOSSES[kind]
        x, score = features(4)
        rate = 1e-4 if "sum" in kind else 0.05
        run_of = run(net((12, 16, outputs), before=()), lambda p: SGD(p, rate), make())
        check_healthy(run_of, x, targets((score > 0).astype(int)))

    def test_preflight_finds_nothing_before_a_divergence_of_log_probabilities(self) -> None:
        x, score = features(4)
        model = Sequential([*net((12, 16, 2), before=()), LogSoftmax()])
        check_healthy(run(model, loss=KLDivergence()), x, np.eye(2)[(score > 0).astype(int)])

    def test_preflight_finds_nothing_in_sequences_with_ignored_positions(self) -> None:
        x, y = sequences()
        model = Sequential([Dense(6, 16, rng=0), ReLU(), Dense(16, 3, rng=1)])
        check_healthy(run(model), x, y)

    def test_preflight_finds_nothing_in_a_batch_of_padding(self) -> None:
        x, y = sequences(1)
        model = Sequential([Dense(6, 16, rng=0), ReLU(), Dense(16, 3, rng=1)])
        assert names(preflight(run(model), x, np.full_like(y, -100))) == []


@without_model_check
class TestFaultsOfOtherLosses:
    def test_preflight_finds_labels_from_1_for_sequences_and_hinge(self) -> None:
        x, y = sequences()
        model = Sequential([Dense(6, 16, rng=0), ReLU(), Dense(16, 3, rng=1)])
        found = preflight(run(model), x, np.where(y < 0, y, y + 1))
        assert names(found)[:1] == ["label range"]
        assert "Labels run from 1 to 3, and the network has 3 outputs." in str(found)
        rows, score = features(4)
        found = preflight(run(net((12, 2), before=()), loss=Hinge()), rows, (score > 0) + 1)
        assert "Labels run from 1 to 2, and the network has 2 outputs." in str(found)

    def test_preflight_finds_shuffled_sequences(self) -> None:
        x, y = sequences()
        model = Sequential([Dense(6, 16, rng=0), ReLU(), Dense(16, 3, rng=1)])
        found = preflight(run(model), x, np.random.default_rng(1).permutation(y))
        assert names(found) == ["unrelated labels"]

    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    def test_preflight_finds_large_initial_logits_with_class_weights(self, reduction: str) -> None:
        x, score = features(4, 400)
        model = net((12, 8, 2), before=())
        start(model[-1], times=100)
        loss = SoftmaxCrossEntropy([1, 30], reduction=reduction, label_smoothing=0.1)
        found = preflight(run(model, lambda p: SGD(p, 1e-5), loss), x, (score > 0).astype(int))
        assert names(found)[:1] == ["start loss"]
        assert "among 2 classes has ln 2" not in str(found)


WITH_EXAMPLES = (", softmax cross-entropy", ", squared error", ", Huber's loss")


def check_found(fault: str, seed: int, sizes: Sizes, data: tuple[Array, Array]) -> None:
    make, name, pattern = FAULTS[fault]
    trainer, x, y, *keywords = make(seed, sizes, *data)
    found = preflight(trainer, x, y, **dict(*keywords))
    assert names(found)[:1] == [name], str(found)
    assert re.search(pattern, str(found[0])), str(found[0])


@without_gradient_check
class TestFaults:
    @pytest.mark.parametrize(
        "fault",
        [
            # Of these losses the faults above have examples.
            pytest.param(f, marks=pytest.mark.sweep if f.endswith(WITH_EXAMPLES) else ())
            for f in FAULTS
            if FAULTS[f][1] != "gradient"
        ],
    )
    def test_preflight_finds_each_fault_first(self, fault: str) -> None:
        check_found(fault, 0, SMALL, some(0, 600))

    def test_at_least_fifty_faults_are_seeded(self) -> None:
        assert len(FAULTS) >= 50

    def test_preflight_finds_features_of_different_scales(self) -> None:
        x, score = features(0)
        x[:, 3] = 50 * x[:, 3] + 300
        finding = preflight(run(net((12, 2), before=())), 0.3 * x, (score > 0).astype(int))[0]
        assert finding.name == "input range"
        assert finding.advice.startswith("Subtract the mean of each feature and divide")

    @pytest.mark.parametrize("shift", [-1, 256])
    def test_preflight_advises_rescale_only_for_values_of_bytes(self, shift: int) -> None:
        images, labels = some(0, 500)
        x = images.astype(np.float32) + shift
        found = preflight(run(net(SMALL, before=(Flatten(),))), x, labels)
        assert found[0].advice.startswith("Subtract the mean")

    def test_preflight_finds_targets_of_another_scale_than_predictions(self) -> None:
        x, score = features(0)
        trainer = run(net((12, 8, 1), before=()), Adam, MeanSquaredError())
        found = preflight(trainer, x, (200_000 + 50_000 * score)[:, None])
        assert names(found) == ["target range"]
        assert re.search(r"root mean square of the targets is 2\.\d*e\+05,", found[0].evidence)
        assert found[0].advice.startswith("Train on (y - mean) / standard deviation")
        assert str(preflight(trainer, x, 200_000 + 50_000 * score)) == str(found)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_preflight_finds_non_finite_targets(self, bad: float) -> None:
        x, score = features(0)
        score[17] = bad
        found = preflight(run(net((12, 1), before=()), loss=MeanSquaredError()), x, score[:, None])
        assert str(found) == (
            "1. not finite: y has an entry that is NaN or infinite, the first at (17, 0). "
            "Replace them or leave their samples out."
        )

    def test_preflight_finds_wrong_shapes_of_targets(self) -> None:
        x, score = features(0)
        trainer = run(net((12, 1), before=()), loss=MeanSquaredError())
        found = preflight(trainer, x, score[:, None, None])
        assert names(found) == ["shapes"]
        assert "score" not in str(found)
        assert "reshape" in found[0].evidence
        found = preflight(run(net((12, 2), before=())), x, score)
        assert names(found) == ["shapes"]

    def test_preflight_orders_findings_by_cause_and_effect(self) -> None:
        images, labels = some(0, 500)
        model = net(SMALL, before=(Flatten(),), activation=Sigmoid)
        start(model[-1], times=100)
        found = preflight(run(model), images.astype(np.float32), labels + 1)
        assert names(found) == ["label range", "input range", "saturated units"]
        found = preflight(run(model), images.astype(np.float32), labels)
        assert names(found) == ["input range", "saturated units", "start loss"]
        assert str(found).count("\n") == 2

    def test_preflight_accepts_labels_from_1_if_class_0_may_be_missing(self) -> None:
        images, labels = some(0, 300)
        x, y = images[labels > 0], labels[labels > 0]
        assert (y[:200].min(), y[:200].max()) == (1, 9)
        check_healthy(run(net(SMALL)), x[:200], y[:200])
        (finding,) = preflight(run(net(SMALL)), x[:201], y[:201])
        assert finding.advice.endswith("y - 1 as labels, 0 to 8.")
        check_healthy(run(net(SMALL)), images[labels > 1][:201], labels[labels > 1][:201])

    def test_preflight_finds_nan_of_large_arrays_in_the_forward(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        images, labels = some(0, 100)
        monkeypatch.setattr(module, "SCAN", images.size * 4 - 1)
        found = preflight(run(net(SMALL)), nan_in(images), labels)
        assert names(found) == ["not finite"]
        assert "input, step 1: x has the first NaN or infinity at index (5, 7, 9)" in str(found)

    def test_preflight_reports_no_input_range_without_parameters(self) -> None:
        class Weighted(Layer):
            """w² · mean of the prediction."""

            def __init__(self) -> None:
                self.w = Parameter([1.0])

            def forward(self, prediction: Array, targets: Array) -> float:
                del targets
                self.save_for_backward(0.0, prediction)
                return float(self.w.value[0] ** 2 * prediction.mean())

            def backward(self) -> Array:
                _, prediction = self.saved_for_backward(1)
                self.w.grad = 2 * self.w.value * prediction.mean()
                dx: Array = np.full_like(prediction, self.w.value[0] ** 2 / prediction.size)
                return dx

        loss = Weighted()
        trainer = Trainer(ReLU(), loss, SGD(loss.parameters(), 1e-3))
        x = 100 * np.random.default_rng(0).random((50, 3))
        check_healthy(trainer, x, x)


class TestGradientFaults:
    def test_preflight_finds_a_layer_with_a_wrong_gradient(self) -> None:
        check_found("a layer with a wrong gradient", 0, SMALL, some(0, 500))

    def test_preflight_finds_a_wrong_gradient_of_the_loss(self) -> None:
        class Halved(Layer):
            """Softmax cross-entropy with half its gradient."""

            def __init__(self) -> None:
                self.right = SoftmaxCrossEntropy()

            def forward(self, logits: Array, targets: Array) -> float:
                loss: float = self.right(logits, targets)
                return loss

            def backward(self) -> Array:
                return self.right.backward() / 2

        found = preflight(run(net(SMALL), loss=Halved()), *some(0, 500))
        assert names(found) == ["gradient"]
        assert "Halved" in found[0].evidence

    def test_preflight_names_the_likely_cause_of_a_wrong_gradient(self) -> None:
        class Negated(Layer):
            """y = -x, with dx = dy."""

            def forward(self, x: Array) -> Array:
                self.save_for_backward(x)
                return -x

            def backward(self, dy: Array) -> Array:
                (dy,) = self.saved_for_backward(dy)
                return dy.copy()

        found = preflight(run(Sequential([*net(SMALL), Negated()])), *some(0, 500))
        assert re.search(r"Likely cause: \S.*\. Run check_gradients", str(found[0]))


class TestErrors:
    @pytest.mark.parametrize(
        ("x", "y", "sentence"),
        [
            (np.zeros((3, 784)), np.zeros(2, int), "same number of samples, got 3 and 2"),
            (np.zeros((0, 784)), np.zeros(0, int), "x to have samples"),
            ([[0.0]], np.zeros(1, int), "x to be a NumPy array, got list"),
        ],
    )
    def test_preflight_rejects_arrays_of_different_numbers_of_samples(
        self, x: Any, y: Any, sentence: str
    ) -> None:
        with pytest.raises(InputError, match=sentence):
            preflight(run(net()), x, y)
        with pytest.raises(InputError, match=sentence):
            preflight(run(net(SMALL)), *some(0, 9), validation=(x, y))

    @pytest.mark.parametrize(
        ("keywords", "sentence"),
        [
            ({"validation": [1, 2]}, r"a pair, validation=\(x, y\), got a list"),
            ({"validation": (1, 2, 3)}, r"a pair, validation=\(x, y\), got a tuple"),
            ({"batch_size": 0}, "batch_size to be a whole number >= 1, got 0"),
            ({"micro_batch_size": 0}, "micro_batch_size to be a whole number >= 1, got 0"),
            ({"last_batch": "merge"}, "last_batch to be 'keep' or 'drop' or 'join', got 'merge'"),
        ],
        ids=str,
    )
    def test_preflight_rejects_other_arguments(
        self, keywords: dict[str, Any], sentence: str
    ) -> None:
        with pytest.raises(InputError, match=sentence):
            preflight(run(net(SMALL)), *some(0, 9), **keywords)


class TestNothingChanges:
    @pytest.mark.parametrize(
        ("optimizer", "fault"),
        [(lambda p: SGD(p, OneCycle(0.1, steps=99), momentum=0.9), 0), (Adam, 1)],
        ids=["SGD", "Adam"],
    )
    def test_preflight_changes_nothing(self, optimizer: Callable[..., Any], fault: int) -> None:
        images, labels = some(0, 200)
        others = np.random.default_rng(0).permutation(labels) if fault else labels

        def started() -> Trainer:
            model = centred(SMALL, 0)
            trainer = Trainer(
                model, SoftmaxCrossEntropy(), optimizer(model.parameters()), metrics=[Accuracy()]
            )
            trainer.fit(images, labels, epochs=2)
            return trainer

        checked, other = started(), started()
        checked.model.eval()
        before, noise = deepcopy(checked.state_dict()), np.random.get_state()  # noqa: NPY002
        copies = images.copy(), labels.copy()
        rate = checked.optimizer.learning_rate
        validation = images[:40].copy(), labels[:40].copy()
        assert len(preflight(checked, images, others)) == fault
        found = preflight(checked, images, others, validation=validation)
        assert names(found) == ["validation leakage"]
        np.testing.assert_equal(validation, (images[:40], labels[:40]))
        np.testing.assert_equal(checked.state_dict(), before)
        np.testing.assert_equal(np.random.get_state(), noise)  # noqa: NPY002
        np.testing.assert_equal((images, labels), copies)
        assert checked.optimizer.learning_rate is rate
        assert not any(layer.training for layer in checked.model)  # type: ignore[attr-defined]
        for trainer in (checked, other):
            trainer.fit(images, labels, epochs=3)
        np.testing.assert_equal(checked.state_dict(), other.state_dict())

    def test_preflight_runs_the_layers_of_copies(self) -> None:
        class Counting(Layer):
            """y = x; counts its calls."""

            def __init__(self) -> None:
                self.calls = 0

            def forward(self, x: Array) -> Array:
                self.calls += 1
                self.save_for_backward(x)
                return x.copy()

            def backward(self, dy: Array) -> Array:
                (dy,) = self.saved_for_backward(dy)
                dx: Array = dy.copy()
                return dx

        x, score = features(0, 200)
        counting = Counting()
        model = Sequential([*net((12, 4, 2), before=()), counting])
        check_healthy(run(model), x, (score > 0).astype(int))
        assert counting.calls == 0

    @without_gradient_check
    def test_preflight_returns_the_same_findings_each_time(self) -> None:
        trainer = run(net(SMALL))
        images, labels = some(0, 80)
        labels = np.random.default_rng(0).permutation(labels)
        first = preflight(trainer, images, labels)
        assert str(preflight(trainer, images, labels)) == str(first) != "nothing found"

    @without_gradient_check
    def test_preflight_accepts_memory_mapped_arrays(self, tmp_path: Any) -> None:
        images, labels = some(0, 500)
        np.save(tmp_path / "x.npy", images)
        mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
        check_healthy(run(net(SMALL)), mapped, labels)


@without_gradient_check
class TestUnusualData:
    """Preflight has to go through data of each form that `fit` takes."""

    @without_probes
    @pytest.mark.parametrize("kind", LOSSES)
    def test_preflight_takes_validation_data_with_any_loss(self, kind: str) -> None:
        make, targets, outputs = LOSSES[kind]
        x, score = features(4)
        rate = 1e-4 if "sum" in kind else 0.05
        trainer = run(net((12, 16, outputs), before=()), lambda p: SGD(p, rate), make())
        y = targets((score > 0).astype(int))
        held_out = features(5)[0][:200], targets(np.arange(200) % 2)
        found = preflight(trainer, x, y, validation=held_out)
        assert str(found) == "nothing found"

    @without_probes
    def test_preflight_takes_validation_data_of_sequences_and_padding(self) -> None:
        x, y = sequences()
        model = Sequential([Dense(6, 16, rng=0), ReLU(), Dense(16, 3, rng=1)])
        for held_out in (x[200:], y[200:]), (x[200:201], np.full_like(y[:1], -100)):
            found = preflight(run(model), x[:200], y[:200], validation=held_out)
            assert str(found) == "nothing found"

    def test_preflight_takes_tokens_and_sequences_of_another_length(self) -> None:
        rng = np.random.default_rng(0)
        x, other = rng.integers(0, 90, (300, 6)), rng.integers(0, 90, (80, 5))
        model = Sequential([Embedding(90, 16, rng=0), Dense(16, 3, rng=0)])
        found = preflight(run(model), x, x % 3, validation=(other, other % 3))
        assert str(found) == "nothing found"
        found = preflight(run(model), x, x % 3, validation=(x[:80], x[:80] % 3))
        assert names(found) == ["validation leakage"]

    def test_preflight_takes_layers_that_pass_tuples(self) -> None:
        class Pair(Layer):
            """y = (x, x)."""

            def forward(self, x: Array) -> tuple[Array, Array]:
                self.save_for_backward(0.0)
                return x.copy(), x.copy()

            def backward(self, dy: tuple[Array, Array]) -> Array:
                return dy[0] + dy[1]

        class Sum(Layer):
            """y = a + b."""

            def forward(self, x: tuple[Array, Array]) -> Array:
                y: Array = x[0] + x[1]
                self.save_for_backward(y)
                return y

            def backward(self, dy: Array) -> tuple[Array, Array]:
                self.saved_for_backward(dy)
                return dy.copy(), dy.copy()

        class Both(Layer):
            """A network with both of them at its end, or the pair alone."""

            def __init__(self, outputs: int, whole: bool) -> None:
                self.net, self.whole = net((12, 8, outputs), before=()), whole
                self.pair, self.sum = Pair(), Sum()

            def forward(self, x: Array) -> Any:
                pair = self.pair(self.net(x))
                return self.sum(pair) if self.whole else pair

            def backward(self, dy: Any) -> Any:
                return self.net.backward(self.pair.backward(self.sum.backward(dy)))

        class Distance(Layer):
            """The mean of (a + b - y)²."""

            def forward(self, prediction: tuple[Array, Array], targets: Array) -> float:
                self.save_for_backward(0.0, *prediction, targets)
                return float(np.mean((sum(prediction) - targets) ** 2))

            def backward(self) -> None:
                raise NotImplementedError

        x, score = features(0)
        check_healthy(run(Both(2, whole=True)), x, (score > 0).astype(int))
        trainer = run(Both(1, whole=False), loss=Distance())
        check_healthy(trainer, x, score[:, None])
        assert names(preflight(trainer, x, np.ones((600, 1)))) == ["constant targets"]

    def test_preflight_takes_a_batch_norm_and_any_number_of_samples(self) -> None:
        x, score = features(0)
        y = (score > 0).astype(int)
        layers = [Dense(12, 16, rng=0), BatchNorm(16), ReLU(), Dense(16, 2, rng=1)]
        for samples in (100, 130, 258):
            check_healthy(run(Sequential(layers)), x[:samples], y[:samples])
        trainer = run(Sequential(layers))
        assert names(preflight(trainer, x[:1], y[:1])) == ["last batch"]
        assert names(preflight(trainer, x[:64], y[:64], micro_batch_size=21)) == ["last batch"]

    def test_preflight_reports_labels_out_of_range_before_it_looks_at_validation_data(
        self,
    ) -> None:
        images, labels = some(0, 300)
        trainer = run(net(SMALL))
        trainer.metrics.metrics = (Accuracy(),)
        found = preflight(
            trainer, images[:200], labels[:200] + 1, validation=(images[200:], labels[200:] + 1)
        )
        assert names(found) == ["label range"]


@pytest.mark.sweep
class TestSweep:
    @pytest.mark.parametrize("seed", range(1, 5))
    @pytest.mark.parametrize("sizes", [USUAL, (784, 10, 10), (784, 128, 64, 10)], ids=str)
    @pytest.mark.parametrize("samples", [500, 60_000])
    def test_preflight_finds_nothing_in_healthy_runs(
        self, seed: int, sizes: Sizes, samples: int
    ) -> None:
        data = some(500 * seed if samples == 500 else 0, samples)
        for optimizer in OPTIMIZERS.values():
            check_healthy(run(net(sizes, seed), optimizer), *data)
        for make in NETS.values():
            check_healthy(run(make(sizes, seed)), *data)

    @pytest.mark.parametrize("seed", range(1, 5))
    @pytest.mark.parametrize("sizes", [USUAL, (784, 10, 10), (784, 128, 64, 10)], ids=str)
    @pytest.mark.parametrize("samples", [500, 60_000])
    @pytest.mark.parametrize("fault", FAULTS)
    def test_preflight_finds_each_fault_with_any_seed_and_size(
        self, fault: str, seed: int, sizes: Sizes, samples: int
    ) -> None:
        check_found(fault, seed, sizes, some(500 * seed if samples == 500 else 0, samples))
