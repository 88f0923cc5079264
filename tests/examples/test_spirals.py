import math
from pathlib import Path

import numpy as np
import pytest
import spirals


def run(tmp_path: Path, *arguments: object) -> None:
    spirals.main([str(argument) for argument in ("--output", tmp_path / "out", *arguments)])


def test_the_arms_are_one_turn_apart_and_wind_outwards() -> None:
    points, labels = spirals.make_spirals(4, 2000, np.random.default_rng(0))
    assert points.shape == (8000, 2)
    assert points.dtype == np.float32
    assert np.bincount(labels).tolist() == [2000] * 4
    radius = np.hypot(*points.T)
    np.testing.assert_allclose(radius.reshape(4, -1), [np.linspace(0.05, 1, 2000)] * 4, rtol=1e-5)
    turns = np.arctan2(points[:, 1], points[:, 0]) / (2 * math.pi) - radius - labels / 4
    off = (turns + 0.5) % 1 - 0.5  # from the middle of the arm
    assert abs(off.mean()) < 0.001
    assert off.std() == pytest.approx(0.12 / (2 * math.pi), rel=0.05)


def test_trains_prints_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, "--epochs", 20, "--samples", 100, "--arms", 2)
    lines = capsys.readouterr().out.splitlines()
    assert "Dense(2, 32)" in lines[1]
    assert lines[-3].startswith("epoch 20/20  loss 0.")
    assert float(lines[-3].split("validation accuracy")[1].rstrip("%")) > 90
    out = tmp_path / "out"
    assert lines[-2:] == [f"wrote {out / 'spirals.gif'}", f"wrote {out / 'spirals.png'}"]
    assert (out / "spirals.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "spirals.gif").read_bytes().startswith(b"GIF89a")


def test_keeps_the_start_the_end_and_moments_between() -> None:
    boundary = spirals.Boundary(150)
    assert {0, 1, 2, 3, 150} <= boundary.epochs
    assert boundary.plane.shape == (121, 121, 2)
    assert boundary.plane[0, -1].tolist() == [1.25, -1.25]  # x along the columns


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--arms", "6"), "argument --arms: expected 2 to 5, got 6"),
        (("--arms", "1"), "argument --arms: expected a whole number >= 2, got 1"),
        (("--learning-rate", "0"), "argument --learning-rate: expected a number above 0, got '0'"),
    ],
)
def test_refuses_in_one_line(
    arguments: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        spirals.parse(arguments)
    assert capsys.readouterr().err.rstrip().endswith(sentence)
