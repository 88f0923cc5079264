import re
from collections.abc import Callable
from pathlib import Path

import forecast as example
import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LinearRegression


def test_the_power_has_days_seasons_and_aging_and_is_never_negative() -> None:
    power = example.make_power(4 * example.YEAR, np.random.default_rng(0))
    years = power.reshape(4, 365, 24)
    assert (power >= 0).all()
    assert (years[:, :, 0] == 0).all()  # at midnight
    assert years[:, :, 12].mean() > years[:, :, 9].mean() > years[:, :, 6].mean()
    assert years[:, 150:190].mean() > 2 * years[:, :20].mean()
    assert years[0].max() > years[3].max()


def test_a_window_is_followed_by_what_is_to_be_forecast() -> None:
    x, y = example.windows(np.arange(100.0))
    assert x.shape == (10, 48, 1)
    np.testing.assert_array_equal(x[:, 0, 0], np.arange(0, 29, 3))
    np.testing.assert_array_equal(np.diff(x, axis=1), np.ones((10, 47, 1)))
    np.testing.assert_array_equal(y, x[:, -1] + np.arange(1, 25))


def test_linear_regression_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    x, y, new = rng.random((90, 48, 1)), rng.random((90, 24)), rng.random((5, 48, 1))
    expected = LinearRegression().fit(x[:, :, 0], y).predict(new[:, :, 0])
    np.testing.assert_allclose(example.linear_regression(x, y, new), expected, atol=1e-10)


def test_the_network_takes_and_returns_kilowatts() -> None:
    x, _ = example.windows(example.make_power(200, np.random.default_rng(0)))
    small, large = (example.build_network(unit * x, np.random.default_rng(0)) for unit in (1, 1000))
    np.testing.assert_allclose(1000 * small.predict(x), large.predict(1000 * x), rtol=1e-3)


def test_forecast_prints_the_errors_of_later_data_and_writes_a_picture(
    run: Callable[..., list[str]], tmp_path: Path
) -> None:
    lines = run(example, "--epochs", 1, "--batch-size", 128)
    errors = [float(re.findall(r"([\d.]+) kW", line)[0]) for line in lines[:4]]
    assert [line.partition("  ")[0] for line in lines[:4]] == list(example.NAMES)
    as_now, as_yesterday, linear, recurrent = errors
    assert linear < as_yesterday < as_now
    assert recurrent < as_yesterday
    path = tmp_path / "out" / "forecast.png"
    assert lines[4:] == [f"wrote {path}"]
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_picture_has_three_forecasts_and_the_errors_by_hours_ahead() -> None:
    x, y = example.windows(example.make_power(example.YEAR, np.random.default_rng(0)))
    predictions = dict.fromkeys(example.NAMES, y + 0.5)
    errors = {name: np.full(24, 0.5) for name in example.NAMES}
    *forecasts, last = example.draw(x, y, predictions, errors).axes
    for axis, hour in zip(forecasts, (6, 9, 12), strict=True):
        assert axis.get_title() == f"Forecast at {hour}:00"
        measured, *lines = (np.asarray(line.get_ydata(), float) for line in axis.lines[:3])
        for line in lines:
            np.testing.assert_allclose(line, measured[48:] + 0.5, rtol=1e-5)
        midnight = (24 - hour) % 24
        assert measured[48 + midnight] == 0
    assert [np.size(line.get_ydata()) for line in last.lines] == [24] * 4
    plt.close("all")
