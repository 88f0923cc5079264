"""Gradient checking: what `backward` claims, held against what `forward` does."""

from tinynet.gradcheck.check import check_gradients
from tinynet.gradcheck.report import Report, TensorReport
from tinynet.gradcheck.verdict import Cause, GradientCheckError, Verdict

__all__ = ["Cause", "GradientCheckError", "Report", "TensorReport", "Verdict", "check_gradients"]
