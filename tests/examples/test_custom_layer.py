import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_layer.py"


def test_says_which_layer_is_right_and_where_the_other_is_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    right, x, g, wrong = capsys.readouterr().out.splitlines()
    assert right == "right  Gain(g=(3,)): backward and forward differ by at most"
    assert x.endswith("in the gradient of x")
    assert float(g.split()[0]) < 1e-8
    assert wrong.startswith("wrong  WrongGain(g=(3,)): gradient of g at index (0,): backward gave ")
    assert "central differences give" in wrong


def test_importing_it_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLE))
    assert capsys.readouterr().out == ""
