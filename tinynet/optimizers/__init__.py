"""Optimizers: `Optimizer` is the base class, and each subclass one update formula."""

from tinynet.optimizers.adaptive import Adagrad, Adam, AdamW, RMSprop
from tinynet.optimizers.optimizer import Optimizer, no_decay_on_biases_and_norms
from tinynet.optimizers.sgd import SGD

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "no_decay_on_biases_and_norms",
]
