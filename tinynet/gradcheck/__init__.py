"""Gradient checking: what `backward` claims, held against what `forward` does."""

from tinynet.gradcheck.check import check_gradients
from tinynet.gradcheck.subject import GradientCheckError

__all__ = ["GradientCheckError", "check_gradients"]
