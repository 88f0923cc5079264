"""The shared part of the examples, and what holds for each of them."""

import argparse
import importlib
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import command_line
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from command_line import ExampleParser, count_steps
from matplotlib.figure import Figure

from tinynet import CheckpointError, DivergenceError, InputError
from tinynet.datasets import DatasetError, Digits

EXAMPLES = Path(command_line.__file__).parent
MNIST = ["mnist_autoencoder", "mnist_cnn", "mnist_gradient_descent", "mnist_two_layer"]
TABLES = ["tabular_classifier", "tabular_regression"]
OTHERS = ["char_transformer", "forecast", "kaggle_digits", "spirals", "text_classification"]
NAMES = [*MNIST, *TABLES, *OTHERS, "two_heads"]


def parser() -> ExampleParser:
    return ExampleParser("An example.", epochs=7, batch_size=5, learning_rate=0.1)


def test_what_reading_has_changed_in_the_digits_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = np.zeros((3, 28, 28), np.uint8), np.arange(3)
    digits = Digits(images, labels, note="the rows were shuffled")
    monkeypatch.setattr(command_line, "load_mnist", lambda _: (digits, digits))
    assert command_line.load_digits(Path("sorted.csv")) == (digits, digits)
    assert capsys.readouterr().out == "the rows were shuffled\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--epochs", "0"), "argument --epochs: expected a whole number >= 1, got 0"),
        (("--epochs",), "argument --epochs: expected one argument"),
        (("--batch-size", "x"), "argument --batch-size: expected a whole number >= 1, got x"),
        (("--batch-size", "1.5"), "argument --batch-size: expected a whole number >= 1, got 1.5"),
        (("--seed", "-1"), "argument --seed: expected a whole number >= 0, got -1"),
        (
            ("--seed", "9" * 5000),
            f"argument --seed: expected a whole number >= 0, got {'9' * 20}",
        ),
        (("--learning-rate", "x"), "argument --learning-rate: expected a number above 0, got 'x'"),
        (("--learning-rate", "0"), "argument --learning-rate: expected a number above 0, got '0'"),
        (
            ("--learning-rate", "inf"),
            "argument --learning-rate: expected a number above 0, got 'inf'",
        ),
        (
            ("--learning-rate", "nan"),
            "argument --learning-rate: expected a number above 0, got 'nan'",
        ),
        (("--what",), "unrecognized arguments: --what"),
    ],
)
def test_a_wrong_argument_ends_an_example_with_one_line(
    arguments: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parser().parse(arguments)
    assert stop.value.code == 2
    (printed,) = capsys.readouterr().err.splitlines()
    assert printed.partition(": ")[2] == line


def test_an_example_has_defaults_and_makes_its_output_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = parser().parse([])
    common = {"epochs": 7, "seed": 0, "output": Path("output")}
    assert vars(options) == {**common, "batch_size": 5, "learning_rate": 0.1}
    assert options.output.is_dir()
    assert vars(ExampleParser("Another example.", epochs=7).parse([])) == common


@pytest.mark.parametrize(("show", "backends"), [(False, ["Agg"]), (True, [])])
def test_an_example_needs_no_display_unless_it_shows_its_pictures(
    show: bool, backends: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []
    monkeypatch.setattr(mpl, "use", used.append)
    example = parser()
    example.add_argument("--show", action="store_true")
    example.parse(["--output", str(tmp_path), *(["--show"] if show else [])])
    assert used == backends


def test_count_steps_rounds_the_batches_of_an_epoch_up() -> None:
    options = argparse.Namespace(batch_size=32, epochs=3)
    assert [count_steps(options, samples) for samples in (1, 32, 33)] == [3, 3, 6]


def test_training_time_is_printed_on_stderr_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with command_line.timed():
        pass
    assert capsys.readouterr() == ("", "trained in 0.0 s\n")


def test_pictures_are_written_under_their_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command_line.save(tmp_path, {name: plt.figure(figsize=(1, 1)) for name in ("a", "b")})
    assert capsys.readouterr().out == f"wrote {tmp_path / 'a.png'}\nwrote {tmp_path / 'b.png'}\n"
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
    assert not plt.get_fignums()


@pytest.mark.parametrize(("backend", "complaints"), [("Agg", 1), ("TkAgg", 0)])
def test_show_opens_the_pictures_or_says_that_there_is_no_display(
    backend: str,
    complaints: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown: list[list[int]] = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.get_fignums()))
    monkeypatch.setattr(plt, "get_backend", lambda: backend)
    command_line.save(tmp_path, {"a": Figure(figsize=(1, 1))}, show=True)  # none of pyplot's
    assert [len(numbers) for numbers in shown] == [1]
    complaint = "--show finds no display: open the files above instead\n"
    assert capsys.readouterr().err == complaint * complaints


def raises(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DivergenceError("the loss is nan"), "the loss is nan"),
        (InputError("expected this,\n  got that"), "expected this, got that"),
        (CheckpointError("a.npz", "damaged"), "a.npz: damaged"),
        (DatasetError("a.csv", "columns", "none"), "a.csv: expected columns, got none"),
        (ImportError("needs pandas"), "needs pandas"),
        (MemoryError("Unable to allocate"), "Unable to allocate"),
        (FileExistsError("a file"), "a file"),
        (UnicodeError("not UTF-8"), "not UTF-8"),
        (KeyboardInterrupt(), "interrupted before everything was written"),
    ],
)
def test_an_expected_error_ends_an_example_with_one_line(error: BaseException, line: str) -> None:
    with pytest.raises(SystemExit) as stop:
        command_line.run(raises(error))
    assert stop.value.code == line


def test_a_bug_in_an_example_keeps_its_traceback() -> None:
    with pytest.raises(KeyError):
        command_line.run(raises(KeyError("layer")))


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        *((name, "matplotlib") for name in NAMES),
        *((name, "pandas") for name in TABLES),
        ("spirals", "tqdm"),
    ],
)
def test_an_example_without_its_extras_says_what_to_install(
    name: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, extra, None)
    for module in ("command_line", "columns"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(EXAMPLES / f"{name}.py"))
    message = str(stop.value.code)
    assert message.endswith('this example needs pip install -e ".[examples]"')
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_help_has_the_default_of_every_option(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        importlib.import_module(name).main(["--help"])
    text = capsys.readouterr().out.partition("options:")[2]
    options = text.split("  --")[1:]
    assert len(options) >= 4
    assert all("(default" in " ".join(option.split()) for option in options)


@pytest.mark.parametrize("name", NAMES)
def test_each_example_runs_as_a_program(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    monkeypatch.setattr(command_line, "run", ran.append)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert [main.__name__ for main in ran] == ["main"]


@pytest.mark.parametrize("name", MNIST)
def test_missing_data_ends_an_mnist_example_with_one_line(
    name: str, run: Callable[..., list[str]], tmp_path: Path
) -> None:
    example: ModuleType = importlib.import_module(name)
    expected = r"a folder of IDX files or a \.csv file, got nothing there"
    with pytest.raises(SystemExit, match=expected):
        run(example, "--data", tmp_path / "nowhere")


@pytest.mark.parametrize("name", NAMES)
def test_an_output_that_is_a_file_ends_an_example_with_one_line(
    name: str, run: Callable[..., list[str]], tmp_path: Path
) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(SystemExit, match="File exists"):
        run(importlib.import_module(name))
