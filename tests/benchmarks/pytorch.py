"""A training step against PyTorch's, in turns: python tests/benchmarks/pytorch.py (needs torch).

784-H-10 on bytes, batch 64, momentum SGD: gather, forward, loss as a number, backward, update.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from tinynet import SGD, Array, Dense, Flatten, ReLU, Rescale, Sequential, SoftmaxCrossEntropy
from tinynet.datasets import Digits, load_mnist

BATCH, STEPS, TURNS = 64, 200, 20


def tinynet_step(hidden: int, train: Digits) -> Callable[[Array], None]:
    model = Sequential(
        [Flatten(), Rescale(1 / 255), Dense(784, hidden, rng=0), ReLU(), Dense(hidden, 10, rng=1)]
    )
    loss, optimizer = SoftmaxCrossEntropy(), SGD(model.parameters(), 0.01, momentum=0.9)

    def step(rows: Array) -> None:
        loss(model(train.images[rows]), train.labels[rows])
        model.backward(loss.backward())
        optimizer.step()

    return step


def torch_step(hidden: int, train: Digits) -> Callable[[Array], None]:
    images, labels = torch.from_numpy(train.images), torch.from_numpy(train.labels)
    model = torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(784, hidden),
        torch.nn.ReLU(),
        torch.nn.Linear(hidden, 10),
    )
    loss = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)

    def step(rows: Array) -> None:
        chosen = torch.from_numpy(rows)
        optimizer.zero_grad()
        value = loss(model(images[chosen].float().mul_(1 / 255)), labels[chosen])
        value.backward()
        optimizer.step()
        value.item()

    return step


def main() -> None:
    train, _ = load_mnist()
    rng = np.random.default_rng(0)
    print(f"torch {torch.__version__}, numpy {np.__version__}, threads {torch.get_num_threads()}")
    for hidden in (10, 128):
        steps = (tinynet_step(hidden, train), torch_step(hidden, train))
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(TURNS + 1):
            for step, taken in zip(steps, times, strict=True):
                order = rng.permutation(len(train.images))
                started = time.perf_counter()
                for start in range(0, STEPS * BATCH, BATCH):
                    step(order[start : start + BATCH])
                taken.append((time.perf_counter() - started) / STEPS * 1e6)
        own, theirs = (taken[1:] for taken in times)  # the first turn warms up
        ratios = [a / b for a, b in zip(own, theirs, strict=True)]
        print(
            f"784-{hidden}-10: tinynet {statistics.median(own):.0f} µs, "
            f"PyTorch {statistics.median(theirs):.0f} µs a step (medians), ratio "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
