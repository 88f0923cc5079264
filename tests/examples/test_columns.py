"""The shared part of the table examples."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from columns import PENGUINS, Columns, TableParser, read_table, split


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


class TestColumns:
    def test_fit_computes_means_deviations_missing_values_and_categories(
        self, training: pd.DataFrame
    ) -> None:
        fitted = Columns.fit(training)
        assert fitted.means == {"mass": 3.0, "year": 2008.0}
        assert fitted.stds == pytest.approx({"mass": (8 / 3) ** 0.5, "year": 0.5**0.5})
        assert fitted.with_missing == ["mass"]
        assert fitted.categories == {
            "sex": ["female", "male", "missing"],
            "wild": ["False", "True"],
        }
        assert fitted.names == ["mass", "year", "sex", "wild"]

    def test_transform_has_the_inputs_in_their_order(self, training: pd.DataFrame) -> None:
        fitted = Columns.fit(training)
        assert fitted.inputs == [
            *("mass", "year", "mass is missing"),
            *("sex=female", "sex=male", "sex=missing", "wild=False", "wild=True"),
        ]
        x = fitted.transform(training)
        assert x.dtype == np.float32
        a, b = 1.5**0.5, 2**0.5
        expected = [
            [-a, -b, 0, 0, 1, 0, 0, 1],
            [0, 0, 0, 0, 0, 1, 1, 0],
            [0, b, 1, 1, 0, 0, 0, 1],
            [a, 0, 0, 0, 1, 0, 0, 1],
        ]
        np.testing.assert_allclose(x, expected, atol=1e-6)
        np.testing.assert_allclose(x[:, :2].mean(axis=0), 0, atol=1e-6)
        assert str(fitted).startswith("4 columns make 8 inputs: mass, year, mass is missing, sex=")

    def test_new_rows_may_have_missing_values_and_categories_that_training_rows_did_not(
        self, training: pd.DataFrame
    ) -> None:
        fitted = Columns.fit(training)
        new = pd.DataFrame({"mass": [3], "year": [np.nan], "sex": ["both"], "wild": [None]})
        np.testing.assert_array_equal(fitted.transform(new), np.zeros((1, 8)))
        assert fitted.unseen(new) == ["sex=both"]
        assert fitted.unseen(training.drop(columns="wild").assign(wild="True")) == []

    def test_columns_with_one_number_or_none_have_finite_inputs(self) -> None:
        table = pd.DataFrame({"same": [0.1] * 10, "none": [np.nan] * 10, "word": [None] * 10})
        fitted = Columns.fit(table)
        assert fitted.stds == {"same": 1.0, "none": 1.0}
        assert fitted.means == {"same": pytest.approx(0.1), "none": 0.0}
        x = fitted.transform(table)
        np.testing.assert_allclose(x, [[0, 0, 1, 1]] * 10, atol=1e-6)

    def test_only_the_most_frequent_of_many_categories_are_inputs(self) -> None:
        words = [f"w{number:02}" for number in range(40)] + ["w39", "w38"]
        fitted = Columns.fit(pd.DataFrame({"word": words}))
        assert fitted.categories == {
            "word": [*(f"w{number:02}" for number in range(28)), "w38", "w39"]
        }

    def test_a_long_list_of_inputs_is_cut_in_print(self) -> None:
        table = pd.DataFrame({f"column {number}": [1.0] for number in range(99)})
        assert str(Columns.fit(table)).endswith(", column ...")

    def test_columns_are_equal_after_json(self, training: pd.DataFrame) -> None:
        fitted = Columns.fit(training)
        assert Columns.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


class TestRow:
    def test_a_column_that_a_row_does_not_name_is_missing(self, training: pd.DataFrame) -> None:
        fitted = Columns.fit(training)
        x = fitted.transform(fitted.row(" sex = female, year=2008.5"))
        np.testing.assert_allclose(x, [[0, 0.5**0.5, 1, 1, 0, 0, 0, 0]], rtol=1e-6)
        assert fitted.unseen(fitted.row("year=2008")) == []

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
        fitted = Columns.fit(training)
        assert refused(lambda: fitted.row(text)) == f"--predict: {line}"


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
