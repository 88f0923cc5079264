"""TableEncoder, compared with SimpleImputer and OneHotEncoder of scikit-learn."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from tinynet import InputError, Standardize
from tinynet.datasets import TableEncoder


@pytest.fixture
def training() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "mass": [1.0, 3.0, np.nan, 5.0],
            "sex": ["male", None, "female", "male"],
            "year": [2007, 2008, 2009, 2008],
            "wild": [True, False, True, True],
        }
    )


def refused(use: Any, *args: Any) -> str:
    """The message of the InputError that a call raises."""
    with pytest.raises(InputError) as error:
        use(*args)
    return str(error.value)


class TestFitAndTransform:
    def test_numbers_come_first_then_gaps_then_categories(self, training: pd.DataFrame) -> None:
        encoder = TableEncoder.fit(training)
        assert encoder.columns == ["mass", "year", "sex", "wild"]
        assert encoder.inputs == [
            *("mass", "year", "mass is missing"),
            *("sex=female", "sex=male", "sex=missing", "wild=False", "wild=True"),
        ]
        x = encoder.transform(training)
        assert x.dtype == np.float64
        assert x.tolist() == [
            [1, 2007, 0, 0, 1, 0, 0, 1],
            [3, 2008, 0, 0, 0, 1, 1, 0],
            [3, 2009, 1, 1, 0, 0, 0, 1],
            [5, 2008, 0, 0, 1, 0, 0, 1],
        ]

    def test_new_rows_may_have_gaps_and_categories_that_the_fitted_rows_did_not(
        self, training: pd.DataFrame
    ) -> None:
        new = pd.DataFrame({"mass": [3], "year": [np.nan], "sex": ["both"], "wild": [None]})
        x = TableEncoder.fit(training).transform(new)
        assert x.tolist() == [[3, 2008, 0, 0, 0, 0, 0, 0]]

    @given(st.integers(1, 30), st.integers(0, 2**32 - 1))
    def test_columns_are_those_of_scikit_learn(self, rows: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        numbers = rng.standard_normal((2 * rows, 2)) * [1, 1e6]
        numbers[rng.random(numbers.shape) < 0.3] = np.nan
        numbers[0] = 1  # scikit-learn leaves a column without any number out
        words = rng.choice(["a", "b", "c", "ä"], (2 * rows, 2))
        table = pd.DataFrame(numbers, columns=["u", "v"]).assign(s=words[:, 0], t=words[:, 1])
        imputer = SimpleImputer(add_indicator=True).fit(numbers[:rows])
        one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(words[:rows])
        encoder = TableEncoder.fit(table.iloc[:rows])
        for part in (slice(rows), slice(rows, None)):
            expected = np.hstack([imputer.transform(numbers[part]), one_hot.transform(words[part])])
            np.testing.assert_allclose(encoder.transform(table.iloc[part]), expected, rtol=1e-12)

    @pytest.mark.parametrize(
        "column",
        [
            pd.Series([1, None, 3]),
            pd.Series([1, None, 3], dtype="Int64"),
            pd.Series([1, None, 3], dtype="Float32"),
            pd.Series([1, None, 3], dtype=object),
            np.array([1, np.nan, 3], np.float32),
            [1, None, 3.0],
        ],
    )
    def test_numbers_are_recognized_in_every_kind_of_column(self, column: Any) -> None:
        encoder = TableEncoder.fit({"a": column})
        assert encoder.transform({"a": column}).tolist() == [[1, 0], [2, 1], [3, 0]]

    @pytest.mark.parametrize(
        "column",
        [
            pd.Series(["x", None, "y"]),
            pd.Series(["x", None, "y"], dtype="string"),
            pd.Series(["x", None, "y"], dtype="category"),
            np.array(["x", None, "y"], object),
            ["x", np.nan, "y"],
        ],
    )
    def test_words_are_recognized_in_every_kind_of_column(self, column: Any) -> None:
        encoder = TableEncoder.fit({"a": column})
        assert encoder.inputs == ["a=missing", "a=x", "a=y"]
        assert encoder.transform({"a": column}).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]

    def test_a_column_without_any_value_has_finite_inputs(self) -> None:
        table = pd.DataFrame({"none": [np.nan] * 3, "word": [None] * 3})
        encoder = TableEncoder.fit(table)
        assert encoder.inputs == ["none", "none is missing", "word=missing"]
        assert encoder.transform(table).tolist() == [[0, 1, 1]] * 3

    def test_only_the_most_frequent_of_many_categories_are_inputs(self) -> None:
        words = [f"w{number:02}" for number in range(40)] + ["w39", "w38"]
        expected = [*(f"w{number:02}" for number in range(28)), "w38", "w39"]
        assert TableEncoder.fit({"word": words}).categories == {"word": expected}
        assert TableEncoder.fit({"word": words}, max_categories=2).inputs == [
            "word=w38",
            "word=w39",
        ]

    def test_an_encoder_is_the_same_after_json(self, training: pd.DataFrame) -> None:
        encoder = TableEncoder.fit(training)
        assert TableEncoder(**json.loads(json.dumps(asdict(encoder)))) == encoder

    def test_columns_of_numbers_can_be_standardized_alone(self, training: pd.DataFrame) -> None:
        encoder = TableEncoder.fit(training)
        x = encoder.transform(training)
        y = Standardize(8).fit(x, features=encoder.numbers)(x)
        np.testing.assert_allclose(y[:, :2].std(axis=0), 1, rtol=1e-6)
        np.testing.assert_array_equal(y[:, 2:], x[:, 2:])


class TestRefused:
    def test_what_is_no_table_is_refused(self) -> None:
        assert refused(TableEncoder.fit, np.zeros((3, 2))) == (
            "TableEncoder expects a pandas DataFrame or a dict of columns, got ndarray"
        )

    def test_columns_of_several_lengths_and_a_table_without_one_are_refused(self) -> None:
        expected = "TableEncoder expects at least one column, and columns of one length, got "
        assert refused(TableEncoder.fit, {}) == expected + "{}"
        assert refused(TableEncoder.fit, {"a": [1], "b": [1, 2]}) == expected + "{'a': 1, 'b': 2}"

    def test_names_of_columns_are_strings_which_json_keeps(self) -> None:
        assert refused(TableEncoder.fit, pd.DataFrame(np.eye(2))) == (
            "TableEncoder expects strings as names of columns, got 0; "
            "table.rename(columns=str) makes them"
        )

    def test_missing_columns_are_named(self, training: pd.DataFrame) -> None:
        encoder = TableEncoder.fit(training)
        assert refused(encoder.transform, training.drop(columns=["sex", "mass"])) == (
            "TableEncoder expects the columns mass, year, sex, wild, got none of mass, sex"
        )

    def test_a_masked_array_is_refused_as_everywhere(self) -> None:
        message = refused(TableEncoder.fit, {"a": np.ma.masked_array([1.0, 2.0], [False, True])})
        assert message.startswith("TableEncoder expects column 'a' to be a NumPy array, got Masked")
        assert "filled(number)" in message

    def test_an_infinite_number_is_named_with_its_column_and_row(self) -> None:
        table = {"a": [1.0, 2.0], "b": [0.0, -np.inf]}
        assert refused(TableEncoder.fit, table) == (
            "TableEncoder expects finite numbers in column 'b', got -inf in row 1; "
            "table.replace([np.inf, -np.inf], np.nan) makes them missing"
        )

    def test_a_word_in_a_column_of_numbers_is_named_with_its_column(
        self, training: pd.DataFrame
    ) -> None:
        encoder = TableEncoder.fit(training)
        message = refused(encoder.transform, training.assign(year=["2007", "MMX", "1", "2"]))
        assert message.startswith("TableEncoder expects numbers in column 'year', could not ")
        assert "MMX" in message
        assert message.endswith(
            "; pd.to_numeric(table['year'], errors='coerce') makes gaps of words"
        )

    @pytest.mark.parametrize(
        ("column", "got"),
        [
            (pd.to_datetime(["2020-01-01", "2020-01-02"]), "got datetime64["),
            (np.zeros((2, 2)), "got float64 of shape (2, 2)"),
            (np.zeros(2, complex), "got complex128"),
        ],
    )
    def test_other_columns_are_refused_by_name(self, column: Any, got: str) -> None:
        message = refused(TableEncoder.fit, {"when": column})
        assert "expects numbers, words or True and False in column 'when', " in message
        assert got in message
