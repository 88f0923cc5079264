from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from preflight_faults import features, net, some

from tinynet import (
    ELU,
    SGD,
    Array,
    BatchNorm,
    BinaryCrossEntropy,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    Hinge,
    KLDivergence,
    Layer,
    LayerNorm,
    LeakyReLU,
    LogSoftmax,
    MeanAbsoluteError,
    MeanSquaredError,
    ReLU,
    Rescale,
    Reshape,
    Residual,
    Sequential,
    Sigmoid,
    Softmax,
    SoftmaxCrossEntropy,
    Softplus,
    Tanh,
    Trainer,
    UpSample2D,
    preflight,
)
from tinynet.datasets.batches import Batches
from tinynet.health.inspection import inspect
from tinynet.health.output_checks import OUTPUT_CHECKS

X, SCORE = features(0)
LABELS = np.digitize(SCORE, (-0.5, 0.5))
YES = (SCORE[:, None] > 0).astype(int)
LOGITS: dict[str, tuple[Layer, Array, int]] = {
    "SoftmaxCrossEntropy": (SoftmaxCrossEntropy(), LABELS, 3),
    "Hinge": (Hinge(), LABELS, 3),
    "BinaryCrossEntropy": (BinaryCrossEntropy(), YES, 1),
}


class Own(Layer):
    """A softmax under another name."""

    def __init__(self) -> None:
        self.softmax = Softmax()

    def forward(self, x: Array) -> Array:
        y: Array = self.softmax(x)
        return y

    def backward(self, dy: Array) -> Array:
        dx: Array = self.softmax.backward(dy)
        return dx


class Clipped(Layer):
    """y = x between -20 and 20."""

    def forward(self, x: Array) -> Array:
        self.save_for_backward(x, x)
        return np.clip(x, -20, 20)

    def backward(self, dy: Array) -> Array:
        dy, x = self.saved_for_backward(dy)
        dx: Array = dy * (abs(x) < 20)
        return dx


def names(loss: Layer, y: Array, outputs: int, *last: Layer, hidden: int = 16) -> list[str]:
    """The findings about layers behind the last weights."""
    model = Sequential([*net((12, hidden, outputs), before=()), *last])
    trainer = Trainer(model, loss, SGD(model.parameters(), 0.1))
    looked_at = inspect(trainer, Batches(X, y), None)
    return [finding.name for check in OUTPUT_CHECKS for finding in check(looked_at)]


@pytest.mark.parametrize("loss", LOGITS)
class TestLossesOfLogits:
    @pytest.mark.parametrize("layer", [Sigmoid, ReLU, Softplus, ELU], ids=lambda c: c.__name__)
    def test_an_activation_that_cuts_one_side_is_found(self, loss: str, layer: Any) -> None:
        assert names(*LOGITS[loss], layer()) == ["output activation"]

    @pytest.mark.parametrize(
        "behind",
        [[Reshape((-1,))], [Dropout(0.001, rng=0)], [Rescale(1.0), Flatten()]],
        ids=["reshape", "dropout", "identity"],
    )
    def test_layers_behind_it_that_change_nothing_do_not_hide_it(
        self, loss: str, behind: list[Layer]
    ) -> None:
        assert names(*LOGITS[loss], ReLU(), *behind) == ["output activation"]

    @pytest.mark.parametrize(
        "layers",
        [
            *([], [LeakyReLU(0.1)], [Rescale(-1.0)], [Clipped()], [Flatten()], [Reshape((-1,))]),
            [ReLU(), Rescale(2.0, -1.0)],
        ],
        ids=str,
    )
    def test_outputs_of_both_signs_are_not_accused(self, loss: str, layers: list[Layer]) -> None:
        assert names(*LOGITS[loss], *layers) == []

    @pytest.mark.parametrize("layer", [Softmax, Own], ids=lambda c: c.__name__)
    def test_a_softmax_is_found_by_its_rows(self, loss: str, layer: Any) -> None:
        assert names(*LOGITS[loss], layer()) == ["output activation"]

    def test_a_log_softmax_is_not_accused(self, loss: str) -> None:
        expected = [] if LOGITS[loss][2] > 1 else ["output activation"]  # of one column it is 0
        assert names(*LOGITS[loss], LogSoftmax()) == expected


