"""The import of tinynet.plots, with matplotlib and without it."""

import subprocess
import sys

from tinynet import plots


def test_tinynet_imports_without_matplotlib_and_plots_says_what_to_install() -> None:
    code = (
        "import sys, tinynet;"
        "print(*({'tinynet', 'tinynet.plots', 'matplotlib'} & {*sys.modules}));"
        "sys.modules['matplotlib'] = None; import tinynet.plots"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.split() == ["tinynet"]
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == (
        'ImportError: tinynet.plots needs matplotlib: in a clone, pip install -e ".[examples]"'
    )


def test_plots_do_without_pyplot() -> None:
    code = "import sys, tinynet.plots; print('matplotlib.pyplot' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_every_public_name_of_plots_is_a_documented_function() -> None:
    assert plots.__all__ == sorted(plots.__all__)
    for name in plots.__all__:
        assert callable(getattr(plots, name))
        assert "Raises:" in getattr(plots, name).__doc__
