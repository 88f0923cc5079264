"""The example of plain gradient descent, on a part of MNIST."""

import re
from collections.abc import Callable
from pathlib import Path

import mnist_gradient_descent as example
import numpy as np


def test_gradient_descent_takes_one_step_an_epoch_and_reports_every_tenth(
    run: Callable[..., list[str]], data: Path, tmp_path: Path
) -> None:
    lines = run(example, "--data", data, "--epochs", 25)
    epochs = re.findall(r"^epoch +(\d+)/25  loss (\d\.\d+)", "\n".join(lines), re.MULTILINE)
    assert [int(epoch) for epoch, _ in epochs] == [10, 20, 25]
    losses = [float(loss) for _, loss in epochs]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 2.3 < losses[0] + 1
    names = ["predictions", "curves", "weights"]
    paths = [tmp_path / "out" / f"gradient_descent_{name}.png" for name in names]
    assert lines[-3:] == [f"wrote {path}" for path in paths]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_gradient_descent_starts_with_values_between_minus_and_plus_one_half() -> None:
    network = example.build_network(3, np.random.default_rng(0))
    values = np.concatenate([p.value.ravel() for p in network.parameters()])
    assert values.size == 784 * 3 + 3 + 3 * 10 + 10
    assert -0.5 <= values.min() < -0.49
    assert 0.49 < values.max() < 0.5
