import os

from hypothesis import Phase, settings

# In CI the same examples every time; at a desk new ones, each failure kept and replayed. Few of
# them, for there are some three hundred such tests: the profiles below are for a longer look.
settings.register_profile("ci", derandomize=True, deadline=None, database=None, max_examples=25)
settings.register_profile("desk", deadline=None, max_examples=25)
settings.register_profile("thorough", deadline=None, max_examples=2000)
# The draws of `pytest -m gradients`, the same ones each time.
settings.register_profile("sweep", derandomize=True, database=None, max_examples=2600)
# A mutant has to be killed, not to be understood: nothing is shrunk.
settings.register_profile(
    "mutants",
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
settings.load_profile("ci" if os.environ.get("CI") else "desk")

collect_ignore = ["benchmarks"]  # commands, run by hand; one of them needs torch
