"""What the examples' command lines share: numbers that are checked, and faults told in one line."""

import argparse
import math
from typing import NoReturn


class OneLineParser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Stops with the message alone."""
        self.exit(2, f"{self.prog}: {message}\n")


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
