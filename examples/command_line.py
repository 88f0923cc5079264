"""What the examples share: their command lines, faults told in one line, pictures written."""

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from tinynet import DivergenceError
from tinynet.datasets import DatasetError, Digits, load_mnist

try:
    import matplotlib
    import matplotlib.pyplot as plt
    import tqdm  # noqa: F401  # for the progress bar
    from matplotlib.figure import Figure
except ImportError as missing:
    sys.exit(f'{missing}: this example needs pip install -e ".[examples]"')


class OneLineParser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Stops with the message alone."""
        self.exit(2, f"{self.prog}: {message}\n")


class ExampleParser(OneLineParser):
    """A parser with the options of every example; its pictures need no display."""

    def __init__(self, description: str, *, epochs: int) -> None:
        super().__init__(description=description)
        add, at_least_0 = self.add_argument, partial(whole, at_least=0)
        add("--epochs", type=whole, default=epochs, help=f"passes over the data (default {epochs})")
        add("--seed", type=at_least_0, default=0, help="of everything random (default 0)")
        add("--output", type=Path, default=Path("output"), help="folder (default output)")

    def add_mnist(self) -> None:
        """Adds the option that says where the digits are, see `load_digits`."""
        text = "folder of IDX files, or a Kaggle train.csv (default: shipped)"
        self.add_argument("--data", type=Path, help=text)

    def parse(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """The options, with the folder for the pictures made before the work, not after it."""
        options = self.parse_args(arguments)
        matplotlib.use("Agg")
        try:
            options.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.error(f"{error}")
        return options


def load_digits(path: Path | None) -> tuple[Digits, Digits]:
    """MNIST for training and for testing; what is wrong with the files is told in one line."""
    try:
        return load_mnist(path)
    except (DatasetError, OSError) as error:
        sys.exit(f"{error}")


def whole(text: str, at_least: int = 1) -> int:
    """A whole number, of at least 1 unless told otherwise."""
    # Ten digits at most: longer numbers are slips, and very long ones int() refuses.
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) >= at_least):
        raise argparse.ArgumentTypeError(f"expected a whole number >= {at_least}, got {text:.20}")
    return int(text)


def positive(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def save(folder: Path, pictures: Mapping[str, Figure]) -> None:
    """Writes each picture under its name, and says so."""
    for name, figure in pictures.items():
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=100)
        print(f"wrote {path}")
    plt.close("all")


def run(main: Callable[[], None]) -> None:
    """Runs an example; what stops it is told in one line."""
    try:
        main()
    except DivergenceError as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        sys.exit("stopped before the pictures were written")
