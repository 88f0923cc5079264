"""The example, run for real on penguins."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tabular_classifier as example
from columns import PENGUINS, Columns

from tinynet import Sequential, check_gradients

FILES = ["tabular_classifier.json", "tabular_classifier.npz"]
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


def refused(run: Run, *arguments: Any) -> str:
    """The one line that the example ends with."""
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert isinstance(stop.value.code, str)
    assert "\n" not in stop.value.code
    return stop.value.code


def shuffled(rows: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """The order of the rows from which the example takes its parts."""
    return np.random.default_rng(seed).permutation(rows)


def test_trains_tests_saves_loads_and_predicts(run: Run, out: Path) -> None:
    row = "island=Biscoe,bill_length_mm=50,flipper_length_mm=222"
    lines = run("--predict", row)
    assert lines[:3] == [
        "penguins.csv: 344 rows, 344 of them with species",
        "206 rows to train on, 69 to know when to stop, 69 to test on",
        lines[2],
    ]
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
    assert loaded == "loaded again, they predict the same"
    assert re.fullmatch(rf"{row}: Gentoo, [\d.]+% sure", predicted)
    assert sorted(path.name for path in out.iterdir()) == FILES


def test_what_is_saved_predicts_later(run: Run, out: Path) -> None:
    accuracy = run("--epochs", 20)[-8]
    network, columns, classes = example.load(out / FILES[1], out / FILES[0])
    table = pd.read_csv(PENGUINS).drop(columns="species").iloc[shuffled(344)[275:]]
    read = np.array(classes)[network.predict(columns.transform(table)).argmax(axis=1)]
    right = np.mean(read == pd.read_csv(PENGUINS)["species"].iloc[shuffled(344)[275:]])
    assert accuracy.startswith(f"test accuracy {right:.2%}, ")
    assert right > 0.9


def test_columns_are_learned_from_the_training_rows_alone(
    run: Run, out: Path, tmp_path: Path
) -> None:
    table = pd.read_csv(PENGUINS)
    order = shuffled(344)
    run("--epochs", 1)
    saved = json.loads((out / FILES[0]).read_text())
    assert saved["classes"] == ["Adelie", "Chinstrap", "Gentoo"]
    train = table.drop(columns="species").iloc[order[:206]]
    assert Columns.from_json(saved["columns"]) == Columns.fit(train)
    # Whatever the other rows hold, the same is learned.
    table.loc[order[206:], "bill_length_mm"] = 1e6
    table.loc[order[206:], "year"] = np.nan
    table.loc[order[206:], "island"] = "Mars"
    table.to_csv(tmp_path / "other.csv", index=False)
    run(tmp_path / "other.csv", "--epochs", 1)
    other = json.loads((out / FILES[0]).read_text())["columns"]
    assert other == saved["columns"]


def test_the_same_seed_prints_the_same_and_another_does_not(run: Run, out: Path) -> None:
    first = run("--epochs", 2, "--seed", 1)
    weights = (out / FILES[1]).read_bytes()
    assert run("--epochs", 2, "--seed", 1) == first
    assert (out / FILES[1]).read_bytes() == weights
    assert run("--epochs", 2, "--seed", 2) != first


def test_a_row_may_lack_columns_and_have_a_new_category(run: Run) -> None:
    *_, new, predicted = run("--epochs", 1, "--predict", "island=Mars")
    assert new == "island=Mars: not a category that the network has learned"
    assert re.fullmatch(r"island=Mars: \w+, [\d.]+% sure", predicted)


def test_any_table_will_do_and_a_class_may_lack_test_rows(run: Run, tmp_path: Path) -> None:
    order = shuffled(20)
    table = pd.DataFrame({"colour": ["red"] * 20, "answer": 1, "length": np.arange(20.0)})
    table.loc[order[:10], "answer"] = 0  # no 0 among the last four, the test rows
    table.to_csv(tmp_path / "other.csv", index=False)
    lines = run(tmp_path / "other.csv", "--target", "answer", "--epochs", 2)
    assert lines[2] == "2 columns make 2 inputs: length, colour=red"
    assert lines[-4].split() == ["0", "0", "0", "-"]
    assert int(lines[-3].split()[1]) + int(lines[-3].split()[2]) == 4


def test_the_gradient_of_the_network_is_right() -> None:
    network = example.build_network(4, 3, np.random.default_rng(0)).eval()
    check_gradients(network, np.random.default_rng(1).standard_normal((3, 4)))


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
    def test_what_is_wrong_and_nothing_is_written(
        self, run: Run, out: Path, arguments: list[str], line: str
    ) -> None:
        assert refused(run, *arguments).startswith(line)
        assert not out.exists()

    def test_a_target_of_one_class(self, run: Run, out: Path, tmp_path: Path) -> None:
        path = tmp_path / "same.csv"
        path.write_text("a,b\n" + "1,2\n" * 20)
        line = refused(run, path, "--target", "b")
        assert line.startswith("--target b: expected 2 to 4 classes in 20 rows, got 1; ")
        assert not out.exists()

    def test_an_output_that_is_a_file(self, run: Run, out: Path) -> None:
        out.write_text("")
        assert "File exists" in refused(run)

    def test_an_output_that_cannot_be_written_to(self, run: Run, out: Path) -> None:
        (out / FILES[1]).mkdir(parents=True)
        assert "could not be written" in refused(run, "--epochs", 1)

    def test_a_file_that_predicts_otherwise(
        self, run: Run, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Sequential, "load", lambda network, _: network)
        line = refused(run, "--epochs", 1)
        assert line == f"{out / FILES[1]}: expected the predictions of before, got others"


def test_as_a_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, example.__file__, "--epochs", "1", "--predict", "sex=male"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.splitlines()[-1].startswith("sex=male: ")
    assert done.stderr == ""
    assert sorted(path.name for path in (tmp_path / "output").iterdir()) == FILES
