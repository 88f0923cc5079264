"""Standardize, compared with StandardScaler of scikit-learn and with sums in exact arithmetic."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from tinynet import (
    SGD,
    Array,
    Dense,
    InputError,
    MeanSquaredError,
    Sequential,
    Standardize,
    Trainer,
    check_gradients,
)
from tinynet.layers import reshape

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((50, 3)) * [1, 1000, 0.01] + [0, 5, -3]


def refused(use: Any, *args: Any, **kwargs: Any) -> str:
    """The message of the InputError that a call raises."""
    with pytest.raises(InputError) as error:
        use(*args, **kwargs)
    return str(error.value)


class TestFit:
    @given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 2**32 - 1))
    def test_mean_deviation_and_values_are_those_of_scikit_learn(
        self, rows: int, features: int, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((rows, features)) * 10.0 ** rng.integers(-3, 4, features)
        x += rng.integers(-100, 100, features)
        x[:, rng.random(features) < 0.2] = 0.1  # constant features
        expected, layer = StandardScaler().fit(x), Standardize(features).fit(x)
        np.testing.assert_allclose(layer.mean, expected.mean_, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(layer.std, expected.scale_, rtol=1e-9)
        y = layer.astype(np.float64)(x)
        np.testing.assert_allclose(y, expected.transform(x), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(layer.inverse(y), x, rtol=1e-12, atol=1e-12)

    def test_moments_keep_their_digits_where_the_mean_is_large(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Unix times of a day, in float64 of two digits behind the point.
        x = (1.7e9 + np.arange(40.0) ** 2 / 64)[:, None]
        exact = [Fraction(value) for value in x.ravel().tolist()]
        mean = sum(exact) / len(exact)
        variance = sum((value - mean) ** 2 for value in exact) / len(exact)
        for chunk in (1, 7, 40):
            monkeypatch.setattr(reshape, "CHUNK", chunk)
            layer = Standardize(1).fit(x)
            assert layer.mean.item() == float(mean)
            assert layer.var.item() == pytest.approx(float(variance), rel=1e-12)
            # Between two calls the mean is rounded to float64, here by up to 1.2e-7.
            parts = Standardize(1).partial_fit(x[:15]).partial_fit(x[15:])
            assert parts.var.item() == pytest.approx(float(variance), rel=1e-7)
            y = layer(x)
            assert y.dtype == np.float32  # after the difference, which float32 would lose
            expected = [float(v - mean) / float(variance) ** 0.5 for v in exact]
            np.testing.assert_allclose(y.ravel(), expected, rtol=2e-6, atol=1e-7)

    @pytest.mark.parametrize("chunk", [1, 6, 7, 1000])
    def test_a_memory_map_is_read_in_chunks(
        self, tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reshape, "CHUNK", chunk)
        np.save(tmp_path / "x.npy", ROWS)
        layer = Standardize(3).fit(np.load(tmp_path / "x.npy", mmap_mode="r"))
        assert layer.count == 50
        np.testing.assert_allclose(layer.mean, ROWS.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(layer.std, ROWS.std(axis=0), rtol=1e-12)

    @pytest.mark.parametrize("value", [0.1, 1e30, -1e-30, 0.0, 1 / 3])
    def test_a_constant_feature_is_0_and_has_the_deviation_1(
        self, value: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reshape, "CHUNK", 3)
        x = np.full((10, 1), value)
        layer = Standardize(1).fit(x).partial_fit(x)
        assert layer.std.tolist() == [1]
        assert layer(x).tolist() == [[0]] * 10

    def test_fit_starts_again_and_partial_fit_continues(self) -> None:
        other = Standardize(3).fit(ROWS * 100).fit(ROWS[:20])
        np.testing.assert_array_equal(other.mean, Standardize(3).fit(ROWS[:20]).mean)
        other.partial_fit(ROWS[20:])
        expected = StandardScaler().partial_fit(ROWS[:20]).partial_fit(ROWS[20:])
        np.testing.assert_allclose(other.var, expected.var_, rtol=1e-12)
        assert other.count == 50

    def test_features_that_are_not_named_stay_as_they_are(self) -> None:
        for features in (slice(2), [0, 1], np.array([True, True, False])):
            y = Standardize(3).fit(ROWS, features=features).astype(np.float64)(ROWS)
            np.testing.assert_allclose(y[:, :2], StandardScaler().fit_transform(ROWS[:, :2]))
            np.testing.assert_array_equal(y[:, 2], ROWS[:, 2])
        assert "expects features to be an index, index 3 is out of bounds" in refused(
            Standardize(3).fit, ROWS, features=[3]
        )

    def test_integers_and_half_precision_are_summed_in_float64(self) -> None:
        pixels = RNG.integers(0, 256, (5000, 2), np.uint8)
        layer = Standardize(2).fit(pixels)
        np.testing.assert_allclose(layer.var, pixels.astype(float).var(axis=0), rtol=1e-12)
        assert layer(pixels).dtype == np.float32
        assert layer(pixels.astype(np.float16)).dtype == np.float16

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_number_that_is_not_finite_is_named_with_its_feature_and_changes_nothing(
        self, value: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reshape, "CHUNK", 6)
        layer, wrong = Standardize(3).fit(ROWS), ROWS.copy()
        wrong[17, 1] = value
        before = {name: array.copy() for name, array in layer.state_dict().items()}
        assert refused(layer.fit, wrong) == (
            f"Standardize(3).fit expects finite numbers, got {value} at index (17, 1), in feature "
            "1; datasets.TableEncoder fills missing values, np.nan_to_num(x) makes them 0"
        )
        assert "at index 2, in feature 0" in refused(
            Standardize(1).fit, np.array([1.0, 2.0, value])
        )
        for name, array in layer.state_dict().items():
            np.testing.assert_array_equal(array, before[name])


class TestShapes:
    @pytest.mark.parametrize(
        ("shape", "axis"),
        [((6, 3), -1), ((6, 3), 1), ((6, 4, 3), -1), ((6, 3, 4, 5), 1), ((6, 2, 3, 4), -2)],
    )
    def test_every_feature_has_mean_0_and_deviation_1_over_all_other_axes(
        self, shape: tuple[int, ...], axis: int
    ) -> None:
        x = RNG.standard_normal(shape) * 5 + 3
        layer = Standardize(3, axis=axis).fit(x)
        others = tuple(k for k in range(len(shape)) if k != axis % len(shape))
        np.testing.assert_allclose(layer.mean, x.mean(axis=others), rtol=1e-12)
        y = layer.astype(np.float64)(x)
        np.testing.assert_allclose(y.mean(axis=others), 0, atol=1e-12)
        np.testing.assert_allclose(y.std(axis=others), 1, rtol=1e-12)
        np.testing.assert_allclose(layer.inverse(y), x, rtol=1e-12)

    def test_targets_of_one_axis_are_one_feature_and_fit_an_output_of_one_column(self) -> None:
        y = 1000 + 50 * RNG.standard_normal(20)
        scale = Standardize(1).fit(y)
        assert scale(y).shape == (20,)
        np.testing.assert_allclose(scale.inverse(scale(y)), y, rtol=1e-6)
        assert scale.inverse(scale(y)[:, None]).shape == (20, 1)
        assert scale.inverse(scale(y)).dtype == np.float64

    @pytest.mark.parametrize(
        ("layer", "x", "sentence"),
        [
            (Standardize(3), np.zeros((5, 4)), "x of shape (N, ..., 3), got (5, 4)"),
            (Standardize(3), np.zeros(3), "x of shape (N, ..., 3), got (3,)"),
            (Standardize(3, axis=1), np.zeros((5, 4, 3)), "(N, 3, ...), got (5, 4, 3)"),
            (Standardize(3, axis=-2), np.zeros((5, 4)), "(N, ..., 3, axis -1), got (5, 4)"),
            (Standardize(3, axis=2), np.zeros((5, 4)), "(N, axis 1, 3, ...), got (5, 4)"),
            (Standardize(1), [1.0], "x to be a NumPy array, got list"),
            (Standardize(1), np.array(["a"]), "x of a number dtype, got <U1"),
            (Standardize(2), np.zeros((0, 2)), "at least one sample, got x of shape (0, 2)"),
        ],
    )
    def test_other_shapes_are_refused(self, layer: Standardize, x: Any, sentence: str) -> None:
        assert sentence in refused(layer.fit, x)

    @pytest.mark.parametrize("settings", [{"num_features": 0}, {"num_features": 2, "axis": 0}])
    def test_settings_out_of_range_are_refused(self, settings: Any) -> None:
        assert refused(Standardize, **settings).startswith("Standardize expects ")


class TestInANetwork:
    def test_without_fit_a_batch_is_refused_with_the_remedy(self) -> None:
        model = Sequential([Standardize(3), Dense(3, 2)])
        assert model.output_shape((5, 3)) == (5, 2)
        assert refused(Standardize(3).inverse, ROWS).startswith("Standardize(3) expects a mean and")
        message = refused(model.predict, ROWS)
        assert "Standardize(3) expects a mean and a standard deviation, got none" in message
        assert "call .fit(x) with the training samples, or load a saved network" in message

    def test_a_saved_network_takes_raw_rows(self, tmp_path: Path) -> None:
        x = ROWS + np.array([1.7e9, 0, 0])
        model = Sequential([Standardize(3).fit(x), Dense(3, 1, rng=0)])
        model.save(tmp_path / "model.npz")
        loaded = Sequential([Standardize(3), Dense(3, 1, rng=1)]).load(tmp_path / "model.npz")
        np.testing.assert_array_equal(loaded.predict(x), model.predict(x), strict=True)
        by_hand = (x - x.mean(axis=0)) / x.std(axis=0) @ model.parameters()[0].value
        np.testing.assert_allclose(model.predict(x), by_hand, rtol=1e-4, atol=1e-5)

    def test_training_changes_no_statistics_and_a_resumed_run_has_them(
        self, tmp_path: Path
    ) -> None:
        def new_trainer(scale: Standardize) -> Trainer:
            model = Sequential([scale, Dense(3, 1, rng=0)])
            return Trainer(model, MeanSquaredError(), SGD(model.parameters(), 0.1))

        trainer, y = new_trainer(Standardize(3).fit(ROWS)), ROWS[:, 0]
        trainer.fit(ROWS, y, epochs=2, batch_size=10)
        np.testing.assert_allclose(trainer.model.state_dict()["layers.0.mean"], ROWS.mean(axis=0))
        trainer.save(tmp_path / "run.npz")
        resumed = new_trainer(Standardize(3)).restore(tmp_path / "run.npz")
        assert resumed.evaluate(ROWS, y) == trainer.evaluate(ROWS, y)

    def test_gradients_are_right(self) -> None:
        check_gradients(Standardize(3).fit(ROWS), ROWS[:4])
        images = RNG.standard_normal((4, 2, 3, 3))
        check_gradients(Standardize(2, axis=1).fit(3 * images + 1), images)

    def test_dx_of_a_layer_in_float32_has_the_dtype_of_x(self) -> None:
        layer = Standardize(3).fit(ROWS)
        dy = np.ones((50, 3), np.float32)
        assert layer(ROWS).dtype == np.float32
        dx: Array = layer.backward(dy)
        np.testing.assert_allclose(dx, np.tile(1 / ROWS.std(axis=0), (50, 1)), rtol=1e-12)
        layer((ROWS * 100).astype(np.int64))
        assert layer.backward(dy).dtype == np.float32
