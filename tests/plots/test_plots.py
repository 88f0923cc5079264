"""What a user's first import of the pictures meets."""

import subprocess
import sys

from tinynet import plots


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_tinynet_alone_does_not_bring_them() -> None:
    run = python(
        "import sys, tinynet; print(*({'tinynet', 'tinynet.plots', 'matplotlib'} & {*sys.modules}))"
    )
    assert run.stdout.split() == ["tinynet"]


def test_without_matplotlib_the_error_says_what_to_install() -> None:
    run = python("import sys; sys.modules['matplotlib'] = None; import tinynet.plots")
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == (
        'ImportError: tinynet.plots needs matplotlib: pip install "tinynet-numpy[examples]"'
    )


def test_every_public_name_is_a_documented_function() -> None:
    assert plots.__all__ == sorted(plots.__all__)
    for name in plots.__all__:
        assert callable(getattr(plots, name))
        assert "Raises:" in getattr(plots, name).__doc__
