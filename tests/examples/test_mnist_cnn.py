import re
from collections.abc import Callable
from pathlib import Path

import mnist_cnn
import numpy as np

PICTURES = ["filters", "learning_curves", "mistakes", "confusion_matrix", "model"]


def test_cnn_trains_prints_its_accuracy_and_writes_pictures(
    run: Callable[..., list[str]], data: Path, tmp_path: Path
) -> None:
    arguments = ("--data", data, "--epochs", 2, "--channels", 2, "--batch-size", 16)
    lines = run(mnist_cnn, *arguments)
    assert "Conv2D(1, 2, 5" in lines[3]
    assert "(1, 2, 28, 28)" in lines[3]
    accuracy = next(line for line in lines if line.startswith("test accuracy"))
    assert float(re.findall(r"[\d.]+", accuracy)[0]) > 70
    paths = [tmp_path / "out" / f"cnn_{name}.png" for name in PICTURES]
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
    positions = {(int(row), int(column)) for _, row, column in np.argwhere(moved)}
    assert positions == {(10 + down, 20 + right) for down in range(-2, 3) for right in range(-2, 3)}
    assert images[:, 10, 20].tolist() == [7] * 400


def test_shifted_pads_images_with_zeros() -> None:
    images = np.ones((50, 28, 28), np.uint8)
    moved, _ = mnist_cnn.shifted(images, np.zeros(50), np.random.default_rng(1))
    assert set(moved.sum(axis=(1, 2)).tolist()) <= {
        (28 - down) * (28 - right) for down in range(3) for right in range(3)
    }
