"""What is no NumPy array of numbers is refused, with the remedy, wherever x or y enters."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from contract_cases import CASES, Case

from tinynet import (
    R2,
    ROCAUC,
    SGD,
    Accuracy,
    Array,
    BatchNorm,
    BinaryAccuracy,
    BinaryLogLoss,
    ConfusionMatrix,
    Dense,
    Dropout,
    InputError,
    LogLoss,
    MeanAbsoluteErrorMetric,
    MeanSquaredError,
    Sequential,
    SoftmaxCrossEntropy,
    TopKAccuracy,
    Trainer,
    check_gradients,
    preflight,
)

# np.matrix says so itself when one is made.
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")

X = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
Y = np.arange(6) % 3
WORDS = "words and gaps need numbers in their place: datasets.TableEncoder makes them of a table"
UNIQUE = "classes, labels = np.unique(labels, return_inverse=True) makes integers of them"


class Tensor:
    """As of PyTorch, by its methods alone."""

    def __init__(self, array: Array, device: str = "cpu") -> None:
        self.array, self.device = array, type("device", (), {"type": device})()

    def detach(self) -> "Tensor":
        return self

    def cpu(self) -> "Tensor":
        return Tensor(self.array)

    def numpy(self) -> Array:
        return self.array

    def __repr__(self) -> str:
        return f"tensor({self.array})"


class JaxArray:
    """As of JAX and TensorFlow."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return self.array

    def __repr__(self) -> str:
        return f"Array({self.array})"


