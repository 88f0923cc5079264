"""Metrics: measures of how good predictions are; `tinynet` exports all of them."""
