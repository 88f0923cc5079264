"""What it takes to continue a run exactly: states, and files that hold them."""
