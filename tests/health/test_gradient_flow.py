"""The gradient that reaches the first weights, in networks that learn and in others that do not."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinynet import (
    GELU,
    RNN,
    SGD,
    Adam,
    Array,
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    Layer,
    LayerNorm,
    MeanSquaredError,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SoftmaxCrossEntropy,
    Tanh,
    Trainer,
    preflight,
)
from tinynet.health.gradient_flow import flow_through_time, measured_flow
from tinynet.health.probes import learning_rate, relation

RNG = np.random.default_rng(0)
X = RNG.standard_normal((256, 12)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(np.int64)


def deep(
    activation: Callable[[], Layer],
    depth: int,
    *,
    width: int = 32,
    times: float = 1.0,
    head: float = 1.0,
    between: Callable[[], list[Layer]] = list,
) -> Sequential:
    layers: list[Layer] = []
    for index in range(depth):
        dense = Dense(width if index else 12, width, rng=index)
        dense.weight.value *= times
        layers += [dense, *between(), activation()]
    last = Dense(width, 2, rng=99)
    last.weight.value *= head
    return Sequential([*layers, last])


def residual(depth: int) -> Sequential:
    """Blocks whose last weights start at 0."""
    blocks = []
    for index in range(depth):
        last = Dense(32, 32, rng=50 + index)
        last.weight.value[...] = 0
        blocks.append(Residual([LayerNorm(32), Dense(32, 32, rng=index), ReLU(), last]))
    return Sequential([Dense(12, 32, rng=0), *blocks, Dense(32, 2, rng=99)])


def run(model: Layer, optimizer: Callable[..., Any] = SGD, loss: Layer | None = None) -> Trainer:
    return Trainer(model, loss or SoftmaxCrossEntropy(), optimizer(model.parameters(), 0.05))


HEALTHY: dict[str, Callable[[], Layer]] = {
    "one sigmoid": lambda: deep(Sigmoid, 1),
    "two sigmoids": lambda: deep(Sigmoid, 2),
    "20 ReLUs from He's start": lambda: deep(ReLU, 20),
    "GELUs": lambda: deep(GELU, 6),
    "tanhs": lambda: deep(Tanh, 6, times=0.7),
    "BatchNorm between sigmoids": lambda: deep(Sigmoid, 12, between=lambda: [BatchNorm(32)]),
    "LayerNorm between ReLUs": lambda: deep(ReLU, 12, between=lambda: [LayerNorm(32)]),
    "dropout": lambda: deep(ReLU, 6, between=lambda: [Dropout(0.5, rng=0)]),
    "last weights of 0": lambda: deep(ReLU, 3, head=0),
    "tiny last weights": lambda: deep(ReLU, 3, head=1e-6),
    "residual branches that start at 0": lambda: residual(12),
}
DEAD: dict[str, tuple[Callable[[], Layer], str]] = {
    "12 sigmoids": (lambda: deep(Sigmoid, 12), "vanishing gradient"),
    "50 sigmoids": (lambda: deep(Sigmoid, 50), "vanishing gradient"),
    "sigmoids before last weights of 0": (lambda: deep(Sigmoid, 12, head=0), "vanishing gradient"),
    "tanhs with small weights": (lambda: deep(Tanh, 10, times=0.1), "vanishing gradient"),
    "ReLUs with small weights": (lambda: deep(ReLU, 8, times=0.04), "vanishing gradient"),
    "ReLUs with weights of N(0, 1)": (lambda: deep(ReLU, 12, times=4), "exploding gradient"),
    "ReLUs whose gradient overflows": (lambda: deep(ReLU, 12, times=1e30), "exploding gradient"),
}


def names(findings: Any) -> list[str]:
    return [finding.name for finding in findings]


@pytest.mark.parametrize("network", HEALTHY)
def test_the_gradient_reaches_the_first_weights_of_networks_that_learn(network: str) -> None:
    flow = measured_flow(run(HEALTHY[network]()), X[:64], LABELS[:64])
    assert flow is not None
    assert flow.findings() == []
    assert 1e-3 < flow.relative < 1e3  # two orders of magnitude from both limits


@pytest.mark.parametrize("network", DEAD)
def test_a_gradient_that_vanishes_or_explodes_is_the_first_finding(network: str) -> None:
    make, name = DEAD[network]
    with np.errstate(all="ignore"):
        found = preflight(run(make()), X, LABELS)
    if "overflows" in network:  # the forward as well
        assert names(found) == ["not finite"]
        return
    assert names(found)[0] == name
    assert re.search(
        r"gradient of the first weights, layers\.0, Dense\(12, 32\), has the root mean square "
        r"\S+, and that of the last, layers\.\d+, Dense\(32, 2\), \S+: a ratio of \S+\.",
        found[0].evidence,
    )


def test_the_evidence_is_the_root_mean_square_of_the_gradients_of_a_batch() -> None:
    model = deep(Sigmoid, 12)
    loss, double = SoftmaxCrossEntropy(), model.astype(np.float64)
    loss(double(X[:64].astype(np.float64)), LABELS[:64])
    double.backward(loss.backward())
    first, last = (
        float(np.sqrt(np.mean(np.square(layer.weight.grad))))  # type: ignore[attr-defined]  # a Dense
        for layer in (double[0], double[-1])
    )
    flow = measured_flow(run(model), X[:64], LABELS[:64])
    assert flow is not None
    assert (flow.first, flow.last) == pytest.approx((first, last), rel=1e-6)
    assert f"{first:.3g}, and that of the last" in flow.text
    assert f"{last:.3g}: a ratio of {first / last:.2g}." in flow.text


def test_the_largest_gradient_in_between_and_a_tiny_signal_are_evidence_too() -> None:
    flow = measured_flow(run(deep(Tanh, 10, times=0.1)), X[:64], LABELS[:64])
    assert flow is not None
    assert re.search(
        r"The input of the last weights has the root mean square \S+e-\d+\.", flow.text
    )
    model = deep(ReLU, 3)
    model[2].weight.value *= 1e3  # type: ignore[attr-defined]  # a Dense
    model[4].weight.value *= 1e-3  # type: ignore[attr-defined]  # a Dense
    flow = measured_flow(run(model), X[:64], LABELS[:64])
    assert flow is not None
    assert "The largest is" in flow.text
    assert "of layers.4, Dense(32, 32)." in flow.text


def test_the_flow_does_not_depend_on_the_scale_of_the_loss_or_the_number_of_tokens() -> None:
    class Scaled(Layer):
        """A millionth of the squared error."""

        def __init__(self) -> None:
            self.error = MeanSquaredError()

        def forward(self, prediction: Array, targets: Array) -> float:
            return 1e-6 * float(self.error(prediction, targets))

        def backward(self) -> Array:
            dx: Array = 1e-6 * self.error.backward()
            return dx

    y = np.stack([X[:64, 0], X[:64, 1]], axis=1)
    flows = [
        measured_flow(run(deep(ReLU, 3), loss=each), X[:64], y)
        for each in (MeanSquaredError(), Scaled())
    ]
    assert flows[0] is not None
    assert flows[1] is not None
    assert flows[0].relative == pytest.approx(flows[1].relative, rel=1e-9)
    ids = RNG.integers(0, 9, (64, 5))
    small, large = (
        measured_flow(
            run(Sequential([table, Dense(4, 4, rng=1), Dense(4, 2, rng=2)])), ids, ids % 2
        )
        for table in (Embedding(9, 4, rng=0), Embedding(9000, 4, rng=0))
    )
    assert small is not None
    assert large is not None
    assert small.relative < 3 * large.relative


@pytest.mark.parametrize(
    ("model", "samples"),
    [
        (Dense(12, 2, rng=0), 64),
        (ReLU(), 64),
        (Sequential([Dense(12, 8, rng=0), BatchNorm(8), Dense(8, 2, rng=1)]), 1),
    ],
    ids=["one layer of weights", "no weights", "a batch norm of one sample"],
)
def test_networks_without_two_weights_to_compare_are_not_judged(model: Layer, samples: int) -> None:
    trainer = (
        Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1))
        if (model.parameters())
        else run(Sequential([Dense(12, 12), model]))
    )
    assert measured_flow(trainer, X[:samples], LABELS[:samples]) is None


def test_weights_that_are_not_trained_are_left_out() -> None:
    model = deep(Sigmoid, 12)
    trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters()[-4:], 0.1))
    flow = measured_flow(trainer, X[:64], LABELS[:64])
    assert flow is not None
    assert "layers.22, Dense(32, 32)" in flow.text
    assert flow.findings() == []


def test_a_gradient_of_0_does_not_vanish_on_its_way() -> None:
    model = deep(ReLU, 3)
    model[2].bias.value[...] = -100  # type: ignore[attr-defined]  # a Dense
    flow = measured_flow(run(model), X[:64], LABELS[:64])
    assert flow is not None
    assert flow.relative == 1
    assert names(preflight(run(model), X, LABELS))[0] == "dead units"


def test_weights_of_0_that_get_a_gradient_are_no_fault() -> None:
    x, labels = X[:300], LABELS[:300]
    assert str(preflight(run(residual(1), Adam), x, labels)) == "nothing found"
    # Labels from 1 have no gradient to look at.
    found = preflight(run(residual(1), Adam), x, labels + 1)
    assert names(found) == ["label range", "same start"]


def test_a_weak_gradient_explains_why_the_optimizer_does_not_learn() -> None:
    """6 sigmoids: Adam makes up for small gradients, SGD does not."""
    trainer = run(deep(Sigmoid, 6, width=8))
    assert measured_flow(trainer, X[:64], LABELS[:64]).findings() == []  # type: ignore[union-attr]  # never None here
    found = learning_rate(trainer, X, LABELS)
    assert names(found) == ["vanishing gradient", "one batch"]
    assert "the loss without learning; Adam does." in found[1].evidence


class TestThroughTime:
    IDS = RNG.integers(0, 20, (200, 60))

    def run(self, states: str = "last") -> Trainer:
        layers = [Embedding(20, 4, rng=0), RNN(4, 2, states=states, rng=0), Dense(2, 2, rng=1)]
        return run(Sequential(layers), Adam)

    def test_a_gradient_that_vanishes_through_time_is_named_if_the_first_step_counts(self) -> None:
        found = relation(self.run(), self.IDS, self.IDS[:, 0] % 2)
        assert names(found) == ["vanishing gradient", "unrelated labels"]
        assert re.search(
            r"the first of 60 time steps of layers\.1, RNN\(4, 2, states='last'\) has the root "
            r"mean square \S+e-\d\d, and that of the last 0\.\d+\.",
            found[0].evidence,
        )

    def test_a_gradient_that_comes_in_at_each_step_does_not_vanish(self) -> None:
        assert flow_through_time(self.run("all"), self.IDS, self.IDS % 2) == []

    def test_one_step_is_no_way_to_vanish_on(self) -> None:
        assert flow_through_time(self.run(), self.IDS[:, :1], self.IDS[:, 0] % 2) == []


def test_a_failure_to_learn_the_samples_makes_the_test_of_labels_uninformative() -> None:
    class Wall(Layer):
        """y = x, and passes no gradient."""

        def forward(self, x: Array) -> Array:
            return x.copy()

        def backward(self, dy: Array) -> Array:
            return np.zeros_like(dy)

    model = Sequential([Dense(12, 8, rng=0), Dense(8, 2, rng=1), Wall()])
    shuffled = np.random.default_rng(1).permutation(LABELS)
    (finding,) = relation(run(model), X, shuffled)
    assert "The network has not learned the samples that it was trained on" in finding.evidence
    (finding,) = relation(run(deep(ReLU, 1), Adam), X, shuffled)
    assert "has not learned" not in finding.evidence
