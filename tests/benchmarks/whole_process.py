"""A whole process to 97 % on MNIST, against PyTorch: python tests/benchmarks/whole_process.py

Both train 784-64-10 with momentum SGD on batches of 64 until the test accuracy after an epoch is
97 %, from the start of the interpreter to its end, in turns (needs torch).
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import tinynet

TURNS = 7
LIMIT = 0.97

TINYNET = """
import numpy as np
from tinynet import SGD, Dense, Flatten, ReLU, Rescale, Sequential, SoftmaxCrossEntropy
from tinynet.datasets import load_mnist
train, test = load_mnist()
layers = [Flatten(), Rescale(1 / 255), Dense(784, 64, rng=SEED), ReLU(), Dense(64, 10, rng=SEED)]
model = Sequential(layers)
loss, optimizer = SoftmaxCrossEntropy(), SGD(model.parameters(), 0.1, momentum=0.9)
rng = np.random.default_rng(SEED)
for epoch in range(10):
    order = rng.permutation(60_000)
    for start in range(0, 60_000, 64):
        rows = order[start : start + 64]
        loss(model(train.images[rows]), train.labels[rows])
        model.backward(loss.backward())
        optimizer.step()
    if np.mean(model.predict(test.images).argmax(axis=1) == test.labels) >= LIMIT:
        break
"""

TORCH = """
import gzip
from pathlib import Path
import numpy as np
import torch
from torch import nn
torch.manual_seed(SEED)
def read(name, offset):
    raw = gzip.decompress(Path(FOLDER, name + "-ubyte.gz").read_bytes())
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=offset).copy())
images, labels = read("train-images-idx3", 16).view(-1, 784), read("train-labels-idx1", 8).long()
test, answers = read("t10k-images-idx3", 16).view(-1, 784), read("t10k-labels-idx1", 8).long()
model = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
loss, optimizer = nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
for epoch in range(10):
    order = torch.randperm(60_000)
    for rows in order.split(64):
        optimizer.zero_grad()
        loss(model(images[rows].float().mul_(1 / 255)), labels[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        right = model(test.float().mul_(1 / 255)).argmax(1) == answers
    if right.float().mean() >= LIMIT:
        break
"""


def run(code: str, seed: int) -> tuple[float, float]:
    """Seconds, and megabytes at most, of an interpreter that runs the code."""
    folder = Path(tinynet.__file__).parent / "datasets" / "mnist_files"
    head = f"SEED, LIMIT, FOLDER = {seed}, {LIMIT}, {str(folder)!r}"
    started = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", f"{head}\n{code}"])
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    results = [(run(TINYNET, seed), run(TORCH, seed)) for seed in range(TURNS)]
    for what, column, unit in (("time", 0, "s"), ("peak memory", 1, "MB")):
        own = [pair[0][column] for pair in results]
        theirs = [pair[1][column] for pair in results]
        ratios = [a / b for a, b in zip(own, theirs, strict=True)]
        print(
            f"{what}: tinynet {statistics.median(own):.1f} {unit}, PyTorch "
            f"{statistics.median(theirs):.1f} {unit} (medians), ratio "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
