from pathlib import Path

import pytest
from idx_files import IMAGES, LABELS, idx_bytes

from tinynet.datasets import Digits, load_mnist


@pytest.fixture(scope="session")
def mnist() -> tuple[Digits, Digits]:
    return load_mnist()


@pytest.fixture(scope="session")
def data(mnist: tuple[Digits, Digits], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slice")
    for part, digits, n in zip(("train", "t10k"), mnist, (3000, 500), strict=True):
        (folder / f"{part}-{IMAGES}").write_bytes(idx_bytes(digits.images[:n]))
        (folder / f"{part}-{LABELS}").write_bytes(idx_bytes(digits.labels[:n]))
    return folder
