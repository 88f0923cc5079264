"""The error of a first guess from PyTorch, Keras or scikit-learn names the line to write."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinynet import (
    GRU,
    LSTM,
    Adam,
    Dense,
    Embedding,
    Flatten,
    Heads,
    InputError,
    Layer,
    Masking,
    MeanSquaredError,
    MultiTaskLoss,
    Parallel,
    Sequential,
    SoftmaxCrossEntropy,
    Trainer,
    check_gradients,
    datasets,
    plots,
    preflight,
)
from tinynet.callbacks import Checkpoint, EarlyStopping
from tinynet.samples import example_input

ANY: Any = np.ones((6, 4))
X, LABELS = np.ones((6, 4), np.float32), np.arange(6) % 3
SERIES = np.ones((6, 5, 2), np.float32)
IDS, LENGTHS = np.ones((6, 5), int), np.array([5, 3, 1, 2, 2, 4])


def net() -> Sequential:
    return Sequential([Dense(4, 3, rng=0)])


def towers() -> Sequential:
    return Sequential([Parallel([Dense(4, 2, rng=0), Dense(4, 2, rng=1)]), Dense(4, 3, rng=2)])


def trainer(model: Layer | None = None, loss: Any = None, **more: Any) -> Trainer:
    model = model or net()
    return Trainer(model, loss or SoftmaxCrossEntropy(), Adam(model.parameters()), **more)


def masked() -> Sequential:
    return Sequential([Masking(), Embedding(9, 2, rng=0), GRU(2, 3, states="last", rng=1)])


class Guess(Layer):
    """A layer of a user, whose forward keeps something else than y first."""

    def forward(self, x: Any) -> Any:
        self.save_for_backward(x, x)
        return x[:, :1] * 1.0

    def backward(self, dy: Any) -> Any:
        return self.saved_for_backward(dy)


class NoDy(Guess):
    def backward(self, dy: Any) -> Any:  # noqa: ARG002  # the mistake
        return self.saved_for_backward()


def run(layer: Layer) -> Any:
    layer(X)
    return layer.backward(np.ones((6, 1)))


# A type error that is ignored here is the guess itself.
GUESSES: dict[str, tuple[Callable[[], Any], str]] = {
    "two inputs by position": (lambda: net()(X, X), "one tuple, model((x1, x2))"),
    "two inputs of predict": (lambda: net().predict(X, ANY), "one tuple, predict((x1, x2))"),
    "two inputs of fit": (
        lambda: trainer().fit(X, X, *[ANY], epochs=1),
        "several inputs are one tuple, fit((x1, x2), y, epochs=...)",
    ),
    "one array for two branches": (lambda: towers()(X), "a tuple (x1, x2) gives each branch"),
    "a list of shapes": (lambda: towers().summary([(6, 4), (6, 4)]), "several shapes are a tuple"),
    "shapes of a layer that knows none": (
        lambda: example_input(Flatten(), ((6, 4), (6, 4))),
        "arrays in their place, as in summary((x1, x2))",
    ),
    "lengths without Masking": (
        lambda: Sequential([Embedding(9, 2), Dense(2, 1)])((IDS, LENGTHS)),
        "and Masking (x, mask) or (x, lengths)",
    ),
    "ids alone": (lambda: Masking()(IDS), "for ids write Embedding(..., padding_idx=0)"),
    "lengths in a column": (lambda: masked()((IDS, LENGTHS[:, None])), "lengths.ravel()"),
    "lengths of floats": (lambda: masked()((IDS, LENGTHS * 1.0)), "lengths.astype(int)"),
    "a mask of integers": (lambda: masked()((IDS, IDS)), "padding_mask.astype(bool)"),
    "three arrays": (lambda: masked()((IDS, LENGTHS, LENGTHS)), "(x, lengths), got 3"),
    "mask_zero": (lambda: Embedding(9, 2, mask_zero=True), "padding_idx=0 starts a mask"),  # type: ignore[call-arg]
    "a label for each sequence": (
        lambda: SoftmaxCrossEntropy()(LSTM(2, 3)(SERIES), LABELS),
        "states='last' or GlobalPool1D() before the last layer",
    ),
    "a number for each sequence": (
        lambda: MeanSquaredError()(SERIES[:, :, :1], LABELS),
        "states='last' or GlobalPool1D() before the last layer",
    ),
    "heads by position": (lambda: Heads(Dense(4, 1), Dense(4, 2)), "write Heads(["),  # type: ignore[call-arg, arg-type]
    "losses by position": (
        lambda: MultiTaskLoss(MeanSquaredError(), MeanSquaredError()),  # type: ignore[call-arg, arg-type]
        "write MultiTaskLoss([",
    ),
    "a plain loss for two heads": (
        lambda: SoftmaxCrossEntropy()((X, X), LABELS),
        "MultiTaskLoss and HeadMetric take a tuple",
    ),
    "a list of losses": (lambda: trainer(loss=[MeanSquaredError()]), "write MultiTaskLoss([...])"),
    "a list as model": (lambda: Trainer([], MeanSquaredError(), None), "write Sequential([...])"),  # type: ignore[arg-type]
    "the name of a loss": (lambda: trainer(loss="mse"), "an object such as SoftmaxCrossEntropy()"),
    "the name of an optimizer": (
        lambda: Trainer(net(), MeanSquaredError(), "adam"),  # type: ignore[arg-type]
        "write Adam(model.parameters())",
    ),
    "the class of an optimizer": (
        lambda: Trainer(net(), MeanSquaredError(), Adam),  # type: ignore[arg-type]
        "write Adam(model.parameters())",
    ),
    "a transform that is none": (
        lambda: trainer().fit(X, LABELS, epochs=1, transform=[]),  # type: ignore[arg-type]
        "transform(x, y, rng) returns (x, y), got []",
    ),
    "min_delta": (lambda: EarlyStopping("loss", min_delta=1), "Monitor(name, min_delta=...)"),  # type: ignore[call-arg]
    "best=True": (lambda: Checkpoint("runs", best=True), "name of a metric or a Monitor"),  # type: ignore[arg-type]
    "preflight of a model": (lambda: preflight(net(), X, LABELS), "preflight(trainer, x, y)"),  # type: ignore[arg-type]
    "curves of a trainer": (lambda: plots.learning_curves(trainer()), "such as trainer.history"),  # type: ignore[arg-type]
    "targets of a model": (
        lambda: check_gradients(masked(), IDS, LABELS),
        "check_gradients(loss, prediction, targets)",
    ),
    "values without y first": (lambda: run(Guess()), "save_for_backward takes y first"),
    "saved_for_backward without dy": (lambda: run(NoDy()), "= self.saved_for_backward(dy)"),
    "a misspelt metric": (
        lambda: trainer().fit(
            X, LABELS, epochs=1, validation=(X, LABELS), callbacks=[EarlyStopping("validation_acc")]
        ),
        "one of the metrics loss, learning_rate, validation_loss, got 'validation_acc'",
    ),
    "a weight for each head as an array": (
        lambda: MultiTaskLoss([MeanSquaredError()], weights=np.array([1.0, 2.0])),
        "a weight for each of 1 losses",
    ),
}


@pytest.mark.parametrize("name", GUESSES)
def test_the_error_of_a_first_guess_names_the_line_to_write(name: str) -> None:
    guess, remedy = GUESSES[name]
    with pytest.raises(InputError) as error:
        guess()
    assert remedy in str(error.value)


def test_a_file_in_place_of_kaggles_folder_is_named(tmp_path: Any) -> None:
    path = tmp_path / "train.csv"
    path.write_text("label\n")
    with pytest.raises(datasets.DatasetError, match=r"the folder of train\.csv and test\.csv"):
        datasets.load_kaggle_digits(path)


def test_weights_of_heads_may_be_an_array() -> None:
    loss = MultiTaskLoss([MeanSquaredError(), MeanSquaredError()], weights=np.array([1.0, 2.0]))
    assert loss.weights == [1.0, 2.0]
