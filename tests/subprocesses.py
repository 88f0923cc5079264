"""Runs Python code in another process, which may have limits and be killed."""

import subprocess
import sys


def run_python(script: str, *arguments: object) -> list[str]:
    """Runs a script with arguments and returns the lines of its output; fails if it does."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def raise_error(error: BaseException) -> None:
    """Raises an error, in the process that runs it."""
    raise error
