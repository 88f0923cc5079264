"""Stale caches are caught for any number of samples, and no batch of a check shares values."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from bug_zoo import right, stale
from bug_zoo.right import Function, Gain, Linear, MeanSquare
from bug_zoo.specimen import broken_rule
from hypothesis import given
from hypothesis import strategies as st

from tinynet import (
    Array,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GradientCheckError,
    KLDivergence,
    Layer,
    MaxPool2D,
    PositionalEmbedding,
    ReLU,
    Rescale,
    Sequential,
    SoftmaxCrossEntropy,
    check_gradients,
)
from tinynet.gradcheck import Cause
from tinynet.gradcheck.setup import GradientCheck, prepare_check

Draw = Callable[[np.random.Generator, int], Array]  # for a number of samples


def normal(features: int) -> Draw:
    return lambda rng, n: rng.standard_normal((n, features))


def labels(rng: np.random.Generator, n: int) -> Array:
    return rng.integers(0, 4, n)


def bits(rng: np.random.Generator, n: int) -> Array:
    return rng.integers(0, 2, (n, 4)).astype(float)


CHOICES = (
    stale.first,
    stale.previous,
    stale.largest,
    stale.smallest,
    stale.first_of_each_shape,
    stale.last_of_another_size,
)
KINDS: dict[type[Layer], tuple[Draw, Draw | None]] = {
    stale.FirstBatchCut: (normal(4), None),
    stale.FirstMaskCut: (normal(4), None),
    stale.FirstLargestIndex: (normal(6), None),
    stale.FirstOutputKept: (normal(4), None),
    stale.PreviousProbabilities: (normal(4), None),
    stale.FirstColumns: (normal(7), None),
    stale.FirstIds: (labels, None),
    stale.FirstDropoutMask: (normal(4), None),
    stale.FirstBatchWithoutDx: (normal(4), None),
    stale.FirstTargets: (normal(4), normal(4)),
    stale.FirstLabels: (normal(4), labels),
}


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_of_any_batch_is_caught_for_any_number_of_samples(
    kind: type[Layer], n: int
) -> None:
    for seed, choice in enumerate(CHOICES):
        layer: Any = kind()
        layer.kept = stale.Kept(choice, copies=choice is not stale.first)
        rng = np.random.default_rng([n, seed])
        x, targets = KINDS[kind]
        inputs = [x(rng, n)] if targets is None else [x(rng, n), targets(rng, n)]
        assert broken_rule(layer, *inputs, rng=seed) is not None, choice.__name__


@pytest.mark.parametrize(
    ("choice", "batch"),
    [
        (stale.first, "the first batch"),
        (stale.previous, "the previous batch"),
        (stale.largest, "the largest batch"),
        (stale.smallest, "a batch of another size"),
        (stale.first_of_each_shape, "the first batch of this size"),
        (stale.last_of_another_size, "a batch of another size"),
        (lambda seen: seen[-3:][0], "an earlier batch"),
    ],
)
@pytest.mark.parametrize("n", [1, 3])
def test_the_batch_that_is_kept_is_named(choice: stale.Choice, batch: str, n: int) -> None:
    layer = stale.KeptInput()
    layer.kept = stale.Kept(choice)
    with pytest.raises(GradientCheckError) as caught:
        check_gradients(layer, np.random.default_rng(n).standard_normal((n, 4)))
    assert caught.value.cause is Cause.STALE
    assert caught.value.certain
    assert f"a fresh copy is right: a value from {batch} is used again." in str(caught.value)


def test_a_batch_kept_by_a_layer_that_refuses_other_sizes_is_caught_and_named() -> None:
    class OfThree(stale.KeptInput):
        def forward(self, x: Array) -> Array:
            self.check_input(x, 3, 4)
            return super().forward(x)

    for choice, word in ((stale.first, "first"), (stale.previous, "previous")):
        layer = OfThree()
        layer.kept = stale.Kept(choice)
        with pytest.raises(GradientCheckError, match=f"a value from the {word} batch is used"):
            check_gradients(layer, np.random.default_rng(0).standard_normal((3, 4)))


def test_a_kept_batch_that_does_not_always_fit_is_an_earlier_one() -> None:
    class PreviousCut(Linear):
        kept: Array | None = None

        def forward(self, x: Array) -> Array:
            y = super().forward(x)
            self.x = (x if self.kept is None else self.kept)[: len(x)]
            self.kept = x.copy()
            return y

    with pytest.raises(GradientCheckError, match="a value from an earlier batch is used again"):
        check_gradients(PreviousCut(), np.random.default_rng(0).standard_normal((3, 4)))


def test_a_kept_mask_of_random_numbers_is_of_an_earlier_batch() -> None:
    with pytest.raises(GradientCheckError, match="a value from an earlier batch is used again"):
        check_gradients(stale.FirstDropoutMask(), np.random.default_rng(0).random((5, 4)))


def test_a_cache_by_the_array_of_a_parameter_is_caught_where_the_optimizer_writes_into_it() -> None:
    class OfOne(stale.TransposeKeptByTheArray):
        def forward(self, x: Array) -> Array:
            self.check_input(x, 1, 4)
            return super().forward(x)

    for bug in (stale.TransposeKeptByTheArray, OfOne):
        with pytest.raises(GradientCheckError) as caught:
            check_gradients(bug(), np.ones((1, 4)))
        assert caught.value.cause is Cause.STALE
        assert "a copy of a parameter is used after that has changed" in str(caught.value)


def test_a_cache_by_the_array_of_x_is_caught_where_the_array_is_filled_again() -> None:
    with pytest.raises(GradientCheckError, match="as by its id, and used again when") as caught:
        check_gradients(stale.KeptByTheArray(), np.ones((1, 4)))
    assert caught.value.cause is Cause.STALE
    assert caught.value.certain


def test_what_backward_parameters_keeps_is_named() -> None:
    with pytest.raises(GradientCheckError, match="a value from the first batch is used") as caught:
        check_gradients(stale.FirstBatchWithoutDx(), np.random.default_rng(0).random((2, 4)))
    assert caught.value.cause is Cause.STALE


# The batches of a check


def batches_of(check: GradientCheck) -> list[Array]:
    larger = check.larger_batch()
    assert larger is not None
    return [batch.arrays["x"] for batch in (check.inputs, *check.other_batches(), larger)]


SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(SHAPES, st.integers(0, 999), st.sampled_from([1e-3, 1.0, 1e3]))
def test_no_two_batches_share_a_number(shape: tuple[int, int], seed: int, scale: float) -> None:
    x = scale * np.random.default_rng(seed).standard_normal(shape)
    batches = batches_of(prepare_check(ReLU(), x, rng=seed))
    larger = max(shape[0] + 1, 3)
    assert [len(batch) for batch in batches] == [shape[0], larger, shape[0], larger]
    for first, second in combinations(batches, 2):
        assert not np.intersect1d(first, second).size


@given(SHAPES, st.integers(0, 999))
def test_batches_before_the_check_have_the_other_sign_and_the_reversed_order(
    shape: tuple[int, int], seed: int
) -> None:
    x = np.random.default_rng(seed).standard_normal(shape)
    check = prepare_check(ReLU(), x, rng=seed)
    for batch in check.other_batches():
        other = batch.arrays["x"]
        given = x[np.minimum(np.arange(len(other)), shape[0] - 1)]
        assert (np.sign(other) == -np.sign(given)).all()
        for row, given_row in zip(other, given, strict=True):
            assert (np.argsort(row) == np.argsort(given_row)[::-1]).all()


@given(SHAPES, st.integers(0, 999))
def test_batches_stay_where_forward_is_finite(shape: tuple[int, int], seed: int) -> None:
    root = Function(np.sqrt, lambda x: 0.5 / np.sqrt(x))
    x = np.random.default_rng(seed).uniform(1, 2, shape)
    for batch in batches_of(prepare_check(root, x, rng=seed)):
        assert (batch > 0).all()


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_integers_have_other_values_at_every_position(n: int) -> None:
    ids = np.arange(n * 3).reshape(n, 3) % 7
    given, larger, same_size, last = batches_of(prepare_check(Embedding(8, 2, rng=0), ids))
    assert (same_size != given).all()
    assert (larger[:n] != given).all()
    assert (last != larger).all()
    assert set(last.ravel()) <= set(ids.ravel())
    assert all(batch.dtype == ids.dtype for batch in (larger, same_size, last))


@pytest.mark.parametrize(("ids", "expected"), [([3], [2]), ([0], [1]), ([1, 1], [0, 0])])
def test_one_id_is_replaced_by_a_neighbour(ids: list[int], expected: list[int]) -> None:
    check = prepare_check(Embedding(4, 2, rng=0), np.array(ids))
    assert check.other_batches()[-1].arrays["x"].tolist() == expected


def test_a_column_of_ids_with_its_own_range_gets_other_ids_of_that_range() -> None:
    class Columns(right.Embedding):
        """The second column has ids of 0 and 1."""

        def forward(self, ids: Array) -> Array:
            assert (ids[:, 1] < 2).all()
            return super().forward(ids)

    ids = np.array([[4, 1], [3, 0]])
    assert prepare_check(Columns(), ids).other_batches()[-1].arrays["x"].tolist() == [
        [3, 0],
        [2, 1],
    ]


def test_where_no_other_id_is_accepted_there_is_no_other_batch_of_the_same_size() -> None:
    check = prepare_check(Embedding(1, 2, rng=0), np.zeros(3, int))
    assert [batch.arrays["x"].shape for batch in check.other_batches()] == [(4,)]
    report = check_gradients(Embedding(1, 2, rng=0), np.zeros((1, 2), int))
    assert "other batches before" in report.rules
    assert "an array that is filled again" not in report.rules


def test_booleans_are_inverted() -> None:
    class Switch(Gain):
        def forward(self, x: Array) -> Array:
            return super().forward(x.astype(float))

    batch = prepare_check(Switch(), np.ones((2, 4), bool)).other_batches()[-1]
    assert not batch.arrays["x"].any()


def other_targets(loss: Layer, targets: Array, width: int = 3) -> Array:
    x = np.random.default_rng(0).random((len(targets), width))
    return prepare_check(loss, x, targets).other_batches()[-1].arrays["targets"]


def test_probabilities_remain_probabilities() -> None:
    given = np.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]])
    other = other_targets(KLDivergence(), given)
    np.testing.assert_allclose(other.sum(axis=1), 1)
    assert (np.abs(other - given) > 0.01).any(axis=1).all()
    assert other_targets(SoftmaxCrossEntropy(), np.eye(3, dtype=int)).tolist() == [
        [0, 1, 0],
        [0, 0, 1],
        [1, 0, 0],
    ]


def test_probabilities_may_be_the_input() -> None:
    class LogLikelihood(Layer):
        def forward(self, p: Array) -> Array:
            assert np.allclose(p.sum(axis=1), 1, atol=1e-3)
            self.p = p
            return np.asarray(np.log(p))

        def backward(self, dy: Array) -> Array:
            return np.asarray(dy / self.p)

    p = np.array([[0.2, 0.5, 0.3]])
    for batch in prepare_check(LogLikelihood(), p).other_batches():
        other = batch.arrays["x"]
        np.testing.assert_allclose(other.sum(axis=1), 1)
        assert (np.abs(other - p) > 1e-6).all()


class Signs(right.Hinge):
    def forward(self, z: Array, t: Array) -> float:
        assert (np.abs(t) == 1).all()
        return super().forward(z, t)


def test_labels_and_signs_are_replaced_by_others_in_use() -> None:
    assert other_targets(SoftmaxCrossEntropy(), np.array([0, 2, 2])).tolist() == [2, 0, 0]
    assert other_targets(SoftmaxCrossEntropy(), np.array([-100, 1])).tolist() == [1, -100]
    assert other_targets(SoftmaxCrossEntropy(), np.array([2])).tolist() == [1]
    assert other_targets(Signs(), np.array([[1.0, 1.0]]), 2).tolist() == [[-1.0, -1.0]]
    assert other_targets(MeanSquare(), np.zeros((1, 3))).tolist() == [[1.0, 1.0, 1.0]]


def test_real_targets_stay_between_those_in_use_and_nan_stays_nan() -> None:
    class Known(MeanSquare):
        def forward(self, z: Array, t: Array) -> float:
            assert ((t >= 0.1) & (t <= 0.9) | np.isnan(t)).all()
            return super().forward(z, np.where(np.isnan(t), z, t))

    given = np.array([[0.1, 0.4, 0.9], [np.nan, 0.2, 0.3]])
    other = other_targets(Known(), given)
    assert np.isnan(other[1, 0])
    assert (other != given).all()


def test_targets_that_are_one_number_or_none_at_all_are_accepted() -> None:
    class Power(Layer):
        def forward(self, x: Array, t: Array) -> float:
            self.x, self.t = x, np.nan_to_num(t)
            return float((x**2).sum() * self.t.sum())

        def backward(self) -> Array:
            return np.asarray(2 * self.x * self.t.sum())

    x = np.random.default_rng(0).standard_normal((3, 2))
    check_gradients(Power(), x, np.array(0.5))
    check_gradients(Power(), x, np.full((2, 2), np.nan))


# Right layers that keep something


class Scratch(Linear):
    """Memory that grows with the batches, and is filled anew each time."""

    memory = np.zeros((0, 4))

    def forward(self, x: Array) -> Array:
        if len(self.memory) < len(x):
            self.memory = np.zeros_like(x)
        self.memory[: len(x)] = x
        y = super().forward(x)
        self.x = self.memory[: len(x)]
        return y


class PositionsByShape(Layer):
    """y = x + position, from a table for each shape."""

    def __init__(self) -> None:
        self.tables: dict[tuple[int, ...], Array] = {}

    def forward(self, x: Array) -> Array:
        if x.shape not in self.tables:
            self.tables[x.shape] = np.arange(x.size, dtype=x.dtype).reshape(x.shape)
        self.table = self.tables[x.shape]
        return np.asarray(x * self.table)

    def backward(self, dy: Array) -> Any:
        return dy * self.table


class ContentCache(Linear):
    """Keeps results by the values of x and of the weight, which is right."""

    def __init__(self) -> None:
        super().__init__()
        self.results: dict[bytes, Array] = {}

    def forward(self, x: Array) -> Array:
        y = super().forward(x)
        return self.results.setdefault(x.tobytes() + self.weight.value.tobytes(), y).copy()


class Carried(right.Recurrent):
    """The last state is the first one of the next batch, as a constant."""

    carried: Array | None = None

    def forward(self, x: Array) -> Array:
        start = 0 if self.carried is None else self.carried.mean(axis=0)
        y = super().forward(np.concatenate([x[:, :1] + start, x[:, 1:]], axis=1))
        self.carried = y.copy()
        return y


X = np.random.default_rng(1).standard_normal((4, 4))
IMAGES = np.random.default_rng(2).standard_normal((2, 1, 4, 4))
RIGHT: dict[str, tuple[Layer, tuple[Array, ...]]] = {
    "scratch memory": (Scratch(), (X,)),
    "tables by shape": (PositionsByShape(), (X,)),
    "states that are carried on": (Carried(), (X.reshape(4, 2, 2)[..., [0, 1, 0]],)),
    "batch norm": (BatchNorm(2), (X.reshape(2, 2, 4),)),
    "dropout in a network": (
        Sequential([Dense(4, 6, rng=0), Dropout(0.5, rng=0), Dense(6, 2, rng=1)]),
        (X,),
    ),
    "embedding": (
        Sequential([Embedding(5, 4, rng=0), PositionalEmbedding(3, 4, rng=1)]),
        (np.array([[0, 1, 4]]),),
    ),
    "convolution": (
        Sequential([Conv2D(1, 2, 3, rng=0), ReLU(), MaxPool2D(2), Flatten(), Dense(2, 2, rng=1)]),
        (IMAGES,),
    ),
    "bytes": (
        Sequential([Rescale(1 / 255), Dense(4, 2, rng=0)]),
        (np.arange(16, dtype=np.uint8).reshape(4, 4),),
    ),
    "ignored labels and weights": (
        SoftmaxCrossEntropy(weight=[0.5, 1.0, 2.0, 0.0]),
        (X, np.array([1, -100, 3, 0])),
    ),
}


@pytest.mark.parametrize(("layer", "inputs"), RIGHT.values(), ids=RIGHT)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.sweep)])
def test_a_right_layer_that_keeps_something_passes(
    layer: Layer, inputs: tuple[Array, ...], seed: int
) -> None:
    check_gradients(layer, *inputs, rng=seed)
    check_gradients(layer, *(array[:1] for array in inputs), rng=seed)
