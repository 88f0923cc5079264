"""Is a run in good health? What can be seen before it, while it goes on, and where it broke."""

from tinynet.health.anomaly import AnomalyError, detect_anomaly
from tinynet.health.finding import Finding, Findings

__all__ = ["AnomalyError", "Finding", "Findings", "detect_anomaly"]
