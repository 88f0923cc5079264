"""The example, run for real on a slice of MNIST."""

import importlib.util
import os
import pty
import re
import runpy
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from idx_files import IMAGES, LABELS, write_folder

from tinynet import check_gradients
from tinynet.datasets import Digits

EXAMPLE = Path(__file__).parents[2] / "examples" / "mnist_two_layer.py"
PICTURES = [
    "sample_predictions",
    "confident_mistakes",
    "learning_curves",
    "confusion_matrix",
    "first_layer_weights",
    "activations",
    "gradients",
    "model",
]
EPOCH = re.compile(
    r"epoch +(\d+)/\d+  loss (\d\.\d{4})  accuracy +([\d.]+)%"
    r"  validation loss (\d\.\d{4})  validation accuracy +([\d.]+)%"
)


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mnist_two_layer", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mnist_two_layer"] = module
    spec.loader.exec_module(module)
    return module


Run = Callable[..., list[str]]


@pytest.fixture
def run(
    example: ModuleType,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Runs main on the slice and returns the lines that it printed.

    The pictures, which take the longest and are tested by themselves, are blank unless asked for.
    """
    pictures = {name: getattr(example.plots, name) for name in example.plots.__all__}

    def run_main(*arguments: Any, drawn: bool = False) -> list[str]:
        for name, picture in pictures.items():
            blank = picture if drawn else lambda *_, **__: example.plt.figure(figsize=(1, 1))
            monkeypatch.setattr(example.plots, name, blank)
        given = ["--data", data, "--output", tmp_path / "out", *arguments]
        example.main([str(argument) for argument in given])
        return capsys.readouterr().out.splitlines()

    return run_main


def epochs_in(lines: list[str]) -> list[list[float]]:
    """Number, loss, accuracy, validation loss and validation accuracy of each line."""
    matches = [match for line in lines if (match := EPOCH.fullmatch(line))]
    return [[float(value) for value in match.groups()] for match in matches]


def is_png(path: Path) -> bool:
    # The smallest picture is the one that says in a line that there are no mistakes.
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and path.stat().st_size > 3000


def test_trains_reports_each_epoch_predicts_one_and_draws(run: Run, tmp_path: Path) -> None:
    lines = run("--epochs", 4, drawn=True)
    assert re.fullmatch(r"2  Dense\(784, 10\) +\(1, 10\) +7,850", lines[3])
    numbers = epochs_in(lines[7:11])
    assert [row[0] for row in numbers] == [1, 2, 3, 4]
    assert numbers[3][1] < numbers[0][1] < 1.5
    assert numbers[3][2] > 90
    assert numbers[3][4] > 83
    assert re.fullmatch(r"test image 0: predicted 7 \([\d.]+% sure\), label 7", lines[11])
    out = tmp_path / "out"
    assert lines[12:] == [f"wrote {out / name}.png" for name in PICTURES]
    assert sorted(path.name for path in out.iterdir()) == sorted(f"{n}.png" for n in PICTURES)
    assert all(map(is_png, out.iterdir()))


def test_the_same_seed_prints_the_same_and_another_does_not(run: Run) -> None:
    first, same, other = (run("--epochs", 1, "--seed", seed) for seed in (1, 1, 2))
    assert first == same
    assert first != other


def test_hidden_widens_the_network(run: Run) -> None:
    lines = run("--epochs", 1, "--hidden", 20)
    assert "Dense(784, 20)" in lines[3]
    assert "15,910" in lines[6]


def test_the_seed_recipe_reports_every_ten_steps(run: Run) -> None:
    numbers = epochs_in(run("--recipe", "seed", "--epochs", 25))
    assert [row[0] for row in numbers] == [10, 20, 25]
    losses = [row[1] for row in numbers]
    assert losses == sorted(losses, reverse=True)


def test_a_run_is_resumed_from_its_checkpoints(run: Run, tmp_path: Path) -> None:
    def last(*arguments: Any) -> list[list[float]]:
        return epochs_in(run("--recipe", "seed", "--learning-rate", 0.5, *arguments))

    kept = ("--checkpoints", tmp_path / "kept")
    assert [row[0] for row in last("--epochs", 2, *kept)] == [2]
    assert last("--epochs", 4, *kept) == last("--epochs", 4)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        f"step-000000000{step}.npz" for step in (2, 3, 4)
    ]


def test_checkpoints_of_another_network_are_one_line(run: Run, tmp_path: Path) -> None:
    kept = ("--checkpoints", tmp_path / "kept", "--epochs", 1)
    run(*kept)
    with pytest.raises(SystemExit, match=r"step-0000000047\.npz: .*Dense\(784, 20\)"):
        run(*kept, "--hidden", 20)


def test_batch_size_and_rate_overrule_the_recipe(run: Run) -> None:
    lines = run("--recipe", "seed", "--epochs", 1, "--batch-size", 50, "--learning-rate", 0.2)
    assert epochs_in(lines)[0][4] > 50  # sixty steps, not one


def test_a_kaggle_file_is_data_too(run: Run, tmp_path: Path, mnist: tuple[Digits, Digits]) -> None:
    from tinynet.datasets.kaggle import write_kaggle

    path = tmp_path / "train.csv"
    write_kaggle(path, mnist[0].images[:70], mnist[0].labels[:70])
    assert len(epochs_in(run("--data", path, "--epochs", 1))) == 1


def test_few_images_and_no_mistake_still_make_pictures(run: Run, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "few")
    for name in (IMAGES, LABELS):  # tested on what it was trained on
        (folder / f"t10k-{name}.gz").write_bytes((folder / f"train-{name}.gz").read_bytes())
    lines = run("--data", folder, "--epochs", 60, "--batch-size", 4, "--hidden", 30, drawn=True)
    assert epochs_in(lines)[-1][4] == 100
    assert all(map(is_png, (tmp_path / "out").iterdir()))


def test_the_gradient_of_the_network_is_right(
    example: ModuleType, mnist: tuple[Digits, Digits]
) -> None:
    network = example.build_network(3, example.RECIPES["momentum"], np.random.default_rng(0))
    check_gradients(network, mnist[0].images[:3])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--epochs", "0"], "argument --epochs: expected a whole number >= 1, got 0"),
        (["--batch-size", "x"], "argument --batch-size: expected a whole number >= 1, got x"),
        (["--hidden", "1.5"], "argument --hidden: expected a whole number >= 1, got 1.5"),
        (["--seed", "9" * 5000], "argument --seed: expected a whole number >= 0, got 99999"),
        (["--seed", "-1"], "argument --seed: expected a whole number >= 0, got -1"),
        (["--learning-rate", "0"], "argument --learning-rate: expected a number above 0, got '0'"),
        (["--learning-rate", "nan"], "argument --learning-rate: expected a number above 0"),
        (["--learning-rate", "fast"], "expected a number above 0, got 'fast'"),
        (["--recipe", "cake"], "argument --recipe: invalid choice: 'cake'"),
        (["--what"], "unrecognized arguments: --what"),
        (["--epochs"], "argument --epochs: expected one argument"),
    ],
)
def test_a_wrong_argument_is_one_line(
    example: ModuleType, arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        example.main(arguments)
    assert stop.value.code == 2
    (printed,) = capsys.readouterr().err.splitlines()
    assert line in printed


def test_missing_data_and_an_output_that_is_a_file_are_one_line(run: Run, tmp_path: Path) -> None:
    with pytest.raises(
        SystemExit, match=r"a folder of IDX files or a \.csv file, got nothing there"
    ):
        run("--data", tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="File exists"):
        run("--output", tmp_path / "file")


def test_a_network_beyond_memory_is_one_line(run: Run) -> None:
    with pytest.raises(SystemExit, match=r"^--hidden 9999999999: Unable to allocate"):
        run("--hidden", "9999999999")


def test_a_loss_that_is_lost_ends_the_run_in_one_line(run: Run) -> None:
    with pytest.raises(SystemExit, match=r"^the loss became (nan|inf) in step 2, epoch 1: "):
        run("--learning-rate", "1e30")


def test_show_opens_the_pictures_or_says_that_there_is_no_display(
    example: ModuleType,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = []
    monkeypatch.setattr(example.plt, "show", lambda: shown.append(example.plt.get_fignums()))
    complaint = "--show finds no display: open the files above instead"
    complaints = []
    monkeypatch.setattr("builtins.print", lambda *words, **_: complaints.append(words[0]))
    run("--epochs", 1)
    assert shown == []
    assert complaint not in complaints
    run("--epochs", 1, "--show")
    assert complaints.count(complaint) == 1
    monkeypatch.setattr(example.plt, "get_backend", lambda: "TkAgg")
    run("--epochs", 1, "--show")
    assert complaints.count(complaint) == 1
    assert [len(figures) for figures in shown] == [8, 8]


def command(*arguments: Any) -> list[str]:
    return [sys.executable, str(EXAMPLE), *map(str, arguments)]


def test_as_a_command_without_a_display(data: Path, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "MPLBACKEND")}
    done = subprocess.run(
        command("--data", data, "--epochs", 1),
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=environment,
    )
    assert done.stdout.splitlines()[-1] == f"wrote {Path('output') / 'model.png'}"
    assert re.fullmatch(r"trained in [\d.]+ s\n", done.stderr)  # no progress bar in a log


def test_on_a_terminal_there_is_a_progress_bar(data: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    with subprocess.Popen(
        command("--data", data, "--epochs", 2, "--output", tmp_path), stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        while chunk := _read(ours):
            shown += chunk
    assert process.returncode == 0
    assert b"step/s]" in shown
    assert b"epoch 2/2" in shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return b""


def test_without_the_extras_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['tqdm'] = None; import mnist_two_layer"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=EXAMPLE.parent,
    )
    assert done.returncode == 1
    assert done.stderr.endswith('this example needs pip install -e ".[examples]"\n')
    assert len(done.stderr.splitlines()) == 1


def test_control_c_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tinynet.datasets.load_mnist", interrupt)
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE)])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"^stopped before the pictures were written$"):
        runpy.run_path(str(EXAMPLE), run_name="__main__")
