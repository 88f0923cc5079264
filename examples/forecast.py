"""The next 24 hours of a time series from the last 48: python examples/forecast.py.

The series is made: the hourly power of solar cells, with the periods of a day and of a year, clouds
that pass, and aging. A recurrent network learns three years and is tested on the fourth.
"""

from collections.abc import Sequence

import command_line
import numpy as np
from matplotlib.figure import Figure
from numpy.lib.stride_tricks import sliding_window_view

from tinynet import GRU, Adam, Dense, MeanSquaredError, Rescale, Sequential, Standardize, Trainer
from tinynet.optimizers.schedules import OneCycle
from tinynet.parameter import Array
from tinynet.plots.style import BLUE, GREY, VERMILION, panels

PAST, FUTURE, YEAR = 48, 24, 365 * 24  # hours
NAMES = ("as now", "as yesterday", "linear regression", "recurrent network")
STYLES = dict(zip(NAMES, ((GREY, ":"), (GREY, "-."), (VERMILION, "--"), (BLUE, "-")), strict=True))


def make_power(hours: int, rng: np.random.Generator) -> Array:
    """The power of every hour in kW, from midnight of January 1 on, at a latitude of 50 degrees."""
    hour, latitude = np.arange(hours), np.deg2rad(50)
    declination = np.deg2rad(23.4) * np.cos(2 * np.pi * (hour / YEAR - 172 / 365))
    midday = np.cos(latitude) * np.cos(declination) * -np.cos(2 * np.pi * hour / 24)
    elevation = midday + np.sin(latitude) * np.sin(declination)  # its sine; below 0 at night
    sky, noise = np.zeros(hours), rng.standard_normal(hours)
    for now in range(1, hours):  # half of a change in the weather is over after 17 hours
        sky[now] = 0.96 * sky[now - 1] + 0.28 * noise[now]
    aging = 1 - 0.02 * hour / YEAR
    return np.asarray(5 * np.maximum(elevation, 0) * aging / (1 + np.exp(-3 * sky - 0.5)))


def windows(series: Array) -> tuple[Array, Array]:
    """A series -> x (N, PAST, 1) and y (N, FUTURE), one of each for every third hour."""
    rows = sliding_window_view(series.astype(np.float32), PAST + FUTURE)[::3]
    return rows[:, :PAST, None], rows[:, PAST:]


def build_network(x: Array, rng: np.random.Generator) -> Sequential:
    """Kilowatts (N, PAST, 1) -> kilowatts (N, FUTURE)."""
    scale = Standardize(1).fit(x)
    recurrent, output = GRU(1, 24, states="last", rng=rng), Dense(24, FUTURE, rng=rng)
    return Sequential([scale, recurrent, output, Rescale(scale.std.item(), scale.mean.item())])


def linear_regression(x: Array, y: Array, new_x: Array) -> Array:
    """The y of new windows by the weights that minimize the squared error on (x, y)."""
    rows, new = (np.pad(part[:, :, 0], ((0, 0), (0, 1)), constant_values=1) for part in (x, new_x))
    return np.asarray(new @ np.linalg.lstsq(rows, y, rcond=None)[0])


def draw(x: Array, y: Array, predictions: dict[str, Array], errors: dict[str, Array]) -> Figure:
    """Three forecasts of a summer day, and the errors of a year by hours ahead."""
    figure, axes = panels(4, columns=2, size=(5.0, 3.2))
    for axis, hour in zip(axes, (6, 9, 12), strict=False):
        row = (180 * 24 + hour - PAST) // 3
        axis.plot(range(-PAST, FUTURE), [*x[row, :, 0], *y[row]], "k.", label="measured", ms=4)
        for name in NAMES[2:]:
            color, dashes = STYLES[name]
            axis.plot(predictions[name][row], color=color, linestyle=dashes, label=name)
        axis.axvline(-0.5, color=GREY, linewidth=0.8)
        axis.set(title=f"Forecast at {hour}:00", xlabel="hours from now", ylabel="kW")
    for name, error in errors.items():
        color, dashes = STYLES[name]
        axes[-1].plot(range(1, FUTURE + 1), error, color=color, linestyle=dashes, label=name)
    axes[-1].set(title="Root mean squared error", xlabel="hours ahead", ylabel="kW", ylim=0)
    for axis in (axes[0], axes[-1]):
        axis.legend(fontsize=8)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes the series, trains, compares the errors and draws."""
    options = command_line.ExampleParser(
        "Forecast a time series.", epochs=10, batch_size=64, learning_rate=0.01
    ).parse(arguments)
    rng = np.random.default_rng(options.seed)
    power = make_power(4 * YEAR, rng)
    (x, y), (new_x, new_y) = windows(power[: 3 * YEAR]), windows(power[3 * YEAR :])
    network = build_network(x, rng)
    rate = OneCycle(options.learning_rate, steps=command_line.count_steps(options, len(x)))
    loss, optimizer = MeanSquaredError(), Adam(network.parameters(), rate)
    trainer = Trainer(network, loss, optimizer, seed=options.seed)
    with command_line.timed():
        trainer.fit(x, y, epochs=options.epochs, batch_size=options.batch_size)
    as_now, as_yesterday = np.repeat(new_x[:, -1], FUTURE, axis=1), new_x[:, -FUTURE:, 0]
    linear, recurrent = linear_regression(x, y, new_x), network.predict(new_x)
    predictions = dict(zip(NAMES, (as_now, as_yesterday, linear, recurrent), strict=True))
    errors = {n: np.sqrt(np.mean((p - new_y) ** 2, axis=0)) for n, p in predictions.items()}
    for name, error in errors.items():
        print(f"{name:17}  {np.sqrt(np.mean(error**2)):.3f} kW")
    command_line.save(options.output, {"forecast": draw(new_x, new_y, predictions, errors)})


if __name__ == "__main__":
    command_line.run(main)
