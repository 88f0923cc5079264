"""Data sets to learn from, each fault in their files told in one sentence."""

from tinynet.datasets.idx import DatasetError
from tinynet.datasets.mnist import Digits, load_mnist

__all__ = ["DatasetError", "Digits", "load_mnist"]
