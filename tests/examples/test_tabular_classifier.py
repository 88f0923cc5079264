"""The classifier example, with real training on penguins."""

import contextlib
import io
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tabular_classifier as example
from columns import PENGUINS

from tinynet import Array, Sequential
from tinynet.datasets import TableEncoder

FILES = ["tabular_classifier.json", "tabular_classifier.npz"]
ROW = "island=Biscoe,bill_length_mm=50,flipper_length_mm=222"
Run = Callable[..., list[str]]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def train(run: Run) -> Run:
    """Runs the example and returns the printed lines."""
    return partial(run, example)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """The printed lines and the output folder of one run with the default epochs."""
    folder = tmp_path_factory.mktemp("classifier")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        example.main(["--predict", ROW, "--output", str(folder)])
    return out.getvalue().splitlines(), folder


def refused(train: Run, *arguments: Any) -> str:
    """The one line with which the example ends."""
    with pytest.raises(SystemExit) as stop:
        train(*arguments)
    assert isinstance(stop.value.code, str)
    assert "\n" not in stop.value.code
    return stop.value.code


def shuffled(rows: int, seed: int = 0) -> Array:
    """The order of the rows, which the example splits into its parts."""
    order: Array = np.random.default_rng(seed).permutation(rows)
    return order


def test_classifier_prints_accuracy_confusion_matrix_and_prediction(
    trained: tuple[list[str], Path],
) -> None:
    lines, out = trained
    assert lines[0] == "penguins.csv: 344 rows, 344 of them with species"
    assert lines[1] == "rows: 206 for training, 69 for validation, 69 to test"
    assert lines[2].startswith("7 columns make 15 inputs: bill_length_mm, ")
    assert any(
        re.fullmatch(r"epoch  10/200  loss .* validation accuracy +[\d.]+%", x) for x in lines
    )
    done, accuracy, _, header, *table, wrote, loaded, predicted = lines[-10:]
    stopped = re.fullmatch(r"(\d+) epochs done; kept are the weights of epoch (\d+)", done)
    assert stopped is not None
    last, best = map(int, stopped.groups())
    assert last == best + 20 < 200
    assert re.fullmatch(r"test accuracy 9[5-9]\.\d\d%, 6[6-9] of 69 rows", accuracy)
    assert header.split() == ["Adelie", "Chinstrap", "Gentoo", "right"]
    cells = [line.split() for line in table]
    assert [row[0] for row in cells] == ["Adelie", "Chinstrap", "Gentoo"]
    counts = np.array([list(map(int, row[1:4])) for row in cells])
    species = pd.read_csv(PENGUINS)["species"].iloc[shuffled(344)[275:]]
    assert list(counts.sum(axis=1)) == list(species.value_counts().sort_index())
    assert accuracy.endswith(f" {counts.trace()} of 69 rows")
    assert cells[0][4] == f"{counts[0, 0] / counts[0].sum():.1%}"
    assert wrote == f"wrote {out / FILES[1]} and {out / FILES[0]}"
    assert loaded == "the loaded network predicts the same"
    assert re.fullmatch(rf"{ROW}: Gentoo, probability [\d.]+%", predicted)
    assert sorted(path.name for path in out.iterdir()) == FILES


def test_a_loaded_classifier_predicts_the_test_rows_as_before(
    trained: tuple[list[str], Path],
) -> None:
    lines, out = trained
    network, encoder, classes = example.load(out / FILES[1], out / FILES[0])
    table = pd.read_csv(PENGUINS).iloc[shuffled(344)[275:]]
    x = encoder.transform(table.drop(columns="species"))
    predicted = np.array(classes)[network.predict(x).argmax(axis=1)]
    accuracy = np.mean(predicted == table["species"])
    assert lines[-9].startswith(f"test accuracy {accuracy:.2%}, ")


