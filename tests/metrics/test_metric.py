import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metric_cases import CASES, Case, said, same

import tinynet
from tinynet import (
    R2,
    ROCAUC,
    SGD,
    Accuracy,
    Array,
    BinaryCrossEntropy,
    Dense,
    Metric,
    TopKAccuracy,
    Trainer,
)
from tinynet.metrics.metric import Metrics
from tinynet.saving.checkpoint import read, write
from tinynet.training.callback import Callback

every_metric = pytest.mark.parametrize("name", CASES)
seeds = st.integers(0, 2**32 - 1)


def drawn(case: Case, seed: int, *, nan: bool = True) -> tuple[np.random.Generator, Array, Array]:
    """A generator, and a prediction with targets; one in four has some NaN."""
    # By NumPy: a draw of Hypothesis for each entry would take minutes.
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 14))
    return rng, *case.batch(rng, size, nan=nan and rng.random() < 0.25)


def some_parts(rng: np.random.Generator, size: int) -> list[Array]:
    """The rows in any order, divided into batches, some of which are empty."""
    cuts = np.sort(rng.integers(0, size + 1, rng.integers(0, 6)))
    return np.split(rng.permutation(size), cuts)


def bits(metric: Metric) -> list[tuple[str, bytes]]:
    return [(name, array.tobytes()) for name, array in metric.state_dict().items()]


@every_metric
class TestEveryMetric:
    @given(seed=seeds)
    def test_results_do_not_depend_on_the_order_and_the_batches_of_the_samples(
        self, name: str, seed: int
    ) -> None:
        case = CASES[name]
        rng, prediction, targets = drawn(case, seed)
        whole, parts = case.make(), case.make()
        whole.update(prediction, targets)
        for rows in some_parts(rng, len(prediction)):
            parts.update(prediction[rows], targets[rows])
        assert same(whole.results(), parts.results(), exact=case.exact)

    @given(seed=seeds)
    def test_a_state_of_any_batch_boundary_continues_with_the_same_bits(
        self, name: str, seed: int
    ) -> None:
        case = CASES[name]
        rng, prediction, targets = drawn(case, seed)
        parts = some_parts(rng, len(prediction))
        boundary = int(rng.integers(len(parts) + 1))
        whole, other = case.make(), case.make()
        for rows in parts[:boundary]:
            whole.update(prediction[rows], targets[rows])
        other.update(*drawn(case, seed + 1)[1:])
        before = bits(other)
        state = copy.deepcopy(whole.state_dict())
        other.check_state_dict(state)
        assert bits(other) == before
        other.load_state_dict(state)
        for array in state.values():
            array[...] = 1  # what was loaded is a copy
        assert bits(other) == bits(whole)
        for rows in parts[boundary:]:
            whole.update(prediction[rows], targets[rows])
            other.update(prediction[rows], targets[rows])
        assert bits(other) == bits(whole)
        assert same(other.results(), whole.results())

    @given(seed=seeds)
    def test_a_state_stays_as_it_was_while_the_metric_continues(self, name: str, seed: int) -> None:
        case = CASES[name]
        _, prediction, targets = drawn(case, seed)
        metric = case.make()
        metric.update(prediction[:1], targets[:1])
        state = metric.state_dict()
        if not metric.shapes_vary:
            state = copy.deepcopy(state)
        kept = copy.deepcopy(state)
        metric.update(prediction, targets)
        metric.update(prediction, targets)
        assert same(state, kept)
        metric.load_state_dict(state)
        metric.update(prediction, targets)
        metric.reset()
        assert same(state, kept)

    @given(seed=seeds)
    def test_calling_a_metric_returns_the_values_of_one_batch(self, name: str, seed: int) -> None:
        case = CASES[name]
        fresh, used = case.make(), case.make()
        used.update(*drawn(case, seed + 1)[1:])
        _, prediction, targets = drawn(case, seed)
        fresh.update(prediction, targets)
        assert same(used(prediction, targets), fresh.results())
        assert same(used.results(), fresh.results())

    def test_reset_discards_all_batches(self, name: str) -> None:
        case = CASES[name]
        metric = case.make()
        nothing = metric.results()
        for seed in range(4):  # batches of several shapes
            metric.update(*drawn(case, seed)[1:])
            metric.reset()
            assert same(metric.results(), nothing)
            assert bits(metric) == bits(case.make())

    def test_results_without_a_batch_or_of_an_empty_one_are_nan(self, name: str) -> None:
        case = CASES[name]
        metric = case.make()
        nothing = metric.results()
        if name != "ConfusionMatrix":
            assert all(math.isnan(value) for value in nothing.values())
        for seed in range(4):
            prediction, targets = case.batch(np.random.default_rng(seed), 0)
            assert same(metric(prediction, targets), nothing)
            assert bits(metric) == bits(case.make())

    @pytest.mark.parametrize("seed", range(4))
    def test_a_refused_batch_changes_nothing(self, name: str, seed: int) -> None:
        case = CASES[name]
        _, prediction, targets = drawn(case, seed, nan=False)
        metric = case.make()
        metric.update(prediction, targets)
        before = bits(metric)
        wrong: list[tuple[Any, Any]] = [
            (prediction.tolist(), targets),
            (prediction, targets.tolist()),
            (prediction, targets[:-1]),
            (prediction[:-1], targets),
            (prediction, targets[..., None, None]),
            (prediction[None], targets),
            (prediction.astype("U3"), targets),
            (prediction, targets.astype("U3")),
            (prediction.astype(object), targets),
            (np.ma.masked_array(prediction), targets),
            (prediction, np.array(1)),
        ]
        for batch in wrong:
            for use in (metric.update, metric):
                assert " expects " in said(use, *batch)
                assert bits(metric) == before

    def test_metrics_do_not_write_to_their_arguments_nor_keep_them(self, name: str) -> None:
        case = CASES[name]
        for seed in range(6):
            _, prediction, targets = drawn(case, seed)
            prediction.setflags(write=False)
            targets.setflags(write=False)
            metric = case.make()
            metric.update(prediction, targets)
            before = bits(metric)
            for array in (prediction, targets):
                array.setflags(write=True)
                array[...] = 1
            assert bits(metric) == before

    def test_results_are_python_floats(self, name: str) -> None:
        case = CASES[name]
        metric = case.make()
        for seed in range(4):
            for results in (metric.results(), metric(*drawn(case, seed)[1:])):
                kinds = {type(value) for value in results.values()}
                assert kinds == ({np.ndarray} if name == "ConfusionMatrix" else {float})

    def test_metrics_say_whether_higher_is_better(self, name: str) -> None:
        case = CASES[name]
        expected = {} if case.better is None else dict.fromkeys(case.make().results(), case.better)
        assert Metrics([case.make()]).higher_is_better() == expected

    def test_state_of_another_kind_is_refused(self, name: str) -> None:
        case = CASES[name]
        metric = case.make()
        metric.update(*drawn(case, 0)[1:])
        before, state = bits(metric), metric.state_dict()
        kind = type(metric).__name__
        wrong: list[tuple[Any, str]] = [
            ({}, f"{kind} expects a state with {min(state)}"),
            (None, f"{kind} expects a state, got none"),
        ]
        for key, array in state.items():
            other = {**state, key: array.astype(np.float32)}
            wrong.append((other, f"{kind}, {key}, expects {array.dtype} of shape"))
            other = {**state, key: array[None]}
            wrong.append((other, f"{kind}, {key}, expects {array.dtype} of shape"))
            longer = np.zeros((len(array) + 1, *array.shape[1:]), array.dtype)
            sentence = "arrays of the same shape, got [" if metric.shapes_vary else "of shape"
            wrong.append(({**state, key: longer}, sentence))
        for other, sentence in wrong:
            for use in (metric.check_state_dict, metric.load_state_dict):
                assert sentence in said(use, other)
                assert bits(metric) == before

    def test_repr_is_the_constructor_call(self, name: str) -> None:
        metric = CASES[name].make()
        assert repr(eval(repr(metric), vars(tinynet))) == repr(metric)


