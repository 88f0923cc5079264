"""Gradient checking: compares the gradients of `backward` with numeric derivatives of `forward`."""

from tinynet.errors import GradientCheckError
from tinynet.gradcheck.check import check_gradients
from tinynet.gradcheck.report import Cause, Report, TensorReport, Verdict

__all__ = ["Cause", "GradientCheckError", "Report", "TensorReport", "Verdict", "check_gradients"]
