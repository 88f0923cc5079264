"""Layers, one family a file; `tinynet` exports all of them."""
