"""Health checks of a training run: before it starts, while it runs, and where a NaN appears."""

from tinynet.health.anomaly import detect_anomaly
from tinynet.health.finding import Finding, Findings
from tinynet.health.preflight import preflight

__all__ = ["Finding", "Findings", "detect_anomaly", "preflight"]
