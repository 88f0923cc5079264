"""Optimizers and learning-rate schedules; `tinynet` exports the optimizers."""
