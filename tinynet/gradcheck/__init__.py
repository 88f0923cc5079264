"""Gradient checking: what `backward` claims, held against what `forward` does."""

from tinynet.gradcheck.check import GradientCheckError, check_gradients

__all__ = ["GradientCheckError", "check_gradients"]
