"""Kills training processes at random moments: python tests/kill_runs.py FOLDER KILLS

Trains the run of resume_run.py to its end. Then child processes train it again; each is killed and
the next one continues from the newest checkpoint. After every kill a copy of the folder is trained
to its end too. Prints for every kill the step of the newest checkpoint (0 for none), whether a file
was just being written, and whether the copy ended with the same bits.
"""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from resume_run import run

from tinynet.callbacks import Checkpoint
from tinynet.saving.checkpoint import read

PAUSE = 0.004  # seconds after each step


def main(folder: Path, kills: int) -> None:
    """Kills at least this often, and once or more after a checkpoint was written."""
    started = time.perf_counter()
    expected = run(folder / "whole", PAUSE)
    seconds = time.perf_counter() - started
    rng, resumed = random.Random(0), False
    while kills > 0 or not resumed:
        child = start(folder / "run", expected)
        time.sleep(seconds * rng.random() ** 2)  # more often early, so that some kills meet step 0
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            step, writing, same = examine(folder / "run", folder / "copy", expected)
            print(step, int(writing), int(same))
            kills, resumed = kills - 1, resumed or step > 0
        else:
            assert status == 0, "a run that was not killed ended with other bits"
            shutil.rmtree(folder / "run")


def start(folder: Path, expected: str) -> int:
    """Forks a child that trains to the end, with exit status 0 if it ends with the same bits."""
    child = os.fork()
    if not child:
        status = 2
        try:
            status = int(run(folder, PAUSE) != expected)
        finally:
            os._exit(status)
    return child


def examine(folder: Path, copy: Path, expected: str) -> tuple[int, bool, bool]:
    """The newest step of a killed run, whether it was writing, and whether a copy ends the same."""
    folder.mkdir(exist_ok=True)
    shutil.copytree(folder, copy)
    newest = Checkpoint.newest(copy)
    step = read(newest)["progress"]["step"] if newest else 0
    writing = any(copy.glob(".*.tmp"))
    same = run(copy) == expected
    assert not any(copy.glob(".*.tmp"))
    shutil.rmtree(copy)
    return step, writing, same


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
