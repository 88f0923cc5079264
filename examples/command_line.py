"""The part that the examples share: command line, one-line errors, timing, written pictures."""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

from tinynet import CheckpointError, DivergenceError, InputError
from tinynet.datasets import DatasetError, Digits, load_mnist

try:
    import matplotlib
    import matplotlib.pyplot as plt
    import tqdm  # noqa: F401  # for the progress bar
    from matplotlib.figure import Figure
except ImportError as missing:
    sys.exit(f'{missing}: this example needs pip install -e ".[examples]"')

# Of the files, the options and the machine; any other error is a bug and keeps its traceback.
EXPECTED_ERRORS = (
    CheckpointError,
    DatasetError,
    DivergenceError,
    ImportError,
    InputError,
    MemoryError,
    OSError,
    UnicodeError,
)


class ExampleParser(argparse.ArgumentParser):
    """A parser with the options of every example, and of its optimizer where it has defaults."""

    def __init__(
        self,
        description: str,
        *,
        epochs: int,
        batch_size: int | None = None,
        learning_rate: float | None = None,
    ) -> None:
        super().__init__(description=description)
        add, at_least_0 = self.add_argument, partial(whole, at_least=0)
        add("--epochs", type=whole, default=epochs, help=f"passes over the data (default {epochs})")
        if batch_size is not None:
            text = f"samples a step (default {batch_size})"
            add("--batch-size", type=whole, default=batch_size, help=text)
        if learning_rate is not None:
            text = f"the highest of the run (default {learning_rate:g})"
            add("--learning-rate", type=positive, default=learning_rate, help=text)
        add("--seed", type=at_least_0, default=0, help="of everything random (default 0)")
        add("--output", type=Path, default=Path("output"), help="folder (default output)")

    def add_mnist(self) -> None:
        """Adds the option for the location of the digits, which `load_digits` reads."""
        text = "folder of IDX files, or a CSV file of digits (default: shipped)"
        self.add_argument("--data", type=Path, help=text)

    def parse(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """The options; makes the output folder before the work, and draws without a display."""
        options = self.parse_args(arguments)
        options.output.mkdir(parents=True, exist_ok=True)
        if not vars(options).get("show"):
            matplotlib.use("Agg")
        return options

    def error(self, message: str) -> NoReturn:
        """Stops with the message alone, in one line."""
        self.exit(2, f"{self.prog}: {message}\n")


def load_digits(source: Path | None) -> tuple[Digits, Digits]:
    """The digits of `--data`; prints what reading has changed, such as rows that were shuffled."""
    train, test = load_mnist(source)
    if train.note:
        print(train.note)
    return train, test


def whole(text: str, at_least: int = 1) -> int:
    """A whole number of at least 1, or of at least another number."""
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


def count_steps(options: argparse.Namespace, samples: int) -> int:
    """The optimizer steps of a run, for schedules of the learning rate."""
    steps: int = math.ceil(samples / options.batch_size) * options.epochs
    return steps


@contextmanager
def timed() -> Iterator[None]:
    """Prints how long the training took; not on stdout, which is the same for the same seed."""
    started = time.perf_counter()
    yield
    print(f"trained in {time.perf_counter() - started:.1f} s", file=sys.stderr)


def save(folder: Path, pictures: Mapping[str, Figure], *, show: bool = False) -> None:
    """Writes each picture as `name.png`, prints its path, and opens all of them for show=True."""
    paths = {name: folder / f"{name}.png" for name in pictures}
    for name, figure in pictures.items():
        figure.savefig(paths[name], dpi=100)
        print(f"wrote {paths[name]}")
    plt.close("all")
    if show:
        for name, figure in pictures.items():  # pyplot does not know those of tinynet.plots
            plt.figure(name, figsize=figure.get_size_inches(), dpi=100)
            plt.figimage(plt.imread(paths[name]))
        if plt.get_backend().lower() == "agg":
            print("--show finds no display: open the files above instead", file=sys.stderr)
        plt.show()
        plt.close("all")


def run(main: Callable[[], None]) -> None:
    """Runs an example; an error to expect, such as a missing file, ends it with one line."""
    try:
        main()
    except EXPECTED_ERRORS as error:
        sys.exit(" ".join(f"{error}".split()))
    except KeyboardInterrupt:
        sys.exit("interrupted before everything was written")
