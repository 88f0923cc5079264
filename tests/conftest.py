import os

from hypothesis import settings

# In CI the same examples every time; at a desk new ones, each failure kept and replayed.
settings.register_profile("ci", derandomize=True, deadline=None, database=None)
settings.register_profile("desk", deadline=None)
settings.register_profile("thorough", deadline=None, max_examples=2000)
# The draws of `pytest -m gradients`, the same ones each time.
settings.register_profile("sweep", derandomize=True, database=None, max_examples=2600)
settings.load_profile("ci" if os.environ.get("CI") else "desk")

collect_ignore = ["benchmarks"]  # commands, run by hand; one of them needs torch
