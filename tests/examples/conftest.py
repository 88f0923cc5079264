from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import command_line
import matplotlib as mpl
import pytest
from idx_files import IMAGES, LABELS, idx_bytes
from matplotlib.figure import Figure

from tinynet import plots
from tinynet.datasets import Digits, load_mnist

mpl.use("Agg")


@pytest.fixture(scope="session")
def mnist() -> tuple[Digits, Digits]:
    return load_mnist()


@pytest.fixture(scope="session")
def data(mnist: tuple[Digits, Digits], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 1,000 training images and 200 test images of MNIST."""
    folder = tmp_path_factory.mktemp("mnist")
    for part, digits, n in zip(("train", "t10k"), mnist, (1000, 200), strict=True):
        (folder / f"{part}-{IMAGES}").write_bytes(idx_bytes(digits.images[:n]))
        (folder / f"{part}-{LABELS}").write_bytes(idx_bytes(digits.labels[:n]))
    return folder


@pytest.fixture(autouse=True)
def _blank_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blank pictures for those of tinynet.plots, which are slow and have their own tests."""
    for name in plots.__all__:
        monkeypatch.setattr(plots, name, lambda *_, **__: Figure(figsize=(1, 1)))


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """Runs an example as a command would, and returns the printed lines."""

    def run_example(example: ModuleType, *arguments: Any) -> list[str]:
        given = ["--output", tmp_path / "out", *arguments]
        command_line.run(lambda: example.main([str(argument) for argument in given]))
        return capsys.readouterr().out.splitlines()

    return run_example
