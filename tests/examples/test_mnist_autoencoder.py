import re
from collections.abc import Callable
from pathlib import Path

import mnist_autoencoder as example
import numpy as np
import pytest

from tinynet import Array, Flatten, Layer, Sequential


def test_autoencoder_beats_the_mean_image_and_writes_pictures(
    run: Callable[..., list[str]], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example, "SHOWN", 2)
    monkeypatch.setattr(example, "SIDE", 3)
    sizes = ("--hidden", 16, "--batch-size", 16, "--learning-rate", 0.01)
    lines = run(example, "--data", data, "--epochs", 6, *sizes)
    loss, baseline = map(float, re.findall(r"\d\.\d+", lines[-4]))
    assert loss < 0.95 * baseline
    names = ["reconstructions", "latent_map", "decoded_map"]
    paths = [tmp_path / "out" / f"autoencoder_{name}.png" for name in names]
    assert lines[-3:] == [f"wrote {path}" for path in paths]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_mean_image_loss_is_the_cross_entropy_of_the_mean_pixels() -> None:
    images = np.array([[[0, 255]], [[0, 0]]], np.uint8)
    # The mean pixels are 0, without loss, and 1/2, with a loss of log 2.
    expected = (0 + np.log(2)) / 2
    assert example.mean_image_loss(images, images) == pytest.approx(expected, abs=1e-5)


def test_encoder_and_decoder_are_joined_at_two_numbers() -> None:
    rng = np.random.default_rng(0)
    encoder, decoder = example.build_encoder(32, rng), example.build_decoder(32, rng)
    assert encoder.output_shape((5, 28, 28)) == (5, 2)
    assert decoder.output_shape((5, 2)) == (5, 28, 28)
    whole = encoder + decoder
    assert whole.output_shape((5, 28, 28)) == (5, 28, 28)
    assert whole.parameters() == encoder.parameters() + decoder.parameters()


def test_with_itself_makes_each_image_its_own_target() -> None:
    images = np.array([[[0, 51, 255]]], np.uint8)
    x, target = example.with_itself(images, np.zeros(1), np.random.default_rng(0))
    assert x is images
    assert target.tolist() == [[[0, pytest.approx(0.2), 1]]]


def test_decoded_grid_has_the_first_number_to_the_right_and_the_second_upwards() -> None:
    decoded = []

    class Decoder(Layer):
        def forward(self, x: Array) -> Array:
            decoded.append(x)
            return np.zeros((len(x), 784), np.float32)

        backward = forward

    codes = np.stack([np.linspace(0, 1, 101), np.linspace(10, 20, 101)], axis=1)
    example.draw_decoded(Sequential([Flatten(), Decoder()]), codes)
    grid = decoded[-1].reshape(example.SIDE, example.SIDE, 2)
    np.testing.assert_allclose(grid[0, 0], [0.05, 19.5])
    np.testing.assert_allclose(grid[-1, 0], [0.05, 10.5])
    np.testing.assert_allclose(grid[0, -1], [0.95, 19.5])
