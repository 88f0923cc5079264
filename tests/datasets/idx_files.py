"""Small IDX files for tests."""

import gzip
from pathlib import Path

import numpy as np

from tinynet import Array

IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"


def idx_bytes(array: Array) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def qmnist_bytes(labels: Array) -> bytes:
    """Labels as QMNIST stores them: eight big-endian integers a row, of which the first counts."""
    table = np.arange(8 * len(labels)).reshape(-1, 8) - 4
    table[:, 0] = labels
    sizes = b"".join(size.to_bytes(4, "big") for size in table.shape)
    return bytes([0, 0, 0x0C, 2]) + sizes + table.astype(">i4").tobytes()


def digits(n: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 28, 28), np.uint8), np.arange(n) % 10


def write_folder(folder: Path, *, zipped: bool = True, mark: str = "-") -> Path:
    """Writes twelve training digits and four test digits."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, n in (("train", 12), ("t10k", 4)):
        images, labels = digits(n, seed=n)
        for name, array in ((IMAGES, images), (LABELS, labels)):
            path = folder / f"{part}-{name.replace('-idx', f'{mark}idx')}{'.gz' * zipped}"
            data = idx_bytes(array)
            path.write_bytes(gzip.compress(data, mtime=0) if zipped else data)
    return folder
