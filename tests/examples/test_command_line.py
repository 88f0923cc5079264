import importlib
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import command_line
import matplotlib.pyplot as plt
import pytest

from tinynet import DivergenceError

EXAMPLES = Path(command_line.__file__).parent
# Those that say all this by themselves have tests of their own.
NAMES = ["char_transformer", "mnist_autoencoder", "mnist_cnn", "spirals"]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    parser = command_line.ExampleParser("An example.", epochs=7)
    parser.add_argument("--rate", type=command_line.positive)
    with pytest.raises(SystemExit):
        parser.parse(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    return line.partition(": ")[2]


def test_faults_are_told_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for arguments, line in (
        (("--epochs", "0"), "argument --epochs: expected a whole number >= 1, got 0"),
        (("--seed", "-1"), "argument --seed: expected a whole number >= 0, got -1"),
        (("--rate", "x"), "argument --rate: expected a number above 0, got 'x'"),
        (("--rate", "inf"), "argument --rate: expected a number above 0, got 'inf'"),
    ):
        assert refused(capsys, *arguments) == line
    (tmp_path / "file").touch()
    assert "File exists" in refused(capsys, "--output", str(tmp_path / "file"))


def test_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = command_line.ExampleParser("An example.", epochs=7).parse([])
    assert vars(options) == {"epochs": 7, "seed": 0, "output": Path("output")}
    assert options.output.is_dir()


def test_pictures_are_written_under_their_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command_line.save(tmp_path, {"a": plt.figure(), "b": plt.figure()})
    assert capsys.readouterr().out == f"wrote {tmp_path / 'a.png'}\nwrote {tmp_path / 'b.png'}\n"
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
    assert not plt.get_fignums()


def raises(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


def test_what_stops_a_run_is_one_line() -> None:
    with pytest.raises(SystemExit, match=r"^the loss is nan$"):
        command_line.run(raises(DivergenceError("the loss is nan")))
    with pytest.raises(SystemExit, match=r"^stopped before the pictures were written$"):
        command_line.run(raises(KeyboardInterrupt()))
    done = []
    command_line.run(lambda: done.append("all"))
    assert done == ["all"]


@pytest.mark.parametrize(
    ("name", "extra"), [*((name, "matplotlib") for name in NAMES), ("spirals", "tqdm")]
)
def test_without_the_extras_the_error_says_what_to_install(name: str, extra: str) -> None:
    code = f"import sys; sys.modules[{extra!r}] = None; import {name}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=EXAMPLES
    )
    assert done.returncode == 1
    assert done.stderr.endswith('this example needs pip install -e ".[examples]"\n')
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_help_tells_the_default_of_every_option(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        importlib.import_module(name).parse(["--help"])
    text = capsys.readouterr().out.partition("options:")[2]
    options = text.split("  --")[1:]
    assert len(options) >= 3
    assert all("(default" in " ".join(option.split()) for option in options)


@pytest.mark.parametrize("name", NAMES)
def test_each_runs_as_a_program(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    monkeypatch.setattr(command_line, "run", ran.append)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert [main.__name__ for main in ran] == ["main"]