def test_states_in_a_file_have_the_same_bits(tmp_path: Path) -> None:
    metrics = {f"{name} {seed}": case.make() for name, case in CASES.items() for seed in range(3)}
    for key, metric in metrics.items():
        name, _, seed = key.rpartition(" ")
        if seed != "0":  # else without a batch
            metric.update(*drawn(CASES[name], int(seed))[1:])
    write(tmp_path / "metrics.npz", {key: metric.state_dict() for key, metric in metrics.items()})
    states = read(tmp_path / "metrics.npz")
    for key, metric in metrics.items():
        other = CASES[key.rpartition(" ")[0]].make()
        other.load_state_dict(states[key])
        assert bits(other) == bits(metric)


def test_repr_of_metrics() -> None:
    assert repr(Accuracy()) == "Accuracy()"
    assert repr(TopKAccuracy(3, ignore_index=0)) == "TopKAccuracy(3, ignore_index=0)"
    assert repr(tinynet.BinaryAccuracy(0.5)) == "BinaryAccuracy(threshold=0.5)"


class StopAt(Callback):
    """Stops after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, trainer: Trainer) -> None:
        if trainer.step == self.step:
            trainer.stop()


def test_a_run_saved_within_an_epoch_resumes_with_the_same_scores(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 2)).astype(np.float32)
    y = (x[:, :1] > rng.standard_normal((60, 1))).astype(np.int64)

    def trainer() -> Trainer:
        model = Dense(2, 1, rng=0)
        metrics = [ROCAUC(), R2(), tinynet.BinaryAccuracy()]
        sgd = SGD(model.parameters(), 0.1)
        return Trainer(model, BinaryCrossEntropy(), sgd, metrics=metrics)

    whole, first, again = trainer(), trainer(), trainer()
    whole.fit(x, y, epochs=2, batch_size=10)
    first.fit(x, y, epochs=2, batch_size=10, callbacks=[StopAt(8)])
    assert (first.epoch, first.step) == (1, 8)
    assert first.state_dict()["metrics"]["0"]["scores"].shape == (20, 1)
    first.save(tmp_path / "run.npz")
    again.restore(tmp_path / "run.npz").fit(x, y, epochs=2, batch_size=10)
    for name in ("roc_auc", "r2", "accuracy"):
        assert again.history.epochs[name] == whole.history.epochs[name]
        assert math.isfinite(again.history.epochs[name][-1])
