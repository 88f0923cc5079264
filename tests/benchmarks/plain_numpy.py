"""The main example against a plain NumPy script: python tests/benchmarks/plain_numpy.py.

The script is the one that tinynet grew from: float64, all 60,000 images in each of 500 steps. Parts
of both runs alternate, training only, so that other load on the machine affects both alike.
"""

import contextlib
import io
import runpy
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from tinynet.datasets import Digits, load_mnist

STEPS = 500
TURNS = 5


class PlainScript:
    """784-10-10 with ReLU and softmax, batch-last, with one bias gradient per unit."""

    def __init__(self, train: Digits) -> None:
        rng = np.random.default_rng(0)
        self.w1, self.b1 = rng.random((10, 784)) - 0.5, rng.random((10, 1)) - 0.5
        self.w2, self.b2 = rng.random((10, 10)) - 0.5, rng.random((10, 1)) - 0.5
        self.x = train.images.reshape(-1, 784).T / 255  # (784, N)
        self.one_hot = np.eye(10)[:, train.labels]  # (10, N)

    def step(self, rate: float = 0.1) -> None:
        n = self.x.shape[1]
        z1 = self.w1 @ self.x + self.b1
        a1 = np.maximum(z1, 0)
        z2 = self.w2 @ a1 + self.b2
        a2 = np.exp(z2 - z2.max(axis=0))
        a2 /= a2.sum(axis=0)
        dz2 = a2 - self.one_hot
        dz1 = (self.w2.T @ dz2) * (z1 > 0)
        self.w2 -= rate / n * (dz2 @ a1.T)
        self.b2 -= rate / n * dz2.sum(axis=1, keepdims=True)
        self.w1 -= rate / n * (dz1 @ self.x.T)
        self.b1 -= rate / n * dz1.sum(axis=1, keepdims=True)

    def accuracy(self, digits: Digits) -> float:
        hidden = np.maximum(self.w1 @ (digits.images.reshape(-1, 784).T / 255) + self.b1, 0)
        predicted = (self.w2 @ hidden + self.b2).argmax(axis=0)
        return float(np.mean(predicted == digits.labels))


def main() -> None:
    path = Path(__file__).parents[2] / "examples" / "mnist_two_layer.py"
    sys.path.insert(0, str(path.parent))  # it imports modules of its folder
    example = SimpleNamespace(**runpy.run_path(str(path)))
    train, test = load_mnist()
    script = PlainScript(train)
    script_times, tinynet_times, accuracies = [], [], []
    for turn in range(TURNS):
        started = time.perf_counter()
        for _ in range(STEPS // TURNS):
            script.step()
        script_times.append((time.perf_counter() - started) * TURNS)
        options = example.parse(["--seed", f"{turn}", "--output", tempfile.gettempdir()])
        network = example.build_network(options.hidden, np.random.default_rng(turn))
        started = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            trainer = example.train_network(network, train, test, options)
        tinynet_times.append(time.perf_counter() - started)
        accuracies.append(trainer.history.last["validation_accuracy"])
    ratios = [own / theirs for own, theirs in zip(tinynet_times, script_times, strict=True)]
    print(
        f"plain NumPy, {STEPS} full-batch steps: median {statistics.median(script_times):.1f} s, "
        f"test accuracy {script.accuracy(test):.2%}"
    )
    print(
        f"tinynet, default run: median {statistics.median(tinynet_times):.1f} s, "
        f"test accuracy {np.mean(accuracies):.2%} (mean of seeds 0-{TURNS - 1}, "
        f"lowest {min(accuracies):.2%})"
    )
    print(f"ratio: median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
