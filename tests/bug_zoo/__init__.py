"""Wrong layers and losses as students write them, and right ones that look suspicious."""

from bug_zoo import activations, keeping, losses, norms, products, several, stale, starts
from bug_zoo.specimen import ZOO, Specimen

__all__ = [
    "ZOO",
    "Specimen",
    "activations",
    "keeping",
    "losses",
    "norms",
    "products",
    "several",
    "stale",
    "starts",
]
