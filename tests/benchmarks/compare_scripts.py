"""The rows of compare.py that are whole processes, from the start of the interpreter to its end."""

import re
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

import tinynet

FOLDER = Path(__file__).parent
MNIST = Path(tinynet.__file__).parent / "datasets" / "mnist_files"
EXAMPLE = FOLDER.parents[1] / "examples" / "mnist_two_layer.py"
PLAIN = """
import sys, time
sys.path.insert(0, sys.argv[1])
import with_numpy
from tinynet import Dense, ReLU, Sequential
from tinynet.datasets import load_mnist
train, _ = load_mnist()
x = train.images.reshape(-1, 784) / 255
net = Sequential([Dense(784, 10), ReLU(), Dense(10, 10)])
task = with_numpy.Task("step", net, x, train.labels, range(500), "sgd", 0.1)
turn = with_numpy.build(task).turn
started = time.perf_counter()
turn()
print(f"trained in {time.perf_counter() - started:.1f} s", file=sys.stderr)
"""


class Usage(NamedTuple):
    """Of a process: its seconds and, where it prints them, those of its training, and so on."""

    seconds: float
    training: float = 0.0
    accuracy: float = 0.0
    megabytes: float = 0.0


COLUMNS = {"": "seconds", "training": "training", "peak memory": "megabytes"}  # by end of a row


@cache
def run(script: str, framework: str, turn: int) -> Usage:
    """A run of the script in a new process; rows of the same script share it."""
    if script == "784-128-10 to 97 %":
        command = [f"{FOLDER / 'to_97_percent.py'}", framework, f"{turn}", f"{MNIST}"]
    elif script == "import":
        command = ["-c", f"import {framework}"]
    elif framework == "tinynet":
        command = [f"{EXAMPLE}", "--seed", f"{turn}", "--output", tempfile.gettempdir()]
    else:
        command = ["-c", PLAIN, f"{FOLDER}"]
    started = time.perf_counter()
    ended = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    trained = re.search(r"trained in (\S+) s", ended.stderr)
    numbers = map(float, ended.stdout.split()) if script.startswith("784") else ()
    return Usage(seconds, float(trained[1]) if trained else 0.0, *numbers)


def measure(row: str, framework: str, turn: int) -> float:
    """Seconds, or megabytes where the row is of memory."""
    script, _, column = row.partition(", ")
    return float(getattr(run(script, framework, turn), COLUMNS[column]))


def difference(row: str, frameworks: list[str]) -> float:
    """The largest difference of accuracies in the first turn."""
    found = [run(row.partition(", ")[0], name, 0).accuracy for name in frameworks]
    return max(found) - min(found)
