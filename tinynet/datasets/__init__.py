"""Datasets: MNIST, tables and mini-batches, with errors that name the file and the fault."""

from tinynet.datasets.mnist import Digits, load_mnist
from tinynet.datasets.mnist_csv import load_mnist_csv
from tinynet.datasets.table import TableEncoder
from tinynet.errors import DatasetError

__all__ = ["DatasetError", "Digits", "TableEncoder", "load_mnist", "load_mnist_csv"]