def test_a_log_softmax_before_softmax_cross_entropy_changes_neither_loss_nor_gradient() -> None:
    """log softmax(log softmax(z)) = log softmax(z): why preflight does not accuse it."""
    logits = np.random.default_rng(0).normal(0, 3, (50, 7))
    labels = np.random.default_rng(1).integers(0, 7, 50)
    layer, loss, direct = LogSoftmax(), SoftmaxCrossEntropy(), SoftmaxCrossEntropy()
    assert loss(layer(logits), labels) == pytest.approx(direct(logits, labels), rel=1e-14)
    dlogits = layer.backward(loss.backward())
    np.testing.assert_allclose(dlogits, direct.backward(), rtol=1e-12, atol=1e-17)


def test_a_softmax_limits_the_probability_as_the_evidence_says() -> None:
    """The logits are at most 1 and 0: the probability is e / (e + C - 1)."""
    sure = np.eye(10)[:1]
    assert Softmax()(sure).max() == pytest.approx(0.2320, abs=5e-5)


def test_a_tanh_is_found_unless_its_range_is_wider_than_the_margin_of_a_hinge() -> None:
    assert names(*LOGITS["SoftmaxCrossEntropy"], Tanh()) == ["output activation"]
    assert names(*LOGITS["BinaryCrossEntropy"], Tanh()) == ["output activation"]
    assert names(Hinge(), LABELS, 3, Tanh()) == []
    assert names(Hinge(margin=3.0), LABELS, 3, Tanh()) == ["output activation"]


def test_an_activation_inside_a_branch_is_not_the_last_layer() -> None:
    branch = Residual([Dense(3, 3, rng=0), ReLU()])
    assert names(SoftmaxCrossEntropy(), LABELS, 3, branch) == []


@pytest.mark.parametrize(
    "layers",
    [
        [BatchNorm(3, affine=False)],
        [BatchNorm(3, affine=False, track_running_stats=False)],
        [LayerNorm(3, elementwise_affine=False)],
        [Reshape((3, 1, 1)), GlobalAvgPool2D()],
        [Reshape((3, 1, 1)), UpSample2D(2), GlobalAvgPool2D()],
    ],
    ids=str,
)
def test_layers_that_combine_entries_are_no_activations(layers: list[Layer]) -> None:
    assert names(SoftmaxCrossEntropy(), LABELS, 3, *layers) == []


def test_a_pooling_layer_is_no_activation() -> None:
    layers = [Reshape((3, 1, 2)), GlobalAvgPool2D()]
    assert names(SoftmaxCrossEntropy(), LABELS, 6, *layers) == []


def test_the_advice_for_hidden_activations_is_not_given() -> None:
    """The last layer has weights, though its outputs are all positive."""
    model = Sequential([Dense(12, 3, rng=0), ReLU(), Dense(3, 3, rng=1)])
    model[2].weight.value[...] = abs(model[2].weight.value)  # type: ignore[attr-defined]
    trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1))
    looked_at = inspect(trainer, Batches(X, LABELS), None)
    assert looked_at.prediction.min() >= 0
    assert [finding for check in OUTPUT_CHECKS for finding in check(looked_at)] == []


class TestKLDivergence:
    @pytest.mark.parametrize(
        ("layers", "accused"),
        [([LogSoftmax()], False), ([], True), ([Softmax()], True), ([LogSoftmax(), ReLU()], True)],
        ids=str,
    )
    def test_log_probabilities_are_expected(self, layers: list[Layer], accused: bool) -> None:
        y = np.eye(3, dtype=np.float32)[LABELS]
        expected = ["output activation"] if accused else []
        assert names(KLDivergence(), y, 3, *layers) == expected

    def test_distributions_may_be_along_any_axis(self) -> None:
        p = np.full((600, 2, 3), 0.5, np.float32)
        layers = [Reshape((2, 3)), LogSoftmax(axis=1)]
        assert names(KLDivergence(), p, 6, *layers) == []
        assert names(KLDivergence(), p / 3, 6, LogSoftmax(), Reshape((2, 3))) == []


