import os

# Two test processes share the cores already: threads of BLAS below them only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from hypothesis import Phase, settings

# The same examples on every machine and in every run: a test is red because of the code alone.
# Few of them, for there are some three hundred such tests; the profiles below draw more.
settings.register_profile(
    "default", derandomize=True, deadline=None, database=None, max_examples=15
)
# New examples in every run, to look for what the fixed ones miss.
settings.register_profile(
    "explore", derandomize=False, deadline=None, database=None, max_examples=15
)
settings.register_profile("thorough", deadline=None, database=None, max_examples=2000)
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
settings.load_profile("default")

collect_ignore = ["benchmarks"]  # commands, run by hand; one of them needs torch
