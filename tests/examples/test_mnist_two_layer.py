"""The main example, with real training on a part of MNIST."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import command_line
import mnist_two_layer as example
import pytest

from tinynet.datasets import Digits
from tinynet.datasets.mnist_csv import write_mnist_csv

PICTURES = [
    "sample_predictions",
    "confident_mistakes",
    "learning_curves",
    "confusion_matrix",
    "first_layer_weights",
    "activations",
    "gradients",
    "model",
]
EPOCH = re.compile(
    r"epoch +(\d+)/\d+  loss (\d\.\d{4})  accuracy +([\d.]+)%"
    r"  validation loss (\d\.\d{4})  validation accuracy +([\d.]+)%"
)
Run = Callable[..., list[str]]


@pytest.fixture
def train(run: Run, data: Path) -> Run:
    """Runs the example on the part of MNIST, with its pictures blank."""
    return partial(run, example, "--data", data)


@pytest.fixture(scope="module")
def command(
    data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The command of README on the part of MNIST, without a display; and its folder."""
    folder = tmp_path_factory.mktemp("command")
    arguments = ["--data", str(data), "--epochs", "8", "--checkpoints", "kept"]
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "MPLBACKEND")}
    done = subprocess.run(
        [sys.executable, example.__file__, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env=environment,
    )
    return done, folder


def epochs_in(lines: list[str]) -> list[list[float]]:
    """Number, loss, accuracy, validation loss and validation accuracy of each line."""
    matches = [match for line in lines if (match := EPOCH.fullmatch(line))]
    return [[float(value) for value in match.groups()] for match in matches]


def test_two_layer_command_prints_the_network_each_epoch_and_a_prediction(
    command: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, _ = command
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"2  Dense\(784, 10\) +\(1, 10\) +7,850", lines[3])
    epochs = epochs_in(lines[7:15])
    assert [row[0] for row in epochs] == list(range(1, 9))
    assert epochs[7][1] < 0.3 < epochs[0][1]
    assert epochs[7][2] > 90
    assert epochs[7][4] > 80
    assert re.fullmatch(r"test image 0: predicted 7 \(probability [\d.]+%\), label 7", lines[15])
    # In a log there is no progress bar.
    assert re.fullmatch(r"trained in [\d.]+ s\n", done.stderr)


def test_two_layer_command_writes_eight_pictures(
    command: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, folder = command
    paths = [Path("output") / f"{name}.png" for name in PICTURES]
    assert done.stdout.splitlines()[-8:] == [f"wrote {path}" for path in paths]
    assert sorted((folder / "output").iterdir()) == sorted(folder / path for path in paths)
    for path in paths:
        content = (folder / path).read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert len(content) > 10_000


def test_two_layer_training_resumes_from_its_checkpoints(
    command: tuple[subprocess.CompletedProcess[str], Path], train: Run, tmp_path: Path
) -> None:
    done, folder = command
    kept = ("--checkpoints", tmp_path / "kept")
    checkpoints = {path.name: path for path in (folder / "kept").iterdir()}
    assert sorted(checkpoints) == [f"step-{steps:010}.npz" for steps in (96, 112, 128)]
    (tmp_path / "kept").mkdir()
    first = min(checkpoints)
    (tmp_path / "kept" / first).write_bytes(checkpoints[first].read_bytes())
    resumed = epochs_in(train("--epochs", 8, *kept))
    assert resumed == epochs_in(done.stdout.splitlines())[6:]
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == sorted(checkpoints)


def test_two_layer_checkpoints_of_another_network_are_refused_in_one_line(
    command: tuple[subprocess.CompletedProcess[str], Path], train: Run
) -> None:
    with pytest.raises(SystemExit, match=r"step-0000000128\.npz: .*Dense\(784, 20\)"):
        train("--hidden", 20, "--checkpoints", command[1] / "kept")


def test_two_layer_output_depends_on_the_seed_alone(train: Run) -> None:
    first, same, other = (train("--epochs", 1, "--seed", seed) for seed in (1, 1, 2))
    assert first == same
    assert first != other


def test_two_layer_options_set_hidden_units_batch_size_and_rate(train: Run) -> None:
    lines = train("--epochs", 1, "--hidden", 20, "--batch-size", 1000, "--learning-rate", 1e-9)
    assert "Dense(784, 20)" in lines[3]
    assert "15,910" in lines[6]
    ((_, _, before, _, after),) = epochs_in(lines)
    assert max(before, after) < 40  # one step, with a rate of almost 0


def test_two_layer_trains_on_a_kaggle_file(
    train: Run, tmp_path: Path, mnist: tuple[Digits, Digits]
) -> None:
    path = tmp_path / "train.csv"
    write_mnist_csv(path, mnist[0].images[:70], mnist[0].labels[:70])
    assert len(epochs_in(train("--data", path, "--epochs", 1))) == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--hidden", "9999999999"), r"^Unable to allocate .* \(784, 9999999999\)"),
        (("--learning-rate", "1e30"), r"^the loss became (nan|inf) in step 2, epoch 1: "),
    ],
)
def test_two_layer_training_that_fails_ends_with_one_line(
    train: Run, arguments: tuple[str, ...], line: str
) -> None:
    with pytest.raises(SystemExit, match=line):
        train(*arguments)


def test_two_layer_show_opens_the_pictures(train: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(command_line, "save", lambda *_, show: shown.append(show))
    train("--epochs", 1)
    train("--epochs", 1, "--show")
    assert shown == [False, True]