def test_columns_are_fitted_to_the_training_rows_alone(
    train: Run, out: Path, tmp_path: Path
) -> None:
    table = pd.read_csv(PENGUINS)
    order = shuffled(344)
    train("--epochs", 1)
    saved = json.loads((out / FILES[0]).read_text())
    assert saved["classes"] == ["Adelie", "Chinstrap", "Gentoo"]
    rows = table.drop(columns="species").iloc[order[:206]]
    assert TableEncoder(**saved["encoder"]) == TableEncoder.fit(rows)
    # The other rows make no difference.
    table.loc[order[206:], "bill_length_mm"] = 1e6
    table.loc[order[206:], "year"] = np.nan
    table.loc[order[206:], "island"] = "Mars"
    table.to_csv(tmp_path / "other.csv", index=False)
    train(tmp_path / "other.csv", "--epochs", 1)
    other = json.loads((out / FILES[0]).read_text())["encoder"]
    assert other == saved["encoder"]


def test_classifier_output_depends_on_the_seed_alone(train: Run, out: Path) -> None:
    first = train("--epochs", 2, "--seed", 1)
    weights = (out / FILES[1]).read_bytes()
    assert train("--epochs", 2, "--seed", 1) == first
    assert (out / FILES[1]).read_bytes() == weights
    assert train("--epochs", 2, "--seed", 2) != first


def test_a_row_to_predict_may_lack_columns_and_have_a_new_category(train: Run) -> None:
    *_, new, predicted = train("--epochs", 1, "--predict", "island=Mars")
    assert new == "island=Mars: no training row has this category"
    assert re.fullmatch(r"island=Mars: \w+, probability [\d.]+%", predicted)


def test_classifier_takes_any_table_and_a_class_without_test_rows(
    train: Run, tmp_path: Path
) -> None:
    order = shuffled(20)
    table = pd.DataFrame({"colour": ["red"] * 20, "answer": 1, "length": np.arange(20.0)})
    table.loc[order[:10], "answer"] = 0  # no 0 among the last four, the test rows
    table.to_csv(tmp_path / "other.csv", index=False)
    lines = train(tmp_path / "other.csv", "--target", "answer", "--epochs", 2)
    assert lines[2] == "2 columns make 2 inputs: length, colour=red"
    assert lines[-4].split() == ["0", "0", "0", "-"]
    assert int(lines[-3].split()[1]) + int(lines[-3].split()[2]) == 4


class TestOneLine:
    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (["nowhere.csv"], "nowhere.csv: No such file or directory"),
            (["--target", "kind"], "--target kind: expected one of species, island, bill_length_"),
            (
                ["--target", "body_mass_g"],
                "--target body_mass_g: expected 2 to 68 classes in 342 rows, got 94; "
                "numbers are for tabular_regression.py",
            ),
            (["--predict", "species=Adelie"], "--predict: expected COLUMN=VALUE of bill_length_mm"),
            (["--predict", "year=MMX"], "--predict: expected a number for year, got 'MMX'"),
        ],
    )
    def test_a_wrong_argument_ends_with_one_line_and_writes_nothing(
        self, train: Run, out: Path, arguments: list[str], line: str
    ) -> None:
        assert refused(train, *arguments).startswith(line)
        assert not out.exists()

    def test_a_target_of_one_class_is_refused(self, train: Run, out: Path, tmp_path: Path) -> None:
        path = tmp_path / "same.csv"
        path.write_text("a,b\n" + "1,2\n" * 20)
        line = refused(train, path, "--target", "b")
        assert line.startswith("--target b: expected 2 to 4 classes in 20 rows, got 1; ")
        assert not out.exists()

    def test_an_output_that_cannot_be_written_ends_with_one_line(
        self, train: Run, out: Path
    ) -> None:
        (out / FILES[1]).mkdir(parents=True)
        assert "could not be written" in refused(train, "--epochs", 1)

    def test_a_saved_network_with_other_predictions_ends_with_one_line(
        self, train: Run, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load = Sequential.load

        def wrong_load(network: Sequential, path: Path) -> Sequential:
            load(network, path).parameters()[0].value[...] = 0
            return network

        monkeypatch.setattr(Sequential, "load", wrong_load)
        line = refused(train, "--epochs", 1)
        assert line == f"{out / FILES[1]}: expected the same predictions after loading, got others"
