import math
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import spirals


def test_spiral_arms_are_evenly_rotated_and_wind_outwards() -> None:
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


def test_spirals_trains_prints_its_accuracy_and_writes_pictures(
    run: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spirals, "GRID", 21)
    monkeypatch.setattr(spirals, "FRAMES", 2)
    lines = run(spirals, "--epochs", 20, "--samples", 100, "--arms", 2)
    assert "Dense(2, 32)" in lines[1]
    assert lines[-3].startswith("epoch 20/20  loss 0.")
    assert float(lines[-3].split("validation accuracy")[1].rstrip("%")) > 90
    out = tmp_path / "out"
    assert lines[-2:] == [f"wrote {out / 'spirals.gif'}", f"wrote {out / 'spirals.png'}"]
    assert (out / "spirals.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "spirals.gif").read_bytes().startswith(b"GIF89a")


def test_boundary_records_geometrically_spaced_epochs_on_a_grid() -> None:
    boundary = spirals.Boundary(150)
    assert {1, 2, 3, 150} <= boundary.epochs
    assert 30 <= len(boundary.epochs) <= 40
    assert boundary.grid.shape == (121, 121, 2)
    assert boundary.grid[0, -1].tolist() == [1.25, -1.25]  # x along the columns


@pytest.mark.parametrize(
    ("epochs", "shown"), [(1, [0, 1]), (3, [0, 1, 2, 3]), (150, [0, 4, 9, 15, 28, 47, 90, 150])]
)
def test_strip_shows_up_to_eight_different_epochs(epochs: int, shown: list[int]) -> None:
    boundary = spirals.Boundary(epochs)
    probabilities = np.moveaxis(np.array([np.eye(3), 1 - np.eye(3)]), 0, -1)
    boundary.records = [(epoch, probabilities) for epoch in [0, *sorted(boundary.epochs)]]
    points = np.zeros((2, 2)), np.array([0, 1])
    figure = spirals.strip(boundary, *points)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["before training", *(f"after epoch {epoch}" for epoch in shown[1:])]
    plt.close(figure)


@pytest.mark.parametrize(
    ("arms", "line"),
    [
        ("6", "argument --arms: expected 2 to 5, got 6"),
        ("1", "argument --arms: expected a whole number >= 2, got 1"),
    ],
)
def test_spirals_of_too_few_or_too_many_arms_are_refused_in_one_line(
    arms: str, line: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        spirals.parse(["--arms", arms, "--output", str(tmp_path)])
    (printed,) = capsys.readouterr().err.splitlines()
    assert printed.endswith(line)
