import gzip
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from idx_files import write_folder

from tinynet.datasets import Digits, load_mnist
from tinynet.datasets import __main__ as command
from tinynet.datasets.mnist import FILES

README = (FILES / "README.md").read_text()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_command_writes_the_four_files_with_the_sums_of_their_readme(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "folder"
    run = subprocess.run(
        [sys.executable, "-m", "tinynet.datasets", folder],
        capture_output=True,
        text=True,
        check=True,
    )
    listed = dict(re.findall(r"^\| (\S+\.gz) .* ([0-9a-f]{64}) \|$", README, re.MULTILINE))
    assert len(listed) == 4
    written = contents(folder)
    sums = {
        name: hashlib.sha256(gzip.decompress(data)).hexdigest() for name, data in written.items()
    }
    assert sums == listed
    assert run.stdout.splitlines() == [
        f"{folder / name}  {(folder / name).stat().st_size:,} bytes"
        for name in (f"{stem}-ubyte.gz" for stem in command.SHA256)
    ]
    command.main([str(folder)])  # a second run changes nothing
    assert capsys.readouterr().out == run.stdout
    assert contents(folder) == written


def check_csv(folder: Path, output: str, parts: tuple[Digits, Digits]) -> None:
    path = folder / "train.csv"
    assert output == f"{path}  {path.stat().st_size:,} bytes\n"
    assert [file.name for file in folder.iterdir()] == ["train.csv"]
    for got, expected in zip(load_mnist(path), parts, strict=True):
        assert (got.images == expected.images).all()
        assert (got.labels == expected.labels).all()


def test_csv_writes_one_file_with_the_training_and_then_the_test_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A hundredth of MNIST, with as large a share of test images.
    train, test = (
        Digits(part.images[: len(part.images) // 100], part.labels[: len(part.labels) // 100])
        for part in load_mnist()
    )
    parts = train, test
    monkeypatch.setattr(command, "load_mnist", lambda: parts)
    command.main([str(tmp_path), "--csv"])
    check_csv(tmp_path, capsys.readouterr().out, parts)


@pytest.mark.sweep
def test_csv_writes_one_file_that_reads_as_all_of_mnist(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.main([str(tmp_path), "--csv"])
    check_csv(tmp_path, capsys.readouterr().out, load_mnist())


def test_the_command_does_not_overwrite_another_file(tmp_path: Path) -> None:
    write_folder(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(SystemExit) as stop:
        command.main([str(tmp_path)])
    path = tmp_path / "train-images-idx3-ubyte.gz"
    assert stop.value.code == (
        f"python -m tinynet.datasets: {path}: expected no other file of that name, "
        "got one with other content"
    )
    assert contents(tmp_path) == before


def test_the_command_refuses_to_copy_damaged_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "FILES", write_folder(tmp_path / "installed"))
    with pytest.raises(SystemExit, match="expected content of SHA-256 ba891046"):
        command.main([str(tmp_path / "out")])
    assert contents(tmp_path / "out") == {}


def test_a_folder_that_cannot_be_created_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match=r"^python -m tinynet\.datasets: .*File exists"):
        command.main([str(tmp_path / "file")])
