import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_layer.py"


def test_says_which_layer_is_right_and_where_the_other_is_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    out = capsys.readouterr().out
    right, wrong = out.split("\n\n", 1)
    assert right.startswith("Gain(g=(3,)): right\n")
    assert "WrongGain(g=(3,)): gradient of g at index (0,): backward gave " in wrong
    assert "ause: summed over the wrong axes" in wrong


def test_importing_it_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLE))
    assert capsys.readouterr().out == ""
