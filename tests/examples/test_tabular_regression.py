"""The regression example, with real training on penguins."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tabular_regression as example
from columns import PENGUINS
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from tinynet.datasets import TableEncoder

PICTURE = "tabular_regression.png"
Run = Callable[..., list[str]]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def train(run: Run) -> Run:
    """Runs the example and returns the printed lines."""
    return partial(run, example)


@pytest.fixture
def blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """A blank picture, which is much faster."""
    monkeypatch.setattr(example, "draw", lambda *_: Figure(figsize=(1, 1)))


def refused(train: Run, *arguments: Any) -> str:
    """The one line with which the example ends."""
    with pytest.raises(SystemExit) as stop:
        train(*arguments)
    assert isinstance(stop.value.code, str)
    assert "\n" not in stop.value.code
    return stop.value.code


def errors(lines: list[str]) -> list[float]:
    """The printed errors of the mean, the network and least squares."""
    names = ("mean", "network", "least squares")
    matches = [
        re.fullmatch(rf"  {name} +([\d.]+)(?: g| mm)?", line)
        for name, line in zip(names, lines[-4:-1], strict=True)
    ]
    return [float(match[1]) for match in matches if match]


def test_regression_beats_the_mean_and_writes_a_picture(train: Run, out: Path) -> None:
    lines = train()
    assert lines[:2] == [
        "penguins.csv: 344 rows, 342 of them with body_mass_g",
        "rows: 205 for training, 68 for validation, 69 to test",
    ]
    assert lines[2].startswith("7 columns make 13 inputs: bill_length_mm, ")
    assert lines[-5] == "root mean squared error of body_mass_g on 69 test rows:"
    mean, network, least_squares = errors(lines)
    assert network < 0.5 * mean
    assert network < 1.15 * least_squares
    assert all(line.endswith(" g") for line in lines[-4:-1])
    assert lines[-1] == f"wrote {out / PICTURE}"
    assert [path.name for path in out.iterdir()] == [PICTURE]
    content = (out / PICTURE).read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(content) > 20_000


@pytest.mark.usefixtures("blank")
def test_mean_and_least_squares_are_fitted_to_the_training_rows(train: Run) -> None:
    mean, _, least_squares = errors(train("--epochs", 1, "--seed", 3))
    table = pd.read_csv(PENGUINS).dropna(subset="body_mass_g")
    order = np.random.default_rng(3).permutation(342)
    fitted, test = table.iloc[order[:205]], table.iloc[order[273:]]
    y, measured = fitted["body_mass_g"].to_numpy(float), test["body_mass_g"].to_numpy(float)
    assert mean == pytest.approx(np.sqrt(np.mean((measured - y.mean()) ** 2)), rel=1e-3)
    encoder = TableEncoder.fit(fitted.drop(columns="body_mass_g"))
    x, new = (encoder.transform(part) for part in (fitted, test))
    spread = np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    x, new = x / spread, new / spread
    # The centred normal equations; columns that depend on each other have a pseudo-inverse.
    weights = np.linalg.pinv(x - x.mean(axis=0), rcond=1e-6) @ (y - y.mean())
    predicted = (new - x.mean(axis=0)) @ weights + y.mean()
    assert least_squares == pytest.approx(np.sqrt(np.mean((measured - predicted) ** 2)), rel=1e-3)


def test_least_squares_fits_a_straight_line() -> None:
    x = np.array([[0.0], [1.0], [2.0]])
    np.testing.assert_allclose(example.least_squares(x, 3 + 2 * x[:, 0], np.array([[5.0]])), [13])


def test_rmse_is_the_root_mean_squared_error() -> None:
    assert example.rmse(np.array([1.0, 5.0]), np.array([1.0, 1.0])) == pytest.approx(8**0.5)
    assert example.rmse(2.0, np.array([1.0, 3.0])) == 1.0


@pytest.mark.usefixtures("blank")
def test_regression_output_depends_on_the_seed_alone(train: Run) -> None:
    first, same, other = (train("--epochs", 2, "--seed", seed) for seed in (1, 1, 2))
    assert first == same
    assert first != other


@pytest.mark.usefixtures("blank")
def test_errors_have_the_unit_in_the_name_of_the_target_or_none(train: Run) -> None:
    assert train("--epochs", 1, "--target", "bill_depth_mm")[-3].endswith(" mm")
    assert re.fullmatch(r"  network +[\d.]+", train("--epochs", 1, "--target", "year")[-3])


def test_regression_picture_has_predictions_and_residuals_in_two_markers() -> None:
    measured = np.array([1.0, 2.0, 4.0])
    predictions = {"network": np.array([1.5, 2.0, 3.0]), "least squares": np.array([0.0, 2.0, 5.0])}
    figure = example.draw(measured, predictions, "price in $ or $")
    left, right = figure.axes
    assert left.get_xlabel() == r"measured price in \$ or \$"  # no formula
    for index, predicted in enumerate(predictions.values()):
        points, residuals = left.collections[index], right.collections[index]
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
    def test_a_wrong_argument_ends_with_one_line_and_writes_nothing(
        self, train: Run, out: Path, arguments: list[str], line: str
    ) -> None:
        assert refused(train, *arguments).startswith(line)
        assert not out.exists()

    def test_a_target_with_one_value_is_refused(
        self, train: Run, out: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "same.csv"
        path.write_text("a,b\n" + "1,0.1\n" * 20)
        line = refused(train, path, "--target", "b")
        assert line == "--target b: expected different numbers, got 0.1 alone"
        assert not out.exists()

    @pytest.mark.usefixtures("blank")
    def test_a_picture_that_cannot_be_written_ends_with_one_line(
        self, train: Run, out: Path
    ) -> None:
        (out / PICTURE).mkdir(parents=True)
        assert "Is a directory" in refused(train, "--epochs", 1)
