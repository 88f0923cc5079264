"""The time of Trainer.fit against a handwritten loop: python tests/benchmarks/trainer_overhead.py.

784-128-10, batch 64, SGD with momentum, the same batches in the same order. Both run the same
number of steps, in turns and in alternating order, so that a machine that slows down slows both.
The progress bar is on: run it in a terminal, or as `script -qc "python ..." /dev/null`. The
handwritten loop keeps its losses in a list, as is usual.
"""

import math
import statistics
import sys
import time

import numpy as np

from tinynet import SGD, Dense, Flatten, ReLU, Rescale, Sequential, SoftmaxCrossEntropy, Trainer
from tinynet.callbacks import ProgressBar
from tinynet.datasets import Digits, load_mnist

BATCH, EPOCHS, TURNS = 64, 1, 25


def network() -> tuple[Sequential, SoftmaxCrossEntropy, SGD]:
    model = Sequential(
        [Flatten(), Rescale(1 / 255), Dense(784, 128, rng=0), ReLU(), Dense(128, 10, rng=1)]
    )
    return model, SoftmaxCrossEntropy(), SGD(model.parameters(), 0.05, momentum=0.9)


def by_hand(train: Digits) -> Sequential:
    model, loss, optimizer = network()
    losses = []
    for epoch in range(EPOCHS):
        order = np.random.default_rng((0, epoch)).permutation(len(train.images))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            losses.append(loss(model(train.images[rows]), train.labels[rows]))
            model.backward(loss.backward())
            optimizer.step()
    return model


def by_trainer(train: Digits) -> Sequential:
    model, loss, optimizer = network()
    trainer = Trainer(model, loss, optimizer)
    trainer.fit(
        train.images,
        train.labels,
        epochs=EPOCHS,
        batch_size=BATCH,
        callbacks=[ProgressBar(every=10**6)],
    )
    return model


def main() -> None:
    train, _ = load_mnist()
    steps = math.ceil(len(train.images) / BATCH) * EPOCHS
    ways = (by_hand, by_trainer)
    times: dict[str, list[float]] = {way.__name__: [] for way in ways}
    for turn in range(TURNS + 1):
        weights = []
        for way in ways if turn % 2 else ways[::-1]:
            started = time.perf_counter()
            model = way(train)
            times[way.__name__].append((time.perf_counter() - started) / steps * 1e6)
            weights.append([parameter.value for parameter in model.parameters()])
        assert all(map(np.array_equal, *weights))  # equal bits
    hand, trainer = (measured[1:] for measured in times.values())  # the first turn warms up
    ratios = sorted(b / a for a, b in zip(hand, trainer, strict=True))
    print(
        f"by hand {statistics.median(hand):.0f} µs, Trainer {statistics.median(trainer):.0f} µs "
        f"a step (medians of {TURNS}), ratio {statistics.median(ratios):.3f} "
        f"({ratios[0]:.3f} to {ratios[-1]:.3f}), middle half {ratios[len(ratios) // 4]:.3f} to "
        f"{ratios[-1 - len(ratios) // 4]:.3f}; "
        f"progress bar {'on' if sys.stderr.isatty() else 'off'}"
    )


if __name__ == "__main__":
    main()
