import re
from pathlib import Path

import mnist_autoencoder as example
import numpy as np
import pytest

from tinynet import Array, Flatten, Layer, Sequential


def test_trains_prints_and_draws(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", data, "--output", tmp_path, "--epochs", 6, "--hidden", 64]
    example.main([str(argument) for argument in arguments])
    lines = capsys.readouterr().out.splitlines()
    loss, baseline = map(float, re.findall(r"\d\.\d+", lines[-4]))
    assert loss < 0.95 * baseline
    names = ["reconstructions", "latent_map", "decoded_map"]
    paths = [tmp_path / f"autoencoder_{name}.png" for name in names]
    assert lines[-3:] == [f"wrote {path}" for path in paths]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_the_baseline_is_the_mean_image() -> None:
    images = np.array([[[0, 255]], [[0, 0]]], np.uint8)
    # The mean pixel is 0 and 1/2: a sure 0, and a coin.
    wanted = (0 + np.log(2)) / 2
    assert example.mean_image_loss(images, images) == pytest.approx(wanted, abs=1e-5)


def test_the_halves_meet_in_two_numbers() -> None:
    rng = np.random.default_rng(0)
    encoder, decoder = example.build_encoder(32, rng), example.build_decoder(32, rng)
    assert encoder.output_shape((5, 28, 28)) == (5, 2)
    assert decoder.output_shape((5, 2)) == (5, 28, 28)
    whole = encoder + decoder
    assert whole.output_shape((5, 28, 28)) == (5, 28, 28)
    assert whole.parameters() == encoder.parameters() + decoder.parameters()


def test_an_image_is_its_own_target() -> None:
    images = np.array([[[0, 51, 255]]], np.uint8)
    x, target = example.to_itself(images, np.zeros(1), np.random.default_rng(0))
    assert x is images
    assert target.tolist() == [[[0, pytest.approx(0.2), 1]]]


def test_the_map_has_the_first_number_across_and_the_second_upwards() -> None:
    seen = []

    class Spy(Layer):
        def forward(self, x: Array) -> Array:
            seen.append(x)
            return np.zeros((len(x), 784), np.float32)

        backward = forward

    codes = np.stack([np.linspace(0, 1, 101), np.linspace(10, 20, 101)], axis=1)
    example.decoded_map(Sequential([Flatten(), Spy()]), codes)
    plane = seen[-1].reshape(example.SIDE, example.SIDE, 2)
    np.testing.assert_allclose(plane[0, 0], [0.05, 19.5])
    np.testing.assert_allclose(plane[-1, 0], [0.05, 10.5])
    np.testing.assert_allclose(plane[0, -1], [0.95, 19.5])


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="nowhere"):
        example.main(["--data", str(tmp_path / "nowhere"), "--output", str(tmp_path)])