class Sparse:
    """As the matrices of SciPy."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def toarray(self) -> Array:
        return self.array

    def __repr__(self) -> str:
        return f"sparse {self.array}"


class Kind(NamedTuple):
    """A kind of wrong value, made of an array, and the remedy for it."""

    make: Callable[[Array], Any]
    remedy: str
    most_axes: int = 9
    is_list: bool = False  # of numbers: check_gradients takes these


KINDS = {
    "DataFrame": Kind(pd.DataFrame, ".to_numpy()", most_axes=2),
    "Series": Kind(lambda a: pd.Series(list(a)), ".to_numpy()"),
    "Index": Kind(pd.Index, ".to_numpy()", most_axes=1),
    "list": Kind(np.ndarray.tolist, "np.asarray(", is_list=True),
    "list of arrays": Kind(list, "np.asarray(", is_list=True),
    "tuple": Kind(lambda a: tuple(a.tolist()), "np.asarray(", is_list=True),
    "range": Kind(lambda a: range(len(a)), "np.asarray(", is_list=True),
    "Tensor": Kind(Tensor, ".detach().numpy()"),
    "CUDA Tensor": Kind(lambda a: Tensor(a, "cuda"), ".detach().cpu().numpy()"),
    "list of Tensors": Kind(
        lambda a: [Tensor(row) for row in a], "np.stack([row.detach().numpy() for row in "
    ),
    "JAX array": Kind(JaxArray, "np.asarray("),
    "sparse matrix": Kind(Sparse, ".toarray()"),
    "generator": Kind(lambda a: (row for row in a), "np.asarray(list("),
    "MaskedArray": Kind(np.ma.asarray, ".filled(number)"),
    "matrix": Kind(np.asmatrix, "np.asarray(", most_axes=2),
    "numbers as objects": Kind(lambda a: a.astype(object), ".astype(np.float32)"),
    "numbers as strings": Kind(lambda a: a.astype(float).astype("U"), ".astype(np.float32)"),
    "records": Kind(
        lambda a: np.array([(1, 2.0)] * len(a), [("a", int), ("b", float)]),
        "numpy.lib.recfunctions.structured_to_unstructured(",
    ),
    "rows of different lengths": Kind(
        lambda a: [[0.0] * (1 + k % 2) for k in range(len(a))], "that have the same shape"
    ),
    "rows as objects": Kind(lambda a: pd.Series([np.zeros(3) for _ in a]).to_numpy(), "np.stack("),
    "words": Kind(lambda a: np.array(["cat", "dog"])[np.arange(len(a)) % 2], WORDS),
    "words as objects": Kind(lambda a: np.array(["cat", None, "dog"] * len(a))[: len(a)], WORDS),
    "list of words": Kind(lambda a: ["cat", "dog"] * (len(a) // 2), WORDS),
    "Series of words": Kind(lambda a: pd.Series(["cat", "dog"] * (len(a) // 2)), WORDS),
    "None": Kind(lambda _: None, "got NoneType"),
    "dict": Kind(lambda a: {"a": a}, "got dict"),
    "name of a file": Kind(lambda _: "train.csv", "got str"),
}


def trainer() -> Trainer:
    model = Sequential([Dense(3, 4, rng=0), BatchNorm(4), Dropout(0.5, rng=1), Dense(4, 3, rng=2)])
    optimizer = SGD(model.parameters(), 0.1, momentum=0.9)
    trainer = Trainer(model, SoftmaxCrossEntropy(), optimizer, metrics=[Accuracy()])
    trainer.fit(X, Y, epochs=1, batch_size=4)
    return trainer


def check_functions(x: Any, targets: Any = None) -> None:
    check_gradients((lambda x: 2 * x, lambda dy: 2 * dy), x, targets)


# Where x enters, beside the layers and losses of the contract tests.
OF_X: dict[str, Callable[[Trainer, Any], object]] = {
    "fit": lambda t, x: t.fit(x, Y, epochs=2, batch_size=4),
    "validation of fit": lambda t, x: t.fit(X, Y, epochs=2, batch_size=4, validation=(x, Y)),
    "evaluate": lambda t, x: t.evaluate(x, Y),
    "predict": lambda t, x: t.predict(x),
    "predict of a model": lambda t, x: t.model.predict(x),
    "a model": lambda t, x: t.model(x),
    "preflight": lambda t, x: preflight(t, x, Y),
    "validation of preflight": lambda t, x: preflight(t, X, Y, validation=(x, Y)),
    "Accuracy": lambda _, x: Accuracy()(x, Y),
    "TopKAccuracy": lambda _, x: TopKAccuracy(2)(x, Y),
    "ConfusionMatrix": lambda _, x: ConfusionMatrix(3)(x, Y),
    "LogLoss": lambda _, x: LogLoss()(x, Y),
    "BinaryAccuracy": lambda _, x: BinaryAccuracy()(x, X > 0),
    "BinaryLogLoss": lambda _, x: BinaryLogLoss()(x, X > 0),
    "ROCAUC": lambda _, x: ROCAUC()(x, X > 0),
    "R2": lambda _, x: R2()(x, X),
    "MeanAbsoluteErrorMetric": lambda _, x: MeanAbsoluteErrorMetric()(x, X),
    "check_gradients": lambda _, x: check_gradients(Dense(3, 2), x),
    "check_gradients of a loss": lambda _, x: check_gradients(MeanSquaredError(), x, X),
    "check_gradients of functions": lambda _, x: check_functions(x),
}
OF_Y: dict[str, Callable[[Trainer, Any], object]] = {
    "fit": lambda t, y: t.fit(X, y, epochs=2, batch_size=4),
    "fit in parts": lambda t, y: t.fit(X, y, epochs=2, batch_size=4, micro_batch_size=2),
    "validation of fit": lambda t, y: t.fit(X, Y, epochs=2, batch_size=4, validation=(X, y)),
    "evaluate": lambda t, y: t.evaluate(X, y),
    "preflight": lambda t, y: preflight(t, X, y),
    "validation of preflight": lambda t, y: preflight(t, X, Y, validation=(X, y)),
    "Accuracy": lambda _, y: Accuracy()(X, y),
    "TopKAccuracy": lambda _, y: TopKAccuracy(2)(X, y),
    "ConfusionMatrix": lambda _, y: ConfusionMatrix(3)(X, y),
    "LogLoss": lambda _, y: LogLoss()(X, y),
    "BinaryAccuracy": lambda _, y: BinaryAccuracy()(X[:, 0], y),
    "BinaryLogLoss": lambda _, y: BinaryLogLoss()(X[:, 0], y),
    "ROCAUC": lambda _, y: ROCAUC()(X[:, 0], y),
    "R2": lambda _, y: R2()(X[:, 0], y),
    "MeanAbsoluteErrorMetric": lambda _, y: MeanAbsoluteErrorMetric()(X[:, 0], y),
    "check_gradients": lambda _, y: check_gradients(SoftmaxCrossEntropy(), X, y),
}


def refused(use: Callable[[Any], object], wrong: Any) -> str:
    with pytest.raises(InputError) as error:
        use(wrong)
    sentence = str(error.value)
    assert "\n" not in sentence, "it prints an array"
    assert len(sentence) < 500
    return sentence


def wrong_values(array: Array, *, lists: bool = True) -> Iterator[tuple[Any, str]]:
    """The values of all kinds for an array, each with its remedy."""
    for kind in KINDS.values():
        if array.ndim <= kind.most_axes and (lists or not kind.is_list):
            yield kind.make(array), kind.remedy


@pytest.mark.parametrize("entrance", OF_X)
def test_every_kind_of_wrong_x_is_refused_with_its_remedy_and_changes_nothing(
    entrance: str,
) -> None:
    used = trainer()
    before = deepcopy(used.state_dict())
    for wrong, remedy in wrong_values(X, lists="check_gradients" not in entrance):
        assert remedy in refused(partial(OF_X[entrance], used), wrong)
        assert_same(used.state_dict(), before)


@pytest.mark.parametrize("entrance", OF_Y)
def test_every_kind_of_wrong_y_is_refused_with_its_remedy_and_changes_nothing(
    entrance: str,
) -> None:
    used = trainer()
    before = deepcopy(used.state_dict())
    for wrong, remedy in wrong_values(Y, lists="check_gradients" not in entrance):
        if wrong is None and entrance == "check_gradients":
            continue  # no targets
        expected = UNIQUE if remedy == WORDS else remedy
        assert expected in refused(partial(OF_Y[entrance], used), wrong)
        assert_same(used.state_dict(), before)


def assert_same(a: Any, b: Any) -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    else:
        np.testing.assert_array_equal(a, b)


each_case = pytest.mark.parametrize("case", [pytest.param(c, id=name) for name, c in CASES.items()])


@each_case
def test_every_layer_and_loss_refuses_every_kind_of_wrong_x(case: Case) -> None:
    layer = case.make()
    x = np.zeros(case.shape, np.int64 if case.ids else np.float32)
    before = deepcopy(layer.state_dict())
    for wrong, remedy in wrong_values(x):
        assert remedy in refused(lambda x: layer(x, *case.targets), wrong)
        assert_same(layer.state_dict(), before)
    layer(x, *case.targets)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.targets])
def test_every_loss_refuses_every_kind_of_wrong_targets(name: str) -> None:
    loss, x, (targets,) = CASES[name].make(), np.ones(CASES[name].shape), CASES[name].targets
    for wrong, remedy in wrong_values(targets):
        sentence = refused(partial(loss, x), wrong)
        assert remedy in sentence or (remedy == WORDS and UNIQUE in sentence)


@pytest.mark.parametrize(
    ("labels", "hint"),
    [
        (Y.astype(float), "integer labels, got float64; labels.astype(int) makes integers of them"),
        (Y > 0, "integer labels, got bool; labels.astype(int) makes integers of them"),
        (np.eye(3, dtype=bool)[Y] | np.eye(3, dtype=bool)[0], "BinaryCrossEntropy"),
        (Y[:, None], "labels.ravel() gives it"),
        (0 * Y + 3, "classes count from 0: subtract 1 from the labels"),
    ],
)
@pytest.mark.parametrize("entrance", ["fit", "fit in parts", "validation of fit", "evaluate"])
def test_hints_for_labels_come_through_the_trainer_which_stays_as_it_was(
    entrance: str, labels: Array, hint: str
) -> None:
    used = trainer()
    before = deepcopy(used.state_dict())
    assert hint in refused(partial(OF_Y[entrance], used), labels)
    assert_same(used.state_dict(), before)


def test_one_hot_rows_are_targets_of_the_trainer() -> None:
    rows, labels = trainer(), trainer()
    rows.fit(X, np.eye(3)[Y], epochs=2, batch_size=4)
    labels.fit(X, Y, epochs=2, batch_size=4)
    assert rows.evaluate(X, np.eye(3)[Y]) == pytest.approx(labels.evaluate(X, Y), rel=1e-5)


def test_output_shape_of_what_is_no_array_says_how_to_make_one() -> None:
    sentence = refused(Dense(3, 2).output_shape, pd.DataFrame(X))
    assert sentence == (
        "Dense expects an array or the shape of one, got DataFrame; x.to_numpy() makes one"
    )
