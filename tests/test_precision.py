"""A float32 network computes float64 samples in float32; everything else keeps its dtype."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinynet import (
    SGD,
    Array,
    BatchNorm,
    BinaryCrossEntropy,
    Dense,
    Embedding,
    Layer,
    Loss,
    MeanSquaredError,
    Metric,
    Parameter,
    ReLU,
    Sequential,
    Standardize,
    Trainer,
    preflight,
)
from tinynet.callbacks import Callback
from tinynet.initializers import constant
from tinynet.mode import inference
from tinynet.precision import input_cast

RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 3))  # float64, as NumPy, pandas and scikit-learn make it
Y = X.sum(axis=1)
POSITIVE = (Y > 0).astype(int)


class Seen(Layer):
    """The identity, with the dtypes of all x that it got."""

    def __init__(self) -> None:
        self.dtypes: list[Any] = []

    def forward(self, x: Array) -> Array:
        self.dtypes.append(x.dtype)
        y = x.copy()
        self.save_for_backward(y)
        return y

    def backward(self, dy: Array) -> Array:
        (dy,) = self.saved_for_backward(dy)
        return dy.copy()


def trainer(first: Layer, dtype: Any = np.float32, metrics: Any = (), loss: Any = None) -> Trainer:
    layers = [first, Dense(3, 8, rng=0), BatchNorm(8), ReLU(), Dense(8, 1, rng=1)]
    model = Sequential(layers).astype(dtype) if dtype != np.float32 else Sequential(layers)
    optimizer = SGD(model.parameters(), 0.1)
    return Trainer(model, loss or MeanSquaredError(), optimizer, metrics=metrics)


ENTRANCES: dict[str, Callable[[Trainer, Array], object]] = {
    "fit": lambda used, x: used.fit(x, Y, epochs=1, batch_size=8),
    "micro batches": lambda used, x: used.fit(x, Y, epochs=1, batch_size=8, micro_batch_size=4),
    "evaluate": lambda used, x: used.evaluate(x, Y),
    "predict": lambda used, x: used.predict(x, 8),
    "predict of the model": lambda used, x: used.model.predict(x),
}


def dtypes(used: Trainer) -> set[Any]:
    (seen,) = (layer for _, layer in used.model.named_layers() if isinstance(layer, Seen))
    found = set(seen.dtypes)
    seen.dtypes.clear()
    return found


@pytest.mark.parametrize("use", ENTRANCES.values(), ids=ENTRANCES)
class TestEveryEntrance:
    def test_float64_samples_are_computed_in_float32_by_a_float32_network(self, use: Any) -> None:
        used = trainer(Seen())
        use(used, X)
        assert dtypes(used) == {np.dtype(np.float32)}
        assert used.predict(X).dtype == np.float32

    @pytest.mark.parametrize("dtype", [">f8", np.longdouble])
    def test_other_floats_of_more_digits_are_cast_as_well(self, use: Any, dtype: Any) -> None:
        used = trainer(Seen())
        use(used, X.astype(dtype))
        assert dtypes(used) == {np.dtype(np.float32)}

    def test_results_are_to_the_bit_those_of_samples_in_float32(self, use: Any) -> None:
        given, cast = trainer(Seen()), trainer(Seen())
        ENTRANCES["fit"](given, X)
        ENTRANCES["fit"](cast, X.astype(np.float32))
        first, second = use(given, X), use(cast, X.astype(np.float32))
        if isinstance(first, np.ndarray):
            np.testing.assert_array_equal(first, second, strict=True)
        elif isinstance(first, dict):
            assert first == second
        for one, other in zip(given.model.parameters(), cast.model.parameters(), strict=True):
            np.testing.assert_array_equal(one.value, other.value, strict=True)

    @pytest.mark.parametrize("dtype", [np.float32, np.float16])
    def test_samples_of_no_more_digits_keep_their_dtype(self, use: Any, dtype: Any) -> None:
        used = trainer(Seen())
        use(used, X.astype(dtype))
        assert dtypes(used) == {np.dtype(dtype)}

    def test_a_float64_network_computes_in_float64(self, use: Any) -> None:
        used = trainer(Seen(), np.float64)
        use(used, X)
        assert dtypes(used) == {np.dtype(np.float64)}

    def test_a_network_with_a_buffer_in_float64_gets_samples_as_they_are(self, use: Any) -> None:
        used = trainer(Sequential([Seen(), Standardize(3).fit(X + 1.7e9)]))
        use(used, X + 1.7e9)
        assert dtypes(used) == {np.dtype(np.float64)}
        assert used.model.predict(X).dtype == np.float32


def test_integers_stay_integers() -> None:
    ids = np.arange(20).reshape(-1, 1) % 4
    model = Sequential([Embedding(4, 1, rng=0), Dense(1, 1, rng=0)])
    used = Trainer(model, MeanSquaredError(), SGD(model.parameters(), 0.1))
    used.fit(ids, Y[:, None, None], epochs=1)
    assert used.predict(ids).shape == (20, 1, 1)
    cast = input_cast({"weight": np.ones(1, np.float32)})
    for dtype in (np.int64, np.uint8, np.bool_):
        assert np.asarray(cast(np.ones(2, dtype))).dtype == dtype


def test_a_network_without_floats_and_one_of_two_dtypes_get_samples_as_they_are() -> None:
    states: list[dict[str, Array]] = [
        {},
        {"count": np.array(0)},
        {"a": np.ones(1), "b": np.ones(1, np.float32)},
    ]
    for state in states:
        assert input_cast(state)(X) is X
    assert ReLU().predict(X).dtype == np.float64


def test_a_memory_map_is_cast_batch_by_batch(tmp_path: Path) -> None:
    class Largest(Callback):
        size = 0

        def on_step_end(self, trainer: Trainer) -> None:
            self.size = max(self.size, trainer.batch.nbytes)

    np.save(tmp_path / "x.npy", X)
    mapped, largest = np.load(tmp_path / "x.npy", mmap_mode="r"), Largest()
    used = trainer(Seen())
    used.fit(mapped, Y, epochs=1, batch_size=5, callbacks=[largest])
    assert largest.size == 5 * 3 * 4
    np.testing.assert_array_equal(used.predict(mapped, 5), used.predict(X, 5), strict=True)


def test_targets_are_not_rounded() -> None:
    # Unix times: neighbours in float32 are 128 s apart.
    times = 1.7e9 + np.arange(20.0)
    model = Dense(3, 1, weight_init=constant(0), bias_init=constant(1.7e9))
    used = Trainer(model, MeanSquaredError(), SGD(model.parameters(), 0.1))
    bias = float(np.float32(1.7e9))
    assert used.evaluate(X, times)["loss"] == pytest.approx(np.mean((times - bias) ** 2), rel=1e-12)


def test_a_transform_gets_the_samples_as_they_were_given() -> None:
    found = []

    def record(x: Array, y: Array, _: Any) -> tuple[Array, Array]:
        found.append(x.dtype)
        return x, y

    used = trainer(Seen())
    used.fit(X, Y, epochs=1, transform=record)
    assert set(found) == {np.dtype(np.float64)}


class TestTargetsOfOneColumn:
    """Targets (N,) beside an output (N, 1), in all that a trainer does with them."""

    @pytest.mark.parametrize("part", [None, 7])
    @pytest.mark.parametrize(("loss", "y"), [(MeanSquaredError, Y), (BinaryCrossEntropy, POSITIVE)])
    def test_training_is_to_the_bit_that_with_targets_of_one_column(
        self, loss: type[Loss], y: Array, part: int | None
    ) -> None:
        runs = [trainer(Seen(), loss=loss()) for _ in range(2)]
        histories = [
            run.fit(
                X, targets, epochs=2, batch_size=10, micro_batch_size=part, validation=(X, targets)
            )
            for run, targets in zip(runs, (y, y[:, None]), strict=True)
        ]
        assert histories[0].epochs == histories[1].epochs
        assert runs[0].evaluate(X, y, batch_size=3) == runs[1].evaluate(X, y[:, None], batch_size=3)
        for one, other in zip(*(run.model.parameters() for run in runs), strict=True):
            np.testing.assert_array_equal(one.value, other.value)

    def test_loss_and_metrics_are_never_those_of_all_pairs_of_samples(self) -> None:
        from tinynet import R2, MeanAbsoluteErrorMetric, RootMeanSquaredError

        metrics: list[Metric] = [R2(), MeanAbsoluteErrorMetric(), RootMeanSquaredError()]
        used = trainer(Seen(), metrics=metrics)
        with inference():
            error = used.model(X)[:, 0] - Y
        results = used.evaluate(X, Y)
        assert results["loss"] == pytest.approx(np.mean(error**2), rel=1e-5)
        assert results["mean_absolute_error"] == pytest.approx(np.mean(abs(error)), rel=1e-5)
        assert results["root_mean_squared_error"] ** 2 == pytest.approx(results["loss"], rel=1e-5)
        assert results["r2"] == pytest.approx(1 - np.mean(error**2) / np.var(Y), rel=1e-4)

    def test_preflight_takes_them(self) -> None:
        rng = np.random.default_rng(1)
        x = rng.standard_normal((200, 3)).astype(np.float32)
        model = Sequential([Dense(3, 8, rng=0), ReLU(), Dense(8, 1, rng=1)])
        used = Trainer(model, MeanSquaredError(), SGD(model.parameters(), 0.05))
        flat, column = (preflight(used, x, y) for y in (x.sum(axis=1), x.sum(axis=1)[:, None]))
        assert str(flat) == str(column)
        assert not flat


def test_a_parameter_in_float64_keeps_a_network_in_float64() -> None:
    class Gain(Layer):
        def __init__(self) -> None:
            self.gain = Parameter([2.0], np.float64)

        def forward(self, x: Array) -> Array:
            y: Array = x * self.gain.value
            self.save_for_backward(y, x)
            return y

        def backward(self, dy: Array) -> Array:
            dy, x = self.saved_for_backward(dy)
            self.gain.grad = (dy * x).sum(keepdims=True).reshape(1)
            dx: Array = dy * self.gain.value
            return dx

    used = trainer(Sequential([Gain(), Seen()]))
    ENTRANCES["fit"](used, X)
    assert dtypes(used) == {np.dtype(np.float64)}