@pytest.mark.parametrize("loss", [MeanSquaredError(), MeanAbsoluteError()], ids=repr)
class TestRegression:
    @pytest.mark.parametrize(
        ("layer", "targets"),
        [
            (Sigmoid(), YES.astype(np.float32)),
            (Sigmoid(), Sigmoid()(SCORE)[:, None]),
            (Tanh(), 2.0 * YES - 1),
            (ReLU(), abs(SCORE)[:, None]),
            (LeakyReLU(0.1), SCORE[:, None]),
            (Rescale(2.0), SCORE[:, None]),
        ],
        ids=["0 and 1", "0 to 1", "-1 and 1", "positive", "leaky", "linear"],
    )
    def test_targets_in_the_range_of_the_last_layer_are_not_accused(
        self, loss: Layer, layer: Layer, targets: Array
    ) -> None:
        assert names(loss, targets, 1, layer) == []

    @pytest.mark.parametrize(
        ("layer", "targets"),
        [
            (Sigmoid(), 3 * abs(SCORE)[:, None]),
            (Tanh(), 3 * SCORE[:, None]),
            (ReLU(), SCORE[:, None]),
            (Rescale(-1.0), None),
        ],
        ids=["sigmoid", "tanh", "relu", "none"],
    )
    def test_targets_out_of_its_range_are_found(
        self, loss: Layer, layer: Layer, targets: Array | None
    ) -> None:
        expected = [] if targets is None else ["output range"]
        assert names(loss, SCORE[:, None] if targets is None else targets, 1, layer) == expected

    def test_a_few_targets_out_of_its_range_are_not_accused(self, loss: Layer) -> None:
        targets = abs(SCORE)[:, None]
        targets[:25] *= -1
        assert names(loss, targets, 1, ReLU()) == []

    def test_the_whole_row_is_no_range_of_an_entry(self, loss: Layer) -> None:
        assert names(loss, 5 + np.tile(SCORE[:, None], 3), 3, Softmax()) == []


class TestDropout:
    @pytest.mark.parametrize(
        "layers",
        [[Dropout(0.3, rng=0)], [Flatten(), Dropout(0.3, rng=0), Reshape((3,))]],
        ids=["last", "before a reshape"],
    )
    def test_dropout_of_predictions_is_found(self, layers: list[Layer]) -> None:
        assert names(SoftmaxCrossEntropy(), LABELS, 3, *layers) == ["output dropout"]

    def test_dropout_before_the_last_weights_is_not_accused(self) -> None:
        layers = [Dropout(0.5, rng=0), Dense(16, 3, rng=0)]
        assert names(SoftmaxCrossEntropy(), LABELS, 16, *layers) == []


@pytest.mark.usefixtures("_no_gradient_check")
@pytest.mark.parametrize("make", [LogSoftmax, LeakyReLU], ids=lambda c: c.__name__)
def test_preflight_finds_nothing_with_a_harmless_last_layer(make: Callable[[], Layer]) -> None:
    model = Sequential([*net((784, 12, 10)), make()])
    trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1))
    assert str(preflight(trainer, *some(0, 500))) == "nothing found"


def test_limits_beyond_the_largest_number_raise_no_warning() -> None:
    class Exp(Layer):
        """y = exp(x)."""

        def forward(self, x: Array) -> Array:
            y: Array = np.exp(x)
            self.save_for_backward(y, y.copy())
            return y

        def backward(self, dy: Array) -> Array:
            dy, y = self.saved_for_backward(dy)
            dx: Array = dy * y
            return dx

    assert names(MeanSquaredError(), np.exp(SCORE)[:, None], 1, Exp()) == []
    assert names(MeanSquaredError(), SCORE[:, None], 1, Exp()) == ["output range"]
    assert names(SoftmaxCrossEntropy(), LABELS, 3, Softmax(), Exp()) == ["output activation"]
