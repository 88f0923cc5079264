"""The example, run for real on penguins."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import tabular_regression as example
from columns import PENGUINS, Columns
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from tinynet import check_gradients

PICTURE = "tabular_regression.png"
Run = Callable[..., list[str]]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def run(out: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs main and returns the lines that it printed."""

    def run_main(*arguments: Any) -> list[str]:
        example.main([*map(str, arguments), "--output", str(out)])
        return capsys.readouterr().out.splitlines()

    return run_main


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saves the time that pictures take."""
    monkeypatch.setattr(example, "draw", lambda *_: Figure(figsize=(1, 1)))


def refused(run: Run, *arguments: Any) -> str:
    """The one line that the example ends with."""
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert isinstance(stop.value.code, str)
    assert "\n" not in stop.value.code
    return stop.value.code


def errors(lines: list[str]) -> list[float]:
    """What was printed of the mean, the network and least squares."""
    names = ("mean", "network", "least squares")
    matches = [
        re.fullmatch(rf"  {name} +([\d.]+)(?: g| mm)?", line)
        for name, line in zip(names, lines[-4:-1], strict=True)
    ]
    return [float(match[1]) for match in matches if match]


def test_trains_compares_and_draws(run: Run, out: Path) -> None:
    lines = run()
    assert lines[:2] == [
        "penguins.csv: 344 rows, 342 of them with body_mass_g",
        "205 rows to train on, 68 to know when to stop, 69 to test on",
    ]
    assert lines[2].startswith("7 columns make 13 inputs: bill_length_mm, ")
    assert lines[-5] == "root of the mean squared error of body_mass_g on 69 test rows:"
    mean, network, least_squares = errors(lines)
    assert network < 0.5 * mean
    assert network < 1.15 * least_squares
    assert all(line.endswith(" g") for line in lines[-4:-1])
    assert lines[-1] == f"wrote {out / PICTURE}"
    assert [path.name for path in out.iterdir()] == [PICTURE]
    content = (out / PICTURE).read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(content) > 20_000
    assert plt.get_fignums() == []


@pytest.mark.usefixtures("undrawn")
def test_the_simple_answers_are_those_of_the_training_rows(run: Run) -> None:
    mean, _, least_squares = errors(run("--epochs", 1, "--seed", 3))
    table = pd.read_csv(PENGUINS).dropna(subset="body_mass_g")
    order = np.random.default_rng(3).permutation(342)
    train, test = table.iloc[order[:205]], table.iloc[order[273:]]
    y, measured = train["body_mass_g"].to_numpy(float), test["body_mass_g"].to_numpy(float)
    assert mean == pytest.approx(np.sqrt(np.mean((measured - y.mean()) ** 2)), rel=1e-3)
    columns = Columns.fit(train.drop(columns="body_mass_g"))
    x, new = (columns.transform(part).astype(float) for part in (train, test))
    # The centred normal equations; columns that depend on each other have a pseudo-inverse.
    weights = np.linalg.pinv(x - x.mean(axis=0), rcond=1e-6) @ (y - y.mean())
    predicted = (new - x.mean(axis=0)) @ weights + y.mean()
    assert least_squares == pytest.approx(np.sqrt(np.mean((measured - predicted) ** 2)), rel=1e-3)


def test_least_squares_finds_a_straight_line() -> None:
    x = np.array([[0.0], [1.0], [2.0]])
    np.testing.assert_allclose(example.least_squares(x, 3 + 2 * x[:, 0], np.array([[5.0]])), [13])


def test_rmse() -> None:
    assert example.rmse(np.array([1.0, 5.0]), np.array([1.0, 1.0])) == pytest.approx(8**0.5)
    assert example.rmse(2.0, np.array([1.0, 3.0])) == 1.0


def test_the_same_seed_prints_and_draws_the_same(run: Run, out: Path) -> None:
    first = run("--epochs", 2, "--seed", 1)
    picture = (out / PICTURE).read_bytes()
    assert run("--epochs", 2, "--seed", 1) == first
    assert (out / PICTURE).read_bytes() == picture


@pytest.mark.usefixtures("undrawn")
def test_another_seed_prints_something_else(run: Run) -> None:
    assert run("--epochs", 2, "--seed", 1) != run("--epochs", 2, "--seed", 2)


@pytest.mark.usefixtures("undrawn")
def test_another_target_has_its_own_unit_or_none(run: Run) -> None:
    assert run("--epochs", 1, "--target", "bill_depth_mm")[-3].endswith(" mm")
    assert re.fullmatch(r"  network +[\d.]+", run("--epochs", 1, "--target", "year")[-3])


def test_the_picture_shows_predictions_and_residuals_in_two_marks() -> None:
    measured = np.array([1.0, 2.0, 4.0])
    predictions = {"network": np.array([1.5, 2.0, 3.0]), "least squares": np.array([0.0, 2.0, 5.0])}
    figure = example.draw(measured, predictions, "price in $ or $")
    figure.canvas.draw()
    left, right = figure.axes
    for place, predicted in enumerate(predictions.values()):
        points, residuals = left.collections[place], right.collections[place]
        np.testing.assert_array_equal(points.get_offsets(), np.column_stack([measured, predicted]))
        np.testing.assert_array_equal(
            residuals.get_offsets(), np.column_stack([predicted, measured - predicted])
        )
    colours = [to_hex(np.asarray(points.get_facecolor())[0]) for points in left.collections]
    assert colours == ["#0072b2", "#d55e00"]
    circle, cross = (np.asarray(points.get_paths()[0].vertices) for points in left.collections)
    assert circle.shape != cross.shape
    legend = left.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["network", "least squares"]
    assert plt.get_fignums() == []


def test_the_gradient_of_the_network_is_right() -> None:
    network = example.build_network(4, np.random.default_rng(0)).eval()
    check_gradients(network, np.random.default_rng(1).standard_normal((3, 4)))


class TestOneLine:
    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (["nowhere.csv"], "nowhere.csv: No such file or directory"),
            (["--target", "mass"], "--target mass: expected one of species, island, bill_length_"),
            (
                ["--target", "sex"],
                "--target sex: expected numbers; words are for tabular_classifier.py",
            ),
        ],
    )
    def test_what_is_wrong_and_nothing_is_written(
        self, run: Run, out: Path, arguments: list[str], line: str
    ) -> None:
        assert refused(run, *arguments).startswith(line)
        assert not out.exists()

    def test_a_target_of_one_number(self, run: Run, out: Path, tmp_path: Path) -> None:
        path = tmp_path / "same.csv"
        path.write_text("a,b\n" + "1,0.1\n" * 20)
        line = refused(run, path, "--target", "b")
        assert line == "--target b: expected different numbers, got 0.1 alone"
        assert not out.exists()

    def test_an_output_that_is_a_file(self, run: Run, out: Path) -> None:
        out.write_text("")
        assert "File exists" in refused(run)

    def test_an_output_that_cannot_be_written_to(self, run: Run, out: Path) -> None:
        (out / PICTURE).mkdir(parents=True)
        assert "Is a directory" in refused(run, "--epochs", 1)


def test_as_a_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, example.__file__, "--epochs", "1"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.splitlines()[-1] == f"wrote {Path('output') / PICTURE}"
    assert done.stderr == ""
