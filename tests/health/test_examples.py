"""Preflight on what each example trains: nothing is found, with validation data either."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from tinynet import Trainer, preflight
from tinynet.health import inspection

mpl.use("Agg")

# Small networks, whose probes are quick.
QUICK = ("spirals", "tabular_classifier", "tabular_regression")
EXAMPLES: dict[str, Sequence[str]] = {
    **dict.fromkeys((*QUICK, "mnist_gradient_descent", "mnist_two_layer"), ()),
    "text_classification": (),  # its first network is one that cannot learn the labels
    "mnist_cnn": ("--channels", "4"),
    "kaggle_digits": (),
    "forecast": (),
    "two_heads": (),
    "mnist_autoencoder": ("--hidden", "32"),
    "char_transformer": (
        "--width",
        "16",
        "--context",
        "16",
        "--blocks",
        "1",
        "--characters",
        "200000",
    ),
}


class FittedError(Exception):
    """Carries what an example gave to `fit`."""


def fitted(example: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    def fit(trainer: Trainer, x: Any, y: Any, **keywords: Any) -> None:
        raise FittedError(trainer, x, y, keywords)

    module = importlib.import_module(example)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "fit", fit)
        with pytest.raises(FittedError) as caught:
            module.main(["--output", str(folder), *EXAMPLES[example]])
    trainer, x, y, keywords = caught.value.args
    if "transform" in keywords:
        x, y = keywords["transform"](x[:2000], y[:2000], np.random.default_rng(0))
    return trainer, x, y, keywords


def test_all_examples_that_train_are_checked() -> None:
    folder = Path(__file__).parents[2] / "examples"
    train = {path.stem for path in folder.glob("*.py") if "Trainer(" in path.read_text()}
    assert train == set(EXAMPLES)


@pytest.mark.usefixtures("_no_gradient_check")
@pytest.mark.parametrize("example", EXAMPLES)
def test_preflight_finds_nothing_in_an_example(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    trainer, x, y, keywords = fitted(example, tmp_path, monkeypatch)
    if example not in QUICK:
        request.getfixturevalue("_no_probes")
        monkeypatch.setattr(inspection, "SAMPLE", 300)
    batch_size = keywords["batch_size"]
    assert str(preflight(trainer, x, y, batch_size=batch_size)) == "nothing found"
    if "validation" in keywords:
        request.getfixturevalue("_no_probes")  # they do not look at validation data
        validation = keywords["validation"]
        found = preflight(trainer, x, y, validation=validation, batch_size=batch_size)
        assert str(found) == "nothing found"
