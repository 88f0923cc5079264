import re
from pathlib import Path

import mnist_cnn
import numpy as np
import pytest

PICTURES = ["filters", "learning_curves", "mistakes", "confusion_matrix", "model"]


def test_trains_prints_and_draws(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", data, "--output", tmp_path, "--epochs", 2, "--channels", 4]
    mnist_cnn.main([str(argument) for argument in arguments])
    lines = capsys.readouterr().out.splitlines()
    assert "Conv2D(1, 4, 5" in lines[3]
    assert "(1, 4, 28, 28)" in lines[3]
    accuracy = next(line for line in lines if line.startswith("test accuracy"))
    assert float(re.findall(r"[\d.]+", accuracy)[0]) > 85
    paths = [tmp_path / f"cnn_{name}.png" for name in PICTURES]
    assert lines[-5:] == [f"wrote {path}" for path in paths]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_shifted_moves_each_image_by_up_to_two_pixels() -> None:
    images = np.zeros((400, 28, 28), np.uint8)
    images[:, 10, 20] = 7
    moved, labels = mnist_cnn.shifted(images, np.arange(400), np.random.default_rng(0))
    assert moved.shape == images.shape
    assert moved.dtype == np.uint8
    assert labels.tolist() == list(range(400))
    assert (moved.sum(axis=(1, 2)) == 7).all()
    places = {(int(row), int(column)) for _, row, column in np.argwhere(moved)}
    assert places == {(10 + down, 20 + right) for down in range(-2, 3) for right in range(-2, 3)}
    assert images[:, 10, 20].tolist() == [7] * 400


def test_shifted_brings_in_an_empty_border() -> None:
    images = np.ones((50, 28, 28), np.uint8)
    moved, _ = mnist_cnn.shifted(images, np.zeros(50), np.random.default_rng(1))
    assert set(moved.sum(axis=(1, 2)).tolist()) <= {
        (28 - down) * (28 - right) for down in range(3) for right in range(3)
    }


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="nowhere"):
        mnist_cnn.main(["--data", str(tmp_path / "nowhere"), "--output", str(tmp_path)])
