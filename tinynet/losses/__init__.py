"""Losses: layers that compare predictions with targets; `tinynet` exports all of them."""
