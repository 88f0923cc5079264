"""The shared part of the table examples."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from columns import PENGUINS, TableParser, describe, parse_row, read_table, split, unseen

from tinynet.datasets import TableEncoder


@pytest.fixture
def training() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "mass": [1.0, 3.0, np.nan, 5.0],
            "year": [2007, 2008, 2009, 2008],
            "sex": ["male", None, "female", "male"],
            "wild": [True, False, True, True],
        }
    )


def refused(call: Callable[[], object]) -> str:
    """The one line with which a call ends the program."""
    with pytest.raises(SystemExit) as stop:
        call()
    assert isinstance(stop.value.code, str)
    assert "\n" not in stop.value.code
    return stop.value.code


def test_inputs_are_described_in_one_line_which_is_cut_if_it_is_long(
    training: pd.DataFrame,
) -> None:
    assert describe(TableEncoder.fit(training)).startswith(
        "4 columns make 8 inputs: mass, year, mass is missing, sex="
    )
    table = pd.DataFrame({f"column {number}": [1.0] for number in range(99)})
    assert describe(TableEncoder.fit(table)).endswith(", column ...")


def test_unseen_are_the_categories_that_no_training_row_has(training: pd.DataFrame) -> None:
    fitted = TableEncoder.fit(training)
    new = pd.DataFrame({"mass": [3], "year": [np.nan], "sex": ["both"], "wild": [None]})
    assert unseen(fitted, new) == ["sex=both"]
    assert unseen(fitted, training.drop(columns="wild").assign(wild="True")) == []


class TestRow:
    def test_a_column_that_a_row_does_not_name_is_missing(self, training: pd.DataFrame) -> None:
        fitted = TableEncoder.fit(training)
        x = fitted.transform(parse_row(fitted, " sex = female, year=2008.5"))
        np.testing.assert_array_equal(x, [[3, 2008.5, 1, 1, 0, 0, 0, 0]])
        assert unseen(fitted, parse_row(fitted, "year=2008")) == []

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("age=3", "expected COLUMN=VALUE of mass, year, sex, wild; got 'age=3'"),
            ("year", "expected COLUMN=VALUE of mass, year, sex, wild; got 'year'"),
            ("sex=", "expected COLUMN=VALUE of mass, year, sex, wild; got 'sex='"),
            ("", "expected COLUMN=VALUE of mass, year, sex, wild; got ''"),
            ("sex=male,sex=male", "expected sex once, got it twice"),
            ("year=MMX", "expected a number for year, got 'MMX'; leave out a missing value"),
            ("year=nan", "expected a number for year, got 'nan'; leave out a missing value"),
            ("year=-inf", "expected a number for year, got '-inf'; leave out a missing value"),
        ],
    )
    def test_a_wrong_row_ends_with_one_line(
        self, training: pd.DataFrame, text: str, line: str
    ) -> None:
        fitted = TableEncoder.fit(training)
        assert refused(lambda: parse_row(fitted, text)) == f"--predict: {line}"


class TestReadTable:
    def test_read_table_keeps_the_rows_with_a_target(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        table = read_table(PENGUINS, "sex")
        assert len(table) == 333
        assert capsys.readouterr().out == "penguins.csv: 344 rows, 333 of them with sex\n"

    def test_numbers_that_are_too_large_count_as_missing(self, tmp_path: Path) -> None:
        path = tmp_path / "table.csv"
        path.write_text("a,b\n" + "1,x\n" * 10 + "inf,x\n-2e30,x\n")
        assert read_table(path, "b")["a"].isna().sum() == 2
        assert len(read_table(path, "a")) == 10

    @pytest.mark.parametrize(
        ("content", "target", "line"),
        [
            (None, "a", "No such file or directory"),
            (b"", "a", "No columns to parse from file"),
            (b"a,b\n1,2,3\n1\n1,2,3,4,5\n", "a", "Expected 3 fields in line 4, saw 5"),
            (b"\xff\xfe\x00,b\n", "a", "can't decode byte 0xff"),
            (b"a,b\n" + b"1,2\n" * 20, "c", "--target c: expected one of a, b"),
            (b"a\n" + b"1\n" * 20, "a", "expected columns to predict a from, got none"),
            (b"a,b\n" + b"1,2\n" * 9 + b",2\n", "a", "at least 10 rows with a, got 9"),
        ],
    )
    def test_a_wrong_file_or_target_ends_with_one_line(
        self, tmp_path: Path, content: bytes | None, target: str, line: str
    ) -> None:
        path = tmp_path / "table.csv"
        if content is not None:
            path.write_bytes(content)
        assert line in refused(lambda: read_table(path, target))

    def test_a_folder_in_place_of_a_table_ends_with_one_line(self, tmp_path: Path) -> None:
        assert refused(lambda: read_table(tmp_path, "a")) == f"{tmp_path}: Is a directory"


def test_split_has_each_row_once_in_random_order(capsys: pytest.CaptureFixture[str]) -> None:
    parts = split(10, np.random.default_rng(0))
    assert [len(part) for part in parts] == [6, 2, 2]
    assert sorted(np.concatenate(parts)) == list(range(10))
    assert list(np.concatenate(parts)) != list(range(10))
    assert capsys.readouterr().out == "rows: 6 for training, 2 for validation, 2 to test\n"


def test_table_examples_have_defaults() -> None:
    options = TableParser("An example.", target="species").parse_args([])
    assert vars(options) == {
        "csv": PENGUINS,
        "target": "species",
        "epochs": 200,
        "seed": 0,
        "output": Path("output"),
    }


def test_the_penguins_are_as_their_readme_describes_them() -> None:
    readme = (PENGUINS.parent / "README.md").read_text(encoding="utf-8")
    content = PENGUINS.read_bytes()
    assert hashlib.sha256(content).hexdigest() in readme
    assert f"{len(content):,} bytes" in readme
    table = pd.read_csv(PENGUINS)
    assert f"{len(table)} rows" in readme
    for name, column in table.items():
        line = next(line for line in readme.splitlines() if line.startswith(f"| {name} |"))
        assert line.endswith(f"| {column.isna().sum()} |")
