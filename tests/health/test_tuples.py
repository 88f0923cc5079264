"""Preflight, Doctor and detect_anomaly where x, y and the prediction are tuples of arrays."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinynet import (
    SGD,
    AnomalyError,
    Array,
    Dense,
    Heads,
    Layer,
    MeanSquaredError,
    MultiTaskLoss,
    Parallel,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    SoftmaxCrossEntropy,
    Trainer,
    detect_anomaly,
    preflight,
)
from tinynet.callbacks import Doctor

RNG = np.random.default_rng(0)
A = RNG.standard_normal((600, 12)).astype(np.float32)
B = RNG.standard_normal((600, 5)).astype(np.float32)
SCORE = A[:, 0] - A[:, 1] + 0.3 * B[:, 0]
LABELS, TARGETS = np.digitize(SCORE, (-0.5, 0.5)), SCORE[:, None]
X, Y = (A, B), (LABELS, TARGETS)
SHUFFLED = np.random.default_rng(1).permutation(600)

pytestmark = pytest.mark.usefixtures("_no_gradient_check")


def run(
    *, rate: float = 0.05, first: tuple[Layer, ...] = (), second: tuple[Layer, ...] = ()
) -> Trainer:
    """Two inputs and two heads, with layers behind the last weights of each head."""
    inputs = Parallel([Dense(12, 16, rng=0), Dense(5, 8, rng=1)])
    heads = Heads(
        [Sequential([Dense(24, 3, rng=2), *first]), Sequential([Dense(24, 1, rng=3), *second])]
    )
    model = Sequential([inputs, ReLU(), heads])
    loss = MultiTaskLoss([SoftmaxCrossEntropy(), MeanSquaredError()], weights=[1.0, 0.5])
    return Trainer(model, loss, SGD(model.parameters(), rate))


def nan_in(array: Array) -> Array:
    array = array.copy()
    array[3, 1] = np.nan
    return array


def part(samples: Any, rows: slice) -> Any:
    return tuple(array[rows] for array in samples)


# The trainer, x, y and validation data; the name of the first finding and its beginning.
FAULTS: dict[str, tuple[Callable[[], tuple[Any, ...]], str]] = {
    "NaN in one array": (lambda: (run(), (A, nan_in(B)), Y), r"not finite: x\[1\] has an entry"),
    "labels from 1": (
        lambda: (run(), X, (LABELS + 1, TARGETS)),
        r"label range: y\[0\]: Labels run from 1 to 3, and the network has 3 outputs",
    ),
    "constant targets": (
        lambda: (run(), X, (LABELS, 0 * TARGETS + 1)),
        r"constant targets: y\[1\]: All 600 targets are 1",
    ),
    "features that are not scaled": (
        lambda: (run(), (A, 100 * B), Y),
        r"input range: x\[1\]: The input of layers\.0\.branches\.1, Dense\(5, 8\)",
    ),
    "targets that are not scaled": (
        lambda: (run(), X, (LABELS, 1e5 * TARGETS)),
        r"target range: y\[1\]: The root mean square of the targets",
    ),
    "a target among the features": (
        lambda: (run(), (A, np.column_stack([B[:, :4], TARGETS])), Y),
        r"target leakage: x\[1\] and y\[1\]: Feature 4 of x equals the target",
    ),
    "a softmax before one head's loss": (
        lambda: (run(first=(Softmax(),)), X, Y),
        r"output activation: y\[0\]: SoftmaxCrossEntropy takes logits",
    ),
    "a ReLU before one head's loss": (
        lambda: (run(second=(ReLU(),)), X, Y),
        r"output range: y\[1\]: \d\d% of the targets.*layers\.2\.branches\.1\.layers\.1, ReLU\(\)",
    ),
    "targets of one head in another order": (
        lambda: (run(), X, (LABELS, TARGETS[SHUFFLED])),
        r"unrelated labels: y\[1\]: After 20 epochs",
    ),
    "a rate that is too high": (lambda: (run(rate=50.0), X, Y), "learning rate too high: In 100"),
    "a rate that is too low": (lambda: (run(rate=1e-6), X, Y), "learning rate too low: In 100"),
    "validation data of another scale": (
        lambda: (
            run(),
            part(X, slice(400)),
            part(Y, slice(400)),
            ((A[400:], 50 * B[400:]), part(Y, slice(400, 600))),
        ),
        r"validation scale: x\[1\]: The validation inputs",
    ),
    "validation samples that are training samples": (
        lambda: (run(), X, Y, (part(X, slice(200)), part(Y, slice(200)))),
        r"validation leakage: 200 of 200 validation samples",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_finding_names_the_array(fault: str) -> None:
    make, pattern = FAULTS[fault]
    trainer, x, y, *validation = make()
    found = preflight(trainer, x, y, validation=validation[0] if validation else None)
    assert re.match(pattern, str(found[0])), str(found)


def test_nothing_is_found_in_healthy_runs() -> None:
    training, held_out = slice(400), slice(400, 600)
    validation = part(X, held_out), part(Y, held_out)
    found = preflight(run(), part(X, training), part(Y, training), validation=validation)
    assert str(found) == "nothing found"
    one = Sequential([Dense(12, 8, rng=0), ReLU(), Heads([Dense(8, 3, rng=1), Dense(8, 1, rng=2)])])
    loss = MultiTaskLoss([SoftmaxCrossEntropy(), MeanSquaredError()])
    assert str(preflight(Trainer(one, loss, SGD(one.parameters(), 0.05)), A, Y)) == "nothing found"
    other = Sequential([Parallel([Dense(12, 8, rng=0), Dense(5, 8, rng=1)]), ReLU(), Dense(16, 3)])
    trainer = Trainer(other, SoftmaxCrossEntropy(), SGD(other.parameters(), 0.05))
    assert str(preflight(trainer, X, LABELS)) == "nothing found"


def test_the_gradient_of_a_deep_network_with_two_inputs_vanishes() -> None:
    layers: list[Layer] = [Parallel([Dense(12, 8, rng=0), Dense(5, 8, rng=1)]), Sigmoid()]
    for seed in range(12):
        layers += [Dense(16, 16, rng=seed), Sigmoid()]
    model = Sequential([*layers, Dense(16, 3, rng=9)])
    trainer = Trainer(model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1))
    (finding,) = preflight(trainer, X, LABELS)
    assert finding.name == "vanishing gradient"
    reports: list[str] = []
    trainer.fit(X, LABELS, epochs=2, callbacks=[Doctor(every_steps=5, report=reports.append)])
    assert "vanishing gradient" in reports[0]


def test_doctor_reads_batches_of_tuples() -> None:
    doctor = Doctor(every_steps=5, report=lambda _: None)
    run().fit(X, Y, epochs=3, callbacks=[doctor])
    assert doctor.findings == []


def test_detect_anomaly_names_the_array_of_a_tuple() -> None:
    with detect_anomaly():
        run().fit(X, Y, epochs=1)
    with (
        pytest.raises(AnomalyError, match=r"input, step \d+: x\[1\] has the first NaN"),
        detect_anomaly(),
    ):
        run().fit((A, nan_in(B)), Y, epochs=1)
