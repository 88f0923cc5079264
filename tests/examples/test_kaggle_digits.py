from collections.abc import Callable
from pathlib import Path

import command_line
import kaggle_digits as example
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from tinynet.datasets import Digits
from tinynet.datasets.mnist_csv import write_mnist_csv


@pytest.fixture
def _blank_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """A blank picture for the one with 32 panels, which is slow and has its own test."""
    monkeypatch.setattr(example, "draw", lambda *_: Figure(figsize=(1, 1)))


@pytest.mark.usefixtures("_blank_picture")
def test_train_csv_and_test_csv_become_submission_csv(
    run: Callable[..., list[str]], mnist: tuple[Digits, Digits], tmp_path: Path
) -> None:
    train, (images, labels) = mnist
    write_mnist_csv(tmp_path / "train.csv", train.images[:400], train.labels[:400])
    pixels, header = images[:100].reshape(100, -1), ",".join(f"pixel{k}" for k in range(784))
    np.savetxt(tmp_path / "test.csv", pixels, "%d", ",", header=header, comments="")

    lines = run(example, "--data", tmp_path, "--epochs", 2, "--batch-size", 16)
    assert [line[:9] for line in lines[:2]] == ["epoch 1/2", "epoch 2/2"]
    assert "validation accuracy" in lines[1]
    paths = [tmp_path / "out" / name for name in ("submission.csv", "kaggle_digits.png")]
    assert lines[2:] == [f"wrote {path}" for path in paths]
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    head, *rows = paths[0].read_text().splitlines()
    assert head == "ImageId,Label"
    numbers, predicted = np.array([row.split(",") for row in rows], int).T
    assert numbers.tolist() == list(range(1, 101))
    assert np.mean(predicted == labels[:100]) > 0.7


@pytest.mark.usefixtures("_blank_picture")
def test_without_kaggle_files_the_digits_that_ship_are_used(
    run: Callable[..., list[str]],
    mnist: tuple[Digits, Digits],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = [Digits(images[:60], labels[:60]) for images, labels in mnist]
    monkeypatch.setattr(command_line, "load_mnist", lambda _: small)
    run(example, "--epochs", 1)
    assert len((tmp_path / "out" / "submission.csv").read_text().splitlines()) == 1 + 60


def test_exchanged_files_end_the_example_with_one_line(
    run: Callable[..., list[str]], mnist: tuple[Digits, Digits], tmp_path: Path
) -> None:
    for name in ("train.csv", "test.csv"):
        write_mnist_csv(tmp_path / name, mnist[0].images[:8], mnist[0].labels[:8])
    with pytest.raises(SystemExit, match=r"test\.csv: expected images alone, got a column of"):
        run(example, "--data", tmp_path)


def test_the_picture_shows_the_least_sure_predictions_first() -> None:
    images = np.zeros((40, 28, 28), np.uint8)
    probabilities = np.full((40, 10), 0.01)
    probabilities[:, 3] = 0.91
    probabilities[7, [3, 4, 9]] = [0.01, 0.6, 0.31]
    probabilities[8, [3, 5, 6]] = [0.01, 0.4, 0.51]
    figure = example.draw(images, probabilities)
    assert len(figure.axes) == 32
    assert figure.axes[0].get_title() == "6: 51%\n5: 40%"
    assert figure.axes[1].get_title() == "4: 60%\n9: 31%"
    plt.close(figure)
