"""Datasets: MNIST, tables, mini-batches and augmentation, with errors that name the fault."""

from tinynet.datasets.augment import RandomDistortion
from tinynet.datasets.mnist import Digits, load_kaggle_digits, load_mnist
from tinynet.datasets.mnist_csv import load_mnist_csv
from tinynet.datasets.table import TableEncoder
from tinynet.errors import DatasetError

__all__ = [
    "DatasetError",
    "Digits",
    "RandomDistortion",
    "TableEncoder",
    "load_kaggle_digits",
    "load_mnist",
    "load_mnist_csv",
]
