import runpy
from pathlib import Path

import custom_layer
import pytest


def test_custom_layer_passes_the_check_and_its_wrong_gradient_is_found(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert capsys.readouterr().out == ""  # an import runs nothing
    runpy.run_path(str(Path(custom_layer.__file__)), run_name="__main__")
    right, wrong = capsys.readouterr().out.split("\n\n", 1)
    assert right.startswith("Gain(g=(3,)): right\n")
    assert "WrongGain(g=(3,)): gradient of g at index (0,): backward gave " in wrong
    assert "ause: summed over the wrong axes" in wrong
