"""Other layers against PyTorch's: python tests/benchmarks/pytorch_layers.py [name ...].

Forward and backward in float32, no update; needs torch. The two take turns in blocks of steps, with
a pause in between, in which the threads of the other come to rest.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from tinynet import (
    GRU,
    LSTM,
    Array,
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    Layer,
    MaxPool2D,
    ReLU,
    Sequential,
    TransformerBlock,
)

STEPS, TURNS, PAUSE = 8, 12, 0.25  # seconds


class Contest(NamedTuple):
    """The same network twice, and the shape of its x."""

    shape: tuple[int, ...]
    tinynet: Layer
    torch: nn.Module


def convolutions() -> Contest:
    """That of examples/mnist_cnn.py, behind its first two layers."""
    own = Sequential(
        [
            *(Conv2D(1, 12, 5, padding=2, bias=False), BatchNorm(12), ReLU(), MaxPool2D(2)),
            *(Conv2D(12, 24, 5, padding=2, bias=False), BatchNorm(24), ReLU(), MaxPool2D(2)),
            *(Flatten(), Dense(1176, 128), ReLU(), Dense(128, 10)),
        ]
    )
    theirs = nn.Sequential(
        *(nn.Conv2d(1, 12, 5, padding=2, bias=False), nn.BatchNorm2d(12), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Conv2d(12, 24, 5, padding=2, bias=False), nn.BatchNorm2d(24)),
        *(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1176, 128), nn.ReLU()),
        nn.Linear(128, 10),
    )
    return Contest((64, 1, 28, 28), own, theirs)


def wide_convolution() -> Contest:
    """One layer, with dx."""
    return Contest((64, 32, 14, 14), Conv2D(32, 64, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1))


class Output(nn.Module):  # type: ignore[misc]  # torch is not installed where types are checked
    """The y of a recurrent module, without its last state."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.module(x)[0]
        return y


def lstm() -> Contest:
    """64 steps."""
    return Contest((32, 64, 64), LSTM(64, 128), Output(nn.LSTM(64, 128, batch_first=True)))


def gru() -> Contest:
    """64 steps."""
    return Contest((32, 64, 64), GRU(64, 128), Output(nn.GRU(64, 128, batch_first=True)))


def transformer() -> Contest:
    """A block of that of examples/char_transformer.py, without the causal mask."""
    theirs = nn.TransformerEncoderLayer(
        64, 4, 256, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    return Contest((32, 64, 64), TransformerBlock(64, 4), theirs)


CONTESTS = (convolutions, wide_convolution, lstm, gru, transformer)


def tinynet_step(layer: Layer, x: Array, dy: Array) -> None:
    layer(x)
    layer.backward(dy)


def torch_step(module: nn.Module, x: Array, dy: Array) -> None:
    module.zero_grad()
    given = torch.from_numpy(x).requires_grad_()
    module(given).backward(torch.from_numpy(dy))


def block(step: Callable[..., None], *arguments: object) -> float:
    """Milliseconds a step."""
    time.sleep(PAUSE)
    step(*arguments)  # wakes the threads
    started = time.perf_counter()
    for _ in range(STEPS):
        step(*arguments)
    return (time.perf_counter() - started) / STEPS * 1e3


def main() -> None:
    print(f"torch {torch.__version__}, numpy {np.__version__}, threads {torch.get_num_threads()}")
    for contest in CONTESTS:
        if sys.argv[1:] and contest.__name__ not in sys.argv[1:]:
            continue
        shape, own, theirs = contest()
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        dy = np.random.default_rng(1).standard_normal(own(x).shape).astype(np.float32)
        pairs = [
            (block(tinynet_step, own, x, dy), block(torch_step, theirs, x, dy))
            for _ in range(TURNS)
        ]
        ratios = sorted(mine / other for mine, other in pairs)
        mine, other = (statistics.median(times) for times in zip(*pairs, strict=True))
        print(
            f"{contest.__name__}: tinynet {mine:.1f} ms, PyTorch {other:.1f} ms (medians), ratio "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
