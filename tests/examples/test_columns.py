"""What the table examples share."""

import hashlib
import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import columns
import numpy as np
import pandas as pd
import pytest
from columns import PENGUINS, Columns, TableParser, read_table, split
from command_line import whole

EXAMPLES = Path(columns.__file__).parent


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
    """The one line that a call ends the program with."""
    with pytest.raises(SystemExit) as stop:
        call()
    assert isinstance(stop.value.code, str)
    assert "\n" not in stop.value.code
    return stop.value.code


class TestColumns:
    def test_fit_learns_means_deviations_gaps_and_categories(self, training: pd.DataFrame) -> None:
        fitted = Columns.fit(training)
        assert fitted.means == {"mass": 3.0, "year": 2008.0}
        assert fitted.stds == pytest.approx({"mass": (8 / 3) ** 0.5, "year": 0.5**0.5})
        assert fitted.with_gaps == ["mass"]
        assert fitted.categories == {
            "sex": ["female", "male", "missing"],
            "wild": ["False", "True"],
        }
        assert fitted.names == ["mass", "year", "sex", "wild"]

    def test_transform_gives_the_inputs_in_their_order(self, training: pd.DataFrame) -> None:
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

    def test_new_rows_may_have_gaps_and_categories_that_training_rows_had_not(
        self, training: pd.DataFrame
    ) -> None:
        fitted = Columns.fit(training)
        new = pd.DataFrame({"mass": [3], "year": [np.nan], "sex": ["both"], "wild": [None]})
        np.testing.assert_array_equal(fitted.transform(new), np.zeros((1, 8)))
        assert fitted.unseen(new) == ["sex=both"]
        assert fitted.unseen(training.drop(columns="wild").assign(wild="True")) == []

    def test_columns_of_one_number_or_none_stay_finite(self) -> None:
        table = pd.DataFrame({"same": [0.1] * 10, "none": [np.nan] * 10, "word": [None] * 10})
        fitted = Columns.fit(table)
        assert fitted.stds == {"same": 1.0, "none": 1.0}
        assert fitted.means == {"same": pytest.approx(0.1), "none": 0.0}
        x = fitted.transform(table)
        np.testing.assert_allclose(x, [[0, 0, 1, 1]] * 10, atol=1e-6)

    def test_of_many_categories_the_commonest_are_inputs(self) -> None:
        words = [f"w{number:02}" for number in range(40)] + ["w39", "w38"]
        fitted = Columns.fit(pd.DataFrame({"word": words}))
        assert fitted.categories == {
            "word": [*(f"w{number:02}" for number in range(28)), "w38", "w39"]
        }

    def test_a_long_list_of_inputs_is_cut(self) -> None:
        table = pd.DataFrame({f"column {number}": [1.0] for number in range(99)})
        assert str(Columns.fit(table)).endswith(", column ...")

    def test_json_gives_the_same_columns_back(self, training: pd.DataFrame) -> None:
        fitted = Columns.fit(training)
        assert Columns.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


class TestRow:
    def test_what_is_not_given_is_a_gap(self, training: pd.DataFrame) -> None:
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
            ("year=MMX", "expected a number for year, got 'MMX'; leave out what is missing"),
            ("year=nan", "expected a number for year, got 'nan'; leave out what is missing"),
            ("year=-inf", "expected a number for year, got '-inf'; leave out what is missing"),
        ],
    )
    def test_what_is_wrong_is_one_line(self, training: pd.DataFrame, text: str, line: str) -> None:
        fitted = Columns.fit(training)
        assert refused(lambda: fitted.row(text)) == f"--predict: {line}"


class TestReadTable:
    def test_reads_rows_with_a_target(self, capsys: pytest.CaptureFixture[str]) -> None:
        table = read_table(PENGUINS, "sex")
        assert len(table) == 333
        assert capsys.readouterr().out == "penguins.csv: 344 rows, 333 of them with sex\n"

    def test_numbers_beyond_measure_are_gaps(self, tmp_path: Path) -> None:
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
    def test_what_is_wrong_is_one_line(
        self, tmp_path: Path, content: bytes | None, target: str, line: str
    ) -> None:
        path = tmp_path / "table.csv"
        if content is not None:
            path.write_bytes(content)
        assert line in refused(lambda: read_table(path, target))

    def test_a_folder_is_no_table(self, tmp_path: Path) -> None:
        assert refused(lambda: read_table(tmp_path, "a")) == f"{tmp_path}: Is a directory"


def test_split_hands_out_each_row_once(capsys: pytest.CaptureFixture[str]) -> None:
    parts = split(10, np.random.default_rng(0))
    assert [len(part) for part in parts] == [6, 2, 2]
    assert sorted(np.concatenate(parts)) == list(range(10))
    assert list(np.concatenate(parts)) != list(range(10))
    assert capsys.readouterr().out == "6 rows to train on, 2 to know when to stop, 2 to test on\n"


class TestParser:
    def test_defaults(self) -> None:
        options = TableParser("What it does.", target="species").parse_args([])
        assert vars(options) == {
            "csv": PENGUINS,
            "target": "species",
            "epochs": 200,
            "seed": 0,
            "output": Path("output"),
        }

    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (["--epochs", "0"], "argument --epochs: expected a whole number >= 1, got 0"),
            (["--seed", "-1"], "argument --seed: expected a whole number >= 0, got -1"),
            (["--seed", "9" * 5000], "argument --seed: expected a whole number >= 0, got 99999"),
            (["--what"], "unrecognized arguments: --what"),
            (["--target"], "argument --target: expected one argument"),
        ],
    )
    def test_a_wrong_argument_is_one_line(
        self, arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as stop:
            TableParser("What it does.", target="species").parse_args(arguments)
        assert stop.value.code == 2
        (printed,) = capsys.readouterr().err.splitlines()
        assert line in printed

    def test_whole(self) -> None:
        assert whole("0", at_least=0) == 0
        assert whole("12") == 12


def test_the_penguins_are_those_of_their_readme() -> None:
    readme = (PENGUINS.parent / "README.md").read_text(encoding="utf-8")
    content = PENGUINS.read_bytes()
    assert hashlib.sha256(content).hexdigest() in readme
    assert f"{len(content):,} bytes" in readme
    table = pd.read_csv(PENGUINS)
    assert f"{len(table)} rows" in readme
    for name, column in table.items():
        line = next(line for line in readme.splitlines() if line.startswith(f"| {name} |"))
        assert line.endswith(f"| {column.isna().sum()} |")


@pytest.mark.parametrize(
    ("example", "package"),
    [
        ("tabular_classifier", "pandas"),
        ("tabular_classifier", "tqdm"),
        ("tabular_regression", "matplotlib"),
    ],
)
def test_without_the_extras_the_error_says_what_to_install(example: str, package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; import {example}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=EXAMPLES
    )
    assert done.returncode == 1
    assert done.stderr.endswith('this example needs pip install -e ".[examples]"\n')
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("example", ["tabular_classifier", "tabular_regression"])
def test_control_c_is_one_line(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(columns, "read_table", interrupt)
    monkeypatch.setattr(sys, "argv", [example])
    path = str(EXAMPLES / f"{example}.py")
    line = refused(lambda: runpy.run_path(path, run_name="__main__"))
    assert line.startswith("stopped before the ")
